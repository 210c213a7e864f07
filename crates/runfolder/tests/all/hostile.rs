//! Bytes from a stranger: every decoder returns, whatever it is fed.

use runfolder::dir::{DirSink, DirSource};
use runfolder::{FastqName, Follow, Followed, Journal, ReadKind, Sink, Source, fuzz};

use crate::common::{Made, Packed, Seeded, run, threads};

fn made() -> Made {
    Made {
        reads: vec![(3, 'N', 'N'), (4, 'Y', 'N')],
        tiles: vec![
            (1, 1101, vec![(true, "AAAACGT"), (true, "CCCTTTT"), (false, "NNNNNNN")]),
            (1, 2101, vec![(true, "GGGACGT")]),
        ],
    }
}

const SHEET: &[u8] =
    b"[Header],,\r\nFileFormatVersion,2\r\n[BCLConvert_Settings]\r\nOverrideCycles,Y3;I4\r\n\
    [BCLConvert_Data]\r\nLane,Sample_ID,Index,Sample_Project\r\n1,A,ACGT,P\r\n1,\"B\",TT TT,\r\n";

const OLD_SHEET: &[u8] = b"[Header]\n[Settings]\nAdapter,ACGT+TTTT\nOverrideCycles,Y*;I4U*;N4I*;U2Y*\nMaskShortReads,3\n\
    [Data]\nSample_ID,index,index2,BarcodeMismatchesIndex1\nA,ACGT,TTTT,2\nB,GG CC,AACC,\n";

