//! The rules of matching, masking and naming, on runs small enough to see through.

use runfolder::{
    DemuxError, Framing, Orientation, PlanOptions, RunInfo, SampleSheet, plan, survey,
};

use crate::common::{
    Made, MadeTile, MemorySink, MemorySource, Packed, Seeded, planned, run, threads,
};

/// Two reads of four bases and two indexes of four; the first cluster fails the filter.
fn dual(tiles: Vec<MadeTile>) -> Made {
    Made { reads: vec![(4, 'N', 'N'), (4, 'Y', 'N'), (4, 'Y', 'N'), (4, 'N', 'N')], tiles }
}

fn two_samples() -> Made {
    dual(vec![(
        1,
        1101,
        vec![
            (false, "AAAAACGTTTTTCCCC"),
            (true, "AAACACGTTTTTCCCA"),
            (true, "AAAGACGAATTTCCCG"),
            (true, "AAATGGCCAACCCCCT"),
            (true, "AACAACGTAACCCCNC"),
            (true, "AACCNNNNNNNNCCGC"),
        ],
    )])
}

const SHEET: &str = "[Data]\nSample_ID,index,index2,Sample_Project\nA,ACGT,TTTT,P\nB,GGCC,AACC,Q\n";

fn output(made: &Made, sheet: &str) -> (MemorySink, runfolder::Report) {
    let plan = planned(&made.run_info(), sheet.as_bytes(), threads(2));
    run(&made.source(), &plan).unwrap()
}

#[test]
fn reads_go_to_their_sample_within_the_tolerance_of_each_index() {
    let (sink, report) = output(&two_samples(), SHEET);
    assert_eq!(
        sink.text("P/A_S1_L001_R1_001.fastq.gz"),
        "@A1:7:FC:1:1101:1010:1005 1:N:0:ACGT+TTTT\nAAAC\n+\nFFFF\n\
         @A1:7:FC:1:1101:1020:1005 1:N:0:ACGA+ATTT\nAAAG\n+\nFFFF\n"
    );
    assert_eq!(
        sink.text("Q/B_S2_L001_R2_001.fastq.gz"),
        "@A1:7:FC:1:1101:1030:1005 2:N:0:GGCC+AACC\nCCCT\n+\nFFFF\n"
    );
    assert_eq!(
        sink.text("Undetermined_S0_L001_R2_001.fastq.gz"),
        "@A1:7:FC:1:1101:1040:1005 2:N:0:ACGT+AACC\nCCNC\n+\nFF#F\n\
         @A1:7:FC:1:1101:1050:1005 2:N:0:NNNN+NNNN\nCCGC\n+\nFFFF\n"
    );
    assert_eq!(report.lanes[0].samples[0].by_mismatches, [1, 0, 1]);
    assert_eq!((report.lanes[0].clusters, report.lanes[0].passing), (6, 5));
}

#[test]
fn reports_have_the_columns_pipelines_look_for() {
    let (sink, _) = output(&two_samples(), SHEET);
    assert_eq!(
        sink.report_text("Demultiplex_Stats.csv"),
        "Lane,SampleID,Sample_Project,Index,# Reads,# Perfect Index Reads,# One Mismatch Index Reads,\
         # Two Mismatch Index Reads,% Reads,% Perfect Index Reads,% One Mismatch Index Reads,% Two Mismatch Index Reads\n\
         1,A,P,ACGT-TTTT,2,1,0,1,0.4000,0.5000,0.0000,0.5000\n\
         1,B,Q,GGCC-AACC,1,1,0,0,0.2000,1.0000,0.0000,0.0000\n\
         1,Undetermined,Undetermined,,2,2,0,0,0.4000,1.0000,0.0000,0.0000\n"
    );
    assert_eq!(
        sink.report_text("Quality_Metrics.csv"),
        "Lane,SampleID,Sample_Project,index,index2,ReadNumber,Yield,YieldQ30,QualityScoreSum,Mean Quality Score (PF),% Q30\n\
         1,A,P,ACGT,TTTT,1,8,8,296,37.00,1.00\n1,A,P,ACGT,TTTT,2,8,8,296,37.00,1.00\n\
         1,B,Q,GGCC,AACC,1,4,4,148,37.00,1.00\n1,B,Q,GGCC,AACC,2,4,4,148,37.00,1.00\n\
         1,Undetermined,Undetermined,,,1,8,8,296,37.00,1.00\n1,Undetermined,Undetermined,,,2,8,7,261,32.62,0.88\n"
    );
    assert_eq!(
        sink.report_text("Top_Unknown_Barcodes.csv"),
        "Lane,index,index2,# Reads,% of Unknown Barcodes,% of All Reads\n\
         1,ACGT,AACC,1,0.500000,0.200000\n1,NNNN,NNNN,1,0.500000,0.200000\n"
    );
    assert_eq!(
        sink.report_text("Index_Hopping_Counts.csv"),
        "Lane,SampleID,index,index2,# Reads,% of Hopped Reads,% of All Reads\n\
         1,A,ACGT,TTTT,2,,0.400000\n1,B,GGCC,AACC,1,,0.200000\n1,,ACGT,AACC,1,1.000000,0.200000\n"
    );
    assert_eq!(
        sink.report_text("fastq_list.csv"),
        "RGID,RGSM,RGLB,Lane,Read1File,Read2File\n\
         ACGT.TTTT.1,A,UnknownLibrary,1,P/A_S1_L001_R1_001.fastq.gz,P/A_S1_L001_R2_001.fastq.gz\n\
         GGCC.AACC.1,B,UnknownLibrary,1,Q/B_S2_L001_R1_001.fastq.gz,Q/B_S2_L001_R2_001.fastq.gz\n"
    );
    assert_eq!(sink.report_text("SampleSheet.csv"), SHEET);
    assert_eq!(sink.report_text("RunInfo.xml").as_bytes(), two_samples().run_info());
}

