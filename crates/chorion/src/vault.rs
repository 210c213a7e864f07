//! `chorion vault`: the vault outside a guest. An engine starts it; it claims one task, does it, and ends, or stays for the next one
//! of the same owners.

use std::io::Read;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::{ApprovalState, Task, TaskId, TaskState};
use attest::{CpuId, Launch};
use clap::Subcommand;
use vault::remote::RemoteHub;
use vault::staying::{DONE, Staying};
use vault::task::{MOST_TICKET_BYTES, TaskConfig, VaultKeys};
use zeroize::Zeroizing;

use crate::config::ClientContext;
use crate::owner::release::{ReleaseArgs, sign};
use crate::query::vault::VaultQueryArgs;
use crate::report::{CliError, CliResult, Ui};
use crate::session::word;

/// What a vault can be told.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Start a vault, as an engine of the hub does: it claims the task whose one-time ticket is on standard input, and does it
    #[command(alias = "run")]
    Start(StartArgs),
    /// Say what a vault on this machine could prove of itself, and which tasks wait for one or run in one
    Status,
    Measure(MeasureArgs),
    Release(ReleaseArgs),
    Query(Box<VaultQueryArgs>),
}

/// Predict what a guest image will be measured as
///
/// For a confidential guest that QEMU starts: the measurement which its evidence must have, to be listed in a policy. Whoever has the
/// same files computes the same.
#[derive(Debug, clap::Args)]
pub(crate) struct MeasureArgs {
    /// OVMF built with hashes of the kernel.
    #[arg(long, value_name = "FILE")]
    ovmf: PathBuf,
    /// The kernel.
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,
    /// The initial file system.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", default_value = "")]
    append: String,
    /// Virtual processors.
    #[arg(long, value_name = "N", default_value = "1")]
    vcpus: NonZeroU16,
    /// The generation whose processor QEMU shows the guest.
    #[arg(long, value_name = "NAME", default_value = "genoa")]
    cpu: Cpu,
    /// SEV features of the guest; 1 is SNP alone.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    guest_features: u64,
}

/// QEMU's models `EPYC-Milan`, `EPYC-Genoa` and `EPYC-Turin`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Cpu {
    Milan,
    Genoa,
    Turin,
}

impl Cpu {
    const fn id(self) -> CpuId {
        match self {
            Self::Milan => CpuId { family: 25, model: 1, stepping: 1 },
            Self::Genoa => CpuId { family: 25, model: 17, stepping: 0 },
            Self::Turin => CpuId { family: 26, model: 0, stepping: 0 },
        }
    }
}

/// Where the hub is and which task to take.
#[derive(Debug, clap::Args)]
pub(crate) struct StartArgs {
    /// The hub: https://host:port.
    #[arg(long)]
    hub: String,
    /// The hub's certificate authority, PEM.
    #[arg(long)]
    ca: PathBuf,
    /// Which task.
    #[arg(long, required_unless_present = "stay")]
    task: Option<TaskId>,
    /// Do one task after the other for the owners of the first: each comes as a line on standard input, and what this vault has done is
    /// said in a line on standard output. It ends when nothing comes for so many seconds, and with standard input.
    #[arg(long, value_name = "SECONDS", conflicts_with = "task")]
    stay: Option<u64>,
    /// Where unpacked apps are kept, by digest; below the folder that the engine started this vault in if absent.
    #[arg(long, default_value = "apps")]
    app_cache: PathBuf,
    /// Threads to compute with; all cores if absent.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

/// `chorion vault measure`
fn measure(args: &MeasureArgs, ui: Ui) -> CliResult {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            CliError::new(format!("file {} cannot be read", path.display())).caused_by(error)
        })
    };
    let (firmware, kernel) = (read(&args.ovmf)?, read(&args.kernel)?);
    let initrd = args.initrd.as_deref().map(read).transpose()?.unwrap_or_default();
    let measured = attest::measure(&Launch {
        firmware: &firmware,
        kernel: &kernel,
        initrd: &initrd,
        command_line: &args.append,
        vcpus: args.vcpus,
        cpu: args.cpu.id(),
        guest_features: args.guest_features,
    })
    .map_err(|error| {
        CliError::new(format!("a guest with {} cannot be measured", args.ovmf.display()))
            .caused_by(error)
            .hint("build OVMF from `OvmfPkg/AmdSev/AmdSevX64.dsc`, which checks kernel, initrd and command line")
    })?;
    ui.line(measured);
    ui.value(&serde_json::json!({ "measurement": measured }));
    Ok(())
}

