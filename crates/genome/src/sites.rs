//! Sites and genotypes, one at a time, whatever file they stand in: VCF, BCF, or a text of genotypes.
//!
//! [`Sites::advance`] goes to the next record and says where it lies; only [`Sites::decode`] looks further, at the samples that are
//! asked for. So a slice copies records as they were written, and a score of one person in a file of many reads one column.

use std::io::{Read, Write};

use api::query::GenomeBuild;

use crate::bcf;
use crate::bgzf::{BlockWriter, Blocks};
use crate::consumer;
use crate::index::{Index, merged};
use crate::lines::{Lines, MOST_LINE_BYTES};
use crate::query::{Opened, QueryError, contig_of};
use crate::variants;
use crate::walk::Walk;
use crate::{Fault, Format, Packing, buffered};

/// The longest header.
const MOST_HEADER_BYTES: usize = 256 * 1024 * 1024;

pub(crate) const COLUMNS: &str = "it has not the columns that its format wants";
const POSITION: &str = "its position is no number";
const GENOTYPE: &str = "a genotype is none";
const PLOIDY: &str = "a genotype has more than two alleles, which is not read here";

/// Where a record lies, counted from 1, both ends included.
#[derive(Debug, Default, Clone)]
pub(crate) struct Spot {
    pub(crate) contig: String,
    pub(crate) position: u64,
    pub(crate) end: u64,
}

/// A genotype.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Call {
    /// By number: 0 is the reference, nothing is missing.
    pub(crate) alleles: [Option<u16>; 2],
    /// How many of them there are; 0 where the file says nothing.
    pub(crate) copies: u8,
    pub(crate) phased: bool,
    /// Estimated copies of each alternate allele, where that is read and there.
    pub(crate) dosages: Vec<f64>,
}

impl Call {
    /// The alleles, if none is missing.
    pub(crate) fn called(&self) -> Option<&[Option<u16>]> {
        let alleles = &self.alleles[..usize::from(self.copies)];
        (!alleles.is_empty() && alleles.iter().all(Option::is_some)).then_some(alleles)
    }

    /// How many copies of allele `number` there are, if none is missing.
    pub(crate) fn copies_of(&self, number: u16) -> Option<u8> {
        let alleles = self.called()?;
        Some(u8::try_from(alleles.iter().filter(|a| **a == Some(number)).count()).unwrap_or(2))
    }
}

/// A record.
#[derive(Debug, Default)]
pub(crate) struct Site {
    /// Its names.
    pub(crate) ids: Vec<String>,
    /// The reference allele; empty where the file does not know it.
    pub(crate) reference: String,
    pub(crate) alternates: Vec<String>,
    /// One for each sample that was asked for.
    pub(crate) calls: Vec<Call>,
}

impl Site {
    /// The number of an allele.
    pub(crate) fn allele(&self, bases: &str) -> Option<u16> {
        if !self.reference.is_empty() && self.reference.eq_ignore_ascii_case(bases) {
            return Some(0);
        }
        let at = self.alternates.iter().position(|a| a.eq_ignore_ascii_case(bases))?;
        u16::try_from(at + 1).ok()
    }

    /// The bases of an allele.
    pub(crate) fn bases(&self, number: u16) -> &str {
        match number.checked_sub(1) {
            None => &self.reference,
            Some(at) => self.alternates.get(usize::from(at)).map_or("", String::as_str),
        }
    }
}

/// A file of sites, open at a record or before the first.
pub(crate) struct Sites {
    source: Source,
    walk: Walk,
    index: Option<Index>,
    /// The header as it stands.
    header: Vec<u8>,
    samples: Vec<String>,
    build: Option<GenomeBuild>,
    /// The record at hand.
    record: Vec<u8>,
    pub(crate) seen: u64,
}

enum Source {
    Text(Lines<Box<dyn Read>>),
    Blocks(Blocks<std::io::BufReader<Box<dyn Opened>>>),
    Bcf(Blocks<std::io::BufReader<Box<dyn Opened>>>, bcf::Dictionary),
    Consumer(Lines<Box<dyn Read>>),
}

