//! Vaults as child processes of the hub, on the same machine: `PROGRAM vault run --hub URL --ca FILE --task ID`.
//!
//! The child gets the ticket on its standard input, in a second line the owners' approvals of its boot where there are some, and
//! nothing more; and an environment that holds next to nothing. Whatever starts a guest reads the same and hands it in
//! (`docs/confidential-machines.md`).
//!
//! For an owner's trial it is `vault run … --stay SECONDS` instead: each task is a line on its standard input, and when that is done the
//! vault says so in a line and waits for the next one of the same owners, with nothing of the last left in it (decision 0027).
//! What it prints about itself goes to the hub's own error stream; what its task prints is an output, sealed by the vault.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::{ProjectId, TaskId};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use super::{Start, Ticket};

/// What a child gets of the hub's environment: where programs, homes and temporary files are, and how much to log.
const KEPT: [&str; 7] =
    ["PATH", "HOME", "LANG", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "XDG_RUNTIME_DIR"];
/// For how long a vault is kept for its owners' next task.
const STAY: Duration = Duration::from_secs(600);
/// How much longer it waits itself: none ends while a task is handed to it.
const LONGER: Duration = Duration::from_secs(60);
/// What it says when it has done a task.
const DONE: &str = "done";
/// More than it ever says in a line.
const MOST_SAID: u64 = 1024;

/// Starts vaults on this machine.
#[derive(Debug)]
pub(crate) struct Local {
    /// The program.
    program: PathBuf,
    /// Where the hub answers.
    url: String,
    /// The certificate authority that a vault trusts.
    ca: PathBuf,
    /// A directory of the hub's where children are started.
    work: PathBuf,
    /// How many may stay.
    at_most: usize,
    /// Those that have nothing to do, the longest waiting first.
    staying: Mutex<Vec<Staying>>,
}

/// A vault that waits for its owners' next task.
#[derive(Debug)]
struct Staying {
    owners: BTreeSet<ProjectId>,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    since: Instant,
}

impl Staying {
    /// Hands a task over and waits until it is done; says whether the vault stays on.
    async fn attend(&mut self, task: TaskId, ticket: &Ticket) -> std::io::Result<bool> {
        let line = zeroize::Zeroizing::new(format!("{task} {}\n", ticket.expose()));
        self.input.write_all(line.as_bytes()).await?;
        self.input.flush().await?;
        let mut said = String::new();
        (&mut self.output).take(MOST_SAID).read_line(&mut said).await?;
        if said.trim_end() == DONE {
            self.since = Instant::now();
            return Ok(true);
        }
        ended(self.child.wait().await?).map(|()| false)
    }
}

fn ended(status: std::process::ExitStatus) -> std::io::Result<()> {
    if status.success() { Ok(()) } else { Err(std::io::Error::other(status.to_string())) }
}

impl Local {
    pub(crate) fn new(
        program: PathBuf,
        url: String,
        ca: PathBuf,
        work: PathBuf,
        at_most: usize,
    ) -> Self {
        Self { program, url, ca, work, at_most, staying: Mutex::default() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["vault", "run", "--hub", &self.url, "--ca"])
            .arg(&self.ca)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if std::fs::create_dir_all(&self.work).is_ok() {
            command.current_dir(&self.work);
        }
        command
    }

    fn staying(&self) -> MutexGuard<'_, Vec<Staying>> {
        // Every change under this lock adds one or takes some away, so a panic leaves it whole.
        self.staying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A vault that has worked for these owners and waits, or a new one.
    fn vault_for(&self, owners: &BTreeSet<ProjectId>) -> std::io::Result<Staying> {
        let mut all = self.staying();
        // Those that were not needed for long enough end here, and those that have ended by themselves are let go.
        all.retain_mut(|one| {
            one.since.elapsed() < STAY && matches!(one.child.try_wait(), Ok(None))
        });
        if let Some(at) = all.iter().position(|one| one.owners == *owners) {
            return Ok(all.remove(at));
        }
        drop(all);
        let seconds = (STAY + LONGER).as_secs().to_string();
        let mut child = self.command().args(["--stay", &seconds]).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("it has no standard input or output"));
        };
        let (owners, since) = (owners.clone(), Instant::now());
        Ok(Staying { owners, child, input, output: BufReader::new(output), since })
    }

    /// Keeps a vault for its owners' next task; of too many the one that waits longest ends.
    fn keep(&self, vault: Staying) {
        let mut all = self.staying();
        all.push(vault);
        let too_many = all.len().saturating_sub(self.at_most);
        drop(all.drain(..too_many));
    }

    async fn run_staying(&self, task: TaskId, ticket: &Ticket, stop: CancellationToken) {
        let mut vault = match self.vault_for(ticket.stays_for()) {
            Ok(vault) => vault,
            Err(error) => return self.not_started(task, &error),
        };
        tokio::select! {
            done = vault.attend(task, ticket) => match done {
                Ok(true) => {
                    tracing::debug!(%task, "a vault is done and stays");
                    self.keep(vault);
                }
                Ok(false) => tracing::debug!(%task, "a vault has ended"),
                Err(error) => tracing::warn!(%task, "a vault ended badly: {error}"),
            },
            () = stop.cancelled() => kill(task, &mut vault.child).await,
        }
    }

    async fn run_once(&self, task: TaskId, ticket: &Ticket, stop: CancellationToken) {
        let mut child = match self.command().args(["--task", &task.to_string()]).spawn() {
            Ok(child) => child,
            Err(error) => return self.not_started(task, &error),
        };
        tokio::select! {
            ended = attend(&mut child, ticket) => match ended {
                Ok(()) => tracing::debug!(%task, "a vault has ended"),
                Err(error) => tracing::warn!(%task, "a vault ended badly: {error}"),
            },
            () = stop.cancelled() => kill(task, &mut child).await,
        }
    }

    fn not_started(&self, task: TaskId, error: &std::io::Error) {
        let program = self.program.display();
        tracing::error!(%task, %program, "no vault could be started: {error}");
    }
}

/// Hands the ticket over and waits for the end.
async fn attend(child: &mut Child, ticket: &Ticket) -> std::io::Result<()> {
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(ticket.expose().as_bytes()).await?;
        stdin.write_all(b"\n").await?;
        if let Some(boots) = ticket.boots() {
            stdin.write_all(boots.as_bytes()).await?;
            stdin.write_all(b"\n").await?;
        }
        stdin.shutdown().await?;
    }
    ended(child.wait().await?)
}

async fn kill(task: TaskId, child: &mut Child) {
    tracing::info!(%task, "a vault is stopped");
    if let Err(error) = child.kill().await {
        tracing::warn!(%task, "a vault could not be stopped: {error}");
    }
}

#[async_trait::async_trait]
impl Start for Local {
    async fn run(&self, task: TaskId, ticket: Ticket, stop: CancellationToken) {
        if ticket.stays_for().is_empty() {
            self.run_once(task, &ticket, stop).await;
        } else {
            self.run_staying(task, &ticket, stop).await;
        }
    }
}