#[test]
fn an_i5_read_as_reverse_complement_matches_the_sheet_s_forward_index() {
    let made = Made {
        reads: vec![(4, 'N', 'N'), (4, 'Y', 'N'), (6, 'Y', 'Y')],
        tiles: vec![(1, 1101, vec![(true, "AAAAACGTGGTTAA"), (true, "CCCCACGTAACCGG")])],
    };
    // The i5 of four bases fills the first cycles as read; in the sheet's orientation the unused ones come first.
    let sheet = "[Header]\nFileFormatVersion,2\nIndexOrientation,Forward\n[BCLConvert_Settings]\n\
        OverrideCycles,Y4;I4;U1N1I4\nBarcodeMismatchesIndex2,0\n[BCLConvert_Data]\nSample_ID,Index,Index2\nA,ACGT,AACC\n";
    let (sink, _) = output(&made, sheet);
    assert_eq!(
        sink.text("A_S1_L001_R1_001.fastq.gz"),
        "@A1:7:FC:1:1101:1000:1005:rT 1:N:0:ACGT+GGTT\nAAAA\n+\nFFFF\n"
    );
    assert!(sink.text("Undetermined_S0_L001_R1_001.fastq.gz").contains("1:N:0:ACGT+AACC"));
}

#[test]
fn identifiers_leave_the_read_for_its_name_unless_they_are_to_stay() {
    let made = dual(vec![(1, 1101, vec![(true, "AGCTACGTTTTTTCGA")])]);
    let sheet = |more: &str| {
        format!(
            "[BCLConvert_Settings]\nOverrideCycles,U2Y2;I4;I4;N1Y1U2\n{more}\n[BCLConvert_Data]\nSample_ID,Index\nA,ACGT\n"
        )
    };
    let (sink, _) = output(&made, &sheet(""));
    let name = "@A1:7:FC:1:1101:1000:1005:AG+GA";
    assert_eq!(
        sink.text("A_S1_L001_R1_001.fastq.gz"),
        format!("{name} 1:N:0:ACGT+TTTT\nCT\n+\nFF\n")
    );
    assert_eq!(
        sink.text("A_S1_L001_R2_001.fastq.gz"),
        format!("{name} 2:N:0:ACGT+TTTT\nC\n+\nF\n")
    );
    let (sink, _) = output(&made, &sheet("TrimUMI,0\nCreateFastqForIndexReads,1"));
    assert_eq!(
        sink.text("A_S1_L001_R2_001.fastq.gz"),
        format!("{name} 2:N:0:ACGT+TTTT\nCGA\n+\nFFF\n")
    );
    assert_eq!(
        sink.text("A_S1_L001_I2_001.fastq.gz"),
        format!("{name} 2:N:0:ACGT+TTTT\nTTTT\n+\nFFFF\n")
    );
}

/// One read of twenty bases, an index of four; the adapter is CTGTCTCT.
fn with_adapters() -> Made {
    Made {
        reads: vec![(20, 'N', 'N'), (4, 'Y', 'N')],
        tiles: vec![(
            1,
            1101,
            vec![
                (true, "GAGAGAGAGAGACTGTCTCTACGT"),
                (true, "GAGACTGTCTCTTATAAAAAACGT"),
                (true, "GACTGTCTCTTATAAAAAAAACGT"),
                (true, "GAGAGAGAGAGAGAGAGAGAACGT"),
                (true, "GAGAGAGAGAGACTGTCTCTGGCC"),
                (true, "GAGAGAGAGAGACTGTCTCTTTTT"),
            ],
        )],
    }
}

