//! Sign-ins half-way: a challenge that went to a browser and must come back, once, in time, and from the browser that began.
//!
//! The hub keeps nothing of those that are out: a challenge is random bytes, the moment it ends, and a MAC over both, the
//! browser and the purpose. So nobody can fill a table with sign-ins that never end. What is kept is each challenge that was
//! answered rightly, until its time is over, in the transaction of what it let in: it counts once. The key is drawn at every
//! start, so a sign-in that was half-way then is begun again.

use api::{ErrorCode, Time};
use aws_lc_rs::hmac;
use jiff::SignedDuration;
use proof::sha256;

use super::Visitor;
use crate::HubError;
use crate::data::{self, Connection, micros};

/// How long a sign-in may stay half-way.
const TRY: SignedDuration = SignedDuration::from_mins(10);
const RANDOM: usize = 32;
const MOMENT: usize = 8;
/// How long a challenge is.
pub(super) const CHALLENGE: usize = RANDOM + MOMENT + 32;

/// Makes and knows challenges.
pub(crate) struct Challenges(hmac::Key);

impl Challenges {
    /// With a new key.
    pub(crate) fn draw() -> Result<Self, HubError> {
        hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new())
            .map(Self)
            .map_err(|e| HubError::internal("the hub has no randomness for challenges", e))
    }

    fn covered(open: &[u8], visitor: &Visitor, kind: &str) -> Vec<u8> {
        [b"chorion challenge".as_slice(), open, &visitor.token.hash().0, kind.as_bytes()].concat()
    }

    /// A challenge to this browser.
    pub(super) fn send_out(&self, visitor: &Visitor, kind: &str) -> Result<Vec<u8>, HubError> {
        let expires = visitor
            .at
            .checked_add(TRY)
            .map_err(|e| HubError::internal("the hub's clock is at the end of time", e))?;
        let mut challenge = vec![0; RANDOM];
        seal::fill_random(&mut challenge)
            .map_err(|e| HubError::internal("the hub has no randomness for a challenge", e))?;
        challenge.extend(micros(expires).to_be_bytes());
        let mark = hmac::sign(&self.0, &Self::covered(&challenge, visitor, kind));
        challenge.extend(mark.as_ref());
        Ok(challenge)
    }

    /// Looks at a challenge that came back. What it lets in must use it [up](Answered::use_up).
    pub(super) fn look(
        &self,
        visitor: &Visitor,
        kind: &str,
        challenge: &[u8],
    ) -> Result<Answered, HubError> {
        let (open, mark) = challenge.split_at_checked(RANDOM + MOMENT).ok_or_else(unknown)?;
        hmac::verify(&self.0, &Self::covered(open, visitor, kind), mark).map_err(|_| unknown())?;
        let moment = open.last_chunk::<MOMENT>().ok_or_else(unknown)?;
        let expires = data::time(i64::from_be_bytes(*moment))?;
        if expires <= visitor.at {
            return Err(unknown());
        }
        Ok(Answered { hash: sha256(challenge), expires, at: visitor.at })
    }
}

/// A challenge of this hub that came back in time from the browser that it went to.
#[derive(Debug)]
#[must_use]
pub(super) struct Answered {
    hash: api::Digest,
    expires: Time,
    at: Time,
}

impl Answered {
    /// Uses it up, in the transaction of what it lets in.
    pub(super) async fn use_up(self, at: &mut Connection) -> Result<(), HubError> {
        data::tries::sweep(at, self.at).await?;
        if data::tries::use_up(at, self.hash, self.expires).await? {
            Ok(())
        } else {
            Err(unknown())
        }
    }
}

pub(super) fn unknown() -> HubError {
    HubError::new(
        ErrorCode::Forbidden,
        "this sign-in was not begun in this browser, took longer than ten minutes, or was made before",
    )
    .hint("begin again on the sign-in page")
}

#[cfg(test)]
mod tests {
    use api::RequestId;

    use super::super::Token;
    use super::*;

    fn visitor(token: &Token, second: i64) -> Visitor {
        Visitor {
            request: RequestId::generate(),
            at: Time::from_second(1_800_000_000 + second).unwrap(),
            address: None,
            agent: String::new(),
            token: token.clone(),
        }
    }

    #[test]
    fn a_challenge_counts_in_time_for_its_browser_and_purpose_alone() {
        let (challenges, token) = (Challenges::draw().unwrap(), Token::draw().unwrap());
        let sent = challenges.send_out(&visitor(&token, 0), "a").unwrap();
        let look = |token: &Token, second, kind, challenge: &[u8]| {
            challenges.look(&visitor(token, second), kind, challenge).is_ok()
        };
        assert!(look(&token, 599, "a", &sent));
        assert!(!look(&token, 600, "a", &sent));
        assert!(!look(&token, 0, "b", &sent));
        assert!(!look(&Token::draw().unwrap(), 0, "a", &sent));
        for position in 0..sent.len() {
            let mut changed = sent.clone();
            changed[position] ^= 1;
            assert!(!look(&token, 0, "a", &changed), "{position}");
            assert!(!look(&token, 0, "a", &sent[..position]), "{position}");
        }
        let other = Challenges::draw().unwrap();
        assert!(other.look(&visitor(&token, 0), "a", &sent).is_err());
    }

    #[tokio::test]
    async fn what_was_answered_once_lets_nobody_in_again() {
        let hub = crate::testing::TestHub::start().await;
        let token = Token::draw().unwrap();
        let sent = hub.hub.challenges.send_out(&visitor(&token, 0), "a").unwrap();
        let look = || hub.hub.challenges.look(&visitor(&token, 1), "a", &sent).unwrap();
        let mut tx = hub.hub.db.write().await.unwrap();
        look().use_up(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = hub.hub.db.write().await.unwrap();
        assert!(look().use_up(&mut tx).await.is_err());
        // It is forgotten when it would count no more anyway.
        data::tries::sweep(&mut tx, visitor(&token, 600).at).await.unwrap();
        look().use_up(&mut tx).await.unwrap();
    }
}
