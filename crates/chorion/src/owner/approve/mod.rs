//! `chorion approve`: a full authenticator on the command line (`spec/approval.md`, section 5).
//!
//! What is judged, drawn, signed and released is `authenticator`'s to say, the same as in a browser. Here it gets what it needs: the
//! hub's answers, and what this machine saw before; and a person is shown the sentences and asked for the words.

mod boot;
mod grants;

use std::io::IsTerminal;

use api::{
    ApprovalId, ApprovalRequest, DatasetId, Digest, RefuseApproval, Release, ShareDataset,
    SignedApproval, Time,
};
use authenticator::{Drawn, Given, Judged, Judging, Moment, Need, Refusal, Shown};
use clap::{Args, Subcommand};
use dataset::OpenDataset;
use proof::{
    APPROVAL_SECONDS, Act, Input, Manifest, OwnerCard, Share, digest_of, open_statement, phrase,
};
use seal::recipient::RecipientKey;

use self::boot::{BootArgs, boot, own_policy};
use self::grants::{NewGrant, grant, watch};
use super::PersonArgs;
use super::device::Owner;
use super::export::{self, ExportArgs};
use super::handover::{self, CustodyArgs, GiveArgs};
use super::release::{self, UpdateArgs};
use crate::config::ClientContext;
use crate::offline::keys::read_small;
use crate::report::{CliError, CliResult, Ui};

/// Answering what the owner of a project is asked.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Carry out standing grants of this device until it is stopped, and say what else waits.
    #[arg(long)]
    watch: bool,
    /// End the watch when nothing has waited for so many seconds.
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    idle: Option<u64>,
    #[command(flatten)]
    person: PersonArgs,
    #[command(subcommand)]
    command: Option<ApproveCommand>,
}

#[derive(Debug, Subcommand)]
enum ApproveCommand {
    /// What waits for you, and what was answered.
    List,
    /// Verify a request and show what would be signed.
    Show {
        /// Which.
        request: ApprovalId,
    },
    /// Verify a request, show it, and approve it.
    Yes {
        /// Which.
        request: ApprovalId,
        /// The six words on the screen of whoever asks, instead of being asked whether they are the same.
        #[arg(long, value_name = "SIX WORDS")]
        phrase: Option<String>,
        /// For how many minutes the approval counts.
        #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(i64).range(1..=1440))]
        minutes: i64,
    },
    /// Refuse a request.
    No {
        /// Which.
        request: ApprovalId,
        /// Why: small letters, digits, spaces, hyphens and dots. The hub reads it.
        #[arg(long, default_value = "refused by the owner")]
        reason: String,
    },
    /// Take what a vault wrote into your project as your own: a sample that a laboratory's run was demultiplexed into.
    Accept {
        /// Which dataset.
        dataset: DatasetId,
        /// It was looked at and is right: do not ask back.
        #[arg(long)]
        yes: bool,
    },
    /// Let another person open a dataset of yours, with their own words. What they open they can keep.
    Share {
        /// Which dataset.
        dataset: DatasetId,
        /// With whose account; give it the right `read` in the project besides: `chorion project members add`.
        #[arg(long)]
        with: api::AccountId,
        /// Their public string `chorion1…`, or a file that holds it: `chorion identity show --format card` prints it.
        #[arg(long, value_name = "KEY")]
        key: String,
        /// The six words of that key as they read them to you, instead of being asked whether they are the same.
        #[arg(long, value_name = "SIX WORDS")]
        phrase: Option<String>,
    },
    /// Let this device approve one app by itself, so often and so long: `--watch` carries it out.
    Grant {
        /// The project, from which inputs come and into which results go.
        #[arg(long)]
        project: api::ProjectId,
        /// The app's digest: `chorion app pack` and `chorion app list` show it.
        #[arg(long)]
        app: Digest,
        /// How often at most.
        #[arg(long)]
        uses: u32,
        /// For how many days, 30 at most.
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..=30))]
        days: i64,
        /// What for.
        #[arg(long)]
        purpose: String,
        /// It was read and is right: do not ask back.
        #[arg(long)]
        yes: bool,
    },
    /// Copy a dataset of yours into a project whose key others hold.
    Export(ExportArgs),
    /// Give a project of yours to another person, with the keys of everything in it.
    Transfer(GiveArgs),
    /// Let others hold the key of a whole project of yours from now on.
    Custody(CustodyArgs),
    /// Let a vault start that shall prove what it is, for a task of yours.
    Boot(BootArgs),
    /// Say which vault programs may open your projects: those of a signed release list.
    Update(UpdateArgs),
}

