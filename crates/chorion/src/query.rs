//! `chorion query`: a typed query on plain files, or on sealed ones that open by range. The same questions are asked of a vault.

pub(crate) mod vault;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::Query;
use api::query::{
    Dosage, GenomeBuild, GenotypesQuery, MissingGenotypes, Named, Palindromic, Place, QcQuery,
    RegionQuery, RsidQuery, ScoreQuery, ScoreRules, Site, Strand, VariantQuery,
};
use clap::Args;
use dataset::Ranged;
use genome::Scoring;
use genome::query::{Answer, Files, Opened, QueryError, SiteAnswer, answer, parse_region};
use seal::file::{FileError, FileOpener};
use seal::recipient::RecipientSecret;
use serde_json::json;
use zeroize::Zeroizing;

use crate::demux::grouped;
use crate::offline::PassphraseArgs;
use crate::offline::keys;
use crate::offline::output::{Output, SECRET};
use crate::report::{CliError, CliResult, Ui};

/// Ask a genome a question
///
/// Of a BAM, CRAM, VCF, BCF or 23andMe text: a region, a variant, genotypes, a polygenic score, quality figures. The answer is the
/// least that answers: a score comes without the genotypes. An index beside FILE (`.bai`, `.csi`, `.tbi`, `.crai`) is used if it is
/// there. FILE may be sealed; then it is read by range with `--identity`, and so is a sealed index beside it.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The file to ask.
    file: PathBuf,
    #[command(flatten)]
    ask: AskArgs,
    /// The FASTA that a CRAM was written against, with its index `.fai`.
    #[arg(long, value_name = "FASTA")]
    reference: Option<PathBuf>,
    /// Where reads or variants of a region go; `-` writes to a pipe.
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replace OUT if it is there.
    #[arg(long)]
    force: bool,
    /// The secret key that FILE was sealed to, if it is sealed.
    #[arg(long, value_name = "KEY")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Only say what the query would give away, and its one spelling.
    #[arg(long)]
    explain: bool,
}

