//! How runs arrive and how they went: what brokers say of their transfers, and the metrics that vaults sealed beside them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use api::{
    DatasetId, DatasetKind, ListOrder, RUN_METRICS_PATH, RunMetrics, RunProgress, ToldProgress,
    TransferProgress,
};
use proof::Manifest;

use super::Caller;
use super::manifests::Contents;
use super::runs::run;
use crate::HubError;
use crate::data::datasets::{Kept, Narrowed};
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// Of how many runs something is remembered. Of more, what was said longest ago is forgotten: it will be said again.
const MOST_RUNS: usize = 4096;
/// How many results beside a run are looked into for its metrics, the newest first.
const MOST_RESULTS: i64 = 20;

/// What brokers said last, in memory alone: it is old after seconds, and a hub that starts anew hears it again.
#[derive(Debug, Default)]
pub(crate) struct Transfers(Mutex<HashMap<DatasetId, ToldProgress>>);

impl Transfers {
    fn tell(&self, run: DatasetId, told: ToldProgress) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_RUNS
            && !kept.contains_key(&run)
            && let Some(oldest) = kept.iter().min_by_key(|(_, told)| told.at).map(|(run, _)| *run)
        {
            kept.remove(&oldest);
        }
        kept.insert(run, told);
    }

    fn told(&self, run: DatasetId) -> Option<ToldProgress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&run).copied()
    }
}

/// Takes what the broker says of a run that arrives.
pub(crate) async fn tell(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    transfer: TransferProgress,
) -> Result<RunProgress, HubError> {
    let mut reader = hub.db.read().await?;
    let kept = run(&mut reader, caller, id, Action::RunProgress).await?;
    if kept.is_closed() {
        return Err(HubError::conflict(format!("run {id} is closed and arrives no more")));
    }
    hub.transfers.tell(id, ToldProgress { at: caller.at, transfer });
    progress(hub, &mut reader, &kept).await
}

/// How far a run has arrived.
pub(crate) async fn show(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
) -> Result<RunProgress, HubError> {
    let mut reader = hub.db.read().await?;
    let kept = run(&mut reader, caller, id, Action::DatasetSee).await?;
    progress(hub, &mut reader, &kept).await
}

async fn progress(hub: &Hub, at: &mut Connection, kept: &Kept) -> Result<RunProgress, HubError> {
    let (id, number) = (kept.dataset.id, kept.dataset.manifest_number);
    let signed = data::manifests::find(at, id, number).await?;
    let listed = signed.and_then(|kept| proof::open_statement::<Manifest>(&kept.signed).ok());
    Ok(RunProgress {
        objects: kept.dataset.objects,
        sealed_bytes: kept.dataset.sealed_bytes,
        files_signed: listed.map_or(0, |(manifest, _)| manifest.files),
        told: hub.transfers.told(id),
    })
}

/// A run's metrics, from the newest result beside it that has them, opened through the custodian.
///
/// A conflict where no vault made any yet; refused where the custodian lets the hub open nothing.
pub(crate) async fn metrics(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
) -> Result<RunMetrics, HubError> {
    let mut reader = hub.db.read().await?;
    let found = run(&mut reader, caller, id, Action::RunMetrics).await?;
    let beside = Narrowed {
        kind: Some(DatasetKind::Result),
        project: Some(found.dataset.project),
        parent: Some(id),
        order: ListOrder::Newest,
    };
    let viewer = caller.viewer();
    let listed = data::datasets::list(&mut reader, viewer, beside, "", MOST_RESULTS).await?;
    drop(reader);
    // What a person brought as a result of the run is no vault's word about it.
    let made = |kept: &Kept| kept.dataset.task.is_some() && kept.dataset.session.is_none();
    for kept in listed.into_iter().filter(made) {
        let Some(contents) = Contents::open(hub, &kept).await? else { continue };
        let Some(bytes) = contents.shown(hub, RUN_METRICS_PATH).await? else { continue };
        return serde_json::from_slice(&bytes).map_err(|e| {
            HubError::conflict(format!("the metrics of run {id} do not read"))
                .hint("they are of another version: `chorion run requeue` makes them anew")
                .caused_by(e)
        });
    }
    Err(HubError::conflict(format!("run {id} has no metrics yet"))
        .hint("a vault makes them when it demultiplexes the run"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Time;

    #[test]
    fn of_too_many_runs_the_one_heard_of_longest_ago_is_forgotten() {
        let transfers = Transfers::default();
        let transfer = TransferProgress {
            files: 1,
            files_whole: 0,
            bytes: 1,
            bytes_held: 0,
            verifying: false,
            bytes_per_second: 0,
            faults_survived: 0,
            seconds_left: None,
        };
        let runs: Vec<DatasetId> = (0..=MOST_RUNS).map(|_| DatasetId::generate()).collect();
        for (second, run) in (0..).zip(&runs) {
            let at = Time::from_second(second).unwrap();
            transfers.tell(*run, ToldProgress { at, transfer });
        }
        assert_eq!(transfers.told(runs[0]), None);
        assert!(transfers.told(runs[1]).is_some() && transfers.told(runs[MOST_RUNS]).is_some());
    }
}