impl Sites {
    /// Opens a file at its first record. `index` serves BGZF alone.
    pub(crate) fn open(
        from: Box<dyn Opened>,
        format: Format,
        index: Option<Index>,
    ) -> Result<Self, QueryError> {
        let packed = |from: Box<dyn Opened>| -> Box<dyn Read> {
            Box::new(flate2::bufread::MultiGzDecoder::new(buffered(from)))
        };
        let source = match format {
            Format::Vcf(Packing::Plain) => Source::Text(Lines::new(Box::new(from))),
            Format::Vcf(Packing::Gzip) => Source::Text(Lines::new(packed(from))),
            Format::Vcf(Packing::Bgzf) => Source::Blocks(Blocks::new(buffered(from))),
            Format::Bcf => Source::Bcf(Blocks::new(buffered(from)), bcf::Dictionary::default()),
            Format::Genotypes(Packing::Plain) => Source::Consumer(Lines::new(Box::new(from))),
            Format::Genotypes(_) => Source::Consumer(Lines::new(packed(from))),
            other => {
                return Err(QueryError::NotOf {
                    format: other,
                    wanted: "VCF, BCF or a text of genotypes",
                });
            }
        };
        let mut sites = Self {
            source,
            walk: Walk::whole(),
            index,
            header: Vec::new(),
            samples: Vec::new(),
            build: None,
            record: Vec::new(),
            seen: 0,
        };
        sites.read_header()?;
        Ok(sites)
    }

    fn read_header(&mut self) -> Result<(), QueryError> {
        let broken = |error| Fault::at(1, error);
        if let Source::Bcf(from, dictionary) = &mut self.source {
            let text = bcf::header(from)?;
            self.header.clone_from(&text);
            let text = &text[9..];
            let text = text.strip_suffix(b"\0").unwrap_or(text);
            *dictionary = bcf::Dictionary::of(text);
            for line in text.split(|byte| *byte == b'\n') {
                self.build = self.build.or_else(|| build_of(line));
                if line.starts_with(b"#CHROM\t") {
                    self.samples = variants::titles(line)?.0;
                }
            }
            return Ok(());
        }
        loop {
            let line = match &mut self.source {
                Source::Text(lines) | Source::Consumer(lines) => {
                    lines.next().map_err(broken)?.map(|line| line.text.to_vec())
                }
                Source::Blocks(blocks) => {
                    let there = blocks.line(&mut self.record, MOST_LINE_BYTES).map_err(broken)?;
                    there.then(|| self.record.clone())
                }
                Source::Bcf(..) => unreachable!("its header was read above"),
            };
            let line = line.ok_or(Fault::Cut { record: 1 })?;
            if self.header.len() + line.len() > MOST_HEADER_BYTES {
                return Err(Fault::Header("it is longer than 256 MiB").into());
            }
            if matches!(self.source, Source::Consumer(_)) {
                self.build = self.build.or_else(|| consumer::build_of(&line));
                if consumer::is_titles(&line) {
                    self.samples = vec![consumer::SAMPLE.to_owned()];
                    return Ok(());
                }
                if !line.starts_with(b"#") {
                    return Err(Fault::Header("the line of column titles is missing").into());
                }
                continue;
            }
            if self.header.is_empty() && !line.starts_with(b"##fileformat=VCF") {
                return Err(Fault::Header("its first line is not ##fileformat=VCF").into());
            }
            self.header.extend_from_slice(&line);
            self.header.push(b'\n');
            if line.starts_with(b"##") {
                self.build = self.build.or_else(|| build_of(&line));
                continue;
            }
            self.samples = variants::titles(&line)?.0;
            return Ok(());
        }
    }

    /// The samples of the file, in its order.
    pub(crate) fn samples(&self) -> &[String] {
        &self.samples
    }

