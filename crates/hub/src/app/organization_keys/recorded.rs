//! A customer's key, each use of which stands in the audit log: announced before its service is asked, with its outcome after.
//!
//! The log of the key service has the same uses, and the customer can lay the one beside the other (`chorion audit reconcile`).

use std::fmt;
use std::sync::Arc;

use api::{OrganizationId, Outcome, Secret, Time};
use custody::kms::{
    CustomerKey, KeyContext, KeyDescription, KmsError, OrganizationKey, Provider, WrappedKey,
};

use crate::HubError;
use crate::data::audit::Bound;
use crate::data::events::NewEvent;
use crate::data::intents::Releases;
use crate::state::Hub;

const WRAP: &str = "kms.wrap";
const UNWRAP: &str = "kms.unwrap";
const DESCRIBE: &str = "kms.describe";
const KEEP_SECRET: &str = "kms.secret.keep";
const SECRET: &str = "kms.secret.read";
const DROP_SECRET: &str = "kms.secret.drop";
/// Every act that is announced here.
pub(crate) const ACTS: [&str; 6] = [WRAP, UNWRAP, DESCRIBE, KEEP_SECRET, SECRET, DROP_SECRET];

/// A customer's key with the log before it.
pub(crate) struct Recorded {
    inner: Arc<dyn CustomerKey>,
    organization: OrganizationId,
    purpose: &'static str,
    releases: Releases,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
}

impl Recorded {
    /// Records each use of `inner`, as being for `purpose`.
    pub(crate) fn new(
        hub: &Hub,
        organization: OrganizationId,
        inner: Arc<dyn CustomerKey>,
        purpose: &'static str,
    ) -> Self {
        let (releases, clock) = (hub.releases.clone(), Arc::clone(&hub.clock));
        Self { inner, organization, purpose, releases, clock }
    }

    /// The thing: which of the organization's keys, or a secret of its index.
    fn object(&self, of: Option<&KeyContext>) -> String {
        let id = self.organization;
        match of {
            Some(of) => format!("organization-key:{id}/{}/{}", of.purpose.as_str(), of.version),
            None => format!("organization:{id}"),
        }
    }

    async fn record<T>(
        &self,
        act: &'static str,
        of: Option<&KeyContext>,
        asked: impl Future<Output = Result<T, KmsError>> + Send,
    ) -> Result<T, KmsError> {
        let canary = of.is_some_and(|of| of.purpose == api::KeyPurpose::Canary);
        let event = NewEvent {
            at: (self.clock)(),
            actor: "hub".to_owned(),
            act,
            object: self.object(of),
            project: None,
            purpose: Some(if canary { "probe" } else { self.purpose }.to_owned()),
            outcome: Outcome::Intended,
            reason: None,
            request: None,
        };
        let bound = Bound { organization: Some(self.organization), ..Bound::default() };
        // A log that cannot be written keeps the key service from being asked.
        let no_log = |error: HubError| KmsError::Away(Box::new(error));
        let intent = self.releases.intend(event, bound).await.map_err(no_log)?;
        let said = asked.await;
        let failure = said.as_ref().err().map(|error| {
            let code = if error.trouble().is_some() {
                api::ErrorCode::KeyAway
            } else {
                api::ErrorCode::Unavailable
            };
            HubError::new(code, error.to_string())
        });
        self.releases.close(intent, failure.as_ref(), (self.clock)()).await.map_err(no_log)?;
        said
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorded({:?})", self.inner)
    }
}

#[async_trait::async_trait]
impl CustomerKey for Recorded {
    fn provider(&self) -> Provider {
        self.inner.provider()
    }

    async fn wrap(&self, of: &KeyContext, key: &OrganizationKey) -> Result<WrappedKey, KmsError> {
        self.record(WRAP, Some(of), self.inner.wrap(of, key)).await
    }

    async fn unwrap(
        &self,
        of: &KeyContext,
        wrapped: &WrappedKey,
    ) -> Result<OrganizationKey, KmsError> {
        self.record(UNWRAP, Some(of), self.inner.unwrap(of, wrapped)).await
    }

    async fn describe(&self) -> Result<KeyDescription, KmsError> {
        self.record(DESCRIBE, None, self.inner.describe()).await
    }

    async fn keep_secret(&self, name: &str, secret: &Secret) -> Result<String, KmsError> {
        self.record(KEEP_SECRET, None, self.inner.keep_secret(name, secret)).await
    }

    async fn secret(&self, place: &str) -> Result<Secret, KmsError> {
        self.record(SECRET, None, self.inner.secret(place)).await
    }

    async fn drop_secret(&self, place: &str) -> Result<(), KmsError> {
        self.record(DROP_SECRET, None, self.inner.drop_secret(place)).await
    }
}
