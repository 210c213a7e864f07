//! The website: pages drawn by the server, which work without a script and load nothing from anywhere else.
//!
//! A page asks `app` for what it shows and does, as the calls of `http` do, so our own pages prove the API. What a browser
//! holds is a cookie (`app::sign_in`); every form carries a token that follows from that cookie, and is taken only from a
//! page of this hub. Acts that cannot be undone take a [`guard::FreshSession`], which only somebody who proved to be there
//! within minutes has: a handler that asks for it cannot forget to check.

mod account;
mod apps;
mod assets;
mod built;
mod cases;
mod compressed;
mod datasets;
mod device;
mod guard;
mod home;
mod import;
mod institution;
mod key_set_up;
mod launch;
mod members;
mod new_case;
mod new_project;
mod notices;
mod open;
mod operator;
mod organization_key;
mod organizations;
mod passkey;
mod plot;
mod projects;
mod qr;
mod runs;
mod sessions;
mod sign_in;
mod vaults;
mod view;
mod visit;
mod words;

pub(crate) use self::built::Built;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::HubError;
#[cfg(test)]
use crate::http::open::Open;
use crate::state::Hub;

/// One list makes both the routes and what `spec/unsigned.md` says of them, so that no page answers that is not in it.
macro_rules! pages {
    ($($method:ident $verb:literal $path:literal $handler:path, $because:literal;)+) => {
        /// Every page and form: none of them is signed.
        #[cfg(test)]
        pub(crate) const PAGES: &[Open] = &[
            $(Open { method: $verb, path: $path, because: $because },)+
        ];

        fn routes() -> Router<Hub> {
            Router::new()$(.route($path, $method($handler)))+
        }
    };
}

