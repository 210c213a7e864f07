//! The stage of the demo: a hub and people, each a process of this program, and steps that are timed and told.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{DemoArgs, text};
use crate::report::{CliError, CliResult, Ui};

/// How long a task of the demo may take before it counts as lost.
const LOST: Duration = Duration::from_secs(180);
/// How often the demo asks how something stands.
const ASK: Duration = Duration::from_millis(300);

/// A step as it went.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    what: String,
    ms: u128,
    proved: Option<String>,
    failed: Option<String>,
    commands: Vec<String>,
}

/// The steps so far.
pub(super) struct Story {
    ui: Ui,
    steps: Vec<Step>,
}

/// The commands of the step that is playing.
pub(super) struct Said {
    ui: Ui,
    commands: Vec<String>,
}

impl Story {
    pub(super) fn new(ui: Ui) -> Self {
        Self { ui, steps: Vec::new() }
    }

    pub(super) fn say(&self, line: &str) {
        self.ui.line(line);
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// Plays one step: `act` gives what comes of it and what was proved.
    pub(super) fn step<T>(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Said) -> CliResult<(T, String)>,
    ) -> CliResult<T> {
        self.ui.line(format!("\n{}. {what}", self.steps.len() + 1));
        let mut said = Said { ui: self.ui, commands: Vec::new() };
        let begin = Instant::now();
        let done = act(&mut said);
        let ms = begin.elapsed().as_millis();
        let (proved, failed) = match &done {
            Ok((_, proved)) => (Some(proved.clone()), None),
            Err(error) => (None, Some(error.sentence().to_owned())),
        };
        if let Some(proved) = &proved {
            self.ui.line(format!("   proved: {proved}  [{ms} ms]"));
        }
        self.steps.push(Step {
            what: what.to_owned(),
            ms,
            proved,
            failed,
            commands: said.commands,
        });
        match done {
            Ok((value, _)) => Ok(value),
            Err(error) => {
                Err(CliError::new(format!("step {} of the demo failed: {what}", self.steps.len()))
                    .caused_by(Because(error.to_string())))
            }
        }
    }

    /// The table at the end.
    pub(super) fn table(&self) {
        self.ui.line(format!("\n{:>3}  {:>9}  {:<7} step", "", "ms", ""));
        for (number, step) in self.steps.iter().enumerate() {
            let verdict = if step.failed.is_some() { "FAILED" } else { "held" };
            self.ui.line(format!("{:>3}  {:>9}  {verdict:<7} {}", number + 1, step.ms, step.what));
        }
    }
}

/// A step's whole error as a cause.
#[derive(Debug)]
struct Because(String);

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.trim_start_matches("error: "))
    }
}

impl std::error::Error for Because {}

impl Said {
    pub(super) fn command(&mut self, words: &[&str]) {
        let mut line = String::from("chorion");
        for word in words {
            let quoted = word.is_empty() || word.contains(|c: char| c.is_whitespace() || c == '*');
            let _infallible =
                if quoted { write!(line, " '{word}'") } else { write!(line, " {word}") };
        }
        self.ui.line(format!("   $ {line}"));
        self.commands.push(line);
    }
}

/// This program once more.
fn this_program() -> CliResult<Command> {
    let program = std::env::current_exe()
        .map_err(|e| CliError::new("this program cannot find itself").caused_by(e))?;
    Ok(Command::new(program))
}

/// Protects the identity files of the demo, whose projects are trials.
const PASSPHRASE: &str = "a passphrase that stands in the source";

/// Somebody with a key of their own.
pub(super) struct Person {
    home: PathBuf,
    /// Whether they hold the keys of projects by twelve words.
    has_words: bool,
}

/// A command that goes on while others are given.
pub(super) struct Asking(Child);

impl Asking {
    /// Waits for its end and gives its JSON.
    pub(super) fn finish(self) -> CliResult<Value> {
        let out = self.0.wait_with_output();
        let out = out.map_err(|e| CliError::new("a command did not end").caused_by(e))?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
            return Err(CliError::new(format!("what was asked was not answered: {said}")));
        }
        serde_json::from_slice(&out.stdout)
            .map_err(|e| CliError::new("what was answered is no JSON").caused_by(e))
    }
}

impl Person {
    pub(super) fn new(dir: &Path, name: &str) -> Self {
        Self { home: dir.join("people").join(name), has_words: false }
    }

