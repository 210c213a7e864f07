//! A root from an OCI image layout on disk: `oci-layout`, `index.json`, `blobs/sha256/…`. No container runtime takes part.
//!
//! Every blob is hashed against the digest that names it, every layer also against the configuration's `diff_ids`. Layers are
//! applied in order; a whiteout takes away what lower layers have, never what its own layer brings (OCI image specification
//! 1.1, "Image Layer Filesystem Changeset"). Of the configuration only the layers count: command, environment and limits are
//! the manifest's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use super::tree::{MAX_TREE_BYTES, Node, Staging, Tree, TreeError, clean_path, io_at};
use super::{Digest, Hasher};

/// Most bytes of an index, a manifest or a configuration.
const DOCUMENT_BYTES: u64 = 16 << 20;
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// An image that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The layout is not complete or not understood.
    #[error("OCI layout {layout}: {reason}")]
    Layout {
        /// The folder.
        layout: String,
        /// What is wrong.
        reason: String,
    },
    /// A blob is not the one its digest names.
    #[error("OCI blob {name} has the digest {found}")]
    Digest {
        /// As it is named.
        name: Digest,
        /// As it is.
        found: Digest,
    },
    /// A layer's files are refused.
    #[error("OCI layer {layer} is refused")]
    Layer {
        /// Its digest.
        layer: Digest,
        /// Why.
        #[source]
        source: TreeError,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct ImageManifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct ImageConfig {
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// Applies the image in `layout` to an empty tree. Gives the digests of all blobs that were used.
///
/// # Errors
/// [`OciError`].
pub fn apply(layout: &Path, tree: &mut Tree, staging: &Staging) -> Result<Vec<String>, OciError> {
    let image = Layout { folder: layout };
    let text = std::fs::read(layout.join("index.json"))
        .map_err(|error| image.refused(format!("index.json does not read: {error}")))?;
    let mut index: Index = image.json("index.json", &text)?;
    let mut used = Vec::new();
    // An index may name another one, as builders for several platforms write it.
    for _depth in 0..4 {
        let descriptor = image.choose(&index)?;
        let bytes = image.document(descriptor)?;
        used.push(descriptor.digest.clone());
        if descriptor.media_type.ends_with("index.v1+json")
            || descriptor.media_type.ends_with("manifest.list.v2+json")
        {
            index = image.json("a nested index", &bytes)?;
            continue;
        }
        let manifest: ImageManifest = image.json("the image manifest", &bytes)?;
        let config: ImageConfig =
            image.json("the image configuration", &image.document(&manifest.config)?)?;
        used.push(manifest.config.digest.clone());
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(image.refused("layers and diff_ids differ in number".to_owned()));
        }
        for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
            let plain = image.layer(layer, tree, staging)?;
            let expected = image.digest(diff_id)?;
            if plain != expected {
                return Err(OciError::Digest { name: expected, found: plain });
            }
            used.push(layer.digest.clone());
        }
        return Ok(used);
    }
    Err(image.refused("its indexes are nested too deeply".to_owned()))
}

struct Layout<'a> {
    folder: &'a Path,
}

