//! FASTQ: four lines a read. A name after `@`, bases, a line with `+`, and as many qualities as bases.
//!
//! Lines are judged as they pass, and only the name is kept, so that a read of a whole chromosome costs no more memory than
//! a short one.

use std::io::Read;

use memchr::memchr;

use crate::{Fault, Found, Side};

/// How much is read at a time.
const CHUNK_BYTES: usize = 256 * 1024;
/// The longest name that is taken for one.
const MOST_NAME_BYTES: usize = 64 * 1024;

const NAME: &str = "its name line does not begin with @";
const NAMELESS: &str = "it has no name";
const LONG_NAME: &str = "its name is longer than 64 KiB";
const BASES: &str = "its bases hold something that is no base";
const PLUS: &str = "its third line does not begin with +";
const QUALITIES: &str = "its qualities hold something outside the range from ! to ~";
const LENGTHS: &str = "it has not as many qualities as bases";
const RETURN: &str = "a carriage return stands inside a line";
const BLANK: &str = "an empty line stands before it";

/// IUPAC codes in both cases, a gap, and a dot for an unknown base.
const fn is_base(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'-' | b'*')
}

const fn is_quality(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~')
}

/// Reads to the end.
pub(crate) fn check(mut from: impl Read, mates: Option<&mut Side>) -> Result<Found, Fault> {
    let mut parser = Parser {
        line: Line::Name,
        record: 1,
        name: Vec::new(),
        at: 0,
        bases: 0,
        returned: false,
        blank: false,
        mates,
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => parser.take(&chunk[..read])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::at(parser.record, error)),
        }
    }
    parser.end()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Name,
    Bases,
    Plus,
    Qualities,
}

struct Parser<'a> {
    line: Line,
    /// The record that is being read, counted from 1.
    record: u64,
    name: Vec<u8>,
    /// Bytes of the present line so far.
    at: u64,
    bases: u64,
    /// A carriage return was met, which only the line's end may follow.
    returned: bool,
    /// Nothing but empty lines may follow.
    blank: bool,
    mates: Option<&'a mut Side>,
}

impl Parser<'_> {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match memchr(b'\n', bytes) {
                Some(end) => {
                    self.part(&bytes[..end])?;
                    self.line_ends()?;
                    bytes = &bytes[end + 1..];
                }
                None => return self.part(bytes),
            }
        }
        Ok(())
    }

    const fn wrong(&self, why: &'static str) -> Fault {
        Fault::Record { record: self.record, why }
    }

    fn part(&mut self, part: &[u8]) -> Result<(), Fault> {
        let (part, returned) = match part {
            [] => return Ok(()),
            [rest @ .., b'\r'] => (rest, true),
            whole => (whole, false),
        };
        if self.blank {
            return if part.is_empty() { Ok(()) } else { Err(self.wrong(BLANK)) };
        }
        if self.returned {
            return Err(self.wrong(RETURN));
        }
        self.returned = returned;
        let first = self.at == 0;
        self.at += part.len() as u64;
        match self.line {
            Line::Name => {
                if first && part.first().is_some_and(|byte| *byte != b'@') {
                    return Err(self.wrong(NAME));
                }
                if self.name.len() + part.len() > MOST_NAME_BYTES {
                    return Err(self.wrong(LONG_NAME));
                }
                self.name.extend_from_slice(part);
            }
            Line::Bases if !part.iter().all(|byte| is_base(*byte)) => {
                return Err(self.wrong(BASES));
            }
            Line::Plus if first && part.first().is_some_and(|byte| *byte != b'+') => {
                return Err(self.wrong(PLUS));
            }
            Line::Qualities if !part.iter().all(|byte| is_quality(*byte)) => {
                return Err(self.wrong(QUALITIES));
            }
            Line::Bases | Line::Plus | Line::Qualities => {}
        }
        Ok(())
    }

    fn line_ends(&mut self) -> Result<(), Fault> {
        match self.line {
            Line::Name if self.at == 0 => {
                self.blank = true;
                return Ok(());
            }
            Line::Name => {
                let name = read_name(&self.name);
                if name.is_empty() {
                    return Err(self.wrong(NAMELESS));
                }
                if let Some(mates) = &mut self.mates {
                    mates.name(name)?;
                }
                self.name.clear();
                self.line = Line::Bases;
            }
            Line::Bases => {
                self.bases = self.at;
                self.line = Line::Plus;
            }
            Line::Plus if self.at == 0 => return Err(self.wrong(PLUS)),
            Line::Plus => self.line = Line::Qualities,
            Line::Qualities if self.at != self.bases => return Err(self.wrong(LENGTHS)),
            Line::Qualities => {
                self.record += 1;
                self.line = Line::Name;
            }
        }
        (self.at, self.returned) = (0, false);
        Ok(())
    }

    /// The last line may lack its end.
    fn end(mut self) -> Result<Found, Fault> {
        let cut = Fault::Cut { record: self.record };
        match self.line {
            Line::Qualities if self.at == self.bases => self.line_ends()?,
            Line::Name if self.at == 0 => {}
            _ => return Err(cut),
        }
        let records = self.record - 1;
        if let Some(mates) = &mut self.mates {
            mates.end()?;
        }
        if records == 0 {
            return Err(Fault::Empty);
        }
        Ok(Found { records, reads: Some(records), ..Found::default() })
    }
}

/// What both mates of a pair are called: up to the first blank, and without `/1` and `/2`.
fn read_name(line: &[u8]) -> &[u8] {
    let name = line.strip_prefix(b"@").unwrap_or(line);
    let end = name.iter().position(u8::is_ascii_whitespace).unwrap_or(name.len());
    match &name[..end] {
        [stem @ .., b'/', b'1' | b'2'] => stem,
        whole => whole,
    }
}
