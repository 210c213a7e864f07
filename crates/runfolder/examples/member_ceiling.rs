//! How fast FASTQ text becomes gzip members and nothing else: what demultiplexing could at best reach.
//!
//! `cargo run --release -p runfolder --example member_ceiling [-- isa-l] < TEXT` prints CPU-bound MB/s of one thread, as `fastq.rs` compresses.

use std::error::Error;
use std::io::{Read, Write};
use std::time::Instant;

use libdeflater::{CompressionLvl, Compressor};

fn main() -> Result<(), Box<dyn Error>> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(256 << 20).read_to_end(&mut text)?;
    let isa_l = std::env::args().nth(1).is_some_and(|name| name == "isa-l");
    let mut compressor =
        Compressor::new(CompressionLvl::new(1).map_err(|_| "level 1 is not there")?);
    let mut member = vec![0; compressor.deflate_compress_bound(65_280)];
    let start = Instant::now();
    let mut packed = 0;
    for block in text.chunks(65_280) {
        packed += 26;
        packed += match isa_l {
            #[cfg(feature = "isa-l")]
            true => {
                let (level, codec) = (isal::CompressionLevel::One, isal::Codec::Deflate);
                isal::compress_into(block, &mut member, level, codec)
                    .map_err(|e| format!("{e:?}"))?
            }
            #[cfg(not(feature = "isa-l"))]
            true => return Err("this program was built without ISA-L".into()),
            false => compressor.deflate_compress(block, &mut member)?,
        };
        std::hint::black_box(libdeflater::crc32(block));
    }
    let seconds = start.elapsed().as_secs_f64();
    let megabytes = text.len() as f64 / 1e6;
    writeln!(
        std::io::stdout(),
        "{:.1} MB/s, ratio {:.2}",
        megabytes / seconds,
        text.len() as f64 / packed as f64
    )?;
    Ok(())
}