/// What is asked.
#[derive(Debug, Args)]
#[command(group(
    clap::ArgGroup::new("question")
        .required(true)
        .args(["region", "variant", "rsid", "genotypes", "score", "qc"])
))]
pub(crate) struct AskArgs {
    /// Reads or variants that overlap a region: `11:5000001-5010000`.
    #[arg(long, value_name = "CONTIG:START-END")]
    region: Option<String>,
    /// How many copies of an allele there are: `20:14370:G:A`.
    #[arg(long, value_name = "CONTIG:POSITION:REFERENCE:ALLELE")]
    variant: Option<String>,
    /// The genotype at a variant by its name.
    #[arg(long, value_name = "NAME")]
    rsid: Option<String>,
    /// Genotypes of a list: a text with a name or `CONTIG:POSITION:REFERENCE:ALLELE` on each line.
    #[arg(long, value_name = "LIST")]
    genotypes: Option<PathBuf>,
    /// A polygenic score, by a scoring file of the PGS Catalog.
    #[arg(long, value_name = "SCORING")]
    score: Option<PathBuf>,
    /// Counts, Ti/Tv, het/hom and call rate.
    #[arg(long)]
    qc: bool,
    /// A sample of the file; may be given several times. Every one if absent.
    #[arg(long = "sample", value_name = "NAME")]
    samples: Vec<String>,
    /// The build of the file's positions, where its header does not tell: `GRCh37` or `GRCh38`.
    #[arg(long, value_name = "BUILD", value_parser = build)]
    build: Option<GenomeBuild>,
    /// What a missing genotype counts in a score: nothing, the mean of the file's samples, or the scoring file's frequencies.
    #[arg(long, value_enum, default_value_t = Missing::LeaveOut)]
    missing: Missing,
    /// Let alleles match on the other strand.
    #[arg(long)]
    flip: bool,
    /// Count A/T and C/G variants as they are given, rather than leave them out.
    #[arg(long)]
    keep_palindromic: bool,
    /// Read dosages (`DS`) where a record has them.
    #[arg(long)]
    dosage: bool,
    /// How many of the scoring file's variants must match, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 75)]
    least_match: u8,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Missing {
    LeaveOut,
    Mean,
    Frequencies,
}

fn build(text: &str) -> Result<GenomeBuild, String> {
    GenomeBuild::named(text).ok_or_else(|| "write GRCh37 or GRCh38".to_owned())
}

/// The longest list and scoring file that are read.
const MOST_TEXT_BYTES: u64 = 1 << 30;

impl AskArgs {
    /// The query, and the text of its scoring file. `known` is the build that the file itself tells.
    pub(crate) fn query(
        &self,
        file: String,
        reference: Option<String>,
        known: Option<GenomeBuild>,
    ) -> CliResult<(Query, Option<String>)> {
        let samples = self.samples.clone();
        let mut scoring = None;
        let query = if let Some(region) = &self.region {
            let region = parse_region(region).map_err(|error| {
                CliError::new(format!("`{region}` is no region"))
                    .caused_by(error)
                    .hint("write CONTIG:START-END, as 11:5000001-5010000")
            })?;
            Query::Region(RegionQuery { file, reference, region })
        } else if let Some(variant) = &self.variant {
            Query::Variant(VariantQuery { file, samples, variant: place(variant)? })
        } else if let Some(rsid) = &self.rsid {
            Query::Rsid(RsidQuery { file, samples, rsid: rsid.clone() })
        } else if let Some(list) = &self.genotypes {
            let text = read_text(list)?;
            let lines = text.lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            let site = |line: &str| match line.contains(':') {
                true => place(line).map(Site::Place),
                false => Ok(Site::Rsid(Named { rsid: line.to_owned() })),
            };
            let sites = lines.map(site).collect::<CliResult<_>>()?;
            Query::Genotypes(GenotypesQuery { file, samples, sites })
        } else if let Some(path) = &self.score {
            let text = read_text(path)?;
            let facts = Scoring::parse(&text)
                .map_err(|error| {
                    CliError::new(format!("{} cannot be used", path.display())).caused_by(error)
                })?
                .facts(proof::sha256(text.as_bytes()));
            let build = self.build.or(known).ok_or_else(|| {
                CliError::new(format!("`{file}` does not tell which build its positions are on"))
                    .hint("say it: `--build GRCh37` or `--build GRCh38`")
            })?;
            let rules = ScoreRules {
                missing: match self.missing {
                    Missing::LeaveOut => MissingGenotypes::LeaveOut,
                    Missing::Mean => MissingGenotypes::MeanOfFile,
                    Missing::Frequencies => MissingGenotypes::MeanOfScoringFile,
                },
                strand: if self.flip { Strand::Flip } else { Strand::AsGiven },
                palindromic: if self.keep_palindromic {
                    Palindromic::Keep
                } else {
                    Palindromic::LeaveOut
                },
                dosage: if self.dosage { Dosage::Ds } else { Dosage::Genotype },
                least_match_percent: self.least_match,
            };
            scoring = Some(text);
            Query::Score(ScoreQuery { file, samples, build, scoring: facts, rules })
        } else {
            Query::Qc(QcQuery { file, samples })
        };
        query.check().map_err(|error| {
            CliError::new("the question cannot be asked as it is").caused_by(error)
        })?;
        Ok((query, scoring))
    }
}

/// `CONTIG:POSITION:REFERENCE:ALLELE`.
fn place(text: &str) -> CliResult<Place> {
    let parts: Vec<&str> = text.split(':').collect();
    let wrong = || {
        CliError::new(format!("`{text}` is no variant"))
            .hint("write CONTIG:POSITION:REFERENCE:ALLELE, as 20:14370:G:A")
    };
    let [contig, position, reference, allele] = parts[..] else { return Err(wrong()) };
    Ok(Place {
        contig: contig.to_owned(),
        position: position.replace([',', '_'], "").parse().map_err(|_| wrong())?,
        reference: reference.to_ascii_uppercase(),
        allele: allele.to_ascii_uppercase(),
    })
}

/// A text, out of gzip if it is in it.
fn read_text(path: &Path) -> CliResult<String> {
    let unread = |error: io::Error| {
        CliError::new(format!("{} could not be read", path.display())).caused_by(error)
    };
    let file = File::open(path).map_err(unread)?;
    let mut bytes = Vec::new();
    file.take(MOST_TEXT_BYTES).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&*bytes)
            .take(MOST_TEXT_BYTES)
            .read_to_end(&mut plain)
            .map_err(unread)?;
        bytes = plain;
    }
    String::from_utf8(bytes)
        .map_err(|error| CliError::new(format!("{} is no text", path.display())).caused_by(error))
}

