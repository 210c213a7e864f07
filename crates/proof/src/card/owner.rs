//! The card of an owner project (`spec/card.md`, section 5): the owner's own key signs it, so no hub can choose it.

use std::collections::BTreeSet;

use api::{Bytes, Digest, KeyId, ProjectId, Time};
use serde::{Deserialize, Serialize};

use super::CardError;
use crate::statement::canonical;
use crate::{EthereumAddress, PublicKey, Statement, sha256};

/// The bytes of an X-Wing public key.
pub(super) const RECIPIENT_BYTES: usize = 1216;
/// The bytes of a launch measurement.
const MEASUREMENT_BYTES: usize = 48;
const MOST_DEVICES: usize = 32;
const MOST_WRITERS: usize = 256;
const MOST_MEASUREMENTS: usize = 64;

/// A device that may approve for its owner: standing in a card in force is all that certifies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardDevice {
    /// Its Ed25519 approval key, 32 bytes, which the device drew itself and never gives away.
    pub key: Bytes,
    /// Since when it may approve.
    pub since: Time,
}

/// The card of a project whose key a person holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerCard {
    /// The hub's id.
    pub hub: String,
    /// The project.
    pub project: ProjectId,
    /// 1 for the first, then one more each time.
    pub number: u32,
    /// The digest of the card before, `null` for the first.
    pub previous: Option<Digest>,
    /// The owner's Ed25519 card key, 32 bytes: the one key that signs cards of this project.
    pub owner: Bytes,
    /// The owner's X-Wing public key, 1216 bytes: dataset keys are wrapped to it and to nothing else.
    pub recipient: Bytes,
    /// A project for trying things out: unattested vaults may open it. Set by the first card and never changed.
    pub test: bool,
    /// The devices that may approve; one that a later card leaves out is revoked.
    pub devices: Vec<CardDevice>,
    /// The Ethereum account that must sign every approval as well, in EIP-55 spelling; `null` for none.
    pub second_signer: Option<String>,
    /// Ed25519 keys whose manifests count.
    pub writers: Vec<Bytes>,
    /// Launch measurements, 48 bytes each, of vaults that may open the project and whose manifests count.
    pub measurements: Vec<Bytes>,
}

impl Statement for OwnerCard {
    const KIND: &'static str = "chorion owner card v1";
}

impl OwnerCard {
    /// Refuses a card that says something impossible: a key that is none, or one key in two roles.
    pub fn check(&self) -> Result<(), CardError> {
        let wrong = |why: &'static str| CardError::Form { project: self.project, why };
        let key = |bytes: &Bytes| {
            PublicKey::from_bytes(&bytes.0).map_err(|_no_point| wrong("a key in it is none"))
        };
        key(&self.owner)?;
        if self.recipient.0.len() != RECIPIENT_BYTES {
            return Err(wrong("its recipient has another length than an X-Wing key"));
        }
        if self.number == 0 || (self.number == 1) != self.previous.is_none() {
            return Err(wrong("its number and the card before it do not fit"));
        }
        if self.devices.len() > MOST_DEVICES
            || self.writers.len() > MOST_WRITERS
            || self.measurements.len() > MOST_MEASUREMENTS
        {
            return Err(wrong("it lists more than a card may"));
        }
        let mut roles = BTreeSet::from([self.owner.0.clone()]);
        for bytes in self.devices.iter().map(|device| &device.key).chain(&self.writers) {
            key(bytes)?;
            if !roles.insert(bytes.0.clone()) {
                return Err(wrong("one key stands in it twice"));
            }
        }
        if self.measurements.iter().any(|m| m.0.len() != MEASUREMENT_BYTES) {
            return Err(wrong("a measurement has another length than 48 bytes"));
        }
        if self.measurements.iter().map(|m| &m.0).collect::<BTreeSet<_>>().len()
            != self.measurements.len()
        {
            return Err(wrong("one measurement stands in it twice"));
        }
        if let Some(text) = &self.second_signer {
            let read: Result<EthereumAddress, _> = text.parse();
            if read.ok().map(|address| address.to_string()).as_ref() != Some(text) {
                return Err(wrong("its second signer is no address in EIP-55 spelling"));
            }
        }
        Ok(())
    }

    /// The digest of the text that was signed, which other statements name.
    pub fn digest(&self) -> Digest {
        sha256(canonical(self).as_bytes())
    }

    /// The owner's card key.
    pub fn owner_key(&self) -> Result<PublicKey, CardError> {
        PublicKey::from_bytes(&self.owner.0).map_err(|_no_point| CardError::Form {
            project: self.project,
            why: "a key in it is none",
        })
    }

    /// The device of that key, if the card certifies it.
    pub fn device(&self, key: &PublicKey) -> Option<&CardDevice> {
        self.devices.iter().find(|device| device.key.0 == key.to_bytes())
    }

    /// Whether manifests signed by that key count.
    pub fn is_writer(&self, key: &PublicKey) -> bool {
        self.writers.iter().any(|writer| writer.0 == key.to_bytes())
    }

