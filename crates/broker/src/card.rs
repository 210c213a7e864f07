//! Cards that a person has confirmed: one file per project, and what may follow it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use api::{Custodian, ProjectId, SignedStatement};
use proof::{CardError, ProjectCard, PublicKey};

use crate::state::{private_folder, sync_folder};

/// Where the cards lie that this broker, or this person, goes by.
#[derive(Debug, Clone)]
pub struct Pins(PathBuf);

/// How a card stands to what was confirmed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is the one that was confirmed, or may follow it: same custodian, same key, no lower number.
    Confirmed,
    /// Nobody has confirmed a card of this project: these six words must be compared first.
    New {
        /// The six words.
        phrase: String,
    },
}

/// Why a card is not gone by.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It is no card of the project, or may not follow the one that was confirmed.
    #[error(transparent)]
    Card(#[from] CardError),
    /// It is signed by somebody else.
    #[error("the card of project {project} is signed by another key than {expected}")]
    Signer {
        /// The project.
        project: ProjectId,
        /// Whose key it should be.
        expected: &'static str,
    },
    /// The six words are others.
    ///
    /// The card's own are not said: whoever reads them here would compare nothing.
    #[error("the six words given are not those of the card of project {project}")]
    Phrase {
        /// The project.
        project: ProjectId,
    },
    /// The disk gave an error.
    #[error("the confirmed card {path} cannot be {done}")]
    Disk {
        /// Where it lies.
        path: PathBuf,
        /// `read` or `written`.
        done: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Pins {
    /// Cards in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    fn path(&self, project: ProjectId) -> PathBuf {
        self.0.join(format!("{project}.json"))
    }

    /// The card that was confirmed for `project`.
    pub fn confirmed(&self, project: ProjectId) -> Result<Option<SignedStatement>, PinError> {
        let path = self.path(project);
        match fs::read(&path) {
            Ok(bytes) => read_card(&bytes, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PinError::Disk { path, done: "read", source }),
        }
    }

    /// How `card` stands to what was confirmed. `hub_key` is the key that signs the cards of platform projects, as the hub
    /// says; what makes it trustworthy is that a person compares the words of the first card.
    pub fn judge(
        &self,
        project: ProjectId,
        card: &SignedStatement,
        hub_key: &[u8],
    ) -> Result<Standing, PinError> {
        let (new, signer) = ProjectCard::open(card, project)?;
        let confirmed = self.confirmed(project)?;
        if let Some(confirmed) = &confirmed {
            let (seen, seen_signer) = ProjectCard::open(confirmed, project)?;
            new.may_follow(&seen)?;
            return same_signer(project, signer, seen_signer).map(|()| Standing::Confirmed);
        }
        if new.custodian() != Custodian::Owner && signer.to_bytes() != hub_key {
            return Err(PinError::Signer { project, expected: "the hub's" });
        }
        Ok(Standing::New { phrase: ProjectCard::fingerprint(card).1 })
    }

    /// Confirms `card` because a person gave its words.
    pub fn confirm(
        &self,
        project: ProjectId,
        card: &SignedStatement,
        words: &str,
    ) -> Result<(), PinError> {
        let found = ProjectCard::fingerprint(card).1;
        let given = words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        if given != found {
            return Err(PinError::Phrase { project });
        }
        self.pin(project, card)
    }

    /// Keeps `card` as the one to go by.
    pub fn pin(&self, project: ProjectId, card: &SignedStatement) -> Result<(), PinError> {
        let path = self.path(project);
        let write = || -> io::Result<()> {
            private_folder(&self.0)?;
            let mut file = tempfile::Builder::new().prefix(".card").tempfile_in(&self.0)?;
            serde_json::to_writer_pretty(&mut file, card)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            sync_folder(&self.0)
        };
        write().map_err(|source| PinError::Disk { path, done: "written", source })
    }

    /// Confirms the card in a file that a person, or an authenticator, made.
    pub fn pin_file(&self, project: ProjectId, file: &Path) -> Result<(), PinError> {
        let path = file.to_owned();
        let bytes = fs::read(file).map_err(|source| PinError::Disk {
            path: path.clone(),
            done: "read",
            source,
        })?;
        let card = read_card(&bytes, path)?;
        ProjectCard::open(&card, project)?;
        self.pin(project, &card)
    }

    /// Forgets what was confirmed, because a person said so.
    pub fn forget(&self, project: ProjectId) -> Result<(), PinError> {
        let path = self.path(project);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(PinError::Disk { path, done: "removed", source })
            }
            _ => Ok(()),
        }
    }
}

