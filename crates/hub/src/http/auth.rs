//! The signature of every call under `/api/` (`spec/signed-calls.md`), verified before anything else looks at it.
//!
//! The signature covers the digest of the body, so it is verified on the headers alone: a stranger cannot make the hub
//! read a large body. Then the body is read and hashed as it arrives, while the nonce goes to the disk beside it, and the
//! digest is handed on with the body, so that nobody hashes it again.

use std::net::IpAddr;

use api::{Digest, ErrorCode, KeyId, RequestId, SignedStatement, Time};
use aws_lc_rs::digest::{Context, SHA256};
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use proof::{Call, CallError, MAX_SKEW_SECONDS, ParsedCall, PublicKey, parse_content_digest};
use serde::Deserialize;
use std::time::Duration;

use super::open;
use crate::HubError;
use crate::app::{Caller, Who};
use crate::data;
use crate::data::keys::Signer;
use crate::error::Wait;
use crate::gate::{NoRoom, Room, Whose};
use crate::state::Hub;

/// The largest JSON body.
pub(crate) const JSON_BYTES: usize = 1024 * 1024;
/// The largest body of an object.
pub(crate) const OBJECT_BYTES: usize = seal::MAX_OBJECT_BYTES;
/// The largest body that is read before its signature can be verified.
const PRESENTED_BYTES: usize = 64 * 1024;
/// How long such a body may take, and a form.
pub(crate) const SMALL_BODY: Duration = Duration::from_secs(10);
/// How long a body may pause.
const PAUSE: Duration = Duration::from_secs(30);
/// How long any body may take, and the slowest line that is put up with beyond that, in bytes a second.
const BODY: Duration = Duration::from_secs(60);
const SLOWEST_LINE: usize = 8 * 1024;

/// Where a call comes from: the address of the connection, whatever headers say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The digest of a body that is what its signed `Content-Digest` says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VerifiedBody {
    /// The SHA-256 of the body.
    pub(crate) digest: Digest,
}

/// The key that signed a call which brings its own key; it stands for nothing but itself.
#[derive(Debug, Clone)]
pub(crate) struct Presented {
    /// The key.
    pub(crate) key: PublicKey,
    /// The call's id.
    pub(crate) request: RequestId,
    /// When the call arrived.
    pub(crate) at: Time,
}

/// The call's id and the moment it arrived; `finish` puts it in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) request: RequestId,
    pub(crate) at: Time,
}

/// A call from a place that is blocked or in debt counts only if a known key signed it; otherwise this is the answer.
#[derive(Debug, Clone)]
pub(super) struct OnlyKnown(pub(super) HubError);

/// Why a call was not verified, and whether a known key signed it all the same.
struct Unverified {
    error: HubError,
    known: bool,
}

impl From<HubError> for Unverified {
    fn from(error: HubError) -> Self {
        Self { error, known: false }
    }
}

/// The largest body that a call takes.
fn most_bytes(method: &Method, path: &str) -> usize {
    let segments: Vec<&str> = path.split('/').collect();
    match segments[..] {
        ["", "api", "v1", "datasets", _, "objects", _] if method == Method::PUT => OBJECT_BYTES,
        _ => JSON_BYTES,
    }
}

/// Lets a call through that is signed, or on the list of those that need not be.
pub(super) async fn layer(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    if method == Method::OPTIONS {
        return open::options();
    }
    let under_api = path == "/api" || path.starts_with("/api/");
    if !under_api && !open::is_open(method, path) {
        // Pages have sessions and forms of their own (`site`), and bound what they read.
        return next.run(request).await;
    }
    if open::is_open(method, path) {
        // An unsigned call has no body that anybody would read.
        let (parts, _body) = request.into_parts();
        return next.run(Request::from_parts(parts, Body::empty())).await;
    }
    let most = most_bytes(method, path);
    let only_known = request.extensions().get::<OnlyKnown>().cloned();
    match verify(&hub, request, most).await {
        // The room is held until the answer is there: a body is in memory as long as its handler works.
        Ok((request, _room)) => {
            let caller = request.extensions().get::<Caller>().cloned();
            let mut response = next.run(request).await;
            if let Some(caller) = caller {
                response.extensions_mut().insert(caller);
            }
            response
        }
        Err(Unverified { error, known }) => match only_known {
            Some(OnlyKnown(turned_away)) if !known => super::gate::ending(turned_away),
            _ => error.into_response(),
        },
    }
}

