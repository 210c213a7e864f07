//! The guest's program: the vault alone, built without the unattested mode.
//!
//! It does one task: `vault run --hub URL --ca FILE --task ID`, with the ticket and the approvals of its boot on standard input, as an
//! engine of the hub starts it (`deploy/README.md`); or, with `--stay SECONDS` instead of the task, one after the other for the owners of
//! the first, each with keys, evidence and an approval of its own. Its keys and everything else of it stay out of swap, core dumps and other
//! programs' reach, or it ends; a guest without a device that signs for it ends too: there is no lesser mode to fall back to.
//! As the first process of a guest it mounts what it reads and says its first line; nothing tells it a task there in this version.

use std::process::ExitCode;

/// Nothing that this program frees keeps what stood in it.
#[global_allocator]
static MEMORY: vault::memory::Wiping = vault::memory::Wiping;

#[cfg(target_os = "linux")]
mod first {
    //! What the first process of a guest does, and nobody else.

    use std::ffi::CStr;

    /// Where, of which kind.
    const MOUNTS: [(&CStr, &CStr); 4] = [
        (c"/proc", c"proc"),
        (c"/sys", c"sysfs"),
        (c"/dev", c"devtmpfs"),
        (c"/sys/kernel/config", c"configfs"),
    ];
    /// Drivers that a kernel may have as modules: Debian's has this one.
    const MODULES: [&str; 1] = ["/modules/sev-guest.ko"];

    /// Whether this is the first process.
    pub(super) fn am_i() -> bool {
        std::process::id() == 1
    }

    /// Mounts what the kernel shows. What is not there shows itself later, as a device that is not found.
    pub(super) fn mount_all() {
        for (place, kind) in MOUNTS {
            let _made = std::fs::create_dir_all(place.to_string_lossy().as_ref());
            #[expect(unsafe_code, reason = "the first process mounts what others find mounted")]
            // SAFETY: the three texts end in zero and outlive the call; the last argument may be null.
            let _mounted = unsafe {
                libc::mount(
                    kind.as_ptr(),
                    place.as_ptr(),
                    kind.as_ptr(),
                    libc::MS_NOSUID | libc::MS_NOEXEC,
                    std::ptr::null(),
                )
            };
        }
        for path in MODULES {
            let Ok(module) = std::fs::File::open(path) else { continue };
            let descriptor = std::os::fd::AsRawFd::as_raw_fd(&module);
            #[expect(unsafe_code, reason = "a driver is loaded by a call of the kernel")]
            // SAFETY: the descriptor is open, the parameters are an empty text that ends in zero.
            let _loaded =
                unsafe { libc::syscall(libc::SYS_finit_module, descriptor, c"".as_ptr(), 0) };
        }
    }

    /// Switches the guest off: a first process that returns would be a kernel that panics.
    pub(super) fn power_off() {
        #[expect(unsafe_code, reason = "a machine is switched off by a call of the kernel")]
        // SAFETY: neither call takes an address.
        unsafe {
            libc::sync();
            libc::reboot(libc::RB_POWER_OFF);
        }
    }
}

/// Whoever reads the console sees it; if nobody does, nothing changes.
fn say(text: std::fmt::Arguments<'_>) {
    let _nobody_reads = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{text}\n"));
}

fn run() -> ExitCode {
    say(format_args!("chorion vault {}: the guest's program", env!("CARGO_PKG_VERSION")));
    guest()
}

/// What was built for other places says so, and does nothing here.
#[cfg(feature = "unattested")]
fn guest() -> ExitCode {
    say(format_args!(
        "error: this vault was built with the unattested mode, and no guest's program can be\n\n\
         hint: cargo build --release --locked -p vault --no-default-features"
    ));
    ExitCode::FAILURE
}

/// What a guest does once it runs.
#[cfg(not(feature = "unattested"))]
fn guest() -> ExitCode {
    let error = match work::run() {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    say(format_args!("error: {error}"));
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        say(format_args!("  because: {next}"));
        cause = next.source();
    }
    if let Some(hint) = error.hint() {
        say(format_args!("\nhint: {hint}"));
    }
    ExitCode::FAILURE
}

#[cfg(not(feature = "unattested"))]
mod work {
    //! One task, as the arguments and standard input say.