fn read_card(bytes: &[u8], path: PathBuf) -> Result<SignedStatement, PinError> {
    serde_json::from_slice(bytes).map_err(|source| PinError::Disk {
        path,
        done: "read",
        source: source.into(),
    })
}

fn same_signer(project: ProjectId, found: PublicKey, seen: PublicKey) -> Result<(), PinError> {
    if found == seen {
        Ok(())
    } else {
        Err(CardError::Signer { project, signer: found.id() }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Bytes;
    use proof::{Card, SigningKey, sign_statement};

    fn card(project: ProjectId) -> Card {
        let recipient = Bytes(vec![1; 1216]);
        let custodian = Custodian::Platform;
        Card {
            hub: "h".into(),
            project,
            custodian,
            recipient,
            number: 2,
            test: false,
            writers: vec![],
        }
    }

    #[test]
    fn a_card_is_gone_by_after_a_person_gave_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::new(folder.path().join("cards"));
        let project = ProjectId::generate();
        let key = SigningKey::from_seed(&[1; 32]);
        let hub_key = key.public().to_bytes();
        let first = sign_statement(&card(project), &key);
        let Standing::New { phrase } = pins.judge(project, &first, &hub_key).unwrap() else {
            panic!("nobody has confirmed it")
        };
        assert!(matches!(
            pins.confirm(project, &first, "abandon abandon abandon abandon abandon abandon"),
            Err(PinError::Phrase { .. })
        ));
        let typed = format!("  {} ", phrase.to_uppercase().replace(' ', "  "));
        pins.confirm(project, &first, &typed).unwrap();
        assert_eq!(pins.judge(project, &first, &hub_key).unwrap(), Standing::Confirmed);
        let next = sign_statement(&Card { number: 3, ..card(project) }, &key);
        assert_eq!(pins.judge(project, &next, &hub_key).unwrap(), Standing::Confirmed);
        pins.forget(project).unwrap();
        assert!(matches!(pins.judge(project, &next, &hub_key).unwrap(), Standing::New { .. }));
    }

    #[test]
    fn a_changed_custodian_key_or_signer_and_a_lower_number_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::new(folder.path());
        let project = ProjectId::generate();
        let key = SigningKey::from_seed(&[1; 32]);
        let other = SigningKey::from_seed(&[2; 32]);
        let hub_key = key.public().to_bytes();
        let stranger = sign_statement(&card(project), &other);
        assert!(matches!(pins.judge(project, &stranger, &hub_key), Err(PinError::Signer { .. })));
        pins.pin(project, &sign_statement(&card(project), &key)).unwrap();
        let changed = [
            sign_statement(&Card { number: 1, ..card(project) }, &key),
            sign_statement(
                &Card { number: 3, recipient: Bytes(vec![2; 1216]), ..card(project) },
                &key,
            ),
            sign_statement(&Card { number: 3, custodian: Custodian::Owner, ..card(project) }, &key),
            sign_statement(&Card { number: 3, ..card(project) }, &other),
            sign_statement(&card(ProjectId::generate()), &key),
        ];
        for card in changed {
            let error = pins.judge(project, &card, &other.public().to_bytes()).unwrap_err();
            assert!(matches!(error, PinError::Card(_)), "{error}");
        }
    }
}
