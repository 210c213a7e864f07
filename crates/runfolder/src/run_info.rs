//! `RunInfo.xml`: what the instrument was told to sequence.
//!
//! The file has no schema that holds across instruments. In versions 2 to 6 the order of attributes varies, `Flowcell` and
//! `Instrument` stand inside `Run` or beside it, and a `Run` may have no attribute at all; so elements and attributes are
//! found by name wherever they are. What is always right afterwards: there is at least one read, cycles are few enough to
//! hold, and tiles belong to a lane.

use std::fmt;

use quick_xml::events::{BytesStart, Event};

use crate::limits;

/// One read of a run, in the order in which it was sequenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The number the instrument gave it, counting index reads too.
    pub number: u32,
    /// Cycles; 0 is possible.
    pub cycles: usize,
    /// Whether it reads an index.
    pub indexed: bool,
    /// Whether an index was sequenced as the reverse complement of what a sample sheet says.
    pub reverse_complement: bool,
}

/// A tile as `RunInfo.xml` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedTile {
    /// Its lane.
    pub lane: u32,
    /// Its number, such as 1101 or 11101.
    pub tile: u32,
}

/// What `RunInfo.xml` says, and the text itself for the copy beside the reports.
#[derive(Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// The run's id, often the folder's name; empty where the file has none.
    pub id: String,
    /// The run number.
    pub number: u64,
    /// The instrument's name.
    pub instrument: String,
    /// The flow cell's barcode.
    pub flowcell: String,
    /// The date as it is written: every generation writes another form.
    pub date: String,
    /// The reads in sequencing order.
    pub reads: Vec<Read>,
    /// Lanes the layout speaks of; not to be trusted alone.
    pub lane_count: Option<u32>,
    /// The tiles in the file's order; empty on MiSeq and HiSeq.
    pub tiles: Vec<ListedTile>,
    /// The image channels' names; older instruments name none.
    pub channels: Vec<String>,
    text: Vec<u8>,
}

impl fmt::Debug for RunInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunInfo")
            .field("id", &self.id)
            .field("reads", &self.reads)
            .field("tiles", &self.tiles.len())
            .finish_non_exhaustive()
    }
}

/// Why a `RunInfo.xml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunInfoError {
    /// The text is not UTF-8.
    #[error("RunInfo.xml is not UTF-8 text")]
    NotText,
    /// The text is not XML.
    #[error("RunInfo.xml is not well-formed XML")]
    NotXml(#[source] quick_xml::Error),
    /// No read is listed.
    #[error("RunInfo.xml lists no read")]
    NoReads,
    /// A number is not one.
    #[error("{attribute} of element {element} in RunInfo.xml is `{value}`, which is not a number")]
    NotANumber {
        /// The element.
        element: String,
        /// The attribute.
        attribute: String,
        /// What stands there.
        value: String,
    },
    /// A tile is not written `<lane>_<tile>`.
    #[error("tile `{0}` in RunInfo.xml is not written as lane, underscore, tile")]
    BadTile(String),
    /// A name would break a FASTQ header.
    #[error("{what} `{value}` in RunInfo.xml holds characters that a read name cannot have")]
    BadName {
        /// Which name.
        what: &'static str,
        /// What stands there.
        value: String,
    },
    /// More than any instrument writes.
    #[error("RunInfo.xml lists {found} {what}, more than the {limit} that are accepted")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are accepted.
        limit: usize,
    },
}

