//! What signed calls cost, and what good callers keep beside hostile ones: figures, printed as JSON.
//!
//!     load serve DIR              a hub with its data in DIR, until standard input ends; says where on standard output
//!     load serve-unmetered DIR    the same, but addresses are not slowed: unsigned calls, which count by address, can be measured
//!     load cost HUB               server CPU of a signed call over an unsigned one, and calls a second
//!     load good HUB SECONDS       good callers alone: how many calls they got through
//!     load hostile HUB SECONDS    hostile callers of every kind
//!     load releases DIR           releases of keys, announced and ended in the audit log: by one caller and by many at once
//!     load permission             a check of a member's right: as it is remembered, and with a look into the database
//!     load cases DIR ROWS FINDS   cases sealed with three indexes of hashes, beside the same rows in the clear
//!     load find DIR ROWS FINDS    the same without a log, so that a million rows are there in minutes: only finding them is measured
//!     load rewrap DIR COUNT       the keys of runs, samples and results, wrapped anew under a new organization data key
//!
//! HUB is the file in which `load serve` wrote what the others need. `benches/hostile.py` puts them together.

mod attack;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use attack::{Tally, Target, WAYS, ask, good, hostile};
use hub::{HubConfig, Limits, serve};
use proof::SigningKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

type Failure = Box<dyn std::error::Error>;

/// The key that signs good calls. It is no secret: the hub of a bench knows nothing else.
const SEED: [u8; 32] = [7; 32];
/// Good callers at once.
const GOOD: u8 = 8;
/// Hostile callers of each kind.
const OF_EACH: u8 = 2;
const COST_CALLS: u32 = 10_000;
/// Cases in one transaction: as many as one call takes.
const CASES_AT_ONCE: u32 = 1000;

#[derive(Serialize, Deserialize)]
struct Hub {
    port: u16,
    ca: PathBuf,
    process: u32,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match words[..] {
        ["serve", directory] => runtime.block_on(run_hub(Path::new(directory), Limits::default())),
        ["serve-unmetered", directory] => {
            let limits = Limits { address_rate: 1_000_000, ..Limits::default() };
            runtime.block_on(run_hub(Path::new(directory), limits))
        }
        ["cost", hub] => runtime.block_on(cost(&read(hub)?)),
        ["good", hub, seconds] => runtime.block_on(load(&read(hub)?, seconds.parse()?, false)),
        ["hostile", hub, seconds] => runtime.block_on(load(&read(hub)?, seconds.parse()?, true)),
        ["releases", directory] => {
            let mut told = Vec::new();
            for round in 0..3 {
                for at_once in [1, 16, 128] {
                    let data = Path::new(directory).join(format!("{round}-{at_once}.db"));
                    let count = 128 * if at_once == 1 { 1 } else { 16 };
                    let figures = hub::figures::announced_releases(&data, count, at_once);
                    let (took, groups) = runtime.block_on(figures)?;
                    told.push(json!({
                        "at_once": at_once,
                        "releases": count,
                        "syncs": groups,
                        "releases_per_second": f64::from(count) / took.as_secs_f64(),
                    }));
                }
            }
            say(&json!(told))
        }
        ["cases", dir, rows, finds] => {
            let (dir, rows, finds) = (Path::new(dir), rows.parse()?, finds.parse()?);
            fs::create_dir_all(dir)?;
            let took = hub::figures::cases_beside_plain(dir, rows, CASES_AT_ONCE, finds);
            let figures = runtime.block_on(took)?;
            let rate = |took: Duration| f64::from(rows) / took.as_secs_f64();
            let figures = json!({
                "rows": rows,
                "sealed_rows_per_second": rate(figures.sealed),
                "plain_rows_per_second": rate(figures.plain),
                "sealed_find_us": micros(figures.sealed_finds),
                "plain_find_us": micros(figures.plain_finds),
                "rewrapped_keys_per_second": rate(figures.rewrapped),
                "sealed_bytes": figures.sealed_bytes,
                "plain_bytes": figures.plain_bytes,
            });
            say(&figures)
        }
        ["find", dir, rows, finds] => {
            let (dir, rows, finds) = (Path::new(dir), rows.parse()?, finds.parse()?);
            fs::create_dir_all(dir)?;
            let took = hub::figures::cases_found(dir, rows, 10 * CASES_AT_ONCE, finds);
            let [sealed, plain] = runtime.block_on(took)?.map(micros);
            say(&json!({"rows": rows, "sealed_find_us": sealed, "plain_find_us": plain}))
        }
        ["rewrap", dir, count] => {
            let (dir, count): (_, u32) = (Path::new(dir), count.parse()?);
            fs::create_dir_all(dir)?;
            let took = runtime.block_on(hub::figures::dataset_keys_rewrapped(dir, count))?;
            say(&json!({"dataset_keys": count, "dataset_keys_per_second": f64::from(count) / took.as_secs_f64()}))
        }
        ["permission"] => {
            let directory = tempfile::tempdir()?;
            let mut each: Vec<[Duration; 2]> = Vec::new();
            for _ in 0..5 {
                let data = directory.path().join(each.len().to_string());
                each.push(runtime.block_on(hub::figures::permission_check(&data, 20_000))?);
            }
            let median = |kind: usize| {
                let mut took: Vec<Duration> = each.iter().map(|both| both[kind]).collect();
                took.sort();
                took[took.len() / 2].as_secs_f64() * 1e6
            };
            say(&json!({"remembered_us": median(0), "from_database_us": median(1)}))
        }
        _ => Err("usage: load serve DIR | serve-unmetered DIR | cost HUB | good HUB SECONDS | hostile HUB SECONDS | releases DIR | permission | cases DIR ROWS FINDS | find DIR ROWS FINDS | rewrap DIR COUNT".into()),
    }
}

