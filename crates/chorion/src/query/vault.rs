//! `chorion vault query`: the same questions, asked of a vault that reads a sealed dataset. The answer comes back sealed to the asker.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::query::APP;
use api::{
    Bytes, Custodian, DatasetId, Digest, Launch, ProjectId, Purpose, QueryRequest, SessionId,
    SessionInput, TaskState,
};
use clap::Args;
use dataset::OpenDataset;
use genome::query::Answer;
use proof::{Asked, AskedInput, digest_of};
use seal::file::open_file;
use serde_json::json;
use zeroize::Zeroizing;

use super::AskArgs;
use crate::config::ClientContext;
use crate::download::Contents;
use crate::offline::keys;
use crate::offline::output::{Output, SECRET};
use crate::report::{CliError, CliResult, Ui};
use crate::session::word;

/// How often the hub is asked whether the answer is there.
const ASK: Duration = Duration::from_millis(200);

/// Ask a question of a sample or result through a vault
///
/// The vault opens what the question needs, answers, and seals the answer to you. In a project whose key the platform holds that is
/// policy's to allow; where the owner holds it, the owner is asked first.
#[derive(Debug, Args)]
pub(crate) struct VaultQueryArgs {
    /// Which sample or result.
    dataset: DatasetId,
    #[command(flatten)]
    ask: AskArgs,
    /// Which file of it, where several would do.
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
    /// The FASTA of the dataset that a CRAM was written against.
    #[arg(long, value_name = "PATH")]
    reference: Option<String>,
    /// Why you ask: sealed with the question, and shown to whoever decides.
    #[arg(long, value_name = "TEXT")]
    purpose: String,
    /// Into which project the sealed answer goes; the dataset's own if absent.
    #[arg(long)]
    project: Option<ProjectId>,
    /// Seal the answer to somebody else's public string `chorion1…`: then only they can open it.
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// Where reads or variants of a region go.
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replace OUT if it is there.
    #[arg(long)]
    force: bool,
    /// How long to wait for the answer, in seconds. The question stays asked; `chorion session` shows and cancels it.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
}

/// `chorion vault query`
pub(crate) async fn run(args: VaultQueryArgs, ui: Ui) -> CliResult {
    let region = args.ask.region.is_some();
    if region && args.output.is_none() && args.to.is_none() {
        return Err(CliError::new("reads or variants need somewhere to go")
            .hint("name a file with `-o OUT`"));
    }
    let output = match &args.output {
        Some(path) => Some(Output::create(path, SECRET, args.force)?),
        None => None,
    };
    let ctx = ClientContext::load(ui)?;
    let file = match args.file.clone() {
        Some(file) => file,
        None => only_file(&ctx, args.dataset, region).await?,
    };
    let (query, scoring) = args.ask.query(file, args.reference.clone(), None)?;
    ui.note(format_args!("asking a vault to {}", query.sentence()));
    let recipient = match &args.to {
        Some(key) => {
            let mut keys = keys::recipients(std::slice::from_ref(key))?;
            keys.pop().ok_or_else(|| CliError::new(format!("`{key}` holds no key")))?
        }
        None => ctx.recipient.public(),
    };
    let request = QueryRequest {
        query,
        purpose: purpose(args.purpose.clone())?,
        recipient: Bytes(recipient.to_bytes()),
        scoring,
    };
    let asked = ctx.client.dataset(args.dataset).await?;
    let project = args.project.unwrap_or(asked.project);
    let (session, words) = launch(&ctx, args.dataset, project, &request).await?;
    if asked.custodian == Custodian::Owner {
        ui.note(format_args!("the owner is asked; the request's six words are: {words}"));
    }
    let result = session.result;
    let ended = wait(&ctx, session.id, Duration::from_secs(args.timeout)).await?;
    let Some((state, reason)) = ended else {
        return Err(CliError::new(format!(
            "there is no answer after {} s; the question stays asked",
            args.timeout
        ))
        .hint(format!(
            "see how it stands: `chorion session show {0}`; take it back: `chorion session cancel {0}`",
            session.id
        )));
    };
    if args.to.is_some() && state == TaskState::Complete {
        ui.line(format_args!("the answer is sealed to the key you named: result {result}"));
        ui.value(&json!({ "session": session.id, "result": result, "answer": null }));
        return Ok(());
    }
    let contents = match state {
        // A question that was cancelled has no result to look into.
        TaskState::Cancelled => None,
        _ => Contents::open(&ctx, result).await.ok(),
    };
    if state != TaskState::Complete {
        let reason = reason.unwrap_or_else(|| word(state).to_owned());
        let mut error = CliError::new(format!("the question was not answered: {reason}"));
        if let Some(contents) = contents
            && args.to.is_none()
            && let Ok(why) = opened(&ctx, &contents, "error.txt.chorion").await
        {
            error = error.hint(String::from_utf8_lossy(&why).trim().to_owned());
        }
        return Err(error);
    }
    let contents = contents.ok_or_else(|| {
        CliError::new(format!("result {result} cannot be read"))
            .hint("try again: `chorion result download`")
    })?;
    let told = opened(&ctx, &contents, "answer.json.chorion").await?;
    let answer: Answer = serde_json::from_slice(&told)
        .map_err(|e| CliError::new("the answer does not read").caused_by(e))?;
    if let (Answer::Slice(slice), Some(output)) = (&answer, output) {
        let path = format!("answer.{}.chorion", slice.format);
        output.write_whole(&opened(&ctx, &contents, &path).await?)?;
    }
    super::show(&answer, &ui);
    ui.value(&json!({ "session": session.id, "result": result, "answer": answer }));
    Ok(())
}

