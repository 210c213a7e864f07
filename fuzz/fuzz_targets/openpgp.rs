//! Feeds `identity::fuzzing::openpgp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| identity::fuzzing::openpgp(data));
