//! Real run folders, with what another program makes of them as the judge.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;

use runfolder::dir::DirSource;
use runfolder::{PlanOptions, RunInfo, SampleSheet, plan};

use crate::common::{MemorySource, planned, records, run, test_data, threads};

/// A folder that was packed into the repository.
fn packed(archive: &[u8], folder: &str) -> MemorySource {
    let mut files = BTreeMap::new();
    let plain = flate2::read::GzDecoder::new(archive);
    for entry in tar::Archive::new(plain).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), bytes);
        }
    }
    MemorySource(files)
}

fn run_info(reads: &[(usize, char)], tiles: &[&str]) -> Vec<u8> {
    let reads: String = reads
        .iter()
        .map(|(cycles, index)| format!("<Read NumCycles='{cycles}' IsIndexedRead='{index}'/>"))
        .collect();
    let tiles: String = tiles.iter().map(|tile| format!("<Tile>{tile}</Tile>")).collect();
    format!(
        "<RunInfo><Run Number='1'><Instrument>machine1</Instrument><Flowcell>abcdeACXX</Flowcell>\
         <Reads>{reads}</Reads><Tiles>{tiles}</Tiles></Run></RunInfo>"
    )
    .into_bytes()
}

/// Tile, x and y of a read name.
fn place(name: &str) -> (u32, i64, i64) {
    let part = |at: usize| name.split([':', ' ']).nth(at).unwrap();
    (part(4).parse().unwrap(), part(5).parse().unwrap(), part(6).parse().unwrap())
}

/// The FASTQ files that picard expects: barcode and read number, then sequence and quality by place.
type Expected = BTreeMap<(String, u32), BTreeMap<(u32, i64, i64), (String, String)>>;

fn expected(source: &MemorySource) -> Expected {
    let mut files = Expected::new();
    for (path, bytes) in &source.0 {
        let Some(name) = path.strip_prefix("fastq/") else { continue };
        let parts: Vec<&str> = name.split('.').collect();
        if let [barcode, read @ ("1" | "2"), "fastq"] = parts[..] {
            let text = std::str::from_utf8(bytes).unwrap();
            let reads = records(text)
                .into_iter()
                .map(|[name, bases, _, qualities]| {
                    (place(name), (bases.to_owned(), qualities.to_owned()))
                })
                .collect();
            files.insert((barcode.to_owned(), read.parse().unwrap()), reads);
        }
    }
    files
}

fn sheet_of(expected: &Expected) -> String {
    let barcodes: BTreeSet<&str> =
        expected.keys().map(|(barcode, _)| barcode.as_str()).filter(|b| *b != "NN").collect();
    let row = |barcode: &&str| format!("{barcode},{},{}\n", &barcode[..8], &barcode[8..]);
    let rows: String = barcodes.iter().map(row).collect();
    format!("[Data]\nSample_ID,index,index2\n{rows}")
}

#[test]
fn novaseq_cbcl_of_picard_gives_what_picard_expects() {
    let archive = include_bytes!("../data/picard_151T8B8B151T_cbcl.tar.gz");
    let source = packed(archive, "151T8B8B151T_cbcl/");
    let expected = expected(&source);
    let info = run_info(&[(151, 'N'), (8, 'Y'), (8, 'Y'), (151, 'N')], &["1_1101", "1_1102"]);
    let plan = planned(&info, sheet_of(&expected).as_bytes(), threads(3));
    let (sink, report) = run(&source, &plan).unwrap();
    assert_eq!((report.lanes[0].clusters, report.lanes[0].passing), (56, 50));
    let mut compared = 0;
    for ((barcode, read), reads) in &expected {
        let number = plan.samples.iter().find(|s| s.sample_id == *barcode).map(|s| s.number);
        let stem =
            number.map_or_else(|| "Undetermined_S0".to_owned(), |n| format!("{barcode}_S{n}"));
        let text = sink.text(&format!("{stem}_L001_R{read}_001.fastq.gz"));
        let found: BTreeMap<_, _> = records(&text)
            .into_iter()
            .map(|[name, bases, _, quality]| (place(name), (bases.to_owned(), quality.to_owned())))
            .collect();
        assert_eq!(found, *reads, "{barcode} read {read}");
        compared += found.len();
    }
    assert_eq!(compared, 100);
    // In 270 of the 636 files the only block is a byte longer than its header says.
    let remarks: Vec<_> =
        report.warnings.iter().filter(|w| w.contains("not at") && w.contains("checksum")).collect();
    assert_eq!(remarks.len(), 2, "{:?}", report.warnings);
}

