//! Files as other programs make them, and what transfers do to files.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

const READS: &str = "@r1 1:N:0\nACGT\n+\nIIII\n@r2 1:N:0\nNN.\n+r2\n!~A\n";
const SAM: &str = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:1000\n@RG\tID:a\tSM:NA12878\n\
r1\t99\tchr1\t10\t60\t4M\t=\t50\t44\tACGT\tIIII\tRG:Z:a\n\
r1\t147\tchr1\t50\t60\t4M\t=\t10\t-44\tACGT\tIIII\tRG:Z:a\n\
r1\t2147\tchr1\t70\t60\t4M\t=\t10\t0\tACGT\tIIII\tRG:Z:a\n";
const VCF: &str = "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=1000>\n\
##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n\
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tNA12878\n\
chr1\t10\t.\tA\tC\t.\t.\t.\tGT\t0/1\nchr1\t20\t.\tA\tC\t.\t.\t.\tGT\t1/1\n";

fn fastq(text: &str) -> Result<Found, Fault> {
    check(text.as_bytes(), Format::Fastq(Packing::Plain), None)
}

fn said(result: Result<Found, Fault>) -> String {
    result.expect_err("a fault").to_string()
}

/// What a program makes of `input`; nothing where it is not installed.
fn made(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else {
        println!("skipped: {program} is not here");
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    Some(output.stdout)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

/// BGZF as the specification has it, a block for each piece.
fn bgzf(text: &[u8], piece: usize, mark: bool) -> Vec<u8> {
    let mut all = Vec::new();
    let last = mark.then_some(&[][..]);
    for part in text.chunks(piece).chain(last) {
        let mut deflated =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        deflated.write_all(part).unwrap();
        let deflated = deflated.finish().unwrap();
        let size = u16::try_from(deflated.len() + 25).unwrap();
        all.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0]);
        all.extend(size.to_le_bytes());
        all.extend(deflated);
        all.extend(crc32fast::hash(part).to_le_bytes());
        all.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
    }
    all
}

#[test]
fn reads_are_counted_in_every_packing() {
    let packed = [
        (Packing::Plain, READS.as_bytes().to_vec(), None),
        (Packing::Gzip, gzip(READS.as_bytes()), None),
        (
            Packing::Gzip,
            [gzip(&READS.as_bytes()[..30]), gzip(&READS.as_bytes()[30..])].concat(),
            None,
        ),
        (Packing::Bgzf, bgzf(READS.as_bytes(), 7, true), Some(true)),
        (Packing::Bgzf, bgzf(READS.as_bytes(), 7, false), Some(false)),
    ];
    for (packing, bytes, end_mark) in packed {
        let name = if packing == Packing::Plain { "a.fastq" } else { "a.fastq.gz" };
        assert_eq!(recognise(name, &bytes), Ok(Format::Fastq(packing)));
        let found = check(&*bytes, Format::Fastq(packing), None).unwrap();
        assert_eq!((found.records, found.reads, found.end_mark), (2, Some(2), end_mark));
    }
}

#[test]
fn lines_may_end_as_windows_ends_them_and_the_last_may_lack_its_end() {
    assert_eq!(fastq(&READS.replace('\n', "\r\n")).unwrap().records, 2);
    assert_eq!(fastq(READS.trim_end()).unwrap().records, 2);
    assert_eq!(fastq(&format!("{READS}\n\r\n")).unwrap().records, 2);
}

#[test]
fn the_first_read_that_is_wrong_is_named() {
    let second = |from, to| said(fastq(&READS.replace(from, to)));
    assert_eq!(second("@r2", "r2"), "record 2 is not right: its name line does not begin with @");
    assert_eq!(second("@r2 ", "@ "), "record 2 is not right: it has no name");
    assert_eq!(second("+r2", "r2"), "record 2 is not right: its third line does not begin with +");
    assert_eq!(second("!~A", "!~"), "record 2 is not right: it has not as many qualities as bases");
    assert_eq!(
        second("NN.", "N>."),
        "record 2 is not right: its bases hold something that is no base"
    );
    assert_eq!(
        second("!~A", "! A"),
        "record 2 is not right: its qualities hold something outside the range from ! to ~"
    );
    assert_eq!(
        second("NN.", "N\rN"),
        "record 2 is not right: its bases hold something that is no base"
    );
    assert_eq!(
        said(fastq(&format!("\n{READS}"))),
        "record 1 is not right: an empty line stands before it"
    );
    assert_eq!(said(fastq("")), "it holds no read");
}