/// `chorion vault status`
async fn status(ui: Ui) -> CliResult {
    let device = vault::device::find().map(|device| device.name());
    ui.line(match &device {
        Some(device) => format!("a vault here shows the report of: {device}"),
        None => {
            "a vault here is unattested, NOT CONFIDENTIAL: this machine has no device of SEV-SNP"
                .to_owned()
        }
    });
    let ctx = ClientContext::load(ui)?;
    let tasks = ctx.client.tasks(None).all().await?;
    let unfinished = |task: &&Task| matches!(task.state, TaskState::Queued | TaskState::Running);
    let tasks: Vec<&Task> = tasks.iter().filter(unfinished).collect();
    // Of the owner's requests, to whom one of these waits; somebody who owns nothing has none.
    let asked = ctx.client.approvals().all().await?;
    let waits = |task: &Task| {
        asked.iter().any(|one| one.task == task.id && one.state == ApprovalState::Pending)
    };
    if tasks.is_empty() {
        ui.line("no task waits for a vault or runs in one");
    }
    for task in &tasks {
        let (kind, state) = (task.kind.as_str(), word(task.state));
        let owner = if waits(task) { ", waits for your approval" } else { "" };
        ui.line(format!("{}  {kind:<11} {state}, {} %{owner}", task.id, task.percent));
    }
    ui.value(&serde_json::json!({ "device": device, "tasks": tasks }));
    Ok(())
}

pub(crate) fn run(command: VaultCommand, ui: Ui) -> CliResult {
    let args = match command {
        VaultCommand::Start(args) => args,
        VaultCommand::Status => return crate::wait(status(ui)),
        VaultCommand::Measure(args) => return measure(&args, ui),
        VaultCommand::Release(args) => return sign(&args, ui),
        VaultCommand::Query(args) => return crate::wait(crate::query::vault::run(*args, ui)),
    };
    match (args.stay, args.task) {
        (Some(seconds), _) => stay(&args, Duration::from_secs(seconds), ui),
        (None, Some(task)) => once(&args, task, ui),
        (None, None) => Err(CliError::new("nobody named a task")),
    }
}

/// Does the one task that was named.
fn once(args: &StartArgs, task: TaskId, ui: Ui) -> CliResult {
    let mut ticket = Zeroizing::new(String::new());
    std::io::stdin().lock().take(MOST_TICKET_BYTES).read_to_string(&mut ticket).map_err(|e| {
        CliError::new("the task's ticket could not be read from standard input").caused_by(e)
    })?;
    let (ticket, boots) = vault::task::ticket(&ticket)
        .map_err(|e| CliError::new("what came on standard input is no ticket").caused_by(e))?;
    protect(ui)?;
    let keys = make_keys()?;
    let hub = find_hub(args, &keys)?;
    let (app_cache, threads) = (args.app_cache.clone(), threads(args));
    let config = TaskConfig { task, ticket, boots, app_cache, threads };
    vault::task::run(Arc::new(hub), &config, &keys)
        .map_err(|e| CliError::new(format!("task {task} did not complete")).caused_by(e))
}

/// Does the tasks that come on standard input, each with new keys, until one fails or none comes for `idle`.
fn stay(args: &StartArgs, idle: Duration, ui: Ui) -> CliResult {
    protect(ui)?;
    let (hub, app_cache) = (args.hub.as_str(), args.app_cache.as_path());
    let staying = Staying { hub, app_cache, threads: threads(args), idle };
    staying
        .run(trust(args)?, || {
            ui.line(DONE);
            Ok(())
        })
        .map_err(|error| {
            let said = CliError::new(error.to_string());
            match std::error::Error::source(&error) {
                Some(cause) => said.caused_by(cause),
                None => said,
            }
        })
}

fn protect(ui: Ui) -> CliResult {
    vault::memory::protect()
        .map_err(|e| CliError::new("the vault cannot keep its memory to itself").caused_by(e))?;
    if vault::device::find().is_none() {
        ui.note("NOT CONFIDENTIAL: this vault is unattested, its memory is open to the administrator of this machine");
    }
    Ok(())
}

fn make_keys() -> Result<VaultKeys, CliError> {
    VaultKeys::generate()
        .map_err(|e| CliError::new("the vault could not make its keys").caused_by(e))
}

/// The hub's certificate authority.
fn trust(args: &StartArgs) -> CliResult<client::Trust> {
    let ca = std::fs::read(&args.ca).map_err(|e| {
        CliError::new(format!(
            "the hub's certificate authority could not be read from {}",
            args.ca.display()
        ))
        .caused_by(e)
    })?;
    client::Trust::from_pem(&ca).map_err(|e| {
        CliError::new(format!("{} holds no certificate authority", args.ca.display())).caused_by(e)
    })
}

fn find_hub(args: &StartArgs, keys: &VaultKeys) -> CliResult<RemoteHub> {
    RemoteHub::new(&args.hub, trust(args)?, keys)
        .map_err(|e| CliError::new(format!("the hub {} cannot be used", args.hub)).caused_by(e))
}

fn threads(args: &StartArgs) -> NonZeroUsize {
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok());
    threads.unwrap_or(NonZeroUsize::MIN)
}
