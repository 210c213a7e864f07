//! A clinic takes its key away, again and again, with a lease of 2 s and in real time: whatever is tried on whichever surface, nothing that
//! begins later than what the clinic was promised gets anything. The worst time that was measured is printed beside the one promised.

use std::fs;
use std::time::{Duration, Instant};

use super::own_key::{Clinic, cases, found};
use super::stage::{Stage, until};

/// A surface: its name, and whether it still gives what only the key opens.
type Surface<'a> = (&'static str, Box<dyn Fn() -> bool + Send + Sync + 'a>);

/// When the last use of a surface began that got something, since the key was taken away: it is tried until it refuses.
fn last_use(tried: &(dyn Fn() -> bool + Send + Sync), taken: Instant) -> Duration {
    let mut last = Duration::ZERO;
    loop {
        let began = taken.elapsed();
        if !tried() {
            return last;
        }
        last = began;
        assert!(last < Duration::from_secs(60), "it goes on without the key");
    }
}

/// As many trials as `CHORION_REVOCATION_TRIALS` says, two if it says nothing.
#[test]
fn a_revocation_has_its_effect_on_every_surface_within_the_time_that_is_promised() {
    let trials = std::env::var("CHORION_REVOCATION_TRIALS").ok();
    let trials: u32 = trials.and_then(|text| text.parse().ok()).unwrap_or(2);
    let stage = Stage::new();
    let clinic = Clinic::new(&stage, "0");
    clinic.set(&stage, &[]);
    let project = clinic.project(&stage, "boss", "panel");
    let reads = stage.path("fernweh.fastq");
    fs::write(&reads, "@a\nACGT\n+\nIIII\n").unwrap();
    let reads = reads.to_str().unwrap();
    let import = ["sample", "import", reads, "--project", &project, "--name", "fernweh"];
    let sample = stage.call("boss", &import)["id"].as_str().unwrap().to_owned();
    stage.call("boss", &["org", "fields", "on", &clinic.id, "family_name"]);
    let case = cases(&stage, "boss", &project, 1).remove(0);
    let written = stage.path("case-0.json").display().to_string();
    let card = stage.call("boss", &["project", "card", &project]);
    let phrase = card["phrase"].as_str().unwrap();
    let went_well = |words: &[&str]| stage.run("boss", words).status.success();
    let name = || stage.call("boss", &["sample", "list", "--project", &project])[0]["name"].clone();

    let surfaces: [Surface<'_>; 5] = [
        ("read", Box::new(|| went_well(&["case", "show", &case]))),
        ("list", Box::new(|| name() == "fernweh")),
        ("search", Box::new(|| !found(&stage, "boss", &project).is_empty())),
        ("write", Box::new(|| went_well(&["case", "add", "--project", &project, &written]))),
        (
            "download",
            Box::new(|| {
                let out = stage.path("out");
                let words = ["sample", "download", &sample, "--output", out.to_str().unwrap()];
                let opened = went_well(&words);
                fs::remove_dir_all(out).ok();
                opened
            }),
        ),
    ];
    let mut worst = Duration::ZERO;
    let mut promised = Duration::ZERO;
    for trial in 1..=trials {
        until("all of it", || surfaces.iter().all(|(_, gives)| gives()));
        promised = Duration::from_secs(clinic.status(&stage)["effect_seconds"].as_u64().unwrap());
        let taken = Instant::now();
        clinic.take_away();
        let last = std::thread::scope(|scope| {
            let of_each = surfaces.each_ref().map(|(surface, gives)| {
                (*surface, scope.spawn(move || last_use(gives.as_ref(), taken)))
            });
            of_each.map(|(surface, last)| (surface, last.join().unwrap()))
        });
        for (surface, last) in last {
            assert!(last <= promised, "trial {trial}: {surface} gave something after {last:?}");
            worst = worst.max(last);
        }
        // An instrument that comes now waits with its run, and what was refused stays refused.
        let run = stage.path(&format!("240611_A01234_{trial:04}_AHXXXXXXXX"));
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("RunInfo.xml"), "<RunInfo/>\n").unwrap();
        fs::write(run.join("CopyComplete.txt"), "").unwrap();
        let send = ["run", "send", run.to_str().unwrap(), "--project", &project, "--json"];
        let send = [&send[..], &["--no-demultiplex", "--card-phrase", phrase]].concat();
        let mut waits = stage.start("boss", &[&send[..], &["--poll-seconds", "1"]].concat());
        for (surface, gives) in &surfaces {
            assert!(!gives(), "trial {trial}: {surface} gives again without the key");
        }
        assert!(!waits.has_ended());
        let runs = stage.call("boss", &["run", "list", "--project", &project]);
        assert_eq!(
            runs.as_array().map(Vec::len),
            usize::try_from(trial - 1).ok(),
            "none was begun"
        );

        clinic.give_back();
        until("the key", || clinic.status(&stage)["standing"] == "in_force");
        assert!(waits.finish_quietly(), "the run that waited is sent");
    }
    println!(
        "{trials} of {trials} revocations on {} surfaces and a broker: the last use began {:.2} s after the key was taken away, promised are {} s",
        surfaces.len(),
        worst.as_secs_f64(),
        promised.as_secs()
    );
}
