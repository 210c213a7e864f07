//! The organization as a custodian of dataset keys, while its keys are open.

use std::fmt;
use std::sync::Arc;

use seal::recipient::{RecipientKey, wrap_to};
use seal::wrap::DatasetContext;

use super::Keys;
use crate::custodian::refused;
use crate::{Custodian, CustodyError, Grounds, Opened};

/// An organization's custody, with its keys open. It serves while their lease lasts; ask for another then.
pub struct OrganizationCustodian {
    keys: Arc<Keys>,
    recipient: RecipientKey,
}

impl OrganizationCustodian {
    /// The custody of whose keys these are; `recipient` is the newest of its recipient keys.
    #[must_use]
    pub const fn new(keys: Arc<Keys>, recipient: RecipientKey) -> Self {
        Self { keys, recipient }
    }
}

impl fmt::Debug for OrganizationCustodian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrganizationCustodian({})", self.keys.organization())
    }
}

#[async_trait::async_trait]
impl Custodian for OrganizationCustodian {
    fn kind(&self) -> api::Custodian {
        api::Custodian::Organization
    }

    fn recipient(&self) -> Option<&RecipientKey> {
        Some(&self.recipient)
    }

    async fn adopt(&self, context: &DatasetContext, sent: &[u8]) -> Result<Vec<u8>, CustodyError> {
        self.keys.wrap(context, &self.keys.unwrap_sent(context, sent)?)
    }

    async fn release(
        &self,
        context: &DatasetContext,
        kept: &[u8],
        to: &RecipientKey,
        grounds: Grounds<'_>,
    ) -> Result<Vec<u8>, CustodyError> {
        match grounds {
            // The customer's key was asked when the lease began; within it the hub's word counts, and the log has both.
            Grounds::Policy { .. } => {}
            Grounds::Vault(appraised) if appraised.recipient() == to => {}
            Grounds::Vault(_) => return Err(CustodyError::OtherRecipient),
        }
        let key = self.keys.unwrap(context, kept)?;
        wrap_to(to, &context.bytes(), &key).map_err(refused)
    }

    async fn rewrap(
        &self,
        from: &DatasetContext,
        kept: &[u8],
        to: &DatasetContext,
    ) -> Result<Vec<u8>, CustodyError> {
        self.keys.wrap(to, &self.keys.unwrap(from, kept)?)
    }

    async fn open_for_hub(
        &self,
        context: &DatasetContext,
        kept: &[u8],
    ) -> Result<Option<Opened>, CustodyError> {
        Ok(Some(Opened::new(self.keys.unwrap(context, kept)?, *context)))
    }

    async fn keep(&self, opened: &Opened) -> Result<Vec<u8>, CustodyError> {
        let (key, context) = opened.parts();
        self.keys.wrap(context, key)
    }
}
