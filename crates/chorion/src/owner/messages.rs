//! `chorion identity sign | open`: messages that other programs read, and theirs read here.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use data_encoding::HEXUPPER;
use identity::openpgp::{
    Armored, Certificate, MOST_CERTIFICATE_BYTES, MOST_MESSAGE_BYTES, Message, OpenPgpError,
    Opened, Verdict, armor,
};
use proof::TypedData;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::PersonArgs;
use crate::offline::output::{self, Output};
use crate::report::{CliError, CliResult, Ui};

/// Sign a file with one of your keys
///
/// As others verify it: GnuPG (`gpg --verify`), `ssh-keygen -Y verify -n file`, or an Ethereum wallet's way. The file is not changed.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The file to sign; `-` reads a pipe.
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Where the signature goes; `-` writes to a pipe.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// With which key, in which form.
    #[arg(long = "as", value_enum, default_value_t = Form::OpenPgp)]
    form: Form,
    /// `OpenPGP` as bytes rather than as text.
    #[arg(long)]
    binary: bool,
    /// Replace OUT if it is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    person: PersonArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A detached `OpenPGP` signature.
    #[value(name = "openpgp")]
    OpenPgp,
    /// An `OpenPGP` message that holds the file and the signature.
    #[value(name = "openpgp-inline")]
    OpenPgpInline,
    /// The file as a message (EIP-191), `0x` and 130 digits.
    Ethereum,
    /// The file as typed data (EIP-712), the JSON of `eth_signTypedData_v4`.
    TypedData,
    /// An SSH signature for the namespace `file`.
    Ssh,
}

/// Open a message that was encrypted to you, or verify one that was signed (OpenPGP)
///
/// With `--from`, whose certificates count, there is an OUT only if a signature by one of them is good and none is bad.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// The message, or with `--data` the detached signature; `-` reads a pipe.
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Where the opened message goes; `-` writes to a pipe.
    #[arg(short, long, value_name = "OUT", required_unless_present = "data")]
    output: Option<PathBuf>,
    /// What the detached signature in FILE is about.
    #[arg(long, value_name = "FILE", conflicts_with = "output", requires = "from")]
    data: Option<PathBuf>,
    /// A certificate whose signatures count, as `gpg --export` writes it. Give it once per certificate.
    #[arg(long, value_name = "CERTIFICATE")]
    from: Vec<PathBuf>,
    /// Replace OUT if it is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    person: PersonArgs,
}

pub(super) fn sign(args: &SignArgs, ui: &Ui) -> CliResult {
    let data = read(&args.input, MOST_MESSAGE_BYTES)?;
    let sink = Sink::create(&args.output, args.force)?;
    let person = args.person.open()?;
    let name = args.input.display();
    let refused = |error| CliError::new(format!("{name} was not signed")).caused_by(error);
    let armored = |kind, bytes: Vec<u8>| {
        if args.binary { bytes } else { armor(kind, &bytes).into_bytes() }
    };
    let signed = match args.form {
        Form::OpenPgp => {
            armored(Armored::Signature, person.openpgp(None).sign_detached(&data, now()?))
        }
        Form::OpenPgpInline => {
            armored(Armored::Message, person.openpgp(None).sign_inline(&data, now()?))
        }
        Form::Ethereum => hex_line(&super::keys::ethereum(&person)?.sign_message(&data).to_bytes()),
        Form::TypedData => {
            let text = str::from_utf8(&data)
                .map_err(|error| CliError::new(format!("{name} is not UTF-8")).caused_by(error))?;
            let digest = TypedData::read(text).and_then(|typed| typed.digest()).map_err(refused)?;
            hex_line(&super::keys::ethereum(&person)?.sign_digest(&digest).to_bytes())
        }
        Form::Ssh => person.ssh().sign("file", &data).into_bytes(),
    };
    sink.keep(&signed)?;
    ui.value(&json!({"input": args.input, "output": args.output, "bytes": signed.len()}));
    Ok(())
}

fn hex_line(bytes: &[u8]) -> Vec<u8> {
    format!("0x{}\n", data_encoding::HEXLOWER.encode(bytes)).into_bytes()
}

