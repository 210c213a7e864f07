//! HTTP: parses calls, chooses status codes, and knows nothing else. One file per noun, each with its `routes`.
//!
//! A call passes five layers before its handler: `cors` says to browsers which pages elsewhere may call; `finish` gives it an id and turns whatever comes back that is no success
//! into a problem document; `gate` turns away who is blocked or calls too often; `auth` verifies the signature, the digest and the nonce, unless the call is on the list in
//! `open`; the router finds the handler. Handlers parse with the extractors of `extract` and `page` and call `app`.

mod accounts;
mod approvals;
mod apps;
mod audit;
pub(crate) mod auth;
mod blocks;
mod cases;
mod cors;
pub(crate) mod datasets;
mod device;
pub(crate) mod extract;
pub(crate) mod finish;
mod gate;
mod handovers;
mod instruments;
mod keys;
mod manifests;
mod notices;
pub(crate) mod objects;
pub(crate) mod open;
pub(crate) mod organization_keys;
mod organizations;
pub(crate) mod page;
mod projects;
mod refusals;
mod rest;
mod runs;
mod sessions;
mod store_admin;
mod tasks;
mod transfers;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

pub(crate) use self::cors::Authenticators;
use crate::state::Hub;

/// What stands at the head of the document of all calls.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Chorion hub",
        description = "Every call under `/api/` is signed: RFC 9421 HTTP Message Signatures with Ed25519 over \
                       `@method`, `@target-uri`, `content-digest` and every `chorion-` header (`spec/signed-calls.md`). \
                       Every refusal is a problem document (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(api::Problem, api::ListOrder))
)]
struct Document;

/// Every noun's calls.
fn nouns() -> OpenApiRouter<Hub> {
    let signed = OpenApiRouter::default()
        .merge(accounts::routes())
        .merge(keys::routes())
        .merge(device::routes())
        .merge(instruments::routes())
        .merge(organizations::routes())
        .merge(organization_keys::routes())
        .merge(projects::routes())
        .merge(transfers::routes())
        .merge(datasets::routes())
        .merge(objects::routes())
        .merge(manifests::routes())
        .merge(runs::routes())
        .merge(cases::routes())
        .merge(apps::routes())
        .merge(sessions::routes())
        .merge(tasks::routes())
        .merge(approvals::routes())
        .merge(handovers::routes())
        .merge(notices::routes())
        .merge(audit::routes())
        .merge(blocks::routes())
        .merge(refusals::routes())
        .merge(store_admin::routes());
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(open::routes())
        .nest(api::API_PREFIX, signed)
}

/// The document of every call (`OpenAPI` 3.1), as `GET /openapi.json` serves it and `crates/hub/openapi.json` keeps it.
pub fn openapi() -> String {
    let mut document = nouns().into_openapi();
    // The router marks a parameter that takes the rest of a path; the document has one spelling for all.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths =
        paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete] {
            operation.iter_mut().for_each(complete);
        }
    }
    let description = document.info.description.get_or_insert_default();
    description.push_str(" These answer unsigned:");
    for open::Open { method, path, because } in open::OPEN {
        description.push_str(&format!(" `{method} {path}` ({because});"));
    }
    description.push_str(" and the website's pages (`spec/unsigned.md`).");
    let mut text = document
        .to_pretty_json()
        .expect("the document serializes because it holds texts, lists and records");
    text.push('\n');
    text
}

/// What is true of every call: its id is one of a kind, and a refusal is a problem document.
fn complete(operation: &mut Operation) {
    let noun = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    if let Some(id) = &mut operation.operation_id {
        *id = format!("{noun}_{id}");
    }
    let problem = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(problem)).build();
    let refusal = ResponseBuilder::new()
        .description("Not done, and why.")
        .content("application/problem+json", content)
        .build();
    operation.responses.responses.insert("default".to_owned(), refusal.into());
}

/// The whole service: the calls, and beside them `pages`, which answer whatever no call does.
pub(crate) fn service(hub: Hub, pages: Router<Hub>) -> Router {
    nouns()
        .split_for_parts()
        .0
        .merge(pages)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(hub.clone(), auth::layer))
        .layer(from_fn_with_state(hub.clone(), gate::layer))
        .layer(from_fn_with_state(hub.clone(), finish::layer))
        .layer(from_fn_with_state(hub.clone(), cors::layer))
        .with_state(hub)
}