/// A file of the result, which is sealed to this person.
async fn opened(
    ctx: &ClientContext,
    contents: &Contents,
    path: &str,
) -> CliResult<Zeroizing<Vec<u8>>> {
    let sealed = contents.read(ctx, path).await?;
    let mut plain = Zeroizing::new(Vec::new());
    open_file(&mut sealed.as_slice(), &mut *plain, &ctx.recipient, &mut |_| ())
        .map_err(|e| CliError::new(format!("{path} does not open")).caused_by(e))?;
    Ok(plain)
}

async fn launch(
    ctx: &ClientContext,
    dataset: DatasetId,
    project: ProjectId,
    request: &QueryRequest,
) -> CliResult<(api::AppSession, String)> {
    let (card, facts) = ctx.card_to_seal(project).await?;
    let open = OpenDataset::create(DatasetId::generate(), project, digest_of(&card))?;
    let text = serde_json::to_vec(request).expect("a request serializes because it holds texts");
    let launch = Launch {
        id: SessionId::generate(),
        app: APP,
        inputs: vec![SessionInput { name: "dataset".to_owned(), dataset }],
        project,
        wrapped_key: open.wrap_to(facts.recipient())?,
        result: open.dataset(),
        card_digest: open.card_digest(),
        settings: open.seal_label("launch settings", &text)?,
        label: open
            .seal_label("dataset name", format!("{} query", request.query.word()).as_bytes())?,
    };
    let session = ctx.client.launch(&launch).await?;
    let asked = Asked {
        hub: ctx.hub_id.clone(),
        kind: api::TaskKind::Query,
        session: Some(session.id),
        app: None,
        inputs: vec![AskedInput { name: "dataset".to_owned(), dataset }],
        project: Some(project),
        result: Some(launch.result),
        settings: Some(proof::sha256(&text)),
    };
    Ok((session, proof::phrase(&asked.digest())))
}

/// Why, and a salt, so that the digest of it tells nothing.
fn purpose(text: String) -> CliResult<Purpose> {
    let mut salt = [0; 32];
    seal::fill_random(&mut salt)
        .map_err(|e| CliError::new("the system gives no randomness").caused_by(e))?;
    Ok(Purpose { salt: Digest(salt), text })
}

/// How the session ended and why, or nothing when the time is over.
async fn wait(
    ctx: &ClientContext,
    session: SessionId,
    patience: Duration,
) -> CliResult<Option<(TaskState, Option<String>)>> {
    let start = Instant::now();
    loop {
        let now = ctx.client.session(session).await?;
        if matches!(now.state, TaskState::Complete | TaskState::Failed | TaskState::Cancelled) {
            return Ok(Some((now.state, now.reason)));
        }
        if start.elapsed() >= patience {
            return Ok(None);
        }
        tokio::time::sleep(ASK).await;
    }
}

/// The one file of the dataset that the question can be asked of.
async fn only_file(ctx: &ClientContext, dataset: DatasetId, region: bool) -> CliResult<String> {
    let contents = Contents::open(ctx, dataset).await?;
    let reads: &[&str] = if region { &[".bam", ".cram"] } else { &[] };
    let sites = [".vcf", ".vcf.gz", ".bcf", ".txt", ".txt.gz", ".23andme"];
    let fits = |path: &str| reads.iter().chain(&sites).any(|ending| path.ends_with(ending));
    let own_record = |path: &str| path.starts_with("log/");
    let files: Vec<&str> = contents.index().files.iter().map(|file| file.path.as_str()).collect();
    let mut found = files.iter().filter(|path| fits(path) && !own_record(path));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok((*one).to_owned()),
        (None, _) => Err(CliError::new(format!(
            "dataset {dataset} has no file that this question can be asked of"
        ))),
        (Some(_), Some(_)) => Err(CliError::new(format!(
            "dataset {dataset} has several files that this question can be asked of"
        ))
        .hint("name one: `--file PATH`")),
    }
}
