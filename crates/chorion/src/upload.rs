//! Plain files become a dataset of their own: an app's package, a reference, a result made elsewhere.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::{CreateDataset, Dataset, DatasetId, DatasetKind, ProjectId, PutManifest};
use client::ObjectBytes;
use dataset::{OpenDataset, PACK_BYTES, Pack, Packer, SealedFact, SealedPart};
use proof::{Card, digest_of, sign_statement};
use tokio::task::JoinSet;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// Packs that are sealed and sent at once.
const AT_ONCE: usize = 4;

/// A file to send: the path inside the dataset, and where it lies.
pub(crate) type Sent = (String, PathBuf);

/// Seals `files` and sends them as a new dataset called `name`; closed and whole when this returns.
pub(crate) async fn upload(
    ctx: &ClientContext,
    ui: Ui,
    kind: DatasetKind,
    project: ProjectId,
    name: &str,
    files: &[Sent],
) -> CliResult<Dataset> {
    let card = ctx.client.card(project).await?;
    let (facts, _signer) = Card::open(&card, project).map_err(|e| {
        CliError::new(format!("the card of project {project} does not hold")).caused_by(e)
    })?;
    let open = OpenDataset::create(DatasetId::generate(), project, digest_of(&card))?;
    let create = CreateDataset {
        id: open.dataset(),
        kind,
        project,
        card_digest: open.card_digest(),
        wrapped_key: open.wrap_to(&facts.recipient.0)?,
        label: open.seal_label("dataset name", name.as_bytes())?,
        settings: None,
        parent: None,
        reads: None,
    };
    ctx.client.create_dataset(&create).await?;

    let total = files.iter().filter_map(|(_, path)| path.metadata().ok()).map(|m| m.len()).sum();
    let bar = ui.progress(total, &format!("sending {name}"));
    let mut sending = Sending {
        ctx,
        open: Arc::new(open),
        packer: Packer::new(PACK_BYTES),
        flying: JoinSet::new(),
    };
    for (inside, path) in files {
        sending.file(inside, path, &bar).await?;
    }
    let dataset = sending.close().await?;
    bar.finish_and_clear();
    Ok(dataset)
}

struct Sending<'a> {
    ctx: &'a ClientContext,
    open: Arc<OpenDataset>,
    packer: Packer,
    flying: JoinSet<CliResult<SealedFact>>,
}

impl Sending<'_> {
    async fn file(&mut self, inside: &str, path: &Path, bar: &indicatif::ProgressBar) -> CliResult {
        let unreadable =
            |e| CliError::new(format!("{} cannot be read", path.display())).caused_by(e);
        let mut from = File::open(path).map_err(unreadable)?;
        let file = self.packer.begin(inside);
        let mut buffer = zeroize::Zeroizing::new(vec![0; 1 << 20]);
        loop {
            let read = from.read(&mut buffer).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            for pack in self.packer.write(file, &buffer[..read])? {
                self.send(pack).await?;
            }
            bar.inc(read as u64);
        }
        self.packer.end(file);
        Ok(())
    }

    async fn send(&mut self, pack: Pack) -> CliResult {
        while self.flying.len() >= AT_ONCE {
            self.landed().await?;
        }
        let (open, client) = (Arc::clone(&self.open), self.ctx.client.clone());
        self.flying.spawn(async move {
            let sealing = Arc::clone(&open);
            let part = tokio::task::spawn_blocking(move || pack.seal(&sealing))
                .await
                .map_err(|e| CliError::new("a pack could not be sealed").caused_by(e))??;
            let fact = SealedFact::from(&part);
            client.put_object(open.dataset(), &octets(part, open.epoch())).await?;
            Ok(fact)
        });
        Ok(())
    }

    async fn landed(&mut self) -> CliResult {
        if let Some(fact) = self.flying.join_next().await {
            let fact = fact.map_err(|e| CliError::new("a sender ended").caused_by(e))??;
            self.packer.sealed(fact);
        }
        Ok(())
    }

    async fn close(mut self) -> CliResult<Dataset> {
        if let Some(pack) = self.packer.flush() {
            self.send(pack).await?;
        }
        while !self.flying.is_empty() {
            self.landed().await?;
        }
        let Self { ctx, open, packer, .. } = self;
        let (files, objects) = packer.finish()?;
        let (manifest, parts) =
            dataset::manifest(&open, &ctx.hub_id, files, objects, 1, None, ctx.client.now())?;
        for part in parts {
            ctx.client.put_object(open.dataset(), &octets(part, open.epoch())).await?;
        }
        let manifest = sign_statement(&manifest, &ctx.signing);
        let manifest = PutManifest { manifest, reads: None };
        Ok(ctx.client.put_manifest(open.dataset(), &manifest, false).await?)
    }
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
