//! Signatures: what they cover, and when they count.

use sha2::{Digest, Sha256, Sha384, Sha512};

use proof::PublicKey;

use super::certificate::EDDSA;
use super::packet::{read_mpi, write, write_mpi};
use super::{OpenPgpError, OpenPgpKeys, packet};

pub(super) const BINARY: u8 = 0x00;
pub(super) const CERTIFICATION: u8 = 0x13;
pub(super) const SUBKEY_BINDING: u8 = 0x18;
pub(super) const DIRECT_KEY: u8 = 0x1f;
pub(super) const KEY_REVOCATION: u8 = 0x20;
pub(super) const USER_ID_REVOCATION: u8 = 0x30;

pub(super) const SHA512: u8 = 10;

pub(super) const CREATION: u8 = 2;
const EXPIRATION: u8 = 3;
pub(super) const KEY_EXPIRATION: u8 = 9;
pub(super) const CIPHERS: u8 = 11;
const ISSUER: u8 = 16;
pub(super) const HASHES: u8 = 21;
pub(super) const COMPRESSION: u8 = 22;
pub(super) const SERVER_PREFERENCES: u8 = 23;
pub(super) const PRIMARY_USER_ID: u8 = 25;
pub(super) const KEY_FLAGS: u8 = 27;
pub(super) const FEATURES: u8 = 30;
pub(super) const ISSUER_FINGERPRINT: u8 = 33;
/// What a critical subpacket may be: those read here, and some that change nothing for a signature over data.
const KNOWN: [u8; 15] = [2, 3, 7, 9, 11, 16, 21, 22, 23, 25, 27, 28, 29, 30, 33];

/// What became of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the key's of this certificate.
    Good {
        /// Whose.
        fingerprint: [u8; 20],
        /// When the signer says it was made, seconds since 1970.
        made: u32,
    },
    /// No certificate that was given has this key.
    UnknownKey {
        /// The key id that the signature names, zero if it names none.
        key_id: [u8; 8],
    },
    /// It does not count.
    Bad {
        /// Why.
        because: &'static str,
    },
}

/// A version 4 signature, read.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    pub(super) kind: u8,
    hash: u8,
    /// From the version to the end of the hashed subpackets: what is hashed of the signature itself.
    covered: Vec<u8>,
    left: [u8; 2],
    /// R ‖ S, 32 bytes each; none if the algorithm is not `EdDSA`.
    value: Option<[u8; 64]>,
    pub(super) created: Option<u32>,
    lasts: u32,
    pub(super) key_lasts: u32,
    pub(super) key_flags: Option<u8>,
    issuer: Option<[u8; 8]>,
    issuer_fingerprint: Option<[u8; 20]>,
    has_unknown_critical: bool,
}

const BROKEN: OpenPgpError = OpenPgpError::Packet("a signature ends too early");

impl Signature {
    pub(super) fn read(body: &[u8]) -> Result<Self, OpenPgpError> {
        let [4, kind, algorithm, hash, ..] = *body else {
            return Err(OpenPgpError::Unsupported("signatures of another version than 4"));
        };
        let (hashed, rest) = area(&body[4..])?;
        let (unhashed, rest) = area(rest)?;
        let (left, rest) = rest.split_first_chunk().ok_or(BROKEN)?;
        let value = if algorithm == EDDSA {
            let (r, rest) = read_mpi(rest)?;
            let (s, rest) = read_mpi(rest)?;
            let mut value = [0; 64];
            if r.len() > 32 || s.len() > 32 || !rest.is_empty() {
                return Err(OpenPgpError::Packet("a signature is longer than its algorithm's"));
            }
            value[32 - r.len()..32].copy_from_slice(r);
            value[64 - s.len()..].copy_from_slice(s);
            Some(value)
        } else {
            None
        };
        let mut signature = Self {
            kind,
            hash,
            covered: body[..6 + hashed.len()].to_vec(),
            left: *left,
            value,
            created: None,
            lasts: 0,
            key_lasts: 0,
            key_flags: None,
            issuer: None,
            issuer_fingerprint: None,
            has_unknown_critical: false,
        };
        signature.take(hashed, true)?;
        signature.take(unhashed, false)?;
        Ok(signature)
    }

    /// Takes what subpackets say. Of those that are not hashed only the issuer is taken, which is a hint where to look.
    fn take(&mut self, mut area: &[u8], hashed: bool) -> Result<(), OpenPgpError> {
        while !area.is_empty() {
            let (kind, content, rest) = subpacket(area)?;
            area = rest;
            let number = || content.try_into().map(u32::from_be_bytes).map_err(|_| BROKEN);
            match kind & 0x7f {
                ISSUER => self.issuer = Some(content.try_into().map_err(|_| BROKEN)?),
                ISSUER_FINGERPRINT => {
                    if let Some((4, fingerprint)) = content.split_first().map(|(v, f)| (*v, f)) {
                        self.issuer_fingerprint = Some(fingerprint.try_into().map_err(|_| BROKEN)?);
                    }
                }
                _ if !hashed => {}
                CREATION => self.created = Some(number()?),
                EXPIRATION => self.lasts = number()?,
                KEY_EXPIRATION => self.key_lasts = number()?,
                KEY_FLAGS => self.key_flags = Some(content.first().copied().unwrap_or(0)),
                known if KNOWN.contains(&known) => {}
                _ => self.has_unknown_critical |= kind & 0x80 != 0,
            }
        }
        Ok(())
    }

