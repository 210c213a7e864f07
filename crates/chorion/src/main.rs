//! The `chorion` program: every trust domain's part in one binary, chosen by the first word of the command line.

mod app;
mod apps;
mod attest;
mod audit;
mod audit_export;
mod authenticator_pages;
mod backup;
mod block;
mod broker;
mod case;
mod case_work;
mod config;
mod data;
mod demo;
mod demux;
mod device;
mod doctor;
mod download;
mod fields;
mod import;
mod institution;
mod metrics;
mod notice;
mod offline;
mod organization;
mod owner;
mod password;
mod people;
mod project;
mod query;
mod report;
mod send;
mod serve;
mod serve_file;
mod session;
mod store;
mod vault;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::report::{CliError, CliResult, Ui};

/// A vault that stays leaves nothing of its last task in what it freed; everywhere else it is the system's own.
#[global_allocator]
static MEMORY: ::vault::memory::Wiping = ::vault::memory::Wiping;

/// Genomic data where who holds the key is a choice per project, and nobody else can open the data.
#[derive(Debug, Parser)]
#[command(name = "chorion", version, disable_help_subcommand = true)]
struct Cli {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play the whole story on a bundled run of real reads.
    Demo(demo::DemoArgs),
    /// Run the hub.
    Serve(Box<serve::ServeArgs>),
    /// Watch the folder of an instrument, and send its runs while they grow.
    Broker(broker::BrokerArgs),
    /// Enrol a key of this machine at a hub.
    Login(people::LoginArgs),
    /// Who you are at the hub.
    Whoami,
    /// Look at this machine and the hub, and say what to do.
    Doctor(doctor::DoctorArgs),
    /// Invite, list and disable accounts; set your password for the website.
    #[command(subcommand)]
    Account(people::AccountCommand),
    /// Add, list and revoke keys.
    #[command(subcommand)]
    Key(people::KeyCommand),
    /// Instruments: enrol one, revoke one, sign on at one.
    #[command(subcommand)]
    Instrument(device::InstrumentCommand),
    /// Outside apps that have a key of yours.
    #[command(subcommand)]
    Consent(device::ConsentCommand),
    /// Organizations: accounts that belong together, each with a role.
    #[command(subcommand)]
    Org(organization::OrgCommand),
    /// Projects: who holds the key, who belongs to them, how they change hands.
    #[command(subcommand)]
    Project(project::ProjectCommand),
    /// The authenticator for a browser: serve its pages, apart from any hub.
    #[command(subcommand)]
    Authenticator(authenticator_pages::AuthenticatorCommand),
    /// Cases: test requests with patients behind them, sealed under the organization's own key.
    #[command(subcommand)]
    Case(case::CaseCommand),
    /// Answer what others ask of you as the owner of a project.
    Approve(owner::approve::ApproveArgs),
    /// The devices that may approve for you.
    #[command(subcommand)]
    Device(owner::device::DeviceCommand),
    /// Runs: send, watch, list, download, demultiplex again.
    #[command(subcommand)]
    Run(data::RunCommand),
    /// Samples: list, show, download, import, delete.
    #[command(subcommand)]
    Sample(data::SampleCommand),
    /// Results: list, show, download, import, delete.
    #[command(subcommand)]
    Result(data::ResultCommand),
    /// Apps: write one, pack it, try it, register it, launch it.
    #[command(subcommand)]
    App(app::AppCommand),
    /// App sessions: what was launched, and what it printed.
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Notices: what happened that you should see.
    #[command(subcommand)]
    Notice(notice::NoticeCommand),
    /// The store: how the facilities are, and a scrub.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Backups of the hub: make one while it serves, check one, bring one back.
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Callers that were refused too often: list, add and lift blocks.
    #[command(subcommand)]
    Block(block::BlockCommand),
    /// Why a call was refused, and who can give the right.
    Why(block::WhyArgs),
    /// What was done, by whom, to which thing.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Evidence of confidential machines: verify a report.
    #[command(subcommand)]
    Attest(attest::AttestCommand),
    Demux(demux::DemuxArgs),
    #[command(subcommand)]
    Sheet(demux::SheetCommand),
    Metrics(metrics::MetricsArgs),
    Query(query::QueryArgs),
    Keygen(offline::KeygenArgs),
    Seal(offline::SealArgs),
    Open(offline::OpenArgs),
    Inspect(offline::InspectArgs),
    /// Twelve words, from which all keys of a person come: draw, restore, check.
    #[command(subcommand)]
    Words(owner::WordsCommand),
    /// The keys that come of the words: show, sign, open.
    #[command(subcommand)]
    Identity(owner::IdentityCommand),
    /// Vaults: ask one a question, predict what a guest image will be measured as.
    #[command(subcommand)]
    Vault(vault::VaultCommand),
}

