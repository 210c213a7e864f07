//! The app manifest: what an author declares, and nothing else is granted.
//!
//! Written as TOML (`app.toml`), read strictly: an unknown key, a missing field or a value out of its bounds is refused with
//! the key named. The canonical form is JSON with sorted keys, no white space, sizes in bytes and times in seconds; its
//! SHA-256 is the manifest digest (`spec/app.md` section 2).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::units::{Bytes, Seconds};
use super::{Digest, tree::Pattern};

/// The value of `format` in every manifest of this version.
pub const FORMAT: &str = "chorion.app/1";

/// A manifest that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The text is not TOML or JSON of the right shape; the cause says where.
    #[error("the app manifest does not read")]
    Toml(#[source] Box<toml::de::Error>),
    /// The packaged form does not read.
    #[error("the packaged app manifest does not read")]
    Json(#[source] serde_json::Error),
    /// The packaged form is not the canonical one.
    #[error("the packaged app manifest is not in canonical form")]
    NotCanonical,
    /// A value is out of its bounds.
    #[error("app manifest: {key}: {reason}")]
    Value {
        /// The key, as a path.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn refused(key: impl Into<String>, reason: impl Into<String>) -> ManifestError {
    ManifestError::Value { key: key.into(), reason: reason.into() }
}

/// What an app is. Made only by [`Manifest::parse`] and [`Manifest::from_canonical`], so a value in hand is always valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    /// Lower-case letters, digits and hyphens.
    pub name: String,
    /// `major.minor.patch`.
    pub version: String,
    /// What people read in lists.
    pub title: String,
    /// One sentence on what it does.
    pub summary: String,
    /// SPDX expression for the manifest and scripts (each package of the root has its own licence).
    pub licence: String,
    /// What the app reads.
    #[serde(rename = "input", default)]
    pub inputs: Vec<Input>,
    /// What it gives; a file that matches none of these never leaves the sandbox.
    #[serde(rename = "output", default)]
    pub outputs: Vec<Output>,
    /// The form.
    #[serde(rename = "param", default)]
    pub params: Vec<Param>,
    /// What runs.
    pub command: Command,
    /// Within which limits.
    pub resources: Resources,
    /// What the app session may do, as `read sample` or `create app-result`.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// Where its files come from.
    pub root: Root,
}

/// The type of an input or an output file, in the field's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// One FASTQ file, gzip-compressed or not.
    Fastq,
    /// Read 1 and read 2 of one library on one lane, named as the demultiplexer names them (`_R1_`, `_R2_`).
    FastqPair,
    /// Aligned reads (BAM).
    Bam,
    /// Aligned reads (CRAM).
    Cram,
    /// Variants (VCF, BGZF-compressed or not, or BCF).
    Vcf,
    /// A reference sequence (FASTA).
    Reference,
    /// An index of another output (BAI, CSI, TBI, FAI).
    Index,
    /// A JSON document.
    Json,
    /// A page for people.
    Html,
    /// Plain text.
    Text,
    /// Anything else.
    File,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fastq => "fastq",
            Self::FastqPair => "fastq-pair",
            Self::Bam => "bam",
            Self::Cram => "cram",
            Self::Vcf => "vcf",
            Self::Reference => "reference",
            Self::Index => "index",
            Self::Json => "json",
            Self::Html => "html",
            Self::Text => "text",
            Self::File => "file",
        })
    }
}

impl FileKind {
    /// Files one item of this kind has: two for a pair, else one.
    pub const fn files_per_item(self) -> usize {
        match self {
            Self::FastqPair => 2,
            _ => 1,
        }
    }

    /// The file name endings that are taken for this kind; none means any.
    pub const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Fastq | Self::FastqPair => &[".fastq.gz", ".fq.gz", ".fastq", ".fq"],
            Self::Bam => &[".bam"],
            Self::Cram => &[".cram"],
            Self::Vcf => &[".vcf.gz", ".vcf", ".bcf"],
            Self::Reference => &[".fa", ".fasta", ".fna", ".fa.gz", ".fasta.gz", ".fna.gz"],
            Self::Index => &[".bai", ".csi", ".tbi", ".fai", ".crai", ".gzi"],
            Self::Json => &[".json"],
            Self::Html => &[".html"],
            Self::Text | Self::File => &[],
        }
    }
}

