//! Any bytes as a file of reads or variants with an index beside it, asked every kind of query.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| genome::fuzzing::query(data));
