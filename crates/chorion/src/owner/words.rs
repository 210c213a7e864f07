//! `chorion words new | restore | check`; `rotate` has a file of its own.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use identity::{Identity, IdentityFile, WORD_COUNT, Words, WordsError, nearest};
use seal::passphrase::Cost;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::memory::Locked;
use super::rotate::{RotateArgs, rotate};
use super::{WordsPassphraseArgs, identity_path, keys, make_home, protect_process, terminal};
use crate::offline::keys::{PassphraseArgs, read_small};
use crate::offline::output::{self, Output};
use crate::report::{CliError, CliResult, Ui};

/// Twelve words, from which all keys of a person come.
#[derive(Debug, Subcommand)]
pub(crate) enum WordsCommand {
    New(NewArgs),
    Restore(RestoreArgs),
    Check(CheckArgs),
    Rotate(RotateArgs),
}

/// Draw twelve new words
///
/// They are shown once, on a terminal, and have to be typed back before anything is kept. Write them on paper. Whoever has them has
/// every key that comes of them; whoever loses them and the identity file has lost what was sealed to them, and nobody can help.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    #[command(flatten)]
    keep: KeepArgs,
    /// Print the words to standard output (under `--json` into the document): whoever reads that has every key.
    #[arg(long)]
    print_words: bool,
}

/// Make the identity file from words that you have
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    keep: KeepArgs,
}

/// Check words that you have, or wrote down
///
/// Says whether they belong together, and which word is mistyped. With `--identity` also whether they are the words of that file.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// An identity file: are these its words?
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
struct KeepArgs {
    /// Where the identity file goes; `identity` in the folder of settings unless another is named.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    words_passphrase: WordsPassphraseArgs,
    /// Replace the file if it is there. The keys in it are gone then, unless you have their words.
    #[arg(long)]
    force: bool,
}

/// `chorion words`
pub(crate) fn words(command: WordsCommand, ui: &Ui) -> CliResult {
    protect_process()?;
    match command {
        WordsCommand::New(args) => new(&args, ui),
        WordsCommand::Restore(args) => restore(&args, ui),
        WordsCommand::Check(args) => check(&args, ui),
        WordsCommand::Rotate(args) => crate::wait(rotate(args, *ui)),
    }
}

fn new(args: &NewArgs, ui: &Ui) -> CliResult {
    if !args.print_words && !terminal::is_there() {
        return Err(CliError::new("new words are shown on a terminal only, and this is none").hint(
            "run it on a terminal; `--print-words` prints them to standard output instead: mind who reads it",
        ));
    }
    make_home(args.keep.output.as_deref())?;
    // The name is looked at before words are drawn that could not be kept.
    let path = identity_path(args.keep.output.as_deref())?;
    let file = Output::create(&path, output::SECRET, args.keep.force)?;
    let words = Words::generate(&Locked).map_err(unusable)?;
    let own = args.keep.words_passphrase.choose()?;
    let person = Identity::from_words(words, &own, &Locked).map_err(unusable)?;
    if args.print_words {
        print_words(&person, &path, ui)?;
        type_back_once(&person)?;
    } else {
        while !show_and_type_back(&person, ui)? {}
    }
    keep(&person, &args.keep, file, &path, ui)?;
    if !args.print_words {
        ui.value(&summary(&person, &path)?);
    }
    Ok(())
}

/// For scripts: the words as a line, or in the one document, before they are typed back.
fn print_words(person: &Identity, path: &Path, ui: &Ui) -> CliResult {
    let text = person.words().expose_text();
    if !ui.json {
        return terminal::write_output(&Zeroizing::new(format!("{}\n", *text)));
    }
    let mut document = summary(person, path)?;
    document["words"] = Value::String(text.to_string());
    let shown = Zeroizing::new(format!("{document:#}\n"));
    if let Value::String(words) = &mut document["words"] {
        zeroize::Zeroize::zeroize(words);
    }
    terminal::write_output(&shown)
}

pub(super) fn type_back_once(person: &Identity) -> CliResult {
    let typed = terminal::read_words(WORD_COUNT)?.text;
    match wrong_place(&typed, person.words()) {
        None => Ok(()),
        Some(wrong) => Err(CliError::new(format!("{wrong}, so nothing was kept"))
            .hint("give all twelve words on standard input, in their order")),
    }
}

/// One showing, and one try. A wrong word leads back to the words, which are still those that were shown.
pub(super) fn show_and_type_back(person: &Identity, ui: &Ui) -> CliResult<bool> {
    ui.note(WARNING);
    let text = person.words().expose_text();
    let mut shown = Zeroizing::new(String::with_capacity(1_024));
    let words: Vec<&str> = text.split(' ').collect();
    for row in words.chunks(3).enumerate() {
        for (column, word) in row.1.iter().enumerate() {
            shown.push_str(&Zeroizing::new(format!("  {:>2}. {word:<9}", row.0 * 3 + column + 1)));
        }
        shown.push('\n');
    }
    shown.push_str("\nPress Enter when they are on paper: they are wiped off the screen then. ");
    terminal::write_screen(&shown)?;
    if terminal::read_line()?.is_none() {
        return Err(nobody_answers());
    }
    terminal::wipe_lines(words.len() / 3 + 2)?;
    terminal::write_screen("Now type all twelve, from the paper:\n")?;
    let typed = terminal::read_words(WORD_COUNT)?;
    if typed.text.is_empty() {
        return Err(nobody_answers());
    }
    terminal::wipe_lines(1 + typed.rows)?;
    match wrong_place(&typed.text, person.words()) {
        None => Ok(true),
        Some(wrong) => {
            ui.note(format_args!("{wrong}. Here they are again: correct the paper."));
            Ok(false)
        }
    }
}

