//! The fuzz targets over a small corpus and over mutations of it, the same in every run.

#![expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]

use super::{file, now};
use crate::chain::Chain;
use crate::checks::Examination;
use crate::fuzzing::{REPORT, VCEK, certificate, endorsements, policy, report};
use crate::generation::AMD;
use crate::{CheckName, Policy, Report, SIGNED_BYTES};

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
        match numbers.below(6) {
            0 | 1 if at < data.len() => data[at] ^= 1 << numbers.below(8),
            2 if at < data.len() => data[at] = numbers.next() as u8,
            3 => data.truncate(at),
            4 => data.extend_from_within(at..),
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
fn no_mutation_of_a_report_is_accepted() {
    run(report, &[vec![], REPORT.to_vec()], 250);
}

#[test]
fn no_mutation_of_a_certificate_is_taken_for_amds() {
    let corpus = [VCEK.to_vec(), file("ask-genoa"), file("vlek-genoa"), file("crl-fresh")];
    run(certificate, &corpus, 300);
}

#[test]
fn no_mutation_of_a_policy_is_misread() {
    let page = include_str!("../../../../spec/evidence.md");
    let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let whole = r#"{"format": "chorion evidence policy v1", "purpose": "key_release", "accept": ["milan", "vlek"],
        "chip_ids": ["3b42092f69c656d3"], "revocation": "required"}"#;
    run(policy, &[example.as_bytes().to_vec(), whole.as_bytes().to_vec()], 5_000);
}

/// Flips each bit of some bytes of a genuine report, one at a time, under a chain that is verified once.
fn each_bit_counts(bytes: std::ops::Range<usize>) {
    let chain = Chain::build(&endorsements(VCEK), &AMD);
    let policy = Policy::default();
    let refuses = |report: &[u8]| {
        let examination = Examination::new(Report::parse(report), &chain, &policy, now());
        CheckName::ALL.into_iter().any(|name| examination.check(name).outcome.refuses())
    };
    assert!(!refuses(REPORT));
    let mut report = REPORT.to_vec();
    for bit in bytes.start * 8..bytes.end * 8 {
        report[bit / 8] ^= 1 << (bit % 8);
        assert!(refuses(&report), "bit {bit}");
        report[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn any_flipped_bit_before_the_measurement_refuses() {
    each_bit_counts(0..0x090);
}

#[test]
fn any_flipped_bit_of_measurement_host_data_or_key_digests_refuses() {
    each_bit_counts(0x090..0x140);
}

#[test]
fn any_flipped_bit_from_the_report_id_to_the_launch_tcb_refuses() {
    each_bit_counts(0x140..0x1F8);
}

#[test]
fn any_flipped_bit_of_the_rest_of_the_signed_part_refuses() {
    each_bit_counts(0x1F8..SIGNED_BYTES);
}

#[test]
fn any_flipped_bit_of_the_signature_or_what_follows_refuses() {
    each_bit_counts(SIGNED_BYTES..REPORT.len());
}
