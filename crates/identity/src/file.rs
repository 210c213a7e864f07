//! The identity file: the words under a passphrase (`spec/key-derivation.md`, section 9).
//!
//! It keeps the entropy and the public card key, not the passphrase of the words: that is a second thing to know, and the card key tells
//! whether what was typed is it.

use seal::passphrase::{self, Cost, LockError};
use seal::secret_line::{self, LineError};
use zeroize::Zeroizing;

use crate::memory::{NoSecretMemory, SecretMemory};
use crate::person::{Identity, IdentityError};
use crate::words::{ENTROPY_BYTES, Words};

const MARK: &str = "chorion-identity1";
const LABEL: &[u8] = b"chorion identity file v1\0";
const PLAIN_BYTES: usize = ENTROPY_BYTES + 1 + 32;
/// Head 29, and the tag of the seal.
const LOCKED_BYTES: usize = 29 + PLAIN_BYTES + 16;

/// Why an identity file was not written, or gives no person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFileError {
    /// It has no line, or several, or a damaged one.
    #[error(transparent)]
    Line(#[from] LineError),
    /// It is of another form, costs too much, or the passphrase is wrong.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It opened, and holds something else.
    #[error("it opens, but holds no words")]
    Content,
    /// The passphrase of the words is another: the keys that it gives are not those that the file was made for.
    #[error("the words' own passphrase is another: it gives other keys than the file was made for")]
    OtherWordsPassphrase,
    /// No person comes of it.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<NoSecretMemory> for IdentityFileError {
    fn from(error: NoSecretMemory) -> Self {
        Self::Identity(error.into())
    }
}

/// An identity file, read and still locked.
#[derive(Debug)]
pub struct IdentityFile {
    locked: [u8; LOCKED_BYTES],
}

/// An identity file that its passphrase opened; the words may have a passphrase besides.
pub struct OpenedFile {
    words: Words,
    needs_passphrase: bool,
    card_key: [u8; 32],
}

