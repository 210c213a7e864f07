//! Revocation lists: who a root, ASK or ASVK has taken its word back from (RFC 5280 section 5, `spec/evidence.md` section 3.3).

use jiff::Timestamp;

use crate::certificate::{Certificate, CertificateError, Signed, extensions, split_signed};
use crate::der::{DerError, GENERALIZED_TIME, Reader, SEQUENCE, UTC_TIME};
use crate::primitives;

const MOST_BYTES: usize = 1024 * 1024;
const EXTENSIONS: u8 = 0xA0;

/// A list. Nothing about it is verified.
#[derive(Debug)]
pub(crate) struct RevocationList<'a> {
    /// The file it came in.
    pub(crate) name: &'a str,
    signed: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    pub(crate) this_update: Timestamp,
    pub(crate) next_update: Option<Timestamp>,
    serials: Vec<&'a [u8]>,
}

impl<'a> RevocationList<'a> {
    /// Reads a list in DER, version 2, without critical extensions.
    pub(crate) fn parse(name: &'a str, der: &'a [u8]) -> Result<Self, CertificateError> {
        if der.len() > MOST_BYTES {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let Signed { body: signed, algorithm, signature } = split_signed(der)?;
        let mut body = Reader::new(signed).inside(SEQUENCE)?;
        if body.integer()? != [1] {
            return Err(DerError("its version is not 2").into());
        }
        if body.element(SEQUENCE)?.content != algorithm {
            return Err(CertificateError::Algorithm);
        }
        let issuer = body.element(SEQUENCE)?.whole;
        let this_update = body.time()?;
        let next_update = match body.peek() {
            Some(UTC_TIME | GENERALIZED_TIME) => Some(body.time()?),
            _ => None,
        };
        let mut serials = Vec::new();
        if let Some(entries) = body.optional(SEQUENCE)? {
            let mut entries = Reader::new(entries.content);
            while !entries.is_empty() {
                let mut entry = entries.inside(SEQUENCE)?;
                serials.push(entry.integer()?);
                entry.time()?;
                if let Some(list) = entry.optional(SEQUENCE)? {
                    none_critical(Reader::new(list.content))?;
                }
                entry.end()?;
            }
        }
        if let Some(outer) = body.optional(EXTENSIONS)? {
            let mut outer = Reader::new(outer.content);
            none_critical(outer.inside(SEQUENCE)?)?;
            outer.end()?;
        }
        body.end()?;
        Ok(Self { name, signed, signature, issuer, this_update, next_update, serials })
    }

    /// Whether the frame is that of a list: the version comes first and bare, and no time of a certificate has come.
    pub(crate) fn looks_like_one(der: &[u8]) -> bool {
        let read = || {
            let mut body = Reader::new(der).inside(SEQUENCE)?.inside(SEQUENCE)?;
            body.integer()?;
            body.element(SEQUENCE)?;
            body.element(SEQUENCE)?;
            body.time()
        };
        read().is_ok()
    }

    /// Whether it names `issuer` as its own and is signed by it.
    pub(crate) fn is_by(&self, issuer: &Certificate<'_>) -> bool {
        self.issuer == issuer.subject
            && primitives::verify_pss(&issuer.key, self.signed, self.signature)
    }

    pub(crate) fn names(&self, certificate: &Certificate<'_>) -> bool {
        self.serials.contains(&certificate.serial)
    }

    /// A list is stale after its next one was due, and always if it does not say when that is.
    pub(crate) fn is_stale(&self, now: Timestamp) -> bool {
        self.next_update.is_none_or(|due| now > due)
    }
}

fn none_critical(list: Reader<'_>) -> Result<(), CertificateError> {
    if extensions(list)?.iter().any(|extension| extension.critical) {
        return Err(CertificateError::CriticalExtension);
    }
    Ok(())
}
