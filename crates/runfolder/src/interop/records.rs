//! The records of each file, one decoder each: bytes in, records out, up to the last whole one.

use crate::fields::Fields;
use crate::inflate::Damage;

/// What identifies most records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct At {
    pub(crate) lane: u16,
    pub(crate) tile: u32,
}

/// One figure of a tile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum TileFact {
    /// Clusters a square millimetre.
    Density(f32),
    DensityPassing(f32),
    Clusters(f32),
    Passing(f32),
    /// Percent of a read, counted from 1.
    Phasing(u32, f32),
    Prephasing(u32, f32),
    /// Percent of a read's clusters that align to the control; NaN where nothing was aligned.
    Aligned(u32, f32),
}

/// Calls of one tile and cycle by quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quality {
    /// Tile 0 stands for the whole lane.
    pub(crate) at: At,
    pub(crate) cycle: u16,
    pub(crate) q30: u64,
    pub(crate) total: u64,
}

/// Intensities of one tile and cycle, by channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extraction {
    pub(crate) at: At,
    pub(crate) cycle: u16,
    pub(crate) intensities: Vec<u16>,
}

/// Percent of wrong calls of one tile and cycle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Error {
    pub(crate) at: At,
    pub(crate) cycle: u16,
    pub(crate) percent: f32,
}

/// Phasing weights of one tile and cycle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Phasing {
    pub(crate) at: At,
    pub(crate) cycle: u16,
    pub(crate) phasing: f32,
    pub(crate) prephasing: f32,
}

/// Occupied wells of one tile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Occupied {
    pub(crate) at: At,
    pub(crate) clusters: f32,
}

/// Calls of one tile and cycle by base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Correction {
    pub(crate) at: At,
    pub(crate) cycle: u16,
    pub(crate) calls: Call,
}

/// How many calls were none, A, C, G, T.
pub(crate) type Call = [u64; 5];

/// Clusters of one sample on one tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) at: At,
    pub(crate) read: u16,
    pub(crate) index: String,
    pub(crate) clusters: u64,
    pub(crate) sample: String,
    pub(crate) project: String,
}

/// Whether a file ended inside a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    InsideARecord,
}

/// A file of fixed records.
struct File<'a> {
    version: u8,
    record_bytes: usize,
    rest: Fields<'a>,
}

impl<'a> File<'a> {
    /// Reads version and record size; `None` for a file too short to have them, which then has no record.
    fn open(bytes: &'a [u8], wide_size_from: u8) -> Option<Self> {
        let mut rest = Fields(bytes);
        let version = rest.u8().ok()?;
        let record_bytes = match version >= wide_size_from {
            true => usize::from(rest.u16().ok()?),
            false => usize::from(rest.u8().ok()?),
        };
        Some(Self { version, record_bytes, rest })
    }

    /// Sees that a record has at least so many bytes, which is never none; `exact` allows no more.
    fn expect(&self, least: usize, exact: bool) -> Result<(), Damage> {
        let sound = if exact { self.record_bytes == least } else { self.record_bytes >= least };
        match sound {
            true => Ok(()),
            false => Err(header(
                "the size of a record",
                self.record_bytes as u64,
                "does not fit its version",
            )),
        }
    }

    fn unknown(&self) -> Damage {
        header("the version", self.version.into(), "is not known")
    }

