//! An owner's project goes into other hands (`spec/approval.md`, section 9): its keys are opened here with the words, one after the
//! other, and wrapped to whoever holds them next. Nothing counts before the last; a command that was stopped is given again, and
//! goes on where it was.

use std::path::PathBuf;

use api::{
    AccountId, BeginHandover, Bytes, CustodianKey, DatasetId, FinishHandover, Handover,
    HandoverKeys, ProjectId, PutCard, Release, SignedStatement, Transfer, TransferId,
};
use authenticator::{Device, HandOver, OtherPerson, card_in_force, whole};
use clap::Args;
use dataset::OpenDataset;
use proof::{Act, CardDevice, OwnerCard, PublicKey, digest_of, open_statement, sign_statement};
use seal::recipient::RecipientKey;

use super::approve::sign_act;
use super::device::Owner;
use crate::config::{self, ClientContext};
use crate::offline::keys::read_small;
use crate::people::confirm;
use crate::project::Holder;
use crate::report::{CliError, CliResult, Ui};

/// How many keys go to the hub in one call.
const AT_ONCE: usize = 50;

/// Gives a project to another person
#[derive(Debug, Args)]
pub(crate) struct GiveArgs {
    /// The project.
    project: ProjectId,
    /// To whose account.
    #[arg(long)]
    to: AccountId,
    /// What `chorion identity show --json` printed on their machine.
    #[arg(long, value_name = "FILE")]
    person: PathBuf,
    /// The six words of both their keys as they read them to you, instead of being asked whether they are the same.
    #[arg(long, value_name = "SIX WORDS")]
    phrase: Option<String>,
    /// Have everything written anew once it is theirs, so that keys you kept open nothing.
    #[arg(long)]
    re_seal: bool,
}

/// Lets others hold a project's key
#[derive(Debug, Args)]
pub(crate) struct CustodyArgs {
    /// The project.
    project: ProjectId,
    /// Who shall hold its key: they can read everything in it from then on.
    #[arg(long)]
    to: Holder,
    /// Have everything written anew under new keys.
    #[arg(long)]
    re_seal: bool,
    /// It was read and is meant: do not ask back.
    #[arg(long)]
    yes: bool,
}

/// A hand-over of this machine, written down before the hub hears of it: the same approval goes on after a stop.
fn begun(ctx: &ClientContext, project: ProjectId) -> PathBuf {
    ctx.home().join("handovers").join(format!("{project}.json"))
}

/// What was begun here and can still count: the card in force is still the one that it follows.
fn kept(ctx: &ClientContext, seen: &OwnerCard) -> CliResult<Option<BeginHandover>> {
    let path = begun(ctx, seen.project);
    if !path.exists() {
        return Ok(None);
    }
    let begin: BeginHandover = serde_json::from_str(&read_small(&path)?).map_err(|e| {
        CliError::new(format!("{} is no record of a hand-over", path.display()))
            .caused_by(e)
            .hint("remove it, and begin anew")
    })?;
    let of_seen = open_statement::<proof::Approval>(&begin.approval.approval)
        .is_ok_and(|(approval, _)| approval.card == seen.digest());
    Ok(of_seen.then_some(begin))
}

