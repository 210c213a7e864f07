//! `SampleSheet.csv`: which index belongs to which sample.
//!
//! Three forms are read: version 1 (`[Data]`), version 2 (`[BCLConvert_Data]`) and a bare table without sections, comma, tab
//! or semicolon separated, among them the CASAVA form that joins its indexes as `AAA-BBB`. Sheets are typed by hand, so
//! trailing commas, ragged rows, blank lines, any line end, a byte order mark, quoted blanks and blanks inside an index are
//! all seen; each is read as what was meant, and what changes an index is said in a warning. Names become file names here
//! and nowhere else, so a name that could leave its folder does not get through.

use std::collections::HashMap;
use std::fmt;

use crate::limits;
use crate::run_info::RunInfo;

/// The form of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SheetVersion {
    /// `[Header]`, `[Reads]`, `[Settings]`, `[Data]`; settings that are not known are passed over with a warning.
    V1,
    /// `[BCLConvert_Settings]`, `[BCLConvert_Data]`; settings that are not known are refused.
    V2,
    /// A table without sections.
    Table,
}

/// One row of the sheet: one index pair of one sample in one lane or in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetRow {
    /// The line it stands on, from 1.
    pub line: u64,
    /// Its lane; `None` where the sheet has no lane column.
    pub lane: Option<u32>,
    /// `Sample_ID`.
    pub sample_id: String,
    /// `Sample_Name`, where there is one.
    pub sample_name: Option<String>,
    /// `Sample_Project`, where there is one.
    pub sample_project: Option<String>,
    /// The i7 sequence in capitals; empty for none.
    pub index: String,
    /// The i5 sequence in capitals; empty for none.
    pub index2: String,
    /// Settings in this row's columns, by the column's name as written.
    pub settings: Vec<(String, String)>,
}

/// A sample sheet, and the text itself for the copy beside the reports.
#[derive(Clone, PartialEq, Eq)]
pub struct SampleSheet {
    /// Its form.
    pub version: SheetVersion,
    /// `[Header]`, in order.
    pub header: Vec<(String, String)>,
    /// `[Reads]`, in order: cycle counts alone in version 1, named ones in version 2.
    pub reads: Vec<(String, String)>,
    /// `[Settings]` or `[BCLConvert_Settings]`, in order.
    pub settings: Vec<(String, String)>,
    /// The samples, in order; at least one.
    pub rows: Vec<SheetRow>,
    /// What was read otherwise than written.
    pub warnings: Vec<String>,
    text: Vec<u8>,
}

impl fmt::Debug for SampleSheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SampleSheet")
            .field("version", &self.version)
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

/// Why a sample sheet cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SheetError {
    /// No table of samples.
    #[error(
        "the sample sheet lists no sample: it has no [Data], no [BCLConvert_Data] and no table with a Sample_ID column"
    )]
    NoSamples,
    /// A table without a column of sample ids.
    #[error("the table of samples on line {line} of the sample sheet has no Sample_ID column")]
    NoSampleColumn {
        /// The line of the header.
        line: u64,
    },
    /// A row without a sample.
    #[error("line {line} of the sample sheet has no Sample_ID")]
    NoSample {
        /// The line.
        line: u64,
    },
    /// A lane that is no lane number.
    #[error("lane `{value}` on line {line} of the sample sheet is not a lane number")]
    BadLane {
        /// The line.
        line: u64,
        /// What stands there.
        value: String,
    },
    /// An index with other letters than A, C, G, T, N.
    #[error(
        "index `{value}` on line {line} of the sample sheet holds other letters than A, C, G, T and N"
    )]
    BadIndex {
        /// The line.
        line: u64,
        /// What stands there.
        value: String,
    },
    /// A name that cannot be part of a file name.
    #[error(
        "{column} `{value}` on line {line} of the sample sheet cannot be part of a file name: letters, digits, `_`, `-` and `.` can, without a dot in front"
    )]
    BadName {
        /// The line.
        line: u64,
        /// The column.
        column: &'static str,
        /// What stands there.
        value: String,
    },
    /// A name that the undetermined reads have.
    #[error(
        "a sample on line {line} of the sample sheet is called Undetermined, which is the name of reads that match no sample"
    )]
    Reserved {
        /// The line.
        line: u64,
    },
    /// More than any sheet has.
    #[error("the sample sheet has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are accepted.
        limit: usize,
    },
}

