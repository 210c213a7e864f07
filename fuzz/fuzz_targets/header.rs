//! Feeds `seal::fuzzing::header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seal::fuzzing::header(data));
