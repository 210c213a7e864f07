//! A strict reader of DER (ITU-T X.690) for the few shapes that AMD's certificates and revocation lists have.
//!
//! Strict, because a certificate that has two readings has two meanings: lengths are definite and in fewest bytes, tags have one
//! byte, an element ends where its content ends. It borrows; nothing is copied, and nothing is believed about a length before the
//! bytes are there.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0C;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Not DER, or not of the shape that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DerError(pub(crate) &'static str);

/// What is left to read of an element's content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// One element: its tag, its content, and both with the length between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag that comes next, if anything does.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, whatever its tag.
    pub(crate) fn any(&mut self) -> Result<Element<'a>, DerError> {
        let bytes = self.0;
        let [tag, first, rest @ ..] = bytes else { return Err(DerError("an element is cut off")) };
        if tag & 0x1F == 0x1F {
            return Err(DerError("a tag has more than one byte"));
        }
        let (length, rest) = match (*first, rest) {
            (short @ 0..=0x7F, rest) => (usize::from(short), rest),
            (0x81, [a @ 0x80..=0xFF, rest @ ..]) => (usize::from(*a), rest),
            (0x82, [a @ 1..=0xFF, b, rest @ ..]) => {
                (usize::from(u16::from_be_bytes([*a, *b])), rest)
            }
            (0x83, [a @ 1..=0xFF, b, c, rest @ ..]) => {
                (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c), rest)
            }
            _ => return Err(DerError("a length is not in its shortest form, or too large")),
        };
        let Some((content, after)) = rest.split_at_checked(length) else {
            return Err(DerError("an element is cut off"));
        };
        let whole = &bytes[..bytes.len() - after.len()];
        self.0 = after;
        Ok(Element { tag: *tag, content, whole })
    }

    /// The next element, which has `tag`.
    pub(crate) fn element(&mut self, tag: u8) -> Result<Element<'a>, DerError> {
        let element = self.any()?;
        if element.tag == tag { Ok(element) } else { Err(DerError("an element has another type")) }
    }

    /// The content of the next element, which has `tag`, as something to read.
    pub(crate) fn inside(&mut self, tag: u8) -> Result<Self, DerError> {
        self.element(tag).map(|element| Self(element.content))
    }

    /// The next element if it has `tag`.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, DerError> {
        if self.peek() == Some(tag) { self.element(tag).map(Some) } else { Ok(None) }
    }

    /// An INTEGER's bytes, big-endian, of two's complement in fewest bytes.
    pub(crate) fn integer(&mut self) -> Result<&'a [u8], DerError> {
        let content = self.element(INTEGER)?.content;
        match content {
            [] | [0x00, 0x00..=0x7F, ..] | [0xFF, 0x80..=0xFF, ..] => {
                Err(DerError("an integer is not in its shortest form"))
            }
            _ => Ok(content),
        }
    }

    /// A BIT STRING of whole bytes.
    pub(crate) fn whole_bits(&mut self) -> Result<&'a [u8], DerError> {
        match self.element(BIT_STRING)?.content {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(DerError("a bit string does not end with a byte")),
        }
    }

    /// A BOOLEAN.
    pub(crate) fn boolean(&mut self) -> Result<bool, DerError> {
        match self.element(BOOLEAN)?.content {
            [0xFF] => Ok(true),
            [0x00] => Ok(false),
            _ => Err(DerError("a truth value is neither true nor false")),
        }
    }

    /// A time of a certificate (RFC 5280 section 4.1.2.5): UTC, with seconds, in one of two spellings.
    pub(crate) fn time(&mut self) -> Result<Timestamp, DerError> {
        const NO_TIME: DerError = DerError("a time is not one that certificates may have");
        let element = self.any()?;
        let Some((b'Z', digits)) = element.content.split_last() else { return Err(NO_TIME) };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(NO_TIME);
        }
        let two = |at: usize| i16::from(digits[at] - b'0') * 10 + i16::from(digits[at + 1] - b'0');
        let (year, at) = match (element.tag, digits.len()) {
            (UTC_TIME, 12) if two(0) >= 50 => (1900 + two(0), 2),
            (UTC_TIME, 12) => (2000 + two(0), 2),
            (GENERALIZED_TIME, 14) => (two(0) * 100 + two(2), 4),
            _ => return Err(NO_TIME),
        };
        let small = |at: usize| i8::try_from(two(at)).map_err(|_| NO_TIME);
        DateTime::new(
            year,
            small(at)?,
            small(at + 2)?,
            small(at + 4)?,
            small(at + 6)?,
            small(at + 8)?,
            0,
        )
        .and_then(|time| time.to_zoned(TimeZone::UTC))
        .map(|zoned| zoned.timestamp())
        .map_err(|_| NO_TIME)
    }

    /// Refuses anything that is left.
    pub(crate) const fn end(self) -> Result<(), DerError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DerError("something follows where nothing may"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_one_spelling() {
        let content = [7; 300];
        let with = |head: &[u8], bytes: usize| [head, &content[..bytes]].concat();
        for (der, bytes) in [
            (with(&[4, 0], 0), Some(0)),
            (with(&[4, 5], 5), Some(5)),
            (with(&[4, 0x81, 5], 5), None),
            (with(&[4, 0x81, 0x80], 128), Some(128)),
            (with(&[4, 0x82, 0, 0x80], 128), None),
            (with(&[4, 0x82, 1, 44], 300), Some(300)),
            (with(&[4, 0x83, 0, 1, 44], 300), None),
            (with(&[4, 0x80], 5), None),
            (with(&[4, 0x84, 0, 0, 1, 44], 300), None),
            (with(&[4, 6], 5), None),
            (with(&[0x1F, 0x81, 1, 0], 0), None),
            (vec![4], None),
            (vec![], None),
        ] {
            let read = Reader::new(&der).any().ok().map(|element| element.content.len());
            assert_eq!(read, bytes, "{:?}", &der[..der.len().min(6)]);
        }
    }

    #[test]
    fn an_integer_has_one_spelling() {
        for (der, good) in [
            (&[2, 1, 0][..], true),
            (&[2, 2, 0, 0xDB], true),
            (&[2, 2, 0, 0x5B], false),
            (&[2, 2, 0xFF, 0x80], false),
            (&[2, 0], false),
        ] {
            assert_eq!(Reader::new(der).integer().is_ok(), good, "{der:?}");
        }
    }

    #[test]
    fn a_time_is_read_to_the_second_or_not_at_all() {
        let read = |tag, text: &str| {
            let mut der = vec![tag, u8::try_from(text.len()).unwrap()];
            der.extend_from_slice(text.as_bytes());
            Reader::new(&der).time().ok().map(|time| time.to_string())
        };
        for (tag, text, expected) in [
            (UTC_TIME, "260205010433Z", Some("2026-02-05T01:04:33Z")),
            (UTC_TIME, "490101000000Z", Some("2049-01-01T00:00:00Z")),
            (UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "20500101000000Z", Some("2050-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "00000101000000Z", Some("0000-01-01T00:00:00Z")),
            (UTC_TIME, "260230010433Z", None),
            (UTC_TIME, "260205010460Z", None),
            (UTC_TIME, "260205250433Z", None),
            (UTC_TIME, "2602050104Z", None),
            (UTC_TIME, "260205010433+0000", None),
            (UTC_TIME, "26020501043-Z", None),
            (UTC_TIME, "20500101000000Z", None),
            (GENERALIZED_TIME, "260205010433Z", None),
            (GENERALIZED_TIME, "20260205010433.5Z", None),
            (GENERALIZED_TIME, "", None),
            (OCTET_STRING, "260205010433Z", None),
        ] {
            assert_eq!(read(tag, text).as_deref(), expected, "{text}");
        }
    }
}
