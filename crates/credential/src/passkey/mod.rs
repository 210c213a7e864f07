//! Registering a passkey and signing in with it (Web Authentication Level 3, sections 7.1 and 7.2).
//!
//! What is asked of every authenticator: the person was there and was recognised (user verification), and the key is one of
//! three kinds (ES256, Ed25519, RS256; the last because Windows Hello on older machines has no other). Attestation is not
//! asked for, and whatever comes of it is trusted for nothing: which maker an authenticator has says little about a person.

mod cbor;
mod cose;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

pub use cose::ALGORITHMS;

/// The longest id of a credential that the standard allows.
const CREDENTIAL_BYTES: usize = 1023;
/// The largest message that is looked at.
const MOST_BYTES: usize = 64 * 1024;

/// Why a passkey does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// What the browser sent is not of the form that the standard gives it.
    #[error("the passkey's answer does not read: {0}")]
    Form(&'static str),
    /// It answers another question, another site's, or an earlier one.
    #[error("the passkey answers something else: {0}")]
    Other(&'static str),
    /// The authenticator did not see or did not recognise the person.
    #[error("the authenticator did not check who is there")]
    NotVerified,
    /// The key is of a kind that was not asked for.
    #[error("the passkey's key is of a kind that is not accepted")]
    Kind,
    /// The signature is not the key's.
    #[error("the passkey's signature is wrong")]
    Signature,
    /// The counter did not grow: a copy of the key was used.
    #[error("the passkey's counter went back from {kept} to {shown}: a copy of it was used")]
    Copied {
        /// The counter at the last sign-in.
        kept: u32,
        /// The counter now.
        shown: u32,
    },
}

/// What was asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The random bytes that were sent.
    pub challenge: &'a [u8],
    /// Where the page was: `https://host:port`.
    pub origin: &'a str,
    /// The host name for which passkeys are made and used (the relying party's id).
    pub host: &'a str,
}

/// A passkey that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The credential's id.
    pub credential: Vec<u8>,
    /// Its public key, as the authenticator wrote it (`COSE_Key`).
    pub public_key: Vec<u8>,
    /// Its counter; 0 for authenticators that keep none.
    pub counter: u32,
}

/// What the browser says it did, as the authenticator signed it.
#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin", default)]
    cross_origin: bool,
    #[serde(rename = "topOrigin", default)]
    top_origin: Option<String>,
}

/// The challenge that an answer answers, to look up whether it was sent. Nothing is verified by it.
///
/// # Errors
/// [`PasskeyError::Form`].
pub fn challenge_of(client_data: &[u8]) -> Result<Vec<u8>, PasskeyError> {
    let data = parse_client_data(client_data)?;
    BASE64URL_NOPAD
        .decode(data.challenge.as_bytes())
        .map_err(|_| PasskeyError::Form("the challenge is not base64url"))
}

fn parse_client_data(bytes: &[u8]) -> Result<ClientData, PasskeyError> {
    if bytes.len() > MOST_BYTES {
        return Err(PasskeyError::Form("the client data is too long"));
    }
    serde_json::from_slice(bytes).map_err(|_| PasskeyError::Form("the client data is not JSON"))
}

fn check_client_data(bytes: &[u8], kind: &str, asked: &Asked<'_>) -> Result<(), PasskeyError> {
    let data = parse_client_data(bytes)?;
    if data.kind != kind {
        return Err(PasskeyError::Other("its type is not the one asked for"));
    }
    if data.challenge != BASE64URL_NOPAD.encode(asked.challenge) {
        return Err(PasskeyError::Other("its challenge is not the one sent"));
    }
    if data.origin != asked.origin {
        return Err(PasskeyError::Other("it was made on a page of another site"));
    }
    if data.cross_origin || data.top_origin.is_some() {
        return Err(PasskeyError::Other("it was made inside a page of another site"));
    }
    Ok(())
}

/// The authenticator data (section 6.1) before extensions.
struct AuthenticatorData<'a> {
    host_hash: &'a [u8],
    flags: u8,
    counter: u32,
    /// What follows the fixed part.
    rest: &'a [u8],
}

const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const HAS_CREDENTIAL: u8 = 0x40;
const HAS_EXTENSIONS: u8 = 0x80;

