//! A root from Debian packages, with the machine's own apt as the one who knows and vouches.
//!
//! apt checks the archive's signature and gives each package's SHA-256; every `.deb` is hashed against that before it is
//! opened. Packages are laid over one another as dpkg lays them, on a merged `/usr`. No maintainer script runs: what they would
//! have set as alternatives is read out of them and becomes plain links, and the dynamic loader finds libraries in Debian's own
//! folders without a cache file (it has those built in).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::package::DebianPackage;
use super::tree::{MAX_TREE_BYTES, Node, Staging, Tree, TreeError, clean_path, io_at};
use super::{Digest, Hasher};

/// What is depended on so that packages can be installed and configured, which nobody does here.
const INSTALLERS: [&str; 8] = [
    "cdebconf",
    "debconf",
    "debconf-2.0",
    "debianutils",
    "dpkg",
    "init-system-helpers",
    "install-info",
    "ucf",
];
/// What no program reads to do its work.
const NOT_NEEDED: [&str; 12] = [
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/debianutils",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/gcc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/menu",
    "usr/share/zsh",
];
/// Debian keeps everything under `/usr`; these links are what its base system has.
const MERGED: [(&str, &str); 4] =
    [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("sbin", "usr/sbin")];

/// Packages that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// A program of Debian that is not here.
    #[error("`{program}` does not run here, and it is what knows Debian packages")]
    Program {
        /// Its name.
        program: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A program of Debian that refused.
    #[error("`{program}` refused: {said}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// What it printed.
        said: String,
    },
    /// A package that apt does not know.
    #[error("apt knows no package `{name}`{wanted_by}")]
    Unknown {
        /// Its name.
        name: String,
        /// ` (wanted by …)`, or nothing.
        wanted_by: String,
    },
    /// A package file that is not the one apt's index names.
    #[error("package file {file} has the digest {found}, not {expected} as apt's index says")]
    Digest {
        /// The file.
        file: String,
        /// In the index.
        expected: Digest,
        /// Of the file.
        found: Digest,
    },
    /// Its files cannot be laid into the tree.
    #[error("package {package} cannot be laid into the root")]
    Tree {
        /// The package.
        package: String,
        /// Why.
        #[source]
        source: TreeError,
    },
}

/// A set of packages that need nothing beyond themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// By name.
    pub packages: Vec<DebianPackage>,
    /// Depended on and left out.
    pub left_out: Vec<String>,
}

/// One record of apt's index.
#[derive(Debug, Clone, Default)]
struct Record {
    fields: BTreeMap<String, String>,
}

impl Record {
    fn field(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    fn package(&self) -> Option<DebianPackage> {
        Some(DebianPackage {
            name: self.field("Package").to_owned(),
            version: self.field("Version").to_owned(),
            architecture: self.field("Architecture").to_owned(),
            sha256: self.field("SHA256").parse().ok()?,
            bytes: self.field("Size").parse().ok()?,
            filename: self.field("Filename").to_owned(),
        })
    }

    /// Groups of alternatives of `Pre-Depends` and `Depends`, names only: apt's index is one release, whose versions fit.
    fn needs(&self) -> Vec<Vec<String>> {
        let both = [self.field("Pre-Depends"), self.field("Depends")];
        let groups = both.iter().flat_map(|field| field.split(','));
        let name = |text: &str| {
            let name = text.trim().split([' ', '(', ':', '[']).next().unwrap_or("");
            name.to_owned()
        };
        let groups =
            groups.map(|group| group.split('|').map(name).filter(|n| !n.is_empty()).collect());
        groups.filter(|group: &Vec<String>| !group.is_empty()).collect()
    }

    fn provides(&self) -> impl Iterator<Item = &str> {
        let names = self.field("Provides").split(',');
        names.filter_map(|name| name.trim().split([' ', '(', ':']).next())
    }
}

fn read_records(text: &str) -> BTreeMap<String, Record> {
    let mut records = BTreeMap::new();
    for stanza in text.split("\n\n") {
        let mut record = Record::default();
        for line in stanza.lines().filter(|line| !line.starts_with([' ', '\t'])) {
            if let Some((key, value)) = line.split_once(':') {
                let _first = record.fields.insert(key.to_owned(), value.trim().to_owned());
            }
        }
        let name = record.field("Package").to_owned();
        // The first record of a name is apt's candidate.
        if !name.is_empty() {
            let _candidate = records.entry(name).or_insert(record);
        }
    }
    records
}

fn output<I: AsRef<OsStr>>(
    program: &'static str,
    arguments: impl IntoIterator<Item = I>,
    folder: &Path,
) -> Result<std::process::Output, DebianError> {
    Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| DebianError::Program { program, source })
}

