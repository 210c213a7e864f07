//! What does not fit, named: every reason for which a log is not the one that it was, or not the one that it says it is.

use api::{Event, EventId, TaskId};

use super::{LeafFields, NoteError, commitment, leaf_hash};

/// Something in the log does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Alarm {
    /// A checkpoint does not verify.
    #[error("{0}")]
    Checkpoint(#[from] NoteError),
    /// The hub names another log key than before.
    #[error("the hub's log has another key than before: `{now}` instead of `{then}`")]
    OtherKey {
        /// The key that was seen first.
        then: String,
        /// The key now.
        now: String,
    },
    /// The log is shorter than it was.
    #[error(
        "the log was truncated, or the hub runs on an older copy: it has {now} leaves, and had {then}"
    )]
    Truncated {
        /// The size that was seen.
        then: u64,
        /// The size now.
        now: u64,
    },
    /// What was seen is not the beginning of what there is now.
    #[error(
        "the log was forked: its {now} leaves do not begin with the {then} leaves that {whom} seen before"
    )]
    Forked {
        /// The size that was seen.
        then: u64,
        /// The size now.
        now: u64,
        /// Who saw it, with the verb: `were`, `this witness has`.
        whom: &'static str,
    },
    /// An event without a leaf.
    #[error(
        "event {event} (`{act}` of {object}) has no leaf: it was added beside the log, or its leaf is gone"
    )]
    NoLeaf {
        /// The event.
        event: EventId,
        /// Its act.
        act: String,
        /// Its thing.
        object: String,
    },
    /// An event that is not the one its leaf commits to.
    #[error(
        "event {event} (`{act}` of {object}) is not what leaf {index} commits to: one of the two was changed"
    )]
    Changed {
        /// The event.
        event: EventId,
        /// Its act.
        act: String,
        /// Its thing.
        object: String,
        /// The leaf.
        index: u64,
    },
    /// A leaf that lies beyond the end of the log.
    #[error("event {event} says that it is leaf {index}, and the log has {size} leaves")]
    Beyond {
        /// The event.
        event: EventId,
        /// The leaf.
        index: u64,
        /// The size.
        size: u64,
    },
    /// A tile that is not of the tree under the checkpoint.
    #[error(
        "tile `{tile}` does not lead to the root of the checkpoint: a leaf of it, or a hash above it, was changed"
    )]
    Tile {
        /// The tile.
        tile: String,
    },
    /// A part of the tree that the checkpoint promises and the hub does not have.
    #[error("the hub does not have tile `{tile}` of the tree that its checkpoint promises")]
    Missing {
        /// The tile.
        tile: String,
    },
    /// Two events for one leaf.
    #[error("events {first} and {second} both say that they are leaf {index}")]
    Twice {
        /// One.
        first: EventId,
        /// The other.
        second: EventId,
        /// The leaf.
        index: u64,
    },
    /// An event that was there.
    #[error(
        "the event of leaf {index} is not listed any more, and was when the log was verified before"
    )]
    Gone {
        /// The leaf.
        index: u64,
    },
    /// A leaf that has become another.
    #[error("leaf {index} is another than when the log was verified before")]
    Other {
        /// The leaf.
        index: u64,
    },
    /// A receipt that does not fit.
    #[error("the receipt of task {task} does not fit the log: {what}")]
    Receipt {
        /// The task.
        task: TaskId,
        /// What is wrong.
        what: String,
    },
    /// A key that was released, and whose release is not in the log.
    #[error(
        "a key of {object} was released to this machine as leaf {index}, and the log does not say so"
    )]
    Unlogged {
        /// The thing.
        object: String,
        /// The leaf.
        index: u64,
    },
    /// The witness did not see the log, or not lately.
    #[error("the log is not witnessed: {0}")]
    Unwitnessed(String),
}

impl Alarm {
    /// The hash of the leaf that this event must be, in a log of `size` leaves.
    ///
    /// # Errors
    /// It has no leaf, one beyond the end, or is not what its leaf would commit to.
    pub fn leaf_of(event: &Event, size: u64) -> Result<(u64, api::Digest), Self> {
        let (id, act, object) = (event.id, event.act.clone(), event.object.clone());
        let Some(leaf) = &event.leaf else {
            return Err(Self::NoLeaf { event: id, act, object });
        };
        let index = leaf.index;
        if index >= size {
            return Err(Self::Beyond { event: id, index, size });
        }
        let fields = LeafFields::of(event);
        let fields = fields.ok_or(Self::Changed { event: id, act, object, index })?;
        Ok((index, leaf_hash(&commitment(&fields).0)))
    }
}
