//! Messages: signed, encrypted, compressed, in any layers that GnuPG makes (`spec/key-derivation.md`, section 6).

use std::io::Read;

use flate2::read::{DeflateDecoder, ZlibDecoder};
use sha2::{Digest, Sha512};
use x25519_dalek::PublicKey as X25519Public;
use zeroize::{Zeroize, Zeroizing};

use super::certificate::{CURVE25519, Certificate, ECDH, EDDSA, KDF, NATIVE, fingerprint};
use super::packet::{self, Packets, read_mpi, write};
use super::signature::{self, BINARY, SHA512, Signature, Verdict};
use super::sym::{key_bytes, open_protected, unwrap_key};
use super::{MOST_MESSAGE_BYTES, OpenPgpError, OpenPgpKeys};

const MOST_LAYERS: usize = 16;
const MOST_PACKETS: usize = 1_024;
const INTEGRITY_VERSION: u8 = 1;

pub(super) fn sign_detached(keys: &OpenPgpKeys, data: &[u8], now: u32) -> Vec<u8> {
    signature::sign(keys, BINARY, now, &[], &[data])
}

pub(super) fn sign_inline(keys: &OpenPgpKeys, data: &[u8], now: u32) -> Vec<u8> {
    let announced = [&[3, BINARY, SHA512, EDDSA][..], &keys.fingerprint()[12..], &[1]].concat();
    // Binary, no name, no time: what is not said cannot be believed by mistake.
    let literal = [&[b'b', 0, 0, 0, 0, 0][..], data].concat();
    [
        write(packet::ONE_PASS, &announced),
        write(packet::LITERAL, &literal),
        sign_detached(keys, data, now),
    ]
    .concat()
}

/// A message before it is opened: its bytes, out of their armor.
#[derive(Debug)]
pub struct Message(Vec<u8>);

/// What a message held.
pub struct Opened {
    /// The bytes that were sent. Nothing is said of who wrote them unless a signature is good.
    pub data: Zeroizing<Vec<u8>>,
    /// Whether it was encrypted.
    pub encrypted: bool,
    /// What became of its signatures; none if it has none.
    pub signatures: Vec<Verdict>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("signatures", &self.signatures).finish_non_exhaustive()
    }
}

/// What was found on the way in.
#[derive(Default)]
struct Found {
    literal: Option<Zeroizing<Vec<u8>>>,
    signatures: Vec<Signature>,
    encrypted: bool,
}

impl Message {
    /// A message, in armor or bare.
    ///
    /// # Errors
    /// The armor is broken, holds something else, or the message is larger than is read.
    pub fn read(bytes: &[u8]) -> Result<Self, OpenPgpError> {
        // Base 64 takes four thirds, and lines a little more.
        if bytes.len() > MOST_MESSAGE_BYTES / 2 * 3 {
            return Err(OpenPgpError::TooLarge(MOST_MESSAGE_BYTES));
        }
        let armored = bytes.starts_with(b"-----BEGIN PGP");
        let bytes = if armored {
            let text = str::from_utf8(bytes).map_err(|_| OpenPgpError::NotA("message"))?;
            super::dearmor(text)?.1
        } else {
            bytes.to_vec()
        };
        if bytes.len() > MOST_MESSAGE_BYTES {
            return Err(OpenPgpError::TooLarge(MOST_MESSAGE_BYTES));
        }
        Ok(Self(bytes))
    }

    /// Opens the message with `keys` if it is encrypted, and judges its signatures by `from`. `now` is seconds since 1970.
    ///
    /// # Errors
    /// It is no message, is broken or altered, or is encrypted to others.
    pub fn open(
        &self,
        keys: Option<&OpenPgpKeys>,
        from: &[Certificate],
        now: u32,
    ) -> Result<Opened, OpenPgpError> {
        let mut found = Found::default();
        found.enter(&self.0, keys, MOST_LAYERS)?;
        let data = found.literal.ok_or(OpenPgpError::NotA("message: nothing is in it"))?;
        let signatures =
            found.signatures.iter().map(|signature| judge(signature, &data, from, now)).collect();
        Ok(Opened { data, encrypted: found.encrypted, signatures })
    }

