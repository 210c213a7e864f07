//! Run metrics, with Illumina's own library as the judge where it can be had.

use std::path::Path;
use std::process::Command;

use runfolder::RunInfo;
use runfolder::dir::DirSource;
use runfolder::interop::{RunMetrics, TileMetrics, summarize};
use serde_json::Value;

use crate::common::{MemorySource, Seeded, test_data};

/// What the library makes of a folder; `None` where it is not here.
fn library(folder: &Path) -> Option<Value> {
    let python = std::env::var("CHORION_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = Command::new(&python).args(["-c", "import interop"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        println!("skipped: not here ({python} has no interop)");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testing/peers/interop_summary.py");
    let said = Command::new(&python).arg(script).arg(folder).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Some(serde_json::from_slice(&said.stdout).unwrap())
}

fn ours(folder: &Path) -> RunMetrics {
    let info = std::fs::read(folder.join("RunInfo.xml")).unwrap();
    summarize(&DirSource::new(folder).unwrap(), &RunInfo::parse(&info).unwrap()).unwrap()
}

/// The library's names of our figures, and what one of theirs is of ours.
const OF_TOTALS: [(&str, &str, f64); 10] = [
    ("Reads", "clusters", 1.0),
    ("Reads Pf", "passing", 1.0),
    ("Yield G", "yield_bases", 1e9),
    ("Projected Yield G", "projected_bases", 1e9),
    ("% >= Q30", "q30_percent", 1.0),
    ("First Cycle Intensity", "first_cycle_intensity", 1.0),
    ("% Aligned", "aligned_percent", 1.0),
    ("Error Rate", "error_percent", 1.0),
    ("% Occupied", "occupied_percent", 1.0),
    ("", "no_call_percent", 1.0),
];
const OF_LANES: [(&str, &str, f64); 11] = [
    ("Cluster Count", "tile_clusters", 1.0),
    ("Cluster Count Pf", "tile_passing", 1.0),
    ("Density", "density", 1.0),
    ("Density Pf", "density_passing", 1.0),
    ("% Pf", "passing_percent", 1.0),
    ("Phasing", "phasing", 1.0),
    ("Prephasing", "prephasing", 1.0),
    ("Phasing Slope", "phasing_slope", 1.0),
    ("Phasing Offset", "phasing_offset", 1.0),
    ("Prephasing Slope", "prephasing_slope", 1.0),
    ("Prephasing Offset", "prephasing_offset", 1.0),
];

/// Holds our figures to a row of theirs; gives how many had a value on both sides.
fn same(place: &str, theirs: &Value, figures: &[(&str, Option<f64>)]) -> usize {
    let mut compared = 0;
    for (name, value) in figures {
        let all = OF_TOTALS.iter().chain(&OF_LANES);
        let (column, _, unit) = all.clone().find(|(_, ours, _)| ours == name).unwrap();
        let expected = theirs[*column].as_f64().map(|value| value * unit);
        match (value, expected) {
            // Without data the library says nothing, nothing that is a number, or zero.
            (None, None) => {}
            (None, Some(zero)) => assert_eq!(zero, 0.0, "{place}: {name}"),
            // What it says nothing of at all: a column is missing where all of it is.
            (Some(zero), None) => {
                assert!(column.is_empty() || *zero == 0.0, "{place}: {name} is {zero}");
            }
            (Some(found), Some(expected)) => {
                let tolerance = 1e-5 * expected.abs().max(1e-6);
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{place}: {name} is {found}, not {expected}"
                );
                compared += 1;
            }
        }
    }
    compared
}

/// Holds the whole summary of a folder to the library's; gives how many figures were compared, `None` where it is not here.
fn agrees(folder: &Path) -> Option<usize> {
    let theirs = library(folder)?;
    let ours = ours(folder);
    let mut compared = same("total", &theirs["Total"][0], &ours.total.figures());
    compared += same("no index", &theirs["NonIndex"][0], &ours.non_index.figures());
    for (read, theirs) in ours.reads.iter().zip(theirs["Read"].as_array().unwrap()) {
        assert_eq!(theirs["ReadNumber"].as_u64(), Some(read.number as u64));
        compared += same(&format!("read {}", read.number), theirs, &read.totals.figures());
    }
    let mut rows = 0;
    for row in theirs["Lane"].as_array().unwrap() {
        let number = |name: &str| row[name].as_u64().unwrap();
        let read =
            ours.reads.iter().find(|read| read.number as u64 == number("ReadNumber")).unwrap();
        let Some(lane) = read.lanes.iter().find(|lane| u64::from(lane.lane) == number("Lane"))
        else {
            assert_eq!(row["Tile Count"].as_f64(), Some(0.0), "{row}");
            continue;
        };
        assert_eq!(row["Tile Count"].as_f64(), Some(lane.tiles as f64), "{row}");
        compared +=
            same(&format!("read {}, lane {}", read.number, lane.lane), row, &lane.figures());
        rows += 1;
    }
    assert_eq!(rows, ours.reads.iter().map(|read| read.lanes.len()).sum::<usize>());
    Some(compared)
}

