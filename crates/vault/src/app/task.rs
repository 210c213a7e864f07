//! One launch of an app: its form filled, its inputs laid out, its command complete.
//!
//! Inputs appear under `/data/input/<input>/<file>`, outputs are taken from `/data/output`, `/tmp` is scratch. The command gets
//! `PARAM_<FIELD>`, `INPUT_<INPUT>` (the folder), `OUTPUT`, `CPUS` and `MEMORY_MIB` in its environment, and an `argv` may name
//! them in braces (`spec/app.md` section 6). A GA4GH TES task says the same in the exchange format, and a launch is made from
//! one only by making it anew and comparing: nobody can slip another command under a known app digest.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::manifest::{FileKind, Input, Manifest, ManifestError, Output, ParamValue};
use super::tes;
use super::tree::Pattern;
use super::{Bytes, Digest};
use crate::sandbox::{Limits, Outputs};

/// Where inputs are mounted.
pub const INPUT_FOLDER: &str = "/data/input";
/// Where outputs are taken from.
pub const OUTPUT_FOLDER: &str = "/data/output";

/// A launch that does not fit its app.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The form.
    #[error(transparent)]
    Form(#[from] ManifestError),
    /// An input.
    #[error("input {name}: {reason}")]
    Input {
        /// Its name.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// A brace in `argv` names nothing.
    #[error("the command names `{0}`, which the app has not")]
    Placeholder(String),
    /// The outputs are not those declared.
    #[error("output {name}: {reason}")]
    Output {
        /// Its name.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// The TES document is not the one this app and form give.
    #[error("the TES task does not match app {app}: {reason}")]
    Tes {
        /// The app digest.
        app: Digest,
        /// What differs.
        reason: String,
    },
}

/// One file of an input: the name it has inside, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFile {
    /// A file name, without folders.
    pub name: String,
    /// Of the file's place: a DRS object, `file://…`.
    pub url: String,
}

/// What a person or a session asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskRequest {
    /// The app session's id, or what a person calls this launch.
    pub name: String,
    /// Files per input name; a pair counts as one item.
    pub inputs: BTreeMap<String, Vec<TaskFile>>,
    /// The form.
    pub params: BTreeMap<String, ParamValue>,
    /// Where outputs go; each file's path below `/data/output` is appended.
    pub output_url: String,
}

/// A launch that fits its app.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// Of the app it was made for.
    pub app: Digest,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The environment of the command.
    pub env: BTreeMap<String, String>,
    /// Every input file: its path below `/data/input` and its url.
    pub inputs: Vec<LaunchInput>,
    /// The form with its defaults.
    pub params: BTreeMap<String, ParamValue>,
    /// For the sandbox.
    pub limits: Limits,
    outputs: Vec<Output>,
    request: TaskRequest,
    summary: String,
}

/// An input file of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchInput {
    /// The input it belongs to.
    pub input: String,
    /// Below `/data/input`.
    pub guest: String,
    /// Where it comes from.
    pub url: String,
}

/// A file that a task gives, with the declared output it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenFile {
    /// The output's name.
    pub output: String,
    /// What it is.
    pub kind: FileKind,
    /// Its path below `/data/output`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// The outputs of a task, sorted out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Given {
    /// What is given, by output and path.
    pub files: Vec<GivenFile>,
    /// What the program made besides; it stays in the sandbox.
    pub undeclared: Vec<String>,
}