#[test]
fn adapters_are_trimmed_or_masked_as_the_sheet_and_its_rows_say() {
    let sheet = "[BCLConvert_Settings]\nAdapterRead1,CTGTCTCT\nMinimumTrimmedReadLength,8\nMaskShortReads,3\n\
        [BCLConvert_Data]\nSample_ID,Index,AdapterBehavior,AdapterRead1,MinimumAdapterOverlap\n\
        A,ACGT,,,\nB,GGCC,mask,,\nC,TTTT,,CTGTCTCG,3\n";
    let (sink, report) = output(&with_adapters(), sheet);
    let reads = |file: &str| -> Vec<String> {
        let text = sink.text(file);
        text.lines().filter(|line| !line.starts_with(['@', '+'])).map(str::to_owned).collect()
    };
    assert_eq!(
        reads("A_S1_L001_R1_001.fastq.gz"),
        [
            "GAGAGAGAGAGA",
            "FFFFFFFFFFFF",
            "GAGANNNN",
            "FFFF####",
            "NNNNNNNN",
            "########",
            "GAGAGAGAGAGAGAGAGAGA",
            "FFFFFFFFFFFFFFFFFFFF"
        ]
    );
    assert_eq!(
        reads("B_S2_L001_R1_001.fastq.gz"),
        ["GAGAGAGAGAGANNNNNNNN", "FFFFFFFFFFFF########"]
    );
    // Another adapter: seven of eight bases are below nine tenths, and its first two at the end are too few.
    assert_eq!(reads("C_S3_L001_R1_001.fastq.gz")[0], "GAGAGAGAGAGACTGTCTCT");
    assert_eq!(
        sink.report_text("Adapter_Metrics.csv"),
        "Lane,Sample_ID,index,index2,ReadNumber,AdapterBases,SampleBases,% Adapter Bases\n\
         1,A,ACGT,,1,42,80,0.525\n1,B,GGCC,,1,8,20,0.400\n1,C,TTTT,,1,0,20,0.000\n1,Undetermined,,,1,0,0,0.000\n"
    );
    // Yield counts what was sequenced, as BCL Convert does: with trimming asked for, its figure is reads times cycles.
    assert!(sink.report_text("Quality_Metrics.csv").contains("\n1,A,,ACGT,,1,80,80,"));
    assert_eq!(report.lanes[0].samples[0].metrics[0].adapter_bases, 42);
    let left = PlanOptions { without_trimming: true, ..threads(1) };
    let plan = planned(&with_adapters().run_info(), sheet.as_bytes(), left);
    let (sink, report) = run(&with_adapters().source(), &plan).unwrap();
    assert!(sink.text("B_S2_L001_R1_001.fastq.gz").contains("\nGAGAGAGAGAGACTGTCTCT\n"));
    assert!(report.warnings.iter().any(|warning| warning.starts_with("adapters are left")));
}

#[test]
fn indexes_of_several_lengths_and_several_rows_of_a_sample_share_a_lane() {
    let made = dual(vec![(
        1,
        1101,
        vec![(true, "AAAAACGTTTTTAAAA"), (true, "CCCCGGGCTTTTCCCC"), (true, "GGGGGAGATTTTCCCC")],
    )]);
    let sheet =
        "[Data]\nSample_ID,index\nA,ACGT\nB,GGG\nA,GAGA\n[Settings]\nBarcodeMismatchesIndex1,0\n";
    let (sink, report) = output(&made, sheet);
    assert!(sink.text("B_S2_L001_R1_001.fastq.gz").contains("1:N:0:GGGC+TTTT\nCCCC\n"));
    let a = sink.text("A_S1_L001_R1_001.fastq.gz");
    assert!(a.contains("\nAAAA\n") && a.contains("\nGGGG\n"), "{a}");
    assert_eq!(report.lanes[0].samples.len(), 3);
    assert!(sink.report_text("Demultiplex_Stats.csv").contains("1,A,,ACGT;GAGA,2,2,0,0,"));
}

#[test]
fn samples_of_other_lanes_have_no_file_in_this_one() {
    let made = dual(vec![
        (1, 1101, vec![(true, "AAAAACGTTTTTAAAA")]),
        (2, 1101, vec![(true, "CCCCACGTTTTTCCCC"), (false, "GGGGACGTTTTTCCCC")]),
    ]);
    let sheet = "[Data]\nLane,Sample_ID,index,index2\n1,A,ACGT,TTTT\n2,B,,\n";
    let (sink, _) = output(&made, sheet);
    let files: Vec<_> = sink.files.keys().map(String::as_str).collect();
    assert_eq!(
        files,
        [
            "A_S1_L001_R1_001.fastq.gz",
            "A_S1_L001_R2_001.fastq.gz",
            "B_S2_L002_R1_001.fastq.gz",
            "B_S2_L002_R2_001.fastq.gz",
            "Undetermined_S0_L001_R1_001.fastq.gz",
            "Undetermined_S0_L001_R2_001.fastq.gz"
        ]
    );
    assert!(sink.text("B_S2_L002_R1_001.fastq.gz").contains("\nCCCC\n"));
    let joined =
        format!("{sheet}[Settings]\nNoLaneSplitting,true\n").replace("2,B,,", "2,A,ACGT,TTTT");
    let (sink, report) = output(&made, &joined);
    let reads = sink.text("A_S1_R1_001.fastq.gz");
    assert!(reads.find(":FC:1:1101:").unwrap() < reads.find(":FC:2:1101:").unwrap());
    assert_eq!(report.lanes.len(), 2);
    let only = PlanOptions { lanes: Some([2].into()), ..threads(1) };
    let plan = planned(&made.run_info(), sheet.as_bytes(), only);
    assert_eq!(run(&made.source(), &plan).unwrap().1.lanes.len(), 1);
}

#[test]
fn failed_reads_are_written_only_when_asked_for_and_marked() {
    let made = two_samples();
    let options = PlanOptions { with_failed_reads: true, ..threads(1) };
    let plan = planned(&made.run_info(), SHEET.as_bytes(), options);
    let (sink, _) = run(&made.source(), &plan).unwrap();
    assert!(
        sink.text("P/A_S1_L001_R1_001.fastq.gz")
            .starts_with("@A1:7:FC:1:1101:1000:1005 1:Y:0:ACGT+TTTT\nAAAA\n")
    );
}

#[test]
fn a_sheet_with_turned_indexes_is_told_what_to_change() {
    let made = two_samples();
    let turned = "[Data]\nSample_ID,index,index2\nA,ACGT,AAAA\nB,GGCC,GGTT\n";
    let plan = planned(&made.run_info(), turned.as_bytes(), threads(1));
    let (_, report) = run(&made.source(), &plan).unwrap();
    let (way, reads) = report.better_orientation(&plan).unwrap();
    assert_eq!((way, reads), (Orientation::I5Reversed, 4 - 1));
    // The same from the index cycles alone.
    let quick = survey(&made.source(), &plan, 1000).unwrap();
    assert_eq!(quick.better_orientation(&plan), Some((way, reads)));
    let plan = planned(&made.run_info(), SHEET.as_bytes(), threads(1));
    let (_, report) = run(&made.source(), &plan).unwrap();
    assert_eq!(report.better_orientation(&plan), None);
}

