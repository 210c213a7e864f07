//! The package: one file that is an app, and the cache it is opened into.
//!
//! A tar archive under Zstandard: `chorion-app.json`, `manifest.json`, `bill-of-materials.json`, then `root/…` in the order of
//! the tree digest. The same app gives the same bytes. A reader takes only that shape: each path above the last, each parent a
//! folder that came before, no hard link, no device. So nothing can be written outside the folder that is being filled, and
//! no link is ever written through. A package counts only once its app digest has been computed anew (`spec/app.md` section 5).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::{Manifest, ManifestError};
use super::tree::{MAX_TREE_BYTES, MOUNT_POINTS, Node, Staging, Tree, TreeError, clean_path};
use super::{Digest, Hasher, app_digest};

/// The value of `format` in the head of a package.
pub const PACKAGE_FORMAT: &str = "chorion.app-package/1";
/// How a package file's name ends.
pub const EXTENSION: &str = "chorionapp";
/// Most bytes of the head, the manifest and the bill of materials, each.
const DOCUMENT_BYTES: u64 = 16 << 20;
/// Zstandard's level: measured on the shipped apps, higher levels cost seconds and gain a few percent.
const LEVEL: i32 = 9;

/// A package, or an unpacked app, that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Not a package at all, or one cut short.
    #[error("{package} is not an app package: {reason}")]
    Shape {
        /// The package file.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// The manifest in it is refused.
    #[error("{package} holds a manifest that is refused")]
    Manifest {
        /// The package file.
        package: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A path, link or entry in it is refused.
    #[error("{package} holds a tree that is refused")]
    Tree {
        /// The package file or the unpacked app.
        package: String,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// The digest is another than the one expected.
    #[error("app {package} has the digest {found}, not {expected}")]
    Digest {
        /// The package file or the unpacked app.
        package: String,
        /// What was asked for, or what its head says.
        expected: Digest,
        /// What its bytes give.
        found: Digest,
    },
    /// The file or the cache does not read or write.
    #[error("{place} does not read or write")]
    Io {
        /// The file or folder.
        place: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

fn io_error(place: impl AsRef<Path>) -> impl FnOnce(io::Error) -> PackageError {
    let place = place.as_ref().display().to_string();
    move |source| PackageError::Io { place, source }
}

/// The first entry of a package: what the rest must turn out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// [`PACKAGE_FORMAT`].
    pub format: String,
    /// `name-version`.
    pub app: String,
    /// Over manifest and tree.
    pub app_digest: Digest,
    /// Of the canonical manifest.
    pub manifest_digest: Digest,
    /// Of the root.
    pub tree_digest: Digest,
    /// Entries of the root.
    pub entries: u64,
    /// Bytes of its files.
    pub tree_bytes: u64,
}

/// What the root was made from. It is information: the digest covers the files themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillOfMaterials {
    /// Debian packages, in order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<DebianPackage>,
    /// Packages that were depended on and left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// OCI blobs, in the order they were applied: manifest, configuration, layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<String>,
    /// Files of the author's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_files: Vec<OwnFile>,
    /// Path patterns that were left out of the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omitted: Vec<String>,
}

/// One Debian package of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// Of the `.deb`, as apt's signed index has it and as it was checked.
    pub sha256: Digest,
    /// Length of the `.deb`.
    pub bytes: u64,
    /// Its path in the archive.
    pub filename: String,
}

/// One file of the author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnFile {
    /// Where it lies in the root.
    pub path: String,
    /// Its content.
    pub sha256: Digest,
}

/// Writes a package.
///
/// # Errors
/// When a staged file or the output fails.
pub fn write(
    out: impl Write,
    manifest: &Manifest,
    bill: &BillOfMaterials,
    tree: &Tree,
    staging: &Staging,
) -> Result<Head, PackageError> {
    let tree_digest = tree.digest();
    let manifest_digest = manifest.digest();
    let head = Head {
        format: PACKAGE_FORMAT.to_owned(),
        app: manifest.full_name(),
        app_digest: app_digest(manifest_digest, tree_digest),
        manifest_digest,
        tree_digest,
        entries: tree.entries().len() as u64,
        tree_bytes: tree.bytes(),
    };
    let place = || io_error(format!("package {}", head.app));
    let frame = zstd::stream::write::Encoder::new(out, LEVEL).map_err(place())?;
    let mut tar = tar::Builder::new(frame);
    for (name, content) in [
        ("chorion-app.json", to_json(&head)),
        ("manifest.json", manifest.canonical()),
        ("bill-of-materials.json", to_json(bill)),
    ] {
        let mut header = header(0o644, content.len() as u64, tar::EntryType::Regular);
        tar.append_data(&mut header, name, content.as_slice()).map_err(place())?;
    }
    for (path, node) in tree.entries() {
        let name = format!("root/{path}");
        match node {
            Node::Folder => {
                let mut header = header(node.mode(), 0, tar::EntryType::Directory);
                tar.append_data(&mut header, format!("{name}/"), io::empty()).map_err(place())?;
            }
            Node::File { bytes, sha256, .. } => {
                let staged = staging.path(*sha256);
                let file = File::open(&staged).map_err(io_error(&staged))?;
                let mut header = header(node.mode(), *bytes, tar::EntryType::Regular);
                tar.append_data(&mut header, name, file.take(*bytes)).map_err(place())?;
            }
            Node::Link(target) => {
                let mut header = header(node.mode(), 0, tar::EntryType::Symlink);
                tar.append_link(&mut header, name, target).map_err(place())?;
            }
        }
    }
    let frame = tar.into_inner().map_err(place())?;
    let mut out = frame.finish().map_err(place())?;
    out.flush().map_err(place())?;
    Ok(head)
}

