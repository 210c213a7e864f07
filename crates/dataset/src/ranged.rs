//! A file that opens by range, as a reader: what goes through formats seeks and reads, and pulls no more than it touches.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes from anywhere in a file: `read` fills its second argument from an offset on, with at least one byte before the end.
#[derive(Debug)]
pub struct Ranged<F> {
    read: F,
    bytes: u64,
    at: u64,
}

impl<F: FnMut(u64, &mut [u8]) -> io::Result<usize>> Ranged<F> {
    /// A file of so many bytes.
    pub const fn new(bytes: u64, read: F) -> Self {
        Self { read, bytes, at: 0 }
    }
}

impl<F: FnMut(u64, &mut [u8]) -> io::Result<usize>> Read for Ranged<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = into.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let read = (self.read)(self.at, &mut into[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

impl<F: FnMut(u64, &mut [u8]) -> io::Result<usize>> Seek for Ranged<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_the_bytes_themselves_do() {
        let bytes: Vec<u8> = (0..=255).collect();
        let pieces = |at: u64, into: &mut [u8]| {
            let at = usize::try_from(at).unwrap();
            let some = into.len().min(7).min(bytes.len() - at);
            into[..some].copy_from_slice(&bytes[at..at + some]);
            Ok(some)
        };
        let mut ranged = Ranged::new(256, pieces);
        let mut all = Vec::new();
        ranged.read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);
        ranged.seek(SeekFrom::End(-3)).unwrap();
        all.clear();
        assert_eq!(ranged.read_to_end(&mut all).unwrap(), 3);
        assert_eq!(all, [253, 254, 255]);
        ranged.seek(SeekFrom::Start(1000)).unwrap();
        assert_eq!(ranged.read(&mut [0; 4]).unwrap(), 0);
        assert!(ranged.seek(SeekFrom::Current(-2000)).is_err());
    }
}
