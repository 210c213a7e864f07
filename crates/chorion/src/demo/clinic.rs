//! The clinic's part of the story: an organization holds the key in its own cloud, writes cases under it, finds them, takes the key
//! away, and gives it back. The cloud is a stand-in, a process of its own that this program knows nothing of but its address: what is
//! shown of AWS here is shown on a stand-in.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{Hub, Person, Said, Story};
use super::{judge, number, text};
use crate::report::{CliError, CliResult};

/// Who runs the stand-in.
const PYTHON: &str = "python3";
/// Who asks it, with what; it is in its source.
const ACCESS_KEY: (&str, &str) = ("AKIAIOSFODNN7EXAMPLE", "a secret");
/// How many cases the clinic has.
const CASES: usize = 200;
/// The case that is looked for.
const RECORD: &str = "4711-0042";
const FAMILY: &str = "Featherstonehaugh";
/// How long anything may take.
const LOST: Duration = Duration::from_secs(90);

/// The stand-in of a cloud.
pub(super) struct Cloud {
    process: Child,
    program: PathBuf,
    port: String,
    url: String,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _already_gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl Cloud {
    /// Starts it, or says why not.
    pub(super) fn start(program: &Path) -> Result<Self, String> {
        if !program.is_file() {
            return Err(format!("{} is not here", program.display()));
        }
        let not_run = |e| format!("{PYTHON} does not run it: {e}");
        let mut command = Command::new(PYTHON);
        command.arg(program).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(not_run)?;
        let mut line = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(not_run)?;
        }
        let port = line.trim().to_owned();
        let cloud = Self {
            process,
            program: program.to_owned(),
            url: format!("http://127.0.0.1:{port}"),
            port,
        };
        if cloud.port.is_empty() {
            return Err(format!("{PYTHON} does not run it"));
        }
        Ok(cloud)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Does in the customer's cloud what a customer would do in its console, or reads its log.
    fn tell(&self, what: Option<&Value>) -> CliResult<Value> {
        let failed = || CliError::new("the stand-in of the cloud does not answer");
        let mut command = Command::new(PYTHON);
        command.arg(&self.program).arg(&self.port).args(what.map(Value::to_string));
        let output = command.output().map_err(|e| failed().caused_by(e))?;
        serde_json::from_slice(&output.stdout).map_err(|e| failed().caused_by(e))
    }
}

/// A clinic sets its key up, adds cases, searches, takes the key away and gives it back.
pub(super) fn play(
    dir: &Path,
    story: &mut Story,
    hub: &Hub,
    operator: &Person,
    cloud: &Cloud,
) -> CliResult {
    let clinic = Person::new(dir, "clinic");
    let id = story.step("a clinic joins, on the plan that lets it hold its own key", |s| {
        let made =
            operator.call(s, &["org", "create", "Kestrel clinic", "--plan", "enterprise"])?;
        let id = text(&made, "/id")?;
        let invite = ["org", "members", "invite", &id, "Doctor", "--role", "administrator"];
        let code = text(&operator.call(s, &invite)?, "/code")?;
        let login = ["login", "--hub", hub.url(), "--ca", hub.ca(), "--code", &code];
        clinic.call(s, &[&login[..], &["--name", "Doctor"]].concat())?;
        Ok((id.clone(), format!("organization {id}, with an administrator of its own")))
    })?;
    let key =
        story.step("it makes a key in its cloud (a STAND-IN of AWS KMS) and takes it in use", |s| {
            let key = text(&cloud.tell(Some(&json!({"make": "clinic"})))?, "/arn")?;
            let secret = dir.join("access-key");
            let cannot = |e| CliError::new("the clinic's files cannot be made").caused_by(e);
            fs::write(&secret, ACCESS_KEY.1).map_err(cannot)?;
            let offline = dir.join("offline.key").display().to_string();
            clinic.call(s, &["keygen", "-o", &offline, "--no-passphrase"])?;
            let (secret, public) = (secret.display().to_string(), format!("{offline}.pub"));
            let named = ["--aws-key", &key, "--aws-region", "eu-central-1"];
            let by = ["--aws-access-key", ACCESS_KEY.0, "--secret-file", &secret];
            let how = ["--lease", "2", "--recovery", &public, "--confirm", &id];
            let set = ["org", "kms", "set", &id];
            let test = clinic.call(s, &[&set[..], &named, &by, &how].concat())?;
            let copy = dir.join("recovery.json").display().to_string();
            clinic.call(s, &["org", "kms", "recovery", &id, "-o", &copy])?;
            let status = clinic.call(s, &["org", "kms", "status", &id])?;
            if status["recovery_stored"] != true {
                return Err(CliError::new(format!("the recovery copy is not stored: {status}")));
            }
            let proved = format!(
                "wraps and unwraps in {} ms; a recovery copy is in the clinic's hands; a revocation has its effect within {} s",
                number(&test, "/unwrap_ms")?,
                number(&status, "/effect_seconds")?
            );
            Ok((key, proved))
        })?;
    let project = story.step("200 cases are sealed under it, and record numbers made findable", |s| {
        let create = ["project", "create", "outpatients", "--custodian", "organization"];
        let project = clinic.call(s, &[&create[..], &["--organization", &id]].concat())?;
        let project = text(&project, "/id")?;
        clinic.call(s, &["org", "fields", "on", &id, "record_number"])?;
        let mut table = "record_number,family_name,birth_date,phenotypes\n".to_owned();
        for number in 0..CASES {
            let family = if number == 42 { FAMILY } else { "Whitcombe" };
            writeln!(table, "4711-{number:04},{family}-{number},1987-03-09,HP:0001250")
                .map_err(|e| CliError::new("the table cannot be written").caused_by(e))?;
        }
        let file = dir.join("cases.csv");
        fs::write(&file, table)
            .map_err(|e| CliError::new("the clinic's file cannot be made").caused_by(e))?;
        let file = file.display().to_string();
        let begin = Instant::now();
        let done = clinic.call(s, &["case", "import", "--project", &project, &file])?;
        let took = begin.elapsed();
        if number(&done, "/added")? != CASES as u64 {
            return Err(CliError::new(format!("{CASES} cases were to be added: {done}")));
        }
        let list = ["org", "fields", "list", &id];
        s.command(&list);
        let fields = until(|| {
            let fields = clinic.quietly(&list)?;
            Ok((fields[0]["state"] == "live").then_some(fields))
        })?;
        let searched = judge::search(&dir.join("hub"), &[FAMILY.into(), RECORD.into()])?;
        Ok((
            project,
            format!(
                "in {:.1} s, the index is {}; neither name nor number in {searched} of the hub's",
                took.as_secs_f64(),
                text(&fields, "/0/state")?
            ),
        ))
    })?;
    let search = ["case", "search", "--project", &project, "--field", "record_number"];
    let case = story.step(
        "a patient is found by record number, and the case is opened for treatment",
        |s| {
            let found = clinic.told(s, &search, RECORD)?;
            let case = text(&found, "/cases/0/id")?;
            let shown = clinic.call(s, &["case", "show", &case, "--purpose", "treatment"])?;
            let family = text(&shown, "/document/patient/family_name")?;
            if found["cases"].as_array().map(Vec::len) != Some(1) || !family.starts_with(FAMILY) {
                return Err(CliError::new(format!("another case was found: {shown}")));
            }
            Ok((case, format!("one of {CASES}; who read which fields, and why, is in the log")))
        },
    )?;
    story.step("the clinic disables its key: nothing opens, lists go on", |s| {
        cloud.tell(Some(&json!({"state": [key, "Disabled"]})))?;
        let begin = Instant::now();
        let status = standing(&clinic, s, &id, "taken_away")?;
        let noticed = begin.elapsed();
        clinic.refused(s, &["case", "show", &case], "has taken its key away")?;
        let listed = clinic.call(s, &["case", "list", "--project", &project])?;
        if listed.as_array().map(Vec::len) != Some(CASES) {
            return Err(CliError::new("the list of cases did not go on"));
        }
        Ok((
            (),
            format!(
                "noticed after {:.1} s, though nobody used it: {} since {}",
                noticed.as_secs_f64(),
                text(&status, "/trouble")?,
                text(&status, "/since")?
            ),
        ))
    })?;
    story.step("it enables the key again: everything goes on by itself", |s| {
        cloud.tell(Some(&json!({"state": [key, "Enabled"]})))?;
        let begin = Instant::now();
        standing(&clinic, s, &id, "in_force")?;
        let found = clinic.told(s, &search, RECORD)?;
        if text(&found, "/cases/0/id")? != case {
            return Err(CliError::new(format!("the case was not found again: {found}")));
        }
        Ok(((), format!("found again after {:.1} s", begin.elapsed().as_secs_f64())))
    })?;
    story.step("the hub's log and the cloud's own log are laid side by side", |s| {
        let log = dir.join("cloudtrail.json");
        fs::write(&log, cloud.tell(None)?.to_string())
            .map_err(|e| CliError::new("the cloud's log cannot be written").caused_by(e))?;
        let log = log.display().to_string();
        let reconcile = ["audit", "reconcile", "--organization", &id, "--kms-log", &log];
        let compared = clinic.call(s, &reconcile)?;
        Ok(((), format!("{} uses of the key, each in both", number(&compared, "/matched")?)))
    })
}

/// Waits until the key stands so, and gives its status.
fn standing(clinic: &Person, said: &mut Said, id: &str, standing: &str) -> CliResult<Value> {
    let status = ["org", "kms", "status", id];
    said.command(&status);
    until(|| {
        let status = clinic.quietly(&status)?;
        Ok((status["standing"] == standing).then_some(status))
    })
}

/// Asks again until there is something.
fn until(mut what: impl FnMut() -> CliResult<Option<Value>>) -> CliResult<Value> {
    let begin = Instant::now();
    loop {
        if let Some(found) = what()? {
            return Ok(found);
        }
        if begin.elapsed() > LOST {
            return Err(CliError::new(format!("it did not come in {} s", LOST.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
