//! An owner's device: what it believes of a request, what it signs, and which keys it then gives away (`spec/approval.md` section 5).
//!
//! The hub brings a request with everything that it is about, and none of it is believed. [`Device::judge`] verifies it from its first
//! byte, builds the approval from what it verified, and draws it; [`Device::give`] signs it, and seals the dataset keys that it lists to
//! the vault that it names. What is lacking for a judgement is asked of the caller ([`Need`]): the crate opens no file, socket or clock,
//! so the command line and the page in a browser judge by the same lines. `browser` is that page's side of it, and is compiled for
//! WASM alone.

mod act;
#[cfg(target_arch = "wasm32")]
#[expect(unreachable_pub, reason = "what is `pub` there is what the page may call")]
mod browser;
mod card;
mod content;
mod error;
mod evidence;
mod export;
mod grant;
mod handover;
mod holdings;
mod judge;
mod log;
mod writers;

pub use act::{Drawn, Moment, accepts};
pub use card::{Device, Seen, add_device, add_writer, own_card, owns, revoke_device, whole};
pub use content::Content;
pub use error::Refusal;
pub use evidence::OwnPolicy;
pub use export::NewCopy;
pub use grant::{NewGrant, covers};
pub use handover::{HandOver, Offered, OtherPerson, card_in_force, key_change, person_phrase};
pub use holdings::{Compared, HoldingAlarm, Holdings, Holds, Look};
pub use judge::{Given, Judged, Judging, Need, Shown};
pub use log::{
    LogStep, SeenLog, VerifiedLog, checkpoint_digest, receipt_of, verify_events, verify_log,
};
pub use writers::Writers;
