//! Answers to typed queries (`spec/queries.md`): files come in as readers, the least that answers goes out.
//!
//! [`answer`] finds its file, the file's index and its reference through [`Files`] and opens nothing by itself, so that the same code
//! answers on plain files, on a sealed one that opens by range, and inside a vault. A slice goes to the writer as BAM, VCF or BCF;
//! everything else is the [`Answer`] itself. What cannot be answered exactly is refused by name, never trimmed.

use std::io::{self, Read, Seek, Write};

use api::query::{GenomeBuild, Place, Region, ScoreRules, Site as Wanted};
use api::{Query, query};
use serde::{Deserialize, Serialize};

use crate::cram_reads::{Reference, slice_cram};
use crate::index::Index;
use crate::sites::{Call, Site, Sites, Spot, same_contig};
use crate::{Fault, Format, HEAD_BYTES, Unknown, buffered, qc, reads, recognise, score};

/// A file that is open: bytes from anywhere in it.
pub trait Opened: Read + Seek + Send {}
impl<T: Read + Seek + Send> Opened for T {}

/// Where a query finds files by their names.
pub trait Files {
    /// The file called `name`; nothing where there is none.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Opened>>>;
}

/// What a query gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Reads or variants, which went to the writer.
    Slice(Slice),
    /// Copies of an allele.
    Variant(VariantAnswer),
    /// Genotypes at sites, in the order of the list.
    Genotypes(GenotypesAnswer),
    /// A score for each sample.
    Score(ScoreAnswer),
    /// Quality figures for each sample.
    Qc(QcAnswer),
}

/// A slice that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// `bam`, `vcf.gz` or `bcf`: also the ending of its name.
    pub format: String,
    /// How many records overlap the region.
    pub records: u64,
    /// The contig, as the file names it.
    pub contig: String,
}

/// Copies of an allele.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantAnswer {
    /// Which allele was asked for.
    pub variant: Place,
    /// Whether the file has a record of it. Where it has none, a sample may still be without the variant: many files leave out
    /// sites where nobody differs from the reference.
    pub found: bool,
    /// For each sample.
    pub samples: Vec<CopiesAnswer>,
}

/// Copies of an allele in one sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiesAnswer {
    /// Which sample.
    pub sample: String,
    /// How many; nothing where the genotype is missing or the file has no record.
    pub copies: Option<u8>,
    /// Of how many alleles.
    pub of: u8,
}

/// Genotypes at sites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenotypesAnswer {
    /// A row for each site that was asked for and each record that has it, in the order of the question.
    pub sites: Vec<SiteAnswer>,
}

/// The genotypes at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteAnswer {
    /// As it was asked for.
    pub asked: Wanted,
    /// Where the file has it; nothing if it does not.
    pub at: Option<SiteFound>,
}

/// A record of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFound {
    /// The contig, as the file names it.
    pub contig: String,
    /// The position.
    pub position: u64,
    /// The reference allele; nothing where the file does not know it.
    pub reference: Option<String>,
    /// The genotypes.
    pub samples: Vec<GenotypeAnswer>,
}

/// A genotype of one sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenotypeAnswer {
    /// Which sample.
    pub sample: String,
    /// Its alleles in bases, `.` for one that is missing; none where the file says nothing.
    pub alleles: Vec<String>,
    /// Whether it is known which chromosome each is on.
    pub phased: bool,
}

/// A score, and every rule and count that it hangs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreAnswer {
    /// Which scoring file.
    pub scoring: query::ScoringFile,
    /// The build of both files, and how it is known of the genotypes.
    pub build: GenomeBuild,
    /// Whether the file's own header tells its build; else it is as the asker said.
    pub build_by_header: bool,
    /// The rules.
    pub rules: ScoreRules,
    /// The rules in words.
    pub rules_in_words: String,
    /// What became of each variant of the scoring file.
    pub matched: Matched,
    /// For each sample.
    pub samples: Vec<SampleScore>,
}

