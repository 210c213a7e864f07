//! Polygenic scores from a scoring file of the PGS Catalog (format 2.0, also harmonized).
//!
//! A score is a sum of weights times copies of effect alleles. What makes two programs give different ones are the rules around it:
//! which build, which strand, what an A/T variant means, what a missing genotype counts, what a site that is not there counts. Each of
//! them is a field of the query and stands in the answer. Sums and averages are those of `plink2 --score` under the same rules.

use std::collections::HashMap;

use api::query::{
    Dosage, GenomeBuild, MissingGenotypes, Palindromic, ScoreQuery, ScoringFile, Strand,
};

use crate::query::{Matched, QueryError, SampleScore, ScoreAnswer, columns};
use crate::sites::{Call, Site, Sites, Spot, plain_contig};

/// How many rows a scoring file has at most: the longest in the catalog have some seven million.
const MOST_ROWS: usize = 10_000_000;
/// From so few samples plink2 estimates no frequency.
const LEAST_SAMPLES: usize = 50;

/// A scoring file, read.
#[derive(Debug)]
pub struct Scoring {
    /// `PGS000001`.
    pub id: String,
    /// What it is for.
    pub trait_reported: String,
    /// Of the positions that are used: the harmonized ones where there are some.
    pub build: GenomeBuild,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// The contig without `chr`, and the position.
    place: Option<(String, u64)>,
    name: Option<String>,
    effect: String,
    other: Option<String>,
    weight: f64,
    frequency: Option<f64>,
    model: Model,
}

/// How copies count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Additive,
    Dominant,
    Recessive,
}

impl Model {
    fn of(self, copies: f64) -> f64 {
        match self {
            Self::Additive => copies,
            Self::Dominant => copies.min(1.0),
            Self::Recessive => (copies - 1.0).max(0.0),
        }
    }
}

fn unusable(why: impl Into<String>) -> QueryError {
    QueryError::Scoring(why.into())
}

