//! AMD's own extensions in a VEK: the product, the chip or the provider, and the TCB the key was derived for
//! (`spec/evidence.md` section 3.2).

use crate::certificate::Certificate;
use crate::der::{DerError, IA5_STRING, OCTET_STRING, Reader};
use crate::generation::Generation;
use crate::tcb::Tcb;

/// 1.3.6.1.4.1.3704.1, and the last arcs under it.
const ARC: [u8; 8] = [0x2B, 0x06, 0x01, 0x04, 0x01, 0x9C, 0x78, 0x01];
const PRODUCT: &[u8] = &[2];
const BOOT_LOADER: &[u8] = &[3, 1];
const TEE: &[u8] = &[3, 2];
const SNP: &[u8] = &[3, 3];
const MICROCODE: &[u8] = &[3, 8];
const FMC: &[u8] = &[3, 9];
const HARDWARE_ID: &[u8] = &[4];
const PROVIDER: &[u8] = &[5];

const ABSENT: DerError = DerError("an extension of AMD's is missing");

fn extension<'a>(certificate: &Certificate<'a>, last: &[u8]) -> Option<&'a [u8]> {
    certificate.extension(&[&ARC, last].concat())
}

/// The generation that the product name begins with: `Milan-B0` is Milan.
pub(crate) fn product(certificate: &Certificate<'_>) -> Result<Generation, DerError> {
    let text = text(extension(certificate, PRODUCT).ok_or(ABSENT)?)?;
    Generation::named(text.split_once('-').map_or(text, |(name, _stepping)| name))
        .ok_or(DerError("the product name is not one that is known"))
}

/// The TCB that the key was derived for. Turin has an FMC, the others have none.
pub(crate) fn tcb(certificate: &Certificate<'_>, generation: Generation) -> Result<Tcb, DerError> {
    let part = |last| small(extension(certificate, last).ok_or(ABSENT)?);
    let fmc = match (generation, extension(certificate, FMC)) {
        (Generation::Turin, Some(value)) => Some(small(value)?),
        (Generation::Turin, None) => return Err(ABSENT),
        (_, None) => None,
        (_, Some(_)) => return Err(DerError("an FMC version stands where there is no FMC")),
    };
    Ok(Tcb {
        fmc,
        boot_loader: part(BOOT_LOADER)?,
        tee: part(TEE)?,
        snp: part(SNP)?,
        microcode: part(MICROCODE)?,
    })
}

/// The chip: 64 bytes, 8 on Turin. Some certificates have them bare, some in an OCTET STRING; nothing else is taken, and no beginning.
pub(crate) fn hardware_id<'a>(
    certificate: &Certificate<'a>,
    generation: Generation,
) -> Result<Option<&'a [u8]>, DerError> {
    let Some(value) = extension(certificate, HARDWARE_ID) else { return Ok(None) };
    let bytes = generation.hardware_id_bytes();
    if value.len() == bytes {
        return Ok(Some(value));
    }
    let mut reader = Reader::new(value);
    let id = reader.element(OCTET_STRING)?.content;
    reader.end()?;
    if id.len() == bytes {
        Ok(Some(id))
    } else {
        Err(DerError("the hardware id has another length"))
    }
}

/// The cloud provider that a VLEK was lent to.
pub(crate) fn provider<'a>(certificate: &Certificate<'a>) -> Result<Option<&'a str>, DerError> {
    extension(certificate, PROVIDER).map(text).transpose()
}

fn text(value: &[u8]) -> Result<&str, DerError> {
    let mut reader = Reader::new(value);
    let content = reader.element(IA5_STRING)?.content;
    reader.end()?;
    match str::from_utf8(content) {
        Ok(text) if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => Ok(text),
        _ => Err(DerError("a text has characters that nobody prints")),
    }
}

fn small(value: &[u8]) -> Result<u8, DerError> {
    let mut reader = Reader::new(value);
    let digits = reader.integer()?;
    reader.end()?;
    match digits {
        [small @ 0..=0x7F] | [0, small] => Ok(*small),
        _ => Err(DerError("a part of the TCB is not 0 to 255")),
    }
}
