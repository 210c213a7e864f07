//! X.509 certificates of AMD's chain (`spec/evidence.md` section 3.1), and no others.
//!
//! A reader for one issuer can be strict where a general one cannot: one signature algorithm, two kinds of key, two extensions that may
//! be critical. What it does not know it refuses. It keeps the signed bytes as they came and verifies nothing.

use jiff::Timestamp;

use crate::der::{
    BIT_STRING, DerError, IA5_STRING, OBJECT, OCTET_STRING, PRINTABLE_STRING, Reader, SEQUENCE,
    SET, UTF8_STRING,
};
use crate::primitives::{RSA_BYTES, RSA_EXPONENT};

const MOST_BYTES: usize = 16 * 1024;

/// Why bytes are no certificate of AMD's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not DER, or not an X.509 certificate.
    #[error("not a certificate: {0}")]
    Form(#[from] DerError),
    /// Larger than any that AMD issues.
    #[error("{0} bytes are more than a certificate has")]
    TooLarge(usize),
    /// Signed in another way than AMD's.
    #[error("not signed with RSASSA-PSS, SHA-384 and a salt of 48 bytes")]
    Algorithm,
    /// A key of a kind that AMD's chain does not have.
    #[error("its key is neither RSA-4096 with exponent 65537 nor on P-384")]
    Key,
    /// Without a common name nobody knows what it is.
    #[error("it has no common name, or two")]
    CommonName,
    /// An extension that must be understood and is not.
    #[error("it has a critical extension that is not known")]
    CriticalExtension,
    /// The same extension twice would have two meanings.
    #[error("it has an extension twice")]
    DoubledExtension,
}

/// A public key of the chain, as the certificate has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublicKey<'a> {
    /// RSA of 4,096 bits; the modulus, big-endian. The exponent is 65,537.
    Rsa { modulus: &'a [u8; RSA_BYTES] },
    /// A point on P-384, uncompressed.
    P384 { point: &'a [u8; 97] },
}

/// A certificate. Nothing about it is verified.
#[derive(Debug, Clone)]
pub(crate) struct Certificate<'a> {
    /// The file it came in.
    pub(crate) name: &'a str,
    pub(crate) der: &'a [u8],
    /// The bytes that the signature is over.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: &'a [u8],
    /// As bytes: AMD's VEKs have the number 0, which RFC 5280 does not allow.
    pub(crate) serial: &'a [u8],
    /// The whole name in DER.
    pub(crate) issuer: &'a [u8],
    /// The whole name in DER.
    pub(crate) subject: &'a [u8],
    pub(crate) common_name: &'a str,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) key: PublicKey<'a>,
    /// Says of itself that it is a certificate authority which may sign certificates.
    pub(crate) signs_certificates: bool,
    extensions: Vec<Extension<'a>>,
}

/// An extension: which, whether one must know it, and its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) critical: bool,
    pub(crate) value: &'a [u8],
}

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x0F];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1D, 0x13];

/// `AlgorithmIdentifier` of RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes, up to the trailer.
const PSS_HEAD: &[u8] = &[
    0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A, // rsassaPss
];
const PSS_PARAMETERS: &[u8] = &[
    0xA0, 0x0F, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05,
    0x00, // hash: SHA-384
    0xA1, 0x1C, 0x30, 0x1A, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x08, 0x30,
    0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05,
    0x00, // MGF1 with SHA-384
    0xA2, 0x03, 0x02, 0x01, 0x30, // salt: 48
];
/// The trailer's default, which DER leaves out and some of AMD's certificates write all the same.
const PSS_TRAILER: &[u8] = &[0xA3, 0x03, 0x02, 0x01, 0x01];

const RSA_ENCRYPTION: &[u8] =
    &[0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];
const ON_P384: &[u8] = &[
    0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, // id-ecPublicKey
    0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22, // secp384r1
];

const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER.
    pub(crate) fn parse(name: &'a str, der: &'a [u8]) -> Result<Self, CertificateError> {
        if der.len() > MOST_BYTES {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let Signed { body: signed, algorithm, signature } = split_signed(der)?;
        let mut body = Reader::new(signed).inside(SEQUENCE)?;
        if body.inside(VERSION)?.integer()? != [2] {
            return Err(DerError("its version is not 3").into());
        }
        let serial = body.integer()?;
        if body.element(SEQUENCE)?.content != algorithm {
            return Err(CertificateError::Algorithm);
        }
        let issuer = body.element(SEQUENCE)?.whole;
        let mut validity = body.inside(SEQUENCE)?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        validity.end()?;
        let subject = body.element(SEQUENCE)?;
        let common_name = common_name(Reader::new(subject.content))?;
        let key = public_key(body.inside(SEQUENCE)?)?;
        let extensions = extensions(body.inside(EXTENSIONS)?.inside(SEQUENCE)?)?;
        body.end()?;
        let known = |id| id == KEY_USAGE || id == BASIC_CONSTRAINTS;
        if extensions.iter().any(|extension| extension.critical && !known(extension.id)) {
            return Err(CertificateError::CriticalExtension);
        }
        let mut certificate = Self {
            name,
            der,
            signed,
            signature,
            serial,
            issuer,
            subject: subject.whole,
            common_name,
            not_before,
            not_after,
            key,
            signs_certificates: false,
            extensions,
        };
        certificate.signs_certificates = certificate.may_sign()?;
        Ok(certificate)
    }

    /// The content of an extension.
    pub(crate) fn extension(&self, id: &[u8]) -> Option<&'a [u8]> {
        self.extensions.iter().find(|extension| extension.id == id).map(|found| found.value)
    }

    /// Basic constraints with `cA`, and key usage with `keyCertSign` (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
    fn may_sign(&self) -> Result<bool, DerError> {
        let (Some(constraints), Some(usage)) =
            (self.extension(BASIC_CONSTRAINTS), self.extension(KEY_USAGE))
        else {
            return Ok(false);
        };
        let mut constraints = Reader::new(constraints).inside(SEQUENCE)?;
        let authority = constraints.peek() == Some(crate::der::BOOLEAN) && constraints.boolean()?;
        let usage = Reader::new(usage).element(BIT_STRING)?.content;
        Ok(authority && usage.get(1).is_some_and(|bits| bits & 0b0000_0100 != 0))
    }
}

