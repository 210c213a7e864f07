//! Twelve words become one person's keys, and those keys sign and open.
//!
//! `spec/key-derivation.md` says which words give which keys, byte by byte. The words are entropy; a seed comes from them and an
//! optional passphrase; each role (Ethereum account, card, sealing, OpenPGP, X.509 client, SSH) has a path of its own from that seed, so
//! that no role's key tells anything of another's. Everything is reproducible: the same words give the same certificates.
//!
//! The crate opens no file, socket or clock. Where secrets lie in memory is the program's to say ([`SecretMemory`]), time is an argument.
//!
//! ```
//! use identity::{Heap, Identity, Words};
//!
//! let words = Words::parse("test test test test test test test test test test test junk", &Heap)?;
//! let person = Identity::from_words(words, "", &Heap)?;
//! assert_eq!(person.ethereum()?.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod derive;
mod ethereum;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod memory;
pub mod openpgp;
mod person;
mod ssh;
mod words;
mod x509;

pub use derive::NoSuchKey;
pub use ethereum::EthereumAccount;
pub use file::{IdentityFile, IdentityFileError, OpenedFile};
pub use memory::{Heap, NoSecretMemory, Room, Secret, SecretMemory};
pub use person::{Identity, IdentityError, MOST_PASSPHRASE_BYTES};
pub use ssh::SshKey;
pub use words::{WORD_COUNT, Words, WordsError, nearest};
pub use x509::ClientCertificate;