const WARNING: &str = "\
These twelve words are your keys. Write them on paper, in order, and keep the paper where you keep what cannot be replaced.
  - Whoever reads them can open everything that is sealed to you, now and later.
  - If you lose them and the identity file, everything sealed to you is lost. Nobody can restore it: not the hub, not its operator.
  - No honest program or person asks for them, but `chorion words restore` and `check` on your own machine.
";

fn nobody_answers() -> CliError {
    CliError::new("the words were not typed back, so nothing was kept")
        .hint("begin anew: the words that were shown count for nothing")
}

/// What is wrong with words that were typed back, by place and without a word.
fn wrong_place(typed: &str, words: &Words) -> Option<String> {
    let right = words.expose_text();
    let found = typed.split_whitespace().count();
    if found != WORD_COUNT {
        return Some(format!("{found} words were typed back, not {WORD_COUNT}"));
    }
    let wrong = typed
        .split_whitespace()
        .zip(right.split(' '))
        .position(|(typed, right)| *Zeroizing::new(typed.to_lowercase()) != *right)?;
    Some(format!("word {} that was typed back is not the one that was shown", wrong + 1))
}

fn restore(args: &RestoreArgs, ui: &Ui) -> CliResult {
    make_home(args.keep.output.as_deref())?;
    let path = identity_path(args.keep.output.as_deref())?;
    let file = Output::create(&path, output::SECRET, args.keep.force)?;
    let words = typed_words()?;
    let own = args.keep.words_passphrase.choose()?;
    let person = Identity::from_words(words, &own, &Locked).map_err(unusable)?;
    keep(&person, &args.keep, file, &path, ui)?;
    ui.value(&summary(&person, &path)?);
    Ok(())
}

fn check(args: &CheckArgs, ui: &Ui) -> CliResult {
    let words = typed_words()?;
    let same = match &args.identity {
        None => None,
        Some(path) => {
            let name = path.display();
            let wrong = |error| CliError::new(format!("{name} was not opened")).caused_by(error);
            let file = IdentityFile::read(&read_small(path)?).map_err(wrong)?;
            let passphrase = args.passphrase.given_or_ask(&format!("Passphrase for {name}: "))?;
            let opened = file.unlock(passphrase.as_bytes(), &Locked).map_err(wrong)?;
            if !opened.holds(&words) {
                return Err(CliError::new(format!("these are not the words of {name}"))
                    .hint("they belong together, but to other keys"));
            }
            Some(opened.needs_passphrase())
        }
    };
    ui.line("the twelve words belong together: their checksum matches");
    if same.is_some() {
        ui.line("they are the words of the identity file");
    }
    if same == Some(true) {
        ui.line("note: its keys need the passphrase of the words besides");
    }
    ui.value(&json!({
        "checksum": true,
        "identity": args.identity,
        "needs_words_passphrase": same,
    }));
    Ok(())
}

/// Words from a person at a terminal, or from a pipe.
fn typed_words() -> CliResult<Words> {
    let person_is_there = terminal::is_there();
    if person_is_there {
        terminal::write_screen("Type the twelve words:\n")?;
    }
    let typed = terminal::read_words(WORD_COUNT)?;
    if person_is_there {
        terminal::wipe_lines(1 + typed.rows)?;
    }
    Words::parse(&typed.text, &Locked)
        .map_err(|error| refused(&error, &typed.text, person_is_there))
}

/// What is wrong with typed words. The words of the list that are near are said to a person at a terminal, never into a pipe or log.
fn refused(error: &WordsError, typed: &str, person_is_there: bool) -> CliError {
    let named = CliError::new("these are not the words of anybody").caused_by(error);
    match error {
        WordsError::NotInTheList { places } if person_is_there => {
            let near: Vec<String> = places
                .iter()
                .filter_map(|place| Some((place, typed.split_whitespace().nth(place - 1)?)))
                .map(|(place, word)| match nearest(word).as_slice() {
                    [] => format!("word {place} is near no word of the list"),
                    words => format!("for word {place} try: {}", words.join(", ")),
                })
                .collect();
            named.hint(near.join("\n      "))
        }
        WordsError::NotInTheList { .. } => {
            named.hint("on a terminal, `chorion words check` names the nearest words of the list")
        }
        WordsError::Checksum => named.hint(
            "each is a word of the list, but not all are those that were drawn: compare with the paper",
        ),
        _ => named,
    }
}

fn keep(person: &Identity, args: &KeepArgs, file: Output, path: &Path, ui: &Ui) -> CliResult {
    let passphrase = args.passphrase.choose_for("Passphrase for the identity file: ")?;
    let text =
        IdentityFile::write(person, passphrase.as_bytes(), Cost::STANDARD).map_err(unusable)?;
    file.write_whole(text.as_bytes())?;
    ui.note(format_args!("identity file: {}", path.display()));
    if person.has_passphrase() {
        ui.note(
            "note: the passphrase of the words is not in it: forgotten, it is as bad as lost words",
        );
    }
    Ok(())
}

fn summary(person: &Identity, path: &Path) -> CliResult<Value> {
    let mut document = keys::public_halves(person)?;
    document["file"] = json!(path);
    document["words_passphrase"] = json!(person.has_passphrase());
    Ok(document)
}

pub(super) fn unusable(error: impl std::error::Error) -> CliError {
    CliError::new("no keys were made").caused_by(error)
}
