//! Whether a sandbox can be had here, and if not, what to do about it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Serialize;

use super::limits::{self, Held};
use super::{SandboxError, bubblewrap, namespaces};

/// What this machine offers.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// Where bubblewrap is.
    pub bubblewrap: PathBuf,
    /// Its version, as it says it.
    pub version: String,
    /// Who would hold the limits.
    pub held: Held,
    /// Whether some swap is on: opened data in memory could then reach a disk, unless that swap is encrypted.
    pub swap: bool,
}

/// Builds a sandbox and runs `bwrap --version` in it.
///
/// # Errors
/// [`SandboxError::NoBubblewrap`] or [`SandboxError::Refused`], whose hint says what this machine wants.
pub fn probe() -> Result<Probe, SandboxError> {
    let bubblewrap = bubblewrap()?;
    let output = Command::new(&bubblewrap)
        .args(["--ro-bind", "/", "/"])
        .args(namespaces())
        .arg("--")
        .arg(&bubblewrap)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(super::doing("starting bubblewrap"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("bwrap: ").to_owned();
        return Err(SandboxError::Refused { said });
    }
    let held = limits::holders().map_err(super::doing("trying the limits"))?;
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    Ok(Probe {
        bubblewrap,
        version: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        held,
        swap: swaps.lines().count() > 1,
    })
}

/// What to do when bubblewrap says `said`, from the settings of this kernel that forbid it.
pub(super) fn hint(said: &str) -> &'static str {
    let setting =
        |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return "user namespaces are off: `sysctl kernel.unprivileged_userns_clone=1`";
    }
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return "AppArmor forbids user namespaces: give bwrap a profile that allows `userns`";
    }
    if setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return "user namespaces are off: `sysctl user.max_user_namespaces=15000`";
    }
    if said.contains("namespace") || said.contains("Operation not permitted") {
        return "inside a container, allow user namespaces to it (podman and docker forbid them by their seccomp profile)";
    }
    if said.contains("Unknown option") {
        return "bubblewrap 0.8 or newer is wanted";
    }
    "`chorion doctor` tries the sandbox by itself and shows what stands in its way"
}
