//! BCF 2 (VCF specification, section 6): records of typed values, whose names are numbers from the header.

use std::io::{self, Read};

use crate::Fault;
use crate::bgzf::damaged;
use crate::sites::{Site, Spot, attribute, binary_genotype};

/// The longest header text.
const MOST_TEXT_BYTES: u32 = 256 * 1024 * 1024;
/// The longest record.
const MOST_RECORD_BYTES: usize = 256 * 1024 * 1024;

const SHORT: &str = "it is shorter than what it says it holds";
const CONTIG: &str = "it lies on a contig that the header does not name";
const TYPE: &str = "a value has a type that BCF does not have";

/// The header as it stands: what BCF begins with, its length, its text.
pub(crate) fn header(from: &mut impl Read) -> Result<Vec<u8>, Fault> {
    let broken = |error| Fault::at(1, error);
    let mut head = vec![0; 9];
    from.read_exact(&mut head).map_err(broken)?;
    if head[..4] != *b"BCF\x02" {
        return Err(Fault::Header("it does not begin as BCF 2 does"));
    }
    let bytes = u32::from_le_bytes([head[5], head[6], head[7], head[8]]);
    if bytes > MOST_TEXT_BYTES {
        return Err(Fault::Header("it is longer than 256 MiB"));
    }
    let read = from.take(bytes.into()).read_to_end(&mut head).map_err(broken)?;
    if read as u64 == u64::from(bytes) { Ok(head) } else { Err(Fault::Cut { record: 1 }) }
}

/// Reads a record whole, with its two lengths; false at the end.
pub(crate) fn record(from: &mut impl Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut lengths = [0; 8];
    if !crate::next(from, &mut lengths)? {
        return Ok(false);
    }
    let length = |at: usize| {
        let bytes = [lengths[at], lengths[at + 1], lengths[at + 2], lengths[at + 3]];
        usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
    };
    let bytes = length(0).saturating_add(length(4));
    if bytes > MOST_RECORD_BYTES {
        return Err(damaged("a record is longer than 256 MiB"));
    }
    into.clear();
    into.extend_from_slice(&lengths);
    if from.take(bytes as u64).read_to_end(into)? == bytes {
        Ok(true)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// What numbers in records stand for.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    contigs: Vec<String>,
    genotype: Option<usize>,
    dosage: Option<usize>,
}

impl Dictionary {
    /// From the text of the header: in order of appearance, unless a line says its number.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut words: Vec<(Vec<u8>, usize)> = vec![(b"PASS".to_vec(), 0)];
        let mut contigs: Vec<(String, usize)> = Vec::new();
        let (mut next_word, mut next_contig) = (1, 0);
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(rest) = line.strip_prefix(b"##") else { continue };
            let Some(at) = rest.windows(2).position(|pair| pair == b"=<") else { continue };
            let (key, fields) = (&rest[..at], &rest[at + 2..]);
            let Some(id) = attribute(fields, b"ID") else { continue };
            let said = attribute(fields, b"IDX")
                .and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
            match key {
                b"contig" => {
                    let number = said.unwrap_or(next_contig);
                    next_contig = next_contig.max(number.saturating_add(1));
                    contigs.push((String::from_utf8_lossy(id).into_owned(), number));
                }
                b"FILTER" | b"INFO" | b"FORMAT" if !words.iter().any(|(word, _)| word == id) => {
                    let number = said.unwrap_or(next_word);
                    next_word = next_word.max(number.saturating_add(1));
                    words.push((id.to_vec(), number));
                }
                _ => {}
            }
        }
        let word = |id: &[u8]| words.iter().find(|(word, _)| word == id).map(|(_, number)| *number);
        // A number far beyond the lines that there are names nothing.
        let most = contigs.iter().map(|(_, n)| *n).filter(|n| *n < 1 << 24).max();
        let mut named = vec![String::new(); most.map_or(0, |most| most + 1)];
        for (name, number) in contigs {
            if let Some(place) = named.get_mut(number) {
                *place = name;
            }
        }
        Self { contigs: named, genotype: word(b"GT"), dosage: word(b"DS") }
    }

    /// The contigs by number.
    pub(crate) fn contigs(&self) -> &[String] {
        &self.contigs
    }

    /// Where a record lies.
    pub(crate) fn spot(&self, record: &[u8], spot: &mut Spot) -> Result<(), &'static str> {
        let mut fields = Fields(record.get(8..).ok_or(SHORT)?);
        let contig = usize::try_from(fields.i32()?).ok().and_then(|at| self.contigs.get(at));
        let position = u64::try_from(i64::from(fields.i32()?) + 1).map_err(|_| SHORT)?;
        let bases = u64::try_from(fields.i32()?).unwrap_or(0).max(1);
        spot.contig.clear();
        spot.contig.push_str(contig.filter(|name| !name.is_empty()).ok_or(CONTIG)?);
        spot.position = position;
        spot.end = position + bases - 1;
        Ok(())
    }

    /// What a record says of the samples in `columns`.
    pub(crate) fn site(
        &self,
        record: &[u8],
        samples: usize,
        columns: &[usize],
        dosages: bool,
        site: &mut Site,
    ) -> Result<(), &'static str> {
        let mut fields = Fields(record);
        let site_bytes = usize::try_from(fields.i32()?).map_err(|_| SHORT)?;
        fields.i32()?;
        let mut people = Fields(fields.0.get(site_bytes..).ok_or(SHORT)?);
        let mut fields = Fields(&fields.0[..site_bytes]);
        fields.bytes(16)?;
        let alleles = u32::from_le_bytes(fields.array()?) >> 16;
        let people_word = u32::from_le_bytes(fields.array()?);
        let (counted, formats) = (people_word & 0x00ff_ffff, people_word >> 24);
        if usize::try_from(counted).ok() != Some(samples) {
            return Err("it has not as many samples as the header");
        }
        let ids = fields.text()?;
        site.ids =
            ids.split(';').filter(|id| *id != "." && !id.is_empty()).map(str::to_owned).collect();
        site.reference = if alleles > 0 { fields.text()? } else { String::new() };
        site.alternates.clear();
        for _ in 1..alleles {
            let allele = fields.text()?;
            site.alternates.push(allele);
        }
        site.calls.clear();
        if columns.is_empty() {
            return Ok(());
        }
        site.calls.resize_with(columns.len(), Default::default);
        for _ in 0..formats {
            let key = usize::try_from(people.typed_number()?).ok();
            let (kind, each) = people.kind()?;
            let width = kind.width()?;
            let each_bytes = each.checked_mul(width).ok_or(SHORT)?;
            let values = people.bytes(each_bytes.checked_mul(samples).ok_or(SHORT)?)?;
            let wants_genotype = key.is_some() && key == self.genotype;
            let wants_dosage = dosages && key.is_some() && key == self.dosage;
            if !wants_genotype && !wants_dosage {
                continue;
            }
            for (call, column) in site.calls.iter_mut().zip(columns) {
                let from = column.checked_mul(each_bytes).ok_or(SHORT)?;
                let mine = values.get(from..from + each_bytes).ok_or(SHORT)?;
                if wants_genotype {
                    let numbers = mine.chunks_exact(width).map(|bytes| kind.number(bytes));
                    let read = binary_genotype(numbers, site.alternates.len())?;
                    let dosages = std::mem::take(&mut call.dosages);
                    *call = crate::sites::Call { dosages, ..read };
                } else {
                    let read = mine.chunks_exact(width).map(|bytes| kind.float(bytes));
                    call.dosages = read.collect::<Option<Vec<f64>>>().unwrap_or_default();
                }
            }
        }
        Ok(())
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind(u8);

