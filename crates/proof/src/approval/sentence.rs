//! The sentences that a person reads before they approve: computed from the approval's own fields, never received.
//!
//! What the approval holds as a digest (purpose, settings) is shown from the document, and only if it has that digest.
//! Whatever comes from elsewhere is printed with its control and direction-changing characters made visible, since a name
//! that moves the cursor could draw another request than the one that is signed.

use api::{Custodian, Digest, Purpose};
use data_encoding::HEXLOWER;

use super::{
    Act, Approval, ApprovalError, Input, Mode, Output, Program, RunApp, RunQuery, VaultKeys,
    commitment,
};
use crate::{phrase, sha256};

/// The documents that an approval names by digest, in clear.
#[derive(Debug, Clone, Default)]
pub struct Private<'a> {
    /// What it is for.
    pub purpose: Option<&'a Purpose>,
    /// The settings of an app, or the typed query.
    pub document: Option<&'a [u8]>,
    /// What the person calls each dataset, where the device could open the name.
    pub names: &'a [(api::DatasetId, String)],
}

impl Approval {
    /// What a person reads. Each line is one fact of the approval.
    ///
    /// # Errors
    /// A document is missing, or is not the one that the approval names.
    pub fn sentences(&self, private: &Private<'_>) -> Result<Vec<String>, ApprovalError> {
        let other = |what| ApprovalError::Other { what };
        let purpose = private.purpose.filter(|p| commitment(p) == self.purpose);
        let purpose = purpose.ok_or_else(|| other("purpose"))?;
        let mut lines = vec![headline(&self.act)];
        lines.push(format!("purpose: {}", shown(&purpose.text)));
        lines.push(format!("asked for by: account {}", self.requester));
        match &self.act {
            Act::Boot(boot) => {
                lines.push(format!("for task {}", boot.task));
                measurements(&mut lines, "may show", &boot.measurements);
                lines.push(format!("appraised by policy {}", boot.policy));
            }
            Act::App(run) => {
                lines.push(format!("request: {}", phrase(&run.request)));
                match &run.program {
                    Program::App { digest, manifest } => {
                        lines.push(format!("app: {}, digest {digest}", app_name(manifest)));
                    }
                    Program::Demultiplex {} => {
                        lines.push("program: the vault's demultiplexing".into());
                    }
                    Program::Reseal {} => {
                        lines.push("program: writing anew under a new key".into());
                    }
                }
                document(&mut lines, "settings", run.settings, private.document)?;
                reads(&mut lines, &run.inputs, private);
                run.outputs.iter().for_each(|output| writes(&mut lines, output));
                vault(&mut lines, &run.vault);
                if let Some(grant) = run.grant {
                    lines.push(format!("carried out under standing grant {grant}"));
                }
            }
            Act::Query(query) => {
                lines.push(format!("request: {}", phrase(&query.request)));
                document(&mut lines, "query", Some(query.query), private.document)?;
                lines.extend(asks(private.document));
                reads(&mut lines, &query.inputs, private);
                query.outputs.iter().for_each(|output| writes(&mut lines, output));
                lines.push(format!(
                    "the answer, {} bytes at most, goes to the key {}",
                    query.most_answer_bytes,
                    phrase(&query.recipient)
                ));
                vault(&mut lines, &query.vault);
            }
            Act::CodeUpdate(update) => {
                lines.push(format!("release list: {}", update.release));
                measurements(&mut lines, "no longer", &update.remove);
                measurements(&mut lines, "from now on", &update.add);
            }
            Act::Export(export) => {
                reads(&mut lines, std::slice::from_ref(&export.input), private);
                writes(&mut lines, &export.output);
            }
            Act::Share(share) => {
                reads(&mut lines, std::slice::from_ref(&share.input), private);
                lines.push(format!("with account {}", share.account));
                lines.push(format!("whose key is: {}", phrase(&share.recipient)));
                lines.push("what they open they can keep: taking it back needs a re-seal".into());
            }
            Act::Transfer(transfer) => {
                lines
                    .push(format!("project {} goes to account {}", self.project, transfer.account));
                lines.push(format!("whose card key is {}", HEXLOWER.encode(&transfer.owner.0)));
                lines.push(format!("and whose key is: {}", phrase(&transfer.recipient)));
                lines.push(rewritten(transfer.reseal).into());
            }
            Act::Delete(delete) => match delete.dataset {
                Some(dataset) => lines.push(format!("dataset {}", name(private, dataset))),
                None => lines.push(format!("the whole project {}", self.project)),
            },
            Act::CustodianChange(change) => {
                lines.push(format!("from now on the key is held by: {}", holder(change.custodian)));
                lines.push(format!("as card {} says", phrase(&change.card)));
                lines.push(rewritten(change.reseal).into());
            }
            Act::Writer(writer) => {
                lines.push(format!("dataset {}", name(private, writer.dataset)));
                lines.push(format!("as manifest {}", writer.manifest));
                lines.push(format!("was signed by key {}", HEXLOWER.encode(&writer.key.0)));
            }
            Act::StandingGrant(grant) => {
                lines.push(format!("app digest {}", grant.app));
                lines.push(format!("at most {} times, until {}", grant.uses, grant.until));
                lines.push(format!("by device {}", HEXLOWER.encode(&grant.device.0)));
                writes(&mut lines, &grant.into);
                if grant.measurements.is_empty() {
                    lines.push(NOT_CONFIDENTIAL.into());
                }
                measurements(&mut lines, "in vaults that measure", &grant.measurements);
            }
            Act::KeyChange(change) => {
                lines.push(format!("new card key: {}", HEXLOWER.encode(&change.owner.0)));
                lines.push(format!("new key: {}", phrase(&change.recipient)));
                lines.push(rewritten(change.reseal).into());
                lines
                    .push("what the old words could open, whoever has them can have opened".into());
            }
        }
        lines.push(format!("counts once, from {} to {}", self.not_before, self.expires));
        Ok(lines)
    }
}