/// A copy of a folder that has only `TileMetrics` and reads, with what the library wants to know beside them.
fn completed(folder: &Path, lanes: u32, tiles: u32) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("InterOp")).unwrap();
    let metrics = std::fs::read(folder.join("InterOp/TileMetricsOut.bin")).unwrap();
    std::fs::write(copy.path().join("InterOp/TileMetricsOut.bin"), metrics).unwrap();
    let info = std::fs::read_to_string(folder.join("RunInfo.xml")).unwrap();
    let layout = format!(
        "</Reads><FlowcellLayout LaneCount='{lanes}' SurfaceCount='2' SwathCount='3' TileCount='{tiles}'/>"
    );
    std::fs::write(copy.path().join("RunInfo.xml"), info.replace("</Reads>", &layout)).unwrap();
    std::fs::write(copy.path().join("runParameters.xml"), PARAMETERS).unwrap();
    copy
}

const PARAMETERS: &str = "<?xml version='1.0'?><RunParameters><Setup><ApplicationName>HiSeq Control Software</ApplicationName>\
    <ApplicationVersion>2.2.58</ApplicationVersion><RTAVersion>1.18.64</RTAVersion></Setup></RunParameters>";

#[test]
fn summaries_are_those_of_illumina_s_library_on_every_folder() {
    let Some(data) = test_data() else { return };
    let folders = data.join("runs/interop");
    let Some(compared) = agrees(&folders.join("200624_A00834_0183_BHMTFYTINY")) else { return };
    assert!(compared > 120, "{compared}");
    let Some(compared) = agrees(completed(&folders.join("picard_C2MFAACXX"), 8, 16).path()) else {
        return;
    };
    assert!(compared > 150, "{compared}");
    let Some(compared) = agrees(completed(&folders.join("picard_A67HY"), 1, 50).path()) else {
        return;
    };
    assert!(compared > 10, "{compared}");
}