    /// One who holds keys by twelve words.
    pub(super) fn with_words(dir: &Path, name: &str) -> Self {
        Self { has_words: true, ..Self::new(dir, name) }
    }

    fn command(&self, words: &[&str]) -> CliResult<Command> {
        let mut command = this_program()?;
        command.args(words).arg("--json").env("CHORION_HOME", &self.home).stdin(Stdio::null());
        if self.has_words {
            command.env("CHORION_PASSPHRASE", PASSPHRASE);
        }
        Ok(command)
    }

    /// Draws twelve words, and types them back as they were printed. Nobody sees them here.
    pub(super) fn draw_words(&self, said: &mut Said) -> CliResult {
        let words = ["words", "new", "--print-words"];
        said.command(&words);
        let failed = |e| CliError::new("no words were drawn").caused_by(e);
        let mut command = this_program()?;
        command
            .args(words)
            .env("CHORION_HOME", &self.home)
            .env("CHORION_PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let mut line = Zeroizing::new(String::new());
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(failed)?;
        }
        if let Some(mut back) = child.stdin.take() {
            back.write_all(line.as_bytes()).map_err(failed)?;
        }
        if child.wait().map_err(failed)?.success() {
            Ok(())
        } else {
            Err(CliError::new("the words that were typed back were not taken"))
        }
    }

    /// Starts a command that ends later.
    pub(super) fn start(&self, said: &mut Said, words: &[&str]) -> CliResult<Asking> {
        said.command(words);
        let mut command = self.command(words)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |e| CliError::new("this program cannot run itself").caused_by(e);
        Ok(Asking(command.spawn().map_err(failed)?))
    }

    /// Waits until something waits for this person's approval, and gives its id.
    pub(super) fn wait_for_request(&self, said: &mut Said) -> CliResult<String> {
        said.command(&["approve", "list"]);
        let begin = Instant::now();
        while begin.elapsed() < LOST {
            let list = self.quietly(&["approve", "list"])?;
            let pending =
                list.as_array().and_then(|all| all.iter().find(|r| r["state"] == "pending"));
            if let Some(request) = pending {
                return text(request, "/id");
            }
            std::thread::sleep(ASK);
        }
        Err(CliError::new("nobody asked for an approval"))
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// Runs a command as this person and gives its JSON.
    pub(super) fn call(&self, said: &mut Said, words: &[&str]) -> CliResult<Value> {
        let mut shown = words.to_vec();
        hide_code(&mut shown);
        said.command(&shown);
        self.quietly(words)
    }

    /// As [`Self::call`], without telling.
    pub(super) fn quietly(&self, words: &[&str]) -> CliResult<Value> {
        let out = self.output(words)?;
        let stdout = String::from_utf8_lossy(&out.stdout);
        if !out.status.success() {
            let stderr = String::from_utf8_lossy(&out.stderr);
            return Err(CliError::new(format!("`chorion {}` said: {}", words[0], stderr.trim())));
        }
        // A command that streams says its last document last.
        serde_json::from_str(stdout.trim())
            .or_else(|_| serde_json::from_str(stdout.trim().lines().last().unwrap_or_default()))
            .map_err(|e| {
                CliError::new(format!("`chorion {}` gave no JSON: {stdout}", words.join(" ")))
                    .caused_by(e)
            })
    }

    /// As [`Self::call`], with a line on its standard input: what does not belong on a command line.
    pub(super) fn told(&self, said: &mut Said, words: &[&str], line: &str) -> CliResult<Value> {
        said.command(words);
        let failed = |e| CliError::new("this program cannot run itself").caused_by(e);
        let mut command = self.command(words)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut to) = child.stdin.take() {
            to.write_all(format!("{line}\n").as_bytes()).map_err(failed)?;
        }
        Asking(child).finish()
    }

    fn output(&self, words: &[&str]) -> CliResult<std::process::Output> {
        let mut command = self.command(words)?;
        command.output().map_err(|e| CliError::new("this program cannot run itself").caused_by(e))
    }

    /// A command that must be refused, with this code in what it says.
    pub(super) fn refused(&self, said: &mut Said, words: &[&str], code: &str) -> CliResult {
        said.command(words);
        let out = self.output(words)?;
        let stderr = String::from_utf8_lossy(&out.stderr);
        let about = stderr.contains(code)
            || stderr.contains(&code.replace('_', " "))
            || stderr.contains("there is no");
        match (out.status.success(), about) {
            (false, true) => Ok(()),
            (false, false) => {
                Err(CliError::new(format!("it was refused, but not as {code}: {}", stderr.trim())))
            }
            (true, _) => Err(CliError::new(format!(
                "`chorion {}` was to be refused and was not",
                words.join(" ")
            ))),
        }
    }

