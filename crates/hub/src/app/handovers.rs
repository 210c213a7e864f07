//! An owner's project goes into other hands: other words, another person, another custodian (`spec/approval.md`, section 9).
//!
//! The owner's approval says to whom, the next card is signed by the owner of before, and every dataset key is wrapped by that owner's
//! device to whoever holds it next, one after the other, for as long as that takes. Nothing counts until all of it is here;
//! then all of it counts at once. The hub opens no key on the way; where it is itself the next custodian, it looks whether each opens
//! before it takes the last.

use std::collections::HashMap;

use api::{
    AccountId, BeginHandover, Custodian, DatasetId, Digest, ErrorCode, FinishHandover, Handover,
    HandoverKeys, ProjectId, SignedStatement, Transfer, TransferId, TransferState,
};
use proof::{
    Act, Approval, Card, OwnerCard, ProjectCard, PublicKey, digest_of, open_statement,
    sign_statement,
};
use seal::recipient::RecipientKey;
use seal::wrap::DatasetContext;

use super::approvals::{owner_card, spend};
use super::caller::{Caller, object};
use super::projects;
use crate::HubError;
use crate::data::audit::Bound;
use crate::data::handovers::{Kept, KeptKey};
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// How many keys one call brings, and how many missing ones are named at once.
const MOST_KEYS: usize = 100;

/// What the approval lets happen.
enum Into {
    /// Other words of the same person.
    Words,
    /// Another person's.
    Person(AccountId),
    /// Another custodian's.
    Custodian(Custodian),
}

/// What of an approval the hub goes by.
struct Ordered {
    into: Into,
    reseal: bool,
}

fn ordered(act: &Act) -> Option<Ordered> {
    let (into, reseal) = match act {
        Act::KeyChange(change) => (Into::Words, change.reseal),
        Act::Transfer(transfer) => (Into::Person(transfer.account), transfer.reseal),
        Act::CustodianChange(change) => (Into::Custodian(change.custodian), change.reseal),
        _ => return None,
    };
    Some(Ordered { into, reseal })
}

impl Ordered {
    const fn custodian(&self) -> Custodian {
        match self.into {
            Into::Words | Into::Person(_) => Custodian::Owner,
            Into::Custodian(custodian) => custodian,
        }
    }

    const fn act(&self) -> &'static str {
        match self.into {
            Into::Words => "project.key_change",
            Into::Person(_) => "project.transfer.accept",
            Into::Custodian(_) => "project.custodian_change",
        }
    }
}

/// The act inside an approval that was taken before.
fn act_of(kept: &Kept) -> Result<Act, HubError> {
    open_statement::<Approval>(&kept.body.approval.approval)
        .map(|(approval, _)| approval.act)
        .map_err(|e| HubError::internal("an approval that was taken does not read", e))
}

fn order_of(kept: &Kept) -> Result<Ordered, HubError> {
    ordered(&act_of(kept)?).ok_or_else(|| {
        HubError::internal("an approval that was taken hands nothing over", "another kind")
    })
}

/// Begins a hand-over: the approval is used up, and the next card is looked at. The same call again is no second one.
pub(crate) async fn begin(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    body: BeginHandover,
) -> Result<Handover, HubError> {
    let mut tx = hub.db.write().await?;
    let standing = projects::standing(&mut tx, caller, id).await?;
    caller.may(Action::CardPut, standing, "project", id, Some(id))?;
    if let Some(kept) = data::handovers::find(&mut tx, id).await?
        && kept.body == body
    {
        return shown(&mut tx, id, kept).await;
    }
    let (seen, _) = owner_card(&mut tx, id).await?;
    let (given, _) = open_statement::<Approval>(&body.approval.approval)
        .map_err(|e| HubError::bad_request(e.to_string()))?;
    let Some(order) = ordered(&given.act) else {
        return Err(HubError::bad_request(format!(
            "an approval of kind `{}` hands no project over",
            given.act.kind()
        )));
    };
    next_card(hub, &seen, &body.card, &given.act)?;
    let digest = spend(&mut tx, caller, id, Some(&body.approval), |act| *act == given.act).await?;
    let mut transfer = None;
    if let Into::Person(to) = order.into {
        let offered = super::transfers::of_owner(&mut tx, caller, id, to, order.reseal).await?;
        transfer = Some(offered.id);
    }
    let kept = Kept { body, digest, transfer };
    data::handovers::begin(&mut tx, id, &kept).await?;
    let mut event = caller.event("project.handover", object("project", id), Some(id));
    event.purpose = Some(given.act.kind().to_owned());
    let bound = Bound { approval: Some(digest), ..Bound::default() };
    data::events::record_bound(&mut tx, &event, &bound).await?;
    let handover = shown(&mut tx, id, kept).await?;
    tx.commit().await?;
    Ok(handover)
}

