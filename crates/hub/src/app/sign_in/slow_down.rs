//! Failed sign-ins make the next try wait.
//!
//! Counted apart: this name from this address (five tries are free, so a person who mistypes notices nothing), this address
//! whatever the name, and this name whatever the address. The last has the highest bound, because whoever guesses from many
//! addresses would otherwise lock its owner out; a passkey is never made to wait for somebody else's wrong passwords. A
//! name that nobody has is counted like any other. Counts are in memory, of a bounded number, and forgotten after a quiet hour:
//! blocks that outlive a restart are another layer's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use api::{AccountId, Digest, ErrorCode, Time};
use jiff::SignedDuration;

use crate::HubError;

/// How many counts are kept.
const MOST: usize = 65_536;
/// After how long without a failure a count is forgotten.
const QUIET: SignedDuration = SignedDuration::from_hours(1);
/// The longest wait.
const LONGEST: i64 = 15 * 60;

/// What is counted. Names by their hash, so that what somebody typed into the wrong field stands nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// This name from this address.
    Both(Digest, Option<IpAddr>),
    /// This address.
    Address(IpAddr),
    /// This name.
    Name(Digest),
}

impl What {
    /// How many failures are free.
    const fn free(self) -> u32 {
        match self {
            Self::Both(..) => 5,
            Self::Address(_) => 30,
            Self::Name(_) => 100,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: Time,
    account: Option<AccountId>,
}

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct SlowDown(Mutex<HashMap<What, Count>>);

/// Addresses of one household or machine count as one: a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(
            || IpAddr::from((v6.to_bits() & !u128::from(u64::MAX)).to_be_bytes()),
            IpAddr::V4,
        ),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn counted(name: Digest, address: Option<IpAddr>) -> impl Iterator<Item = What> {
    let address = address.map(network);
    [Some(What::Both(name, address)), address.map(What::Address), Some(What::Name(name))]
        .into_iter()
        .flatten()
}

impl SlowDown {
    /// Lets a try through, or says for how long to wait.
    pub(crate) fn may_try(
        &self,
        name: Digest,
        address: Option<IpAddr>,
        now: Time,
    ) -> Result<(), HubError> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = counted(name, address)
            .filter_map(|what| {
                let count = counts.get(&what)?;
                let beyond = count.failures.checked_sub(what.free())?;
                // 1, 2, 4 … seconds after the last failure, up to a quarter of an hour.
                let wait = (1_i64 << beyond.min(20)).min(LONGEST);
                let passed = now.duration_since(count.last).as_secs().max(0);
                (passed < wait).then_some(wait - passed)
            })
            .max();
        match wait {
            None => Ok(()),
            Some(seconds) => Err(HubError::new(
                ErrorCode::TooManyRequests,
                "too many sign-ins failed with this name or from this address",
            )
            .hint(format!("try again in {seconds} seconds, or sign in with a passkey"))),
        }
    }

    /// Counts a failure.
    pub(crate) fn failed(
        &self,
        name: Digest,
        address: Option<IpAddr>,
        account: Option<AccountId>,
        now: Time,
    ) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST {
            counts.retain(|_, count| now.duration_since(count.last) < QUIET);
        }
        for what in counted(name, address) {
            if counts.len() >= MOST && !counts.contains_key(&what) {
                // Full of failures of this hour: an attack. New names wait no longer than others; addresses are counted still.
                continue;
            }
            let count = counts.entry(what).or_insert(Count { failures: 0, last: now, account });
            if now.duration_since(count.last) >= QUIET {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
        }
    }

    /// Forgets the failures under the names of an account that has signed in. Those of addresses stay: whoever guesses many
    /// names may have one of their own.
    pub(crate) fn forget(&self, account: AccountId) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|what, count| {
            matches!(what, What::Address(_)) || count.account != Some(account)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn five_slips_are_free_and_each_further_one_doubles_the_wait() {
        let (slow, name) = (SlowDown::default(), proof::sha256(b"ada"));
        let here = Some(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..4 {
            slow.failed(name, here, None, at(0));
            slow.may_try(name, here, at(0)).unwrap();
        }
        for (failures, wait) in [(5, 1), (6, 2), (7, 4), (8, 8)] {
            slow.failed(name, here, None, at(0));
            let refused = slow.may_try(name, here, at(0)).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::TooManyRequests, "{failures}");
            assert!(slow.may_try(name, here, at(wait - 1)).is_err(), "{failures}");
            assert!(slow.may_try(name, here, at(wait)).is_ok(), "{failures}");
        }
        for _ in 0..60 {
            slow.failed(name, here, None, at(10));
        }
        assert!(slow.may_try(name, here, at(10 + LONGEST - 1)).is_err());
        assert!(slow.may_try(name, here, at(10 + LONGEST)).is_ok());
        // The owner of the name, somewhere else, is not made to wait by it.
        let elsewhere = Some(IpAddr::from([198, 51, 100, 1]));
        assert!(slow.may_try(name, elsewhere, at(10)).is_ok());
        // And one who tries many names from one address waits whatever the name.
        for other in 0..40_u8 {
            slow.failed(proof::sha256(&[other]), elsewhere, None, at(20));
        }
        assert!(slow.may_try(proof::sha256(b"new"), elsewhere, at(20)).is_err());
    }

    #[test]
    fn a_success_forgives_the_names_of_its_account_and_no_address() {
        let (slow, name) = (SlowDown::default(), proof::sha256(b"ada"));
        let (here, ada) = (Some(IpAddr::from([192, 0, 2, 1])), AccountId::generate());
        for _ in 0..40 {
            slow.failed(name, here, Some(ada), at(0));
        }
        slow.forget(ada);
        assert!(slow.may_try(name, None, at(0)).is_ok());
        assert!(slow.may_try(name, here, at(0)).is_err(), "the address has failed forty times");
    }

    #[test]
    fn a_whole_network_of_a_household_counts_as_one_address() {
        let a: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let b: IpAddr = "2001:db8:1:2:ffff::1".parse().unwrap();
        let c: IpAddr = "2001:db8:1:3::1".parse().unwrap();
        assert_eq!(network(a), network(b));
        assert_ne!(network(a), network(c));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), IpAddr::from([192, 0, 2, 1]));
    }
}