#[test]
fn a_fastq_that_was_cut_names_the_record_it_was_cut_in() {
    for cut in 1..READS.len() - 1 {
        // After a whole record nothing tells that there was another.
        if READS[..cut].ends_with("IIII") || READS[..cut].ends_with("IIII\n") {
            continue;
        }
        let record = 1 + u64::from(cut > READS.find("@r2").unwrap());
        match fastq(&READS[..cut]) {
            Err(Fault::Cut { record: named }) => assert_eq!(named, record),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    let long: String = (0..5000).map(|i| format!("@r{i}\nACGT\n+\nIIII\n")).collect();
    let gz = gzip(long.as_bytes());
    let cut = said(check(&gz[..gz.len() / 2], Format::Fastq(Packing::Gzip), None));
    assert!(cut.ends_with(": it was cut off"), "{cut}");
    let blocks = bgzf(long.as_bytes(), 60_000, true);
    let cut = said(check(&blocks[..blocks.len() / 2], Format::Fastq(Packing::Bgzf), None));
    assert!(cut.ends_with(": it was cut off"), "{cut}");
}

#[test]
fn mates_that_do_not_fit_are_named_by_their_record() {
    let set = |first: &str, second: &str| {
        let (mates, mut sides) = Mates::new(2);
        let format = Format::Fastq(Packing::Plain);
        let a = check(first.as_bytes(), format, sides.first_mut());
        let b = check(second.as_bytes(), format, sides.last_mut());
        (a.is_ok(), b.map(drop).map_err(|f| f.to_string()), mates.counts())
    };
    let long = |name: &dyn Fn(u32) -> String| -> String {
        (1..=3000).map(|i| format!("@{}\nA\n+\nI\n", name(i))).collect()
    };
    let first = long(&|i| format!("r{i}/1 x"));
    assert_eq!(set(&first, &long(&|i| format!("r{i}/2 y"))), (true, Ok(()), vec![3000, 3000]));
    let shifted = long(&|i| if i < 2000 { format!("r{i}") } else { format!("r{}", i + 1) });
    let (_, second, _) = set(&first, &shifted);
    assert_eq!(
        second.unwrap_err(),
        "record 2000 has not the name that its mate has in the other file"
    );
    let shorter = first[..first.find("@r2999/").unwrap()].to_owned();
    assert_eq!(set(&first, &shorter), (true, Ok(()), vec![3000, 2998]));
}

#[test]
fn files_go_together_by_the_last_read_number_of_their_names() {
    let r = |name: &str| role(name);
    let first = r("Anna_S1_L001_R1_001.fastq.gz");
    assert_eq!(first.read, Some(ReadNumber::R1));
    assert_eq!(first.set, r("Anna_S1_L001_R2_001.fastq.gz").set);
    assert_ne!(first.set, r("Anna_S1_L002_R2_001.fastq.gz").set);
    assert_eq!(r("Anna_S1_L001_I1_001.fastq.gz").read, Some(ReadNumber::I1));
    assert_eq!(r("ERR1_2.fq").read, Some(ReadNumber::R2));
    assert_eq!(r("1_anna.fq").read, None);
    assert_eq!(r("x.r2.fastq").read, Some(ReadNumber::R2));
}

#[test]
fn a_name_that_would_mislead_is_refused_and_so_is_what_is_loose() {
    assert_eq!(
        recognise("a.bam", VCF.as_bytes()).unwrap_err().to_string(),
        "it holds VCF, and its name does not end in .vcf"
    );
    assert_eq!(
        recognise("a.sam", SAM.as_bytes()).unwrap_err().to_string(),
        "it holds SAM, which is not compressed"
    );
    assert_eq!(recognise("a.fastq", b""), Err(Unknown::Empty));
    assert_eq!(recognise("a.fastq", b"GATTACA"), Err(Unknown::Other));
    assert_eq!(recognise("a.bam.bai", b"BAI\x01"), Ok(Format::Index));
}

/// BAM, CRAM, VCF and BCF as samtools and bcftools make them of the texts above.
fn others() -> Option<Vec<(Format, &'static str, Vec<u8>)>> {
    let sam = SAM.as_bytes();
    let vcf = VCF.as_bytes();
    Some(vec![
        (Format::Bam, "a.bam", made("samtools", &["view", "-b", "-"], sam)?),
        (
            Format::Cram,
            "a.cram",
            made("samtools", &["view", "-C", "--output-fmt-option", "no_ref=1", "-"], sam)?,
        ),
        (Format::Vcf(Packing::Plain), "a.vcf", vcf.to_vec()),
        (Format::Vcf(Packing::Bgzf), "a.vcf.gz", made("bcftools", &["view", "-Oz", "-"], vcf)?),
        (Format::Bcf, "a.bcf", made("bcftools", &["view", "-Ob", "-"], vcf)?),
    ])
}

#[test]
fn what_samtools_and_bcftools_make_is_counted_as_they_count() {
    let Some(files) = others() else { return };
    for (format, name, bytes) in files {
        assert_eq!(recognise(name, &bytes), Ok(format));
        let found = check(&*bytes, format, None).unwrap();
        assert_eq!(found.samples, ["NA12878"], "{name}");
        let (records, reads) = match format {
            Format::Bam => (3, Some(2)),
            Format::Cram => (3, Some(3)),
            _ => (2, None),
        };
        assert_eq!((found.records, found.reads), (records, reads), "{name}");
    }
}

#[test]
fn no_prefix_of_them_counts_as_whole() {
    let Some(files) = others() else { return };
    for (format, name, bytes) in files {
        for cut in 0..bytes.len() {
            let whole_lines =
                format == Format::Vcf(Packing::Plain) && bytes[..cut].ends_with(b"\n");
            let result = check(&bytes[..cut], format, None);
            if whole_lines && VCF[..cut].contains("#CHROM") {
                // A text that ends with a line says of itself no more than that.
                assert!(result.is_ok());
            } else {
                assert!(result.is_err(), "{name} cut at {cut} of {}", bytes.len());
            }
        }
    }
}

#[test]
fn the_beginning_of_a_long_header_is_no_fault_of_the_header() {
    let titles = VCF.find("#CHROM").unwrap();
    for cut in [40, titles, titles + 10] {
        let result = check(&VCF.as_bytes()[..cut], Format::Vcf(Packing::Plain), None);
        assert!(matches!(result, Err(Fault::Cut { record: 1 })), "cut at {cut}: {result:?}");
    }
    let packed = bgzf(VCF.as_bytes(), 50, true);
    let result = check(&packed[..packed.len() / 4], Format::Vcf(Packing::Bgzf), None);
    assert!(matches!(result, Err(Fault::Cut { record: 1 })), "{result:?}");
}

#[test]
fn a_flipped_bit_in_what_has_checksums_is_found() {
    let Some(files) = others() else { return };
    for (format, name, bytes) in files {
        if matches!(format, Format::Vcf(Packing::Plain)) {
            continue;
        }
        let mut missed = 0;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            missed += u32::from(check(&*flipped, format, None).is_ok());
        }
        // What nothing sums up: times and flags in gzip headers, CRAM's minor version and the name of the file.
        let most = if format == Format::Cram { 21 } else { 6 * 6 };
        assert!(missed <= most, "{name}: {missed} of {} flips went unseen", bytes.len());
    }
}

/// Files of other people's, where they are.
fn real(ending: &str) -> Vec<PathBuf> {
    let Some(data) = std::env::var_os("CHORION_TEST_DATA") else {
        println!("skipped: not here");
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut folders = vec![Path::new(&data).join("htsget")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn real_files_are_counted_as_samtools_and_bcftools_count_them() {
    let count = |program: &str, arguments: &[&str], path: &Path| -> Option<u64> {
        let output = Command::new(program).args(arguments).arg(path).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if program == "samtools" {
            return text.trim().parse().ok();
        }
        Some(text.lines().filter(|line| !line.starts_with('#')).count() as u64)
    };
    for (ending, program, arguments) in [
        (".bam", "samtools", &["view", "-c"][..]),
        (".vcf.gz", "bcftools", &["view"]),
        (".bcf", "bcftools", &["view"]),
    ] {
        for path in real(ending) {
            let bytes = std::fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy();
            let format = recognise(&name, &bytes[..bytes.len().min(HEAD_BYTES)]).unwrap();
            let found = check(&*bytes, format, None);
            let found = found.unwrap_or_else(|fault| panic!("{name}: {fault}"));
            if let Some(counted) = count(program, arguments, &path) {
                assert_eq!(found.records, counted, "{name}");
            }
            if format == Format::Bam
                && let Some(counted) = count(program, &["view", "-c", "-F", "0x900"], &path)
            {
                assert_eq!(found.reads, Some(counted), "{name}");
            }
        }
    }
    for path in real(".cram") {
        let bytes = std::fs::read(&path).unwrap();
        let found = check(Cursor::new(bytes), Format::Cram, None);
        assert!(found.is_ok_and(|found| found.records > 0), "{}", path.display());
    }
}

/// Every format, small, to change at random.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        READS.as_bytes().to_vec(),
        gzip(READS.as_bytes()),
        bgzf(READS.as_bytes(), 20, true),
        bgzf(b"BAM\x01\0\0\0\0\0\0\0\0", 100, true),
    ];
    seeds.extend(others().into_iter().flatten().map(|(_, _, bytes)| bytes));
    seeds
}

/// What is asked under libFuzzer: its first byte, and the file out of its compression.
fn plain_seeds() -> Vec<(u8, Vec<u8>)> {
    let mut seeds = vec![(1, VCF.as_bytes().to_vec())];
    for (format, _, bytes) in others().into_iter().flatten() {
        let choice = match format {
            Format::Bam => 0,
            Format::Vcf(Packing::Bgzf) => 2,
            Format::Bcf => 3,
            _ => continue,
        };
        let mut plain = Vec::new();
        bgzf::Blocks::new(&*bytes).read_to_end(&mut plain).unwrap();
        seeds.push((choice, plain));
    }
    seeds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn changed_bytes_are_found_to_be_the_same_whatever_the_pieces(
        choice: u8,
        which: prop::sample::Index,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        static SEEDS: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(seeds);
        let mut bytes = which.get(&SEEDS).clone();
        for (place, byte) in edits {
            *place.get_mut(&mut bytes) = byte;
        }
        bytes.insert(0, choice);
        fuzzing::file(&bytes);
    }

    /// What is inside is changed, not its packing, so that the change is read.
    #[test]
    fn whatever_a_file_holds_a_query_ends(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        index in prop::collection::vec(any::<u8>(), 0..40),
        piece in 1_usize..300,
    ) {
        static SEEDS: std::sync::LazyLock<Vec<(u8, Vec<u8>)>> = std::sync::LazyLock::new(plain_seeds);
        let (choice, mut plain) = which.get(&SEEDS).clone();
        for (place, byte) in edits {
            *place.get_mut(&mut plain) = byte;
        }
        let file = if choice == 1 { plain } else { bgzf(&plain, piece, true) };
        let index_bytes = u16::try_from(index.len()).unwrap().to_le_bytes();
        fuzzing::query(&[&[choice], &index_bytes[..], &index, &file].concat());
    }
}
