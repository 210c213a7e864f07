//! Who calls which hub: the settings and the key of the person at this machine.
//!
//! Everything lies in one folder, `CHORION_HOME` or `~/.config/chorion`: `config.json`, the hub's certificate authority, and
//! the key file, readable by its owner alone: an Ed25519 seed that signs calls and an X-Wing seed to which dataset keys
//! are released. Cards that were confirmed, contents that were seen and the states of runs lie beside them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::{DatasetId, ProjectId, Release, ReleaseRequest, SignedStatement};
pub(crate) use authenticator::Seen;
use authenticator::Writers;
use client::{Client, ClientError, Options, Patience, Trust};
use data_encoding::HEXLOWER;
use dataset::{DatasetError, OpenDataset};
use proof::{ProjectCard, SigningKey};
use seal::recipient::RecipientSecret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::owner::PersonArgs;
use crate::owner::device::Owner;
use crate::report::{CliError, CliResult, Ui};

/// How long a command keeps trying when the hub is away or busy.
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: &str = "config.json";
const AUTHORITY: &str = "hub-ca.pem";
const KEY: &str = "key.json";

/// `config.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where the hub is.
    hub: String,
    /// The hub's id, as it stands in cards and manifests.
    hub_id: String,
    /// The file with its certificate authority, in this folder unless it is absolute.
    ca: PathBuf,
    /// The key file, in this folder unless it is absolute.
    key: PathBuf,
}

/// The two secrets of a person at this machine.
pub(crate) struct PersonKeys {
    /// Signs calls, manifests and cards.
    pub(crate) signing: SigningKey,
    /// Dataset keys are released to it.
    pub(crate) recipient: RecipientSecret,
}

impl std::fmt::Debug for PersonKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonKeys(..)")
    }
}

/// Everything that a command needs to call the hub.
pub(crate) struct ClientContext {
    /// The way to the hub.
    pub(crate) client: Client,
    /// The hub's id.
    pub(crate) hub_id: String,
    /// The caller's signing key, for manifests.
    pub(crate) signing: SigningKey,
    /// The caller's receiving key, for releases.
    pub(crate) recipient: RecipientSecret,
    home: PathBuf,
    authority: Vec<u8>,
    options: Options,
    /// The person whose words open owner projects, once they were asked for.
    owner: OnceLock<Owner>,
}

impl std::fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientContext").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The folder of this person's settings and keys.
pub(crate) fn home() -> CliResult<PathBuf> {
    if let Some(home) = std::env::var_os("CHORION_HOME").filter(|home| !home.is_empty()) {
        return Ok(PathBuf::from(home));
    }
    let config =
        std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let config = config.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    config.map(|config| config.join("chorion")).ok_or_else(|| {
        CliError::new("there is no home folder to keep settings in")
            .hint("set CHORION_HOME to a folder")
    })
}

/// Whether there is a login on this machine.
pub(crate) fn is_logged_in() -> CliResult<bool> {
    Ok(home()?.join(CONFIG).exists())
}

/// A client for a key that has no configuration yet.
pub(crate) fn connect(hub: &str, authority: &[u8], signing: &SigningKey) -> CliResult<Client> {
    Ok(Client::new(options(hub, authority, signing)?)?)
}

/// Keeps what a login gave: the key first, and the configuration that makes it count last.
pub(crate) fn store(hub: &str, hub_id: &str, authority: &[u8], keys: &PersonKeys) -> CliResult {
    store_in(&home()?, hub, hub_id, authority, keys)
}

fn store_in(
    home: &Path,
    hub: &str,
    hub_id: &str,
    authority: &[u8],
    keys: &PersonKeys,
) -> CliResult {
    keys.write(&home.join(KEY))?;
    write_private(&home.join(AUTHORITY), authority)?;
    let config = Config {
        hub: hub.to_owned(),
        hub_id: hub_id.to_owned(),
        ca: AUTHORITY.into(),
        key: KEY.into(),
    };
    let text = serde_json::to_vec_pretty(&config)
        .expect("a configuration serializes because it holds only texts");
    write_private(&home.join(CONFIG), &text)
}

fn options(hub: &str, authority: &[u8], signing: &SigningKey) -> CliResult<Options> {
    let trust = Trust::from_pem(authority).map_err(|e| {
        CliError::new("the certificate authority of the hub cannot be used").caused_by(e)
    })?;
    let signer = Arc::new(signing.clone());
    Ok(Options { hub: hub.to_owned(), trust, signer, patience: Patience::For(PATIENCE) })
}

