//! Where samples and reports go: each file into the packs of its sample's own dataset, within a bound over all of them.

use std::collections::{BTreeMap, HashMap};
use std::io;

use api::{DatasetKind, ProjectId};
use dataset::{OpenFile, PACK_BYTES};
use proof::ReceiptOutput;
use runfolder::{FastqName, Journal, Plan, Report, Sink};

use super::so_far::TakenUp;
use super::{Settings, create, story};
use crate::task::input::Input;
use crate::task::output::{Output, Senders, Version};
use crate::task::{Made, TaskError, Work};

/// Bytes of members that wait, over all files together, until they are long enough to lie in one piece.
const WAITING_BYTES: usize = 64 << 20;
/// A piece that waits no longer.
const LONG_PIECE: usize = 1 << 20;
/// Bytes of packs that are not full yet, over all samples together. Where there are more the fuller ones are sealed as they
/// are: with thousands of samples objects get smaller, and memory does not get larger.
const FILLING_BYTES: usize = 256 << 20;
/// The smallest pack, by what one may hold.
const SMALLEST_PACK: usize = 256 << 10;
/// The name of the result that holds what belongs to no sample.
const REST_NAME: &str = "Undetermined reads and reports";

/// Which output a file belongs to: a sample, or what is no sample's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Sample(String),
    Rest,
}

/// Where samples and reports go.
pub(super) struct Outputs<'w, 'a> {
    work: &'w Work<'a>,
    run: &'w Input,
    senders: &'w Senders,
    settings: &'w Settings,
    made: BTreeMap<Owner, Output>,
    files: HashMap<String, Waiting>,
    pack_bytes: usize,
    /// Bytes of members that wait in `files`, and of packs that are not full yet.
    waiting_bytes: usize,
    filling_bytes: usize,
    /// Files that were taken up unfinished, with their lengths then, until the work goes on with them.
    taken_up: Option<HashMap<String, u64>>,
    /// The error behind an `io::Error` that went through the sink.
    failure: Option<TaskError>,
}

/// An open file and the members that wait to be long enough.
struct Waiting {
    owner: Owner,
    file: OpenFile,
    bytes: Vec<u8>,
}

impl<'w, 'a> Outputs<'w, 'a> {
    pub(super) fn new(
        work: &'w Work<'a>,
        run: &'w Input,
        senders: &'w Senders,
        settings: &'w Settings,
    ) -> Self {
        Self {
            work,
            run,
            senders,
            settings,
            made: BTreeMap::new(),
            files: HashMap::new(),
            pack_bytes: PACK_BYTES,
            waiting_bytes: 0,
            filling_bytes: 0,
            taken_up: None,
            failure: None,
        }
    }

    /// Makes a dataset for every sample of the plan.
    pub(super) fn prepare(&mut self, plan: &Plan) -> Result<(), TaskError> {
        // Twice what each may hold on average: samples differ.
        let pack_bytes = 2 * FILLING_BYTES / (plan.samples.len() + 1);
        self.pack_bytes = pack_bytes.clamp(SMALLEST_PACK, PACK_BYTES);
        for sample in &plan.samples {
            let project = self
                .settings
                .project(sample.sample_project.as_deref(), self.run.key().project())
                .expect("every name maps somewhere because that was checked before");
            let name = sample.sample_name.as_deref().unwrap_or(&sample.sample_id);
            let output = self.create(DatasetKind::Sample, project, name)?;
            self.made.insert(Owner::Sample(sample.sample_id.clone()), output);
        }
        Ok(())
    }

    fn create(
        &self,
        kind: DatasetKind,
        project: ProjectId,
        name: &str,
    ) -> Result<Output, TaskError> {
        let open = create(self.work, self.run, kind, project, name)?;
        Ok(Output::of_packs(open, self.pack_bytes))
    }

    /// The output that a file belongs to; the one for the rest is made when it is first needed.
    fn owner(&mut self, owner: &Owner) -> Result<&mut Output, TaskError> {
        if *owner == Owner::Rest && !self.made.contains_key(owner) {
            let rest = self.create(DatasetKind::Result, self.run.key().project(), REST_NAME)?;
            self.made.insert(Owner::Rest, rest);
        }
        Ok(self.made.get_mut(owner).expect("every sample was prepared, and the rest is made above"))
    }