/// One line with something on it.
struct Line {
    number: u64,
    cells: Vec<String>,
}

impl SampleSheet {
    /// Reads the file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, SheetError> {
        if bytes.len() as u64 > limits::MAX_TEXT_BYTES {
            let limit = usize::try_from(limits::MAX_TEXT_BYTES).unwrap_or(usize::MAX);
            return Err(SheetError::TooMany { what: "bytes", limit });
        }
        let lines = lines(bytes)?;
        let mut sheet = Self {
            version: SheetVersion::V1,
            header: Vec::new(),
            reads: Vec::new(),
            settings: Vec::new(),
            rows: Vec::new(),
            warnings: Vec::new(),
            text: bytes.to_vec(),
        };
        let mut sections: HashMap<String, &[Line]> = HashMap::new();
        let mut rest = &lines[..];
        while let Some((first, after)) = rest.split_first() {
            let Some(name) = section_name(first) else {
                // Lines before the first section belong to none.
                rest = after;
                continue;
            };
            let length = after.iter().position(|line| section_name(line).is_some());
            let (body, next) = after.split_at(length.unwrap_or(after.len()));
            sections.entry(name).or_insert(body);
            rest = next;
        }
        sheet.header = pairs(sections.get("header"));
        sheet.reads = pairs(sections.get("reads"));
        let says_two = sheet.value_in_header("FileFormatVersion").is_some_and(|v| v.trim() == "2");
        if let Some(data) = sections.get("bclconvert_data") {
            sheet.version = SheetVersion::V2;
            sheet.settings = pairs(sections.get("bclconvert_settings"));
            if !sections.contains_key("bclconvert_settings") {
                sheet.warn("the sheet has no [BCLConvert_Settings]; every setting has its default");
            }
            sheet.table(data)?;
        } else if let Some(data) = sections.get("data").filter(|_| !says_two) {
            sheet.settings = pairs(sections.get("settings"));
            sheet.table(data)?;
        } else if sections.is_empty() {
            sheet.version = SheetVersion::Table;
            sheet.table(&lines)?;
        } else {
            return Err(SheetError::NoSamples);
        }
        Ok(sheet)
    }

    /// The text as it was read.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// A value of `[Header]`, whatever the case of its name.
    pub fn value_in_header(&self, name: &str) -> Option<&str> {
        let pair = self.header.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        pair.map(|(_, value)| value.as_str())
    }

    /// The run that this sheet seems to be for, as far as a sheet can tell: the cycles it names, else its longest indexes.
    pub fn assumed_run(&self) -> RunInfo {
        let longest = |of: fn(&SheetRow) -> &str| self.rows.iter().map(|row| of(row).len()).max();
        let named = |name: &str| {
            let named = self.reads.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            named.and_then(|(_, cycles)| cycles.parse().ok())
        };
        let mut plain = self.reads.iter().filter_map(|(cycles, _)| cycles.parse::<usize>().ok());
        let mut sequence = |name: &str| named(name).or_else(|| plain.next());
        let (first, second) = (sequence("Read1Cycles"), sequence("Read2Cycles"));
        let index = |name: &str, of| named(name).or_else(|| longest(of)).unwrap_or(0);
        let cycles = [
            (first.unwrap_or(1), false),
            (index("Index1Cycles", |row| &row.index), true),
            (index("Index2Cycles", |row| &row.index2), true),
            (second.unwrap_or(0), false),
        ];
        RunInfo::assumed(cycles.into_iter().filter(|(cycles, _)| *cycles > 0))
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    fn table(&mut self, lines: &[Line]) -> Result<(), SheetError> {
        let (header, body) = lines.split_first().ok_or(SheetError::NoSamples)?;
        let columns: Vec<Column> = header.cells.iter().map(|name| Column::named(name)).collect();
        let has = |wanted: &Column| columns.iter().any(|column| column == wanted);
        if !has(&Column::SampleId) && !has(&Column::SampleName) {
            return Err(match self.version {
                SheetVersion::Table => SheetError::NoSamples,
                _ => SheetError::NoSampleColumn { line: header.number },
            });
        }
        for line in body {
            if self.rows.len() == limits::MAX_SHEET_ROWS {
                return Err(SheetError::TooMany { what: "rows", limit: limits::MAX_SHEET_ROWS });
            }
            let row = self.row(line, &columns)?;
            self.rows.push(row);
        }
        if self.rows.is_empty() { Err(SheetError::NoSamples) } else { Ok(()) }
    }

    fn row(&mut self, line: &Line, columns: &[Column]) -> Result<SheetRow, SheetError> {
        let number = line.number;
        let mut row = SheetRow {
            line: number,
            lane: None,
            sample_id: String::new(),
            sample_name: None,
            sample_project: None,
            index: String::new(),
            index2: String::new(),
            settings: Vec::new(),
        };
        // A ragged row simply has no value in the columns it does not reach; cells beyond the last column mean nothing.
        for (column, value) in
            columns.iter().zip(&line.cells).filter(|(_, value)| !value.is_empty())
        {
            match column {
                Column::Lane => row.lane = Some(lane(number, value)?),
                Column::SampleId => row.sample_id = name(number, "Sample_ID", value)?,
                Column::SampleName => row.sample_name = Some(name(number, "Sample_Name", value)?),
                Column::SampleProject => {
                    row.sample_project = Some(name(number, "Sample_Project", value)?);
                }
                Column::Index => row.index = self.index(number, value)?,
                Column::Index2 => row.index2 = self.index(number, value)?,
                Column::Setting(name) => row.settings.push((name.clone(), value.clone())),
                Column::Ignored => {}
            }
        }
        if row.index2.is_empty()
            && let Some((first, second)) = row.index.split_once('-')
        {
            (row.index, row.index2) = (first.to_owned(), second.to_owned());
        }
        if row.index.contains('-') || row.index2.contains('-') {
            let value = format!("{} {}", row.index, row.index2);
            return Err(SheetError::BadIndex { line: number, value });
        }
        if row.sample_id.is_empty() {
            // Version 1 took the name where there was no id.
            row.sample_id = row.sample_name.clone().ok_or(SheetError::NoSample { line: number })?;
        }
        let file_stem = row.sample_name.as_ref().unwrap_or(&row.sample_id);
        if [file_stem, &row.sample_id].iter().any(|name| name.eq_ignore_ascii_case("undetermined"))
        {
            return Err(SheetError::Reserved { line: number });
        }
        Ok(row)
    }

    /// An index in capitals without blanks, a `-` in it left for the caller.
    fn index(&mut self, line: u64, value: &str) -> Result<String, SheetError> {
        if value.len() > 1000 {
            return Err(SheetError::BadIndex { line, value: value.chars().take(40).collect() });
        }
        let sequence: String =
            value.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
        if !sequence.bytes().all(|letter| b"ACGTN-".contains(&letter)) {
            return Err(SheetError::BadIndex { line, value: value.to_owned() });
        }
        if sequence.len() != value.len() {
            self.warn(format!(
                "index `{value}` on line {line} is read as {sequence}, without its blanks"
            ));
        }
        if sequence.contains('N') {
            self.warn(format!("index {sequence} on line {line} has an N, which matches no base"));
        }
        Ok(sequence)
    }
}

