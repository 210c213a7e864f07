//! Text in lines, each in one piece and none longer than a bound.

use std::io::{self, Read};

use memchr::memchr;

/// The longest line that is taken: a variant of a hundred thousand people is a few MiB.
pub(crate) const MOST_LINE_BYTES: usize = 64 * 1024 * 1024;

pub(crate) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    line: Vec<u8>,
}

/// A line as it was found.
pub(crate) struct Line<'a> {
    /// Without its end.
    pub(crate) text: &'a [u8],
    /// Whether it has an end; only the last may have none.
    pub(crate) ended: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: vec![0; 256 * 1024], at: 0, filled: 0, line: Vec::new() }
    }

    /// The next line, or nothing at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        loop {
            if self.at == self.filled {
                self.at = 0;
                self.filled = match self.from.read(&mut self.buffer) {
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                if self.filled == 0 {
                    let some = !self.line.is_empty();
                    return Ok(some.then_some(Line { text: &self.line, ended: false }));
                }
            }
            let here = &self.buffer[self.at..self.filled];
            let end = memchr(b'\n', here);
            let part = &here[..end.unwrap_or(here.len())];
            if self.line.len() + part.len() > MOST_LINE_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a line is longer than 64 MiB",
                ));
            }
            self.line.extend_from_slice(part);
            self.at += part.len() + usize::from(end.is_some());
            if end.is_some() {
                let text = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
                return Ok(Some(Line { text, ended: true }));
            }
        }
    }
}
