//! BIP-39: entropy as words of a list, with a checksum; and the seed that comes of them (`spec/key-derivation.md`, section 2).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use seal::NoRandomness;
use sha2::{Digest, Sha256, Sha512};
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

use crate::memory::{NoSecretMemory, Secret, SecretMemory};

/// How many words a person has.
pub const WORD_COUNT: usize = 12;
/// What those words hold.
pub(crate) const ENTROPY_BYTES: usize = 16;
pub(crate) const SEED_BYTES: usize = 64;
const ROUNDS: u32 = 2_048;
/// The longest word of the list has 8 letters.
const MOST_TEXT_BYTES: usize = WORD_COUNT * 9;

/// Why words are not the words of a person. No variant holds a word: they are secret even when one of them is mistyped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Another number of words.
    #[error("there are {found} words, and it takes {WORD_COUNT}")]
    Count {
        /// How many there are.
        found: usize,
    },
    /// Some are not in the list.
    #[error("{}", not_in_the_list(places))]
    NotInTheList {
        /// Their places, counted from 1.
        places: Vec<usize>,
    },
    /// All are in the list, but they do not belong together.
    #[error("the checksum of the words does not match: a word is wrong, or two are exchanged")]
    Checksum,
    /// No randomness to draw them from.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No memory to keep them in.
    #[error(transparent)]
    Memory(#[from] NoSecretMemory),
}

fn not_in_the_list(places: &[usize]) -> String {
    let numbers: Vec<String> = places.iter().map(ToString::to_string).collect();
    match numbers.as_slice() {
        [one] => format!("word {one} is not in the BIP-39 list"),
        [first @ .., last] => {
            format!("words {} and {last} are not in the BIP-39 list", first.join(", "))
        }
        [] => "no word is in the BIP-39 list".to_owned(),
    }
}

/// A person's twelve words. They are kept as the 16 bytes of entropy that they stand for.
pub struct Words(Secret<ENTROPY_BYTES>);

impl Words {
    /// New words from the system's generator.
    ///
    /// # Errors
    /// No randomness, or no memory for secrets.
    pub fn generate(memory: &dyn SecretMemory) -> Result<Self, WordsError> {
        let mut drawn = Ok(());
        let entropy = Secret::filled(memory, |bytes| drawn = seal::fill_random(bytes))?;
        drawn?;
        Ok(Self(entropy))
    }

    /// The words that stand for this entropy.
    ///
    /// # Errors
    /// No memory for secrets.
    pub fn from_entropy(
        entropy: &[u8; ENTROPY_BYTES],
        memory: &dyn SecretMemory,
    ) -> Result<Self, NoSecretMemory> {
        Secret::filled(memory, |bytes| bytes.copy_from_slice(entropy)).map(Self)
    }

    /// Words as a person types them: separated by white space, in any case.
    ///
    /// # Errors
    /// Another number of words, words that are not in the list, a wrong checksum, or no memory for secrets.
    pub fn parse(text: &str, memory: &dyn SecretMemory) -> Result<Self, WordsError> {
        let found = text.split_whitespace().count();
        if found != WORD_COUNT {
            return Err(WordsError::Count { found });
        }
        let entropy = entropy_of(text)?;
        let entropy = entropy
            .first_chunk()
            .expect("twelve words hold sixteen bytes because each is eleven bits");
        Ok(Self::from_entropy(entropy, memory)?)
    }

    /// The entropy itself, for whoever stores it sealed.
    #[must_use]
    pub fn expose_entropy(&self) -> &[u8; ENTROPY_BYTES] {
        self.0.expose()
    }

    /// The words, for whoever shows them to their owner.
    #[must_use]
    pub fn expose_text(&self) -> Zeroizing<String> {
        text_of(self.expose_entropy())
    }

    /// Whether these are the same words.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        // Without telling by time: a loop over all bytes, whatever it finds.
        let (a, b) = (self.expose_entropy(), other.expose_entropy());
        a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
    }

    /// The seed of these words and `passphrase`.
    pub(crate) fn seed(
        &self,
        passphrase: &str,
        memory: &dyn SecretMemory,
    ) -> Result<Secret<SEED_BYTES>, NoSecretMemory> {
        let text = self.expose_text();
        Secret::filled(memory, |seed| fill_seed(&text, passphrase, seed))
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words(..)")
    }
}