/// What a column of the table holds.
#[derive(Debug, PartialEq, Eq)]
enum Column {
    Lane,
    SampleId,
    SampleName,
    SampleProject,
    Index,
    Index2,
    /// A setting for one row, such as OverrideCycles.
    Setting(String),
    Ignored,
}

/// Settings that a row may carry.
const ROW_SETTINGS: [&str; 10] = [
    "OverrideCycles",
    "BarcodeMismatchesIndex1",
    "BarcodeMismatchesIndex2",
    "AdapterRead1",
    "AdapterRead2",
    "AdapterBehavior",
    "AdapterStringency",
    "MinimumAdapterOverlap",
    "MinimumTrimmedReadLength",
    "MaskShortReads",
];

impl Column {
    fn named(name: &str) -> Self {
        let plain: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if let Some(setting) = ROW_SETTINGS.iter().find(|known| known.eq_ignore_ascii_case(&plain))
        {
            return Self::Setting((*setting).to_owned());
        }
        match plain.as_str() {
            "lane" => Self::Lane,
            "sampleid" | "sample" => Self::SampleId,
            "samplename" => Self::SampleName,
            "sampleproject" => Self::SampleProject,
            "index" | "index1" | "barcode1" => Self::Index,
            "index2" | "barcode2" => Self::Index2,
            _ => Self::Ignored,
        }
    }
}