pages! {
    get "GET" "/" home::page, "the first page says what this is";
    get "GET" "/assets/{file}" assets::file, "style, script and icon are the same for everybody";
    get "GET" "/sign-in" sign_in::page, "nobody is signed in before";
    post "POST" "/sign-in" sign_in::with_password, "a name and a password; form token, tries are slowed down";
    get "GET" "/first-password" sign_in::first_page, "nobody is signed in before";
    post "POST" "/first-password" sign_in::first, "a one-time code; form token";
    get "GET" "/confirm" sign_in::confirm_page, "session; asks who is there once more";
    post "POST" "/confirm" sign_in::confirm, "session, form token, password";
    post "POST" "/sign-out" sign_in::sign_out, "session, form token";
    get "GET" "/device" device::page, "session; the code that a machine shows is typed here";
    post "POST" "/device" device::look, "session, form token, fresh sign-in";
    post "POST" "/device/approve" device::approve, "session, form token, fresh sign-in";
    post "POST" "/device/refuse" device::refuse, "session, form token";
    get "GET" "/account" account::page, "session";
    get "GET" "/account/password" account::password_page, "session, fresh sign-in";
    post "POST" "/account/password" account::password, "session, form token, fresh sign-in";
    post "POST" "/sign-in/passkey/options" passkey::options, "form token; what a browser asks a passkey";
    post "POST" "/sign-in/passkey" passkey::sign_in, "a passkey's signature; form token";
    post "POST" "/confirm/passkey" passkey::confirm, "session, form token, a passkey's signature";
    get "GET" "/sign-in/institution" institution::set_out, "nobody is signed in before; sends to the institution";
    get "GET" "/sign-in/institution/return" institution::come_back, "a state that this browser was given, the institution's signature";
    post "POST" "/sign-in/institution/link" institution::link_by_code, "a one-time code; form token";
    get "GET" "/confirm/institution" institution::confirm, "session; sends to the institution, which asks anew";
    get "GET" "/account/passkeys/add" passkey::add_page, "session, fresh sign-in";
    post "POST" "/account/passkeys/options" passkey::options_to_add, "session, form token, fresh sign-in";
    post "POST" "/account/passkeys" passkey::add, "session, form token, fresh sign-in";
    get "GET" "/account/passkeys/{id}/remove" passkey::remove_page, "session, fresh sign-in";
    post "POST" "/account/passkeys/{id}/remove" passkey::remove, "session, form token, fresh sign-in";
    post "POST" "/account/browsers/{id}/end" account::end_browser, "session, form token";
    post "POST" "/account/browsers/end-others" account::end_others, "session, form token";
    post "POST" "/account/sign-ons/{id}/end" account::end_shift, "session, form token";
    get "GET" "/account/keys/{id}/revoke" account::revoke_page, "session, fresh sign-in";
    post "POST" "/account/keys/{id}/revoke" account::revoke, "session, form token, fresh sign-in";
    get "GET" "/runs" datasets::runs, "session";
    get "GET" "/samples" datasets::samples, "session";
    get "GET" "/results" datasets::results, "session";
    get "GET" "/datasets/{id}" datasets::page, "session";
    get "GET" "/datasets/{id}/live" runs::now, "session";
    get "GET" "/open/worker.js" open::worker, "a script, the same for everybody";
    get "GET" "/open/{id}" open::page, "session";
    get "GET" "/open/{id}/view" open::view, "session; under a policy of its own";
    get "GET" "/open/{id}/files/{*path}" open::file, "session; answered inside the browser, or sent to the page that brings what answers";
    get "GET" "/open/{id}/begin" open::begin, "session; the signed manifest and the form token";
    get "GET" "/open/{id}/objects/{object}" open::object, "session; sealed bytes";
    post "POST" "/open/{id}/release" open::release, "session, form token; the key wrapped to a named recipient";
    get "GET" "/datasets/{id}/delete" datasets::delete_page, "session, fresh sign-in";
    post "POST" "/datasets/{id}/delete" datasets::delete, "session, form token, fresh sign-in";
    get "GET" "/projects" projects::list, "session";
    get "GET" "/projects/new" new_project::page, "session";
    post "POST" "/projects/new" new_project::make, "session, form token";
    get "GET" "/projects/{id}" projects::page, "session";
    get "GET" "/projects/{id}/delete" projects::delete_page, "session, fresh sign-in";
    post "POST" "/projects/{id}/delete" projects::delete, "session, form token, fresh sign-in";
    get "GET" "/projects/{id}/import" import::page, "session";
    post "POST" "/projects/{id}/import" import::fill_in, "session, form token";
    get "GET" "/projects/{id}/members" members::list, "session";
    post "POST" "/projects/{id}/members" members::add, "session, form token, fresh sign-in";
    post "POST" "/projects/{id}/members/{account}" members::change, "session, form token, fresh sign-in";
    post "POST" "/projects/{id}/members/{account}/remove" members::remove, "session, form token, fresh sign-in";
    get "GET" "/projects/{id}/leave" members::leave_page, "session";
    post "POST" "/projects/{id}/leave" members::leave, "session, form token";
    get "GET" "/projects/{id}/transfer" members::offer_page, "session, fresh sign-in";
    post "POST" "/projects/{id}/transfer" members::offer, "session, form token, fresh sign-in";
    get "GET" "/projects/{id}/cases" cases::list, "session";
    post "POST" "/projects/{id}/cases/search" cases::search, "session, form token";
    get "GET" "/projects/{id}/cases/new" new_case::page, "session";
    post "POST" "/projects/{id}/cases/new" new_case::add, "session, form token";
    get "GET" "/cases/{id}" cases::page, "session";
    post "POST" "/cases/{id}/read" cases::read, "session, form token";
    post "POST" "/cases/{id}/datasets" cases::link, "session, form token";
    post "POST" "/cases/{id}/datasets/{dataset}/remove" cases::unlink, "session, form token";
    post "POST" "/cases/{id}/conclude" cases::conclude, "session, form token";
    post "POST" "/cases/{id}/close" cases::close, "session, form token";
    get "GET" "/cases/{id}/delete" cases::delete_page, "session, fresh sign-in";
    post "POST" "/cases/{id}/delete" cases::delete, "session, form token, fresh sign-in";
    get "GET" "/organizations" organizations::list, "session";
    get "GET" "/organizations/{id}" organizations::page, "session";
    post "POST" "/organizations/{id}/members" organizations::invite, "session, form token, fresh sign-in";
    post "POST" "/organizations/{id}/members/{account}" organizations::set_role, "session, form token, fresh sign-in";
    post "POST" "/organizations/{id}/members/{account}/disable" organizations::disable, "session, form token, fresh sign-in";
    post "POST" "/organizations/{id}/members/{account}/remove" organizations::remove, "session, form token, fresh sign-in";
    get "GET" "/organizations/{id}/key" organization_key::page, "session";
    post "POST" "/organizations/{id}/key/test" organization_key::test, "session, form token, fresh sign-in";
    get "GET" "/organizations/{id}/key/set" key_set_up::page, "session, fresh sign-in";
    post "POST" "/organizations/{id}/key/set" key_set_up::set, "session, form token, fresh sign-in";
    get "GET" "/organizations/{id}/key/policy" key_set_up::grants, "session";
    post "POST" "/organizations/{id}/key/rotate" organization_key::rotate, "session, form token, fresh sign-in";
    get "GET" "/organizations/{id}/key/recovery" organization_key::recovery, "session, fresh sign-in";
    post "POST" "/organizations/{id}/key/recovery/stored" organization_key::recovery_stored, "session, form token, fresh sign-in";
    get "GET" "/organizations/{id}/key/drill" organization_key::drill_page, "session";
    post "POST" "/organizations/{id}/key/drill" organization_key::drill, "session, form token";
    get "GET" "/organizations/{id}/fields" cases::fields, "session";
    post "POST" "/organizations/{id}/fields/{field}/on" cases::field_on, "session, form token, fresh sign-in";
    post "POST" "/organizations/{id}/fields/{field}/off" cases::field_off, "session, form token, fresh sign-in";
    get "GET" "/transfers/{id}/accept" projects::accept_page, "session, fresh sign-in";
    post "POST" "/transfers/{id}/accept" projects::accept, "session, form token, fresh sign-in";
    post "POST" "/transfers/{id}/refuse" projects::refuse, "session, form token";
    post "POST" "/transfers/{id}/withdraw" projects::withdraw, "session, form token";
    get "GET" "/sessions" sessions::list, "session";
    get "GET" "/sessions/{id}" sessions::page, "session";
    get "GET" "/sessions/{id}/live" sessions::now, "session";
    post "POST" "/sessions/{id}/cancel" sessions::cancel, "session, form token";
    get "GET" "/apps" apps::list, "session";
    get "GET" "/apps/{id}" apps::page, "session";
    get "GET" "/apps/{id}/launch" launch::page, "session";
    post "POST" "/apps/{id}/launch" launch::launch, "session, form token";
    get "GET" "/vaults" vaults::page, "session";
    get "GET" "/notices" notices::list, "session";
    post "POST" "/notices/{id}/read" notices::read, "session, form token";
    get "GET" "/hub" operator::page, "session of an operator";
    post "POST" "/hub/blocks" operator::block, "session of an operator, form token, fresh sign-in";
    post "POST" "/hub/blocks/{id}/lift" operator::lift, "session of an operator, form token, fresh sign-in";
}

/// The pages, and the answer to whatever is not there.
pub(crate) fn pages(hub: &Hub) -> Router<Hub> {
    routes()
        .fallback(async |uri: http::Uri| HubError::not_found("such path as", uri.path()))
        .layer(from_fn_with_state(hub.clone(), visit::layer))
        .layer(compressed::layer())
}
