//! What an owner's projects hold: as a device remembers it, as the hub lists it, and as the owner's own events in the log tell it
//! (`spec/audit-log.md` section 7).
//!
//! A manifest says what one dataset holds, and nothing says which datasets there are: a hub that leaves one out of its lists, or shows
//! an older content of it, breaks no signature. But every content that was ever put is a leaf, with the digest of its manifest, and so
//! is every deletion, with the approval that it was done on. So a device compares: what it remembers, and what the log tells of, is
//! listed, with its newest content, or a leaf says what became of it.

mod alarm;
mod history;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use api::{
    Custodian, Dataset, DatasetId, DatasetKind, Digest, Event, ExecutionState, ProjectId,
    SignedStatement,
};
use proof::{Manifest, digest_of, open_statement};
use serde::{Deserialize, Serialize};

pub use self::alarm::HoldingAlarm;
use self::history::{History, is_approved};
use crate::Seen;

/// What a device remembers of its owner's projects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holdings {
    /// The projects that were the owner's.
    projects: BTreeSet<ProjectId>,
    /// What they held.
    datasets: BTreeMap<DatasetId, Holding>,
}

/// What a device remembers of one dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holding {
    /// Of which project.
    project: ProjectId,
    /// What it is.
    kind: DatasetKind,
    /// Its newest content.
    content: Seen,
    /// Whether nothing but an approval of the owner's destroys it.
    approved: bool,
}

/// What the hub shows now.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The owner's pseudonym in the log.
    pub you: Digest,
    /// The projects that are listed as the owner's own.
    pub projects: &'a BTreeSet<ProjectId>,
    /// The datasets that are listed in them, as they were before `events` were fetched.
    pub listed: &'a [Dataset],
    /// The owner's events, each proved to be in the log.
    pub events: &'a [Event],
    /// Manifests that were asked for; nothing where the hub has none.
    pub contents: &'a BTreeMap<DatasetId, Option<SignedStatement>>,
}

/// How far a comparison came.
#[derive(Debug)]
pub enum Compared {
    /// The manifests in force of these datasets are lacking: compare again with them.
    Needs(Vec<DatasetId>),
    /// Everything was compared.
    Whole(Holds),
}

/// What came of a comparison.
#[derive(Debug)]
pub struct Holds {
    /// What to remember, where there is no alarm.
    pub now: Holdings,
    /// What does not fit.
    pub alarms: Vec<HoldingAlarm>,
    /// How many datasets are there with the content that the log tells of.
    pub held: usize,
    /// Datasets that the log tells of, that this device never saw, and that may have gone with a project which was deleted or given away.
    pub unknown: usize,
}

/// What a vault makes beside a run is taken back by the hub when the samples hold it; everything else that is whole and the owner's
/// stays until the owner says otherwise.
fn needs_approval(dataset: &Dataset) -> bool {
    let beside_a_run =
        dataset.kind == DatasetKind::Result && dataset.task.is_some() && dataset.session.is_none();
    dataset.custodian == Custodian::Owner
        && dataset.execution == ExecutionState::Complete
        && !beside_a_run
}

/// What a vault has not finished may be taken back and begun anew, with other content.
fn is_whole(dataset: &Dataset) -> bool {
    let at_work =
        matches!(dataset.execution, ExecutionState::Processing | ExecutionState::Receiving);
    dataset.task.is_none() || !at_work
}

