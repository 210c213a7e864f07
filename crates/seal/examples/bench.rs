//! How near sealing comes to the cipher alone: 64 KiB segments in memory, one core, beside raw AES-256-GCM of AWS-LC in the
//! same process, in turns. Prints medians with their spread and the ratios; `--json` prints one JSON line.
//!
//! `cargo run --release -p seal --example bench`

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use seal::{
    DataKey, ObjectId, ObjectOpener, Opener, PREFIX_BYTES, SEALED_SEGMENT_BYTES, SEGMENT_BYTES,
    Sealer, TAG_BYTES,
};

const SEGMENTS: usize = 2048;
const ROUNDS: usize = 15;

/// GB/s of each round.
type Rates = Vec<f64>;

fn timed(
    rates: &mut Rates,
    work: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    rates.push((SEGMENTS * SEGMENT_BYTES) as f64 / 1e9 / start.elapsed().as_secs_f64());
    Ok(())
}

fn median(rates: &Rates) -> f64 {
    let mut sorted = rates.clone();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let raw = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).map_err(|_| "no key")?);
    let nonce = |index: usize| {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&(index as u64).to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    };
    let plaintext = vec![0x5A; SEGMENTS * SEGMENT_BYTES];
    let mut slots = vec![0; SEGMENTS * SEALED_SEGMENT_BYTES];
    let mut opened = vec![0; SEGMENT_BYTES];
    let id = ObjectId::generate()?;
    let [mut raw_seal, mut raw_open, mut seal, mut open, mut open_segments] =
        [const { Rates::new() }; 5];

    for _ in 0..ROUNDS {
        for (slot, text) in
            slots.chunks_exact_mut(SEALED_SEGMENT_BYTES).zip(plaintext.chunks_exact(SEGMENT_BYTES))
        {
            slot[..SEGMENT_BYTES].copy_from_slice(text);
        }
        timed(&mut raw_seal, || {
            for (index, slot) in slots.chunks_exact_mut(SEALED_SEGMENT_BYTES).enumerate() {
                let (text, tag) = slot.split_at_mut(SEGMENT_BYTES);
                raw.seal_in_place_scatter(nonce(index), Aad::empty(), text, &[], tag)
                    .map_err(|_| "seal")?;
            }
            Ok(())
        })?;
        timed(&mut raw_open, || {
            for (index, slot) in slots.chunks_exact(SEALED_SEGMENT_BYTES).enumerate() {
                let (text, tag) = slot.split_at(SEGMENT_BYTES);
                raw.open_separate_gather(nonce(index), Aad::empty(), text, tag, &mut opened)
                    .map_err(|_| "open")?;
                black_box(&opened);
            }
            Ok(())
        })?;

        // The whole of what a user gets: from memory into slots, sealed, out to a sink that takes everything.
        let key = DataKey::generate()?;
        timed(&mut seal, || {
            let mut sealer = Sealer::new(&key, id, std::io::sink())?;
            sealer.read_from(&mut plaintext.as_slice(), &mut |_| ())?;
            black_box(sealer.finish()?);
            Ok(())
        })?;
        let mut sealer = Sealer::new(&key, id, Vec::with_capacity(slots.len() + 1024))?;
        sealer.write_all(&plaintext)?;
        let sealed = sealer.finish()?.0;
        timed(&mut open, || {
            Opener::new(&key, id, sealed.as_slice())?
                .write_to(&mut std::io::sink(), &mut |_| ())?;
            Ok(())
        })?;
        timed(&mut open_segments, || {
            let opener = ObjectOpener::new(&key, id, &sealed[..PREFIX_BYTES], sealed.len() as u64)?;
            let mut out = Vec::with_capacity(SEGMENT_BYTES);
            for index in 0..opener.segments() {
                let range = opener.segment_range(index);
                let (start, end) = (usize::try_from(range.start)?, usize::try_from(range.end)?);
                out.clear();
                opener.open_segment(index, &sealed[start..end], &mut out)?;
                black_box(&out);
            }
            Ok(())
        })?;
    }

    let rows = [
        ("raw AES-256-GCM, seal in place", &raw_seal, &raw_seal),
        ("raw AES-256-GCM, open", &raw_open, &raw_open),
        ("seal a stream", &seal, &raw_seal),
        ("open a stream", &open, &raw_open),
        ("open segment by segment", &open_segments, &raw_open),
    ];
    let mut out = stdout().lock();
    if std::env::args().any(|argument| argument == "--json") {
        let ratios: Vec<_> = rows[2..]
            .iter()
            .map(|(name, rates, raw)| format!("\"{name}\":{:.3}", median(rates) / median(raw)))
            .collect();
        writeln!(out, "{{{}}}", ratios.join(","))?;
        return Ok(());
    }
    let mib = (SEGMENTS * SEGMENT_BYTES) >> 20;
    writeln!(
        out,
        "{mib} MiB in memory, {ROUNDS} rounds in turns, one core (a tag of {TAG_BYTES} bytes per 64 KiB)"
    )?;
    writeln!(out, "{:<34} {:>8} {:>8} {:>8} {:>7}", "", "GB/s", "lowest", "highest", "of raw")?;
    for (name, rates, raw) in rows {
        let lowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = rates.iter().copied().fold(0.0, f64::max);
        let ratio = median(rates) / median(raw);
        writeln!(
            out,
            "{name:<34} {:>8.2} {lowest:>8.2} {highest:>8.2} {ratio:>7.2}",
            median(rates)
        )?;
    }
    Ok(())
}
