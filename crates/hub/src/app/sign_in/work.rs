//! Passwords, and the work that each of them costs.
//!
//! Argon2id with 64 MiB and three passes (RFC 9106, second recommended setting, on one lane) makes guessing dear for a thief of
//! the database. The same cost would let strangers exhaust the hub's memory and processors by signing in wrongly, so only two
//! are computed at once, a few wait, and the others are told to come again. A name that nobody has costs the same work.

use std::fmt;
use std::sync::{Arc, LazyLock};

use api::ErrorCode;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::{Zeroize, Zeroizing};

use crate::HubError;
use crate::data::passwords::Kept;

/// What a new password costs: memory in KiB, and passes over it.
const COST: (u32, u32) = (64 * 1024, 3);
/// How many are computed at once: 128 MiB.
const AT_ONCE: usize = 2;
/// How many more may wait.
const WAITING: usize = 32;
/// The shortest password, in characters (NIST SP 800-63B asks for 8 beside a second factor, for 15 alone in its last draft).
pub(crate) const SHORTEST: usize = 12;
/// The longest, in bytes: room for a long phrase, and none for a book.
const LONGEST: usize = 1024;

/// A password as somebody typed it. It does not print, and is wiped when it is dropped.
#[derive(Clone, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Password(Zeroizing<String>);

impl Password {
    /// Takes what was typed.
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// Whether it is the same as another.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }

    /// As it crosses the wire.
    pub(crate) fn into_secret(self) -> api::Secret {
        api::Secret::new(self.0)
    }