impl Scoring {
    /// Reads the text of a scoring file.
    ///
    /// # Errors
    /// It is none, does not say its build, or weighs in a way that is not computed here (interactions, weights for each dosage,
    /// haplotypes): refused as a whole, since a part of a score is another score.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut facts: HashMap<&str, &str> = HashMap::new();
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let titles = loop {
            let Some((_, line)) = lines.next() else {
                return Err(unusable("it has no line of column titles"));
            };
            match line.strip_prefix('#') {
                Some(fact) => {
                    if let Some((key, value)) = fact.trim_start_matches('#').split_once('=') {
                        facts.insert(key.trim(), value.trim());
                    }
                }
                None => break line,
            }
        };
        let titles: Vec<&str> = titles.split('\t').map(str::trim).collect();
        let at = |title: &str| titles.iter().position(|t| *t == title);
        let (Some(effect), Some(weight)) = (at("effect_allele"), at("effect_weight")) else {
            return Err(unusable("it has no columns effect_allele and effect_weight"));
        };
        for title in [
            "dosage_0_weight",
            "dosage_1_weight",
            "dosage_2_weight",
            "is_haplotype",
            "is_diplotype",
        ] {
            if at(title).is_some() {
                return Err(unusable(format!("its column {title} is not computed here")));
            }
        }
        // Harmonized positions are those of the build that the Catalog mapped the variants to.
        let harmonized = facts.get("HmPOS_build").filter(|_| at("hm_chr").is_some());
        let (build, contig, position, name) = match harmonized {
            Some(build) => (Some(*build), at("hm_chr"), at("hm_pos"), at("hm_rsID")),
            None => {
                (facts.get("genome_build").copied(), at("chr_name"), at("chr_position"), at("rsID"))
            }
        };
        let build = build.and_then(GenomeBuild::named).ok_or_else(|| {
            unusable("it does not say that it is on GRCh37 or GRCh38 (a harmonized file does)")
        })?;
        let name = name.or_else(|| at("rsID"));
        let other = at("other_allele").or_else(|| at("reference_allele"));
        let inferred = at("hm_inferOtherAllele");
        let frequency = at("allelefrequency_effect");
        let (dominant, recessive) = (at("is_dominant"), at("is_recessive"));
        let interaction = at("is_interaction");
        let mut rows = Vec::new();
        for (number, line) in lines {
            let wrong = |what: &str| unusable(format!("line {}: {what}", number + 1));
            if rows.len() == MOST_ROWS {
                return Err(unusable("it has more than ten million rows"));
            }
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            let field = |at: Option<usize>| {
                let value = *fields.get(at?)?;
                (!matches!(value, "" | "." | "NA" | "NR")).then_some(value)
            };
            let yes = |at| {
                field(at)
                    .is_some_and(|value: &str| value.eq_ignore_ascii_case("true") || value == "1")
            };
            if yes(interaction) {
                return Err(wrong("an interaction is not computed here"));
            }
            let model = match (yes(dominant), yes(recessive)) {
                (false, false) => Model::Additive,
                (true, false) => Model::Dominant,
                (false, true) => Model::Recessive,
                (true, true) => return Err(wrong("it is dominant and recessive")),
            };
            let effect =
                allele(field(Some(effect))).ok_or_else(|| wrong("its effect allele is none"))?;
            let other = match field(other).or_else(|| field(inferred).filter(|o| !o.contains('/')))
            {
                None => None,
                Some(other) => {
                    Some(allele(Some(other)).ok_or_else(|| wrong("its other allele is none"))?)
                }
            };
            let weight: f64 = field(Some(weight))
                .and_then(|w| w.parse().ok())
                .ok_or_else(|| wrong("its weight is no number"))?;
            if !weight.is_finite() {
                return Err(wrong("its weight is no number"));
            }
            let place = match (field(contig), field(position)) {
                (Some(contig), Some(position)) => {
                    let position =
                        position.parse().map_err(|_| wrong("its position is no number"))?;
                    Some((plain_contig(contig).to_owned(), position))
                }
                _ => None,
            };
            let name = field(name).map(str::to_owned);
            if place.is_none() && name.is_none() {
                return Err(wrong("it has neither position nor rsID"));
            }
            let frequency = match field(frequency) {
                None => None,
                Some(text) => Some(
                    text.parse()
                        .ok()
                        .filter(|f: &f64| (0.0..=1.0).contains(f))
                        .ok_or_else(|| wrong("its allele frequency is none"))?,
                ),
            };
            rows.push(Row { place, name, effect, other, weight, frequency, model });
        }
        if rows.is_empty() {
            return Err(unusable("it weighs no variant"));
        }
        let said = |key: &str| facts.get(key).copied().filter(|value| !value.is_empty());
        Ok(Self {
            id: said("pgs_id").unwrap_or("unnamed").to_owned(),
            trait_reported: said("trait_reported").unwrap_or("not said").to_owned(),
            build,
            rows,
        })
    }

    /// How many variants it weighs.
    pub const fn variants(&self) -> usize {
        self.rows.len()
    }

    /// What a query says of it; `sha256` is that of its text.
    pub fn facts(&self, sha256: api::Digest) -> ScoringFile {
        ScoringFile {
            id: self.id.clone(),
            trait_reported: self.trait_reported.clone(),
            variants: self.rows.len() as u64,
            build: self.build,
            sha256,
        }
    }
}

fn allele(field: Option<&str>) -> Option<String> {
    let allele = field?.to_ascii_uppercase();
    allele.bytes().all(|base| b"ACGTNDI".contains(&base)).then_some(allele)
}

/// The same bases on the other strand.
fn complement(bases: &str) -> String {
    let other = |base| match base {
        'A' => 'T',
        'C' => 'G',
        'G' => 'C',
        'T' => 'A',
        base => base,
    };
    bases.chars().rev().map(other).collect()
}

/// How a row fits a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// The number of the effect allele.
    Given(u16),
    Flipped(u16),
    Palindromic,
    No,
}

/// An allele that the file does not list, of a site that a text of genotypes has: there are no copies of it.
const NOT_LISTED: u16 = u16::MAX;

fn fit(row: &Row, site: &Site, strand: Strand, palindromic: Palindromic, knows: bool) -> Fit {
    let is_palindromic = match &row.other {
        Some(other) => *other == complement(&row.effect),
        None => site.allele(&complement(&row.effect)).is_some(),
    };
    if is_palindromic && palindromic == Palindromic::LeaveOut {
        return Fit::Palindromic;
    }
    let fits = |effect: &str, other: Option<&str>| -> Option<u16> {
        if !knows {
            // Letters without a reference: whatever is there must be one of the two.
            let known =
                |bases: &String| bases == effect || other.is_none_or(|other| bases == other);
            let all = site.alternates.iter().all(known);
            return all.then(|| site.allele(effect).unwrap_or(NOT_LISTED));
        }
        let effect = site.allele(effect)?;
        let other = other.is_none_or(|other| site.allele(other).is_some_and(|o| o != effect));
        other.then_some(effect)
    };
    if let Some(number) = fits(&row.effect, row.other.as_deref()) {
        return Fit::Given(number);
    }
    if strand == Strand::Flip && !is_palindromic {
        let other = row.other.as_deref().map(complement);
        if let Some(number) = fits(&complement(&row.effect), other.as_deref()) {
            return Fit::Flipped(number);
        }
    }
    Fit::No
}

