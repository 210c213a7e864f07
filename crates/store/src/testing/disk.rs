//! A disk in memory that does what disks do when the power goes: keeps what was synced, and of the rest any part.
//!
//! Names and contents are tracked apart. A file's bytes are durable after its own sync; a name is durable after a sync of
//! its directory. Until then, at a power cut, each change of names survives or not (a rename wholly or not at all, and not
//! without the changes of the same names before it), and each sector of a file is the old or the new one. Any act can be
//! made to fail, files can be damaged behind the store's back, directories unmounted, and the whole surface searched,
//! freed files included.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use crate::{
    disk::{Disk, DiskFile, Entry, Space},
    held,
};

const SECTOR_BYTES: usize = 512;

/// What was asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Open,
    Append,
    Overwrite,
    SyncFile,
    Read,
    List,
    CreateDir,
    Rename,
    Exchange,
    Unlink,
    SyncDir,
    SyncAll,
    Look,
}

impl Act {
    fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::List | Self::Look)
    }
}

/// How much of what was not synced a power cut takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// All of it: the strictest reading of what a sync is for.
    Everything,
    /// Some of it, chosen by this seed.
    Some(u64),
    /// None: only the process was killed.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    is_dirty: bool,
}

/// One change of names, in one step.
type Change = Vec<(PathBuf, Option<Node>)>;

struct Fault {
    act: Act,
    path: String,
    kind: io::ErrorKind,
    times: u32,
}

#[derive(Default)]
struct World {
    inodes: Vec<Inode>,
    now: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<Change>,
    locked: HashSet<PathBuf>,
    faults: Vec<Fault>,
    changes: u64,
    cut_at: Option<u64>,
    is_off: bool,
    file_syncs: u64,
    dir_syncs: u64,
    free_bytes: Option<u64>,
    read_only: bool,
    cannot_exchange: bool,
}

/// A directory tree taken off the disk, to be put back later as it was.
pub(crate) struct Unmounted(BTreeMap<PathBuf, Node>);

#[derive(Clone, Default)]
pub(crate) struct FaultDisk {
    world: Arc<Mutex<World>>,
}

struct FaultFile {
    disk: FaultDisk,
    inode: usize,
    path: PathBuf,
}

struct Locked {
    disk: FaultDisk,
    path: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        held(&self.disk.world).locked.remove(&self.path);
    }
}

/// `SplitMix64`: small, and the same everywhere.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn is_heads(&mut self) -> bool {
        self.roll() & 1 == 1
    }
}

impl FaultDisk {
    pub(crate) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// The next acts of this kind on paths that contain this text fail.
    pub(crate) fn fail(&self, act: Act, path: &str, kind: io::ErrorKind, times: u32) {
        held(&self.world).faults.push(Fault { act, path: path.to_owned(), kind, times });
    }

    /// Forgets the faults that were asked for and did not happen yet.
    pub(crate) fn heal(&self) {
        held(&self.world).faults.clear();
    }

    /// The power goes at the n-th change from now on: that change may or may not reach the disk, and nothing works after it.
    pub(crate) fn cut_power_at(&self, change: u64) {
        let mut world = held(&self.world);
        world.cut_at = Some(world.changes + change);
    }

    pub(crate) fn is_off(&self) -> bool {
        held(&self.world).is_off
    }

    /// How many changes and syncs were asked for so far.
    pub(crate) fn changes(&self) -> u64 {
        held(&self.world).changes
    }

    /// File syncs and directory syncs so far.
    pub(crate) fn syncs(&self) -> (u64, u64) {
        let world = held(&self.world);
        (world.file_syncs, world.dir_syncs)
    }

    pub(crate) fn set_free_bytes(&self, free_bytes: Option<u64>) {
        held(&self.world).free_bytes = free_bytes;
    }

    pub(crate) fn set_read_only(&self, read_only: bool) {
        held(&self.world).read_only = read_only;
    }

    pub(crate) fn set_cannot_exchange(&self) {
        held(&self.world).cannot_exchange = true;
    }