    /// The build, if the header tells it by the lengths of contigs.
    pub(crate) const fn build(&self) -> Option<GenomeBuild> {
        self.build
    }

    /// Whether the file knows which allele is the reference.
    pub(crate) const fn knows_reference(&self) -> bool {
        !matches!(self.source, Source::Consumer(_))
    }

    /// From now on only records that may overlap one of these, where an index tells them; else every record still comes.
    pub(crate) fn narrow(&mut self, regions: &[Spot]) -> Result<(), QueryError> {
        let Some(index) = &self.index else { return Ok(()) };
        let contigs = match (&self.source, index.names()) {
            (Source::Blocks(_), Some(names)) => names.to_vec(),
            (Source::Bcf(_, dictionary), _) => dictionary.contigs().to_vec(),
            _ => return Ok(()),
        };
        let mut chunks = Vec::new();
        for region in regions {
            // A contig without records is in no index.
            if let Ok(contig) = contig_of(&contigs, &region.contig) {
                chunks.extend(index.chunks(contig, region.position, region.end));
            }
        }
        self.walk = Walk::over(merged(chunks));
        Ok(())
    }

    /// Goes to the next record; false at the end.
    pub(crate) fn advance(&mut self, spot: &mut Spot) -> Result<bool, QueryError> {
        let record = self.seen + 1;
        let stopped = |error| QueryError::from(Fault::at(record, error));
        let there = match &mut self.source {
            Source::Text(lines) | Source::Consumer(lines) => match lines.next().map_err(stopped)? {
                Some(line) if line.ended => {
                    self.record.clear();
                    self.record.extend_from_slice(line.text);
                    true
                }
                Some(_) => return Err(Fault::Cut { record }.into()),
                None => false,
            },
            Source::Blocks(blocks) => {
                self.walk.next(blocks).map_err(stopped)?
                    && blocks.line(&mut self.record, MOST_LINE_BYTES).map_err(stopped)?
            }
            Source::Bcf(blocks, _) => {
                self.walk.next(blocks).map_err(stopped)?
                    && bcf::record(blocks, &mut self.record).map_err(stopped)?
            }
        };
        if !there {
            return Ok(false);
        }
        self.seen = record;
        let wrong = |why| QueryError::from(Fault::Record { record, why });
        match &self.source {
            Source::Text(_) | Source::Blocks(_) => vcf_spot(&self.record, spot).map_err(wrong)?,
            Source::Bcf(_, dictionary) => dictionary.spot(&self.record, spot).map_err(wrong)?,
            Source::Consumer(_) => consumer::spot(&self.record, spot).map_err(wrong)?,
        }
        Ok(true)
    }

    /// What the record at hand says, with the genotypes of the samples in `columns`.
    pub(crate) fn decode(
        &self,
        columns: &[usize],
        dosages: bool,
        site: &mut Site,
    ) -> Result<(), QueryError> {
        match &self.source {
            Source::Text(_) | Source::Blocks(_) => vcf_site(&self.record, columns, dosages, site),
            Source::Bcf(_, dictionary) => {
                dictionary.site(&self.record, self.samples.len(), columns, dosages, site)
            }
            Source::Consumer(_) => consumer::site(&self.record, site),
        }
        .map_err(|why| Fault::Record { record: self.seen, why }.into())
    }

    /// Writes every record that overlaps the region, under the file's header, packed as BGZF. Gives how many.
    pub(crate) fn slice(&mut self, region: &Spot, to: &mut dyn Write) -> Result<u64, QueryError> {
        self.narrow(std::slice::from_ref(region))?;
        let mut out = BlockWriter::new(to);
        out.write_all(&self.header).map_err(QueryError::Write)?;
        let (mut spot, mut written) = (Spot::default(), 0);
        while self.advance(&mut spot)? {
            if same_contig(&spot.contig, &region.contig)
                && spot.position <= region.end
                && spot.end >= region.position
            {
                let end: &[u8] = if matches!(self.source, Source::Bcf(..)) { b"" } else { b"\n" };
                out.record(&[&self.record, end]).map_err(QueryError::Write)?;
                written += 1;
            }
        }
        out.finish().map_err(QueryError::Write)?;
        Ok(written)
    }
}

