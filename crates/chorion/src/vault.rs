//! `chorion vault`: the vault outside a guest. An engine starts it; it claims one task, does it, and ends.

use std::io::Read;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::TaskId;
use attest::{CpuId, Launch};
use clap::Subcommand;
use vault::remote::RemoteHub;
use vault::task::{TaskConfig, VaultKeys};
use zeroize::Zeroizing;

use crate::owner::release::{ReleaseArgs, sign};
use crate::query::vault::VaultQueryArgs;
use crate::report::{CliError, CliResult, Ui};

/// What a vault can be told.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Claim one task and do it; the one-time ticket is read from standard input.
    #[command(hide = true)]
    Run(RunArgs),
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
pub(crate) struct RunArgs {
    /// The hub: https://host:port.
    #[arg(long)]
    hub: String,
    /// The hub's certificate authority, PEM.
    #[arg(long)]
    ca: PathBuf,
    /// Which task.
    #[arg(long)]
    task: TaskId,
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

/// Longer than any ticket with the approvals of a boot.
const MOST_TICKET_BYTES: u64 = 1 << 20;

pub(crate) fn run(command: VaultCommand, ui: Ui) -> CliResult {
    let args = match command {
        VaultCommand::Run(args) => args,
        VaultCommand::Measure(args) => return measure(&args, ui),
        VaultCommand::Release(args) => return sign(&args, ui),
        VaultCommand::Query(args) => return crate::wait(crate::query::vault::run(*args, ui)),
    };
    let mut ticket = Zeroizing::new(String::new());
    std::io::stdin().lock().take(MOST_TICKET_BYTES).read_to_string(&mut ticket).map_err(|e| {
        CliError::new("the task's ticket could not be read from standard input").caused_by(e)
    })?;
    let ca = std::fs::read(&args.ca).map_err(|e| {
        CliError::new(format!(
            "the hub's certificate authority could not be read from {}",
            args.ca.display()
        ))
        .caused_by(e)
    })?;
    let trust = client::Trust::from_pem(&ca).map_err(|e| {
        CliError::new(format!("{} holds no certificate authority", args.ca.display())).caused_by(e)
    })?;
    vault::memory::protect()
        .map_err(|e| CliError::new("the vault cannot keep its memory to itself").caused_by(e))?;
    let keys = VaultKeys::generate()
        .map_err(|e| CliError::new("the vault could not make its keys").caused_by(e))?;
    let hub = RemoteHub::new(&args.hub, trust, &keys)
        .map_err(|e| CliError::new(format!("the hub {} cannot be used", args.hub)).caused_by(e))?;
    let (ticket, boots) = vault::task::ticket(&ticket)
        .map_err(|e| CliError::new("what came on standard input is no ticket").caused_by(e))?;
    let config = TaskConfig {
        task: args.task,
        ticket,
        boots,
        app_cache: args.app_cache,
        threads: args
            .threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN),
    };
    if vault::device::find().is_none() {
        ui.note("NOT CONFIDENTIAL: this vault is unattested, its memory is open to the administrator of this machine");
    }
    vault::task::run(Arc::new(hub), &config, &keys)
        .map_err(|e| CliError::new(format!("task {} did not complete", args.task)).caused_by(e))
}
