//! Checkpoints: C2SP signed notes that say how long the log is and what its root is, and the cosignatures of witnesses
//! (`spec/audit-log.md` sections 4 and 5).

use std::fmt;
use std::str::FromStr;

use api::{Digest, Time};
use data_encoding::{BASE64, HEXLOWER};

use crate::{PublicKey, SigningKey, sha256};

/// The longest note that is read.
const MAX_NOTE_BYTES: usize = 16 * 1024;
/// The most signatures on one.
const MAX_SIGNATURES: usize = 16;

/// The origin line of a hub's log, which is the name of its key too.
pub fn origin_of(hub: &str) -> String {
    format!("chorion/audit/{hub}")
}

/// What a key under a note says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureKind {
    /// The log: this is my tree.
    Log,
    /// A witness: I saw this tree continue every one that I saw before.
    Witness,
}

impl SignatureKind {
    /// The byte that C2SP signed-note assigns.
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// A named key that verifies notes; as text a C2SP vkey, `NAME+8 hex digits+base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: SignatureKind,
    key: PublicKey,
}

impl VerifierKey {
    /// The key of that name.
    ///
    /// # Errors
    /// The name is empty, or has a space, a plus or a control character.
    pub fn new(name: &str, kind: SignatureKind, key: PublicKey) -> Result<Self, NoteError> {
        if is_name(name) {
            Ok(Self { name: name.to_owned(), kind, key })
        } else {
            Err(NoteError::Name(name.chars().take(80).collect()))
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says under a note.
    pub const fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// The key.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The id by which its signatures are found.
    fn id(&self) -> [u8; 4] {
        let mut text = format!("{}\n", self.name).into_bytes();
        text.push(self.kind.byte());
        text.extend_from_slice(&self.key.to_bytes());
        let digest = sha256(&text).0;
        [digest[0], digest[1], digest[2], digest[3]]
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 256
        && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.byte()];
        key.extend_from_slice(&self.key.to_bytes());
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id()), BASE64.encode(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let bad = || NoteError::Key(text.chars().take(80).collect());
        let (name, rest) = text.split_once('+').ok_or_else(bad)?;
        let (_, key) = rest.split_once('+').ok_or_else(bad)?;
        let bytes = BASE64.decode(key.as_bytes()).map_err(|_| bad())?;
        let (byte, key) = bytes.split_first().ok_or_else(bad)?;
        let kind = match byte {
            0x01 => SignatureKind::Log,
            0x04 => SignatureKind::Witness,
            _ => return Err(bad()),
        };
        let key = PublicKey::from_bytes(key).map_err(|_| bad())?;
        let key = Self::new(name, kind, key)?;
        // The id in the middle and the one spelling are checked in one go.
        if key.to_string() == text { Ok(key) } else { Err(bad()) }
    }
}

/// Why a note does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no signed note.
    #[error("the checkpoint is no signed note")]
    Form,
    /// The text is no checkpoint of a log of ours.
    #[error("the signed note is no checkpoint")]
    Text,
    /// It speaks for another log.
    #[error("the checkpoint is of log `{found}`, not of `{expected}`")]
    Origin {
        /// The log it is of.
        found: String,
        /// The log that was asked for.
        expected: String,
    },
    /// That key did not sign it.
    #[error("the checkpoint has no signature by key `{0}`")]
    Unsigned(String),
    /// A signature under that key's name and id does not verify.
    #[error("the signature of key `{0}` on the checkpoint does not verify")]
    Signature(String),
    /// No name of a key.
    #[error(
        "`{0}` is no name for a key: it has a space, a plus or a control character, or is empty"
    )]
    Name(String),
    /// No key.
    #[error("`{0}` is no key of a log or a witness: NAME+ID+KEY was expected")]
    Key(String),
}