#[test]
fn hiseq_x_bcl_gz_of_picard_gives_the_sequences_picard_expects() {
    let archive = include_bytes!("../data/picard_25T8B8B25T_hiseqx.tar.gz");
    let source = packed(archive, "25T8B8B25T_hiseqx/");
    let expected = expected(&source);
    let info = run_info(&[(25, 'N'), (8, 'Y'), (8, 'Y'), (25, 'N')], &["1_1101", "1_1102"]);
    // Barcodes of this folder lie one mismatch apart.
    let options = PlanOptions { mismatches: Some([0, 0]), with_failed_reads: true, ..threads(2) };
    let plan = planned(&info, sheet_of(&expected).as_bytes(), options.clone());
    let (sink, _) = run(&source, &plan).unwrap();
    let all: HashMap<(u32, _), &(String, String)> = expected
        .iter()
        .flat_map(|((_, read), reads)| reads.iter().map(|(place, value)| ((*read, *place), value)))
        .collect();
    assert_eq!(all.len(), 240);
    let (mut compared, mut whole) = (0, 0);
    for (path, name) in &sink.names {
        for [header, bases, _, quality] in records(&sink.text(path)) {
            let (expected_bases, expected_quality) = all[&(name.number, place(header))];
            assert_eq!(bases, expected_bases, "{header}");
            // Picard overwrites poor tails with `#`; what it left must be the same.
            let kept = expected_quality.trim_end_matches('#');
            assert!(quality.starts_with(kept), "{header}: {quality} and {expected_quality}");
            assert!(header.contains(":Y:0:"), "{header} passes");
            if !name.undetermined {
                let own = &expected[&(name.sample_id.clone(), name.number)];
                assert!(own.contains_key(&place(header)), "{header} is {}'s", name.sample_id);
            }
            compared += 1;
            whole += usize::from(quality == expected_quality);
        }
    }
    assert_eq!(compared, 240);
    assert!(whole >= 210, "{whole}");
    // Without the failed reads there is nothing, and every file is there and empty.
    let passing = PlanOptions { with_failed_reads: false, ..options };
    let plan = planned(&info, sheet_of(&expected).as_bytes(), passing);
    let (sink, report) = run(&source, &plan).unwrap();
    assert_eq!(sink.files.len(), 2 * (plan.samples.len() + 1));
    assert!(sink.files.keys().all(|path| sink.text(path).is_empty()));
    let csv = sink.report_text("Demultiplex_Stats.csv");
    assert!(csv.contains(",0,0,0,0,0.0000,0.0000,0.0000,0.0000"), "{csv}");
    assert_eq!(report.lanes[0].reads(), 0);
}

#[test]
fn positions_and_filters_of_picard_s_reader_tests_are_read_or_refused_as_they_should_be() {
    let archive = include_bytes!("../data/picard_readerTests.tar.gz");
    let files = packed(archive, "./");
    let cluster = |name: &str| -> Result<Vec<String>, String> {
        // One cycle of as many clusters as the positions have, all passing.
        let positions = &files.0[name];
        let clusters: u32 = if name.ends_with(".clocs") {
            let bins = u32::from_le_bytes(positions[1..5].try_into().unwrap());
            let (mut at, mut total) = (5, 0);
            for _ in 0..bins {
                total += u32::from(positions[at]);
                at += 1 + 2 * usize::from(positions[at]);
            }
            total
        } else {
            u32::from_le_bytes(positions[8..12].try_into().unwrap())
        };
        let mut source = MemorySource::default();
        let header = [0u32, 3, clusters].map(u32::to_le_bytes).concat();
        source.put(
            "Data/Intensities/BaseCalls/L001/s_1_1101.filter",
            [header, vec![1; clusters as usize]].concat(),
        );
        source.put(
            "Data/Intensities/BaseCalls/L001/C1.1/s_1_1101.bcl",
            [clusters.to_le_bytes().to_vec(), vec![121; clusters as usize]].concat(),
        );
        let suffix = name.rsplit('.').next().unwrap();
        source.put(&format!("Data/Intensities/L001/s_1_1101.{suffix}"), positions.clone());
        let plan =
            planned(&run_info(&[(1, 'N')], &["1_1101"]), b"[Data]\nSample_ID\nA\n", threads(1));
        let (sink, _) = run(&source, &plan).map_err(|error| error.to_string())?;
        let text = sink.text("A_S1_L001_R1_001.fastq.gz");
        Ok(records(&text).iter().map(|[name, ..]| (*name).to_owned()).collect())
    };
    let names = cluster("s_1_6.locs").unwrap();
    assert_eq!(names.len(), 200);
    // The first record is the floats 1703.0117 and 64.01593.
    assert_eq!(names[0], "@machine1:1:abcdeACXX:1:1101:18030:1640 1:N:0:0");
    assert!(cluster("s_1_7.locs").unwrap_err().ends_with("it holds more than it announces"));
    assert!(cluster("s_1_8.locs").unwrap_err().ends_with("it holds more than it announces"));
    assert!(cluster("s_1_9.locs").unwrap_err().contains("the first field is 5, which is not 1"));
    assert!(cluster("s_1_10.locs").unwrap_err().contains("which is not the float 1.0"));
    for good in files.0.keys().filter(|name| name.ends_with(".clocs")) {
        assert!(cluster(good).is_ok(), "{good}: {:?}", cluster(good));
    }
}

