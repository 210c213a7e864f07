//! Feeds `seal::fuzzing::crypt4gh`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seal::fuzzing::crypt4gh(data));