    /// Every whole record.
    fn each(self, mut take: impl FnMut(Fields<'a>) -> Result<(), Damage>) -> Result<End, Damage> {
        let records = self.rest.0.chunks_exact(self.record_bytes);
        let end = match records.remainder() {
            [] => End::Whole,
            _ => End::InsideARecord,
        };
        for record in records {
            take(Fields(record))?;
        }
        Ok(end)
    }
}

fn header(what: &'static str, found: u64, why: &'static str) -> Damage {
    Damage::Header { what, found, why }
}

/// A file that ends before its records begin holds none.
macro_rules! open_or_none {
    ($bytes:expr, $wide:expr) => {
        match File::open($bytes, $wide) {
            Some(file) => file,
            None => return Ok(End::InsideARecord),
        }
    };
}

/// No version of most files has a record size of two bytes.
const NEVER: u8 = u8::MAX;

fn short(fields: &mut Fields<'_>) -> Result<At, Damage> {
    Ok(At { lane: fields.u16()?, tile: fields.u16()?.into() })
}

fn long(fields: &mut Fields<'_>) -> Result<At, Damage> {
    Ok(At { lane: fields.u16()?, tile: fields.u32()? })
}

/// `TileMetricsOut.bin`, versions 2 and 3.
pub(crate) fn tiles(bytes: &[u8], mut take: impl FnMut(At, TileFact)) -> Result<End, Damage> {
    let mut file = open_or_none!(bytes, NEVER);
    match file.version {
        2 => {
            file.expect(10, true)?;
            file.each(|mut fields| {
                let at = short(&mut fields)?;
                let (code, value) = (u32::from(fields.u16()?), fields.f32()?);
                let fact = match code {
                    100 => TileFact::Density(value),
                    101 => TileFact::DensityPassing(value),
                    102 => TileFact::Clusters(value),
                    103 => TileFact::Passing(value),
                    200..300 if code.is_multiple_of(2) => {
                        TileFact::Phasing((code - 200) / 2 + 1, value * 100.0)
                    }
                    200..300 => TileFact::Prephasing((code - 200) / 2 + 1, value * 100.0),
                    300..400 => TileFact::Aligned(code - 300 + 1, value),
                    // The lane of the control, and codes of later programs.
                    _ => return Ok(()),
                };
                take(at, fact);
                Ok(())
            })
        }
        3 => {
            file.expect(15, true)?;
            let Ok(area) = file.rest.f32() else { return Ok(End::InsideARecord) };
            file.each(|mut fields| {
                let at = long(&mut fields)?;
                match fields.u8()? {
                    b't' => {
                        let (clusters, passing) = (fields.f32()?, fields.f32()?);
                        take(at, TileFact::Clusters(clusters));
                        take(at, TileFact::Passing(passing));
                        take(at, TileFact::Density(clusters / area));
                        take(at, TileFact::DensityPassing(passing / area));
                    }
                    b'r' => take(at, TileFact::Aligned(fields.u32()?, fields.f32()?)),
                    _ => {}
                }
                Ok(())
            })
        }
        _ => Err(file.unknown()),
    }
}

/// The lowest quality that counts as Q30.
const Q30: u8 = 30;
/// Counts of a histogram that has no bins: one for each quality from 1.
const UNBINNED: usize = 50;

/// `QMetricsOut.bin` (versions 4 to 9) and, with `by_lane`, `QMetricsByLaneOut.bin` (versions 4 to 6).
pub(crate) fn qualities_by_histogram(
    bytes: &[u8],
    by_lane: bool,
    mut take: impl FnMut(Quality),
) -> Result<End, Damage> {
    let mut file = open_or_none!(bytes, 9);
    if !(4..=9).contains(&file.version) || by_lane && file.version > 6 {
        return Err(file.unknown());
    }
    let Ok(values) = bin_values(&mut file) else { return Ok(End::InsideARecord) };
    let ids = if file.version >= 7 { 8 } else { 6 };
    file.expect(ids + 4, false)?;
    let counts = (file.record_bytes - ids) / 4;
    let good: Vec<bool> = match counts {
        UNBINNED => (1..).take(counts).map(|quality: u8| quality >= Q30).collect(),
        _ if counts == values.len() => values.iter().map(|value| *value >= Q30).collect(),
        _ => {
            let why = "does not fit its quality bins";
            return Err(header("the size of a record", file.record_bytes as u64, why));
        }
    };
    let version = file.version;
    file.each(|mut fields| {
        let at = if version >= 7 { long(&mut fields)? } else { short(&mut fields)? };
        let cycle = fields.u16()?;
        let (mut q30, mut total) = (0, 0);
        for good in &good {
            let count = u64::from(fields.u32()?);
            total += count;
            q30 += if *good { count } else { 0 };
        }
        take(Quality { at, cycle, q30, total });
        Ok(())
    })
}

/// The quality that each bin of the header stands for; none where it has no bins.
fn bin_values(file: &mut File<'_>) -> Result<Vec<u8>, Damage> {
    if file.version < 5 || file.rest.u8()? == 0 {
        return Ok(Vec::new());
    }
    let bins = usize::from(file.rest.u8()?);
    let table = file.rest.bytes(3 * bins)?;
    Ok(match file.version {
        // All lower bounds, all upper ones, all values.
        5 | 6 => table[2 * bins..].to_vec(),
        // Bin by bin.
        _ => table.chunks_exact(3).map(|bin| bin[2]).collect(),
    })
}

/// `QMetrics2030Out.bin`, versions 2 to 6.
pub(crate) fn qualities_collapsed(
    bytes: &[u8],
    mut take: impl FnMut(Quality),
) -> Result<End, Damage> {
    let mut file = open_or_none!(bytes, NEVER);
    if !(2..=6).contains(&file.version) {
        return Err(file.unknown());
    }
    if bin_values(&mut file).is_err() {
        return Ok(End::InsideARecord);
    }
    file.expect(18, false)?;
    file.each(|mut fields| {
        let (at, cycle) = (short(&mut fields)?, fields.u16()?);
        let (_q20, q30, total) = (fields.u32()?, fields.u32()?.into(), fields.u32()?.into());
        take(Quality { at, cycle, q30, total });
        Ok(())
    })
}

/// `ExtractionMetricsOut.bin`, versions 2 and 3.
pub(crate) fn extractions(bytes: &[u8], mut take: impl FnMut(Extraction)) -> Result<End, Damage> {
    let mut file = open_or_none!(bytes, NEVER);
    let channels = match file.version {
        2 => 4,
        3 => match file.rest.u8() {
            Ok(channels) => usize::from(channels),
            Err(_) => return Ok(End::InsideARecord),
        },
        _ => return Err(file.unknown()),
    };
    let version = file.version;
    file.expect(if version == 2 { 38 } else { 8 + 6 * channels }, true)?;
    file.each(|mut fields| {
        let at = if version == 2 { short(&mut fields)? } else { long(&mut fields)? };
        let cycle = fields.u16()?;
        fields.bytes(4 * channels)?;
        let intensities = (0..channels).map(|_| fields.u16()).collect::<Result<_, _>>()?;
        take(Extraction { at, cycle, intensities });
        Ok(())
    })
}

/// `ErrorMetricsOut.bin`, versions 3 to 6.
pub(crate) fn errors(bytes: &[u8], mut take: impl FnMut(Error)) -> Result<End, Damage> {
    let mut file = open_or_none!(bytes, NEVER);
    let version = file.version;
    match version {
        3 => file.expect(30, true)?,
        4 => file.expect(12, true)?,
        5 => file.expect(16, true)?,
        6 => {
            let Ok(adapters) = file.rest.u16() else { return Ok(End::InsideARecord) };
            let Ok(length) = file.rest.u16() else { return Ok(End::InsideARecord) };
            let letters = usize::from(adapters) * usize::from(length);
            if file.rest.bytes(letters).is_err() {
                return Ok(End::InsideARecord);
            }
            file.expect(12 + 4 * usize::from(adapters), true)?;
        }
        _ => return Err(file.unknown()),
    }
    file.each(|mut fields| {
        let at = if version == 3 { short(&mut fields)? } else { long(&mut fields)? };
        take(Error { at, cycle: fields.u16()?, percent: fields.f32()? });
        Ok(())
    })
}

/// `EmpiricalPhasingMetricsOut.bin`, versions 1 and 2.
pub(crate) fn phasings(bytes: &[u8], mut take: impl FnMut(Phasing)) -> Result<End, Damage> {
    let file = open_or_none!(bytes, NEVER);
    let version = file.version;
    match version {
        1 => file.expect(14, true)?,
        2 => file.expect(16, true)?,
        _ => return Err(file.unknown()),
    }
    file.each(|mut fields| {
        let at = if version == 1 { short(&mut fields)? } else { long(&mut fields)? };
        let (cycle, phasing, prephasing) = (fields.u16()?, fields.f32()?, fields.f32()?);
        take(Phasing { at, cycle, phasing, prephasing });
        Ok(())
    })
}

/// `ExtendedTileMetricsOut.bin`, versions 1 to 3.
pub(crate) fn occupied(bytes: &[u8], mut take: impl FnMut(Occupied)) -> Result<End, Damage> {
    let file = open_or_none!(bytes, NEVER);
    let version = file.version;
    match version {
        1 | 2 => file.expect(10, true)?,
        3 => file.expect(18, true)?,
        _ => return Err(file.unknown()),
    }
    file.each(|mut fields| {
        let at = if version == 1 { short(&mut fields)? } else { long(&mut fields)? };
        // Version 1 holds other figures under other codes.
        if version > 1 || fields.u16()? == 0 {
            take(Occupied { at, clusters: fields.f32()? });
        }
        Ok(())
    })
}

/// `CorrectedIntMetricsOut.bin`, versions 2 to 4.
pub(crate) fn corrections(bytes: &[u8], mut take: impl FnMut(Correction)) -> Result<End, Damage> {
    let file = open_or_none!(bytes, NEVER);
    let version = file.version;
    match version {
        2 => file.expect(48, true)?,
        3 => file.expect(34, true)?,
        4 => file.expect(28, true)?,
        _ => return Err(file.unknown()),
    }
    file.each(|mut fields| {
        let at = if version == 4 { long(&mut fields)? } else { short(&mut fields)? };
        let cycle = fields.u16()?;
        // Intensities: an average, four corrected and four called ones; later the called ones alone; later none.
        fields.bytes([18, 8, 0][usize::from(version) - 2])?;
        take(Correction { at, cycle, calls: calls(&mut fields, version)? });
        Ok(())
    })
}

/// Five counts, which version 2 writes as floats.
fn calls(fields: &mut Fields<'_>, version: u8) -> Result<Call, Damage> {
    let mut calls = [0; 5];
    for count in &mut calls {
        *count = match version {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count that is no number becomes 0 or the largest there is"
            )]
            2 => fields.f32()? as u64,
            _ => fields.u32()?.into(),
        };
    }
    Ok(calls)
}