/// What became of the variants of a scoring file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    /// Variants that count.
    pub counted: u64,
    /// Of these, such whose alleles match on the other strand.
    pub flipped: u64,
    /// Of these, A/T and C/G ones that count as given.
    pub palindromic_kept: u64,
    /// A/T and C/G ones that were left out.
    pub palindromic_left_out: u64,
    /// Such that the file has with other alleles.
    pub other_alleles: u64,
    /// Such that the file does not have.
    pub absent: u64,
}

/// A score of one sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleScore {
    /// Which sample.
    pub sample: String,
    /// The sum of weights times copies.
    pub sum: f64,
    /// The sum over the alleles that count, as plink2's `SCORE1_AVG`; nothing where there are none.
    pub average: Option<f64>,
    /// Alleles that are there, as plink2's `ALLELE_CT`.
    pub alleles: u64,
    /// Variants that count and whose genotype is missing.
    pub missing: u64,
}

/// Quality figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QcAnswer {
    /// Of the file's records, whoever has them.
    pub file: FileCounts,
    /// For each sample.
    pub samples: Vec<SampleQc>,
}

/// Counts of records, as `bcftools stats` counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCounts {
    /// Records.
    pub records: u64,
    /// Records with a single base in place of another.
    pub snvs: u64,
    /// Records with several bases in place of as many.
    pub mnvs: u64,
    /// Records with bases put in or taken out.
    pub indels: u64,
    /// Records with anything else.
    pub others: u64,
    /// Records with more than one alternate allele.
    pub multiallelic: u64,
    /// Alternate alleles A↔G and C↔T.
    pub transitions: u64,
    /// Other single bases.
    pub transversions: u64,
}

/// Quality figures of one sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleQc {
    /// Which sample.
    pub sample: String,
    /// Records with a genotype.
    pub called: u64,
    /// Records without one.
    pub missing: u64,
    /// The share of records that have one.
    pub call_rate: Option<f64>,
    /// Two reference alleles; nothing where the file does not know them.
    pub homozygous_reference: Option<u64>,
    /// Two different alleles.
    pub heterozygous: u64,
    /// Twice one that is not the reference; in a file that does not know the reference, twice any.
    pub homozygous_alternate: u64,
    /// One allele alone.
    pub haploid: u64,
    /// Heterozygous by homozygous alternate.
    pub het_hom: Option<f64>,
    /// Genotypes with a transition; nothing where the file does not know the reference.
    pub transitions: Option<u64>,
    /// Genotypes with a transversion.
    pub transversions: Option<u64>,
    /// The one by the other.
    pub ti_tv: Option<f64>,
}

