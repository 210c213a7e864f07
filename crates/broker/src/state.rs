//! A run's state file: its dataset key and what was agreed before the first byte left.
//!
//! Readable by its owner alone and written whole (a new file, synced, renamed), because it is the one thing whose loss
//! loses data: until the hub has taken the signed manifest nobody else can say what the run's objects hold. From then on
//! the file keeps no key and says that the run is done, so that a watched folder is not sent twice.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use api::{
    CreateDataset, Custodian, DatasetId, DatasetKind, Digest, ProjectId, RunSettings,
    SignedStatement,
};
use data_encoding::HEXLOWER;
use dataset::{DatasetError, OpenDataset};
use proof::{ProjectCard, digest_of};
use seal::DatasetKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk gave an error.
    #[error("the state file {path} cannot be {done}")]
    Disk {
        /// Where it lies.
        path: PathBuf,
        /// `read` or `written`.
        done: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no state file of this version.
    #[error("the state file {path} is none that this program reads: {why}")]
    Form {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The card is none.
    #[error(transparent)]
    Card(#[from] proof::CardError),
    /// The run's key cannot be made or wrapped.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

/// A dataset key as it stands in the file: hex, wiped when dropped, never printed.
struct StoredKey(Zeroizing<String>);

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredKey(..)")
    }
}

impl Serialize for StoredKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StoredKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
}

/// The file's form.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    hub_address: String,
    folder: PathBuf,
    name: String,
    key: Option<StoredKey>,
    epoch: u32,
    card: SignedStatement,
    create: CreateDataset,
    created: bool,
    demultiplex: bool,
    manifest: Option<SignedStatement>,
}

const VERSION: u32 = 1;

/// What is agreed on before a run is sent.
#[derive(Debug)]
pub struct NewRun<'a> {
    /// The hub's address.
    pub hub_address: &'a str,
    /// The run folder.
    pub folder: &'a Path,
    /// What people shall call the run.
    pub name: &'a str,
    /// Into which project.
    pub project: ProjectId,
    /// The project's card, as a person confirmed it.
    pub card: &'a SignedStatement,
    /// What the task that demultiplexes it needs to know.
    pub settings: &'a RunSettings,
}

/// A run that is being sent, or was.
#[derive(Debug)]
pub struct RunState {
    folder: PathBuf,
    stored: Stored,
    hub: String,
    open: Option<OpenDataset>,
}

impl RunState {
    /// A run to be: makes its key, wraps it to the card's custodian, seals name and settings, and writes all of it to
    /// a folder of its own in `states` before anything is sent.
    pub fn create(states: &Path, new: &NewRun<'_>) -> Result<Self, StateError> {
        let (card, _signer) = ProjectCard::open(new.card, new.project)?;
        let dataset = DatasetId::generate();
        let card_digest = digest_of(new.card);
        let open = OpenDataset::create(dataset, new.project, card_digest)?;
        let settings = serde_json::to_vec(new.settings)
            .expect("settings serialize because they hold only texts and ids");
        let create = CreateDataset {
            id: dataset,
            kind: DatasetKind::Run,
            project: new.project,
            card_digest,
            wrapped_key: open.wrap_to(card.recipient())?,
            label: open.seal_label("dataset name", new.name.as_bytes())?,
            settings: Some(open.seal_label("dataset settings", &settings)?),
            parent: None,
            reads: None,
        };
        let stored = Stored {
            version: VERSION,
            hub_address: new.hub_address.to_owned(),
            folder: new.folder.to_owned(),
            name: new.name.to_owned(),
            key: Some(StoredKey(Zeroizing::new(HEXLOWER.encode(open.key().expose())))),
            epoch: open.epoch(),
            card: new.card.clone(),
            create,
            created: false,
            demultiplex: new.settings.demultiplex,
            manifest: None,
        };
        let folder = states.join(dataset.to_string());
        private_folder(states)
            .and_then(|()| private_folder(&folder))
            .map_err(|source| StateError::Disk { path: folder.clone(), done: "written", source })?;
        let state = Self { folder, stored, hub: card.hub().to_owned(), open: Some(open) };
        state.save()?;
        Ok(state)
    }