    /// Refuses what is short, too long, or guessed first. No rule asks for kinds of characters: they make people write
    /// passwords that are no harder to guess.
    pub(crate) fn is_fit(&self, also_common: &[&str]) -> Result<(), HubError> {
        let text = self.0.as_str();
        if text.chars().count() < SHORTEST {
            return Err(HubError::bad_request(format!(
                "the password is shorter than {SHORTEST} characters"
            ))
            .hint("four or five words that have nothing to do with each other are long and easy to keep in mind"));
        }
        if text.len() > LONGEST {
            return Err(HubError::bad_request(format!(
                "the password is longer than {LONGEST} bytes"
            )));
        }
        let plain = Zeroizing::new(text.to_lowercase());
        let few = plain.chars().collect::<std::collections::BTreeSet<_>>().len() < 4;
        let common = COMMON.binary_search(&plain.as_str()).is_ok();
        // What is left of it when the names around it are taken out must be a password still.
        let mut rest = plain.clone();
        let mut names: Vec<&str> = also_common.to_vec();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in names.into_iter().filter(|name| name.chars().count() >= 3) {
            *rest = rest.replace(&name.to_lowercase(), "");
        }
        let named = rest.len() < plain.len() && rest.chars().count() < 8;
        if few || common || named {
            return Err(HubError::bad_request(
                "the password is among those that are guessed first",
            )
            .hint(
                "take one that is in no list, and that has neither your name nor this hub's in it",
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Passwords that are guessed first, sorted.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut list: Vec<&str> = include_str!("common_passwords.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    list.sort_unstable();
    list
});

/// Where passwords are computed.
#[derive(Debug)]
pub(crate) struct Work {
    computing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self {
            computing: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
        }
    }

    /// A password as it is kept.
    pub(crate) async fn keep(&self, password: Password) -> Result<Kept, HubError> {
        let mut salt = vec![0; 16];
        seal::fill_random(&mut salt)
            .map_err(|e| HubError::internal("the hub has no randomness for a salt", e))?;
        let (memory_kib, passes) = COST;
        let digest = self.digest(password, salt.clone(), (memory_kib, passes)).await?;
        Ok(Kept { memory_kib, passes, salt, digest: digest.to_vec() })
    }

    /// Whether it is the password that was kept. Without one that was kept the answer is no, after the same work.
    pub(crate) async fn is_right(
        &self,
        password: Password,
        kept: Option<&Kept>,
    ) -> Result<bool, HubError> {
        let nobodys =
            || Kept { memory_kib: COST.0, passes: COST.1, salt: vec![0; 16], digest: vec![0; 32] };
        let (is_somebodys, kept) = (kept.is_some(), kept.cloned().unwrap_or_else(nobodys));
        let digest = self.digest(password, kept.salt, (kept.memory_kib, kept.passes)).await?;
        Ok(bool::from(digest.as_slice().ct_eq(&kept.digest)) && is_somebodys)
    }

    async fn digest(
        &self,
        password: Password,
        salt: Vec<u8>,
        (memory_kib, passes): (u32, u32),
    ) -> Result<Zeroizing<[u8; 32]>, HubError> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_full| {
            HubError::new(ErrorCode::TooManyRequests, "too many people are signing in at once")
                .hint("try again in a minute; a passkey costs no such work")
        })?;
        let turn = Arc::clone(&self.computing)
            .acquire_owned()
            .await
            .map_err(|e| HubError::internal("the hub computes no passwords any more", e))?;
        let computed = tokio::task::spawn_blocking(move || {
            // Held by the work itself: it goes on when the caller has gone away, and takes its memory all the same.
            let _held = (place, turn);
            let params = Params::new(memory_kib, passes, 1, Some(32)).ok()?;
            let mut memory = vec![Block::default(); params.block_count()];
            let mut digest = Zeroizing::new([0; 32]);
            let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into_with_memory(
                    password.0.as_bytes(),
                    &salt,
                    &mut *digest,
                    &mut memory,
                );
            memory.iter_mut().for_each(Zeroize::zeroize);
            done.ok().map(|()| digest)
        })
        .await
        .map_err(|e| HubError::internal("the work of a password was cut off", e))?;
        computed.ok_or_else(|| {
            HubError::internal(
                "a password cannot be computed",
                "its cost is none that Argon2id takes",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn short_and_common_passwords_and_ones_made_of_names_are_refused() {
        let names = ["ada", "Ada Lovelace", "chorion"];
        for bad in [
            "",
            "elevenchars",
            "password1234",
            "PassWord1234",
            "aaaaaaaaaaaaaaaa",
            "121212121212121212",
            "chorion12345",
            "Ada Lovelace1",
            "ChorionAda2026",
        ] {
            assert!(password(bad).is_fit(&names).is_err(), "{bad}");
        }
        assert!(password(&"a1b2".repeat(300)).is_fit(&names).is_err());
        for good in ["ножницы бумага камень", "copper vein harbour seven", "ada likes copper veins"]
        {
            assert!(password(good).is_fit(&names).is_ok(), "{good}");
        }
    }

    #[test]
    fn every_common_password_is_long_enough_to_be_asked_about() {
        assert!(COMMON.len() > 200);
        for common in COMMON.iter() {
            assert!(common.chars().count() >= SHORTEST, "{common}");
            assert_eq!(*common, common.to_lowercase());
        }
    }

    #[test]
    fn a_password_does_not_print() {
        assert_eq!(format!("{:?}", password("copper vein harbour")), "Password(..)");
    }

    #[tokio::test]
    async fn only_the_right_password_is_right_and_no_account_is_never() {
        let work = Work::new();
        let kept = work.keep(password("copper vein harbour")).await.unwrap();
        let again = work.keep(password("copper vein harbour")).await.unwrap();
        assert_ne!(kept.digest, again.digest, "each has a salt of its own");
        for (typed, kept, right) in [
            ("copper vein harbour", Some(&kept), true),
            ("copper vein harbours", Some(&kept), false),
            ("copper vein harbour", None, false),
        ] {
            assert_eq!(work.is_right(password(typed), kept).await.unwrap(), right, "{typed}");
        }
    }

    #[tokio::test]
    async fn the_digest_is_argon2id_as_another_implementation_computes_it() {
        // `printf 'copper vein harbour' | argon2 0123456789abcdef -id -v 13 -m 16 -t 3 -p 1 -l 32 -r` (Debian's argon2 20171227).
        let work = Work::new();
        let digest = work
            .digest(password("copper vein harbour"), b"0123456789abcdef".to_vec(), COST)
            .await
            .unwrap();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&*digest),
            "564bbad1619a55f22e550607539a1907cdaba97e67384bfdab39df3d6026ef35"
        );
    }

    #[tokio::test]
    async fn work_whose_caller_went_away_keeps_its_turn_until_it_is_done() {
        let work = Work::new();
        // Small and long: nearly a second of it.
        let begun = work.digest(password("copper vein harbour"), vec![0; 16], (1024, 2000));
        tokio::select! {
            biased;
            _ = begun => panic!("it cannot be done at once"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(work.computing.available_permits(), AT_ONCE - 1);
        drop(work.computing.acquire_many(2).await.unwrap());
    }

    #[tokio::test]
    async fn more_than_can_wait_are_told_to_come_again() {
        let work = Work::new();
        let held = work.waiting.acquire_many(34).await.unwrap();
        let refused = work.is_right(password("copper vein harbour"), None).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TooManyRequests);
        drop(held);
    }
}