#[test]
fn every_run_info_and_sheet_at_hand_is_read() {
    let Some(data) = test_data() else { return };
    let runs = data.join("runs");
    let read = |path: &str| std::fs::read(runs.join(path)).unwrap();
    for (path, cycles, reads, tiles) in [
        ("runinfo/RunInfo-miseq.xml", 218, 4, 0),
        ("runinfo/RunInfo-nextseq550.xml", 318, 4, 576 / 2),
        ("runinfo/RunInfo-novaseq-x-plus.xml", 322, 4, 6272),
        ("bambi/160916_miseq_0966_FC/RunInfo.xml", 32, 2, 0),
        ("bambi/160919_nextseq_6230_FC/RunInfo.xml", 32, 2, 36),
        ("bambi/novaseq/RunInfo.xml", 318, 1, 1),
        ("interop/200624_A00834_0183_BHMTFYTINY/RunInfo.xml", 56, 3, 312),
        ("interop/picard_A67HY/RunInfo.xml", 16, 2, 0),
        ("interop/picard_C2MFAACXX/RunInfo.xml", 196, 2, 0),
        ("reports/bclconvert_3.9.3/RunInfo.xml", 138, 4, 3744),
    ] {
        let run = RunInfo::parse(&read(path)).unwrap();
        assert_eq!(
            (run.cycles(), run.reads.len(), run.tiles.len()),
            (cycles, reads, tiles),
            "{path}"
        );
    }
    let x_plus = RunInfo::parse(&read("runinfo/RunInfo-novaseq-x-plus.xml")).unwrap();
    assert!(x_plus.reads[2].reverse_complement && !x_plus.reads[1].reverse_complement);
    assert_eq!((x_plus.instrument.as_str(), x_plus.flowcell.as_str()), ("LH00118", "22J5GLLT4"));
    for (path, samples) in [
        ("samplesheets/SampleSheet-custom-1.txt", 24),
        ("samplesheets/SampleSheet-custom-1_macos9-endings.txt", 24),
        ("samplesheets/SampleSheet-miseq-1.csv", 20),
        ("samplesheets/SampleSheet-with-blanklines.csv", 12),
        ("interop/200624_A00834_0183_BHMTFYTINY/SampleSheet.csv", 4),
        ("reports/bclconvert_3.9.3/SampleSheet.csv", 4),
    ] {
        let sheet = SampleSheet::parse(&read(path)).unwrap();
        assert_eq!(sheet.rows.len(), samples, "{path}");
    }
    // A real sheet that asks for trimming and has blanks inside an index.
    let folder = "interop/200624_A00834_0183_BHMTFYTINY";
    let info = read(&format!("{folder}/RunInfo.xml"));
    let sheet = SampleSheet::parse(&read(&format!("{folder}/SampleSheet.csv"))).unwrap();
    let planned = plan(RunInfo::parse(&info).unwrap(), &sheet, threads(1)).unwrap();
    assert_eq!(
        planned.projects().keys().copied().collect::<Vec<_>>(),
        [Some("AB-1234"), Some("CD-5678")]
    );
    assert_eq!(sheet.rows[3].index2, "CTACAAGATA");
}

/// Bases and qualities by lane, tile, x, y and read number.
type BamReads = BTreeMap<(u32, u32, i64, i64, u32), (String, Vec<u8>)>;

/// The reads of a BAM file of unmapped reads.
fn bam(bytes: &[u8]) -> BamReads {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    let word = |at: usize| u32::from_le_bytes(plain[at..at + 4].try_into().unwrap()) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes(plain[at..at + 2].try_into().unwrap()));
    assert_eq!(&plain[..4], b"BAM\x01");
    let mut at = 8 + word(4);
    assert_eq!(word(at), 0, "there are no references");
    at += 4;
    let mut reads = BTreeMap::new();
    while at < plain.len() {
        let record = at + 4;
        at = record + word(at);
        let name_bytes = usize::from(plain[record + 8]);
        let (cigar, flags, length) = (half(record + 12), half(record + 14), word(record + 16));
        let name = std::str::from_utf8(&plain[record + 32..record + 31 + name_bytes]).unwrap();
        let parts: Vec<i64> = name.rsplit(':').take(4).map(|p| p.parse().unwrap()).collect();
        let start = record + 32 + name_bytes + 4 * cigar;
        let base = |i: usize| {
            let pair = plain[start + i / 2];
            b"=ACMGRSVTWYHKDBN"
                [usize::from(if i.is_multiple_of(2) { pair >> 4 } else { pair & 15 })]
                as char
        };
        let bases = (0..length).map(base).collect();
        let from = start + length.div_ceil(2);
        let read = if flags & 128 != 0 { 2 } else { 1 };
        let number = |at: usize| u32::try_from(parts[at]).unwrap();
        reads.insert(
            (number(3), number(2), parts[1], parts[0], read),
            (bases, plain[from..from + length].to_vec()),
        );
    }
    reads
}

