//! Standing grants: what a device approves by itself, as often and as long as a person said (`spec/approval.md` section 8).

use api::{Bytes, Custodian, Digest, Time};
use proof::{Act, Mode, Output, OwnerCard, StandingGrant};

use crate::act::later;
use crate::card::{Device, whole};
use crate::error::Refusal;
use crate::judge::Judged;

/// What a person grants.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// The app's digest.
    pub app: Digest,
    /// How often at most.
    pub uses: u32,
    /// For how many days.
    pub days: i64,
}

impl Device<'_> {
    /// The act that grants `new` in the project of `card`, from which inputs come and into which results go.
    ///
    /// # Errors
    /// The project bears no test mark, and its card lists no vault program that a grant could name.
    pub fn grant(&self, card: &OwnerCard, new: &NewGrant, now: Time) -> Result<Act, Refusal> {
        if !card.test && card.measurements.is_empty() {
            return Err(Refusal::NoVaultProgram { project: card.project });
        }
        // Under a test mark vaults that prove nothing are enough; else those that the card lists, and no other.
        let measurements = if card.test { Vec::new() } else { card.measurements.clone() };
        Ok(Act::StandingGrant(StandingGrant {
            device: Bytes(self.approval_key.public().to_bytes().to_vec()),
            app: new.app,
            measurements,
            into: Output {
                project: card.project,
                card: card.digest(),
                custodian: Custodian::Owner,
                dataset: None,
            },
            uses: new.uses,
            until: later(whole(now), new.days.saturating_mul(24 * 60 * 60))?,
        }))
    }
}

/// Whether a grant covers a request: the app, the one project, the window and the count. It never exports.
#[must_use]
pub fn covers(
    grant: &StandingGrant,
    digest: Digest,
    judged: &Judged,
    used: u32,
    now: Time,
) -> bool {
    let Act::App(run) = &judged.approval.act else { return false };
    let into = |output: &Output| {
        output.project == grant.into.project && output.custodian == Custodian::Owner
    };
    run.grant == Some(digest)
        && judged.app == Some(grant.app)
        && judged.approval.project == grant.into.project
        && run.outputs.iter().all(into)
        && match &run.vault.mode {
            Mode::Unattested { .. } => grant.measurements.is_empty(),
            Mode::Snp { measurement, .. } => grant.measurements.contains(measurement),
        }
        && used < grant.uses
        && now < grant.until
}