/// Follows dependencies (not recommendations) from `packages`, without `exclude` and without what only installs.
///
/// `cache` keeps apt's parsed index between calls.
///
/// # Errors
/// A package that apt does not know.
pub fn resolve(
    packages: &[String],
    exclude: &[String],
    cache: &Path,
) -> Result<Closure, DebianError> {
    let unwanted = |name: &str| INSTALLERS.contains(&name) || exclude.iter().any(|n| n == name);
    let mut known: BTreeMap<String, Record> = BTreeMap::new();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut chosen: BTreeSet<String> = BTreeSet::new();
    let mut provided: BTreeSet<String> = BTreeSet::new();
    let mut left_out: BTreeSet<String> = BTreeSet::new();
    // What is to be had: one of several names, and who wants it.
    let mut todo: Vec<(Vec<String>, String)> =
        packages.iter().map(|name| (vec![name.clone()], String::new())).collect();
    while !todo.is_empty() {
        let names: BTreeSet<String> =
            todo.iter().flat_map(|(group, _)| group.iter().cloned()).collect();
        let new: Vec<_> = names.difference(&asked).cloned().collect();
        if !new.is_empty() {
            known.extend(show(&new, cache)?);
            asked.extend(new);
        }
        let mut next = Vec::new();
        for (group, wanted_by) in todo {
            if let Some(name) = group.iter().find(|name| unwanted(name)) {
                let _new = left_out.insert(name.clone());
                continue;
            }
            if group.iter().any(|name| chosen.contains(name) || provided.contains(name)) {
                continue;
            }
            let Some(record) = group.iter().find_map(|name| known.get(name)) else {
                let name = group.join(" | ");
                let wanted_by = if wanted_by.is_empty() {
                    wanted_by
                } else {
                    format!(" (wanted by {wanted_by})")
                };
                return Err(DebianError::Unknown { name, wanted_by });
            };
            let name = record.field("Package").to_owned();
            provided.extend(record.provides().map(str::to_owned));
            next.extend(record.needs().into_iter().map(|group| (group, name.clone())));
            let _new = chosen.insert(name);
        }
        todo = next;
    }
    let packages = chosen.iter().filter_map(|name| known.get(name)?.package()).collect::<Vec<_>>();
    if packages.len() != chosen.len() {
        let said = "its index has a package without a SHA-256".to_owned();
        return Err(DebianError::Refused { program: "apt-cache", said });
    }
    Ok(Closure { packages, left_out: left_out.into_iter().collect() })
}

fn show(names: &[String], cache: &Path) -> Result<BTreeMap<String, Record>, DebianError> {
    let index = |name: &str| format!("Dir::Cache::{name}={}", cache.join(name).display());
    let mut arguments = vec![
        "-o".to_owned(),
        index("pkgcache"),
        "-o".to_owned(),
        index("srcpkgcache"),
        "--no-all-versions".to_owned(),
        "show".to_owned(),
        "--".to_owned(),
    ];
    arguments.extend(names.iter().cloned());
    // It fails when one of the names is unknown or virtual, and still prints the others.
    let output = output("apt-cache", &arguments, cache)?;
    Ok(read_records(&String::from_utf8_lossy(&output.stdout)))
}

