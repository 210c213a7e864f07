//! Where a secret's bytes lie.
//!
//! A browser has one kind of memory; a program can lock pages and keep them out of core dumps, but that takes system calls, which this
//! crate makes none of. So whoever makes an identity hands in the memory it is to lie in.

use std::fmt;

use zeroize::Zeroizing;

/// Memory for secrets.
pub trait SecretMemory {
    /// Room for `bytes` bytes, zero at first.
    ///
    /// # Errors
    /// The system gives no such memory.
    fn room(&self, bytes: usize) -> Result<Box<dyn Room>, NoSecretMemory>;
}

/// A piece of such memory. It is wiped when it is dropped, and shows itself to nobody but through these two.
pub trait Room: Send + Sync {
    /// What stands in it.
    fn bytes(&self) -> &[u8];
    /// The same, to be written.
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// The system gave no memory for secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no memory for secrets: {why}")]
pub struct NoSecretMemory {
    /// What the system said.
    pub why: String,
}

/// Ordinary memory, wiped on drop: for the browser, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heap;

impl SecretMemory for Heap {
    fn room(&self, bytes: usize) -> Result<Box<dyn Room>, NoSecretMemory> {
        Ok(Box::new(HeapRoom(Zeroizing::new(vec![0; bytes].into_boxed_slice()))))
    }
}

struct HeapRoom(Zeroizing<Box<[u8]>>);

impl Room for HeapRoom {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A secret of `N` bytes in such memory.
pub struct Secret<const N: usize>(Box<dyn Room>);

impl<const N: usize> Secret<N> {
    /// A secret that `fill` writes in place, so that it is never anywhere else.
    ///
    /// # Errors
    /// No memory for secrets.
    pub fn filled(
        memory: &dyn SecretMemory,
        fill: impl FnOnce(&mut [u8; N]),
    ) -> Result<Self, NoSecretMemory> {
        let mut room = memory.room(N)?;
        let bytes = room.bytes_mut().first_chunk_mut().ok_or_else(|| NoSecretMemory {
            why: format!("it gave less than the {N} bytes asked for"),
        })?;
        fill(bytes);
        Ok(Self(room))
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        self.0.bytes().first_chunk().expect("a secret has N bytes because its room was that large")
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