impl ClientContext {
    /// The settings and the key of this machine, ready to call.
    pub(crate) fn load(_ui: Ui) -> CliResult<Self> {
        let home = home()?;
        let path = home.join(CONFIG);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CliError::new(format!("no hub is set up in {}", home.display()))
                    .hint("enrol with the code that the operator gave you: `chorion login --hub https://HOST:PORT --code CODE`"));
            }
            Err(error) => {
                return Err(
                    CliError::new(format!("{} cannot be read", path.display())).caused_by(error)
                );
            }
        };
        let config: Config = serde_json::from_slice(&text).map_err(|e| {
            CliError::new(format!("{} is no configuration of this program", path.display()))
                .caused_by(e)
                .hint("log in again, or correct the file")
        })?;
        let authority = read(&home.join(&config.ca))?;
        let PersonKeys { signing, recipient } = PersonKeys::read(&home.join(&config.key))?;
        let options = options(&config.hub, &authority, &signing)?;
        let client = Client::new(options.clone())?;
        let (hub_id, owner) = (config.hub_id, OnceLock::new());
        Ok(Self { client, hub_id, signing, recipient, home, authority, options, owner })
    }

    /// The person whose words open owner projects, unlocked now if not before.
    pub(crate) fn owner(&self) -> CliResult<&Owner> {
        if self.owner.get().is_none() {
            self.be(Owner::unlock(&PersonArgs::default())?);
        }
        self.owner.get().ok_or_else(|| CliError::new("there is no identity"))
    }

    /// The same where nobody need be asked: a list opens names when the passphrase was given before, and asks for none.
    pub(crate) fn owner_if_unlocked(&self) -> Option<&Owner> {
        if self.owner.get().is_none() && std::env::var_os("CHORION_PASSPHRASE").is_some() {
            self.owner().ok()?;
        }
        self.owner.get()
    }

    /// From here on this is the person whose words open owner projects.
    pub(crate) fn be(&self, owner: Owner) {
        // Whoever was asked for first stays: a command is one person's.
        self.owner.set(owner).ok();
    }

    /// The card of a project that something is about to be sealed to. The first card that an owner signed is gone by when a
    /// person has compared its words, or when it is one's own; a later one when it follows the one that was gone by.
    pub(crate) async fn card_to_seal(
        &self,
        project: ProjectId,
    ) -> CliResult<(SignedStatement, ProjectCard)> {
        let signed = self.client.card(project).await?;
        let wrong = |e: broker::PinError| {
            CliError::new(format!("the card of project {project} is not to be sealed to"))
                .caused_by(e)
                .hint("seal nothing before you know why: who holds its key may have changed")
        };
        let (card, _signer) = ProjectCard::open(&signed, project).map_err(|e| wrong(e.into()))?;
        if card.hub() != self.hub_id {
            return Err(CliError::new(format!(
                "the card of project {project} speaks of another hub"
            )));
        }
        let confirmed = self.pins().confirmed(project).map_err(wrong)?.is_some();
        if card.custodian() == api::Custodian::Owner || confirmed {
            let hub_key = self.client.whoami().await?.hub.card_key;
            match self.pins().judge(project, &signed, &hub_key.0).map_err(wrong)? {
                broker::CardStanding::Confirmed => {
                    self.pins().pin(project, &signed).map_err(wrong)?;
                }
                broker::CardStanding::New { phrase } => {
                    return Err(CliError::new(format!(
                        "nobody has confirmed the card of project {project} on this machine"
                    ))
                    .hint(format!(
                        "compare its six words with the owner's ({phrase}), then: chorion project card {project} --confirm \"SIX WORDS\""
                    )));
                }
            }
        }
        Ok((signed, card))
    }

    /// A client that never gives up, for a broker.
    pub(crate) fn endless(&self) -> CliResult<Client> {
        Ok(Client::new(Options { patience: Patience::Endless, ..self.options.clone() })?)
    }

    /// Keeps other keys for the same hub in a folder of their own, for whoever sets `CHORION_HOME` to it.
    pub(crate) fn hand_on(&self, folder: &Path, keys: &PersonKeys) -> CliResult {
        if folder.join(CONFIG).exists() {
            return Err(CliError::new(format!("{} holds a login already", folder.display()))
                .hint("name a new folder"));
        }
        store_in(folder, &self.options.hub, &self.hub_id, &self.authority, keys)
    }

    /// The folder of this person's settings and keys, and of what this machine remembers.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Remembers that a key was released to this machine, and which leaf of the audit log says so: `chorion audit verify`
    /// will ask for it.
    pub(crate) fn was_released(&self, object: &str, release: &Release) -> CliResult {
        let Some(leaf) = release.leaf else {
            return Err(CliError::new(format!(
                "the hub released the key of {object} without a leaf of its log"
            )));
        };
        let path = crate::audit::memory(&self.home, &self.hub_id, "released");
        crate::audit::ReleasedKey { object: object.to_owned(), leaf }.append(&path)
    }

    /// Where the states of runs lie that are sent from here.
    pub(crate) fn runs(&self) -> PathBuf {
        self.home.join("runs")
    }

    /// Where the states of imports lie that are made from here.
    pub(crate) fn imports(&self) -> PathBuf {
        self.home.join("imports")
    }

    /// The cards that a person confirmed here.
    pub(crate) fn pins(&self) -> broker::Pins {
        broker::Pins::new(self.home.join("cards"))
    }

    /// The card of a project that this machine goes by.
    pub(crate) fn confirmed(&self, project: ProjectId) -> CliResult<Option<SignedStatement>> {
        let unread = |e| CliError::new("what this machine saw cannot be read").caused_by(e);
        self.pins().confirmed(project).map_err(unread)
    }

    /// Goes by this card from here on.
    pub(crate) fn pin(&self, project: ProjectId, card: &SignedStatement) -> CliResult {
        let unkept = |e| CliError::new("what this machine saw cannot be kept").caused_by(e);
        self.pins().pin(project, card).map_err(unkept)
    }

    fn content(&self, dataset: DatasetId) -> PathBuf {
        self.home.join("manifests").join(&self.hub_id).join(format!("{dataset}.json"))
    }

    /// The newest content of a dataset that was seen from here.
    pub(crate) fn seen(&self, dataset: DatasetId) -> CliResult<Option<Seen>> {
        let path = self.content(dataset);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            CliError::new(format!("{} is no record of a manifest", path.display()))
                .caused_by(e)
                .hint("remove it if you trust the hub to show its newest content once")
        })
    }

    /// Remembers the newest content of a dataset that was seen from here, and refuses an older one, or another one under the
    /// same number: a hub can withhold what is newer, but not roll back.
    pub(crate) fn remember(&self, dataset: DatasetId, now: Seen) -> CliResult {
        let before = self.seen(dataset)?;
        now.follows(dataset, before.as_ref())?;
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        let text = serde_json::to_vec(&now)
            .expect("what was seen serializes because it is a number and a digest");
        write_private(&self.content(dataset), &text)
    }

    /// A request to release a key to this person.
    pub(crate) fn release_request(&self, purpose: &str) -> ReleaseRequest {
        let recipient = api::Bytes(self.recipient.public().to_bytes());
        ReleaseRequest { recipient, purpose: purpose.to_owned() }
    }

    /// A dataset, opened with a key released to this person.
    pub(crate) async fn open(&self, dataset: DatasetId, purpose: &str) -> CliResult<OpenDataset> {
        let release: Release =
            match self.client.release(dataset, &self.release_request(purpose)).await {
                Err(error) if error.code() == Some(api::ErrorCode::KeyRefused) => {
                    return self.open_owned(dataset).await.map(|(open, ..)| open);
                }
                answer => answer?,
            };
        if release.dataset != dataset {
            return Err(CliError::new(format!(
                "the hub released the key of another dataset than {dataset}"
            )));
        }
        self.was_released(&format!("dataset:{dataset}"), &release)?;
        Ok(OpenDataset::from_release(&release, &self.recipient)?)
    }

    /// A dataset of an owner project, opened with the owner's words; with what says who may have written it.
    pub(crate) async fn open_owned(&self, dataset: DatasetId) -> CliResult<(OpenDataset, Writers)> {
        let owner = self.owner()?;
        let mut key = self.client.dataset_key(dataset).await?;
        let project = key.release.project;
        let found = ProjectCard::open(&key.card, project).ok();
        let own = matches!(&found, Some((ProjectCard::Owner(card), _)) if owner.owns(card));
        let card = if own {
            owner.card(self, project, &key.card)?
        } else {
            // Somebody else's: only what they shared with these words, under a card that was compared.
            let not_mine = || {
                CliError::new(format!(
                    "the card of project {project} is not one that your words signed"
                ))
                .hint("ask its owner to share the dataset with you: `chorion approve share`")
            };
            key = self.client.shared_key(dataset).await.map_err(|e| not_mine().caused_by(e))?;
            match self.card_to_seal(project).await?.1 {
                ProjectCard::Owner(card) => card,
                ProjectCard::Hub(_) => return Err(not_mine()),
            }
        };
        if key.release.dataset != dataset {
            return Err(CliError::new(format!(
                "the hub gave the key of another dataset than {dataset}"
            )));
        }
        let open = OpenDataset::from_release(&key.release, &owner.person.sealing())?;
        let writers = Writers { card, under: key.written_under, handovers: key.handovers };
        Ok((open, writers))
    }

    /// A dataset's name: as the hub gives it, or from its sealed label.
    pub(crate) async fn name_of(&self, dataset: &api::Dataset) -> String {
        if let Some(name) = &dataset.name {
            return name.clone();
        }
        if dataset.custodian == api::Custodian::Owner && self.owner_if_unlocked().is_none() {
            return "(sealed)".to_owned();
        }
        let opened = self.open(dataset.id, "list").await.ok();
        let name = opened.and_then(|open| open.open_label("dataset name", &dataset.label).ok());
        name.map_or_else(
            || "(sealed)".to_owned(),
            |name| String::from_utf8_lossy(&name).into_owned(),
        )
    }
}

