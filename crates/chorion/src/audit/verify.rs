//! `chorion audit verify` (`spec/audit-log.md` section 7): nothing is taken from the hub but what a proof shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::{Digest, ErrorCode, Event, EventId, Outcome, Right, Task, Time};
use authenticator::Holdings;
use clap::Args;
use client::EventFilter;
use proof::log::{
    Alarm, Checkpoint, Node, SignatureKind, SignedNote, TILE_WIDTH, Tile, TilePath, VerifierKey,
    inclusion_proof, nodes_for_inclusion, verify_inclusion,
};
use proof::{AnyReceipt, StatementError};
use serde::Serialize;

use super::held::{self, Listed};
use super::view::{ReleasedKey, Remembered, View, memory};
use crate::config::{ClientContext, write_private};
use crate::report::{CliError, CliResult, Ui};

/// What is demanded beside the proofs.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Demand that the witness with this key cosigned the log; may be given several times, and then each must have.
    #[arg(long, value_name = "KEY")]
    witness: Vec<VerifierKey>,
    /// The oldest cosignature that counts, in hours.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    witnessed_within: u32,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Verified {
    /// Whether everything fits.
    holds: bool,
    /// The log's key.
    key: String,
    /// How many leaves the log has.
    leaves: u64,
    /// How many it had when it was verified before; absent at the first time.
    continues: Option<u64>,
    /// How many events were proved to be in it.
    events: usize,
    /// How many of them are about what is the caller's.
    own: usize,
    /// How many receipts of tasks fit.
    receipts: usize,
    /// How many receipts are from before the log.
    receipts_without_log: usize,
    /// How many releases to this machine are in it.
    releases: usize,
    /// Leaves that receipts name and whose events belong to others.
    shown_to_others: usize,
    /// Datasets of the caller's own projects that are listed with the content that the log ends with.
    datasets: usize,
    /// Datasets that the log tells of and this machine never saw, of projects that were deleted or given away, as far as is known.
    datasets_unknown: usize,
    /// By each witness that was demanded: how many leaves it saw, and when.
    witnessed: Vec<Witnessed>,
    /// What does not fit.
    alarms: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Witnessed {
    witness: String,
    leaves: u64,
    at: Time,
}

pub(crate) async fn run(args: VerifyArgs, ui: Ui) -> CliResult {
    for witness in &args.witness {
        if witness.kind() != SignatureKind::Witness {
            return Err(CliError::new(format!("`{witness}` is no key of a witness"))
                .hint("`chorion audit witness` prints its key when it begins"));
        }
    }
    let ctx = ClientContext::load(ui)?;
    let path = memory(ctx.home(), &ctx.hub_id, "json");
    let before = Remembered::read(&path)?;
    let mut looked = look(&ctx, &args, before.as_ref()).await?;
    if looked.misses_something {
        // Something may have been put or destroyed between two answers of the hub: what is missing is missing twice.
        looked = look(&ctx, &args, before.as_ref()).await?;
    }
    let Looked { mut found, now, .. } = looked;
    found.holds = found.alarms.is_empty();
    let Some((now, holdings)) = now else { return told(&found, None, ui) };
    if found.holds {
        now.write(&path)?;
        held::remember(&ctx, &holdings)?;
        return told(&found, None, ui);
    }
    // Two notes that contradict each other, both signed by the log, are worth keeping.
    let evidence = memory(ctx.home(), &ctx.hub_id, "alarm.json");
    #[derive(Serialize)]
    struct Evidence<'a> {
        before: Option<&'a Remembered>,
        now: &'a Remembered,
        alarms: &'a [String],
    }
    let kept = Evidence { before: before.as_ref(), now: &now, alarms: &found.alarms };
    let text = serde_json::to_vec_pretty(&kept)
        .expect("what was found serializes because it holds texts and digests");
    write_private(&evidence, &text)?;
    told(&found, Some(evidence.display().to_string()), ui)
}

/// One look at everything that the hub shows.
struct Looked {
    found: Verified,
    /// What to remember if nothing is wrong; nothing where the log does not even begin to be verified.
    now: Option<(Remembered, Holdings)>,
    /// Whether something of the caller's projects is not where it should be.
    misses_something: bool,
}

