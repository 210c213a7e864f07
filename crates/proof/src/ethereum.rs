//! Ethereum addresses and signatures, as far as anyone checks them: EIP-55, EIP-191 and recovering a signer.
//!
//! A wallet signs with secp256k1 and hands out no public key: the address of the signer comes out of the signature. So "does it
//! verify" is "which address comes out", and the caller compares it with the one it expects (`spec/key-derivation.md`, section 4).

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use k256::ecdsa::{RecoveryId, Signature as EcdsaSignature, VerifyingKey};
use sha3::{Digest as _, Keccak256};

/// Keccak-256 with the padding that Ethereum uses, which is not SHA-3's.
pub fn keccak256(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// What a wallet signs when it is asked to sign a message (EIP-191, version 0x45).
pub fn message_digest(message: &[u8]) -> [u8; 32] {
    let head = format!("\x19Ethereum Signed Message:\n{}", message.len());
    keccak256(&[head.as_bytes(), message].concat())
}

/// An Ethereum address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EthereumAddress(pub [u8; 20]);

impl EthereumAddress {
    /// The address of a public key, given as its affine coordinates x ‖ y.
    pub fn of_point(coordinates: &[u8; 64]) -> Self {
        let mut address = [0; 20];
        address.copy_from_slice(&keccak256(coordinates)[12..]);
        Self(address)
    }

    fn of_key(key: &VerifyingKey) -> Option<Self> {
        let point = key.to_sec1_point(false);
        let coordinates = point.as_bytes().get(1..)?.try_into().ok()?;
        Some(Self::of_point(coordinates))
    }
}

impl fmt::Display for EthereumAddress {
    /// `0x` and 40 digits, whose case is a check (EIP-55).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = HEXLOWER.encode(&self.0);
        let check = keccak256(digits.as_bytes());
        f.write_str("0x")?;
        for (at, digit) in digits.chars().enumerate() {
            let nibble = check[at / 2] >> (4 * ((at + 1) % 2)) & 0x0f;
            let shown = if nibble >= 8 { digit.to_ascii_uppercase() } else { digit };
            fmt::Write::write_char(f, shown)?;
        }
        Ok(())
    }
}

impl fmt::Debug for EthereumAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// It is not `0x` and 40 digits.
    #[error("an Ethereum address is `0x` and 40 hexadecimal digits")]
    Form,
    /// Upper and lower case are mixed, and not as EIP-55 says.
    #[error("the Ethereum address was not copied right: its EIP-55 check does not match")]
    Check,
}

impl FromStr for EthereumAddress {
    type Err = BadAddress;

    /// All digits in one case carry no check, mixed case must match it.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let digits = text.strip_prefix("0x").ok_or(BadAddress::Form)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| BadAddress::Form)?;
        let address = Self(bytes.try_into().map_err(|_| BadAddress::Form)?);
        let mixed = digits.bytes().any(|b| b.is_ascii_uppercase())
            && digits.bytes().any(|b| b.is_ascii_lowercase());
        if mixed && address.to_string() != text { Err(BadAddress::Check) } else { Ok(address) }
    }
}

/// Bytes that are no signature, or one that no key can have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEthereumSignature {
    /// Not 65 bytes r ‖ s ‖ v with v 27 or 28.
    #[error("an Ethereum signature is 65 bytes, the last of them 27 or 28")]
    Form,
    /// The s of it lies in the upper half: the same signature has a second form, and only the lower one counts.
    #[error("the Ethereum signature is malleable: its s is not in the lower half")]
    HighS,
    /// No key signs so.
    #[error("no key comes out of the Ethereum signature")]
    NoKey,
}

/// A signature by a wallet: r ‖ s ‖ v.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EthereumSignature([u8; 65]);

impl EthereumSignature {
    /// Reads 65 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadEthereumSignature> {
        let bytes: [u8; 65] = bytes.try_into().map_err(|_| BadEthereumSignature::Form)?;
        if !matches!(bytes[64], 27 | 28) {
            return Err(BadEthereumSignature::Form);
        }
        let signature = EcdsaSignature::from_slice(&bytes[..64])
            .map_err(|_out_of_range| BadEthereumSignature::NoKey)?;
        if signature.normalize_s() != signature {
            return Err(BadEthereumSignature::HighS);
        }
        Ok(Self(bytes))
    }

    /// The 65 bytes.
    pub const fn to_bytes(self) -> [u8; 65] {
        self.0
    }

    /// The address whose key signed `digest`.
    pub fn recover(&self, digest: &[u8; 32]) -> Result<EthereumAddress, BadEthereumSignature> {
        let signature = EcdsaSignature::from_slice(&self.0[..64])
            .map_err(|_out_of_range| BadEthereumSignature::NoKey)?;
        let parity = RecoveryId::new(self.0[64] == 28, false);
        VerifyingKey::recover_from_prehash(digest, &signature, parity)
            .ok()
            .and_then(|key| EthereumAddress::of_key(&key))
            .ok_or(BadEthereumSignature::NoKey)
    }
}

impl fmt::Debug for EthereumSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EthereumSignature(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses of EIP-55 itself.
    const PUBLISHED: [&str; 8] = [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn published_addresses_are_written_as_they_stand() {
        for text in PUBLISHED {
            assert_eq!(text.parse::<EthereumAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_digit_in_the_wrong_case_is_noticed() {
        for text in &PUBLISHED[4..] {
            for at in 2..text.len() {
                let mut changed = (*text).to_owned();
                let digit = changed.remove(at);
                if !digit.is_ascii_alphabetic() {
                    continue;
                }
                let other = if digit.is_ascii_uppercase() {
                    digit.to_ascii_lowercase()
                } else {
                    digit.to_ascii_uppercase()
                };
                changed.insert(at, other);
                assert_eq!(changed.parse::<EthereumAddress>(), Err(BadAddress::Check), "{changed}");
            }
        }
        for text in ["", "0x", "52908400098527886E0F7030069857D2E4169EE7", "0x5290840009852788"] {
            assert_eq!(text.parse::<EthereumAddress>(), Err(BadAddress::Form), "{text}");
        }
    }

    #[test]
    fn an_empty_text_has_ethereums_keccak() {
        assert_eq!(
            HEXLOWER.encode(&keccak256(b"")),
            "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        );
    }

    #[test]
    fn the_upper_half_of_s_is_refused() {
        let mut bytes = [1; 65];
        bytes[32..64].fill(0xee);
        bytes[64] = 27;
        assert_eq!(EthereumSignature::from_bytes(&bytes), Err(BadEthereumSignature::HighS));
        bytes[64] = 0;
        assert_eq!(EthereumSignature::from_bytes(&bytes), Err(BadEthereumSignature::Form));
        assert_eq!(EthereumSignature::from_bytes(&[0; 64]), Err(BadEthereumSignature::Form));
        assert_eq!(
            EthereumSignature::from_bytes(&[&[0; 64][..], &[27]].concat()),
            Err(BadEthereumSignature::NoKey)
        );
    }
}
