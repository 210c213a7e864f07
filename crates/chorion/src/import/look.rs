//! The first look at files, before anything is made at the hub: what they are, what belongs together, and what can be refused
//! from their first and last bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use genome::{Fault, Format, HEAD_BYTES, Mates, Packing, ReadNumber, recognise, role};
use seal::crypt4gh::{self, SecretKey};

use super::Looks;
use crate::report::{CliError, CliResult};

/// How BGZF ends (SAM specification, section 4.1.2): an empty block.
const BGZF_END: [u8; 28] = [
    0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, 0x42, 0x43, 2, 0, 0x1b, 0, 3, 0, 0, 0, 0, 0, 0, 0,
    0, 0,
];

/// A file to send.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its path inside the dataset.
    pub(super) inside: String,
    /// Where it lies.
    pub(super) path: PathBuf,
    /// As it was when it was looked at.
    pub(super) stamp: Stamp,
    /// What it is, where that is checked.
    pub(super) format: Option<Format>,
    /// Which read of its set it holds.
    pub(super) read: Option<ReadNumber>,
    /// Opens it, if it came as Crypt4GH.
    pub(super) key: Option<Arc<SecretKey>>,
}

/// How a file lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    pub(super) fn of(file: &File) -> std::io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self { bytes: found.len(), modified: found.modified().ok() })
    }
}

impl Source {
    /// A file that is not looked into.
    pub(super) fn plain(inside: &str, path: PathBuf) -> CliResult<Self> {
        let file = File::open(&path).map_err(|e| unreadable(&path, e))?;
        let stamp = Stamp::of(&file).map_err(|e| unreadable(&path, e))?;
        let path = path.canonicalize().map_err(|e| unreadable(&path, e))?;
        Ok(Self { inside: inside.to_owned(), path, stamp, format: None, read: None, key: None })
    }

    /// Its plaintext from the beginning.
    pub(super) fn open(&self) -> CliResult<(File, Box<dyn Read + Send>)> {
        let unreadable = |e| unreadable(&self.path, e);
        let file = File::open(&self.path).map_err(unreadable)?;
        let from = file.try_clone().map_err(unreadable)?;
        Ok(match &self.key {
            None => (file, Box::new(from)),
            Some(key) => {
                let opened = crypt4gh::Reader::new(from, key).map_err(|e| {
                    self.wrong(e).hint("ask its sender to seal it to your Crypt4GH public key")
                })?;
                (file, Box::new(opened))
            }
        })
    }

    /// An error about this file.
    pub(super) fn wrong(&self, why: impl std::fmt::Display) -> CliError {
        CliError::new(format!("{}: {why}", self.path.display()))
    }

    /// A fault that was found in it, with what can be done.
    pub(super) fn fault(&self, fault: &Fault) -> CliError {
        let said = self.wrong(fault);
        match fault {
            Fault::Cut { .. } | Fault::NoEndMark { .. } | Fault::Damaged { .. } => {
                said.hint("copy the file again from where it came from, and give the command again: what arrived is kept")
            }
            Fault::Mate { .. } => said.hint("name the files so that mates stand together, or take each by itself: --single"),
            _ => said,
        }
    }
}

pub(super) fn unreadable(path: &Path, error: std::io::Error) -> CliError {
    CliError::new(format!("{} cannot be read", path.display())).caused_by(error)
}

/// Looks at the files and puts together what goes together: each set is read side by side, set after set.
pub(super) fn look(
    paths: &[PathBuf],
    looks: Looks,
    key: Option<SecretKey>,
) -> CliResult<Vec<Vec<Source>>> {
    let key = key.map(Arc::new);
    let mut names = BTreeSet::new();
    let mut sets: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    let mut all = Vec::new();
    for path in paths {
        let source = first_look(path, looks, key.as_ref())?;
        if !names.insert(source.inside.clone()) {
            return Err(
                source.wrong(format!("another of the files is called {} too", source.inside))
            );
        }
        all.push(source);
    }
    if let Looks::Sample { .. } = looks {
        if all.iter().all(|source| source.format == Some(Format::Index)) {
            return Err(CliError::new("there is an index, and nothing that it is an index of")
                .hint("name the file beside it too"));
        }
        one_person(&all)?;
    }
    for mut source in all {
        let mut set = source.inside.clone();
        if let (Some(Format::Fastq(_)), Looks::Sample { single: false }) = (source.format, looks) {
            let role = role(&source.inside);
            source.read = role.read;
            set = role.set;
        }
        sets.entry(set).or_default().push(source);
    }
    let mut sets: Vec<_> = sets.into_values().collect();
    for set in &mut sets {
        set.sort_by(|a, b| (a.read, &a.inside).cmp(&(b.read, &b.inside)));
        mated(set)?;
    }
    Ok(sets)
}

