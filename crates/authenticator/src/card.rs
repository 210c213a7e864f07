//! A person at one of their devices, and the cards of their projects (`spec/card.md` section 5).

use api::{Bytes, DatasetId, Digest, ProjectId, SignedStatement, Time};
use identity::Identity;
use proof::{CardDevice, OwnerCard, ProjectCard, PublicKey, SigningKey, digest_of, sign_statement};
use serde::{Deserialize, Serialize};

use crate::Refusal;

/// A person, unlocked, at a device of theirs, which answers for projects of one hub.
pub struct Device<'a> {
    /// Whose words.
    pub person: &'a Identity,
    /// The device's own key: it counts where a card certifies it.
    pub approval_key: &'a SigningKey,
    /// The hub's id, as it stands in cards and approvals.
    pub hub: &'a str,
}

impl std::fmt::Debug for Device<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Device(..)")
    }
}

/// A moment in whole seconds.
#[must_use]
pub fn whole(time: Time) -> Time {
    Time::from_second(time.as_second()).unwrap_or(time)
}

/// Whether a card is this person's: made under the same words.
#[must_use]
pub fn owns(person: &Identity, card: &OwnerCard) -> bool {
    card.owner.0 == person.card_key().public().to_bytes()
        && card.recipient.0 == person.sealing().public().to_bytes()
}

/// A person's card of a project of `hub`, which follows the one that was seen before.
///
/// That one is their own, or of whoever held the project before them. Nobody else can have signed it, so no words need be compared.
///
/// # Errors
/// It is no card, not this person's, or older or other than what was seen.
pub fn own_card(
    person: &Identity,
    hub: &str,
    project: ProjectId,
    signed: &SignedStatement,
    seen: Option<&SignedStatement>,
) -> Result<OwnerCard, Refusal> {
    let bad = |source| Refusal::Card { project, source };
    let (card, _signer) = ProjectCard::open(signed, project).map_err(bad)?;
    if let Some(seen) = seen {
        let (seen, _signer) = ProjectCard::open(seen, project).map_err(bad)?;
        if !took_over(person, &card, &seen) {
            card.may_follow(&seen).map_err(bad)?;
        }
    }
    match card {
        ProjectCard::Owner(card) if owns(person, &card) && card.hub == hub => Ok(card),
        _ => Err(Refusal::OthersCard { project }),
    }
}

/// Whether a card is this person's own and later than the one of another owner that was gone by: from before the project was handed
/// over, or before a change of words. Nobody else can have signed it.
fn took_over(person: &Identity, card: &ProjectCard, seen: &ProjectCard) -> bool {
    let (ProjectCard::Owner(card), ProjectCard::Owner(seen)) = (card, seen) else { return false };
    owns(person, card)
        && !owns(person, seen)
        && card.number > seen.number
        && (&card.hub, card.test) == (&seen.hub, seen.test)
}

impl Device<'_> {
    /// [`own_card`] of this device's person and hub.
    ///
    /// # Errors
    /// As there.
    pub fn card(
        &self,
        project: ProjectId,
        signed: &SignedStatement,
        seen: Option<&SignedStatement>,
    ) -> Result<OwnerCard, Refusal> {
        own_card(self.person, self.hub, project, signed, seen)
    }

    /// A first card, which certifies this device and lets `writers` write.
    ///
    /// # Errors
    /// One key stands in two roles.
    pub fn first_card(
        &self,
        project: ProjectId,
        test: bool,
        second_signer: Option<String>,
        writers: &[PublicKey],
        now: Time,
    ) -> Result<SignedStatement, Refusal> {
        let card_key = self.person.card_key();
        let device = self.approval_key.public();
        let card = OwnerCard {
            hub: self.hub.to_owned(),
            project,
            number: 1,
            previous: None,
            owner: Bytes(card_key.public().to_bytes().to_vec()),
            recipient: Bytes(self.person.sealing().public().to_bytes()),
            test,
            devices: vec![CardDevice { key: Bytes(device.to_bytes().to_vec()), since: whole(now) }],
            second_signer,
            writers: writers.iter().map(|writer| Bytes(writer.to_bytes().to_vec())).collect(),
            measurements: Vec::new(),
        };
        self.signed(&card)
    }

    pub(crate) fn signed(&self, card: &OwnerCard) -> Result<SignedStatement, Refusal> {
        card.check().map_err(|e| Refusal::unmakable("the card cannot be made", e))?;
        Ok(sign_statement(card, &self.person.card_key()))
    }

    /// The card after `signed` with other devices; nothing if they are the same.
    fn next_card(
        &self,
        signed: &SignedStatement,
        seen: &OwnerCard,
        devices: Vec<CardDevice>,
    ) -> Result<Option<SignedStatement>, Refusal> {
        if devices.len() == seen.devices.len() {
            return Ok(None);
        }
        self.following(signed, OwnerCard { devices, ..seen.clone() }).map(Some)
    }

    /// What a card becomes, signed as the one after `signed`.
    fn following(
        &self,
        signed: &SignedStatement,
        changed: OwnerCard,
    ) -> Result<SignedStatement, Refusal> {
        let number = changed.number + 1;
        self.signed(&OwnerCard { number, previous: Some(digest_of(signed)), ..changed })
    }
}

