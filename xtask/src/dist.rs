//! A package of a program that was built: a tree of files, as a Debian package and as a tarball.
//!
//! `dpkg-deb` and `tar` do the packing, which are on every Debian; times are those of the last commit and owners are root, so that the
//! same program gives the same bytes. The package makes its users and starts nothing: a hub begins with decisions.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The program, as `cargo build --release` made it
    #[arg(long, value_name = "FILE", default_value = "target/release/chorion")]
    program: PathBuf,
    /// Where the packages go
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    output: PathBuf,
}

/// What goes where, from the root of the repository to the root of the machine, with its mode.
const FILES: &[(&str, &str, u32)] = &[
    ("deploy/chorion-hub.service", "usr/lib/systemd/system/chorion-hub.service", 0o644),
    ("deploy/chorion-broker.service", "usr/lib/systemd/system/chorion-broker.service", 0o644),
    ("deploy/hub.toml", "etc/chorion/hub.toml", 0o644),
    ("deploy/broker.env", "etc/chorion/broker.env", 0o644),
    (
        "deploy/hub-without-vaults.conf",
        "usr/share/doc/chorion/deploy/hub-without-vaults.conf",
        0o644,
    ),
    ("deploy/nftables.conf", "usr/share/doc/chorion/deploy/nftables.conf", 0o644),
    ("deploy/50unattended-upgrades", "usr/share/doc/chorion/deploy/50unattended-upgrades", 0o644),
    ("deploy/README.md", "usr/share/doc/chorion/deploy/README.md", 0o644),
    ("README.md", "usr/share/doc/chorion/README.md", 0o644),
    ("SECURITY.md", "usr/share/doc/chorion/SECURITY.md", 0o644),
    ("CHANGELOG.md", "usr/share/doc/chorion/CHANGELOG.md", 0o644),
    ("LICENSE", "usr/share/doc/chorion/copyright", 0o644),
];
/// What browsers run: folders below `target/web`, to folders below `usr/share/chorion`.
const PAGES: &[&str] = &["authenticator", "site"];
const USERS: &str = "u chorion - \"Chorion hub\" /nonexistent\nu chorion-broker - \"Chorion broker\" /nonexistent\n";
const AFTER: &str = "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n    systemd-sysusers chorion.conf\n    [ ! -d /run/systemd/system ] || systemctl daemon-reload\nfi\n";

pub(crate) fn run(workspace: &Path, arguments: &Arguments) -> Result<String, Failure> {
    let version = version(workspace)?;
    let program = workspace.join(&arguments.program);
    let output = workspace.join(&arguments.output);
    let bytes = fs::read(&program)
        .map_err(|e| Failure::new(format!("{} cannot be read: {e}", program.display())))?;
    let architecture = said(Command::new("dpkg").arg("--print-architecture"))?;
    let seconds =
        said(Command::new("git").arg("-C").arg(workspace).args(["log", "-1", "--format=%ct"]))?;
    let name = format!("chorion_{version}_{architecture}");
    let tree = output.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|e| failed(&tree, &e))?;
    }
    put(&tree.join("usr/bin/chorion"), &bytes, 0o755)?;
    for (from, to, mode) in FILES {
        let from = workspace.join(from);
        let text = fs::read_to_string(&from).map_err(|e| failed(&from, &e))?;
        // The units name the place for what is installed by hand.
        put(
            &tree.join(to),
            text.replace("/usr/local/bin/chorion", "/usr/bin/chorion").as_bytes(),
            *mode,
        )?;
    }
    put(&tree.join("usr/lib/sysusers.d/chorion.conf"), USERS.as_bytes(), 0o644)?;
    for pages in PAGES {
        put_pages(&workspace.join("target/web").join(pages), &tree, pages)?;
    }

    let tarball = output.join(format!("{name}.tar.gz"));
    let packed = Command::new("tar")
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .arg(format!("--mtime=@{seconds}"))
        .env("GZIP", "-n")
        .arg("-C")
        .arg(&output)
        .arg("-czf")
        .arg(&tarball)
        .arg(&name)
        .output();
    done("tar", packed)?;

    let control = format!(
        "Package: chorion\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: The Chorion developers\n\
         Section: science\nPriority: optional\nDepends: libc6 (>= {})\nRecommends: bubblewrap, systemd\n\
         Installed-Size: {}\nDescription: genomic data where who holds the key is a choice per project\n \
         The hub, the broker beside an instrument, vaults, and the command line, in one program.\n",
        glibc_of(&bytes),
        bytes.len().div_ceil(1024),
    );
    put(&tree.join("DEBIAN/control"), control.as_bytes(), 0o644)?;
    put(&tree.join("DEBIAN/postinst"), AFTER.as_bytes(), 0o755)?;
    let kept: Vec<&str> =
        FILES.iter().map(|(_, to, _)| *to).filter(|to| to.starts_with("etc/")).collect();
    let kept = kept.iter().fold(String::new(), |mut all, to| {
        writeln!(all, "/{to}").ok();
        all
    });
    put(&tree.join("DEBIAN/conffiles"), kept.as_bytes(), 0o644)?;
    let package = output.join(format!("{name}.deb"));
    let packed = Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Zgzip", "--build"])
        .env("SOURCE_DATE_EPOCH", &seconds)
        .arg(&tree)
        .arg(&package)
        .output();
    done("dpkg-deb", packed)?;
    fs::remove_dir_all(&tree).map_err(|e| failed(&tree, &e))?;
    Ok(format!("{}\n{}", package.display(), tarball.display()))
}

