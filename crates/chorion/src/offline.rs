//! `chorion keygen`, `seal`, `open`, `inspect`: sealed files without a hub, on plain files and pipes (`spec/offline-file.md`).
//!
//! An output has its name only when it is whole. Until then it has no name at all where the system allows that, so that not even
//! a kill leaves a half-opened file behind.

pub(crate) mod keys;
pub(crate) mod output;

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{HumanBytes, ProgressBar};
use seal::file::{self, FileError, SealedFile};
use seal::key_file::{self, Cost};
use seal::recipient::RecipientSecret;
use seal::{OpenError, ReadAt, SealError, Workers, WriteAt};
use serde_json::json;

pub(crate) use self::keys::PassphraseArgs;
use self::output::Output;
use crate::report::{CliError, CliResult, Ui};

/// More threads than this meet at the system's memory management and gain nothing.
const MOST_THREADS: usize = 4;
/// From this size on a second thread is worth its start.
const LARGE_BYTES: u64 = 8 * 1024 * 1024;

/// Make an offline key pair
///
/// Writes the secret key to FILE (only you can read it) and the public string to FILE.pub, and prints the public string. Whoever
/// has the public string can seal files to you; only the secret key opens them. There is no copy: a lost key is lost.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// Where the secret key goes; the public string goes to FILE.pub.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Leave the secret key unprotected: whoever reads FILE has the key.
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
    /// Replace FILE and FILE.pub if they are there. What was sealed to the replaced key cannot be opened any more.
    #[arg(long)]
    force: bool,
}

/// Seal a file to one or more recipients
///
/// The output gets its name when it is whole. Recipients are not named in it, nor is who sealed it.
#[derive(Debug, Args)]
pub(crate) struct SealArgs {
    /// The file to seal; `-` reads a pipe.
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Where the sealed file goes; `-` writes to a pipe.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Who can open it: a public string `chorion1…`, or a file holding one. Give it once per recipient.
    #[arg(long = "to", value_name = "KEY", required = true)]
    to: Vec<String>,
    /// Replace OUT if it is there.
    #[arg(long)]
    force: bool,
}

/// Open a sealed file
///
/// OUT gets its name only when the last segment has opened; if anything was altered or is missing there is no OUT. With `-o -` the
/// bytes leave segment by segment, each after it was verified: what a pipe received before a refusal is a true beginning of what was
/// sealed, and the exit code says that it is not all.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// The sealed file; `-` reads a pipe.
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Where the opened file goes; `-` writes to a pipe.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// The secret key it was sealed to, a file that `chorion keygen` wrote.
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Replace OUT if it is there.
    #[arg(long)]
    force: bool,
}

/// Say what a sealed file claims, without a key
///
/// Nothing of it is proved until the file is opened; a file whose length no sealed file has is refused.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The sealed file; `-` reads a pipe.
    #[arg(value_name = "FILE")]
    input: PathBuf,
}

/// `chorion keygen`
pub(crate) fn keygen(args: KeygenArgs, ui: &Ui) -> CliResult {
    let mut public_path = args.output.clone().into_os_string();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    if is_pipe(&args.output) {
        return Err(CliError::new("a key pair is two files, so it does not go to a pipe")
            .hint("give a file name: `chorion keygen -o my.key`"));
    }
    // Both names are looked at before a passphrase is asked for.
    let secret_file = Output::create(&args.output, output::SECRET, args.force)?;
    let public_file = Output::create(&public_path, output::PUBLIC, args.force)?;

    let random = |error| CliError::new("no key was made").caused_by(error);
    let secret = RecipientSecret::generate().map_err(random)?;
    let text = if args.no_passphrase {
        key_file::write_bare(&secret)
    } else {
        let passphrase = args.passphrase.choose()?;
        key_file::write_locked(&secret, passphrase.as_bytes(), Cost::STANDARD)
            .map_err(|error| CliError::new("no key was made").caused_by(error))?
    };
    let public = secret.public();
    let fingerprint = data_encoding::HEXLOWER.encode(&public.fingerprint());
    secret_file.write_whole(text.as_bytes())?;
    let written =
        public_file.write_whole(format!("# fingerprint: {fingerprint}\n{public}\n").as_bytes());
    if let Err(error) = written {
        return Err(error.hint(format!("the secret key was written: {}", args.output.display())));
    }

    if args.no_passphrase {
        ui.note("warning: the secret key is not protected by a passphrase: whoever reads the file has the key");
    }
    ui.note(format_args!("secret key: {}", args.output.display()));
    ui.note(format_args!("public string, also in {}:", public_path.display()));
    ui.line(&public);
    ui.value(&json!({
        "public": public.to_string(),
        "fingerprint": fingerprint,
        "secret_file": args.output,
        "public_file": public_path,
        "passphrase": !args.no_passphrase,
    }));
    Ok(())
}

