//! `chorion case`: test requests with patients behind them.
//!
//! What is said of a patient comes from a file or standard input and goes to a file or standard output, never through the
//! command line, which other users of the machine can read and shells write down.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use api::{
    AddCases, Case, CaseDocument, CaseField, CaseId, CasePurpose, ConcludeCase, DatasetId,
    MOST_CASES, NewCase, OpenedCase, ProjectId, ReadCase, SearchCases, SearchField, UpdateCase,
};
use clap::{Args, Subcommand, ValueEnum};
use zeroize::Zeroizing;

use crate::case_work::{self, LaunchFromCase, ReviewArgs};
use crate::config::ClientContext;
use crate::people::confirm;
use crate::report::{CliError, CliResult, Ui};

/// How many bytes of cases go into one call: less than the hub takes, whatever the envelope adds.
const CALL_BYTES: usize = 900 * 1024;
/// The longest file that is read.
const FILE_BYTES: u64 = 1 << 30;

/// What can be done about cases.
#[derive(Debug, Subcommand)]
pub(crate) enum CaseCommand {
    /// Add one from a JSON document (`spec/cases.md`).
    Add {
        /// The project, which an organization holds.
        #[arg(long, value_name = "ID")]
        project: ProjectId,
        /// The file; `-` is standard input.
        file: PathBuf,
        /// Samples and results that belong to it.
        #[arg(long, value_name = "ID")]
        link: Vec<DatasetId>,
    },
    /// Add many: JSON, CSV, or GA4GH Phenopackets version 2.
    Import(ImportArgs),
    /// One case: what stands in clear, and what is said of the patient. The read is recorded.
    Show {
        /// Its id.
        case: CaseId,
        #[command(flatten)]
        read: ReadArgs,
    },
    /// Replace its document: read with `show --json`, changed, sent back.
    Update {
        /// Its id.
        case: CaseId,
        /// The new document; `-` is standard input.
        file: PathBuf,
        /// The version from which it was made.
        #[arg(long)]
        version: u32,
    },
    /// Cases of a project: id, status, dates.
    List {
        /// The project.
        #[arg(long, value_name = "ID")]
        project: ProjectId,
    },
    /// Cases whose field has a value, which is asked for or read from standard input.
    Search {
        /// The project.
        #[arg(long, value_name = "ID")]
        project: ProjectId,
        /// The field: one that the organization made searchable.
        #[arg(long)]
        field: SearchField,
        /// What for; it is recorded.
        #[arg(long, default_value = "treatment")]
        purpose: CasePurpose,
    },
    /// Write a case to a file. The read is recorded.
    Export {
        /// Its id.
        case: CaseId,
        /// In which form.
        #[arg(long, value_enum, default_value = "json")]
        format: ExportFormat,
        /// Into this file, which must not be there.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        read: ReadArgs,
    },
    /// Link a sample or result.
    Link {
        /// The case.
        case: CaseId,
        /// The dataset.
        dataset: DatasetId,
    },
    /// Take such a link away; the dataset stays.
    Unlink {
        /// The case.
        case: CaseId,
        /// The dataset.
        dataset: DatasetId,
    },
    /// Launch an app on its samples; the result is linked to it.
    Launch(LaunchFromCase),
    /// The variants of its samples and results beside the phenotypes. The read is recorded.
    Review(ReviewArgs),
    /// Write the conclusion.
    Conclude {
        /// Its id.
        case: CaseId,
        /// A file with the text; `-` is standard input.
        file: PathBuf,
    },
    /// Close it; the organization may want a second person for that.
    Close {
        /// Its id.
        case: CaseId,
    },
    /// Delete it for ever. Its samples and results stay.
    Delete {
        /// Its id.
        case: CaseId,
        /// Its id once more, instead of being asked for it.
        #[arg(long, value_name = "ID")]
        yes: Option<String>,
    },
}

/// Why somebody reads, and what.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// What for; it is recorded: `treatment`, `emergency_treatment`, `operations`, `quality_assurance`, `payment`, `research`,
    /// `public_health`, `patient_request`.
    #[arg(long, default_value = "treatment")]
    purpose: CasePurpose,
    /// Which fields, with commas; all if absent.
    #[arg(long, value_delimiter = ',')]
    fields: Vec<CaseField>,
}

impl ReadArgs {
    pub(crate) fn read(&self) -> ReadCase {
        ReadCase { purpose: self.purpose, fields: self.fields.clone() }
    }
}

