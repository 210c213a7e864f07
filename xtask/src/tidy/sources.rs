//! Rules of the page for sources: length, the idea at the top, no marks of unfinished work, no test switched off, no lint silenced
//! without a reason, and no world in the crates that must do without.

use super::{Complaint, Page};

const LONGEST: usize = 900;

/// Crates that take bytes, time and randomness as arguments.
const PURE_CRATES: &[&str] =
    &["api", "attest", "credential", "dataset", "identity", "proof", "seal"];

/// What opens a file, a socket or a clock.
const WORLD: &[&str] = &[
    "std::net",
    "std::process",
    "std::env",
    "fs",
    "TcpStream",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "now_v7",
    "tokio",
];

/// Where the world is let in all the same: file, word. Each is an exception to a promise, so each says why.
const STATED: &[(&str, &str)] = &[
    // A new id carries the moment it was made, so that ids sort by age; no rule reads that moment back.
    ("crates/api/src/ids.rs", "now_v7"),
];

/// Programs on the instrument's or the vault's side that only ever call out.
const LISTEN_NOWHERE: &[&str] = &["broker", "client", "vault"];

/// Marks that say: this is not done. Cut in two here, so that this file does not bear them.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
];

pub(super) fn check(page: &Page) -> Vec<Complaint> {
    let path = page.path.as_str();
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let source = matches!(extension, "rs" | "ts" | "js" | "css" | "py" | "sh");
    let mut complaints = Vec::new();
    let mut complain = |line: usize, sentence: String| {
        complaints.push(Complaint::new(path, line, sentence));
    };

    let lines = page.text.lines().count();
    if source && lines > LONGEST {
        complain(lines, format!("{lines} lines; a source file has at most {LONGEST}"));
    }
    if extension == "rs" && !page.text.trim_start().starts_with("//!") {
        complain(1, "a source file opens with its idea: `//!`".to_owned());
    }
    if source || matches!(extension, "md" | "toml") {
        for (number, line) in (1..).zip(page.text.lines()) {
            for mark in UNFINISHED.iter().filter(|mark| has_word(line, mark)) {
                complain(
                    number,
                    format!("`{mark}` marks unfinished work; finish it or leave it out"),
                );
            }
        }
    }
    if extension == "rs" {
        for (number, line) in (1..).zip(page.text.lines()) {
            let code = line.trim_start();
            if code.starts_with(concat!("#[", "ignore")) {
                complain(number, "a test that is switched off tests nothing".to_owned());
            }
        }
        for number in silenced_without_reason(&page.text) {
            complain(number, "a silenced lint carries its reason: `reason = \"…\"`".to_owned());
        }
        complaints.extend(world(page));
    }
    complaints
}

/// Lines where `#[allow(` or `#[expect(` closes without a reason.
fn silenced_without_reason(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.trim_start();
        let starts = ["#[allow(", "#[expect(", "#![allow(", "#![expect("];
        if open.is_none() && starts.iter().any(|start| code.starts_with(start)) {
            open = Some((number, String::new()));
        }
        if let Some((first, attribute)) = &mut open {
            attribute.push_str(code);
            if attribute.contains(")]") {
                if !attribute.contains("reason =") {
                    found.push(*first);
                }
                open = None;
            }
        }
    }
    found
}

/// Files, sockets and clocks where there must be none. Tests may have them: what follows
/// `#[cfg(test)]` is not looked at, nor are files of tests.
fn world(page: &Page) -> Vec<Complaint> {
    let mut parts = page.path.split('/');
    let (Some("crates"), Some(crate_name), Some("src")) =
        (parts.next(), parts.next(), parts.next())
    else {
        return Vec::new();
    };
    let (words, why): (&[&str], _) = if PURE_CRATES.contains(&crate_name) {
        (WORLD, "opens no file, socket or clock")
    } else if LISTEN_NOWHERE.contains(&crate_name) {
        (&["TcpListener", "UnixListener", "axum"], "listens nowhere")
    } else {
        return Vec::new();
    };
    if page.path.ends_with("/tests.rs") || page.path.contains("/tests/") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let mut lines = (1..).zip(page.text.lines());
    while let Some((number, line)) = lines.next() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            // `mod vectors;` names another file; `mod tests {` is the rest of this one.
            match lines.next() {
                Some((_, item)) if item.trim_end().ends_with(';') => continue,
                _ => break,
            }
        }
        let code = line.split("//").next().unwrap_or_default();
        let stated = |word: &str| STATED.contains(&(page.path.as_str(), word));
        for word in words.iter().filter(|word| has_word(code, word) && !stated(word)) {
            let sentence = format!("`{word}`: the crate `{crate_name}` {why}");
            complaints.push(Complaint::new(&page.path, number, sentence));
        }
    }
    complaints
}

