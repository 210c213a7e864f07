//! Good callers beside hostile ones, for a moment: served correctly, and within a bounded memory. How fast is a bench's
//! matter (`benches/hostile.sh`), which runs the same callers.

#[path = "../../examples/attack/mod.rs"]
mod attack;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use attack::{Tally, Target, WAYS, ask, good, hostile};
use serde_json::json;
use tokio::sync::oneshot;

use crate::testing::signing_key;
use crate::{HubConfig, serve};

/// The most memory that this program, hub and callers together, has used, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_callers_are_served_beside_every_kind_of_hostile_ones() {
    let directory = tempfile::tempdir().unwrap();
    let config = HubConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        ..HubConfig::new(directory.path().join("data"))
    };
    let (ready, started) = oneshot::channel();
    let ended = tokio::spawn(serve(config, ready));
    let ready = started.await.unwrap();
    let target = Target::new(ready.address.port(), &ready.ca_file);
    let key = signing_key();
    let enrol = json!({
        "code": ready.code.as_ref().unwrap().0, "account_name": "Ada", "key_name": "a test",
        "public_key": api::Bytes(key.public().to_bytes().to_vec()),
    });
    let enrol = serde_json::to_vec(&enrol).unwrap();
    let mut stream = target.connect([127, 0, 1, 1]).await.unwrap();
    let wire = target.signed(&key, "POST", "/api/v1/enrol", &enrol, "");
    assert_eq!(ask(&mut stream, &wire).await.unwrap(), 200);

    let before = peak_kib();
    let (served, attacked) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
    let mut callers = Vec::new();
    for (n, way) in (2_u8..).zip(WAYS) {
        let from = [127, 0, 0, n];
        callers.push(tokio::spawn(hostile(
            target.clone(),
            way,
            from,
            key.clone(),
            Arc::clone(&attacked),
        )));
    }
    for n in 1..=2 {
        callers.push(tokio::spawn(good(
            target.clone(),
            key.clone(),
            [127, 0, 1, n],
            Arc::clone(&served),
        )));
    }
    // However long it takes: until the good ones were served so often, and the hostile ones refused.
    while served.good.load(Ordering::Relaxed) < 300
        || attacked.refused.load(Ordering::Relaxed) < 500
    {
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    target.over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(served.refused.load(Ordering::Relaxed), 0, "no good call was refused or cut");
    let grown = peak_kib().saturating_sub(before) / 1024;
    assert!(grown < 300, "hub and callers together grew by {grown} MiB");
    ready.stop.stop();
    ended.await.unwrap().unwrap();
}
