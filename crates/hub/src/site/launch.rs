//! Launching an app: a form made from its manifest, with what it asks for said before anybody launches it.
//!
//! The vault judges inputs and values by the manifest whose digest it checked; here they are looked at so that a person hears
//! at once what does not fit. A session on data whose owner alone holds the key is launched from a machine of one's own.

use std::collections::BTreeMap;

use api::{
    AppId, Custodian, Dataset, DatasetId, DatasetKind, ExecutionState, ListOrder, ProjectId, Right,
    SessionInput,
};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;

use super::guard::{Form, SignedIn};
use super::view::{Frame, Refusal, again, page as draw};
use super::words;
use crate::HubError;
use crate::app::{self, sessions::Wanted};
use crate::data::datasets::Narrowed;
use crate::http::extract::Id;
use crate::state::Hub;

const SECTION: &str = "/apps";
/// How many samples, results and projects a form offers; others are named by their id.
const OFFERED: i64 = 100;
/// The longest value, as apps take them.
const MOST_VALUE_BYTES: usize = 1024;

/// What a form needs of a manifest (`chorion.app/1`); the rest of it is for the vault.
#[derive(Debug, Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    summary: String,
    #[serde(default, rename = "input")]
    inputs: Vec<Input>,
    #[serde(default, rename = "param")]
    params: Vec<Param>,
    #[serde(default)]
    scopes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Input {
    name: String,
    kind: String,
    label: String,
    #[serde(default)]
    help: String,
    #[serde(default = "one")]
    min: u32,
    #[serde(default = "one")]
    max: u32,
}

const fn one() -> u32 {
    1
}