    fn take(&mut self, name: &FastqName, member: &[u8]) -> Result<(), TaskError> {
        let owner = owner_of(name);
        if !self.files.contains_key(&name.file_name) {
            let file = self.owner(&owner)?.begin(&name.file_name);
            let waiting = Waiting { owner, file, bytes: Vec::new() };
            self.files.insert(name.file_name.clone(), waiting);
        }
        let waiting = self.files.get_mut(&name.file_name).expect("the file was opened above");
        waiting.bytes.extend_from_slice(member);
        self.waiting_bytes += member.len();
        if waiting.bytes.len() >= LONG_PIECE {
            self.write(&name.file_name)?;
        } else if self.waiting_bytes > WAITING_BYTES {
            let held = self.files.iter().map(|(name, waiting)| (name.clone(), waiting.bytes.len()));
            for file_name in fuller(held) {
                self.write(&file_name)?;
            }
        }
        Ok(())
    }

    /// Packs what waits of a file.
    fn write(&mut self, file_name: &str) -> Result<(), TaskError> {
        let Some(waiting) = self.files.get_mut(file_name) else { return Ok(()) };
        let (owner, file) = (waiting.owner.clone(), waiting.file);
        let bytes = std::mem::take(&mut waiting.bytes);
        self.waiting_bytes -= bytes.len();
        self.pack(&owner, file, &bytes)?;
        if self.filling_bytes > FILLING_BYTES {
            let held =
                self.made.iter().map(|(owner, output)| (owner.clone(), output.filling_bytes()));
            for owner in fuller(held) {
                let senders = self.senders;
                let output = self.owner(&owner)?;
                let before = output.filling_bytes();
                output.flush(senders)?;
                self.filling_bytes -= before;
            }
        }
        Ok(())
    }

    fn pack(&mut self, owner: &Owner, file: OpenFile, bytes: &[u8]) -> Result<(), TaskError> {
        let senders = self.senders;
        let output = self.owner(owner)?;
        let before = output.filling_bytes();
        output.write(senders, file, bytes)?;
        let after = output.filling_bytes();
        self.filling_bytes = self.filling_bytes + after - before;
        Ok(())
    }

    fn finish(&mut self, name: &FastqName) -> Result<(), TaskError> {
        if !self.files.contains_key(&name.file_name) {
            self.take(name, &[])?;
        }
        self.write(&name.file_name)?;
        if let Some(Waiting { owner, file, .. }) = self.files.remove(&name.file_name) {
            self.owner(&owner)?.end(file);
        }
        Ok(())
    }

    /// Takes up what an earlier task made of the run while it was arriving.
    pub(super) fn take_up(&mut self, before: &TakenUp<'_>) -> Result<(), TaskError> {
        let mut unfinished = HashMap::new();
        for file in before.files() {
            let copied = before.copy(file, &mut Copied { outputs: self, name: &file.name });
            copied.map_err(|error| self.failure.take().unwrap_or(error))?;
            if file.is_finished {
                self.finish(&file.name)?;
            } else if file.bytes > 0 {
                unfinished.insert(file.name.file_name.clone(), file.bytes);
            }
        }
        self.taken_up = Some(unfinished);
        Ok(())
    }

    /// The error behind one that went through the sink.
    pub(super) fn take_failure(&mut self) -> Option<TaskError> {
        self.failure.take()
    }