/// What a run says once something was done to it.
fn error_of(change: impl Fn(&mut MemorySource)) -> String {
    let made = two_samples();
    let mut source = made.source();
    change(&mut source);
    let plan = planned(&made.run_info(), SHEET.as_bytes(), threads(2));
    run(&source, &plan).unwrap_err().to_string()
}

#[test]
fn what_is_missing_or_broken_is_named_with_lane_tile_cycle_and_file() {
    const CYCLE: &str = "Data/Intensities/BaseCalls/L001/C14.1/L001_1.cbcl";
    const FILTER: &str = "Data/Intensities/BaseCalls/L001/s_1_1101.filter";
    type Case<'a> = (&'a dyn Fn(&mut MemorySource), String);
    let cases: [Case<'_>; 9] = [
        (
            &|source| drop(source.0.remove(CYCLE)),
            format!("lane 1, cycle 14: {CYCLE} is missing"),
        ),
        (
            &|source| assert!(source.0.get_mut(CYCLE).unwrap().pop().is_some()),
            format!("lane 1, cycle 14: {CYCLE} cannot be used: it ends too early"),
        ),
        (
            &|source| *source.0.get_mut(CYCLE).unwrap().iter_mut().rev().nth(5).unwrap() ^= 1,
            format!(
                "tile 1101 of lane 1, cycle 14: {CYCLE} cannot be used: it does not inflate: its checksum is wrong"
            ),
        ),
        (
            &|source| source.0.get_mut(FILTER).unwrap().truncate(14),
            format!("tile 1101 of lane 1: {FILTER} cannot be used: it ends too early"),
        ),
        (
            &|source| drop(source.0.remove(FILTER)),
            format!("tile 1101 of lane 1: {FILTER} is missing"),
        ),
        (
            &|source| source.0.retain(|path, _| !path.ends_with(".locs")),
            "tile 1101 of lane 1 has no positions: there is no s.locs, .locs or .clocs for it".to_owned(),
        ),
        (
            &|source| source.0.retain(|path, _| !path.ends_with(".cbcl")),
            "lane 1 has no base calls of cycle 1 in a format that is known".to_owned(),
        ),
        (
            &|source| source.0.clear(),
            "lane 1 has no base calls in the run folder".to_owned(),
        ),
        (
            &|source| {
                let filter = [[0u32, 3, 4].map(u32::to_le_bytes).concat(), vec![1; 4]].concat();
                source.put(FILTER, filter);
                let locs = [[1u32, 1f32.to_bits(), 4].map(u32::to_le_bytes).concat(), vec![0; 32]];
                source.put("Data/Intensities/L001/s_1_1101.locs", locs.concat());
            },
            "tile 1101 of lane 1, cycle 1: Data/Intensities/BaseCalls/L001/C1.1/L001_1.cbcl cannot be used: \
             it counts 6 clusters where 4 are expected"
                .to_owned(),
        ),
    ];
    for (change, sentence) in cases {
        assert_eq!(error_of(change), sentence);
    }
}

/// What a run becomes, with something done to it, when going on was asked for.
fn gone_without(
    made: &Made,
    change: impl Fn(&mut MemorySource),
) -> (MemorySink, runfolder::Report) {
    let mut source = made.source();
    change(&mut source);
    let mut outputs: Vec<_> = [1, 3]
        .into_iter()
        .map(|count| {
            let options = PlanOptions { ignore_missing: true, stats_json: true, ..threads(count) };
            run(&source, &planned(&made.run_info(), SHEET.as_bytes(), options)).unwrap()
        })
        .collect();
    assert_eq!(outputs[0], outputs[1], "threads change the output");
    outputs.remove(0)
}