/// How many copies of allele `number` a sample has, and of how many alleles.
fn copies(call: &Call, number: u16, dosage: Dosage) -> Option<(f64, u8)> {
    let of = if call.copies == 0 { 2 } else { call.copies };
    if dosage == Dosage::Ds && !call.dosages.is_empty() {
        let there = match number.checked_sub(1) {
            Some(at) => call.dosages.get(usize::from(at)).copied(),
            None => Some((f64::from(of) - call.dosages.iter().sum::<f64>()).max(0.0)),
        };
        return there.map(|there| (there, of));
    }
    call.copies_of(number).map(|copies| (f64::from(copies), of))
}

pub(crate) fn score(
    mut sites: Sites,
    ask: &ScoreQuery,
    text: &str,
) -> Result<ScoreAnswer, QueryError> {
    let scoring = Scoring::parse(text)?;
    if scoring.facts(ask.scoring.sha256) != ask.scoring {
        return Err(unusable("it is not the one that the query names"));
    }
    let build = |what, found: GenomeBuild, other, expected: GenomeBuild| {
        if found == expected {
            return Ok(());
        }
        let (found, expected) = (found.as_str(), expected.as_str());
        Err(QueryError::Build { what, found, other, expected })
    };
    build("the scoring file", scoring.build, "the genotypes are", ask.build)?;
    if let Some(found) = sites.build() {
        build("the file, by its header,", found, "the query says that it is", ask.build)?;
    }
    let (mine, names) = columns(&sites, &ask.samples)?;
    // Means are those of everybody in the file, whoever is asked for.
    let of_file = ask.rules.missing == MissingGenotypes::MeanOfFile;
    let everybody: Vec<usize> = (0..sites.samples().len()).collect();
    if of_file && everybody.len() < LEAST_SAMPLES {
        return Err(QueryError::FewSamples(everybody.len()));
    }
    let read = if of_file { &everybody } else { &mine };

    let mut by_place: HashMap<(&str, u64), Vec<usize>> = HashMap::new();
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, row) in scoring.rows.iter().enumerate() {
        match (&row.place, &row.name) {
            (Some((contig, position)), _) => {
                by_place.entry((contig.as_str(), *position)).or_default().push(at);
            }
            (None, Some(name)) => by_name.entry(name.as_str()).or_default().push(at),
            (None, None) => {}
        }
    }
    let few = by_name.is_empty() && scoring.rows.len() <= api::query::MOST_SITES;
    if few {
        let places = scoring.rows.iter().filter_map(|row| row.place.as_ref());
        let spots: Vec<Spot> = places
            .map(|(contig, at)| Spot { contig: contig.clone(), position: *at, end: *at })
            .collect();
        sites.narrow(&spots)?;
    }

    let mut state: Vec<State> = vec![State::Absent; scoring.rows.len()];
    let mut samples: Vec<SampleScore> = names
        .into_iter()
        .map(|sample| SampleScore { sample, sum: 0.0, average: None, alleles: 0, missing: 0 })
        .collect();
    let mut matched = Matched::default();
    let (mut spot, mut site) = (Spot::default(), Site::default());
    while sites.advance(&mut spot)? {
        let mut here: Vec<usize> =
            by_place.get(&(plain_contig(&spot.contig), spot.position)).cloned().unwrap_or_default();
        if here.is_empty() && by_name.is_empty() {
            continue;
        }
        sites.decode(&[], false, &mut site)?;
        for id in &site.ids {
            here.extend(by_name.get(id.as_str()).into_iter().flatten());
        }
        if here.is_empty() {
            continue;
        }
        sites.decode(read, ask.rules.dosage == Dosage::Ds, &mut site)?;
        for at in here {
            let row = &scoring.rows[at];
            let knows = sites.knows_reference();
            let fit = fit(row, &site, ask.rules.strand, ask.rules.palindromic, knows);
            let (number, flipped) = match fit {
                Fit::Given(number) => (number, false),
                Fit::Flipped(number) => (number, true),
                Fit::Palindromic => {
                    state[at] = state[at].max(State::Palindromic);
                    continue;
                }
                Fit::No => {
                    state[at] = state[at].max(State::OtherAlleles);
                    continue;
                }
            };
            if state[at] == State::Counted {
                return Err(QueryError::Twice(row.words()));
            }
            state[at] = State::Counted;
            matched.counted += 1;
            matched.flipped += u64::from(flipped);
            let own = row.other.as_ref().is_some_and(|other| *other == complement(&row.effect));
            matched.palindromic_kept += u64::from(own);
            let mean = mean(row, &site, number, ask.rules.missing)?;
            for (order, (column, sample)) in mine.iter().zip(&mut samples).enumerate() {
                // Where everybody was read, calls stand in the file's order; else in the order that was asked for.
                let call = site.calls.get(if of_file { *column } else { order });
                let call = call.ok_or(crate::Fault::Record {
                    record: sites.seen,
                    why: crate::sites::COLUMNS,
                })?;
                match copies(call, number, ask.rules.dosage) {
                    Some((there, of)) => {
                        sample.sum += row.weight * row.model.of(there);
                        sample.alleles += u64::from(of);
                    }
                    None => {
                        sample.missing += 1;
                        sample.sum += row.weight * mean.unwrap_or(0.0);
                    }
                }
            }
        }
    }
    matched.absent = count(&state, State::Absent);
    matched.palindromic_left_out = count(&state, State::Palindromic);
    matched.other_alleles = count(&state, State::OtherAlleles);
    let all = scoring.rows.len() as u64;
    if matched.counted == 0
        || matched.counted * 100 < all * u64::from(ask.rules.least_match_percent)
    {
        return Err(QueryError::TooFew {
            matched: matched.counted,
            all,
            least_percent: ask.rules.least_match_percent,
        });
    }
    for sample in &mut samples {
        // As plink2 has it: an imputed genotype is two alleles of the average, and none of the count.
        let over = match ask.rules.missing {
            MissingGenotypes::LeaveOut => sample.alleles,
            _ => sample.alleles + 2 * sample.missing,
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "twice the rows of a scoring file is far below 2^52"
        )]
        let average = (over > 0).then(|| sample.sum / over as f64);
        sample.average = average;
    }
    Ok(ScoreAnswer {
        scoring: ask.scoring.clone(),
        build: ask.build,
        build_by_header: sites.build().is_some(),
        rules_in_words: ask.rules.sentence(),
        rules: ask.rules.clone(),
        matched,
        samples,
    })
}