/// A key file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// The Ed25519 seed, hex.
    signing_seed: Zeroed,
    /// The X-Wing seed, hex.
    receiving_seed: Zeroed,
}

/// A text that is wiped when it is dropped.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Zeroed(#[serde(with = "zeroed")] Zeroizing<String>);

mod zeroed {
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        text: &Zeroizing<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(from).map(Zeroizing::new)
    }
}

impl PersonKeys {
    /// New keys from the system's generator.
    pub(crate) fn generate() -> CliResult<Self> {
        let no_randomness =
            |e| CliError::new("the system gives no randomness for a key").caused_by(e);
        let mut seed = Zeroizing::new([0; 32]);
        seal::fill_random(seed.as_mut_slice()).map_err(no_randomness)?;
        let recipient = RecipientSecret::generate().map_err(no_randomness)?;
        Ok(Self { signing: SigningKey::from_seed(&seed), recipient })
    }

    /// Reads a key file, which nobody but its owner may be able to read.
    pub(crate) fn read(path: &Path) -> CliResult<Self> {
        #[cfg(unix)]
        if let Ok(found) = fs::metadata(path) {
            use std::os::unix::fs::PermissionsExt;
            if found.permissions().mode() & 0o077 != 0 {
                return Err(CliError::new(format!(
                    "the key file {} can be read by others",
                    path.display()
                ))
                .hint(format!("chmod 600 {}", path.display())));
            }
        }
        let damaged = || {
            CliError::new(format!("{} is no key file", path.display()))
                .hint("take it from a backup, or enrol a new key with `chorion login`")
        };
        let bytes = Zeroizing::new(read(path)?);
        let file: KeyFile = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let seed = |text: &Zeroed| -> CliResult<Zeroizing<[u8; 32]>> {
            let bytes = Zeroizing::new(HEXLOWER.decode(text.0.as_bytes()).map_err(|_| damaged())?);
            <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new).map_err(|_| damaged())
        };
        Ok(Self {
            signing: SigningKey::from_seed(&*seed(&file.signing_seed)?),
            recipient: RecipientSecret::from_seed(*seed(&file.receiving_seed)?),
        })
    }

    /// Writes a key file for its owner alone.
    fn write(&self, path: &Path) -> CliResult {
        let hex = |bytes: &[u8; 32]| Zeroed(Zeroizing::new(HEXLOWER.encode(bytes)));
        let file = KeyFile {
            signing_seed: hex(&self.signing.expose_seed()),
            receiving_seed: hex(self.recipient.expose_seed()),
        };
        let mut text = Zeroizing::new(Vec::with_capacity(512));
        serde_json::to_writer_pretty(&mut *text, &file)
            .expect("a key file serializes because it holds two texts");
        write_private(path, &text)
    }
}