/// The card after `signed` that certifies another device; nothing if it does already. `card` is the card inside `signed`, verified.
///
/// # Errors
/// The key has another role in the card, or the card is full.
pub fn add_device(
    device: &Device<'_>,
    signed: &SignedStatement,
    card: &OwnerCard,
    key: &PublicKey,
    now: Time,
) -> Result<Option<SignedStatement>, Refusal> {
    let mut devices = card.devices.clone();
    if card.device(key).is_none() {
        devices.push(CardDevice { key: Bytes(key.to_bytes().to_vec()), since: whole(now) });
    }
    device.next_card(signed, card, devices)
}

/// The card after `signed` that leaves a device out; nothing if it does already.
///
/// # Errors
/// The card cannot be made.
pub fn revoke_device(
    device: &Device<'_>,
    signed: &SignedStatement,
    card: &OwnerCard,
    key: &PublicKey,
) -> Result<Option<SignedStatement>, Refusal> {
    let mut devices = card.devices.clone();
    devices.retain(|one| one.key.0 != key.to_bytes());
    device.next_card(signed, card, devices)
}

/// The card after `signed` that lets another key add data; nothing if it does already.
///
/// # Errors
/// The key has another role in the card, or the card is full.
pub fn add_writer(
    device: &Device<'_>,
    signed: &SignedStatement,
    card: &OwnerCard,
    key: &PublicKey,
) -> Result<Option<SignedStatement>, Refusal> {
    if card.is_writer(key) {
        return Ok(None);
    }
    let mut writers = card.writers.clone();
    writers.push(Bytes(key.to_bytes().to_vec()));
    device.following(signed, OwnerCard { writers, ..card.clone() }).map(Some)
}

/// A dataset's content as it was seen: which manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its number.
    pub number: u32,
    /// Its digest.
    pub digest: Digest,
}

