//! An author's folder: `app.toml`, a script if there is one, and `files/` laid over the root. Packing turns it into a package.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::debian::{self, DebianError};
use super::manifest::{Manifest, ManifestError};
use super::oci::{self, OciError};
use super::package::{self, BillOfMaterials, EXTENSION, Front, OwnFile, PackageError};
use super::tree::{
    MAX_TREE_BYTES, MOUNT_POINTS, Node, Pattern, Staging, Tree, TreeError, clean_path, io_at,
};
use super::{Digest, TaskError, TaskRequest};

const MANIFEST: &str = "app.toml";
/// Programs look users up by number; these are the two that exist inside.
const PASSWD: &str =
    "root:x:0:0:root:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/tmp:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// A folder that gives no app.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The folder or a file of it does not read or write.
    #[error("{place} does not read or write")]
    Io {
        /// The file or folder.
        place: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There is something already.
    #[error("{0} is there already, and nothing is overwritten")]
    Exists(PathBuf),
    /// The manifest.
    #[error("app folder {folder} has a manifest that is refused")]
    Manifest {
        /// The folder.
        folder: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The command cannot be completed.
    #[error("app folder {folder} has a command that is refused")]
    Command {
        /// The folder.
        folder: String,
        /// Why.
        #[source]
        source: TaskError,
    },
    /// The script is not what it should be.
    #[error("script {script}: {reason}")]
    Script {
        /// Its path.
        script: String,
        /// What is wrong.
        reason: String,
    },
    /// What the command starts is not in the root.
    #[error("the root has no program `{0}`, which the command starts")]
    NoProgram(String),
    /// The packages.
    #[error(transparent)]
    Debian(#[from] DebianError),
    /// The image.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// The tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The package file.
    #[error(transparent)]
    Package(#[from] PackageError),
}

impl SourceError {
    /// What the author can do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProgram(_) => Some("name the Debian package that has it under [root] packages"),
            Self::Debian(DebianError::Unknown { .. }) => Some(
                "`apt-get update` refreshes what apt knows; a virtual package needs a real one named",
            ),
            Self::Debian(DebianError::Program { .. }) => {
                Some("pack on a Debian machine, or from an OCI layout (`oci = …` under [root])")
            }
            Self::Script { .. } => Some("a script starts with a line such as `#!/bin/sh`"),
            _ => None,
        }
    }
}

fn io_error(place: impl AsRef<Path>) -> impl FnOnce(io::Error) -> SourceError {
    let place = place.as_ref().display().to_string();
    move |source| SourceError::Io { place, source }
}

/// An author's folder whose manifest was accepted.
#[derive(Debug, Clone)]
pub struct Source {
    folder: PathBuf,
    manifest: Manifest,
}

/// What packing gave.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The package file.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its documents.
    pub front: Front,
    /// What took how long, in order.
    pub times: Vec<(&'static str, Duration)>,
}

/// Writes a folder that works as it is: a manifest with comments and a script.
///
/// # Errors
/// When the folder is there, or its name is no app's name.
pub fn init(folder: &Path) -> Result<(), SourceError> {
    if folder.exists() {
        return Err(SourceError::Exists(folder.to_owned()));
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let text = include_str!("template.toml").replace("@NAME@", &name);
    let _checked = Manifest::parse(&text)
        .map_err(|source| SourceError::Manifest { folder: folder.display().to_string(), source })?;
    std::fs::create_dir_all(folder).map_err(io_error(folder))?;
    std::fs::write(folder.join(MANIFEST), text).map_err(io_error(folder))?;
    let script = folder.join("run.sh");
    std::fs::write(&script, include_str!("template.sh")).map_err(io_error(&script))?;
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).map_err(io_error(&script))
}

impl Source {
    /// Reads and checks what can be checked without making the root.
    ///
    /// # Errors
    /// A manifest, a command or a script that is refused.
    pub fn read(folder: &Path) -> Result<Self, SourceError> {
        let place = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&place).map_err(io_error(&place))?;
        let shown = folder.display().to_string();
        let manifest = Manifest::parse(&text)
            .map_err(|source| SourceError::Manifest { folder: shown.clone(), source })?;
        let source = Self { folder: folder.to_owned(), manifest };
        source.check_command(&shown)?;
        if let Some((place, text)) = source.script()? {
            let _interpreter = interpreter(&place, &text)?;
        }
        Ok(source)
    }

    /// Its manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `NAME-VERSION.chorionapp`.
    pub fn package_name(&self) -> String {
        format!("{}.{EXTENSION}", self.manifest.full_name())
    }

    /// Every brace of the command must name something the app has.
    fn check_command(&self, folder: &str) -> Result<(), SourceError> {
        for argument in &self.manifest.command.argv {
            for place in argument.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
                let known = match place.0.split_once(':') {
                    Some(("param", name)) => self.manifest.param(name).is_some(),
                    Some(("input", name)) => self.manifest.input(name).is_some_and(|i| i.max == 1),
                    None => ["cpus", "memory_mib", "output"].contains(&place.0),
                    _ => false,
                };
                if !known && !argument.contains("{{") {
                    let source = TaskError::Placeholder(place.0.to_owned());
                    return Err(SourceError::Command { folder: folder.to_owned(), source });
                }
            }
        }
        // A form that is all defaults must be accepted, where every field has one.
        if self.manifest.params.iter().all(|param| param.default.is_some()) {
            let form = self.manifest.fill_form(&TaskRequest::default().params);
            let _filled =
                form.map_err(|source| SourceError::Manifest { folder: folder.to_owned(), source })?;
        }
        Ok(())
    }

    fn script(&self) -> Result<Option<(PathBuf, Vec<u8>)>, SourceError> {
        let Some(script) = &self.manifest.command.script else { return Ok(None) };
        let place = self.folder.join(script);
        let text = std::fs::read(&place).map_err(io_error(&place))?;
        Ok(Some((place, text)))
    }

    /// Makes the package file `out`. `cache` keeps downloaded packages between calls; `saying` hears what is being done.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is left at `out` then.
    pub fn pack(
        &self,
        out: &Path,
        cache: &Path,
        saying: &dyn Fn(&str),
    ) -> Result<Packed, SourceError> {
        std::fs::create_dir_all(cache).map_err(io_error(cache))?;
        let cache = cache.canonicalize().map_err(io_error(cache))?;
        let staging = Staging::below(&cache)?;
        let mut times = Vec::new();
        let mut clock = Instant::now();
        let mut lap = |what| {
            times.push((what, clock.elapsed()));
            clock = Instant::now();
        };
        let root = &self.manifest.root;
        let mut tree = Tree::default();
        let mut bill = BillOfMaterials { omitted: root.omit.clone(), ..BillOfMaterials::default() };
        if let Some(oci) = &root.oci {
            saying("applying the layers of the OCI image");
            bill.blobs = oci::apply(&self.folder.join(oci), &mut tree, &staging)?;
            lap("layers");
        } else {
            saying("asking apt for the packages");
            let closure = debian::resolve(&root.packages, &root.exclude, &cache)?;
            lap("resolve");
            saying(&format!("fetching {} packages", closure.packages.len()));
            let files = debian::fetch(&closure.packages, &cache)?;
            lap("fetch");
            saying("laying out their files");
            debian::base(&mut tree)?;
            debian::lay(&closure.packages, &files, &mut tree, &staging)?;
            bill.packages = closure.packages;
            bill.left_out = closure.left_out;
            lap("lay");
        }
        let own = self.lay_own_files(&mut tree, &staging)?;
        bill.own_files = own;
        for pattern in &root.omit {
            let pattern =
                Pattern::parse(pattern).expect("omit parses because the manifest was checked");
            tree.retain(|path| !pattern.covers(path));
        }
        for point in MOUNT_POINTS {
            if tree.node(point) != Some(&Node::Folder) {
                tree.remove(point);
                tree.put(point, Node::Folder, false)?;
            }
        }
        self.check_program(&tree)?;

        saying("writing the package");
        let folder = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".packing-")
            .permissions(PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .map_err(io_error(folder))?;
        let head = package::write(
            io::BufWriter::with_capacity(1 << 20, file.as_file()),
            &self.manifest,
            &bill,
            &tree,
            &staging,
        )?;
        let bytes = file.as_file().metadata().map_err(io_error(out))?.len();
        drop(file.persist(out).map_err(|error| io_error(out)(error.error))?);
        lap("write");
        let front = Front { head, manifest: self.manifest.clone(), bill };
        Ok(Packed { file: out.to_owned(), bytes, front, times })
    }

    /// `files/`, the script, and the two accounts.
    fn lay_own_files(
        &self,
        tree: &mut Tree,
        staging: &Staging,
    ) -> Result<Vec<OwnFile>, SourceError> {
        let mut own = Vec::new();
        let overlay = self.folder.join("files");
        let mut todo = if overlay.is_dir() { vec![String::new()] } else { Vec::new() };
        while let Some(below) = todo.pop() {
            let place = overlay.join(&below);
            for entry in std::fs::read_dir(&place).map_err(io_error(&place))? {
                let entry = entry.map_err(io_error(&place))?;
                let name = clean_path(std::os::unix::ffi::OsStrExt::as_bytes(&*entry.file_name()))?;
                let path = if below.is_empty() { name } else { format!("{below}/{name}") };
                let place = entry.path();
                let kind = entry.file_type().map_err(io_error(&place))?;
                let node = if kind.is_dir() {
                    todo.push(path.clone());
                    Node::Folder
                } else if kind.is_symlink() {
                    let target = std::fs::read_link(&place).map_err(io_error(&place))?;
                    Node::Link(target.to_string_lossy().into_owned())
                } else if kind.is_file() {
                    let node = stage(staging, &place)?;
                    own.push(own_file(&path, &node));
                    node
                } else {
                    let what = "a device, a socket or a pipe";
                    return Err(TreeError::Kind { path, what }.into());
                };
                tree.put(&path, node, true)?;
            }
        }
        if let Some((place, text)) = self.script()? {
            let Some(name) = place.file_name() else { return Ok(own) };
            let (bytes, sha256) = staging.add(&mut text.as_slice(), MAX_TREE_BYTES)?;
            let node = Node::File { program: true, bytes, sha256 };
            let path = format!("app/{}", name.to_string_lossy());
            own.push(own_file(&path, &node));
            tree.put(&path, node, true)?;
        }
        for (path, text) in [("etc/passwd", PASSWD), ("etc/group", GROUP)] {
            if tree.lookup(path).is_none() {
                let (bytes, sha256) = staging.add(&mut text.as_bytes(), MAX_TREE_BYTES)?;
                tree.put(path, Node::File { program: false, bytes, sha256 }, true)?;
            }
        }
        own.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(own)
    }

    /// What the command starts must be a program of the root.
    fn check_program(&self, tree: &Tree) -> Result<(), SourceError> {
        let program = match self.script()? {
            Some((place, text)) => interpreter(&place, &text)?,
            None => self.manifest.command.argv.first().cloned().unwrap_or_default(),
        };
        let is_program =
            |path: &str| matches!(tree.lookup(path), Some(Node::File { program: true, .. }));
        let found = if program.contains('/') {
            is_program(&program)
        } else {
            ["usr/local/bin", "usr/bin", "bin"]
                .iter()
                .any(|folder| is_program(&format!("{folder}/{program}")))
        };
        if found { Ok(()) } else { Err(SourceError::NoProgram(program)) }
    }
}