fn list() -> &'static [&'static str; 2_048] {
    bip39::Language::English.word_list()
}

fn index_of(word: &str) -> Option<usize> {
    list().binary_search(&word).ok()
}

/// The words for entropy of 16 to 32 bytes.
fn text_of(entropy: &[u8]) -> Zeroizing<String> {
    let check = Sha256::digest(entropy)[0];
    let bits = entropy.len() * 8;
    // The checksum has a bit for each 32 of entropy, so at most 8: one byte behind the entropy holds it.
    let bit = |at: usize| {
        let byte = if at < bits { entropy[at / 8] } else { check };
        usize::from(byte >> (7 - at % 8) & 1)
    };
    let mut text = Zeroizing::new(String::with_capacity(MOST_TEXT_BYTES.max(24 * 9)));
    for word in 0..(bits + bits / 32) / 11 {
        let index = (word * 11..word * 11 + 11).fold(0, |index, at| index << 1 | bit(at));
        if word > 0 {
            text.push(' ');
        }
        text.push_str(list()[index]);
    }
    text
}

/// The entropy of any number of words that BIP-39 has; the caller has counted them.
fn entropy_of(text: &str) -> Result<Zeroizing<Vec<u8>>, WordsError> {
    let mut places = Vec::new();
    let mut bits = Zeroizing::new(Vec::with_capacity(24 * 11));
    for (place, word) in text.split_whitespace().enumerate() {
        let word = Zeroizing::new(word.to_lowercase());
        match index_of(&word) {
            Some(index) => bits.extend((0..11).rev().map(|bit| index >> bit & 1 == 1)),
            None => places.push(place + 1),
        }
    }
    if !places.is_empty() {
        return Err(WordsError::NotInTheList { places });
    }
    let entropy_bits = bits.len() / 33 * 32;
    let entropy: Zeroizing<Vec<u8>> = Zeroizing::new(
        bits[..entropy_bits]
            .chunks(8)
            .map(|byte| byte.iter().fold(0, |all, &bit| all << 1 | u8::from(bit)))
            .collect(),
    );
    let check = Sha256::digest(entropy.as_slice())[0];
    let fits = bits[entropy_bits..]
        .iter()
        .enumerate()
        .all(|(at, &bit)| bit == (check >> (7 - at) & 1 == 1));
    if fits { Ok(entropy) } else { Err(WordsError::Checksum) }
}

/// PBKDF2-HMAC-SHA-512 with 2,048 rounds; 64 bytes are one block of it.
fn fill_seed(words: &str, passphrase: &str, seed: &mut [u8; SEED_BYTES]) {
    let mut salt = Zeroizing::new(String::from("mnemonic"));
    salt.reserve(4 * passphrase.len());
    salt.extend(passphrase.nfkd());
    let keyed = Hmac::<Sha512>::new_from_slice(words.as_bytes())
        .expect("HMAC takes words because it takes a key of any length");
    let mut first = keyed.clone();
    first.update(salt.as_bytes());
    first.update(&1_u32.to_be_bytes());
    let mut block: [u8; SEED_BYTES] = first.finalize().into_bytes().into();
    *seed = block;
    for _ in 1..ROUNDS {
        let mut round = keyed.clone();
        round.update(&block);
        block = round.finalize().into_bytes().into();
        seed.iter_mut().zip(&block).for_each(|(all, next)| *all ^= next);
    }
    block.zeroize();
}

/// The words of the list that `typed` was most likely meant to be, best first: at most three, none if nothing is near.
#[must_use]
pub fn nearest(typed: &str) -> Vec<&'static str> {
    let typed: Zeroizing<Vec<char>> =
        Zeroizing::new(typed.to_lowercase().chars().take(16).collect());
    let shared = |word: &str| word.chars().zip(typed.iter()).take_while(|(a, b)| a == *b).count();
    let mut near: Vec<_> = list()
        .iter()
        // The first four letters are a word's own in this list, so whoever typed those right meant that word.
        .map(|word| (if shared(word) >= 4 { 1 } else { distance(&typed, word) }, *word))
        .filter(|(far, _)| *far <= 2.min(typed.len() / 2))
        .collect();
    near.sort_by_key(|(far, word)| (*far, std::cmp::Reverse(shared(word))));
    near.into_iter().take(3).map(|(_, word)| word).collect()
}

/// How many letters were changed, left out, added, or exchanged with their neighbour.
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests;