    /// Judges the message, which is a detached signature or several, over `data`.
    ///
    /// # Errors
    /// It is no detached signature.
    pub fn verify_detached(
        &self,
        data: &[u8],
        from: &[Certificate],
        now: u32,
    ) -> Result<Vec<Verdict>, OpenPgpError> {
        let mut verdicts = Vec::new();
        for packet in Packets::new(&self.0).take(MOST_PACKETS) {
            let packet = packet?;
            if packet.tag != packet::SIGNATURE {
                return Err(OpenPgpError::NotA("detached signature"));
            }
            verdicts.push(judge(&Signature::read(&packet.body)?, data, from, now));
        }
        if verdicts.is_empty() {
            Err(OpenPgpError::NotA("detached signature"))
        } else {
            Ok(verdicts)
        }
    }
}

fn judge(signature: &Signature, data: &[u8], from: &[Certificate], now: u32) -> Verdict {
    let of = |certificate: &&Certificate| signature.may_be_of(&certificate.fingerprint());
    let mut verdicts = from.iter().filter(of).map(|one| one.judge(signature, data, now));
    let first = verdicts.next();
    match first {
        None => Verdict::UnknownKey { key_id: signature.key_id() },
        Some(Verdict::Good { fingerprint, made }) => Verdict::Good { fingerprint, made },
        Some(other) => verdicts.find(|v| matches!(v, Verdict::Good { .. })).unwrap_or(other),
    }
}

impl Found {
    /// Takes one layer, and what is inside it.
    fn enter(
        &mut self,
        bytes: &[u8],
        keys: Option<&OpenPgpKeys>,
        layers: usize,
    ) -> Result<(), OpenPgpError> {
        if layers == 0 {
            return Err(OpenPgpError::TooLarge(MOST_MESSAGE_BYTES));
        }
        let mut session_keys = Vec::new();
        for (count, packet) in Packets::new(bytes).enumerate() {
            if count == MOST_PACKETS {
                return Err(OpenPgpError::Packet("there are too many of them"));
            }
            let packet = packet?;
            let body: &[u8] = &packet.body;
            match packet.tag {
                packet::MARKER | packet::SYMMETRIC_SESSION_KEY | packet::ONE_PASS => {}
                packet::SESSION_KEY => session_keys.push(packet.body),
                packet::PROTECTED => {
                    if std::mem::replace(&mut self.encrypted, true) {
                        return Err(OpenPgpError::Unsupported("a message encrypted twice"));
                    }
                    let keys = keys.ok_or(OpenPgpError::Encrypted)?;
                    let (&version, sealed) =
                        body.split_first().ok_or(OpenPgpError::Packet("it is empty"))?;
                    if version != INTEGRITY_VERSION {
                        return Err(OpenPgpError::Unsupported("this kind of encryption"));
                    }
                    let inside = keys.open_sealed(&session_keys, sealed)?;
                    self.enter(&inside, Some(keys), layers - 1)?;
                }
                packet::AEAD_ENCRYPTED => {
                    return Err(OpenPgpError::Unsupported("this kind of encryption"));
                }
                packet::ENCRYPTED => return Err(OpenPgpError::NoIntegrity),
                packet::COMPRESSED => {
                    self.enter(&decompress(body)?, keys, layers - 1)?;
                }
                packet::SIGNATURE => self.signatures.push(Signature::read(body)?),
                packet::LITERAL => {
                    let data = literal(body)?;
                    if self.literal.replace(Zeroizing::new(data.to_vec())).is_some() {
                        return Err(OpenPgpError::Packet("two of them hold data"));
                    }
                }
                _ => return Err(OpenPgpError::NotA("message")),
            }
        }
        Ok(())
    }
}

/// Format, name and time are for nobody; the data is behind them.
fn literal(body: &[u8]) -> Result<&[u8], OpenPgpError> {
    let broken = OpenPgpError::Packet("its data begins nowhere");
    let name = usize::from(*body.get(1).ok_or_else(|| broken.clone())?);
    body.get(2 + name + 4..).ok_or(broken)
}

