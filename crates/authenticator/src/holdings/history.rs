//! What an owner's own events tell of what there was, and of what became of it.

use std::collections::{BTreeMap, BTreeSet};

use api::{DatasetId, Digest, Event, Outcome, ProjectId};

use super::Look;

/// What the log tells of an owner's datasets and projects.
#[derive(Debug, Default)]
pub(super) struct History<'a> {
    /// The contents of each dataset in the order of their leaves; events of a time before the log name no manifest.
    pub(super) contents: BTreeMap<DatasetId, Vec<(u64, Option<Digest>)>>,
    /// Datasets that got content while they were the owner's.
    pub(super) own: BTreeSet<DatasetId>,
    /// What was destroyed.
    pub(super) destroyed: BTreeMap<DatasetId, &'a Event>,
    /// Projects that were deleted.
    pub(super) deleted: BTreeMap<ProjectId, &'a Event>,
    /// Projects that were offered to others, and not withdrawn or refused since, with the leaf.
    pub(super) offered: BTreeMap<ProjectId, u64>,
    /// Projects whose key went to another custodian.
    pub(super) released: BTreeSet<ProjectId>,
}

impl<'a> History<'a> {
    pub(super) fn of(look: &Look<'a>) -> Self {
        let mut history = Self::default();
        let done = |event: &&Event| event.outcome == Outcome::Done;
        let mut events: Vec<(u64, &Event)> = look
            .events
            .iter()
            .filter(done)
            .filter_map(|event| Some((event.leaf.as_ref()?.index, event)))
            .collect();
        events.sort_by_key(|(index, _)| *index);
        for (index, event) in events {
            if let Some(dataset) = id_of::<DatasetId>(event, "dataset:") {
                history.take_dataset(dataset, index, event, look.you);
            } else if let Some(project) = id_of::<ProjectId>(event, "project:") {
                // An operator is shown everybody's.
                let own = event.leaf.as_ref().and_then(|leaf| leaf.owner) == Some(look.you);
                if own {
                    history.take_project(project, index, event);
                }
            }
        }
        history
    }

    fn take_dataset(&mut self, dataset: DatasetId, index: u64, event: &'a Event, you: Digest) {
        match event.act.as_str() {
            "manifest.put" => {
                let leaf = event.leaf.as_ref();
                let content = (index, leaf.and_then(|leaf| leaf.statement));
                self.contents.entry(dataset).or_default().push(content);
                if leaf.and_then(|leaf| leaf.owner) == Some(you) {
                    self.own.insert(dataset);
                }
            }
            "dataset.delete" => {
                self.destroyed.insert(dataset, event);
            }
            _ => {}
        }
    }

    fn take_project(&mut self, project: ProjectId, index: u64, event: &'a Event) {
        match event.act.as_str() {
            "project.delete" => {
                self.deleted.insert(project, event);
            }
            "project.transfer.offer" => {
                self.offered.insert(project, index);
            }
            "project.handover" if event.purpose.as_deref() == Some("transfer") => {
                self.offered.insert(project, index);
            }
            "project.transfer.withdraw" | "project.transfer.refuse" => {
                self.offered.remove(&project);
            }
            "project.custodian_change" => {
                self.released.insert(project);
            }
            _ => {}
        }
    }

    /// The leaf of a dataset's newest content, and its digest where the leaf has it.
    pub(super) fn newest(&self, dataset: DatasetId) -> Option<(u64, Option<Digest>)> {
        self.contents.get(&dataset)?.last().copied()
    }

    /// Whether a project of the owner's went away after a leaf: what was in it is not known from the log.
    pub(super) fn lost_a_project_after(&self, leaf: u64, listed: &BTreeSet<ProjectId>) -> bool {
        let deleted = self.deleted.iter().filter_map(|(project, event)| {
            Some((project, event.leaf.as_ref().map(|leaf| leaf.index)?))
        });
        let offered = self.offered.iter().map(|(project, index)| (project, *index));
        deleted.chain(offered).any(|(project, index)| index > leaf && !listed.contains(project))
    }
}

fn id_of<T: std::str::FromStr>(event: &Event, kind: &str) -> Option<T> {
    event.object.strip_prefix(kind)?.parse().ok()
}

/// Whether the log names the approval on which something went.
pub(super) fn is_approved(event: &Event) -> bool {
    event.leaf.as_ref().is_some_and(|leaf| leaf.approval.is_some())
}