    /// The power is back, and the disk holds what survived.
    pub(crate) fn restart(&self, loss: Loss) {
        let mut world = held(&self.world);
        let world = &mut *world;
        let mut dice = Dice(if let Loss::Some(seed) = loss { seed } else { 0 });
        let mut lost_names: BTreeSet<PathBuf> = BTreeSet::new();
        for change in std::mem::take(&mut world.pending) {
            let depends_on_lost = change.iter().any(|(path, _)| lost_names.contains(path));
            let survives = match loss {
                Loss::Everything => false,
                Loss::Some(_) => dice.is_heads(),
                Loss::Nothing => true,
            };
            if survives && !depends_on_lost {
                apply(&mut world.durable, &change);
            } else {
                lost_names.extend(change.into_iter().map(|(path, _)| path));
            }
        }
        // A name in a directory that has no name is nowhere.
        let kept = world.durable.clone();
        world.durable.retain(|path, _| {
            path.ancestors().skip(1).all(|dir| dir == Path::new("/") || kept.contains_key(dir))
        });
        world.now = world.durable.clone();
        for inode in world.inodes.iter_mut().filter(|inode| inode.is_dirty) {
            inode.durable = match loss {
                Loss::Everything => std::mem::take(&mut inode.durable),
                Loss::Some(_) => torn(&inode.durable, &inode.now, &mut dice),
                Loss::Nothing => inode.now.clone(),
            };
            inode.now = inode.durable.clone();
            inode.is_dirty = false;
        }
        world.locked.clear();
        world.faults.clear();
        world.cut_at = None;
        world.is_off = false;
    }

    /// Every file whose path contains this text.
    pub(crate) fn files(&self, part: &str) -> Vec<PathBuf> {
        let world = held(&self.world);
        let files = world.now.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        files
            .map(|(path, _)| path.clone())
            .filter(|path| path.to_string_lossy().contains(part))
            .collect()
    }

    /// Changes a file's bytes behind everyone's back, durably.
    pub(crate) fn damage(&self, path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
        let mut world = held(&self.world);
        let Some(Node::File(inode)) = world.now.get(path).copied() else {
            panic!("{} is not a file", path.display());
        };
        let inode = &mut world.inodes[inode];
        how(&mut inode.now);
        inode.durable = inode.now.clone();
        inode.is_dirty = false;
    }

    /// What would be in this file after the strictest power cut.
    pub(crate) fn durable_bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let world = held(&self.world);
        let is_reached = path
            .ancestors()
            .skip(1)
            .all(|dir| dir == Path::new("/") || world.durable.contains_key(dir));
        match world.durable.get(path) {
            Some(Node::File(inode)) if is_reached => Some(world.inodes[*inode].durable.clone()),
            _ => None,
        }
    }

    /// Takes a file away behind everyone's back.
    pub(crate) fn lose(&self, path: &Path) {
        let mut world = held(&self.world);
        assert!(world.now.remove(path).is_some(), "{} is there to be lost", path.display());
        world.durable.remove(path);
    }

    /// Moves a file behind everyone's back; directories on the way are made.
    pub(crate) fn misplace(&self, from: &Path, to: &Path) {
        let mut world = held(&self.world);
        let node = world.now.remove(from).unwrap();
        world.durable.remove(from);
        let dirs: Vec<_> = to.ancestors().skip(1).map(Path::to_owned).collect();
        for dir in dirs {
            world.now.insert(dir.clone(), Node::Dir);
            world.durable.insert(dir, Node::Dir);
        }
        world.now.insert(to.to_owned(), node);
        world.durable.insert(to.to_owned(), node);
    }

    /// Leaves an empty directory where there was a full one.
    pub(crate) fn unmount(&self, root: &Path) -> Unmounted {
        let mut world = held(&self.world);
        let within = |path: &PathBuf| path.starts_with(root) && path != root;
        let taken = world
            .now
            .iter()
            .filter(|(path, _)| within(path))
            .map(|(path, node)| (path.clone(), *node))
            .collect();
        world.now.retain(|path, _| !within(path));
        world.durable.retain(|path, _| !within(path));
        world.pending.clear();
        Unmounted(taken)
    }

    /// Puts back what was taken, and nothing else is there.
    pub(crate) fn mount(&self, root: &Path, tree: &Unmounted) {
        drop(self.unmount(root));
        let mut world = held(&self.world);
        world.now.extend(tree.0.clone());
        world.durable.extend(tree.0.clone());
    }

    /// A copy of a directory as it is now, files and all, as a backup would take it.
    pub(crate) fn copy_of(&self, root: &Path) -> Unmounted {
        let mut world = held(&self.world);
        let within: Vec<_> = world
            .now
            .iter()
            .filter(|(path, _)| path.starts_with(root) && *path != root)
            .map(|(path, node)| (path.clone(), *node))
            .collect();
        let copied = within.into_iter().map(|(path, node)| {
            let node = match node {
                Node::Dir => Node::Dir,
                Node::File(inode) => {
                    let bytes = world.inodes[inode].now.clone();
                    world.inodes.push(Inode {
                        now: bytes.clone(),
                        durable: bytes,
                        is_dirty: false,
                    });
                    Node::File(world.inodes.len() - 1)
                }
            };
            (path, node)
        });
        Unmounted(copied.collect())
    }

    /// Whether these bytes lie anywhere in a file.
    pub(crate) fn holds_in_a_file(&self, needle: &[u8]) -> bool {
        let world = held(&self.world);
        let inodes: BTreeSet<usize> = world
            .now
            .values()
            .chain(world.durable.values())
            .filter_map(|node| match node {
                Node::File(inode) => Some(*inode),
                Node::Dir => None,
            })
            .collect();
        inodes.into_iter().any(|inode| world.inodes[inode].holds(needle))
    }

    /// Whether these bytes lie anywhere on the surface, files that are gone included.
    pub(crate) fn holds_anywhere(&self, needle: &[u8]) -> bool {
        held(&self.world).inodes.iter().any(|inode| inode.holds(needle))
    }

    fn begin(&self, act: Act, path: &Path) -> io::Result<MutexGuard<'_, World>> {
        let mut world = held(&self.world);
        if world.is_off {
            return Err(io::Error::other("the power is off"));
        }
        if act.changes() {
            world.changes += 1;
            if world.cut_at.is_some_and(|at| world.changes >= at) {
                world.is_off = true;
            }
            if world.read_only {
                return Err(io::ErrorKind::ReadOnlyFilesystem.into());
            }
        }
        let text = path.to_string_lossy().into_owned();
        let fault = world
            .faults
            .iter_mut()
            .find(|fault| fault.act == act && fault.times > 0 && text.contains(&fault.path));
        if let Some(fault) = fault {
            fault.times -= 1;
            return Err(fault.kind.into());
        }
        Ok(world)
    }
}