async fn verify(hub: &Hub, request: Request, most: usize) -> Result<(Request, Room), Unverified> {
    let (mut parts, body) = request.into_parts();
    let arrival = *parts
        .extensions
        .get::<Arrival>()
        .ok_or_else(|| HubError::internal("the call has no id", "a layer is missing"))?;
    let parsed = ParsedCall::parse(
        one(&parts.headers, "signature-input")?,
        one(&parts.headers, "signature")?,
    )
    .map_err(refusal)?;
    parsed.check_time(arrival.at.as_second()).map_err(refusal)?;
    let authority = authority(&parts)?.to_owned();
    if !hub.names.is_own(&authority) {
        return Err(HubError::new(
            ErrorCode::BadSignature,
            format!("the call is for `{authority}`, which is no name of this hub"),
        )
        .hint(format!(
            "this hub is {}; an operator adds names with `chorion serve --name`",
            hub.names.authorities().join(", ")
        ))
        .into());
    }
    let path_and_query = parts.uri.path_and_query().map_or("/", |pq| pq.as_str());
    let target_uri = format!("https://{authority}{path_and_query}");
    let Some(content_digest) = one(&parts.headers, "content-digest")? else {
        return Err(refusal(CallError::NotCovered("content-digest".to_owned())).into());
    };
    let digest = parse_content_digest(content_digest).map_err(refusal)?;
    let headers = covered(&parts.headers)?;
    let call = Call {
        method: parts.method.as_str(),
        target_uri: &target_uri,
        content_digest,
        headers: &headers,
    };

    let (bytes, room) = if open::brings_its_key(&parts.method, parts.uri.path()) {
        let expected = expected(&body, &parts.headers, PRESENTED_BYTES)?;
        let room = room(hub, whose(hub, &parts).await?, expected).await?;
        let bytes = read(body, expected, digest, SMALL_BODY).await?;
        let key = presented_key(&bytes)?;
        parsed.verify(&call, &key).map_err(refusal)?;
        count_once(hub, &parsed).await?;
        parts.extensions.insert(Presented { key, request: arrival.request, at: arrival.at });
        (bytes, room)
    } else {
        let signer = data::keys::signer_seen(&hub.db, parsed.key, arrival.at).await?;
        let (public_key, who) = known(parsed.key, signer)?;
        parsed.verify(&call, &public_key).map_err(refusal)?;
        // From here on the key answers for the call.
        let known = |error| Unverified { error, known: true };
        super::gate::showed_a_key(hub, &parts);
        hub.gate.admit_key(parsed.key, arrival.at).map_err(known)?;
        let expected = expected(&body, &parts.headers, most).map_err(known)?;
        let room = room(hub, Whose::Key(parsed.key), expected).await.map_err(known)?;
        let slowest = BODY + Duration::from_secs((expected / SLOWEST_LINE) as u64);
        let (bytes, ()) = tokio::try_join!(read(body, expected, digest, slowest), async {
            count_once(hub, &parsed).await?;
            // Only now its share pays: a call that somebody else sends again costs its signer nothing.
            super::gate::verified(hub, &parts, parsed.key, arrival.at);
            Ok::<(), HubError>(())
        })
        .map_err(known)?;
        let seen = hub.db.seen().clone();
        parts.extensions.insert(Caller { who, request: arrival.request, at: arrival.at, seen });
        (bytes, room)
    };
    parts.extensions.insert(VerifiedBody { digest });
    Ok((Request::from_parts(parts, Body::from(bytes)), room))
}

/// In whose room the body of a call waits that brings its key. A vault that is expected does not wait with strangers: they
/// do not know which tasks there are.
async fn whose(hub: &Hub, parts: &Parts) -> Result<Whose, HubError> {
    if let Some(task) = open::claimed(&parts.method, parts.uri.path())
        && data::tasks::is_expected(&mut *hub.db.read().await?, task).await?
    {
        return Ok(Whose::Vault(task));
    }
    Ok(Whose::Stranger(hub.gate.from(parts.extensions.get::<Peer>().map(|peer| peer.0))))
}

