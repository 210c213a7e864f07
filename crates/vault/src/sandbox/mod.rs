//! The sandbox: an existing program runs on opened data and can neither keep nor tell any of it.
//!
//! Bubblewrap makes new namespaces for files, network, processes, IPC, host name and users. Inside there are the app's own
//! checked root (read-only), its inputs (read-only, `/data/input`), an output folder and a scratch folder in memory, `/proc`
//! and a minimal `/dev`; of the host's files there is nothing. There is no network at all, no capability, no way to a new
//! namespace, and a list of the system calls that may be made ([`seccomp`]). Limits are held by what the machine has, and
//! which it was is part of the result ([`limits`]). Where this cannot be had, [`run`] refuses: nothing is ever run bare.
//!
//! The order of a start: bubblewrap builds the namespaces and waits at a pipe; this side opens the output folder, puts the
//! limits on, and lets go. So no instruction of the program runs without them. `spec/app.md` section 7 rules all of this.

mod limits;
mod outputs;
mod probe;
mod scratch;
pub mod seccomp;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde::Serialize;

use crate::app::VerifiedApp;
use crate::app::tree::clean_path;

pub use limits::{Held, Holder, Limits, Used};
pub use outputs::{MadeFile, Outputs};
pub use probe::{Probe, probe};
pub use scratch::{Scratch, ScratchError, is_memory};

/// The user and group inside: nobody.
const NOBODY: &str = "65534";
/// Longest time that building the namespaces may take.
const START: Duration = Duration::from_secs(20);
/// How often limits that nobody else holds are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Files of `/proc` that tell of the host or its kernel; as container runtimes do, they are covered. The user inside has no
/// capability, but where the vault runs as root the kernel counts it as the owner of these files.
const COVERED_FILES: [&str; 18] = [
    "buddyinfo",
    "config.gz",
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "modules",
    "mtrr",
    "pagetypeinfo",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
];
/// As [`COVERED_FILES`], folders.
const COVERED_FOLDERS: [&str; 4] = ["acpi", "driver", "fs", "scsi"];

/// A run that could not be started, or whose result could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no `bwrap` on this machine.
    #[error("bubblewrap is not installed, and nothing is run without it")]
    NoBubblewrap,
    /// Bubblewrap could not build the namespaces.
    #[error("the sandbox cannot be built: {said}")]
    Refused {
        /// What bubblewrap printed.
        said: String,
    },
    /// An input that is not there or has a name that is refused.
    #[error("input `{guest}` cannot be given to the app: {reason}")]
    Input {
        /// Its path inside.
        guest: String,
        /// Why.
        reason: String,
    },
    /// The system call filter does not compile.
    #[error("the sandbox has no system call filter")]
    Filter(#[from] seccomp::FilterError),
    /// The operating system failed.
    #[error("the sandbox failed while {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl SandboxError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoBubblewrap => Some("install it: `apt-get install bubblewrap`"),
            Self::Refused { said } => Some(probe::hint(said)),
            _ => None,
        }
    }
}

fn doing(doing: &'static str) -> impl FnOnce(io::Error) -> SandboxError {
    move |source| SandboxError::Io { doing, source }
}

/// A host file or folder and where the program sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On this machine.
    pub host: PathBuf,
    /// Below `/data/input`: a plain relative path.
    pub guest: String,
}

/// One run.
#[derive(Debug)]
pub struct Spec<'a> {
    /// The app, checked just now.
    pub app: &'a VerifiedApp,
    /// Program and arguments.
    pub argv: &'a [String],
    /// Its whole environment, beside `PATH`, `HOME`, `TMPDIR`, `LC_ALL` and `TZ`.
    pub env: &'a BTreeMap<String, String>,
    /// What it reads.
    pub inputs: &'a [Mount],
    /// Most that it takes.
    pub limits: Limits,
}

/// Where something was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Ends a run from another thread.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the run, now or when it starts.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// By itself, with this exit code (128 + signal where a signal ended it).
    Exited(i32),
    /// Killed when its wall time was over.
    OutOfTime,
    /// Killed, wholly or in part, for want of memory.
    OutOfMemory,
    /// Killed because outputs and prints together passed their cap, or the output folder is full.
    OverOutputCap,
    /// Killed because [`Stop`] asked for it.
    Stopped,
}

impl End {
    /// Whether the program ended by itself and well.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

/// What a run gave.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it printed as errors.
    pub stderr: Vec<u8>,
    /// What it made.
    pub outputs: Outputs,
    /// Who held the limits.
    pub held: Held,
    /// What it used.
    pub used: Used,
    /// From the first instruction to the last.
    pub wall: Duration,
}

