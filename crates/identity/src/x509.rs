//! The X.509 client certificate: self-signed Ed25519, the same bytes each time (`spec/key-derivation.md`, section 7).
//!
//! A hub that asks for client certificates knows this one by its bytes. One certificate with nothing variable in it takes eighty lines of
//! DER, and a reproducible one must not depend on what a library's next version writes.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use proof::{SigningKey, sha256};
use zeroize::Zeroizing;

const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x0e];
const CLIENT_AUTHENTICATION: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
const TRUE: &[u8] = &[0x01, 0x01, 0xff];
/// One bit of nine: digital signature.
const DIGITAL_SIGNATURE: &[u8] = &[0x03, 0x02, 0x07, 0x80];

const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// A key for mutual TLS, and its certificate.
pub struct ClientCertificate {
    key: SigningKey,
    der: Vec<u8>,
}

impl ClientCertificate {
    pub(crate) fn new(key: SigningKey) -> Self {
        let der = certificate(&key);
        Self { key, der }
    }

    /// The certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
        for line in BASE64.encode(&self.der).as_bytes().chunks(64) {
            text.extend(line.iter().map(|&digit| char::from(digit)));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
        text
    }

    /// The secret half as PKCS #8 (RFC 8410), for a TLS library of this process.
    #[must_use]
    pub fn expose_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let seed = self.key.expose_seed();
        let inner = Zeroizing::new([&[OCTETS, 32][..], seed.as_slice()].concat());
        let wrapped = Zeroizing::new(element(OCTETS, &inner));
        let algorithm = element(SEQUENCE, ED25519);
        Zeroizing::new(element(
            SEQUENCE,
            &Zeroizing::new([&[INTEGER, 1, 0][..], &algorithm, &wrapped].concat()),
        ))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(..)")
    }
}

fn certificate(key: &SigningKey) -> Vec<u8> {
    let public = key.public().to_bytes();
    let digest = sha256(&public).0;
    let mut serial: [u8; 16] = [0; 16];
    serial.copy_from_slice(&digest[..16]);
    // Positive, and not shortened by a zero byte in front: the same length for everybody.
    serial[0] = serial[0] & 0x7f | 0x40;

    let common_name = format!("chorion {}", HEXLOWER.encode(&digest[..8]));
    let attribute = [COMMON_NAME, &element(UTF8, common_name.as_bytes())].concat();
    let name = element(SEQUENCE, &element(SET, &element(SEQUENCE, &attribute)));
    let validity =
        [element(UTC_TIME, b"250101000000Z"), element(GENERALIZED_TIME, b"99991231235959Z")];
    let algorithm = element(SEQUENCE, ED25519);
    let public_key = [algorithm.as_slice(), &element(BITS, &[&[0], &public[..]].concat())].concat();
    let extensions = [
        extension(BASIC_CONSTRAINTS, true, &element(SEQUENCE, &[])),
        extension(KEY_USAGE, true, DIGITAL_SIGNATURE),
        extension(EXTENDED_KEY_USAGE, false, &element(SEQUENCE, CLIENT_AUTHENTICATION)),
        extension(SUBJECT_KEY_IDENTIFIER, false, &element(OCTETS, &digest[..20])),
    ];
    let body = element(
        SEQUENCE,
        &[
            element(VERSION, &[INTEGER, 1, 2]),
            element(INTEGER, &serial),
            algorithm.clone(),
            name.clone(),
            element(SEQUENCE, &validity.concat()),
            name,
            element(SEQUENCE, &public_key),
            element(EXTENSIONS, &element(SEQUENCE, &extensions.concat())),
        ]
        .concat(),
    );
    let signature = key.sign(&body);
    let signature = element(BITS, &[&[0], &signature.0[..]].concat());
    element(SEQUENCE, &[body, algorithm, signature].concat())
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { TRUE } else { &[] };
    element(SEQUENCE, &[id, critical, &element(OCTETS, value)].concat())
}

/// Tag, length in the shortest form, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len())
        .expect("a length fits 16 bits because a certificate of ours has some 300 bytes")
        .to_be_bytes();
    let mut out = match length {
        [0, short @ 0..=0x7f] => vec![tag, short],
        [0, long] => vec![tag, 0x81, long],
        [high, low] => vec![tag, 0x82, high, low],
    };
    out.extend_from_slice(content);
    out
}
