//! Packets: tag, length, body (RFC 4880, section 4).

use std::borrow::Cow;

use super::OpenPgpError;

pub(super) const SESSION_KEY: u8 = 1;
pub(super) const SIGNATURE: u8 = 2;
pub(super) const SYMMETRIC_SESSION_KEY: u8 = 3;
pub(super) const ONE_PASS: u8 = 4;
pub(super) const PUBLIC_KEY: u8 = 6;
pub(super) const COMPRESSED: u8 = 8;
pub(super) const ENCRYPTED: u8 = 9;
pub(super) const MARKER: u8 = 10;
pub(super) const LITERAL: u8 = 11;
pub(super) const TRUST: u8 = 12;
pub(super) const USER_ID: u8 = 13;
pub(super) const PUBLIC_SUBKEY: u8 = 14;
pub(super) const USER_ATTRIBUTE: u8 = 17;
pub(super) const PROTECTED: u8 = 18;
pub(super) const AEAD_ENCRYPTED: u8 = 20;

const BROKEN: OpenPgpError = OpenPgpError::Packet("it ends too early");

/// A packet. Its body is borrowed unless it came in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) tag: u8,
    pub(super) body: Cow<'a, [u8]>,
}

/// The packets that `bytes` hold, one after the other.
pub(super) struct Packets<'a> {
    left: &'a [u8],
}

impl<'a> Packets<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], OpenPgpError> {
        let (taken, left) = self.left.split_at_checked(bytes).ok_or(BROKEN)?;
        self.left = left;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<usize, OpenPgpError> {
        Ok(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn read(&mut self) -> Result<Packet<'a>, OpenPgpError> {
        let head = self.number(1)?;
        let kind = u8::try_from(head & 0x3f).map_err(|_| BROKEN)?;
        match head & 0xc0 {
            0xc0 => Ok(Packet { tag: kind, body: self.body()? }),
            0x80 => {
                let bytes = match head & 3 {
                    0 => self.number(1)?,
                    1 => self.number(2)?,
                    2 => self.number(4)?,
                    _ => self.left.len(),
                };
                Ok(Packet { tag: kind >> 2, body: self.take(bytes)?.into() })
            }
            _ => Err(OpenPgpError::Packet("its first bit is not set")),
        }
    }

    /// The body after a head of the new format, which may come in parts.
    fn body(&mut self) -> Result<Cow<'a, [u8]>, OpenPgpError> {
        let mut parts = Vec::new();
        loop {
            let bytes = match self.number(1)? {
                short @ 0..=191 => short,
                long @ 192..=223 => ((long - 192) << 8) + self.number(1)? + 192,
                255 => self.number(4)?,
                part => {
                    parts.extend_from_slice(self.take(1 << (part & 0x1f))?);
                    continue;
                }
            };
            let last = self.take(bytes)?;
            if parts.is_empty() {
                return Ok(last.into());
            }
            parts.extend_from_slice(last);
            return Ok(parts.into());
        }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, OpenPgpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let packet = self.read();
        if packet.is_err() {
            self.left = &[];
        }
        Some(packet)
    }
}

/// Writes a packet in the new format with the shortest length.
pub(super) fn write(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xc0 | tag];
    out.extend_from_slice(&length(body.len()));
    out.extend_from_slice(body);
    out
}

/// A length as packets of the new format and subpackets have it.
pub(super) fn length(bytes: usize) -> Vec<u8> {
    let number = u32::try_from(bytes)
        .expect("a length fits 32 bits because a message of ours has at most 64 MiB");
    match number {
        0..=191 => number.to_be_bytes()[3..].to_vec(),
        192..=8_383 => (number - 192 + (192 << 8)).to_be_bytes()[2..].to_vec(),
        _ => [&[255][..], &number.to_be_bytes()].concat(),
    }
}

/// A multiprecision integer: its bits, and its bytes without zeros in front.
pub(super) fn write_mpi(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let bits = bytes.first().map_or(0, |first| bytes.len() * 8 - first.leading_zeros() as usize);
    let bits = u16::try_from(bits).expect("a number of ours has at most 263 bits");
    [&bits.to_be_bytes()[..], bytes].concat()
}

/// Reads a multiprecision integer, and gives what is behind it.
pub(super) fn read_mpi(bytes: &[u8]) -> Result<(&[u8], &[u8]), OpenPgpError> {
    let (bits, rest) = bytes.split_first_chunk().ok_or(BROKEN)?;
    let bits = usize::from(u16::from_be_bytes(*bits));
    let (number, rest) = rest.split_at_checked(bits.div_ceil(8)).ok_or(BROKEN)?;
    let first = number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize);
    if first == bits {
        Ok((number, rest))
    } else {
        Err(OpenPgpError::Packet("a number in it is not in its one form"))
    }
}