fn header(mode: u32, bytes: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value)
        .expect("our documents serialize because they hold only text and numbers");
    text.push(b'\n');
    text
}

/// The documents at the front of a package, read without its root and therefore **not** verified.
#[derive(Debug, Clone)]
pub struct Front {
    /// The head, as it claims.
    pub head: Head,
    /// The manifest.
    pub manifest: Manifest,
    /// What the root was made from.
    pub bill: BillOfMaterials,
}

/// Reads the front of a package.
///
/// # Errors
/// What is no package.
pub fn read_front(package: &Path) -> Result<Front, PackageError> {
    let file = File::open(package).map_err(io_error(package))?;
    let name = package.display().to_string();
    let mut reader = Reader::new(file, name)?;
    let mut entries = reader.archive.entries().map_err(io_error(package))?;
    front(&mut entries, &reader.name)
}

struct Reader<R: Read> {
    archive: tar::Archive<io::Take<zstd::stream::read::Decoder<'static, io::BufReader<R>>>>,
    name: String,
}

impl<R: Read> Reader<R> {
    fn new(from: R, name: String) -> Result<Self, PackageError> {
        let mut frame = zstd::stream::read::Decoder::new(from)
            .map_err(|source| PackageError::Io { place: name.clone(), source })?;
        // Our own writer stays below this window; a frame that asks for more wants the reader's memory.
        frame
            .window_log_max(27)
            .map_err(|source| PackageError::Io { place: name.clone(), source })?;
        // Headers are bounded with the contents, so that an archive of headers ends too.
        let archive = tar::Archive::new(frame.take(MAX_TREE_BYTES + (1 << 30)));
        Ok(Self { archive, name })
    }
}

fn front<R: Read>(entries: &mut tar::Entries<'_, R>, name: &str) -> Result<Front, PackageError> {
    let shape = |reason: String| PackageError::Shape { package: name.to_owned(), reason };
    let mut document = |wanted: &str| -> Result<Vec<u8>, PackageError> {
        let entry = entries.next().ok_or_else(|| shape(format!("it ends before {wanted}")))?;
        let entry = entry.map_err(|error| shape(error.to_string()))?;
        let path = entry.path_bytes();
        if path.as_ref() != wanted.as_bytes()
            || entry.header().entry_type() != tar::EntryType::Regular
        {
            let found = String::from_utf8_lossy(&path).into_owned();
            return Err(shape(format!("`{found}` stands where {wanted} belongs")));
        }
        if entry.size() > DOCUMENT_BYTES {
            return Err(shape(format!("{wanted} is too large")));
        }
        let mut bytes = Vec::new();
        let _count = entry
            .take(DOCUMENT_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| shape(error.to_string()))?;
        Ok(bytes)
    };
    let head: Head = serde_json::from_slice(&document("chorion-app.json")?)
        .map_err(|error| shape(format!("its head does not read: {error}")))?;
    if head.format != PACKAGE_FORMAT {
        return Err(shape(format!("its format is `{}`, not `{PACKAGE_FORMAT}`", head.format)));
    }
    let manifest = Manifest::from_canonical(&document("manifest.json")?)
        .map_err(|source| PackageError::Manifest { package: name.to_owned(), source })?;
    let bill = serde_json::from_slice(&document("bill-of-materials.json")?)
        .map_err(|error| shape(format!("its bill of materials does not read: {error}")))?;
    Ok(Front { head, manifest, bill })
}

