//! Feeds `seal::fuzzing::body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seal::fuzzing::body(data));