/// What is imported.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The project, which an organization holds.
    #[arg(long, value_name = "ID")]
    project: ProjectId,
    /// The file; `-` is standard input.
    file: PathBuf,
    /// Its form; by its name if absent.
    #[arg(long, value_enum)]
    format: Option<ImportFormat>,
    /// Compare with hashes of another system: a file with the salt, beside `--hashes`.
    #[arg(long, value_name = "FILE", requires = "hashes")]
    salt_file: Option<PathBuf>,
    /// A CSV file with the columns `case` (1, 2, …), `field` and `sha256`: SHA-256(salt, value) in hex (`sha256-salt-v0`).
    #[arg(long, value_name = "FILE", requires = "salt_file")]
    hashes: Option<PathBuf>,
    /// Read and check everything, and add nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ImportFormat {
    /// Documents of our own form, or phenopackets: told apart by what is in them.
    Json,
    /// A table with a heading.
    Csv,
    /// GA4GH Phenopackets, version 2.
    Phenopacket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// The case and its document.
    Json,
    /// A FHIR R4 bundle.
    Fhir,
}

/// Reads a file or standard input, up to a bound.
fn bytes(path: &Path) -> CliResult<Zeroizing<Vec<u8>>> {
    let failed = |e| CliError::new(format!("{} cannot be read", path.display())).caused_by(e);
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES {
        return Err(CliError::new(format!("{} is longer than 1 GiB", path.display()))
            .hint("cut it into several files"));
    }
    Ok(bytes)
}

fn text(path: &Path) -> CliResult<Zeroizing<String>> {
    let text = String::from_utf8(bytes(path)?.to_vec());
    text.map(Zeroizing::new)
        .map_err(|_| CliError::new(format!("{} is not UTF-8 text", path.display())))
}

/// One document of our own form.
fn document(path: &Path) -> CliResult<CaseDocument> {
    let wrong = |e| CliError::new(format!("{} is no case", path.display())).caused_by(e);
    let read = cases::import::json(&bytes(path)?).map_err(wrong)?;
    match <[CaseDocument; 1]>::try_from(read.documents) {
        Ok([document]) => Ok(document),
        Err(several) => Err(CliError::new(format!(
            "{} holds {} cases, and this takes one",
            path.display(),
            several.len()
        ))
        .hint("add many with `chorion case import`")),
    }
}

fn row(case: &Case) -> String {
    let closed = case.closed.map(|at| format!("  closed {at}")).unwrap_or_default();
    format!(
        "{}  {:<9}  version {}  {} datasets  changed {}{closed}",
        case.id,
        case.status.as_str(),
        case.version,
        case.datasets.len(),
        case.changed
    )
}

fn shown(ui: Ui, case: &Case) {
    ui.line(row(case));
    ui.value(case);
}

pub(crate) async fn run(command: CaseCommand, ui: Ui) -> CliResult {
    let command = match command {
        CaseCommand::Import(args) => return import(&args, ui).await,
        CaseCommand::Launch(args) => return case_work::launch(args, ui).await,
        CaseCommand::Review(args) => return case_work::review(args, ui).await,
        other => other,
    };
    let ctx = ClientContext::load(ui)?;
    let client = &ctx.client;
    match command {
        CaseCommand::Import(_) | CaseCommand::Launch(_) | CaseCommand::Review(_) => {}
        CaseCommand::Add { project, file, link } => {
            let new = NewCase { id: CaseId::generate(), document: document(&file)? };
            let id = new.id;
            client.add_cases(project, &AddCases { cases: vec![new] }).await?;
            for dataset in link {
                client.link_case(id, dataset).await?;
            }
            let case = client.case(id).await?;
            ui.line(format!("case: {id}"));
            ui.value(&case);
        }
        CaseCommand::Show { case, read } => {
            let opened = client.read_case(case, &read.read()).await?;
            if !ui.json {
                print(ui, &opened);
            }
            ui.value(&opened);
        }
        CaseCommand::Update { case, file, version } => {
            let update = UpdateCase { version, document: document(&file)? };
            shown(ui, &client.update_case(case, &update).await?);
        }
        CaseCommand::List { project } => {
            let all = client.cases(project).all().await?;
            if all.is_empty() {
                ui.line("no cases: add one with `chorion case add --project ID FILE`");
            }
            all.iter().for_each(|case| ui.line(row(case)));
            ui.value(&all);
        }
        CaseCommand::Search { project, field, purpose } => {
            let value = asked_for(field)?;
            let search = SearchCases { field, value: value.to_string(), purpose };
            let found = client.search_cases(project, &search).await?;
            if found.cases.is_empty() {
                ui.line(format!("no case has that `{}`", field.as_str()));
            }
            found.cases.iter().for_each(|case| ui.line(row(case)));
            if found.more {
                ui.line(format!("there are more than {MOST_CASES}: search by another field"));
            }
            ui.value(&found);
        }
        CaseCommand::Export { case, format, output, read } => {
            let opened = client.read_case(case, &read.read()).await?;
            let value = match format {
                ExportFormat::Json => serde_json::to_value(&opened),
                ExportFormat::Fhir => Ok(cases::fhir::bundle(&opened.case, &opened.document)),
            };
            let text = value.and_then(|value| serde_json::to_string_pretty(&value));
            let text = text.map(Zeroizing::new);
            let text = text.map_err(|_| CliError::new("the case does not serialize"))?;
            let written =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&output).and_then(
                    |mut file| {
                        file.write_all(text.as_bytes())?;
                        file.write_all(b"\n")?;
                        file.sync_all()
                    },
                );
            written.map_err(|e| {
                CliError::new(format!("{} cannot be written", output.display())).caused_by(e)
            })?;
            ui.line(format!(
                "written: {}, in clear: keep it as the patient would",
                output.display()
            ));
            ui.value(&serde_json::json!({ "case": case, "output": output }));
        }
        CaseCommand::Link { case, dataset } => shown(ui, &client.link_case(case, dataset).await?),
        CaseCommand::Unlink { case, dataset } => {
            shown(ui, &client.unlink_case(case, dataset).await?);
        }
        CaseCommand::Conclude { case, file } => {
            let conclude = ConcludeCase { conclusion: text(&file)?.trim_end().to_owned() };
            shown(ui, &client.conclude_case(case, &conclude).await?);
        }
        CaseCommand::Close { case } => shown(ui, &client.close_case(case).await?),
        CaseCommand::Delete { case, yes } => {
            let id = case.to_string();
            let sure = match yes {
                Some(given) => given == id,
                None => confirm(&format!("Type {id} to delete this case for ever: "), &id)?,
            };
            if !sure {
                return Err(CliError::new(format!("the deletion of case {id} is not confirmed")));
            }
            let gone = client.delete_case(case).await?;
            ui.line(format!("case {case} is deleted; its {} datasets stay", gone.datasets.len()));
            ui.value(&gone);
        }
    }
    Ok(())
}

