//! Where keys and passphrases come from: strings, files, the environment, a prompt. None of them is ever printed.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use seal::crypt4gh::{self, Crypt4ghError, SecretKey};
use seal::key_file::{KeyFile, KeyFileError};
use seal::recipient::{BadRecipient, RecipientKey, RecipientSecret};
use zeroize::Zeroizing;

use crate::report::{CliError, CliResult};

/// A key file is a few lines; what is longer is something else.
const MOST_KEY_FILE_BYTES: u64 = 64 * 1024;
const VARIABLE: &str = "CHORION_PASSPHRASE";

/// Where the passphrase comes from, if not from a prompt.
#[derive(Debug, Default, Args)]
pub(crate) struct PassphraseArgs {
    /// Read the passphrase from the first line of a file. Otherwise it comes from the variable `CHORION_PASSPHRASE`, or a prompt.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// A passphrase for a new key; a prompt asks twice.
    pub(super) fn choose(&self) -> CliResult<Zeroizing<String>> {
        let chosen = self.chosen("Passphrase for the secret key: ", "keygen")?;
        if chosen.is_empty() {
            return Err(CliError::new("an empty passphrase protects nothing")
                .hint("choose one, or say `--no-passphrase` if the file is safe where it lies"));
        }
        Ok(chosen)
    }

    /// The same for a file that is never without one.
    pub(crate) fn choose_for(&self, text: &str) -> CliResult<Zeroizing<String>> {
        let chosen = self.chosen(text, "words")?;
        if chosen.is_empty() {
            return Err(CliError::new("an empty passphrase protects nothing").hint("choose one"));
        }
        Ok(chosen)
    }

    fn chosen(&self, text: &str, command: &str) -> CliResult<Zeroizing<String>> {
        if let Some(passphrase) = self.given()? {
            return Ok(passphrase);
        }
        let first = prompt(text, command)?;
        if *prompt("The same again: ", command)? != *first {
            return Err(CliError::new("the two passphrases differ").hint("try again"));
        }
        Ok(first)
    }

    /// The passphrase of a file that there is.
    pub(crate) fn given_or_ask(&self, text: &str) -> CliResult<Zeroizing<String>> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None => prompt(text, "identity"),
        }
    }

    /// A Crypt4GH secret key, unlocked if it is locked.
    pub(crate) fn crypt4gh_key(&self, path: &Path) -> CliResult<SecretKey> {
        let text = read_small(path)?;
        let name = path.display();
        let wrong = |error: Crypt4ghError| {
            let named = CliError::new(format!("{name} gives no Crypt4GH secret key"));
            let hint = match &error {
                Crypt4ghError::Passphrase => "try again",
                Crypt4ghError::Lock(_) => "lock it anew with `crypt4gh-keygen`, which takes scrypt",
                _ => "name the secret key that `crypt4gh-keygen` wrote, not the public one",
            };
            named.caused_by(error).hint(hint)
        };
        match crypt4gh::KeyFile::read(&text).map_err(wrong)? {
            crypt4gh::KeyFile::Bare(key) => Ok(key),
            crypt4gh::KeyFile::Locked(locked) => {
                let passphrase = match self.given()? {
                    Some(passphrase) => passphrase,
                    None => prompt(&format!("Passphrase for {name}: "), "sample import")?,
                };
                locked.unlock(passphrase.as_bytes()).map_err(wrong)
            }
        }
    }

    fn given(&self) -> CliResult<Option<Zeroizing<String>>> {
        if let Some(path) = &self.passphrase_file {
            let text = read_small(path)?;
            return Ok(Some(Zeroizing::new(text.lines().next().unwrap_or("").to_owned())));
        }
        match std::env::var_os(VARIABLE) {
            None => Ok(None),
            Some(value) => value.into_string().map(Zeroizing::new).map(Some).map_err(|_| {
                CliError::new(format!("the passphrase in {VARIABLE} is not UTF-8"))
                    .hint("use `--passphrase-file`, or a prompt")
            }),
        }
    }
}

/// Asks at the terminal, without showing what is typed.
pub(crate) fn prompt(text: &str, command: &str) -> CliResult<Zeroizing<String>> {
    let hint = || {
        format!(
            "give `--passphrase-file FILE`, or set {VARIABLE}: `chorion {command} --help` says more"
        )
    };
    if !std::io::stderr().is_terminal() {
        return Err(
            CliError::new("a passphrase is needed, and nobody is there to ask").hint(hint())
        );
    }
    rpassword::prompt_password(text).map(Zeroizing::new).map_err(|error| {
        CliError::new("a passphrase is needed, and the prompt failed").caused_by(error).hint(hint())
    })
}

/// The recipients that `--to` names, each once.
pub(crate) fn recipients(named: &[String]) -> CliResult<Vec<RecipientKey>> {
    let mut keys: Vec<RecipientKey> = Vec::with_capacity(named.len());
    for name in named {
        let key = recipient(name)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// A public string, or a file holding one.
pub(crate) fn recipient(named: &str) -> CliResult<RecipientKey> {
    if named.starts_with("chorion1") {
        return named.parse().map_err(|error| {
            CliError::new("the recipient is not a public string")
                .caused_by(error)
                .hint("copy it whole, from `chorion1` on, or name the file that holds it")
        });
    }
    let text = read_small(Path::new(named))?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let wrong = |error: BadRecipient| {
        CliError::new(format!("{named} holds no public string")).caused_by(error)
    };
    match line {
        Some(line) if line.starts_with("chorion-secret1") => {
            Err(CliError::new(format!("{named} is a secret key, not a public string"))
                .hint(format!("seal to {named}.pub, and keep {named} to yourself")))
        }
        Some(line) => line.parse().map_err(wrong),
        None => Err(wrong(BadRecipient::NotARecipient)),
    }
}

/// The secret key in a file, unlocked if it is locked.
pub(crate) fn identity(path: &Path, passphrase: &PassphraseArgs) -> CliResult<RecipientSecret> {
    let text = read_small(path)?;
    let name = path.display();
    let wrong = |error: KeyFileError| {
        let named = CliError::new(format!("{name} gives no secret key")).caused_by(error);
        match error {
            KeyFileError::NoKey => {
                named.hint("name the file that `chorion keygen -o` wrote, not its .pub")
            }
            KeyFileError::BadCheck => named.hint("it was damaged: take it from a backup"),
            KeyFileError::WrongPassphrase => named.hint("try again"),
            _ => named,
        }
    };
    match KeyFile::read(&text).map_err(wrong)? {
        KeyFile::Bare(secret) => Ok(secret),
        KeyFile::Locked(locked) => {
            let passphrase = match passphrase.given()? {
                Some(passphrase) => passphrase,
                None => prompt(&format!("Passphrase for {name}: "), "open")?,
            };
            locked.unlock(passphrase.as_bytes()).map_err(wrong)
        }
    }
}

/// The text of a file that is small if it is what it should be.
pub(crate) fn read_small(path: &Path) -> CliResult<Zeroizing<String>> {
    let name = path.display();
    let unread = |error| CliError::new(format!("{name} could not be read")).caused_by(error);
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .map_err(unread)?
        .take(MOST_KEY_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unread)?;
    if text.len() as u64 > MOST_KEY_FILE_BYTES {
        return Err(CliError::new(format!("{name} is too long to be a key or passphrase file")));
    }
    Ok(text)
}
