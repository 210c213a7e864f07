//! What somebody asked for, as both sides know it: six words of it stand on the screen of whoever asks and on the owner's,
//! so that nobody approves somebody else's request (`spec/approval.md`, section 5).

use api::{DatasetId, Digest, ProjectId, SessionId, TaskKind};
use serde::{Deserialize, Serialize};

use crate::statement::canonical;
use crate::{Statement, sha256};

/// An input as it was asked for: at whatever version it has then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedInput {
    /// Its name in the app's manifest.
    pub name: String,
    /// Which dataset.
    pub dataset: DatasetId,
}

/// A request. It is signed by nobody: it is what two people compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The hub's id.
    pub hub: String,
    /// What is to be done.
    pub kind: TaskKind,
    /// The app session, for apps.
    pub session: Option<SessionId>,
    /// The app's digest, for apps.
    pub app: Option<Digest>,
    /// What is to be read.
    pub inputs: Vec<AskedInput>,
    /// Where the result goes, for apps.
    pub project: Option<ProjectId>,
    /// The result to be, for apps.
    pub result: Option<DatasetId>,
    /// The SHA-256 of the settings in clear.
    pub settings: Option<Digest>,
}

impl Statement for Asked {
    const KIND: &'static str = "chorion request v1";
}

impl Asked {
    /// The digest whose six words are compared.
    pub fn digest(&self) -> Digest {
        sha256(canonical(self).as_bytes())
    }
}