fn decompress(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenPgpError> {
    let (algorithm, packed) = body.split_first().ok_or(OpenPgpError::Packet("it is empty"))?;
    let mut out = Zeroizing::new(Vec::new());
    let most = MOST_MESSAGE_BYTES as u64 + 1;
    let read = match algorithm {
        0 => packed.take(most).read_to_end(&mut out),
        1 => DeflateDecoder::new(packed).take(most).read_to_end(&mut out),
        2 => ZlibDecoder::new(packed).take(most).read_to_end(&mut out),
        _ => return Err(OpenPgpError::Unsupported("this kind of compression")),
    };
    read.map_err(|_| OpenPgpError::Packet("its compressed content is broken"))?;
    if out.len() > MOST_MESSAGE_BYTES {
        return Err(OpenPgpError::TooLarge(MOST_MESSAGE_BYTES));
    }
    Ok(out)
}

impl OpenPgpKeys {
    fn open_sealed(
        &self,
        session_keys: &[impl AsRef<[u8]>],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenPgpError> {
        let id = fingerprint(&self.subkey);
        let mut failed = OpenPgpError::NotForThisKey;
        for wrapped in session_keys {
            // Version 3, key id (or zero, where the sender does not tell), algorithm.
            let [3, key_id @ .., _] = wrapped.as_ref().get(..10).unwrap_or_default() else {
                continue;
            };
            if wrapped.as_ref()[9] != ECDH || !(id.ends_with(key_id) || key_id == [0; 8]) {
                continue;
            }
            let opened = self
                .session_key(&wrapped.as_ref()[10..])
                .and_then(|(cipher, key)| open_protected(cipher, &key, sealed));
            match opened {
                Ok(inside) => return Ok(inside),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Agreement on the curve, key derivation (RFC 6637, section 7), key unwrap: the cipher and its key.
    fn session_key(&self, wrapped: &[u8]) -> Result<(u8, Zeroizing<Vec<u8>>), OpenPgpError> {
        let no = OpenPgpError::DoesNotOpen;
        let (point, rest) = read_mpi(wrapped)?;
        let ([NATIVE, point @ ..], [length, wrapped @ ..]) = (point, rest) else { return Err(no) };
        let point: [u8; 32] = point.try_into().map_err(|_| no.clone())?;
        if usize::from(*length) != wrapped.len() {
            return Err(no);
        }
        let shared = self.decrypt.diffie_hellman(&X25519Public::from(point));
        if !shared.was_contributory() {
            return Err(no);
        }
        let mut hasher = Sha512::new();
        hasher.update([0, 0, 0, 1]);
        hasher.update(shared.as_bytes());
        hasher.update(CURVE25519);
        hasher.update([ECDH]);
        hasher.update(KDF);
        hasher.update(b"Anonymous Sender    ");
        hasher.update(fingerprint(&self.subkey));
        let mut derived: [u8; 64] = hasher.finalize().into();
        let mut under = Zeroizing::new([0; 32]);
        under.copy_from_slice(&derived[..32]);
        derived.zeroize();

        let padded = unwrap_key(&under, wrapped)?;
        let pad = usize::from(*padded.last().ok_or_else(|| no.clone())?);
        let (content, padding) = padded
            .len()
            .checked_sub(pad)
            .map(|end| padded.split_at(end))
            .ok_or_else(|| no.clone())?;
        let [cipher, key @ .., high, low] = content else { return Err(no) };
        let sum = key.iter().fold(0, |sum: u16, &byte| sum.wrapping_add(byte.into()));
        let whole = sum.to_be_bytes() == [*high, *low]
            && key_bytes(*cipher) == Some(key.len())
            && !padding.is_empty()
            && padding.iter().all(|&byte| usize::from(byte) == pad);
        if whole { Ok((*cipher, Zeroizing::new(key.to_vec()))) } else { Err(no) }
    }
}