/// A typed reference to what the app reads; its files appear under `/data/input/<name>/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Lower-case letters, digits and underscores.
    pub name: String,
    /// What each item is.
    pub kind: FileKind,
    /// What the form says.
    pub label: String,
    /// The longer text beside it.
    #[serde(default)]
    pub help: String,
    /// Fewest items; 0 makes the input optional.
    #[serde(default = "one")]
    pub min: u32,
    /// Most items.
    #[serde(default = "one")]
    pub max: u32,
}

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

/// Files the app gives, found under `/data/output` when it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Lower-case letters, digits and underscores.
    pub name: String,
    /// Which files: a path pattern below `/data/output` where `*` and `?` match within one path component.
    pub glob: String,
    /// What they are.
    pub kind: FileKind,
    /// Most bytes they may have together.
    pub cap: Bytes,
    /// Whether a task that gives none has failed.
    #[serde(default = "yes")]
    pub required: bool,
}

/// What a form field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParamKind {
    /// One line of text.
    Text,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Decimal,
    /// Yes or no.
    Flag,
    /// One of `choices`.
    Choice,
}

/// A value of a form field.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// Of `flag`.
    Flag(bool),
    /// Of `integer`.
    Integer(i64),
    /// Of `decimal`: always finite.
    Decimal(f64),
    /// Of `text` and `choice`.
    Text(String),
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Decimal(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// Numbers with a fraction are written as text, so that a digest never hangs on how somebody prints a float.
impl Serialize for ParamValue {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(value) => to.serialize_bool(*value),
            Self::Integer(value) => to.serialize_i64(*value),
            Self::Decimal(value) => to.collect_str(value),
            Self::Text(value) => to.serialize_str(value),
        }
    }
}

impl<'de> Deserialize<'de> for ParamValue {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match serde_json::Value::deserialize(from)? {
            serde_json::Value::Bool(value) => Ok(Self::Flag(value)),
            serde_json::Value::String(value) => Ok(Self::Text(value)),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(value), _) => Ok(Self::Integer(value)),
                (None, Some(value)) if value.is_finite() => Ok(Self::Decimal(value)),
                _ => Err(D::Error::custom(format!("`{number}` is not a number that fits"))),
            },
            _ => Err(D::Error::custom("a text, a number, true or false is wanted")),
        }
    }
}

/// Longest text a form field takes, in bytes.
const TEXT_BYTES: usize = 1024;

/// A field of the form. It reaches the command as `PARAM_<NAME>` and as `{param:<name>}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Lower-case letters, digits and underscores.
    pub name: String,
    /// What it takes.
    pub kind: ParamKind,
    /// What the form says.
    pub label: String,
    /// The longer text beside it.
    #[serde(default)]
    pub help: String,
    /// The value when none is given; without it the field must be filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<ParamValue>,
    /// Smallest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<ParamValue>,
    /// Largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<ParamValue>,
    /// What `choice` offers.
    #[serde(default)]
    pub choices: Vec<String>,
}

impl Param {
    /// A value given as text (a command line, a web form), as this field's type.
    ///
    /// # Errors
    /// A sentence about what the field takes.
    pub fn read(&self, text: &str) -> Result<ParamValue, String> {
        let value = match self.kind {
            ParamKind::Flag => match text {
                "true" | "yes" => ParamValue::Flag(true),
                "false" | "no" => ParamValue::Flag(false),
                _ => return Err(format!("`{text}` is neither true nor false")),
            },
            ParamKind::Integer => ParamValue::Integer(
                text.parse().map_err(|_error| format!("`{text}` is not a whole number"))?,
            ),
            ParamKind::Decimal => ParamValue::Decimal(
                text.parse::<f64>()
                    .ok()
                    .filter(|value| value.is_finite())
                    .ok_or_else(|| format!("`{text}` is not a number"))?,
            ),
            ParamKind::Text | ParamKind::Choice => ParamValue::Text(text.to_owned()),
        };
        self.accept(value)
    }

