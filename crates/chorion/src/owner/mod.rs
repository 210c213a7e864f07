//! `chorion words` and `chorion identity`: the twelve words of a person, and the keys that come of them (`spec/key-derivation.md`).
//!
//! Words reach a terminal, or what the person names with `--print-words`, and nothing else. Before the first of them is drawn or read
//! the process stops being one that can be dumped or traced, and words and seed lie in locked memory ([`memory`]).

pub(crate) mod approve;
pub(crate) mod device;
mod export;
pub(crate) mod handover;
mod keys;
mod memory;
mod messages;
pub(crate) mod release;
mod rotate;
mod terminal;
mod words;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use identity::{Identity, IdentityFile, IdentityFileError, MOST_PASSPHRASE_BYTES};
use zeroize::Zeroizing;

pub(crate) use self::keys::{IdentityCommand, identity};
use self::memory::Locked;
pub(crate) use self::words::{WordsCommand, words};
use crate::config;
use crate::offline::keys::{PassphraseArgs, prompt, read_small};
use crate::report::{CliError, CliResult};

/// Where the passphrase of the words themselves comes from; most words have none.
#[derive(Debug, Default, Args)]
struct WordsPassphraseArgs {
    /// The words have a passphrase of their own (BIP-39): ask for it. It is never kept, and another gives other keys.
    #[arg(long)]
    words_passphrase: bool,
    /// The same, from the first line of a file.
    #[arg(long, value_name = "FILE")]
    words_passphrase_file: Option<PathBuf>,
}

impl WordsPassphraseArgs {
    const fn is_given(&self) -> bool {
        self.words_passphrase || self.words_passphrase_file.is_some()
    }

    /// The passphrase for words that are new to this machine; a prompt asks twice.
    fn choose(&self) -> CliResult<Zeroizing<String>> {
        if !self.is_given() {
            return Ok(Zeroizing::new(String::new()));
        }
        let chosen = self.ask()?;
        if self.words_passphrase_file.is_none() {
            let again = prompt("The same again: ", "words")?;
            if *again != *chosen {
                return Err(CliError::new("the two passphrases differ").hint("try again"));
            }
        }
        if chosen.is_empty() || chosen.len() > MOST_PASSPHRASE_BYTES {
            return Err(CliError::new(format!(
                "the passphrase of the words has 1 to {MOST_PASSPHRASE_BYTES} bytes"
            )));
        }
        Ok(chosen)
    }

    fn ask(&self) -> CliResult<Zeroizing<String>> {
        match &self.words_passphrase_file {
            Some(path) => {
                let text = read_small(path)?;
                Ok(Zeroizing::new(text.lines().next().unwrap_or("").to_owned()))
            }
            None => prompt("Passphrase of the words: ", "words"),
        }
    }
}

/// Whose keys.
#[derive(Debug, Default, Args)]
pub(crate) struct PersonArgs {
    /// The identity file; `identity` in the folder of settings unless another is named.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    words_passphrase: WordsPassphraseArgs,
}

impl PersonArgs {
    /// Opens the identity file.
    fn open(&self) -> CliResult<Identity> {
        self.open_with_passphrase().map(|(person, _passphrase)| person)
    }

    /// Opens the identity file, and gives the passphrase that did for what lies beside it.
    fn open_with_passphrase(&self) -> CliResult<(Identity, Zeroizing<String>)> {
        let path = identity_path(self.identity.as_deref())?;
        let text = read_small(&path).map_err(|error| {
            error.hint("make one: `chorion words new`, or `chorion words restore`")
        })?;
        let name = path.display();
        let wrong = |error: IdentityFileError| {
            let named = CliError::new(format!("{name} gives no keys"));
            let hint = match &error {
                IdentityFileError::Line(_) => {
                    "take it from a backup, or make it anew: `chorion words restore`"
                }
                IdentityFileError::OtherWordsPassphrase => "try the words' passphrase again",
                _ => "try again",
            };
            named.caused_by(error).hint(hint)
        };
        let file = IdentityFile::read(&text).map_err(wrong)?;
        let passphrase = self.passphrase.given_or_ask(&format!("Passphrase for {name}: "))?;
        let opened = file.unlock(passphrase.as_bytes(), &Locked).map_err(wrong)?;
        let own = if opened.needs_passphrase() {
            self.words_passphrase.ask()?
        } else {
            Zeroizing::new(String::new())
        };
        Ok((opened.person(&own, &Locked).map_err(wrong)?, passphrase))
    }
}

/// Where the identity file lies.
fn identity_path(named: Option<&Path>) -> CliResult<PathBuf> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => Ok(config::home()?.join("identity")),
    }
}

/// Makes the folder of a file that lies at its usual place, for this person alone.
fn make_home(named: Option<&Path>) -> CliResult {
    if named.is_some() {
        return Ok(());
    }
    let home = config::home()?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&home).map_err(|error| {
        CliError::new(format!("{} could not be made", home.display())).caused_by(error)
    })
}

/// From here on this process leaves no core dump, and nobody but root reads its memory.
fn protect_process() -> CliResult {
    vault::memory::protect().map_err(|error| {
        CliError::new("the system does not let this process keep its memory to itself")
            .caused_by(error)
    })
}