/// What became of a row; what is worth more comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Absent,
    OtherAlleles,
    Palindromic,
    Counted,
}

fn count(state: &[State], of: State) -> u64 {
    state.iter().filter(|s| **s == of).count() as u64
}

impl Row {
    fn words(&self) -> String {
        match (&self.place, &self.name) {
            (Some((contig, position)), _) => format!("{contig}:{position} {}", self.effect),
            (None, Some(name)) => name.clone(),
            (None, None) => "a variant".to_owned(),
        }
    }
}

/// What a missing genotype counts in copies; nothing where it is left out.
fn mean(
    row: &Row,
    site: &Site,
    number: u16,
    rule: MissingGenotypes,
) -> Result<Option<f64>, QueryError> {
    let frequency = match rule {
        MissingGenotypes::LeaveOut => return Ok(None),
        MissingGenotypes::MeanOfScoringFile => row.frequency.ok_or_else(|| {
            unusable(format!("it has no allelefrequency_effect for {}", row.words()))
        })?,
        MissingGenotypes::MeanOfFile => {
            let (mut there, mut all) = (0_u64, 0_u64);
            for call in &site.calls {
                if let Some(copies) = call.copies_of(number) {
                    there += u64::from(copies);
                    all += u64::from(call.copies);
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "alleles of people are far below 2^52")]
            if all > 0 { there as f64 / all as f64 } else { 0.0 }
        }
    };
    Ok(Some(match row.model {
        Model::Additive => 2.0 * frequency,
        // Expected under Hardy-Weinberg: at least one copy, and two.
        Model::Dominant => frequency * (2.0 - frequency),
        Model::Recessive => frequency * frequency,
    }))
}