impl Layout<'_> {
    fn refused(&self, reason: String) -> OciError {
        OciError::Layout { layout: self.folder.display().to_string(), reason }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str, text: &[u8]) -> Result<T, OciError> {
        serde_json::from_slice(text)
            .map_err(|error| self.refused(format!("{name} does not read: {error}")))
    }

    fn digest(&self, text: &str) -> Result<Digest, OciError> {
        let refused = || self.refused(format!("`{text}` is no digest of the kind sha256"));
        text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok()).ok_or_else(refused)
    }

    /// The manifest for this machine, or the only one there is.
    fn choose<'d>(&self, index: &'d Index) -> Result<&'d Descriptor, OciError> {
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let fits = |d: &&Descriptor| {
            d.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == here)
        };
        match &index.manifests[..] {
            [only] if only.platform.is_none() => Ok(only),
            several => several
                .iter()
                .find(fits)
                .ok_or_else(|| self.refused(format!("it has no image for linux/{here}"))),
        }
    }

    fn open(&self, descriptor: &Descriptor) -> Result<(Digest, File), OciError> {
        let digest = self.digest(&descriptor.digest)?;
        let place = self.folder.join("blobs/sha256").join(digest.to_string());
        let file = File::open(&place)
            .map_err(|error| self.refused(format!("blob {digest} does not open: {error}")))?;
        Ok((digest, file))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, OciError> {
        let (name, file) = self.open(descriptor)?;
        let mut bytes = Vec::new();
        let _count = file
            .take(DOCUMENT_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| self.refused(format!("blob {name} does not read: {error}")))?;
        let found = Digest::of(&bytes);
        if found != name || bytes.len() as u64 != descriptor.size {
            return Err(OciError::Digest { name, found });
        }
        Ok(bytes)
    }

    /// Applies one layer and gives the digest of its uncompressed archive.
    fn layer(
        &self,
        descriptor: &Descriptor,
        tree: &mut Tree,
        staging: &Staging,
    ) -> Result<Digest, OciError> {
        let (name, file) = self.open(descriptor)?;
        let mut blob = Hashed::new(BufReader::new(file).take(descriptor.size));
        let refused = |source| OciError::Layer { layer: name, source };
        let media = descriptor.media_type.rsplit_once(['.', '+']).map(|(_, ending)| ending);
        let (changes, diff_id) = {
            let plain: Box<dyn Read + '_> = match media {
                Some("gzip") => Box::new(flate2::read::MultiGzDecoder::new(&mut blob)),
                Some("zstd") => Box::new(
                    zstd::stream::read::Decoder::new(&mut blob)
                        .map_err(|error| refused(io_at("layer")(error)))?,
                ),
                Some("tar") => Box::new(&mut blob),
                _ => {
                    let reason = format!("media type `{}` is not known", descriptor.media_type);
                    return Err(self.refused(reason));
                }
            };
            let mut plain = Hashed::new(plain.take(MAX_TREE_BYTES + (1 << 30)));
            let changes = read_changes(&mut plain, staging).map_err(refused)?;
            // What follows the archive's end belongs to the digests too.
            let _count = io::copy(&mut plain, &mut io::sink())
                .map_err(|error| refused(io_at("layer")(error)))?;
            (changes, plain.hasher.finish())
        };
        let _count =
            io::copy(&mut blob, &mut io::sink()).map_err(|error| refused(io_at("layer")(error)))?;
        let found = blob.hasher.finish();
        if found != name || blob.count != descriptor.size {
            return Err(OciError::Digest { name, found });
        }
        changes.onto(tree).map_err(refused)?;
        Ok(diff_id)
    }
}

/// A reader that hashes what passes.
struct Hashed<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::new(), count: 0 }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

/// One layer: what it takes away from below, then what it brings.
#[derive(Default)]
struct Changes {
    removed: Vec<String>,
    emptied: Vec<String>,
    added: Vec<(String, Change)>,
}

enum Change {
    Node(Node),
    SameAs(String),
}