/// `chorion query`
pub(crate) fn run(args: &QueryArgs, ui: &Ui) -> CliResult {
    let name = |path: &Path| -> CliResult<String> {
        let name = path.file_name().and_then(|name| name.to_str());
        name.map(str::to_owned)
            .ok_or_else(|| CliError::new(format!("{} is no file name", path.display())))
    };
    let secret = match &args.identity {
        Some(identity) => Some(keys::identity(identity, &args.passphrase)?),
        None => None,
    };
    let file = name(&args.file)?;
    // `a.bam.chorion` answers as `a.bam`: what is asked about is what was sealed.
    let (stem, ending) = match file.rsplit_once('.') {
        Some((stem, ending)) if secret.is_some() && !KNOWN.contains(&ending) => {
            (stem.to_owned(), format!(".{ending}"))
        }
        _ => (file.clone(), String::new()),
    };
    let folder = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let mut folders = vec![folder(&args.file)];
    folders.extend(args.reference.as_deref().map(folder));
    let files = Here { folders, ending, secret: secret.map(Arc::new), refused: RefCell::default() };
    let reference = args.reference.as_deref().map(name).transpose()?;
    let known = match args.ask.score {
        Some(_) => {
            genome::query::build_of(&files, &stem).map_err(|error| files.said(&args.file, error))?
        }
        None => None,
    };
    let (query, scoring) = args.ask.query(stem, reference, known)?;
    if args.explain {
        ui.line(format_args!("this query would {}", query.sentence()));
        ui.line(query.to_canonical());
        ui.value(&json!({ "sentence": query.sentence(), "query": query }));
        return Ok(());
    }
    let ask = |to: &mut dyn Write| {
        answer(&query, scoring.as_deref(), &files, to)
            .map_err(|error| files.said(&args.file, error))
    };
    if !matches!(query, Query::Region(_)) {
        let given = ask(&mut io::sink())?;
        show(&given, ui);
        ui.value(&given);
        return Ok(());
    }
    let output = args.output.as_deref().ok_or_else(|| {
        CliError::new("reads or variants need somewhere to go")
            .hint("name a file with `-o OUT`, or `-o -` for a pipe")
    })?;
    if output.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            return Err(CliError::new("compressed records are not for a terminal")
                .hint("give a file with `-o OUT`, or send standard output into one"));
        }
        let given = ask(&mut io::stdout().lock())?;
        if let Answer::Slice(slice) = &given {
            ui.note(format_args!("{} records", grouped(slice.records)));
        }
        return Ok(());
    }
    let out = Output::create(output, SECRET, args.force)?;
    let given = ask(&mut io::BufWriter::with_capacity(1 << 20, out.file()))?;
    out.keep()?;
    if let Answer::Slice(slice) = &given {
        ui.line(format_args!(
            "{} records on contig {}: {}",
            grouped(slice.records),
            slice.contig,
            output.display()
        ));
    }
    ui.value(&json!({ "output": output, "answer": given }));
    Ok(())
}

/// Endings of files that are not sealed.
const KNOWN: [&str; 8] = ["bam", "cram", "vcf", "gz", "bcf", "txt", "23andme", "fa"];

/// Shows an answer to a person.
pub(crate) fn show(given: &Answer, ui: &Ui) {
    match given {
        Answer::Slice(slice) => {
            ui.line(format_args!(
                "{} records on contig {}, as {}",
                grouped(slice.records),
                slice.contig,
                slice.format
            ));
        }
        Answer::Variant(variant) => {
            if !variant.found {
                ui.line(
                    "the file has no record of this variant; that does not say who is without it",
                );
            }
            for sample in &variant.samples {
                let copies = sample.copies.map_or_else(|| "-".to_owned(), |c| c.to_string());
                ui.line(format_args!("{}  {copies} of {}", sample.sample, sample.of));
            }
        }
        Answer::Genotypes(genotypes) => {
            genotypes.sites.iter().for_each(|site| show_site(site, ui));
        }
        Answer::Score(score) => {
            ui.line(format_args!(
                "{} ({}), {}: {} of {} variants count ({} on the other strand; left out: {} palindromic, {} with other alleles, {} absent)",
                score.scoring.id,
                score.scoring.trait_reported,
                score.build.as_str(),
                grouped(score.matched.counted),
                grouped(score.scoring.variants),
                grouped(score.matched.flipped),
                grouped(score.matched.palindromic_left_out),
                grouped(score.matched.other_alleles),
                grouped(score.matched.absent),
            ));
            ui.line(format_args!("rules: {}", score.rules_in_words));
            for sample in &score.samples {
                ui.line(format_args!(
                    "{}  sum {}  average {}  {} missing",
                    sample.sample,
                    sample.sum,
                    figure(sample.average),
                    grouped(sample.missing)
                ));
            }
        }
        Answer::Qc(qc) => {
            let file = qc.file;
            ui.line(format_args!(
                "{} records: {} SNV, {} MNV, {} indel, {} other; {} multiallelic; Ti/Tv {} / {}",
                grouped(file.records),
                grouped(file.snvs),
                grouped(file.mnvs),
                grouped(file.indels),
                grouped(file.others),
                grouped(file.multiallelic),
                grouped(file.transitions),
                grouped(file.transversions),
            ));
            for sample in &qc.samples {
                ui.line(format_args!(
                    "{}  call rate {}  het/hom {}  Ti/Tv {}",
                    sample.sample,
                    figure(sample.call_rate),
                    figure(sample.het_hom),
                    figure(sample.ti_tv)
                ));
            }
        }
    }
}

