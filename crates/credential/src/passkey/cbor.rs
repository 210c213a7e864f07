//! The part of CBOR (RFC 8949) that authenticators may write: CTAP2 canonical form. Lengths are definite and shortest, maps
//! nest at most four deep and hold no key twice, and there are no tags and no floating-point numbers.

use super::PasskeyError;

/// How deep it may nest (CTAP 2.1, section 8).
const DEPTH: u8 = 4;

/// One item, borrowed from the bytes it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A whole number.
    Number(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A text.
    Text(&'a str),
    /// Items in order.
    Array(Vec<Self>),
    /// Items by items.
    Map(Vec<(Self, Self)>),
    /// `true` or `false`.
    Bool(bool),
    /// Nothing.
    Null,
}

impl<'a> Item<'a> {
    /// What a map has under a text.
    pub(super) fn text(&self, name: &str) -> Option<&Self> {
        self.entry(&Item::Text(name))
    }

    /// What a map has under a number.
    pub(super) fn number(&self, name: i64) -> Option<&Self> {
        self.entry(&Item::Number(name))
    }

    fn entry(&self, name: &Item<'_>) -> Option<&Self> {
        let Item::Map(entries) = self else { return None };
        entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

const fn wrong(why: &'static str) -> PasskeyError {
    PasskeyError::Form(why)
}

/// Reads one item, and gives what stands after it.
pub(super) fn read(bytes: &[u8]) -> Result<(Item<'_>, &[u8]), PasskeyError> {
    read_at(bytes, 0)
}

fn read_at(bytes: &[u8], depth: u8) -> Result<(Item<'_>, &[u8]), PasskeyError> {
    if depth > DEPTH {
        return Err(wrong("its CBOR nests too deep"));
    }
    let (&first, rest) = bytes.split_first().ok_or(wrong("its CBOR ends too early"))?;
    let (major, small) = (first >> 5, first & 0x1f);
    if major == 7 {
        return match small {
            20 => Ok((Item::Bool(false), rest)),
            21 => Ok((Item::Bool(true), rest)),
            22 => Ok((Item::Null, rest)),
            _ => Err(wrong("its CBOR has a value that none may have")),
        };
    }
    let (number, rest) = argument(small, rest)?;
    let take = |rest: &'_ [u8]| usize::try_from(number).ok().filter(|length| *length <= rest.len());
    match major {
        0 => {
            let number = i64::try_from(number).map_err(|_| wrong("a number is too large"))?;
            Ok((Item::Number(number), rest))
        }
        1 => {
            let number = i64::try_from(number).map_err(|_| wrong("a number is too large"))?;
            Ok((Item::Number(-1 - number), rest))
        }
        2 | 3 => {
            let length = take(rest).ok_or(wrong("its CBOR ends too early"))?;
            let (content, rest) = rest.split_at(length);
            if major == 2 {
                return Ok((Item::Bytes(content), rest));
            }
            let text = str::from_utf8(content).map_err(|_| wrong("a text is not UTF-8"))?;
            Ok((Item::Text(text), rest))
        }
        4 => {
            // Each item is a byte at least, so what is announced is bounded by what is there.
            let length = take(rest).ok_or(wrong("its CBOR ends too early"))?;
            let (mut items, mut rest) = (Vec::new(), rest);
            for _ in 0..length {
                let (item, after) = read_at(rest, depth + 1)?;
                items.push(item);
                rest = after;
            }
            Ok((Item::Array(items), rest))
        }
        5 => {
            let length = take(rest).ok_or(wrong("its CBOR ends too early"))?;
            let (mut entries, mut rest) = (Vec::<(Item<'_>, Item<'_>)>::new(), rest);
            for _ in 0..length {
                let (key, after) = read_at(rest, depth + 1)?;
                let (value, after) = read_at(after, depth + 1)?;
                if entries.iter().any(|(there, _)| *there == key) {
                    return Err(wrong("a map has a key twice"));
                }
                if entries.len() >= 64 {
                    return Err(wrong("a map has too many keys"));
                }
                entries.push((key, value));
                rest = after;
            }
            Ok((Item::Map(entries), rest))
        }
        _ => Err(wrong("its CBOR has a tag")),
    }
}

/// The number in an item's head, in its shortest form.
fn argument(small: u8, rest: &[u8]) -> Result<(u64, &[u8]), PasskeyError> {
    let short = wrong("its CBOR ends too early");
    let (number, least, rest) = match small {
        0..=23 => (u64::from(small), 0, rest),
        24 => {
            let (&byte, rest) = rest.split_first().ok_or(short)?;
            (u64::from(byte), 24, rest)
        }
        25 => {
            let (bytes, rest) = rest.split_first_chunk::<2>().ok_or(short)?;
            (u64::from(u16::from_be_bytes(*bytes)), 1 << 8, rest)
        }
        26 => {
            let (bytes, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
            (u64::from(u32::from_be_bytes(*bytes)), 1 << 16, rest)
        }
        27 => {
            let (bytes, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
            (u64::from_be_bytes(*bytes), 1 << 32, rest)
        }
        _ => return Err(wrong("its CBOR has no definite length")),
    };
    if number < least {
        Err(wrong("its CBOR is not in the shortest form"))
    } else {
        Ok((number, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn examples_of_rfc_8949_read_as_it_says() {
        let cases = [
            ("00", Item::Number(0)),
            ("17", Item::Number(23)),
            ("1818", Item::Number(24)),
            ("1903e8", Item::Number(1000)),
            ("1a000f4240", Item::Number(1_000_000)),
            ("3863", Item::Number(-100)),
            ("f4", Item::Bool(false)),
            ("f5", Item::Bool(true)),
            ("f6", Item::Null),
            ("4401020304", Item::Bytes(&[1, 2, 3, 4])),
            ("6449455446", Item::Text("IETF")),
            ("83010203", Item::Array(vec![Item::Number(1), Item::Number(2), Item::Number(3)])),
            (
                "a201020304",
                Item::Map(vec![
                    (Item::Number(1), Item::Number(2)),
                    (Item::Number(3), Item::Number(4)),
                ]),
            ),
        ];
        for (text, item) in cases {
            assert_eq!(read(&hex(text)).unwrap(), (item, &[][..]), "{text}");
        }
    }

    #[test]
    fn what_an_authenticator_may_not_write_is_refused() {
        for text in [
            "",
            "18",
            "1817",               // 23 in two bytes
            "190018",             // 24 in three
            "5f42010243030405ff", // indefinite
            "9fff",
            "bf6161019fff",
            "fa47c35000", // a float
            "c074323031", // a tag
            "a201020103", // one key twice
            "62c328",     // not UTF-8
            "1bffffffffffffffff",
            "5bffffffffffffffff00",
            "9bffffffffffffffff00",
            "bbffffffffffffffff00",
            "818181818181",
        ] {
            assert!(read(&hex(text)).is_err(), "{text}");
        }
    }
}
