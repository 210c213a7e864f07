//! Packs are sealed, written down, sent; at the end a signed manifest closes the dataset.
//!
//! What a pack became is written down before it is sent. After a stop the files are read and checked from their beginning
//! again, the same packs come, and those that the hub says it holds are not sent. One that was under way is sealed anew, as
//! another object under another key. Objects that no file names, because their acknowledgement was lost, stand in the manifest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::{Acknowledged, Dataset, Digest, ErrorCode, ObjectRef, PutManifest, SealedObject};
use broker::{Journal, JournalError};
use client::{Client, ObjectBytes};
use dataset::{OpenDataset, Pack, Packer, SealedFact, SealedPart};
use proof::sign_statement;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::look::Source;
use super::read::{Looked, read_all};
use super::state::{Closing, State};
use super::{ImportedFile, reads};
use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// Packs that are sealed and sent at once.
const AT_ONCE: usize = 4;

/// A pack that was sealed: which of the row, what was in it, and what it became.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    pack: u64,
    plaintext: Digest,
    fact: SealedFact,
}

/// What was sent.
pub(super) struct Sent {
    pub(super) dataset: Dataset,
    pub(super) files: Vec<ImportedFile>,
    pub(super) samples: Vec<String>,
    pub(super) sent_bytes: u64,
    pub(super) kept_bytes: u64,
}

/// A pack that is at the hub.
struct Landed {
    /// The pack's own object, which the packer knows it by.
    object: ObjectRef,
    fact: SealedFact,
    /// Whether it was there before.
    kept: bool,
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        let said = Self::new(error.to_string());
        match std::error::Error::source(&error) {
            Some(cause) => said.caused_by(cause),
            None => said,
        }
    }
}

/// What every pack needs on its way.
struct Way {
    client: Client,
    open: OpenDataset,
    journal: Mutex<Journal<Record>>,
}

/// Sends the files of an import to its end.
pub(super) async fn send(
    ctx: &ClientContext,
    ui: Ui,
    state: &mut State,
    sets: Vec<Vec<Source>>,
) -> CliResult<Sent> {
    let open = state.open(ctx)?;
    let (journal, records) = Journal::open(&state.journal(), open.key())?;
    ctx.client.create_dataset(state.create_call()).await.map_err(|error| {
        let gone = error.code() == Some(ErrorCode::Conflict);
        let said = CliError::from(error);
        if gone { said.hint("--again imports the files as another dataset") } else { said }
    })?;
    if let Some(dataset) = closed_before(ctx, state).await? {
        let kept_bytes = dataset.sealed_bytes;
        return Ok(Sent {
            dataset,
            files: Vec::new(),
            samples: Vec::new(),
            sent_bytes: 0,
            kept_bytes,
        });
    }
    let held = held(ctx, &open, records).await?;
    let way = Arc::new(Way { client: ctx.client.clone(), open, journal: Mutex::new(journal) });

    let total = sets.iter().flatten().map(|source| source.stamp.bytes).sum();
    let bar = ui.progress(total, "sealing and sending");
    let (to, packs) = mpsc::channel(1);
    let reading = tokio::task::spawn_blocking({
        let bar = bar.clone();
        move || read_all(sets, &to, &bar)
    });
    let sent = send_packs(&way, packs, held).await;
    let read = reading.await.map_err(|e| CliError::new("the reading ended").caused_by(e))?;
    bar.finish_and_clear();
    // Sending that failed is why reading stopped; else what reading found counts.
    let landed = sent?;
    let (mut packer, looked) = read?;
    let (mut sent_bytes, mut kept_bytes) = (0, 0);
    for Landed { object, fact, kept } in landed {
        packer.sealed_before(object, fact);
        *(if kept { &mut kept_bytes } else { &mut sent_bytes }) += fact.sealed_bytes;
    }
    let counted: Vec<_> = looked
        .iter()
        .filter_map(|file| {
            let Looked { source, found, .. } = file;
            Some((source.format?, source.read, found.as_ref()?.reads))
        })
        .collect();
    let dataset = close(ctx, state, &way.open, packer, reads(&counted)).await?;
    let mut samples: Vec<String> =
        looked.iter().flat_map(|f| &f.found).flat_map(|found| &found.samples).cloned().collect();
    samples.sort_unstable();
    samples.dedup();
    for file in
        looked.iter().filter(|f| f.found.as_ref().is_some_and(|f| f.end_mark == Some(false)))
    {
        ui.note(format!(
            "note: {}: it has no end-of-file mark; its reads are whole",
            file.source.path.display()
        ));
    }
    let files = looked.into_iter().map(|file| ImportedFile {
        path: file.source.inside,
        bytes: file.bytes,
        sha256: file.sha256,
        format: file.source.format.map(|format| format.to_string()),
        records: file.found.map(|found| found.records),
    });
    Ok(Sent { dataset, files: files.collect(), samples, sent_bytes, kept_bytes })
}

