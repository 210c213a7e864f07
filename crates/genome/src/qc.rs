//! Quality figures of variants: what kinds of records there are, and how each sample's genotypes are made up.

use crate::query::{FileCounts, QcAnswer, QueryError, SampleQc, columns};
use crate::sites::{Site, Sites, Spot};

/// What an alternate allele is to its reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Transition,
    Transversion,
    Mnv,
    Indel,
    Other,
    /// The same bases: no change at all.
    None,
}

/// After what both have in front and behind is taken off, as htslib does it.
fn change(reference: &str, alternate: &str) -> Change {
    let is_bases =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b"ACGTNacgtn".contains(&b));
    if !is_bases(reference) || !is_bases(alternate) {
        return Change::Other;
    }
    let (mut a, mut b) = (reference.as_bytes(), alternate.as_bytes());
    if a.len() != b.len() {
        return Change::Indel;
    }
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b)
        && x.eq_ignore_ascii_case(y)
    {
        (a, b) = (rest_a, rest_b);
    }
    while let ([rest_a @ .., x], [rest_b @ .., y]) = (a, b)
        && x.eq_ignore_ascii_case(y)
    {
        (a, b) = (rest_a, rest_b);
    }
    match (a, b) {
        ([], _) | (_, []) => Change::None,
        ([x], [y]) => match [x.to_ascii_uppercase(), y.to_ascii_uppercase()] {
            [b'A', b'G'] | [b'G', b'A'] | [b'C', b'T'] | [b'T', b'C'] => Change::Transition,
            [b'N', _] | [_, b'N'] => Change::Other,
            _ => Change::Transversion,
        },
        _ => Change::Mnv,
    }
}

pub(crate) fn qc(mut sites: Sites, samples: &[String]) -> Result<QcAnswer, QueryError> {
    let (columns, names) = columns(&sites, samples)?;
    let knows = sites.knows_reference();
    let mut counts = FileCounts::default();
    let mut all: Vec<Tally> = vec![Tally::default(); names.len()];
    let (mut spot, mut site) = (Spot::default(), Site::default());
    while sites.advance(&mut spot)? {
        sites.decode(&columns, false, &mut site)?;
        counts.records += 1;
        let changes: Vec<Change> = if knows {
            site.alternates.iter().map(|bases| change(&site.reference, bases)).collect()
        } else {
            Vec::new()
        };
        let has = |kinds: &[Change]| u64::from(changes.iter().any(|c| kinds.contains(c)));
        let of = |kind: Change| changes.iter().filter(|c| **c == kind).count() as u64;
        counts.snvs += has(&[Change::Transition, Change::Transversion]);
        counts.mnvs += has(&[Change::Mnv]);
        counts.indels += has(&[Change::Indel]);
        counts.others += has(&[Change::Other]);
        counts.multiallelic += u64::from(changes.len() > 1);
        counts.transitions += of(Change::Transition);
        counts.transversions += of(Change::Transversion);
        for (call, tally) in site.calls.iter().zip(&mut all) {
            let Some(alleles) = call.called() else {
                tally.missing += 1;
                continue;
            };
            tally.called += 1;
            match alleles {
                [_] => tally.haploid += 1,
                [a, b] if a != b => tally.heterozygous += 1,
                [Some(0), _] if knows => tally.homozygous_reference += 1,
                _ => tally.homozygous_alternate += 1,
            }
            let mut kinds: Vec<u16> =
                alleles.iter().flatten().copied().filter(|n| *n > 0).collect();
            kinds.dedup();
            for number in kinds {
                match changes.get(usize::from(number) - 1) {
                    Some(Change::Transition) => tally.transitions += 1,
                    Some(Change::Transversion) => tally.transversions += 1,
                    _ => {}
                }
            }
        }
    }
    let samples = all.into_iter().zip(names).map(|(tally, sample)| tally.figures(sample, knows));
    Ok(QcAnswer { file: counts, samples: samples.collect() })
}

#[derive(Debug, Clone, Default)]
struct Tally {
    called: u64,
    missing: u64,
    homozygous_reference: u64,
    heterozygous: u64,
    homozygous_alternate: u64,
    haploid: u64,
    transitions: u64,
    transversions: u64,
}

impl Tally {
    fn figures(self, sample: String, knows: bool) -> SampleQc {
        SampleQc {
            sample,
            called: self.called,
            missing: self.missing,
            call_rate: share(self.called, self.called + self.missing),
            homozygous_reference: knows.then_some(self.homozygous_reference),
            heterozygous: self.heterozygous,
            homozygous_alternate: self.homozygous_alternate,
            haploid: self.haploid,
            het_hom: share(self.heterozygous, self.homozygous_alternate),
            transitions: knows.then_some(self.transitions),
            transversions: knows.then_some(self.transversions),
            ti_tv: share(self.transitions, self.transversions).filter(|_| knows),
        }
    }
}

/// One by the other, where there is another.
fn share(of: u64, all: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
    (all > 0).then(|| of as f64 / all as f64)
}