#[test]
fn the_novaseq_run_has_the_published_figures() {
    let Some(data) = test_data() else { return };
    let metrics = ours(&data.join("runs/interop/200624_A00834_0183_BHMTFYTINY"));
    let lane = &metrics.reads[0].lanes[0];
    let near = |found: Option<f64>, expected: f64| (found.unwrap() / expected - 1.0).abs() < 1e-5;
    assert!(near(lane.totals.yield_bases, 18.642_088e9), "{lane:?}");
    assert!(
        near(lane.totals.q30_percent, 95.709_32) && near(lane.totals.occupied_percent, 97.227_234)
    );
    // Two tiles have a slope below zero, which counts as zero here and as itself in the mean of slopes.
    assert!(near(lane.phasing, 0.049_948_22) && near(lane.phasing_slope, 0.053_507_7), "{lane:?}");
    assert_eq!(metrics.last_cycle, Some(56));
    // Tiles and cycles are what the lane's figures, which the library judges, are made of.
    let of_lane = |value: fn(&TileMetrics) -> Option<f64>| {
        let values: Vec<f64> =
            metrics.tiles.iter().filter(|t| t.lane == 1).filter_map(value).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    assert!(near(lane.density, of_lane(|tile| tile.density)));
    assert!(near(lane.density_passing, of_lane(|tile| tile.density_passing)));
    assert!(near(lane.passing_percent, of_lane(TileMetrics::passing_percent)));
    let first = metrics.reads[0].cycles;
    let useful = metrics.cycles.iter().filter(|cycle| usize::from(cycle.cycle) < first);
    let (q30, calls) = useful.fold((0, 0), |sum, c| (sum.0 + c.q30, sum.1 + c.calls));
    assert!(near(metrics.reads[0].totals.q30_percent, 100.0 * q30 as f64 / calls as f64));
    assert_eq!(metrics.remarks, [] as [&str; 0]);
    let samples = &metrics.indexes[0].samples;
    assert_eq!((samples.len(), samples[0].clusters, samples[1].clusters), (2, 9920, 8560));
    assert_eq!(
        (samples[0].project.as_str(), samples[0].index.as_str()),
        ("AB-1234", "GAACTGAGCG-TCGTGGAGCG")
    );
}

/// A run of two lanes with two tiles each, reads of 30, 6 and 28 cycles, and every file in the versions given.
struct Made {
    tile: u8,
    quality: u8,
    extraction: u8,
    error: u8,
    phasing: u8,
}

const TILES: [(u16, u32); 4] = [(1, 1101), (1, 2102), (2, 1102), (2, 2101)];
const CYCLES: u16 = 64;

impl Made {
    fn info() -> &'static str {
        "<?xml version='1.0'?><RunInfo Version='2'><Run Id='x' Number='1'><Flowcell>F</Flowcell><Instrument>I</Instrument><Reads>\
         <Read Number='1' NumCycles='30' IsIndexedRead='N'/><Read Number='2' NumCycles='6' IsIndexedRead='Y'/>\
         <Read Number='3' NumCycles='28' IsIndexedRead='N'/></Reads>\
         <FlowcellLayout LaneCount='2' SurfaceCount='2' SwathCount='1' TileCount='2'/></Run></RunInfo>"
    }

    fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut seeded = Seeded(99);
        let id = |lane: u16, tile: u32, wide: bool| match wide {
            true => [&lane.to_le_bytes()[..], &tile.to_le_bytes()].concat(),
            false => [lane.to_le_bytes(), u16::try_from(tile).unwrap().to_le_bytes()].concat(),
        };
        let each_cycle = |wide: bool, record: &mut dyn FnMut(u16) -> Vec<u8>| {
            let mut out = Vec::new();
            for cycle in 1..=CYCLES {
                for (lane, tile) in TILES {
                    out.extend(id(lane, tile, wide));
                    out.extend(cycle.to_le_bytes());
                    out.extend(record(cycle));
                }
            }
            out
        };
        let mut below = |limit: usize| u16::try_from(seeded.below(limit)).unwrap();
        let mut tiles = match self.tile {
            2 => vec![2, 10],
            _ => [&[3, 15][..], &1.5f32.to_le_bytes()].concat(),
        };
        for (lane, tile) in TILES {
            let (raw, passing) =
                (f32::from(below(9000)) + 20_000.0, f32::from(below(9000)) + 10_000.0);
            let mut put = |parts: &[&[u8]]| {
                tiles.extend(id(lane, tile, self.tile == 3));
                tiles.extend(parts.concat());
            };
            if self.tile == 2 {
                let facts = [
                    (100u16, raw * 9.0),
                    (101, passing * 9.0),
                    (102, raw),
                    (103, passing),
                    (300, 1.5),
                    (302, 0.5),
                ];
                let phases =
                    [(200u16, 0.001), (201, 0.002), (204, 0.0015), (205, 0.0005), (400, 1.0)];
                for (code, value) in facts.into_iter().chain(phases) {
                    put(&[&code.to_le_bytes(), &value.to_le_bytes()]);
                }
            } else {
                put(&[b"t", &raw.to_le_bytes(), &passing.to_le_bytes()]);
                put(&[b"r", &1u32.to_le_bytes(), &1.25f32.to_le_bytes()]);
                put(&[b"r", &3u32.to_le_bytes(), &f32::NAN.to_le_bytes()]);
            }
        }
        let bins: &[u8] = match self.quality {
            4 => &[],
            5 => &[0],
            6 => &[1, 3, 2, 18, 30, 17, 29, 40, 11, 25, 37],
            _ => &[1, 3, 2, 17, 11, 18, 29, 25, 30, 40, 37],
        };
        let counts: u8 = if self.quality < 6 { 50 } else { 3 };
        let wide = self.quality >= 7;
        let size = counts * 4 + if wide { 8 } else { 6 };
        let mut quality = [&[self.quality, size], bins].concat();
        quality.extend(each_cycle(wide, &mut |_| {
            (0..counts).flat_map(|_| u32::from(below(1000)).to_le_bytes()).collect()
        }));
        let mut extraction = if self.extraction == 2 { vec![2, 38] } else { vec![3, 8 + 6 * 4, 4] };
        let time: &[u8] = if self.extraction == 2 { &[0; 8] } else { &[] };
        extraction.extend(each_cycle(self.extraction == 3, &mut |_| {
            let focus = [2.5f32.to_le_bytes(); 4].concat();
            let intensities = (0..4).flat_map(|_| (below(5000) + 1).to_le_bytes()).collect();
            [focus, intensities, time.to_vec()].concat()
        }));
        let (header, more) = match self.error {
            3 => (vec![3, 30], 20),
            4 => (vec![4, 12], 0),
            5 => (vec![5, 16], 4),
            _ => ([&[6, 20, 2, 0, 4, 0][..], b"ACGTTTTT"].concat(), 8),
        };
        let error = [
            header,
            each_cycle(self.error > 3, &mut |_| {
                let rate = f32::from(below(300)) / 100.0;
                [&rate.to_le_bytes()[..], &vec![0; more]].concat()
            }),
        ];
        let phasing = [
            vec![self.phasing, if self.phasing == 1 { 14 } else { 16 }],
            each_cycle(self.phasing == 2, &mut |cycle| {
                let weights = [
                    f32::from(cycle) * 0.1 + f32::from(below(9)),
                    f32::from(cycle) * 0.2 + f32::from(below(9)),
                ];
                weights.map(f32::to_le_bytes).concat()
            }),
        ];
        vec![
            ("TileMetricsOut.bin", tiles),
            ("QMetricsOut.bin", quality),
            ("ExtractionMetricsOut.bin", extraction),
            ("ErrorMetricsOut.bin", error.concat()),
            ("EmpiricalPhasingMetricsOut.bin", phasing.concat()),
        ]
    }
}

