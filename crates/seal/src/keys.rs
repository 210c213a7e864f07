//! The three keys of the key hierarchy, a type each, so that one cannot stand in for another (`spec/key-wrapping.md`, section 2).

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{NoRandomness, primitives};

/// Length of every symmetric key.
pub(crate) const KEY_BYTES: usize = 32;

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// It has no `Display`, its `Debug` shows nothing, and its bytes are wiped when it is dropped.
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; KEY_BYTES]);

        impl $name {
            /// A new key from the operating system's generator.
            ///
            /// # Errors
            /// The generator gave nothing.
            pub fn generate() -> Result<Self, NoRandomness> {
                let mut key = Self([0; KEY_BYTES]);
                primitives::fill_random(&mut key.0)?;
                Ok(key)
            }

            /// The key with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
                Self(bytes)
            }

            /// The bytes themselves, for whoever wraps or derives.
            #[must_use]
            pub const fn expose(&self) -> &[u8; KEY_BYTES] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

key!(
    /// Seals the body of one object version, and never another (nonce reuse under AES-GCM is total loss).
    DataKey
);
key!(
    /// Wraps the data keys of one dataset and seals its labels.
    DatasetKey
);
key!(
    /// Wraps dataset keys: the operator's under platform custody.
    KeyEncryptionKey
);

impl Clone for DatasetKey {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_key_shows_nothing() {
        let key = DataKey::from_bytes([0xAB; 32]);
        assert_eq!(format!("{key:?}"), "DataKey(..)");
        assert_eq!(format!("{:?}", KeyEncryptionKey::from_bytes([1; 32])), "KeyEncryptionKey(..)");
    }

    #[test]
    fn two_generated_keys_differ() {
        assert_ne!(DataKey::generate().unwrap().expose(), DataKey::generate().unwrap().expose());
    }
}