impl<'a> AuthenticatorData<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, PasskeyError> {
        let short = || PasskeyError::Form("the authenticator data is too short");
        let (host_hash, rest) = bytes.split_at_checked(32).ok_or_else(short)?;
        let (&flags, rest) = rest.split_first().ok_or_else(short)?;
        let (counter, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        Ok(Self { host_hash, flags, counter: u32::from_be_bytes(*counter), rest })
    }

    fn check(&self, asked: &Asked<'_>) -> Result<(), PasskeyError> {
        if self.host_hash != digest(&SHA256, asked.host.as_bytes()).as_ref() {
            return Err(PasskeyError::Other("it is for another host"));
        }
        if self.flags & PRESENT == 0 || self.flags & VERIFIED == 0 {
            return Err(PasskeyError::NotVerified);
        }
        if self.flags & BACKED_UP != 0 && self.flags & BACKUP_ELIGIBLE == 0 {
            return Err(PasskeyError::Form("it says that it is backed up and cannot be"));
        }
        Ok(())
    }

    /// Extensions were not asked for; if there are some, they are one map, and nothing stands after it.
    fn end(&self, rest: &[u8]) -> Result<(), PasskeyError> {
        let rest = if self.flags & HAS_EXTENSIONS == 0 {
            rest
        } else {
            let (extensions, rest) = cbor::read(rest)?;
            if !matches!(extensions, cbor::Item::Map(_)) {
                return Err(PasskeyError::Form("its extensions are no map"));
            }
            rest
        };
        if rest.is_empty() {
            Ok(())
        } else {
            Err(PasskeyError::Form("something stands after the authenticator data"))
        }
    }
}

/// Verifies a new passkey.
///
/// # Errors
/// [`PasskeyError`] says why it does not count.
pub fn register(
    asked: &Asked<'_>,
    client_data: &[u8],
    attestation_object: &[u8],
) -> Result<Registered, PasskeyError> {
    check_client_data(client_data, "webauthn.create", asked)?;
    if attestation_object.len() > MOST_BYTES {
        return Err(PasskeyError::Form("the attestation object is too long"));
    }
    let (object, rest) = cbor::read(attestation_object)?;
    if !rest.is_empty() {
        return Err(PasskeyError::Form("something stands after the attestation object"));
    }
    let (Some(cbor::Item::Text(_)), Some(cbor::Item::Map(_)), Some(cbor::Item::Bytes(bytes))) =
        (object.text("fmt"), object.text("attStmt"), object.text("authData"))
    else {
        return Err(PasskeyError::Form("the attestation object lacks a field"));
    };
    let data = AuthenticatorData::parse(bytes)?;
    data.check(asked)?;
    if data.flags & HAS_CREDENTIAL == 0 {
        return Err(PasskeyError::Form("it holds no credential"));
    }
    let short = || PasskeyError::Form("the credential is too short");
    let (_maker, rest) = data.rest.split_at_checked(16).ok_or_else(short)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if !(1..=CREDENTIAL_BYTES).contains(&length) {
        return Err(PasskeyError::Form("the credential's id has a length that none has"));
    }
    let (credential, rest) = rest.split_at_checked(length).ok_or_else(short)?;
    let (key, after) = cbor::read(rest)?;
    cose::Key::parse(&key)?;
    data.end(after)?;
    let public_key = rest.get(..rest.len() - after.len()).ok_or_else(short)?;
    Ok(Registered {
        credential: credential.to_vec(),
        public_key: public_key.to_vec(),
        counter: data.counter,
    })
}

/// Verifies a sign-in with a passkey that is known, and gives its counter from now on.
///
/// # Errors
/// [`PasskeyError`] says why it does not count.
pub fn verify(
    asked: &Asked<'_>,
    public_key: &[u8],
    kept_counter: u32,
    client_data: &[u8],
    authenticator_data: &[u8],
    signature: &[u8],
) -> Result<u32, PasskeyError> {
    check_client_data(client_data, "webauthn.get", asked)?;
    if authenticator_data.len() > MOST_BYTES {
        return Err(PasskeyError::Form("the authenticator data is too long"));
    }
    let data = AuthenticatorData::parse(authenticator_data)?;
    data.check(asked)?;
    if data.flags & HAS_CREDENTIAL != 0 {
        return Err(PasskeyError::Form("a sign-in brings no new credential"));
    }
    data.end(data.rest)?;
    let (key, rest) = cbor::read(public_key)?;
    if !rest.is_empty() {
        return Err(PasskeyError::Form("something stands after the public key"));
    }
    let mut signed = authenticator_data.to_vec();
    signed.extend_from_slice(digest(&SHA256, client_data).as_ref());
    cose::Key::parse(&key)?.verify(&signed, signature)?;
    // Section 6.1.1: where a counter is kept at all, it grows with every use.
    if (data.counter != 0 || kept_counter != 0) && data.counter <= kept_counter {
        return Err(PasskeyError::Copied { kept: kept_counter, shown: data.counter });
    }
    Ok(data.counter)
}

#[cfg(test)]
mod tests;
