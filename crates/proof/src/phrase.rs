//! Six words that two people can compare: 66 bits of a digest in the BIP-39 English list.

use api::Digest;

/// The first 66 bits of `digest`, as six words.
pub fn phrase(digest: &Digest) -> String {
    let list = bip39::Language::English.word_list();
    let mut bits = u128::from_be_bytes(
        digest.0[..16].try_into().expect("a digest has 32 bytes, so its first half has 16"),
    );
    let mut words = Vec::with_capacity(6);
    for _ in 0..6 {
        let index =
            usize::try_from(bits >> 117).expect("eleven bits fit a usize because 2^11 is 2048");
        words.push(list[index]);
        bits <<= 11;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_the_first_sixty_six_bits() {
        assert_eq!(phrase(&Digest([0; 32])), "abandon abandon abandon abandon abandon abandon");
        assert_eq!(phrase(&Digest([0xff; 32])), "zoo zoo zoo zoo zoo zoo");
        let mut one = [0; 32];
        one[1] = 0b0010_0000;
        assert_eq!(phrase(&Digest(one)).split(' ').next(), Some("ability"));
    }
}
