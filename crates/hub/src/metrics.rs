//! Figures for Prometheus (text format 0.0.4), on an address of its own that must be of this machine: counts, sizes, times and
//! states, and no name of anything but facilities' ids, which the hub drew. No key, account, project or dataset appears.
//!
//! It answers without TLS and without a signature because nobody but this machine reaches it: a start on any other address is
//! refused. Whoever collects from elsewhere puts a collector here.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use store::FacilityState;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::data;
use crate::serve::until_stop;
use crate::state::Hub;
use crate::{HubError, StartError};

/// How many collectors at once; one more waits.
const COLLECTORS: usize = 4;
/// How long one may take, from its first byte to the last of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is counted as it happens; everything else is looked up when somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 6],
    /// Sealed bytes that were taken in.
    received: AtomicU64,
    /// Sealed objects that were taken in.
    objects: AtomicU64,
}

impl Counters {
    /// An answer left.
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).min(5);
        self.answers[class].fetch_add(1, Ordering::Relaxed);
    }

    /// A sealed object was acknowledged for the first time.
    pub(crate) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
        self.objects.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes the address, which must be of this machine.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    if !address.ip().is_loopback() {
        return Err(StartError::MetricsElsewhere { address });
    }
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// Answers until the hub stops.
pub(crate) async fn serve(hub: Hub, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(COLLECTORS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match until_stop(&hub, listener.accept()).await {
            None => return,
            Some(Ok((stream, _))) => stream,
            Some(Err(error)) => {
                tracing::warn!("a collector was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let hub = hub.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request: Request<Incoming>| {
                let hub = hub.clone();
                async move { Ok::<_, Infallible>(answer(&hub, &request).await) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
            let served = builder.serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, served).await {
                tracing::debug!("a collector's connection ended: {error}");
            }
        });
    }
}

async fn answer(hub: &Hub, request: &Request<Incoming>) -> Response<String> {
    let told = |status, text: String| {
        let mut response = Response::new(text);
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
        response
    };
    if request.method() != Method::GET || request.uri().path() != "/metrics" {
        return told(StatusCode::NOT_FOUND, "GET /metrics\n".to_owned());
    }
    match text(hub).await {
        Ok(text) => told(StatusCode::OK, text),
        Err(error) => {
            tracing::warn!(cause = error.causes(), "figures were not gathered: {error}");
            told(StatusCode::INTERNAL_SERVER_ERROR, "the figures were not gathered\n".to_owned())
        }
    }
}

/// Families of samples as they are written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP chorion_{name} {help}\n# TYPE chorion_{name} {kind}").ok();
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        // Label values are words of ours and ids: nothing in them needs escaping.
        let labels: Vec<String> =
            labels.iter().map(|(label, of)| format!("{label}=\"{of}\"")).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "chorion_{name}{labels} {value}").ok();
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// A figure of a facility, where it is known.
type Figure = fn(&store::FacilityStatus) -> Option<u64>;

const STATES: [(FacilityState, &str); 6] = [
    (FacilityState::Healthy, "healthy"),
    (FacilityState::Behind, "behind"),
    (FacilityState::Missing, "missing"),
    (FacilityState::ReadOnly, "read_only"),
    (FacilityState::Full, "full"),
    (FacilityState::Draining, "draining"),
];