    /// A typed value, checked against this field.
    ///
    /// # Errors
    /// A sentence about what the field takes.
    pub fn accept(&self, value: ParamValue) -> Result<ParamValue, String> {
        let value = match (self.kind, value) {
            #[expect(clippy::cast_precision_loss, reason = "an integer typed into a decimal field")]
            (ParamKind::Decimal, ParamValue::Integer(value)) => ParamValue::Decimal(value as f64),
            (ParamKind::Decimal, ParamValue::Text(text)) => return self.read(&text),
            (_, value) => value,
        };
        match (self.kind, &value) {
            (ParamKind::Flag, ParamValue::Flag(_)) => {}
            (ParamKind::Integer, ParamValue::Integer(number)) => {
                if let Some(ParamValue::Integer(min)) = self.min
                    && *number < min
                {
                    return Err(format!("{number} is below {min}"));
                }
                if let Some(ParamValue::Integer(max)) = self.max
                    && *number > max
                {
                    return Err(format!("{number} is above {max}"));
                }
            }
            (ParamKind::Decimal, ParamValue::Decimal(number)) => {
                if let Some(ParamValue::Decimal(min)) = self.min
                    && *number < min
                {
                    return Err(format!("{number} is below {min}"));
                }
                if let Some(ParamValue::Decimal(max)) = self.max
                    && *number > max
                {
                    return Err(format!("{number} is above {max}"));
                }
            }
            (ParamKind::Text, ParamValue::Text(text)) => {
                if text.len() > TEXT_BYTES {
                    return Err(format!(
                        "a text of {} bytes is longer than {TEXT_BYTES}",
                        text.len()
                    ));
                }
                if text.chars().any(char::is_control) {
                    return Err("a text with control characters".to_owned());
                }
                // A program that reads its arguments would take it for an option of its own.
                if text.starts_with('-') {
                    return Err(format!("`{text}` starts with a hyphen"));
                }
            }
            (ParamKind::Choice, ParamValue::Text(text)) => {
                if !self.choices.contains(text) {
                    return Err(format!("`{text}` is not one of: {}", self.choices.join(", ")));
                }
            }
            (kind, value) => {
                let kind = serde_json::to_value(kind).ok();
                let kind = kind.as_ref().and_then(|k| k.as_str()).unwrap_or_default();
                return Err(format!("`{value}` is not of the type `{kind}`"));
            }
        }
        Ok(value)
    }
}

/// What runs: arguments, or a script of the author's folder. Exactly one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments; `{param:NAME}`, `{input:NAME}`, `{cpus}` and `{memory_mib}` are filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// A file of the author's folder; it becomes `/app/<file name>` in the root and starts by its `#!` line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// Most that one task takes. All of memory, scratch and outputs is main memory: nothing of a genome goes to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Processor cores.
    pub cpus: u32,
    /// For the processes.
    pub memory: Bytes,
    /// For `/tmp`, a file system in memory.
    pub disk: Bytes,
    /// After which everything is killed.
    pub wall_time: Seconds,
    /// Processes and threads at one time.
    #[serde(default = "processes")]
    pub processes: u32,
}

const fn processes() -> u32 {
    256
}

/// A permission in the field's words: a verb on a noun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(pub String);

const SCOPE_VERBS: [&str; 4] = ["browse", "read", "create", "write"];
const SCOPE_NOUNS: [&str; 5] = ["project", "run", "sample", "app-result", "reference"];

/// Where the root's files come from: Debian packages, or an OCI image layout on disk. Exactly one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Debian packages; what they depend on comes with them, what they recommend does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Packages that are depended on and not wanted all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// An OCI image layout (`index.json`, `blobs/sha256/…`), relative to the author's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<String>,
    /// Path patterns left out of the root, such as `usr/lib/*/gconv`; a folder goes with all it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omit: Vec<String>,
}

