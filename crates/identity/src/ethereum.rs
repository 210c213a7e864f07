//! The Ethereum account: signs messages and typed data as a wallet would (`spec/key-derivation.md`, section 4).

use std::fmt;

use k256::ecdsa::SigningKey;
use proof::{EthereumAddress, EthereumSignature, message_digest};
use zeroize::Zeroizing;

use crate::NoSuchKey;

/// A secp256k1 key and its address. Its bytes are wiped when it is dropped.
pub struct EthereumAccount {
    key: SigningKey,
    address: EthereumAddress,
}

impl EthereumAccount {
    pub(crate) fn from_secret(secret: &Zeroizing<[u8; 32]>) -> Result<Self, NoSuchKey> {
        let key = SigningKey::from_slice(secret.as_slice()).map_err(|_no_scalar| NoSuchKey)?;
        let point = key.verifying_key().to_sec1_point(false);
        let coordinates = point.as_bytes().get(1..).and_then(|all| all.first_chunk());
        let address = EthereumAddress::of_point(coordinates.ok_or(NoSuchKey)?);
        Ok(Self { key, address })
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> EthereumAddress {
        self.address
    }

    /// Signs a message as EIP-191 says.
    #[must_use]
    pub fn sign_message(&self, message: &[u8]) -> EthereumSignature {
        self.sign_digest(&message_digest(message))
    }

    /// Signs a digest that EIP-191 or EIP-712 made; RFC 6979 makes the signature the same each time.
    #[must_use]
    pub fn sign_digest(&self, digest: &[u8; 32]) -> EthereumSignature {
        let (signature, parity) = self.key.sign_prehash_recoverable(digest);
        let v = 27 + u8::from(parity.is_y_odd());
        EthereumSignature::from_bytes(&[signature.to_bytes().as_slice(), &[v]].concat())
            .expect("our signature is one because the signer chooses the lower half of s")
    }
}

impl fmt::Debug for EthereumAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EthereumAccount({}, ..)", self.address)
    }
}
