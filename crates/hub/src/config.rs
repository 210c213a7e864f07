//! What a hub is told at its start, and why it may refuse to.

use std::net::SocketAddr;
use std::path::PathBuf;

use store::FacilityAddress;

/// Where a hub keeps what lasts, and under which names it answers.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The data directory: database, certificate authority, and by default facilities and key store.
    pub data: PathBuf,
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The facilities, directories or buckets; two directories inside `data` if there are none.
    pub facilities: Vec<FacilityAddress>,
    /// The platform's key file; `DATA.keys/platform.key` beside the data directory if absent.
    pub key_file: Option<PathBuf>,
    /// Further names of the hub, each `HOST` or `HOST:PORT` where people reach it at another port than it listens on.
    pub names: Vec<String>,
    /// The program that is started for each task as `PROGRAM vault run …`; no task runs here if absent.
    pub vault_program: Option<PathBuf>,
    /// How many vaults may run at once.
    pub vaults: usize,
    /// The institution whose people may sign in.
    pub institution: Option<crate::InstitutionConfig>,
    /// A certificate of the operator's own, for callers by name.
    pub certificate: Option<crate::CertificateFiles>,
    /// Where figures are told, an address of this machine; nowhere if absent.
    pub metrics: Option<SocketAddr>,
    /// What it takes from callers.
    pub limits: crate::Limits,
    /// What takes mail about notices; no mail is sent if absent.
    pub relay: Option<crate::Relay>,
    /// What is allowed of the key services of organizations.
    pub key_services: crate::KeyServices,
    /// The origins from which owners' authenticators call, each `https://HOST[:PORT]`, or `http://localhost:PORT` on this machine.
    pub authenticator_origins: Vec<String>,
    /// The folder with what is built for pages that open files in the browser (`web/build.sh`); without it they name the command line.
    pub pages: Option<PathBuf>,
}

impl HubConfig {
    /// A hub with this data directory and everything else as it comes, listening on loopback.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8470)),
            facilities: Vec::new(),
            key_file: None,
            names: Vec::new(),
            vault_program: None,
            vaults: 1,
            institution: None,
            certificate: None,
            metrics: None,
            limits: crate::Limits::default(),
            relay: None,
            key_services: crate::KeyServices::default(),
            authenticator_origins: Vec::new(),
            pages: None,
        }
    }
}