/// The bytes of a file, nothing if there is none.
pub(crate) fn read_if_there(path: &Path) -> CliResult<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(CliError::new(format!("{} cannot be read", path.display())).caused_by(error))
        }
    }
}

fn read(path: &Path) -> CliResult<Vec<u8>> {
    fs::read(path)
        .map_err(|e| CliError::new(format!("{} cannot be read", path.display())).caused_by(e))
}

/// Writes a file whole, readable by its owner alone.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> CliResult {
    let failed =
        |e: io::Error| CliError::new(format!("{} cannot be written", path.display())).caused_by(e);
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".new").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map(drop).map_err(|e| failed(e.error))
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let mut said = Self::new(error.to_string());
        if let Some(cause) = std::error::Error::source(&error) {
            said = said.caused_by(cause);
        }
        let hint = match (error.hint(), error.request_id()) {
            (Some(hint), Some(id)) if error.code() == Some(api::ErrorCode::Forbidden) => {
                format!("{hint}; `chorion why {id}` says what is needed and who can give it")
            }
            (Some(hint), Some(id)) => format!("{hint} (request {id})"),
            (Some(hint), None) => hint,
            (None, Some(id)) => format!("the hub's log knows this call as request {id}"),
            (None, None) => return said,
        };
        said.hint(hint)
    }
}

impl From<DatasetError> for CliError {
    fn from(error: DatasetError) -> Self {
        let said = Self::new(error.to_string());
        match std::error::Error::source(&error) {
            Some(cause) => said.caused_by(cause),
            None => said,
        }
    }
}