fn lane(line: u64, value: &str) -> Result<u32, SheetError> {
    match value.parse() {
        Ok(lane) if (1..=limits::MAX_LANES).contains(&lane) => Ok(lane),
        _ => Err(SheetError::BadLane { line, value: value.chars().take(40).collect() }),
    }
}

fn name(line: u64, column: &'static str, value: &str) -> Result<String, SheetError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if value.len() > 100 || value.starts_with('.') || !value.chars().all(allowed) {
        return Err(SheetError::BadName { line, column, value: value.chars().take(40).collect() });
    }
    Ok(value.to_owned())
}

/// Splits the text into lines of trimmed cells; lines without any value are left out.
fn lines(bytes: &[u8]) -> Result<Vec<Line>, SheetError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // Whichever separator the text has most of; a sheet with sections and neither has single cells.
    let count = |separator: u8| bytes.iter().filter(|byte| **byte == separator).count();
    let separator = [b',', b'\t', b';'].into_iter().rev().max_by_key(|s| count(*s));
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .delimiter(separator.unwrap_or(b','))
        .from_reader(bytes);
    let mut lines = Vec::new();
    let mut record = csv::ByteRecord::new();
    // Reading from memory with flexible rows cannot fail; should it, what was read so far is judged.
    while let Ok(true) = reader.read_byte_record(&mut record) {
        if record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        if record.len() > limits::MAX_SHEET_COLUMNS {
            return Err(SheetError::TooMany { what: "columns", limit: limits::MAX_SHEET_COLUMNS });
        }
        let number = record.position().map_or(0, csv::Position::line);
        // Old sheets come in Latin-1; only free text holds such letters, so a replacement does no harm.
        let cells = record.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned());
        lines.push(Line { number, cells: cells.collect() });
    }
    Ok(lines)
}

/// `data` for a line that begins with `[Data]`.
fn section_name(line: &Line) -> Option<String> {
    let first = line.cells.first()?;
    let name = first.strip_prefix('[')?.strip_suffix(']')?;
    Some(name.trim().to_ascii_lowercase())
}

