//! An app's root as a value: sorted paths, what is at each, and one digest over all of it.
//!
//! A tree is put together in memory from layers (Debian packages, OCI layers, an author's folder) while file contents lie in a
//! staging folder under their own SHA-256. So nothing is ever written at a path that an archive chose, and a link in an archive
//! cannot lead a later entry anywhere. Owners, times, set-id bits and extended attributes are dropped: two trees are the same
//! exactly when a program inside could not tell them apart (`spec/app.md` section 3).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Digest, Hasher};

/// Longest path of an entry, in bytes.
pub const PATH_BYTES: usize = 1024;
/// Most entries of a tree.
pub const MAX_ENTRIES: usize = 500_000;
/// Most bytes of all files of a tree.
pub const MAX_TREE_BYTES: u64 = 16 << 30;
/// Where the sandbox mounts what is not the root's; every root has these folders.
pub const MOUNT_POINTS: [&str; 5] = ["data", "dev", "proc", "run", "tmp"];

/// A tree that cannot be made, or is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A path that is absolute, climbs, is too long, or is not UTF-8.
    #[error("entry `{path}` has a path that is refused: {reason}")]
    Path {
        /// The path as it came.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// A device, a socket, a pipe.
    #[error("entry `{path}` is {what}, and an app has only files, folders and symbolic links")]
    Kind {
        /// The entry.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A hard link to what is not a file of the tree.
    #[error("entry `{path}` is a hard link to `{target}`, which is no file of this tree")]
    HardLink {
        /// The entry.
        path: String,
        /// What it names.
        target: String,
    },
    /// A symbolic link that names nothing inside the root.
    #[error("entry `{path}` is a symbolic link that leaves the root: `{target}`")]
    Escape {
        /// The entry.
        path: String,
        /// What it names.
        target: String,
    },
    /// More than a tree may have.
    #[error("the tree has more than {limit}")]
    TooLarge {
        /// The bound that was passed.
        limit: String,
    },
    /// Two entries where one cannot hold the other.
    #[error("entry `{path}` lies below something that is not a folder")]
    NotAFolder {
        /// The entry.
        path: String,
    },
    /// The disk or the archive failed.
    #[error("the tree at {place} does not read or write")]
    Io {
        /// The file or folder.
        place: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

pub(crate) fn io_at(place: impl AsRef<Path>) -> impl FnOnce(io::Error) -> TreeError {
    let place = place.as_ref().display().to_string();
    move |source| TreeError::Io { place, source }
}

/// The components of an archive's path: relative, UTF-8, without `..`; a leading `./` and a trailing `/` are taken off.
///
/// # Errors
/// Everything that is not a plain path below the root.
pub fn clean_path(path: &[u8]) -> Result<String, TreeError> {
    let refused =
        |reason| TreeError::Path { path: String::from_utf8_lossy(path).into_owned(), reason };
    let text = std::str::from_utf8(path).map_err(|_error| refused("it is not UTF-8"))?;
    if text.starts_with('/') {
        return Err(refused("it is absolute"));
    }
    if text.contains('\0') {
        return Err(refused("it has a zero byte"));
    }
    if text.len() > PATH_BYTES {
        return Err(refused("it is too long"));
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(refused("it climbs out of its folder")),
            part if part.len() > 255 => return Err(refused("a component is too long")),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// A path pattern: `*` and `?` match within one component, a pattern has as many components as the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<String>);

impl Pattern {
    /// Reads a pattern: a relative path.
    ///
    /// # Errors
    /// A sentence, for what is no relative path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let clean = clean_path(text.as_bytes()).map_err(|error| error.to_string())?;
        if clean.is_empty() || clean != text {
            return Err(format!("`{text}` is not a relative path pattern"));
        }
        Ok(Self(clean.split('/').map(str::to_owned).collect()))
    }

    /// Whether `path` is one of those meant.
    pub fn matches(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        parts.len() == self.0.len() && self.matches_head(&parts)
    }

    /// Whether `path`, or a folder that holds it, is one of those meant.
    pub fn covers(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        parts.len() >= self.0.len() && self.matches_head(&parts)
    }

    fn matches_head(&self, parts: &[&str]) -> bool {
        self.0.iter().zip(parts).all(|(glob, part)| wild(glob.as_bytes(), part.as_bytes()))
    }
}

/// `*` any bytes, `?` one byte; as in a shell, neither matches a leading dot.
fn wild(glob: &[u8], text: &[u8]) -> bool {
    if text.first() == Some(&b'.') && glob.first() != Some(&b'.') {
        return false;
    }
    let (mut g, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                g += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                g = at + 1;
                t = from + 1;
            }
        }
    }
    glob[g..].iter().all(|&c| c == b'*')
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder, always of mode 0755.
    Folder,
    /// A file of mode 0644, or 0755 when it is a program.
    File {
        /// Whether it may be executed.
        program: bool,
        /// Its length.
        bytes: u64,
        /// Its content.
        sha256: Digest,
    },
    /// A symbolic link and what it names.
    Link(String),
}

impl Node {
    /// The permission bits that every tree entry of this type has.
    pub const fn mode(&self) -> u32 {
        match self {
            Self::Folder | Self::File { program: true, .. } => 0o755,
            Self::File { program: false, .. } => 0o644,
            Self::Link(_) => 0o777,
        }
    }
}

/// File contents under their own SHA-256.
#[derive(Debug)]
pub struct Staging {
    folder: tempfile::TempDir,
}

impl Staging {
    /// An empty staging folder below `parent`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn below(parent: &Path) -> Result<Self, TreeError> {
        let folder = tempfile::Builder::new()
            .prefix(".staging-")
            .tempdir_in(parent)
            .map_err(io_at(parent))?;
        Ok(Self { folder })
    }

    /// Takes one file in; gives its length and digest. Refuses more than `limit` bytes.
    ///
    /// # Errors
    /// When the source or the disk fails, or the limit is passed.
    pub fn add(&self, from: &mut dyn Read, limit: u64) -> Result<(u64, Digest), TreeError> {
        let place = self.folder.path();
        let mut file = tempfile::NamedTempFile::new_in(place).map_err(io_at(place))?;
        let (mut hasher, mut bytes) = (Hasher::new(), 0_u64);
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = from.read(&mut buffer).map_err(io_at(place))?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
            if bytes > limit {
                return Err(TreeError::TooLarge {
                    limit: format!("{} of files", super::Bytes(limit)),
                });
            }
            hasher.update(&buffer[..count]);
            file.write_all(&buffer[..count]).map_err(io_at(place))?;
        }
        let sha256 = hasher.finish();
        drop(file.persist(self.path(sha256)).map_err(|error| io_at(place)(error.error))?);
        Ok((bytes, sha256))
    }

    /// Where the content of that digest lies.
    pub fn path(&self, sha256: Digest) -> PathBuf {
        self.folder.path().join(sha256.to_string())
    }
}

