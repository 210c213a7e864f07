//! Symmetric parts: AES in CFB mode with a modification code (RFC 4880, section 5.13), and AES key wrap (RFC 3394).

use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::OpenPgpError;

const BLOCK: usize = 16;
/// The mark and length of a modification code, and the code: SHA-1 of all before it.
const CODE_BYTES: usize = 22;
const CODE_HEAD: [u8; 2] = [0xd3, 0x14];

/// How long a key of this cipher is, if it is one of those that are read.
pub(super) const fn key_bytes(cipher: u8) -> Option<usize> {
    match cipher {
        7 => Some(16),
        8 => Some(24),
        9 => Some(32),
        _ => None,
    }
}

/// Opens the content of an integrity protected data packet (after its version): what is inside, checked.
pub(super) fn open_protected(
    cipher: u8,
    key: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenPgpError> {
    if sealed.len() < BLOCK + 2 + CODE_BYTES {
        return Err(OpenPgpError::DoesNotOpen);
    }
    let mut plain = Zeroizing::new(sealed.to_vec());
    match cipher {
        7 => cfb_decrypt(Aes128::new_from_slice(key), &mut plain),
        8 => cfb_decrypt(Aes192::new_from_slice(key), &mut plain),
        9 => cfb_decrypt(Aes256::new_from_slice(key), &mut plain),
        _ => Err(OpenPgpError::DoesNotOpen),
    }?;
    let (covered, code) = plain.split_at(plain.len() - 20);
    let right: [u8; 20] = Sha1::digest(covered).into();
    let whole = right.ct_eq(code) & covered[covered.len() - 2..].ct_eq(&CODE_HEAD);
    if !bool::from(whole) {
        return Err(OpenPgpError::DoesNotOpen);
    }
    let end = plain.len() - CODE_BYTES;
    plain.truncate(end);
    plain.drain(..BLOCK + 2);
    Ok(plain)
}

/// CFB from a zero start; the prefix of random bytes is part of the stream.
fn cfb_decrypt<C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>, E>(
    cipher: Result<C, E>,
    bytes: &mut [u8],
) -> Result<(), OpenPgpError> {
    let cipher = cipher.map_err(|_wrong_length| OpenPgpError::DoesNotOpen)?;
    let mut pad = Array::from([0; BLOCK]);
    for block in bytes.chunks_mut(BLOCK) {
        cipher.encrypt_block(&mut pad);
        let mut next = [0; BLOCK];
        next[..block.len()].copy_from_slice(block);
        block.iter_mut().zip(pad.iter()).for_each(|(byte, pad)| *byte ^= pad);
        pad = Array::from(next);
    }
    Ok(())
}

/// Unwraps a key that was wrapped under AES-256.
pub(super) fn unwrap_key(
    under: &[u8; 32],
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenPgpError> {
    let parts = wrapped.len() / 8;
    if !wrapped.len().is_multiple_of(8) || !(3..=9).contains(&parts) {
        return Err(OpenPgpError::DoesNotOpen);
    }
    let cipher = Aes256::new(&Array::from(*under));
    let mut check = [0; 8];
    check.copy_from_slice(&wrapped[..8]);
    let mut key = Zeroizing::new(wrapped[8..].to_vec());
    for round in (0..6).rev() {
        for part in (1..parts).rev() {
            let step = ((parts - 1) * round + part) as u64;
            let mut block = [0; BLOCK];
            block[..8].copy_from_slice(&(u64::from_be_bytes(check) ^ step).to_be_bytes());
            block[8..].copy_from_slice(&key[8 * (part - 1)..8 * part]);
            let mut block = Array::from(block);
            cipher.decrypt_block(&mut block);
            check.copy_from_slice(&block[..8]);
            key[8 * (part - 1)..8 * part].copy_from_slice(&block[8..]);
        }
    }
    if bool::from(check.ct_eq(&[0xa6; 8])) { Ok(key) } else { Err(OpenPgpError::DoesNotOpen) }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXUPPER;

    use super::*;

    #[test]
    fn the_published_key_wrap_opens() {
        // RFC 3394, section 4.6: 256 bits of key data under a 256-bit key.
        let under: Vec<u8> = (0..32).collect();
        let wrapped = HEXUPPER
            .decode(
                b"28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
            )
            .unwrap();
        let key = unwrap_key(under.first_chunk().unwrap(), &wrapped).unwrap();
        let expected = b"00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F";
        assert_eq!(*key, HEXUPPER.decode(expected).unwrap());
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(unwrap_key(under.first_chunk().unwrap(), &changed).is_err(), "byte {at}");
        }
    }
}