/// Signs the approval and the next card, or takes those that were signed before a stop; has the hub begin.
pub(super) async fn begin(
    ctx: &ClientContext,
    ui: Ui,
    seen: &OwnerCard,
    same: impl Fn(&Act) -> bool,
    make: impl FnOnce() -> CliResult<(Act, SignedStatement, &'static str)>,
) -> CliResult<(BeginHandover, Handover)> {
    let project = seen.project;
    if let Some(begin) = kept(ctx, seen)?
        && open_statement::<proof::Approval>(&begin.approval.approval)
            .is_ok_and(|(approval, _)| same(&approval.act))
    {
        // An approval that the hub never took may be over by now; then another is signed.
        match ctx.client.begin_handover(project, &begin).await {
            Ok(handover) => return Ok((begin, handover)),
            Err(error) if error.code() == Some(api::ErrorCode::KeyRefused) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (act, card, purpose) = make()?;
    let approval = sign_act(ctx, ui, project, act, purpose).await?;
    let begin = BeginHandover { approval, card };
    let text = serde_json::to_vec(&begin).expect("a hand-over serializes because it holds texts");
    config::write_private(&begun(ctx, project), &text)?;
    let handover = ctx.client.begin_handover(project, &begin).await?;
    Ok((begin, handover))
}

/// Nothing is left to go on with.
pub(super) fn done(ctx: &ClientContext, project: ProjectId) {
    // What stays is of no use: it follows a card that is in force no more.
    std::fs::remove_file(begun(ctx, project)).ok();
}

/// Wraps every key that is missing to `to`, with the words of `owner`. Says how many there are.
pub(super) async fn wrap_all(
    ctx: &ClientContext,
    ui: Ui,
    owner: &Owner,
    mut handover: Handover,
    to: &RecipientKey,
) -> CliResult<u64> {
    let project = handover.project;
    let total = handover.total;
    let approval_key = owner.approval_key()?;
    let device = owner.device(&ctx.hub_id, &approval_key);
    let mut at = 0;
    while !handover.missing.is_empty() {
        let mut keys = Vec::with_capacity(AT_ONCE);
        for dataset in handover.missing.iter().take(AT_ONCE) {
            keys.push(wrapped(ctx, &device, project, *dataset, to).await?);
        }
        at += keys.len() as u64;
        handover = ctx.client.put_handover_keys(project, &HandoverKeys { keys }).await?;
        ui.note(format_args!(
            "project {project}: {at} keys wrapped anew now, {} of {total} to go",
            handover.missing.len()
        ));
        if at > 2 * total + AT_ONCE as u64 {
            return Err(CliError::new(format!(
                "the hub keeps asking for the same keys of project {project}"
            )));
        }
    }
    Ok(total)
}

async fn wrapped(
    ctx: &ClientContext,
    device: &Device<'_>,
    project: ProjectId,
    dataset: DatasetId,
    to: &RecipientKey,
) -> CliResult<Release> {
    let of_project = dataset.to_bytes() == project.to_bytes();
    let key = if of_project {
        ctx.client.project_key(project).await?
    } else {
        ctx.client.dataset_key(dataset).await?
    };
    Ok(device.rewrap(project, dataset, key.release, to)?)
}

/// `chorion approve transfer`
pub(super) async fn give(ctx: &ClientContext, ui: Ui, args: &GiveArgs) -> CliResult {
    let person = OtherPerson::read(&read_small(&args.person)?).map_err(|e| {
        CliError::new(format!("{} holds nobody's public keys", args.person.display()))
            .caused_by(e)
            .hint("on their machine: chorion identity show --json > FILE")
    })?;
    let words = person.phrase();
    let same = match &args.phrase {
        Some(given) => {
            given.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase() == words
        }
        None => confirm(
            &format!(
                "The six words of both keys are: {words}\nDo they read you the same? Type yes: "
            ),
            "yes",
        )?,
    };
    if !same {
        return Err(CliError::new("these are not the six words of those keys").hint(
            "give it to nobody before you know why: somebody may have put other keys in their place",
        ));
    }
    let owner = ctx.owner()?;
    let seen = mine(ctx, args.project).await?;
    let key = owner.approval_key()?;
    let device = owner.device(&ctx.hub_id, &key);
    let HandOver { act, card, to } = device.transfer(&seen, &person, args.to, args.re_seal)?;
    let make = || Ok((act.clone(), card, "give the project to another person"));
    let (_, handover) = begin(ctx, ui, &seen, |begun| *begun == act, make).await?;
    let total = wrap_all(ctx, ui, owner, handover, &to).await?;
    done(ctx, args.project);
    ui.line(format!(
        "project {} is offered to account {} with {total} keys; it is yours until they take it",
        args.project, args.to
    ));
    ui.line("what you opened or copied before stays with you: only a re-seal makes your old keys open nothing");
    ui.value(&serde_json::json!({
        "project": args.project, "to": args.to, "keys": total, "re_seal": args.re_seal,
    }));
    Ok(())
}

/// The card in force of a project of one's own.
async fn mine(ctx: &ClientContext, project: ProjectId) -> CliResult<OwnerCard> {
    let signed = ctx.client.card(project).await?;
    ctx.owner()?.card(ctx, project, &signed)
}

/// Takes an owner's project that was offered; nothing for an offer of another kind.
pub(crate) async fn take(
    ctx: &ClientContext,
    ui: Ui,
    id: TransferId,
) -> CliResult<Option<Transfer>> {
    let handover = match ctx.client.offered_handover(id).await {
        Err(error) if error.code() == Some(api::ErrorCode::Conflict) => return Ok(None),
        answer => answer?,
    };
    let owner = ctx.owner()?;
    let project = handover.project;
    let key = owner.approval_key()?;
    let device = owner.device(&ctx.hub_id, &key);
    let refuse =
        |said: CliError| said.hint(format!("refuse it: chorion project transfer refuse {id}"));
    let offered = device.offered(&handover).map_err(|e| refuse(e.into()))?;
    if offered.card.test {
        ui.note("test mark: NOT CONFIDENTIAL, vaults that prove nothing may open it");
    }
    let signed = device.take_card(project, &handover.card)?;
    let finish = FinishHandover { card: Some(signed.clone()) };
    let transfer = ctx.client.take_transfer(id, &finish).await?;
    let seen = owner.card(ctx, project, &signed)?;
    // The key of the project must open, or what was given is not what was said.
    let key = ctx.client.project_key(project).await?;
    OpenDataset::from_release(&key.release, &owner.person.sealing()).map_err(|e| {
        let said = format!("the key of project {project} does not open with your words");
        CliError::new(said).caused_by(e).hint("what was given is not what was said: ask the giver")
    })?;
    certify(ctx, owner, &seen).await?;
    Ok(Some(transfer))
}

/// The next card of the same owner, with this device and this machine's key among those that may write.
async fn certify(ctx: &ClientContext, owner: &Owner, seen: &OwnerCard) -> CliResult {
    let key = Bytes(owner.approval_key()?.public().to_bytes().to_vec());
    let writer = Bytes(ctx.signing.public().to_bytes().to_vec());
    let mut card = seen.clone();
    card.number += 1;
    card.previous = Some(seen.digest());
    card.devices = vec![CardDevice { key, since: whole(api::Time::now()) }];
    if !card.writers.contains(&writer) {
        card.writers.push(writer);
    }
    card.check().map_err(|e| CliError::new("the card cannot be made").caused_by(e))?;
    let signed = sign_statement(&card, &owner.person.card_key());
    let put = PutCard { card: signed.clone(), approval: None };
    ctx.client.put_card(seen.project, &put).await?;
    owner.card(ctx, seen.project, &signed).map(drop)
}

/// `chorion approve custody`
pub(super) async fn custody(ctx: &ClientContext, ui: Ui, args: &CustodyArgs) -> CliResult {
    let custodian = args.to.custodian();
    let owner = ctx.owner()?;
    let project = args.project;
    let seen = mine(ctx, project).await?;
    let hub = ctx.client.whoami().await?.hub;
    let offered = hub.custodians.into_iter().find(|offered| offered.custodian == custodian);
    let offered = offered.unwrap_or(CustodianKey { custodian, recipient: None });
    let key = owner.approval_key()?;
    let device = owner.device(&ctx.hub_id, &key);
    let over = device.custodian_change(&seen, &offered, args.re_seal)?;
    ui.note(format_args!(
        "EXPORT: from then on the {} can read everything in project {project}, and this is not taken back by taking it back",
        custodian.as_str()
    ));
    if !args.yes && !confirm("Let others hold its key? Type yes: ", "yes")? {
        return Err(CliError::new(format!("the key of project {project} stays yours")));
    }
    let make = || Ok((over.act.clone(), over.card.clone(), "let others hold the key"));
    let (_, handover) = begin(ctx, ui, &seen, |begun| *begun == over.act, make).await?;
    let total = wrap_all(ctx, ui, owner, handover, &over.to).await?;
    let in_force = ctx.client.finish_handover(project, &FinishHandover { card: None }).await?;
    let hub_key = PublicKey::from_bytes(&hub.card_key.0)
        .map_err(|e| CliError::new("the hub's key is none").caused_by(e))?;
    let now = card_in_force(project, &over.card, &in_force, &hub_key)?;
    ctx.pins()
        .pin(project, &in_force)
        .map_err(|e| CliError::new("the card could not be kept").caused_by(e))?;
    done(ctx, project);
    ui.line(format!(
        "project {project}: its {total} keys are held by the {} now",
        now.custodian().as_str()
    ));
    ui.value(&serde_json::json!({
        "project": project, "custodian": custodian, "keys": total, "card": digest_of(&in_force),
    }));
    Ok(())
}