/// The name of a contig without the `chr` that some files put before it; the mitochondrion has two names.
pub(crate) fn plain_contig(name: &str) -> &str {
    let plain = name.strip_prefix("chr").filter(|rest| !rest.is_empty()).unwrap_or(name);
    if plain == "M" { "MT" } else { plain }
}

/// Whether two names mean one contig.
pub(crate) fn same_contig(a: &str, b: &str) -> bool {
    plain_contig(a) == plain_contig(b)
}

/// Lengths by which a build is known (Genome Reference Consortium, `GRCh37` and `GRCh38` primary assemblies).
const LENGTHS: [(&str, u64, u64); 23] = [
    ("1", 249_250_621, 248_956_422),
    ("2", 243_199_373, 242_193_529),
    ("3", 198_022_430, 198_295_559),
    ("4", 191_154_276, 190_214_555),
    ("5", 180_915_260, 181_538_259),
    ("6", 171_115_067, 170_805_979),
    ("7", 159_138_663, 159_345_973),
    ("8", 146_364_022, 145_138_636),
    ("9", 141_213_431, 138_394_717),
    ("10", 135_534_747, 133_797_422),
    ("11", 135_006_516, 135_086_622),
    ("12", 133_851_895, 133_275_309),
    ("13", 115_169_878, 114_364_328),
    ("14", 107_349_540, 107_043_718),
    ("15", 102_531_392, 101_991_189),
    ("16", 90_354_753, 90_338_345),
    ("17", 81_195_210, 83_257_441),
    ("18", 78_077_248, 80_373_285),
    ("19", 59_128_983, 58_617_616),
    ("20", 63_025_520, 64_444_167),
    ("21", 48_129_895, 46_709_983),
    ("22", 51_304_566, 50_818_468),
    ("X", 155_270_560, 156_040_895),
];

/// The build that a header line `##contig=<ID=…,length=…>` gives away.
fn build_of(line: &[u8]) -> Option<GenomeBuild> {
    let fields = line.strip_prefix(b"##contig=<")?;
    let name = std::str::from_utf8(attribute(fields, b"ID")?).ok()?;
    let length: u64 = std::str::from_utf8(attribute(fields, b"length")?).ok()?.parse().ok()?;
    let known = LENGTHS.iter().find(|(contig, ..)| *contig == plain_contig(name))?;
    match length {
        length if length == known.1 => Some(GenomeBuild::Grch37),
        length if length == known.2 => Some(GenomeBuild::Grch38),
        _ => None,
    }
}

/// The value of `KEY=value` among fields between commas, some of which are quoted.
pub(crate) fn attribute<'a>(fields: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (mut from, mut quoted) = (0, false);
    for at in 0..=fields.len() {
        let byte = fields.get(at).copied();
        match byte {
            Some(b'"') => quoted = !quoted,
            Some(b',' | b'>') | None if !quoted || byte.is_none() => {
                let field = &fields[from..at];
                if let Some(value) = field.strip_prefix(key).and_then(|v| v.strip_prefix(b"=")) {
                    return Some(value);
                }
                if byte == Some(b'>') {
                    return None;
                }
                from = at + 1;
            }
            _ => {}
        }
    }
    None
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn vcf_spot(line: &[u8], spot: &mut Spot) -> Result<(), &'static str> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let mut field = || fields.next().ok_or(COLUMNS);
    let (contig, position, _id, reference) = (field()?, field()?, field()?, field()?);
    let (_alt, _quality, _filter, info) = (field()?, field()?, field()?, field()?);
    let position = std::str::from_utf8(position).ok().and_then(|p| p.parse().ok());
    let position: u64 = position.ok_or(POSITION)?;
    spot.contig.clear();
    spot.contig.push_str(&String::from_utf8_lossy(contig));
    spot.position = position;
    spot.end = position.saturating_add((reference.len() as u64).max(1) - 1);
    let end = info.split(|byte| *byte == b';').find_map(|field| field.strip_prefix(b"END="));
    let end: Option<u64> = end.and_then(|end| std::str::from_utf8(end).ok()?.parse().ok());
    // An end before the beginning counts for nothing, as in htslib.
    if let Some(end) = end.filter(|end| *end >= position) {
        spot.end = end;
    }
    Ok(())
}

