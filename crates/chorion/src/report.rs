//! What the command line says, and how it ends.
//!
//! A result goes to standard output (plain, or one JSON document under `--json`); everything said about the work goes to
//! standard error. An error is one sentence that names the thing, and a hint that names the next step.

use std::fmt;
use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// What a command gives: nothing, or the reason it could not.
pub(crate) type CliResult<T = ()> = Result<T, CliError>;

/// A sentence for the person, with a next step where there is one.
#[derive(Debug)]
pub(crate) struct CliError {
    sentence: String,
    hint: Option<String>,
    causes: Vec<String>,
}

impl CliError {
    /// An error that says `sentence`: lower case, no full stop, the thing named.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hint: None, causes: Vec::new() }
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the chain of causes, each printed once.
    pub(crate) fn caused_by(mut self, cause: impl std::error::Error) -> Self {
        self.causes.push(cause.to_string());
        let mut next = cause.source();
        while let Some(cause) = next {
            self.causes.push(cause.to_string());
            next = cause.source();
        }
        self
    }

    /// The sentence alone.
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.sentence)?;
        for cause in &self.causes {
            write!(f, "\n  because: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    /// One JSON document on standard output instead of text.
    pub(crate) json: bool,
}

impl Ui {
    /// A line of result for a person; silent under `--json`.
    pub(crate) fn line(&self, text: impl fmt::Display) {
        if !self.json {
            write_out(&format!("{text}\n"));
        }
    }

    /// A result that has its form already, as it is.
    pub(crate) fn raw(&self, text: &str) {
        write_out(text);
    }

    /// A line about the work, never part of the result.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        let _unwritable_stderr_changes_nothing = writeln!(anstream::stderr(), "{text}");
    }

    /// The result as JSON; silent without `--json`.
    pub(crate) fn value(&self, value: &impl Serialize) {
        if self.json {
            let text = serde_json::to_string_pretty(value)
                .expect("a result type of ours serializes because it holds only JSON types");
            write_out(&format!("{text}\n"));
        }
    }

    /// A bar for long work on a terminal; hidden where nobody looks.
    pub(crate) fn progress(&self, total_bytes: u64, what: &str) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{msg:24} {bar:32} {binary_bytes:>11} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
        )
        .expect("the template is a constant that indicatif accepts");
        let bar = ProgressBar::new(total_bytes).with_style(style);
        bar.set_message(what.to_owned());
        bar
    }
}

/// Writes to standard output; a reader that went away ends the program quietly, as other tools of the kind do.
fn write_out(text: &str) {
    let mut out = anstream::stdout();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        #[expect(
            clippy::exit,
            reason = "nobody reads any more: there is nothing left to say or do"
        )]
        std::process::exit(0);
    }
}