/// The value to search for: a line of standard input, asked for where somebody sits there.
fn asked_for(field: SearchField) -> CliResult<Zeroizing<String>> {
    let failed = |e| CliError::new("the value to search for cannot be read").caused_by(e);
    if std::io::stdin().is_terminal() {
        let mut error = anstream::stderr();
        let _unwritable_stderr_changes_nothing = write!(error, "{}: ", field.as_str());
        let _unwritable_stderr_changes_nothing = error.flush();
    }
    let mut line = Zeroizing::new(String::new());
    std::io::stdin().lock().take(64 * 1024).read_line(&mut line).map_err(failed)?;
    let value = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if value.is_empty() {
        return Err(CliError::new(format!("no value of `{}` to search for", field.as_str()))
            .hint("type it, or pipe it in: it does not belong on the command line"));
    }
    Ok(value)
}

/// A case as people read it: only what there is.
fn print(ui: Ui, opened: &OpenedCase) {
    ui.line(row(&opened.case));
    let document = &opened.document;
    let patient = &document.patient;
    let line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            ui.line(format!("{name}: {value}"));
        }
    };
    line("record number", patient.record_number.clone());
    let names = [&patient.given_name, &patient.family_name];
    let name = names.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    line("name", (!name.is_empty()).then_some(name));
    line("born", patient.birth_date.map(|date| date.to_string()));
    line("sex", patient.sex.map(|sex| sex.as_str().to_owned()));
    line("e-mail", patient.email.clone());
    line("telephone", patient.telephone.clone());
    line("postal code", patient.postal_code.clone());
    line("order number", document.order_number.clone());
    line("indication", document.indication.clone());
    for relative in &document.relatives {
        let affected = match relative.affected {
            Some(true) => ", affected",
            Some(false) => ", not affected",
            None => "",
        };
        let names = [&relative.given_name, &relative.family_name];
        let name = names.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        ui.line(format!("{}: {name}{affected}", relative.relation.as_str()));
    }
    for phenotype in &document.phenotypes {
        let not = if phenotype.excluded { "not found: " } else { "" };
        let label = phenotype.label.as_deref().unwrap_or_default();
        ui.line(format!("phenotype: {not}{} {label}", phenotype.term.as_str()));
    }
    for note in &document.notes {
        let at = note.at.map(|at| format!(" ({at})")).unwrap_or_default();
        ui.line(format!("note{at}: {}", note.text));
    }
    for attachment in &document.attachments {
        ui.line(format!("attachment: {} of dataset {}", attachment.name, attachment.dataset));
    }
    line("conclusion", document.conclusion.clone());
    for dataset in &opened.case.datasets {
        ui.line(format!("dataset: {dataset}"));
    }
}