impl Seen {
    /// Refuses content that is older than what was seen, or another under the same number: a hub can withhold what is newer, but not
    /// roll back.
    ///
    /// # Errors
    /// It is.
    pub fn follows(&self, dataset: DatasetId, before: Option<&Self>) -> Result<(), Refusal> {
        let Some(before) = before else { return Ok(()) };
        let (now, then) = (self.number, before.number);
        if now < then {
            return Err(Refusal::OlderContent { dataset, now, then });
        }
        if now == then && self.digest != before.digest {
            return Err(Refusal::OtherContent { dataset, number: now });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::{Heap, Words};

    #[test]
    fn content_that_is_older_or_other_than_what_was_seen_is_refused() {
        let seen = |number, byte| Seen { number, digest: Digest([byte; 32]) };
        let dataset = DatasetId::generate();
        let follows = |now: Seen, before: Seen| now.follows(dataset, Some(&before)).is_ok();
        assert!(seen(3, 1).follows(dataset, None).is_ok());
        assert!(follows(seen(3, 1), seen(3, 1)));
        assert!(follows(seen(4, 2), seen(3, 1)));
        assert!(!follows(seen(2, 1), seen(3, 1)));
        assert!(!follows(seen(3, 2), seen(3, 1)));
    }

    #[test]
    fn a_card_is_ones_own_for_ones_own_hub_and_follows_what_was_seen() {
        let person = |byte| {
            Identity::from_words(Words::from_entropy(&[byte; 16], &Heap).unwrap(), "", &Heap)
                .unwrap()
        };
        let (ada, eve) = (person(1), person(2));
        let key = SigningKey::from_seed(&[3; 32]);
        let device = Device { person: &ada, approval_key: &key, hub: "h" };
        let (project, now) = (ProjectId::generate(), Time::UNIX_EPOCH);
        let writer = SigningKey::from_seed(&[4; 32]).public();
        let first = device.first_card(project, true, None, &[writer], now).unwrap();
        let card = device.card(project, &first, None).unwrap();
        assert!(add_device(&device, &first, &card, &key.public(), now).unwrap().is_none());
        let other = SigningKey::from_seed(&[5; 32]).public();
        let second = add_device(&device, &first, &card, &other, now).unwrap().unwrap();
        let after = device.card(project, &second, Some(&first)).unwrap();
        assert_eq!((after.number, after.devices.len()), (2, 2));
        assert!(matches!(device.card(project, &first, Some(&second)), Err(Refusal::Card { .. })));
        let laptop = SigningKey::from_seed(&[6; 32]).public();
        let with = add_writer(&device, &second, &after, &laptop).unwrap().unwrap();
        let with = device.card(project, &with, Some(&second)).unwrap();
        assert!(with.is_writer(&laptop) && with.is_writer(&writer) && with.number == 3);
        assert!(add_writer(&device, &second, &with, &laptop).unwrap().is_none());
        assert!(add_writer(&device, &second, &after, &other).is_err(), "two roles");
        let third = revoke_device(&device, &second, &after, &other).unwrap().unwrap();
        assert_eq!(device.card(project, &third, Some(&second)).unwrap().devices.len(), 1);
        for stranger in [
            Device { person: &eve, approval_key: &key, hub: "h" },
            Device { person: &ada, approval_key: &key, hub: "another" },
        ] {
            assert!(matches!(
                stranger.card(project, &first, None),
                Err(Refusal::OthersCard { .. })
            ));
        }
        assert!(device.first_card(project, true, None, &[key.public()], now).is_err(), "two roles");
    }

    #[test]
    fn a_card_of_ones_own_follows_the_one_of_whoever_held_the_project_before_and_never_back() {
        let person = |byte| {
            Identity::from_words(Words::from_entropy(&[byte; 16], &Heap).unwrap(), "", &Heap)
                .unwrap()
        };
        let (ada, eve) = (person(1), person(2));
        let key = SigningKey::from_seed(&[3; 32]);
        let hers = Device { person: &ada, approval_key: &key, hub: "h" };
        let (project, now) = (ProjectId::generate(), Time::UNIX_EPOCH);
        let writer = SigningKey::from_seed(&[4; 32]).public();
        let before = hers.first_card(project, true, None, &[writer], now).unwrap();
        let seen = hers.card(project, &before, None).unwrap();
        let next = |number, test, hub: &str| {
            let card = OwnerCard {
                hub: hub.to_owned(),
                number,
                test,
                previous: Some(digest_of(&before)),
                owner: Bytes(eve.card_key().public().to_bytes().to_vec()),
                recipient: Bytes(eve.sealing().public().to_bytes()),
                devices: vec![],
                ..seen.clone()
            };
            sign_statement(&card, &eve.card_key())
        };
        let after = next(2, true, "h");
        let takes = |card: &SignedStatement| own_card(&eve, "h", project, card, Some(&before));
        assert_eq!(takes(&after).unwrap().number, 2);
        // No later, without the mark, of another hub; and the giver's own card no more.
        for wrong in [next(1, true, "h"), next(2, false, "h"), next(2, true, "another")] {
            assert!(takes(&wrong).is_err());
        }
        assert!(hers.card(project, &before, Some(&after)).is_err());
        assert!(hers.card(project, &after, Some(&before)).is_err());
    }
}
