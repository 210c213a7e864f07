//! Files with cases from elsewhere: no bytes bring the readers down, what they take passes its own check, and normal forms stay as they are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let readers = [cases::import::any_json, cases::import::phenopackets, cases::import::table];
    for read in readers.into_iter().filter_map(|read| read(data).ok()) {
        assert!(read.documents.iter().all(|document| document.check().is_ok()));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let form = cases::text(text);
        assert_eq!(cases::text(&form), form);
    }
});
