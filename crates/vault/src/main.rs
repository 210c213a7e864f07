//! The guest's program: the vault alone, built without the unattested mode.
//!
//! As the first process of a guest it mounts what it reads, says its first line, makes its keys, and has the security processor sign for
//! them. A guest without a device that does that ends: there is no lesser mode to fall back to. No hub of this version takes the
//! evidence yet, so after it has been made the program says that, and ends as well.

use std::process::ExitCode;

#[cfg(not(feature = "unattested"))]
use vault::device::{Device, certificates};
#[cfg(not(feature = "unattested"))]
use vault::task::VaultKeys;

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
    let Some(device) = vault::device::find() else {
        say(format_args!(
            "error: this guest has no device of SEV-SNP, so it can prove nothing and gets no key\n\n\
             hint: start it on a machine with SEV-SNP; elsewhere `chorion vault run` runs the same tasks unattested"
        ));
        return ExitCode::FAILURE;
    };
    let keys = match VaultKeys::generate() {
        Ok(keys) => keys,
        Err(error) => {
            say(format_args!("error: the vault could not make its keys: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match evidence(&*device, &keys) {
        Ok(told) => say(format_args!("{told}")),
        Err(error) => {
            say(format_args!("error: {error}"));
            let mut cause = std::error::Error::source(&error);
            while let Some(next) = cause {
                say(format_args!("  because: {next}"));
                cause = next.source();
            }
            return ExitCode::FAILURE;
        }
    }
    say(format_args!(
        "error: no hub of this version takes attested evidence, so there is no task to claim\n\n\
         hint: on a machine without SEV-SNP, `chorion vault run` runs the same tasks unattested"
    ));
    ExitCode::FAILURE
}

/// Evidence over this vault's keys, in a line for the console.
#[cfg(not(feature = "unattested"))]
fn evidence(device: &dyn Device, keys: &VaultKeys) -> Result<String, vault::device::DeviceError> {
    let evidence = device.report(&keys.report_data(&[0; 32]))?;
    let certificates = certificates(&evidence.certificates).len();
    Ok(format!(
        "{} signed for this vault's keys; the host gave {certificates} certificates with it",
        device.name()
    ))
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