fn show_site(site: &SiteAnswer, ui: &Ui) {
    let asked = match &site.asked {
        Site::Rsid(named) => named.rsid.clone(),
        Site::Place(place) => {
            format!("{}:{}:{}:{}", place.contig, place.position, place.reference, place.allele)
        }
    };
    let Some(at) = &site.at else {
        ui.line(format_args!("{asked}  the file has no record of it"));
        return;
    };
    for sample in &at.samples {
        let between = if sample.phased { "|" } else { "/" };
        let alleles =
            if sample.alleles.is_empty() { "-".to_owned() } else { sample.alleles.join(between) };
        ui.line(format_args!(
            "{asked}  {}:{}  {}  {alleles}",
            at.contig, at.position, sample.sample
        ));
    }
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.6}"))
}

/// Files beside the one that is asked, plain or sealed.
struct Here {
    folders: Vec<PathBuf>,
    /// What sealed files have after their name.
    ending: String,
    secret: Option<Arc<RecipientSecret>>,
    /// Why a sealed file did not open, in better words than an error of reading has.
    refused: RefCell<Option<FileError>>,
}

impl Here {
    fn said(&self, file: &Path, error: QueryError) -> CliError {
        let named = CliError::new(format!("{} gives no answer", file.display()));
        match self.refused.take() {
            Some(refused) => named.caused_by(refused),
            None => {
                let hint = match &error {
                    QueryError::NoReference(_) => Some("name it: `--reference FASTA`"),
                    QueryError::FewSamples(_) => {
                        Some("`--missing frequencies` or `--missing leave-out`")
                    }
                    QueryError::TooFew { .. } => {
                        Some("`--least-match` says how many must; `--flip` lets strands differ")
                    }
                    _ => None,
                };
                let named = named.caused_by(error);
                match hint {
                    Some(hint) => named.hint(hint),
                    None => named,
                }
            }
        }
    }
}

impl Files for Here {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Opened>>> {
        for folder in &self.folders {
            for name in [format!("{name}{}", self.ending), name.to_owned()] {
                let file = match File::open(folder.join(name)) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let bytes = file.metadata()?.len();
                let Some(secret) = &self.secret else { return Ok(Some(Box::new(file))) };
                return match FileOpener::new(&mut &file, bytes, secret) {
                    Ok(opener) => Ok(Some(Box::new(sealed(file, opener)))),
                    Err(FileError::NotAFile) => {
                        let mut file = file;
                        io::Seek::rewind(&mut file)?;
                        Ok(Some(Box::new(file)))
                    }
                    Err(error) => {
                        self.refused.replace(Some(error));
                        Err(io::ErrorKind::InvalidData.into())
                    }
                };
            }
        }
        Ok(None)
    }
}

/// A sealed file as a reader: a segment at a time is read, verified and kept while it is read from.
fn sealed(file: File, opener: FileOpener) -> impl Opened {
    let bytes = opener.object().plain_len();
    let mut at_hand: Option<u64> = None;
    let mut plain = Zeroizing::new(Vec::with_capacity(seal::SEGMENT_BYTES));
    let mut packed = vec![0; seal::SEALED_SEGMENT_BYTES];
    Ranged::new(bytes, move |at, into: &mut [u8]| {
        let segment = at / seal::SEGMENT_BYTES as u64;
        if at_hand != Some(segment) {
            at_hand = None;
            plain.clear();
            let range = opener.segment_range(segment);
            let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
            packed.resize(length, 0);
            file.read_exact_at(&mut packed, range.start)?;
            opener
                .object()
                .open_segment(segment, &packed, &mut plain)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            at_hand = Some(segment);
        }
        let from = usize::try_from(at % seal::SEGMENT_BYTES as u64).map_err(io::Error::other)?;
        let some = into.len().min(plain.len().saturating_sub(from));
        into[..some].copy_from_slice(&plain[from..from + some]);
        Ok(some)
    })
}