fn vcf_site(
    line: &[u8],
    columns: &[usize],
    dosages: bool,
    site: &mut Site,
) -> Result<(), &'static str> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let mut field = || fields.next().ok_or(COLUMNS);
    let (_contig, _position, ids, reference) = (field()?, field()?, field()?, field()?);
    let alternates = field()?;
    site.ids =
        ids.split(|b| *b == b';').filter(|id| *id != b"." && !id.is_empty()).map(text).collect();
    site.reference = text(reference);
    site.alternates = match alternates {
        b"." => Vec::new(),
        some => some.split(|byte| *byte == b',').map(text).collect(),
    };
    site.calls.clear();
    if columns.is_empty() {
        return Ok(());
    }
    let format = fields.nth(3).ok_or(COLUMNS)?;
    let at = |key: &[u8]| format.split(|byte| *byte == b':').position(|field| field == key);
    let (genotype, dosage) = (at(b"GT"), if dosages { at(b"DS") } else { None });
    let people: Vec<&[u8]> = fields.collect();
    for column in columns {
        let person = people.get(*column).ok_or(COLUMNS)?;
        let part = |at: usize| person.split(|byte| *byte == b':').nth(at);
        let mut call = match genotype.and_then(part) {
            Some(genotype) => parse_genotype(genotype, site.alternates.len())?,
            None => Call::default(),
        };
        if let Some(dosage) = dosage.and_then(part) {
            let values = dosage.split(|byte| *byte == b',').map(|value| {
                std::str::from_utf8(value).ok()?.parse::<f64>().ok().filter(|v| v.is_finite())
            });
            call.dosages = values.collect::<Option<Vec<f64>>>().unwrap_or_default();
        }
        site.calls.push(call);
    }
    Ok(())
}

fn parse_genotype(genotype: &[u8], alternates: usize) -> Result<Call, &'static str> {
    let mut call = Call { phased: genotype.contains(&b'|'), ..Call::default() };
    for allele in genotype.split(|byte| matches!(byte, b'/' | b'|')) {
        if call.copies == 2 {
            return Err(PLOIDY);
        }
        let number = match allele {
            b"." => None,
            digits => {
                let number = std::str::from_utf8(digits).ok().and_then(|d| d.parse::<u16>().ok());
                Some(number.filter(|n| usize::from(*n) <= alternates).ok_or(GENOTYPE)?)
            }
        };
        call.alleles[usize::from(call.copies)] = number;
        call.copies += 1;
    }
    Ok(call)
}

/// A genotype of a BCF: numbers that are doubled, plus one, with the phase in the last bit.
pub(crate) fn binary_genotype(
    values: impl Iterator<Item = Option<i32>>,
    alternates: usize,
) -> Result<Call, &'static str> {
    let mut call = Call::default();
    for value in values {
        // What ends a genotype with fewer alleles than the others have.
        let Some(value) = value else { break };
        if call.copies == 2 {
            return Err(PLOIDY);
        }
        let number = u16::try_from(value >> 1).map_err(|_| GENOTYPE)?;
        if usize::from(number) > alternates + 1 {
            return Err(GENOTYPE);
        }
        call.alleles[usize::from(call.copies)] = number.checked_sub(1);
        call.phased |= call.copies > 0 && value & 1 == 1;
        call.copies += 1;
    }
    Ok(call)
}
