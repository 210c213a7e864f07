//! Which FASTQ files go together, by the names that sequencing centres give them.
//!
//! `Anna_S1_L001_R1_001.fastq.gz` and `Anna_S1_L001_R2_001.fastq.gz` are mates; so are `ERR1_1.fq` and `ERR1_2.fq`. The last
//! part of a name that reads as a read number counts, and files are mates when everything else in their names is the same.

/// Which read of a cluster a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// Read 1, or the only one.
    R1,
    /// Read 2.
    R2,
    /// Index 1 (i7).
    I1,
    /// Index 2 (i5).
    I2,
}

/// A file's part in its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The same for files that go together.
    pub set: String,
    /// Which read it holds; none if its name does not say.
    pub read: Option<Read>,
}

/// What the file name says.
pub fn role(name: &str) -> Role {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in name.match_indices(['_', '.', '-']) {
        parts.push((start, at));
        start = at + 1;
    }
    parts.push((start, name.len()));
    let stands = |text: &str| match text {
        "R1" | "r1" | "1" => Some(Read::R1),
        "R2" | "r2" | "2" => Some(Read::R2),
        "I1" => Some(Read::I1),
        "I2" => Some(Read::I2),
        _ => None,
    };
    // The name of the sample comes first, so the first part is never a read number.
    for (from, to) in parts.into_iter().skip(1).rev() {
        if let Some(read) = stands(&name[from..to]) {
            return Role { set: format!("{}*{}", &name[..from], &name[to..]), read: Some(read) };
        }
    }
    Role { set: name.to_owned(), read: None }
}
