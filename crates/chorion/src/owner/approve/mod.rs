//! `chorion approve`: a full authenticator on the command line (`spec/approval.md`, section 5).
//!
//! The hub brings a request with everything that it is about, and none of it is believed: the card is the one that the words
//! signed and no older than what was seen, evidence and manifests are verified here, a manifest's writer stands in the
//! card or was made one by an approval of before, and content is no older than what was seen. From what was checked the
//! approval is built, shown, signed, and only the dataset keys that it lists are released, to the vault that it names.

mod evidence;
mod grants;

use std::io::IsTerminal;

use api::{
    ApprovalId, ApprovalRequest, AskedDataset, Bytes, Custodian, DatasetId, DatasetKind, Digest,
    GiveApproval, LaunchSettings, Purpose, QueryRequest, RefuseApproval, Release, RequeueSettings,
    RunSettings, ShareDataset, SignedApproval, SignedStatement, TaskKind, Time,
};
use clap::{Args, Subcommand};
use dataset::OpenDataset;
use proof::{
    APPROVAL_SECONDS, Act, AnyReceipt, Approval, Asked, AskedInput, Input, Manifest, Output,
    OwnerCard, Private, Program, ProjectCard, ReceiptOutput, RunApp, RunQuery, Share, TypedData,
    Writer, commitment, digest_of, open_statement, phrase, sha256,
};
use seal::recipient::RecipientKey;
use serde::Serialize;

use self::evidence::{BootArgs, OwnPolicy, Vault, appraised, boot};
use self::grants::{NewGrant, grant, watch};
use super::PersonArgs;
use super::device::{Owner, whole};
use super::export::{self, ExportArgs};
use super::handover::{self, CustodyArgs, GiveArgs};
use super::release::{self, UpdateArgs};
use super::writers::Writers;
use crate::config::{ClientContext, Seen};
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

/// A request that was verified, and what would be signed for it.
struct Judged {
    request: ApprovalRequest,
    approval: Approval,
    card: OwnerCard,
    recipient: RecipientKey,
    /// The datasets whose keys go to the vault, opened.
    keys: Vec<OpenDataset>,
    purpose: Purpose,
    settings: Option<Vec<u8>>,
    names: Vec<(DatasetId, String)>,
    asked: Digest,
    app: Option<Digest>,
    /// Whether whoever runs the vault's machine is kept out.
    confidential: bool,
    /// What the owner's policy accepted that is weaker than it could be.
    weakenings: Vec<String>,
}

