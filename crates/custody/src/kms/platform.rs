//! The platform's key where a customer's was: what holds an organization's keys once it has left its own key service.
//!
//! It conforms to what is asked of a customer's key, so that whatever is built on one goes on: organization keys are wrapped by the
//! platform's custodian as dataset keys are, for a context of their own. There is nobody who could take this key away, and the operator
//! reads what lies under it: leaving says so.

use std::fmt;
use std::sync::Arc;

use api::Secret;
use data_encoding::HEXLOWER;
use proof::sha256;
use seal::DatasetKey;
use seal::label::seal_label;
use seal::wrap::DatasetContext;
use zeroize::Zeroizing;

use super::{
    CustomerKey, KeyContext, KeyDescription, KeyState, KmsError, OrganizationKey, Provider,
    WrappedKey,
};
use crate::{Custodian, CustodyError, Opened};

const KEY: &str = "platform";
const ALGORITHM: &str = "platform custody";
/// The purpose under which a secret is sealed.
const SECRET: &str = "index salt";

/// The platform's custodian, asked as a customer's key is.
pub struct PlatformKey(Arc<dyn Custodian>);

impl PlatformKey {
    /// The key of this custodian, which is the platform's.
    #[must_use]
    pub const fn of(platform: Arc<dyn Custodian>) -> Self {
        Self(platform)
    }
}

impl fmt::Debug for PlatformKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlatformKey")
    }
}

/// Where a key that is no dataset's belongs: in no dataset and no project that can be.
fn place(of: &[u8]) -> DatasetContext {
    DatasetContext { dataset: [0; 16], project: [0; 16], card_digest: sha256(of).0, epoch: 0 }
}

fn failed(error: CustodyError) -> KmsError {
    match error {
        CustodyError::DoesNotOpen(_)
        | CustodyError::OtherCustodian { .. }
        | CustodyError::UnknownKey { .. } => KmsError::DoesNotOpen { key: KEY.to_owned() },
        other => KmsError::Away(Box::new(other)),
    }
}

#[async_trait::async_trait]
impl CustomerKey for PlatformKey {
    fn provider(&self) -> Provider {
        Provider::Platform
    }

    async fn wrap(&self, of: &KeyContext, key: &OrganizationKey) -> Result<WrappedKey, KmsError> {
        let key = Opened::new(DatasetKey::from_bytes(*key.expose()), place(&of.bytes()));
        Ok(WrappedKey {
            provider: Provider::Platform,
            key: KEY.to_owned(),
            algorithm: ALGORITHM.to_owned(),
            blob: api::Bytes(self.0.keep(&key).await.map_err(failed)?),
        })
    }

    async fn unwrap(
        &self,
        of: &KeyContext,
        wrapped: &WrappedKey,
    ) -> Result<OrganizationKey, KmsError> {
        if wrapped.provider != Provider::Platform {
            return Err(KmsError::OtherProvider { provider: wrapped.provider });
        }
        let closed = || KmsError::DoesNotOpen { key: KEY.to_owned() };
        let opened = self.0.open_for_hub(&place(&of.bytes()), &wrapped.blob.0).await;
        let opened = opened.map_err(failed)?.ok_or_else(closed)?;
        OrganizationKey::from_slice(opened.parts().0.expose()).ok_or_else(closed)
    }

    async fn describe(&self) -> Result<KeyDescription, KmsError> {
        Ok(KeyDescription {
            key: KEY.to_owned(),
            state: KeyState::Enabled,
            deleted_on: None,
            purgeable: false,
        })
    }

    /// The place is the secret itself, sealed: `platform:NAME:KEY:SECRET`, the last two in hex. It goes with the row that holds it.
    async fn keep_secret(&self, name: &str, secret: &Secret) -> Result<String, KmsError> {
        let random = |e| KmsError::Away(Box::new(e));
        let key = DatasetKey::generate().map_err(random)?;
        let sealed = seal_label(&key, SECRET, secret.reveal().as_bytes())
            .map_err(|e| KmsError::Away(Box::new(e)))?;
        let kept = self.0.keep(&Opened::new(key, place(name.as_bytes()))).await.map_err(failed)?;
        Ok(format!("{KEY}:{name}:{}:{}", HEXLOWER.encode(&kept), HEXLOWER.encode(&sealed)))
    }

    async fn secret(&self, at: &str) -> Result<Secret, KmsError> {
        let none = || KmsError::NoSuchKey { key: "of a secret that the platform keeps".to_owned() };
        let mut parts = at.split(':');
        let (Some(KEY), Some(name), Some(kept), Some(sealed), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(none());
        };
        let bytes = |hex: &str| HEXLOWER.decode(hex.as_bytes()).map_err(|_| none());
        let opened = self.0.open_for_hub(&place(name.as_bytes()), &bytes(kept)?).await;
        let opened = opened.map_err(failed)?.ok_or_else(none)?;
        let text = opened.open_label(SECRET, &bytes(sealed)?).map(Zeroizing::new);
        let text = text.map_err(|_| none())?;
        let text = std::str::from_utf8(&text).map_err(|_| none())?;
        Ok(Secret::new(Zeroizing::new(text.to_owned())))
    }

    /// Nothing is kept but the place, which the caller forgets.
    async fn drop_secret(&self, _at: &str) -> Result<(), KmsError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlatformCustodian;
    use crate::kms::Effect;
    use crate::kms::conformance::conforms;

    fn held() -> (tempfile::TempDir, PlatformKey) {
        let folder = tempfile::tempdir().unwrap();
        let platform = PlatformCustodian::create(&folder.path().join("platform.key")).unwrap();
        (folder, PlatformKey::of(Arc::new(platform)))
    }

    #[tokio::test]
    async fn the_platforms_key_conforms_to_what_is_asked_of_a_customers() {
        let (_folder, held) = held();
        conforms(&held).await;
    }

    #[tokio::test]
    async fn a_salt_that_the_platform_keeps_is_sealed_in_its_place_and_comes_back_from_it_alone() {
        let (_folder, held) = held();
        let salt = crate::organization::new_salt().unwrap();
        let at = held.keep_secret("org-mrn-1-x", &salt).await.unwrap();
        assert!(!at.contains(salt.reveal()));
        assert_eq!(held.secret(&at).await.unwrap().reveal(), salt.reveal());
        let renamed = at.replace("org-mrn-1-x", "org-mrn-2-x");
        assert_eq!(held.secret(&renamed).await.unwrap_err().effect(), Effect::Refuse);
        for wrong in ["", "chorion/ORGANIZATION-mrn", &at[..at.len() - 2], &format!("{at}:00")] {
            let refused = held.secret(wrong).await.unwrap_err();
            assert!(refused.trouble().is_some(), "{wrong}: {refused}");
        }
    }
}
