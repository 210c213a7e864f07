//! Files that open in the browser: a page for one file, a viewer for reads and variants, and what their worker asks for.
//!
//! The hub gives the worker what it gives the command line: the dataset's key wrapped to a recipient that the worker made, by the same
//! policy and with the same leaf in the audit log; the signed manifest; sealed objects by range (`docs/decisions/0028`). Addresses of
//! opened files answer inside the browser; who reaches the hub with one has no worker yet, and is sent to the page that brings it.

use api::{
    Bytes, Custodian, Dataset, DatasetId, EPOCH_HEADER, ErrorCode, File, ObjectRef, ReleaseRequest,
    Right, SignedStatement, WRAPPED_KEY_HEADER,
};
use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Redirect, Response};
use data_encoding::{BASE64, HEXUPPER};
use serde::{Deserialize, Serialize};

use super::built::WORKER;
use super::guard::{Form, SignedIn};
use super::view::{Frame, page as draw};
use super::visit::OwnPolicy;
use super::words::{self, Mark};
use crate::HubError;
use crate::app;
use crate::http::extract::{Id, Ids, Params};
use crate::http::objects::sent;
use crate::state::Hub;

/// From this size on the command line is named first: it needs no page that stays open for as long as it takes.
const BIG: u64 = 1 << 30;

/// What a page may do whose worker opens files: as any other, and it may name that worker.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types chorion-worker",
);
/// What the worker may do: run its WASM module, and ask this hub.
const WORKER_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// What the viewer may do.
///
/// It is a program of somebody else's, which writes markup and style as text: so its page can reach nothing but the opened files of this
/// one dataset, sends no form, opens no window, and holds no form token.
fn viewer_policy(authority: &str, id: DatasetId) -> Result<HeaderValue, HubError> {
    let text = format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         connect-src https://{authority}/open/{id}/files/ blob:; worker-src https://{authority}/open/{WORKER}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-same-origin allow-downloads"
    );
    HeaderValue::try_from(text).map_err(|e| HubError::internal("the viewer has no policy", e))
}

/// Whether a dataset's files open on pages of this hub for this person: an owner's never do.
pub(super) fn offered(hub: &Hub, dataset: &Dataset, right: Right) -> bool {
    hub.built.is_there() && dataset.custodian != Custodian::Owner && right >= Right::Read
}

/// A path in an address: every byte that is not plain as `%XX`.
fn encoded(path: &str, slashes: bool) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (slashes && byte == b'/') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&HEXUPPER.encode(&[byte]));
        }
    }
    text
}

/// The page of a file.
pub(super) fn download_path(id: DatasetId, file: &str) -> String {
    format!("/open/{id}?file={}", encoded(file, false))
}

/// The viewer of a file.
pub(super) fn view_path(id: DatasetId, file: &str) -> String {
    format!("/open/{id}/view?file={}", encoded(file, false))
}

fn file_path(id: DatasetId, file: &str) -> String {
    format!("/open/{id}/files/{}", encoded(file, true))
}

/// What the viewer shows: a file, its index, and a reference beside them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Viewed<'a> {
    format: &'static str,
    file: &'a File,
    index: &'a File,
    fasta: Option<(&'a File, &'a File)>,
}

/// How the viewer shows `path`, if it is reads or variants with an index beside them.
pub(super) fn viewed<'a>(files: &'a [File], path: &str) -> Option<Viewed<'a>> {
    let named = |name: &str| files.iter().find(|file| file.path == name);
    let file = named(path)?;
    let (format, ends, replaced): (_, &[&str], _) = match path {
        _ if path.ends_with(".bam") => ("bam", &[".bai", ".csi"], ".bai"),
        _ if path.ends_with(".cram") => ("cram", &[".crai"], ".crai"),
        _ if path.ends_with(".vcf.gz") || path.ends_with(".vcf.bgz") => {
            ("vcf", &[".tbi", ".csi"], ".tbi")
        }
        _ => return None,
    };
    // `reads.bam.bai`, or `reads.bai` as some programs have it.
    let beside = path.rsplit_once('.').map(|(stem, _)| format!("{stem}{replaced}"));
    let index = ends
        .iter()
        .find_map(|end| named(&format!("{path}{end}")))
        .or_else(|| beside.and_then(|name| named(&name)))?;
    let is_reference = |file: &&File| file.path.ends_with(".fa") || file.path.ends_with(".fasta");
    let fasta = files
        .iter()
        .filter(is_reference)
        .find_map(|fasta| Some((fasta, named(&format!("{}.fai", fasta.path))?)));
    Some(Viewed { format, file, index, fasta })
}

/// A file of a dataset.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    file: String,
}

#[derive(Template)]
#[template(path = "open.html")]
struct FilePage {
    frame: Frame,
    id: DatasetId,
    kind: &'static str,
    name: String,
    path: String,
    /// The end of its progress: a bar has no length of 0.
    most: u64,
    size: String,
    sha256: String,
    holder: Mark,
    is_big: bool,
    opens: bool,
    why_not: Option<&'static str>,
    link: String,
    view: Option<String>,
    command: String,
}

