//! What is sealed of a case, and with which keys (`spec/cases.md` section 3).

use std::sync::Arc;

use api::{CaseDocument, CaseId, MOST_CASE_BYTES, OrganizationId, ProjectId};
use custody::organization::{Keys, RecordError, RecordKey, RecordPlace, kept_version};
use seal::DatasetKey;
use seal::wrap::DatasetContext;
use zeroize::Zeroizing;

use crate::HubError;
use crate::data::cases::KeptCase;
use crate::state::Hub;

/// The version of the document's form.
const SCHEMA: u32 = 1;
/// A case has one key for life: its document is written whole.
const EPOCH: u32 = 0;

/// A new case as it is kept.
pub(crate) struct SealedCase {
    /// Its key, wrapped under the organization data key.
    pub(crate) key: Vec<u8>,
    /// Its document.
    pub(crate) document: Vec<u8>,
}

/// The keys of the organization while the customer's key allows it.
pub(super) async fn keys(hub: &Hub, id: OrganizationId) -> Result<Arc<Keys>, HubError> {
    super::super::organization_keys::open(hub, id).await
}

fn context(project: ProjectId, id: CaseId) -> DatasetContext {
    DatasetContext {
        dataset: id.to_bytes(),
        project: project.to_bytes(),
        card_digest: [0; 32],
        epoch: EPOCH,
    }
}

fn place(organization: OrganizationId, id: CaseId) -> RecordPlace<'static> {
    RecordPlace {
        organization: organization.to_bytes(),
        case: id.to_bytes(),
        field: "document",
        schema: SCHEMA,
    }
}

fn fault(error: RecordError) -> HubError {
    HubError::internal("a case was not sealed", error)
}

fn seal(
    key: &DatasetKey,
    organization: OrganizationId,
    id: CaseId,
    document: &CaseDocument,
) -> Result<Vec<u8>, HubError> {
    let text = serde_json::to_vec(document).map(Zeroizing::new);
    // Its cause is not kept: it could repeat what was being written.
    let text = text.map_err(|_| HubError::internal("a case was not written", "no JSON"))?;
    if text.len() > MOST_CASE_BYTES {
        return Err(HubError::bad_request(format!(
            "case {id} is longer than {MOST_CASE_BYTES} bytes"
        ))
        .hint("attach what is long as a file of a linked dataset"));
    }
    let record = RecordKey::of(key, organization.to_bytes(), id.to_bytes(), EPOCH);
    record.seal(&place(organization, id), &text).map_err(fault)
}

/// Draws a case's key and seals its document.
pub(crate) fn new(
    keys: &Keys,
    project: ProjectId,
    id: CaseId,
    document: &CaseDocument,
) -> Result<SealedCase, HubError> {
    let key = DatasetKey::generate()
        .map_err(|e| HubError::internal("the system gives no randomness for a key", e))?;
    let document = seal(&key, keys.organization(), id, document)?;
    Ok(SealedCase { key: keys.wrap(&context(project, id), &key)?, document })
}

/// The key of a case that is kept.
fn key_of(keys: &Keys, kept: &KeptCase) -> Result<DatasetKey, HubError> {
    let wrapped = kept.key.as_deref().ok_or_else(|| HubError::not_found("case", kept.case.id))?;
    Ok(keys.unwrap(&context(kept.case.project, kept.case.id), wrapped)?)
}

/// A case key under the newest organization data key, if it lies under an older version than `to`.
pub(super) fn rewrapped(
    keys: &Keys,
    project: ProjectId,
    id: CaseId,
    kept: &[u8],
    to: u32,
) -> Result<Option<Vec<u8>>, HubError> {
    if kept_version(keys.organization(), kept)? >= to {
        return Ok(None);
    }
    let context = context(project, id);
    let key = keys.unwrap(&context, kept)?;
    Ok(Some(keys.wrap(&context, &key)?))
}

/// Seals the document of a case that is there, under the key that it has.
pub(super) fn again(
    keys: &Keys,
    kept: &KeptCase,
    document: &CaseDocument,
) -> Result<Vec<u8>, HubError> {
    seal(&key_of(keys, kept)?, keys.organization(), kept.case.id, document)
}

/// Opens the document of a case.
pub(crate) fn open(keys: &Keys, kept: &KeptCase) -> Result<CaseDocument, HubError> {
    let (id, organization) = (kept.case.id, keys.organization());
    let key = key_of(keys, kept)?;
    let record = RecordKey::of(&key, organization.to_bytes(), id.to_bytes(), EPOCH);
    let damaged = |cause: &'static str| {
        HubError::internal(format!("what is kept of case {id} does not open"), cause)
    };
    let text = record
        .open(&place(organization, id), &kept.document)
        .map_err(|e| HubError::internal(format!("what is kept of case {id} does not open"), e))?;
    serde_json::from_slice(&text).map_err(|_| damaged("it opens, and is no document"))
}
