//! Judging a request: verified from its first byte, until what would be signed for it stands there and can be drawn.

use std::collections::BTreeMap;

use api::{
    ApprovalDetail, ApprovalId, ApprovalRequest, AskedDataset, Custodian, DatasetId, DatasetKind,
    Digest, GiveApproval, LaunchSettings, ProjectId, Purpose, QueryRequest, Release,
    RequeueSettings, RunSettings, SignedStatement, TaskKind, Time,
};
use dataset::OpenDataset;
use proof::{
    Act, Approval, Asked, AskedInput, Input, Manifest, Output, OwnerCard, Program, ProjectCard,
    RunApp, RunQuery, TypedData, digest_of, open_statement, phrase, sha256,
};
use seal::recipient::RecipientKey;
use serde::Serialize;

use crate::act::{Moment, Projects, random, sentences};
use crate::card::{Device, Seen};
use crate::error::Refusal;
use crate::evidence::{OwnPolicy, Vault, appraised};
use crate::writers::Writers;

/// What a device brings to a request besides its keys: the clock, and what it saw before.
#[derive(Debug, Clone)]
pub struct Given {
    /// The device's clock.
    pub now: Time,
    /// For how long the approval is to count.
    pub seconds: i64,
    /// The standing grant that it is carried out under, if it is.
    pub grant: Option<Digest>,
    /// The digest of the newest checkpoint that the device verified.
    pub checkpoint: Option<Digest>,
    /// By what the person has reports of vaults appraised; without it a vault that shows one gets nothing.
    pub policy: Option<OwnPolicy>,
    /// The card of the project that it went by so far.
    pub card: Option<SignedStatement>,
    /// The contents that it saw so far, of the datasets that are asked for.
    pub contents: BTreeMap<DatasetId, Seen>,
    /// Cards of other projects, compared by a person: answers to [`Need::Card`].
    pub cards: BTreeMap<ProjectId, SignedStatement>,
    /// Datasets in other custody, opened: answers to [`Need::Key`].
    pub opened: Vec<OpenDataset>,
}

impl Given {
    /// A device that saw nothing yet.
    #[must_use]
    pub const fn new(now: Time, seconds: i64) -> Self {
        Self {
            now,
            seconds,
            grant: None,
            checkpoint: None,
            policy: None,
            card: None,
            contents: BTreeMap::new(),
            cards: BTreeMap::new(),
            opened: Vec::new(),
        }
    }
}

/// What a judgement lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// The card of another project that results go to, as far as a person has compared it.
    Card(ProjectId),
    /// The key of a dataset that is not the owner's, released to the person.
    Key(DatasetId),
}

/// How far a judgement came.
#[derive(Debug)]
pub enum Judging {
    /// Something is lacking: judge again with it.
    Needs(Need),
    /// It holds.
    Holds(Box<Judged>),
}

/// A request that was verified, and what would be signed for it.
pub struct Judged {
    /// What was asked.
    pub request: ApprovalRequest,
    /// What would be signed.
    pub approval: Approval,
    /// The card in force, verified.
    pub card: OwnerCard,
    /// The app's digest, where one runs.
    pub app: Option<Digest>,
    /// What the device has seen now and must not forget: the newest content of each dataset.
    pub contents: Vec<(DatasetId, Seen)>,
    recipient: RecipientKey,
    /// The datasets whose keys go to the vault, opened.
    keys: Vec<OpenDataset>,
    purpose: Purpose,
    document: Option<Vec<u8>>,
    names: Vec<(DatasetId, String)>,
    asked: Digest,
    /// Whether whoever runs the vault's machine is kept out.
    confidential: bool,
    /// What the owner's policy accepted that is weaker than it could be.
    weakenings: Vec<String>,
}

impl std::fmt::Debug for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judged").field("request", &self.request.id).finish_non_exhaustive()
    }
}

/// What a person is shown of a request.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The request.
    pub request: ApprovalRequest,
    /// The six words that stand on the screen of whoever asks.
    pub request_phrase: String,
    /// Whether the vault proved that nobody can look into it.
    pub confidential: bool,
    /// What would be signed, each line one fact of it.
    pub sentences: Vec<String>,
    /// What the owner's policy accepted of the vault that is weaker than it could be.
    pub weakenings: Vec<String>,
    /// The text that would be signed.
    pub approval: String,
    /// Its digest.
    pub approval_digest: Digest,
    /// Its six words.
    pub approval_phrase: String,
    /// The form in which a wallet would sign it.
    pub typed_data: serde_json::Value,
}

fn refuse(request: ApprovalId, why: impl std::fmt::Display) -> Refusal {
    Refusal::Request { request, why: why.to_string() }
}