/// Where `bwrap` is.
fn bubblewrap() -> Result<PathBuf, SandboxError> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin:/usr/local/bin".into());
    std::env::split_paths(&path)
        .map(|folder| folder.join("bwrap"))
        .find(|file| file.is_file())
        .ok_or(SandboxError::NoBubblewrap)
}

/// The arguments that every sandbox has: new namespaces, nobody, no capability, no terminal, an end with the vault's.
fn namespaces() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "--unshare-all",
        "--uid",
        NOBODY,
        "--gid",
        NOBODY,
        "--hostname",
        "vault",
        "--cap-drop",
        "ALL",
        "--new-session",
        "--die-with-parent",
        "--clearenv",
    ]
    .map(OsString::from)
    .into();
    arguments.extend(["--proc", "/proc", "--dev", "/dev"].map(OsString::from));
    arguments
}

/// All arguments of bubblewrap for `spec`, without the descriptors and the program.
fn arguments(spec: &Spec<'_>) -> Result<Vec<OsString>, SandboxError> {
    fn add<const N: usize>(arguments: &mut Vec<OsString>, more: [&OsStr; N]) {
        arguments.extend(more.map(OsStr::to_owned));
    }
    let text = OsStr::new;
    let mut arguments: Vec<OsString> = vec!["--ro-bind".into(), spec.app.root().into(), "/".into()];
    arguments.extend(namespaces());
    let there = |name: &str| Path::new("/proc").join(name).exists();
    for name in COVERED_FILES.into_iter().filter(|name| there(name)) {
        let place = format!("/proc/{name}");
        add(&mut arguments, [text("--ro-bind"), text("/dev/null"), text(&place)]);
    }
    for name in COVERED_FOLDERS.into_iter().filter(|name| there(name)) {
        let place = format!("/proc/{name}");
        add(&mut arguments, [text("--size"), text("4096"), text("--tmpfs"), text(&place)]);
        add(&mut arguments, [text("--remount-ro"), text(&place)]);
    }
    // Where the vault runs as root, the kernel takes the user inside for root when it guards `/proc/sys`, capabilities or not,
    // and `core_pattern` would start programs on the host. So nothing of /proc can be written at all.
    add(&mut arguments, [text("--remount-ro"), text("/proc")]);
    add(&mut arguments, [text("--remount-ro"), text("/dev")]);
    let mut memory = |place: &str, bytes: u64| {
        // The kernel takes no size of 0 for one; a page is the least there is.
        let size = bytes.max(4096).to_string();
        add(&mut arguments, [text("--perms"), text("0700"), text("--size"), text(&size)]);
        add(&mut arguments, [text("--tmpfs"), text(place)]);
    };
    memory("/dev/shm", limits::SHARED_MEMORY_BYTES);
    memory("/tmp", spec.limits.scratch_bytes);
    // Holds only mount points, and is read-only below.
    memory("/data", 64 << 20);
    memory("/data/output", spec.limits.output_bytes);
    add(&mut arguments, [text("--dir"), text("/data/input")]);
    for Mount { host, guest } in spec.inputs {
        let refused = |reason: String| SandboxError::Input { guest: guest.clone(), reason };
        let clean = clean_path(guest.as_bytes()).map_err(|error| refused(error.to_string()))?;
        if clean != *guest || clean.is_empty() {
            return Err(refused("it is not a plain relative path".to_owned()));
        }
        let host = host.canonicalize().map_err(|error| refused(error.to_string()))?;
        let place = format!("/data/input/{guest}");
        add(&mut arguments, [text("--ro-bind"), host.as_os_str(), text(&place)]);
    }
    add(&mut arguments, [text("--remount-ro"), text("/data")]);
    add(&mut arguments, [text("--chdir"), text("/tmp")]);
    for (name, value) in [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", "/tmp"),
        ("TMPDIR", "/tmp"),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
    ] {
        add(&mut arguments, [text("--setenv"), text(name), text(value)]);
    }
    for (name, value) in spec.env {
        add(&mut arguments, [text("--setenv"), text(name), text(value)]);
    }
    Ok(arguments)
}

/// A sandbox that was started: whatever happens, nothing of it outlives this value.
#[derive(Debug)]
struct Running {
    monitor: Child,
    /// The first process inside; with it all others end.
    first: Option<OwnedFd>,
}

impl Running {
    fn kill(&mut self) {
        if let Some(first) = &self.first {
            let _ended_already = rustix::process::pidfd_send_signal(first, Signal::KILL);
        }
        let _ended_already = self.monitor.kill();
    }