    use std::io::{Read, Write};
    use std::num::NonZeroUsize;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use api::TaskId;
    use vault::memory::Unprotected;
    use vault::remote::{RemoteError, RemoteHub};
    use vault::staying::{DONE, StayError, Staying};
    use vault::task::{MOST_TICKET_BYTES, TaskConfig, TaskError, VaultKeys};

    /// Why there was nothing to do, or it was not done.
    #[derive(Debug, thiserror::Error)]
    pub(super) enum WorkError {
        /// No device.
        #[error("this guest has no device of SEV-SNP, so it can prove nothing and gets no key")]
        NoDevice,
        /// No arguments.
        #[error("nobody named a task")]
        NoTask,
        /// An argument is no use.
        #[error("{name} is missing or no use")]
        Argument {
            /// Which.
            name: &'static str,
        },
        /// A file or standard input does not read.
        #[error("{what} cannot be read")]
        Read {
            /// Which.
            what: &'static str,
            /// Why.
            source: std::io::Error,
        },
        /// What came on standard input is no ticket.
        #[error("what came on standard input is no ticket")]
        Ticket(#[source] serde_json::Error),
        /// Memory could not be kept to itself.
        #[error(transparent)]
        Memory(#[from] Unprotected),
        /// The hub cannot be used.
        #[error(transparent)]
        Hub(#[from] RemoteError),
        /// The authority is none.
        #[error("the hub's certificate authority is none")]
        Authority(#[source] client::TrustError),
        /// The task did not complete.
        #[error("the task did not complete")]
        Task(#[from] TaskError),
        /// It stayed, and stays no longer.
        #[error(transparent)]
        Stay(#[from] StayError),
    }

    impl WorkError {
        pub(super) const fn hint(&self) -> Option<&'static str> {
            match self {
                Self::NoDevice => Some(
                    "start it on a machine with SEV-SNP; elsewhere `chorion vault start` does the same tasks unattested",
                ),
                Self::NoTask | Self::Argument { .. } => {
                    Some("vault run --hub URL --ca FILE --task ID [--app-cache DIR] <TICKET")
                }
                _ => None,
            }
        }
    }

    pub(super) fn run() -> Result<(), WorkError> {
        vault::memory::protect_all()?;
        vault::memory::wipe_what_is_freed();
        if vault::device::find().is_none() {
            return Err(WorkError::NoDevice);
        }
        let words: Vec<String> = std::env::args().skip(1).collect();
        // An engine names the command as it names the command line's.
        let words: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| *word != "vault").collect();
        let Some((&"run", options)) = words.split_first() else { return Err(WorkError::NoTask) };
        let option = |name: &'static str| {
            options
                .chunks_exact(2)
                .find(|pair| pair.first() == Some(&name))
                .and_then(|pair| pair.get(1).copied())
        };
        let needed = |name| option(name).ok_or(WorkError::Argument { name });
        let hub = needed("--hub")?;
        let ca = std::fs::read(needed("--ca")?).map_err(|source| WorkError::Read {
            what: "the hub's certificate authority",
            source,
        })?;
        let trust = client::Trust::from_pem(&ca).map_err(WorkError::Authority)?;
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let app_cache = PathBuf::from(option("--app-cache").unwrap_or("apps"));
        if let Some(seconds) = option("--stay") {
            let seconds = seconds.parse().map_err(|_| WorkError::Argument { name: "--stay" })?;
            let idle = Duration::from_secs(seconds);
            let staying = Staying { hub, app_cache: &app_cache, threads, idle };
            return Ok(staying.run(trust, || {
                let mut output = std::io::stdout().lock();
                writeln!(output, "{DONE}").and_then(|()| output.flush())
            })?);
        }
        let task: TaskId =
            needed("--task")?.parse().map_err(|_| WorkError::Argument { name: "--task" })?;
        let mut text = zeroize::Zeroizing::new(String::new());
        std::io::stdin()
            .lock()
            .take(MOST_TICKET_BYTES)
            .read_to_string(&mut text)
            .map_err(|source| WorkError::Read { what: "standard input", source })?;
        let (ticket, boots) = vault::task::ticket(&text).map_err(WorkError::Ticket)?;
        let keys = VaultKeys::generate()?;
        let hub = RemoteHub::new(hub, trust, &keys)?;
        let config = TaskConfig { task, ticket, boots, app_cache, threads };
        Ok(vault::task::run(Arc::new(hub), &config, &keys)?)
    }
}

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if first::am_i() {
        first::mount_all();
        let _status = run();
        first::power_off();
    }
    run()
}