/// Why a query is not answered. Sentences go on from `the query cannot be answered:`.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query itself is not right.
    #[error(transparent)]
    Query(#[from] query::BadQuery),
    /// There is no such file.
    #[error("there is no file `{0}`")]
    NoFile(String),
    /// The file cannot be opened.
    #[error("file `{name}` cannot be opened")]
    Open {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The file is nothing that is read.
    #[error("the file is nothing that can be read: {0}")]
    Unknown(#[from] Unknown),
    /// The file is of another format than the query reads.
    #[error("the file holds {format}, and this query reads {wanted}")]
    NotOf {
        /// What it holds.
        format: Format,
        /// What is read.
        wanted: &'static str,
    },
    /// The file is broken.
    #[error("the file is not whole: {0}")]
    Fault(#[from] Fault),
    /// The index is none.
    #[error("{why}")]
    Index {
        /// What is wrong.
        why: &'static str,
    },
    /// The index cannot be read.
    #[error("an index of the file cannot be read")]
    ReadIndex(#[source] io::Error),
    /// A CRAM needs its reference.
    #[error("the CRAM does not open without the reference it was written against")]
    NoReference(#[source] io::Error),
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Write(#[source] io::Error),
    /// The file does not know the contig.
    #[error("the file has no contig `{0}`")]
    NoContig(String),
    /// The file does not know the sample.
    #[error("the file has no sample `{0}`")]
    NoSample(String),
    /// The file has no samples at all.
    #[error("the file has no genotypes: it names no sample")]
    NoSamples,
    /// Builds differ.
    #[error("{what} is on {found} and {other} on {expected}")]
    Build {
        /// Whose.
        what: &'static str,
        /// What it is on.
        found: &'static str,
        /// What it is compared with.
        other: &'static str,
        /// What that is on.
        expected: &'static str,
    },
    /// The scoring file is not usable.
    #[error("the scoring file is not usable: {0}")]
    Scoring(String),
    /// Too few variants match.
    #[error(
        "only {matched} of {all} variants of the scoring file match, and the query asks for {least_percent} %"
    )]
    TooFew {
        /// How many.
        matched: u64,
        /// Of how many.
        all: u64,
        /// What is asked for.
        least_percent: u8,
    },
    /// Frequencies of so few are no frequencies.
    #[error(
        "the mean of {0} samples is no estimate: for missing genotypes name frequencies, or leave them out"
    )]
    FewSamples(usize),
    /// A record that should be there once is there twice.
    #[error("the file has two records of {0}: which of them counts cannot be told")]
    Twice(String),
}

/// What a slice found.
pub(crate) struct Found {
    pub(crate) records: u64,
    pub(crate) contig: String,
}

/// Answers `query`. `scoring` is the text of the scoring file, for a score; a slice is written to `to`, and nothing else is.
///
/// # Errors
/// Why not, by name. What was written to `to` until then is no answer.
pub fn answer(
    query: &Query,
    scoring: Option<&str>,
    files: &dyn Files,
    to: &mut dyn Write,
) -> Result<Answer, QueryError> {
    query.check()?;
    let name = query.file();
    let open = |name: &str| {
        files.open(name).map_err(|source| QueryError::Open { name: name.to_owned(), source })
    };
    let there = |name: &str| open(name)?.ok_or_else(|| QueryError::NoFile(name.to_owned()));
    let mut file = there(name)?;
    let format = format_of(name, &mut *file)?;
    let index = || -> Result<Option<Index>, QueryError> {
        for beside in indexes(name, format) {
            if let Some(index) = open(&beside)? {
                return Index::read(buffered(index)).map(Some).map_err(QueryError::ReadIndex);
            }
        }
        Ok(None)
    };
    let sites = |file| Sites::open(file, format, index()?);
    match query {
        Query::Region(ask) => {
            let region = &ask.region;
            let spot =
                Spot { contig: region.contig.clone(), position: region.start, end: region.end };
            let (format, found) = match format {
                Format::Bam => {
                    ("bam", reads::slice_bam(buffered(file), index()?.as_ref(), region, to)?)
                }
                Format::Cram => {
                    let crai = open(&format!("{name}.crai"))?;
                    let reference = match &ask.reference {
                        Some(fasta) => {
                            let fai = there(&format!("{fasta}.fai"))?;
                            Some(Reference::new(there(fasta)?, buffered(fai))?)
                        }
                        None => None,
                    };
                    ("bam", slice_cram(file, crai, reference, region, to)?)
                }
                Format::Vcf(_) | Format::Bcf => {
                    let records = sites(file)?.slice(&spot, to)?;
                    let ending = if format == Format::Bcf { "bcf" } else { "vcf.gz" };
                    (ending, Found { records, contig: region.contig.clone() })
                }
                format => {
                    return Err(QueryError::NotOf { format, wanted: "BAM, CRAM, VCF or BCF" });
                }
            };
            Ok(Answer::Slice(Slice {
                format: format.to_owned(),
                records: found.records,
                contig: found.contig,
            }))
        }
        Query::Variant(ask) => variant(sites(file)?, ask).map(Answer::Variant),
        Query::Rsid(ask) => {
            let wanted = [Wanted::Rsid(query::Named { rsid: ask.rsid.clone() })];
            genotypes(sites(file)?, &ask.samples, &wanted).map(Answer::Genotypes)
        }
        Query::Genotypes(ask) => {
            genotypes(sites(file)?, &ask.samples, &ask.sites).map(Answer::Genotypes)
        }
        Query::Score(ask) => {
            let text = scoring
                .ok_or_else(|| QueryError::Scoring("it did not come with the query".to_owned()))?;
            score::score(sites(file)?, ask, text).map(Answer::Score)
        }
        Query::Qc(ask) => qc::qc(sites(file)?, &ask.samples).map(Answer::Qc),
    }
}

/// The build of the file called `name`, if its own header tells it.
///
/// # Errors
/// The file is not there, or its header is none.
pub fn build_of(files: &dyn Files, name: &str) -> Result<Option<GenomeBuild>, QueryError> {
    let opened =
        files.open(name).map_err(|source| QueryError::Open { name: name.to_owned(), source })?;
    let mut file = opened.ok_or_else(|| QueryError::NoFile(name.to_owned()))?;
    let format = format_of(name, &mut *file)?;
    Ok(Sites::open(file, format, None)?.build())
}

/// What the file is; it is back at its beginning afterwards.
fn format_of(name: &str, file: &mut dyn Opened) -> Result<Format, QueryError> {
    let mut head = Vec::new();
    let broken = |source| QueryError::Open { name: name.to_owned(), source };
    file.take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(broken)?;
    file.rewind().map_err(broken)?;
    Ok(recognise(name, &head)?)
}

/// The names under which an index of `name` may lie.
fn indexes(name: &str, format: Format) -> Vec<String> {
    let mut names = Vec::new();
    let endings: &[&str] = match format {
        Format::Bam => &["bai", "csi"],
        Format::Vcf(crate::Packing::Bgzf) => &["tbi", "csi"],
        Format::Bcf => &["csi"],
        _ => &[],
    };
    for ending in endings {
        names.push(format!("{name}.{ending}"));
    }
    if let (Format::Bam, Some(stem)) = (format, name.strip_suffix(".bam")) {
        names.push(format!("{stem}.bai"));
    }
    names
}

/// The number of a contig: by its name, or by the same name with or without `chr`.
pub(crate) fn contig_of(contigs: &[String], wanted: &str) -> Result<usize, QueryError> {
    contigs
        .iter()
        .position(|contig| contig == wanted)
        .or_else(|| contigs.iter().position(|contig| same_contig(contig, wanted)))
        .ok_or_else(|| QueryError::NoContig(wanted.to_owned()))
}

/// The columns of the samples that are asked for, and their names.
pub(crate) fn columns(
    sites: &Sites,
    asked: &[String],
) -> Result<(Vec<usize>, Vec<String>), QueryError> {
    let there = sites.samples();
    if there.is_empty() {
        return Err(QueryError::NoSamples);
    }
    if asked.is_empty() {
        return Ok(((0..there.len()).collect(), there.to_vec()));
    }
    let find = |sample: &String| {
        let at = there.iter().position(|name| name == sample);
        at.ok_or_else(|| QueryError::NoSample(sample.clone()))
    };
    Ok((asked.iter().map(find).collect::<Result<_, _>>()?, asked.to_vec()))
}

fn spot_of(place: &Place) -> Spot {
    Spot { contig: place.contig.clone(), position: place.position, end: place.position }
}

/// Whether the record at hand is of this place: the alleles must be there, as far as the file knows them.
fn is_place(spot: &Spot, site: &Site, place: &Place, knows_reference: bool) -> bool {
    let here = spot.position == place.position && same_contig(&spot.contig, &place.contig);
    if !here || !knows_reference {
        return here;
    }
    site.reference.eq_ignore_ascii_case(&place.reference)
}

fn variant(mut sites: Sites, ask: &query::VariantQuery) -> Result<VariantAnswer, QueryError> {
    let (columns, names) = columns(&sites, &ask.samples)?;
    let place = &ask.variant;
    sites.narrow(&[spot_of(place)])?;
    let (mut spot, mut site) = (Spot::default(), Site::default());
    let mut found: Option<Vec<CopiesAnswer>> = None;
    while sites.advance(&mut spot)? {
        if spot.position != place.position || !same_contig(&spot.contig, &place.contig) {
            continue;
        }
        sites.decode(&columns, false, &mut site)?;
        if !is_place(&spot, &site, place, sites.knows_reference()) {
            continue;
        }
        let number = site.allele(&place.allele);
        // A record of the place without the allele says something only where it lists no other one: a site that was looked at.
        if number.is_none() && sites.knows_reference() && !site.alternates.is_empty() {
            continue;
        }
        let copies = |(call, sample): (&Call, &String)| CopiesAnswer {
            sample: sample.clone(),
            copies: match number {
                Some(number) => call.copies_of(number),
                None => call.called().map(|_| 0),
            },
            of: call.copies,
        };
        if found.is_some() {
            return Err(QueryError::Twice(format!("`{}` at {}", place.allele, place.position)));
        }
        found = Some(site.calls.iter().zip(&names).map(copies).collect());
    }
    let unknown = |sample| CopiesAnswer { sample, copies: None, of: 0 };
    Ok(VariantAnswer {
        variant: place.clone(),
        found: found.is_some(),
        samples: found.unwrap_or_else(|| names.into_iter().map(unknown).collect()),
    })
}

fn genotypes(
    mut sites: Sites,
    samples: &[String],
    wanted: &[Wanted],
) -> Result<GenotypesAnswer, QueryError> {
    let (columns, names) = columns(&sites, samples)?;
    let places: Vec<Spot> = wanted
        .iter()
        .filter_map(|site| match site {
            Wanted::Place(place) => Some(spot_of(place)),
            Wanted::Rsid(_) => None,
        })
        .collect();
    // A name is in no index: one of them makes the whole file be read.
    if places.len() == wanted.len() {
        sites.narrow(&places)?;
    }
    let (mut spot, mut site) = (Spot::default(), Site::default());
    let mut found: Vec<Vec<SiteFound>> = vec![Vec::new(); wanted.len()];
    while sites.advance(&mut spot)? {
        sites.decode(&[], false, &mut site)?;
        let here: Vec<usize> = (0..wanted.len())
            .filter(|at| match &wanted[*at] {
                Wanted::Rsid(named) => site.ids.contains(&named.rsid),
                Wanted::Place(place) => {
                    is_place(&spot, &site, place, sites.knows_reference())
                        && (!sites.knows_reference() || site.allele(&place.allele).is_some())
                }
            })
            .collect();
        if here.is_empty() {
            continue;
        }
        sites.decode(&columns, false, &mut site)?;
        for at in here {
            let genotype = |(call, sample): (&Call, &String)| GenotypeAnswer {
                sample: sample.clone(),
                alleles: call.alleles[..usize::from(call.copies)]
                    .iter()
                    .map(|number| number.map_or(".", |number| site.bases(number)).to_owned())
                    .collect(),
                phased: call.phased,
            };
            found[at].push(SiteFound {
                contig: spot.contig.clone(),
                position: spot.position,
                reference: Some(site.reference.clone()).filter(|bases| !bases.is_empty()),
                samples: site.calls.iter().zip(&names).map(genotype).collect(),
            });
        }
    }
    let mut answers = Vec::new();
    for (asked, found) in wanted.iter().zip(found) {
        if found.is_empty() {
            answers.push(SiteAnswer { asked: asked.clone(), at: None });
        }
        for at in found {
            answers.push(SiteAnswer { asked: asked.clone(), at: Some(at) });
        }
    }
    Ok(GenotypesAnswer { sites: answers })
}

/// A region as people write it: `11:5000001-5010000`, `chr11:5,000,001`, or a contig alone.
///
/// # Errors
/// It is none.
pub fn parse_region(text: &str) -> Result<Region, query::BadQuery> {
    let whole =
        |contig: &str| Region { contig: contig.to_owned(), start: 1, end: query::MOST_POSITION };
    let Some((contig, range)) = text.rsplit_once(':') else { return Ok(whole(text)) };
    let number = |text: &str| -> Result<u64, query::BadQuery> {
        text.replace([',', '_'], "").parse().map_err(|_| query::BadQuery::Position)
    };
    let (start, end) = match range.split_once('-') {
        Some((start, end)) => (number(start)?, number(end)?),
        None => (number(range)?, number(range)?),
    };
    Ok(Region { contig: contig.to_owned(), start, end })
}
