//! What a device says when something of its owner's is missing.

use api::{DatasetId, ProjectId, Time};

use crate::Refusal;

/// Something that an owner's projects held is missing, or is not what it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HoldingAlarm {
    /// A dataset of a project that is there.
    #[error(
        "dataset {dataset} of project {project} is missing: it is not listed, and no leaf of the log says that it was destroyed"
    )]
    Dropped {
        /// Which.
        dataset: DatasetId,
        /// Where it was.
        project: ProjectId,
    },
    /// A dataset that this device never saw.
    #[error(
        "dataset {dataset} is missing: leaf {leaf} of the log is a content of it, it is not listed, and no leaf says that it was destroyed"
    )]
    NeverListed {
        /// Which.
        dataset: DatasetId,
        /// Its newest content.
        leaf: u64,
    },
    /// A whole project.
    #[error(
        "project {project} is missing: it is not listed as yours, and no leaf of the log says that it was deleted or given away"
    )]
    Project {
        /// Which.
        project: ProjectId,
    },
    /// Something that only the owner's approval destroys.
    #[error(
        "dataset {dataset} was destroyed at {at} by {actor}, and the log names no approval of yours for it"
    )]
    Unapproved {
        /// Which.
        dataset: DatasetId,
        /// When, as the log says.
        at: Time,
        /// By whom, as the log says.
        actor: String,
    },
    /// A dataset in another project.
    #[error("dataset {dataset} is listed in project {now}, and was in project {then}")]
    Moved {
        /// Which.
        dataset: DatasetId,
        /// Where it was.
        then: ProjectId,
        /// Where it is listed.
        now: ProjectId,
    },
    /// A dataset without what it held.
    #[error("dataset {dataset} is listed without content, and had some: leaf {leaf} of the log")]
    Emptied {
        /// Which.
        dataset: DatasetId,
        /// Its newest content.
        leaf: u64,
    },
    /// Content that is listed alone.
    #[error("the hub lists content {number} of dataset {dataset}, and does not show it")]
    Withheld {
        /// Which.
        dataset: DatasetId,
        /// The number of the manifest that is listed.
        number: u32,
    },
    /// Content of another dataset.
    #[error("what the hub shows as the content of dataset {dataset} is no content of it")]
    Mixed {
        /// Which.
        dataset: DatasetId,
    },
    /// Content that is not the newest.
    #[error(
        "the hub shows content {number} of dataset {dataset}, and leaf {leaf} of the log is a later one"
    )]
    Older {
        /// Which.
        dataset: DatasetId,
        /// The number of the manifest that is shown.
        number: u32,
        /// The leaf of the newest.
        leaf: u64,
    },
    /// Content that was never logged.
    #[error(
        "the hub shows content {number} of dataset {dataset}, which no leaf of the log tells of"
    )]
    Unlogged {
        /// Which.
        dataset: DatasetId,
        /// The number of the manifest that is shown.
        number: u32,
    },
    /// Content that is older or other than what this device saw.
    #[error(transparent)]
    Seen(#[from] Refusal),
}
