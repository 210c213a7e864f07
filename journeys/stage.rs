//! A hub and people, each a process of the program under test, in a folder that goes away with the story.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before the story has failed.
const LOST: Duration = Duration::from_secs(120);
/// Protects the identity files of everybody here.
const PASSPHRASE: &str = "a story told on loopback";

/// Where a story plays.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
    /// Whether programs log all they can, into files of the stage.
    is_talkative: bool,
}

/// A process that is ended with the story.
pub(crate) struct Running(Child);

impl Running {
    /// Ends it as a power cut would: it gets no word.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Reads what it says until it shows a code for a person to answer, and gives the code.
    pub(crate) fn shown_code(&mut self) -> String {
        let err = self.0.stderr.as_mut().unwrap();
        let mut said = String::new();
        let is_code = |line: &str| {
            line.len() == 9
                && line.bytes().enumerate().all(|(at, letter)| match at {
                    4 => letter == b'-',
                    _ => letter.is_ascii_uppercase(),
                })
        };
        loop {
            let mut byte = [0];
            assert_eq!(err.read(&mut byte).unwrap(), 1, "it ended without a code:\n{said}");
            said.push(char::from(byte[0]));
            let line = said.lines().last().unwrap_or_default().trim();
            if said.ends_with('\n') && is_code(line) {
                return line.to_owned();
            }
        }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for its end, and says whether it went well; what it printed was read before.
    #[expect(clippy::print_stdout, reason = "what a test prints is shown when it fails")]
    pub(crate) fn finish_quietly(mut self) -> bool {
        let mut err = self.0.stderr.take().unwrap();
        let mut said = String::new();
        err.read_to_string(&mut said).unwrap();
        let went_well = self.0.wait().unwrap().success();
        if !went_well {
            println!("{said}");
        }
        went_well
    }

    /// Waits for its end and gives what it printed.
    pub(crate) fn finish(mut self) -> Output {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut err = self.0.stderr.take().unwrap();
        let reads = std::thread::spawn(move || {
            err.read_to_end(&mut stderr).unwrap();
            stderr
        });
        self.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let status = self.0.wait().unwrap();
        Output { status, stdout, stderr: reads.join().unwrap() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A hub that answers.
pub(crate) struct Hub {
    process: Running,
    pub(crate) url: String,
    pub(crate) ca_file: String,
    pub(crate) one_time_code: String,
}

impl Hub {
    /// Where it listens, for another start at the same place.
    pub(crate) fn listen(&self) -> String {
        self.url.rsplit("//").next().unwrap().replace("localhost", "127.0.0.1")
    }

    /// Ends it without a word.
    pub(crate) fn kill(self) {
        self.process.kill();
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), is_talkative: false }
    }

    /// One whose hub logs all it can into `hub.log`, and whose programs have their temporary files in `tmp`.
    pub(crate) fn talkative() -> Self {
        let stage = Self { is_talkative: true, ..Self::new() };
        fs::create_dir(stage.path("tmp")).unwrap();
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn chorion(&self, home: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chorion"));
        command.env("CHORION_HOME", self.path(home));
        if self.is_talkative {
            command.env("CHORION_LOG", "trace").env("TMPDIR", self.path("tmp"));
        }
        command.env("CHORION_PASSPHRASE", PASSPHRASE);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the hub, or starts it again on the same data; `listen` is an address with port 0 for a free one.
    pub(crate) fn hub(&self, listen: &str) -> Hub {
        self.hub_with_vaults(listen, 0)
    }

    /// As [`hub`](Self::hub), with so many vaults at once.
    pub(crate) fn hub_with_vaults(&self, listen: &str, vaults: usize) -> Hub {
        self.hub_in("hub", listen, &["--vaults", &vaults.to_string()])
    }

    /// Starts a hub whose data are in this folder of the stage, with further options.
    pub(crate) fn hub_in(&self, data: &str, listen: &str, options: &[&str]) -> Hub {
        let mut command = self.chorion("nobody");
        command.args(["serve", "--json", "--listen", listen]).args(options);
        command.arg("--data").arg(self.path(data));
        let log = if self.is_talkative {
            fs::File::options().append(true).create(true).open(self.path("hub.log")).unwrap().into()
        } else {
            Stdio::null()
        };
        let mut child = command.stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut text = String::new();
        let process = Running(child);
        let told = loop {
            text += &lines.next().expect("the hub tells where it is before it ends").unwrap();
            if let Ok(told) = serde_json::from_str::<Value>(&text) {
                break told;
            }
        };
        let word = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        Hub {
            process,
            url: word("url"),
            ca_file: word("ca_file"),
            one_time_code: word("one_time_code"),
        }
    }

    /// Starts a command of somebody.
    pub(crate) fn start(&self, home: &str, words: &[&str]) -> Running {
        Running(self.chorion(home).args(words).spawn().unwrap())
    }

    /// Runs a command of somebody who says something on its standard input; it must go well.
    pub(crate) fn told(&self, home: &str, words: &[&str], said: &str) {
        let output = self.answers(home, words, said);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "chorion {words:?} failed:\n{error}");
    }

    /// Runs a command of somebody who says something on its standard input to its end.
    pub(crate) fn answers(&self, home: &str, words: &[&str], said: &str) -> Output {
        let mut command = self.chorion(home);
        let mut child = command.args(words).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(said.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Starts a command that prints twelve words, and types them back.
    pub(crate) fn start_and_type_back(&self, home: &str, words: &[&str]) -> Running {
        let mut child = self.chorion(home).args(words).stdin(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line.split_whitespace().count(), 12, "no words were printed");
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        Running(child)
    }

    /// Runs a command of somebody to its end; `--json` is added.
    pub(crate) fn run(&self, home: &str, words: &[&str]) -> Output {
        self.start(home, &[words, &["--json"]].concat()).finish()
    }

    /// As [`run`](Self::run); it must go well.
    pub(crate) fn call(&self, home: &str, words: &[&str]) -> Value {
        let output = self.run(home, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "chorion {words:?} failed:\n{said}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// The first person, with a key at the hub.
    pub(crate) fn enrol(&self, hub: &Hub, home: &str) {
        let login =
            ["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", &hub.one_time_code];
        self.call(home, &login);
    }

    /// A project of somebody and the phrase of its card.
    pub(crate) fn project(&self, home: &str, name: &str) -> (String, String) {
        let project = self.call(home, &["project", "create", name]);
        let id = project["id"].as_str().unwrap().to_owned();
        let card = self.call(home, &["project", "card", &id]);
        (id, card["phrase"].as_str().unwrap().to_owned())
    }

    /// Bytes of whole blobs in all facilities of the hub's own.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let blobs = files(&self.path("hub"));
        blobs.iter().filter(|(path, _)| is_blob(path)).map(|(_, bytes)| bytes).sum()
    }
}

/// Whether a file is a blob that is whole: they are named by 64 hexadecimal digits.
fn is_blob(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Every file below `dir` with its length. Files come and go while a hub works.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => dirs.push(entry.path()),
                Ok(metadata) => found.push((entry.path(), metadata.len())),
                Err(_gone) => {}
            }
        }
    }
    found
}

/// Compares every file below `source` with its copy below `copy`; there is no other file there.
pub(crate) fn assert_same(source: &Path, copy: &Path) {
    let sources = files(source);
    for (file, _) in &sources {
        let other = copy.join(file.strip_prefix(source).unwrap());
        assert!(fs::read(file).unwrap() == fs::read(&other).unwrap(), "{}", other.display());
    }
    assert_eq!(files(copy).len(), sources.len());
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < LOST, "{what} did not come in {} s", LOST.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}
