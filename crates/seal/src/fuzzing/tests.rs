//! The fuzz targets over a small corpus and over mutations of it, the same in every run.

#![expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]

use super::*;
use crate::seal_object;

/// A small generator (`SplitMix64`), so that a failure comes back with its number.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Flips, overwrites, cuts, doubles and extends.
fn mutated(seed: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(data.len() + 1);
        match numbers.below(5) {
            0 if at < data.len() => data[at] ^= 1 << numbers.below(8),
            1 if at < data.len() => data[at] = numbers.next() as u8,
            2 => data.truncate(at),
            3 => data.extend_from_within(at..),
            _ => data.insert(at, numbers.next() as u8),
        }
    }
    data
}

fn run(target: fn(&[u8]), corpus: &[Vec<u8>], rounds: u64) {
    for (index, seed) in corpus.iter().enumerate() {
        target(seed);
        for round in 0..rounds {
            let mut numbers = Numbers(round << 8 | index as u64);
            target(&mutated(seed, &mut numbers));
        }
    }
}

#[test]
fn no_mutation_of_a_prefix_is_misread() {
    let whole = object();
    run(
        prefix,
        &[vec![], whole[..PREFIX_BYTES].to_vec(), whole[..PREFIX_BYTES + 50].to_vec()],
        5_000,
    );
}

#[test]
fn no_mutation_of_a_header_or_key_is_misread() {
    let secret = RecipientSecret::from_seed([0x23; 32]);
    let public = secret.public();
    let mut sealed = Vec::new();
    file::seal_file(&mut &b"GATTACA"[..], &mut sealed, std::slice::from_ref(&public), &mut |_| ())
        .unwrap();
    let bare = seal_object(&key(), id(), b"GATTACA").unwrap().0;
    let quick = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    let corpus = [
        sealed,
        bare,
        public.to_string().into_bytes(),
        crate::key_file::write_bare(&secret).as_bytes().to_vec(),
        crate::key_file::write_locked(&secret, b"words", quick).unwrap().as_bytes().to_vec(),
    ];
    run(header, &corpus, 200);
}

#[test]
fn no_edit_of_a_body_is_opened() {
    let corpus = [
        vec![],
        vec![0, 0, 0, 200, 1],
        vec![1],
        vec![116, 0, 0, 0, 0],
        vec![0, 0, 0, 130, 7, 0, 0, 130, 7],
        vec![0, 1, 0, 160, 0x80, 1, 0, 250, 3],
    ];
    run(body, &corpus, 60);
}

#[test]
fn no_edit_of_a_crypt4gh_file_is_opened() {
    let keys = [
        include_bytes!("../../../../vectors/crypt4gh/bare.sec").to_vec(),
        include_bytes!("../../../../vectors/crypt4gh/scrypt.sec").to_vec(),
        include_bytes!("../../../../vectors/crypt4gh/pbkdf2.sec").to_vec(),
    ];
    run(crypt4gh, &keys, 30);
    run(crypt4gh, &[vec![0, 0, 8, 1], vec![0, 0, 16, 255], vec![1, 0, 80, 4, 1, 0, 80, 4]], 60);
}
