//! `chorion serve`: the hub, until it is told to stop.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use hub::{CertificateFiles, HubConfig, KeyServices, Limits, Ready, Relay, StartError};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

use crate::institution::InstitutionArgs;
use crate::report::{CliError, CliResult, Ui};

/// Run the hub: the API over TLS, the store, the database and the tasks, until Ctrl-C.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct ServeArgs {
    /// Options from this file, TOML, named as here without their dashes; what stands on the command line comes before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory; made at the first start.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8470")]
    listen: SocketAddr,
    /// What keeps sealed objects, once for each: a directory, or <s3://BUCKET/PREFIX?endpoint=URL&region=NAME&credentials=FILE>
    /// with keys from that file or from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; two directories inside the data directory
    /// if absent.
    #[arg(long = "facility", value_name = "DIR|URL")]
    facilities: Vec<hub::FacilityAddress>,
    /// The platform's key file, outside the data directory and every facility; `DIR.keys/platform.key` if absent.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A further name of the hub, as HOST or HOST:PORT, once for each.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// An SMTP server that takes mail about notices: smtps://[USER@]HOST[:PORT], or smtp:// for STARTTLS; without TLS only on
    /// this machine.
    #[arg(long, value_name = "URL", requires = "smtp_from")]
    smtp_url: Option<String>,
    /// From whom that mail comes.
    #[arg(long, value_name = "ADDRESS", requires = "smtp_url")]
    smtp_from: Option<String>,
    /// The password of the user in the URL: the first line of this file.
    #[arg(long, value_name = "FILE", requires = "smtp_url")]
    smtp_password_file: Option<PathBuf>,
    /// Certificates to trust for that server, PEM, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "smtp_url")]
    smtp_ca: Option<PathBuf>,
    /// A certificate of your own, PEM, its authority's after it: shown to whoever calls the hub by a name. Both files are read
    /// again when they change.
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// Its key, PEM, readable by the hub's user alone.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
    /// Tell figures for Prometheus at <http://ADDR/metrics>; a loopback address, because it has no TLS and asks for no signature.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Where owners' authenticators are served, once for each: <https://HOST[:PORT]>, or <http://localhost:PORT> on this machine.
    /// Browsers let pages from there call this hub, and no others.
    #[arg(long = "authenticator-origin", value_name = "ORIGIN")]
    authenticators: Vec<String>,
    /// The folder with the pages that open files in the browser, as `make authenticator` builds them; looked for beside this program if
    /// absent. Without them the website names the command line.
    #[arg(long, value_name = "DIR")]
    pages: Option<PathBuf>,
    /// How many tasks may run at once on this machine; 0 runs none here.
    #[arg(long, value_name = "N", default_value_t = 1)]
    vaults: usize,
    /// The program that is started as a vault instead of this one: the guest's vault, on a machine with SEV-SNP, or whatever starts a
    /// guest with it. It gets the same arguments and standard input (`docs/confidential-machines.md`).
    #[arg(long, value_name = "FILE")]
    vault_program: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    institution: InstitutionArgs,
}

/// What the hub takes from callers (`spec/limits.md`).
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Calls a second of one key, in units of 100 µs of work; ten seconds' worth may come at once.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit_key: u32,
    /// Calls a second from one address that are unsigned or do not verify; ten seconds' worth may come at once.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit_address: u32,
    /// An address that stands for many callers (a proxy, a laboratory): it may do ten times as much and is never blocked.
    /// Once for each; this machine's own is always one.
    #[arg(long = "shared-address", value_name = "ADDRESS")]
    shared: Vec<IpAddr>,
    /// How long the first block of a caller lasts; each further one is four times as long, a day at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    block_seconds: u32,
    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    connections: usize,
    /// Connections at once from one address.
    #[arg(long, value_name = "N", default_value_t = 128)]
    connections_per_address: usize,
    /// MiB of bodies in memory at once; one key gets half.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    body_memory: u32,
}

/// The key services of organizations that hold their keys themselves (`spec/organization-keys.md`).
#[derive(Debug, Args)]
#[command(next_help_heading = "Key services of organizations")]
struct KeyArgs {
    /// Where AWS's services answer, instead of AWS itself.
    #[arg(long, value_name = "URL")]
    aws_endpoint: Option<String>,
    /// A file with the token by which AWS knows this machine (web identity), read anew each time.
    #[arg(long, value_name = "FILE")]
    aws_token_file: Option<PathBuf>,
    /// Where tenants of Azure sign in, instead of Microsoft's own address.
    #[arg(long, value_name = "URL")]
    azure_login: Option<String>,
    /// A further domain of vaults of Azure's, with its first dot, once for each.
    #[arg(long = "azure-domain", value_name = "DOMAIN")]
    azure_domains: Vec<String>,
    /// Certificates to trust for key services, PEM, instead of the system's.
    #[arg(long, value_name = "FILE")]
    kms_ca: Option<PathBuf>,
    /// The PKCS #11 module of this machine's hardware security module.
    #[arg(long, value_name = "FILE")]
    pkcs11_module: Option<PathBuf>,
    /// For development: organizations may keep keys in files in this directory.
    #[arg(long, value_name = "DIR")]
    development_keys: Option<PathBuf>,
}

