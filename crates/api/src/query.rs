//! What is asked of a genome (`spec/queries.md`): a closed set of typed questions, and the sentence that a person reads before
//! saying yes.
//!
//! A query travels sealed, and inside an approval as it is. So it has one spelling (sorted keys, every field there, integers and
//! texts alone), names can hold nothing that would make its sentence read as another one, and the sentence is computed from these
//! fields wherever it is shown, never sent along.

use serde::{Deserialize, Serialize};

use crate::{AppId, Bytes, Digest, Purpose};

/// The app that asks a query: the vault's own code, which is in no package. A launch of it is a query.
pub const APP: AppId = AppId::from_bytes(*b"chorion query/1\0");
/// What the digest in sessions and receipts is of, where another app has that of its package.
pub const APP_DIGEST_OF: &str = "chorion query/1";
/// The most that an answer holds before it is sealed: a query's output cap.
pub const MOST_ANSWER_BYTES: u64 = 256 * 1024 * 1024;
/// The last position that is asked for: what BAM and VCF can say.
pub const MOST_POSITION: u64 = 2_147_483_647;
/// How many sites a list holds at most.
pub const MOST_SITES: usize = 1000;
/// How many samples are named at most.
const MOST_SAMPLES: usize = 1000;
/// The longest file, contig, sample or allele name.
const MOST_NAME_CHARS: usize = 255;

/// A question. Every variant names the file of the input it is asked of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Query {
    /// The reads or variants that overlap a region.
    Region(RegionQuery),
    /// How many copies of an allele there are.
    Variant(VariantQuery),
    /// The genotype at a named variant.
    Rsid(RsidQuery),
    /// The genotypes of a list.
    Genotypes(GenotypesQuery),
    /// A polygenic score.
    Score(ScoreQuery),
    /// Quality figures of samples.
    Qc(QcQuery),
}

/// Everything between two positions of a contig, both included, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// The contig, as `11` or `chr11`.
    pub contig: String,
    /// The first position.
    pub start: u64,
    /// The last position.
    pub end: u64,
}

/// The reads or variants that overlap a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionQuery {
    /// BAM, CRAM, VCF or BCF.
    pub file: String,
    /// The FASTA that a CRAM was written against; `null` where none is needed.
    pub reference: Option<String>,
    /// Which.
    pub region: Region,
}

/// A variant by its place and alleles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The contig.
    pub contig: String,
    /// The position of the reference allele's first base.
    pub position: u64,
    /// The reference allele.
    pub reference: String,
    /// The allele that is asked for.
    pub allele: String,
}

/// How many copies of an allele there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantQuery {
    /// VCF, BCF or a text of genotypes.
    pub file: String,
    /// Which samples; every one if empty.
    pub samples: Vec<String>,
    /// Which allele.
    pub variant: Place,
}

/// The genotype at a named variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RsidQuery {
    /// VCF, BCF or a text of genotypes.
    pub file: String,
    /// Which samples; every one if empty.
    pub samples: Vec<String>,
    /// The name: `rs6054257`.
    pub rsid: String,
}

/// One site of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Site {
    /// By its name.
    Rsid(Named),
    /// By its place and alleles.
    Place(Place),
}

/// A variant by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The name: `rs6054257`.
    pub rsid: String,
}

/// The genotypes of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenotypesQuery {
    /// VCF, BCF or a text of genotypes.
    pub file: String,
    /// Which samples; every one if empty.
    pub samples: Vec<String>,
    /// Which sites, 1 to [`MOST_SITES`].
    pub sites: Vec<Site>,
}

/// To which reference sequence positions belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GenomeBuild {
    /// Also hg19.
    #[serde(rename = "GRCh37")]
    Grch37,
    /// Also hg38.
    #[serde(rename = "GRCh38")]
    Grch38,
}

impl GenomeBuild {
    /// As the PGS Catalog writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grch37 => "GRCh37",
            Self::Grch38 => "GRCh38",
        }
    }

    /// Any of the names in use.
    pub fn named(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "grch37" | "hg19" | "b37" | "ncbi37" | "37" => Some(Self::Grch37),
            "grch38" | "hg38" | "b38" | "38" => Some(Self::Grch38),
            _ => None,
        }
    }
}

