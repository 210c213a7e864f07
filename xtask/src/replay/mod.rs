//! Makes a run folder grow the way an instrument writes it, so that what watches a folder can be tried without an instrument.
//!
//! Three sources give the files: a real folder (its own bytes, in an instrument's order), a profile of an instrument (made bytes), or
//! a trace of events (made bytes at stated times). All become one list of small acts in time: a file begins, grows by some bytes, is
//! written anew. Readers see half-written files, as on a share that an instrument copies to; completion marks come last.

mod content;
mod order;
mod play;
mod trace;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use content::Content;
use order::{Act, Event, Pace};

use crate::failure::Failure;

/// `cargo xtask replay`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A run folder whose files are copied in an instrument's order
    #[arg(long, value_name = "DIR", required_unless_present_any = ["profile", "events"])]
    source: Option<PathBuf>,
    /// A shape from `testing/instruments/run_profiles.json`, with made content
    #[arg(long, value_name = "NAME", conflicts_with_all = ["source", "events"])]
    profile: Option<String>,
    /// A trace, one JSON object a line, with made content
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    events: Option<PathBuf>,
    /// The folder that grows; made if absent, refused if something is in it
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// How many times faster than the instrument; 0 does not wait at all
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    speed: f64,
    /// Seconds a cycle takes (default: 300, or what the profile says)
    #[arg(long, value_name = "SECONDS")]
    cycle_seconds: Option<f64>,
    /// With --profile: the share of the real file sizes to write
    #[arg(long, value_name = "SHARE", default_value_t = 0.001)]
    scale: f64,
    /// End after this cycle as if the run had been aborted: no later file, no completion mark
    #[arg(long, value_name = "CYCLE")]
    until_cycle: Option<u32>,
    /// Write everything but this completion mark, for example CopyComplete.txt
    #[arg(long, value_name = "NAME")]
    without: Option<String>,
}

/// Plays the run to its end and says what was written.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<String, Failure> {
    if !arguments.speed.is_finite() || arguments.speed < 0.0 {
        return Err(Failure::new(format!(
            "error: {} is no speed; 0 means without waiting",
            arguments.speed
        )));
    }
    let (mut events, content) = plan(root, arguments)?;
    if let Some(name) = &arguments.without {
        let before = events.len();
        events.retain(|event| event.path != *name);
        if events.len() == before {
            return Err(Failure::new(format!("error: the run has no file {name} to leave out")));
        }
    }
    play::refuse_unless_empty(&arguments.to)?;

    let began = Instant::now();
    let run_seconds = events.last().map_or(0.0, |event| event.at_seconds);
    let mut written = play::Written::default();
    let mut said = 0;
    for event in &events {
        if arguments.speed > 0.0 {
            let due = Duration::from_secs_f64(event.at_seconds / arguments.speed);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        play::perform(event, &content, &arguments.to, &mut written)?;
        // A line a second is enough to see that it lives.
        if began.elapsed().as_secs() > said {
            said = began.elapsed().as_secs();
            writeln!(
                std::io::stderr(),
                "replay: {:.0} of {run_seconds:.0} s of the run, {} files, {} bytes",
                event.at_seconds,
                written.files,
                written.bytes
            )
            .ok();
        }
    }
    Ok(format!(
        "replay: {} files, {} bytes in {} in {:.1} s; the instrument takes {:.0} s",
        written.files,
        written.bytes,
        arguments.to.display(),
        began.elapsed().as_secs_f64(),
        run_seconds
    ))
}

fn plan(root: &Path, arguments: &Arguments) -> Result<(Vec<Event>, Content), Failure> {
    let mut pace = Pace { cycle_seconds: 300.0, until_cycle: arguments.until_cycle };
    if let Some(source) = &arguments.source {
        pace.cycle_seconds = arguments.cycle_seconds.unwrap_or(pace.cycle_seconds);
        let files = content::files_below(source)?;
        return Ok((order::as_an_instrument(&files, &pace), Content::Folder(source.clone())));
    }
    if let Some(name) = &arguments.profile {
        let profile = trace::profile(&root.join("testing/instruments/run_profiles.json"), name)?;
        pace.cycle_seconds = arguments.cycle_seconds.unwrap_or(profile.cycle_s);
        let files = profile.files(arguments.scale);
        return Ok((order::as_an_instrument(&files, &pace), Content::made(&files)));
    }
    let file =
        arguments.events.as_deref().expect("clap asks for one of three because it is required");
    let text = std::fs::read_to_string(file)
        .map_err(Failure::because(format!("{} cannot be read", file.display())))?;
    let events = trace::events(&text)?;
    let files: Vec<(String, u64)> = events
        .iter()
        .filter_map(|event| match &event.act {
            Act::Begin { bytes } => Some((event.path.clone(), *bytes)),
            Act::Grow { .. } | Act::Anew { .. } => None,
        })
        .collect();
    Ok((events, Content::made(&files)))
}
