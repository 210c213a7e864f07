//! Feeds `genome::fuzzing::file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| genome::fuzzing::file(data));
