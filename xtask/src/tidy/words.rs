//! Words that belong to the place where a change was made and not to the project: somebody who clones it cannot follow them.
//!
//! Paths of one machine, pages that are not in the repository, numbers of a tracker, and talk about how the work was shared out.

use super::{Complaint, Page};

/// Looked for without regard to case, as whole words. Each is cut in two, so that this file does not hold it.
const ELSEWHERE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tm", "p/brief"),
    concat!("shared/", "facts"),
    concat!("DESIGN", ".md"),
    concat!("STYLE", ".md"),
    concat!("issues", " show"),
    concat!("coding ", "agent"),
    concat!("language ", "model"),
    concat!("as an ", "ai"),
    concat!("chat", "gpt"),
    concat!("cla", "ude"),
    concat!("the brief", " says"),
    concat!("this ", "brief"),
    concat!("the other ", "helper"),
    concat!("work", "place"),
];

pub(super) fn check(page: &Page) -> Vec<Complaint> {
    // Vectors and recorded data are others' words.
    if page.path.starts_with("vectors/") || page.path.ends_with(".lock") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(page.text.lines()) {
        let lower = line.to_lowercase();
        for word in ELSEWHERE.iter().filter(|word| stands_alone(&lower, &word.to_lowercase())) {
            let sentence = format!("`{word}` means nothing to somebody who clones this");
            complaints.push(Complaint::new(&page.path, number, sentence));
        }
        if numbered_issue(&lower) {
            let sentence = "the number of an issue means nothing here; say the thing itself";
            complaints.push(Complaint::new(&page.path, number, sentence));
        }
    }
    complaints
}

fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        // A word that begins or ends with a sign is bounded by it.
        let open =
            !word.starts_with(char::is_alphanumeric) || !before.is_some_and(char::is_alphanumeric);
        let shut =
            !word.ends_with(char::is_alphanumeric) || !after.is_some_and(char::is_alphanumeric);
        open && shut
    })
}

/// The word with a number after it, with or without `#`. A number with its repository, as in `owner/name#12`, can be looked up and is welcome.
fn numbered_issue(line: &str) -> bool {
    line.match_indices(concat!("iss", "ue")).any(|(at, word)| {
        let rest = line[at + word.len()..].trim_start_matches([' ', '#']);
        let skipped = line.len() - at - word.len() - rest.len();
        skipped > 0 && rest.starts_with(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::super::page;
    use super::*;

    #[test]
    fn a_word_from_elsewhere_is_named_with_its_line() {
        let text = format!("good\nsee {} section 4\n", ELSEWHERE[3]);
        let found = check(&page("docs/a.md", &text));
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("docs/a.md:2: "));
    }

    #[test]
    fn words_of_the_field_pass() {
        let text = "the app session keeps its state; a brief sentence; the clauded moth; dotnet/runtime#76397\n";
        assert_eq!(check(&page("docs/a.md", text)), []);
    }

    #[test]
    fn the_number_of_an_issue_is_named_only_as_such() {
        for (line, numbered) in [
            (concat!("iss", "ue 12"), true),
            (concat!("fixes iss", "ue #7"), true),
            (concat!("the iss", "uer 7"), false),
            (concat!("an iss", "ue of 2024"), false),
            (concat!("iss", "ued 3 keys"), false),
        ] {
            assert_eq!(numbered_issue(line), numbered, "{line}");
        }
    }
}
