//! A project goes into other hands, on the owner's device: other words, another person's, or a custodian's (`spec/approval.md`, section 9).
//!
//! What is offered is judged here too, by whoever is to take it.

use api::{
    AccountId, Bytes, Custodian, CustodianKey, DatasetId, Digest, Handover, ProjectId, Release,
    SignedStatement, Time,
};
use dataset::OpenDataset;
use proof::{
    Act, Approval, Card, CardDevice, CustodianChange, KeyChange, OwnerCard, ProjectCard, PublicKey,
    Transfer, digest_of, open_statement, phrase, sha256, sign_statement,
};
use seal::recipient::{BadRecipient, RecipientKey};
use serde::Deserialize;

use crate::card::{Device, owns, whole};
use crate::error::Refusal;

/// Both keys of another person: the one that signs their cards, and the one that is sealed to.
#[derive(Debug, Clone)]
pub struct OtherPerson {
    card: Digest,
    sealing: RecipientKey,
}

/// How both keys are written down; what else stands there is not looked at.
#[derive(Deserialize)]
struct Halves {
    /// 64 hexadecimal digits.
    card: Digest,
    /// `chorion1…`.
    sealing: String,
}

impl OtherPerson {
    /// Reads what `chorion identity show --json` prints, and the authenticator's page of public keys gives.
    ///
    /// # Errors
    /// It holds no such keys.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let bad = "these are nobody's public keys";
        let halves: Halves = serde_json::from_str(text).map_err(|e| Refusal::unmakable(bad, e))?;
        let sealing: Result<RecipientKey, BadRecipient> = halves.sealing.parse();
        let sealing = sealing.map_err(|e| Refusal::unmakable(bad, e))?;
        Ok(Self { card: halves.card, sealing })
    }

    /// The six words that two people compare: [`person_phrase`].
    #[must_use]
    pub fn phrase(&self) -> String {
        person_phrase(&self.card.0, &self.sealing.to_bytes())
    }
}

/// How a project leaves its owner's hands: what the owner approves, the card that follows, and the key to which everything is wrapped.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// What is approved.
    pub act: Act,
    /// The next card, as the owner of before signs it.
    pub card: SignedStatement,
    /// Whose key every dataset key is wrapped to.
    pub to: RecipientKey,
}

/// What the hub put in force after a change of custodian, if it is the very card that was begun with, signed by the hub's key.
///
/// # Errors
/// It is another, or somebody else signed it.
pub fn card_in_force(
    project: ProjectId,
    begun: &SignedStatement,
    signed: &SignedStatement,
    hub_key: &PublicKey,
) -> Result<ProjectCard, Refusal> {
    let bad = |source| Refusal::Card { project, source };
    let (card, signer) = ProjectCard::open(signed, project).map_err(bad)?;
    if signer != *hub_key || digest_of(signed) != digest_of(begun) {
        return Err(Refusal::OtherCard { project });
    }
    Ok(card)
}

/// A project that somebody offers, judged.
#[derive(Debug, Clone)]
pub struct Offered {
    /// The card that comes into force when it is taken.
    pub card: OwnerCard,
    /// Whether everything is written anew then.
    pub reseal: bool,
}

/// What both keys of a person are compared by: six words over the card key and the X-Wing key.
#[must_use]
pub fn person_phrase(card: &[u8], recipient: &[u8]) -> String {
    phrase(&sha256(&[b"chorion person v1\0", card, recipient].concat()))
}

/// The card after `seen`, of another owner: no device of the one before, the same writers and measurements.
fn next_owner(seen: &OwnerCard, owner: Vec<u8>, recipient: Vec<u8>) -> OwnerCard {
    OwnerCard {
        number: seen.number + 1,
        previous: Some(seen.digest()),
        owner: Bytes(owner),
        recipient: Bytes(recipient),
        devices: Vec::new(),
        second_signer: None,
        ..seen.clone()
    }
}

/// The act by which a project goes over to other words.
#[must_use]
pub fn key_change(new: &Device<'_>, reseal: bool) -> Act {
    Act::KeyChange(KeyChange {
        owner: Bytes(new.person.card_key().public().to_bytes().to_vec()),
        recipient: Digest(new.person.sealing().public().fingerprint()),
        reseal,
    })
}