/// A dataset, its files and one of them.
async fn found(
    hub: &Hub,
    person: &SignedIn,
    id: DatasetId,
    path: &str,
) -> Result<(Dataset, Vec<File>, File, Right), HubError> {
    let dataset = app::datasets::show(hub, &person.caller, id).await?;
    let project = app::projects::show(hub, &person.caller, dataset.project).await?;
    let files = app::manifests::files(hub, &person.caller, id).await?;
    let file = files.iter().find(|file| file.path == path).cloned();
    let file = file.ok_or_else(|| HubError::not_found("file", path))?;
    Ok((dataset, files, file, project.right))
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<DatasetId>,
    Params(asked): Params<Asked>,
) -> Result<Response, HubError> {
    let (dataset, files, file, right) = found(&hub, &person, id, &asked.file).await?;
    let opens = offered(&hub, &dataset, right);
    let why_not = if opens {
        None
    } else if right < Right::Read {
        Some("You may see that it is there, and not what is in it.")
    } else {
        Some(
            "The pages that open files in the browser are not built on this hub: `make authenticator` builds them.",
        )
    };
    let frame = Frame::of("Download a file", super::datasets::section(dataset.kind), &person.visit);
    let page = FilePage {
        frame: frame.with_built(opens.then(|| hub.built.script("download")).flatten()),
        id,
        kind: dataset.kind.as_str(),
        name: super::datasets::called(&dataset),
        most: file.bytes.max(1),
        size: words::size(file.bytes),
        sha256: file.sha256.to_string(),
        holder: words::holder(dataset.custodian),
        is_big: file.bytes >= BIG,
        opens,
        why_not,
        link: file_path(id, &file.path),
        view: viewed(&files, &file.path).filter(|_| opens).map(|_| view_path(id, &file.path)),
        command: format!(
            "chorion {} download {id} --only {}",
            dataset.kind.as_str(),
            quoted(&file.path)
        ),
        path: file.path,
    };
    let mut response = draw(&person.visit, &page)?;
    response.extensions_mut().insert(OwnPolicy(PAGE_POLICY));
    Ok(response)
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._+@".contains(&b);
    if path.bytes().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[derive(Template)]
#[template(path = "view.html")]
struct ViewPage {
    frame: Frame,
    id: DatasetId,
    name: String,
    path: String,
    size: String,
    index_size: String,
    holder: Mark,
    reference: Option<String>,
    is_cram: bool,
    view: String,
    download: String,
}

/// What the viewer's script is told.
#[derive(Serialize)]
struct Told<'a> {
    format: &'a str,
    name: &'a str,
    url: String,
    index: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fasta: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fai: Option<String>,
}

pub(super) async fn view(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<DatasetId>,
    Params(asked): Params<Asked>,
) -> Result<Response, HubError> {
    let (dataset, files, file, right) = found(&hub, &person, id, &asked.file).await?;
    let shown = viewed(&files, &file.path).filter(|_| offered(&hub, &dataset, right));
    let Some(shown) = shown else {
        // The page of the file says what can be done with it.
        return Ok(Redirect::to(&download_path(id, &file.path)).into_response());
    };
    let told = Told {
        format: shown.format,
        name: &file.path,
        url: file_path(id, &shown.file.path),
        index: file_path(id, &shown.index.path),
        fasta: shown.fasta.map(|(fasta, _)| file_path(id, &fasta.path)),
        fai: shown.fasta.map(|(_, fai)| file_path(id, &fai.path)),
    };
    let view = serde_json::to_string(&told)
        .map_err(|e| HubError::internal("the viewer cannot be told what to show", e))?;
    let frame = Frame::of("Viewer", super::datasets::section(dataset.kind), &person.visit);
    let page = ViewPage {
        frame: frame.with_built(hub.built.script("view")).without_forms(),
        id,
        name: super::datasets::called(&dataset),
        size: words::size(file.bytes),
        index_size: words::size(shown.index.bytes),
        holder: words::holder(dataset.custodian),
        reference: shown.fasta.map(|(fasta, _)| fasta.path.clone()),
        is_cram: shown.format == "cram",
        view,
        download: download_path(id, &file.path),
        path: file.path.clone(),
    };
    let mut response = draw(&person.visit, &page)?;
    response.extensions_mut().insert(OwnPolicy(viewer_policy(&person.visit.authority, id)?));
    Ok(response)
}

/// The worker's script.
pub(super) async fn worker(State(hub): State<Hub>, asked: HeaderMap) -> Result<Response, HubError> {
    let mut response = hub.built.answer(WORKER, &asked).ok_or_else(|| {
        HubError::new(ErrorCode::NotOffered, "the pages that open files are not built on this hub")
            .hint("its operator builds them with `make authenticator`; the command line opens files too")
    })?;
    response.extensions_mut().insert(OwnPolicy(WORKER_POLICY));
    Ok(response)
}

/// An opened file, where no worker answered.
pub(super) async fn file(
    _person: SignedIn,
    Ids(id, path): Ids<DatasetId, String>,
) -> Result<Response, HubError> {
    Ok(Redirect::to(&download_path(id, &path)).into_response())
}