/// Every path of a root and what is at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
    bytes: u64,
}

impl Tree {
    /// The entries, sorted by the bytes of their path.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// What is at `path` (a clean one), links not followed.
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// What is at `path` after following links, as a program inside would find it.
    pub fn lookup(&self, path: &str) -> Option<&Node> {
        let place = self.resolve(path.trim_start_matches('/'), 40)?;
        if place.is_empty() { Some(&Node::Folder) } else { self.nodes.get(&place) }
    }

    /// Bytes of all files.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The tree digest: SHA-256 over a label and every entry in order (`spec/app.md` section 3).
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(b"chorion.tree/1\n");
        let text = |hasher: &mut Hasher, text: &str| {
            hasher.update(&(text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        };
        for (path, node) in &self.nodes {
            hasher.update(match node {
                Node::Folder => b"d",
                Node::File { .. } => b"f",
                Node::Link(_) => b"l",
            });
            hasher.update(&node.mode().to_be_bytes());
            text(&mut hasher, path);
            match node {
                Node::Folder => {}
                Node::File { bytes, sha256, .. } => {
                    hasher.update(&bytes.to_be_bytes());
                    hasher.update(sha256.as_bytes());
                }
                Node::Link(target) => text(&mut hasher, target),
            }
        }
        hasher.finish()
    }

    /// Puts a node at a clean path. Folders on the way are made, links on the way are followed inside the root; what was there
    /// before is replaced, except that a folder is not put over a folder, nor (`keep_links`) over a link to one.
    ///
    /// # Errors
    /// A path below a file, a link that leaves the root, a tree that grows too large.
    pub fn put(&mut self, path: &str, node: Node, keep_links: bool) -> Result<(), TreeError> {
        if path.is_empty() {
            return match node {
                Node::Folder => Ok(()),
                _ => Err(TreeError::Path { path: path.to_owned(), reason: "it is the root" }),
            };
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let not_a_folder = || TreeError::NotAFolder { path: path.to_owned() };
        let parent = self.make_folders(parent).ok_or_else(not_a_folder)?;
        let place = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        if let Node::Link(target) = &node {
            let base = parent.split('/').filter(|part| !part.is_empty()).count();
            if target.is_empty() || target.len() > PATH_BYTES || climbs(target, base) {
                let target = target.clone();
                return Err(TreeError::Escape { path: place, target });
            }
        }
        match (self.nodes.get(&place), &node) {
            (Some(Node::Folder), Node::Folder) => return Ok(()),
            (Some(Node::Link(_)), Node::Folder)
                if keep_links && matches!(self.lookup(&place), Some(Node::Folder)) =>
            {
                return Ok(());
            }
            (Some(_), _) => self.remove(&place),
            (None, _) => {}
        }
        if let Node::File { bytes, .. } = &node {
            self.bytes += bytes;
        }
        self.nodes.insert(place, node);
        if self.nodes.len() > MAX_ENTRIES {
            return Err(TreeError::TooLarge { limit: format!("{MAX_ENTRIES} entries") });
        }
        if self.bytes > MAX_TREE_BYTES {
            let limit = format!("{} of files", super::Bytes(MAX_TREE_BYTES));
            return Err(TreeError::TooLarge { limit });
        }
        Ok(())
    }

    /// Takes away what is at a clean path, and all below it.
    pub fn remove(&mut self, path: &str) {
        self.retain(|entry| {
            entry != path && !entry.strip_prefix(path).is_some_and(|below| below.starts_with('/'))
        });
    }

    /// Keeps the entries for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let bytes = &mut self.bytes;
        self.nodes.retain(|path, node| {
            let kept = keep(path);
            if let (false, Node::File { bytes: gone, .. }) = (kept, &*node) {
                *bytes -= *gone;
            }
            kept
        });
    }

    /// The place that `path` means once links are followed inside the root; its last component need not exist.
    pub fn resolve(&self, path: &str, hops: u32) -> Option<String> {
        let mut place: Vec<String> = Vec::new();
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut hops = hops;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    // As in a real root, `..` of the root is the root.
                    let _parent = place.pop();
                    continue;
                }
                _ => place.push(part),
            }
            match self.nodes.get(&place.join("/")) {
                Some(Node::Link(target)) => {
                    hops = hops.checked_sub(1)?;
                    if target.starts_with('/') {
                        place.clear();
                    } else {
                        let _link = place.pop();
                    }
                    todo.extend(target.split('/').rev().map(str::to_owned));
                }
                Some(Node::File { .. }) if todo.iter().any(|part| !part.is_empty()) => return None,
                _ => {}
            }
        }
        Some(place.join("/"))
    }

    fn make_folders(&mut self, path: &str) -> Option<String> {
        let place = self.resolve(path, 40)?;
        if place.is_empty() {
            return Some(place);
        }
        let mut end = 0;
        while end < place.len() {
            end = place[end + 1..].find('/').map_or(place.len(), |at| end + 1 + at);
            let folder = &place[..end];
            match self.nodes.get(folder) {
                Some(Node::Folder) => {}
                Some(_) => return None,
                None => {
                    let _none_before = self.nodes.insert(folder.to_owned(), Node::Folder);
                }
            }
        }
        Some(place)
    }

    /// Reads a folder on disk as a tree, hashing every file, on `workers` threads.
    ///
    /// # Errors
    /// Anything that is not a file, folder or link, a mode that no tree has, and whatever fails to read.
    pub fn scan(folder: &Path, workers: usize) -> Result<Self, TreeError> {
        let mut tree = Self::default();
        let mut files = Vec::new();
        let mut todo = vec![String::new()];
        while let Some(below) = todo.pop() {
            let place = folder.join(&below);
            for entry in std::fs::read_dir(&place).map_err(io_at(&place))? {
                let entry = entry.map_err(io_at(&place))?;
                let name = entry.file_name();
                let name = std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str());
                let name = clean_path(name)?;
                let path = if below.is_empty() { name } else { format!("{below}/{name}") };
                let meta = entry.metadata().map_err(io_at(entry.path()))?;
                let node = if meta.is_dir() {
                    todo.push(path.clone());
                    Node::Folder
                } else if meta.is_symlink() {
                    let target = std::fs::read_link(entry.path()).map_err(io_at(entry.path()))?;
                    let target = target.into_os_string().into_string();
                    Node::Link(target.map_err(|_os| TreeError::Path {
                        path: path.clone(),
                        reason: "its target is not UTF-8",
                    })?)
                } else if meta.is_file() {
                    files.push((path.clone(), meta.len()));
                    let program = meta.mode() & 0o111 != 0;
                    Node::File { program, bytes: meta.len(), sha256: Digest::from_bytes([0; 32]) }
                } else {
                    return Err(TreeError::Kind { path, what: "a device, a socket or a pipe" });
                };
                if !meta.is_symlink() && meta.mode() & 0o7777 != node.mode() {
                    let reason = "its permission bits are not those of an app's tree";
                    return Err(TreeError::Path { path, reason });
                }
                tree.bytes += if let Node::File { bytes, .. } = &node { *bytes } else { 0 };
                let _none_before = tree.nodes.insert(path, node);
                if tree.nodes.len() > MAX_ENTRIES {
                    return Err(TreeError::TooLarge { limit: format!("{MAX_ENTRIES} entries") });
                }
            }
        }
        // The largest first, so that no thread is left alone with a long one.
        files.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || -> Result<Vec<(String, u64, Digest)>, TreeError> {
            let mut done = Vec::new();
            let mut buffer = vec![0; 1 << 17];
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some((path, _)) = files.get(index) else { return Ok(done) };
                let (bytes, sha256) = hash_file(&folder.join(path), &mut buffer)?;
                done.push((path.clone(), bytes, sha256));
            }
        };
        let results = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().expect("a hashing thread ends because reading does not panic")
            });
            joined.collect::<Result<Vec<_>, _>>()
        })?;
        for (path, read, digest) in results.into_iter().flatten() {
            if let Some(Node::File { bytes, sha256, .. }) = tree.nodes.get_mut(&path) {
                tree.bytes = tree.bytes - *bytes + read;
                (*bytes, *sha256) = (read, digest);
            }
        }
        Ok(tree)
    }

    /// Folders that hold the given clean path, from the root down.
    pub(crate) fn parents_exist(&self, path: &str, folders: &BTreeSet<String>) -> bool {
        path.rsplit_once('/').is_none_or(|(parent, _)| folders.contains(parent))
    }
}

