//! From the seed to a role's secret: BIP-32 for the Ethereum account, SLIP-0010 for everything else (`spec/key-derivation.md`, section 3).

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::sec1::ToSec1Point;
use k256::{NonZeroScalar, PublicKey, Scalar};
use sha2::{Sha256, Sha512};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const HARDENED: u32 = 1 << 31;
/// `CHOR` in ASCII: the purpose that our paths begin with.
const PURPOSE: u32 = 0x4348_4f52;

/// The path has no key: the derived number is no scalar of the curve, which befalls one seed in 2^127.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these words give no Ethereum account: draw others")]
pub struct NoSuchKey;

/// What a key of a person is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Card,
    Sealing,
    OpenPgpSign,
    OpenPgpDecrypt,
    X509Client,
    Ssh,
}

impl Role {
    const fn number(self) -> u32 {
        match self {
            Self::Card => 0,
            Self::Sealing => 1,
            Self::OpenPgpSign => 2,
            Self::OpenPgpDecrypt => 3,
            Self::X509Client => 4,
            Self::Ssh => 5,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Sealing => "sealing",
            Self::OpenPgpSign => "openpgp-sign",
            Self::OpenPgpDecrypt => "openpgp-decrypt",
            Self::X509Client => "x509-client",
            Self::Ssh => "ssh",
        }
    }

    /// The secret of this role.
    pub(crate) fn secret(self, seed: &[u8]) -> Zeroizing<[u8; 32]> {
        let node = slip10(seed, &[PURPOSE, self.number()]);
        let mut secret = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &node.key)
            .expand_multi_info(&[b"chorion identity v1 ", self.name().as_bytes()], &mut *secret)
            .expect("HKDF gives 32 bytes because it gives up to 8,160");
        secret
    }
}

/// A key and its chain code: 32 bytes each.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Node {
    key: [u8; 32],
    chain: [u8; 32],
}

/// HMAC-SHA-512, cut in half.
fn halves(key: &[u8], parts: &[&[u8]]) -> Node {
    let mut mac = Hmac::<Sha512>::new_from_slice(key)
        .expect("HMAC takes a chain code because it takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    let mut whole: [u8; 64] = mac.finalize().into_bytes().into();
    let mut node = Node { key: [0; 32], chain: [0; 32] };
    node.key.copy_from_slice(&whole[..32]);
    node.chain.copy_from_slice(&whole[32..]);
    whole.zeroize();
    node
}

/// SLIP-0010 on ed25519, where every step is hardened and every 32 bytes are a key.
fn slip10(seed: &[u8], path: &[u32]) -> Node {
    path.iter().fold(halves(b"ed25519 seed", &[seed]), |node, step| {
        halves(&node.chain, &[&[0], &node.key, &(step | HARDENED).to_be_bytes()])
    })
}

/// BIP-32 on secp256k1; a step is hardened when its highest bit is set.
fn bip32(seed: &[u8], path: &[u32]) -> Result<Node, NoSuchKey> {
    let master = halves(b"Bitcoin seed", &[seed]);
    scalar(&master.key)?;
    path.iter().try_fold(master, |node, &step| {
        let parent = scalar(&node.key)?;
        let mut child = if step & HARDENED == 0 {
            let public = PublicKey::from_secret_scalar(&parent).to_sec1_point(true);
            halves(&node.chain, &[public.as_bytes(), &step.to_be_bytes()])
        } else {
            halves(&node.chain, &[&[0], &node.key, &step.to_be_bytes()])
        };
        let tweak = Option::<Scalar>::from(Scalar::from_repr(child.key.into())).ok_or(NoSuchKey)?;
        let mut sum = tweak + *parent;
        if bool::from(sum.is_zero()) {
            return Err(NoSuchKey);
        }
        child.key.copy_from_slice(&sum.to_repr());
        sum.zeroize();
        Ok(child)
    })
}

fn scalar(bytes: &[u8; 32]) -> Result<NonZeroScalar, NoSuchKey> {
    Option::from(NonZeroScalar::from_repr((*bytes).into())).ok_or(NoSuchKey)
}

/// The secret of the Ethereum account, where every wallet looks for it: `m/44'/60'/0'/0/0`.
pub(crate) fn ethereum_secret(seed: &[u8]) -> Result<Zeroizing<[u8; 32]>, NoSuchKey> {
    let path = [44 | HARDENED, 60 | HARDENED, HARDENED, 0, 0];
    bip32(seed, &path).map(|node| Zeroizing::new(node.key))
}

#[cfg(test)]
mod tests;