    /// Whether the signature names this key, or none.
    pub(super) fn may_be_of(&self, fingerprint: &[u8; 20]) -> bool {
        match (self.issuer_fingerprint, self.issuer) {
            (Some(named), _) => named == *fingerprint,
            (None, Some(id)) => fingerprint.ends_with(&id),
            (None, None) => true,
        }
    }

    pub(super) fn key_id(&self) -> [u8; 8] {
        let named = self.issuer_fingerprint.and_then(|named| named.last_chunk().copied());
        named.or(self.issuer).unwrap_or_default()
    }

    /// Whether `key` made it over `data`, at a time when it could.
    pub(super) fn check(
        &self,
        key: &[u8; 32],
        data: &[&[u8]],
        now: u32,
    ) -> Result<u32, &'static str> {
        let value = self.value.ok_or("it is of an algorithm that this program does not read")?;
        if self.has_unknown_critical {
            return Err("it has a critical part that this program does not read");
        }
        let created = self.created.ok_or("it does not say when it was made")?;
        let digest = digest(self.hash, data, &self.covered)
            .ok_or("its hash is none that counts: SHA-256, SHA-384 or SHA-512")?;
        let key = PublicKey::from_bytes(key).map_err(|_| "its key is no Ed25519 key")?;
        if digest[..2] != self.left || !key.verifies(&digest, &value) {
            return Err("it does not verify: the data or the signature was altered");
        }
        if created > now {
            return Err("it was made in the future of this machine's clock");
        }
        if self.lasts != 0 && created.saturating_add(self.lasts) <= now {
            return Err("it has expired");
        }
        Ok(created)
    }
}

/// A length of two bytes, and as many.
fn area(bytes: &[u8]) -> Result<(&[u8], &[u8]), OpenPgpError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(BROKEN)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(BROKEN)
}

/// Kind, content, and what is behind.
fn subpacket(area: &[u8]) -> Result<(u8, &[u8], &[u8]), OpenPgpError> {
    let (length, rest) = match *area {
        [255, a, b, c, d, ..] => (u32::from_be_bytes([a, b, c, d]) as usize, &area[5..]),
        [long @ 192..=254, low, ..] => {
            (((usize::from(long) - 192) << 8) + usize::from(low) + 192, &area[2..])
        }
        [short @ 0..=191, ..] => (usize::from(short), &area[1..]),
        _ => return Err(BROKEN),
    };
    let (content, rest) = rest.split_at_checked(length).ok_or(BROKEN)?;
    let (kind, content) = content.split_first().ok_or(BROKEN)?;
    Ok((*kind, content, rest))
}

fn digest(hash: u8, data: &[&[u8]], covered: &[u8]) -> Option<Vec<u8>> {
    fn over<D: Digest>(data: &[&[u8]], covered: &[u8], trailer: &[u8]) -> Vec<u8> {
        let mut hasher = D::new();
        data.iter().for_each(|part| hasher.update(part));
        hasher.update(covered);
        hasher.update(trailer);
        hasher.finalize().to_vec()
    }
    let length = u32::try_from(covered.len()).ok()?.to_be_bytes();
    let trailer = [&[4, 0xff][..], &length].concat();
    match hash {
        8 => Some(over::<Sha256>(data, covered, &trailer)),
        9 => Some(over::<Sha384>(data, covered, &trailer)),
        SHA512 => Some(over::<Sha512>(data, covered, &trailer)),
        _ => None,
    }
}

/// A subpacket.
pub(super) fn write_subpacket(kind: u8, content: &[u8]) -> Vec<u8> {
    [&packet::length(content.len() + 1)[..], &[kind], content].concat()
}

/// A signature packet of ours over `data`, with further hashed subpackets.
pub(super) fn sign(
    keys: &OpenPgpKeys,
    kind: u8,
    made: u32,
    more: &[u8],
    data: &[&[u8]],
) -> Vec<u8> {
    let fingerprint = keys.fingerprint();
    let hashed = [
        write_subpacket(ISSUER_FINGERPRINT, &[&[4][..], &fingerprint].concat()),
        write_subpacket(CREATION, &made.to_be_bytes()),
        more.to_vec(),
    ]
    .concat();
    let unhashed = write_subpacket(ISSUER, &fingerprint[12..]);
    let sized = |area: &[u8]| {
        let length = u16::try_from(area.len()).expect("our subpackets have some fifty bytes");
        [&length.to_be_bytes()[..], area].concat()
    };
    let covered = [&[4, kind, EDDSA, SHA512][..], &sized(&hashed)].concat();
    let digest = digest(SHA512, data, &covered).expect("SHA-512 is one of the three hashes");
    let value = keys.sign.sign(&digest).0;
    let (r, s) = value.split_at(32);
    let body =
        [covered, sized(&unhashed), digest[..2].to_vec(), write_mpi(r), write_mpi(s)].concat();
    write(packet::SIGNATURE, &body)
}