/// Where each package's file lies in `cache`, downloaded by apt if it is not there; every one hashed.
///
/// # Errors
/// A download that fails, or a file that is not the one the index names.
pub fn fetch(packages: &[DebianPackage], cache: &Path) -> Result<Vec<PathBuf>, DebianError> {
    let place = |package: &DebianPackage| {
        let DebianPackage { name, version, architecture, .. } = package;
        cache.join(format!("{name}_{}_{architecture}.deb", version.replace(':', "%3a")))
    };
    let missing: Vec<String> = packages
        .iter()
        .filter(|package| digest_of(&place(package)).ok() != Some(package.sha256))
        .map(|package| format!("{}={}", package.name, package.version))
        .collect();
    if !missing.is_empty() {
        let mut arguments = vec!["-q=2".to_owned(), "download".to_owned()];
        if rustix::process::geteuid().is_root() {
            // apt would else warn that its own user cannot write here; the file is checked below all the same.
            arguments.splice(0..0, ["-o".to_owned(), "APT::Sandbox::User=root".to_owned()]);
        }
        arguments.extend(missing);
        let output = output("apt-get", &arguments, cache)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            return Err(DebianError::Refused { program: "apt-get download", said });
        }
    }
    packages
        .iter()
        .map(|package| {
            let file = place(package);
            let found = digest_of(&file).map_err(|source| DebianError::Tree {
                package: package.name.clone(),
                source: io_at(&file)(source),
            })?;
            if found == package.sha256 {
                return Ok(file);
            }
            let file = file.display().to_string();
            Err(DebianError::Digest { file, expected: package.sha256, found })
        })
        .collect()
}

fn digest_of(file: &Path) -> std::io::Result<Digest> {
    let mut file = File::open(file)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// The folders and links that every Debian root starts from.
///
/// # Errors
/// Never on an empty tree.
pub fn base(tree: &mut Tree) -> Result<(), TreeError> {
    for (link, target) in MERGED {
        tree.put(target, Node::Folder, true)?;
        tree.put(link, Node::Link(target.to_owned()), true)?;
    }
    Ok(())
}

/// Lays packages into the tree, in the order given.
///
/// # Errors
/// A package whose archive is refused.
pub fn lay(
    packages: &[DebianPackage],
    files: &[PathBuf],
    tree: &mut Tree,
    staging: &Staging,
) -> Result<(), DebianError> {
    let mut alternatives: BTreeMap<String, (i64, String)> = BTreeMap::new();
    for (package, file) in packages.iter().zip(files) {
        let refused = |source| DebianError::Tree { package: package.name.clone(), source };
        piped(file, "--fsys-tarfile", |tar| lay_archive(tar, tree, staging).map_err(refused))?;
        piped(file, "--ctrl-tarfile", |tar| {
            for (link, rank, target) in postinst_alternatives(tar).map_err(refused)? {
                let best = alternatives.entry(link).or_insert_with(|| (rank, target.clone()));
                if rank > best.0 {
                    *best = (rank, target);
                }
            }
            Ok(())
        })?;
    }
    for (link, (_, target)) in alternatives {
        let Ok(link) = clean_path(link.trim_start_matches('/').as_bytes()) else { continue };
        let there = matches!(tree.lookup(&target), Some(Node::File { .. } | Node::Folder));
        if there && tree.lookup(&link).is_none() {
            tree.put(&link, Node::Link(target), true)
                .map_err(|source| DebianError::Tree { package: link.clone(), source })?;
        }
    }
    let unneeded = |path: &str| {
        NOT_NEEDED.iter().any(|place| {
            path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    tree.retain(|path| !unneeded(path));
    Ok(())
}

fn piped(
    file: &Path,
    what: &'static str,
    read: impl FnOnce(&mut dyn Read) -> Result<(), DebianError>,
) -> Result<(), DebianError> {
    let program = "dpkg-deb";
    let failed = |source| DebianError::Program { program, source };
    let mut child = Command::new(program)
        .arg(what)
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdout = child.stdout.take().expect("the output is piped because it was asked for");
    let result = read(&mut stdout);
    // A reader that stopped early must not leave the program writing.
    drop(stdout);
    let output = child.wait_with_output().map_err(failed)?;
    result?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(DebianError::Refused { program, said });
    }
    Ok(())
}

fn lay_archive(tar: &mut dyn Read, tree: &mut Tree, staging: &Staging) -> Result<(), TreeError> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().map_err(io_at("package"))? {
        let mut entry = entry.map_err(io_at("package"))?;
        let path = clean_path(&entry.path_bytes())?;
        let mode = entry.header().mode().map_err(io_at(&path))?;
        let target = |entry: &tar::Entry<'_, _>| {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            String::from_utf8(target).map_err(|_error| TreeError::Path {
                path: path.clone(),
                reason: "its target is not UTF-8",
            })
        };
        let node = match entry.header().entry_type() {
            tar::EntryType::Directory => Node::Folder,
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let limit = MAX_TREE_BYTES.saturating_sub(tree.bytes());
                let (bytes, sha256) = staging.add(&mut entry, limit)?;
                Node::File { program: mode & 0o111 != 0, bytes, sha256 }
            }
            tar::EntryType::Symlink => Node::Link(target(&entry)?),
            tar::EntryType::Link => {
                let target = target(&entry)?;
                let source = clean_path(target.trim_start_matches('/').as_bytes())?;
                match tree.lookup(&source) {
                    Some(file @ Node::File { .. }) => file.clone(),
                    _ => return Err(TreeError::HardLink { path, target }),
                }
            }
            tar::EntryType::XGlobalHeader => continue,
            _ => return Err(TreeError::Kind { path, what: "a device or a pipe" }),
        };
        tree.put(&path, node, true)?;
    }
    Ok(())
}

