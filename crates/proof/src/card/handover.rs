//! An owner's project goes to another owner, or to other words of the same one (`spec/card.md`, section 6).
//!
//! The next card names the next owner, who signs it. The same text is signed by the owner before as well: that signature is the
//! hand-over, and without it no card of another owner ever follows.

use api::SignedStatement;

use super::{CardError, OwnerCard, ProjectCard};
use crate::{PublicKey, open_statement};

impl ProjectCard {
    /// As [`may_follow`](Self::may_follow), also over changes of the owner: `handovers` are the cards with which each of them began, as
    /// the owner before signed them. They prove themselves, whoever brings them.
    pub fn follows(&self, seen: &Self, handovers: &[SignedStatement]) -> Result<(), CardError> {
        let (Self::Owner(card), Self::Owner(seen)) = (self, seen) else {
            return self.may_follow(seen);
        };
        let opened = handovers.iter().filter_map(|signed| open_statement::<OwnerCard>(signed).ok());
        let mut steps: Vec<(OwnerCard, PublicKey)> = opened.collect();
        steps.sort_by_key(|(next, _)| next.number);
        let mut then = seen.clone();
        for (next, signer) in steps {
            if next.number <= card.number && next.takes_over(&then, &signer).is_ok() {
                then = next;
            }
        }
        card.may_follow(&then)
    }
}

impl OwnerCard {
    /// Refuses `self` as the first card of another owner after `seen`, unless `signer` is the key of the owner before. Hub, project and
    /// test mark stay.
    pub fn takes_over(&self, seen: &Self, signer: &PublicKey) -> Result<(), CardError> {
        let project = self.project;
        self.check()?;
        if seen.owner.0 != signer.to_bytes() {
            return Err(CardError::Signer { project, signer: signer.id() });
        }
        if project != seen.project {
            return Err(CardError::Project { card: project, asked: seen.project });
        }
        if self.number <= seen.number {
            return Err(CardError::Older { project, number: self.number, seen: seen.number });
        }
        let changed = |what| Err(CardError::Changed { project, what });
        if self.owner == seen.owner || self.recipient == seen.recipient {
            return Err(CardError::Form { project, why: "it names no other owner" });
        }
        if self.hub != seen.hub {
            return changed("hub");
        }
        if self.test != seen.test {
            return changed("test mark");
        }
        if self.number == seen.number + 1 && self.previous != Some(seen.digest()) {
            return changed("card before it");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use api::Bytes;

    use super::*;
    use crate::card::owner::tests::{card, key};
    use crate::{SigningKey, sign_statement};

    fn bytes(key: &SigningKey) -> Bytes {
        Bytes(key.public().to_bytes().to_vec())
    }

    fn after(seen: &OwnerCard, owner: u8) -> OwnerCard {
        OwnerCard {
            number: seen.number + 1,
            previous: Some(seen.digest()),
            owner: bytes(&key(owner)),
            recipient: Bytes(vec![owner; seen.recipient.0.len()]),
            ..seen.clone()
        }
    }

    #[test]
    fn another_owner_follows_by_the_signature_of_the_one_before_and_by_nothing_else() {
        let first = card();
        let second = after(&first, 20);
        let third = OwnerCard { devices: vec![], ..after(&second, 21) };
        let (one, two, three) = (
            ProjectCard::Owner(first),
            ProjectCard::Owner(second.clone()),
            ProjectCard::Owner(third.clone()),
        );
        let given = [sign_statement(&third, &key(20)), sign_statement(&second, &key(1))];
        assert!(two.follows(&one, &given).is_ok());
        assert!(three.follows(&one, &given).is_ok(), "over two changes, in any order");
        assert!(three.follows(&two, &given).is_ok());
        assert!(two.follows(&one, &[]).is_err());
        // Signed by the new owner, by a device, by a writer, by a stranger: none of them had it to give.
        for other in [20, 2, 3, 9] {
            assert!(two.follows(&one, &[sign_statement(&second, &key(other))]).is_err(), "{other}");
        }
        // One link of two is missing.
        assert!(three.follows(&one, &given[..1]).is_err());
        assert!(three.follows(&one, &given[1..]).is_err());
        // And never back.
        assert!(one.follows(&two, &given).is_err());
    }

    #[test]
    fn what_changes_with_the_owner_is_the_owner_alone() {
        type Change = fn(&mut OwnerCard);
        let first = card();
        let good = after(&first, 20);
        let giver = key(1).public();
        assert!(good.takes_over(&first, &giver).is_ok());
        let cases: [(&str, Change); 6] = [
            ("hub", |c| c.hub = "other".into()),
            ("test mark", |c| c.test = false),
            ("the card before it", |c| c.previous = Some(crate::sha256(b"other"))),
            ("the number", |c| c.number = 1),
            ("the same key to seal to", |c| c.recipient = card().recipient),
            ("another project", |c| c.project = api::ProjectId::from_bytes([9; 16])),
        ];
        for (what, change) in cases {
            let mut changed = good.clone();
            change(&mut changed);
            assert!(changed.takes_over(&first, &giver).is_err(), "{what}");
        }
    }
}
