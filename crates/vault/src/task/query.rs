//! A typed query is answered in process: the one input is read by range, and the answer is sealed to whom the request names.
//!
//! No program runs and nothing touches a disk, not even memory's: what of the input is not asked for is never opened, beyond the
//! objects that hold it. The answer lies in the result twice sealed: to the asker, and with everything else of the result under
//! the project's key. So a project's other members see that a query was asked and how long its answer is.

use std::io::{self, Write};
use std::sync::Arc;

use api::query::{APP_DIGEST_OF, MOST_ANSWER_BYTES};
use api::{Query, QueryRequest};
use dataset::Ranged;
use genome::query::{Answer, Files, Opened, QueryError, answer};
use proof::{ReceiptOutput, sha256};
use seal::recipient::RecipientKey;
use zeroize::Zeroizing;

use super::input::Input;
use super::output::{Output, Senders, Version};
use super::{Made, TaskError, Work};

/// The purpose that a person states is a sentence or two.
const MOST_PURPOSE_CHARS: usize = 1000;

pub(super) fn run(work: &Work<'_>, made: &mut Made) -> Result<(), TaskError> {
    let claimed = work.claimed.result.as_ref().ok_or(TaskError::Settings { what: "result" })?;
    let result = work.dataset_keys().open(&claimed.key)?;
    let request = Zeroizing::new(result.open_label("launch settings", &claimed.settings)?);
    let request: QueryRequest =
        serde_json::from_slice(&request).map_err(|_| TaskError::Settings { what: "query" })?;
    made.app = Some(sha256(APP_DIGEST_OF.as_bytes()));
    let recipient = RecipientKey::from_bytes(&request.recipient.0)
        .map_err(|_| TaskError::Settings { what: "recipient" })?;
    let purpose = &request.purpose.text;
    if purpose.trim().is_empty() || purpose.chars().count() > MOST_PURPOSE_CHARS {
        return Err(TaskError::Settings { what: "purpose" });
    }

    let asker = api::Digest(recipient.fingerprint());
    let most_bytes =
        work.approved.query(&request, asker)?.unwrap_or(u64::MAX).min(MOST_ANSWER_BYTES);

    let senders = Senders::start(&work.hub);
    let mut output = Output::new(result);
    let dataset = output.key().dataset();
    let given = ask(work, made, &request, most_bytes);
    let seal = |bytes: &[u8]| -> Result<Vec<u8>, TaskError> {
        let mut sealed = Vec::new();
        let to = std::slice::from_ref(&recipient);
        seal::file::seal_file(&mut &*bytes, &mut sealed, to, &mut |_| ())
            .map_err(|source| dataset::DatasetError::Seal { dataset, source })?;
        Ok(sealed)
    };
    match &given {
        Ok((answer, bytes)) => {
            let told = Zeroizing::new(
                serde_json::to_vec(answer)
                    .expect("an answer serializes because it holds texts and finite numbers"),
            );
            output.file(&senders, "answer.json.chorion", &seal(&told)?)?;
            if let Answer::Slice(slice) = answer {
                let path = format!("answer.{}.chorion", slice.format);
                output.file(&senders, &path, &seal(bytes)?)?;
            }
        }
        // Why not may name contigs and samples: it is for the asker alone.
        Err(TaskError::Query { class, detail }) => {
            let why = Zeroizing::new(format!("{class}: {detail}\n"));
            output.file(&senders, "error.txt.chorion", &seal(why.as_bytes())?)?;
        }
        Err(_) => {}
    }
    let version = Version::first(&work.claimed.hub, work.keys.receipt_key());
    let manifest = output.close(&work.hub, &senders, version)?;
    made.outputs.push(ReceiptOutput { dataset, manifest });
    given.map(drop)
}

type Given = (Answer, Zeroizing<Vec<u8>>);

fn ask(
    work: &Work<'_>,
    made: &mut Made,
    request: &QueryRequest,
    most_bytes: u64,
) -> Result<Given, TaskError> {
    let [claimed] = work.claimed.inputs.as_slice() else {
        return Err(TaskError::Settings { what: "input" });
    };
    let input = Arc::new(Input::open(&work.hub, claimed, &work.dataset_keys())?);
    made.inputs.push(ReceiptOutput { dataset: input.dataset(), manifest: input.manifest_digest() });
    work.progress(20);
    if let (Query::Score(ask), Some(scoring)) = (&request.query, &request.scoring)
        && sha256(scoring.as_bytes()) != ask.scoring.sha256
    {
        return Err(TaskError::Query {
            class: "the scoring file is not the one that the query names",
            detail: "its digest is another one".to_owned(),
        });
    }
    let mut bytes = Capped { bytes: Zeroizing::new(Vec::new()), most_bytes };
    let answer = answer(&request.query, request.scoring.as_deref(), &Of(input), &mut bytes)
        .map_err(refused)?;
    work.progress(90);
    Ok((answer, bytes.bytes))
}

/// The reason in words that carry no data, and the whole of it for the asker.
fn refused(error: QueryError) -> TaskError {
    let class = match &error {
        QueryError::Query(_) => "it is not as a query has to be",
        QueryError::NoFile(_) => "the dataset has no such file",
        QueryError::Open { .. } | QueryError::ReadIndex(_) | QueryError::Index { .. } => {
            "a file of the dataset does not open"
        }
        QueryError::Unknown(_) | QueryError::NotOf { .. } => {
            "the file is of a format that it cannot be asked of"
        }
        QueryError::Fault(_) => "the file is not whole",
        QueryError::NoReference(_) => "the CRAM needs its reference",
        QueryError::Write(_) => "the answer is larger than a query may give",
        QueryError::NoContig(_) => "the file has no such contig",
        QueryError::NoSample(_) | QueryError::NoSamples => "the file has no such sample",
        QueryError::Build { .. } => "the builds differ",
        QueryError::Scoring(_) => "the scoring file is not usable",
        QueryError::TooFew { .. } => "too few variants match",
        QueryError::FewSamples(_) => "there are too few samples for a mean",
        QueryError::Twice(_) => "a record is there twice",
    };
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        detail.push_str(": ");
        detail.push_str(&next.to_string());
        cause = next.source();
    }
    TaskError::Query { class, detail }
}

/// The files of the input, each readable by range.
struct Of(Arc<Input>);

impl Files for Of {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Opened>>> {
        let Some(file) = self.0.files().iter().find(|file| file.path == name) else {
            return Ok(None);
        };
        let (input, path) = (Arc::clone(&self.0), file.path.clone());
        let read = move |at: u64, into: &mut [u8]| input.read_at(&path, at, into);
        Ok(Some(Box::new(Ranged::new(file.bytes, read))))
    }
}

/// An answer in memory, no longer than a query may give.
struct Capped {
    bytes: Zeroizing<Vec<u8>>,
    most_bytes: u64,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() as u64 + bytes.len() as u64 > self.most_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