async fn look(
    ctx: &ClientContext,
    args: &VerifyArgs,
    before: Option<&Remembered>,
) -> CliResult<Looked> {
    let who = ctx.client.whoami().await?;
    // What is listed first, then the events, then a checkpoint: each has all of what was fetched before it.
    let listed = Listed::fetch(ctx).await?;
    let events = ctx.client.events(&EventFilter::default()).all().await?;
    let expected = before.map(|before| before.key.as_str());
    let mut view = match View::open(&ctx.client, &ctx.hub_id, expected).await? {
        Ok(view) => view,
        Err(alarm) => {
            let found = Verified { alarms: vec![alarm.to_string()], ..Verified::default() };
            return Ok(Looked { found, now: None, misses_something: false });
        }
    };
    let mut check = Check {
        found: Verified {
            key: view.log.to_string(),
            leaves: view.checkpoint.size,
            ..Verified::default()
        },
        alarms: Vec::new(),
        leaves: BTreeMap::new(),
    };
    check.history(&mut view, before).await?;
    check.events(&mut view, &events).await?;
    let mine = format!("account:{}", who.account.id);
    let own = check.own(&view, &events, &mine);
    check.seen_before(before, &own);
    let released = ReleasedKey::read(&memory(ctx.home(), &ctx.hub_id, "released"))?;
    check.released(&released);
    let tasks = ctx.client.tasks(None).all().await?;
    check.receipts(ctx, &mut view, &tasks).await?;
    let (holds, missing) =
        listed.compare(ctx, &held::remembered(ctx)?, &events, view.state.you).await?;
    for witness in &args.witness {
        check.witnessed(ctx, &mut view, witness, args.witnessed_within).await?;
    }
    for missing in view.missing() {
        if !check.alarms.contains(&missing) {
            check.alarms.push(missing);
        }
    }

    let Check { mut found, alarms, .. } = check;
    (found.datasets, found.datasets_unknown) = (holds.held, holds.unknown);
    found.alarms = alarms.iter().map(ToString::to_string).collect();
    let misses_something = !missing.is_empty();
    found.alarms.extend(missing);
    let (key, checkpoint) = (found.key.clone(), view.state.checkpoint.clone());
    let now = Remembered { key, checkpoint, leaves: own };
    Ok(Looked { found, now: Some((now, holds.now)), misses_something })
}

/// Says what was found; an error if something does not fit.
fn told(found: &Verified, evidence: Option<String>, ui: Ui) -> CliResult {
    ui.value(found);
    if !found.alarms.is_empty() {
        found.alarms.iter().for_each(|alarm| ui.note(format!("alarm: {alarm}")));
        let many = if found.alarms.len() == 1 { "thing does" } else { "things do" };
        let hint = evidence.map_or_else(
            || "ask the hub's operator; what this machine remembers is left as it was".to_owned(),
            |file| format!("what was seen then and now is kept in {file}: show it to the hub's operator, and to others who use this hub"),
        );
        let sentence = format!("{} {many} not fit in the audit log", found.alarms.len());
        return Err(CliError::new(sentence).hint(hint));
    }
    ui.line(format!("log: {} leaves, key {}", found.leaves, found.key));
    match found.continues {
        Some(then) => ui.line(format!("continues the {then} leaves that were verified before")),
        None => {
            ui.line("verified for the first time: from now on this machine knows if it is changed");
        }
    }
    ui.line(format!(
        "events: {} are in it, {} of them yours; releases to this machine: {}",
        found.events, found.own, found.releases
    ));
    let without = match found.receipts_without_log {
        0 => String::new(),
        some => format!("; {some} are from before the log"),
    };
    ui.line(format!("receipts: {} fit{without}", found.receipts));
    ui.line(format!(
        "datasets: {} of your projects hold what the log says they hold",
        found.datasets
    ));
    if found.datasets_unknown > 0 {
        ui.line(format!(
            "{} more are in the log, and were never seen from here: they can have gone with a project that you deleted or gave away",
            found.datasets_unknown
        ));
    }
    if found.shown_to_others > 0 {
        ui.line(format!(
            "{} leaves that receipts name are events of others, which are not shown to you",
            found.shown_to_others
        ));
    }
    for Witnessed { witness, leaves, at } in &found.witnessed {
        let newer = found.leaves - leaves;
        ui.line(format!("witness {witness}: saw {leaves} leaves at {at}; {newer} are newer"));
    }
    if found.witnessed.is_empty() {
        ui.line("no witness was asked: that others are shown the same log is the operator's word");
    }
    Ok(())
}

/// A verification under way.
struct Check {
    found: Verified,
    alarms: Vec<Alarm>,
    /// Every event that was shown, by its leaf, with what it must hash to.
    leaves: BTreeMap<u64, Shown>,
}

