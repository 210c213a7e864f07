//! `chorion approve update` and `chorion vault release`: which vault programs may open an owner's projects.
//!
//! Whoever releases vaults signs the list of their measurements; a device goes by the key with which the first list came that a
//! person took, and by no older list than the last. What changes in a card is approved project by project.

use std::collections::BTreeSet;
use std::path::PathBuf;

use api::{Bytes, ProjectId, PutCard, SignedStatement, Time};
use authenticator::whole;
use clap::Args;
use data_encoding::HEXLOWER;
use proof::{
    Act, CodeUpdate, ProjectCard, PublicKey, ReleaseList, digest_of, open_statement, phrase,
    sha256, sign_statement,
};
use serde::{Deserialize, Serialize};

use super::approve::sign_act;
use super::device::cards;
use crate::config::{self, ClientContext, PersonKeys};
use crate::offline::keys::read_small;
use crate::report::{CliError, CliResult, Ui};

/// Takes the vault programs of a release list for one's projects
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The signed list.
    #[arg(long, value_name = "FILE")]
    release: PathBuf,
    /// Only in this project; in all of yours if absent.
    #[arg(long)]
    project: Option<ProjectId>,
    /// The six words of the key that signs lists, as its maker publishes them: asked for once.
    #[arg(long, value_name = "SIX WORDS")]
    key_phrase: Option<String>,
    /// It was read and is right: do not ask back.
    #[arg(long)]
    yes: bool,
}

/// Sign a list of vault programs
///
/// For whoever builds guest images: with the key of this machine's login, whose six words owners compare once.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// A launch measurement, as `chorion vault measure` prints it; all that count.
    #[arg(long, required = true)]
    measurement: Vec<String>,
    /// The number of the list, one more each time.
    #[arg(long)]
    number: u32,
    /// The version that the newest of them is of.
    #[arg(long)]
    version: String,
    /// Where it goes.
    #[arg(short, long)]
    output: PathBuf,
}

/// What this device goes by.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    key: Bytes,
    number: u32,
}

/// What people compare of the key that signs lists.
fn key_phrase(key: &PublicKey) -> String {
    phrase(&sha256(&[b"chorion release key v1\0", &key.to_bytes()[..]].concat()))
}

/// `chorion vault release`
pub(crate) fn sign(args: &ReleaseArgs, ui: Ui) -> CliResult {
    let keys = PersonKeys::read(&config::home()?.join("key.json"))?;
    let measurements = args.measurement.iter().map(|text| {
        HEXLOWER
            .decode(text.as_bytes())
            .map(Bytes)
            .map_err(|e| CliError::new(format!("`{text}` is no measurement")).caused_by(e))
    });
    let list = ReleaseList {
        number: args.number,
        version: args.version.clone(),
        measurements: measurements.collect::<CliResult<_>>()?,
        at: whole(Time::now()),
    };
    list.check().map_err(|why| CliError::new(format!("the list cannot be made: {why}")))?;
    let signed = sign_statement(&list, &keys.signing);
    let text = serde_json::to_vec_pretty(&signed)
        .expect("a signed statement serializes because it holds texts");
    std::fs::write(&args.output, text).map_err(|e| {
        CliError::new(format!("{} cannot be written", args.output.display())).caused_by(e)
    })?;
    let words = key_phrase(&keys.signing.public());
    ui.line(format!("six words of the key that signed it, to be published: {words}"));
    ui.value(&serde_json::json!({
        "list": digest_of(&signed), "key_phrase": words, "number": list.number,
    }));
    Ok(())
}

/// The list, if it is by the key that this device goes by and no older than what it saw.
fn list(ctx: &ClientContext, args: &UpdateArgs) -> CliResult<(ReleaseList, SignedStatement)> {
    let name = args.release.display();
    let bad = |why: String| {
        CliError::new(format!("{name} is no release list to go by: {why}"))
            .hint("take no vault program before you know why")
    };
    let signed: SignedStatement =
        serde_json::from_str(&read_small(&args.release)?).map_err(|e| bad(e.to_string()))?;
    let (list, signer) = open_statement::<ReleaseList>(&signed).map_err(|e| bad(e.to_string()))?;
    list.check().map_err(|why| bad(why.to_owned()))?;
    let path = ctx.home().join("releases.json");
    let known: Option<Known> = if path.exists() {
        Some(serde_json::from_str(&read_small(&path)?).map_err(|e| bad(e.to_string()))?)
    } else {
        None
    };
    match known {
        Some(known) if known.key.0 != signer.to_bytes() => {
            return Err(bad("another key signed it than those before".into()));
        }
        Some(known) if list.number < known.number => {
            return Err(bad(format!(
                "it has number {}, and number {} was seen",
                list.number, known.number
            )));
        }
        Some(_) => {}
        None => {
            let words = key_phrase(&signer);
            let same = match &args.key_phrase {
                Some(given) => {
                    given.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase() == words
                }
                None => crate::people::confirm(
                    &format!(
                        "The six words of the key that signed it are: {words}\nAre they those that its maker publishes? Type yes: "
                    ),
                    "yes",
                )?,
            };
            if !same {
                return Err(bad("these are not the six words of the key that signed it".into()));
            }
        }
    }
    let known = Known { key: Bytes(signer.to_bytes().to_vec()), number: list.number };
    let text = serde_json::to_vec(&known).expect("a key and a number serialize");
    config::write_private(&path, &text)?;
    Ok((list, signed))
}

/// `chorion approve update`
pub(super) async fn update(ctx: &ClientContext, ui: Ui, args: &UpdateArgs) -> CliResult {
    let (list, signed) = list(ctx, args)?;
    let owner = ctx.owner()?;
    let wanted: BTreeSet<Vec<u8>> = list.measurements.iter().map(|m| m.0.clone()).collect();
    let bytes = |set: BTreeSet<Vec<u8>>| -> Vec<Bytes> { set.into_iter().map(Bytes).collect() };
    let mut changed = Vec::new();
    for (project, seen, in_force) in cards(ctx, owner, args.project).await? {
        let before: BTreeSet<Vec<u8>> = seen.measurements.iter().map(|m| m.0.clone()).collect();
        if before == wanted {
            continue;
        }
        let act = Act::CodeUpdate(CodeUpdate {
            release: digest_of(&signed),
            remove: bytes(&before - &wanted),
            add: bytes(&wanted - &before),
        });
        let approval = sign_act(ctx, ui, project, act, "take other vault programs").await?;
        if !args.yes && !crate::people::confirm("Let these open the project? Type yes: ", "yes")? {
            return Err(CliError::new(format!("project {project} goes by the vaults of before")));
        }
        let mut card = seen.clone();
        card.number += 1;
        card.previous = Some(digest_of(&in_force));
        card.measurements = bytes(wanted.clone());
        card.check().map_err(|e| CliError::new("the card cannot be made").caused_by(e))?;
        let card = sign_statement(&card, &owner.person.card_key());
        let put = PutCard { card: card.clone(), approval: Some(approval) };
        ctx.client.put_card(project, &put).await?;
        owner.card(ctx, project, &card)?;
        ProjectCard::open(&card, project)
            .map_err(|e| CliError::new("the card does not hold").caused_by(e))?;
        ui.line(format!(
            "project {project}: vaults of release {} may open it, after you approve each task",
            list.version
        ));
        changed.push(project);
    }
    if changed.is_empty() {
        ui.line("every project of yours goes by this list already");
    }
    ui.value(&serde_json::json!({ "release": digest_of(&signed), "projects": changed }));
    Ok(())
}
