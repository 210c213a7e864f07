//! `chorion demux` and `chorion sheet check` as a person runs them: what they print, write, and end with.

#[cfg(test)]
mod demux {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    use serde_json::Value;
    use tempfile::TempDir;

    /// A run of one lane and one tile: four bases of sequence, then two indexes of four, uncompressed.
    fn run_folder(clusters: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: Vec<u8>| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        put(
            "RunInfo.xml",
            b"<RunInfo Version='5'><Run Id='r' Number='7'><Flowcell>FC</Flowcell><Instrument>M1</Instrument><Reads>\
              <Read Number='1' NumCycles='4' IsIndexedRead='N'/><Read Number='2' NumCycles='4' IsIndexedRead='Y'/>\
              <Read Number='3' NumCycles='4' IsIndexedRead='Y'/></Reads><FlowcellLayout LaneCount='1'/></Run></RunInfo>"
                .to_vec(),
        );
        let count = u32::try_from(clusters.len()).unwrap();
        let basecalls = "Data/Intensities/BaseCalls/L001";
        let filter = [[0, 3, count].map(u32::to_le_bytes).concat(), vec![1; clusters.len()]];
        put(&format!("{basecalls}/s_1_1101.filter"), filter.concat());
        let header = [1, 1f32.to_bits(), count].map(u32::to_le_bytes).concat();
        put("Data/Intensities/s.locs", [header, vec![0; 8 * clusters.len()]].concat());
        for cycle in 0..12 {
            let call = |bases: &&str| match bases.as_bytes()[cycle] {
                b'A' => 37 << 2,
                b'C' => 37 << 2 | 1,
                b'G' => 37 << 2 | 2,
                b'T' => 37 << 2 | 3,
                _ => 0,
            };
            let calls: Vec<u8> = clusters.iter().map(call).collect();
            let path = format!("{basecalls}/C{}.1/s_1_1101.bcl", cycle + 1);
            put(&path, [count.to_le_bytes().to_vec(), calls].concat());
        }
        put("RTAComplete.txt", b"done\n".to_vec());
        folder
    }

    fn two_samples() -> TempDir {
        run_folder(&["AAAAACGTTTGG", "CCCCACGTTTGG", "GGGGGGCCAAGT", "TTTTNNNNNNNN"])
    }

    fn sheet(folder: &TempDir, rows: &str) -> PathBuf {
        let path = folder.path().join("sheet.csv");
        let text = format!("[Data]\nSample_ID,index,index2,Sample_Project\n{rows}");
        std::fs::write(&path, text).unwrap();
        path
    }

    const ROWS: &str = "A,ACGT,TTGG,P\nB,GGCC,AAGT,Q\n";

    fn chorion(words: &[&str], paths: &[&Path]) -> Output {
        let words = words.iter().map(|word| match word.strip_prefix('$') {
            Some(at) => paths[at.parse::<usize>().unwrap()].as_os_str(),
            None => word.as_ref(),
        });
        Command::new(env!("CARGO_BIN_EXE_chorion")).args(words).output().unwrap()
    }