/// `IndexMetricsOut.bin`, versions 1 and 2, which has no record size: records are as long as their strings.
pub(crate) fn indexes(bytes: &[u8], mut take: impl FnMut(Index)) -> Result<End, Damage> {
    let mut fields = Fields(bytes);
    let Ok(version) = fields.u8() else { return Ok(End::InsideARecord) };
    if !(1..=2).contains(&version) {
        return Err(header("the version", version.into(), "is not known"));
    }
    while !fields.0.is_empty() {
        match index(&mut fields, version) {
            Ok(record) => take(record),
            Err(_) => return Ok(End::InsideARecord),
        }
    }
    Ok(End::Whole)
}

fn index(fields: &mut Fields<'_>, version: u8) -> Result<Index, Damage> {
    let at = if version == 1 { short(fields)? } else { long(fields)? };
    let read = fields.u16()?;
    let text = |fields: &mut Fields<'_>| {
        let length = fields.u16()?;
        Ok::<_, Damage>(String::from_utf8_lossy(fields.bytes(length.into())?).into_owned())
    };
    let index = text(fields)?;
    let clusters = if version == 1 { fields.u32()?.into() } else { fields.u64()? };
    Ok(Index { at, read, index, clusters, sample: text(fields)?, project: text(fields)? })
}

/// Every decoder over the same bytes, for the fuzzer.
pub(crate) fn decode_any(bytes: &[u8]) {
    let _refused_or_read = tiles(bytes, |_, _| ());
    for by_lane in [false, true] {
        let _refused_or_read = qualities_by_histogram(bytes, by_lane, |_| ());
    }
    let _refused_or_read = qualities_collapsed(bytes, |_| ());
    let _refused_or_read = extractions(bytes, |_| ());
    let _refused_or_read = errors(bytes, |_| ());
    let _refused_or_read = phasings(bytes, |_| ());
    let _refused_or_read = occupied(bytes, |_| ());
    let _refused_or_read = corrections(bytes, |_| ());
    let _refused_or_read = indexes(bytes, |_| ());
}
