//! The contract of [`Custodian`] as tests that run on every implementation.
//!
//! A custodian that the hub may not read passes with `hub_reads: false`; everything else is the same for all.

use api::TaskId;
use proof::SigningKey;
use seal::DatasetKey;
use seal::label::seal_label;
use seal::recipient::{RecipientSecret, unwrap, wrap_to};
use seal::wrap::DatasetContext;

use crate::evidence::tests::evidence;
use crate::{Custodian, CustodyError, Grounds, Opened, appraise, kept_by};

const POLICY: Grounds<'static> = Grounds::Policy { purpose: "test" };

pub(crate) fn context() -> DatasetContext {
    DatasetContext { dataset: [1; 16], project: [2; 16], card_digest: [3; 32], epoch: 4 }
}

fn other_contexts() -> [DatasetContext; 4] {
    let this = context();
    [
        DatasetContext { dataset: [9; 16], ..this },
        DatasetContext { project: [9; 16], ..this },
        DatasetContext { card_digest: [9; 32], ..this },
        DatasetContext { epoch: 9, ..this },
    ]
}

fn sent(custodian: &dyn Custodian, context: &DatasetContext, key: &DatasetKey) -> Vec<u8> {
    wrap_to(custodian.recipient().unwrap(), &context.bytes(), key).unwrap()
}

/// Every point of the contract that can be seen from outside.
pub(crate) async fn conforms(custodian: &dyn Custodian, hub_reads: bool) {
    what_was_adopted_is_released_to_the_named_recipient(custodian).await;
    another_context_is_refused_by_every_verb(custodian).await;
    what_was_wrapped_elsewhere_is_not_adopted(custodian).await;
    changed_bytes_are_refused(custodian).await;
    a_rewrapped_key_opens_for_the_new_context_alone(custodian).await;
    a_vault_gets_the_key_for_the_recipient_it_proved(custodian).await;
    the_hub_reads_what_the_custodian_lets_it(custodian, hub_reads).await;
    what_another_custodian_opened_is_kept_for_its_context_alone(custodian).await;
    nothing_at_rest_or_printed_holds_the_key(custodian).await;
}

async fn what_another_custodian_opened_is_kept_for_its_context_alone(custodian: &dyn Custodian) {
    let (key, this) = (DatasetKey::generate().unwrap(), context());
    let opened = Opened::new(DatasetKey::from_bytes(*key.expose()), this);
    let kept = custodian.keep(&opened).await.unwrap();
    assert_eq!(kept_by(&kept), Some(custodian.kind()));
    let reader = RecipientSecret::generate().unwrap();
    let released = custodian.release(&this, &kept, &reader.public(), POLICY).await.unwrap();
    assert_eq!(unwrap(&reader, &this.bytes(), &released).unwrap().expose(), key.expose());
    for other in other_contexts() {
        let refused = custodian.release(&other, &kept, &reader.public(), POLICY).await;
        assert!(matches!(refused, Err(CustodyError::DoesNotOpen(_))), "{other:?}");
    }
}

async fn what_was_adopted_is_released_to_the_named_recipient(custodian: &dyn Custodian) {
    let (key, context) = (DatasetKey::generate().unwrap(), context());
    let kept = custodian.adopt(&context, &sent(custodian, &context, &key)).await.unwrap();
    let (reader, stranger) =
        (RecipientSecret::generate().unwrap(), RecipientSecret::generate().unwrap());
    let released = custodian.release(&context, &kept, &reader.public(), POLICY).await.unwrap();
    assert_eq!(unwrap(&reader, &context.bytes(), &released).unwrap().expose(), key.expose());
    assert!(unwrap(&stranger, &context.bytes(), &released).is_err());
    for other in other_contexts() {
        assert!(unwrap(&reader, &other.bytes(), &released).is_err(), "{other:?}");
    }
}

async fn another_context_is_refused_by_every_verb(custodian: &dyn Custodian) {
    let (key, right) = (DatasetKey::generate().unwrap(), context());
    let sent = sent(custodian, &right, &key);
    let kept = custodian.adopt(&right, &sent).await.unwrap();
    let reader = RecipientSecret::generate().unwrap().public();
    for wrong in other_contexts() {
        let refusals = [
            custodian.adopt(&wrong, &sent).await.err(),
            custodian.release(&wrong, &kept, &reader, POLICY).await.err(),
            custodian.rewrap(&wrong, &kept, &right).await.err(),
        ];
        for refusal in refusals {
            assert!(matches!(refusal, Some(CustodyError::DoesNotOpen(_))), "{wrong:?}");
        }
        if let Ok(Some(_)) = custodian.open_for_hub(&wrong, &kept).await {
            panic!("the hub opened a key for {wrong:?}");
        }
    }
}

async fn what_was_wrapped_elsewhere_is_not_adopted(custodian: &dyn Custodian) {
    let (key, context) = (DatasetKey::generate().unwrap(), context());
    let elsewhere = RecipientSecret::generate().unwrap().public();
    let sent = wrap_to(&elsewhere, &context.bytes(), &key).unwrap();
    let refusal = custodian.adopt(&context, &sent).await;
    assert!(matches!(refusal, Err(CustodyError::DoesNotOpen(_))));
    assert!(custodian.adopt(&context, &[]).await.is_err());
}

