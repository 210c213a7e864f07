//! What a leaf commits to: an event, whole, under a salt (`spec/audit-log.md` section 1).
//!
//! The tree holds the commitment and nothing else, so whoever fetches it learns how many acts there were and not one of
//! them. Whoever was given the event with its salt computes the commitment again, and a changed byte of either gives
//! another one.

use api::{AccountId, Digest, Event, EventId, Outcome, RequestId, Time};
use serde::{Deserialize, Serialize};

use crate::statement::canonical;
use crate::{Statement, sha256};

/// The fields of a leaf, a closed set; `null` where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafFields {
    /// The act, as `key.release`.
    pub act: String,
    /// Who did it.
    pub actor: String,
    /// The approval it was done on.
    pub approval: Option<Digest>,
    /// When.
    pub at: Time,
    /// The event.
    pub event: EventId,
    /// What a vault proved of itself before.
    pub evidence: Option<Digest>,
    /// The thing.
    pub object: String,
    /// How it ended; `intended` before it began.
    pub outcome: Outcome,
    /// The pseudonym of the thing's owner at that time.
    pub owner: Option<Digest>,
    /// The digest of the purpose, so that forgetting the words leaves the leaf whole.
    pub purpose: Option<Digest>,
    /// Why it was refused or failed.
    pub reason: Option<String>,
    /// The call.
    pub request: Option<RequestId>,
    /// 32 random bytes, so that nobody finds the event by trying.
    pub salt: Digest,
    /// The signed statement that the act is about: a manifest, a card, a receipt.
    pub statement: Option<Digest>,
}

impl Statement for LeafFields {
    const KIND: &'static str = "chorion audit leaf v1";
}

/// The commitment to these fields: the entry of the leaf.
pub fn commitment(fields: &LeafFields) -> Digest {
    sha256(canonical(fields).as_bytes())
}

impl LeafFields {
    /// The fields of an event that was fetched; `None` if it has no leaf, or its purpose is not the one that its leaf names.
    ///
    /// A purpose that was forgotten is `null` beside its digest; a purpose that is shown must have that digest.
    pub fn of(event: &Event) -> Option<Self> {
        let leaf = event.leaf.as_ref()?;
        let shown = match (&event.purpose, &leaf.purpose_salt) {
            (Some(purpose), Some(salt)) => Some(purpose_digest(salt, purpose)),
            (None, None) => leaf.purpose,
            _ => return None,
        };
        if shown != leaf.purpose {
            return None;
        }
        Some(Self {
            act: event.act.clone(),
            actor: event.actor.clone(),
            approval: leaf.approval,
            at: event.at,
            event: event.id,
            evidence: leaf.evidence,
            object: event.object.clone(),
            outcome: event.outcome,
            owner: leaf.owner,
            purpose: leaf.purpose,
            reason: event.reason.clone(),
            request: event.request_id,
            salt: leaf.salt,
            statement: leaf.statement,
        })
    }
}

/// The digest of a purpose under a salt of its own, which goes when the purpose is forgotten.
pub fn purpose_digest(salt: &Digest, purpose: &str) -> Digest {
    sha256(format!("chorion audit purpose v1\n{salt}\n{purpose}").as_bytes())
}

/// The pseudonym of an account: HMAC-SHA-256 (RFC 2104) under a key that only the hub has. The same for all of an account's
/// leaves, so that a person can tell theirs.
pub fn pseudonym(key: &[u8; 32], account: AccountId) -> Digest {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(block, key)| *block ^= key);
        block
    };
    let text = format!("chorion audit owner v1\n{account}");
    let inner = sha256(&[&pad(0x36)[..], text.as_bytes()].concat());
    sha256(&[&pad(0x5c)[..], &inner.0].concat())
}

#[cfg(test)]
mod tests {
    use api::EventLeaf;

    use super::*;