    /// Puts a file beside the run's reports.
    pub(super) fn report_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), TaskError> {
        let senders = self.senders;
        self.owner(&Owner::Rest)?.file(senders, path, bytes)
    }

    /// Seals the whole story of a failure beside the run.
    pub(super) fn tell(&mut self, error: &TaskError) -> Result<(), TaskError> {
        self.made.clear();
        self.files.clear();
        (self.waiting_bytes, self.filling_bytes) = (0, 0);
        self.report_file("error.txt", story(error).as_bytes())
    }

    /// Closes every output with its manifest.
    pub(super) fn close(
        self,
        done: Option<&(Plan, Report)>,
        made: &mut Made,
    ) -> Result<(), TaskError> {
        let Self { work, senders, made: outputs, .. } = self;
        for (owner, output) in outputs {
            let reads = match (&owner, done) {
                (Owner::Sample(id), Some((_, report))) => Some(reads_of(report, id)),
                _ => None,
            };
            let dataset = output.key().dataset();
            let version =
                Version { reads, ..Version::first(&work.claimed.hub, work.keys.receipt_key()) };
            let manifest = output.close(&work.hub, senders, version)?;
            made.outputs.push(ReceiptOutput { dataset, manifest });
        }
        Ok(())
    }

    fn keep(&mut self, result: Result<(), TaskError>) -> io::Result<()> {
        result.map_err(|error| {
            let told = io::Error::other(error.to_string());
            self.failure = Some(error);
            told
        })
    }
}

/// A file of a sample as something to write into.
struct Copied<'o, 'w, 'a> {
    outputs: &'o mut Outputs<'w, 'a>,
    name: &'o FastqName,
}

impl io::Write for Copied<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outputs.fastq(self.name, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was taken up is gone on with; samples themselves keep no state, as what this task makes counts only as a whole.
impl Journal for Outputs<'_, '_> {
    fn save(&mut self, _state: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn rewind(&mut self, files: &[(&FastqName, u64)]) -> io::Result<()> {
        // Once: what was sealed cannot be taken back.
        let taken_up = self.taken_up.take();
        let begun = files.iter().filter(|(_, bytes)| *bytes > 0);
        let files: HashMap<String, u64> =
            begun.map(|(name, bytes)| (name.file_name.clone(), *bytes)).collect();
        match taken_up {
            Some(taken_up) if taken_up == files => Ok(()),
            _ => Err(io::Error::other("the run is not the one that was begun with")),
        }
    }
}

impl Sink for Outputs<'_, '_> {
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()> {
        let result = self.take(file, member);
        self.keep(result)
    }

    fn finish_file(&mut self, file: &FastqName) -> io::Result<()> {
        let result = self.finish(file);
        self.keep(result)
    }

    fn report(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let result = self.report_file(path, bytes);
        self.keep(result)
    }
}

/// Those that hold at least as much as the average: together no less than what came last, which is one of them or less than any.
fn fuller<K>(held: impl Iterator<Item = (K, usize)>) -> Vec<K> {
    let held: Vec<(K, usize)> = held.collect();
    let total: usize = held.iter().map(|(_, bytes)| bytes).sum();
    let count = held.len();
    held.into_iter().filter(|(_, bytes)| bytes * count >= total).map(|(key, _)| key).collect()
}

fn owner_of(name: &FastqName) -> Owner {
    if name.undetermined { Owner::Rest } else { Owner::Sample(name.sample_id.clone()) }
}

/// Reads of a sample over all lanes; a pair counts twice.
fn reads_of(report: &Report, sample_id: &str) -> u64 {
    let samples = report.lanes.iter().flat_map(|lane| &lane.samples);
    samples
        .filter(|s| s.sample.is_some() && s.sample_id == sample_id)
        .map(|s| s.reads * s.metrics.len() as u64)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_share_a_bound_of_memory_however_many_and_unlike_they_are() {
        const BOUND: usize = 100_000;
        for (samples, spread) in [(1, 1), (7, 3), (500, 1), (5000, 40)] {
            let mut held = vec![0_usize; samples];
            let (mut written, mut times, mut seed) = (0, 0, 1_u64);
            for _ in 0..20_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(seed >> 33).unwrap() % samples;
                held[at / (1 + at % spread)] += 1 + usize::try_from(seed >> 50).unwrap() % 900;
                if held.iter().sum::<usize>() > BOUND {
                    let all = held.clone().into_iter().enumerate();
                    for at in fuller(all) {
                        written += std::mem::take(&mut held[at]);
                        times += 1;
                    }
                }
                assert!(held.iter().sum::<usize>() <= BOUND);
            }
            // Pieces are no shorter than a share of the bound.
            assert!(written / times >= BOUND / samples, "{samples}: {written} in {times} pieces");
        }
    }
}