pub(super) fn open(args: &OpenArgs, ui: &Ui) -> CliResult {
    let now = now()?;
    let name = args.input.display();
    let failed =
        |error: OpenPgpError| CliError::new(format!("{name} was not opened")).caused_by(error);
    let from =
        args.from.iter().map(|path| certificate(path, now)).collect::<CliResult<Vec<_>>>()?;
    let message = Message::read(&read(&args.input, 2 * MOST_MESSAGE_BYTES)?).map_err(failed)?;
    if let Some(data) = &args.data {
        let data = read(data, MOST_MESSAGE_BYTES)?;
        let verdicts = message.verify_detached(&data, &from, now).map_err(failed)?;
        judged(&verdicts, &args.input, true)?;
        say(&verdicts, &from, ui);
        ui.value(&json!({"signatures": shown(&verdicts)}));
        return Ok(());
    }
    let output = args.output.as_deref().unwrap_or_else(|| Path::new("-"));
    let sink = Sink::create(output, args.force)?;
    // Keys are unlocked only for what is encrypted.
    let opened = match message.open(None, &from, now) {
        Err(OpenPgpError::Encrypted) => {
            let keys = args.person.open()?.openpgp(None);
            message.open(Some(&keys), &from, now)
        }
        other => other,
    };
    let Opened { data, encrypted, signatures } = opened.map_err(failed)?;
    judged(&signatures, &args.input, !from.is_empty())?;
    sink.keep(&data)?;
    say(&signatures, &from, ui);
    ui.value(&json!({
        "output": output, "bytes": data.len(), "encrypted": encrypted, "signatures": shown(&signatures),
    }));
    Ok(())
}

/// Whether what was said by signatures is enough to go on.
fn judged(verdicts: &[Verdict], path: &Path, needs_one: bool) -> CliResult {
    let name = path.display();
    for verdict in verdicts {
        if let Verdict::Bad { because } = verdict {
            return Err(CliError::new(format!("a signature of {name} does not count: {because}")));
        }
    }
    if needs_one && !verdicts.iter().any(|verdict| matches!(verdict, Verdict::Good { .. })) {
        return Err(CliError::new(format!(
            "{name} bears no signature by a certificate that was given"
        ))
        .hint("name the signer's certificate with `--from`"));
    }
    Ok(())
}

fn say(verdicts: &[Verdict], from: &[Certificate], ui: &Ui) {
    for verdict in verdicts {
        match verdict {
            Verdict::Good { fingerprint, .. } => {
                let named = from.iter().find(|one| one.fingerprint() == *fingerprint);
                let user_id = named.and_then(Certificate::user_id).unwrap_or("no user id");
                ui.note(format_args!("signed by {} ({user_id:?})", HEXUPPER.encode(fingerprint)));
            }
            Verdict::UnknownKey { key_id } => ui.note(format_args!(
                "signed by an unknown key, {}: that says nothing of who signed",
                HEXUPPER.encode(key_id)
            )),
            Verdict::Bad { because } => ui.note(because),
        }
    }
    if verdicts.is_empty() {
        ui.note("not signed: nothing says who wrote it");
    }
}

fn shown(verdicts: &[Verdict]) -> Vec<Value> {
    let one = |verdict: &Verdict| match verdict {
        Verdict::Good { fingerprint, made } => {
            json!({"good": true, "fingerprint": HEXUPPER.encode(fingerprint), "made": made})
        }
        Verdict::UnknownKey { key_id } => json!({"good": false, "key_id": HEXUPPER.encode(key_id)}),
        Verdict::Bad { because } => json!({"good": false, "because": because}),
    };
    verdicts.iter().map(one).collect()
}

fn certificate(path: &Path, now: u32) -> CliResult<Certificate> {
    Certificate::read(&read(path, MOST_CERTIFICATE_BYTES)?, now).map_err(|error| {
        CliError::new(format!("{} holds no certificate", path.display())).caused_by(error)
    })
}

/// Seconds since 1970, as OpenPGP counts them: until the year 2106.
fn now() -> CliResult<u32> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs());
    since.ok().and_then(|seconds| u32::try_from(seconds).ok()).ok_or_else(|| {
        CliError::new("this machine's clock shows no time that a signature can bear")
            .hint("set the clock")
    })
}

fn read(path: &Path, most: usize) -> CliResult<Zeroizing<Vec<u8>>> {
    let name = path.display();
    let unread = |error| CliError::new(format!("{name} could not be read")).caused_by(error);
    let mut bytes = Zeroizing::new(Vec::new());
    let most = most as u64 + 1;
    let taken = if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).map_err(unread)?.take(most).read_to_end(&mut bytes)
    };
    if taken.map_err(unread)? as u64 == most {
        return Err(CliError::new(format!("{name} has more than {} bytes", most - 1))
            .hint("`chorion seal` and `open` take files of any size"));
    }
    Ok(bytes)
}

/// A pipe, or a file that gets its name when it is whole.
enum Sink {
    Pipe,
    File(Output),
}

impl Sink {
    fn create(path: &Path, force: bool) -> CliResult<Self> {
        if path == Path::new("-") {
            Ok(Self::Pipe)
        } else {
            Output::create(path, output::SECRET, force).map(Self::File)
        }
    }

    fn keep(self, bytes: &[u8]) -> CliResult {
        match self {
            Self::File(output) => output.write_whole(bytes),
            Self::Pipe => {
                let mut out = std::io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| {
                    CliError::new("standard output could not be written").caused_by(error)
                })
            }
        }
    }
}
