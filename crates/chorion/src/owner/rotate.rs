//! `chorion words rotate`: other words for everything, because the old ones were seen.
//!
//! The new words lie beside the old ones until every project is theirs, so that a command that was stopped is given again and goes
//! on. Project by project: the old device approves, the old card key signs the card of the new words, every dataset key
//! is wrapped to them, and when the last is there the card comes into force and the old keys count for nothing.

use std::fs;
use std::path::{Path, PathBuf};

use api::{FinishHandover, ProjectId};
use authenticator::key_change;
use clap::Args;
use identity::{Identity, IdentityFile, Words};
use proof::OwnerCard;
use seal::passphrase::Cost;
use serde::Serialize;
use zeroize::Zeroizing;

use super::device::{Owner, cards};
use super::handover::{begin, done, wrap_all};
use super::memory::Locked;
use super::words::{show_and_type_back, type_back_once, unusable};
use super::{PersonArgs, identity_path, terminal};
use crate::config::{self, ClientContext};
use crate::offline::keys::read_small;
use crate::report::{CliError, CliResult, Ui};

/// Change to other words, because somebody may have seen the old ones
///
/// Every project whose key your old words hold goes over to twelve new ones: a new card that both sign, every dataset key wrapped
/// anew. The old words, their cards and their devices count for nothing afterwards. What they could open until then, whoever
/// had them may have opened: `--re-seal` has everything written anew, so that dataset keys kept from before open nothing new.
/// Stopped half-way, give the same command again.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    pub(super) person: PersonArgs,
    /// Have every dataset written anew under a new key, one approved task each.
    #[arg(long)]
    re_seal: bool,
    /// Print the new words to standard output and read them back from standard input: whoever reads that has every key.
    #[arg(long)]
    print_words: bool,
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Rotated {
    projects: Vec<ProjectId>,
    keys: u64,
    re_seal: bool,
    identity: PathBuf,
}

/// `chorion words rotate`
pub(super) async fn rotate(args: RotateArgs, ui: Ui) -> CliResult {
    if !args.print_words && !terminal::is_there() {
        return Err(CliError::new("new words are shown on a terminal only, and this is none")
            .hint("run it on a terminal; `--print-words` prints them instead: mind who reads it"));
    }
    let path = identity_path(args.person.identity.as_deref())?;
    let next = path.with_extension("next");
    let ctx = ClientContext::load(ui)?;
    ctx.be(Owner::unlock(&args.person)?);
    let old = ctx.owner()?;
    let new = old.under(new_words(old, &next, args.print_words, ui)?)?;
    if new.person.card_key().public() == old.person.card_key().public() {
        // Stopped between the last project and the file's new name.
        return finish(
            ui,
            &path,
            &next,
            Rotated { projects: vec![], keys: 0, re_seal: args.re_seal, identity: path.clone() },
        );
    }
    let mut rotated =
        Rotated { projects: Vec::new(), keys: 0, re_seal: args.re_seal, identity: path.clone() };
    let own = cards(&ctx, old, None).await?;
    let count = own.len();
    for (at, (project, seen, _)) in own.into_iter().enumerate() {
        ui.note(format_args!("project {project} ({} of {count})", at + 1));
        rotated.keys += one(&ctx, ui, old, &new, &seen, args.re_seal).await?;
        rotated.projects.push(project);
    }
    finish(ui, &path, &next, rotated)
}

/// The new person: drawn, shown, typed back and kept beside the old one, or taken from there.
fn new_words(old: &Owner, next: &Path, print: bool, ui: Ui) -> CliResult<Identity> {
    if next.exists() {
        let wrong = |e| {
            CliError::new(format!("{} gives no keys", next.display())).caused_by(e).hint(
                "it holds the words of a change that was begun: it opens with the same passphrase",
            )
        };
        let file = IdentityFile::read(&read_small(next)?).map_err(wrong)?;
        let opened = file.unlock(old.passphrase(), &Locked).map_err(wrong)?;
        ui.note("going on with the change of words that was begun");
        return opened.person(&Zeroizing::new(String::new()), &Locked).map_err(wrong);
    }
    let words = Words::generate(&Locked).map_err(unusable)?;
    let person =
        Identity::from_words(words, &Zeroizing::new(String::new()), &Locked).map_err(unusable)?;
    if print {
        let text = person.words().expose_text();
        terminal::write_output(&Zeroizing::new(format!("{}\n", *text)))?;
        type_back_once(&person)?;
    } else {
        while !show_and_type_back(&person, &ui)? {}
    }
    let text = IdentityFile::write(&person, old.passphrase(), Cost::STANDARD).map_err(unusable)?;
    config::write_private(next, text.as_bytes())?;
    Ok(person)
}

/// One project. Says how many keys it has.
async fn one(
    ctx: &ClientContext,
    ui: Ui,
    old: &Owner,
    new: &Owner,
    seen: &OwnerCard,
    reseal: bool,
) -> CliResult<u64> {
    let to = new.person.sealing().public();
    let approval_key = old.approval_key()?;
    let before = old.device(&ctx.hub_id, &approval_key);
    let after = new.device(&ctx.hub_id, &approval_key);
    let act = key_change(&after, reseal);
    let make = || {
        let card = before.card_of_new_words(&after, seen, api::Time::now())?;
        Ok((act.clone(), card, "change my words"))
    };
    let (begun, handover) = begin(ctx, ui, seen, |begun| *begun == act, make).await?;
    let total = wrap_all(ctx, ui, old, handover, &to).await?;
    let signed = after.take_card(seen.project, &begun.card)?;
    let finish = FinishHandover { card: Some(signed.clone()) };
    ctx.client.finish_handover(seen.project, &finish).await?;
    new.card(ctx, seen.project, &signed)?;
    done(ctx, seen.project);
    Ok(total)
}

/// The new words take the place of the old ones, and what the old ones could open is said.
fn finish(ui: Ui, path: &Path, next: &Path, rotated: Rotated) -> CliResult {
    if next.exists() {
        fs::rename(next, path).map_err(|e| {
            CliError::new(format!("{} could not take the place of the old words", next.display()))
                .caused_by(e)
                .hint("every project is the new words' already: give the same command again")
        })?;
    }
    ui.line(format!(
        "{} projects with {} keys are held by the new words; {} holds them",
        rotated.projects.len(),
        rotated.keys,
        path.display()
    ));
    ui.line(
        "the old words, their cards and every device but this one count for nothing from here on",
    );
    ui.line("whoever had the old words could open everything in these projects until now, and keeps what they copied");
    ui.line(if rotated.re_seal {
        "every dataset is being written anew: approve each as it asks; until then dataset keys from before still open its bytes"
    } else {
        "nothing was written anew: a dataset key copied before still opens the bytes of its dataset; `--re-seal` would have changed that"
    });
    ui.line("other keys of the old words are others now too: Ethereum account, OpenPGP, X.509 and SSH; tell whoever uses them");
    ui.value(&rotated);
    Ok(())
}