/// Opens a package into `folder` (which must be new): `manifest.json`, `bill-of-materials.json`, `root/`.
fn unpack(from: impl Read, name: &str, folder: &Path) -> Result<(Front, Tree), PackageError> {
    let shape = |reason: String| PackageError::Shape { package: name.to_owned(), reason };
    let refused = |source: TreeError| PackageError::Tree { package: name.to_owned(), source };
    let mut reader = Reader::new(from, name.to_owned())?;
    let mut entries = reader.archive.entries().map_err(io_error(name))?;
    let front = front(&mut entries, name)?;
    for (file, content) in [
        ("manifest.json", front.manifest.canonical()),
        ("bill-of-materials.json", to_json(&front.bill)),
    ] {
        std::fs::write(folder.join(file), content).map_err(io_error(folder))?;
    }
    let root = folder.join("root");
    make_folder(&root).map_err(io_error(&root))?;

    let mut tree = Tree::default();
    let mut folders = BTreeSet::new();
    let mut last: Option<String> = None;
    let mut left = front.head.tree_bytes.min(MAX_TREE_BYTES);
    for entry in entries {
        let mut entry = entry.map_err(|error| shape(error.to_string()))?;
        let raw = entry.path_bytes().into_owned();
        let below = raw.strip_prefix(b"root/").ok_or_else(|| {
            shape(format!("`{}` lies outside its root", String::from_utf8_lossy(&raw)))
        })?;
        let path = clean_path(below).map_err(refused)?;
        let plain = below.strip_suffix(b"/").unwrap_or(below);
        if path.as_bytes() != plain || path.is_empty() {
            return Err(shape(format!("`{path}` is not written in its plain form")));
        }
        if last.as_ref().is_some_and(|last| *last >= path) {
            return Err(shape(format!("`{path}` is out of order")));
        }
        // A parent that is a link or a file is not in the set: nothing is ever written through one.
        if !tree.parents_exist(&path, &folders) {
            return Err(refused(TreeError::NotAFolder { path }));
        }
        let place = root.join(&path);
        let mode = entry.header().mode().map_err(|error| shape(error.to_string()))?;
        let node = match entry.header().entry_type() {
            tar::EntryType::Directory => {
                make_folder(&place).map_err(io_error(&place))?;
                let _new = folders.insert(path.clone());
                Node::Folder
            }
            tar::EntryType::Regular => {
                let bytes = entry.size();
                left = left.checked_sub(bytes).ok_or_else(|| {
                    shape(format!(
                        "its files are larger than the {} bytes it states",
                        front.head.tree_bytes
                    ))
                })?;
                let sha256 =
                    write_file(&mut entry, &place, bytes, mode).map_err(io_error(&place))?;
                Node::File { program: mode & 0o111 != 0, bytes, sha256 }
            }
            tar::EntryType::Symlink => {
                let target = entry
                    .link_name_bytes()
                    .and_then(|target| String::from_utf8(target.into_owned()).ok())
                    .ok_or_else(|| {
                        shape(format!("`{path}` is a link without a readable target"))
                    })?;
                Node::Link(target)
            }
            other => {
                let what = match other {
                    tar::EntryType::Link => "a hard link",
                    tar::EntryType::Char | tar::EntryType::Block => "a device",
                    tar::EntryType::Fifo => "a pipe",
                    _ => "of an unknown type",
                };
                return Err(refused(TreeError::Kind { path, what }));
            }
        };
        if mode != node.mode() {
            return Err(shape(format!("`{path}` has the permission bits {mode:o}")));
        }
        // Refuses a link that leaves the root before it exists on the disk.
        tree.put(&path, node.clone(), false).map_err(refused)?;
        if let Node::Link(target) = &node {
            std::os::unix::fs::symlink(target, &place).map_err(io_error(&place))?;
        }
        last = Some(path);
    }
    let found = app_digest(front.manifest.digest(), tree.digest());
    if found != front.head.app_digest {
        let expected = front.head.app_digest;
        return Err(PackageError::Digest { package: name.to_owned(), expected, found });
    }
    for point in MOUNT_POINTS {
        if tree.node(point) != Some(&Node::Folder) {
            return Err(shape(format!("its root has no folder `{point}`")));
        }
    }
    Ok((front, tree))
}

fn make_folder(place: &Path) -> io::Result<()> {
    std::fs::create_dir(place)?;
    std::fs::set_permissions(place, PermissionsExt::from_mode(0o755))
}

fn write_file(from: &mut impl Read, place: &Path, bytes: u64, mode: u32) -> io::Result<Digest> {
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(place)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 17];
    let mut left = bytes;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = from.read(&mut buffer[..want])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count])?;
        left -= count as u64;
    }
    let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
    file.set_permissions(PermissionsExt::from_mode(mode))?;
    Ok(hasher.finish())
}

/// Unpacked apps, one folder per app digest.
#[derive(Debug, Clone)]
pub struct AppCache {
    folder: PathBuf,
}

/// An app that lies unpacked in a cache. It runs only as a [`VerifiedApp`].
#[derive(Debug, Clone)]
pub struct InstalledApp {
    folder: PathBuf,
    digest: Digest,
}

