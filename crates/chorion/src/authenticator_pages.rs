//! `chorion authenticator serve`: the authenticator's built files, and nothing else.
//!
//! It is served apart from the hub, because whoever serves it could change it. There is no data here and no call that does anything:
//! files of one folder, read at the start, with a policy under which their script can call the hubs that are named and nobody else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::report::{CliError, CliResult, Ui};

/// What can be done about the authenticator's pages.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthenticatorCommand {
    /// Serve them on this machine, until Ctrl-C. `make authenticator` builds them; any static host will do as well.
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A hub that the pages may call, as <https://HOST[:PORT]>, once for each. Start that hub with `--authenticator-origin`.
    #[arg(long = "hub", value_name = "URL", required = true)]
    hubs: Vec<String>,
    /// Where to listen, on this machine. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8471")]
    listen: SocketAddr,
    /// The folder with the built files; looked for beside this program if absent.
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
}

/// What a start says under `--json`.
#[derive(Serialize)]
struct Started {
    url: String,
    files: PathBuf,
    hashes_sha256: String,
}

const HASHES: &str = "hashes.txt";
const NOT_SNIFFED: HeaderValue = HeaderValue::from_static("nosniff");
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const EMBEDDER: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// One file, plain and compressed.
struct Page {
    media_type: &'static str,
    /// Its name holds its hash, so that a browser may keep it for ever.
    is_named_by_hash: bool,
    plain: Vec<u8>,
    compressed: Vec<(&'static str, Vec<u8>)>,
}

struct Pages {
    files: BTreeMap<String, Page>,
    policy: HeaderValue,
}

pub(crate) async fn run(command: AuthenticatorCommand, ui: Ui) -> CliResult {
    let AuthenticatorCommand::Serve(args) = command;
    if !args.listen.ip().is_loopback() {
        return Err(CliError::new(format!(
            "{} is not an address of this machine alone, and browsers give keys to no page that comes without TLS",
            args.listen
        ))
        .hint("put the files on any host that serves files over TLS, with the headers of `spec/authenticator.md` section 7"));
    }
    let folder = found(args.files.as_deref())?;
    let pages = Pages { files: read(&folder)?, policy: policy(&args.hubs)? };
    let hashes = pages.files.get(HASHES).map(|page| proof::sha256(&page.plain).0);
    let failed = |e| CliError::new(format!("nothing listens on {}", args.listen)).caused_by(e);
    let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let url = format!("http://localhost:{}", address.port());
    let sum = HEXLOWER.encode(&hashes.unwrap_or_default());
    ui.line(format!("authenticator  {url}"));
    ui.line(format!("files          {}", folder.display()));
    ui.line(format!("hashes.txt     SHA-256 {sum}"));
    for hub in &args.hubs {
        ui.line(format!("pair with      {url}/#pair={hub}"));
    }
    ui.line(format!("\nits hubs are started with: --authenticator-origin {url}"));
    ui.value(&Started { url, files: folder, hashes_sha256: sum });
    let stopped = |e| CliError::new("the program cannot wait for signals").caused_by(e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(stopped)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(stopped)?;
    let router = Router::new().fallback(answer).with_state(Arc::new(pages));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        })
        .await
        .map_err(|e| CliError::new("the pages are served no more").caused_by(e))
}

/// The folder that was named, or the one beside this program: as it is built, or as it is installed.
fn found(named: Option<&Path>) -> CliResult<PathBuf> {
    let program = std::env::current_exe().ok();
    let beside = |relative: &str| Some(program.as_deref()?.parent()?.join(relative));
    let places: Vec<PathBuf> = match named {
        Some(path) => vec![path.to_owned()],
        None => ["../web/authenticator", "../share/chorion/authenticator"]
            .into_iter()
            .filter_map(beside)
            .collect(),
    };
    let there = places.iter().find(|place| place.join(HASHES).is_file());
    there.map(|place| place.canonicalize().unwrap_or_else(|_| place.clone())).ok_or_else(|| {
        let looked: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        CliError::new(format!("the authenticator's pages are not built: not in {}", looked.join(", ")))
            .hint("`make authenticator` builds them into target/web/authenticator; name another place with --files")
    })
}

/// The files that `hashes.txt` lists, each compared with its hash.
fn read(folder: &Path) -> CliResult<BTreeMap<String, Page>> {
    let unread = |path: &Path, e: std::io::Error| {
        CliError::new(format!("{} cannot be read", path.display())).caused_by(e)
    };
    let list = folder.join(HASHES);
    let text = std::fs::read_to_string(&list).map_err(|e| unread(&list, e))?;
    let mut files = BTreeMap::new();
    for line in text.lines() {
        let (sum, name) = line
            .split_once("  ")
            .filter(|(_, name)| !name.contains('/'))
            .ok_or_else(|| CliError::new(format!("{} is no list of hashes", list.display())))?;
        let path = folder.join(name);
        let plain = std::fs::read(&path).map_err(|e| unread(&path, e))?;
        if HEXLOWER.encode(&proof::sha256(&plain).0) != sum {
            return Err(CliError::new(format!("{} is not the file of this build", path.display()))
                .hint("build the pages again: `make authenticator`"));
        }
        let compressed = [("br", "br"), ("gzip", "gz")].into_iter().filter_map(|(coding, end)| {
            Some((coding, std::fs::read(folder.join(format!("{name}.{end}"))).ok()?))
        });
        let compressed = compressed.collect();
        let is_named_by_hash = name.contains('-');
        let media_type = media_type(name);
        files.insert(name.to_owned(), Page { media_type, is_named_by_hash, plain, compressed });
    }
    let plain = text.into_bytes();
    let media_type = media_type(HASHES);
    let hashes = Page { media_type, is_named_by_hash: false, plain, compressed: Vec::new() };
    files.insert(HASHES.to_owned(), hashes);
    Ok(files)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "webmanifest" => "application/manifest+json",
        _ => "text/plain; charset=utf-8",
    }
}