fn main() -> ExitCode {
    let words = match serve_file::expand(std::env::args_os().collect(), &Cli::command()) {
        Ok(words) => words,
        Err(error) => {
            Ui { json: false }.note(error);
            return ExitCode::FAILURE;
        }
    };
    let cli = Cli::parse_from(words);
    let ui = Ui { json: cli.json };
    match run(cli.command, ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.note(error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, ui: Ui) -> CliResult {
    match command {
        Command::Demo(args) => demo::run(&args, ui),
        Command::Serve(args) => serve::run(*args, ui),
        Command::Broker(args) => wait(broker::run(args, ui)),
        Command::Login(args) => wait(people::login(args, ui)),
        Command::Whoami => wait(people::whoami(ui)),
        Command::Doctor(args) => wait(doctor::run(args, ui)),
        Command::Account(command) => wait(people::account(command, ui)),
        Command::Key(command) => wait(people::key(command, ui)),
        Command::Instrument(command) => wait(device::instrument(command, ui)),
        Command::Consent(command) => wait(device::consent(command, ui)),
        Command::Org(command) => wait(organization::run(command, ui)),
        Command::Project(command) => wait(project::run(command, ui)),
        Command::Case(command) => wait(case::run(command, ui)),
        Command::Run(command) => wait(data::run(command, ui)),
        Command::Sample(command) => wait(data::sample(command, ui)),
        Command::Result(command) => wait(data::result(command, ui)),
        Command::App(app::AppCommand::Register(args)) => wait(apps::register(args, ui)),
        Command::App(app::AppCommand::List) => wait(apps::list(ui)),
        Command::App(app::AppCommand::Launch(args)) => wait(session::launch(args, ui)),
        Command::App(command) => app::run(command, &ui),
        Command::Session(command) => wait(session::run(command, ui)),
        Command::Notice(command) => wait(notice::run(command, ui)),
        Command::Store(command) => wait(store::run(command, ui)),
        Command::Backup(command) => wait(backup::run(command, ui)),
        Command::Block(command) => wait(block::run(command, ui)),
        Command::Why(args) => wait(block::why(args, ui)),
        Command::Audit(command) => wait(audit::run(command, ui)),
        Command::Attest(command) => attest::run(&command, &ui),
        Command::Demux(args) => demux::run(&args, &ui),
        Command::Sheet(command) => demux::run_sheet(&command, &ui),
        Command::Metrics(args) => metrics::run(&args, &ui),
        Command::Query(args) => query::run(&args, &ui),
        Command::Keygen(args) => offline::keygen(args, &ui),
        Command::Seal(args) => offline::seal(args, &ui),
        Command::Open(args) => offline::open(args, &ui),
        Command::Inspect(args) => offline::inspect(args, &ui),
        Command::Words(command) => owner::words(command, &ui),
        Command::Identity(command) => owner::identity(command, &ui),
        Command::Vault(command) => vault::run(command, ui),
        Command::Authenticator(command) => wait(authenticator_pages::run(command, ui)),
        Command::Approve(args) => wait(owner::approve::run(args, ui)),
        Command::Device(command) => wait(owner::device::run(command, ui)),
    }
}

/// Runs a command that calls the hub.
pub(crate) fn wait(command: impl Future<Output = CliResult>) -> CliResult {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::new("the system gave no threads").caused_by(e))?
        .block_on(command)
}