impl World {
    /// The answer to an act that was done: nobody hears it if the power went with it.
    fn heard<T>(&self, done: T) -> io::Result<T> {
        if self.is_off { Err(io::Error::other("the power is off")) } else { Ok(done) }
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.now.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn dir(&self, path: &Path) -> io::Result<()> {
        match self.now.get(path) {
            _ if path == Path::new("/") => Ok(()),
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.pending.push(change);
    }

    /// Makes the names in one directory durable, with what they depend on.
    fn sync_names(&mut self, dir: &Path) {
        let mut wanted: Vec<bool> = self
            .pending
            .iter()
            .map(|change| change.iter().any(|(path, _)| path.parent() == Some(dir)))
            .collect();
        for later in (0..self.pending.len()).rev() {
            if wanted[later] {
                let (earlier, of_later) = (&self.pending[..later], &self.pending[later]);
                for (change, wanted) in earlier.iter().zip(&mut wanted) {
                    *wanted |= change
                        .iter()
                        .any(|(path, _)| of_later.iter().any(|(other, _)| other == path));
                }
            }
        }
        let mut wanted = wanted.into_iter();
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let synced = wanted.next().unwrap();
            if synced {
                apply(durable, change);
            }
            !synced
        });
    }
}

impl Inode {
    fn holds(&self, needle: &[u8]) -> bool {
        [&self.now, &self.durable]
            .iter()
            .any(|bytes| bytes.windows(needle.len()).any(|w| w == needle))
    }
}

fn apply(tree: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    for (path, node) in change {
        match node {
            Some(node) => tree.insert(path.clone(), *node),
            None => tree.remove(path),
        };
    }
}

/// Each sector old or new, and the length old, new or between.
fn torn(old: &[u8], new: &[u8], dice: &mut Dice) -> Vec<u8> {
    let length = match dice.roll() % 3 {
        0 => old.len(),
        1 => new.len(),
        _ => {
            let (short, long) = (old.len().min(new.len()), old.len().max(new.len()));
            short + usize::try_from(dice.roll() % (long - short + 1) as u64).unwrap()
        }
    };
    let mut mixed = Vec::with_capacity(length);
    while mixed.len() < length {
        let (from, to) = (mixed.len(), length.min(mixed.len() + SECTOR_BYTES));
        let side = if dice.is_heads() { new } else { old };
        // A sector that was never written is zeros.
        let sector = (from..to).map(|at| side.get(at).copied().unwrap_or(0));
        mixed.extend(sector.collect::<Vec<_>>());
    }
    mixed
}

