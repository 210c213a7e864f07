//! The map: every crate stands in ARCHITECTURE.md, the pages people look for are there, and what a page or a comment cites exists.

use std::path::Path;

use super::{Complaint, Page};

/// Pages at the root that a newcomer looks for.
const EXPECTED: &[&str] =
    &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];

pub(super) fn map(pages: &[Page]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for expected in EXPECTED {
        if !pages.iter().any(|page| page.path == *expected) {
            complaints.push(Complaint::new(expected, 1, "this page is not here"));
        }
    }
    if let Some(architecture) = pages.iter().find(|page| page.path == "ARCHITECTURE.md") {
        for page in pages {
            let name =
                page.path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml"));
            if let Some(name) =
                name.filter(|name| !architecture.text.contains(&format!("`{name}`")))
            {
                complaints.push(Complaint::new(
                    &architecture.path,
                    1,
                    format!("crate `{name}` is not named"),
                ));
            }
        }
    }
    complaints
}

/// `spec/page.md` and `spec/page.md section 4.2` must lead somewhere, and so must links between pages.
pub(super) fn citations(page: &Page, pages: &[Page], root: &Path) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let readable = ["rs", "md", "ts", "py", "toml"];
    if !readable.iter().any(|extension| page.path.ends_with(&format!(".{extension}"))) {
        return complaints;
    }
    // The rules' own tests cite pages that are not there.
    if page.path == "xtask/src/tidy/pages.rs" {
        return complaints;
    }
    for (number, line) in (1..).zip(page.text.lines()) {
        for citation in cited(line) {
            let complaint = match pages.iter().find(|other| other.path == citation.page) {
                None => Some(format!("`{}` is cited and not here", citation.page)),
                Some(other) => citation
                    .section
                    .filter(|section| !has_section(&other.text, section))
                    .map(|section| format!("`{}` has no section {section}", citation.page)),
            };
            complaints
                .extend(complaint.map(|sentence| Complaint::new(&page.path, number, sentence)));
        }
        if page.path.ends_with(".md") {
            for link in links(line) {
                let from = root.join(&page.path);
                let here = from.parent().unwrap_or(root).join(link);
                if !here.exists() {
                    let sentence = format!("the link to `{link}` leads nowhere");
                    complaints.push(Complaint::new(&page.path, number, sentence));
                }
            }
        }
    }
    complaints
}

#[derive(Debug, PartialEq, Eq)]
struct Citation<'a> {
    page: &'a str,
    section: Option<&'a str>,
}

/// Pages of `spec/` and `docs/decisions/` that a line names by their path from the root.
fn cited(line: &str) -> Vec<Citation<'_>> {
    let mut found = Vec::new();
    for folder in ["spec/", "docs/decisions/"] {
        for (at, _) in line.match_indices(folder) {
            // `x/spec/` is somebody else's folder, `./spec/` and `(spec/` are ours.
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '-' | '_')) {
                continue;
            }
            let rest = &line[at..];
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || "/-_.".contains(c)))
                .unwrap_or(rest.len());
            let page = rest[..end].trim_end_matches('.');
            if !page.ends_with(".md") {
                continue;
            }
            let after = rest[page.len()..].trim_start_matches(['`', ',', ' ', ')', ']']);
            let section = ["section ", "§ ", "§"]
                .iter()
                .find_map(|word| after.strip_prefix(word))
                .map(|number| {
                    let end = number
                        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
                        .unwrap_or(number.len());
                    number[..end].trim_end_matches('.')
                })
                .filter(|section| !section.is_empty());
            found.push(Citation { page, section });
        }
    }
    found
}

/// Whether a heading begins with this number: `## 4.2 Limits` or `## 4.2. Limits`.
fn has_section(text: &str, section: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| {
        let heading = line.trim_start_matches(['#', ' ']);
        let number = heading.split(' ').next().unwrap_or_default();
        number.trim_end_matches('.').trim_start_matches('§') == section
    })
}

/// Relative targets of Markdown links, without their anchors.
fn links(line: &str) -> Vec<&str> {
    line.match_indices("](")
        .filter_map(|(at, _)| line[at + 2..].split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with(['#', '<']))
        .filter(|target| !target.starts_with("mailto:") && !target.contains(' '))
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::page;
    use super::*;

    #[test]
    fn a_citation_is_found_with_its_section() {
        let line = "//! Rules: `spec/sealed-object.md`, section 4.2. See ga4gh/spec/other.md, and spec/card.md.";
        assert_eq!(
            cited(line),
            [
                Citation { page: "spec/sealed-object.md", section: Some("4.2") },
                Citation { page: "spec/card.md", section: None },
            ]
        );
    }

    #[test]
    fn a_page_or_a_section_that_is_not_there_is_named() {
        let pages = [page("spec/card.md", "# Card\n## 1 Limits\n### 1.1. Bytes\n")];
        let sentences = |line: &str| -> Vec<String> {
            citations(&page("crates/api/src/lib.rs", line), &pages, Path::new("/"))
                .iter()
                .map(Complaint::to_string)
                .collect()
        };
        assert_eq!(sentences("//! spec/card.md section 1.1\n"), [""; 0]);
        assert_eq!(
            sentences("//! A.\n//! spec/card.md § 2\n"),
            ["crates/api/src/lib.rs:2: `spec/card.md` has no section 2"]
        );
        assert_eq!(
            sentences("//! spec/cards.md\n"),
            ["crates/api/src/lib.rs:1: `spec/cards.md` is cited and not here"]
        );
    }

    #[test]
    fn links_of_a_page_lead_somewhere() {
        let folder = tempfile::tempdir().expect("a folder, because the test needs one");
        std::fs::write(folder.path().join("a.md"), "x").expect("writable, because it is ours");
        let text = "[a](a.md#top) [b](https://x.org/b.md) [c](#here)\n[d](d.md)\n";
        let found = citations(&page("index.md", text), &[], folder.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "index.md:2: the link to `d.md` leads nowhere");
    }

    #[test]
    fn a_crate_that_the_map_leaves_out_is_named() {
        let mut pages: Vec<Page> = EXPECTED.iter().map(|path| page(path, "`seal`")).collect();
        pages.push(page("crates/seal/Cargo.toml", ""));
        assert_eq!(map(&pages), []);
        pages.push(page("crates/hub/Cargo.toml", ""));
        assert_eq!(map(&pages).len(), 1);
        pages.remove(0);
        assert_eq!(map(&pages)[0].to_string(), "README.md:1: this page is not here");
    }
}