/// Which scoring file, without its rows: those come beside the query and must have this digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoringFile {
    /// `PGS000001`.
    pub id: String,
    /// What it is for, as the file says.
    pub trait_reported: String,
    /// How many variants it weighs.
    pub variants: u64,
    /// The build of the positions that are used.
    pub build: GenomeBuild,
    /// Of the text, not compressed.
    pub sha256: Digest,
}

/// What a genotype that is missing counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingGenotypes {
    /// Nothing, and the average is over the alleles that are there (plink2: `no-mean-imputation`).
    LeaveOut,
    /// Twice the effect allele's frequency among all samples of the file, 50 at least (plink2's default).
    MeanOfFile,
    /// Twice the frequency in the scoring file's column `allelefrequency_effect` (plink2: `--read-freq`).
    MeanOfScoringFile,
}

/// What happens to alleles that fit only on the other strand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strand {
    /// They do not match.
    AsGiven,
    /// They match as complements.
    Flip,
}

/// What happens to A/T and C/G variants, whose strand alleles cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Palindromic {
    /// They count as given.
    Keep,
    /// They are left out.
    LeaveOut,
}

/// What is read of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dosage {
    /// The genotype, `GT`.
    Genotype,
    /// The estimated number of alternate alleles, `DS`; `GT` where a record has none.
    Ds,
}

/// The rules of a score. Each is named in the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreRules {
    /// Genotypes that are missing.
    pub missing: MissingGenotypes,
    /// Alleles on the other strand.
    pub strand: Strand,
    /// Variants whose strand cannot be told.
    pub palindromic: Palindromic,
    /// Genotypes or dosages.
    pub dosage: Dosage,
    /// How many of the file's variants must match, or there is no score; 0 to 100.
    pub least_match_percent: u8,
}

/// A polygenic score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreQuery {
    /// VCF, BCF or a text of genotypes.
    pub file: String,
    /// Which samples; every one if empty.
    pub samples: Vec<String>,
    /// The build of `file`, as the asker knows it; refused where the file says otherwise.
    pub build: GenomeBuild,
    /// The weights.
    pub scoring: ScoringFile,
    /// The rules.
    pub rules: ScoreRules,
}

/// Quality figures of samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QcQuery {
    /// VCF, BCF or a text of genotypes.
    pub file: String,
    /// Which samples; every one if empty.
    pub samples: Vec<String>,
}

/// What a vault is asked, as it is sealed for it: the query, why it is asked, and a scoring file's text where it needs one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// The query.
    pub query: Query,
    /// Why, in the asker's words.
    pub purpose: Purpose,
    /// Whose X-Wing public key the answer is sealed to, 1216 bytes: nobody else opens it, whoever holds the project's key.
    pub recipient: Bytes,
    /// The scoring file, for a score.
    pub scoring: Option<String>,
}

/// What an approval names by its digest: the query, and a salt, so that the digest of an easily guessed query tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaltedQuery {
    /// The query.
    pub query: Query,
    /// The salt of the request's purpose.
    pub salt: Digest,
}

impl QueryRequest {
    /// The document whose digest stands in an approval, in its one spelling.
    pub fn document(&self) -> String {
        SaltedQuery { query: self.query.clone(), salt: self.purpose.salt }.to_canonical()
    }
}

impl SaltedQuery {
    /// The one spelling: sorted keys, no spare space.
    pub fn to_canonical(&self) -> String {
        serde_json::to_value(self)
            .expect("a query serializes because its fields are texts, integers, lists and records")
            .to_string()
    }

    /// The document whose one spelling `json` is, its query checked.
    pub fn from_canonical(json: &str) -> Result<Self, BadQuery> {
        let salted: Self =
            serde_json::from_str(json).map_err(|error| BadQuery::Form(error.to_string()))?;
        if salted.to_canonical() != json {
            return Err(BadQuery::Form("written again it differs".to_owned()));
        }
        salted.query.check()?;
        Ok(salted)
    }
}

