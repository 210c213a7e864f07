//! Certificates: ours is written, those of others are read as far as their primary key's signatures need it.

use sha1::{Digest, Sha1};

use super::packet::{self, Packets, read_mpi, write_mpi};
use super::signature::{
    self, CERTIFICATION, DIRECT_KEY, KEY_REVOCATION, SUBKEY_BINDING, Signature, USER_ID_REVOCATION,
    Verdict, write_subpacket,
};
use super::{CREATED, MOST_CERTIFICATE_BYTES, OpenPgpError, OpenPgpKeys};

/// `EdDSA` in its older form, which GnuPG 2.1 and later write.
pub(super) const EDDSA: u8 = 22;
pub(super) const ECDH: u8 = 18;
const ED25519: &[u8] = &[9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
pub(super) const CURVE25519: &[u8] =
    &[10, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01];
/// Key derivation of the subkey: SHA-512, AES-256 key wrap.
pub(super) const KDF: &[u8] = &[3, 1, 10, 9];
const CERTIFY_AND_SIGN: u8 = 0x03;
const SIGN: u8 = 0x02;
const ENCRYPT: u8 = 0x0c;
const MOST_PACKETS: usize = 1_024;
/// The mark of a point in native form.
pub(super) const NATIVE: u8 = 0x40;

/// The body of a public key packet.
pub(super) fn key_body(algorithm: u8, created: u32, point: &[u8; 32]) -> Vec<u8> {
    let point = write_mpi(&[&[NATIVE], &point[..]].concat());
    let (curve, parameters) =
        if algorithm == ECDH { (CURVE25519, KDF) } else { (ED25519, &[][..]) };
    [&[4][..], &created.to_be_bytes(), &[algorithm], curve, &point, parameters].concat()
}

/// What is hashed of a key: its mark, length and body.
fn hashed_key(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[0x99][..], &length, body].concat()
}

/// The fingerprint of a version 4 key.
pub(super) fn fingerprint(body: &[u8]) -> [u8; 20] {
    Sha1::digest(hashed_key(body)).into()
}

fn hashed_user_id(id: &[u8]) -> Vec<u8> {
    let length = u32::try_from(id.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0xb4][..], &length, id].concat()
}

/// Our certificate, as bytes.
pub(super) fn write(keys: &OpenPgpKeys) -> Vec<u8> {
    let about_id = [
        write_subpacket(signature::KEY_FLAGS, &[CERTIFY_AND_SIGN]),
        write_subpacket(signature::PRIMARY_USER_ID, &[1]),
        write_subpacket(signature::CIPHERS, &[9]),
        write_subpacket(signature::HASHES, &[10, 8]),
        write_subpacket(signature::COMPRESSION, &[2, 1, 0]),
        write_subpacket(signature::FEATURES, &[1]),
        write_subpacket(signature::SERVER_PREFERENCES, &[0x80]),
    ]
    .concat();
    let about_subkey = write_subpacket(signature::KEY_FLAGS, &[ENCRYPT]);
    let id = keys.user_id.as_bytes();
    let primary = hashed_key(&keys.primary);
    let (hashed_id, hashed_subkey) = (hashed_user_id(id), hashed_key(&keys.subkey));
    [
        packet::write(packet::PUBLIC_KEY, &keys.primary),
        packet::write(packet::USER_ID, id),
        signature::sign(keys, CERTIFICATION, CREATED, &about_id, &[&primary, &hashed_id]),
        packet::write(packet::PUBLIC_SUBKEY, &keys.subkey),
        signature::sign(keys, SUBKEY_BINDING, CREATED, &about_subkey, &[&primary, &hashed_subkey]),
    ]
    .concat()
}

/// Somebody's certificate, as far as it says whose signatures count: its primary Ed25519 key and what that key said of itself.
#[derive(Debug, Clone)]
pub struct Certificate {
    fingerprint: [u8; 20],
    key: Option<[u8; 32]>,
    created: u32,
    /// The first user id that the key itself signed, in UTF-8 as far as it is.
    user_id: Option<String>,
    revoked: bool,
    may_sign: bool,
    expires: Option<u32>,
}