/// What of the journal the hub holds, by the number of the pack.
async fn held(
    ctx: &ClientContext,
    open: &OpenDataset,
    records: Vec<Record>,
) -> CliResult<HashMap<u64, Record>> {
    let ask: Vec<ObjectRef> = records.iter().map(|record| record.fact.object).collect();
    let here: HashMap<ObjectRef, Acknowledged> = ctx
        .client
        .have(open.dataset(), &ask)
        .await?
        .into_iter()
        .map(|answer| (answer.object, answer))
        .collect();
    let is_here = |fact: &SealedFact| here.get(&fact.object).is_some_and(|a| a.hash == fact.hash);
    Ok(records
        .into_iter()
        .filter(|record| is_here(&record.fact))
        .map(|record| (record.pack, record))
        .collect())
}

async fn send_packs(
    way: &Arc<Way>,
    mut packs: mpsc::Receiver<Pack>,
    mut held: HashMap<u64, Record>,
) -> CliResult<Vec<Landed>> {
    let mut flying = JoinSet::new();
    let mut landed = Vec::new();
    let mut number = 0;
    loop {
        let pack = if flying.len() < AT_ONCE { packs.recv().await } else { None };
        let Some(pack) = pack else {
            match flying.join_next().await {
                None => return Ok(landed),
                Some(one) => {
                    let one: CliResult<Landed> =
                        one.map_err(|e| CliError::new("a sender ended").caused_by(e))?;
                    landed.push(one?);
                }
            }
            continue;
        };
        flying.spawn(send_pack(Arc::clone(way), number, pack, held.remove(&number)));
        number += 1;
    }
}

async fn send_pack(
    way: Arc<Way>,
    number: u64,
    pack: Pack,
    before: Option<Record>,
) -> CliResult<Landed> {
    let object = pack.object();
    let sealing = Arc::clone(&way);
    let work = move || -> CliResult<Result<SealedFact, SealedPart>> {
        let plaintext = pack.sha256();
        if let Some(before) = before.filter(|before| before.plaintext == plaintext) {
            return Ok(Ok(before.fact));
        }
        let part = pack.seal(&sealing.open)?;
        let record = Record { pack: number, plaintext, fact: SealedFact::from(&part) };
        let mut journal = sealing.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.append(sealing.open.key(), &[record])?;
        Ok(Err(part))
    };
    let sealed = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| CliError::new("a pack could not be sealed").caused_by(e))??;
    match sealed {
        Ok(fact) => Ok(Landed { object, fact, kept: true }),
        Err(part) => {
            let fact = SealedFact::from(&part);
            way.client.put_object(way.open.dataset(), &octets(part, way.open.epoch())).await?;
            Ok(Landed { object, fact, kept: false })
        }
    }
}

/// The dataset, if the manifest that was signed before a stop was taken, or is taken now.
async fn closed_before(ctx: &ClientContext, state: &mut State) -> CliResult<Option<Dataset>> {
    let Some(Closing { manifest, reads }) = state.closing().cloned() else { return Ok(None) };
    let put = PutManifest { manifest, reads };
    match ctx.client.put_manifest(state.dataset(), &put, false).await {
        Ok(dataset) => Ok(Some(dataset)),
        Err(error)
            if matches!(error.code(), Some(ErrorCode::DigestMismatch | ErrorCode::Conflict)) =>
        {
            state.set_closing(None)?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Closes the dataset with a signed manifest.
async fn close(
    ctx: &ClientContext,
    state: &mut State,
    open: &OpenDataset,
    packer: Packer,
    reads: Option<u64>,
) -> CliResult<Dataset> {
    let id = open.dataset();
    let (files, mut objects) = packer.finish()?;
    for SealedObject { object, hash, sealed_bytes, .. } in ctx.client.objects(id).all().await? {
        objects.insert(object, hash, sealed_bytes);
    }
    let (manifest, parts) =
        dataset::manifest(open, &ctx.hub_id, files, objects, 1, None, ctx.client.now())?;
    for part in parts {
        ctx.client.put_object(id, &octets(part, open.epoch())).await?;
    }
    let manifest = sign_statement(&manifest, &ctx.signing);
    state.set_closing(Some(Closing { manifest: manifest.clone(), reads }))?;
    Ok(ctx.client.put_manifest(id, &PutManifest { manifest, reads }, false).await?)
}

fn octets(part: SealedPart, epoch: u32) -> ObjectBytes {
    ObjectBytes {
        object: part.object,
        hash: part.hash,
        wrapped_key: part.wrapped_key.to_vec(),
        epoch,
        sealed: part.sealed.into(),
    }
}
