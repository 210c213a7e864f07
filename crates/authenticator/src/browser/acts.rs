//! What a person does unasked with what is theirs: shares, deletes, changes words, gives a project away. Each is an approval of its own
//! kind, drawn before it is signed.

use api::{
    AccountId, Bytes, CustodianKey, DatasetId, Digest, Handover, OwnerKey, Release, SignedStatement,
};
use proof::{Act, Delete, OwnerCard, PublicKey, Share};
use seal::passphrase::Cost;
use seal::recipient::RecipientKey;
use serde_json::json;
use wasm_bindgen::prelude::*;

use super::files::{Making, Opened};
use super::{Draft, Own, Person, Told, id, plain, read, refused, told};
use crate::{Device, HandOver, OtherPerson, Refusal, card_in_force, key_change};

/// What both keys of somebody are compared by: six words.
///
/// # Errors
/// They do not read.
#[wasm_bindgen]
pub fn phrase_of_person(keys: &str) -> Told<String> {
    Ok(OtherPerson::read(keys).map_err(refused)?.phrase())
}

/// Refuses what the hub put in force after a change of custodian, unless it is the card that was begun with and the hub's key, in
/// base64, signed it.
///
/// # Errors
/// It is another.
#[wasm_bindgen]
pub fn check_card_in_force(project: &str, begun: &str, signed: &str, hub_key: &str) -> Told<()> {
    let begun: SignedStatement = read("the card that was begun with", begun)?;
    let signed: SignedStatement = read("the card", signed)?;
    let key = hub_public_key(hub_key)?;
    card_in_force(id(project)?, &begun, &signed, &key).map(drop).map_err(refused)
}

pub(super) fn hub_public_key(base64: &str) -> Told<PublicKey> {
    let bytes: Bytes = read("the hub's key", &json!(base64).to_string())?;
    PublicKey::from_bytes(&bytes.0).map_err(told)
}

#[wasm_bindgen]
impl Person {
    /// The approval that destroys a dataset, or all of the project where `dataset` is empty, as it would be signed.
    ///
    /// # Errors
    /// The card is not this person's.
    pub fn draw_delete(&self, own: &str, dataset: &str) -> Told<Draft> {
        let own: Own = read("the card", own)?;
        let dataset = if dataset.is_empty() { None } else { Some(id(dataset)?) };
        self.draft(&own, |_, _| Ok(Act::Delete(Delete { dataset })))
    }

    /// The approval by which somebody else may open a dataset, as it would be signed.
    ///
    /// # Errors
    /// The account or the key is none.
    pub fn draw_share(&self, own: &str, opened: &Opened, account: &str, key: &str) -> Told<Draft> {
        let own: Own = read("the card", own)?;
        let to: RecipientKey = key.trim().parse().map_err(told)?;
        let account: AccountId = id(account.trim())?;
        let (input, recipient) = (opened.content().input(), Digest(to.fingerprint()));
        self.draft(&own, |_, _| Ok(Act::Share(Share { input, account, recipient })))
    }

    /// The approval by which a project goes over to other words, and its next card.
    ///
    /// # Errors
    /// The card is not this person's, or none can be made.
    pub fn draw_key_change(&self, own: &str, next: &Person, reseal: bool) -> Told<Draft> {
        let own: Own = read("the card", own)?;
        let after = next.at(&own.hub)?;
        self.over(&own, |before, seen| {
            let card = before.card_of_new_words(&after, seen, own.now)?;
            Ok(HandOver {
                act: key_change(&after, reseal),
                card,
                to: after.person.sealing().public(),
            })
        })
    }

    /// The approval by which a project goes to another person, and its next card.
    ///
    /// # Errors
    /// The account or the keys are none.
    pub fn draw_transfer(&self, own: &str, account: &str, keys: &str, reseal: bool) -> Told<Draft> {
        let own: Own = read("the card", own)?;
        let to = OtherPerson::read(keys).map_err(refused)?;
        let account: AccountId = id(account.trim())?;
        self.over(&own, |device, seen| device.transfer(seen, &to, account, reseal))
    }

