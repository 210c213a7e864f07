//! Standing grants: what this device approves by itself, as often and as long as a person said (`spec/approval.md` section 8).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::{ApprovalRequest, ApprovalState, Digest, SignedApproval, Time};
use authenticator::{Drawn, covers};
use proof::{APPROVAL_SECONDS, Act, Approval, open_statement};
use serde::{Deserialize, Serialize};

use super::{draw, give, judge};
use crate::config::{self, ClientContext};
use crate::report::{CliError, CliResult, Ui};

/// How often `--watch` asks where nobody says that something changed.
const ASK: Duration = Duration::from_secs(1);
/// How often it asks where somebody does: a word can be lost, and what waits expires.
const ASK_ANYWAY: Duration = Duration::from_secs(30);
/// How long it asks by itself before it listens again.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);

/// The hub's word that something changed, or else the clock.
#[derive(Default)]
struct Word {
    line: Option<client::Changes>,
    failed: Option<Instant>,
}

impl Word {
    /// Waits until it is time to ask again, `most` at most.
    async fn wait(&mut self, ctx: &ClientContext, most: Duration) {
        if self.line.is_none() && self.failed.is_none_or(|since| since.elapsed() >= LISTEN_AGAIN) {
            match ctx.client.approval_changes().await {
                Ok(line) => self.line = Some(line),
                Err(error) => {
                    tracing::info!(%error, "the hub says nothing by itself: it is asked instead");
                    self.failed = Some(Instant::now());
                }
            }
        }
        let Some(line) = &mut self.line else {
            return tokio::time::sleep(ASK.min(most)).await;
        };
        match tokio::time::timeout(ASK_ANYWAY.min(most), line.next()).await {
            Ok(Ok(true)) | Err(_) => {}
            // The hub ended the line in order: the next one is begun at once, and its first word is that one may ask.
            Ok(Ok(false)) => self.line = None,
            Ok(Err(error)) => {
                tracing::info!(%error, "the hub was saying when something changes, and is cut off");
                self.line = None;
                self.failed = Some(Instant::now());
            }
        }
    }
}

/// A standing grant as this device keeps it: signed, with how often it was used.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptGrant {
    approval: SignedApproval,
    used: u32,
}

pub(super) struct NewGrant {
    pub(super) project: api::ProjectId,
    pub(super) app: Digest,
    pub(super) uses: u32,
    pub(super) days: i64,
    pub(super) purpose: String,
    pub(super) yes: bool,
}

fn grants_folder(ctx: &ClientContext) -> CliResult<PathBuf> {
    Ok(config::home()?.join("grants").join(&ctx.hub_id))
}

pub(super) async fn grant(ctx: &ClientContext, ui: Ui, new: &NewGrant) -> CliResult {
    let owner = ctx.owner()?;
    let signed = ctx.client.card(new.project).await?;
    let card = owner.card(ctx, new.project, &signed)?;
    let key = owner.approval_key()?;
    let device = owner.device(&ctx.hub_id, &key);
    let terms = authenticator::NewGrant { app: new.app, uses: new.uses, days: new.days };
    let act = device.grant(&card, &terms, Time::now())?;
    let Drawn { approval, sentences } = draw(ctx, ui, &card, act, &new.purpose).await?;
    if !new.yes && !crate::people::confirm("Is this right? Type yes: ", "yes")? {
        return Err(CliError::new("the grant was not made"));
    }
    let kept = KeptGrant { approval: device.sign(&card, &approval)?, used: 0 };
    let path = grants_folder(ctx)?.join(format!("{}.json", approval.digest()));
    keep(&path, &kept)?;
    ui.line(format!(
        "grant {} is made: `chorion approve --watch` carries it out",
        approval.digest()
    ));
    ui.value(&serde_json::json!({ "grant": approval.digest(), "sentences": sentences }));
    Ok(())
}

fn keep(path: &std::path::Path, grant: &KeptGrant) -> CliResult {
    let text = serde_json::to_vec(grant).expect("a grant serializes because it holds texts");
    config::write_private(path, &text)
}

/// The grants of this device, each with the file that counts its uses.
fn grants(ctx: &ClientContext) -> CliResult<Vec<(PathBuf, KeptGrant)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(grants_folder(ctx)?).into_iter().flatten().flatten() {
        let path = entry.path();
        let read = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(grant) = read {
            found.push((path, grant));
        }
    }
    Ok(found)
}

/// Carries out standing grants, and says once what else waits.
pub(super) async fn watch(ctx: &ClientContext, ui: Ui, idle: Option<u64>) -> CliResult {
    let mut said = std::collections::HashSet::new();
    let mut carried = 0_u32;
    let (mut word, mut since) = (Word::default(), Instant::now());
    loop {
        for request in ctx.client.approvals().all().await? {
            if request.state != ApprovalState::Pending || said.contains(&request.id) {
                continue;
            }
            since = Instant::now();
            match carry_out(ctx, &request).await {
                Ok(true) => {
                    carried += 1;
                    ui.note(format!("request {} is approved under a standing grant", request.id));
                }
                Ok(false) => {
                    ui.note(format!(
                        "request {} waits for you: chorion approve show {}",
                        request.id, request.id
                    ));
                }
                Err(error) => ui.note(format!("request {} is not approved: {error}", request.id)),
            }
            said.insert(request.id);
        }
        let left = idle.map(|seconds| Duration::from_secs(seconds).saturating_sub(since.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            ui.value(&serde_json::json!({ "carried_out": carried }));
            return Ok(());
        }
        word.wait(ctx, left.unwrap_or(ASK_ANYWAY)).await;
    }
}

async fn carry_out(ctx: &ClientContext, request: &ApprovalRequest) -> CliResult<bool> {
    let owner = ctx.owner()?;
    let own = owner.approval_key()?.public();
    for (path, mut kept) in grants(ctx)? {
        let Ok((grant, signer)) = open_statement::<Approval>(&kept.approval.approval) else {
            continue;
        };
        let Act::StandingGrant(terms) = &grant.act else { continue };
        let digest = grant.digest();
        if grant.project != request.project || signer != own || terms.device.0 != own.to_bytes() {
            continue;
        }
        let judged = judge(ctx, request.id, APPROVAL_SECONDS, Some(digest)).await?;
        // A card that changed since ends what was granted under it.
        if grant.card != judged.card.digest()
            || !covers(terms, digest, &judged, kept.used, Time::now())
        {
            continue;
        }
        // Counted before it is given: a crash in between costs a use and never adds one.
        kept.used += 1;
        keep(&path, &kept)?;
        give(ctx, &judged).await?;
        return Ok(true);
    }
    Ok(false)
}