/// What a page may do: run the script and the module of this origin, call the named hubs, and turn no text into markup or code. One
/// Trusted Types policy may be made, for the address of the service worker.
fn policy(hubs: &[String]) -> CliResult<HeaderValue> {
    let is_origin = |hub: &&String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        hub.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain))
    };
    if let Some(wrong) = hubs.iter().find(|hub| !is_origin(hub)) {
        return Err(CliError::new(format!("`{wrong}` is no address of a hub"))
            .hint("it has the form https://HOST:PORT, with nothing after it"));
    }
    let text = format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' {}; style-src 'self'; img-src 'self'; \
         manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types chorion-worker",
        hubs.join(" ")
    );
    HeaderValue::from_str(&text)
        .map_err(|e| CliError::new("the hubs cannot be named to a browser").caused_by(e))
}

async fn answer(State(pages): State<Arc<Pages>>, request: Request) -> Response {
    let mut response = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, path) => file(&pages, path, request.headers()),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, pages.policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOT_SNIFFED);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER, HeaderValue::from_static("same-origin"));
    headers.insert(EMBEDDER, HeaderValue::from_static("require-corp"));
    headers.insert(
        PERMISSIONS,
        HeaderValue::from_static(
            "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    );
    response
}

fn file(pages: &Pages, path: &str, asked: &HeaderMap) -> Response {
    let name = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
    let Some(page) = pages.files.get(name) else {
        return (StatusCode::NOT_FOUND, "there is no such file here\n").into_response();
    };
    let takes = asked.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let takes: Vec<&str> =
        takes.split(',').filter_map(|one| one.split(';').next()).map(str::trim).collect();
    let small = page.compressed.iter().find(|(coding, _)| takes.contains(coding));
    let kept = if page.is_named_by_hash {
        "public, max-age=31536000, immutable"
    } else {
        // The page and its worker are looked at anew: what they name are the files of one version.
        "no-cache"
    };
    let headers =
        [(CONTENT_TYPE, page.media_type), (CACHE_CONTROL, kept), (VARY, "Accept-Encoding")];
    match small {
        Some((coding, bytes)) => {
            (headers, [(CONTENT_ENCODING, *coding)], bytes.clone()).into_response()
        }
        None => (headers, page.plain.clone()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(folder: &Path) {
        let page = b"<!doctype html>";
        std::fs::write(folder.join("index.html"), page).unwrap();
        std::fs::write(folder.join("index.html.br"), b"small").unwrap();
        let sum = HEXLOWER.encode(&proof::sha256(page).0);
        std::fs::write(folder.join(HASHES), format!("{sum}  index.html\n")).unwrap();
    }

    #[test]
    fn files_that_are_not_those_of_the_build_are_not_served() {
        let folder = tempfile::tempdir().unwrap();
        assert!(found(Some(folder.path())).unwrap_err().to_string().contains("not built"));
        built(folder.path());
        assert_eq!(read(&found(Some(folder.path())).unwrap()).unwrap().len(), 2);
        std::fs::write(folder.path().join("index.html"), "changed").unwrap();
        let said = read(folder.path()).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("is not the file of this build"), "{said}");
    }

    #[test]
    fn a_policy_names_hubs_and_nothing_else() {
        let policy = |hub: &str| policy(&[hub.to_owned()]).map(|p| p.to_str().unwrap().to_owned());
        let good = policy("https://hub.example:8470").unwrap();
        assert!(good.contains("connect-src 'self' https://hub.example:8470;"), "{good}");
        for bad in ["https://", "http://hub.example", "https://a; script-src *", "https://h/path"] {
            assert!(policy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_browser_gets_the_small_file_if_it_takes_it_and_no_path_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        built(folder.path());
        let pages = Pages {
            files: read(folder.path()).unwrap(),
            policy: policy(&["https://h".to_owned()]).unwrap(),
        };
        let mut asked = HeaderMap::new();
        assert!(!file(&pages, "/", &asked).headers().contains_key(CONTENT_ENCODING));
        asked.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br;q=1"));
        assert_eq!(file(&pages, "/", &asked).headers()[CONTENT_ENCODING], "br");
        for path in ["/../hashes.txt", "/index.html.br", "/etc/passwd", "//"] {
            assert_eq!(file(&pages, path, &asked).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
