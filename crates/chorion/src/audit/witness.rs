//! `chorion audit witness` (`spec/audit-log.md` section 5): a second pair of eyes, best kept by somebody else than the operator.

use std::path::Path;
use std::time::Duration;

use api::{Cosigned, Time};
use clap::Args;
use data_encoding::HEXLOWER;
use proof::SigningKey;
use proof::log::{Checkpoint, SignatureKind, SignedNote, VerifierKey, Witness};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::view::{View, memory};
use crate::config::{ClientContext, read_if_there, write_private};
use crate::report::{CliError, CliResult, Ui};

/// How a witness works.
#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    /// Its name: best a domain or a path of its operator's, as `witness.example/w1`. Fixed at the first time.
    #[arg(long)]
    name: Option<String>,
    /// How often to look, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    every: u64,
    /// Look once and end; the exit code says whether the log continues.
    #[arg(long)]
    once: bool,
}

/// What a witness keeps: its key for all logs, and beside it one file for each log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    name: String,
    seed: Zeroizing<String>,
}

/// What it saw of one log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    log: String,
    checkpoint: String,
}

pub(crate) async fn run(args: WitnessArgs, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let (name, key) = open_key(&ctx.home().join("witness.json"), args.name.as_deref())?;
    let public = VerifierKey::new(&name, SignatureKind::Witness, key.public())
        .map_err(|e| CliError::new(e.to_string()))?;
    ui.note(format!(
        "this witness is {public}\nreaders demand it: chorion audit verify --witness '{public}'"
    ));
    loop {
        let cosigned = look(&ctx, &name, &key, &public).await?;
        ui.line(format!("cosigned {} leaves at {}", cosigned.leaves, cosigned.at));
        if args.once {
            ui.value(&cosigned);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(args.every.max(1))).await;
    }
}

/// What was cosigned.
#[derive(Debug, Serialize)]
struct Looked {
    witness: String,
    leaves: u64,
    at: Time,
}

/// Looks at the log once, and cosigns it if it continues what was seen.
async fn look(
    ctx: &ClientContext,
    name: &str,
    key: &SigningKey,
    public: &VerifierKey,
) -> CliResult<Looked> {
    let refused = |why: String| {
        CliError::new(format!("this witness does not cosign: {why}")).hint(
            "keep its files: what it saw before is signed by the log. Tell the hub's operator and its users",
        )
    };
    let path = memory(ctx.home(), &ctx.hub_id, "witness.json");
    let seen: Option<Seen> = match read_if_there(&path)? {
        Some(bytes) => Some(serde_json::from_slice(&bytes).map_err(|e| {
            CliError::new(format!("{} is no memory of a witness", path.display())).caused_by(e)
        })?),
        None => None,
    };
    let expected = seen.as_ref().map(|seen| seen.log.as_str());
    let mut view = View::open(&ctx.client, &ctx.hub_id, expected)
        .await?
        .map_err(|alarm| refused(alarm.to_string()))?;
    let mut witness = match &seen {
        None => Witness::new(view.log.clone()),
        Some(seen) => {
            let then = seen.checkpoint.parse::<SignedNote>();
            let then: Checkpoint =
                then.and_then(|note| note.checkpoint(&view.log)).map_err(|e| {
                    CliError::new(format!("{} is damaged", path.display())).caused_by(e)
                })?;
            Witness::resume(view.log.clone(), then)
        }
    };
    let then = witness.seen().clone();
    let proof = if then.size == 0 {
        Vec::new()
    } else {
        view.proof(&then, "this witness has").await?.map_err(|alarm| refused(alarm.to_string()))?
    };
    let note: SignedNote =
        view.state.checkpoint.parse::<SignedNote>().map_err(|e| refused(e.to_string()))?;
    let now = Time::now();
    let cosigned =
        witness.cosign(&note, &proof, name, key, now).map_err(|e| refused(e.to_string()))?;
    // On this disk before anybody sees it: a witness that forgets would cosign a fork.
    let seen = Seen { log: view.log.to_string(), checkpoint: view.state.checkpoint.clone() };
    let text = serde_json::to_vec_pretty(&seen)
        .expect("what a witness saw serializes because it holds two texts");
    write_private(&path, &text)?;
    let cosigned = Cosigned { witness: public.to_string(), note: cosigned.to_string() };
    ctx.client.put_cosignature(&cosigned).await?;
    Ok(Looked { witness: public.to_string(), leaves: witness.seen().size, at: now })
}

/// The witness's key, made the first time.
fn open_key(path: &Path, name: Option<&str>) -> CliResult<(String, SigningKey)> {
    let Some(bytes) = read_if_there(path)?.map(Zeroizing::new) else {
        let name = name.ok_or_else(|| {
            CliError::new("this witness has no name yet")
                .hint("name it once: `chorion audit witness --name witness.example/w1`")
        })?;
        let mut seed = Zeroizing::new([0; 32]);
        seal::fill_random(&mut *seed)
            .map_err(|e| CliError::new("the system gives no randomness for a key").caused_by(e))?;
        let file = KeyFile { name: name.to_owned(), seed: Zeroizing::new(HEXLOWER.encode(&*seed)) };
        let key = SigningKey::from_seed(&seed);
        VerifierKey::new(name, SignatureKind::Witness, key.public())
            .map_err(|e| CliError::new(e.to_string()))?;
        let text = Zeroizing::new(
            serde_json::to_vec_pretty(&file)
                .expect("a key file serializes because it holds two texts"),
        );
        write_private(path, &text)?;
        return Ok((file.name, key));
    };
    let damaged = || CliError::new(format!("{} is no key file of a witness", path.display()));
    let file: KeyFile = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    let seed = Zeroizing::new(HEXLOWER.decode(file.seed.as_bytes()).map_err(|_| damaged())?);
    let seed: Zeroizing<[u8; 32]> =
        Zeroizing::new(seed.as_slice().try_into().map_err(|_| damaged())?);
    if name.is_some_and(|name| name != file.name) {
        return Err(CliError::new(format!("this witness is called `{}`", file.name))
            .hint("a key speaks under one name: leave `--name` away, or set CHORION_HOME to another folder"));
    }
    Ok((file.name, SigningKey::from_seed(&seed)))
}