impl Manifest {
    /// Makes a launch of this app, whose digest is `app`.
    ///
    /// # Errors
    /// A form or inputs that do not fit.
    pub fn launch(&self, app: Digest, request: TaskRequest) -> Result<Launch, TaskError> {
        let params = self.fill_form(&request.params)?;
        if let Some(name) = request.inputs.keys().find(|name| self.input(name).is_none()) {
            let reason = "the app has no such input".to_owned();
            return Err(TaskError::Input { name: name.clone(), reason });
        }
        let mut inputs = Vec::new();
        for input in &self.inputs {
            let files = request.inputs.get(&input.name).map_or(&[][..], Vec::as_slice);
            check_input(input, files)
                .map_err(|reason| TaskError::Input { name: input.name.clone(), reason })?;
            inputs.extend(files.iter().map(|file| LaunchInput {
                input: input.name.clone(),
                guest: format!("{}/{}", input.name, file.name),
                url: file.url.clone(),
            }));
        }

        let resources = self.resources;
        let memory_mib = resources.memory.0 >> 20;
        let mut env = BTreeMap::from([
            ("CPUS".to_owned(), resources.cpus.to_string()),
            ("MEMORY_MIB".to_owned(), memory_mib.to_string()),
            ("OUTPUT".to_owned(), OUTPUT_FOLDER.to_owned()),
        ]);
        for input in &self.inputs {
            let folder = format!("{INPUT_FOLDER}/{}", input.name);
            env.insert(format!("INPUT_{}", input.name.to_uppercase()), folder);
        }
        for (name, value) in &params {
            env.insert(format!("PARAM_{}", name.to_uppercase()), value.to_string());
        }

        let first_file = |name: &str| {
            let of_input = inputs.iter().find(|file| file.input == name)?;
            Some(format!("{INPUT_FOLDER}/{}", of_input.guest))
        };
        let fill = |place: &str| match place.split_once(':') {
            Some(("param", name)) => params.get(name).map(ToString::to_string),
            Some(("input", name)) => first_file(name),
            None if place == "cpus" => Some(resources.cpus.to_string()),
            None if place == "memory_mib" => Some(memory_mib.to_string()),
            None if place == "output" => Some(OUTPUT_FOLDER.to_owned()),
            _ => None,
        };
        let argv = match &self.command.script {
            Some(script) => vec![format!("/app/{script}")],
            None => self
                .command
                .argv
                .iter()
                .map(|argument| fill_braces(argument, &fill))
                .collect::<Result<_, _>>()?,
        };
        let limits = Limits {
            cpus: resources.cpus,
            memory_bytes: resources.memory.0,
            scratch_bytes: resources.disk.0,
            output_bytes: self.output_cap().0,
            processes: resources.processes,
            wall: resources.wall_time.into(),
        };
        Ok(Launch {
            app,
            argv,
            env,
            inputs,
            params,
            limits,
            outputs: self.outputs.clone(),
            summary: format!("{}: {}", self.full_name(), self.summary),
            request,
        })
    }

    /// Makes the launch that a TES task says, and takes it only if the whole document is the one that app and form give.
    ///
    /// # Errors
    /// As [`Manifest::launch`], and [`TaskError::Tes`].
    pub fn launch_from_tes(&self, app: Digest, task: &tes::Task) -> Result<Launch, TaskError> {
        let differs = |reason: &str| TaskError::Tes { app, reason: reason.to_owned() };
        let [executor] = &task.executors[..] else {
            return Err(differs("it has not exactly one executor"));
        };
        if executor.image != format!("sha256:{app}") {
            return Err(differs("its image is another app"));
        }
        let params = task.tags.get(tes::PARAMS_TAG).ok_or_else(|| differs("it has no form"))?;
        let params =
            serde_json::from_str(params).map_err(|_error| differs("its form does not read"))?;
        let mut inputs: BTreeMap<String, Vec<TaskFile>> = BTreeMap::new();
        for input in &task.inputs {
            let below = input.path.strip_prefix(INPUT_FOLDER).and_then(|p| p.strip_prefix('/'));
            let (name, file) = below
                .and_then(|below| below.split_once('/'))
                .ok_or_else(|| differs("an input lies elsewhere than under /data/input"))?;
            let url = input.url.clone().ok_or_else(|| differs("an input has no url"))?;
            let file = TaskFile { name: file.to_owned(), url };
            inputs.entry(name.to_owned()).or_default().push(file);
        }
        let output_url = task.outputs.first().map(|output| output.url.clone()).unwrap_or_default();
        let name = task.name.clone().unwrap_or_default();
        let launch = self.launch(app, TaskRequest { name, inputs, params, output_url })?;
        let mut expected = launch.to_tes();
        // What a server adds, and what says nothing about what will run.
        for said in [&mut expected.id, &mut expected.state, &mut expected.creation_time] {
            *said = None;
        }
        let mut given = task.clone();
        (given.id, given.state, given.creation_time) = (None, None, None);
        given.logs.clear();
        if given != expected {
            return Err(differs("command, environment, resources, inputs or outputs differ"));
        }
        Ok(launch)
    }
}

