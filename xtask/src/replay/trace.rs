//! Reads what testing/instruments holds: traces of how a folder grew, and shapes of whole runs.

use std::path::Path;

use serde::Deserialize;

use super::order::{Act, Event, in_pieces};
use crate::failure::Failure;

/// A line of a trace.
#[derive(Deserialize)]
struct Line {
    t: f64,
    op: Op,
    path: String,
    size: u64,
    /// A file may be created in several writes.
    #[serde(default = "one")]
    chunks: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Create,
    Append,
    Rewrite,
}

const fn one() -> u64 {
    1
}

/// The acts of a trace, in time.
pub(super) fn events(text: &str) -> Result<Vec<Event>, Failure> {
    let mut events = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(line)
            .map_err(Failure::because(format!("line {number} of the trace is no event")))?;
        if !line.t.is_finite() || line.t < 0.0 {
            return Err(Failure::new(format!(
                "error: line {number} of the trace lies at no time: {}",
                line.t
            )));
        }
        if !super::play::is_below(&line.path) {
            return Err(Failure::new(format!(
                "error: line {number} of the trace leaves the run folder: {}",
                line.path
            )));
        }
        let mut add = |at_seconds: f64, act: Act| {
            events.push(Event { at_seconds, path: line.path.clone(), act });
        };
        match line.op {
            Op::Create => in_pieces(line.size, line.chunks, line.t, 1.0, &mut add),
            Op::Append => add(line.t, Act::Grow { bytes: line.size }),
            Op::Rewrite => add(line.t, Act::Anew { bytes: line.size }),
        }
    }
    events.sort_by(|a, b| a.at_seconds.total_cmp(&b.at_seconds));
    Ok(events)
}

/// The shape of a run on one instrument.
#[derive(Deserialize)]
pub(super) struct Profile {
    name: String,
    lanes: u32,
    tiles: u32,
    cycles: u32,
    ext: String,
    per: Per,
    bytes: u64,
    pub(super) cycle_s: f64,
    completes: Vec<String>,
}

/// What one base-call file holds, besides one cycle.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Per {
    Tile,
    Lane,
    LaneSurface,
}

pub(super) fn profile(file: &Path, name: &str) -> Result<Profile, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(Failure::because(format!("{} cannot be read", file.display())))?;
    let profiles: Vec<Profile> = serde_json::from_str(&text)
        .map_err(Failure::because(format!("{} holds no profiles", file.display())))?;
    let names: Vec<String> = profiles.iter().map(|profile| profile.name.clone()).collect();
    profiles.into_iter().find(|profile| profile.name == name).ok_or_else(|| {
        Failure::new(format!(
            "error: there is no profile {name}\n\nhint: choose among {}",
            names.join(", ")
        ))
    })
}

impl Profile {
    /// The files of such a run, at `scale` of their sizes.
    pub(super) fn files(&self, scale: f64) -> Vec<(String, u64)> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a size of at most some hundred MB, rounded, and never below one byte"
        )]
        let bytes = (self.bytes as f64 * scale).max(1.0) as u64;
        let mut files: Vec<(String, u64)> =
            [("RunInfo.xml", 2000), ("RunParameters.xml", 12_000), ("SampleSheet.csv", 2500)]
                .map(|(path, size)| (path.to_owned(), size))
                .to_vec();
        for metrics in ["Tile", "Q", "Extraction", "Error", "CorrectedInt"] {
            files.push((format!("InterOp/{metrics}MetricsOut.bin"), u64::from(self.cycles) * 2000));
        }
        files.push(("Logs/run.log".to_owned(), u64::from(self.cycles) * 4000));
        for lane in 1..=self.lanes {
            let folder = format!("Data/Intensities/BaseCalls/L{lane:03}");
            match self.per {
                Per::Lane => files.push((format!("{folder}/s_{lane}.filter"), bytes / 2)),
                Per::Tile | Per::LaneSurface => {
                    for tile in self.tile_numbers() {
                        files.push((format!("{folder}/s_{lane}_{tile}.filter"), bytes / 2));
                    }
                }
            }
            for cycle in 1..=self.cycles {
                let ext = &self.ext;
                match self.per {
                    Per::Tile => {
                        for tile in self.tile_numbers() {
                            files
                                .push((format!("{folder}/C{cycle}.1/s_{lane}_{tile}{ext}"), bytes));
                        }
                    }
                    Per::Lane => {
                        files.push((format!("{folder}/{cycle:04}{ext}"), bytes));
                        files.push((format!("{folder}/{cycle:04}{ext}.bci"), 1736));
                    }
                    Per::LaneSurface => {
                        for surface in 1..=2 {
                            let name = format!("{folder}/C{cycle}.1/L{lane:03}_{surface}{ext}");
                            files.push((name, bytes));
                        }
                    }
                }
            }
        }
        files.extend(self.completes.iter().map(|mark| (mark.clone(), 0)));
        files
    }

    /// 1101, 1102, … and as many on the second surface.
    fn tile_numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let each = self.tiles.div_ceil(2);
        (1..=2).flat_map(move |surface| (1..=each).map(move |tile| surface * 1000 + 100 + tile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruments() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/instruments")
    }

    #[test]
    fn the_trace_in_the_repository_is_understood_to_its_last_mark() {
        let text = std::fs::read_to_string(instruments().join("run_events_small.jsonl"))
            .expect("a file of ours");
        let events = events(&text).expect("a trace of ours");
        assert!(events.len() > text.lines().count());
        assert_eq!(events.last().map(|e| e.path.as_str()), Some("CopyComplete.txt"));
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let good = r#"{"t": 0, "op": "create", "path": "RunInfo.xml", "size": 9}"#;
        for (bad, said) in [
            ("{}", "line 2 of the trace is no event"),
            (
                r#"{"t": 1, "op": "delete", "path": "a", "size": 1}"#,
                "line 2 of the trace is no event",
            ),
            (
                r#"{"t": -1, "op": "create", "path": "a", "size": 1}"#,
                "line 2 of the trace lies at no time",
            ),
            (
                r#"{"t": 1, "op": "create", "path": "../a", "size": 1}"#,
                "line 2 of the trace leaves the run folder",
            ),
        ] {
            let failure = events(&format!("{good}\n{bad}\n")).expect_err("refused");
            assert!(failure.to_string().contains(said), "{failure}");
        }
    }

    #[test]
    fn every_profile_gives_as_many_base_call_files_as_it_says() {
        #[derive(Deserialize)]
        struct Count {
            name: String,
            bcl_files: usize,
        }
        let file = instruments().join("run_profiles.json");
        let text = std::fs::read_to_string(&file).expect("a file of ours");
        let counts: Vec<Count> = serde_json::from_str(&text).expect("profiles of ours");
        assert_eq!(counts.len(), 4);
        for count in counts {
            let profile = profile(&file, &count.name).expect("a profile that is listed");
            let files = profile.files(0.001);
            let calls = files.iter().filter(|(path, _)| path.ends_with(&profile.ext)).count();
            assert_eq!(calls, count.bcl_files, "{}", count.name);
        }
    }

    #[test]
    fn an_unknown_profile_is_answered_with_those_there_are() {
        let failure = profile(&instruments().join("run_profiles.json"), "miseq")
            .map(|_| ())
            .expect_err("refused");
        assert!(failure.to_string().contains("miseq_v3_2x301_1idx8x2"));
    }
}