/// Who signs with the key that the signature names.
fn known(id: KeyId, signer: Option<Signer>) -> Result<(PublicKey, Who), HubError> {
    match signer {
        Some(Signer::Account { key, point, account }) => {
            Ok((point, Who::Account { account, key: *key }))
        }
        Some(Signer::Instrument { key, point, account, technician }) => {
            let id = api::InstrumentId::from_bytes(account.id.to_bytes());
            Ok((point, Who::Instrument { id, account, key: *key, technician }))
        }
        Some(Signer::Vault { point, task, owner }) => {
            Ok((point, Who::Vault { task, owner, key: point }))
        }
        None => Err(HubError::new(
            ErrorCode::UnknownKey,
            format!("key {id} is not known here, was revoked, or has expired"),
        )
        .hint("enrol with a one-time code, or add this key from one that still signs")),
    }
}

/// Keeps the nonce, or says that the call was made before. The call's age is looked at once more: it may have waited for
/// room longer than its nonce is kept.
async fn count_once(hub: &Hub, parsed: &ParsedCall) -> Result<(), HubError> {
    const SECOND: i64 = 1_000_000;
    let now = hub.now();
    parsed.check_time(now.as_second()).map_err(refusal)?;
    let expires = parsed.created.saturating_add(MAX_SKEW_SECONDS + 1).saturating_mul(SECOND);
    let now = data::micros(now);
    if hub.nonces.is_new(parsed.key, &parsed.nonce, now, expires).await? {
        hub.uses.note(&hub.db, parsed.key, now).await
    } else {
        Err(HubError::new(ErrorCode::Replay, "this call was made before: its nonce is used")
            .hint("sign it anew, with a new nonce"))
    }
}

/// Waits until there is room in memory for a body of so many bytes.
pub(crate) async fn room(hub: &Hub, whose: Whose, bytes: usize) -> Result<Room, HubError> {
    hub.gate.bodies.room(whose, bytes).await.map_err(|NoRoom { seconds }| {
        HubError::new(
            ErrorCode::TooManyRequests,
            "too many bodies are under way: there was no room for this one in time",
        )
        .hint("nothing was done: send it again, with a new nonce")
        .wait(Wait { seconds, policy: None })
    })
}

fn too_large(most: usize) -> HubError {
    HubError::new(ErrorCode::TooLarge, format!("the body is larger than {most} bytes"))
        .hint("send an object as several, each of at most 16 MiB sealed")
}

/// How many bytes a body has, as its length says, or may have if it says nothing.
fn expected(body: &Body, headers: &HeaderMap, most: usize) -> Result<usize, HubError> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    match length.or_else(|| body.size_hint().upper()) {
        // Chunks, or frames of HTTP/2, that do not say how many there are.
        None => Ok(most),
        Some(length) => usize::try_from(length)
            .ok()
            .filter(|length| *length <= most)
            .ok_or_else(|| too_large(most)),
    }
}

/// Reads a body of at most `expected` bytes that has this digest, within that time.
async fn read(
    body: Body,
    expected: usize,
    digest: Digest,
    slowest: Duration,
) -> Result<Bytes, HubError> {
    tokio::time::timeout(slowest, read_to_end(body, expected, digest)).await.map_err(
        |_elapsed| {
            HubError::bad_request(format!("the body took more than {} seconds", slowest.as_secs()))
                .hint("send less at once: nothing of it was kept")
        },
    )?
}

