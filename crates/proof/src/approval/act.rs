//! What can be approved: a kind each, with its own closed set of fields.

use std::collections::BTreeSet;

use api::{AccountId, Bytes, Custodian, DatasetId, Digest, ProjectId, TaskId, Time};
use serde::{Deserialize, Serialize};

use super::{ApprovalError, MOST_GRANT_SECONDS, MOST_GRANT_USES};
use crate::PublicKey;

const MEASUREMENT_BYTES: usize = 48;
const MOST_INPUTS: usize = 1_000;

/// What is approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A vault may start, and must show that it was asked for.
    Boot(Boot),
    /// A program may read these datasets and write that one.
    App(RunApp),
    /// A question may be answered.
    Query(RunQuery),
    /// Other measurements than before may open the project.
    CodeUpdate(CodeUpdate),
    /// A dataset goes into custody that others hold.
    Export(Export),
    /// Another person may open a dataset.
    Share(Share),
    /// The project gets another owner.
    Transfer(Transfer),
    /// Something is destroyed, for ever.
    Delete(Delete),
    /// The project gets another kind of custodian.
    CustodianChange(CustodianChange),
    /// A vault's key becomes a writer of one dataset.
    Writer(Writer),
    /// A device may approve an app by itself for a while.
    StandingGrant(StandingGrant),
    /// The owner gets other words.
    KeyChange(KeyChange),
}

/// The vault that gets keys, by both of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultKeys {
    /// SHA-256 of its X-Wing public key: dataset keys are sealed to that key alone.
    pub recipient: Digest,
    /// Its Ed25519 receipt key, 32 bytes: it signs what it writes.
    pub receipt_key: Bytes,
    /// How it proved what it is.
    pub mode: Mode,
}

/// How a vault proved what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    /// By a report of AMD SEV-SNP.
    Snp {
        /// The launch measurement, 48 bytes.
        measurement: Bytes,
        /// The digest of the appraisal policy that accepted it.
        policy: Digest,
        /// SHA-384 of the report's signed part, 48 bytes.
        report: Bytes,
    },
    /// By nothing. NOT CONFIDENTIAL.
    Unattested {
        /// The digest of what it said of itself.
        evidence: Digest,
    },
}

/// An input: one dataset at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its name in the app's manifest.
    pub name: String,
    /// Which dataset.
    pub dataset: DatasetId,
    /// The digest of its manifest.
    pub manifest: Digest,
}

/// Where something that is made goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Into which project.
    pub project: ProjectId,
    /// The digest of its card: the key that the output is sealed to.
    pub card: Digest,
    /// Who holds that key.
    pub custodian: Custodian,
    /// Which dataset; `null` for those that a demultiplexing finds.
    pub dataset: Option<DatasetId>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Program {
    /// An app, whole: the digest covers every file of it.
    App {
        /// The digest.
        digest: Digest,
        /// Its manifest, as it stands in the package.
        manifest: String,
    },
    /// The vault's own demultiplexing.
    Demultiplex {},
    /// The vault's own writing anew under a new key.
    Reseal {},
}

/// `boot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// The task it is for.
    pub task: TaskId,
    /// Which measurements may be shown, 48 bytes each.
    pub measurements: Vec<Bytes>,
    /// The digest of the appraisal policy.
    pub policy: Digest,
    /// 32 random bytes that must return in the report's `REPORT_DATA`.
    pub challenge: Digest,
}

/// `app`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunApp {
    /// The task.
    pub task: TaskId,
    /// The digest of what was asked for, whose six words both screens show.
    pub request: Digest,
    /// What runs.
    pub program: Program,
    /// The SHA-256 of the settings in clear, which are sealed beside it; `null` where there are none.
    pub settings: Option<Digest>,
    /// Everything that it reads.
    pub inputs: Vec<Input>,
    /// Everything that it writes.
    pub outputs: Vec<Output>,
    /// The vault.
    pub vault: VaultKeys,
    /// The digest of the standing grant that a device carries out with it; `null` where a person said yes.
    pub grant: Option<Digest>,
}

/// `query`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunQuery {
    /// The task.
    pub task: TaskId,
    /// The digest of what was asked for.
    pub request: Digest,
    /// The SHA-256 of the typed query and a salt (`api::query::SaltedQuery`), which are sealed beside it.
    pub query: Digest,
    /// Everything that it reads.
    pub inputs: Vec<Input>,
    /// Where the sealed answer lies.
    pub outputs: Vec<Output>,
    /// SHA-256 of the X-Wing public key that the answer is sealed to.
    pub recipient: Digest,
    /// How large the answer may be.
    pub most_answer_bytes: u64,
    /// The vault.
    pub vault: VaultKeys,
}

/// `code_update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeUpdate {
    /// The digest of the signed release list that names the new ones.
    pub release: Digest,
    /// Those that may no longer open the project, 48 bytes each.
    pub remove: Vec<Bytes>,
    /// Those that may from now on.
    pub add: Vec<Bytes>,
}

/// `export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// What.
    pub input: Input,
    /// Where to.
    pub output: Output,
}

/// `share`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// What.
    pub input: Input,
    /// With whom.
    pub account: AccountId,
    /// SHA-256 of that person's X-Wing public key, which was compared by six words.
    pub recipient: Digest,
}

/// `transfer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// To whom.
    pub account: AccountId,
    /// The new owner's card key, 32 bytes.
    pub owner: Bytes,
    /// SHA-256 of the new owner's X-Wing public key.
    pub recipient: Digest,
    /// Whether everything is written anew, so that keys kept from before open nothing.
    pub reseal: bool,
}

/// `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// Which dataset; `null` for the whole project.
    pub dataset: Option<DatasetId>,
}