/// `chorion approve`
pub(crate) async fn run(args: ApproveArgs, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let unlock = || Owner::unlock(&args.person).map(|owner| ctx.be(owner));
    match args.command {
        None if args.watch => {
            unlock()?;
            watch(&ctx, ui, args.idle).await
        }
        None | Some(ApproveCommand::List) => list(&ctx, ui).await,
        Some(ApproveCommand::Show { request }) => {
            unlock()?;
            let judged = judge(&ctx, request, APPROVAL_SECONDS, None).await?;
            show(&judged, ui).map(|shown| ui.value(&shown))
        }
        Some(ApproveCommand::Yes { request, phrase, minutes }) => {
            unlock()?;
            yes(&ctx, ui, request, phrase.as_deref(), minutes * 60).await
        }
        Some(ApproveCommand::No { request, reason }) => {
            let answered = ctx.client.refuse_approval(request, &RefuseApproval { reason }).await?;
            ui.line(format!("request {request} is refused"));
            ui.value(&answered);
            Ok(())
        }
        Some(ApproveCommand::Accept { dataset, yes }) => {
            unlock()?;
            accept(&ctx, ui, dataset, yes).await
        }
        Some(ApproveCommand::Share { dataset, with, key, phrase }) => {
            unlock()?;
            share(&ctx, ui, dataset, with, &key, phrase.as_deref()).await
        }
        Some(ApproveCommand::Export(args)) => {
            unlock()?;
            export::run(&ctx, ui, &args).await
        }
        Some(ApproveCommand::Transfer(args)) => {
            unlock()?;
            handover::give(&ctx, ui, &args).await
        }
        Some(ApproveCommand::Custody(args)) => {
            unlock()?;
            handover::custody(&ctx, ui, &args).await
        }
        Some(ApproveCommand::Boot(args)) => {
            unlock()?;
            boot(&ctx, ui, &args).await
        }
        Some(ApproveCommand::Update(args)) => {
            unlock()?;
            release::update(&ctx, ui, &args).await
        }
        Some(ApproveCommand::Grant { project, app, uses, days, purpose, yes }) => {
            unlock()?;
            grant(&ctx, ui, &NewGrant { project, app, uses, days, purpose, yes }).await
        }
    }
}

async fn list(ctx: &ClientContext, ui: Ui) -> CliResult {
    let requests = ctx.client.approvals().all().await?;
    if requests.is_empty() {
        ui.line(
            "nothing waits for you: requests appear when somebody works with a project of yours",
        );
    }
    for r in &requests {
        let reason = r.reason.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
        let state = format!("{:?}", r.state).to_lowercase();
        ui.line(format!(
            "{}  {state:<8}  {}  project {}{reason}",
            r.id,
            r.kind.as_str(),
            r.project
        ));
    }
    ui.value(&requests);
    Ok(())
}

/// Verifies a request, and asks the hub for what the judgement lacks.
async fn judge(
    ctx: &ClientContext,
    id: ApprovalId,
    seconds: i64,
    grant: Option<Digest>,
) -> CliResult<Judged> {
    let detail = ctx.client.approval(id).await?;
    let project = detail.request.project;
    let key = ctx.owner()?.approval_key()?;
    let device = ctx.owner()?.device(&ctx.hub_id, &key);
    let mut given = Given {
        grant,
        checkpoint: crate::audit::seen(ctx)?,
        policy: own_policy(ctx.home())?,
        card: ctx.confirmed(project)?,
        ..Given::new(Time::now(), seconds)
    };
    for asked in &detail.inputs {
        given.contents.extend(ctx.seen(asked.dataset)?.map(|seen| (asked.dataset, seen)));
    }
    loop {
        match device.judge(id, &detail, &given)? {
            Judging::Needs(Need::Card(other)) => {
                given.cards.insert(other, ctx.card_to_seal(other).await?.0);
            }
            Judging::Needs(Need::Key(dataset)) => {
                given.opened.push(ctx.open(dataset, "approve").await?);
            }
            Judging::Holds(judged) => {
                ctx.pin(project, &detail.card)?;
                for (dataset, seen) in &judged.contents {
                    ctx.remember(*dataset, seen.clone())?;
                }
                return Ok(*judged);
            }
        }
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        let mut said = Self::new(refusal.to_string());
        if let Some(cause) = std::error::Error::source(&refusal) {
            said = said.caused_by(cause);
        }
        match (&refusal, refusal.hint()) {
            (Refusal::Request { request, .. }, _) => {
                said.hint(format!("refuse it: chorion approve no {request}"))
            }
            (_, Some(hint)) => said.hint(hint),
            (_, None) => said,
        }
    }
}