    fn event() -> Event {
        let salt = Digest([2; 32]);
        Event {
            id: "018f0000-0000-7000-8000-000000000001".parse().unwrap(),
            at: Time::from_microsecond(1_800_000_000_123_456).unwrap(),
            actor: "vault:018f0000-0000-7000-8000-000000000002".into(),
            act: "key.release".into(),
            object: "dataset:018f0000-0000-7000-8000-000000000003".into(),
            purpose: Some("app".into()),
            outcome: Outcome::Intended,
            reason: None,
            request_id: Some("018f0000-0000-7000-8000-000000000004".parse().unwrap()),
            leaf: Some(EventLeaf {
                index: 5,
                salt: Digest([1; 32]),
                owner: Some(Digest([3; 32])),
                purpose: Some(purpose_digest(&salt, "app")),
                purpose_salt: Some(salt),
                approval: None,
                evidence: Some(Digest([4; 32])),
                statement: None,
            }),
        }
    }

    fn of(event: &Event) -> Option<Digest> {
        LeafFields::of(event).map(|fields| commitment(&fields))
    }

    /// `vectors/audit-leaf/` was made by a second implementation.
    #[test]
    fn a_leaf_is_the_one_of_the_vectors() {
        for text in [
            include_str!("../../../../vectors/audit-leaf/valid.json"),
            include_str!("../../../../vectors/audit-leaf/valid-nothing-said.json"),
            include_str!("../../../../vectors/audit-leaf/other-salt.json"),
            include_str!("../../../../vectors/audit-leaf/other-outcome.json"),
            include_str!("../../../../vectors/audit-leaf/other-purpose.json"),
        ] {
            let case: serde_json::Value = serde_json::from_str(text).unwrap();
            let event: Event = serde_json::from_value(case["event"].clone()).unwrap();
            let expected = case["commitment"].as_str().unwrap();
            let fits = of(&event).map(|digest| digest.to_string()).as_deref() == Some(expected);
            assert_eq!(fits, case["expect"] == "fits", "{}", case["why"]);
        }
        let text = include_str!("../../../../vectors/audit-leaf/pseudonym.json");
        let case: serde_json::Value = serde_json::from_str(text).unwrap();
        let key: Digest = case["key"].as_str().unwrap().parse().unwrap();
        let account = case["account"].as_str().unwrap().parse().unwrap();
        assert_eq!(pseudonym(&key.0, account).to_string(), case["pseudonym"].as_str().unwrap());
    }

    #[test]
    fn every_field_counts() {
        let good = event();
        let commitment = of(&good).unwrap();
        let mut others: Vec<Event> = vec![good.clone(); 8];
        others[0].actor.push('x');
        others[1].act.push('x');
        others[2].object.push('x');
        others[3].outcome = Outcome::Done;
        others[4].reason = Some("internal".into());
        others[5].request_id = None;
        others[6].at = Time::UNIX_EPOCH;
        others[7].id = EventId::generate();
        for change in [
            |leaf: &mut EventLeaf| leaf.salt.0[0] ^= 1,
            |leaf: &mut EventLeaf| leaf.owner = None,
            |leaf: &mut EventLeaf| leaf.approval = leaf.evidence,
            |leaf: &mut EventLeaf| leaf.evidence = None,
            |leaf: &mut EventLeaf| leaf.statement = leaf.owner,
        ] {
            let mut other = good.clone();
            change(other.leaf.as_mut().unwrap());
            others.push(other);
        }
        for other in others {
            let found = of(&other);
            assert!(found.is_some() && found != Some(commitment), "{other:?}");
        }
        let mut otherwise = good.clone();
        otherwise.purpose = Some("download".into());
        assert_eq!(of(&otherwise), None, "another purpose than was logged");
        otherwise.purpose = None;
        assert_eq!(of(&otherwise), None, "a purpose that was taken away but not forgotten");
        otherwise.leaf.as_mut().unwrap().purpose_salt = None;
        assert_eq!(of(&otherwise), Some(commitment), "a purpose that was forgotten");
        let mut bare = good;
        bare.leaf = None;
        assert_eq!(of(&bare), None);
    }
}