/// `chorion seal`
pub(crate) fn seal(args: SealArgs, ui: &Ui) -> CliResult {
    let to = keys::recipients(&args.to)?;
    let input = Input::open(&args.input)?;
    let failed = |error: SealError| {
        let named = CliError::new(format!("{} was not sealed", input.name));
        match error {
            SealError::SourceChanged { .. } => {
                named.caused_by(error).hint("seal it when nothing writes to it any more")
            }
            error => named.caused_by(error),
        }
    };
    let bar = ui.progress(input.bytes.unwrap_or(0), "sealing");
    let sealed = match Sink::open(&args.output, args.force, true)? {
        Sink::Stream(mut writer) => {
            let sealed = file::seal_file(&mut &input.file, &mut writer, &to, &mut following(&bar));
            sealed.map_err(failed)?
        }
        Sink::File(output) => {
            let sealed = match input.bytes {
                Some(bytes) => {
                    let progress = |more| bar.inc(more);
                    let workers = workers(bytes, &progress);
                    file::seal_file_parallel(
                        (&At(&input.file), bytes),
                        &At(output.file()),
                        &to,
                        workers,
                    )
                }
                None => file::seal_file(&mut &input.file, output.file(), &to, &mut following(&bar)),
            };
            let sealed = sealed.map_err(failed)?;
            output.keep()?;
            sealed
        }
    };
    bar.finish_and_clear();
    report_sealed(&sealed, &args, to.len(), ui);
    Ok(())
}

fn report_sealed(sealed: &SealedFile, args: &SealArgs, recipients: usize, ui: &Ui) {
    let SealedFile { id, plain_bytes, sealed_bytes, .. } = sealed;
    let whom =
        if recipients == 1 { "1 recipient".to_owned() } else { format!("{recipients} recipients") };
    if is_pipe(&args.output) {
        ui.note(format_args!("sealed {} for {whom}", HumanBytes(*plain_bytes)));
        return;
    }
    ui.line(format_args!(
        "sealed {} for {whom}: {}",
        HumanBytes(*plain_bytes),
        args.output.display()
    ));
    ui.value(&json!({
        "output": args.output,
        "object": id.to_string(),
        "plain_bytes": plain_bytes,
        "sealed_bytes": sealed_bytes,
        "recipients": recipients,
    }));
}

/// `chorion open`
pub(crate) fn open(args: OpenArgs, ui: &Ui) -> CliResult {
    let input = Input::open(&args.input)?;
    let sink = Sink::open(&args.output, args.force, false)?;
    let secret = keys::identity(&args.identity, &args.passphrase)?;
    let to_pipe = matches!(sink, Sink::Stream(_));
    let failed = |error: FileError| refused(&input.name, error, to_pipe);
    let bar = ui.progress(input.bytes.unwrap_or(0), "opening");
    let plain_bytes = match sink {
        Sink::Stream(mut writer) => {
            let opened =
                file::open_file(&mut &input.file, &mut writer, &secret, &mut following(&bar));
            opened.map_err(failed)?
        }
        Sink::File(output) => {
            let opened = match input.bytes {
                Some(bytes) => {
                    let progress = |more| bar.inc(more);
                    let workers = workers(bytes, &progress);
                    file::open_file_parallel(
                        (&At(&input.file), bytes),
                        &At(output.file()),
                        &secret,
                        workers,
                    )
                }
                None => file::open_file(
                    &mut &input.file,
                    &mut output.file(),
                    &secret,
                    &mut following(&bar),
                ),
            };
            let opened = opened.map_err(failed)?;
            output.keep()?;
            opened
        }
    };
    bar.finish_and_clear();
    if to_pipe {
        ui.note(format_args!("opened {}", HumanBytes(plain_bytes)));
        return Ok(());
    }
    ui.line(format_args!("opened {}: {}", HumanBytes(plain_bytes), args.output.display()));
    ui.value(&json!({ "output": args.output, "plain_bytes": plain_bytes }));
    Ok(())
}

/// The sentence for a file that did not open, and what to do about it.
fn refused(name: &str, error: FileError, to_pipe: bool) -> CliError {
    let hint = match &error {
        FileError::NotAFile => {
            "it may be the wrong file: `chorion inspect` says what a sealed file claims"
        }
        FileError::BareObject => "objects of a store are read through the hub, not one by one",
        FileError::NotForThisKey { .. } => {
            "try another identity, or ask who sealed it to seal it to your public string"
        }
        FileError::UnknownVersion { .. } => "a newer chorion may open it",
        FileError::Object(OpenError::Read(_) | OpenError::Write(_)) => {
            return CliError::new(format!("{name} was not opened")).caused_by(error);
        }
        _ if to_pipe => {
            "what already went to the pipe is a true beginning, not the whole; get the file again from where it came"
        }
        _ => "nothing was written; get the file again from where it came",
    };
    CliError::new(format!("{name} was not opened")).caused_by(error).hint(hint)
}

