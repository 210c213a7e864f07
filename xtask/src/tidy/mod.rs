//! What the compiler cannot hold: the arrows that must be absent, and the rules of the page.
//!
//! Each rule is a function from text to complaints, so that it can be tested without a repository; this file only brings files and
//! rules together. A complaint is one line: where, and what is wrong.

mod arrows;
mod licences;
mod manifests;
mod pages;
mod sources;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

/// Something that breaks a rule: `file:line: sentence`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complaint {
    file: String,
    line: usize,
    sentence: String,
}

impl Complaint {
    fn new(file: &str, line: usize, sentence: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, sentence: sentence.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.sentence)
    }
}

/// A text file of the repository, under the path people know it by.
pub(crate) struct Page {
    path: String,
    text: String,
}

/// Checks everything below `root`. The answer counts what was looked at.
pub(crate) fn run(root: &Path) -> Result<String, Failure> {
    let pages = pages_of(root)?;
    let paths: Vec<&str> = pages.iter().map(|page| page.path.as_str()).collect();

    let mut complaints = arrows::check(root)?;
    complaints.extend(licences::check(root)?);
    for page in &pages {
        complaints.extend(sources::check(page));
        complaints.extend(words::check(page));
        complaints.extend(manifests::check(page));
        complaints.extend(pages::citations(page, &pages, root));
    }
    complaints.extend(pages::map(&pages));
    complaints.sort();

    if complaints.is_empty() {
        return Ok(format!("tidy: {} files, nothing to complain about", paths.len()));
    }
    let mut said: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    said.push(format!("error: tidy found {} things to put right", complaints.len()));
    Err(Failure::new(said.join("\n")))
}

/// Every file that git knows or would add, as far as it is text.
fn pages_of(root: &Path) -> Result<Vec<Page>, Failure> {
    let listed = output(Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut pages = Vec::new();
    for path in paths {
        let file: PathBuf = root.join(path);
        // Deleted but not yet committed, a link, or not text: nothing to read.
        if !file.is_file() {
            continue;
        }
        let bytes =
            std::fs::read(&file).map_err(Failure::because(format!("{path} cannot be read")))?;
        if let Ok(text) = String::from_utf8(bytes) {
            pages.push(Page { path: path.to_owned(), text });
        }
    }
    Ok(pages)
}

/// What a command prints, if it ends well.
fn output(command: &mut Command) -> Result<String, Failure> {
    let said = format!("{command:?}").replace('"', "");
    let done = command.output().map_err(Failure::because(format!("cannot start {said}")))?;
    if !done.status.success() {
        let reason = String::from_utf8_lossy(&done.stderr);
        return Err(Failure::new(format!("error: {said} ended with {}: {reason}", done.status)));
    }
    String::from_utf8(done.stdout).map_err(Failure::because(format!("{said} prints no text")))
}

#[cfg(test)]
fn page(path: &str, text: &str) -> Page {
    Page { path: path.to_owned(), text: text.to_owned() }
}