/// Why a query does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// Its JSON is not the one spelling of a query.
    #[error("the query is not in canonical form: {0}")]
    Form(String),
    /// A name cannot be shown as it is.
    #[error("{what} of the query is empty, too long, or holds characters that cannot be shown")]
    Name {
        /// Which.
        what: &'static str,
    },
    /// An allele is none.
    #[error("`{0}` is no allele: write its bases, A, C, G, T or N")]
    Allele(String),
    /// Positions that are none.
    #[error("positions go from 1 to {MOST_POSITION}, and a region does not end before it starts")]
    Position,
    /// Too many or too few of something.
    #[error("a query has {least} to {most} {what}")]
    Count {
        /// Of what.
        what: &'static str,
        /// At least.
        least: usize,
        /// At most.
        most: usize,
    },
}

impl Query {
    /// The query whose one spelling `json` is, checked.
    pub fn from_canonical(json: &str) -> Result<Self, BadQuery> {
        let query: Self =
            serde_json::from_str(json).map_err(|error| BadQuery::Form(error.to_string()))?;
        if query.to_canonical() != json {
            return Err(BadQuery::Form("written again it differs".to_owned()));
        }
        query.check()?;
        Ok(query)
    }

    /// The one spelling: sorted keys, no spare space.
    pub fn to_canonical(&self) -> String {
        serde_json::to_value(self)
            .expect("a query serializes because its fields are texts, integers, lists and records")
            .to_string()
    }

    /// Whether every name can be shown and every number is in its bounds.
    pub fn check(&self) -> Result<(), BadQuery> {
        name("the file name", self.file())?;
        let samples: &[String] = match self {
            Self::Region(ask) => {
                if let Some(reference) = &ask.reference {
                    name("the reference's name", reference)?;
                }
                name("the contig", &ask.region.contig)?;
                position(ask.region.start)?;
                position(ask.region.end)?;
                if ask.region.end < ask.region.start {
                    return Err(BadQuery::Position);
                }
                &[]
            }
            Self::Variant(ask) => {
                ask.variant.check()?;
                &ask.samples
            }
            Self::Rsid(ask) => {
                name("the variant's name", &ask.rsid)?;
                &ask.samples
            }
            Self::Genotypes(ask) => {
                if ask.sites.is_empty() || ask.sites.len() > MOST_SITES {
                    return Err(BadQuery::Count { what: "sites", least: 1, most: MOST_SITES });
                }
                for site in &ask.sites {
                    match site {
                        Site::Rsid(named) => name("a variant's name", &named.rsid)?,
                        Site::Place(place) => place.check()?,
                    }
                }
                &ask.samples
            }
            Self::Score(ask) => {
                name("the scoring file's id", &ask.scoring.id)?;
                name("the scoring file's trait", &ask.scoring.trait_reported)?;
                if ask.rules.least_match_percent > 100 {
                    return Err(BadQuery::Count { what: "percent", least: 0, most: 100 });
                }
                &ask.samples
            }
            Self::Qc(ask) => &ask.samples,
        };
        if samples.len() > MOST_SAMPLES {
            return Err(BadQuery::Count { what: "samples", least: 0, most: MOST_SAMPLES });
        }
        samples.iter().try_for_each(|sample| name("a sample's name", sample))
    }

    /// The file that it is asked of.
    pub fn file(&self) -> &str {
        match self {
            Self::Region(ask) => &ask.file,
            Self::Variant(ask) => &ask.file,
            Self::Rsid(ask) => &ask.file,
            Self::Genotypes(ask) => &ask.file,
            Self::Score(ask) => &ask.file,
            Self::Qc(ask) => &ask.file,
        }
    }