fn form(args: &ImportArgs) -> CliResult<ImportFormat> {
    let by_name = match args.file.extension().and_then(|end| end.to_str()) {
        Some("csv") => Some(ImportFormat::Csv),
        Some("json" | "phenopacket") => Some(ImportFormat::Json),
        _ => None,
    };
    args.format.or(by_name).ok_or_else(|| {
        CliError::new(format!("the form of {} is not known by its name", args.file.display()))
            .hint("say it: `--format json`, `csv` or `phenopacket`")
    })
}

async fn import(args: &ImportArgs, ui: Ui) -> CliResult {
    let form = form(args)?;
    let bytes = bytes(&args.file)?;
    let read = match form {
        ImportFormat::Json => cases::import::any_json(&bytes),
        ImportFormat::Csv => cases::import::table(&bytes),
        ImportFormat::Phenopacket => cases::import::phenopackets(&bytes),
    };
    let read = read.map_err(|e| {
        CliError::new(format!("{} cannot be imported", args.file.display())).caused_by(e)
    })?;
    for left_out in &read.left_out {
        ui.note(format!("warning: {left_out}: a case has no place for it, it is left out"));
    }
    let compared = match (&args.salt_file, &args.hashes) {
        (Some(salt), Some(hashes)) => compare(salt, hashes, &read.documents)?,
        _ => 0,
    };
    let total = read.documents.len();
    let mut added = 0;
    if !args.dry_run {
        let ctx = ClientContext::load(ui)?;
        for batch in batches(read.documents)? {
            let done = ctx.client.add_cases(args.project, &AddCases { cases: batch }).await;
            let done = done.map_err(|e| {
                CliError::from(e).hint(format!("{added} of {total} cases were added before"))
            })?;
            added += done.added;
            if total > MOST_CASES {
                ui.note(format!("{added} of {total} cases"));
            }
        }
    }
    if compared > 0 {
        ui.line(format!("compared: {compared} hashes, all as they should be"));
    }
    ui.line(format!("read: {total} cases, added: {added}"));
    ui.value(&serde_json::json!({
        "read": total, "added": added, "compared": compared, "left_out": read.left_out,
    }));
    Ok(())
}

/// Cuts cases into calls, each with ids of their own.
fn batches(documents: Vec<CaseDocument>) -> CliResult<Vec<Vec<NewCase>>> {
    let mut batches = Vec::new();
    let (mut batch, mut held) = (Vec::new(), 0);
    for document in documents {
        let bytes = serde_json::to_vec(&document).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| CliError::new("a case does not serialize"))?.len() + 100;
        if !batch.is_empty() && (held + bytes > CALL_BYTES || batch.len() == MOST_CASES) {
            batches.push(std::mem::take(&mut batch));
            held = 0;
        }
        batch.push(NewCase { id: CaseId::generate(), document });
        held += bytes;
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    Ok(batches)
}

/// Compares hashes that another system made with the values that are imported; says how many.
fn compare(salt: &Path, hashes: &Path, documents: &[CaseDocument]) -> CliResult<usize> {
    let salt = text(salt)?;
    let salt = salt.trim_end_matches(['\r', '\n']);
    let table = bytes(hashes)?;
    let wrong = |record: usize, why: &str| {
        CliError::new(format!("record {record} of {}: {why}", hashes.display()))
    };
    let mut reader = csv::Reader::from_reader(&**table);
    let mut count = 0;
    for (record, row) in (1..).zip(reader.deserialize::<BTreeMap<String, String>>()) {
        let row = row.map_err(|_| wrong(record, "it is no CSV"))?;
        let cell = |name: &str| row.get(name).map_or("", String::as_str);
        let case = cell("case").parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        let document = case.and_then(|n| documents.get(n));
        let document = document.ok_or_else(|| wrong(record, "there is no such case"))?;
        let field = cell("field").parse::<SearchField>();
        let field = field.map_err(|e| wrong(record, &format!("its field is {e}")))?;
        let value = plain(document, field);
        let value = value.ok_or_else(|| wrong(record, "its case has no such field"))?;
        if !cases::plain_salted(salt, &value).eq_ignore_ascii_case(cell("sha256")) {
            return Err(wrong(record, "the hash is not that of the value and this salt"));
        }
        count += 1;
    }
    Ok(count)
}

/// A field as it was written.
fn plain(document: &CaseDocument, field: SearchField) -> Option<String> {
    let patient = &document.patient;
    match field {
        SearchField::RecordNumber => patient.record_number.clone(),
        SearchField::OrderNumber => document.order_number.clone(),
        SearchField::FamilyName => patient.family_name.clone(),
        SearchField::GivenName => patient.given_name.clone(),
        SearchField::BirthDate => patient.birth_date.map(|date| date.to_string()),
        SearchField::Email => patient.email.clone(),
        SearchField::Telephone => patient.telephone.clone(),
        SearchField::PostalCode => patient.postal_code.clone(),
        SearchField::Sex | SearchField::Phenotype | SearchField::Genotype => None,
    }
}