async fn changed_bytes_are_refused(custodian: &dyn Custodian) {
    let (key, context) = (DatasetKey::generate().unwrap(), context());
    let kept = custodian.adopt(&context, &sent(custodian, &context, &key)).await.unwrap();
    let reader = RecipientSecret::generate().unwrap().public();
    for place in 0..kept.len() {
        let mut changed = kept.clone();
        changed[place] ^= 1;
        assert!(
            custodian.release(&context, &changed, &reader, POLICY).await.is_err(),
            "byte {place} was changed"
        );
        assert!(custodian.release(&context, &kept[..place], &reader, POLICY).await.is_err());
    }
    let longer = [&kept[..], &[0]].concat();
    assert!(custodian.release(&context, &longer, &reader, POLICY).await.is_err());
    let others = [&[1, 0xEE][..], &kept[2..]].concat();
    let refusal = custodian.release(&context, &others, &reader, POLICY).await;
    assert!(matches!(refusal, Err(CustodyError::OtherCustodian { .. })));
}

async fn a_rewrapped_key_opens_for_the_new_context_alone(custodian: &dyn Custodian) {
    let (key, old) = (DatasetKey::generate().unwrap(), context());
    let new = DatasetContext { card_digest: [7; 32], ..old };
    let kept = custodian.adopt(&old, &sent(custodian, &old, &key)).await.unwrap();
    let rewrapped = custodian.rewrap(&old, &kept, &new).await.unwrap();
    let reader = RecipientSecret::generate().unwrap();
    let released = custodian.release(&new, &rewrapped, &reader.public(), POLICY).await.unwrap();
    assert_eq!(unwrap(&reader, &new.bytes(), &released).unwrap().expose(), key.expose());
    assert!(custodian.release(&old, &rewrapped, &reader.public(), POLICY).await.is_err());
}

async fn a_vault_gets_the_key_for_the_recipient_it_proved(custodian: &dyn Custodian) {
    let (key, context) = (DatasetKey::generate().unwrap(), context());
    let kept = custodian.adopt(&context, &sent(custodian, &context, &key)).await.unwrap();
    let (vault, other) =
        (RecipientSecret::generate().unwrap(), RecipientSecret::generate().unwrap());
    let (signer, task, now) =
        (SigningKey::from_seed(&[5; 32]), TaskId::generate(), api::Time::UNIX_EPOCH);
    let shown = evidence(task, &signer, &vault.public(), now);
    let appraised = appraise(&shown, task, signer.public().id(), now).unwrap();
    let grounds = Grounds::Vault(&appraised);
    let released = custodian.release(&context, &kept, &vault.public(), grounds).await.unwrap();
    assert_eq!(unwrap(&vault, &context.bytes(), &released).unwrap().expose(), key.expose());
    let refusal = custodian.release(&context, &kept, &other.public(), grounds).await;
    assert!(matches!(refusal, Err(CustodyError::OtherRecipient)));
}

async fn the_hub_reads_what_the_custodian_lets_it(custodian: &dyn Custodian, hub_reads: bool) {
    let (key, context) = (DatasetKey::generate().unwrap(), context());
    let kept = custodian.adopt(&context, &sent(custodian, &context, &key)).await.unwrap();
    let label = seal_label(&key, "dataset name", b"240611_A01234").unwrap();
    let opened = custodian.open_for_hub(&context, &kept).await.unwrap();
    assert_eq!(opened.is_some(), hub_reads);
    if let Some(opened) = opened {
        assert_eq!(opened.open_label("dataset name", &label).unwrap(), b"240611_A01234");
        assert!(opened.open_label("project name", &label).is_err());
    }
}

/// A key that is easy to find stands nowhere: not in what is kept, not in what is sent, not in what prints.
async fn nothing_at_rest_or_printed_holds_the_key(custodian: &dyn Custodian) {
    let canary = [0xC4; 32];
    let (key, context) = (DatasetKey::from_bytes(canary), context());
    let sent = sent(custodian, &context, &key);
    let kept = custodian.adopt(&context, &sent).await.unwrap();
    let reader = RecipientSecret::generate().unwrap().public();
    let released = custodian.release(&context, &kept, &reader, POLICY).await.unwrap();
    let rewrapped = custodian.rewrap(&context, &kept, &context).await.unwrap();
    for bytes in [&sent, &kept, &released, &rewrapped] {
        assert!(!bytes.windows(8).any(|window| window == &canary[..8]));
    }
    let opened = custodian.open_for_hub(&context, &kept).await.unwrap();
    let refusal = custodian.adopt(&context, &kept).await.unwrap_err();
    let printed = format!("{custodian:?} {opened:?} {refusal:?} {refusal}");
    for shape in ["c4c4c4c4", "C4C4C4C4", "196, 196, 196", "xMTExMTE"] {
        assert!(!printed.contains(shape), "{printed}");
    }
}