/// Median and 99th percentile in microseconds.
fn micros(mut all: Vec<Duration>) -> Value {
    all.sort_unstable();
    let at =
        |part: usize| all.get(all.len() * part / 100).map_or(0.0, |took| took.as_secs_f64() * 1e6);
    json!({"median": at(50), "p99": at(99)})
}

fn say(value: &Value) -> Result<(), Failure> {
    writeln!(io::stdout(), "{value}")?;
    Ok(())
}

fn read(path: &str) -> Result<Hub, Failure> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

async fn run_hub(directory: &Path, limits: Limits) -> Result<(), Failure> {
    let listen = ([127, 0, 0, 1], 0).into();
    let config = HubConfig { listen, limits, ..HubConfig::new(directory.join("data")) };
    let (ready, started) = oneshot::channel();
    let serving = tokio::spawn(serve(config, ready));
    let ready = started.await?;
    let hub =
        Hub { port: ready.address.port(), ca: ready.ca_file.clone(), process: std::process::id() };
    let (code, _until) = ready.code.ok_or("the directory has a hub already")?;
    let (target, key) = (Target::new(hub.port, &hub.ca), SigningKey::from_seed(&SEED));
    let enrol = json!({
        "code": code, "account_name": "bench", "key_name": "bench",
        "public_key": api::Bytes(key.public().to_bytes().to_vec()),
    });
    let mut stream = target.connect([127, 0, 1, 1]).await?;
    let wire = target.signed(&key, "POST", "/api/v1/enrol", &serde_json::to_vec(&enrol)?, "");
    if ask(&mut stream, &wire).await? != 200 {
        return Err("the bench was not enrolled".into());
    }
    fs::write(directory.join("hub.json"), serde_json::to_vec(&hub)?)?;
    say(&json!(hub))?;
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    ready.stop.stop();
    serving.await??;
    Ok(())
}

/// CPU seconds that the hub has used so far.
fn cpu(hub: &Hub) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", hub.process))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc has another form")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    // Linux counts in hundredths of a second for every program that asks this way.
    Ok(ticks / 100.0)
}

/// Calls one after the other on each of `GOOD` connections; CPU microseconds of the hub for each, and calls a second.
async fn measured(hub: &Hub, signed: bool) -> Result<(f64, f64), Failure> {
    let (before, began) = (cpu(hub)?, Instant::now());
    let mut callers = Vec::new();
    for n in 1..=GOOD {
        let target = Target::new(hub.port, &hub.ca);
        callers.push(tokio::spawn(async move {
            let key = SigningKey::from_seed(&SEED);
            let mut stream = target.connect([127, 0, 1, n]).await?;
            for _ in 0..COST_CALLS / u32::from(GOOD) {
                // The same handler work on either side: a small answer with the hub's name and clock.
                let wire = if signed {
                    target.signed(&key, "GET", "/api/v1/whoami", b"", "")
                } else {
                    target.unsigned("/health")
                };
                let status = ask(&mut stream, &wire).await?;
                if status != 200 {
                    return Err(io::Error::other(format!("answered {status}")));
                }
            }
            Ok(())
        }));
    }
    for caller in callers {
        caller.await??;
    }
    let (used, took) = (cpu(hub)? - before, began.elapsed().as_secs_f64());
    Ok((used * 1e6 / f64::from(COST_CALLS), f64::from(COST_CALLS) / took))
}

async fn cost(hub: &Hub) -> Result<(), Failure> {
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let (unsigned, _) = measured(hub, false).await?;
        let (signed, rate) = measured(hub, true).await?;
        rounds.push(json!({
            "signed_us": signed, "unsigned_us": unsigned, "over_us": signed - unsigned, "signed_calls_per_second": rate,
        }));
    }
    say(&json!(rounds))
}

async fn load(hub: &Hub, seconds: u64, bad: bool) -> Result<(), Failure> {
    let (target, key) = (Target::new(hub.port, &hub.ca), SigningKey::from_seed(&SEED));
    let tally = Arc::new(Tally::default());
    let mut callers = Vec::new();
    if bad {
        for (n, way) in (2_u8..).zip(WAYS) {
            for each in 0..OF_EACH {
                let from = [127, 0, 2 + each, n];
                callers.push(tokio::spawn(hostile(
                    target.clone(),
                    way,
                    from,
                    key.clone(),
                    Arc::clone(&tally),
                )));
            }
        }
    } else {
        for n in 1..=GOOD {
            let caller = good(target.clone(), key.clone(), [127, 0, 1, n], Arc::clone(&tally));
            callers.push(tokio::spawn(caller));
        }
    }
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (good, refused) =
        (tally.good.load(Ordering::Relaxed), tally.refused.load(Ordering::Relaxed));
    let elapsed = began.elapsed().as_secs_f64();
    target.over.store(true, Ordering::Relaxed);
    say(&json!({"answered": good, "refused": refused, "seconds": elapsed}))
}