impl DiskFile for FaultFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.disk.begin(Act::Append, &self.path)?;
        let inode = &mut world.inodes[self.inode];
        inode.now.extend_from_slice(bytes);
        inode.is_dirty = true;
        world.heard(())
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.disk.begin(Act::Overwrite, &self.path)?;
        let inode = &mut world.inodes[self.inode];
        let at = usize::try_from(at).unwrap();
        inode.now[at..at + bytes.len()].copy_from_slice(bytes);
        inode.is_dirty = true;
        world.heard(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.disk.begin(Act::SyncFile, &self.path)?;
        world.file_syncs += 1;
        // A sync that the power interrupts has done as much as the restart decides.
        if !world.is_off {
            let inode = &mut world.inodes[self.inode];
            inode.durable = inode.now.clone();
            inode.is_dirty = false;
        }
        world.heard(())
    }

    fn bytes(&self) -> io::Result<u64> {
        let world = self.disk.begin(Act::Look, &self.path)?;
        Ok(world.inodes[self.inode].now.len() as u64)
    }
}

impl Disk for FaultDisk {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.begin(Act::Create, path)?;
        world.dir(path.parent().unwrap())?;
        if world.now.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.inodes.push(Inode::default());
        let inode = world.inodes.len() - 1;
        world.change(vec![(path.to_owned(), Some(Node::File(inode)))]);
        world.heard(Box::new(FaultFile { disk: self.clone(), inode, path: path.to_owned() }) as _)
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.begin(Act::Open, path)?.file(path)?;
        Ok(Box::new(FaultFile { disk: self.clone(), inode, path: path.to_owned() }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.begin(Act::Read, path)?;
        Ok(world.inodes[world.file(path)?].now.clone())
    }

    fn file_bytes(&self, path: &Path) -> io::Result<Option<u64>> {
        let world = self.begin(Act::Look, path)?;
        match world.now.get(path) {
            Some(Node::File(inode)) => Ok(Some(world.inodes[*inode].now.len() as u64)),
            _ => Ok(None),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let world = self.begin(Act::List, dir)?;
        world.dir(dir)?;
        let within =
            world.now.range(dir.to_owned()..).take_while(|(path, _)| path.starts_with(dir));
        Ok(within
            .filter(|(path, _)| path.parent() == Some(dir))
            .map(|(path, node)| Entry {
                name: path.file_name().unwrap().to_string_lossy().into_owned(),
                is_dir: *node == Node::Dir,
                bytes: if let Node::File(inode) = node {
                    world.inodes[*inode].now.len() as u64
                } else {
                    0
                },
            })
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.begin(Act::CreateDir, dir)?;
        world.dir(dir.parent().unwrap())?;
        if world.now.contains_key(dir) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.change(vec![(dir.to_owned(), Some(Node::Dir))]);
        world.heard(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.begin(Act::Rename, to)?;
        let inode = world.file(from)?;
        world.dir(to.parent().unwrap())?;
        world.change(vec![(from.to_owned(), None), (to.to_owned(), Some(Node::File(inode)))]);
        world.heard(())
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        let mut world = self.begin(Act::Exchange, other)?;
        if world.cannot_exchange {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (first, second) = (world.file(one)?, world.file(other)?);
        world.change(vec![
            (one.to_owned(), Some(Node::File(second))),
            (other.to_owned(), Some(Node::File(first))),
        ]);
        world.heard(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut world = self.begin(Act::Unlink, path)?;
        world.file(path)?;
        world.change(vec![(path.to_owned(), None)]);
        world.heard(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.begin(Act::SyncDir, dir)?;
        world.dir(dir)?;
        world.dir_syncs += 1;
        if !world.is_off {
            world.sync_names(dir);
        }
        world.heard(())
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.begin(Act::SyncAll, path)?;
        if !world.is_off {
            for change in std::mem::take(&mut world.pending) {
                apply(&mut world.durable, &change);
            }
            for inode in &mut world.inodes {
                inode.durable = inode.now.clone();
                inode.is_dirty = false;
            }
        }
        world.heard(())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let world = self.begin(Act::Look, path)?;
        let total_bytes = 1 << 40;
        let free_bytes = world.free_bytes.unwrap_or(total_bytes);
        Ok(Space { free_bytes, total_bytes, read_only: world.read_only })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut world = self.begin(Act::Look, path)?;
        world.file(path)?;
        if !world.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Locked { disk: self.clone(), path: path.to_owned() }))
    }
}