impl Manifest {
    /// Reads `app.toml`.
    ///
    /// # Errors
    /// Unknown keys, missing fields and values out of their bounds, each with the key named.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self =
            toml::from_str(text).map_err(|error| ManifestError::Toml(Box::new(error)))?;
        manifest.checked()
    }

    /// Reads the packaged form, and only if it is byte for byte the canonical one.
    ///
    /// # Errors
    /// As [`Manifest::parse`], and [`ManifestError::NotCanonical`].
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let manifest = manifest.checked()?;
        if manifest.canonical() == bytes { Ok(manifest) } else { Err(ManifestError::NotCanonical) }
    }

    /// The canonical form: JSON, keys sorted, no white space.
    pub fn canonical(&self) -> Vec<u8> {
        let value = serde_json::to_value(self)
            .expect("a manifest serializes because it holds only text, numbers and lists");
        let mut out = Vec::new();
        write_sorted(&value, &mut out);
        out
    }

    /// SHA-256 of the canonical form.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical())
    }

    /// `name-version`, as its package file is named.
    pub fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Most bytes all outputs may have together, and what the task prints with them.
    pub fn output_cap(&self) -> Bytes {
        Bytes(self.outputs.iter().fold(0, |sum, output| sum.saturating_add(output.cap.0)))
    }

    /// Fills the form: values as given, defaults for the rest.
    ///
    /// # Errors
    /// A field that does not exist, is not filled, or does not take its value.
    pub fn fill_form(
        &self,
        given: &BTreeMap<String, ParamValue>,
    ) -> Result<BTreeMap<String, ParamValue>, ManifestError> {
        if let Some(name) = given.keys().find(|name| self.param(name).is_none()) {
            return Err(refused(format!("param {name}"), "the app has no such field"));
        }
        let mut filled = BTreeMap::new();
        for param in &self.params {
            let key = || format!("param {}", param.name);
            let value = match (given.get(&param.name), &param.default) {
                (Some(value), _) | (None, Some(value)) => value.clone(),
                (None, None) => return Err(refused(key(), "a value must be given")),
            };
            let value = param.accept(value).map_err(|reason| refused(key(), reason))?;
            filled.insert(param.name.clone(), value);
        }
        Ok(filled)
    }

    /// The form field of that name.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }

    /// The input of that name.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }

    fn checked(mut self) -> Result<Self, ManifestError> {
        if self.format != FORMAT {
            return Err(refused("format", format!("`{}` is not `{FORMAT}`", self.format)));
        }
        let plain = |text: &str, extra: char| {
            !text.is_empty()
                && text.len() <= 64
                && text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == extra)
        };
        if !plain(&self.name, '-') {
            return Err(refused("name", "lower-case letters, digits and hyphens are wanted"));
        }
        let parts: Vec<_> = self.version.split('.').collect();
        let number = |part: &&str| {
            part.len() <= 9
                && part.chars().all(|c| c.is_ascii_digit())
                && (*part == "0" || !part.starts_with('0'))
                && !part.is_empty()
        };
        if parts.len() != 3 || !parts.iter().all(number) {
            return Err(refused("version", format!("`{}` is not major.minor.patch", self.version)));
        }
        for (key, text) in
            [("title", &self.title), ("summary", &self.summary), ("licence", &self.licence)]
        {
            if text.trim().is_empty() || text.chars().any(char::is_control) {
                return Err(refused(key, "one line of text is wanted"));
            }
        }

        let mut names = BTreeSet::new();
        for input in &self.inputs {
            let key = format!("input {}", input.name);
            if !plain(&input.name, '_') || !names.insert(("input", &input.name)) {
                return Err(refused(key, "a name of its own in lower case is wanted"));
            }
            if input.max == 0 || input.min > input.max || input.max > 10_000 {
                return Err(refused(key, "min and max must be ordered, and max be 1 to 10000"));
            }
        }
        for output in &self.outputs {
            let key = format!("output {}", output.name);
            if !plain(&output.name, '_') || !names.insert(("output", &output.name)) {
                return Err(refused(key, "a name of its own in lower case is wanted"));
            }
            Pattern::parse(&output.glob)
                .map_err(|reason| refused(format!("{key}: glob"), reason))?;
            if output.cap.0 == 0 {
                return Err(refused(format!("{key}: cap"), "a size above 0 is wanted"));
            }
        }
        if self.outputs.is_empty() {
            return Err(refused("output", "an app without an output gives nothing"));
        }
        for param in &mut self.params {
            let key = format!("param {}", param.name);
            if !plain(&param.name, '_') || !names.insert(("param", &param.name)) {
                return Err(refused(key, "a name of its own in lower case is wanted"));
            }
            let choice = param.kind == ParamKind::Choice;
            if choice == param.choices.is_empty() {
                return Err(refused(key, "choices belong to the type `choice`, and only there"));
            }
            let number = matches!(param.kind, ParamKind::Integer | ParamKind::Decimal);
            if !number && (param.min.is_some() || param.max.is_some()) {
                return Err(refused(key, "min and max belong to numbers"));
            }
            let bounds = [param.min.take(), param.max.take()];
            let [min, max] = bounds.map(|bound| bound.map(|value| param.accept(value)).transpose());
            param.min = min.map_err(|reason| refused(format!("{key}: min"), reason))?;
            param.max = max.map_err(|reason| refused(format!("{key}: max"), reason))?;
            let default = param.default.take().map(|value| param.accept(value)).transpose();
            param.default = default.map_err(|reason| refused(format!("{key}: default"), reason))?;
        }

        match (&self.command.argv[..], &self.command.script) {
            ([program, ..], None) if !program.is_empty() => {}
            ([], Some(script)) if is_file_name(script) => {}
            ([], Some(script)) => {
                return Err(refused("command.script", format!("`{script}` is not a file name")));
            }
            _ => return Err(refused("command", "either argv or script is wanted")),
        }
        if self.command.argv.iter().any(|argument| argument.contains('\0')) {
            return Err(refused("command.argv", "an argument with a zero byte"));
        }
        let Resources { cpus, memory, disk, wall_time, processes } = self.resources;
        for (key, value, low, high) in [
            ("cpus", u64::from(cpus), 1, 1024),
            ("memory", memory.0, 1 << 20, 1 << 44),
            ("disk", disk.0, 0, 1 << 44),
            ("wall_time", wall_time.0, 1, 30 * 86_400),
            ("processes", u64::from(processes), 4, 65_536),
        ] {
            if !(low..=high).contains(&value) {
                return Err(refused(
                    format!("resources.{key}"),
                    format!("{value} is out of bounds"),
                ));
            }
        }
        for Scope(scope) in &self.scopes {
            let known = scope.split_once(' ').is_some_and(|(verb, noun)| {
                SCOPE_VERBS.contains(&verb) && SCOPE_NOUNS.contains(&noun)
            });
            if !known {
                let reason = format!(
                    "`{scope}` is not one of {} on one of {}",
                    SCOPE_VERBS.join(", "),
                    SCOPE_NOUNS.join(", ")
                );
                return Err(refused("scopes", reason));
            }
        }
        let debian = |name: &String| {
            name.len() >= 2
                && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
        };
        if self.root.packages.is_empty() == self.root.oci.is_none() {
            return Err(refused("root", "either packages or oci is wanted"));
        }
        if let Some(name) =
            self.root.packages.iter().chain(&self.root.exclude).find(|name| !debian(name))
        {
            return Err(refused("root", format!("`{name}` is not the name of a Debian package")));
        }
        for pattern in &self.root.omit {
            Pattern::parse(pattern).map_err(|reason| refused("root.omit", reason))?;
        }
        Ok(self)
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// JSON with sorted keys and no white space; our documents hold no floats.
fn write_sorted(value: &serde_json::Value, out: &mut Vec<u8>) {
    match value {
        serde_json::Value::Object(map) => {
            out.push(b'{');
            let sorted: BTreeMap<_, _> = map.iter().collect();
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_sorted(&serde_json::Value::String(key.clone()), out);
                out.push(b':');
                write_sorted(value, out);
            }
            out.push(b'}');
        }
        serde_json::Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_sorted(item, out);
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
format = "chorion.app/1"
name = "read-quality"
version = "1.0.0"
title = "Read quality"
summary = "Quality of raw reads"
licence = "Apache-2.0"
scopes = ["read sample", "create app-result"]
[[input]]
name = "reads"
kind = "fastq-pair"
label = "Reads"
max = 8
[[output]]
name = "report"
glob = "*.json"
kind = "json"
cap = "8 MiB"
[[param]]
name = "threshold"
kind = "decimal"
label = "Threshold"
default = 1
min = 0.5
[[param]]
name = "mode"
kind = "choice"
label = "Mode"
choices = ["fast", "slow"]
default = "fast"
[command]
argv = ["fastp", "{param:mode}"]
[resources]
cpus = 2
memory = "1 GiB"
disk = "64 MiB"
wall_time = "10 min"
[root]
packages = ["fastp"]
"#;

    #[test]
    fn the_canonical_form_reads_back_and_keeps_its_digest() {
        let manifest = Manifest::parse(GOOD).unwrap();
        let canonical = manifest.canonical();
        let again = Manifest::from_canonical(&canonical).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(again.digest(), manifest.digest());
        let text = String::from_utf8(canonical).unwrap();
        assert!(
            text.starts_with(r#"{"command":{"argv":["fastp","{param:mode}"]},"format""#),
            "{text}"
        );
        assert!(text.contains(r#""cap":8388608"#) && text.contains(r#""min":"0.5""#), "{text}");
    }

    #[test]
    fn another_spacing_of_the_canonical_form_is_refused() {
        let mut canonical = Manifest::parse(GOOD).unwrap().canonical();
        canonical.push(b'\n');
        assert!(matches!(Manifest::from_canonical(&canonical), Err(ManifestError::NotCanonical)));
    }

    #[test]
    fn every_wrong_value_is_refused_by_name() {
        for (from, to, named) in [
            ("name = \"read-quality\"", "name = \"Read Quality\"", "name"),
            ("version = \"1.0.0\"", "version = \"1.0\"", "version"),
            ("version = \"1.0.0\"", "version = \"01.0.0\"", "version"),
            ("chorion.app/1", "chorion.app/2", "format"),
            ("glob = \"*.json\"", "glob = \"../*.json\"", "glob"),
            ("glob = \"*.json\"", "glob = \"/etc/*\"", "glob"),
            ("cap = \"8 MiB\"", "cap = 0", "cap"),
            ("default = 1\n", "default = 0.25\n", "default"),
            ("default = \"fast\"", "default = \"other\"", "default"),
            ("choices = [\"fast\", \"slow\"]\n", "", "choices"),
            ("max = 8", "max = 0", "max"),
            ("cpus = 2", "cpus = 0", "cpus"),
            ("read sample", "steal sample", "scopes"),
            ("packages = [\"fastp\"]", "packages = [\"fastp; rm\"]", "Debian"),
            ("packages = [\"fastp\"]", "", "packages or oci"),
            ("argv = [\"fastp\", \"{param:mode}\"]", "script = \"../x\"", "script"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = Manifest::parse(&text).expect_err(to).to_string();
            assert!(error.contains(named), "{to}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        for (at, key) in [("scopes =", "colour = 1\n"), ("[resources]\n", ""), ("[root]\n", "")] {
            let text = if key.is_empty() {
                GOOD.replacen(at, &format!("{at}colour = 1\n"), 1)
            } else {
                GOOD.replacen(at, &format!("{key}{at}"), 1)
            };
            assert!(matches!(Manifest::parse(&text), Err(ManifestError::Toml(_))), "{at}");
        }
    }

    #[test]
    fn a_form_takes_defaults_and_refuses_what_does_not_fit() {
        let manifest = Manifest::parse(GOOD).unwrap();
        let filled = manifest.fill_form(&BTreeMap::new()).unwrap();
        assert_eq!(filled["threshold"], ParamValue::Decimal(1.0));
        for (name, value) in [
            ("threshold", ParamValue::Decimal(0.1)),
            ("mode", ParamValue::Text("other".into())),
            ("mode", ParamValue::Flag(true)),
            ("unknown", ParamValue::Integer(1)),
        ] {
            let given = BTreeMap::from([(name.to_owned(), value)]);
            assert!(manifest.fill_form(&given).is_err(), "{name}");
        }
    }
}
