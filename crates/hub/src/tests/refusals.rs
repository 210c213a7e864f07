//! Every call that the document lists is refused without a signature. Who else is refused stands in `coverage`.

use std::collections::BTreeSet;

use api::ErrorCode;
use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::testing::{AUTHORITY, TestHub, compare_snapshot};

/// Every call of the document: method and path.
pub(super) fn operations() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&crate::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if ["get", "put", "post", "delete", "patch", "head"].contains(&method.as_str()) {
                all.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    all
}

#[test]
fn the_openapi_document_is_the_one_that_is_kept() {
    let document: Value = serde_json::from_str(&crate::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    compare_snapshot("openapi.json", &crate::openapi());
}

#[tokio::test]
async fn every_call_but_the_open_ones_is_refused_unsigned_with_a_reason() {
    let hub = TestHub::start().await;
    let mut refused = 0;
    for (method, path) in operations() {
        let filled = path
            .split('/')
            .map(|part| if part.starts_with('{') { "0" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let request = Request::builder()
            .method(method.as_str())
            .uri(&filled)
            .header("host", AUTHORITY)
            .body(Body::empty())
            .unwrap();
        let answer = hub.send(request).await;
        if crate::http::open::is_open(&method.parse().unwrap(), &path) {
            assert!(answer.status.is_success(), "{method} {path}");
            continue;
        }
        let problem = answer.problem();
        assert_eq!((problem.status, problem.code), (401, ErrorCode::Unsigned), "{method} {path}");
        assert!(!problem.title.is_empty() && problem.hint.is_some());
        refused += 1;
    }
    assert!(refused > 50, "the document lists the calls");
}

#[test]
fn every_call_of_a_noun_has_one_id_in_the_document() {
    let document: Value = serde_json::from_str(&crate::openapi()).unwrap();
    let mut seen = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Some(id) = operation["operationId"].as_str() {
                assert!(seen.insert(id.to_owned()), "{method} {path}: `{id}` is there twice");
            }
        }
    }
}