impl Device<'_> {
    /// Verifies a request from its first byte, and builds what would be signed.
    ///
    /// # Errors
    /// It does not hold: [`Refusal`] says what of it.
    pub fn judge(
        &self,
        id: ApprovalId,
        detail: &ApprovalDetail,
        given: &Given,
    ) -> Result<Judging, Refusal> {
        let bad = |why: &str| refuse(id, why);
        let request = detail.request.clone();
        if request.id != id {
            return Err(bad("the hub shows another one"));
        }
        let card = self.card(request.project, &detail.card, given.card.as_ref())?;
        if card.device(&self.approval_key.public()).is_none() {
            return Err(Refusal::NotCertified { project: request.project });
        }
        let (policy, by) = (given.policy.as_ref(), attest::appraise);
        let vault = appraised(&detail.evidence, request.task, &card, policy, given.now, by)
            .map_err(|why| refuse(id, why))?;
        let confidential = vault.is_confidential();
        let Vault { keys: vault, recipient, weakenings } = vault;

        let (mut keys, mut names) = (Vec::new(), Vec::new());
        let (mut inputs, mut contents) = (Vec::new(), Vec::new());
        for asked in &detail.inputs {
            let manifest =
                asked.manifest.as_ref().ok_or_else(|| bad("an input has no manifest"))?;
            let opened = self.opened(asked, &card, &detail.handovers, id)?;
            let (facts, signer) =
                open_statement::<Manifest>(manifest).map_err(|e| refuse(id, e))?;
            if facts.hub != self.hub
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
                keys.push(open);
            }
            let digest = digest_of(manifest);
            let seen = Seen { number: facts.number, digest };
            seen.follows(asked.dataset, given.contents.get(&asked.dataset))?;
            contents.push((asked.dataset, seen));
            // An app's package is public, and the app's digest covers every byte of it.
            if asked.kind != DatasetKind::App {
                let (name, dataset) = (asked.name.clone(), asked.dataset);
                inputs.push(Input { name, dataset, manifest: digest });
            }
        }

        let mut outputs = Vec::new();
        let mut sealed_under = keys.first().cloned();
        if let Some(result) = &detail.result {
            let (made, _) =
                ProjectCard::open(&result.card, result.project).map_err(|e| refuse(id, e))?;
            outputs.push(Output {
                project: result.project,
                card: digest_of(&result.card),
                custodian: made.custodian(),
                dataset: Some(result.dataset),
            });
            let open = match self.opened(result, &card, &detail.handovers, id)? {
                Some(open) => {
                    keys.push(open.clone());
                    open
                }
                // Somewhere else: the settings are sealed there, and whoever may not read them approves nothing.
                None => match given.opened.iter().find(|o| o.dataset() == result.dataset) {
                    Some(open) => open.clone(),
                    None => return Ok(Judging::Needs(Need::Key(result.dataset))),
                },
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
        let unopened = |e: dataset::DatasetError| refuse(id, e);
        let sealed = match (&detail.settings, &sealed_under) {
            (Some(sealed), Some(open))
                if matches!(request.kind, TaskKind::App | TaskKind::Query) =>
            {
                Some(open.open_label("launch settings", sealed).map_err(unopened)?)
            }
            (Some(sealed), Some(open)) if request.kind == TaskKind::Demultiplex => {
                // Of a run's first demultiplexing, or of one that a person asked for again.
                let first = open.open_label("dataset settings", sealed);
                let sealed = first.or_else(|_| open.open_label("requeue settings", sealed));
                Some(sealed.map_err(unopened)?)
            }
            _ => None,
        };
        if let (TaskKind::Demultiplex, Some(settings)) = (request.kind, &sealed) {
            for project in targets(settings, request.project).map_err(|e| refuse(id, e))? {
                let signed = if project == request.project {
                    &detail.card
                } else {
                    match given.cards.get(&project) {
                        Some(card) => card,
                        None => return Ok(Judging::Needs(Need::Card(project))),
                    }
                };
                let (to, _) = ProjectCard::open(signed, project).map_err(|e| refuse(id, e))?;
                let (card, custodian) = (digest_of(signed), to.custodian());
                outputs.push(Output { project, card, custodian, dataset: None });
            }
        }
        let query = match (request.kind, sealed.as_deref()) {
            (TaskKind::Query, Some(bytes)) => Some(asked_query(bytes).map_err(|e| refuse(id, e))?),
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
        let app = detail.app.as_ref().map(|app| app.digest);
        let asked = Asked {
            hub: self.hub.to_owned(),
            kind: request.kind,
            session: detail.session,
            app,
            inputs: inputs
                .iter()
                .map(|input| AskedInput { name: input.name.clone(), dataset: input.dataset })
                .collect(),
            project: detail.result.as_ref().map(|result| result.project),
            result: detail.result.as_ref().map(|result| result.dataset),
            settings,
        }
        .digest();
        let (task, grant) = (request.task, given.grant);
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
                let run = RunApp {
                    task,
                    request: asked,
                    program,
                    settings,
                    inputs,
                    outputs,
                    vault,
                    grant,
                };
                (Act::App(run), sealed)
            }
            (None, None) => return Err(bad("it names no program")),
        };
        let at =
            Moment { requester: request.requester, now: given.now, checkpoint: given.checkpoint };
        let approval = self.approval(&card, act, &purpose, at, given.seconds)?;
        approval.check().map_err(|e| refuse(id, e))?;
        Ok(Judging::Holds(Box::new(Judged {
            request,
            approval,
            card,
            app,
            contents,
            recipient,
            keys,
            purpose,
            document,
            names,
            asked,
            confidential,
            weakenings,
        })))
    }

    /// Signs, and releases the keys that the approval lists to the vault that it names.
    ///
    /// # Errors
    /// The approval counts no longer, the card asks for a wallet that the words do not hold, or a key cannot be sealed.
    pub fn give(&self, judged: &Judged, now: Time) -> Result<GiveApproval, Refusal> {
        if now >= judged.approval.expires {
            return Err(refuse(judged.request.id, "it was looked at for too long: judge it again"));
        }
        let digest = judged.approval.digest();
        let unsealed = |e| Refusal::unmakable("a key cannot be sealed to the vault", e);
        let mut keys = Vec::with_capacity(judged.keys.len());
        for open in &judged.keys {
            let wrapped = open.wrap_approved(&judged.recipient.to_bytes(), digest);
            keys.push(Release {
                dataset: open.dataset(),
                project: open.project(),
                card_digest: open.card_digest(),
                epoch: open.epoch(),
                wrapped_key: wrapped.map_err(unsealed)?,
                leaf: None,
            });
        }
        Ok(GiveApproval { approval: self.sign(&judged.card, &judged.approval)?, keys })
    }

    /// A dataset of the owner who is asked, opened; nothing for one in other custody.
    fn opened(
        &self,
        asked: &AskedDataset,
        card: &OwnerCard,
        handovers: &[SignedStatement],
        id: ApprovalId,
    ) -> Result<Option<OpenDataset>, Refusal> {
        let Some(release) = &asked.key else { return Ok(None) };
        let fits = release.dataset == asked.dataset
            && release.project == asked.project
            && asked.project == card.project
            && release.card_digest == digest_of(&asked.card);
        if !fits {
            return Err(refuse(id, "the hub mixes datasets: a key is of another one"));
        }
        let (under, _) =
            ProjectCard::open(&asked.card, asked.project).map_err(|e| refuse(id, e))?;
        ProjectCard::Owner(card.clone()).follows(&under, handovers).map_err(|e| refuse(id, e))?;
        let opened = OpenDataset::from_release(release, &self.person.sealing());
        Ok(Some(opened.map_err(|e| refuse(id, e))?))
    }
}

