//! Reads of a region out of a CRAM. Its codecs are noodles'; which slices are opened, what counts as overlapping and how the answer
//! is written is as for BAM.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use api::query::Region;
use noodles_cram::io::reader::{Builder, Container};
use noodles_fasta::{self as fasta, repository::Adapter};
use noodles_sam::alignment::RecordBuf;
use noodles_sam::alignment::io::Write as _;

use crate::bgzf::{BlockWriter, damaged};
use crate::format::first;
use crate::query::{Found, Opened, QueryError, contig_of};
use crate::reads::Overlap;
use crate::{Fault, buffered};

/// The longest index that is taken, out of its compression.
const MOST_INDEX_BYTES: u64 = 256 * 1024 * 1024;
/// The longest contig of a reference.
const MOST_CONTIG_BYTES: u64 = 1 << 31;

/// A reference sequence: a FASTA and its index (`.fai`), read a contig at a time.
pub(crate) struct Reference {
    contigs: Vec<Contig>,
    from: Mutex<Box<dyn Opened>>,
}

struct Contig {
    name: String,
    bases: u64,
    at: u64,
    line_bases: u64,
    line_bytes: u64,
}

impl Reference {
    /// From the FASTA and the text of its index.
    pub(crate) fn new(from: Box<dyn Opened>, fai: impl Read) -> Result<Self, QueryError> {
        let wrong = || QueryError::Index {
            why: "the index of the reference is not as `samtools faidx` writes it",
        };
        let mut contigs = Vec::new();
        for line in io::BufReader::new(fai.take(MOST_INDEX_BYTES)).lines() {
            let line = line.map_err(QueryError::ReadIndex)?;
            let mut fields = line.split('\t');
            let name = fields.next().filter(|name| !name.is_empty()).ok_or_else(wrong)?.to_owned();
            let mut number = || fields.next().and_then(|f| f.parse::<u64>().ok()).ok_or_else(wrong);
            let (bases, at, line_bases, line_bytes) = (number()?, number()?, number()?, number()?);
            if bases > MOST_CONTIG_BYTES || line_bases == 0 || line_bytes < line_bases {
                return Err(wrong());
            }
            contigs.push(Contig { name, bases, at, line_bases, line_bytes });
        }
        Ok(Self { contigs, from: Mutex::new(from) })
    }

    fn read(&self, contig: &Contig) -> io::Result<Vec<u8>> {
        let lines = contig.bases / contig.line_bases;
        let gap = contig.line_bytes - contig.line_bases;
        let bytes = contig.bases.saturating_add(lines.saturating_mul(gap));
        let mut from = self.from.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        from.seek(SeekFrom::Start(contig.at))?;
        let mut sequence = Vec::new();
        (&mut **from).take(bytes).read_to_end(&mut sequence)?;
        drop(from);
        sequence.retain(u8::is_ascii_graphic);
        sequence.make_ascii_uppercase();
        if sequence.len() as u64 == contig.bases {
            Ok(sequence)
        } else {
            Err(damaged("the reference is not the one of its index"))
        }
    }
}

impl Adapter for Reference {
    fn get(&mut self, name: &[u8]) -> Option<io::Result<fasta::Record>> {
        // A contig that is not there is an error of reading: noodles takes an absence for a mistake of its caller's.
        let Some(contig) = self.contigs.iter().find(|contig| contig.name.as_bytes() == name) else {
            return Some(Err(io::ErrorKind::NotFound.into()));
        };
        Some(self.read(contig).map(|bases| {
            let named = fasta::record::Definition::new(contig.name.as_str(), None);
            fasta::Record::new(named, fasta::record::Sequence::from(bases))
        }))
    }
}

/// No reference was named.
struct NoReference;

impl Adapter for NoReference {
    fn get(&mut self, _: &[u8]) -> Option<io::Result<fasta::Record>> {
        Some(Err(io::ErrorKind::NotFound.into()))
    }
}