/// With what a worker begins.
#[derive(Serialize)]
pub(super) struct Beginning {
    hub: String,
    form_token: String,
    manifest: SignedStatement,
}

pub(super) async fn begin(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<DatasetId>,
) -> Result<Json<Beginning>, HubError> {
    let manifest = app::manifests::show(&hub, &person.caller, id, None).await?;
    let form_token = person.visit.visitor.token.form_token()?;
    Ok(Json(Beginning { hub: hub.id.clone(), form_token, manifest }))
}

/// To whom a worker wants the key released, and what for.
#[derive(Deserialize)]
pub(super) struct Wanted {
    recipient: String,
    purpose: String,
}

pub(super) async fn release(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<DatasetId>,
    Form(wanted): Form<Wanted>,
) -> Result<Response, HubError> {
    let recipient = BASE64
        .decode(wanted.recipient.as_bytes())
        .map_err(|_| HubError::bad_request("the recipient is not base64"))?;
    let body = ReleaseRequest { recipient: Bytes(recipient), purpose: wanted.purpose };
    let release = app::datasets::release(&hub, &person.caller, id, body).await?;
    Ok(Json(release).into_response())
}

/// A sealed object, or a part of it, with what is kept beside it.
pub(super) async fn object(
    State(hub): State<Hub>,
    person: SignedIn,
    Ids(id, object): Ids<DatasetId, ObjectRef>,
    asked: HeaderMap,
) -> Result<Response, HubError> {
    let kept = app::objects::find(&hub, &person.caller, id, object).await?;
    let mut response = sent(&hub, &kept, &asked).await?;
    let sealed = app::datasets::with_key(&hub, id, kept).await?;
    for (name, value) in [
        (EPOCH_HEADER, sealed.epoch.to_string()),
        (WRAPPED_KEY_HEADER, BASE64.encode(&sealed.wrapped_key.0)),
    ] {
        let value = HeaderValue::try_from(value)
            .map_err(|e| HubError::internal("a header cannot be written", e))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<File> {
        let file =
            |path: &&str| File { path: (*path).to_owned(), bytes: 1, sha256: proof::sha256(b"") };
        paths.iter().map(file).collect()
    }

    #[test]
    fn what_has_an_index_beside_it_is_shown_and_nothing_else() {
        let all = files(&[
            "a.bam",
            "a.bam.bai",
            "b.bam",
            "b.bai",
            "c.bam",
            "d.cram",
            "d.cram.crai",
            "e.vcf.gz",
            "e.vcf.gz.tbi",
            "f.vcf",
            "g.vcf.gz",
            "g.vcf.gz.csi",
            "ref/h.fa",
            "ref/h.fa.fai",
        ]);
        let index = |path| viewed(&all, path).map(|v| (v.format, v.index.path.as_str()));
        assert_eq!(index("a.bam"), Some(("bam", "a.bam.bai")));
        assert_eq!(index("b.bam"), Some(("bam", "b.bai")));
        assert_eq!(index("d.cram"), Some(("cram", "d.cram.crai")));
        assert_eq!(index("e.vcf.gz"), Some(("vcf", "e.vcf.gz.tbi")));
        assert_eq!(index("g.vcf.gz"), Some(("vcf", "g.vcf.gz.csi")));
        for none in ["c.bam", "f.vcf", "a.bam.bai", "x.bam", "ref/h.fa"] {
            assert_eq!(index(none), None, "{none}");
        }
        let (fasta, fai) = viewed(&all, "a.bam").unwrap().fasta.unwrap();
        assert_eq!((fasta.path.as_str(), fai.path.as_str()), ("ref/h.fa", "ref/h.fa.fai"));
    }

    #[test]
    fn addresses_and_commands_hold_whatever_a_path_holds() {
        let id = DatasetId::from_bytes([0; 16]);
        let odd = "a b/ä&c=d#e?f'g.bam";
        let link = file_path(id, odd);
        assert!(link.ends_with("/files/a%20b/%C3%A4%26c%3Dd%23e%3Ff%27g.bam"), "{link}");
        assert!(download_path(id, odd).ends_with("?file=a%20b%2F%C3%A4%26c%3Dd%23e%3Ff%27g.bam"));
        assert_eq!(quoted("x/y.bam"), "x/y.bam");
        assert_eq!(quoted(odd), r"'a b/ä&c=d#e?f'\''g.bam'");
    }

    #[test]
    fn the_viewer_reaches_the_files_of_its_dataset_alone() {
        let id = DatasetId::from_bytes([0; 16]);
        let policy = viewer_policy("hub.example:8470", id).unwrap();
        let policy = policy.to_str().unwrap();
        let connect = policy.split("; ").find(|part| part.starts_with("connect-src")).unwrap();
        assert_eq!(connect, format!("connect-src https://hub.example:8470/open/{id}/files/ blob:"));
        for closed in ["default-src 'none'", "form-action 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(closed), "{closed}");
        }
        assert!(!policy.contains("allow-popups") && !policy.contains("allow-forms"));
    }
}
