//! Words that several commands read and say in the same way.

use api::{ExecutionState, ProjectId};

/// `NAME=PROJECT`.
pub(crate) fn mapping(text: &str) -> Result<(String, ProjectId), String> {
    let (name, project) =
        text.split_once('=').ok_or("write NAME=PROJECT, with the project's id")?;
    Ok((name.to_owned(), project.parse().map_err(|e: api::NotAnId| e.to_string())?))
}

/// Where a dataset stands, in words.
pub(crate) const fn word(state: ExecutionState) -> &'static str {
    match state {
        ExecutionState::Receiving => "receiving",
        ExecutionState::Processing => "processing",
        ExecutionState::Complete => "complete",
        ExecutionState::NeedsAttention => "needs attention",
        ExecutionState::Failed => "failed",
        ExecutionState::Superseded => "superseded",
    }
}