async fn read_to_end(body: Body, most: usize, digest: Digest) -> Result<Bytes, HubError> {
    let mut body = body;
    let exact = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let mut bytes = room_for(exact.unwrap_or_default().min(most));
    let mut context = Context::new(&SHA256);
    loop {
        let frame = tokio::time::timeout(PAUSE, body.frame()).await.map_err(|_elapsed| {
            HubError::bad_request(format!("the body paused for {} seconds", PAUSE.as_secs()))
                .hint("send it again: nothing of it was kept")
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|cause| {
            HubError::bad_request("the body ended before it was whole").caused_by(cause)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_large(most));
        }
        context.update(&data);
        bytes.extend_from_slice(&data);
    }
    if context.finish().as_ref() == digest.0 {
        Ok(bytes.freeze())
    } else {
        Err(refusal(CallError::Body))
    }
}

/// Room for a body, which begins where the store writes it from as it is.
fn room_for(bytes: usize) -> BytesMut {
    let mut room = BytesMut::with_capacity(bytes + store::BLOB_ALIGN);
    let before = room.as_ptr().align_offset(store::BLOB_ALIGN);
    room.resize(before, 0);
    room.split_off(before)
}

/// The key that a body brings: that of an enrolment, or the one that signed a vault's evidence.
fn presented_key(body: &[u8]) -> Result<PublicKey, HubError> {
    #[derive(Deserialize)]
    struct Brings {
        public_key: Option<api::Bytes>,
        evidence: Option<SignedStatement>,
    }
    let brings: Brings = serde_json::from_slice(body)
        .map_err(|e| HubError::bad_request(format!("the body does not read: {e}")))?;
    let key = brings.public_key.or_else(|| brings.evidence.map(|evidence| evidence.signer));
    let key = key.ok_or_else(|| HubError::bad_request("the body brings no public key"))?;
    PublicKey::from_bytes(&key.0).map_err(|e| HubError::bad_request(e.to_string()))
}

/// The one value of a header, if it is there.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, HubError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(HubError::new(
            ErrorCode::BadSignature,
            format!("the header `{name}` is there more than once"),
        ));
    }
    let text = first.map(|value| value.to_str()).transpose();
    text.map_err(|_| {
        HubError::new(ErrorCode::BadSignature, format!("the header `{name}` is not plain text"))
    })
}

/// Every header of ours, sorted by name: all of them must be covered.
fn covered(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, HubError> {
    let mut ours = Vec::new();
    for name in headers.keys().map(|name| name.as_str()).filter(|n| n.starts_with("chorion-")) {
        if let Some(value) = one(headers, name)? {
            ours.push((name, value));
        }
    }
    ours.sort_unstable();
    Ok(ours)
}

/// The authority that the caller wrote: in the URI for HTTP/2, in `Host` before it.
pub(crate) fn authority(parts: &Parts) -> Result<&str, HubError> {
    let host = one(&parts.headers, "host")?;
    if let Some(authority) = parts.uri.authority() {
        // Two names for one call: whoever stands between could route by the one and we by the other.
        if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority.as_str())) {
            return Err(HubError::new(
                ErrorCode::BadSignature,
                "the call names two hosts, one in its first line and one in `Host`",
            ));
        }
        return Ok(authority.as_str());
    }
    host.ok_or_else(|| HubError::new(ErrorCode::BadSignature, "the call names no host"))
}

/// What a caller reads about a signature that does not count.
fn refusal(error: CallError) -> HubError {
    let title = error.to_string();
    match error {
        CallError::Unsigned => HubError::new(ErrorCode::Unsigned, title)
            .hint("every call under /api/ is signed: `chorion login` makes a key and enrols it"),
        CallError::Skew { .. } => HubError::new(ErrorCode::ClockSkew, title).hint(format!(
            "set the clock, or sign with the hub's time, which is in this answer: {MAX_SKEW_SECONDS} seconds may lie between"
        )),
        CallError::Body => HubError::new(ErrorCode::DigestMismatch, title)
            .hint("it was changed on the way, or another body was signed: send it again"),
        CallError::NotCovered(_) => HubError::new(ErrorCode::BadSignature, title)
            .hint("the signature covers `@method`, `@target-uri`, `content-digest` and every `chorion-` header"),
        CallError::Form(_) | CallError::Wrong(_) => HubError::new(ErrorCode::BadSignature, title)
            .hint("spec/signed-calls.md has the one form that is accepted"),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HubError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| refusal(CallError::Unsigned))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Presented {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HubError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| refusal(CallError::Unsigned))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for VerifiedBody {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HubError> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| refusal(CallError::Unsigned))
    }
}
