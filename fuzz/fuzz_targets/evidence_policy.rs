//! Feeds `attest::fuzzing::policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attest::fuzzing::policy(data));