#[test]
fn what_is_missing_becomes_n_only_when_asked_for_and_is_marked_in_every_report() {
    const CYCLE: &str = "Data/Intensities/BaseCalls/L001/C2.1/L001_1.cbcl";
    let made = two_samples();
    type Change<'a> = &'a dyn Fn(&mut MemorySource);
    let broken: [Change<'_>; 4] = [
        &|source| drop(source.0.remove(CYCLE)),
        &|source| source.0.get_mut(CYCLE).unwrap().truncate(70),
        &|source| *source.0.get_mut(CYCLE).unwrap().iter_mut().rev().nth(5).unwrap() ^= 1,
        &|source| source.put(CYCLE, b"no header".to_vec()),
    ];
    for change in broken {
        let (sink, report) = gone_without(&made, change);
        assert_eq!(
            sink.text("P/A_S1_L001_R1_001.fastq.gz"),
            "@A1:7:FC:1:1101:1010:1005 1:N:0:ACGT+TTTT\nANAC\n+\nF#FF\n\
             @A1:7:FC:1:1101:1020:1005 1:N:0:ACGA+ATTT\nANAG\n+\nF#FF\n"
        );
        let lane = &report.lanes[0];
        assert_eq!((lane.missing_tiles, lane.missing_cycles), (0, 1));
        for name in [
            "Demultiplex_Stats.csv",
            "Quality_Metrics.csv",
            "Adapter_Metrics.csv",
            "Top_Unknown_Barcodes.csv",
            "Index_Hopping_Counts.csv",
            "fastq_list.csv",
        ] {
            let table = sink.report_text(name);
            let mut lines = table.lines();
            assert!(lines.next().unwrap().ends_with(",Incomplete"), "{table}");
            assert!(
                lines.all(|line| line.ends_with(",0 tiles left out and 1 cycles of tiles are N")),
                "{table}"
            );
        }
        let list = sink.report_text("Missing.csv");
        assert!(
            list.contains(&format!("\n1,1101,2,{CYCLE},\"")) || list.contains("\n1,1101,2,"),
            "{list}"
        );
        let json = std::str::from_utf8(&sink.reports["Stats/Stats.json"]).unwrap();
        assert!(json.contains("\"Incomplete\":{\"TilesLeftOut\":0,\"TileCyclesAsN\":1}"), "{json}");
    }
    let (sink, report) =
        gone_without(&made, |source| source.0.retain(|path, _| !path.ends_with(".filter")));
    assert_eq!((report.lanes[0].missing_tiles, report.lanes[0].reads()), (1, 0));
    assert!(sink.text("P/A_S1_L001_R1_001.fastq.gz").is_empty());
    assert!(
        sink.report_text("Missing.csv")
            .contains("1,1101,,Data/Intensities/BaseCalls/L001/s_1_1101.filter,\"it is missing\"")
    );
    // Nothing missing, no mark.
    let (sink, report) = gone_without(&made, |_| ());
    assert!(!report.is_incomplete() && !sink.report_text("fastq_list.csv").contains("Incomplete"));
    assert!(!sink.reports.contains_key("Reports/Missing.csv"));
}

#[test]
fn index_metrics_are_those_of_an_instrument_and_stats_json_those_of_bcl2fastq() {
    let made = dual(vec![
        (1, 1101, vec![(true, "AAACACGTTTTTCCCA"), (true, "AAATGGCCAACCCCCT")]),
        (
            1,
            1102,
            vec![
                (true, "AAACACGTTTTACCCA"),
                (true, "CAACACGTTTTTCCCA"),
                (true, "GGGGGGGGGGGGGGGG"),
            ],
        ),
    ]);
    let options = PlanOptions { stats_json: true, ..threads(2) };
    let plan = planned(&made.run_info(), SHEET.as_bytes(), options);
    let (sink, _) = run(&made.source(), &plan).unwrap();
    let mut folder = MemorySource::default();
    folder.put("InterOp/IndexMetricsOut.bin", sink.reports["Reports/IndexMetricsOut.bin"].clone());
    let metrics =
        runfolder::interop::summarize(&folder, &RunInfo::parse(&made.run_info()).unwrap()).unwrap();
    let told: Vec<_> = metrics.indexes[0]
        .samples
        .iter()
        .map(|s| (s.sample.as_str(), s.project.as_str(), s.index.as_str(), s.clusters))
        .collect();
    assert_eq!(told, [("A", "P", "ACGT-TTTT", 3), ("B", "Q", "GGCC-AACC", 1)]);
    let json: serde_json::Value =
        serde_json::from_slice(&sink.reports["Stats/Stats.json"]).unwrap();
    assert_eq!((&json["Flowcell"], &json["RunNumber"]), (&"FC".into(), &7.into()));
    assert_eq!(
        json["ReadInfosForLanes"][0]["ReadInfos"][1],
        serde_json::json!({"Number": 2, "NumCycles": 4, "IsIndexedRead": true})
    );
    let lane = &json["ConversionResults"][0];
    assert_eq!((&lane["TotalClustersRaw"], &lane["Yield"]), (&5.into(), &40.into()));
    assert_eq!(
        lane["DemuxResults"][0]["IndexMetrics"],
        serde_json::json!([{"IndexSequence": "ACGT+TTTT", "MismatchCounts": {"0": 2, "1": 1, "2": 0}}])
    );
    assert_eq!(lane["DemuxResults"][0]["ReadMetrics"][1]["QualityScoreSum"], 3 * 4 * 37);
    assert_eq!(lane["Undetermined"]["NumberReads"], 1);
    assert_eq!(
        json["UnknownBarcodes"][0],
        serde_json::json!({"Lane": 1, "Barcodes": {"GGGG+GGGG": 1}})
    );
    // Every key of bcl2fastq's own file is there.
    let Some(data) = crate::common::test_data() else { return };
    let theirs: serde_json::Value = serde_json::from_slice(
        &std::fs::read(data.join("runs/reports/bcl2fastq/Stats.json")).unwrap(),
    )
    .unwrap();
    same_keys(&theirs, &json, "");
}

/// Sees that every object of one has the keys of the first like object of the other.
fn same_keys(theirs: &serde_json::Value, ours: &serde_json::Value, place: &str) {
    if place.ends_with("/Barcodes") || place.ends_with("/MismatchCounts") {
        return;
    }
    match (theirs, ours) {
        (serde_json::Value::Object(theirs), serde_json::Value::Object(ours)) => {
            for (key, value) in theirs {
                assert!(ours.contains_key(key), "{place}/{key}");
                same_keys(value, &ours[key], &format!("{place}/{key}"));
            }
        }
        (serde_json::Value::Array(theirs), serde_json::Value::Array(ours)) => {
            same_keys(&theirs[0], &ours[0], place);
        }
        _ => {}
    }
}

