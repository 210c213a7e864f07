//! A dataset is written anew under a new key, so that no key kept from before opens it.

use api::BeginReseal;
use proof::{ProjectCard, ReceiptOutput, digest_of};

use super::input::Input;
use super::output::{Output, Senders, Version};
use super::{Made, TaskError, Work};

/// The labels that lie beside a dataset's objects and are sealed under its key too.
const NAME: &str = "dataset name";
const SETTINGS: &str = "dataset settings";

pub(super) fn run(work: &Work<'_>, made: &mut Made) -> Result<(), TaskError> {
    let claimed = work.claimed.inputs.first().ok_or(TaskError::Settings { what: "input" })?;
    let input = Input::open(&work.hub, claimed, &work.dataset_keys())?;
    let dataset = input.dataset();
    made.inputs.push(ReceiptOutput { dataset, manifest: input.manifest_digest() });

    let old = input.key();
    let card = work.hub.card(old.project())?;
    let (facts, _signer) = ProjectCard::open(&card, old.project())
        .map_err(|source| TaskError::Card { dataset, source })?;
    work.approved.may_write(old.project(), digest_of(&card))?;
    let new = old.next_epoch(digest_of(&card))?;
    let settings = match &work.claimed.settings {
        Some(sealed) => Some(new.seal_label(SETTINGS, &old.open_label(SETTINGS, sealed)?)?),
        None => None,
    };
    let begin = BeginReseal {
        epoch: new.epoch(),
        card_digest: new.card_digest(),
        wrapped_key: new.wrap_to(facts.recipient())?,
        label: new.seal_label(NAME, &old.open_label(NAME, &claimed.label)?)?,
        settings,
    };
    work.hub.begin_reseal(work.config.task, &begin)?;

    let senders = Senders::start(&work.hub);
    let mut output = Output::new(new);
    let total = input.files().iter().map(|f| f.bytes).sum::<u64>().max(1);
    let mut done = 0;
    for file in input.files() {
        let mut sink = FileSink { output: &mut output, senders: &senders, file: None };
        sink.file = Some(sink.output.begin(&file.path));
        input.copy_to(file, &mut sink)?;
        let open = sink.file.expect("the file was opened two lines above");
        output.end(open);
        done += file.bytes;
        work.progress(u8::try_from(done * 99 / total).unwrap_or(99));
    }
    let version = Version {
        hub: &work.claimed.hub,
        number: input.manifest().number + 1,
        previous: Some(input.manifest_digest()),
        at: api::Time::now(),
        key: work.keys.receipt_key(),
        reads: None,
    };
    let manifest = output.close(&work.hub, &senders, version)?;
    made.outputs.push(ReceiptOutput { dataset, manifest });
    Ok(())
}

/// Lets a file of the input flow straight into the output.
struct FileSink<'a> {
    output: &'a mut Output,
    senders: &'a Senders,
    file: Option<dataset::OpenFile>,
}

impl std::io::Write for FileSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let file = self.file.expect("bytes come after the file was opened");
        self.output.write(self.senders, file, bytes).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