impl RunInfo {
    /// Reads the file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, RunInfoError> {
        let text = std::str::from_utf8(bytes).map_err(|_| RunInfoError::NotText)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut found = Self {
            id: String::new(),
            number: 0,
            instrument: String::new(),
            flowcell: String::new(),
            date: String::new(),
            reads: Vec::new(),
            lane_count: None,
            tiles: Vec::new(),
            channels: Vec::new(),
            text: bytes.to_vec(),
        };
        let mut reader = quick_xml::Reader::from_str(text);
        let mut within: Option<Wanted> = None;
        let mut in_channels = false;
        let mut content = String::new();
        loop {
            match reader.read_event().map_err(RunInfoError::NotXml)? {
                Event::Start(element) => {
                    found.element(&element)?;
                    let name = element.local_name().into_inner();
                    in_channels |= name == "ImageChannels";
                    within = match name {
                        "Name" if in_channels => Some(Wanted::Channel),
                        other => Wanted::named(other),
                    };
                    content.clear();
                }
                Event::Empty(element) => found.element(&element)?,
                Event::Text(text) if within.is_some() => content.push_str(&text.xml10_content()),
                Event::CData(text) if within.is_some() => content.push_str(&text),
                Event::End(element) => {
                    in_channels &= element.local_name().into_inner() != "ImageChannels";
                    if let Some(wanted) = within.take() {
                        found.content(wanted, content.trim())?;
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        found.checked()
    }

    /// A run of these reads, each with its cycles and whether it is an index, of which nothing else is known.
    pub(crate) fn assumed(reads: impl Iterator<Item = (usize, bool)>) -> Self {
        let read = |(at, (cycles, indexed)): (u32, (usize, bool))| Read {
            number: at,
            cycles: cycles.min(limits::MAX_CYCLES),
            indexed,
            reverse_complement: false,
        };
        Self {
            id: String::new(),
            number: 0,
            instrument: String::new(),
            flowcell: String::new(),
            date: String::new(),
            reads: (1..).zip(reads).map(read).collect(),
            lane_count: None,
            tiles: Vec::new(),
            channels: Vec::new(),
            text: Vec::new(),
        }
    }

    /// The text as it was read.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Cycles of all reads together.
    pub fn cycles(&self) -> usize {
        self.reads.iter().map(|read| read.cycles).sum()
    }

    /// The index reads in order: i7, then i5.
    pub fn index_reads(&self) -> impl Iterator<Item = &Read> {
        self.reads.iter().filter(|read| read.indexed)
    }

    /// The tiles listed for a lane, in the file's order.
    pub fn tiles_of(&self, lane: u32) -> impl Iterator<Item = u32> + '_ {
        self.tiles.iter().filter(move |tile| tile.lane == lane).map(|tile| tile.tile)
    }

    /// The lanes the file speaks of: those with tiles where tiles are listed, else the layout's count.
    pub fn lanes(&self) -> Vec<u32> {
        let mut lanes: Vec<u32> = self.tiles.iter().map(|tile| tile.lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        if lanes.is_empty() {
            lanes.extend(1..=self.lane_count.unwrap_or(0).min(limits::MAX_LANES));
        }
        lanes
    }

    fn element(&mut self, element: &BytesStart<'_>) -> Result<(), RunInfoError> {
        match element.local_name().into_inner() {
            "Run" => {
                if let Some(id) = attribute(element, "Id") {
                    self.id = id;
                }
                if let Some(number) = attribute(element, "Number") {
                    self.number = number_of(element, "Number", &number)?;
                }
            }
            "Read" => {
                let ordinal = self.reads.len() as u64 + 1;
                let number = match attribute(element, "Number") {
                    Some(value) => number_of(element, "Number", &value)?,
                    None => ordinal,
                };
                let value = attribute(element, "NumCycles").unwrap_or_default();
                let cycles = number_of(element, "NumCycles", &value)?;
                if cycles > limits::MAX_CYCLES as u64 {
                    return Err(too_many("cycles", cycles, limits::MAX_CYCLES));
                }
                if self.reads.len() == limits::MAX_READS {
                    return Err(too_many("reads", ordinal, limits::MAX_READS));
                }
                self.reads.push(Read {
                    number: u32::try_from(number)
                        .map_err(|_| too_many("reads", number, limits::MAX_READS))?,
                    cycles: usize::try_from(cycles)
                        .expect("the cycles fit because they were held against the limit"),
                    indexed: is_yes(attribute(element, "IsIndexedRead")),
                    reverse_complement: is_yes(attribute(element, "IsReverseComplement")),
                });
            }
            "FlowcellLayout" => {
                if let Some(value) = attribute(element, "LaneCount") {
                    let lanes = number_of(element, "LaneCount", &value)?;
                    self.lane_count = u32::try_from(lanes).ok();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn content(&mut self, wanted: Wanted, content: &str) -> Result<(), RunInfoError> {
        match wanted {
            Wanted::Flowcell => content.clone_into(&mut self.flowcell),
            Wanted::Instrument => content.clone_into(&mut self.instrument),
            Wanted::Date => content.clone_into(&mut self.date),
            Wanted::Channel => {
                if self.channels.len() < limits::MAX_CHANNELS {
                    self.channels.push(content.chars().take(40).collect());
                }
            }
            Wanted::Tile => {
                let bad = || RunInfoError::BadTile(content.chars().take(40).collect());
                let (lane, tile) = content.split_once('_').ok_or_else(bad)?;
                let lane = lane.parse().map_err(|_| bad())?;
                let tile = tile.parse().map_err(|_| bad())?;
                if lane == 0 || lane > limits::MAX_LANES {
                    return Err(bad());
                }
                let limit = limits::MAX_TILES * 8;
                if self.tiles.len() == limit {
                    return Err(too_many("tiles", limit as u64 + 1, limit));
                }
                let listed = ListedTile { lane, tile };
                self.tiles.push(listed);
            }
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, RunInfoError> {
        if self.reads.is_empty() {
            return Err(RunInfoError::NoReads);
        }
        let cycles = self.cycles();
        if cycles > limits::MAX_CYCLES {
            return Err(too_many("cycles", cycles as u64, limits::MAX_CYCLES));
        }
        for (what, value) in [("flow cell", &self.flowcell), ("instrument", &self.instrument)] {
            if value.len() > 100 || value.chars().any(|c| !c.is_ascii_graphic() || c == ':') {
                return Err(RunInfoError::BadName {
                    what,
                    value: value.chars().take(40).collect(),
                });
            }
        }
        Ok(self)
    }
}

/// Elements whose text is wanted.
#[derive(Clone, Copy)]
enum Wanted {
    Flowcell,
    Instrument,
    Date,
    Tile,
    Channel,
}

impl Wanted {
    fn named(element: &str) -> Option<Self> {
        match element {
            "Flowcell" => Some(Self::Flowcell),
            "Instrument" => Some(Self::Instrument),
            "Date" => Some(Self::Date),
            "Tile" => Some(Self::Tile),
            _ => None,
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().into_inner() == name)
        .map(|attribute| attribute.value.trim().to_owned())
}

fn number_of(element: &BytesStart<'_>, name: &str, value: &str) -> Result<u64, RunInfoError> {
    value.parse().map_err(|_| RunInfoError::NotANumber {
        element: element.local_name().into_inner().to_owned(),
        attribute: name.to_owned(),
        value: value.chars().take(40).collect(),
    })
}

fn is_yes(value: Option<String>) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case("y"))
}

fn too_many(what: &'static str, found: u64, limit: usize) -> RunInfoError {
    RunInfoError::TooMany { what, found: usize::try_from(found).unwrap_or(usize::MAX), limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_inside_run_or_beside_it_and_in_any_order() {
        let text = r#"<?xml version="1.0" ?>
<RunInfo Version="4"><Run Id="160919_miseq_5540" Number="2"><Date>160919</Date><Reads>
<Read IsIndexedRead="N" NumCycles="16" Number="1"/><Read NumCycles="8" Number="2" IsIndexedRead="Y" IsReverseComplement="Y"/></Reads>
<FlowcellLayout LaneCount="1"/></Run><Flowcell>TESTFLOWCELL</Flowcell><Instrument>miseq</Instrument></RunInfo>"#;
        let run = RunInfo::parse(text.as_bytes()).unwrap();
        assert_eq!((run.flowcell.as_str(), run.instrument.as_str()), ("TESTFLOWCELL", "miseq"));
        assert_eq!((run.number, run.cycles(), run.lanes()), (2, 24, vec![1]));
        assert!(run.reads[1].indexed && run.reads[1].reverse_complement);
    }

    #[test]
    fn tiles_keep_the_order_of_the_file() {
        let text = "<RunInfo><Run><Reads><Read Number='1' NumCycles='5' IsIndexedRead='N'/></Reads>\
            <Tiles><Tile>1_11101</Tile><Tile>1_21101</Tile><Tile>2_11101</Tile><Tile>1_11102</Tile></Tiles>\
            <ImageChannels><Name>Red</Name><Name>Green</Name></ImageChannels><Name>other</Name></Run></RunInfo>";
        let run = RunInfo::parse(text.as_bytes()).unwrap();
        assert_eq!(run.channels, ["Red", "Green"]);
        assert_eq!(run.tiles_of(1).collect::<Vec<_>>(), [11101, 21101, 11102]);
        assert_eq!(run.lanes(), [1, 2]);
    }

    #[test]
    fn a_run_info_that_promises_too_much_is_refused() {
        let reads = "<Read Number='1' NumCycles='4000' IsIndexedRead='N'/>";
        for (body, sentence) in [
            (String::new(), "RunInfo.xml lists no read"),
            (
                reads.repeat(2),
                "RunInfo.xml lists 8000 cycles, more than the 4096 that are accepted",
            ),
            (reads.repeat(17), "RunInfo.xml lists 17 reads, more than the 16 that are accepted"),
            (
                "<Read NumCycles='many'/>".to_owned(),
                "NumCycles of element Read in RunInfo.xml is `many`, which is not a number",
            ),
            (
                format!("{reads}<Tile>0_1101</Tile>"),
                "tile `0_1101` in RunInfo.xml is not written as lane, underscore, tile",
            ),
            (
                format!("{reads}<Flowcell>A B</Flowcell>"),
                "flow cell `A B` in RunInfo.xml holds characters that a read name cannot have",
            ),
        ] {
            let text = format!("<RunInfo><Run>{body}</Run></RunInfo>");
            assert_eq!(RunInfo::parse(text.as_bytes()).unwrap_err().to_string(), sentence);
        }
        assert!(matches!(RunInfo::parse(b"<Run><Reads"), Err(RunInfoError::NotXml(_))));
        assert!(matches!(RunInfo::parse(b"\xff\xfe<"), Err(RunInfoError::NotText)));
    }
}
