//! A project goes into other hands, on the owner's device: other words of the same person, or another person's (`spec/approval.md`,
//! section 9).

use api::{Bytes, DatasetId, Digest, ProjectId, Release, SignedStatement, Time};
use dataset::OpenDataset;
use proof::{
    Act, CardDevice, KeyChange, OwnerCard, open_statement, phrase, sha256, sign_statement,
};
use seal::recipient::RecipientKey;

use crate::card::{Device, owns, whole};
use crate::error::Refusal;

/// What both keys of a person are compared by: six words over the card key and the X-Wing key.
#[must_use]
pub fn person_phrase(card: &[u8], recipient: &[u8]) -> String {
    phrase(&sha256(&[b"chorion person v1\0", card, recipient].concat()))
}

/// The card after `seen`, of another owner: no device of the one before, the same writers and measurements.
#[must_use]
pub fn next_owner(seen: &OwnerCard, owner: Vec<u8>, recipient: Vec<u8>) -> OwnerCard {
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
}