/// Where containers begin that hold reads of the region, by a `.crai`.
fn containers(
    crai: impl Read,
    contig: usize,
    region: &Region,
) -> Result<BTreeSet<u64>, QueryError> {
    let wrong =
        || QueryError::Index { why: "the index of the CRAM is not as `samtools index` writes it" };
    let mut crai = crai;
    let mut head = [0; 2];
    let read = first(&mut crai, &mut head);
    let packed = head == [0x1f, 0x8b];
    let from = buffered((&head[..read]).chain(crai));
    let text: Box<dyn Read + '_> =
        if packed { Box::new(flate2::bufread::MultiGzDecoder::new(from)) } else { Box::new(from) };
    let mut found = BTreeSet::new();
    for line in io::BufReader::new(text.take(MOST_INDEX_BYTES)).lines() {
        let line = line.map_err(QueryError::ReadIndex)?;
        let mut fields = line.split('\t').map(str::parse::<i64>);
        let mut number = || fields.next().and_then(Result::ok).ok_or_else(wrong);
        let (reference, start, span, offset) = (number()?, number()?, number()?, number()?);
        if usize::try_from(reference).ok() != Some(contig) {
            continue;
        }
        let start = u64::try_from(start).map_err(|_| wrong())?;
        let span = u64::try_from(span).map_err(|_| wrong())?;
        if start <= region.end && start.saturating_add(span.max(1)) > region.start {
            found.insert(u64::try_from(offset).map_err(|_| wrong())?);
        }
    }
    Ok(found)
}

/// Writes the reads of a CRAM that overlap `region` as BAM. Without an index the whole file is read.
pub(crate) fn slice_cram(
    from: Box<dyn Opened>,
    crai: Option<Box<dyn Opened>>,
    reference: Option<Reference>,
    region: &Region,
    to: &mut dyn Write,
) -> Result<Found, QueryError> {
    // A reader that is not ours may trip over what it was not written for; that is a fault of the file.
    catch_unwind(AssertUnwindSafe(|| slice(from, crai, reference, region, to))).unwrap_or_else(
        |_| Err(Fault::Record { record: 1, why: "its contents are not as CRAM has them" }.into()),
    )
}

fn slice(
    from: Box<dyn Opened>,
    crai: Option<Box<dyn Opened>>,
    reference: Option<Reference>,
    region: &Region,
    to: &mut dyn Write,
) -> Result<Found, QueryError> {
    let without = reference.is_none();
    let sequences = match reference {
        Some(reference) => fasta::Repository::new(reference),
        None => fasta::Repository::new(NoReference),
    };
    let mut from = Builder::default()
        .set_reference_sequence_repository(sequences.clone())
        .build_from_reader(buffered(from));
    let broken = |error| Fault::at(1, error);
    let header = from.read_header().map_err(broken)?;
    let names: Vec<String> =
        header.reference_sequences().keys().map(|name| name.to_string()).collect();
    let contig = contig_of(&names, &region.contig)?;
    let mut wanted = crai.map(|crai| containers(crai, contig, region)).transpose()?;

    let mut head = noodles_bam::io::Writer::from(Vec::new());
    head.write_header(&header).map_err(broken)?;
    let mut out = BlockWriter::new(to);
    out.write_all(head.get_ref()).map_err(QueryError::Write)?;
    let (first, last) = (region.start - 1, region.end - 1);
    let (mut seen, mut written) = (0_u64, 0_u64);
    let mut container = Container::default();
    loop {
        if let Some(wanted) = &mut wanted {
            let Some(at) = wanted.pop_first() else { break };
            from.seek(SeekFrom::Start(at)).map_err(broken)?;
        }
        let at = seen + 1;
        let stopped = |error: io::Error| QueryError::from(Fault::at(at, error));
        if from.read_container(&mut container).map_err(stopped)? == 0 {
            break;
        }
        let compression = container.compression_header().map_err(stopped)?;
        for slice in container.slices() {
            let slice = slice.map_err(stopped)?;
            let (core, external) = slice.decode_blocks().map_err(stopped)?;
            let records = slice
                .records(sequences.clone(), &header, &compression, &core, &external)
                .map_err(|error| {
                    if without && error.kind() == io::ErrorKind::NotFound {
                        QueryError::NoReference(error)
                    } else {
                        stopped(error)
                    }
                })?;
            for record in records {
                let record =
                    RecordBuf::try_from_alignment_record(&header, &record).map_err(stopped)?;
                seen += 1;
                if record.reference_sequence_id() != Some(contig) {
                    continue;
                }
                let mut line = noodles_bam::io::Writer::from(Vec::new());
                line.write_alignment_record(&header, &record).map_err(stopped)?;
                let bytes = line.into_inner();
                let place = Overlap::of(bytes.get(4..).unwrap_or_default(), contig, first, last)
                    .map_err(|why| Fault::Record { record: seen, why })?;
                if place == Overlap::Yes {
                    out.record(&[&bytes]).map_err(QueryError::Write)?;
                    written += 1;
                }
            }
        }
    }
    out.finish().map_err(QueryError::Write)?;
    Ok(Found { records: written, contig: names[contig].clone() })
}
