//! The keys of this device: drawn here, certified by cards, and kept sealed to the person's words, so that one passphrase unlocks both.

use data_encoding::BASE64;
use identity::Identity;
use proof::{SigningKey, sha256};
use seal::DatasetKey;
use seal::recipient::{RecipientSecret, unwrap, wrap_to};
use zeroize::Zeroizing;

use super::{Told, plain, told};

const INFO: &[u8] = b"chorion authenticator device v1\0";

/// The approval key, and the key that the hub releases other people's dataset keys to.
pub(super) struct DeviceKeys {
    pub(super) approval: SigningKey,
    pub(super) recipient: RecipientSecret,
}

impl DeviceKeys {
    /// New ones, and how they are kept: 32 random bytes, sealed to the words (HPKE, X-Wing).
    pub(super) fn draw(person: &Identity) -> Told<(Self, String)> {
        let root = DatasetKey::generate().map_err(told)?;
        let kept = wrap_to(&person.sealing().public(), INFO, &root).map_err(told)?;
        Ok((Self::of(&root), BASE64.encode(&kept)))
    }

    pub(super) fn read(person: &Identity, kept: &str) -> Told<Self> {
        let kept = BASE64
            .decode(kept.as_bytes())
            .map_err(|_| plain("the keys of this device do not read"))?;
        let root = unwrap(&person.sealing(), INFO, &kept)
            .map_err(|_| plain("the keys of this device belong to other words"))?;
        Ok(Self::of(&root))
    }

    fn of(root: &DatasetKey) -> Self {
        let derive = |role: &[u8]| {
            let all = Zeroizing::new([INFO, role, b"\0", root.expose()].concat());
            Zeroizing::new(sha256(&all).0)
        };
        Self {
            approval: SigningKey::from_seed(&derive(b"approval")),
            recipient: RecipientSecret::from_seed(*derive(b"recipient")),
        }
    }
}
