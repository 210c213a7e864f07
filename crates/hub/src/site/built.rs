//! What is built for pages that open files in the browser: a worker, its WASM module, the viewer.
//!
//! None of it is in the program; an operator who did not build it has a website that says so and names the command line. The folder is
//! read once, at the start, against its list of hashes.

use std::collections::BTreeMap;
use std::path::Path;

use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::StartError;

const HASHES: &str = "hashes.txt";
/// The script of the worker, whose address has to stay the same.
pub(super) const WORKER: &str = "worker.js";

/// The built files, by name.
#[derive(Debug, Default)]
pub(crate) struct Built(BTreeMap<String, File>);

#[derive(Debug)]
struct File {
    media_type: &'static str,
    plain: Bytes,
    /// Coding and bytes, the smallest first.
    compressed: Vec<(&'static str, Bytes)>,
}

impl Built {
    /// The files of a folder that `web/build.sh` made; none where there is no folder.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self, StartError> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| StartError::File { act: "read", path, source })
        };
        let mut files = BTreeMap::new();
        for line in String::from_utf8_lossy(&read(HASHES)?).lines() {
            let (sum, name) =
                line.split_once("  ").filter(|(_, name)| !name.contains('/')).unwrap_or_default();
            let plain = read(name)?;
            if proof::sha256(&plain).to_string() != sum {
                return Err(StartError::Pages { path: folder.join(name) });
            }
            let mut compressed = Vec::new();
            for (coding, end) in [("br", "br"), ("gzip", "gz")] {
                compressed.push((coding, Bytes::from(read(&format!("{name}.{end}"))?)));
            }
            let media_type = match name.rsplit_once('.').map_or("", |(_, end)| end) {
                "js" => "text/javascript; charset=utf-8",
                "wasm" => "application/wasm",
                _ => "text/plain; charset=utf-8",
            };
            let file = File { media_type, plain: plain.into(), compressed };
            files.insert(name.to_owned(), file);
        }
        Ok(Self(files))
    }

    /// Whether there is what opens files.
    pub(super) fn is_there(&self) -> bool {
        self.0.contains_key(WORKER)
    }

    /// The address of the script that begins with `stem` and goes on with its hash.
    pub(super) fn script(&self, stem: &str) -> Option<String> {
        let of = |name: &&String| {
            name.strip_prefix(stem)
                .is_some_and(|rest| rest.starts_with('-') && rest.ends_with(".js"))
        };
        self.0.keys().find(of).map(|name| format!("/assets/{name}"))
    }

    /// A file, in a coding that the browser takes; one whose name holds its hash is kept for ever.
    pub(super) fn answer(&self, name: &str, asked: &HeaderMap) -> Option<Response> {
        let file = self.0.get(name)?;
        let taken = asked.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
        let takes = |coding: &str| {
            taken.split(',').any(|one| one.split(';').next().unwrap_or_default().trim() == coding)
        };
        let keep = if name == WORKER { "no-cache" } else { "public, max-age=31536000, immutable" };
        let headers =
            [(CONTENT_TYPE, file.media_type), (CACHE_CONTROL, keep), (VARY, "accept-encoding")];
        Some(match file.compressed.iter().find(|(coding, _)| takes(coding)) {
            Some((coding, bytes)) => {
                let coding = [(CONTENT_ENCODING, HeaderValue::from_static(coding))];
                (headers, coding, bytes.clone()).into_response()
            }
            None => (headers, file.plain.clone()).into_response(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut list = String::new();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            for end in ["br", "gz"] {
                std::fs::write(folder.path().join(format!("{name}.{end}")), end).unwrap();
            }
            list.push_str(&format!("{}  {name}\n", proof::sha256(bytes)));
        }
        std::fs::write(folder.path().join(HASHES), list).unwrap();
        folder
    }

    #[test]
    fn built_files_are_those_of_the_list_and_come_as_small_as_the_browser_takes_them() {
        let folder = folder(&[(WORKER, b"w"), ("view-0123.js", b"v"), ("opener-4567.wasm", b"o")]);
        let built = Built::read(Some(folder.path())).unwrap();
        assert!(built.is_there());
        assert_eq!(built.script("view").as_deref(), Some("/assets/view-0123.js"));
        assert_eq!(built.script("vie"), None);
        let asked = |text: &'static str| {
            HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(text))])
        };
        let coding = |text| {
            let answer = built.answer("opener-4567.wasm", &asked(text)).unwrap();
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/wasm");
            answer.headers().get(CONTENT_ENCODING).map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(coding("gzip, deflate, br;q=1.0").as_deref(), Some("br"));
        assert_eq!(coding("gzip").as_deref(), Some("gzip"));
        assert_eq!(coding("identity"), None);
        let worker = built.answer(WORKER, &HeaderMap::new()).unwrap();
        assert_eq!(worker.headers()[CACHE_CONTROL], "no-cache");
        assert!(built.answer(HASHES, &HeaderMap::new()).is_none());
        assert!(built.answer("../secret", &HeaderMap::new()).is_none());

        std::fs::write(folder.path().join(WORKER), "another").unwrap();
        assert!(matches!(Built::read(Some(folder.path())), Err(StartError::Pages { .. })));
        assert!(!Built::read(None).unwrap().is_there());
    }
}