    /// The word for its kind, as in JSON.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Region(_) => "region",
            Self::Variant(_) => "variant",
            Self::Rsid(_) => "rsid",
            Self::Genotypes(_) => "genotypes",
            Self::Score(_) => "score",
            Self::Qc(_) => "qc",
        }
    }

    /// What the query gives away, for the person who decides: computed from its fields alone.
    pub fn sentence(&self) -> String {
        let file = self.file();
        match self {
            Self::Region(RegionQuery { region: Region { contig, start, end }, .. }) => format!(
                "give everything that `{file}` holds on contig `{contig}` from {} to {} ({} bases)",
                grouped(*start),
                grouped(*end),
                grouped(end - start + 1)
            ),
            Self::Variant(ask) => format!(
                "say how many copies of {} {} in `{file}`",
                ask.variant.words(),
                holders(&ask.samples)
            ),
            Self::Rsid(ask) => format!(
                "give the genotype at `{}` that {} in `{file}`",
                ask.rsid,
                holders(&ask.samples)
            ),
            Self::Genotypes(ask) => {
                let named: Vec<String> = ask.sites.iter().take(SHOWN).map(Site::words).collect();
                let more = ask.sites.len().saturating_sub(SHOWN);
                let more = if more > 0 {
                    format!(" and {} more", grouped(more as u64))
                } else {
                    String::new()
                };
                let sites = if ask.sites.len() == 1 { "site" } else { "sites" };
                format!(
                    "give the genotypes at {} {sites} ({}{more}) that {} in `{file}`",
                    grouped(ask.sites.len() as u64),
                    named.join(", "),
                    holders(&ask.samples)
                )
            }
            Self::Score(ask) => format!(
                "compute the polygenic score `{}` for `{}` ({} variants, {}) from what {} in `{file}`, and give the score without \
                 the genotypes; {}",
                ask.scoring.id,
                ask.scoring.trait_reported,
                grouped(ask.scoring.variants),
                ask.scoring.build.as_str(),
                holders(&ask.samples),
                ask.rules.sentence()
            ),
            Self::Qc(ask) => format!(
                "give quality figures (counts, Ti/Tv, het/hom, call rate) of what {} in `{file}`",
                holders(&ask.samples)
            ),
        }
    }
}

/// How many sites of a list the sentence names.
const SHOWN: usize = 5;

impl Place {
    fn check(&self) -> Result<(), BadQuery> {
        name("the contig", &self.contig)?;
        position(self.position)?;
        for allele in [&self.reference, &self.allele] {
            let bases = !allele.is_empty() && allele.bytes().all(|base| b"ACGTN".contains(&base));
            if !bases || allele.len() > MOST_NAME_CHARS {
                return Err(BadQuery::Allele(
                    allele.chars().filter(|c| shown(*c)).take(64).collect(),
                ));
            }
        }
        Ok(())
    }

    fn words(&self) -> String {
        format!(
            "`{}` (reference `{}`) at {} of contig `{}`",
            self.allele,
            self.reference,
            grouped(self.position),
            self.contig
        )
    }
}

impl Site {
    fn words(&self) -> String {
        match self {
            Self::Rsid(named) => format!("`{}`", named.rsid),
            Self::Place(place) => place.words(),
        }
    }
}

impl ScoreRules {
    /// Every rule in words.
    pub fn sentence(&self) -> String {
        let missing = match self.missing {
            MissingGenotypes::LeaveOut => "missing genotypes are left out",
            MissingGenotypes::MeanOfFile => {
                "missing genotypes count the mean of the file's samples"
            }
            MissingGenotypes::MeanOfScoringFile => {
                "missing genotypes count the mean by the scoring file's frequencies"
            }
        };
        let strand = match self.strand {
            Strand::AsGiven => "alleles must match as given",
            Strand::Flip => "alleles may match on the other strand",
        };
        let palindromic = match self.palindromic {
            Palindromic::Keep => "A/T and C/G variants count as given",
            Palindromic::LeaveOut => "A/T and C/G variants are left out",
        };
        let dosage = match self.dosage {
            Dosage::Genotype => "genotypes are read",
            Dosage::Ds => "dosages are read",
        };
        format!(
            "{missing}, {strand}, {palindromic}, {dosage}, variants that the file lacks are left out, and {} % must match",
            self.least_match_percent
        )
    }
}