fn all_versions() -> [Made; 4] {
    [
        Made { tile: 2, quality: 4, extraction: 2, error: 3, phasing: 1 },
        Made { tile: 2, quality: 5, extraction: 3, error: 4, phasing: 2 },
        Made { tile: 3, quality: 6, extraction: 2, error: 5, phasing: 1 },
        Made { tile: 3, quality: 7, extraction: 3, error: 6, phasing: 2 },
    ]
}

#[test]
fn older_versions_of_every_file_give_what_the_library_makes_of_them() {
    for made in all_versions() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("InterOp")).unwrap();
        std::fs::write(folder.path().join("RunInfo.xml"), Made::info()).unwrap();
        std::fs::write(folder.path().join("runParameters.xml"), PARAMETERS).unwrap();
        for (name, bytes) in made.files() {
            std::fs::write(folder.path().join("InterOp").join(name), bytes).unwrap();
        }
        let metrics = ours(folder.path());
        assert_eq!(metrics.remarks, [] as [&str; 0]);
        let figures = metrics.reads[0].lanes[0].figures();
        let missing: Vec<_> =
            figures.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
        assert_eq!(missing, ["occupied_percent", "no_call_percent"], "of read 1 in lane 1");
        let Some(compared) = agrees(folder.path()) else { return };
        assert!(compared > 100, "{compared}");
    }
}

#[test]
fn a_file_that_ends_anywhere_counts_up_to_its_last_whole_record() {
    let info = RunInfo::parse(Made::info().as_bytes()).unwrap();
    for made in all_versions() {
        for (name, bytes) in made.files() {
            let path = format!("InterOp/{name}");
            for cut in (0..60).chain((60..bytes.len()).step_by(97)) {
                let mut source = MemorySource::default();
                source.put(&path, &bytes[..cut]);
                let metrics = summarize(&source, &info).unwrap();
                let whole = metrics.remarks.is_empty();
                assert!(
                    whole
                        || metrics.remarks
                            == [format!("{path} ends inside a record; what is before it counts")]
                );
            }
            let mut source = MemorySource::default();
            source.put(&path, &bytes[..bytes.len() - 1]);
            let partial = summarize(&source, &info).unwrap();
            assert_eq!(partial.remarks.len(), 1, "{name}");
            source.put(&path, bytes.clone());
            let whole = summarize(&source, &info).unwrap();
            assert_eq!((partial.reads.len(), whole.reads.len()), (3, 3));
        }
    }
}

#[test]
fn what_cannot_be_used_is_named_and_the_rest_counts() {
    let info = RunInfo::parse(Made::info().as_bytes()).unwrap();
    let mut source = MemorySource::default();
    for (name, bytes) in all_versions()[3].files() {
        source.put(&format!("InterOp/{name}"), bytes);
    }
    let of = |name: &str, bytes: &[u8]| {
        let mut source = source.clone();
        source.put(&format!("InterOp/{name}"), bytes);
        summarize(&source, &info).unwrap()
    };
    let metrics = of("ErrorMetricsOut.bin", &[12, 16, 0, 0]);
    assert_eq!(
        metrics.remarks,
        [
            "InterOp/ErrorMetricsOut.bin is left out: its header says the version is 12, which is not known"
        ]
    );
    assert!(metrics.total.error_percent.is_none() && metrics.total.q30_percent.is_some());
    let metrics = of("QMetricsOut.bin", &[6, 7, 0]);
    assert_eq!(
        metrics.remarks,
        [
            "InterOp/QMetricsOut.bin is left out: its header says the size of a record is 7, which does not fit its version"
        ]
    );
    // Zero bytes a record must not be divided by.
    assert_eq!(of("QMetricsOut.bin", &[6, 0, 0, 1, 2, 3]).remarks.len(), 1);
    let beyond =
        [&[4, 12][..], &[1, 0], &1101u32.to_le_bytes(), &65u16.to_le_bytes(), &[0; 4]].concat();
    let remark = &of("ErrorMetricsOut.bin", &beyond).remarks[0];
    assert_eq!(
        remark,
        "InterOp/ErrorMetricsOut.bin speaks of cycles that RunInfo.xml does not have; they are left out"
    );
    assert!(
        summarize(&MemorySource::default(), &info)
            .unwrap()
            .reads
            .iter()
            .all(|read| read.lanes.is_empty())
    );
}