/// Why a hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory or file of the hub's own cannot be made, read or written.
    #[error("the hub cannot {act} {path}")]
    File {
        /// What it was doing.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// What the disk said.
        source: std::io::Error,
    },
    /// A built file is another than its list of hashes says.
    #[error("{path} is not the file of its build")]
    Pages {
        /// The file.
        path: PathBuf,
    },
    /// Another hub runs on the same data.
    #[error("another hub runs on {data}")]
    Locked {
        /// The data directory.
        data: PathBuf,
    },
    /// The key file lies where its thief would find the data too.
    #[error("the platform's key file {key_file} lies inside {inside}, beside what it opens")]
    KeyFileInside {
        /// The key file.
        key_file: PathBuf,
        /// The data directory or the facility.
        inside: PathBuf,
    },
    /// Others may read the key file.
    #[error("the platform's key file {key_file} can be read by others (mode {mode:03o})")]
    KeyFileOpen {
        /// The key file.
        key_file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is missing though the hub has data that only it opens.
    #[error(
        "the platform's key file {key_file} is missing, and {data} holds data that only it opens"
    )]
    KeyFileMissing {
        /// The key file.
        key_file: PathBuf,
        /// The data directory.
        data: PathBuf,
    },
    /// The key file is no key file, or belongs to another hub.
    #[error("the platform's key file {key_file} is not usable: {why}")]
    KeyFile {
        /// The key file.
        key_file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A name of the hub is none.
    #[error("`{name}` is no host name or address")]
    Name {
        /// What was given.
        name: String,
    },
    /// An origin of an authenticator is none.
    #[error("`{origin}` is no origin of an authenticator: {why}")]
    AuthenticatorOrigin {
        /// What was given.
        origin: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The certificates cannot be made or used.
    #[error("the hub's certificates cannot be made: {why}")]
    Certificate {
        /// What is wrong.
        why: String,
    },
    /// Figures would be told to other machines.
    #[error("figures are told without TLS and to this machine alone, not on {address}")]
    MetricsElsewhere {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address is taken or not ours.
    #[error("the hub cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database does not open.
    #[error("the database {path} does not open")]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: sqlx::Error,
    },
    /// The database is of a version that this program does not know.
    #[error("the database {path} cannot be brought to this program's version")]
    Migration {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: sqlx::migrate::MigrateError,
    },
    /// The database is gone, and what it was the index of is there.
    #[error("the database {path} is missing, and the keys of its datasets are there")]
    DatabaseMissing {
        /// Where it was.
        path: PathBuf,
    },
    /// The database is there, where a new one was to be made.
    #[error("the database {path} is there: it is not made anew")]
    DatabaseThere {
        /// Where it is.
        path: PathBuf,
    },
    /// The wrapped keys are gone, and with them the data.
    #[error("there is no key store in {data}")]
    NoKeyStore {
        /// The data directory.
        data: PathBuf,
    },
    /// A facility that was named is none.
    #[error("there is no facility at {address}")]
    NoFacility {
        /// Its address.
        address: String,
    },
    /// No file of the key store says what it is.
    #[error("the key store says of nothing what it is, so no index can be made of it")]
    NothingDescribed,
    /// A backup cannot be made, read or brought back.
    #[error("the backup {path} {why}")]
    Backup {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The database was written by a newer program.
    #[error("the database {path} is of version {found}; this program knows versions up to {known}")]
    NewerDatabase {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A facility or the store over them does not open.
    #[error("the store does not open")]
    Store {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The institution cannot be used as it was named.
    #[error("the institution {issuer} cannot be used: {why}")]
    Institution {
        /// Its issuer.
        issuer: String,
        /// What is wrong.
        why: String,
    },
    /// Something inside that should have worked.
    #[error(transparent)]
    Hub(#[from] crate::HubError),
}

impl StartError {
    /// What the operator can do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::KeyFileInside { key_file, .. } => Some(format!(
                "move it to a place with other backups and start with `--key-file`: \
                 whoever gets {} with the data reads everything",
                key_file.display()
            )),
            Self::KeyFileOpen { key_file, .. } => {
                Some(format!("run `chmod 600 {}`", key_file.display()))
            }
            Self::KeyFileMissing { .. } => Some(
                "bring the key file back from its own backup, or name it with `--key-file`; \
                 a new one would open nothing that is there"
                    .to_owned(),
            ),
            Self::DatabaseMissing { .. } => Some(
                "bring it back with `chorion backup restore`, or make it anew from the facilities and the key records: \
                 `chorion store rebuild-index`"
                    .to_owned(),
            ),
            Self::DatabaseThere { .. } => Some(
                "if it does not open, move it away with its -wal and -shm files and call again".to_owned(),
            ),
            Self::NoKeyStore { .. } => {
                Some("bring it back with `chorion backup restore`: without wrapped keys nothing opens".to_owned())
            }
            Self::NoFacility { .. } => Some("name every facility with `--facility`, as `chorion serve` had them".to_owned()),
            Self::NewerDatabase { .. } => Some(
                "run the newer program that wrote it; to go back to this one, restore a backup from before the upgrade: \
                 `chorion backup restore`"
                    .to_owned(),
            ),
            Self::MetricsElsewhere { .. } => Some(
                "choose a loopback address, as 127.0.0.1:9470; a collector on this machine hands on what others need".to_owned(),
            ),
            Self::Pages { .. } => Some(
                "build the pages again: `make authenticator`; or name another folder with `--pages`".to_owned(),
            ),
            Self::Listen { .. } => Some("choose another address with `--listen`".to_owned()),
            Self::Store { .. } => Some(
                "a facility that is away can be waited for; a new one must be an empty directory, or a prefix of a bucket with nothing under it"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
