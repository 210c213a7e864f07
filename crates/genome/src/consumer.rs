//! Texts of genotypes as 23andMe gives them to its customers: a name, a chromosome, a position and two letters to a line.
//!
//! They do not say which allele is the reference, so what needs that (transitions, transversions, alternate alleles) cannot be
//! told from them; a copy of a named allele can. Letters are on the plus strand of `GRCh37`, as the file itself says.

use std::io::Read;

use api::query::GenomeBuild;

use crate::lines::Lines;
use crate::sites::{COLUMNS, Call, Site, Spot};
use crate::{Fault, Found};

/// What the one sample of such a text is called: the text has no name for it.
pub(crate) const SAMPLE: &str = "genotypes";

const PLACE: &str = "it lies on no chromosome, or at no position";
const LETTERS: &str = "its genotype is not of the letters A, C, G, T, D, I and -";

/// Whether a line is the one of column titles.
pub(crate) fn is_titles(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"#").unwrap_or(line).trim_ascii_start();
    line.eq_ignore_ascii_case(b"rsid\tchromosome\tposition\tgenotype")
}

/// Whether a file that begins so is such a text.
pub(crate) fn begins(head: &[u8]) -> bool {
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if is_titles(line) {
            return true;
        }
        if !line.starts_with(b"#") {
            return false;
        }
    }
    false
}

/// The build that a line of the header names: `… reference human assembly build 37 …`.
pub(crate) fn build_of(line: &[u8]) -> Option<GenomeBuild> {
    let line = String::from_utf8_lossy(line);
    let (_, rest) = line.split_once("assembly build ")?;
    GenomeBuild::named(rest.split(|c: char| !c.is_ascii_digit()).next()?)
}

/// The four columns.
fn columns(line: &[u8]) -> Result<[&str; 4], &'static str> {
    let mut fields = std::str::from_utf8(line).map_err(|_| COLUMNS)?.split('\t');
    let mut field = || fields.next().ok_or(COLUMNS);
    let all = [field()?, field()?, field()?, field()?];
    if fields.next().is_some() { Err(COLUMNS) } else { Ok(all) }
}

pub(crate) fn spot(line: &[u8], spot: &mut Spot) -> Result<(), &'static str> {
    let [_, contig, position, _] = columns(line)?;
    let known = matches!(contig, "X" | "Y" | "MT" | "XY")
        || contig.parse::<u8>().is_ok_and(|number| (1..=26).contains(&number));
    let position: u64 = position.parse().map_err(|_| PLACE)?;
    if !known {
        return Err(PLACE);
    }
    spot.contig.clear();
    spot.contig.push_str(contig);
    (spot.position, spot.end) = (position, position);
    Ok(())
}

pub(crate) fn site(line: &[u8], site: &mut Site) -> Result<(), &'static str> {
    let [name, _, _, letters] = columns(line)?;
    if name.is_empty() || !(1..=2).contains(&letters.len()) {
        return Err(LETTERS);
    }
    site.ids = vec![name.to_owned()];
    site.reference.clear();
    site.alternates.clear();
    let mut call = Call::default();
    for letter in letters.chars() {
        let number = match letter {
            '-' => None,
            'A' | 'C' | 'G' | 'T' | 'D' | 'I' => {
                let letter = letter.to_string();
                if !site.alternates.contains(&letter) {
                    site.alternates.push(letter.clone());
                }
                site.allele(&letter)
            }
            _ => return Err(LETTERS),
        };
        call.alleles[usize::from(call.copies)] = number;
        call.copies += 1;
    }
    site.calls = vec![call];
    Ok(())
}

/// Reads such a text to its end.
pub(crate) fn check(from: impl Read) -> Result<Found, Fault> {
    let mut lines = Lines::new(from);
    let (mut titled, mut records) = (false, 0);
    let (mut place, mut one) = (Spot::default(), Site::default());
    loop {
        let record = records + 1;
        let Some(line) = lines.next().map_err(|error| Fault::at(record, error))? else {
            return if titled {
                Ok(Found { records, ..Found::default() })
            } else {
                Err(Fault::Cut { record })
            };
        };
        if !titled {
            titled = is_titles(line.text);
            if !titled && !line.text.starts_with(b"#") {
                return Err(Fault::Header("the line of column titles is missing"));
            }
            continue;
        }
        if !line.ended {
            return Err(Fault::Cut { record });
        }
        let wrong = |why| Fault::Record { record, why };
        spot(line.text, &mut place).map_err(wrong)?;
        site(line.text, &mut one).map_err(wrong)?;
        records = record;
    }
}
