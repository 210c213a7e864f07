//! What the caller's projects hold: as it is listed, as the log tells it, and as this machine remembers it (`spec/audit-log.md`
//! section 7). What is compared and what is an alarm is `authenticator`'s to say, the same as in a browser.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    Dataset, DatasetId, DatasetKind, Digest, ErrorCode, Event, ProjectId, Right, SignedStatement,
};
use authenticator::{Compared, Holdings, Holds, Look, Seen};
use client::DatasetFilter;
use proof::{Manifest, digest_of, open_statement};

use super::memory;
use crate::config::{ClientContext, read_if_there, write_private};
use crate::report::{CliError, CliResult, Ui};

const MEMORY: &str = "holdings.json";

/// What this machine remembers; nothing before the first time.
pub(super) fn remembered(ctx: &ClientContext) -> CliResult<Holdings> {
    let path = memory(ctx.home(), &ctx.hub_id, MEMORY);
    let Some(bytes) = read_if_there(&path)? else { return Ok(Holdings::default()) };
    serde_json::from_slice(&bytes).map_err(|e| {
        CliError::new(format!("{} is no memory of what your projects hold", path.display()))
            .caused_by(e)
            .hint("without it a dataset that was taken away may not be missed: take it from a backup, or remove it to begin anew")
    })
}

/// Remembers what is there now.
pub(super) fn remember(ctx: &ClientContext, holdings: &Holdings) -> CliResult {
    let text = serde_json::to_vec(holdings)
        .expect("holdings serialize because they are ids, numbers and digests");
    write_private(&memory(ctx.home(), &ctx.hub_id, MEMORY), &text)
}

/// Manifests, as far as the hub has them.
type Contents = BTreeMap<DatasetId, Option<SignedStatement>>;

/// What the hub lists as the caller's own.
pub(super) struct Listed {
    projects: BTreeSet<ProjectId>,
    datasets: Vec<Dataset>,
}

impl Listed {
    /// Everything that is listed now. Whoever compares it with events fetches these afterwards: then they tell of all of it.
    pub(super) async fn fetch(ctx: &ClientContext) -> CliResult<Self> {
        let all = ctx.client.projects().all().await?;
        let own = all.into_iter().filter(|project| project.right == Right::Owner);
        let projects: BTreeSet<ProjectId> = own.map(|project| project.id).collect();
        let mut datasets = Vec::new();
        for project in &projects {
            let filter = DatasetFilter { kind: None, project: Some(*project) };
            datasets.extend(ctx.client.datasets(filter).all().await?);
        }
        datasets.retain(|dataset| projects.contains(&dataset.project));
        Ok(Self { projects, datasets })
    }

    /// Compares it with what is remembered and with events that are in the log, fetching the manifests that are lacking. Gives what
    /// holds, and one sentence for each thing that does not.
    pub(super) async fn compare(
        &self,
        ctx: &ClientContext,
        before: &Holdings,
        events: &[Event],
        you: Digest,
    ) -> CliResult<(Holds, Vec<String>)> {
        let mut contents = Contents::new();
        loop {
            let look = Look {
                you,
                projects: &self.projects,
                listed: &self.datasets,
                events,
                contents: &contents,
            };
            match before.compare(&look) {
                Compared::Needs(lacking) => {
                    for dataset in lacking {
                        let manifest = match ctx.client.manifest(dataset).await {
                            Ok(manifest) => Some(manifest),
                            Err(error) if error.code() == Some(ErrorCode::NotFound) => None,
                            Err(error) => return Err(error.into()),
                        };
                        contents.insert(dataset, manifest);
                    }
                }
                Compared::Whole(holds) => {
                    let mut said: Vec<String> =
                        holds.alarms.iter().map(ToString::to_string).collect();
                    // What was opened here before may be newer than what the log was compared with last.
                    for (dataset, seen) in seen_in(&contents) {
                        let known = ctx.seen(dataset)?;
                        let older = seen.follows(dataset, known.as_ref()).err();
                        let older = older.map(|older| older.to_string());
                        said.extend(older.filter(|older| !said.contains(older)));
                    }
                    if said.is_empty() {
                        for (dataset, seen) in seen_in(&contents) {
                            ctx.remember(dataset, seen)?;
                        }
                    }
                    return Ok((holds, said));
                }
            }
        }
    }
}

fn seen_in(contents: &Contents) -> impl Iterator<Item = (DatasetId, Seen)> + '_ {
    contents.iter().filter_map(|(dataset, signed)| {
        let signed = signed.as_ref()?;
        let (facts, _) = open_statement::<Manifest>(signed).ok()?;
        let seen = Seen { number: facts.number, digest: digest_of(signed) };
        (facts.dataset == *dataset).then_some((*dataset, seen))
    })
}

/// Says which datasets of the caller's this machine saw and a list leaves out.
pub(crate) fn note_unlisted(
    ctx: &ClientContext,
    ui: Ui,
    kind: DatasetKind,
    project: Option<ProjectId>,
    listed: &[Dataset],
) -> CliResult {
    let listed = listed.iter().map(|dataset| dataset.id).collect();
    for (dataset, project) in remembered(ctx)?.unlisted(Some(kind), project, &listed) {
        ui.note(format!(
            "{} {dataset} of project {project} was here and is not listed: `chorion audit verify` says whether the log knows why",
            kind.as_str()
        ));
    }
    Ok(())
}