    /// Kills what is left and waits until nothing is: only then does nobody write to the outputs any more.
    fn end(&mut self) -> io::Result<std::process::ExitStatus> {
        let status = self.monitor.wait()?;
        self.kill();
        if let Some(first) = self.first.take() {
            // A process descriptor becomes readable when the process has ended, and the first of a process namespace ends last.
            let mut polled = [PollFd::new(&first, PollFlags::IN)];
            while rustix::event::poll(&mut polled, None) == Err(rustix::io::Errno::INTR) {}
        }
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ended = self.end();
    }
}

enum Event {
    Printed(Stream, Vec<u8>),
    Closed,
    Ended,
}

/// Runs a program of a checked app and gives what it made. Blocks until all of it has ended.
///
/// `heard` gets what is printed as it comes. Not being able to build the sandbox is an error; a program that fails is not:
/// see [`Finished::end`].
///
/// # Errors
/// [`SandboxError`]; its [`SandboxError::hint`] says what to do.
pub fn run(
    spec: &Spec<'_>,
    stop: &Stop,
    heard: &mut dyn FnMut(Stream, &[u8]),
) -> Result<Finished, SandboxError> {
    run_under(Path::new("/sys/fs/cgroup"), spec, stop, heard)
}

/// As [`run`], with the cgroup file systems below `groups`.
fn run_under(
    groups: &Path,
    spec: &Spec<'_>,
    stop: &Stop,
    heard: &mut dyn FnMut(Stream, &[u8]),
) -> Result<Finished, SandboxError> {
    let bubblewrap = bubblewrap()?;
    let (told_read, told_write) = pipe()?;
    let (go_read, go_write) = pipe()?;
    let filter = sealed_file("seccomp", &seccomp::filter()?)?;

    let mut command = Command::new(&bubblewrap);
    command
        .args(["--info-fd", "3", "--block-fd", "4", "--seccomp", "5"])
        .args(arguments(spec)?)
        .arg("--")
        .args(spec.argv)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
        .fd_mappings(vec![
            FdMapping { parent_fd: told_write, child_fd: 3 },
            FdMapping { parent_fd: go_read, child_fd: 4 },
            FdMapping { parent_fd: filter, child_fd: 5 },
        ])
        .expect("three different numbers do not collide because they are different");
    let monitor = command.spawn().map_err(doing("starting bubblewrap"))?;
    // The command holds this side's copies of the descriptors; the pipe must end when bubblewrap's does.
    drop(command);
    let mut running = Running { monitor, first: None };
    let mut stdout = running.monitor.stdout.take();
    let mut stderr = running.monitor.stderr.take();

    let Some((pid, output_folder)) = started(&mut running, told_read, spec.limits.output_bytes)?
    else {
        running.kill();
        let _status = running.end().map_err(doing("ending bubblewrap"))?;
        let mut said = String::new();
        if let Some(stderr) = &mut stderr {
            let _count = stderr.take(4096).read_to_string(&mut said);
        }
        let said = said.trim().trim_start_matches("bwrap: ").to_owned();
        let said =
            if said.is_empty() { "bubblewrap ended without a word".to_owned() } else { said };
        return Err(SandboxError::Refused { said });
    };
    let mut applied =
        limits::Applied::below(groups, pid, spec.limits).map_err(doing("putting limits on"))?;

    // Everything is in place: the program may start.
    File::from(go_write).write_all(b"g").map_err(doing("letting the program start"))?;
    let began = Instant::now();
    let deadline = began + spec.limits.wall;

    let (sender, receiver) = mpsc::sync_channel(64);
    let mut printed = [Vec::new(), Vec::new()];
    let mut verdict: Option<End> = None;
    let monitor_pid = Pid::from_child(&running.monitor);
    std::thread::scope(|scope| {
        let mut open = 0;
        for (stream, pipe) in [
            (Stream::Out, stdout.take().map(OwnedFd::from)),
            (Stream::Err, stderr.take().map(OwnedFd::from)),
        ] {
            let Some(pipe) = pipe else { continue };
            let sender = sender.clone();
            open += 1;
            scope.spawn(move || listen(stream, pipe.into(), &sender));
        }
        scope.spawn(move || {
            // Only looks: the process is reaped by its owner.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) =
                rustix::process::waitid(WaitId::Pid(monitor_pid), options)
            {}
            let _listener_gone = sender.send(Event::Ended);
        });
        let mut ended = false;
        while open > 0 || !ended {
            match receiver.recv_timeout(TICK) {
                Ok(Event::Printed(stream, bytes)) => {
                    let total = printed.iter().map(Vec::len).sum::<usize>() + bytes.len();
                    let (made, _full) = outputs::usage(&output_folder).unwrap_or((0, false));
                    if total as u64 + made > spec.limits.output_bytes {
                        let _first = verdict.get_or_insert(End::OverOutputCap);
                        running.kill();
                    } else {
                        heard(stream, &bytes);
                        printed[usize::from(stream == Stream::Err)].extend_from_slice(&bytes);
                    }
                }
                Ok(Event::Closed) => open -= 1,
                Ok(Event::Ended) => {
                    ended = true;
                    // What the program left behind in the background goes with it.
                    running.kill();
                }
                Err(RecvTimeoutError::Timeout) => {
                    if applied.watch(pid) {
                        let _first = verdict.get_or_insert(End::OutOfMemory);
                        running.kill();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if !ended && verdict.is_none() {
                verdict = match (stop.wanted(), Instant::now() >= deadline) {
                    (true, _) => Some(End::Stopped),
                    (false, true) => Some(End::OutOfTime),
                    (false, false) => None,
                };
                if verdict.is_some() {
                    running.kill();
                }
            }
        }
    });
    let status = running.end().map_err(doing("ending bubblewrap"))?;
    let wall = began.elapsed();

    let [stdout, stderr] = printed;
    let used = applied.used();
    let held = applied.held();
    let out_of_memory = applied.ran_out_of_memory();
    drop(applied);
    let (made, full) = outputs::usage(&output_folder).map_err(doing("measuring the outputs"))?;
    let outputs = Outputs::list(output_folder).map_err(doing("listing the outputs"))?;
    let prints = (stdout.len() + stderr.len()) as u64;
    let end = verdict.unwrap_or_else(|| {
        let code = std::os::unix::process::ExitStatusExt::into_raw(status);
        let exited = status.code().unwrap_or(128 + (code & 0x7f));
        if out_of_memory {
            End::OutOfMemory
        } else if prints + made > spec.limits.output_bytes || (full && exited != 0) {
            End::OverOutputCap
        } else {
            End::Exited(exited)
        }
    });
    Ok(Finished { end, stdout, stderr, outputs, held, used, wall })
}

/// Waits until bubblewrap has built everything and stands at its pipe. `None` when it ended instead.
fn started(
    running: &mut Running,
    told: OwnedFd,
    output_bytes: u64,
) -> Result<Option<(Pid, OwnedFd)>, SandboxError> {
    #[derive(serde::Deserialize)]
    struct Told {
        #[serde(rename = "child-pid")]
        child_pid: i32,
    }
    let mut said = String::new();
    let _count = File::from(told)
        .take(4096)
        .read_to_string(&mut said)
        .map_err(doing("hearing bubblewrap"))?;
    let Some(pid) =
        serde_json::from_str::<Told>(&said).ok().and_then(|t| Pid::from_raw(t.child_pid))
    else {
        return Ok(None);
    };
    let Ok(first) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return Ok(None) };
    running.first = Some(first);
    // The new root stands once the output folder inside is the file system in memory that was asked for.
    let place = format!("/proc/{}/root/data/output", pid.as_raw_nonzero());
    let began = Instant::now();
    while began.elapsed() < START {
        if let Some(folder) = output_folder(&place, output_bytes) {
            return Ok(Some((pid, folder)));
        }
        if running.monitor.try_wait().map_err(doing("watching bubblewrap"))?.is_some() {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

fn output_folder(place: &str, output_bytes: u64) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let folder = rustix::fs::open(place, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstatvfs(&folder).ok()?;
    let bytes = stat.f_blocks * stat.f_bsize;
    let memory = is_memory(Path::new(&format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&folder.as_fd())
    )));
    let pages = output_bytes.max(4096).div_ceil(stat.f_bsize) * stat.f_bsize;
    (memory.ok()? && bytes == pages && stat.f_bfree == stat.f_blocks).then_some(folder)
}

fn listen(stream: Stream, mut pipe: File, sender: &SyncSender<Event>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if sender.send(Event::Printed(stream, buffer[..count].to_vec())).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_broken) => break,
        }
    }
    let _listener_gone = sender.send(Event::Closed);
}

fn pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|error| doing("making a pipe")(error.into()))
}

/// A file in memory that holds `content` and is read from its start.
fn sealed_file(name: &str, content: &[u8]) -> Result<OwnedFd, SandboxError> {
    let make = || -> io::Result<OwnedFd> {
        let mut file = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
        file.write_all(content)?;
        io::Seek::rewind(&mut file)?;
        Ok(file.into())
    };
    make().map_err(doing("writing the system call filter"))
}

#[cfg(test)]
mod tests;