/// `every sample has`, or the samples by name.
fn holders(samples: &[String]) -> String {
    match samples {
        [] => "every sample has".to_owned(),
        [one] => format!("sample `{one}` has"),
        some => {
            let named: Vec<String> = some.iter().take(SHOWN).map(|s| format!("`{s}`")).collect();
            let more = some.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("samples {}{more} have", named.join(", "))
        }
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

fn position(position: u64) -> Result<(), BadQuery> {
    if (1..=MOST_POSITION).contains(&position) { Ok(()) } else { Err(BadQuery::Position) }
}

/// Whether a character shows as itself wherever it stands: no control, no direction mark, nothing invisible, and not the mark
/// that names are quoted with.
fn shown(c: char) -> bool {
    !c.is_control()
        && c != '`'
        && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn name(what: &'static str, text: &str) -> Result<(), BadQuery> {
    let fits = !text.trim().is_empty()
        && text.trim() == text
        && text.chars().count() <= MOST_NAME_CHARS
        && text.chars().all(shown);
    if fits { Ok(()) } else { Err(BadQuery::Name { what }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region() -> Query {
        Query::Region(RegionQuery {
            file: "a.bam".into(),
            reference: None,
            region: Region { contig: "11".into(), start: 5_000_001, end: 5_010_000 },
        })
    }

    fn score() -> Query {
        Query::Score(ScoreQuery {
            file: "a.vcf.gz".into(),
            samples: vec!["NA12878".into()],
            build: GenomeBuild::Grch37,
            scoring: ScoringFile {
                id: "PGS000001".into(),
                trait_reported: "Breast cancer".into(),
                variants: 77,
                build: GenomeBuild::Grch37,
                sha256: Digest([1; 32]),
            },
            rules: ScoreRules {
                missing: MissingGenotypes::LeaveOut,
                strand: Strand::Flip,
                palindromic: Palindromic::LeaveOut,
                dosage: Dosage::Genotype,
                least_match_percent: 75,
            },
        })
    }

    #[test]
    fn a_query_has_one_spelling() {
        let text = region().to_canonical();
        assert_eq!(
            text,
            r#"{"ask":"region","file":"a.bam","reference":null,"region":{"contig":"11","end":5010000,"start":5000001}}"#
        );
        assert_eq!(Query::from_canonical(&text), Ok(region()));
        assert_eq!(Query::from_canonical(&score().to_canonical()), Ok(score()));
        for other in [
            text.replace("null", "null,\"more\":1"),
            text.replace("\"reference\":null,", ""),
            text.replace("{\"ask\"", "{ \"ask\""),
            text.replace("5010000", "5010000.0"),
            text.replace("\"file\":\"a.bam\"", "\"file\":\"a.bam\",\"file\":\"a.bam\""),
            text.replace("\"ask\":\"region\",", ""),
            text.replace("region\",\"file", "region\",\"ask\":\"region\",\"file"),
            text.replace("5000001}", "5000001,\"x\":0}"),
        ] {
            assert!(matches!(Query::from_canonical(&other), Err(BadQuery::Form(_))), "{other}");
        }
    }

    #[test]
    fn names_that_would_bend_a_sentence_are_refused() {
        for file in ["", " a", "a\nb", "a`b", "a\u{202e}b", "a\u{200b}", "\u{7}"] {
            let Query::Region(mut ask) = region() else { unreachable!("it is one") };
            ask.file = file.into();
            assert!(matches!(Query::Region(ask).check(), Err(BadQuery::Name { .. })), "{file:?}");
        }
        let Query::Region(mut ask) = region() else { unreachable!("it is one") };
        (ask.region.start, ask.region.end) = (2, 1);
        assert_eq!(Query::Region(ask).check(), Err(BadQuery::Position));
    }

    #[test]
    fn sentences_say_what_is_given_away() {
        assert_eq!(
            region().sentence(),
            "give everything that `a.bam` holds on contig `11` from 5\u{2009}000\u{2009}001 to 5\u{2009}010\u{2009}000 (10\u{2009}000 bases)"
        );
        assert_eq!(
            score().sentence(),
            "compute the polygenic score `PGS000001` for `Breast cancer` (77 variants, GRCh37) from what sample `NA12878` has in \
             `a.vcf.gz`, and give the score without the genotypes; missing genotypes are left out, alleles may match on the other \
             strand, A/T and C/G variants are left out, genotypes are read, variants that the file lacks are left out, and 75 % \
             must match"
        );
        let one = Query::Variant(VariantQuery {
            file: "a.vcf".into(),
            samples: vec![],
            variant: Place {
                contig: "20".into(),
                position: 14370,
                reference: "G".into(),
                allele: "A".into(),
            },
        });
        assert_eq!(
            one.sentence(),
            "say how many copies of `A` (reference `G`) at 14\u{2009}370 of contig `20` every sample has in `a.vcf`"
        );
    }
}