/// Refuses a next card that is not the one which the approval means.
fn next_card(
    hub: &Hub,
    seen: &OwnerCard,
    signed: &SignedStatement,
    act: &Act,
) -> Result<(), HubError> {
    let wrong = |why: &str| {
        HubError::bad_request(format!(
            "the next card of project {} does not hold: {why}",
            seen.project
        ))
        .hint("make it anew from the card in force")
    };
    let number = seen.number + 1;
    match act {
        Act::CustodianChange(change) => {
            let (card, signer) =
                open_statement::<Card>(signed).map_err(|e| wrong(&e.to_string()))?;
            if seen.owner.0 != signer.to_bytes() {
                return Err(wrong("the owner did not sign it"));
            }
            if card != of_hub(hub, seen.project, change.custodian, number)? {
                return Err(wrong("it says something else than this hub would sign"));
            }
            if digest_of(signed) != change.card {
                return Err(wrong("the approval names another one"));
            }
        }
        Act::KeyChange(proof::KeyChange { owner, recipient, .. })
        | Act::Transfer(proof::Transfer { owner, recipient, .. }) => {
            let (card, signer) =
                open_statement::<OwnerCard>(signed).map_err(|e| wrong(&e.to_string()))?;
            card.takes_over(seen, &signer).map_err(|e| wrong(&e.to_string()))?;
            if card.number != number {
                return Err(wrong("it does not follow the card in force"));
            }
            let to = RecipientKey::from_bytes(&card.recipient.0)
                .map_err(|_no_key| wrong("its recipient is no X-Wing key"))?;
            if card.owner != *owner || Digest(to.fingerprint()) != *recipient {
                return Err(wrong("the approval names other keys"));
            }
        }
        _ => return Err(wrong("nothing lets it follow")),
    }
    Ok(())
}

/// The card that this hub signs for a project that comes into `custodian`'s hands.
pub(super) fn of_hub(
    hub: &Hub,
    project: ProjectId,
    custodian: Custodian,
    number: u32,
) -> Result<Card, HubError> {
    let recipient = hub.custodian(custodian)?.recipient().ok_or_else(|| {
        HubError::new(
            ErrorCode::NotOffered,
            format!("this hub has no key of custody by the {}", custodian.as_str()),
        )
    })?;
    Ok(Card {
        hub: hub.id.clone(),
        project,
        custodian,
        recipient: api::Bytes(recipient.to_bytes()),
        number,
        test: false,
        writers: Vec::new(),
    })
}

/// The place of every key that has to be wrapped anew.
async fn places(
    at: &mut Connection,
    id: ProjectId,
) -> Result<HashMap<DatasetId, DatasetContext>, HubError> {
    let own = projects::own_context(id);
    let mut places = HashMap::from([(DatasetId::from_bytes(own.dataset), own)]);
    for dataset in data::datasets::of_project(at, id).await? {
        if let Some(found) = data::datasets::find(at, dataset).await? {
            places.insert(dataset, super::datasets::context(&found.dataset));
        }
    }
    Ok(places)
}

fn is_at(key: &KeptKey, place: &DatasetContext) -> bool {
    key.epoch == place.epoch && key.card.0 == place.card_digest
}

/// Which keys are not here yet, of how many.
async fn missing(at: &mut Connection, id: ProjectId) -> Result<(Vec<DatasetId>, usize), HubError> {
    let mut places = places(at, id).await?;
    let total = places.len();
    for key in data::handovers::keys(at, id).await? {
        if places.get(&key.dataset).is_some_and(|place| is_at(&key, place)) {
            places.remove(&key.dataset);
        }
    }
    let mut missing: Vec<DatasetId> = places.into_keys().collect();
    missing.sort_unstable();
    Ok((missing, total))
}

async fn shown(at: &mut Connection, id: ProjectId, kept: Kept) -> Result<Handover, HubError> {
    let (mut missing, total) = missing(at, id).await?;
    missing.truncate(MOST_KEYS);
    let BeginHandover { approval, card } = kept.body;
    Ok(Handover { project: id, approval, card, total: total as u64, missing })
}

fn none(id: ProjectId) -> HubError {
    HubError::conflict(format!("no hand-over of project {id} was begun"))
        .hint("it was finished, withdrawn, or the card has changed since: begin it anew")
}