fn check_input(input: &Input, files: &[TaskFile]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for file in files {
        let name = &file.name;
        let plain = !name.is_empty()
            && name.len() <= 255
            && !name.starts_with(['.', '-'])
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+=@".contains(c));
        if !plain {
            return Err(format!("`{name}` is not a plain file name"));
        }
        if !names.insert(name) {
            return Err(format!("two files are called `{name}`"));
        }
        // An index travels with what it indexes.
        let endings = input.kind.endings();
        let fits = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if !endings.is_empty() && !fits(endings) && !fits(FileKind::Index.endings()) {
            return Err(format!("`{name}` does not end in {}", endings.join(", ")));
        }
    }
    let is_index = |file: &&TaskFile| {
        input.kind != FileKind::Index
            && FileKind::Index.endings().iter().any(|ending| file.name.ends_with(ending))
    };
    let count = files.iter().filter(|file| !is_index(file)).count();
    if input.kind == FileKind::FastqPair {
        for file in files {
            let mate = |from, to| file.name.contains(from).then(|| file.name.replacen(from, to, 1));
            let mate = mate("_R1", "_R2").or_else(|| mate("_R2", "_R1"));
            if mate.is_none_or(|mate| !names.contains(&mate)) {
                return Err(format!("`{}` has no mate (`_R1` beside `_R2`)", file.name));
            }
        }
    }
    let items = count / input.kind.files_per_item();
    let (min, max) = (input.min as usize, input.max as usize);
    if !(min..=max).contains(&items) {
        let wanted = if min == max { min.to_string() } else { format!("{min} to {max}") };
        return Err(format!("{items} given, {wanted} wanted"));
    }
    Ok(())
}

/// Replaces `{name}` by its value; `{{` and `}}` are plain braces.
fn fill_braces(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, TaskError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
        } else if let (true, Some(end)) = (brace == "{", after.find('}')) {
            let name = &after[..end];
            out.push_str(&value(name).ok_or_else(|| TaskError::Placeholder(name.to_owned()))?);
            rest = &after[end + 1..];
        } else {
            return Err(TaskError::Placeholder(text.to_owned()));
        }
    }
    out.push_str(rest);
    Ok(out)
}

impl Launch {
    /// Sorts out what a run made: the declared files, each output within its cap, required ones there.
    ///
    /// # Errors
    /// [`TaskError::Output`].
    pub fn take_outputs(&self, made: &Outputs) -> Result<Given, TaskError> {
        let mut given = Given::default();
        let mut totals = vec![(0_usize, 0_u64); self.outputs.len()];
        let patterns: Vec<_> = self
            .outputs
            .iter()
            .map(|output| Pattern::parse(&output.glob))
            .collect::<Result<_, _>>()
            .expect("the patterns parse because the manifest was checked");
        for file in made.files() {
            let Some(index) = patterns.iter().position(|pattern| pattern.matches(&file.path))
            else {
                given.undeclared.push(file.path.clone());
                continue;
            };
            let output = &self.outputs[index];
            totals[index].0 += 1;
            totals[index].1 += file.bytes;
            given.files.push(GivenFile {
                output: output.name.clone(),
                kind: output.kind,
                path: file.path.clone(),
                bytes: file.bytes,
            });
        }
        given.undeclared.extend_from_slice(made.ignored());
        for (output, (count, bytes)) in self.outputs.iter().zip(totals) {
            let refused = |reason| TaskError::Output { name: output.name.clone(), reason };
            if bytes > output.cap.0 {
                return Err(refused(format!("{} made, {} allowed", Bytes(bytes), output.cap)));
            }
            if output.required && count == 0 {
                return Err(refused(format!("no file `{}` was made", output.glob)));
            }
        }
        given.files.sort_by(|a, b| (&a.output, &a.path).cmp(&(&b.output, &b.path)));
        Ok(given)
    }

