//! What a person does unasked with what is theirs: shares, deletes, changes words, gives a project away. Each is an approval of its own
//! kind, drawn before it is signed.

use api::{AccountId, Bytes, DatasetId, Digest, OwnerKey, Release, SignedStatement};
use data_encoding::HEXLOWER;
use proof::{Act, Delete, Share, Transfer, sign_statement};
use seal::passphrase::Cost;
use seal::recipient::RecipientKey;
use serde::Deserialize;
use serde_json::json;
use wasm_bindgen::prelude::*;

use super::files::Opened;
use super::{Draft, Own, Person, Told, id, plain, read, refused, told};
use crate::handover::{key_change, next_owner, person_phrase};

/// Both keys of somebody else, as `chorion identity show --json` and the page of public keys give them.
#[derive(Deserialize)]
struct Other {
    card: String,
    sealing: String,
}

impl Other {
    fn read(text: &str) -> Told<(Vec<u8>, RecipientKey)> {
        let other: Self = read("the other person's keys", text)?;
        let card = HEXLOWER
            .decode(other.card.as_bytes())
            .ok()
            .filter(|key| key.len() == 32)
            .ok_or_else(|| plain("the card key is no 64 hexadecimal digits"))?;
        Ok((card, other.sealing.parse().map_err(told)?))
    }
}

/// What both keys of somebody are compared by: six words.
///
/// # Errors
/// They do not read.
#[wasm_bindgen]
pub fn phrase_of_person(keys: &str) -> Told<String> {
    let (card, to) = Other::read(keys)?;
    Ok(person_phrase(&card, &to.to_bytes()))
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
        let draft = self.draft(&own, |_, _| Ok(key_change(&after, reseal)))?;
        let before = self.at(&own.hub)?;
        let card = before.card_of_new_words(&after, &draft.card, own.now).map_err(refused)?;
        Ok(Draft { next: Some(card), ..draft })
    }

    /// The approval by which a project goes to another person, and its next card.
    ///
    /// # Errors
    /// The account or the keys are none.
    pub fn draw_transfer(&self, own: &str, account: &str, keys: &str, reseal: bool) -> Told<Draft> {
        let own: Own = read("the card", own)?;
        let (owner, to) = Other::read(keys)?;
        let transfer = Transfer {
            account: id(account.trim())?,
            owner: Bytes(owner.clone()),
            recipient: Digest(to.fingerprint()),
            reseal,
        };
        let draft = self.draft(&own, |_, _| Ok(Act::Transfer(transfer)))?;
        let card = next_owner(&draft.card, owner, to.to_bytes());
        card.check().map_err(told)?;
        let card = sign_statement(&card, &self.identity.card_key());
        Ok(Draft { next: Some(card), ..draft })
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
        let (card, _) = proof::open_statement::<proof::OwnerCard>(&card).map_err(told)?;
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
