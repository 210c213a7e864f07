//! Custody by a person: dataset keys are wrapped to the X-Wing key of the owner's words, and nothing here can open them.
//!
//! What is kept is what was sent, with the context it was sent for in front, so that a wrapped key that was moved to another
//! dataset, project, card or epoch is noticed before anybody asks the owner to open it (`spec/custody.md`, section 6). There
//! is no key in this file: releasing is the owner's device's work, and the hub relays.

use proof::sha256;
use seal::WrapError;
use seal::recipient::{RecipientKey, WRAPPED_BYTES};
use seal::wrap::DatasetContext;

use crate::{Custodian, CustodyError, Grounds, Opened};

/// The first bytes of what is kept at rest: this layout, and whose it is.
const HEADER: [u8; 2] = [1, 3];
const CONTEXT_BYTES: usize = 32;

/// An owner's custody, as far as a hub has any part in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnerCustodian;

/// What was sent, out of what is kept for that context.
fn sent<'a>(context: &DatasetContext, kept: &'a [u8]) -> Result<&'a [u8], CustodyError> {
    let rest = kept
        .strip_prefix(&HEADER)
        .filter(|rest| rest.len() == CONTEXT_BYTES + WRAPPED_BYTES)
        .ok_or(CustodyError::OtherCustodian { kind: api::Custodian::Owner })?;
    let (place, sent) = rest.split_at(CONTEXT_BYTES);
    if place == sha256(&context.bytes()).0 {
        Ok(sent)
    } else {
        Err(CustodyError::DoesNotOpen(WrapError::DoesNotOpen))
    }
}

#[async_trait::async_trait]
impl Custodian for OwnerCustodian {
    fn kind(&self) -> api::Custodian {
        api::Custodian::Owner
    }

    fn recipient(&self) -> Option<&RecipientKey> {
        None
    }

    async fn adopt(
        &self,
        context: &DatasetContext,
        wrapped: &[u8],
    ) -> Result<Vec<u8>, CustodyError> {
        if wrapped.len() != WRAPPED_BYTES {
            return Err(CustodyError::DoesNotOpen(WrapError::DoesNotOpen));
        }
        Ok([&HEADER[..], &sha256(&context.bytes()).0, wrapped].concat())
    }

    async fn release(
        &self,
        context: &DatasetContext,
        kept: &[u8],
        _to: &RecipientKey,
        _grounds: Grounds<'_>,
    ) -> Result<Vec<u8>, CustodyError> {
        sent(context, kept)?;
        Err(CustodyError::OwnersAlone)
    }

    async fn rewrap(
        &self,
        from: &DatasetContext,
        kept: &[u8],
        _to: &DatasetContext,
    ) -> Result<Vec<u8>, CustodyError> {
        sent(from, kept)?;
        Err(CustodyError::OwnersAlone)
    }

    fn relay(
        &self,
        context: &DatasetContext,
        kept: &[u8],
    ) -> Result<Option<Vec<u8>>, CustodyError> {
        sent(context, kept).map(|sent| Some(sent.to_vec()))
    }

    async fn open_for_hub(
        &self,
        context: &DatasetContext,
        kept: &[u8],
    ) -> Result<Option<Opened>, CustodyError> {
        sent(context, kept).map(|_| None)
    }

    async fn keep(&self, _opened: &Opened) -> Result<Vec<u8>, CustodyError> {
        Err(CustodyError::OwnersAlone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::context;
    use seal::DatasetKey;
    use seal::recipient::{RecipientSecret, unwrap, wrap_to};

    fn policy() -> Grounds<'static> {
        Grounds::Policy { purpose: "test" }
    }

    #[tokio::test]
    async fn what_an_owner_sent_comes_back_to_the_owner_and_opens_for_nobody_else() {
        let (key, context) = (DatasetKey::generate().unwrap(), context());
        let owner = RecipientSecret::generate().unwrap();
        let wrapped = wrap_to(&owner.public(), &context.bytes(), &key).unwrap();
        let custodian = OwnerCustodian;
        let kept = custodian.adopt(&context, &wrapped).await.unwrap();
        assert!(!kept.windows(32).any(|part| part == key.expose()));
        let back = custodian.relay(&context, &kept).unwrap().unwrap();
        assert_eq!(unwrap(&owner, &context.bytes(), &back).unwrap().expose(), key.expose());

        // On whatever grounds a hub asks: there is nothing that it could give.
        let hub = RecipientSecret::generate().unwrap().public();
        let refused = custodian.release(&context, &kept, &hub, policy()).await;
        assert!(matches!(refused, Err(CustodyError::OwnersAlone)));
        let refused = custodian.rewrap(&context, &kept, &context).await;
        assert!(matches!(refused, Err(CustodyError::OwnersAlone)));
        assert!(custodian.open_for_hub(&context, &kept).await.unwrap().is_none());
        assert!(custodian.recipient().is_none());
    }

    #[tokio::test]
    async fn a_key_of_another_place_or_another_custodian_is_noticed() {
        let context = context();
        let custodian = OwnerCustodian;
        let kept = custodian.adopt(&context, &[7; WRAPPED_BYTES]).await.unwrap();
        for other in [
            DatasetContext { dataset: [9; 16], ..context },
            DatasetContext { project: [9; 16], ..context },
            DatasetContext { card_digest: [9; 32], ..context },
            DatasetContext { epoch: 9, ..context },
        ] {
            let refused = custodian.relay(&other, &kept);
            assert!(matches!(refused, Err(CustodyError::DoesNotOpen(_))), "{other:?}");
        }
        let mut platforms = kept.clone();
        platforms[1] = 1;
        for wrong in [&kept[..kept.len() - 1], &platforms, &[]] {
            let refused = custodian.relay(&context, wrong);
            assert!(matches!(refused, Err(CustodyError::OtherCustodian { .. })));
        }
        for length in [0, WRAPPED_BYTES - 1, WRAPPED_BYTES + 1] {
            assert!(custodian.adopt(&context, &vec![7; length]).await.is_err(), "{length}");
        }
    }
}