/// The state of work on a run, without its checksum.
fn state() -> Vec<u8> {
    struct Keeping(Vec<u8>);
    impl Sink for Keeping {
        fn fastq(&mut self, _: &FastqName, _: &[u8]) -> std::io::Result<()> {
            Ok(())
        }
        fn finish_file(&mut self, _: &FastqName) -> std::io::Result<()> {
            Ok(())
        }
        fn report(&mut self, _: &str, _: &[u8]) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Journal for Keeping {
        fn save(&mut self, state: &[u8]) -> std::io::Result<()> {
            self.0 = state[..state.len() - 4].to_vec();
            Ok(())
        }
        fn rewind(&mut self, _: &[(&FastqName, u64)]) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut keeping = Keeping(Vec::new());
    let plan = crate::common::planned(&made().run_info(), SHEET, threads(1));
    let mut work = Follow::new(plan);
    let mut go = || work.advance(&made().source(), &mut keeping, true, &|_| (), &mut |_| ());
    assert!(matches!(go(), Ok(Followed::Assigned)));
    assert!(matches!(go(), Ok(Followed::Done(_))));
    keeping.0
}

#[test]
fn every_decoder_returns_for_mutations_of_a_small_corpus() {
    let source = made().source();
    let file =
        |suffix: &str| source.0.iter().find(|(path, _)| path.ends_with(suffix)).unwrap().1.clone();
    let clocs = [&[1u8, 2, 0, 0, 0, 1, 5, 6, 2, 1, 2, 3, 4][..]].concat();
    let bci = [0u32, 1, 4 << 16 | 4, 0].map(u32::to_le_bytes).concat();
    let gzip = file(".cbcl").split_off(80);
    let packed = made().packed(Packed { quality_bits: 4, bits: 6, passing_only: |_| true });
    let other =
        |suffix: &str| packed.0.iter().find(|(path, _)| path.ends_with(suffix)).unwrap().1.clone();
    let plan = crate::common::planned(&made().run_info(), SHEET, threads(1));
    // Finished files are chains of blocks.
    let blocks = run(&source, &plan).unwrap().0.files.into_values().next().unwrap();
    type Decoder = fn(&[u8]);
    let corpus: [(Decoder, Vec<u8>); 16] = [
        (fuzz::run_info, made().run_info()),
        (fuzz::sheet, SHEET.to_vec()),
        (fuzz::sheet, b"sample\tbarcode_1\rA\tACGT\r".to_vec()),
        (fuzz::cbcl, file(".cbcl")),
        (fuzz::cbcl, other(".cbcl")),
        (fuzz::sheet, OLD_SHEET.to_vec()),
        (fuzz::gzip, blocks),
        (fuzz::state, state()),
        (fuzz::places, file(".filter")),
        (fuzz::places, file(".locs")),
        (fuzz::places, clocs),
        (fuzz::places, bci),
        (fuzz::gzip, gzip),
        (fuzz::interop, [&[3, 15, 0, 0, 128, 63, 1, 0, 77, 4, 0, 0, b't'][..], &[1; 8]].concat()),
        (
            fuzz::interop,
            [&[7, 20, 1, 3, 2, 17, 11, 18, 29, 25, 30, 40, 37, 1, 0][..], &[1; 18]].concat(),
        ),
        (
            fuzz::interop,
            [&[2, 1, 0, 77, 4, 0, 0, 1, 0, 3, 0][..], b"ACG", &[9; 8], b"\x01\x00A\x01\x00P"]
                .concat(),
        ),
    ];
    let mut seeded = Seeded(0x5eed_0fc0_ffee);
    for (decode, bytes) in corpus {
        decode(&bytes);
        decode(&[]);
        for _ in 0..2000 {
            decode(&seeded.mutated(&bytes));
        }
    }
}

#[test]
fn a_folder_with_any_file_mutated_ends_with_reads_or_a_named_error() {
    let made = made();
    let whole = made.source();
    let plan = crate::common::planned(&made.run_info(), SHEET, threads(1));
    let paths: Vec<String> = whole.0.keys().cloned().collect();
    let mut seeded = Seeded(77);
    let mut refused = 0;
    for round in 0..600 {
        let mut source = whole.clone();
        let path = &paths[round % paths.len()];
        let bytes = seeded.mutated(&whole.0[path]);
        source.put(path, bytes);
        if let Err(error) = run(&source, &plan) {
            assert!(error.to_string().contains("lane 1"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn a_path_that_leaves_the_run_folder_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("run")).unwrap();
    std::fs::write(folder.path().join("secret"), b"x").unwrap();
    std::fs::write(folder.path().join("run/inside"), b"0123456789").unwrap();
    let source = DirSource::new(folder.path().join("run")).unwrap();
    let mut bytes = [0; 4];
    for path in ["../secret", "/etc/hostname", "./../secret", ""] {
        assert!(source.read_at(path, 0, &mut bytes).is_err(), "{path}");
    }
    assert_eq!(source.read_at("inside", 8, &mut bytes).unwrap(), 2);
    assert_eq!(source.read_at("inside", 80, &mut bytes).unwrap(), 0);
    assert_eq!(source.list().unwrap().len(), 1);
    assert!(DirSource::new(folder.path().join("secret")).is_err());
}

fn name(number: u32) -> FastqName {
    FastqName {
        sample_id: "A".to_owned(),
        sample_project: Some("P".to_owned()),
        undetermined: false,
        lane: Some(1),
        kind: ReadKind::Read,
        number,
        file_name: format!("A_S1_L001_R{number}_001.fastq.gz"),
    }
}

#[test]
fn nothing_has_its_name_before_everything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut sink = DirSink::create(&out).unwrap();
    sink.fastq(&name(1), b"half").unwrap();
    assert!(!out.join("P").exists());
    drop(sink);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "what was unfinished is gone");
    let mut sink = DirSink::create(&out).unwrap();
    // More files than are held open at once, written in turns.
    for turn in [&b"one "[..], b"two"] {
        for number in 0..600 {
            sink.fastq(&name(number), turn).unwrap();
        }
    }
    (0..600).for_each(|number| sink.finish_file(&name(number)).unwrap());
    sink.report("Reports/x.csv", b"report").unwrap();
    sink.finish().unwrap();
    for number in [0, 255, 599] {
        assert_eq!(std::fs::read(out.join(name(number).path())).unwrap(), b"one two");
    }
    assert_eq!(std::fs::read(out.join("Reports/x.csv")).unwrap(), b"report");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 2);
}