impl IdentityFile {
    /// The text of a file for this person.
    ///
    /// # Errors
    /// No randomness, or a cost that Argon2id does not take.
    pub fn write(
        person: &Identity,
        passphrase: &[u8],
        cost: Cost,
    ) -> Result<Zeroizing<String>, IdentityFileError> {
        let mut plain = Zeroizing::new([0; PLAIN_BYTES]);
        plain[..ENTROPY_BYTES].copy_from_slice(person.words().expose_entropy());
        plain[ENTROPY_BYTES] = u8::from(person.has_passphrase());
        plain[ENTROPY_BYTES + 1..].copy_from_slice(&person.card_key().public().to_bytes());
        let locked = passphrase::lock(LABEL, plain.as_slice(), passphrase, cost)?;
        let line = secret_line::write(MARK, &locked);
        let mut text = Zeroizing::new(String::with_capacity(512));
        text.push_str(
            "# Chorion identity: twelve words, protected by a passphrase. Whoever opens it has every key that comes of them.\n",
        );
        text.push_str(&line);
        text.push('\n');
        Ok(text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It has no identity line or several, or the line is damaged or of another form.
    pub fn read(text: &str) -> Result<Self, IdentityFileError> {
        let content = secret_line::read(MARK, text)?;
        passphrase::cost(&content)?;
        let locked = content.as_slice().try_into().map_err(|_| LockError::UnknownForm)?;
        Ok(Self { locked })
    }

    /// What a try of a passphrase costs.
    ///
    /// # Errors
    /// It is of another form.
    pub fn cost(&self) -> Result<Cost, IdentityFileError> {
        Ok(passphrase::cost(&self.locked)?)
    }

    /// Opens it.
    ///
    /// # Errors
    /// The passphrase is another, the cost is more than this program does, or there is no memory for secrets.
    pub fn unlock(
        &self,
        passphrase: &[u8],
        memory: &dyn SecretMemory,
    ) -> Result<OpenedFile, IdentityFileError> {
        let plain = passphrase::unlock(LABEL, &self.locked, passphrase)?;
        let (entropy, rest) = plain.split_first_chunk().ok_or(IdentityFileError::Content)?;
        let (flag, card_key) = rest.split_first().ok_or(IdentityFileError::Content)?;
        let needs_passphrase = match flag {
            0 => false,
            1 => true,
            _ => return Err(IdentityFileError::Content),
        };
        Ok(OpenedFile {
            words: Words::from_entropy(entropy, memory)?,
            needs_passphrase,
            card_key: card_key.try_into().map_err(|_| IdentityFileError::Content)?,
        })
    }
}

impl OpenedFile {
    /// Whether the words have a passphrase of their own, which is not in the file.
    #[must_use]
    pub const fn needs_passphrase(&self) -> bool {
        self.needs_passphrase
    }

    /// Whether these are the words in it.
    #[must_use]
    pub fn holds(&self, words: &Words) -> bool {
        self.words.same_as(words)
    }

    /// The person, given the passphrase of the words (empty where there is none).
    ///
    /// # Errors
    /// That passphrase is another, or there is no memory for secrets.
    pub fn person(
        self,
        passphrase: &str,
        memory: &dyn SecretMemory,
    ) -> Result<Identity, IdentityFileError> {
        let person = Identity::from_words(self.words, passphrase, memory)?;
        if person.card_key().public().to_bytes() == self.card_key {
            Ok(person)
        } else {
            Err(IdentityFileError::OtherWordsPassphrase)
        }
    }
}

impl std::fmt::Debug for OpenedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenedFile(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Heap;

    const QUICK: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn person(passphrase: &str) -> Identity {
        Identity::from_words(Words::from_entropy(&[7; 16], &Heap).unwrap(), passphrase, &Heap)
            .unwrap()
    }

    fn opened(passphrase: &str) -> OpenedFile {
        let text = IdentityFile::write(&person(passphrase), b"file", QUICK).unwrap();
        IdentityFile::read(&text).unwrap().unlock(b"file", &Heap).unwrap()
    }

    #[test]
    fn a_person_comes_back_from_the_file() {
        let file = opened("");
        assert!(!file.needs_passphrase());
        assert!(file.holds(person("").words()));
        let back = file.person("", &Heap).unwrap();
        assert_eq!(back.card_key().public(), person("").card_key().public());
    }

    #[test]
    fn the_words_passphrase_is_asked_for_and_another_is_noticed() {
        assert!(opened("second").needs_passphrase());
        assert!(opened("second").person("second", &Heap).is_ok());
        for other in ["", "Second"] {
            assert_eq!(
                opened("second").person(other, &Heap).unwrap_err(),
                IdentityFileError::OtherWordsPassphrase
            );
        }
    }

    #[test]
    fn another_passphrase_and_another_label_open_nothing() {
        let text = IdentityFile::write(&person(""), b"file", QUICK).unwrap();
        let file = IdentityFile::read(&text).unwrap();
        let wrong = IdentityFileError::Lock(LockError::WrongPassphrase);
        assert_eq!(file.unlock(b"File", &Heap).unwrap_err(), wrong);
        assert!(seal::key_file::KeyFile::read(&text).is_err(), "a key file has another mark");
        assert!(passphrase::unlock(b"", &file.locked, b"file").is_err());
    }

    #[test]
    fn every_changed_letter_of_the_line_is_noticed() {
        let text = IdentityFile::write(&person(""), b"file", QUICK).unwrap();
        let line = text.rfind(MARK).unwrap() + MARK.len();
        for at in line..text.len() - 1 {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                IdentityFile::read(&changed).unwrap_err(),
                IdentityFileError::Line(LineError::BadCheck),
                "letter {at}"
            );
        }
    }

    #[test]
    fn nothing_of_a_person_is_shown() {
        let shown = format!("{:?} {:?}", person("x"), opened("x"));
        assert_eq!(shown, "Identity(..) OpenedFile(..)");
    }
}
