//! How near sealing comes to the cipher alone: 64 KiB segments in memory, one core, beside raw AES-256-GCM of AWS-LC in the
//! same process, in turns.
//!
//! Time is the thread's CPU time, which a busy machine spoils less; ratios are taken within a round. Prints medians with their
//! spread; `--json` prints one JSON line.
//!
//! `cargo run --release -p seal --example seal_bench`

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::time::{ClockId, clock_gettime};
use seal::{
    DataKey, ObjectId, ObjectOpener, Opener, PREFIX_BYTES, SEALED_SEGMENT_BYTES, SEGMENT_BYTES,
    Sealer, TAG_BYTES, open_object_into, seal_object_into,
};

const SEGMENTS: usize = 2048;
/// Plaintext of one object: a pack is 4 to 8 MiB.
const OBJECT_BYTES: usize = 4 << 20;
const ROUNDS: usize = 21;

/// GB/s of each round.
type Rates = Vec<f64>;

/// CPU seconds of this thread.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn timed(
    rates: &mut Rates,
    work: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let start = now();
    work()?;
    rates.push((SEGMENTS * SEGMENT_BYTES) as f64 / 1e9 / (now() - start));
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Ours beside theirs, round by round.
fn ratio(ours: &Rates, theirs: &Rates) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
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
    let mut objects = vec![Vec::new(); plaintext.len() / OBJECT_BYTES];
    let mut reused = Vec::new();
    let id = ObjectId::generate()?;
    let [
        mut raw_seal,
        mut raw_open,
        mut seal,
        mut open,
        mut seal_stream,
        mut open_stream,
        mut open_segments,
    ] = [const { Rates::new() }; 7];

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

        // Objects as the store takes them, key set-up and prefix included; the buffers are used again.
        for (object, text) in objects.iter_mut().zip(plaintext.chunks_exact(OBJECT_BYTES)) {
            seal_object_into(&DataKey::generate()?, id, text, object)?;
        }
        let keys =
            (0..objects.len()).map(|_| DataKey::generate()).collect::<Result<Vec<_>, _>>()?;
        timed(&mut seal, || {
            for ((object, text), key) in
                objects.iter_mut().zip(plaintext.chunks_exact(OBJECT_BYTES)).zip(&keys)
            {
                black_box(seal_object_into(key, id, text, object)?);
            }
            Ok(())
        })?;
        open_object_into(&keys[0], id, &objects[0], &mut reused)?;
        timed(&mut open, || {
            for (object, key) in objects.iter().zip(&keys) {
                open_object_into(key, id, object, &mut reused)?;
                black_box(&reused);
            }
            Ok(())
        })?;

        // Streams also copy: from the source into slots, and out of them.
        let key = DataKey::generate()?;
        timed(&mut seal_stream, || {
            let mut sealer = Sealer::new(&key, id, std::io::sink())?;
            sealer.read_from(&mut plaintext.as_slice(), &mut |_| ())?;
            black_box(sealer.finish()?);
            Ok(())
        })?;
        let mut sealer = Sealer::new(&key, id, Vec::with_capacity(slots.len() + 1024))?;
        sealer.write_all(&plaintext)?;
        let sealed = sealer.finish()?.0;
        timed(&mut open_stream, || {
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
        ("seal objects", &seal, &raw_seal),
        ("open objects", &open, &raw_open),
        ("seal a stream", &seal_stream, &raw_seal),
        ("open a stream", &open_stream, &raw_open),
        ("open segment by segment", &open_segments, &raw_open),
    ];
    let mut out = stdout().lock();
    if std::env::args().any(|argument| argument == "--json") {
        let ratios: Vec<_> = rows[2..]
            .iter()
            .map(|(name, rates, raw)| format!("\"{name}\":{:.3}", ratio(rates, raw)))
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
        let (rate, ratio) = (median(rates.iter().copied()), ratio(rates, raw));
        writeln!(out, "{name:<34} {rate:>8.2} {lowest:>8.2} {highest:>8.2} {ratio:>7.2}")?;
    }
    Ok(())
}
