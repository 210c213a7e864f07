//! The 64 bytes that a vault has signed with its report: they bind its keys, one request and what it started from.

use sha2::{Digest, Sha512};

/// Says what the hash is for, and ends in a zero byte that no other label of ours has inside.
const LABEL: &[u8] = b"chorion report data v1\0";

/// `REPORT_DATA` of a vault (`spec/evidence.md` section 7).
///
/// `nonce` is that of the approval which asked for the boot, `vault_key_digest` the SHA-256 of the vault's X-Wing public key,
/// `receipt_key` its Ed25519 public key, `boot_manifest_digest` the SHA-256 of the manifest that was checked before it started.
#[must_use]
pub fn report_data(
    nonce: &[u8; 32],
    vault_key_digest: &[u8; 32],
    receipt_key: &[u8; 32],
    boot_manifest_digest: &[u8; 32],
) -> [u8; 64] {
    let mut hash = Sha512::new();
    hash.update(LABEL);
    for part in [nonce, vault_key_digest, receipt_key, boot_manifest_digest] {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sha_512_of_the_label_and_the_four_parts() {
        // printf 'chorion report data v1\0' plus 32 bytes each of 01, 02, 03, 04, through `openssl dgst -sha512`.
        assert_eq!(
            data_encoding::HEXLOWER.encode(&report_data(&[1; 32], &[2; 32], &[3; 32], &[4; 32])),
            "d63db5238f68e19554aa4627992790baf2a5e3abdf31b1e997fc4156e06d05cc5d30947057a8111d7ad5db97d6ec55ff1e216e345a764ba947ee43ad124d8b7c"
        );
    }

    #[test]
    fn every_part_counts_and_so_does_its_place() {
        let whole = report_data(&[1; 32], &[2; 32], &[3; 32], &[4; 32]);
        for other in [
            report_data(&[9; 32], &[2; 32], &[3; 32], &[4; 32]),
            report_data(&[1; 32], &[9; 32], &[3; 32], &[4; 32]),
            report_data(&[1; 32], &[2; 32], &[9; 32], &[4; 32]),
            report_data(&[1; 32], &[2; 32], &[3; 32], &[9; 32]),
            report_data(&[1; 32], &[3; 32], &[2; 32], &[4; 32]),
        ] {
            assert_ne!(whole, other);
        }
    }
}
