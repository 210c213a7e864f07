//! What every call works with: the database, the store, the key store, the custodians, and who this hub is.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use api::{Custodian, ErrorCode, HubInfo, Time};
use custody::{Custodians, CustodyError};
use proof::SigningKey;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::HubError;
use crate::app::log::Log;
use crate::app::organization_keys::{Holders, custody_error};
use crate::app::sign_in::work::Work;
use crate::app::sign_in::{Challenges, SlowDown};
use crate::data::{Db, intents::Releases, nonces::NonceLog, objects::ObjectLog, uses::Uses};
use crate::gate::Gate;
use crate::institution::Institution;
use crate::names::Names;

/// The hub as handlers see it. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

/// What a [`Hub`] is made of; read through it.
pub(crate) struct Inner {
    /// The hub's id: in cards, manifests and receipts.
    pub(crate) id: String,
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Where the keys of sealed snapshots lie.
    pub(crate) snapshot_keys: PathBuf,
    /// Accounts, projects, datasets, tasks, events.
    pub(crate) db: Db,
    /// Sealed objects.
    pub(crate) store: store::Store,
    /// Wrapped keys.
    pub(crate) keys: store::KeyStore,
    /// Who releases dataset keys, where it is not the project's organization.
    pub(crate) custodians: Custodians,
    /// Keys that organizations hold themselves.
    pub(crate) organization_keys: Holders,
    /// Signs platform cards.
    pub(crate) card_key: SigningKey,
    /// Keeps a second hub off the same data.
    pub(crate) _lock: std::fs::File,
    /// Under which names callers reach this hub.
    pub(crate) names: Names,
    /// Nonces of accepted calls.
    pub(crate) nonces: NonceLog,
    /// When keys were last of use.
    pub(crate) uses: Uses,
    /// The audit log's key and checkpoints.
    pub(crate) log: Log,
    /// Releases of keys, announced and ended in groups.
    pub(crate) releases: Releases,
    /// Rows of objects, written in groups.
    pub(crate) objects: ObjectLog,
    /// How people reach this hub, for mail.
    pub(crate) url: String,
    /// What takes mail; none is sent without.
    pub(crate) relay: Option<crate::Relay>,
    /// Until when the certificate authority counts, where its certificate says so.
    pub(crate) authority_ends: Option<Time>,
    /// The operator's own certificate.
    pub(crate) own_certificate: Option<Arc<crate::tls::OwnCertificate>>,
    /// What brokers say of their transfers.
    pub(crate) transfers: crate::app::progress::Transfers,
    /// What is counted for whoever watches over the machine.
    pub(crate) counters: crate::metrics::Counters,
    /// The clock; tests bring their own.
    pub(crate) clock: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Who is slowed and who is blocked.
    pub(crate) gate: Gate,
    /// Cancelled when the hub is told to stop.
    pub(crate) stopping: CancellationToken,
    /// Work that goes on behind the calls; the hub waits for it when it stops.
    pub(crate) background: TaskTracker,
    /// Where passwords are computed.
    pub(crate) passwords: Work,
    /// What goes out to passkeys and must come back.
    pub(crate) challenges: Challenges,
    /// Failed sign-ins, which make the next try wait.
    pub(crate) slow_down: SlowDown,
    /// The institution whose people may sign in.
    pub(crate) institution: Option<Institution>,
    /// Held while descriptions are brought after their rows.
    pub(crate) describing: tokio::sync::Mutex<()>,
    /// Held while indexes of cases are built and taken away.
    pub(crate) indexing: tokio::sync::Mutex<()>,
    /// The pages elsewhere that may call: owners' authenticators.
    pub(crate) authenticators: crate::http::Authenticators,
    /// Word to owners' devices that something changed for them.
    pub(crate) changes: Arc<crate::app::changes::Changes>,
    /// What is built for pages that open files in the browser.
    pub(crate) built: crate::site::Built,
    /// How vaults are started.
    pub(crate) engine: crate::engine::Engine,
}

impl Hub {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Now, by the hub's clock.
    pub(crate) fn now(&self) -> Time {
        (self.clock)()
    }

    /// The custodian of that kind, or the sentence that it is not offered.
    pub(crate) fn custodian(
        &self,
        kind: Custodian,
    ) -> Result<&Arc<dyn custody::Custodian>, HubError> {
        Ok(self.custodians.get(kind)?)
    }

    /// Until when what is destroyed now can still be in a sealed snapshot of the wrapped keys.
    pub(crate) fn snapshots_until(&self) -> Option<Time> {
        crate::backup::last_end(&self.snapshot_keys, self.now())
    }

    /// Destroys the keys of snapshots whose time is over.
    pub(crate) fn destroy_ended_snapshots(&self) {
        match crate::backup::destroy_ended(&self.snapshot_keys, self.now()) {
            Ok(0) => {}
            Ok(ended) => {
                tracing::info!(ended, "keys of old snapshots of the key store were destroyed");
            }
            Err(error) => tracing::error!("keys of old snapshots were not destroyed: {error}"),
        }
    }

    /// What the hub says of itself.
    pub(crate) fn info(&self) -> HubInfo {
        HubInfo {
            id: self.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            card_key: api::Bytes(self.card_key.public().to_bytes().to_vec()),
            custodians: self.custodians.offered().collect(),
            time: self.now(),
        }
    }
}

impl Deref for Hub {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({})", self.id)
    }
}

impl From<CustodyError> for HubError {
    fn from(cause: CustodyError) -> Self {
        match &cause {
            CustodyError::NotOffered { kind } => Self::new(
                ErrorCode::NotOffered,
                format!("this hub does not offer custody by the {}", kind.as_str()),
            )
            .hint("`GET /api/v1/whoami` lists the custodians that it offers"),
            CustodyError::DoesNotOpen(_) => Self::new(
                ErrorCode::KeyRefused,
                "the wrapped key does not open for this dataset, project, card and epoch",
            )
            .hint("wrap it to the recipient in the project's card, with the card in force")
            .caused_by(cause),
            CustodyError::OwnersAlone => Self::new(
                ErrorCode::KeyRefused,
                "the key is the owner's alone: this hub cannot open it, and releases it to nobody",
            )
            .hint(
                "open it on the owner's device: `chorion sample download` with the identity file",
            ),
            CustodyError::OtherRecipient => Self::new(
                ErrorCode::KeyRefused,
                "the vault's evidence binds another recipient than the one named",
            ),
            _ => custody_error(cause),
        }
    }
}