impl Kind {
    const fn width(self) -> Result<usize, &'static str> {
        match self.0 {
            0 => Ok(0),
            1 | 7 => Ok(1),
            2 => Ok(2),
            3 | 5 => Ok(4),
            _ => Err(TYPE),
        }
    }

    /// A whole number; nothing for what ends a list. A missing number reads as 0, which is a missing allele.
    fn number(self, bytes: &[u8]) -> Option<i32> {
        let (number, least) = match (self.0, bytes) {
            (1, [a]) => (i32::from(a.cast_signed()), i32::from(i8::MIN)),
            (2, [a, b]) => (i32::from(i16::from_le_bytes([*a, *b])), i32::from(i16::MIN)),
            (3, [a, b, c, d]) => (i32::from_le_bytes([*a, *b, *c, *d]), i32::MIN),
            _ => return None,
        };
        if number == least + 1 { None } else { Some(if number == least { 0 } else { number }) }
    }

    /// A number with a fraction; nothing where it is missing.
    fn float(self, bytes: &[u8]) -> Option<f64> {
        match (self.0, bytes) {
            (5, [a, b, c, d]) => {
                Some(f64::from(f32::from_le_bytes([*a, *b, *c, *d]))).filter(|v| v.is_finite())
            }
            (1..=3, _) => self.number(bytes).map(f64::from),
            _ => None,
        }
    }
}

/// Reads values off a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array(&mut self) -> Result<[u8; 4], &'static str> {
        let bytes = self.bytes(4)?;
        Ok([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    fn i32(&mut self) -> Result<i32, &'static str> {
        self.array().map(i32::from_le_bytes)
    }

    /// A type and how many values of it follow.
    fn kind(&mut self) -> Result<(Kind, usize), &'static str> {
        let byte = self.bytes(1)?[0];
        let (kind, count) = (Kind(byte & 0xf), usize::from(byte >> 4));
        if count < 15 {
            return Ok((kind, count));
        }
        let count = usize::try_from(self.typed_number()?).map_err(|_| SHORT)?;
        Ok((kind, count))
    }

    fn typed_number(&mut self) -> Result<i32, &'static str> {
        let byte = self.bytes(1)?[0];
        let kind = Kind(byte & 0xf);
        if byte >> 4 != 1 || !matches!(kind.0, 1..=3) {
            return Err(TYPE);
        }
        kind.number(self.bytes(kind.width()?)?).ok_or(TYPE)
    }

    fn text(&mut self) -> Result<String, &'static str> {
        let (kind, count) = self.kind()?;
        let bytes = self.bytes(kind.width()?.checked_mul(count).ok_or(SHORT)?)?;
        if kind.0 != 7 && count > 0 {
            return Err(TYPE);
        }
        Ok(String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default())
            .into_owned())
    }
}
