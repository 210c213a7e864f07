//! Whether the receipt that ends a task is what its vault must sign.

use std::collections::BTreeSet;

use api::{Custodian, Dataset, DatasetId, Digest, EndTask, ErrorCode, TaskId, TaskKind};
use proof::{AnyReceipt, Released};

use super::Caller;
use super::caller::object;
use crate::HubError;
use crate::data::sessions::PACKAGE;
use crate::data::tasks::Kept;
use crate::data::{self, Connection};
use crate::state::Hub;

/// Whether the receipt is what this task's vault must sign: its key, its evidence, what it was given, what is here.
pub(super) async fn check(
    hub: &Hub,
    at: &mut Connection,
    caller: &Caller,
    kept: &Kept,
    body: &EndTask,
) -> Result<(), HubError> {
    let id = kept.task.id;
    let wrong = |what: &str| {
        HubError::new(
            ErrorCode::DigestMismatch,
            format!("the receipt of task {id} does not hold: {what}"),
        )
        .refusing("task.end", object("task", id), Some(kept.project))
    };
    let (receipt, signer) =
        AnyReceipt::open(&body.receipt).map_err(|error| wrong(&error.to_string()))?;
    if Some(signer.id()) != kept.vault_key || signer.id() != super::manifests::signing_key(caller)?
    {
        return Err(wrong("another key signed it than the one that the evidence binds"));
    }
    let asked = data::approvals::of_vault(at, id, signer.id()).await?;
    let released = match &receipt {
        AnyReceipt::Policy(receipt) => {
            let said = (receipt.custodian, receipt.released);
            // What an organization's lease released was not released by less because it has left its key since.
            let before = (Custodian::Organization, Released::Lease);
            asked.is_empty()
                && (said == released_by(at, id).await?
                    || (said == before && data::organization_keys::left_meanwhile(at, id).await?))
        }
        // A vault that ends before its owners have answered has no approval to name.
        AnyReceipt::Owner(receipt) => {
            let given: Vec<Digest> = asked.iter().filter_map(|kept| kept.digest).collect();
            let all = given == receipt.approvals && given.len() == asked.len();
            !asked.is_empty() && (all || (!body.complete && receipt.approvals.is_empty()))
        }
    };
    if !released {
        return Err(wrong("it names something else that released the keys"));
    }
    let receipt = receipt.facts();
    if receipt.hub != hub.id || receipt.task != id || receipt.kind != kept.task.kind {
        return Err(wrong("it speaks of another task"));
    }
    if Some(receipt.evidence_digest) != kept.evidence {
        return Err(wrong("it names other evidence"));
    }
    if kept.evidence_kind.is_some_and(|shown| shown != receipt.evidence) {
        return Err(wrong("it says of its vault what the evidence does not"));
    }
    if receipt.complete != body.complete {
        return Err(wrong("it says otherwise than the call whether all outputs are there"));
    }
    let vault = object("vault", id);
    let announced: BTreeSet<DatasetId> =
        receipt.log.leaves.iter().map(|leaf| leaf.dataset).collect();
    if receipt.inputs.iter().any(|input| !announced.contains(&input.dataset)) {
        return Err(wrong("it names no leaf for the release of an input's key"));
    }
    if !super::log::receipt_holds(hub, at, &vault, receipt.log).await? {
        return Err(wrong("the audit log does not say what it says of the releases"));
    }
    let app = match kept.task.session {
        Some(session) => {
            data::sessions::find(at, session).await?.map(|kept| kept.session.app_digest)
        }
        None => None,
    };
    // A vault that gives up before it has checked the package names no app.
    if receipt.app != app && (body.complete || receipt.app.is_some()) {
        return Err(wrong("it names another app"));
    }
    let inputs = data::tasks::inputs(at, id).await?;
    let given: BTreeSet<(DatasetId, Digest)> =
        inputs.iter().filter_map(|input| Some((input.dataset, input.manifest?))).collect();
    // A vault that has the app already, checked to its digest, does not open the package.
    let must_be_read: BTreeSet<(DatasetId, Digest)> = inputs
        .iter()
        .filter(|input| input.name != PACKAGE)
        .filter_map(|input| Some((input.dataset, input.manifest?)))
        .collect();
    let read: BTreeSet<(DatasetId, Digest)> =
        receipt.inputs.iter().map(|input| (input.dataset, input.manifest)).collect();
    if !read.is_subset(&given) || (body.complete && !must_be_read.is_subset(&read)) {
        return Err(wrong("its inputs are not those that the task was given"));
    }
    let mut written = BTreeSet::new();
    for output in receipt.outputs {
        let found = data::datasets::find(at, output.dataset).await?;
        let found = found.filter(|found| is_output(kept, &found.dataset));
        let Some(found) = found else {
            return Err(wrong("an output is none of this task's"));
        };
        let number = found.dataset.manifest_number;
        let manifest = data::manifests::find(at, output.dataset, number).await?;
        if manifest.map(|manifest| manifest.digest) != Some(output.manifest) {
            return Err(wrong("an output's manifest is not the one in force"));
        }
        written.insert(output.dataset);
    }
    if body.complete {
        for made in data::datasets::made_by_task(at, id).await? {
            if !written.contains(&made.dataset.id) {
                return Err(wrong("it leaves out a dataset that the task made"));
            }
        }
        if kept.task.kind == TaskKind::Reseal && !written.contains(&kept.task.subject) {
            return Err(wrong("the dataset was not written anew"));
        }
    }
    Ok(())
}

/// Who holds the keys of what a task reads, and what released them.
async fn released_by(at: &mut Connection, id: TaskId) -> Result<(Custodian, Released), HubError> {
    for input in data::tasks::inputs(at, id).await? {
        let found = data::datasets::find(at, input.dataset).await?;
        if found.is_some_and(|found| found.dataset.custodian == Custodian::Organization) {
            return Ok((Custodian::Organization, Released::Lease));
        }
    }
    Ok((Custodian::Platform, Released::Policy))
}

fn is_output(kept: &Kept, dataset: &Dataset) -> bool {
    dataset.task == Some(kept.task.id)
        || (kept.task.kind == TaskKind::Reseal && dataset.id == kept.task.subject)
}