#[test]
fn multiqc_reads_the_reports() {
    let python = std::env::var("CHORION_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = std::process::Command::new(&python).args(["-c", "import multiqc"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        println!("skipped: not here ({python} has no multiqc)");
        return;
    }
    let options = PlanOptions { stats_json: true, ..threads(2) };
    let info =
        String::from_utf8(two_samples().run_info()).unwrap().replace("<Run ", "<Run Id='run7' ");
    let plan = planned(info.as_bytes(), SHEET.as_bytes(), options);
    let (sink, _) = run(&two_samples().source(), &plan).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in &sink.reports {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let said = std::process::Command::new(&python)
        .args([
            "-m",
            "multiqc",
            "--no-version-check",
            "--no-report",
            "--data-format",
            "json",
            "-m",
            "bclconvert",
            "-m",
            "bcl2fastq",
        ])
        .arg("--outdir")
        .arg(folder.path())
        .arg(folder.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{words}");
    let read = |name: &str| -> serde_json::Value {
        let path = folder.path().join("multiqc_data").join(name);
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|_| panic!("{} is missing: {words}", path.display()));
        serde_json::from_slice(&bytes).unwrap()
    };
    let sources = read("multiqc_data.json")["report_data_sources"].clone();
    for (module, file) in
        [("bclconvert", "Reports/Demultiplex_Stats.csv"), ("bcl2fastq", "Stats/Stats.json")]
    {
        let found = sources[module].to_string();
        assert!(found.contains(file), "{module}: {found}");
    }
    let sample = read("bclconvert-sample-stats-table.json")["A (L1)"].clone();
    assert_eq!(
        (&sample["Perfect index"], &sample["Index"]),
        (&50.0.into(), &"ACGT-TTTT".into()),
        "{sample}"
    );
    assert_eq!(sample["Mean quality score"], 37.0, "{sample}");
}

/// A run made at random, with what must come of it computed in the plainest way: one cluster after another, one base after
/// another.
#[test]
fn any_run_gives_its_truth_with_any_threads_in_any_order_of_the_folder() {
    let mut seeded = Seeded(0xc0ff_ee11);
    for round in 0..60 {
        let cycles = [1 + seeded.below(12), 4, 4, seeded.below(9)];
        let clusters = |seeded: &mut Seeded| -> Vec<(bool, &'static str)> {
            (0..seeded.below(300))
                .map(|_| {
                    let mut bases: String =
                        (0..cycles[0]).map(|_| b"ACGTN"[seeded.below(5)] as char).collect();
                    for index in [["ACGT", "GGCC"], ["TTTT", "AACC"]] {
                        let mut index = index[seeded.below(2)].as_bytes().to_vec();
                        for _ in 0..seeded.below(3) {
                            index[seeded.below(4)] = b"ACGTN"[seeded.below(5)];
                        }
                        bases.push_str(std::str::from_utf8(&index).unwrap());
                    }
                    bases.extend((0..cycles[3]).map(|_| b"ACGTN"[seeded.below(5)] as char));
                    // As long as the test program runs, like the literals of other tests.
                    (seeded.below(4) > 0, &*bases.leak())
                })
                .collect()
        };
        let places = [(1, 2101), (1, 1101), (2, 1102)];
        let tiles = places.into_iter().take(1 + seeded.below(3));
        let tiles: Vec<MadeTile> =
            tiles.map(|(lane, tile)| (lane, tile, clusters(&mut seeded))).collect();
        let reads = [(cycles[0], 'N'), (4, 'Y'), (4, 'Y'), (cycles[3], 'N')];
        let made = Made {
            reads: reads.iter().map(|(cycles, index)| (*cycles, *index, 'N')).collect(),
            tiles,
        };
        let tolerance = [seeded.below(3), seeded.below(3)].map(|n| u8::try_from(n).unwrap());
        let mut expected: std::collections::BTreeMap<String, String> =
            std::collections::BTreeMap::new();
        for (lane, tile, clusters) in &made.tiles {
            for (at, (passes, bases)) in clusters.iter().enumerate() {
                let (first, rest) = bases.split_at(cycles[0]);
                let (i7, i5, second) = (&rest[..4], &rest[4..8], &rest[8..]);
                let near = |read: &str, wanted: &str, most: u8| {
                    read.bytes().zip(wanted.bytes()).filter(|(a, b)| a != b).count()
                        <= usize::from(most)
                };
                let is = |a: &str, b: &str| near(i7, a, tolerance[0]) && near(i5, b, tolerance[1]);
                let stem = match (is("ACGT", "TTTT"), is("GGCC", "AACC")) {
                    (true, _) => "P/A_S1",
                    (_, true) => "Q/B_S2",
                    _ => "Undetermined_S0",
                };
                for (number, sequence) in [(1, first), (2, second)] {
                    if sequence.is_empty() {
                        continue;
                    }
                    let text = expected
                        .entry(format!("{stem}_L{lane:03}_R{number}_001.fastq.gz"))
                        .or_default();
                    if *passes {
                        let quality: String = sequence
                            .chars()
                            .map(|base| if base == 'N' { '#' } else { 'F' })
                            .collect();
                        text.push_str(&format!(
                            "@A1:7:FC:{lane}:{tile}:{}:1005 {number}:N:0:{i7}+{i5}\n{sequence}\n+\n{quality}\n",
                            1000 + 10 * at
                        ));
                    }
                }
            }
        }
        let mut outputs = Vec::new();
        for count in [1, 1 + seeded.below(9)] {
            let options = PlanOptions { mismatches: Some(tolerance), ..threads(count) };
            let sheet = SampleSheet::parse(SHEET.as_bytes()).unwrap();
            // With two mismatches of four bases the two samples could be one: no plan, and that is right too.
            let Ok(plan) = plan(RunInfo::parse(&made.run_info()).unwrap(), &sheet, options) else {
                break;
            };
            outputs.push(run(&Shuffled(made.source(), seeded.next()), &plan).unwrap());
        }
        let [one, many] = &outputs[..] else {
            assert!(tolerance[0] + tolerance[1] > 2, "round {round}");
            continue;
        };
        assert_eq!(one, many, "round {round}: threads change the output");
        for (path, text) in &expected {
            assert_eq!(&one.0.text(path), text, "round {round}: {path}");
        }
        let reads: usize = expected.values().map(|text| text.lines().count()).sum();
        let found: usize = one.0.files.keys().map(|path| one.0.text(path).lines().count()).sum();
        assert_eq!(found, reads, "round {round}");
    }
}

/// A folder whose files are listed in another order.
struct Shuffled(MemorySource, u64);

impl runfolder::Source for Shuffled {
    fn list(&self) -> std::io::Result<Vec<runfolder::Entry>> {
        let mut entries = self.0.list()?;
        entries.sort_by_key(|entry| {
            entry
                .path
                .bytes()
                .fold(self.1, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
        });
        Ok(entries)
    }

    fn read_at(&self, path: &str, offset: u64, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_at(path, offset, into)
    }
}

#[test]
fn a_tile_that_run_info_lists_must_be_there_and_one_more_is_kept_with_a_warning() {
    let made = two_samples();
    let with = |tiles: &str| {
        let text = String::from_utf8(made.run_info()).unwrap();
        text.replace("<Tile>1_1101</Tile>", tiles).into_bytes()
    };
    let plan =
        planned(&with("<Tile>1_1101</Tile><Tile>1_1102</Tile>"), SHEET.as_bytes(), threads(1));
    let error = run(&made.source(), &plan).unwrap_err();
    assert!(matches!(error, DemuxError::NoTile { lane: 1, tile: 1102 }), "{error}");
    let two = dual(vec![
        (1, 1101, vec![(true, "AAAAACGTTTTTAAAA")]),
        (1, 1102, vec![(true, "CCCCACGTTTTTAAAA")]),
    ]);
    let plan = planned(&with("<Tile>1_1102</Tile>"), SHEET.as_bytes(), threads(1));
    let (sink, report) = run(&two.source(), &plan).unwrap();
    let reads = sink.text("P/A_S1_L001_R1_001.fastq.gz");
    assert!(reads.find(":1102:").unwrap() < reads.find(":1101:").unwrap());
    assert!(report.warnings.iter().any(|w| w.starts_with("tile 1101 of lane 1 is in the folder")));
}

#[test]
fn a_sink_that_fails_stops_the_work_with_the_file_named() {
    struct Full;
    impl runfolder::Sink for Full {
        fn fastq(&mut self, _: &runfolder::FastqName, _: &[u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn finish_file(&mut self, _: &runfolder::FastqName) -> std::io::Result<()> {
            Ok(())
        }
        fn report(&mut self, _: &str, _: &[u8]) -> std::io::Result<()> {
            Ok(())
        }
    }
    let made = two_samples();
    let sheet = SampleSheet::parse(SHEET.as_bytes()).unwrap();
    let plan = plan(RunInfo::parse(&made.run_info()).unwrap(), &sheet, threads(1)).unwrap();
    let error = runfolder::demultiplex(&made.source(), &plan, &mut Full, &|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "P/A_S1_L001_R1_001.fastq.gz cannot be written");
}

#[test]
fn calls_packed_in_any_number_of_bits_are_the_same_calls() {
    let mut seeded = Seeded(0x0b17_5000);
    // More than a strip, an odd number, and not a multiple of eight kept in any strip.
    let clusters = (0..70_001).map(|_| {
        let bases = ["AAACACGTTTTTCCCA", "AAATGGCCAACCCCCT", "NNNNACGTTTTTGGGG"][seeded.below(3)];
        (seeded.below(3) > 0, bases)
    });
    let made = dual(vec![(1, 1101, clusters.collect())]);
    let plan = planned(&made.run_info(), SHEET.as_bytes(), threads(2));
    let expected = run(&made.source(), &plan).unwrap();
    let ways: [fn(usize) -> bool; 3] = [|_| false, |_| true, |cycle| cycle > 5];
    for (quality_bits, bits) in [(1, 3), (2, 4), (2, 8), (3, 5), (4, 6), (4, 8), (5, 7), (6, 8)] {
        for passing_only in ways {
            let packed = Packed { quality_bits, bits, passing_only };
            let found = run(&made.packed(packed), &plan).unwrap();
            assert!(found == expected, "{quality_bits} bits of quality in {bits}");
        }
    }
}

#[test]
fn positions_in_a_clocs_give_the_names_of_those_in_a_locs() {
    let made = two_samples();
    let mut source = made.source();
    source.0.retain(|path, _| !path.ends_with(".locs"));
    // Six clusters in the first two bins of the first row: x is 0, 10 and so on of its bin, y is 5.
    let mut clocs = vec![1];
    clocs.extend(2u32.to_le_bytes());
    clocs.extend([4, 0, 5, 10, 5, 20, 5, 30, 5, 2, 40, 5, 50, 5]);
    source.put("Data/Intensities/L001/s_1_1101.clocs", clocs);
    let plan = planned(&made.run_info(), SHEET.as_bytes(), threads(1));
    let (sink, _) = run(&source, &plan).unwrap();
    let (locs, _) = run(&made.source(), &plan).unwrap();
    for (path, text) in
        [("P/A_S1_L001_R1_001.fastq.gz", "1010"), ("Q/B_S2_L001_R1_001.fastq.gz", "1030")]
    {
        assert!(sink.text(path).starts_with(&format!("@A1:7:FC:1:1101:{text}:1005 1:")), "{path}");
        assert_eq!(sink.text(path), locs.text(path));
    }
    // Those of the second bin lie 250 further.
    assert!(
        sink.text("Undetermined_S0_L001_R1_001.fastq.gz").starts_with("@A1:7:FC:1:1101:1290:1005 ")
    );
}

#[test]
fn plain_members_hold_the_same_text_and_an_empty_file_is_an_empty_gzip() {
    let bases = ["AAACACGTTTTTCCCA"; 9000].map(|bases| (true, bases));
    let made = dual(vec![(1, 1101, bases.to_vec())]);
    let of = |framing, count| {
        let options = PlanOptions { framing, ..threads(count) };
        run(&made.source(), &planned(&made.run_info(), SHEET.as_bytes(), options)).unwrap().0
    };
    let (plain, blocks) = (of(Framing::Gzip, 1), of(Framing::Bgzf, 1));
    assert_eq!(of(Framing::Gzip, 7), plain, "threads change the output");
    for (path, file) in &plain.files {
        assert_eq!(plain.text(path), blocks.text(path), "{path}");
        assert_eq!(file[3], 0, "{path} has no extra field");
        assert!(file.len() < blocks.files[path].len(), "{path}");
    }
    assert_eq!(plain.text("Q/B_S2_L001_R1_001.fastq.gz"), "");
    let members = plain.files["P/A_S1_L001_R1_001.fastq.gz"].windows(4);
    let members = members.filter(|four| *four == [0x1f, 0x8b, 8, 0]).count();
    assert_eq!(members, (9000 * 49usize).div_ceil(256 << 10), "members of 256 KiB");
}

#[test]
fn a_row_may_have_cycles_and_tolerances_of_its_own() {
    let made = dual(vec![(1, 1101, vec![(true, "AACCACGATTTTGGGG"), (true, "CCAAGGCATTTTGGGG")])]);
    let sheet = "[BCLConvert_Settings]\nBarcodeMismatchesIndex1,0\nOverrideCycles,Y4;I4;N4;Y4\n[BCLConvert_Data]\n\
        Sample_ID,Index,OverrideCycles,BarcodeMismatchesIndex1\nA,ACGT,U2Y2;I4;N4;Y3N1,1\nB,GGCC,,\n";
    let (sink, _) = output(&made, sheet);
    assert_eq!(
        sink.text("A_S1_L001_R1_001.fastq.gz"),
        "@A1:7:FC:1:1101:1000:1005:AA 1:N:0:ACGA\nCC\n+\nFF\n"
    );
    assert!(sink.text("A_S1_L001_R2_001.fastq.gz").ends_with("\nGGG\n+\nFFF\n"));
    // B allows no mismatch, as the sheet says.
    assert_eq!(sink.text("B_S2_L001_R1_001.fastq.gz"), "");
    assert!(sink.text("Undetermined_S0_L001_R1_001.fastq.gz").contains("\nCCAA\n"));
}

#[test]
fn columns_and_shares_are_those_of_bcl_convert_s_published_reports() {
    let Some(data) = crate::common::test_data() else { return };
    let (sink, _) = output(&two_samples(), SHEET);
    let sets =
        ["runs/interop/200624_A00834_0183_BHMTFYTINY/Reports", "runs/reports/bclconvert_3.9.3"];
    let mut compared = 0;
    for set in sets {
        for (path, ours) in &sink.reports {
            let Some(name) = path.strip_prefix("Reports/").filter(|name| name.ends_with(".csv"))
            else {
                continue;
            };
            let Ok(theirs) = std::fs::read_to_string(data.join(set).join(name)) else { continue };
            if name == "SampleSheet.csv" {
                continue;
            }
            let ours = String::from_utf8(ours.clone()).unwrap();
            let columns: Vec<&str> = ours.lines().next().unwrap().split(',').collect();
            let their_columns: Vec<&str> = theirs.lines().next().unwrap().split(',').collect();
            // One set was written for a sheet without projects.
            let without_project = columns
                .iter()
                .copied()
                .filter(|c| their_columns.contains(&"Sample_Project") || *c != "Sample_Project");
            assert_eq!(without_project.collect::<Vec<_>>(), their_columns, "{set}/{name}");
            // What is computed from other columns has as many decimals as theirs, where the newer set has it.
            if set == sets[0] {
                let row = |text: &str| -> Vec<String> {
                    text.lines().nth(1).unwrap().split(',').map(str::to_owned).collect()
                };
                let decimals = |cell: &String| cell.split_once('.').map(|(_, part)| part.len());
                let decimals =
                    |text: &str| row(text).iter().skip(4).map(decimals).collect::<Vec<_>>();
                assert_eq!(decimals(&ours), decimals(&theirs), "{name}");
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 9);
}
