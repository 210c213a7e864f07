//! Verified reads of sealed objects from one directory facility, out of the page cache, and the same opened, beside opening in memory:
//! `cargo run -p store --example verified_read [DIRECTORY]`.
//!
//! A read verifies the SHA-256 that names an object before anybody gets a byte, and opening verifies every segment again. Figures are MiB
//! for each CPU second, medians of nine rounds in which the three take turns.

#![expect(clippy::print_stdout, reason = "a program prints what it measured")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use seal::{DataKey, ObjectId, open_object, seal_object};
use store::{DirectoryFacility, Store, StoreOptions};

const OBJECTS: usize = 32;
const PLAIN_MIB: usize = 6;
const ROUNDS: usize = 9;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base)?;
    let facility = DirectoryFacility::create(dir.path().join("facility")).await?;
    let store = Store::open(vec![Arc::new(facility)], StoreOptions::default()).await?;
    let key = DataKey::generate()?;
    let mut objects = Vec::new();
    for number in 0..OBJECTS {
        let id = ObjectId::generate()?;
        let plain = vec![u8::try_from(number)?; PLAIN_MIB << 20];
        let sealed = Bytes::from(seal_object(&key, id, &plain)?.0);
        objects.push((id, store.put(sealed.clone()).await?, sealed));
    }
    store.settle().await;
    let (mut in_memory, mut read, mut opened) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = cpu_seconds();
        for (id, _, sealed) in &objects {
            black_box(open_object(&key, *id, sealed)?);
        }
        in_memory.push(rate(began));
        let began = cpu_seconds();
        for (_, hash, _) in &objects {
            black_box(store.get(hash).await?);
        }
        read.push(rate(began));
        let began = cpu_seconds();
        for (id, hash, _) in &objects {
            black_box(open_object(&key, *id, &store.get(hash).await?)?);
        }
        opened.push(rate(began));
    }
    let [memory, read, opened] = [in_memory, read, opened].map(median);
    println!("{memory:.0} {read:.0} {opened:.0}");
    Ok(())
}

/// MiB for each CPU second since `began`.
fn rate(began: f64) -> f64 {
    (OBJECTS * PLAIN_MIB) as f64 / (cpu_seconds() - began)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// CPU time of all threads of this process so far.
fn cpu_seconds() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}
