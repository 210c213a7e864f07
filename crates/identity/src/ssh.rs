//! The SSH key: its public line, and signatures that `ssh-keygen -Y verify` reads (OpenSSH `PROTOCOL.sshsig`).

use std::fmt;

use data_encoding::BASE64;
use proof::{PublicKey, SigningKey};
use sha2::{Digest, Sha512};

const KIND: &[u8] = b"ssh-ed25519";
const MAGIC: &[u8] = b"SSHSIG";
const HASH: &[u8] = b"sha512";
const LINE: usize = 70;

/// An Ed25519 key in SSH's forms.
pub struct SshKey(SigningKey);

impl SshKey {
    pub(crate) const fn new(key: SigningKey) -> Self {
        Self(key)
    }

    /// The public half as a line of `authorized_keys` or `allowed_signers`, without a comment.
    #[must_use]
    pub fn public_line(&self) -> String {
        format!("ssh-ed25519 {}", BASE64.encode(&blob(&self.0.public())))
    }

    /// Signs `message` for `namespace` (`file` for files), in armor.
    #[must_use]
    pub fn sign(&self, namespace: &str, message: &[u8]) -> String {
        let mut signed = MAGIC.to_vec();
        for part in [namespace.as_bytes(), b"", HASH, &Sha512::digest(message)] {
            string(&mut signed, part);
        }
        let mut signature = Vec::new();
        string(&mut signature, KIND);
        string(&mut signature, &self.0.sign(&signed).0);

        let mut all = MAGIC.to_vec();
        all.extend_from_slice(&1_u32.to_be_bytes());
        for part in [&blob(&self.0.public())[..], namespace.as_bytes(), b"", HASH, &signature] {
            string(&mut all, part);
        }
        let digits = BASE64.encode(&all);
        let mut text = String::from("-----BEGIN SSH SIGNATURE-----\n");
        for line in digits.as_bytes().chunks(LINE) {
            text.extend(line.iter().map(|&digit| char::from(digit)));
            text.push('\n');
        }
        text.push_str("-----END SSH SIGNATURE-----\n");
        text
    }
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SshKey(..)")
    }
}

fn blob(key: &PublicKey) -> Vec<u8> {
    let mut blob = Vec::new();
    string(&mut blob, KIND);
    string(&mut blob, &key.to_bytes());
    blob
}

/// A `string` of RFC 4251: its length, and its bytes.
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len())
        .expect("a length fits 32 bits because these are keys, names and digests");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}