#[derive(Debug, Deserialize)]
struct Param {
    name: String,
    kind: String,
    label: String,
    #[serde(default)]
    help: String,
    #[serde(default)]
    default: Option<Value>,
    #[serde(default)]
    min: Option<Value>,
    #[serde(default)]
    max: Option<Value>,
    #[serde(default)]
    choices: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

impl Param {
    /// A value as a person typed it, if the manifest takes such; else what it takes.
    fn check(&self, value: &str) -> Result<(), String> {
        let label = &self.label;
        if value.len() > MOST_VALUE_BYTES {
            return Err(format!("`{label}` is longer than {MOST_VALUE_BYTES} bytes"));
        }
        let limit = |of: &Option<Value>| of.as_ref().and_then(|v| text(v).parse::<f64>().ok());
        match self.kind.as_str() {
            "integer" | "decimal" => {
                let whole = self.kind == "integer";
                let number = if whole {
                    value.parse::<i32>().ok().map(f64::from)
                } else {
                    value.parse::<f64>().ok().filter(|number| number.is_finite())
                };
                let number = number.ok_or_else(|| {
                    format!("`{label}` takes a {}number", if whole { "whole " } else { "" })
                })?;
                if limit(&self.min).is_some_and(|least| number < least)
                    || limit(&self.max).is_some_and(|most| number > most)
                {
                    return Err(format!("`{label}` is outside of what the app takes"));
                }
                Ok(())
            }
            "choice" if !self.choices.iter().any(|choice| choice == value) => {
                Err(format!("`{label}` is one of: {}", self.choices.join(", ")))
            }
            "flag" if !matches!(value, "true" | "false") => Err(format!("`{label}` is yes or no")),
            _ => Ok(()),
        }
    }
}

/// A choice of a form.
struct Choice {
    value: String,
    words: String,
    is_chosen: bool,
}

/// How a field of the form looks.
enum Control {
    Choices(Vec<Choice>),
    Number { least: Option<String>, most: Option<String>, step: &'static str, value: String },
    Text(String),
}

struct Field {
    /// Its name in the form, and its id.
    name: String,
    label: String,
    help: String,
    required: bool,
    control: Control,
    /// A second field, for inputs that take more than one: ids.
    more: Option<String>,
}

#[derive(Template)]
#[template(path = "launch.html")]
struct LaunchPage {
    frame: Frame,
    refusal: Option<Refusal>,
    app: api::App,
    summary: String,
    scopes: Vec<String>,
    fields: Vec<Field>,
    projects: Vec<Choice>,
    name: String,
    has_samples: bool,
}

type Given = BTreeMap<String, String>;

fn manifest(app: &api::App) -> Result<Manifest, HubError> {
    serde_json::from_str(&app.manifest).map_err(|e| {
        HubError::conflict(format!("the manifest of {} {} makes no form", app.name, app.version))
            .hint("launch it from your machine: `chorion app launch`")
            .caused_by(e)
    })
}

/// Whether an app may have it as an input, as far as a list shows.
fn is_whole(dataset: &Dataset) -> bool {
    matches!(dataset.execution, ExecutionState::Complete | ExecutionState::Superseded)
        && dataset.manifest_number > 0
        && dataset.custodian != Custodian::Owner
}

async fn offered(hub: &Hub, person: &SignedIn) -> Result<Vec<Dataset>, HubError> {
    let mut all = Vec::new();
    for kind in [DatasetKind::Sample, DatasetKind::Result] {
        let narrowed =
            Narrowed { kind: Some(kind), order: ListOrder::Newest, ..Narrowed::default() };
        let found = app::datasets::list(hub, &person.caller, narrowed, "", OFFERED).await?;
        all.extend(found.into_iter().filter(is_whole));
    }
    Ok(all)
}

impl LaunchPage {
    async fn new(
        hub: &Hub,
        person: &SignedIn,
        app: api::App,
        given: &Given,
        refusal: Option<Refusal>,
    ) -> Result<Self, HubError> {
        let manifest = manifest(&app)?;
        let datasets = offered(hub, person).await?;
        let projects = app::projects::list(hub, &person.caller, "", OFFERED).await?;
        let own = |name: &str| given.get(name).map(String::as_str);
        let mut fields = Vec::new();
        for input in &manifest.inputs {
            fields.push(input_field(input, &datasets, &own));
        }
        fields.extend(manifest.params.iter().map(|param| param_field(param, &own)));
        let projects = projects
            .into_iter()
            .filter(|project| {
                project.right >= Right::Create && project.custodian != Custodian::Owner
            })
            .map(|project| Choice {
                is_chosen: own("project") == Some(project.id.to_string().as_str()),
                value: project.id.to_string(),
                words: format!(
                    "{} ({})",
                    project.name.unwrap_or_else(|| format!("sealed name, {}", project.id)),
                    words::holder(project.custodian).word
                ),
            })
            .collect();
        Ok(Self {
            frame: Frame::of("Launch an app", SECTION, &person.visit),
            refusal,
            summary: manifest.summary,
            scopes: manifest.scopes,
            fields,
            projects,
            name: own("name").map_or_else(|| app.name.clone(), ToOwned::to_owned),
            has_samples: !datasets.is_empty(),
            app,
        })
    }
}

fn input_field<'g>(
    input: &Input,
    datasets: &[Dataset],
    own: &impl Fn(&str) -> Option<&'g str>,
) -> Field {
    let name = format!("input-{}", input.name);
    let chosen = own(&name);
    let mut choices = vec![Choice {
        value: String::new(),
        words: if input.min == 0 { "none" } else { "choose" }.to_owned(),
        is_chosen: chosen.is_none(),
    }];
    choices.extend(datasets.iter().map(|dataset| {
        let id = dataset.id.to_string();
        let called = dataset.name.clone().unwrap_or_else(|| format!("sealed name, {id}"));
        let kind = words::kind(dataset.kind).to_lowercase();
        Choice {
            is_chosen: chosen == Some(id.as_str()),
            words: format!("{called}, {kind} ({})", words::holder(dataset.custodian).word),
            value: id,
        }
    }));
    let more = (input.max > 1 || datasets.len() >= 100).then(|| format!("{name}-more"));
    Field {
        label: input.label.clone(),
        help: format!("{} Takes {}.", input.help, input.kind.replace('-', " ")).trim().to_owned(),
        required: input.min > 0 && more.is_none(),
        control: Control::Choices(choices),
        more,
        name,
    }
}

fn param_field<'g>(param: &Param, own: &impl Fn(&str) -> Option<&'g str>) -> Field {
    let name = format!("param-{}", param.name);
    let value = own(&name)
        .map(ToOwned::to_owned)
        .or_else(|| param.default.as_ref().map(text))
        .unwrap_or_default();
    let choice = |of: &str, words: &str| Choice {
        is_chosen: value == of,
        value: of.to_owned(),
        words: words.to_owned(),
    };
    let control = match param.kind.as_str() {
        "choice" => Control::Choices(param.choices.iter().map(|of| choice(of, of)).collect()),
        "flag" => Control::Choices(vec![choice("false", "no"), choice("true", "yes")]),
        "integer" | "decimal" => Control::Number {
            least: param.min.as_ref().map(text),
            most: param.max.as_ref().map(text),
            step: if param.kind == "integer" { "1" } else { "any" },
            value: value.clone(),
        },
        _ => Control::Text(value.clone()),
    };
    Field {
        label: param.label.clone(),
        help: param.help.clone(),
        required: param.default.is_none(),
        control,
        more: None,
        name,
    }
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<AppId>,
) -> Result<Response, HubError> {
    let app = app::apps::show(&hub, &person.caller, id).await?;
    let page = LaunchPage::new(&hub, &person, app, &Given::new(), None).await?;
    draw(&person.visit, &page)
}