/// Whether `word` stands in `line` with nothing on either side that would make it part of another word.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::super::page;
    use super::*;

    fn sentences(path: &str, text: &str) -> Vec<String> {
        check(&page(path, text)).iter().map(Complaint::to_string).collect()
    }

    #[test]
    fn a_plain_source_file_passes() {
        let text = "//! An idea.\n\n#[expect(clippy::x, reason = \"measured\")]\nfn f() {}\n";
        assert_eq!(sentences("crates/hub/src/lib.rs", text), [""; 0]);
    }

    #[test]
    fn length_and_the_idea_at_the_top_are_asked_for() {
        let long = "fn f() {}\n".repeat(LONGEST + 1);
        assert_eq!(
            sentences("crates/hub/src/lib.rs", &long),
            [
                "crates/hub/src/lib.rs:901: 901 lines; a source file has at most 900",
                "crates/hub/src/lib.rs:1: a source file opens with its idea: `//!`",
            ]
        );
        assert_eq!(sentences("vectors/long.json", &long), [""; 0]);
    }

    #[test]
    fn marks_of_unfinished_work_are_whole_words() {
        let mark = UNFINISHED[0];
        assert_eq!(sentences("docs/a.md", &format!("{mark}: more\n")).len(), 1);
        assert_eq!(sentences("docs/a.md", &format!("MY{mark}S and {mark}_LIST\n")), [""; 0]);
    }

    #[test]
    fn a_test_that_is_switched_off_is_named() {
        let text = format!("//! T.\n#[test]\n{}\nfn t() {{}}\n", concat!("#[", "ignore]"));
        let found = sentences("crates/hub/tests/a.rs", &text);
        assert_eq!(found, ["crates/hub/tests/a.rs:3: a test that is switched off tests nothing"]);
    }

    #[test]
    fn a_reason_may_stand_on_a_later_line_but_must_stand() {
        let with = "#[expect(\n    dead_code,\n    reason = \"kept for the log\"\n)]\n";
        assert_eq!(silenced_without_reason(with), [0; 0]);
        assert_eq!(silenced_without_reason("fn f() {}\n#[allow(dead_code)]\n"), [2]);
    }

    #[test]
    fn a_pure_crate_has_no_world_outside_its_tests() {
        let dirty =
            "//! I.\nuse std::fs::File; // std::net\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(
            sentences("crates/seal/src/lib.rs", dirty),
            ["crates/seal/src/lib.rs:2: `fs`: the crate `seal` opens no file, socket or clock",]
        );
        assert_eq!(sentences("crates/hub/src/lib.rs", dirty), [""; 0]);
        let after = "//! I.\n#[cfg(test)]\nmod tests;\nuse std::fs;\n";
        assert_eq!(sentences("crates/seal/src/lib.rs", after).len(), 1);
        assert_eq!(sentences("crates/seal/src/file/tests.rs", dirty), [""; 0]);
        assert_eq!(sentences("crates/seal/src/lib.rs", "//! I.\nstruct Offset;\n"), [""; 0]);
    }

    #[test]
    fn an_exception_holds_for_its_word_in_its_file_alone() {
        let text = "//! I.\nfn f() { now_v7(); }\n";
        assert_eq!(sentences("crates/api/src/ids.rs", text), [""; 0]);
        assert_eq!(sentences("crates/api/src/run.rs", text).len(), 1);
        assert_eq!(sentences("crates/api/src/ids.rs", "//! I.\nuse std::fs;\n").len(), 1);
    }

    #[test]
    fn the_broker_listens_nowhere() {
        let text = "//! I.\nuse tokio::net::TcpListener;\n";
        assert_eq!(sentences("crates/broker/src/lib.rs", text).len(), 1);
        assert_eq!(sentences("crates/hub/src/lib.rs", text), [""; 0]);
    }
}
