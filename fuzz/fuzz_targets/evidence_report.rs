//! Feeds `attest::fuzzing::report`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attest::fuzzing::report(data));
