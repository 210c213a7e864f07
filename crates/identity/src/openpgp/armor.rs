//! Armor: OpenPGP as text (RFC 4880, section 6).

use data_encoding::BASE64;

use super::OpenPgpError;

const LINE: usize = 64;

/// What is in the armor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Armored {
    /// A certificate.
    PublicKey,
    /// A message, encrypted or signed.
    Message,
    /// A detached signature.
    Signature,
}

impl Armored {
    const ALL: [Self; 3] = [Self::PublicKey, Self::Message, Self::Signature];

    const fn name(self) -> &'static str {
        match self {
            Self::PublicKey => "PGP PUBLIC KEY BLOCK",
            Self::Message => "PGP MESSAGE",
            Self::Signature => "PGP SIGNATURE",
        }
    }
}

pub(super) fn armor(kind: Armored, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN {}-----\n\n", kind.name());
    for line in BASE64.encode(bytes).as_bytes().chunks(LINE) {
        text.extend(line.iter().map(|&digit| char::from(digit)));
        text.push('\n');
    }
    let check = BASE64.encode(&crc24(bytes).to_be_bytes()[1..]);
    text.push_str(&format!("={check}\n-----END {}-----\n", kind.name()));
    text
}

/// The bytes in the first armor of `text`, and their kind.
///
/// # Errors
/// There is no armor, or it is broken.
pub fn dearmor(text: &str) -> Result<(Armored, Vec<u8>), OpenPgpError> {
    let mut lines = text.lines().map(str::trim_end);
    let kind = lines
        .by_ref()
        .find_map(|line| {
            let name = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
            Armored::ALL.into_iter().find(|kind| kind.name() == name)
        })
        .ok_or(OpenPgpError::NotA("armor of a key, message or signature"))?;
    // Headers until an empty line; nothing in them is believed.
    let end = format!("-----END {}-----", kind.name());
    if !lines.by_ref().take_while(|line| !line.is_empty()).all(|line| line.contains(": ")) {
        return Err(OpenPgpError::Armor("a header of it is none"));
    }
    let mut digits = String::new();
    let mut check = None;
    loop {
        let line = lines.next().ok_or(OpenPgpError::Armor("its end is missing"))?;
        if line == end {
            break;
        }
        match line.strip_prefix('=') {
            Some(check_digits) if check.is_none() => check = Some(check_digits),
            None if check.is_none() => digits.push_str(line),
            _ => return Err(OpenPgpError::Armor("something stands behind its check")),
        }
    }
    let bytes = BASE64
        .decode(digits.as_bytes())
        .map_err(|_| OpenPgpError::Armor("its text is not base 64"))?;
    if let Some(check) = check {
        let found = BASE64.decode(check.as_bytes()).unwrap_or_default();
        if found != crc24(&bytes).to_be_bytes()[1..] {
            return Err(OpenPgpError::Armor("its check does not match"));
        }
    }
    Ok((kind, bytes))
}

/// CRC-24 as RFC 4880, section 6.1, has it. It finds accidents, nothing more.
fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 16, |crc, _| {
            let next = crc << 1;
            if next & 0x0100_0000 == 0 { next } else { next ^ 0x0186_4cfb }
        })
    })
}