/// Takes keys that were wrapped to whoever is next.
pub(crate) async fn put_keys(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    body: HandoverKeys,
) -> Result<Handover, HubError> {
    let mut tx = hub.db.write().await?;
    let standing = projects::standing(&mut tx, caller, id).await?;
    caller.may(Action::CardPut, standing, "project", id, Some(id))?;
    let kept = data::handovers::find(&mut tx, id).await?.ok_or_else(|| none(id))?;
    if body.keys.len() > MOST_KEYS {
        return Err(HubError::bad_request(format!("one call brings {MOST_KEYS} keys at most")));
    }
    let custodian = hub.custodian(order_of(&kept)?.custodian())?;
    let places = places(&mut tx, id).await?;
    let (before, _) = missing(&mut tx, id).await?;
    for key in body.keys {
        let place = places.get(&key.dataset).filter(|place| {
            key.project == id && key.epoch == place.epoch && key.card_digest.0 == place.card_digest
        });
        let Some(place) = place else {
            return Err(HubError::conflict(format!(
                "the key of dataset {} is for another place than it has in project {id}",
                key.dataset
            )));
        };
        let key = KeptKey {
            dataset: key.dataset,
            epoch: place.epoch,
            card: Digest(place.card_digest),
            kept: custodian.adopt(place, &key.wrapped_key.0).await?,
        };
        data::handovers::put_key(&mut tx, id, &key).await?;
    }
    let transfer = kept.transfer;
    let handover = shown(&mut tx, id, kept).await?;
    if let (Some(transfer), false, true) =
        (transfer, before.is_empty(), handover.missing.is_empty())
    {
        super::transfers::tell_taker(&mut tx, transfer, caller).await?;
    }
    tx.commit().await?;
    Ok(handover)
}

/// Finishes a change of words or of the custodian.
pub(crate) async fn finish(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    body: FinishHandover,
) -> Result<SignedStatement, HubError> {
    let mut reader = hub.db.read().await?;
    let standing = projects::standing(&mut reader, caller, id).await?;
    caller.may(Action::CardPut, standing, "project", id, Some(id))?;
    let kept = data::handovers::find(&mut reader, id).await?.ok_or_else(|| none(id))?;
    drop(reader);
    if kept.transfer.is_some() {
        return Err(HubError::conflict(format!("project {id} is offered to somebody else"))
            .hint("whoever takes it finishes: `chorion project transfer accept`"));
    }
    carry_out(hub, caller, id, &kept, body.card).await
}

/// The offer's card and keys, for who is to take it.
pub(crate) async fn offered(
    hub: &Hub,
    caller: &Caller,
    id: TransferId,
) -> Result<Handover, HubError> {
    let mut reader = hub.db.read().await?;
    let (transfer, kept) = taken(&mut reader, caller, id).await?;
    shown(&mut reader, transfer.project, kept).await
}

/// Takes an owner's project: it is the caller's from here on, under the card that the caller's own words signed.
pub(crate) async fn take(
    hub: &Hub,
    caller: &Caller,
    id: TransferId,
    body: FinishHandover,
) -> Result<Transfer, HubError> {
    let mut reader = hub.db.read().await?;
    let (transfer, kept) = taken(&mut reader, caller, id).await?;
    drop(reader);
    carry_out(hub, caller, transfer.project, &kept, body.card).await?;
    Ok(Transfer { state: TransferState::Accepted, ..transfer })
}

/// An offer of an owner's project that the caller got and that is open.
async fn taken(
    at: &mut Connection,
    caller: &Caller,
    id: TransferId,
) -> Result<(Transfer, Kept), HubError> {
    caller.may_here(Action::TransferEnd)?;
    let gone = || HubError::not_found("transfer", id);
    let transfer = data::transfers::find(at, id, caller.account()).await?.ok_or_else(gone)?;
    let project = transfer.project;
    if transfer.to != caller.account() {
        return Err(HubError::new(ErrorCode::Forbidden, "only who got the offer accepts it")
            .refusing("project.transfer.accept", object("project", project), Some(project)));
    }
    let kept = data::handovers::find(at, project).await?;
    let kept = kept.filter(|kept| kept.transfer == Some(id)).ok_or_else(|| {
        HubError::conflict(format!("offer {id} hands over no owner's keys"))
            .hint("accept it as it is: `chorion project transfer accept`")
    })?;
    if transfer.state != TransferState::Offered {
        let was = data::word(transfer.state);
        return Err(HubError::conflict(format!("transfer {id} is {was} already")));
    }
    Ok((transfer, kept))
}

