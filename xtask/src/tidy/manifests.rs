//! One feature set for the whole workspace: a crate's manifest says `x.workspace = true` and adds nothing.
//!
//! A feature that one crate adds would make every build of a part of the workspace compile its dependencies again.

use super::{Complaint, Page};

pub(super) fn check(page: &Page) -> Vec<Complaint> {
    let member = page.path.starts_with("crates/") || page.path.starts_with("xtask/");
    if !member || !page.path.ends_with("/Cargo.toml") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let mut section = "";
    let mut inherits_lints = false;
    for (number, line) in (1..).zip(page.text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            continue;
        }
        if section == "lints" && line.replace(' ', "") == "workspace=true" {
            inherits_lints = true;
        }
        if line.is_empty() || !section.ends_with("dependencies") {
            continue;
        }
        let plain = line.replace(' ', "");
        let (name, value) = plain.split_once('=').unwrap_or((plain.as_str(), ""));
        let inherited = (name.ends_with(".workspace") && value == "true")
            || value == "{workspace=true}"
            || value == "{workspace=true,optional=true}"
            // What only tests may have of a crate of ours, and no program links.
            || (section == "dev-dependencies"
                && value == r#"{workspace=true,features=["testing"]}"#);
        if !inherited {
            let name = name.trim_end_matches(".workspace");
            let sentence =
                format!("dependency `{name}` must say `workspace = true` and add nothing");
            complaints.push(Complaint::new(&page.path, number, sentence));
        }
    }
    if !inherits_lints {
        let sentence = "`[lints] workspace = true` is missing";
        complaints.push(Complaint::new(&page.path, 1, sentence));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::super::page;
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    #[test]
    fn inherited_dependencies_pass() {
        let text = format!(
            "{LINTS}[dependencies]\nserde.workspace = true\ngenome = {{ workspace = true, optional = true }}\n\
             [target.'cfg(unix)'.dependencies]\nrustix.workspace = true # for fsync\n[features]\nx = []\n"
        );
        assert_eq!(check(&page("crates/hub/Cargo.toml", &text)), []);
    }

    #[test]
    fn what_is_for_testing_is_for_tests() {
        let line = "attest = { workspace = true, features = [\"testing\"] }";
        let text = format!("{LINTS}[dev-dependencies]\n{line}\n");
        assert_eq!(check(&page("crates/vault/Cargo.toml", &text)), []);
        let text = format!("{LINTS}[dependencies]\n{line}\n");
        assert_eq!(check(&page("crates/vault/Cargo.toml", &text)).len(), 1);
    }

    #[test]
    fn a_version_or_a_feature_of_ones_own_is_named_with_its_line() {
        let text = format!(
            "{LINTS}[dependencies]\nserde = \"1\"\ntokio = {{ workspace = true, features = [\"fs\"] }}\n"
        );
        let found = check(&page("crates/hub/Cargo.toml", &text));
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[1].to_string(),
            "crates/hub/Cargo.toml:5: dependency `tokio` must say `workspace = true` and add nothing"
        );
    }

    #[test]
    fn a_crate_without_the_lints_of_the_workspace_is_named() {
        assert_eq!(check(&page("crates/hub/Cargo.toml", "[package]\n")).len(), 1);
        assert_eq!(check(&page("Cargo.toml", "[package]\n")), []);
    }
}