impl Judged {
    /// Draws what would be signed, from what would be signed.
    ///
    /// # Errors
    /// It cannot be drawn: then nobody can know what they would approve.
    pub fn shown(&self) -> Result<Shown, Refusal> {
        let document = self.document.as_deref();
        let sentences = sentences(&self.approval, &self.purpose, document, &self.names)?;
        let typed = self.approval.typed_data().map(|typed: TypedData| typed.to_json());
        Ok(Shown {
            request: self.request.clone(),
            request_phrase: phrase(&self.asked),
            confidential: self.confidential,
            sentences,
            weakenings: self.weakenings.clone(),
            approval: self.approval.text(),
            approval_digest: self.approval.digest(),
            approval_phrase: self.approval.phrase(),
            typed_data: typed.unwrap_or_default(),
        })
    }
}

fn name(open: &OpenDataset, asked: &AskedDataset) -> Option<(DatasetId, String)> {
    let name = open.open_label("dataset name", &asked.label).ok()?;
    Some((asked.dataset, String::from_utf8_lossy(&name).into_owned()))
}

/// A typed query as its asker sealed it, checked as the vault will check it.
fn asked_query(bytes: &[u8]) -> Result<QueryRequest, String> {
    let asked: QueryRequest = serde_json::from_slice(bytes)
        .map_err(|e| format!("the query of the request does not read: {e}"))?;
    asked.query.check().map_err(|e| format!("the query of the request cannot be shown: {e}"))?;
    Ok(asked)
}

/// Into which projects a demultiplexing writes: those that the run's settings name, and the run's own.
fn targets(settings: &[u8], own: ProjectId) -> Result<Projects, String> {
    let (projects, default) = match serde_json::from_slice::<RunSettings>(settings) {
        Ok(settings) => (settings.projects, settings.default_project),
        Err(_) => {
            let settings: RequeueSettings = serde_json::from_slice(settings)
                .map_err(|e| format!("the settings of the run do not read: {e}"))?;
            (settings.projects, settings.default_project)
        }
    };
    Ok(projects.into_values().chain(default).chain([own]).collect())
}

/// What a request says that it is for. Work of the vault itself says it by its kind.
fn purpose(settings: Option<&[u8]>, kind: TaskKind) -> Result<Purpose, Refusal> {
    if kind == TaskKind::App
        && let Some(bytes) = settings
    {
        let settings: LaunchSettings = serde_json::from_slice(bytes)
            .map_err(|e| Refusal::unmakable("the settings of the request do not read", e))?;
        return settings.purpose.ok_or(Refusal::NoPurpose);
    }
    Ok(Purpose { salt: random()?, text: kind.as_str().to_owned() })
}