/// `custodian_change`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustodianChange {
    /// Who shall hold the key.
    pub custodian: Custodian,
    /// The digest of the card that says so.
    pub card: Digest,
    /// Whether everything is written anew.
    pub reseal: bool,
}

/// `writer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writer {
    /// Which dataset it wrote.
    pub dataset: DatasetId,
    /// The digest of the manifest that it signed.
    pub manifest: Digest,
    /// The receipt key, 32 bytes.
    pub key: Bytes,
}

/// `standing_grant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingGrant {
    /// The device that carries it out, 32 bytes.
    pub device: Bytes,
    /// The one app.
    pub app: Digest,
    /// The measurements of vaults that may be given keys, 48 bytes each; none for unattested vaults of a test project.
    pub measurements: Vec<Bytes>,
    /// The one project that results go to.
    pub into: Output,
    /// How often.
    pub uses: u32,
    /// Until when, 30 days at most.
    pub until: Time,
}

/// `key_change`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChange {
    /// The new card key, 32 bytes.
    pub owner: Bytes,
    /// SHA-256 of the new X-Wing public key.
    pub recipient: Digest,
    /// Whether everything is written anew, because bodies may have been taken.
    pub reseal: bool,
}

impl Act {
    /// The kind, as it stands in the text.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Boot(_) => "boot",
            Self::App(_) => "app",
            Self::Query(_) => "query",
            Self::CodeUpdate(_) => "code_update",
            Self::Export(_) => "export",
            Self::Share(_) => "share",
            Self::Transfer(_) => "transfer",
            Self::Delete(_) => "delete",
            Self::CustodianChange(_) => "custodian_change",
            Self::Writer(_) => "writer",
            Self::StandingGrant(_) => "standing_grant",
            Self::KeyChange(_) => "key_change",
        }
    }

    /// The vault that keys are released to, for the kinds that release some.
    pub const fn vault(&self) -> Option<&VaultKeys> {
        match self {
            Self::App(run) => Some(&run.vault),
            Self::Query(query) => Some(&query.vault),
            _ => None,
        }
    }

    /// The task, for the kinds that are for one.
    pub const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Boot(boot) => Some(boot.task),
            Self::App(run) => Some(run.task),
            Self::Query(query) => Some(query.task),
            _ => None,
        }
    }

    pub(super) fn check(&self, from: Time) -> Result<(), ApprovalError> {
        let wrong = |why| Err(ApprovalError::Form { why });
        match self {
            Self::Boot(boot) => measurements(&boot.measurements),
            Self::App(run) => {
                inputs(&run.inputs)?;
                if run.outputs.is_empty() {
                    return wrong("it names nothing that is written");
                }
                run.vault.check()
            }
            Self::Query(query) => {
                inputs(&query.inputs)?;
                if query.outputs.is_empty() {
                    return wrong("it names nothing that is written");
                }
                query.vault.check()
            }
            Self::CodeUpdate(update) => {
                measurements(&update.remove)?;
                measurements(&update.add)
            }
            Self::Export(export) => {
                if export.output.custodian == Custodian::Owner {
                    return wrong("what stays with an owner is no export");
                }
                Ok(())
            }
            Self::Transfer(transfer) => key(&transfer.owner),
            Self::CustodianChange(change) => {
                if change.custodian == Custodian::Owner {
                    return wrong("the custodian stays the owner");
                }
                Ok(())
            }
            Self::Writer(writer) => key(&writer.key),
            Self::StandingGrant(grant) => {
                key(&grant.device)?;
                measurements(&grant.measurements)?;
                let seconds = grant.until.as_second() - from.as_second();
                if seconds <= 0 || seconds > MOST_GRANT_SECONDS {
                    return wrong("a standing grant counts for 30 days at most");
                }
                if grant.uses == 0 || grant.uses > MOST_GRANT_USES {
                    return wrong("a standing grant counts 1 to 10,000 times");
                }
                if grant.into.custodian != Custodian::Owner {
                    return wrong("a standing grant never exports");
                }
                Ok(())
            }
            Self::KeyChange(change) => key(&change.owner),
            Self::Share(_) | Self::Delete(_) => Ok(()),
        }
    }
}

impl VaultKeys {
    fn check(&self) -> Result<(), ApprovalError> {
        key(&self.receipt_key)?;
        match &self.mode {
            Mode::Snp { measurement, report, .. }
                if measurement.0.len() != MEASUREMENT_BYTES
                    || report.0.len() != MEASUREMENT_BYTES =>
            {
                Err(ApprovalError::Form {
                    why: "a measurement or a report's digest has not 48 bytes",
                })
            }
            _ => Ok(()),
        }
    }
}

fn key(bytes: &Bytes) -> Result<(), ApprovalError> {
    let read = PublicKey::from_bytes(&bytes.0);
    read.map(drop).map_err(|_| ApprovalError::Form { why: "a key in it is none" })
}

fn measurements(list: &[Bytes]) -> Result<(), ApprovalError> {
    let distinct: BTreeSet<_> = list.iter().map(|m| &m.0).collect();
    if list.iter().any(|m| m.0.len() != MEASUREMENT_BYTES) || distinct.len() != list.len() {
        return Err(ApprovalError::Form {
            why: "a measurement has not 48 bytes, or stands in it twice",
        });
    }
    Ok(())
}

fn inputs(list: &[Input]) -> Result<(), ApprovalError> {
    let mut seen = BTreeSet::new();
    if list.is_empty() || list.len() > MOST_INPUTS {
        return Err(ApprovalError::Form { why: "it names no input, or more than 1,000" });
    }
    if !list.iter().all(|input| seen.insert((&input.name, input.dataset))) {
        return Err(ApprovalError::Form { why: "one input stands in it twice" });
    }
    Ok(())
}