fn first_look(path: &Path, looks: Looks, key: Option<&Arc<SecretKey>>) -> CliResult<Source> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| CliError::new(format!("{} has no name to send it under", path.display())))?;
    let mut source = Source::plain(name, path.to_owned())?;
    if looks == Looks::None {
        return Ok(source);
    }
    let mut head = first_bytes(&source)?;
    if head.starts_with(crypt4gh::MAGIC) {
        let Some(key) = key else {
            return Err(source.wrong("it is sealed with Crypt4GH").hint(
                "say which secret key opens it: --crypt4gh-key FILE; `chorion result import --unchecked` takes it as it is",
            ));
        };
        source.key = Some(Arc::clone(key));
        source.inside = name.strip_suffix(".c4gh").unwrap_or(name).to_owned();
        head = first_bytes(&source)?;
    }
    match (recognise(&source.inside, &head), looks) {
        (Ok(format), _) => source.format = Some(format),
        (Err(_), Looks::Known) => return Ok(source),
        (Err(unknown), _) => {
            let hint = match &unknown {
                genome::Unknown::Loose { instead, .. } => format!("compress it: {instead}"),
                genome::Unknown::Name { .. } => {
                    "programs go by names: give the file the ending of what it holds".to_owned()
                }
                _ => "files of any kind are taken by `chorion result import`".to_owned(),
            };
            return Err(source.wrong(unknown).hint(hint));
        }
    }
    begins_and_ends(&source, &head)?;
    Ok(source)
}

fn first_bytes(source: &Source) -> CliResult<Vec<u8>> {
    let (_, from) = source.open()?;
    let mut head = Vec::new();
    from.take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(|e| unreadable(&source.path, e))?;
    Ok(head)
}

/// Checks the beginning, and the mark at the end where the format has one that can be looked at.
fn begins_and_ends(source: &Source, head: &[u8]) -> CliResult {
    let Some(format) = source.format else { return Ok(()) };
    match genome::check(head, format, None) {
        // The beginning of a file is a file that was cut; whether it is one is seen when it is read.
        Ok(_) | Err(Fault::Cut { .. } | Fault::NoEndMark { .. }) => {}
        Err(fault) => return Err(source.fault(&fault)),
    }
    let marked = matches!(format, Format::Bam | Format::Bcf | Format::Vcf(Packing::Bgzf));
    if marked && source.key.is_none() {
        let mut file = File::open(&source.path).map_err(|e| unreadable(&source.path, e))?;
        let mut end = [0; BGZF_END.len()];
        let read = file.seek(SeekFrom::End(-28)).and_then(|_| file.read_exact(&mut end));
        if read.is_err() || end != BGZF_END {
            return Err(source
                .wrong("the mark of its end is missing: it was cut off")
                .hint("copy the file again from where it came from"));
        }
    }
    Ok(())
}

/// A sample is one person's: every header that names a sample names the same one.
fn one_person(sources: &[Source]) -> CliResult {
    let mut known: Option<(String, &Source)> = None;
    for source in sources {
        let Some(format) = source.format else { continue };
        let (_, from) = source.open()?;
        let named = genome::samples(from, format).map_err(|fault| source.fault(&fault))?;
        match named.as_slice() {
            [] if matches!(format, Format::Vcf(_) | Format::Bcf) => {
                return Err(source.wrong("it has no column of a sample").hint(
                    "variants without genotypes are no sample's: `chorion result import` takes them",
                ));
            }
            [] => {}
            [one] => match &known {
                Some((before, other)) if before != one => {
                    return Err(source.wrong(format!(
                        "it is of sample `{one}`, and {} of sample `{before}`",
                        other.path.display()
                    )));
                }
                _ => known = Some((one.clone(), source)),
            },
            several => {
                return Err(source
                    .wrong(format!("it holds {} samples", several.len()))
                    .hint("cut it apart (`bcftools +split`, `samtools split`), or take it as a result: `chorion result import`"));
            }
        }
    }
    Ok(())
}

/// Whether the FASTQ files of a set can be mates: read 1 is there, no read twice, and their first names are the same.
fn mated(set: &[Source]) -> CliResult {
    let [first, others @ ..] = set else { return Ok(()) };
    if set.iter().any(|source| !matches!(source.format, Some(Format::Fastq(_)))) {
        return Ok(());
    }
    // One file alone is single-ended, whatever its name ends in.
    if others.is_empty() && first.read == Some(ReadNumber::R2) {
        return Err(first
            .wrong("its name says read 2, and read 1 is not beside it")
            .hint("name both files, or take it by itself: --single"));
    }
    if let Some(pair) = set.windows(2).find(|pair| pair[0].read == pair[1].read) {
        return Err(pair[1].wrong(format!(
            "it goes with the same files as {}, and is the same read",
            pair[0].path.display()
        )));
    }
    if others.is_empty() {
        return Ok(());
    }
    let (_mates, sides) = Mates::new(set.len());
    for (source, mut side) in set.iter().zip(sides) {
        let Some(format) = source.format else { continue };
        let head = first_bytes(source)?;
        let begins = genome::check(&*head, format, Some(&mut side));
        if let Err(fault @ Fault::Mate { .. }) = begins {
            return Err(source.fault(&fault));
        }
    }
    Ok(())
}