    /// Waits until a run is complete.
    pub(super) fn wait_for_run(&self, said: &mut Said, run: &str) -> CliResult {
        said.command(&["run", "show", run]);
        let begin = Instant::now();
        loop {
            let shown = self.quietly(&["run", "show", run])?;
            match text(&shown, "/dataset/execution")?.as_str() {
                "complete" => return Ok(()),
                "receiving" | "processing" if begin.elapsed() < LOST => std::thread::sleep(ASK),
                state => {
                    let reason = shown.pointer("/dataset/reason").cloned().unwrap_or_default();
                    return Err(CliError::new(format!("the run is {state}: {reason}")));
                }
            }
        }
    }

    /// Waits until a dataset is written anew under a new key.
    pub(super) fn wait_for_reseal(&self, said: &mut Said, sample: &str) -> CliResult {
        said.command(&["sample", "show", sample]);
        let begin = Instant::now();
        while begin.elapsed() < LOST {
            let shown = self.quietly(&["sample", "show", sample])?;
            let epoch = shown.pointer("/dataset/epoch").and_then(Value::as_u64).unwrap_or_default();
            let running = shown["tasks"].as_array().is_some_and(|tasks| {
                tasks.iter().any(|t| matches!(t["state"].as_str(), Some("queued" | "running")))
            });
            if epoch > 0 && !running {
                return Ok(());
            }
            std::thread::sleep(ASK);
        }
        Err(CliError::new(format!(
            "sample {sample} was not written anew in {} seconds",
            LOST.as_secs()
        )))
    }
}

/// One-time codes are not for a screen that others see.
fn hide_code(words: &mut [&str]) {
    if let Some(at) = words.iter().position(|w| *w == "--code")
        && let Some(code) = words.get_mut(at + 1)
    {
        *code = "…";
    }
}

/// What `chorion serve --json` says once it listens.
#[derive(Debug, Deserialize)]
struct Listening {
    url: String,
    ca_file: String,
    one_time_code: Option<String>,
}

/// A hub of the demo's own.
pub(super) struct Hub {
    child: Child,
    listening: Listening,
    code: String,
    facilities: [PathBuf; 2],
}

/// A blob that was damaged on purpose.
pub(super) struct Damaged {
    path: PathBuf,
    before: Vec<u8>,
}

impl Hub {
    /// Starts it; `cloud` is where the stand-in of a cloud answers, if there is one.
    pub(super) fn start(dir: &Path, cloud: Option<&str>) -> CliResult<Self> {
        let data = dir.join("hub").join("data");
        let facilities = [dir.join("hub").join("facility-a"), dir.join("hub").join("facility-b")];
        let key = dir.join("operator-key").join("platform.key");
        let failed = |e| CliError::new("the hub cannot be started").caused_by(e);
        let log = fs::create_dir_all(dir)
            .and_then(|()| fs::File::create(dir.join("hub.log")))
            .map_err(failed)?;
        let mut command = this_program()?;
        command
            .args([
                OsStr::new("serve"),
                OsStr::new("--json"),
                OsStr::new("--data"),
                data.as_os_str(),
            ])
            .args(["--listen", "127.0.0.1:0"])
            .args([OsStr::new("--key-file"), key.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(cloud) = cloud {
            command.args(["--aws-endpoint", cloud]);
        }
        for facility in &facilities {
            command.args([OsStr::new("--facility"), facility.as_os_str()]);
        }
        let mut child = command.spawn().map_err(failed)?;
        let stdout =
            child.stdout.take().expect("standard output is a pipe because it was asked for");
        // One document, as soon as it listens; the stream stays open behind it.
        let said = serde_json::Deserializer::from_reader(BufReader::new(stdout))
            .into_iter::<Listening>()
            .next();
        let Some(Ok(listening)) = said else {
            let _already_gone = child.kill();
            let _reaped = child.wait();
            let said = fs::read_to_string(dir.join("hub.log")).unwrap_or_default();
            return Err(CliError::new(format!("the hub did not start: {}", said.trim())));
        };
        let code = listening.one_time_code.clone().ok_or_else(|| {
            CliError::new(format!(
                "{} holds a hub already, whose first key is enrolled",
                data.display()
            ))
            .hint("choose another --dir")
        })?;
        Ok(Self { child, listening, code, facilities })
    }

    pub(super) fn url(&self) -> &str {
        &self.listening.url
    }

    pub(super) fn ca(&self) -> &str {
        &self.listening.ca_file
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// How many blobs lie in both facilities.
    pub(super) fn blobs(&self) -> CliResult<u64> {
        let mut count = 0;
        for facility in &self.facilities {
            count += files(&facility.join("objects"))?.len() as u64;
        }
        Ok(count)
    }

    /// Flips one bit of the largest blob of the first facility.
    pub(super) fn flip_a_byte(&self) -> CliResult<Damaged> {
        let failed = |e| CliError::new("a blob could not be damaged").caused_by(e);
        let blobs = files(&self.facilities[0].join("objects"))?;
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |m| m.len());
        let path = blobs
            .into_iter()
            .max_by_key(size)
            .ok_or_else(|| CliError::new("there is no blob to damage"))?;
        let before = fs::read(&path).map_err(failed)?;
        let mut bytes = before.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let mut permissions = fs::metadata(&path).map_err(failed)?.permissions();
        #[expect(
            clippy::permissions_set_readonly_false,
            reason = "the demo damages a file of its own on purpose"
        )]
        permissions.set_readonly(false);
        fs::set_permissions(&path, permissions).map_err(failed)?;
        fs::write(&path, bytes).map_err(failed)?;
        Ok(Damaged { path, before })
    }