/// Whether a link at `depth` folders below the root names something above the root.
fn climbs(target: &str, depth: usize) -> bool {
    let mut depth = if target.starts_with('/') { 0 } else { depth };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

fn hash_file(path: &Path, buffer: &mut [u8]) -> Result<(u64, Digest), TreeError> {
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut file: File = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(io_at(path))?;
    let (mut hasher, mut bytes) = (Hasher::new(), 0);
    loop {
        let count = file.read(buffer).map_err(io_at(path))?;
        if count == 0 {
            return Ok((bytes, hasher.finish()));
        }
        bytes += count as u64;
        hasher.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(content: &str) -> Node {
        let bytes = content.len() as u64;
        Node::File { program: false, bytes, sha256: Digest::of(content.as_bytes()) }
    }

    fn sample() -> Tree {
        let mut tree = Tree::default();
        tree.put("usr/bin", Node::Folder, true).unwrap();
        tree.put("bin", Node::Link("usr/bin".into()), true).unwrap();
        tree.put("bin/tool", file("tool"), true).unwrap();
        tree.put("bin", Node::Folder, true).unwrap();
        tree
    }

    #[test]
    fn a_path_through_a_link_lands_where_the_link_points() {
        let tree = sample();
        assert_eq!(tree.node("usr/bin/tool"), Some(&file("tool")));
        assert_eq!(tree.node("bin"), Some(&Node::Link("usr/bin".into())));
        assert_eq!(tree.lookup("/bin/tool"), Some(&file("tool")));
        assert_eq!(tree.lookup("/../bin/../bin/tool"), Some(&file("tool")));
    }

    #[test]
    fn any_change_changes_the_digest() {
        let base = sample().digest();
        assert_eq!(sample().digest(), base);
        let changes: [fn(&mut Tree); 6] = [
            |tree| tree.put("usr/bin/tool", file("tooL"), true).unwrap(),
            |tree| {
                let Node::File { bytes, sha256, .. } = file("tool") else { unreachable!() };
                let program = Node::File { program: true, bytes, sha256 };
                tree.put("usr/bin/tool", program, true).unwrap();
            },
            |tree| tree.put("usr/bin/tool2", Node::Folder, true).unwrap(),
            |tree| tree.put("bin", Node::Link("usr//bin".into()), true).unwrap(),
            |tree| tree.remove("usr/bin/tool"),
            |tree| {
                tree.remove("usr/bin/tool");
                tree.put("usr/bin/Tool", file("tool"), true).unwrap();
            },
        ];
        let mut seen = BTreeSet::from([base]);
        for change in changes {
            let mut tree = sample();
            change(&mut tree);
            assert!(seen.insert(tree.digest()), "{tree:?}");
        }
    }

    #[test]
    fn paths_that_leave_the_root_are_refused() {
        let long = "a".repeat(300);
        for path in ["/etc/passwd", "../x", "a/../../x", "a/..", "a\0b", &long] {
            assert!(clean_path(path.as_bytes()).is_err(), "{path}");
        }
        assert!(clean_path(b"a\xff").is_err());
        assert_eq!(clean_path(b"./a//b/").unwrap(), "a/b");
        let mut tree = sample();
        for target in ["../..", "../../../etc/passwd", "/../etc", ""] {
            assert!(
                matches!(
                    tree.put("usr/x", Node::Link(target.into()), true),
                    Err(TreeError::Escape { .. })
                ),
                "{target}"
            );
        }
        tree.put("usr/x", Node::Link("../bin".into()), true).unwrap();
    }

    #[test]
    fn a_chain_of_links_ends_and_a_file_holds_nothing() {
        let mut tree = sample();
        tree.put("a", Node::Link("b".into()), true).unwrap();
        tree.put("b", Node::Link("a".into()), true).unwrap();
        assert!(tree.put("a/x", file("x"), true).is_err());
        assert!(tree.put("usr/bin/tool/x", file("x"), true).is_err());
    }

    #[test]
    fn a_scanned_folder_has_the_digest_of_the_tree_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("usr/bin")).unwrap();
        std::fs::write(root.join("usr/bin/tool"), "tool").unwrap();
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
        for (path, mode) in [("usr", 0o755), ("usr/bin", 0o755), ("usr/bin/tool", 0o644)] {
            std::fs::set_permissions(root.join(path), PermissionsExt::from_mode(mode)).unwrap();
        }
        assert_eq!(Tree::scan(root, 2).unwrap(), sample());
        std::fs::set_permissions(root.join("usr/bin/tool"), PermissionsExt::from_mode(0o4755))
            .unwrap();
        assert!(Tree::scan(root, 1).is_err());
    }

    #[test]
    fn patterns_match_within_one_component() {
        for (pattern, path, hit) in [
            ("*.json", "a.json", true),
            ("*.json", "sub/a.json", false),
            ("*", ".hidden", false),
            ("sub/*", "sub/x", true),
            ("a?c*e", "abcdde", true),
            ("a?c*e", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(path), hit, "{pattern} {path}");
        }
        assert!(Pattern::parse("usr/*/doc").unwrap().covers("usr/share/doc/x/y"));
        for bad in ["", "/a", "../a", "a//b", "a/"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