/// Puts a folder of built pages where the program looks for it, if it was built.
fn put_pages(folder: &Path, tree: &Path, name: &str) -> Result<(), Failure> {
    if !folder.join("hashes.txt").is_file() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(|e| failed(folder, &e))? {
        let from = entry.map_err(|e| failed(folder, &e))?.path();
        let bytes = fs::read(&from).map_err(|e| failed(&from, &e))?;
        let file = from.file_name().unwrap_or_default();
        put(&tree.join("usr/share/chorion").join(name).join(file), &bytes, 0o644)?;
    }
    Ok(())
}

/// The version of the workspace.
fn version(workspace: &Path) -> Result<String, Failure> {
    let file = workspace.join("Cargo.toml");
    let text = fs::read_to_string(&file).map_err(|e| failed(&file, &e))?;
    let (_, package) = text.split_once("[workspace.package]").unwrap_or_default();
    let line = package.lines().find_map(|line| line.strip_prefix("version = "));
    line.map(|text| text.trim_matches('"').to_owned())
        .ok_or_else(|| Failure::new("Cargo.toml states no version of the workspace"))
}

/// The newest version of the C library that a program asks for.
fn glibc_of(program: &[u8]) -> String {
    let mark = b"GLIBC_2.";
    let minor = program.windows(mark.len() + 2).filter(|bytes| bytes.starts_with(mark)).filter_map(
        |bytes| {
            let digits = &bytes[mark.len()..];
            let digits = if digits[1].is_ascii_digit() { digits } else { &digits[..1] };
            std::str::from_utf8(digits).ok()?.parse::<u32>().ok()
        },
    );
    format!("2.{}", minor.max().unwrap_or(36))
}

fn put(to: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let written = (|| {
        if let Some(above) = to.parent() {
            fs::create_dir_all(above)?;
        }
        fs::write(to, bytes)?;
        fs::set_permissions(to, fs::Permissions::from_mode(mode))
    })();
    written.map_err(|e| failed(to, &e))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

fn done(program: &str, output: std::io::Result<std::process::Output>) -> Result<String, Failure> {
    let output = output.map_err(|e| Failure::new(format!("{program} does not start: {e}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(format!("{program} failed: {said}")))
    }
}

fn said(command: &mut Command) -> Result<String, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    done(&name, command.output())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_program_units_and_options_and_is_the_same_twice() {
        let workspace = crate::workspace();
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let output = root.path().join(name);
            let arguments = Arguments { program: "/bin/true".into(), output };
            let said = run(&workspace, &arguments).unwrap();
            let files: Vec<PathBuf> = said.lines().map(PathBuf::from).collect();
            files
        };
        let (first, again) = (make("first"), make("again"));
        let [package, tarball] = &first[..] else { panic!("{first:?}") };
        let listed = said(Command::new("dpkg-deb").arg("--contents").arg(package)).unwrap();
        for file in [
            "./usr/bin/chorion",
            "./etc/chorion/hub.toml",
            "./usr/lib/systemd/system/chorion-broker.service",
        ] {
            let line = listed
                .lines()
                .find(|line| line.ends_with(file))
                .unwrap_or_else(|| panic!("{file}"));
            assert!(line.contains("root/root"), "{line}");
        }
        let unit =
            said(Command::new("sh").arg("-c").arg(format!(
                "tar -xzOf {} --wildcards '*/chorion-hub.service'",
                tarball.display()
            )))
            .unwrap();
        assert!(unit.contains("ExecStart=/usr/bin/chorion serve"), "{unit}");
        let fields = said(Command::new("dpkg-deb").arg("--field").arg(package)).unwrap();
        assert!(
            fields.contains("Package: chorion") && fields.contains("Depends: libc6"),
            "{fields}"
        );
        for (one, other) in first.iter().zip(&again) {
            assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{}", one.display());
        }
    }

    #[test]
    fn the_c_library_that_is_asked_for_is_the_newest_that_is_named() {
        assert_eq!(glibc_of(b"..GLIBC_2.4\0.GLIBC_2.34\0GLIBC_2.17\0.."), "2.34");
        assert_eq!(glibc_of(b"GLIBC_2.4\0"), "2.4");
    }
}