    /// Ends the hub.
    pub(super) fn stop(mut self) -> CliResult {
        terminate(&self.child);
        let status =
            self.child.wait().map_err(|e| CliError::new("the hub did not end").caused_by(e))?;
        if status.success() {
            Ok(())
        } else {
            Err(CliError::new(format!("the hub ended with {status}")))
        }
    }

    /// Waits until the hub ends by itself or by Ctrl-C, which reaches it as well.
    pub(super) fn wait(mut self) -> CliResult {
        self.child.wait().map(drop).map_err(|e| CliError::new("the hub did not end").caused_by(e))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Reached with a hub that still runs only when a step failed.
        if matches!(self.child.try_wait(), Ok(None)) {
            terminate(&self.child);
            let _reaped = self.child.wait();
        }
    }
}

fn terminate(child: &Child) {
    let _already_gone = rustix::process::kill_process(
        rustix::process::Pid::from_child(child),
        rustix::process::Signal::TERM,
    );
}

impl Damaged {
    /// Whether the copy is again what it was.
    pub(super) fn is_whole(&self) -> CliResult {
        match fs::read(&self.path) {
            Ok(bytes) if bytes == self.before => Ok(()),
            _ => Err(CliError::new("the damaged copy was not written anew")),
        }
    }
}

/// Every file below a folder; links are not followed.
pub(super) fn files(folder: &Path) -> CliResult<Vec<PathBuf>> {
    let mut todo = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(next) = todo.pop() {
        let unreadable =
            |e| CliError::new(format!("{} cannot be read", next.display())).caused_by(e);
        for entry in fs::read_dir(&next).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The apps of the story.
pub(super) struct Apps {
    sources: PathBuf,
    cache: PathBuf,
    packed: PathBuf,
}

impl Apps {
    pub(super) fn new(args: &DemoArgs, dir: &Path) -> Self {
        Self { sources: args.apps.clone(), cache: args.cache.clone(), packed: dir.join("packages") }
    }

    /// Packs and registers all three.
    pub(super) fn register(
        &self,
        said: &mut Said,
        person: &Person,
        project: &str,
    ) -> CliResult<String> {
        let failed =
            |e| CliError::new(format!("{} cannot be made", self.packed.display())).caused_by(e);
        fs::create_dir_all(&self.packed).map_err(failed)?;
        let mut digests = Vec::new();
        for name in ["read-quality", "align", "call-variants"] {
            let source = self.sources.join(name).display().to_string();
            let package = self.packed.join(format!("{name}.chorionapp")).display().to_string();
            let cache = self.cache.display().to_string();
            person.call(said, &["app", "pack", &source, "-o", &package, "--cache", &cache])?;
            let app = person.call(said, &["app", "register", &package, "--project", project])?;
            digests.push(format!("{name} {}", &text(&app, "/digest")?[..12]));
        }
        Ok(format!("each with a root of its own, named by digest: {}", digests.join(", ")))
    }
}