/// Link, priority and target of every `update-alternatives --install` in the package's `postinst`.
fn postinst_alternatives(tar: &mut dyn Read) -> Result<Vec<(String, i64, String)>, TreeError> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().map_err(io_at("package"))? {
        let entry = entry.map_err(io_at("package"))?;
        if entry.path_bytes().ends_with(b"postinst") {
            let mut text = Vec::new();
            let _count = entry.take(1 << 20).read_to_end(&mut text).map_err(io_at("package"))?;
            return Ok(read_alternatives(&String::from_utf8_lossy(&text)));
        }
    }
    Ok(Vec::new())
}

fn read_alternatives(script: &str) -> Vec<(String, i64, String)> {
    let joined = script.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words.iter().any(|word| word.ends_with("update-alternatives")) {
            continue;
        }
        let mut rank = 0;
        for (at, word) in words.iter().enumerate() {
            let (Some(link), Some(target)) = (words.get(at + 1), words.get(at + 3)) else {
                continue;
            };
            // A variable would need the shell, and the script is not run.
            if !link.starts_with('/') || !target.starts_with('/') || target.contains('$') {
                continue;
            }
            match *word {
                "--install" => rank = words.get(at + 4).and_then(|n| n.parse().ok()).unwrap_or(0),
                "--slave" => {}
                _ => continue,
            }
            found.push(((*link).to_owned(), rank, (*target).to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_as_names_and_alternatives() {
        let text = "Package: tool\nVersion: 1\nArchitecture: amd64\nPre-Depends: libc6 (>= 2.34)\n\
                    Depends: perl:any, debconf (>= 0.5) | debconf-2.0, awk\nProvides: x (= 1), y\n\
                    Description: a\n more: text\n\nPackage: tool\nVersion: 0\n";
        let records = read_records(text);
        let record = &records["tool"];
        assert_eq!(record.field("Version"), "1");
        assert_eq!(
            record.needs(),
            [vec!["libc6"], vec!["perl"], vec!["debconf", "debconf-2.0"], vec!["awk"]]
        );
        assert_eq!(record.provides().collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn alternatives_are_read_out_of_a_script_that_never_runs() {
        let script = "#!/bin/sh\nupdate-alternatives --quiet \\\n --install /usr/lib/libblas.so.3 blas \
                      /usr/lib/blas/libblas.so.3 10 \\\n --slave /usr/bin/b b /usr/lib/blas/b\n\
                      update-alternatives --install /usr/bin/$x x /usr/bin/y 1\n";
        let found = read_alternatives(script);
        assert_eq!(found[0].0, "/usr/lib/libblas.so.3");
        assert_eq!(found[0].1, 10);
        assert_eq!(found[1], ("/usr/bin/b".into(), 10, "/usr/lib/blas/b".into()));
        assert_eq!(found.len(), 3, "the shell's own text is kept only as text: {found:?}");
    }
}