/// Draws what would be signed, from what would be signed.
fn show(judged: &Judged, ui: Ui) -> CliResult<Shown> {
    let shown = judged.shown()?;
    for sentence in &shown.sentences {
        ui.line(sentence);
    }
    shown.weakenings.iter().for_each(|weakening| ui.line(weakening));
    ui.line(format!("\nsix words of the request: {}", shown.request_phrase));
    Ok(shown)
}

async fn yes(
    ctx: &ClientContext,
    ui: Ui,
    id: ApprovalId,
    words: Option<&str>,
    seconds: i64,
) -> CliResult {
    let judged = judge(ctx, id, seconds, None).await?;
    let shown = show(&judged, ui)?;
    let sure = match words {
        Some(words) => {
            let given = words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
            if given != shown.request_phrase {
                return Err(CliError::new(format!("these are not the six words of request {id}"))
                    .hint("whoever asks sees other words: this is somebody else's request"));
            }
            true
        }
        None if ui.json || !std::io::stdin().is_terminal() => {
            return Err(CliError::new(format!("nobody compared the six words of request {id}"))
                .hint("pass those on the screen of whoever asks: --phrase \"SIX WORDS\""));
        }
        None => crate::people::confirm(
            "Are these the words on the screen of whoever asks, and do you approve? Type yes: ",
            "yes",
        )?,
    };
    if !sure {
        return Err(CliError::new(format!("request {id} was not approved"))
            .hint(format!("refuse it: chorion approve no {id}")));
    }
    give(ctx, &judged).await?;
    ui.line(format!("request {id} is approved: {}", shown.approval_phrase));
    ui.value(&shown);
    Ok(())
}

/// Signs, releases the keys that the approval lists, and gives both to the hub.
async fn give(ctx: &ClientContext, judged: &Judged) -> CliResult<ApprovalRequest> {
    let key = ctx.owner()?.approval_key()?;
    let given = ctx.owner()?.device(&ctx.hub_id, &key).give(judged, Time::now())?;
    Ok(ctx.client.approve(judged.request.id, &given).await?)
}

/// Builds, shows and signs an approval for something that the owner does without being asked.
pub(crate) async fn sign_act(
    ctx: &ClientContext,
    ui: Ui,
    project: api::ProjectId,
    act: Act,
    purpose: &str,
) -> CliResult<SignedApproval> {
    let owner = ctx.owner()?;
    let signed = ctx.client.card(project).await?;
    let card = owner.card(ctx, project, &signed)?;
    let drawn = draw(ctx, ui, &card, act, purpose).await?;
    let key = owner.approval_key()?;
    Ok(owner.device(&ctx.hub_id, &key).sign(&card, &drawn.approval)?)
}

/// An approval that the owner's device could sign now, checked, and what a person reads of it, shown.
async fn draw(
    ctx: &ClientContext,
    ui: Ui,
    card: &OwnerCard,
    act: Act,
    purpose: &str,
) -> CliResult<Drawn> {
    let at = Moment {
        requester: ctx.client.whoami().await?.account.id,
        now: Time::now(),
        checkpoint: crate::audit::seen(ctx)?,
    };
    let key = ctx.owner()?.approval_key()?;
    let drawn = ctx.owner()?.device(&ctx.hub_id, &key).draw(card, act, purpose, at)?;
    drawn.sentences.iter().for_each(|sentence| ui.note(sentence));
    Ok(drawn)
}