/// The first two cells of each line of a section; a line of one cell has an empty value.
fn pairs(section: Option<&&[Line]>) -> Vec<(String, String)> {
    let lines = section.map_or(&[][..], |lines| *lines);
    let pair = |line: &Line| {
        let value = line.cells.get(1).cloned().unwrap_or_default();
        line.cells.first().map(|key| (key.clone(), value))
    };
    lines.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirt_is_read_as_what_was_meant() {
        let text = "\u{feff}[Header],,,\r\nFileFormatVersion,2\r\nIndex Adapters,\"IDT \",,\r\n,,,\r\n\
            [BCLConvert_Settings],,,\r\nSoftwareVersion,4.1.5,,\r\n\r\n[BCLConvert_Data],,,\r\n\
            Lane,Sample_ID,Index,Index2,Sample_Project,custom_Description\r\n\
            1,A,AGGTC  AGATA,C TACAA GATA,P,x,,,\r\n\r\n,,,\r\n2,B,acgt\r\n";
        let sheet = SampleSheet::parse(text.as_bytes()).unwrap();
        assert_eq!(sheet.version, SheetVersion::V2);
        assert_eq!(sheet.rows[0].index, "AGGTCAGATA");
        assert_eq!(sheet.rows[0].index2, "CTACAAGATA");
        assert_eq!((sheet.rows[1].lane, sheet.rows[1].index.as_str()), (Some(2), "ACGT"));
        assert_eq!(sheet.rows[1].sample_project, None);
        assert_eq!(sheet.warnings.len(), 2, "{:?}", sheet.warnings);
        assert_eq!(sheet.value_in_header("index adapters"), Some("IDT"));
    }

    #[test]
    fn the_same_table_reads_alike_with_every_line_end_and_separator() {
        for end in ["\n", "\r\n", "\r"] {
            for separator in [",", "\t", ";"] {
                let text = ["sample,barcode_1,barcode_2", "A,ACGT,TTTT", "", "B,GGGG,CCCC"]
                    .map(|line| line.replace(',', separator))
                    .join(end);
                let sheet = SampleSheet::parse(text.as_bytes()).unwrap();
                assert_eq!(sheet.version, SheetVersion::Table);
                let rows: Vec<_> = sheet
                    .rows
                    .iter()
                    .map(|r| (r.sample_id.as_str(), r.index.as_str(), r.index2.as_str()))
                    .collect();
                assert_eq!(rows, [("A", "ACGT", "TTTT"), ("B", "GGGG", "CCCC")]);
            }
        }
    }

    #[test]
    fn the_casava_form_joins_its_indexes() {
        let text = "FCID,Lane,SampleID,SampleRef,Index,Description,Control,Recipe,Operator,SampleProject\n\
            C0,3,A,hg19,ACGT-TTGG,,N,R1,me,P1\n";
        let sheet = SampleSheet::parse(text.as_bytes()).unwrap();
        let row = &sheet.rows[0];
        assert_eq!((row.index.as_str(), row.index2.as_str(), row.lane), ("ACGT", "TTGG", Some(3)));
        assert_eq!(row.sample_project.as_deref(), Some("P1"));
    }

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for bad in ["../x", "a/b", ".hidden", "a b", "é", "a:b", "a\\b"] {
            let text = format!("[Data]\nSample_ID,index\n{bad},ACGT\n");
            let error = SampleSheet::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, SheetError::BadName { line: 3, .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_with_its_line() {
        for (text, sentence) in [
            (
                "",
                "the sample sheet lists no sample: it has no [Data], no [BCLConvert_Data] and no table with a Sample_ID column",
            ),
            (
                "[Data]\nLane,index\n1,A\n",
                "the table of samples on line 2 of the sample sheet has no Sample_ID column",
            ),
            ("[Data]\nSample_ID,index\n,ACGT\n", "line 3 of the sample sheet has no Sample_ID"),
            (
                "[Data]\nLane,Sample_ID\n0,A\n",
                "lane `0` on line 3 of the sample sheet is not a lane number",
            ),
            (
                "[Data]\nSample_ID,index\nA,ACXT\n",
                "index `ACXT` on line 3 of the sample sheet holds other letters than A, C, G, T and N",
            ),
            (
                "[Data]\nSample_ID,index\nundetermined,A\n",
                "a sample on line 3 of the sample sheet is called Undetermined, which is the name of reads that match no sample",
            ),
        ] {
            assert_eq!(SampleSheet::parse(text.as_bytes()).unwrap_err().to_string(), sentence);
        }
    }
}