fn own_file(path: &str, node: &Node) -> OwnFile {
    let sha256 = match node {
        Node::File { sha256, .. } => *sha256,
        Node::Folder | Node::Link(_) => Digest::of(b""),
    };
    OwnFile { path: path.to_owned(), sha256 }
}

fn stage(staging: &Staging, place: &Path) -> Result<Node, TreeError> {
    let mut file = File::open(place).map_err(io_at(place))?;
    let mode = file.metadata().map_err(io_at(place))?.permissions().mode();
    let (bytes, sha256) = staging.add(&mut file, MAX_TREE_BYTES)?;
    Ok(Node::File { program: mode & 0o111 != 0, bytes, sha256 })
}

/// The program after `#!`.
fn interpreter(place: &Path, script: &[u8]) -> Result<String, SourceError> {
    let refused = |reason: &str| SourceError::Script {
        script: place.display().to_string(),
        reason: reason.to_owned(),
    };
    let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line =
        std::str::from_utf8(line).map_err(|_error| refused("its first line is not UTF-8"))?;
    let rest = line.strip_prefix("#!").ok_or_else(|| refused("it does not start with `#!`"))?;
    match rest.split_whitespace().next() {
        Some(program) if program.starts_with('/') => Ok(program.to_owned()),
        _ => Err(refused("its `#!` line names no program by its full path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder whose root is an empty OCI layout's place: enough for what needs no packages.
    fn folder(change: impl Fn(String) -> String) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("line-count");
        init(&folder).unwrap();
        let manifest = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(manifest, change(text)).unwrap();
        (place, folder)
    }

    #[test]
    fn the_template_is_accepted_and_never_overwritten() {
        let (_place, folder) = folder(|text| text);
        let source = Source::read(&folder).unwrap();
        assert_eq!(source.package_name(), "line-count-0.1.0.chorionapp");
        assert!(matches!(init(&folder), Err(SourceError::Exists(_))));
    }

    #[test]
    fn a_name_that_is_no_apps_name_makes_no_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("Line Count");
        assert!(init(&folder).is_err());
        assert!(!folder.exists());
    }

    #[test]
    fn a_command_that_names_nothing_is_refused_before_packing() {
        for argv in ["{param:none}", "{input:none}", "{input:text}", "{else}"] {
            let line = format!("argv = [\"cat\", \"{argv}\"]");
            let (_place, folder) = folder(|text| text.replace("script = \"run.sh\"", &line));
            assert!(matches!(Source::read(&folder), Err(SourceError::Command { .. })), "{argv}");
        }
    }

    #[test]
    fn a_script_must_say_what_runs_it() {
        let (_place, folder) = folder(|text| text);
        for text in ["echo x\n", "#! \n", "#!sh\n"] {
            std::fs::write(folder.join("run.sh"), text).unwrap();
            assert!(matches!(Source::read(&folder), Err(SourceError::Script { .. })), "{text}");
        }
    }
}