    fn said(output: &Output) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&output.stdout), text(&output.stderr))
    }

    #[test]
    fn a_run_becomes_fastq_and_reports_and_a_table() {
        let (run, out) = (two_samples(), tempfile::tempdir().unwrap());
        let sheet = sheet(&run, ROWS);
        let words = ["demux", "$0", "-o", "$1", "--sample-sheet", "$2"];
        let output = chorion(&words, &[run.path(), out.path(), &sheet]);
        let (stdout, stderr) = said(&output);
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stderr, "");
        let rows: Vec<Vec<&str>> =
            stdout.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["lane", "sample", "reads", "share", "perfect", "Q30"]);
        assert_eq!(rows[1], ["1", "A", "2", "50.00", "%", "100.00", "%", "100.00", "%"]);
        assert_eq!(rows[3], ["1", "Undetermined", "1", "25.00", "%", "-", "100.00", "%"]);
        for file in [
            "P/A_S1_L001_R1_001.fastq.gz",
            "Q/B_S2_L001_R1_001.fastq.gz",
            "Undetermined_S0_L001_R1_001.fastq.gz",
            "Reports/Demultiplex_Stats.csv",
            "Reports/RunInfo.xml",
        ] {
            assert!(out.path().join(file).is_file(), "{file}");
        }
        // The same as JSON, with the sheet where the run folder has it.
        std::fs::rename(&sheet, run.path().join("SampleSheet.csv")).unwrap();
        let output = chorion(&["--json", "demux", "$0", "-o", "$1"], &[run.path(), out.path()]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&found["reads"], &found["undetermined"]), (&4.into(), &1.into()));
        assert_eq!(found["lanes"][0]["samples"][1]["sample_project"], "Q");
    }

    #[test]
    fn a_sheet_with_turned_i5_ends_loudly_with_the_change_that_helps() {
        let (run, out) = (two_samples(), tempfile::tempdir().unwrap());
        let sheet = sheet(&run, "A,ACGT,CCAA,P\nB,GGCC,ACTT,Q\n");
        let words = ["demux", "$0", "-o", "$1", "--sample-sheet", "$2"];
        let output = chorion(&words, &[run.path(), out.path(), &sheet]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            said(&output).1,
            "error: 100.0 % of 4 reads match no sample of the sheet\n\nhint: 3 of them would match if you replace every i5 \
             index by its reverse complement\n"
        );
        // Said before anything was written.
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
        let accepted = [&words[..], &["--accept-undetermined"]].concat();
        let output = chorion(&accepted, &[run.path(), out.path(), &sheet]);
        assert!(output.status.success());
        assert!(out.path().join("Undetermined_S0_L001_R1_001.fastq.gz").is_file());
        let output = chorion(&["sheet", "check", "$1", "--run", "$0"], &[run.path(), &sheet]);
        assert_eq!(output.status.code(), Some(1));
        let (stdout, _) = said(&output);
        assert!(
            stdout.contains("orientation: more would match if you replace every i5"),
            "{stdout}"
        );
    }

    #[test]
    fn a_truncated_file_leaves_nothing_behind_and_is_named() {
        let (run, out) = (two_samples(), tempfile::tempdir().unwrap());
        let sheet = sheet(&run, ROWS);
        let file = "Data/Intensities/BaseCalls/L001/C5.1/s_1_1101.bcl";
        let bytes = std::fs::read(run.path().join(file)).unwrap();
        std::fs::write(run.path().join(file), &bytes[..bytes.len() - 1]).unwrap();
        let words = ["demux", "$0", "-o", "$1", "--sample-sheet", "$2"];
        let output = chorion(&words, &[run.path(), out.path(), &sheet]);
        assert_eq!(output.status.code(), Some(1));
        let (_, stderr) = said(&output);
        let sentence = format!(
            "because: tile 1101 of lane 1, cycle 5: {file} cannot be used: it ends too early"
        );
        assert!(stderr.contains(&sentence), "{stderr}");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }

    #[test]
    fn nearly_nothing_that_matches_is_an_error_although_files_were_written() {
        let (run, out) = (two_samples(), tempfile::tempdir().unwrap());
        let sheet = sheet(&run, "A,TTTT,TTTT,P\n");
        let words = ["demux", "$0", "-o", "$1", "--sample-sheet", "$2"];
        let output = chorion(&words, &[run.path(), out.path(), &sheet]);
        assert_eq!(output.status.code(), Some(1));
        let (_, stderr) = said(&output);
        assert!(
            stderr.starts_with(
                "warning: of the first clusters of each lane, 100.0 % of 4 reads match"
            ),
            "{stderr}"
        );
        assert!(
            stderr.ends_with(
                "error: 100.0 % of 4 reads match no sample of the sheet\n\nhint: the most frequent barcode is ACGT+TTGG with 2 \
                 reads; see Reports/Top_Unknown_Barcodes.csv, or pass `--accept-undetermined` if this is meant\n"
            ),
            "{stderr}"
        );
        assert!(out.path().join("Reports/Top_Unknown_Barcodes.csv").is_file());
    }

    #[test]
    fn what_is_missing_can_be_gone_without_and_is_marked() {
        let (run, out) = (two_samples(), tempfile::tempdir().unwrap());
        let sheet = sheet(&run, ROWS);
        let file = "Data/Intensities/BaseCalls/L001/C2.1/s_1_1101.bcl";
        std::fs::remove_file(run.path().join(file)).unwrap();
        let words = ["demux", "$0", "-o", "$1", "--sample-sheet", "$2"];
        let output = chorion(&words, &[run.path(), out.path(), &sheet]);
        assert_eq!(output.status.code(), Some(1));
        let (_, stderr) = said(&output);
        assert!(stderr.contains(&format!("cycle 2: {file} is missing")), "{stderr}");
        assert!(stderr.contains("`--ignore-missing`"), "{stderr}");
        let on = [&words[..], &["--ignore-missing", "--stats-json"]].concat();
        let output = chorion(&on, &[run.path(), out.path(), &sheet]);
        let (_, stderr) = said(&output);
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("0 tiles were left out and 1 cycles of tiles are N"), "{stderr}");
        for report in ["Reports/Missing.csv", "Stats/Stats.json"] {
            assert!(out.path().join(report).is_file(), "{report}");
        }
        let stats =
            std::fs::read_to_string(out.path().join("Reports/Demultiplex_Stats.csv")).unwrap();
        assert!(stats.lines().next().unwrap().ends_with(",Incomplete"), "{stats}");
    }

    /// Every file below a folder, by its path inside.
    fn files(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
        let mut todo = vec![folder.to_owned()];
        let mut files = std::collections::BTreeMap::new();
        while let Some(next) = todo.pop() {
            for entry in std::fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    let inside = path.strip_prefix(folder).unwrap().to_owned();
                    files.insert(inside, std::fs::read(&path).unwrap());
                }
            }
        }
        files
    }

    #[test]
    fn a_run_is_followed_by_a_command_that_is_killed_again_and_again_to_the_bytes_of_one_go() {
        let mut state = 0x5eed_u64;
        let mut below = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        let made: Vec<String> = (0..30_000)
            .map(|_| {
                let mut one_of_four = || usize::try_from(below(4)).unwrap();
                let sequence: String = (0..4).map(|_| b"ACGT"[one_of_four()] as char).collect();
                let index = ["ACGTTTGG", "GGCCAAGT", "ACGTTTGC", "NNNNNNNN"][one_of_four()];
                format!("{sequence}{index}")
            })
            .collect();
        let whole = run_folder(&made.iter().map(String::as_str).collect::<Vec<_>>());
        let sheet = sheet(&whole, ROWS);
        let one_go = tempfile::tempdir().unwrap();
        let words = ["demux", "$0", "-o", "$1", "--sample-sheet", "$2"];
        let output = chorion(&words, &[whole.path(), one_go.path(), &sheet]);
        assert!(output.status.success(), "{}", said(&output).1);

        let (growing, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut coming: Vec<_> = files(whole.path()).into_iter().collect();
        coming.retain(|(path, _)| path != Path::new("sheet.csv"));
        // In no order that an instrument has, but for the mark at the end.
        coming.sort_by_key(|(path, bytes)| {
            (path == Path::new("RTAComplete.txt"), bytes.len() % 7, path.clone())
        });
        coming.reverse();
        let mut killed = 0;
        loop {
            for _ in 0..=below(3) {
                let Some((path, bytes)) = coming.pop() else { break };
                let path = growing.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            let mut child = Command::new(env!("CARGO_BIN_EXE_chorion"))
                .args(["demux", "--follow", "--poll", "0.02", "--threads", "2", "--sample-sheet"])
                .arg(&sheet)
                .arg(growing.path())
                .arg("-o")
                .arg(out.path())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            if coming.is_empty() && killed >= 12 {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", said(&output).1);
                break;
            }
            // How long it lives decides nothing but where it is killed.
            std::thread::sleep(std::time::Duration::from_millis(below(250)));
            let ended = child.try_wait().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            if ended.is_some_and(|status| status.success()) {
                break;
            }
            killed += 1;
        }
        assert!(killed >= 3, "{killed}");
        assert!(files(out.path()) == files(one_go.path()), "{:?}", files(out.path()).keys());
    }

    #[test]
    fn a_run_that_is_followed_with_the_wrong_sheet_ends_with_the_verdict_before_the_run_does() {
        let whole = two_samples();
        let sheet = sheet(&whole, "A,AAAA,CCCC,P\nB,CCCC,AAAA,Q\n");
        // The mark of the end is missing, and still the verdict comes.
        std::fs::remove_file(whole.path().join("RTAComplete.txt")).unwrap();
        let out = tempfile::tempdir().unwrap();
        let words =
            ["demux", "--follow", "--poll", "0.02", "$0", "-o", "$1", "--sample-sheet", "$2"];
        let output = chorion(&words, &[whole.path(), out.path(), &sheet]);
        let (_, stderr) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("100.0 % of 4 reads match no sample of the sheet"), "{stderr}");
        let made = files(out.path());
        let of_an_end =
            |path: &PathBuf| path.starts_with("Reports") || path.starts_with(".following");
        assert!(!made.keys().any(of_an_end), "{:?}", made.keys());
    }

    #[test]
    fn metrics_are_told_with_what_could_not_be_used() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("RunInfo.xml"),
            "<RunInfo><Run><Reads><Read Number='1' NumCycles='5' IsIndexedRead='N'/></Reads></Run></RunInfo>",
        )
        .unwrap();
        let output = chorion(&["metrics", "$0"], &[folder.path()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).1.contains("has no metrics that can be read"));
        std::fs::create_dir(folder.path().join("InterOp")).unwrap();
        let record = |passing: f32| {
            [&[1, 0, 77, 4, 0, 0, b't'][..], &2000f32.to_le_bytes(), &passing.to_le_bytes()]
                .concat()
        };
        let tiles =
            [&[3, 15][..], &2f32.to_le_bytes(), &record(1500.0), &record(1000.0)[..9]].concat();
        std::fs::write(folder.path().join("InterOp/TileMetricsOut.bin"), tiles).unwrap();
        let output = chorion(&["metrics", "$0", "--json"], &[folder.path()]);
        let (stdout, stderr) = said(&output);
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("TileMetricsOut.bin ends inside a record"), "{stderr}");
        let found: Value = serde_json::from_str(&stdout).unwrap();
        let lane = &found["reads"][0]["lanes"][0];
        assert_eq!(
            (&lane["tiles"], &lane["figures"]["passing_percent"]),
            (&1.into(), &75.0.into())
        );
        assert_eq!(lane["figures"]["density"], 1000.0);
        assert_eq!(lane["figures"]["q30_percent"], Value::Null);
        let output = chorion(&["metrics", "$0"], &[folder.path()]);
        assert!(said(&output).0.contains("75.00"), "{}", said(&output).0);
    }

    #[test]
    fn a_check_tells_samples_lengths_and_the_tolerance_that_is_safe() {
        let run = two_samples();
        let sheet = sheet(&run, "A,ACGT,TTGG,P\nB,ACCA,TTGG,Q\n");
        let output = chorion(&["sheet", "check", "$0"], &[&sheet]);
        assert_eq!(output.status.code(), Some(1));
        let (stdout, stderr) = said(&output);
        assert_eq!(
            stdout,
            "form: version 1\nsamples: 2 on 2 rows\nlanes: all\nindex lengths: 4+4\nprojects: P (1), Q (1)\n\
             collision: samples A (ACGT+TTGG) and B (ACCA+TTGG) cannot be told apart with 1 and 1 mismatches in i7 and i5\n\
             mismatches that are safe: up to 0 in i7 and 2 in i5\n"
        );
        assert!(
            stderr.contains(
                "hint: `--mismatches 0,2` is the most that tells all samples of the sheet apart"
            ),
            "{stderr}"
        );
        let output = chorion(&["sheet", "check", "$0", "--mismatches", "0,1", "--json"], &[&sheet]);
        assert!(output.status.success());
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["safe_mismatches"], serde_json::json!([0, 2]));
    }
}
