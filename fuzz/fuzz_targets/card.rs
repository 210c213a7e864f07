//! Feeds `proof::fuzzing::card`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proof::fuzzing::card(data));