struct Shown {
    event: EventId,
    act: String,
    object: String,
    actor: String,
    outcome: Outcome,
    hash: Digest,
}

impl Check {
    /// The log continues what was seen before.
    async fn history(&mut self, view: &mut View<'_>, before: Option<&Remembered>) -> CliResult {
        let Some(before) = before else { return Ok(()) };
        let then = before
            .checkpoint
            .parse::<SignedNote>()
            .and_then(|note| note.checkpoint(&view.log))
            .map_err(|e| {
                CliError::new("what this machine remembers of the log is damaged").caused_by(e)
            })?;
        self.found.continues = Some(then.size);
        if let Err(alarm) = view.continues(&then, "were").await? {
            self.alarms.push(alarm);
        }
        Ok(())
    }

    /// Every event is what its leaf commits to, and the leaf is in the tree.
    async fn events(&mut self, view: &mut View<'_>, events: &[Event]) -> CliResult {
        let size = view.checkpoint.size;
        for event in events {
            let (index, hash) = match Alarm::leaf_of(event, size) {
                Ok(leaf) => leaf,
                Err(alarm) => {
                    self.alarms.push(alarm);
                    continue;
                }
            };
            let shown = Shown {
                event: event.id,
                act: event.act.clone(),
                object: event.object.clone(),
                actor: event.actor.clone(),
                outcome: event.outcome,
                hash,
            };
            if let Some(first) = self.leaves.insert(index, shown) {
                self.alarms.push(Alarm::Twice { first: first.event, second: event.id, index });
            }
        }
        // The proof of one leaf has every other hash of its tile in it, so that one for each tile proves all.
        let firsts: BTreeSet<u64> =
            self.leaves.keys().map(|index| index / TILE_WIDTH * TILE_WIDTH).collect();
        let nodes = firsts.iter().flat_map(|first| {
            nodes_for_inclusion(*first, size).into_iter().chain([Node { level: 0, index: *first }])
        });
        view.fetch(nodes.collect::<Vec<_>>()).await?;
        for first in firsts {
            let node = Node { level: 0, index: first };
            let proved = view.hash(node).and_then(|leaf| {
                let proof = inclusion_proof(first, size, view.tiles())?;
                Some(verify_inclusion(first, size, &leaf, &view.checkpoint.root, &proof))
            });
            if proved == Some(false) {
                let tile = TilePath::Hashes(Tile::of(node, size)).to_string();
                self.alarms.push(Alarm::Tile { tile });
            }
            for (index, shown) in self.leaves.range(first..first.saturating_add(TILE_WIDTH)) {
                if view
                    .hash(Node { level: 0, index: *index })
                    .is_some_and(|hash| hash != shown.hash)
                {
                    self.alarms.push(Alarm::Changed {
                        event: shown.event,
                        act: shown.act.clone(),
                        object: shown.object.clone(),
                        index: *index,
                    });
                } else if proved == Some(true) {
                    self.found.events += 1;
                }
            }
        }
        Ok(())
    }

    /// The leaves of what is the caller's, or was done by the caller: these stay theirs, whoever owns what later.
    fn own(&mut self, view: &View<'_>, events: &[Event], mine: &str) -> BTreeMap<u64, Digest> {
        let own: BTreeMap<u64, Digest> = events
            .iter()
            .filter_map(|event| {
                let leaf = event.leaf.as_ref()?;
                let ours = leaf.owner == Some(view.state.you) || event.actor == mine;
                let shown = self.leaves.get(&leaf.index).filter(|_| ours)?;
                Some((leaf.index, shown.hash))
            })
            .collect();
        self.found.own = own.len();
        own
    }

    /// What was the caller's before is still there, and the same.
    fn seen_before(&mut self, before: Option<&Remembered>, own: &BTreeMap<u64, Digest>) {
        for (index, hash) in before.iter().flat_map(|before| &before.leaves) {
            match own.get(index) {
                Some(now) if now == hash => {}
                Some(_) => self.alarms.push(Alarm::Other { index: *index }),
                None => self.alarms.push(Alarm::Gone { index: *index }),
            }
        }
    }

    /// Every key that was released to this machine is in the log.
    fn released(&mut self, released: &BTreeSet<(u64, String)>) {
        for (leaf, object) in released {
            let announced = self
                .leaves
                .get(leaf)
                .is_some_and(|shown| shown.outcome == Outcome::Intended && shown.object == *object);
            if announced {
                self.found.releases += 1;
            } else {
                self.alarms.push(Alarm::Unlogged { object: object.clone(), index: *leaf });
            }
        }
    }

