//! Feeds `proof::fuzzing::approval`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proof::fuzzing::approval(data));