    /// The approval by which a custodian of the hub holds a project's key from then on, and its next card. `custodian` is one of those
    /// that the hub says of itself.
    ///
    /// # Errors
    /// The hub has no key for such custody, or the card is not this person's.
    pub fn draw_custody(&self, own: &str, custodian: &str, reseal: bool) -> Told<Draft> {
        let own: Own = read("the card", own)?;
        let to: CustodianKey = read("the custodian", custodian)?;
        self.over(&own, |device, seen| device.custodian_change(seen, &to, reseal))
    }

    fn over(
        &self,
        own: &Own,
        make: impl FnOnce(&Device<'_>, &OwnerCard) -> Result<HandOver, Refusal>,
    ) -> Told<Draft> {
        let mut next = None;
        let draft = self.draft(own, |device, card| {
            let HandOver { act, card, to } = make(device, card).map_err(refused)?;
            next = Some((card, to));
            Ok(act)
        })?;
        Ok(Draft { next, ..draft })
    }

    /// The approval by which a dataset is copied into a project whose key others hold, as it would be signed.
    ///
    /// # Errors
    /// The card is not this person's, or what is being made is no copy.
    pub fn draw_export(&self, own: &str, opened: &Opened, copy: &Making) -> Told<Draft> {
        let own: Own = read("the card", own)?;
        let act = copy.export_of(opened).ok_or_else(|| plain("this is a sample of your own"))?;
        self.draft(&own, |_, _| Ok(act))
    }

    /// Judges a project that somebody offers: whether it bears the test mark, how many keys come with it and how many may add data to
    /// it, and whether it is written anew.
    ///
    /// # Errors
    /// What of it does not hold.
    pub fn offered(&self, hub: &str, handover: &str) -> Told<String> {
        let handover: Handover = read("the offer", handover)?;
        let offered = self.at(hub)?.offered(&handover).map_err(refused)?;
        let (card, keys) = (&offered.card, handover.total);
        Ok(json!({
            "project": card.project, "test": card.test, "writers": card.writers.len(), "keys": keys,
            "reseal": offered.reseal,
        })
        .to_string())
    }

    /// A dataset's key, or the project's own, wrapped to whoever holds it next: these words, or the `chorion1…` key.
    ///
    /// # Errors
    /// It is another's, or does not open.
    pub fn rewrap(
        &self,
        hub: &str,
        project: &str,
        dataset: &str,
        key: &str,
        to: &str,
    ) -> Told<String> {
        let key: OwnerKey = read("the key", key)?;
        let to: RecipientKey = to.trim().parse().map_err(told)?;
        // The project's own key has the project's id for a dataset.
        let dataset: DatasetId = id(dataset)?;
        let release: Release =
            self.at(hub)?.rewrap(id(project)?, dataset, key.release, &to).map_err(refused)?;
        Ok(json!(release).to_string())
    }

    /// The card that was begun with, signed by the words that it names: these.
    ///
    /// # Errors
    /// It names others.
    pub fn take_card(&self, hub: &str, project: &str, begun: &str) -> Told<String> {
        let begun: SignedStatement = read("the card", begun)?;
        let signed = self.at(hub)?.take_card(id(project)?, &begun).map_err(refused)?;
        Ok(json!(signed).to_string())
    }

    /// The key that others seal to, `chorion1…`.
    #[must_use]
    pub fn sealing_key(&self) -> String {
        self.identity.sealing().public().to_string()
    }

    /// Whether these are the words of a card.
    ///
    /// # Errors
    /// The card does not read.
    pub fn owns(&self, card: &str) -> Told<bool> {
        let card: SignedStatement = read("the card", card)?;
        let (card, _) = proof::open_statement::<OwnerCard>(&card).map_err(told)?;
        Ok(crate::owns(&self.identity, &card))
    }

    /// The identity file under a secret of 32 bytes that no person chose: a passkey's. A guess costs nothing more for being slow.
    ///
    /// # Errors
    /// The secret is shorter, or the browser gives no randomness.
    pub fn lock_quickly(&self, secret: &str) -> Told<String> {
        if secret.len() < 43 {
            return Err(plain("the secret of the passkey has not 32 bytes"));
        }
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let file = identity::IdentityFile::write(&self.identity, secret.as_bytes(), cost);
        file.map(|text| text.to_string()).map_err(told)
    }
}