/// An app whose every byte was read and found to be the one its digest names, just now.
///
/// The cache belongs to the user who runs the vault (mode 0700); what that user changes between this check and the start is
/// not guarded against, since that user could as well change the vault.
#[derive(Debug, Clone)]
pub struct VerifiedApp {
    digest: Digest,
    manifest: Manifest,
    root: PathBuf,
    entries: usize,
    bytes: u64,
}

impl AppCache {
    /// The cache in `folder`, made if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, PackageError> {
        std::fs::create_dir_all(folder).map_err(io_error(folder))?;
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700))
            .map_err(io_error(folder))?;
        let folder = folder.canonicalize().map_err(io_error(folder))?;
        Ok(Self { folder })
    }

    /// The app of that digest, if it is here.
    pub fn find(&self, digest: Digest) -> Option<InstalledApp> {
        let folder = self.folder.join(digest.to_string());
        folder.join("root").is_dir().then_some(InstalledApp { folder, digest })
    }

    /// Opens a package file into the cache; with `expected`, only if it is that app.
    ///
    /// # Errors
    /// A hostile or damaged package, another app than expected, a disk that fails. Nothing is left then.
    pub fn install(
        &self,
        package: &Path,
        expected: Option<Digest>,
    ) -> Result<InstalledApp, PackageError> {
        let file = File::open(package).map_err(io_error(package))?;
        self.install_from(file, &package.display().to_string(), expected)
    }

    /// As [`AppCache::install`], from a stream called `name` in errors.
    ///
    /// # Errors
    /// As [`AppCache::install`].
    pub fn install_from(
        &self,
        from: impl Read,
        name: &str,
        expected: Option<Digest>,
    ) -> Result<InstalledApp, PackageError> {
        let partial = tempfile::Builder::new()
            .prefix(".partial-")
            .tempdir_in(&self.folder)
            .map_err(io_error(&self.folder))?;
        let (front, _tree) = unpack(from, name, partial.path())?;
        let digest = front.head.app_digest;
        if let Some(expected) = expected
            && expected != digest
        {
            return Err(PackageError::Digest { package: name.to_owned(), expected, found: digest });
        }
        let folder = self.folder.join(digest.to_string());
        let there = InstalledApp { folder: folder.clone(), digest };
        if folder.is_dir() {
            // Another vault may be running from what is there: it is replaced only if it is damaged.
            if there.verify().is_ok() {
                return Ok(there);
            }
            let old = tempfile::Builder::new()
                .prefix(".old-")
                .tempdir_in(&self.folder)
                .map_err(io_error(&self.folder))?;
            std::fs::rename(&folder, old.path().join("app")).map_err(io_error(&folder))?;
        }
        match std::fs::rename(partial.path(), &folder) {
            Ok(()) => {
                let _moved_away = partial.keep();
            }
            // Another vault was first with the same app; whoever starts it checks every byte again.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(io_error(&folder)(error)),
        }
        Ok(InstalledApp { folder, digest })
    }
}

impl InstalledApp {
    /// The digest under which it lies here.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Reads every byte of the manifest and the root again, and compares.
    ///
    /// # Errors
    /// [`PackageError::Digest`] when anything differs.
    pub fn verify(&self) -> Result<VerifiedApp, PackageError> {
        let name = self.digest.to_string();
        let place = self.folder.join("manifest.json");
        let manifest = Manifest::from_canonical(&std::fs::read(&place).map_err(io_error(&place))?)
            .map_err(|source| PackageError::Manifest { package: name.clone(), source })?;
        let root = self.folder.join("root");
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let tree = Tree::scan(&root, workers)
            .map_err(|source| PackageError::Tree { package: name.clone(), source })?;
        let found = app_digest(manifest.digest(), tree.digest());
        if found != self.digest {
            return Err(PackageError::Digest { package: name, expected: self.digest, found });
        }
        let (entries, bytes) = (tree.entries().len(), tree.bytes());
        Ok(VerifiedApp { digest: found, manifest, root, entries, bytes })
    }

    /// The bill of materials that came with it.
    ///
    /// # Errors
    /// When it does not read.
    pub fn bill_of_materials(&self) -> Result<BillOfMaterials, PackageError> {
        let place = self.folder.join("bill-of-materials.json");
        let bytes = std::fs::read(&place).map_err(io_error(&place))?;
        serde_json::from_slice(&bytes).map_err(|error| PackageError::Shape {
            package: self.digest.to_string(),
            reason: format!("its bill of materials does not read: {error}"),
        })
    }
}

impl VerifiedApp {
    /// Over manifest and tree.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What it declares.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where its root lies on this machine.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Entries and bytes of the root.
    pub const fn size(&self) -> (usize, u64) {
        (self.entries, self.bytes)
    }
}

#[cfg(test)]
mod tests;