impl Holdings {
    /// How many datasets are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.datasets.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datasets.is_empty()
    }

    /// What is remembered of a kind and of a project, or of all, and not listed: cheap to ask, and a reason to compare everything.
    #[must_use]
    pub fn unlisted(
        &self,
        kind: Option<DatasetKind>,
        project: Option<ProjectId>,
        listed: &BTreeSet<DatasetId>,
    ) -> Vec<(DatasetId, ProjectId)> {
        let asked = |held: &Holding| {
            kind.is_none_or(|kind| kind == held.kind)
                && project.is_none_or(|project| project == held.project)
        };
        let here = self.datasets.iter().filter(|(id, held)| asked(held) && !listed.contains(id));
        here.map(|(dataset, held)| (*dataset, held.project)).collect()
    }

    /// Compares what is remembered, what is listed, and what the log tells.
    ///
    /// A call may come between two answers of the hub, so an alarm counts when a second look at everything gives it again.
    #[must_use]
    pub fn compare(&self, look: &Look<'_>) -> Compared {
        let history = History::of(look);
        let lacking = self.lacking(look, &history);
        if !lacking.is_empty() {
            return Compared::Needs(lacking);
        }
        let mut holds = Holds {
            now: Self { projects: look.projects.clone(), datasets: BTreeMap::new() },
            alarms: Vec::new(),
            held: 0,
            unknown: 0,
        };
        self.listed(look, &history, &mut holds);
        self.missing(look, &history, &mut holds);
        Compared::Whole(holds)
    }

    /// Whether a dataset's content has to be looked at: it is not the one that was seen and that the log ends with.
    fn is_news(&self, dataset: &Dataset, history: &History<'_>) -> bool {
        let newest = history.newest(dataset.id).and_then(|(_, digest)| digest);
        !self.datasets.get(&dataset.id).is_some_and(|held| {
            held.content.number == dataset.manifest_number && newest == Some(held.content.digest)
        })
    }

    /// Whether there is anything to compare yet.
    fn is_of_use(&self, dataset: &Dataset) -> bool {
        is_whole(dataset) || self.datasets.contains_key(&dataset.id)
    }

    fn lacking(&self, look: &Look<'_>, history: &History<'_>) -> Vec<DatasetId> {
        let of_use = |dataset: &&Dataset| {
            dataset.manifest_number > 0
                && self.is_of_use(dataset)
                && !history.destroyed.contains_key(&dataset.id)
                && !look.contents.contains_key(&dataset.id)
                && self.is_news(dataset, history)
        };
        look.listed.iter().filter(of_use).map(|dataset| dataset.id).collect()
    }

    /// What is listed is where it was, and its content is the newest of the log.
    fn listed(&self, look: &Look<'_>, history: &History<'_>, holds: &mut Holds) {
        for dataset in look.listed {
            let id = dataset.id;
            if history.destroyed.contains_key(&id) || !self.is_of_use(dataset) {
                continue;
            }
            let before = self.datasets.get(&id);
            if let Some(then) = before.map(|held| held.project)
                && then != dataset.project
            {
                holds.alarms.push(HoldingAlarm::Moved { dataset: id, then, now: dataset.project });
                continue;
            }
            let newest = history.newest(id);
            if dataset.manifest_number == 0 {
                if let Some((leaf, _)) = newest {
                    holds.alarms.push(HoldingAlarm::Emptied { dataset: id, leaf });
                }
                continue;
            }
            let content = match look.contents.get(&id) {
                Some(Some(signed)) => content_of(dataset, signed, before, history),
                Some(None) => {
                    let number = dataset.manifest_number;
                    Err(HoldingAlarm::Withheld { dataset: id, number })
                }
                // As it was seen, and as the log ends.
                None => before
                    .map(|held| held.content.clone())
                    .ok_or(HoldingAlarm::Unlogged { dataset: id, number: dataset.manifest_number }),
            };
            match content {
                Ok(content) => {
                    let was = before.is_some_and(|held| {
                        held.approved && !history.released.contains(&held.project)
                    });
                    let approved = was || needs_approval(dataset);
                    let Dataset { project, kind, .. } = *dataset;
                    let held = Holding { project, kind, content, approved };
                    holds.now.datasets.insert(id, held);
                    holds.held += 1;
                }
                Err(alarm) => holds.alarms.push(alarm),
            }
        }
    }

    /// What is not listed has a leaf that says why.
    fn missing(&self, look: &Look<'_>, history: &History<'_>, holds: &mut Holds) {
        let listed: BTreeSet<DatasetId> = look.listed.iter().map(|dataset| dataset.id).collect();
        let is_explained = |project: &ProjectId| {
            history.deleted.contains_key(project) || history.offered.contains_key(project)
        };
        for project in &self.projects {
            if !look.projects.contains(project) && !is_explained(project) {
                holds.alarms.push(HoldingAlarm::Project { project: *project });
            }
        }
        for (id, held) in self.datasets.iter().filter(|(id, _)| !listed.contains(id)) {
            let (dataset, project) = (*id, held.project);
            let gone = !look.projects.contains(&project);
            let event = history
                .destroyed
                .get(id)
                .or_else(|| history.deleted.get(&project).filter(|_| gone));
            match event {
                Some(event) if held.approved && !is_approved(event) => {
                    let (at, actor) = (event.at, event.actor.clone());
                    holds.alarms.push(HoldingAlarm::Unapproved { dataset, at, actor });
                }
                Some(_) => {}
                None if gone && history.offered.contains_key(&project) => {}
                None => holds.alarms.push(HoldingAlarm::Dropped { dataset, project }),
            }
        }
        for dataset in history.own.iter().copied() {
            let is_accounted = listed.contains(&dataset)
                || self.datasets.contains_key(&dataset)
                || history.destroyed.contains_key(&dataset);
            let Some((leaf, _)) = history.newest(dataset).filter(|_| !is_accounted) else {
                continue;
            };
            if history.lost_a_project_after(leaf, look.projects) {
                holds.unknown += 1;
            } else {
                holds.alarms.push(HoldingAlarm::NeverListed { dataset, leaf });
            }
        }
    }
}

/// The content that a hub shows, if it is this dataset's, no older than what was seen, and the newest of the log.
fn content_of(
    dataset: &Dataset,
    signed: &SignedStatement,
    before: Option<&Holding>,
    history: &History<'_>,
) -> Result<Seen, HoldingAlarm> {
    let id = dataset.id;
    let facts = open_statement::<Manifest>(signed).ok().map(|(facts, _)| facts);
    let fits = |facts: &Manifest| facts.dataset == id && facts.project == dataset.project;
    let facts = facts.filter(fits).ok_or(HoldingAlarm::Mixed { dataset: id })?;
    let (number, digest) = (facts.number, digest_of(signed));
    let seen = Seen { number, digest };
    seen.follows(id, before.map(|held| &held.content))?;
    let Some((leaf, newest)) = history.newest(id) else {
        return Err(HoldingAlarm::Unlogged { dataset: id, number });
    };
    // An event of a time before the log names no manifest: there is nothing to compare with.
    if newest.is_none_or(|newest| newest == digest) {
        return Ok(seen);
    }
    let all = history.contents.get(&id).into_iter().flatten();
    if all.into_iter().any(|(_, earlier)| *earlier == Some(digest)) {
        Err(HoldingAlarm::Older { dataset: id, number, leaf })
    } else {
        Err(HoldingAlarm::Unlogged { dataset: id, number })
    }
}