/// What `show` and `yes` print as JSON.
#[derive(Debug, Serialize)]
struct Shown {
    request: ApprovalRequest,
    request_phrase: String,
    confidential: bool,
    sentences: Vec<String>,
    approval: String,
    approval_digest: Digest,
    approval_phrase: String,
    typed_data: serde_json::Value,
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
            shown(&judged, ui).map(|shown| ui.value(&shown))
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

fn refuse(request: ApprovalId, why: impl std::fmt::Display) -> CliError {
    CliError::new(format!("request {request} does not hold: {why}"))
        .hint(format!("refuse it: chorion approve no {request}"))
}

/// Verifies a request from its first byte, and builds what would be signed.
async fn judge(
    ctx: &ClientContext,
    id: ApprovalId,
    seconds: i64,
    grant: Option<Digest>,
) -> CliResult<Judged> {
    let detail = ctx.client.approval(id).await?;
    let owner = ctx.owner()?;
    let bad = |why: &str| refuse(id, why);
    let request = detail.request.clone();
    if request.id != id {
        return Err(bad("the hub shows another one"));
    }
    let card = owner.card(ctx, request.project, &detail.card)?;
    let device = owner.approval_key()?.public();
    if card.device(&device).is_none() {
        return Err(CliError::new(format!(
            "this device is not certified in the card of project {}",
            request.project
        ))
        .hint("approve on one that is, or certify this one: `chorion device add`"));
    }
    let policy = OwnPolicy::read(ctx.home())?;
    let vault = appraised(
        &detail.evidence,
        request.task,
        &card,
        policy.as_ref(),
        Time::now(),
        attest::appraise,
    )
    .map_err(|why| refuse(id, why))?;
    let confidential = vault.is_confidential();
    let Vault { keys: vault, recipient, weakenings } = vault;

    let mut keys = Vec::new();
    let mut names = Vec::new();
    let mut inputs = Vec::new();
    let mut first = None;
    for asked in &detail.inputs {
        let manifest = asked.manifest.as_ref().ok_or_else(|| bad("an input has no manifest"))?;
        let opened = opened(owner, asked, &card, &detail.handovers, id)?;
        let (facts, signer) = open_statement::<Manifest>(manifest).map_err(|e| refuse(id, e))?;
        if facts.hub != ctx.hub_id
            || facts.dataset != asked.dataset
            || facts.project != asked.project
        {
            return Err(bad("a manifest speaks of another dataset"));
        }
        if let Some(open) = opened {
            if facts.card != open.card_digest() || facts.epoch != open.epoch() {
                return Err(bad("a manifest speaks of another key than the one that is kept"));
            }
            let (under, handovers) = (asked.written_under.clone(), detail.handovers.clone());
            if !(Writers { card: card.clone(), under, handovers }).may_write(&facts, &signer) {
                return Err(bad("an input was written by a key that your card does not know"));
            }
            names.extend(name(&open, asked));
            first.get_or_insert_with(|| open.clone());
            keys.push(open);
        }
        ctx.remember(asked.dataset, Seen { number: facts.number, digest: digest_of(manifest) })?;
        // An app's package is public, and the app's digest covers every byte of it.
        if asked.kind != DatasetKind::App {
            let (name, dataset) = (asked.name.clone(), asked.dataset);
            inputs.push(Input { name, dataset, manifest: digest_of(manifest) });
        }
    }

    let mut outputs = Vec::new();
    let mut sealed_under = first;
    if let Some(result) = &detail.result {
        let (made, _) =
            ProjectCard::open(&result.card, result.project).map_err(|e| refuse(id, e))?;
        outputs.push(Output {
            project: result.project,
            card: digest_of(&result.card),
            custodian: made.custodian(),
            dataset: Some(result.dataset),
        });
        let open = match opened(owner, result, &card, &detail.handovers, id)? {
            Some(open) => {
                keys.push(open.clone());
                open
            }
            // Somewhere else: the settings are sealed there, and whoever may not read them approves nothing.
            None => ctx.open(result.dataset, "approve").await?,
        };
        names.extend(name(&open, result));
        sealed_under = Some(open);
    } else if request.kind == TaskKind::Reseal {
        let subject = inputs.first().ok_or_else(|| bad("it has no input"))?;
        outputs.push(Output {
            project: request.project,
            card: card.digest(),
            custodian: Custodian::Owner,
            dataset: Some(subject.dataset),
        });
    }
    let sealed = match (&detail.settings, &sealed_under) {
        (Some(sealed), Some(open)) if matches!(request.kind, TaskKind::App | TaskKind::Query) => {
            Some(open.open_label("launch settings", sealed)?)
        }
        (Some(sealed), Some(open)) if request.kind == TaskKind::Demultiplex => {
            // Of a run's first demultiplexing, or of one that a person asked for again.
            let first = open.open_label("dataset settings", sealed);
            Some(first.or_else(|_| open.open_label("requeue settings", sealed))?)
        }
        _ => None,
    };
    if let (TaskKind::Demultiplex, Some(settings)) = (request.kind, &sealed) {
        for project in targets(settings, request.project)? {
            let signed = if project == request.project {
                detail.card.clone()
            } else {
                ctx.card_to_seal(project).await?.0
            };
            let (to, _) = ProjectCard::open(&signed, project).map_err(|e| refuse(id, e))?;
            let (card, custodian) = (digest_of(&signed), to.custodian());
            outputs.push(Output { project, card, custodian, dataset: None });
        }
    }
    let query = match (request.kind, sealed.as_deref()) {
        (TaskKind::Query, Some(bytes)) => Some(asked_query(bytes)?),
        (TaskKind::Query, None) => return Err(bad("it does not say what is asked")),
        _ => None,
    };
    let program = match (&detail.app, request.kind) {
        (Some(app), TaskKind::App) => {
            Some(Program::App { digest: app.digest, manifest: app.manifest.clone() })
        }
        (None, TaskKind::Reseal) => Some(Program::Reseal {}),
        (None, TaskKind::Demultiplex) => Some(Program::Demultiplex {}),
        (None, TaskKind::Query) => None,
        _ => return Err(bad("it names no program")),
    };
    let purpose = match &query {
        Some(asked) => asked.purpose.clone(),
        None => purpose(sealed.as_deref(), request.kind)?,
    };
    let settings = sealed.as_deref().map(sha256);
    let asked = Asked {
        hub: ctx.hub_id.clone(),
        kind: request.kind,
        session: detail.session,
        app: detail.app.as_ref().map(|app| app.digest),
        inputs: inputs
            .iter()
            .map(|input| AskedInput { name: input.name.clone(), dataset: input.dataset })
            .collect(),
        project: detail.result.as_ref().map(|result| result.project),
        result: detail.result.as_ref().map(|result| result.dataset),
        settings,
    }
    .digest();
    let task = request.task;
    let (act, document) = match (query, program) {
        (Some(query), _) => {
            if grant.is_some() {
                return Err(bad("a standing grant is for an app, and this is a question"));
            }
            let recipient = RecipientKey::from_bytes(&query.recipient.0)
                .map_err(|_| bad("the answer would go to what is no key"))?;
            let document = query.document().into_bytes();
            let act = Act::Query(RunQuery {
                task,
                request: asked,
                query: sha256(&document),
                inputs,
                outputs,
                recipient: Digest(recipient.fingerprint()),
                most_answer_bytes: api::query::MOST_ANSWER_BYTES,
                vault,
            });
            (act, Some(document))
        }
        (None, Some(program)) => {
            let run =
                RunApp { task, request: asked, program, settings, inputs, outputs, vault, grant };
            (Act::App(run), sealed)
        }
        (None, None) => return Err(bad("it names no program")),
    };
    let now = whole(Time::now());
    let approval = Approval {
        hub: ctx.hub_id.clone(),
        project: request.project,
        owner: card.owner.clone(),
        card: card.digest(),
        purpose: commitment(&purpose),
        requester: request.requester,
        nonce: random()?,
        not_before: now,
        expires: later(now, seconds)?,
        checkpoint: crate::audit::seen(ctx)?,
        act,
    };
    approval.check().map_err(|e| refuse(id, e))?;
    let app = detail.app.as_ref().map(|app| app.digest);
    Ok(Judged {
        request,
        approval,
        card,
        recipient,
        keys,
        purpose,
        settings: document,
        names,
        asked,
        app,
        confidential,
        weakenings,
    })
}

/// A typed query as its asker sealed it, checked as the vault will check it.
fn asked_query(bytes: &[u8]) -> CliResult<QueryRequest> {
    let asked: QueryRequest = serde_json::from_slice(bytes)
        .map_err(|e| CliError::new("the query of the request does not read").caused_by(e))?;
    asked
        .query
        .check()
        .map_err(|e| CliError::new("the query of the request cannot be shown").caused_by(e))?;
    Ok(asked)
}

/// A dataset of the owner who is asked, opened; nothing for one in other custody.
fn opened(
    owner: &Owner,
    asked: &AskedDataset,
    card: &OwnerCard,
    handovers: &[SignedStatement],
    id: ApprovalId,
) -> CliResult<Option<OpenDataset>> {
    let Some(release) = &asked.key else { return Ok(None) };
    let fits = release.dataset == asked.dataset
        && release.project == asked.project
        && asked.project == card.project
        && release.card_digest == digest_of(&asked.card);
    if !fits {
        return Err(refuse(id, "the hub mixes datasets: a key is of another one"));
    }
    let (under, _) = ProjectCard::open(&asked.card, asked.project).map_err(|e| refuse(id, e))?;
    ProjectCard::Owner(card.clone()).follows(&under, handovers).map_err(|e| refuse(id, e))?;
    Ok(Some(OpenDataset::from_release(release, &owner.person.sealing())?))
}

fn name(open: &OpenDataset, asked: &AskedDataset) -> Option<(DatasetId, String)> {
    let name = open.open_label("dataset name", &asked.label).ok()?;
    Some((asked.dataset, String::from_utf8_lossy(&name).into_owned()))
}

/// Into which projects a demultiplexing writes: those that the run's settings name, and the run's own.
fn targets(
    settings: &[u8],
    own: api::ProjectId,
) -> CliResult<std::collections::BTreeSet<api::ProjectId>> {
    let bad =
        |e: serde_json::Error| CliError::new("the settings of the run do not read").caused_by(e);
    let (projects, default) = match serde_json::from_slice::<RunSettings>(settings) {
        Ok(settings) => (settings.projects, settings.default_project),
        Err(_) => {
            let settings: RequeueSettings = serde_json::from_slice(settings).map_err(bad)?;
            (settings.projects, settings.default_project)
        }
    };
    Ok(projects.into_values().chain(default).chain([own]).collect())
}

/// What a request says that it is for. Work of the vault itself says it by its kind.
fn purpose(settings: Option<&[u8]>, kind: TaskKind) -> CliResult<Purpose> {
    if kind == TaskKind::App
        && let Some(bytes) = settings
    {
        let settings: LaunchSettings = serde_json::from_slice(bytes)
            .map_err(|e| CliError::new("the settings of the request do not read").caused_by(e))?;
        return settings.purpose.ok_or_else(|| {
            CliError::new("whoever asks does not say what for")
                .hint("ask them to launch it again with --purpose")
        });
    }
    Ok(Purpose { salt: random()?, text: kind.as_str().to_owned() })
}

pub(super) fn random() -> CliResult<Digest> {
    let mut bytes = [0; 32];
    seal::fill_random(&mut bytes)
        .map_err(|e| CliError::new("the system gives no randomness").caused_by(e))?;
    Ok(Digest(bytes))
}

fn later(now: Time, seconds: i64) -> CliResult<Time> {
    Time::from_second(now.as_second() + seconds)
        .map_err(|e| CliError::new("the clock stands at the end of time").caused_by(e))
}

/// Draws what would be signed, from what would be signed.
fn shown(judged: &Judged, ui: Ui) -> CliResult<Shown> {
    let private = Private {
        purpose: Some(&judged.purpose),
        document: judged.settings.as_deref(),
        names: &judged.names,
    };
    let sentences = judged
        .approval
        .sentences(&private)
        .map_err(|e| CliError::new("the approval cannot be drawn").caused_by(e))?;
    for sentence in &sentences {
        ui.line(sentence);
    }
    judged.weakenings.iter().for_each(|weakening| ui.line(weakening));
    ui.line(format!("\nsix words of the request: {}", phrase(&judged.asked)));
    let typed = judged.approval.typed_data().map(|typed: TypedData| typed.to_json());
    Ok(Shown {
        request: judged.request.clone(),
        request_phrase: phrase(&judged.asked),
        confidential: judged.confidential,
        sentences,
        approval: judged.approval.text(),
        approval_digest: judged.approval.digest(),
        approval_phrase: judged.approval.phrase(),
        typed_data: typed.unwrap_or_default(),
    })
}

async fn yes(
    ctx: &ClientContext,
    ui: Ui,
    id: ApprovalId,
    words: Option<&str>,
    seconds: i64,
) -> CliResult {
    let judged = judge(ctx, id, seconds, None).await?;
    let shown = shown(&judged, ui)?;
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

/// Signs, and releases the keys that the approval lists to the vault that it names.
async fn give(ctx: &ClientContext, judged: &Judged) -> CliResult<ApprovalRequest> {
    let digest = judged.approval.digest();
    let mut keys = Vec::with_capacity(judged.keys.len());
    for open in &judged.keys {
        keys.push(Release {
            dataset: open.dataset(),
            project: open.project(),
            card_digest: open.card_digest(),
            epoch: open.epoch(),
            wrapped_key: open.wrap_approved(&judged.recipient.to_bytes(), digest)?,
            leaf: None,
        });
    }
    let given =
        GiveApproval { approval: sign(ctx.owner()?, &judged.card, &judged.approval)?, keys };
    Ok(ctx.client.approve(judged.request.id, &given).await?)
}

/// The device's signature, and the wallet's where the card asks for one and the words hold it.
fn sign(owner: &Owner, card: &OwnerCard, approval: &Approval) -> CliResult<SignedApproval> {
    let second = match &card.second_signer {
        None => None,
        Some(address) => {
            let account = super::keys::ethereum(&owner.person)?;
            if account.address().to_string() != *address {
                return Err(CliError::new(format!(
                    "the card asks for the signature of {address} as well, which is another wallet"
                ))
                .hint("this version signs with the account of the words alone"));
            }
            let digest = approval
                .typed_data()
                .and_then(|typed| typed.digest())
                .map_err(|e| CliError::new("the approval has no form for a wallet").caused_by(e))?;
            Some(account.sign_digest(&digest))
        }
    };
    Ok(approval.sign(&owner.approval_key()?, second))
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
    let (approval, _) = draw(ctx, ui, &card, act, purpose).await?;
    sign(owner, &card, &approval)
}

/// An approval that the owner's device could sign now, checked, and what a person reads of it, shown.
async fn draw(
    ctx: &ClientContext,
    ui: Ui,
    card: &OwnerCard,
    act: Act,
    purpose: &str,
) -> CliResult<(Approval, Vec<String>)> {
    let now = whole(Time::now());
    let purpose = Purpose { salt: random()?, text: purpose.to_owned() };
    let approval = Approval {
        hub: ctx.hub_id.clone(),
        project: card.project,
        owner: card.owner.clone(),
        card: card.digest(),
        purpose: commitment(&purpose),
        requester: ctx.client.whoami().await?.account.id,
        nonce: random()?,
        not_before: now,
        expires: later(now, APPROVAL_SECONDS)?,
        checkpoint: crate::audit::seen(ctx)?,
        act,
    };
    approval.check().map_err(|e| CliError::new("the approval cannot be made").caused_by(e))?;
    let private = Private { purpose: Some(&purpose), ..Private::default() };
    let sentences = approval
        .sentences(&private)
        .map_err(|e| CliError::new("the approval cannot be drawn").caused_by(e))?;
    sentences.iter().for_each(|sentence| ui.note(sentence));
    Ok((approval, sentences))
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
    let (receipt, by) =
        AnyReceipt::open(receipt).map_err(|e| not("its receipt does not hold").caused_by(e))?;
    let manifest = digest_of(&signed);
    let made = |output: &ReceiptOutput| output.dataset == id && output.manifest == manifest;
    if by != signer || !receipt.facts().complete || !receipt.facts().outputs.iter().any(made) {
        return Err(not("the receipt of its task is not of the vault that signed it"));
    }
    ui.note("NOT CONFIDENTIAL: the vault that wrote it was unattested, and whoever holds the run it came from can read it too");
    if !sure && !crate::people::confirm("Take it as your own? Type yes: ", "yes")? {
        return Err(CliError::new(format!("dataset {id} was not accepted")));
    }
    let key = Bytes(signer.to_bytes().to_vec());
    let act = Act::Writer(Writer { dataset: id, manifest, key });
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