/// The owner takes what a vault wrote: its manifest must be of that dataset, sealed under a key that the words open, and the
/// task that made it must have ended with a receipt of the same vault for this very content.
async fn accept(ctx: &ClientContext, ui: Ui, id: DatasetId, sure: bool) -> CliResult {
    let not = |why: &str| CliError::new(format!("dataset {id} is not to be accepted: {why}"));
    let (open, writers) = ctx.open_owned(id).await?;
    let signed = ctx.client.manifest(id).await?;
    let (facts, signer) = open_statement::<Manifest>(&signed)
        .map_err(|e| not("its manifest does not hold").caused_by(e))?;
    let fits = facts.hub == ctx.hub_id
        && facts.dataset == id
        && facts.project == open.project()
        && facts.card == open.card_digest()
        && facts.epoch == open.epoch();
    if !fits {
        return Err(not("its manifest speaks of something else"));
    }
    if writers.may_write(&facts, &signer) {
        ui.line(format!("dataset {id} is yours already: your card knows who wrote it"));
        return Ok(());
    }
    let task = ctx.client.dataset(id).await?.task.ok_or_else(|| not("no task made it"))?;
    let task = ctx.client.task(task).await?;
    let receipt = task.receipt.as_ref().ok_or_else(|| not("its task has no receipt"))?;
    let act = authenticator::accepts(id, &signed, receipt).map_err(|why| not(&why))?;
    ui.note("NOT CONFIDENTIAL: the vault that wrote it was unattested, and whoever holds the run it came from can read it too");
    if !sure && !crate::people::confirm("Take it as your own? Type yes: ", "yes")? {
        return Err(CliError::new(format!("dataset {id} was not accepted")));
    }
    let approval = sign_act(ctx, ui, open.project(), act, "accept what a vault wrote").await?;
    ctx.client.set_writer(id, &approval).await?;
    ui.line(format!("dataset {id} is yours"));
    ui.value(&serde_json::json!({ "dataset": id, "accepted": true }));
    Ok(())
}

/// A dataset of one's own, opened, and as what an approval names it: at the version whose writer was checked just now.
pub(super) async fn own(ctx: &ClientContext, id: DatasetId) -> CliResult<(OpenDataset, Input)> {
    let (open, writers) = ctx.open_owned(id).await?;
    if !ctx.owner()?.owns(&writers.card) {
        return Err(CliError::new(format!(
            "dataset {id} is somebody else's: only its owner gives it on"
        )));
    }
    let signed = ctx.client.manifest(id).await?;
    let (facts, signer) = open_statement::<Manifest>(&signed)
        .map_err(|e| CliError::new("the manifest does not hold").caused_by(e))?;
    if facts.dataset != id || !writers.may_write(&facts, &signer) {
        return Err(CliError::new(format!(
            "dataset {id} was written by a key that your card does not know"
        )));
    }
    let input = Input { name: "dataset".to_owned(), dataset: id, manifest: digest_of(&signed) };
    Ok((open, input))
}

/// Wraps a dataset's key to another person's words, whose key was compared by six words.
async fn share(
    ctx: &ClientContext,
    ui: Ui,
    id: DatasetId,
    account: api::AccountId,
    key: &str,
    words: Option<&str>,
) -> CliResult {
    let text = if key.starts_with("chorion1") {
        key.to_owned()
    } else {
        read_small(std::path::Path::new(key))?.trim().to_owned()
    };
    let to: RecipientKey = text.parse().map_err(|e: seal::recipient::BadRecipient| {
        CliError::new("the key is none").caused_by(e)
    })?;
    let fingerprint = Digest(to.fingerprint());
    let shown = phrase(&fingerprint);
    let same = match words {
        Some(words) => {
            words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase() == shown
        }
        None => crate::people::confirm(
            &format!(
                "The six words of that key are: {shown}\nDo they read you the same? Type yes: "
            ),
            "yes",
        )?,
    };
    if !same {
        return Err(CliError::new("these are not the six words of that key").hint(
            "share with nobody before you know why: somebody may have put another key in its place",
        ));
    }
    let (open, input) = own(ctx, id).await?;
    let act = Act::Share(Share { input, account, recipient: fingerprint });
    let approval = sign_act(ctx, ui, open.project(), act, "share with somebody").await?;
    let key = Release {
        dataset: id,
        project: open.project(),
        card_digest: open.card_digest(),
        epoch: open.epoch(),
        wrapped_key: open.wrap_to(&to.to_bytes())?,
        leaf: None,
    };
    let shared = ctx.client.share(id, &ShareDataset { approval, key }).await?;
    ui.line(format!("dataset {id} is shared with account {account}"));
    ui.value(&shared);
    Ok(())
}
