//! `chorion approve export`: a dataset is opened here, and sealed anew into a project whose key others hold.

use api::{DatasetId, ExportDataset, ProjectId, PutManifest, Time};
use authenticator::whole;
use clap::Args;
use client::ObjectBytes;
use dataset::{OpenDataset, Pack, Packer};
use proof::{PublicKey, sign_statement};

use super::approve::{own, sign_act};
use crate::config::ClientContext;
use crate::download::Contents;
use crate::report::{CliError, CliResult, Ui};

const PACK_BYTES: usize = 8 << 20;

/// Copies a dataset into custody that others hold
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Which dataset.
    dataset: DatasetId,
    /// Into which project.
    #[arg(long)]
    into: ProjectId,
    /// Its name there; the same as here unless another is given.
    #[arg(long)]
    name: Option<String>,
    /// It was read and is meant: do not ask back.
    #[arg(long)]
    yes: bool,
}

/// `chorion approve export`
pub(super) async fn run(ctx: &ClientContext, ui: Ui, args: &ExportArgs) -> CliResult {
    let source = ctx.client.dataset(args.dataset).await?;
    let (opened, input) = own(ctx, args.dataset).await?;
    let (signed, _) = ctx.card_to_seal(args.into).await?;
    let hub_key = PublicKey::from_bytes(&ctx.client.whoami().await?.hub.card_key.0)
        .map_err(|e| CliError::new("the hub's key is none").caused_by(e))?;
    let key = ctx.owner()?.approval_key()?;
    let device = ctx.owner()?.device(&ctx.hub_id, &key);
    let copied = device.copy_into(&source, args.into, &signed, &hub_key)?;
    let act = copied.act(input);
    let approval =
        sign_act(ctx, ui, opened.project(), act, "let others hold the key of a dataset").await?;
    if !args.yes && !crate::people::confirm("Let them? Type yes: ", "yes")? {
        return Err(CliError::new(format!("dataset {} was not exported", args.dataset)));
    }
    ctx.client.export(args.dataset, &ExportDataset { approval }).await?;
    let name = match &args.name {
        Some(name) => name.clone().into_bytes(),
        None => opened.open_label("dataset name", &source.label)?,
    };
    ctx.client.create_dataset(&copied.create(&name)?).await?;
    let made = copy(ctx, ui, args.dataset, copied.open()).await?;
    ui.line(format!("dataset {} is in project {} as dataset {}", args.dataset, args.into, made.id));
    ui.line("whoever holds that project's key can read it from here on, and taking it back takes back no copy");
    ui.value(&made);
    Ok(())
}

/// Every file, opened and sealed anew; plaintext passes through memory alone.
async fn copy(
    ctx: &ClientContext,
    ui: Ui,
    from: DatasetId,
    to: &OpenDataset,
) -> CliResult<api::Dataset> {
    let contents = Contents::open(ctx, from).await?;
    let mut packer = Packer::new(PACK_BYTES);
    let paths: Vec<String> = contents.index().files.iter().map(|file| file.path.clone()).collect();
    let bar = ui.progress(contents.index().files.iter().map(|file| file.bytes).sum(), "sealing");
    for path in paths {
        let file = packer.begin(&path);
        let mut full: Vec<Pack> = Vec::new();
        contents
            .read_through(ctx, &path, &bar, |bytes| {
                full.extend(packer.write(file, bytes)?);
                Ok(())
            })
            .await?;
        packer.end(file);
        for pack in full {
            put(ctx, to, pack, &mut packer).await?;
        }
    }
    if let Some(pack) = packer.flush() {
        put(ctx, to, pack, &mut packer).await?;
    }
    bar.finish_and_clear();
    let (files, objects) = packer.finish()?;
    let (manifest, index) =
        dataset::manifest(to, &ctx.hub_id, files, objects, 1, None, whole(Time::now()))?;
    for part in &index {
        send(ctx, to, part).await?;
    }
    let manifest = PutManifest { manifest: sign_statement(&manifest, &ctx.signing), reads: None };
    Ok(ctx.client.put_manifest(to.dataset(), &manifest, false).await?)
}

async fn put(ctx: &ClientContext, to: &OpenDataset, pack: Pack, packer: &mut Packer) -> CliResult {
    let part = pack.seal(to)?;
    send(ctx, to, &part).await?;
    packer.sealed(&part);
    Ok(())
}

async fn send(ctx: &ClientContext, to: &OpenDataset, part: &dataset::SealedPart) -> CliResult {
    let object = ObjectBytes {
        object: part.object,
        sealed: part.sealed.clone().into(),
        hash: part.hash,
        wrapped_key: part.wrapped_key.to_vec(),
        epoch: to.epoch(),
    };
    ctx.client.put_object(to.dataset(), &object).await?;
    Ok(())
}