const NOT_CONFIDENTIAL: &str =
    "NOT CONFIDENTIAL: the vault is unattested, the operator of its machine can read everything";

const fn headline_of(act: &Act) -> &'static str {
    match act {
        Act::Boot(_) => "let a vault start",
        Act::App(_) => "let a program read your data",
        Act::Query(_) => "let a question be answered from your data",
        Act::CodeUpdate(_) => "let other vault programs open the project",
        Act::Export(_) => "EXPORT: let others hold the key of a dataset",
        Act::Share(_) => "let another person open a dataset",
        Act::Transfer(_) => "give the project away",
        Act::Delete(_) => "destroy for ever",
        Act::CustodianChange(_) => "let others hold the key of the whole project",
        Act::Writer(_) => "take what a vault wrote as your own",
        Act::StandingGrant(_) => "let this device approve an app by itself",
        Act::KeyChange(_) => "change your words",
    }
}

fn headline(act: &Act) -> String {
    let lax = match act {
        Act::App(RunApp { outputs, .. }) | Act::Query(RunQuery { outputs, .. }) => {
            outputs.iter().any(|output| output.custodian != Custodian::Owner)
        }
        _ => false,
    };
    let export = if lax { "EXPORT: " } else { "" };
    format!("{export}{}", headline_of(act))
}

fn vault(lines: &mut Vec<String>, vault: &VaultKeys) {
    lines.push(format!(
        "vault: recipient {}, receipt key {}",
        vault.recipient,
        HEXLOWER.encode(&vault.receipt_key.0)
    ));
    match &vault.mode {
        Mode::Snp { measurement, report, .. } => {
            lines.push(format!("attested by AMD SEV-SNP, measurement {}", hex(measurement)));
            lines.push(format!("report {}", hex(report)));
        }
        Mode::Unattested { .. } => lines.push(NOT_CONFIDENTIAL.into()),
    }
}

fn hex(bytes: &api::Bytes) -> String {
    HEXLOWER.encode(&bytes.0)
}

fn measurements(lines: &mut Vec<String>, what: &str, list: &[api::Bytes]) {
    lines.extend(list.iter().map(|one| format!("{what}: measurement {}", hex(one))));
}

fn reads(lines: &mut Vec<String>, inputs: &[Input], private: &Private<'_>) {
    for input in inputs {
        lines.push(format!(
            "reads {}: dataset {}, manifest {}",
            shown(&input.name),
            name(private, input.dataset),
            input.manifest
        ));
    }
}

fn writes(lines: &mut Vec<String>, output: &Output) {
    let what =
        output.dataset.map_or_else(|| "what it finds".to_owned(), |id| format!("dataset {id}"));
    lines.push(format!(
        "writes {what} into project {}, whose key is held by: {}",
        output.project,
        holder(output.custodian)
    ));
    lines.push(format!("of that project's card the words are: {}", phrase(&output.card)));
    if output.custodian != Custodian::Owner {
        lines.push("that is an export: from then on it is as safe as that project is".into());
    }
}

/// What a typed query would give away. One that is not in its one spelling has no such sentence, and no vault answers it.
fn asks(document: Option<&[u8]>) -> Option<String> {
    let text = std::str::from_utf8(document?).ok()?;
    let salted = api::query::SaltedQuery::from_canonical(text).ok()?;
    Some(format!("it would {}", salted.query.sentence()))
}

fn document(
    lines: &mut Vec<String>,
    what: &'static str,
    digest: Option<Digest>,
    document: Option<&[u8]>,
) -> Result<(), ApprovalError> {
    let other = ApprovalError::Other { what };
    match (digest, document) {
        (None, _) => Ok(()),
        (Some(digest), Some(bytes)) if sha256(bytes) == digest => {
            lines.push(format!("{what}: {}", shown(&String::from_utf8_lossy(bytes))));
            Ok(())
        }
        (Some(_), _) => Err(other),
    }
}

fn name(private: &Private<'_>, dataset: api::DatasetId) -> String {
    let found = private.names.iter().find(|(id, _)| *id == dataset);
    found.map_or_else(|| dataset.to_string(), |(id, name)| format!("{} ({id})", shown(name)))
}

/// The name and version in an app's manifest; what cannot be read is said to be so.
fn app_name(manifest: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(manifest).unwrap_or_default();
    let word = |key: &str| value.get(key).and_then(serde_json::Value::as_str).map(shown);
    match (word("name"), word("version")) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        _ => "one whose manifest cannot be read here".to_owned(),
    }
}

const fn holder(custodian: Custodian) -> &'static str {
    match custodian {
        Custodian::Platform => "the operator of the hub, who can read it",
        Custodian::Organization => "an organization, and the hub while it lets it",
        Custodian::Owner => "its owner alone",
    }
}

const fn rewritten(reseal: bool) -> &'static str {
    if reseal {
        "everything is written anew: keys kept from before open nothing of it"
    } else {
        "re-wrap only: whoever kept a key from before opens what it opened"
    }
}

/// A text from elsewhere on one line: what is not plain to see is written out.
fn shown(text: &str) -> String {
    let plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars()
        .map(|c| if plain(c) { c.to_string() } else { c.escape_unicode().to_string() })
        .collect()
}