fn read_changes(tar: &mut dyn Read, staging: &Staging) -> Result<Changes, TreeError> {
    let mut changes = Changes::default();
    let mut total = 0;
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().map_err(io_at("layer"))? {
        let mut entry = entry.map_err(io_at("layer"))?;
        let path = clean_path(&entry.path_bytes())?;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == OPAQUE {
            changes.emptied.push(parent.to_owned());
            continue;
        }
        if let Some(gone) = name.strip_prefix(WHITEOUT) {
            let gone = if parent.is_empty() { gone.to_owned() } else { format!("{parent}/{gone}") };
            changes.removed.push(gone);
            continue;
        }
        let mode = entry.header().mode().map_err(io_at(&path))?;
        let target = |entry: &tar::Entry<'_, _>| {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            String::from_utf8(target).map_err(|_error| TreeError::Path {
                path: path.clone(),
                reason: "its target is not UTF-8",
            })
        };
        let change = match entry.header().entry_type() {
            tar::EntryType::Directory => Change::Node(Node::Folder),
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let (bytes, sha256) = staging.add(&mut entry, MAX_TREE_BYTES - total)?;
                total += bytes;
                Change::Node(Node::File { program: mode & 0o111 != 0, bytes, sha256 })
            }
            tar::EntryType::Symlink => Change::Node(Node::Link(target(&entry)?)),
            tar::EntryType::Link => {
                let target = target(&entry)?;
                Change::SameAs(clean_path(target.trim_start_matches('/').as_bytes())?)
            }
            tar::EntryType::XGlobalHeader => continue,
            _ => return Err(TreeError::Kind { path, what: "a device or a pipe" }),
        };
        changes.added.push((path, change));
    }
    Ok(changes)
}