    /// The same launch as a GA4GH TES 1.1 task.
    pub fn to_tes(&self) -> tes::Task {
        let inputs = self.inputs.iter().map(|file| tes::Input {
            name: Some(file.input.clone()),
            url: Some(file.url.clone()),
            path: format!("{INPUT_FOLDER}/{}", file.guest),
            file_type: Some(tes::FileType::File),
            ..tes::Input::default()
        });
        let outputs = self.outputs.iter().map(|output| tes::Output {
            name: Some(output.name.clone()),
            description: None,
            url: self.request.output_url.clone(),
            path: format!("{OUTPUT_FOLDER}/{}", output.glob),
            path_prefix: Some(OUTPUT_FOLDER.to_owned()),
            file_type: Some(tes::FileType::File),
        });
        let params = serde_json::to_string(&self.params)
            .expect("a form serializes because it holds text, numbers and flags");
        let gigabytes = |bytes: u64| {
            #[expect(clippy::cast_precision_loss, reason = "TES counts in fractional gigabytes")]
            let gigabytes = bytes as f64 / 1e9;
            gigabytes
        };
        tes::Task {
            name: Some(self.request.name.clone()),
            description: Some(self.summary.clone()),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            resources: Some(tes::Resources {
                cpu_cores: i32::try_from(self.limits.cpus).ok(),
                ram_gb: Some(gigabytes(self.limits.memory_bytes)),
                disk_gb: Some(gigabytes(self.limits.scratch_bytes)),
                ..tes::Resources::default()
            }),
            executors: vec![tes::Executor {
                image: format!("sha256:{}", self.app),
                command: self.argv.clone(),
                workdir: Some("/tmp".to_owned()),
                env: self.env.clone(),
                ..tes::Executor::default()
            }],
            volumes: vec!["/tmp".to_owned()],
            tags: BTreeMap::from([(tes::PARAMS_TAG.to_owned(), params)]),
            ..tes::Task::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = r#"
format = "chorion.app/1"
name = "call"
version = "0.1.0"
title = "t"
summary = "s"
licence = "Apache-2.0"
[[input]]
name = "bams"
kind = "bam"
label = "BAMs"
max = 2
[[input]]
name = "reads"
kind = "fastq-pair"
label = "Reads"
min = 0
[[output]]
name = "calls"
glob = "*.vcf.gz"
kind = "vcf"
cap = "1 MiB"
[[param]]
name = "ploidy"
kind = "choice"
label = "Ploidy"
choices = ["1", "2"]
default = "2"
[command]
argv = ["tool", "-p{param:ploidy}", "{input:bams}", "{{x}}", "-t", "{cpus}"]
[resources]
cpus = 2
memory = "64 MiB"
disk = "1 MiB"
wall_time = "1 min"
[root]
packages = ["tool"]
"#;

    fn request(names: &[&str]) -> TaskRequest {
        let file =
            |name: &&str| TaskFile { name: (*name).to_owned(), url: format!("file:///{name}") };
        TaskRequest {
            name: "try".to_owned(),
            inputs: BTreeMap::from([("bams".to_owned(), names.iter().map(file).collect())]),
            output_url: "file:///out".to_owned(),
            ..TaskRequest::default()
        }
    }

    #[test]
    fn braces_are_filled_and_the_environment_says_the_rest() {
        let manifest = Manifest::parse(APP).unwrap();
        let launch = manifest.launch(Digest::of(b"app"), request(&["a.bam", "a.bam.bai"])).unwrap();
        assert_eq!(launch.argv, ["tool", "-p2", "/data/input/bams/a.bam", "{x}", "-t", "2"]);
        assert_eq!(launch.env["PARAM_PLOIDY"], "2");
        assert_eq!(launch.env["INPUT_BAMS"], "/data/input/bams");
        assert_eq!(launch.env["MEMORY_MIB"], "64");
    }

    #[test]
    fn inputs_that_do_not_fit_are_refused() {
        let manifest = Manifest::parse(APP).unwrap();
        let app = Digest::of(b"app");
        for names in [
            &[][..],
            &["a.bam", "a.bam"],
            &["a.bam", "b.bam", "c.bam"],
            &["a.txt"],
            &["../a.bam"],
            &["-a.bam"],
            &["a.bam.bai"],
        ] {
            assert!(manifest.launch(app, request(names)).is_err(), "{names:?}");
        }
        let mut unpaired = request(&["a.bam"]);
        let lone = TaskFile { name: "x_R1.fastq.gz".into(), url: String::new() };
        let _none = unpaired.inputs.insert("reads".into(), vec![lone]);
        assert!(manifest.launch(app, unpaired).unwrap_err().to_string().contains("mate"));
    }

    #[test]
    fn a_tes_task_gives_its_launch_back_and_no_other() {
        let manifest = Manifest::parse(APP).unwrap();
        let app = Digest::of(b"app");
        let launch = manifest.launch(app, request(&["a.bam"])).unwrap();
        let task = launch.to_tes();
        assert_eq!(task.executors[0].image, format!("sha256:{app}"));
        // Through the wire and back.
        let text = serde_json::to_string(&task).unwrap();
        let mut task: tes::Task = serde_json::from_str(&text).unwrap();
        task.id = Some("7".to_owned());
        assert_eq!(manifest.launch_from_tes(app, &task).unwrap().argv, launch.argv);
        assert!(manifest.launch_from_tes(Digest::of(b"other"), &task).is_err());
        let mut other = task.clone();
        other.executors[0].command[1] = "-p1".to_owned();
        assert!(matches!(manifest.launch_from_tes(app, &other), Err(TaskError::Tes { .. })));
        let mut other = task;
        let _old = other.executors[0].env.insert("LD_PRELOAD".into(), "/data/input/x".into());
        assert!(matches!(manifest.launch_from_tes(app, &other), Err(TaskError::Tes { .. })));
    }
}