/// The page as it is now.
pub(crate) async fn text(hub: &Hub) -> Result<String, HubError> {
    let mut page = Page::default();
    page.family("info", "gauge", "The version of the hub.");
    page.sample("info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family(
        "answers_total",
        "counter",
        "Answers since the start, by the class of their status.",
    );
    for (class, count) in hub.counters.answers.iter().enumerate().skip(1) {
        let class = format!("{class}xx");
        page.sample("answers_total", &[("class", class.as_str())], count.load(Ordering::Relaxed));
    }
    let received = hub.counters.received.load(Ordering::Relaxed);
    page.one("received_bytes_total", "counter", "Sealed bytes taken in since the start.", received);
    let objects = hub.counters.objects.load(Ordering::Relaxed);
    page.one(
        "received_objects_total",
        "counter",
        "Sealed objects taken in since the start.",
        objects,
    );
    page.one("connections", "gauge", "Open connections.", hub.gate.connections.count());

    let mut reader = hub.db.read().await?;
    let counts = data::counts::read(&mut reader).await?;
    drop(reader);
    page.one("objects", "gauge", "Sealed objects that are kept.", counts.objects);
    page.one("sealed_bytes", "gauge", "Their bytes, in one copy.", counts.sealed_bytes);
    page.family("datasets", "gauge", "Datasets by kind and state.");
    for (kind, state, count) in &counts.datasets {
        page.sample("datasets", &[("kind", kind.as_str()), ("state", state.as_str())], count);
    }
    page.family("tasks", "gauge", "Tasks that wait or run.");
    for (state, count) in &counts.tasks {
        page.sample("tasks", &[("state", state.as_str())], count);
    }
    page.family("key_services", "gauge", "Organizations' own keys, by whether they are to be had.");
    for (standing, count) in &counts.key_services {
        page.sample("key_services", &[("standing", standing.as_str())], count);
    }
    page.one(
        "failed_tasks",
        "gauge",
        "Tasks that failed, of those that are kept.",
        counts.failed_tasks,
    );
    page.one(
        "erasures_pending",
        "gauge",
        "Erased blobs that a facility has not confirmed.",
        counts.erasures,
    );
    page.one(
        "descriptions_pending",
        "gauge",
        "Rows newer than the index beside the keys.",
        counts.undescribed,
    );
    page.one("audit_leaves", "gauge", "Leaves of the audit log.", counts.leaves);

    let facilities = hub.store.status().await;
    page.one(
        "write_quorum",
        "gauge",
        "Facilities that sync a write before it is answered.",
        hub.store.write_quorum(),
    );
    page.family("facility_state", "gauge", "1 for the state that a facility is in.");
    for facility in &facilities {
        let id = facility.id.to_string();
        for (state, word) in STATES {
            let is_so = u8::from(facility.state == state);
            page.sample("facility_state", &[("facility", id.as_str()), ("state", word)], is_so);
        }
    }
    let figures: [(&str, &str, Figure); 5] = [
        ("facility_blobs", "Blobs that it holds.", |f| Some(f.blobs)),
        ("facility_bytes", "Their bytes.", |f| Some(f.bytes)),
        ("facility_free_bytes", "Room left.", |f| f.free_bytes),
        ("facility_behind_blobs", "Blobs that it is known to lack.", |f| Some(f.behind)),
        ("facility_quarantined_blobs", "Copies that were set aside.", |f| Some(f.quarantined)),
    ];
    for (name, help, figure) in figures {
        page.family(name, "gauge", help);
        for facility in &facilities {
            if let Some(value) = figure(facility) {
                page.sample(name, &[("facility", facility.id.to_string().as_str())], value);
            }
        }
    }
    let keys = hub.keys.status().await?;
    let away = keys.places.iter().filter(|place| place.away.is_some()).count();
    page.one("key_places_away", "gauge", "Places of the key store that cannot be used.", away);
    if let Some(ends) = hub.authority_ends {
        page.one(
            "authority_ends_seconds",
            "gauge",
            "When the hub's own certificate authority ends, since 1970.",
            ends.as_second(),
        );
    }
    if let Some(ends) = hub.own_certificate.as_ref().and_then(|own| own.ends()) {
        page.one(
            "certificate_ends_seconds",
            "gauge",
            "When the operator's certificate ends, since 1970.",
            ends.as_second(),
        );
    }
    if let Some(made) = crate::backup::newest(&hub.snapshot_keys) {
        page.one(
            "backup_seconds",
            "gauge",
            "When the newest backup was made, since 1970.",
            made.as_second(),
        );
    }
    Ok(page.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestHub;

    #[tokio::test]
    async fn figures_have_no_names_and_every_sample_has_its_family() {
        let hub = TestHub::start().await;
        let operator = hub.operator().await;
        let ada = hub.person(&operator, "Ada Lovelace").await;
        let project = hub.project(&ada, "hereditary cancer").await;
        let text = text(&hub.hub).await.unwrap();
        for name in ["Ada", "Lovelace", "operator\"", "cancer", "localhost", &hub.hub.id] {
            assert!(!text.contains(name), "{name}");
        }
        for id in [project.to_string(), ada.account.to_string()] {
            assert!(!text.contains(&id), "{id}");
        }
        assert!(!text.contains(hub.directory().to_str().unwrap()));
        let mut families = std::collections::HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(families.insert(name), "{name} twice");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
                assert!(families.contains(sample.split('{').next().unwrap()), "{sample}");
            }
        }
        assert!(text.contains("chorion_facility_state{facility=\""));
        assert!(text.contains("chorion_answers_total{class=\"2xx\"}"));
    }

    #[tokio::test]
    async fn figures_are_told_to_this_machine_alone() {
        for elsewhere in ["0.0.0.0:0", "192.0.2.1:9000", "[::]:0"] {
            let refused = bind(elsewhere.parse().unwrap()).await.map(|_| ()).unwrap_err();
            assert!(matches!(refused, StartError::MetricsElsewhere { .. }), "{refused}");
        }
        bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    }
}