/// The frame of certificates and revocation lists: `SEQUENCE { body, algorithm, signature }`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// The bytes that the signature is over.
    pub(crate) body: &'a [u8],
    /// The content of the algorithm's identifier, which the body repeats.
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// Cuts a certificate or a list into the parts of its frame; the algorithm is the one that AMD uses.
pub(crate) fn split_signed(der: &[u8]) -> Result<Signed<'_>, CertificateError> {
    let mut whole = Reader::new(der);
    let mut parts = whole.inside(SEQUENCE)?;
    whole.end()?;
    let body = parts.element(SEQUENCE)?.whole;
    let algorithm = parts.element(SEQUENCE)?.content;
    let signature = parts.whole_bits()?;
    parts.end()?;
    if !is_pss(algorithm) {
        return Err(CertificateError::Algorithm);
    }
    Ok(Signed { body, algorithm, signature })
}

fn is_pss(algorithm: &[u8]) -> bool {
    let parameters = algorithm.strip_prefix(PSS_HEAD).and_then(|parameters| {
        let mut reader = Reader::new(parameters);
        let content = reader.element(SEQUENCE).ok()?.content;
        reader.end().ok()?;
        content.strip_prefix(PSS_PARAMETERS)
    });
    parameters.is_some_and(|trailer| trailer.is_empty() || trailer == PSS_TRAILER)
}

fn common_name(mut name: Reader<'_>) -> Result<&str, CertificateError> {
    let mut found = None;
    while !name.is_empty() {
        let mut set = name.inside(SET)?;
        while !set.is_empty() {
            let mut pair = set.inside(SEQUENCE)?;
            let kind = pair.element(OBJECT)?.content;
            let value = pair.any()?;
            pair.end()?;
            if kind != COMMON_NAME {
                continue;
            }
            if found.is_some() || !matches!(value.tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING)
            {
                return Err(CertificateError::CommonName);
            }
            let text = str::from_utf8(value.content).map_err(|_| CertificateError::CommonName)?;
            // It is printed: a name that could move a terminal's cursor is none of AMD's.
            if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return Err(CertificateError::CommonName);
            }
            found = Some(text);
        }
    }
    found.ok_or(CertificateError::CommonName)
}

fn public_key(mut info: Reader<'_>) -> Result<PublicKey<'_>, CertificateError> {
    let algorithm = info.element(SEQUENCE)?.content;
    let bits = info.whole_bits()?;
    info.end()?;
    if algorithm == ON_P384 {
        let point: &[u8; 97] = bits.try_into().map_err(|_| CertificateError::Key)?;
        return if point[0] == 4 {
            Ok(PublicKey::P384 { point })
        } else {
            Err(CertificateError::Key)
        };
    }
    if algorithm != RSA_ENCRYPTION {
        return Err(CertificateError::Key);
    }
    let mut outer = Reader::new(bits);
    let mut pair = outer.inside(SEQUENCE)?;
    outer.end()?;
    let (modulus, exponent) = (pair.integer()?, pair.integer()?);
    pair.end()?;
    let exponent_is_known = exponent == RSA_EXPONENT.to_be_bytes().split_at(5).1;
    // The sign byte shows that the highest bit is set, so the modulus has 4,096 bits and no fewer.
    match modulus {
        [0, modulus @ ..] if exponent_is_known => modulus
            .try_into()
            .map(|modulus| PublicKey::Rsa { modulus })
            .map_err(|_| CertificateError::Key),
        _ => Err(CertificateError::Key),
    }
}

/// A list of extensions, none twice.
pub(crate) fn extensions(mut list: Reader<'_>) -> Result<Vec<Extension<'_>>, CertificateError> {
    let mut found: Vec<Extension<'_>> = Vec::new();
    while !list.is_empty() {
        let mut parts = list.inside(SEQUENCE)?;
        let id = parts.element(OBJECT)?.content;
        let critical = parts.peek() == Some(crate::der::BOOLEAN) && {
            // `false` is the default, which DER leaves out.
            if !parts.boolean()? {
                return Err(DerError("a default is written out").into());
            }
            true
        };
        let value = parts.element(OCTET_STRING)?.content;
        parts.end()?;
        if found.iter().any(|extension| extension.id == id) {
            return Err(CertificateError::DoubledExtension);
        }
        found.push(Extension { id, critical, value });
    }
    Ok(found)
}
