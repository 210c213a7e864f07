//! Custody by an organization: the customer's key, held by a key service, opens what opens everything else.
//!
//! ```text
//! customer's key, in its key service
//!   ├ organization data key, by version       wraps dataset keys
//!   │    └ dataset keys                       wrap data keys of objects; record keys follow from them
//!   ├ organization index key, by version      with a salt of the customer's: index keys of searchable fields
//!   └ organization recipient key, by version  to it, outsiders wrap the dataset keys of what they send
//! ```
//!
//! Each organization key is wrapped apart from the others, so that a new data key leaves the index as it is. What the key
//! service opened is held under a [`Lease`]: asked for once for all who want it, wiped at the lease's end, and wiped at once
//! when the service says that the customer has taken the key away. A service that does not answer is no denial: what is held
//! serves to the end of its lease and not a moment longer. `spec/organization-keys.md` has the bytes and the rules.

mod custodian;
mod index;
mod keys;
mod lease;
mod record;

pub use custodian::OrganizationCustodian;
pub use index::{BLIND_BYTES, IndexKey, SALT_CHARACTERS, new_salt};
pub use keys::{KeptKey, KeptSalt, KeySet, Keys, NewKey, kept_version, make_key};
pub use lease::{Lease, LongestLease, MAX_LEASE_SECONDS};
pub use record::{RECORD_OVERHEAD_BYTES, RecordError, RecordKey, RecordPlace};

#[cfg(test)]
mod tests;