impl Device<'_> {
    /// The next card of a project, of this person under `new` words at that device, signed with the old ones.
    ///
    /// # Errors
    /// One key stands in two roles, or the words have no account.
    pub fn card_of_new_words(
        &self,
        new: &Device<'_>,
        seen: &OwnerCard,
        now: Time,
    ) -> Result<SignedStatement, Refusal> {
        let owner = new.person.card_key().public().to_bytes().to_vec();
        let mut card = next_owner(seen, owner, new.person.sealing().public().to_bytes());
        let key = Bytes(new.approval_key.public().to_bytes().to_vec());
        card.devices = vec![CardDevice { key, since: whole(now) }];
        let account = |device: &Device<'_>| {
            let account = device.person.ethereum();
            let account = account.map_err(|e| Refusal::unmakable("there is no account", e))?;
            Ok::<_, Refusal>(account.address().to_string())
        };
        // A wallet that is not of the old words stays; one that is goes with them.
        card.second_signer = match &seen.second_signer {
            Some(address) if *address == account(self)? => Some(account(new)?),
            other => other.clone(),
        };
        card.check().map_err(|e| Refusal::unmakable("the card cannot be made", e))?;
        Ok(sign_statement(&card, &self.person.card_key()))
    }

    /// How a project goes to another person, whose keys were compared.
    ///
    /// # Errors
    /// No card can say so: the keys are this person's own.
    pub fn transfer(
        &self,
        seen: &OwnerCard,
        to: &OtherPerson,
        account: AccountId,
        reseal: bool,
    ) -> Result<HandOver, Refusal> {
        let (owner, recipient) = (to.card.0.to_vec(), to.sealing.to_bytes());
        if seen.owner.0 == owner || seen.recipient.0 == recipient {
            return Err(Refusal::unmakable("the project cannot be given", "these keys are yours"));
        }
        let act = Act::Transfer(Transfer {
            account,
            owner: Bytes(owner.clone()),
            recipient: Digest(to.sealing.fingerprint()),
            reseal,
        });
        let card = self.signed(&next_owner(seen, owner, recipient))?;
        Ok(HandOver { act, card, to: to.sealing.clone() })
    }

    /// How a project comes into the hands of a custodian of the hub, who can read everything in it from then on.
    ///
    /// # Errors
    /// The hub offers no such custody, or no key for it.
    pub fn custodian_change(
        &self,
        seen: &OwnerCard,
        to: &CustodianKey,
        reseal: bool,
    ) -> Result<HandOver, Refusal> {
        let custodian = to.custodian;
        let bad = |why: &str| Refusal::unmakable("the key cannot be let go", why);
        if custodian == Custodian::Owner {
            return Err(bad("it is yours already"));
        }
        let none = || bad(&format!("this hub offers no custody by the {}", custodian.as_str()));
        let recipient = to.recipient.clone().ok_or_else(none)?;
        let to = RecipientKey::from_bytes(&recipient.0).map_err(|e| bad(&e.to_string()))?;
        // The very text that the hub will sign: it can sign no other.
        let card = Card {
            hub: self.hub.to_owned(),
            project: seen.project,
            custodian,
            recipient,
            number: seen.number + 1,
            test: false,
            writers: Vec::new(),
        };
        let card = sign_statement(&card, &self.person.card_key());
        let digest = digest_of(&card);
        let act = Act::CustodianChange(CustodianChange { custodian, card: digest, reseal });
        Ok(HandOver { act, card, to })
    }

    /// Judges what somebody offers: whole, of this hub, to these words, and with no device that approves but those that these words
    /// will certify.
    ///
    /// # Errors
    /// What of it does not hold.
    pub fn offered(&self, handover: &Handover) -> Result<Offered, Refusal> {
        let project = handover.project;
        let bad = |why: &str| Refusal::Offer { project, why: why.to_owned() };
        // The giver signed it, as whose key nothing here says: these words sign it too before it counts.
        let (card, _giver) = open_statement::<OwnerCard>(&handover.card)
            .map_err(|e| bad(&format!("its card does not read: {e}")))?;
        card.check().map_err(|e| bad(&e.to_string()))?;
        if !owns(self.person, &card) {
            return Err(bad("its card names other keys than those of your words"));
        }
        if card.hub != self.hub || card.project != project || !card.devices.is_empty() {
            return Err(bad(
                "its card is of another hub or project, or lets somebody else's device approve",
            ));
        }
        let (approval, _device) = open_statement::<Approval>(&handover.approval.approval)
            .map_err(|e| bad(&format!("its approval does not read: {e}")))?;
        let reseal = match &approval.act {
            Act::Transfer(transfer)
                if transfer.owner == card.owner
                    && transfer.recipient.0 == self.person.sealing().public().fingerprint() =>
            {
                transfer.reseal
            }
            _ => return Err(bad("its approval gives it to somebody else")),
        };
        if !handover.missing.is_empty() {
            return Err(bad("not all of its keys are there yet"));
        }
        Ok(Offered { card, reseal })
    }

    /// The card that was begun with, signed by the words that it names: these.
    ///
    /// # Errors
    /// It does not read, or names other words, hub or project.
    pub fn take_card(
        &self,
        project: ProjectId,
        begun: &SignedStatement,
    ) -> Result<SignedStatement, Refusal> {
        let bad = |source| Refusal::Card { project, source };
        let (card, _) = open_statement::<OwnerCard>(begun)
            .map_err(|e| Refusal::unmakable("the card that was begun with does not read", e))?;
        card.check().map_err(bad)?;
        if !owns(self.person, &card) || card.hub != self.hub || card.project != project {
            return Err(Refusal::OthersCard { project });
        }
        Ok(sign_statement(&card, &self.person.card_key()))
    }

    /// A dataset's key, or the project's own, wrapped to whoever holds it next, at the same place.
    ///
    /// # Errors
    /// It is the key of something else, or does not open with these words.
    pub fn rewrap(
        &self,
        project: ProjectId,
        dataset: DatasetId,
        release: Release,
        to: &RecipientKey,
    ) -> Result<Release, Refusal> {
        let bad = |why: String| Refusal::Dataset { dataset, why };
        if release.dataset != dataset || release.project != project {
            return Err(bad("the hub gave the key of another dataset".to_owned()));
        }
        let open = OpenDataset::from_release(&release, &self.person.sealing())
            .map_err(|e| bad(e.to_string()))?;
        let wrapped_key = open.wrap_to(&to.to_bytes()).map_err(|e| bad(e.to_string()))?;
        Ok(Release { wrapped_key, leaf: None, ..release })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::{Heap, Identity, Words};
    use proof::{ProjectCard, SigningKey};

    fn person(byte: u8) -> Identity {
        Identity::from_words(Words::from_entropy(&[byte; 16], &Heap).unwrap(), "", &Heap).unwrap()
    }

    #[test]
    fn a_project_goes_over_to_other_words_with_its_keys() {
        let (old, new, eve) = (person(1), person(2), person(3));
        let key = |byte| SigningKey::from_seed(&[byte; 32]);
        let (here, next, others) = (key(4), key(5), key(6));
        let old = Device { person: &old, approval_key: &here, hub: "h" };
        let new = Device { person: &new, approval_key: &next, hub: "h" };
        let eve = Device { person: &eve, approval_key: &others, hub: "h" };
        let (project, now) = (ProjectId::generate(), Time::UNIX_EPOCH);
        let own = old.person.ethereum().unwrap().address().to_string();
        let writer = key(7).public();
        let first = old.first_card(project, true, Some(own), &[writer], now).unwrap();
        let seen = old.card(project, &first, None).unwrap();

        let begun = old.card_of_new_words(&new, &seen, now).unwrap();
        let signed = new.take_card(project, &begun).unwrap();
        assert!(eve.take_card(project, &begun).is_err(), "not the words that it names");
        assert!(new.take_card(ProjectId::generate(), &begun).is_err());
        let (card, _) = ProjectCard::open(&signed, project).unwrap();
        let card_now = new.card(project, &signed, Some(&first)).unwrap();
        assert_eq!(ProjectCard::Owner(card_now.clone()), card);
        assert!(card_now.device(&next.public()).is_some() && card_now.devices.len() == 1);
        assert!(card_now.is_writer(&writer), "what was written under the old words stays");
        let account = new.person.ethereum().unwrap().address().to_string();
        assert_eq!(card_now.second_signer, Some(account), "the wallet of the old words goes too");

        let dataset = DatasetId::generate();
        let open = OpenDataset::create(dataset, project, seen.digest()).unwrap();
        let release = |device: &Device<'_>| Release {
            dataset,
            project,
            card_digest: open.card_digest(),
            epoch: 0,
            wrapped_key: open.wrap_to(&device.person.sealing().public().to_bytes()).unwrap(),
            leaf: None,
        };
        let to = new.person.sealing().public();
        let moved = old.rewrap(project, dataset, release(&old), &to).unwrap();
        let opened = OpenDataset::from_release(&moved, &new.person.sealing()).unwrap();
        assert_eq!(opened.key().expose(), open.key().expose());
        assert!(old.rewrap(project, DatasetId::generate(), release(&old), &to).is_err());
        assert!(old.rewrap(project, dataset, release(&eve), &to).is_err());
    }

    /// What `chorion identity show --json` prints of somebody.
    fn halves(person: &Identity) -> String {
        let card = Digest(person.card_key().public().to_bytes());
        let sealing = person.sealing().public().to_string();
        serde_json::json!({ "card": card, "sealing": sealing, "ethereum": "0x00" }).to_string()
    }

    #[test]
    fn an_offer_is_judged_by_whoever_is_to_take_it() {
        let (ada, bob, eve) = (person(1), person(2), person(3));
        let key = |byte| SigningKey::from_seed(&[byte; 32]);
        let (hers, his, others) = (key(4), key(5), key(6));
        let ada = Device { person: &ada, approval_key: &hers, hub: "h" };
        let eve = Device { person: &eve, approval_key: &others, hub: "h" };
        let (project, now) = (ProjectId::generate(), Time::UNIX_EPOCH);
        let first = ada.first_card(project, true, None, &[key(7).public()], now).unwrap();
        let seen = ada.card(project, &first, None).unwrap();
        let to = OtherPerson::read(&halves(&bob)).unwrap();
        assert_eq!(
            to.phrase(),
            person_phrase(&bob.card_key().public().to_bytes(), &bob.sealing().public().to_bytes())
        );
        assert!(OtherPerson::read("{}").is_err());
        let yours = OtherPerson::read(&halves(ada.person)).unwrap();
        let account = AccountId::generate();
        assert!(ada.transfer(&seen, &yours, account, true).is_err(), "to oneself");

        let over = ada.transfer(&seen, &to, account, true).unwrap();
        let at = crate::Moment { requester: account, now, checkpoint: None };
        let handover = |over: &HandOver| Handover {
            project,
            approval: ada
                .sign(&seen, &ada.draw(&seen, over.act.clone(), "give it", at).unwrap().approval)
                .unwrap(),
            card: over.card.clone(),
            total: 2,
            missing: Vec::new(),
        };
        let good = handover(&over);
        let bob_here = Device { person: &bob, approval_key: &his, hub: "h" };
        let offered = bob_here.offered(&good).unwrap();
        assert!(offered.reseal && offered.card.test && offered.card.devices.is_empty());
        assert!(offered.card.is_writer(&key(7).public()), "who may add data stays");
        let taken = bob_here.take_card(project, &good.card).unwrap();
        assert!(bob_here.card(project, &taken, None).is_ok());

        let elsewhere = Device { hub: "another", ..bob_here };
        assert!(matches!(elsewhere.offered(&good), Err(Refusal::Offer { .. })));
        let refused = |handover: Handover| {
            assert!(matches!(bob_here.offered(&handover), Err(Refusal::Offer { .. })));
        };
        assert!(matches!(eve.offered(&good), Err(Refusal::Offer { .. })), "other words");
        refused(Handover { missing: vec![DatasetId::generate()], ..good.clone() });
        refused(Handover { project: ProjectId::generate(), ..good.clone() });
        // The card of one offer under the approval of another, and a card by which the giver goes on approving.
        let to_eve = OtherPerson::read(&halves(eve.person)).unwrap();
        let hers = ada.transfer(&seen, &to_eve, account, true).unwrap();
        refused(Handover { approval: handover(&hers).approval, ..good.clone() });
        let mut still = offered.card;
        let device = Bytes(key(4).public().to_bytes().to_vec());
        still.devices = vec![CardDevice { key: device, since: now }];
        refused(Handover { card: sign_statement(&still, &ada.person.card_key()), ..good });
    }

    #[test]
    fn a_custodian_gets_the_very_card_that_was_approved_and_no_other() {
        let (ada, hub) = (person(1), person(2));
        let key = |byte| SigningKey::from_seed(&[byte; 32]);
        let (here, hub_key) = (key(4), key(5));
        let device = Device { person: &ada, approval_key: &here, hub: "h" };
        let (project, now) = (ProjectId::generate(), Time::UNIX_EPOCH);
        let first = device.first_card(project, false, None, &[], now).unwrap();
        let seen = device.card(project, &first, None).unwrap();
        let recipient = Some(Bytes(hub.sealing().public().to_bytes()));
        let platform = CustodianKey { custodian: Custodian::Platform, recipient };
        let over = device.custodian_change(&seen, &platform, false).unwrap();
        assert_eq!(over.to.to_bytes(), hub.sealing().public().to_bytes());
        for none in [
            CustodianKey { recipient: None, ..platform.clone() },
            CustodianKey { custodian: Custodian::Owner, ..platform },
        ] {
            assert!(device.custodian_change(&seen, &none, false).is_err());
        }
        let (card, _owner) = open_statement::<Card>(&over.card).unwrap();
        let signed = sign_statement(&card, &hub_key);
        let now = card_in_force(project, &over.card, &signed, &hub_key.public()).unwrap();
        assert_eq!((now.custodian(), now.number()), (Custodian::Platform, 2));
        let other = sign_statement(&Card { number: 3, ..card }, &hub_key);
        for wrong in [over.card.clone(), other] {
            assert!(card_in_force(project, &over.card, &wrong, &hub_key.public()).is_err());
        }
    }
}
