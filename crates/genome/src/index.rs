//! Where in a BGZF file the records of a region are: BAI, TBI and CSI (SAM specification, section 5; hts-specs `tabix`, `CSIv1`).
//!
//! The three are one idea: bins of doubling width that list chunks of the file, and for each stretch the first place where a record
//! overlaps it. An index is a hint about speed and never about truth: every record it leads to is looked at again, and a place that
//! it makes up is an error of reading, not a wrong answer. Nothing is allocated for a count before its bytes are there.

use std::collections::HashMap;
use std::io::{self, Read};

use crate::bgzf::{Blocks, damaged};

/// The longest index that is taken, out of its compression.
const MOST_BYTES: u64 = 512 * 1024 * 1024;
/// The deepest tree of bins; CSI's own is 5 or 6.
const MOST_DEPTH: u32 = 10;

/// A row of places to read: from the first up to the second.
pub(crate) type Chunk = (u64, u64);

/// An index of any of the three kinds.
#[derive(Debug)]
pub(crate) struct Index {
    min_shift: u32,
    depth: u32,
    references: Vec<Reference>,
    /// The contigs by their numbers; BAI leaves them to the file, and so does the CSI of a BCF.
    names: Option<Vec<String>>,
}

#[derive(Debug, Default)]
struct Reference {
    bins: HashMap<u32, Bin>,
    /// For each 16 KiB the first place where a record overlaps it; BAI and TBI only.
    linear: Vec<u64>,
}

#[derive(Debug, Default)]
struct Bin {
    /// The first place where a record overlaps the bin; CSI only.
    first: u64,
    chunks: Vec<Chunk>,
}

/// Reads little-endian numbers off what was read whole.
struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    fn bytes(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A count, which is never negative and never more than the bytes that are left.
    fn count(&mut self, least_bytes_each: usize) -> io::Result<usize> {
        let count = self.u32()?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > self.0.len() / least_bytes_each {
            return Err(damaged("the index is shorter than it says"));
        }
        Ok(count)
    }

    fn u64(&mut self) -> io::Result<u64> {
        let (low, high) = (u64::from(self.u32()?), u64::from(self.u32()?));
        Ok(high << 32 | low)
    }
}

impl Index {
    /// Reads an index of any of the three kinds.
    pub(crate) fn read(mut from: impl Read) -> io::Result<Self> {
        let mut head = [0; 4];
        from.read_exact(&mut head)?;
        let whole = head.chain(from);
        let mut bytes = Vec::new();
        if head[..2] == [0x1f, 0x8b] {
            Blocks::new(whole).take(MOST_BYTES).read_to_end(&mut bytes)?;
        } else {
            whole.take(MOST_BYTES).read_to_end(&mut bytes)?;
        }
        let mut numbers = Numbers(&bytes);
        match numbers.bytes(4)? {
            b"BAI\x01" => Self::read_bai(numbers),
            b"TBI\x01" => Self::read_tbi(numbers),
            b"CSI\x01" => Self::read_csi(numbers),
            _ => Err(damaged("the index is none of BAI, TBI and CSI")),
        }
    }

    fn read_bai(mut from: Numbers<'_>) -> io::Result<Self> {
        let references = from.count(8)?;
        let references =
            (0..references).map(|_| Reference::read(&mut from, false)).collect::<Result<_, _>>()?;
        Ok(Self { min_shift: 14, depth: 5, references, names: None })
    }

    fn read_tbi(mut from: Numbers<'_>) -> io::Result<Self> {
        let references = from.count(8)?;
        let names = tabix_names(&mut from)?;
        let references =
            (0..references).map(|_| Reference::read(&mut from, false)).collect::<Result<_, _>>()?;
        Ok(Self { min_shift: 14, depth: 5, references, names: Some(names) })
    }

    fn read_csi(mut from: Numbers<'_>) -> io::Result<Self> {
        let (min_shift, depth) = (from.u32()?, from.u32()?);
        if min_shift > 30 || depth > MOST_DEPTH {
            return Err(damaged("the bins of the index are of no known size"));
        }
        let beside = from.count(1)?;
        let mut beside = Numbers(from.bytes(beside)?);
        // Beside the bins of a VCF stands what a TBI begins with; beside those of a BAM or BCF nothing.
        let names = if beside.0.len() >= 28 { Some(tabix_names(&mut beside)?) } else { None };
        let references = from.count(4)?;
        let references =
            (0..references).map(|_| Reference::read(&mut from, true)).collect::<Result<_, _>>()?;
        Ok(Self { min_shift, depth, references, names })
    }