/// How long the log is, and its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(&self.root.0))
    }

    /// Reads the one spelling of a text.
    ///
    /// # Errors
    /// It has more or fewer lines than three, or one that is not spelled as it must be.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let read = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            let root = BASE64.decode(root.as_bytes()).ok()?.try_into().ok()?;
            Some(Self { origin: origin.to_owned(), size: size.parse().ok()?, root: Digest(root) })
        };
        read()
            .filter(|checkpoint| is_name(&checkpoint.origin) && checkpoint.text() == text)
            .ok_or(NoteError::Text)
    }

    /// The note that the log signs: `key` under the name of the origin.
    pub fn sign(&self, key: &SigningKey) -> SignedNote {
        let text = self.text();
        let signature = key.sign(text.as_bytes()).0.to_vec();
        let mut note = SignedNote { text, signatures: Vec::new() };
        let verifier =
            VerifierKey { name: self.origin.clone(), kind: SignatureKind::Log, key: key.public() };
        note.add(&verifier, &signature);
        note
    }
}

/// A text and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    name: String,
    id: [u8; 4],
    signature: Vec<u8>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.to_vec();
        bytes.extend_from_slice(&self.signature);
        writeln!(f, "— {} {}", self.name, BASE64.encode(&bytes))
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| write!(f, "{line}"))
    }
}

impl FromStr for SignedNote {
    type Err = NoteError;

    /// Reads a note; nothing of it counts before a key was asked for.
    fn from_str(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES || note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Form);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let signatures = lines
            .split('\n')
            .map(|line| {
                let (name, bytes) = line.strip_prefix("— ")?.split_once(' ')?;
                let bytes = BASE64.decode(bytes.as_bytes()).ok()?;
                let (id, signature) = bytes.split_first_chunk::<4>()?;
                let signature = signature.to_vec();
                is_name(name).then(|| Line { name: name.to_owned(), id: *id, signature })
            })
            .collect::<Option<Vec<Line>>>()
            .filter(|lines| lines.len() <= MAX_SIGNATURES)
            .ok_or(NoteError::Form)?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }
}

impl SignedNote {
    /// The signed text.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn add(&mut self, key: &VerifierKey, signature: &[u8]) {
        let (name, id) = (key.name.clone(), key.id());
        self.signatures.retain(|line| line.name != name || line.id != id);
        self.signatures.push(Line { name, id, signature: signature.to_vec() });
    }

    /// The signature under this key's name and id.
    fn signature(&self, key: &VerifierKey) -> Result<&[u8], NoteError> {
        let id = key.id();
        self.signatures
            .iter()
            .find(|line| line.name == key.name && line.id == id)
            .map(|line| line.signature.as_slice())
            .ok_or_else(|| NoteError::Unsigned(key.name.clone()))
    }

    /// The checkpoint that the log with this key signed.
    ///
    /// # Errors
    /// It did not, or the text is no checkpoint of that log.
    pub fn checkpoint(&self, log: &VerifierKey) -> Result<Checkpoint, NoteError> {
        let signature = self.signature(log)?;
        if log.kind != SignatureKind::Log || !log.key.verifies(self.text.as_bytes(), signature) {
            return Err(NoteError::Signature(log.name.clone()));
        }
        let checkpoint = Checkpoint::parse(&self.text)?;
        if checkpoint.origin == log.name {
            Ok(checkpoint)
        } else {
            Err(NoteError::Origin { found: checkpoint.origin, expected: log.name.clone() })
        }
    }

    /// When the witness with this key cosigned the note.
    ///
    /// # Errors
    /// It did not.
    pub fn cosigned(&self, witness: &VerifierKey) -> Result<Time, NoteError> {
        let wrong = || NoteError::Signature(witness.name.clone());
        let signature = self.signature(witness)?;
        let (time, signature) = signature.split_first_chunk::<8>().ok_or_else(wrong)?;
        let seconds = i64::try_from(u64::from_be_bytes(*time)).map_err(|_| wrong())?;
        let time = Time::from_second(seconds).map_err(|_| wrong())?;
        let message = cosigned_message(&self.text, seconds);
        if witness.kind == SignatureKind::Witness
            && witness.key.verifies(message.as_bytes(), signature)
        {
            Ok(time)
        } else {
            Err(wrong())
        }
    }

    /// Adds a witness's word for this text, given at `now`. Whether it may give it is [`super::Witness`]'s question.
    pub(super) fn cosign(
        &mut self,
        name: &str,
        key: &SigningKey,
        now: Time,
    ) -> Result<(), NoteError> {
        let verifier = VerifierKey::new(name, SignatureKind::Witness, key.public())?;
        let seconds = now.as_second().max(0);
        let message = cosigned_message(&self.text, seconds);
        let mut signature = seconds.to_be_bytes().to_vec();
        signature.extend_from_slice(&key.sign(message.as_bytes()).0);
        self.add(&verifier, &signature);
        Ok(())
    }

    /// The same text with the signatures of these keys alone, if each verifies.
    ///
    /// # Errors
    /// One of them did not sign it.
    pub fn only(&self, log: &VerifierKey, witness: &VerifierKey) -> Result<Self, NoteError> {
        self.checkpoint(log)?;
        self.cosigned(witness)?;
        let mut note = Self { text: self.text.clone(), signatures: Vec::new() };
        note.add(log, self.signature(log)?);
        note.add(witness, self.signature(witness)?);
        Ok(note)
    }
}