    /// Reads the state in a run's folder.
    pub fn read(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join(FILE);
        let disk = |source| StateError::Disk { path: path.clone(), done: "read", source };
        let form = |why: String| StateError::Form { path: path.clone(), why };
        let bytes = Zeroizing::new(fs::read(&path).map_err(disk)?);
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|e| form(e.to_string()))?;
        if stored.version != VERSION {
            return Err(form(format!("its version is {}", stored.version)));
        }
        let (card, _signer) = ProjectCard::open(&stored.card, stored.create.project)?;
        let CreateDataset { id, project, card_digest, .. } = stored.create;
        let open = match &stored.key {
            None => None,
            Some(StoredKey(text)) => {
                let bytes = HEXLOWER.decode(text.as_bytes()).map(Zeroizing::new);
                let bytes = bytes.ok().and_then(|b| <[u8; 32]>::try_from(b.as_slice()).ok());
                let key = DatasetKey::from_bytes(
                    bytes.ok_or_else(|| form("its key is damaged".to_owned()))?,
                );
                Some(OpenDataset::from_key(id, project, card_digest, stored.epoch, key))
            }
        };
        Ok(Self { folder: folder.to_owned(), stored, hub: card.hub().to_owned(), open })
    }

    /// Writes the file whole, or leaves the old one.
    fn save(&self) -> Result<(), StateError> {
        let path = self.folder.join(FILE);
        let write = || -> io::Result<()> {
            // Large enough that it never moves in memory and leaves no copy of the key behind.
            let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
            serde_json::to_writer_pretty(&mut *bytes, &self.stored)?;
            let mut file = tempfile::Builder::new().prefix(".state").tempfile_in(&self.folder)?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            sync_folder(&self.folder)
        };
        write().map_err(|source| StateError::Disk { path, done: "written", source })
    }

    /// Which run.
    pub const fn dataset(&self) -> DatasetId {
        self.stored.create.id
    }

    /// Into which project.
    pub const fn project(&self) -> ProjectId {
        self.stored.create.project
    }

    /// The digest of the card that was pinned.
    pub const fn card_digest(&self) -> Digest {
        self.stored.create.card_digest
    }

    /// The hub's id, by the card.
    pub fn hub(&self) -> &str {
        &self.hub
    }

    /// The hub's address.
    pub fn hub_address(&self) -> &str {
        &self.stored.hub_address
    }

    /// The run folder.
    pub fn run_folder(&self) -> &Path {
        &self.stored.folder
    }

    /// What people call the run.
    pub fn name(&self) -> &str {
        &self.stored.name
    }

    /// Whether the hub is asked to demultiplex it.
    pub const fn demultiplex(&self) -> bool {
        self.stored.demultiplex
    }

    /// Whether the hub has taken the signed manifest.
    pub const fn is_done(&self) -> bool {
        self.open.is_none()
    }

    /// Whether work on it can begin before it is closed: where the hub's own policy releases the run's key, and where a person does, who
    /// is asked each time.
    pub(crate) fn may_begin_early(&self) -> bool {
        let card = ProjectCard::open(&self.stored.card, self.stored.create.project);
        card.is_ok_and(|(card, _)| card.custodian() != Custodian::Organization)
    }

    /// The call that creates the run: the same each time.
    pub(crate) const fn create_call(&self) -> &CreateDataset {
        &self.stored.create
    }

    pub(crate) const fn is_created(&self) -> bool {
        self.stored.created
    }

    /// The run with its key, until it is done.
    pub(crate) const fn open(&self) -> Option<&OpenDataset> {
        self.open.as_ref()
    }

    /// The manifest that was signed and perhaps taken.
    pub(crate) const fn manifest(&self) -> Option<&SignedStatement> {
        self.stored.manifest.as_ref()
    }

    /// The digest of the manifest that was handed in, if one was.
    pub fn manifest_digest(&self) -> Option<Digest> {
        self.stored.manifest.as_ref().map(digest_of)
    }

    /// How far it is, as its sender last wrote down.
    pub fn progress(&self) -> Option<crate::Progress> {
        crate::progress::read(&self.folder)
    }

    /// Where its state lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// Writes down that the hub knows the run.
    pub(crate) fn set_created(&mut self) -> Result<(), StateError> {
        self.stored.created = true;
        self.save()
    }

    /// Writes down the manifest that is about to be sent.
    pub(crate) fn set_manifest(
        &mut self,
        manifest: Option<SignedStatement>,
    ) -> Result<(), StateError> {
        self.stored.manifest = manifest;
        self.save()
    }

    /// The hub has taken the manifest: the key goes, and with it the journal.
    pub(crate) fn set_done(&mut self) -> Result<(), StateError> {
        self.stored.key = None;
        self.open = None;
        self.save()?;
        match fs::remove_file(self.journal()) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Disk { path: self.journal(), done: "removed", source })
            }
            _ => Ok(()),
        }
    }
}

const FILE: &str = "state.json";

/// The runs whose states lie in `states`, oldest first. What is no state file there is passed over.
pub fn runs_in(states: &Path) -> Result<Vec<RunState>, StateError> {
    let disk = |source| StateError::Disk { path: states.to_owned(), done: "read", source };
    let entries = match fs::read_dir(states) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(disk(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(disk)?.path();
        if path.join(FILE).is_file() {
            folders.push(path);
        }
    }
    folders.sort_unstable();
    folders.iter().map(|folder| RunState::read(folder)).collect()
}

/// A folder for its owner alone.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a rename in `folder` last.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