impl Changes {
    fn onto(self, tree: &mut Tree) -> Result<(), TreeError> {
        for path in self.removed {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            // The parent may be a link in the lower layers; what is removed is the entry itself, never what a link names.
            let Some(parent) = tree.resolve(parent, 40) else { continue };
            tree.remove(&if parent.is_empty() {
                name.to_owned()
            } else {
                format!("{parent}/{name}")
            });
        }
        for path in self.emptied {
            let Some(place) = tree.resolve(&path, 40) else { continue };
            let below = if place.is_empty() { String::new() } else { format!("{place}/") };
            tree.retain(|entry| !entry.starts_with(&below));
        }
        let mut later: BTreeMap<String, String> = BTreeMap::new();
        for (path, change) in self.added {
            match change {
                Change::Node(node) => tree.put(&path, node, false)?,
                Change::SameAs(target) => match tree.lookup(&target) {
                    Some(file @ Node::File { .. }) => {
                        let file = file.clone();
                        tree.put(&path, file, false)?;
                    }
                    _ => {
                        let _first = later.insert(path, target);
                    }
                },
            }
        }
        match later.into_iter().next() {
            Some((path, target)) => Err(TreeError::HardLink { path, target }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    enum Entry<'a> {
        File(&'a str, &'a str),
        Folder(&'a str),
        Link(&'a str, &'a str),
        Hard(&'a str, &'a str),
        Device(&'a str),
    }

    fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            let (path, kind, target, content) = match *entry {
                Entry::File(path, content) => (path, tar::EntryType::Regular, "", content),
                Entry::Folder(path) => (path, tar::EntryType::Directory, "", ""),
                Entry::Link(path, target) => (path, tar::EntryType::Symlink, target, ""),
                Entry::Hard(path, target) => (path, tar::EntryType::Link, target, ""),
                Entry::Device(path) => (path, tar::EntryType::Char, "", ""),
            };
            // Written into the header by hand: the builder would refuse what a hostile archive holds.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    struct Image {
        folder: tempfile::TempDir,
    }

    impl Image {
        fn blob(&self, content: &[u8]) -> serde_json::Value {
            let digest = Digest::of(content);
            let place = self.folder.path().join("blobs/sha256");
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join(digest.to_string()), content).unwrap();
            serde_json::json!({"digest": format!("sha256:{digest}"), "size": content.len()})
        }

        /// An image of those layers: the first plain, the second gzip, the third zstd.
        fn of(layers: &[Vec<u8>]) -> Self {
            let image = Self { folder: tempfile::tempdir().unwrap() };
            let mut descriptors = Vec::new();
            let mut diff_ids = Vec::new();
            for (index, plain) in layers.iter().enumerate() {
                diff_ids.push(format!("sha256:{}", Digest::of(plain)));
                let (packed, ending) = match index % 3 {
                    0 => (plain.clone(), "tar"),
                    1 => {
                        let mut gzip = flate2::read::GzEncoder::new(
                            plain.as_slice(),
                            flate2::Compression::fast(),
                        );
                        let mut packed = Vec::new();
                        gzip.read_to_end(&mut packed).unwrap();
                        (packed, "tar+gzip")
                    }
                    _ => (zstd::encode_all(plain.as_slice(), 1).unwrap(), "tar+zstd"),
                };
                let mut descriptor = image.blob(&packed);
                descriptor["mediaType"] =
                    format!("application/vnd.oci.image.layer.v1.{ending}").into();
                descriptors.push(descriptor);
            }
            let config = serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}});
            let config = image.blob(config.to_string().as_bytes());
            let manifest = serde_json::json!({"config": config, "layers": descriptors});
            let mut manifest = image.blob(manifest.to_string().as_bytes());
            manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
            let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest]});
            std::fs::write(image.folder.path().join("index.json"), index.to_string()).unwrap();
            image
        }

        fn tree(&self) -> Result<Tree, OciError> {
            let place = tempfile::tempdir().unwrap();
            let staging = Staging::below(place.path()).unwrap();
            let mut tree = Tree::default();
            apply(self.folder.path(), &mut tree, &staging).map(|_used| tree)
        }
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.entries().map(|(path, _)| path).collect()
    }

    #[test]
    fn whiteouts_take_from_lower_layers_only() {
        let image = Image::of(&[
            layer(&[
                Entry::Folder("etc/"),
                Entry::File("etc/a", "a"),
                Entry::File("etc/b", "b"),
                Entry::Folder("old"),
                Entry::File("old/x", "x"),
                Entry::Folder("usr/bin"),
                Entry::Link("bin", "usr/bin"),
            ]),
            layer(&[
                Entry::File("etc/.wh.a", ""),
                Entry::File("old/new", "n"),
                Entry::File("old/.wh..wh..opq", ""),
                Entry::File("bin/tool", "tool"),
                Entry::Hard("bin/same", "usr/bin/tool"),
            ]),
            layer(&[Entry::File("etc/a", "again"), Entry::File("etc/.wh.a", "")]),
        ]);
        let tree = image.tree().unwrap();
        assert_eq!(
            paths(&tree),
            [
                "bin",
                "etc",
                "etc/a",
                "etc/b",
                "old",
                "old/new",
                "usr",
                "usr/bin",
                "usr/bin/same",
                "usr/bin/tool"
            ]
        );
        assert_eq!(tree.node("usr/bin/same"), tree.node("usr/bin/tool"));
    }

    #[test]
    fn a_changed_blob_is_refused() {
        let image = Image::of(&[layer(&[Entry::File("a", "a")])]);
        assert!(image.tree().is_ok());
        let blobs = image.folder.path().join("blobs/sha256");
        let files: Vec<PathBuf> =
            std::fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path()).collect();
        for file in files {
            let good = std::fs::read(&file).unwrap();
            let mut bad = good.clone();
            let last = bad.len() - 1;
            bad[last] ^= 1;
            std::fs::write(&file, &bad).unwrap();
            assert!(image.tree().is_err(), "{}", file.display());
            std::fs::write(&file, good).unwrap();
        }
    }

    #[test]
    fn hostile_layers_are_refused() {
        for (name, entry) in [
            ("climbing", Entry::File("../x", "x")),
            ("absolute", Entry::File("/x", "x")),
            ("device", Entry::Device("dev/null")),
            ("hard link out", Entry::Hard("x", "../../etc/passwd")),
            ("hard link to nothing", Entry::Hard("x", "etc/passwd")),
            ("link out", Entry::Link("x", "../../../etc")),
        ] {
            assert!(Image::of(&[layer(&[entry])]).tree().is_err(), "{name}");
        }
        // A link to a host folder leads inside the root, not to the host.
        let through = [Entry::Link("x", "/etc"), Entry::File("x/passwd", "ours")];
        let tree = Image::of(&[layer(&through)]).tree().unwrap();
        assert_eq!(paths(&tree), ["etc", "etc/passwd", "x"]);
    }
}
