//! Feeds the decoders of run folders; the first byte says which.
#![no_main]

use runfolder::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 7 {
        0 => fuzz::run_info(bytes),
        1 => fuzz::sheet(bytes),
        2 => fuzz::cbcl(bytes),
        3 => fuzz::places(bytes),
        4 => fuzz::gzip(bytes),
        5 => fuzz::state(bytes),
        _ => fuzz::interop(bytes),
    }
});
