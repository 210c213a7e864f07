//! Vaults as child processes of the hub, on the same machine: `PROGRAM vault run --hub URL --ca FILE --task ID`.
//!
//! The child gets the ticket on its standard input, in a second line the owners' approvals of its boot where there are some, and
//! nothing more; and an environment that holds next to nothing. Whatever starts a guest reads the same and hands it in
//! (`docs/confidential-machines.md`).
//! What it prints about itself goes to the hub's own error stream; what its task prints is an output, sealed by the vault.

use std::path::PathBuf;
use std::process::Stdio;

use api::TaskId;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::{Start, Ticket};

/// What a child gets of the hub's environment: where programs, homes and temporary files are, and how much to log.
const KEPT: [&str; 7] =
    ["PATH", "HOME", "LANG", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "XDG_RUNTIME_DIR"];

/// Starts vaults on this machine.
#[derive(Debug)]
pub(crate) struct Local {
    /// The program.
    pub(crate) program: PathBuf,
    /// Where the hub answers.
    pub(crate) url: String,
    /// The certificate authority that a vault trusts.
    pub(crate) ca: PathBuf,
    /// A directory of the hub's where children are started.
    pub(crate) work: PathBuf,
}

impl Local {
    fn command(&self, task: TaskId) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["vault", "run", "--hub", &self.url, "--ca"])
            .arg(&self.ca)
            .args(["--task", &task.to_string()])
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
    let status = child.wait().await?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(status.to_string())) }
}

#[async_trait::async_trait]
impl Start for Local {
    async fn run(&self, task: TaskId, ticket: Ticket, stop: CancellationToken) {
        let mut child = match self.command(task).spawn() {
            Ok(child) => child,
            Err(error) => {
                let program = self.program.display();
                tracing::error!(%task, %program, "no vault could be started: {error}");
                return;
            }
        };
        tokio::select! {
            ended = attend(&mut child, &ticket) => match ended {
                Ok(()) => tracing::debug!(%task, "a vault has ended"),
                Err(error) => tracing::warn!(%task, "a vault ended badly: {error}"),
            },
            () = stop.cancelled() => {
                tracing::info!(%task, "a vault is stopped");
                if let Err(error) = child.kill().await {
                    tracing::warn!(%task, "a vault could not be stopped: {error}");
                }
            }
        }
    }
}
