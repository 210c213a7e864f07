//! Variants: VCF (one line each) and BCF (records that say their own length), as the VCF 4 specification has them.

use std::io::Read;

use crate::lines::Lines;
use crate::{Fault, Found, announced, next, skip};

/// The columns that every record has.
const COLUMNS: [&[u8]; 8] = [b"#CHROM", b"POS", b"ID", b"REF", b"ALT", b"QUAL", b"FILTER", b"INFO"];
/// The longest BCF header that is taken.
const MOST_TEXT_BYTES: u32 = 256 * 1024 * 1024;
/// What every BCF record has of its site.
const SITE_BYTES: usize = 24;

const FIRST: &str = "its first line is not ##fileformat=VCF";
const TITLES: &str = "the line of column titles is missing or wrong";
const TWICE: &str = "a sample has two columns";
const COUNT: &str = "it has not as many columns as there are titles";
const POSITION: &str = "its position is no number";

/// The samples of a line of titles, and how many columns there are.
pub(crate) fn titles(line: &[u8]) -> Result<(Vec<String>, usize), Fault> {
    let columns: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
    if columns.len() < COLUMNS.len() || columns[..COLUMNS.len()] != COLUMNS {
        return Err(Fault::Header(TITLES));
    }
    let names = match columns.get(COLUMNS.len()) {
        None => &[][..],
        Some(&b"FORMAT") => &columns[COLUMNS.len() + 1..],
        Some(_) => return Err(Fault::Header(TITLES)),
    };
    let samples: Vec<String> =
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let mut sorted: Vec<&String> = samples.iter().collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Fault::Header(TWICE));
    }
    Ok((samples, columns.len()))
}

/// The samples of the header, and how many columns there are.
pub(crate) fn vcf_header<R: Read>(lines: &mut Lines<R>) -> Result<(Vec<String>, usize), Fault> {
    let broken = |error| Fault::at(1, error);
    match lines.next().map_err(broken)? {
        Some(line) if line.text.starts_with(b"##fileformat=VCF") => {}
        _ => return Err(Fault::Header(FIRST)),
    }
    loop {
        match lines.next().map_err(broken)? {
            Some(line) if line.ended && line.text.starts_with(b"##") => {}
            Some(line) if line.ended => return titles(line.text),
            _ => return Err(Fault::Cut { record: 1 }),
        }
    }
}

pub(crate) fn check_vcf(from: &mut impl Read) -> Result<Found, Fault> {
    let mut lines = Lines::new(from);
    let (samples, columns) = vcf_header(&mut lines)?;
    let mut records = 0;
    loop {
        let record = records + 1;
        let Some(line) = lines.next().map_err(|error| Fault::at(record, error))? else {
            return Ok(Found { records, samples, ..Found::default() });
        };
        if !line.ended {
            return Err(Fault::Cut { record });
        }
        let mut fields = line.text.split(|byte| *byte == b'\t');
        let position = fields.nth(1);
        if memchr::memchr_iter(b'\t', line.text).count() + 1 != columns {
            return Err(Fault::Record { record, why: COUNT });
        }
        if !position.is_some_and(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit)) {
            return Err(Fault::Record { record, why: POSITION });
        }
        records = record;
    }
}

/// The samples of the header.
pub(crate) fn bcf_header(from: &mut impl Read) -> Result<Vec<String>, Fault> {
    let broken = |error| Fault::at(1, error);
    let mut head = [0; 9];
    from.read_exact(&mut head).map_err(broken)?;
    if head[..4] != *b"BCF\x02" {
        return Err(Fault::Header("it does not begin as BCF 2 does"));
    }
    let text_bytes = u32::from_le_bytes([head[5], head[6], head[7], head[8]]);
    if text_bytes > MOST_TEXT_BYTES {
        return Err(Fault::Header("it is longer than 256 MiB"));
    }
    let text = announced(from, u64::from(text_bytes)).map_err(broken)?;
    let line = text
        .split(|byte| *byte == b'\n')
        .find(|line| line.starts_with(b"#CHROM\t"))
        .ok_or(Fault::Header(TITLES))?;
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    titles(line.strip_suffix(b"\r").unwrap_or(line)).map(|(samples, _)| samples)
}

pub(crate) fn check_bcf(from: &mut impl Read) -> Result<Found, Fault> {
    let samples = bcf_header(from)?;
    let mut records = 0;
    let mut lengths = [0; 8];
    loop {
        let record = records + 1;
        let stopped = |error| Fault::at(record, error);
        if !next(from, &mut lengths).map_err(stopped)? {
            return Ok(Found { records, samples, ..Found::default() });
        }
        let [a, b, c, d, e, f, g, h] = lengths;
        let (site, people) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let short = Fault::Record { record, why: "it is shorter than what it says it holds" };
        let Some(rest) = u64::from(site).checked_sub(SITE_BYTES as u64) else { return Err(short) };
        let mut fixed = [0; SITE_BYTES];
        from.read_exact(&mut fixed).map_err(stopped)?;
        let counted = u32::from_le_bytes([fixed[20], fixed[21], fixed[22], 0]);
        if usize::try_from(counted).ok() != Some(samples.len()) {
            return Err(Fault::Record { record, why: "it has not as many samples as the header" });
        }
        skip(from, rest + u64::from(people)).map_err(stopped)?;
        records = record;
    }
}