    /// The keys of its devices, as people see them.
    pub fn device_ids(&self) -> Vec<KeyId> {
        let ids = self.devices.iter().filter_map(|d| PublicKey::from_bytes(&d.key.0).ok());
        ids.map(|key| key.id()).collect()
    }

    /// Whether `self` may follow `seen`: the same owner, key, hub and test mark, and no lower number; the same number is
    /// the same card, and the next one names the one before.
    pub(super) fn may_follow(&self, seen: &Self) -> Result<(), CardError> {
        let project = self.project;
        if self.number < seen.number {
            return Err(CardError::Older { project, number: self.number, seen: seen.number });
        }
        let changed = |what| Err(CardError::Changed { project, what });
        if self.hub != seen.hub {
            return changed("hub");
        }
        if self.owner != seen.owner {
            return changed("owner");
        }
        if self.recipient != seen.recipient {
            return changed("key");
        }
        if self.test != seen.test {
            return changed("test mark");
        }
        if self.number == seen.number && self != seen {
            return changed("content under the same number");
        }
        if self.number == seen.number + 1 && self.previous != Some(seen.digest()) {
            return changed("card before it");
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::card::ProjectCard;
    use crate::{SigningKey, sign_statement};

    pub(crate) fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    /// What is wrong with a card.
    type Change = fn(&mut OwnerCard);

    fn public(seed: u8) -> Bytes {
        Bytes(key(seed).public().to_bytes().to_vec())
    }

    /// Owner 1, device 2, writer 3.
    pub(crate) fn card() -> OwnerCard {
        OwnerCard {
            hub: "hub".into(),
            project: ProjectId::from_bytes([5; 16]),
            number: 1,
            previous: None,
            owner: public(1),
            recipient: Bytes(vec![1; RECIPIENT_BYTES]),
            test: true,
            devices: vec![CardDevice { key: public(2), since: Time::UNIX_EPOCH }],
            second_signer: None,
            writers: vec![public(3)],
            measurements: vec![],
        }
    }

    fn next(seen: &OwnerCard) -> OwnerCard {
        OwnerCard { number: seen.number + 1, previous: Some(seen.digest()), ..seen.clone() }
    }

    #[test]
    fn a_card_counts_when_its_owner_signed_it_and_nobody_else() {
        let good = sign_statement(&card(), &key(1));
        let (read, signer) = ProjectCard::open(&good, card().project).unwrap();
        assert_eq!((read, signer), (ProjectCard::Owner(card()), key(1).public()));
        for other in [2, 3, 9] {
            let signed = sign_statement(&card(), &key(other));
            assert!(matches!(
                ProjectCard::open(&signed, card().project),
                Err(CardError::Signer { .. })
            ));
        }
    }

    #[test]
    fn one_key_has_one_role_and_every_list_is_sound() {
        let cases: [(&str, Change); 10] = [
            ("owner as device", |c| c.devices[0].key = public(1)),
            ("writer as device", |c| c.devices[0].key = public(3)),
            ("owner as writer", |c| c.writers.push(public(1))),
            ("writer twice", |c| c.writers.push(public(3))),
            ("no key", |c| c.writers.push(Bytes(vec![0; 32]))),
            ("short recipient", |c| c.recipient.0.truncate(1215)),
            ("number 0", |c| c.number = 0),
            ("a second card without its first", |c| c.number = 2),
            ("short measurement", |c| c.measurements.push(Bytes(vec![0; 32]))),
            ("address in lower case", |c| {
                c.second_signer = Some("0x9858effd232b4033e47d90003d41ec34ecaeda94".into());
            }),
        ];
        for (what, change) in cases {
            let mut changed = card();
            change(&mut changed);
            assert!(changed.check().is_err(), "{what}");
            let signed = sign_statement(&changed, &key(1));
            assert!(ProjectCard::open(&signed, card().project).is_err(), "{what}");
        }
        assert!(card().check().is_ok());
    }

    #[test]
    fn a_card_is_followed_by_one_of_the_same_owner_that_names_it() {
        let first = card();
        let mut second = next(&first);
        second.devices.clear();
        assert!(second.may_follow(&first).is_ok(), "a device was revoked");
        assert!(matches!(first.may_follow(&second), Err(CardError::Older { .. })));
        let cases: [(&str, Change); 6] = [
            ("hub", |c| c.hub = "other".into()),
            ("owner", |c| c.owner = public(7)),
            ("key", |c| c.recipient.0[0] = 9),
            ("test mark", |c| c.test = false),
            ("card before it", |c| c.previous = Some(sha256(b"other"))),
            ("content under the same number", |c| {
                c.number = 1;
                c.previous = None;
                c.devices.clear();
            }),
        ];
        for (what, change) in cases {
            let mut changed = next(&first);
            change(&mut changed);
            match changed.may_follow(&first) {
                Err(CardError::Changed { what: said, .. }) => assert_eq!(said, what),
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}