impl Certificate {
    /// Reads a certificate, in armor or bare. `now` is seconds since 1970.
    ///
    /// # Errors
    /// It is none, is broken, or is larger than a certificate is.
    pub fn read(bytes: &[u8], now: u32) -> Result<Self, OpenPgpError> {
        if bytes.len() > MOST_CERTIFICATE_BYTES {
            return Err(OpenPgpError::TooLarge(MOST_CERTIFICATE_BYTES));
        }
        let dearmored = str::from_utf8(bytes)
            .ok()
            .filter(|text| text.contains("-----BEGIN PGP"))
            .map(super::dearmor)
            .transpose()?;
        let bytes = dearmored.as_ref().map_or(bytes, |(_, bytes)| bytes);
        let mut packets = Packets::new(bytes).take(MOST_PACKETS);
        let first = packets.next().transpose()?.filter(|first| first.tag == packet::PUBLIC_KEY);
        let body = first.ok_or(OpenPgpError::NotA("certificate"))?.body.into_owned();
        let mut certificate = Self::from_key(&body)?;
        let primary = hashed_key(&body);
        let mut newest = 0;
        // What the next signatures speak of: the key itself, a user id, or something that is not looked at.
        let mut subject = Some(Vec::new());
        let mut named = None;
        for packet in packets {
            let packet = packet?;
            match packet.tag {
                packet::USER_ID => {
                    subject = Some(hashed_user_id(&packet.body));
                    named = Some(String::from_utf8_lossy(&packet.body).into_owned());
                }
                packet::PUBLIC_SUBKEY | packet::USER_ATTRIBUTE => (subject, named) = (None, None),
                packet::SIGNATURE => {
                    let Some(subject) = &subject else { continue };
                    // A signature that cannot be read is somebody else's word on this certificate, and not needed.
                    let Ok(signature) = Signature::read(&packet.body) else { continue };
                    certificate.hear(
                        &signature,
                        &primary,
                        subject,
                        named.as_deref(),
                        now,
                        &mut newest,
                    );
                }
                packet::TRUST | packet::MARKER => {}
                _ => break,
            }
        }
        Ok(certificate)
    }

    fn from_key(body: &[u8]) -> Result<Self, OpenPgpError> {
        let [4, a, b, c, d, algorithm, material @ ..] = body else {
            return Err(OpenPgpError::Unsupported("keys of another version than 4"));
        };
        let point = (*algorithm == EDDSA).then(|| material.strip_prefix(ED25519)).flatten();
        let key = match point {
            None => None,
            Some(point) => match read_mpi(point)? {
                ([NATIVE, point @ ..], []) => Some(
                    point.try_into().map_err(|_| OpenPgpError::Packet("its point is no point"))?,
                ),
                _ => return Err(OpenPgpError::Packet("its point is no point")),
            },
        };
        Ok(Self {
            fingerprint: fingerprint(body),
            key,
            created: u32::from_be_bytes([*a, *b, *c, *d]),
            user_id: None,
            revoked: false,
            may_sign: false,
            expires: None,
        })
    }

    /// Takes what the primary key says of itself; what others say of it is nothing to us.
    fn hear(
        &mut self,
        signature: &Signature,
        primary: &[u8],
        subject: &[u8],
        user_id: Option<&str>,
        now: u32,
        newest: &mut u32,
    ) {
        let Some(key) = self.key.filter(|_| signature.may_be_of(&self.fingerprint)) else { return };
        let Ok(created) = signature.check(&key, &[primary, subject], now) else { return };
        match (signature.kind, user_id) {
            (KEY_REVOCATION, None) => self.revoked = true,
            (DIRECT_KEY, None) | (0x10..=CERTIFICATION, Some(_)) if created >= *newest => {
                *newest = created;
                self.may_sign = signature.key_flags.is_none_or(|flags| flags & SIGN != 0);
                self.expires = (signature.key_lasts != 0)
                    .then(|| self.created.saturating_add(signature.key_lasts));
                if self.user_id.is_none() {
                    self.user_id = user_id.map(ToOwned::to_owned);
                }
            }
            (USER_ID_REVOCATION, Some(id)) if self.user_id.as_deref() == Some(id) => {
                self.user_id = None;
            }
            _ => {}
        }
    }

    /// The 20 bytes by which the certificate is known.
    #[must_use]
    pub const fn fingerprint(&self) -> [u8; 20] {
        self.fingerprint
    }

    /// A user id that the key gave itself. Nobody else vouches for it here.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.user_id.as_deref()
    }

    /// What becomes of a signature by this certificate's primary key over data.
    pub(super) fn judge(&self, signature: &Signature, data: &[u8], now: u32) -> Verdict {
        let bad = |because| Verdict::Bad { because };
        let Some(key) = self.key else {
            return bad("its key is of an algorithm that this program does not read");
        };
        if signature.kind != signature::BINARY {
            return bad("it is of a kind that this program does not judge");
        }
        let made = match signature.check(&key, &[data], now) {
            Ok(made) => made,
            Err(because) => return bad(because),
        };
        if self.revoked {
            return bad("its key was revoked");
        }
        if !self.may_sign {
            return bad("its key is not for signing");
        }
        if made < self.created || self.expires.is_some_and(|expires| made >= expires) {
            return bad("its key was not valid when it signed");
        }
        Verdict::Good { fingerprint: self.fingerprint, made }
    }
}