/// What was asked for, as far as it fits the manifest.
fn wanted(app: &api::App, manifest: &Manifest, given: &Given) -> Result<Wanted, HubError> {
    let own = |name: &str| given.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let mut inputs = Vec::new();
    for input in &manifest.inputs {
        let name = format!("input-{}", input.name);
        let more = own(&format!("{name}-more")).unwrap_or_default();
        let before = inputs.len();
        for id in
            own(&name).into_iter().chain(more.split([' ', ',', ';']).filter(|id| !id.is_empty()))
        {
            let dataset: DatasetId = id.parse().map_err(|_| {
                HubError::bad_request(format!("`{id}` is no id of a sample or result"))
                    .hint("copy the id from its page")
            })?;
            inputs.push(SessionInput { name: input.name.clone(), dataset });
        }
        let count = u32::try_from(inputs.len() - before).unwrap_or(u32::MAX);
        if !(input.min..=input.max).contains(&count) {
            let (label, least, most) = (&input.label, input.min, input.max);
            return Err(HubError::bad_request(format!(
                "`{label}` takes {least} to {most} datasets, and {count} were chosen"
            )));
        }
    }
    let mut params = BTreeMap::new();
    for param in &manifest.params {
        let name = format!("param-{}", param.name);
        match own(&name) {
            Some(value) => {
                param.check(value).map_err(HubError::bad_request)?;
                params.insert(param.name.clone(), value.to_owned());
            }
            None if param.default.is_some() => {}
            None => {
                return Err(HubError::bad_request(format!("`{}` is empty", param.label)));
            }
        }
    }
    let project: ProjectId = own("project")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| HubError::bad_request("no project was chosen for the result"))?;
    let name = own("name").unwrap_or(&app.name).to_owned();
    Ok(Wanted { app: app.id, inputs, params, project, name })
}

pub(super) async fn launch(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<AppId>,
    Form(given): Form<Given>,
) -> Result<Response, HubError> {
    let app = app::apps::show(&hub, &person.caller, id).await?;
    let done = match wanted(&app, &manifest(&app)?, &given) {
        Ok(wanted) => app::sessions::launch_for(&hub, &person.caller, wanted).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(session) => Ok(Redirect::to(&format!("/sessions/{}", session.id)).into_response()),
        Err(error) => {
            let refusal = Some(Refusal::of(&error));
            let page = LaunchPage::new(&hub, &person, app, &given, refusal).await?;
            again(&person.visit, error, &page)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(kind: &str) -> Param {
        Param {
            name: "depth".to_owned(),
            kind: kind.to_owned(),
            label: "Depth".to_owned(),
            help: String::new(),
            default: None,
            min: Some(Value::from(1)),
            max: Some(Value::from("9.5")),
            choices: vec!["fast".to_owned(), "sharp".to_owned()],
        }
    }

    #[test]
    fn a_value_that_the_app_would_not_take_is_told_before_it_is_launched() {
        let cases: [(&str, &[&str], &[&str]); 5] = [
            ("integer", &["1", "9"], &["0", "10", "1.5", "one", ""]),
            ("decimal", &["1", "9.5", "2.25"], &["0.9", "9.6", "NaN", "inf", "x"]),
            ("choice", &["fast"], &["slow", ""]),
            ("flag", &["true", "false"], &["maybe"]),
            ("text", &["anything"], &[&"x".repeat(1025)]),
        ];
        for (kind, good, bad) in cases {
            for value in good {
                assert_eq!(param(kind).check(value), Ok(()), "{kind} {value}");
            }
            for value in bad {
                assert!(param(kind).check(value).is_err(), "{kind} {value}");
            }
        }
    }
}