    /// The contigs that the index names; none where the file does.
    pub(crate) fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// The chunks that hold every record which overlaps `start` to `end`, both counted from 1 and included, of a contig.
    pub(crate) fn chunks(&self, contig: usize, start: u64, end: u64) -> Vec<Chunk> {
        let Some(reference) = self.references.get(contig) else { return Vec::new() };
        let (from, to) = (start.saturating_sub(1), end.saturating_sub(1));
        let first = reference.first(from, self.min_shift, self.depth);
        let mut chunks: Vec<Chunk> = Vec::new();
        let widest = self.min_shift + 3 * self.depth;
        // The bins of one level lie in a row; what overlaps the region is a stretch of each.
        let mut level_at = 0_u64;
        for level in 0..=self.depth {
            let shift = widest - 3 * level;
            let (low, high) = (level_at + (from >> shift), level_at + (to >> shift));
            let last = level_at + (1 << (3 * level)) - 1;
            let high = high.min(last);
            let mut take = |bin: &Bin| {
                chunks.extend(bin.chunks.iter().filter(|(_, chunk_end)| *chunk_end > first));
            };
            if high.saturating_sub(low) < reference.bins.len() as u64 {
                (low..=high)
                    .filter_map(|number| reference.bins.get(&u32::try_from(number).ok()?))
                    .for_each(&mut take);
            } else {
                let there = |number: &u32| (low..=high).contains(&u64::from(*number));
                reference
                    .bins
                    .iter()
                    .filter(|(number, _)| there(number))
                    .for_each(|(_, bin)| take(bin));
            }
            level_at += 1 << (3 * level);
        }
        chunks.iter_mut().for_each(|chunk| chunk.0 = chunk.0.max(first));
        merged(chunks)
    }
}

/// Chunks in order, none twice; those that share a block become one.
pub(crate) fn merged(mut chunks: Vec<Chunk>) -> Vec<Chunk> {
    chunks.sort_unstable();
    let mut all: Vec<Chunk> = Vec::with_capacity(chunks.len());
    for (from, to) in chunks.into_iter().filter(|(from, to)| from < to) {
        match all.last_mut() {
            Some(last) if from >> 16 <= last.1 >> 16 => last.1 = last.1.max(to),
            _ => all.push((from, to)),
        }
    }
    all
}

impl Reference {
    fn read(from: &mut Numbers<'_>, csi: bool) -> io::Result<Self> {
        let mut reference = Self::default();
        let bins = from.count(8)?;
        for _ in 0..bins {
            let number = from.u32()?;
            let first = if csi { from.u64()? } else { 0 };
            let chunks = from.count(16)?;
            let chunks = (0..chunks)
                .map(|_| Ok((from.u64()?, from.u64()?)))
                .collect::<io::Result<Vec<Chunk>>>()?;
            reference.bins.insert(number, Bin { first, chunks });
        }
        if !csi {
            let stretches = from.count(8)?;
            reference.linear = (0..stretches).map(|_| from.u64()).collect::<Result<_, _>>()?;
        }
        Ok(reference)
    }

    /// A place before which nothing overlaps `from` or what comes after it.
    fn first(&self, from: u64, min_shift: u32, depth: u32) -> u64 {
        if !self.linear.is_empty() {
            let stretch = usize::try_from(from >> 14).unwrap_or(usize::MAX);
            return self.linear.get(stretch).or_else(|| self.linear.last()).copied().unwrap_or(0);
        }
        // The smallest bin that holds `from` and is there; where none is, nothing is known.
        let mut level_at: u64 = (0..depth).map(|level| 1 << (3 * level)).sum();
        let mut shift = min_shift;
        for level in (0..=depth).rev() {
            let number = u32::try_from(level_at + (from >> shift));
            if let Some(bin) = number.ok().and_then(|number| self.bins.get(&number)) {
                return bin.first;
            }
            if level > 0 {
                level_at -= 1 << (3 * (level - 1));
            }
            shift += 3;
        }
        0
    }
}

/// What a TBI says of its file: the names of contigs, one after another.
fn tabix_names(from: &mut Numbers<'_>) -> io::Result<Vec<String>> {
    from.bytes(24)?;
    let bytes = from.count(1)?;
    let names = from.bytes(bytes)?;
    Ok(names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}