/// `chorion inspect`
pub(crate) fn inspect(args: InspectArgs, ui: &Ui) -> CliResult {
    let input = Input::open(&args.input)?;
    let failed = |error: FileError| {
        CliError::new(format!("{} was not understood", input.name)).caused_by(error)
    };
    let mut counting = Counting { file: &input.file, bytes: 0 };
    let said = file::inspect(&mut counting).map_err(failed)?;
    let total_bytes = match input.bytes {
        Some(bytes) => bytes,
        None => {
            std::io::copy(&mut counting, &mut std::io::sink())
                .map_err(|error| failed(OpenError::Read(error).into()))?;
            counting.bytes
        }
    };
    let plain_bytes = said.plain_bytes(total_bytes).map_err(|error| failed(error.into()))?;
    let (id, commitment) = (said.prefix.id(), said.prefix.commitment());
    let format = if said.recipients.is_some() { "chorion.file/1" } else { "chorion.object/1" };
    ui.line(format_args!("format:      {format}"));
    match said.recipients {
        Some(recipients) => {
            ui.line(format_args!("recipients:  {recipients}, not named in the file"));
        }
        None => ui.line("recipients:  none: a bare object, its wrapped keys are kept elsewhere"),
    }
    ui.line(format_args!("object:      {id}"));
    ui.line(format_args!("commitment:  {commitment}"));
    ui.line(format_args!("sealed:      {total_bytes} bytes ({})", HumanBytes(total_bytes)));
    ui.line(format_args!("plaintext:   {plain_bytes} bytes ({})", HumanBytes(plain_bytes)));
    ui.note("nothing of this is proved: the file was not opened");
    ui.value(&json!({
        "format": format,
        "recipients": said.recipients,
        "object": id.to_string(),
        "commitment": commitment.to_string(),
        "sealed_bytes": total_bytes,
        "plain_bytes": plain_bytes,
        "proved": false,
    }));
    Ok(())
}

/// Whether a path on the command line means a pipe.
fn is_pipe(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What is read: a file whose length is known, or something that ends when it ends.
struct Input {
    file: File,
    name: String,
    /// Length of a regular file that has one; files that the system makes up as they are read say 0.
    bytes: Option<u64>,
}

impl Input {
    fn open(path: &Path) -> CliResult<Self> {
        if is_pipe(path) {
            let file = std::io::stdin().as_fd().try_clone_to_owned().map(File::from);
            let file =
                file.map_err(|error| CliError::new("standard input is not open").caused_by(error))?;
            return Ok(Self { file, name: "standard input".to_owned(), bytes: None });
        }
        let name = path.display().to_string();
        let unread = |error| CliError::new(format!("{name} could not be read")).caused_by(error);
        let file = File::open(path).map_err(unread)?;
        let metadata = file.metadata().map_err(unread)?;
        if metadata.is_dir() {
            return Err(CliError::new(format!("{name} is a folder"))
                .hint(format!("seal an archive of it: `tar c {name} | chorion seal - …`")));
        }
        let bytes = (metadata.is_file() && metadata.len() > 0).then_some(metadata.len());
        Ok(Self { file, name, bytes })
    }
}

/// Where the result goes.
enum Sink {
    /// A pipe, a device: bytes leave as they come.
    Stream(File),
    /// A file that gets its name at the end.
    File(Output),
}

impl Sink {
    fn open(path: &Path, force: bool, binary: bool) -> CliResult<Self> {
        if is_pipe(path) {
            if binary && std::io::stdout().is_terminal() {
                return Err(CliError::new("sealed bytes are not for a terminal")
                    .hint("give a file with `-o OUT`, or send standard output into one"));
            }
            let file = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
            return file
                .map(Self::Stream)
                .map_err(|error| CliError::new("standard output is not open").caused_by(error));
        }
        match path.metadata() {
            // A named pipe or a device cannot be given its name at the end: it has it.
            Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
                File::options().write(true).open(path).map(Self::Stream).map_err(|error| {
                    CliError::new(format!("{} could not be written", path.display()))
                        .caused_by(error)
                })
            }
            _ => Output::create(path, output::SECRET, force).map(Self::File),
        }
    }
}

fn workers<'a>(bytes: u64, progress: &'a (dyn Fn(u64) + Sync)) -> Workers<'a> {
    let most = if bytes < LARGE_BYTES { 1 } else { MOST_THREADS };
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(most));
    Workers { threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN), progress }
}

/// Moves the bar to what a stream has done; where the length is not known it is what was done.
fn following(bar: &ProgressBar) -> impl FnMut(u64) + '_ {
    |done| {
        if bar.length().is_none_or(|length| length < done) {
            bar.set_length(done);
        }
        bar.set_position(done);
    }
}

/// A file read and written at places.
struct At<'a>(&'a File);

impl ReadAt for At<'_> {
    fn read_at(&self, out: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.0.read_at(out, offset)
    }
}

impl WriteAt for At<'_> {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}

/// A reader that counts.
struct Counting<'a> {
    file: &'a File,
    bytes: u64,
}

impl Read for Counting<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(out)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl Output {
    /// Writes a small file at once and gives it its name.
    pub(crate) fn write_whole(self, bytes: &[u8]) -> CliResult {
        self.file().write_all(bytes).map_err(|error| self.unwritten(error))?;
        self.keep()
    }
}
