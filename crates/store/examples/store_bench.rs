//! How fast puts are acknowledged, synced: `cargo run -p store --example store_bench [DIRECTORY]`.
//!
//! Blobs of 8 MiB and of 4 KiB, with one and with two facilities in one directory (so on one disk), several puts at a
//! time, and wrapped keys. Each figure is the median of five rounds with its smallest and largest; rounds of the four
//! cases take turns, so that a disk's moods fall on all of them. CPU seconds are the process's own and count on a noisy
//! machine.

#![expect(clippy::print_stdout, reason = "a program prints what it measured")]

use std::{path::Path, sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use store::{BlobHash, DirectoryFacility, Facility, KeyStore, Store, StoreOptions};

const ROUNDS: usize = 5;

struct Case {
    facilities: usize,
    blob_bytes: usize,
    blobs: usize,
    at_once: usize,
}

const CASES: [Case; 6] = [
    Case { facilities: 1, blob_bytes: 8 << 20, blobs: 48, at_once: 8 },
    Case { facilities: 2, blob_bytes: 8 << 20, blobs: 48, at_once: 8 },
    Case { facilities: 1, blob_bytes: 4 << 10, blobs: 2_000, at_once: 64 },
    Case { facilities: 2, blob_bytes: 4 << 10, blobs: 2_000, at_once: 64 },
    Case { facilities: 1, blob_bytes: 4 << 10, blobs: 200, at_once: 1 },
    Case { facilities: 2, blob_bytes: 4 << 10, blobs: 200, at_once: 1 },
];

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base)?;
    hashing();
    let mut rates = vec![Vec::new(); CASES.len()];
    let mut cpu = vec![0.0; CASES.len()];
    for round in 0..ROUNDS {
        for (index, case) in CASES.iter().enumerate() {
            let before = cpu_seconds();
            let root = dir.path().join(format!("{round}-{index}"));
            rates[index].push(puts(&root, case).await?);
            cpu[index] += cpu_seconds() - before;
            std::fs::remove_dir_all(&root)?;
        }
    }
    for (index, case) in CASES.iter().enumerate() {
        let what = if case.blob_bytes >= 1 << 20 { "8 MiB" } else { "4 KiB" };
        let per_put = cpu[index] * 1e3 / (case.blobs * ROUNDS) as f64;
        let (median, low, high) = spread(&mut rates[index]);
        let mib = median * case.blob_bytes as f64 / f64::from(1 << 20);
        println!(
            "{what}, {} at once, {} facilities: {median:.0} puts/s ({low:.0} to {high:.0}), {mib:.0} MiB/s, {per_put:.3} ms CPU each",
            case.at_once, case.facilities
        );
    }
    for (callers, datasets) in [(512, 1), (512, 16), (1, 1)] {
        let mut rates = Vec::new();
        for round in 0..ROUNDS {
            let root = dir.path().join(format!("keys-{callers}-{datasets}-{round}"));
            rates.push(keys(&root, callers, datasets).await?);
        }
        let (median, low, high) = spread(&mut rates);
        println!(
            "wrapped keys, {callers} at once, {datasets} datasets, two places: {median:.0} puts/s ({low:.0} to {high:.0})"
        );
    }
    Ok(())
}

/// SHA-256 of 8 MiB in this process: the one thing a put computes.
fn hashing() {
    let bytes = vec![7; 8 << 20];
    let mut rates: Vec<f64> = (0..9)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(BlobHash::of(std::hint::black_box(&bytes)));
            8.0 / began.elapsed().as_secs_f64()
        })
        .collect();
    let (median, low, high) = spread(&mut rates);
    println!("SHA-256, one core: {median:.0} MiB/s ({low:.0} to {high:.0})");
}

async fn puts(root: &Path, case: &Case) -> Result<f64, Failure> {
    std::fs::create_dir(root)?;
    let mut facilities: Vec<Arc<dyn Facility>> = Vec::new();
    for number in 0..case.facilities {
        let facility = DirectoryFacility::create(root.join(format!("facility-{number}"))).await?;
        facilities.push(Arc::new(facility));
    }
    let store = Store::open(facilities, StoreOptions::default()).await?;
    let blobs: Vec<Bytes> = (0..case.blobs)
        .map(|number| {
            let mut bytes = vec![0x5a; case.blob_bytes];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            Bytes::from(bytes)
        })
        .collect();
    let began = Instant::now();
    let mut puts = stream::iter(blobs)
        .map(|bytes| {
            let store = store.clone();
            tokio::spawn(async move { store.put(bytes).await })
        })
        .buffer_unordered(case.at_once);
    while let Some(put) = puts.next().await {
        put??;
    }
    let seconds = began.elapsed().as_secs_f64();
    store.settle().await;
    Ok(case.blobs as f64 / seconds)
}

async fn keys(root: &Path, callers: u32, datasets: u32) -> Result<f64, Failure> {
    std::fs::create_dir(root)?;
    let keys = KeyStore::create([root.join("a"), root.join("b")]).await?;
    let total = if callers == 1 { 100 } else { 10_000 };
    let began = Instant::now();
    let mut puts = stream::iter(0..total)
        .map(|number: u32| {
            let keys = keys.clone();
            tokio::spawn(async move {
                let mut object = [0; 16];
                object[..4].copy_from_slice(&number.to_be_bytes());
                let mut dataset = [1; 16];
                dataset[..4].copy_from_slice(&(number % datasets).to_be_bytes());
                keys.put_wrapped_key(dataset, object, [7; 60]).await
            })
        })
        .buffer_unordered(callers as usize);
    while let Some(put) = puts.next().await {
        put??;
    }
    Ok(f64::from(total) / began.elapsed().as_secs_f64())
}

/// Median, smallest, largest.
fn spread(rates: &mut [f64]) -> (f64, f64, f64) {
    rates.sort_by(f64::total_cmp);
    (rates[rates.len() / 2], rates[0], rates[rates.len() - 1])
}

/// CPU time of all threads of this process so far.
fn cpu_seconds() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}
