//! Locked memory for words and seeds: the vault's pages (`vault::memory`), as `identity` asks for them.

use identity::{NoSecretMemory, Room, SecretMemory};
use vault::memory::Pages;

/// Memory that the system keeps to itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locked;

impl SecretMemory for Locked {
    fn room(&self, bytes: usize) -> Result<Box<dyn Room>, NoSecretMemory> {
        match Pages::new(bytes) {
            Ok(pages) => Ok(Box::new(Locking(pages))),
            Err(error) => Err(NoSecretMemory { why: format!("no page could be locked ({error})") }),
        }
    }
}

struct Locking(Pages);

impl Room for Locking {
    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_given() {
        assert_eq!(Locked.room(16).unwrap().bytes(), [0; 16]);
    }
}
