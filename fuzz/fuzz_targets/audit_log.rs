//! What a hub, a witness or a thief calls a note, a key, a tile or a proof: no bytes bring the readers down, and none count unsigned.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| proof::log::fuzzing::log(data));