/// What bambi made of a folder is among what we make of it. Bambi makes a base of quality 0 an N and gives an N quality 0;
/// we keep the base, as picard does, and give an N quality 2.
fn holds_what_bambi_expects(folder: &str, sheet: &str, expected: &str, reads: usize) {
    let Some(data) = test_data() else { return };
    let bambi = data.join("runs/bambi");
    let source = DirSource::new(bambi.join(folder)).unwrap();
    let info = std::fs::read(bambi.join(folder).join("RunInfo.xml")).unwrap();
    let plan = planned(&info, sheet.as_bytes(), threads(2));
    let (sink, _) = run(&source, &plan).unwrap();
    let mut found = HashMap::new();
    for (path, name) in &sink.names {
        for [header, bases, _, quality] in records(&sink.text(path)) {
            let (tile, x, y) = place(header);
            let lane = name.lane.unwrap();
            let calls = bases.chars().zip(quality.bytes().map(|letter| letter - 33));
            let calls = calls.map(|(base, value)| match (base, value) {
                ('N', _) | (_, 0) => ('N', 0),
                other => other,
            });
            let (bases, values): (String, Vec<u8>) = calls.unzip();
            found.insert((lane, tile, x, y, name.number), (bases, values));
        }
    }
    let expected = bam(&std::fs::read(bambi.join("expected").join(expected)).unwrap());
    let passing: Vec<_> = expected.iter().filter(|(place, _)| found.contains_key(*place)).collect();
    for (place, read) in &passing {
        assert_eq!(&found[*place], *read, "{place:?}");
    }
    assert_eq!(passing.len(), reads);
}

#[test]
fn miseq_bcl_gz_of_bambi_gives_what_bambi_expects_in_both_lanes() {
    holds_what_bambi_expects("160916_miseq_0966_FC", "[Data]\nSample_ID\nA\n", "i2b_m.bam", 1028);
}

#[test]
fn novaseq_cbcl_of_bambi_gives_what_bambi_expects() {
    holds_what_bambi_expects("novaseq", "[Data]\nSample_ID\nA\n", "novaseq_1.sam", 25);
}

#[test]
fn nextseq_bgzf_of_bambi_comes_in_the_order_of_run_info_and_bci() {
    let Some(data) = test_data() else { return };
    let folder = data.join("runs/bambi/160919_nextseq_6230_FC");
    let source = MemorySource::of(&DirSource::new(folder).unwrap());
    let plan = planned(&source.0["RunInfo.xml"], b"[Data]\nSample_ID\nA\n", threads(2));
    let (sink, report) = run(&source, &plan).unwrap();
    // The same, read here in the plainest way.
    let lane = "Data/Intensities/BaseCalls/L001";
    let calls: Vec<Vec<u8>> = (1..=32)
        .map(|cycle| {
            let mut bytes = Vec::new();
            let file = &source.0[&format!("{lane}/{cycle:04}.bcl.bgzf")];
            flate2::read::MultiGzDecoder::new(&file[..]).read_to_end(&mut bytes).unwrap();
            bytes.split_off(4)
        })
        .collect();
    let filter = &source.0[&format!("{lane}/s_1.filter")][12..];
    let tiles: Vec<u32> = source.0[&format!("{lane}/s_1.bci")]
        .chunks(8)
        .map(|pair| u32::from_le_bytes(pair[..4].try_into().unwrap()))
        .collect();
    assert_eq!(tiles.len(), 36);
    let letter = |call: u8| if call == 0 { 'N' } else { b"ACGT"[usize::from(call & 3)] as char };
    let mut expected = Vec::new();
    for cluster in (0..filter.len()).filter(|cluster| filter[*cluster] & 1 == 1) {
        let bases: String = (0..16).map(|cycle| letter(calls[cycle][cluster])).collect();
        expected.push((tiles[cluster / 500], bases));
    }
    let text = sink.text("A_S1_L001_R1_001.fastq.gz");
    let found: Vec<(u32, String)> = records(&text)
        .into_iter()
        .map(|[name, bases, ..]| (place(name).0, bases.to_owned()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!((report.lanes[0].clusters, report.lanes[0].passing), (18_000, found.len() as u64));
}
