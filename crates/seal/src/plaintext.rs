//! Plaintext in bulk: wiped when it is let go of.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// A buffer of plaintext whose whole memory is overwritten when it is dropped, in one sweep.
///
/// `Zeroizing<Vec<u8>>` promises the same byte by byte, which costs as much as sealing them; it is for keys and other small things.
/// As with that, bytes stay behind where a buffer had to grow: give it its room at once.
#[derive(Default, Clone)]
pub struct Plaintext(Vec<u8>);

impl Plaintext {
    /// An empty buffer with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// So many zeros, to be written over.
    pub fn zeroed(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    fn wipe(&mut self) {
        self.0.fill(0);
        // What lies behind the end was plaintext if the buffer was longer before.
        self.0.resize(self.0.capacity(), 0);
        // Else a compiler may leave out what nobody reads.
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

impl From<Vec<u8>> for Plaintext {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Plaintext {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Plaintext {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_its_memory_is_wiped_also_behind_its_end() {
        let mut plaintext = Plaintext::with_capacity(100);
        plaintext.extend_from_slice(&[7; 90]);
        plaintext.truncate(10);
        assert_eq!(format!("{plaintext:?}"), "Plaintext(10 bytes)");
        let room = plaintext.capacity();
        plaintext.wipe();
        assert_eq!(*plaintext, vec![0; room]);
    }
}