/// What a witness signs (C2SP tlog-cosignature, the Ed25519 type).
fn cosigned_message(text: &str, seconds: i64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log_key() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn log() -> VerifierKey {
        VerifierKey::new("chorion/audit/hub", SignatureKind::Log, log_key().public()).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: origin_of("hub"), size: 20_852_163, root: Digest([7; 32]) }
    }

    /// Notes and keys that others published (`vectors/tlog/`).
    #[test]
    fn published_notes_and_keys_are_read_and_verify() {
        let text = include_str!("../../../../vectors/tlog/notes.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        for case in vectors.as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let key: VerifierKey = case["key"].as_str().unwrap().parse().unwrap();
            assert_eq!(key.to_string(), case["key"].as_str().unwrap(), "{name}");
            let note: SignedNote = case["note"].as_str().unwrap().parse().unwrap();
            assert_eq!(note.to_string(), case["note"].as_str().unwrap(), "{name}");
            let signature = note.signature(&key).unwrap();
            let verifies = match key.kind {
                SignatureKind::Log => key.key.verifies(note.text.as_bytes(), signature),
                SignatureKind::Witness => note.cosigned(&key).is_ok(),
            };
            assert_eq!(verifies, case["verifies"].as_bool().unwrap(), "{name}");
        }
    }

    #[test]
    fn a_checkpoint_counts_under_its_log_key_alone() {
        let note = checkpoint().sign(&log_key());
        let again: SignedNote = note.to_string().parse().unwrap();
        assert_eq!(again, note);
        assert_eq!(again.checkpoint(&log()), Ok(checkpoint()));

        let other = SigningKey::from_seed(&[2; 32]).public();
        let other = VerifierKey::new("chorion/audit/hub", SignatureKind::Log, other).unwrap();
        assert!(matches!(note.checkpoint(&other), Err(NoteError::Unsigned(_))));
        let elsewhere =
            VerifierKey::new("chorion/audit/two", SignatureKind::Log, log_key().public());
        assert!(matches!(note.checkpoint(&elsewhere.unwrap()), Err(NoteError::Unsigned(_))));
        // The right signature over another text.
        let mut changed = note;
        changed.text = Checkpoint { size: 1, ..checkpoint() }.text();
        assert!(matches!(changed.checkpoint(&log()), Err(NoteError::Signature(_))));
        // A key that signs for another origin than its name.
        let text = Checkpoint { origin: origin_of("two"), ..checkpoint() }.text();
        let signature = log_key().sign(text.as_bytes()).0;
        let mut moved = SignedNote { text, signatures: Vec::new() };
        moved.add(&log(), &signature);
        assert!(matches!(moved.checkpoint(&log()), Err(NoteError::Origin { .. })));
    }

    #[test]
    fn a_cosignature_says_when_and_over_what() {
        let key = SigningKey::from_seed(&[3; 32]);
        let witness =
            VerifierKey::new("witness.example/w1", SignatureKind::Witness, key.public()).unwrap();
        let mut note = checkpoint().sign(&log_key());
        assert!(matches!(note.cosigned(&witness), Err(NoteError::Unsigned(_))));
        let now = Time::from_second(1_679_315_147).unwrap();
        note.cosign("witness.example/w1", &key, now).unwrap();
        assert_eq!(note.cosigned(&witness), Ok(now));
        assert_eq!(note.checkpoint(&log()), Ok(checkpoint()));
        // Anew at a later moment: one line, not two.
        let later = Time::from_second(1_679_315_200).unwrap();
        note.cosign("witness.example/w1", &key, later).unwrap();
        assert_eq!((note.signatures.len(), note.cosigned(&witness)), (2, Ok(later)));

        for at in 0..72 {
            let mut changed = note.clone();
            changed.signatures[1].signature[at] ^= 1;
            assert!(changed.cosigned(&witness).is_err(), "{at}");
        }
        // A log's signature is no cosignature, though the key be the same.
        let as_log = VerifierKey::new("witness.example/w1", SignatureKind::Log, key.public());
        assert!(note.checkpoint(&as_log.unwrap()).is_err());
        assert_eq!(note.only(&log(), &witness).unwrap(), note);
        let text: VerifierKey = witness.to_string().parse().unwrap();
        assert_eq!(text, witness);
    }

    #[test]
    fn a_text_or_key_of_another_form_is_refused() {
        let good = checkpoint().text();
        assert_eq!(Checkpoint::parse(&good), Ok(checkpoint()));
        for bad in [
            String::new(),
            good.trim_end().to_owned(),
            format!("{good}extension\n"),
            good.replace("20852163", "020852163"),
            good.replace("20852163", "+20852163"),
            good.replace("20852163", "-1"),
            good.replace("20852163", "18446744073709551616"),
            good.replace("chorion/audit/hub", "chorion audit"),
            good.replace("chorion/audit/hub", ""),
            good.replace("BwcH", "BwcHBwcH"),
            good.replace("=\n", "\n"),
        ] {
            assert_eq!(Checkpoint::parse(&bad), Err(NoteError::Text), "{bad}");
        }
        let key = log().to_string();
        for bad in
            ["", "a", "a+b", "a+b+c", &key[1..], &key[..key.len() - 1], &key.replace('+', " ")]
        {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
        let id = HEXLOWER.encode(&log().id());
        assert!(key.replace(&id, "00000000").parse::<VerifierKey>().is_err());
        let note = checkpoint().sign(&log_key()).to_string();
        let many = note.lines().last().unwrap().to_owned() + "\n";
        for bad in [
            note.replace("\n\n", "\n"),
            note.trim_end().to_owned(),
            note.replace("— ", "- "),
            note.replace('\n', "\r\n"),
            format!("{note}{}", many.repeat(16)),
            format!("{note}\n"),
        ] {
            assert_eq!(bad.parse::<SignedNote>(), Err(NoteError::Form), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_a_note_refuses(at: usize, bit in 0u32..8) {
            let mut note = checkpoint().sign(&log_key()).to_string().into_bytes();
            let at = at % note.len();
            note[at] ^= 1 << bit;
            let read = String::from_utf8(note).ok().and_then(|text| text.parse::<SignedNote>().ok());
            if let Some(note) = read {
                prop_assert!(note.checkpoint(&log()).is_err());
            }
        }
    }
}