    /// Every receipt of the caller's tasks names a checkpoint that the log continues, and leaves that announce its releases.
    async fn receipts(
        &mut self,
        ctx: &ClientContext,
        view: &mut View<'_>,
        tasks: &[Task],
    ) -> CliResult {
        let mut continued: BTreeMap<(u64, Digest), Result<(), Alarm>> = BTreeMap::new();
        for task in tasks {
            let Some(signed) = &task.receipt else { continue };
            let receipt = match AnyReceipt::open(signed) {
                Ok((receipt, _vault)) => receipt,
                Err(StatementError::Kind { .. }) => {
                    self.found.receipts_without_log += 1;
                    continue;
                }
                Err(error) => {
                    self.alarms.push(Alarm::Receipt { task: task.id, what: error.to_string() });
                    continue;
                }
            };
            let log = receipt.facts().log;
            let then: Result<Checkpoint, Alarm> = log
                .checkpoint
                .parse::<SignedNote>()
                .and_then(|note| note.checkpoint(&view.log))
                .map_err(Alarm::from);
            let fits = match then {
                Ok(then) => match continued.get(&(then.size, then.root)) {
                    Some(known) => known.clone(),
                    None => {
                        let fits = view.continues(&then, "its vault has").await?;
                        continued.insert((then.size, then.root), fits.clone());
                        fits
                    }
                },
                Err(alarm) => Err(alarm),
            };
            let mut what = fits.err().map(|alarm| alarm.to_string());
            let vault = format!("vault:{}", task.id);
            for leaf in &log.leaves {
                let object = format!("dataset:{}", leaf.dataset);
                match self.leaves.get(&leaf.leaf) {
                    Some(shown)
                        if shown.object == object
                            && shown.actor == vault
                            && shown.outcome == Outcome::Intended => {}
                    Some(_) => {
                        what = Some(format!("leaf {} announces no release of {object}", leaf.leaf));
                    }
                    None if is_own(ctx, leaf.dataset).await? => {
                        what = Some(format!("the event of leaf {} is not shown", leaf.leaf));
                    }
                    None => self.found.shown_to_others += 1,
                }
            }
            match what {
                Some(what) => self.alarms.push(Alarm::Receipt { task: task.id, what }),
                None => self.found.receipts += 1,
            }
        }
        Ok(())
    }

    /// The witness saw the log lately, and what it saw is the beginning of this one.
    async fn witnessed(
        &mut self,
        ctx: &ClientContext,
        view: &mut View<'_>,
        witness: &VerifierKey,
        hours: u32,
    ) -> CliResult {
        let name = witness.name();
        let cosigned = match ctx.client.cosignature(witness.key().id()).await {
            Ok(cosigned) => cosigned,
            Err(error) if error.code() == Some(ErrorCode::NotFound) => {
                let what = format!("witness `{name}` cosigned nothing here");
                self.alarms.push(Alarm::Unwitnessed(what));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let read = || -> Result<(Checkpoint, Time), Alarm> {
            let note: SignedNote = cosigned.note.parse()?;
            Ok((note.checkpoint(&view.log)?, note.cosigned(witness)?))
        };
        let (then, at) = match read() {
            Ok(read) => read,
            Err(alarm) => {
                self.alarms.push(alarm);
                return Ok(());
            }
        };
        if let Err(alarm) = view.continues(&then, "the witness has").await? {
            self.alarms.push(alarm);
            return Ok(());
        }
        let age = Time::now().duration_since(at);
        let most = Duration::from_secs(u64::from(hours) * 3600);
        if age.unsigned_abs() > most {
            let what = format!("witness `{name}` saw it last at {at}, and {hours} h are allowed");
            self.alarms.push(Alarm::Unwitnessed(what));
        } else {
            let witness = name.to_owned();
            self.found.witnessed.push(Witnessed { witness, leaves: then.size, at });
        }
        Ok(())
    }
}

/// Whether the caller owns the project of a dataset, so that its events are shown to them.
async fn is_own(ctx: &ClientContext, dataset: api::DatasetId) -> CliResult<bool> {
    let found = match ctx.client.dataset(dataset).await {
        Ok(dataset) => ctx.client.project(dataset.project).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(project) => Ok(project.right == Right::Owner),
        Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