/// All of it at once. Keys come first: should the hub stop among them, the same call again brings it to its end.
async fn carry_out(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    kept: &Kept,
    given: Option<SignedStatement>,
) -> Result<SignedStatement, HubError> {
    let act = act_of(kept)?;
    let order = order_of(kept)?;
    let (card, signed) = signed_card(hub, id, kept, &order, given)?;
    let mut reader = hub.db.read().await?;
    whole(&mut reader, id).await?;
    let (seen, _) = owner_card(&mut reader, id).await?;
    next_card(hub, &seen, &kept.body.card, &act)?;
    let keys = data::handovers::keys(&mut reader, id).await?;
    drop(reader);
    for key in keys {
        hub.keys.put_dataset_key(key.dataset.to_bytes(), key.epoch, key.kept).await?;
    }
    let mut tx = hub.db.write().await?;
    // What came meanwhile is wrapped to the owner of before, and the one of after could not open it.
    whole(&mut tx, id).await?;
    let now = data::handovers::find(&mut tx, id).await?;
    if now.is_none_or(|now| now.digest != kept.digest) {
        return Err(none(id));
    }
    let (seen, _) = owner_card(&mut tx, id).await?;
    next_card(hub, &seen, &kept.body.card, &act)?;
    projects::keep_card(&mut tx, id, &card, &signed).await?;
    data::handovers::set_handover(&mut tx, id, card.number(), &kept.body.card).await?;
    data::approvals::expire_project(&mut tx, id).await?;
    match order.into {
        Into::Words => {}
        Into::Custodian(custodian) => {
            data::handovers::forget_shares(&mut tx, id).await?;
            data::projects::set_custodian(&mut tx, id, custodian).await?;
        }
        Into::Person(to) => {
            data::handovers::forget_shares(&mut tx, id).await?;
            let transfer = kept.transfer.ok_or_else(|| none(id))?;
            super::transfers::taken(&mut tx, transfer, caller, to).await?;
        }
    }
    if order.reseal {
        super::tasks::queue_reseal(hub, &mut tx, caller, id).await?;
    }
    data::handovers::forget(&mut tx, id).await?;
    let event = caller.event(order.act(), object("project", id), Some(id));
    let bound = Bound { approval: Some(kept.digest), ..Bound::default() };
    data::events::record_bound(&mut tx, &event, &bound).await?;
    tx.commit().await?;
    hub.changes.made();
    hub.engine.wake();
    Ok(signed)
}

/// Refuses while a key is missing, or a dataset is being written anew under a key that nobody has wrapped.
async fn whole(at: &mut Connection, id: ProjectId) -> Result<(), HubError> {
    let (missing, total) = missing(at, id).await?;
    if let Some(first) = missing.first() {
        return Err(HubError::conflict(format!(
            "{} of {total} keys of project {id} are not wrapped anew yet, that of dataset {first} among them",
            missing.len()
        ))
        .hint("go on with it: the same command again"));
    }
    for dataset in data::datasets::of_project(at, id).await? {
        if data::datasets::reseal(at, dataset).await?.is_some() {
            return Err(HubError::conflict(format!("dataset {dataset} is being written anew"))
                .hint("wait until its task has ended"));
        }
    }
    Ok(())
}

/// The card that comes into force: the hub's own, or the very text that the owner before signed, signed by the owner after.
fn signed_card(
    hub: &Hub,
    id: ProjectId,
    kept: &Kept,
    order: &Ordered,
    given: Option<SignedStatement>,
) -> Result<(ProjectCard, SignedStatement), HubError> {
    let bad = |why: String| HubError::bad_request(why);
    let signed = match (&order.into, given) {
        (Into::Custodian(_), None) => {
            let (card, _) = open_statement::<Card>(&kept.body.card)
                .map_err(|e| HubError::internal("a card that was taken does not read", e))?;
            sign_statement(&card, &hub.card_key)
        }
        (Into::Custodian(_), Some(_)) => {
            return Err(bad("the hub signs this card itself".to_owned()));
        }
        (_, None) => return Err(bad("the card is missing as its own owner signs it".to_owned())),
        (_, Some(signed)) if signed.statement == kept.body.card.statement => signed,
        (_, Some(_)) => {
            return Err(bad("the owner of before signed another card".to_owned()));
        }
    };
    let (card, _signer): (ProjectCard, PublicKey) =
        ProjectCard::open(&signed, id).map_err(|e| bad(e.to_string()))?;
    Ok((card, signed))
}
