//! The instrument's side: a run folder goes to a hub while the instrument writes it, sealed before it leaves.
//!
//! [`Machine`] knows a run and decides; it has no disk, no network and no clock (`spec/broker-stream.md`). Around it thin
//! adapters scan the folder, read and fill packs, seal them on both cores, send them over an [`Uplink`], and write down what
//! must survive a kill: the [`journal`](Journal) of what lies where, which may be thrown away, and the [`RunState`] with the
//! run's key, which may not until the hub has taken the signed manifest. [`send_run`] drives them for one folder.
//!
//! A broker listens nowhere, deletes nothing in the folder it watches, and holds a few packs in memory, however large the run.

mod card;
mod drive;
mod fill;
mod folder;
mod journal;
mod keep;
mod machine;
mod pace;
mod progress;
mod state;
#[cfg(test)]
mod tests;
mod uplink;
mod version;

pub use card::{PinError, Pins, Standing as CardStanding};
pub use drive::{BrokerError, Event, Job, Outcome, Resources, Throttle, send_run};
pub use folder::{FilePath, ScanError, Seen, Stamp, is_over, scan};
pub use journal::{Journal, JournalError};
pub use keep::{KeepError, keep_verified};
pub use machine::{
    Decision, Kept, Machine, Message, NO_COPY_MARK, NO_MARK, Piece, RESTLESS, Reading, Record,
    Rules, Standing,
};
pub use pace::{Limit, LimitError, Pace};
pub use progress::Progress;
pub use state::{NewRun, RunState, StateError, runs_in};
pub use uplink::{HubUplink, Uplink, UplinkError};