impl From<KeyArgs> for KeyServices {
    fn from(args: KeyArgs) -> Self {
        Self {
            files: args.development_keys,
            pkcs11_module: args.pkcs11_module,
            aws_endpoint: args.aws_endpoint,
            aws_token_file: args.aws_token_file,
            azure_login: args.azure_login,
            azure_domains: args.azure_domains,
            ca_file: args.kms_ca,
            ..Self::default()
        }
    }
}

impl From<LimitArgs> for Limits {
    fn from(args: LimitArgs) -> Self {
        Self {
            key_rate: args.limit_key,
            address_rate: args.limit_address,
            shared: args.shared,
            block_seconds: args.block_seconds,
            connections: args.connections,
            connections_per_address: args.connections_per_address,
            body_mebibytes: args.body_memory,
        }
    }
}

/// What a start says under `--json`.
#[derive(Serialize)]
struct Started {
    url: String,
    hub: String,
    ca_file: PathBuf,
    ca_sha256: String,
    one_time_code: Option<String>,
    code_expires: Option<api::Time>,
}

/// Runs the hub.
pub(crate) fn run(args: ServeArgs, ui: Ui) -> CliResult {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            EnvFilter::try_from_env("CHORION_LOG")
                .unwrap_or_else(|_| EnvFilter::new("warn,hub=info")),
        )
        .init();
    tokio::runtime::Runtime::new()
        .map_err(|e| CliError::new("the program cannot start its threads").caused_by(e))?
        .block_on(serve(args, ui))
}

/// The pages beside this program, as they are built or as they are installed.
fn built_pages() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let beside = program.parent()?;
    let places = ["../web/site", "../share/chorion/site"];
    places.iter().map(|place| beside.join(place)).find(|place| place.join("hashes.txt").is_file())
}

async fn serve(args: ServeArgs, ui: Ui) -> CliResult {
    let vault_program = if args.vaults == 0 {
        None
    } else if args.vault_program.is_some() {
        args.vault_program.clone()
    } else {
        let program = std::env::current_exe();
        Some(program.map_err(|e| CliError::new("the program does not find itself").caused_by(e))?)
    };
    let relay = relay(&args)?;
    let institution = args.institution.read()?;
    let certificate = args.certificate.zip(args.certificate_key);
    let config = HubConfig {
        institution,
        certificate: certificate.map(|(certificate, key)| CertificateFiles { certificate, key }),
        metrics: args.metrics,
        data: args.data,
        listen: args.listen,
        facilities: args.facilities,
        key_file: args.key_file,
        names: args.names,
        vault_program,
        vaults: args.vaults,
        limits: args.limits.into(),
        relay,
        key_services: args.keys.into(),
        authenticator_origins: args.authenticators,
        pages: args.pages.or_else(built_pages),
    };
    let stopped = |e| CliError::new("the program cannot wait for signals").caused_by(e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(stopped)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(stopped)?;
    let (ready, started) = oneshot::channel();
    let mut serving = std::pin::pin!(hub::serve(config, ready));
    let started = tokio::select! {
        ended = &mut serving => return ended.map_err(refused),
        started = started => started,
    };
    // The sender goes only with the hub, whose end then says why.
    let Ok(started) = started else { return serving.await.map_err(refused) };
    say(&started, &ui);
    let told = tokio::select! {
        ended = &mut serving => return ended.map_err(refused),
        _ = interrupt.recv() => "interrupt",
        _ = terminate.recv() => "terminate",
    };
    ui.note(format!("{told}: calls under way end, then the hub stops"));
    started.stop.stop();
    serving.await.map_err(refused)
}

/// The SMTP server that the arguments name.
fn relay(args: &ServeArgs) -> CliResult<Option<Relay>> {
    let (Some(url), Some(from)) = (&args.smtp_url, &args.smtp_from) else { return Ok(None) };
    let password = args.smtp_password_file.as_deref().map(|path| {
        let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|e| {
            CliError::new(format!("{} cannot be read", path.display())).caused_by(e)
        })?;
        Ok::<_, CliError>(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
    });
    let relay = Relay::new(url, from, password.transpose()?, args.smtp_ca.as_deref());
    relay.map(Some).map_err(|e| CliError::new(e.to_string()))
}

fn say(started: &Ready, ui: &Ui) {
    ui.line(format!("hub      {}", started.hub));
    ui.line(format!("address  {}", started.url));
    ui.line(format!("CA       {}", started.ca_file.display()));
    ui.line(format!("SHA-256  {}", started.ca_fingerprint));
    if let Some((code, expires)) = &started.code {
        ui.line(format!(
            "\nfirst key: chorion login --hub {} --ca {} --code {code}",
            started.url,
            started.ca_file.display()
        ));
        ui.line(format!("           the code counts once, until {expires:.0}"));
    }
    ui.value(&Started {
        url: started.url.clone(),
        hub: started.hub.clone(),
        ca_file: started.ca_file.clone(),
        ca_sha256: started.ca_fingerprint.clone(),
        one_time_code: started.code.as_ref().map(|(code, _)| code.clone()),
        code_expires: started.code.as_ref().map(|(_, expires)| *expires),
    });
}

pub(crate) fn refused(error: StartError) -> CliError {
    let mut told = CliError::new(error.to_string());
    if let Some(cause) = std::error::Error::source(&error) {
        told = told.caused_by(cause);
    }
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}
