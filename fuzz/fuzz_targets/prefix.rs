//! Feeds `seal::fuzzing::prefix`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seal::fuzzing::prefix(data));
