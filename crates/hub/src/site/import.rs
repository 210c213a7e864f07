//! Files of one's own become a sample or a result: what is typed for it on the machine where they lie, filled in.
//!
//! Nothing is sent through a page: files are sealed before they leave the machine that has them, to the recipient in the project's
//! card, which is what `chorion` does there. The form is sent by `POST`, so that no name stands in an address.

use api::{Custodian, DatasetId, DatasetKind, KeyKind, ProjectId, Right};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::guard::{Form, SignedIn};
use super::projects::called;
use super::view::{Frame, Refusal, again, page as draw};
use super::words::{self, Mark};
use crate::HubError;
use crate::app;
use crate::http::extract::Id;
use crate::state::Hub;

const SECTION: &str = "/projects";

/// What is brought, as the form says it.
#[derive(Default, Deserialize)]
pub(super) struct Brought {
    #[serde(default)]
    what: What,
    #[serde(default)]
    name: String,
    #[serde(default)]
    files: String,
    #[serde(default)]
    parent: String,
    #[serde(default)]
    crypt4gh: Option<String>,
}

/// What the files become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// One person's reads or variants, which are checked while they are read.
    #[default]
    Sample,
    /// Any files: a reference, what another program made.
    Result,
}

impl What {
    const fn kind(self) -> DatasetKind {
        match self {
            Self::Sample => DatasetKind::Sample,
            Self::Result => DatasetKind::Result,
        }
    }
}

/// A word as a POSIX shell takes it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Brought {
    /// What is typed.
    fn command(&self, project: ProjectId) -> Result<String, HubError> {
        let kind = self.what.kind().as_str();
        let mut line = format!("chorion {kind} import");
        let files: Vec<&str> =
            self.files.lines().map(str::trim).filter(|file| !file.is_empty()).collect();
        if files.is_empty() {
            line.push_str(" FILES…");
        }
        for file in files {
            // What begins with a hyphen would be taken for an option.
            let here = if file.starts_with('-') { "./" } else { "" };
            line.push_str(&format!(" {}", quoted(&format!("{here}{file}"))));
        }
        line.push_str(&format!(" --project {project}"));
        let name = self.name.trim();
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(HubError::bad_request(format!("the {kind} has no name of one line")));
        }
        // `=` keeps a name that begins with a hyphen from being taken for an option.
        line.push_str(&format!(" --name={}", quoted(name)));
        if self.what == What::Result && !self.parent.trim().is_empty() {
            let parent: DatasetId = self.parent.trim().parse().map_err(|_| {
                HubError::bad_request("what it was made from is the id of no dataset")
                    .hint("it stands on the page of the run, sample or result")
            })?;
            line.push_str(&format!(" --parent {parent}"));
        }
        if self.crypt4gh.is_some() {
            line.push_str(" --crypt4gh-key KEYFILE");
        }
        Ok(line)
    }
}

#[derive(Template)]
#[template(path = "import.html")]
struct ImportPage {
    frame: Frame,
    refusal: Option<Refusal>,
    project: ProjectId,
    name: String,
    holder: Mark,
    form: Brought,
    command: Option<String>,
    /// What enrols the machine first, where no key signs for the person yet.
    login: Option<String>,
    /// Where authenticators are served, for a project whose owner alone holds the key.
    authenticators: Vec<String>,
}

async fn page_of(
    hub: &Hub,
    person: &SignedIn,
    id: ProjectId,
    form: Brought,
) -> Result<ImportPage, HubError> {
    let caller = &person.caller;
    let project = app::projects::show(hub, caller, id).await?;
    if project.right < Right::Create {
        return Err(HubError::new(
            api::ErrorCode::Forbidden,
            format!("to bring files into project {id} needs the right to create there"),
        )
        .hint("whoever may add members can give it"));
    }
    let keys = app::keys::in_force_first(hub, caller, 20).await?;
    let signs = keys.iter().any(|key| key.kind == KeyKind::Person && key.revoked.is_none());
    Ok(ImportPage {
        frame: Frame::of("Import files", SECTION, &person.visit),
        refusal: None,
        project: id,
        name: called(&project),
        holder: words::holder(project.custodian),
        form,
        command: None,
        login: (!signs).then(|| format!("chorion login --hub https://{}", person.visit.authority)),
        authenticators: match project.custodian {
            Custodian::Owner => hub.authenticators.origins(),
            Custodian::Platform | Custodian::Organization => Vec::new(),
        },
    })
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<ProjectId>,
) -> Result<Response, HubError> {
    draw(&person.visit, &page_of(&hub, &person, id, Brought::default()).await?)
}

pub(super) async fn fill_in(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<ProjectId>,
    Form(form): Form<Brought>,
) -> Result<Response, HubError> {
    let command = form.command(id);
    let page = page_of(&hub, &person, id, form).await?;
    match command {
        Ok(command) => draw(&person.visit, &ImportPage { command: Some(command), ..page }),
        Err(error) => {
            let refusal = Some(Refusal::of(&error));
            again(&person.visit, error, &ImportPage { refusal, ..page })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_one_command_whatever_files_are_called() {
        let project = ProjectId::generate();
        let brought = |what, name: &str, files: &str| Brought {
            what,
            name: name.to_owned(),
            files: files.to_owned(),
            ..Brought::default()
        };
        let cases = [
            (
                brought(What::Sample, "NA12878", "a_R1.fastq.gz\r\na_R2.fastq.gz\r\n"),
                format!(
                    "chorion sample import a_R1.fastq.gz a_R2.fastq.gz --project {project} --name=NA12878"
                ),
            ),
            (
                brought(What::Sample, "it's; rm -rf ~", "my reads.bam\n-x.bam\n$(id)'.bam"),
                format!(
                    r"chorion sample import 'my reads.bam' ./-x.bam '$(id)'\''.bam' --project {project} --name='it'\''s; rm -rf ~'"
                ),
            ),
            (
                brought(What::Result, "-n", ""),
                format!("chorion result import FILES… --project {project} --name=-n"),
            ),
        ];
        for (brought, line) in cases {
            assert_eq!(brought.command(project).unwrap(), line);
        }
        assert!(brought(What::Sample, " ", "a.bam").command(project).is_err());
        assert!(brought(What::Sample, "a\nb", "a.bam").command(project).is_err());
    }
}
