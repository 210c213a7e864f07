//! Answers over TLS until it is told to stop.
//!
//! A connection that says nothing, a header that never ends and a body that pauses are each cut off, so that nobody holds
//! the hub by being slow; and a stop lets calls that are under way come to their end.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::Time;
use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use crate::app::organization_keys::Holders;
use crate::app::sign_in::work::Work;
use crate::app::sign_in::{Challenges, SlowDown};
use crate::closing::Line;
use crate::data::intents::Releases;
use crate::data::nonces::NonceLog;
use crate::data::objects::ObjectLog;
use crate::data::uses::Uses;
use crate::engine::Engine;
use crate::gate::Place;
use crate::http::auth::Peer;
use crate::institution::Institution;
use crate::names::Names;
use crate::open::{Opened, open};
use crate::state::{Hub, Inner};
use crate::tls::{Authority, Leaf, OwnCertificate, RENEW_AFTER, server_config};
use crate::{HubConfig, StartError, app, engine, gate, http, mail, metrics, site};

/// How long the handshake of a connection may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the header of a call may take, and a connection may be idle.
const HEADER: Duration = Duration::from_secs(60);
/// How large a header may be.
const HEADER_BYTES: u32 = 32 * 1024;
/// How many headers a call may have.
const HEADERS: usize = 64;
/// How long a stop waits for calls that are under way.
const LAST_CALLS: Duration = Duration::from_secs(10);
/// How long a stop waits for work behind the calls.
const LAST_WORK: Duration = Duration::from_secs(30);
/// How often certificates are looked at: the age of the hub's own, the files of the operator's.
const RENEW_CHECK: Duration = Duration::from_secs(60);

/// A hub that answers.
#[derive(Debug)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// How clients reach it from this machine.
    pub url: String,
    /// The hub's id.
    pub hub: String,
    /// The certificate of the hub's authority, which clients pin.
    pub ca_file: PathBuf,
    /// Its SHA-256, to compare by eye.
    pub ca_fingerprint: String,
    /// The one-time code that enrols the first operator, and until when it counts; absent once there is one.
    pub code: Option<(String, Time)>,
    /// Stops the hub.
    pub stop: StopHandle,
}

/// Tells a hub to stop. Cloning gives another handle; dropping them stops nothing.
#[derive(Clone)]
pub struct StopHandle(CancellationToken);

impl StopHandle {
    /// Takes no more calls, ends those under way, then [`serve`] returns.
    pub fn stop(&self) {
        self.0.cancel();
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StopHandle(..)")
    }
}

/// Opens the hub, says through `ready` where it answers, and returns when it was stopped.
///
/// # Errors
/// [`StartError`] says why it does not start; what goes wrong later is answered and logged call by call.
pub async fn serve(config: HubConfig, ready: oneshot::Sender<Ready>) -> Result<(), StartError> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen { address: config.listen, source })?;
    let address = listener
        .local_addr()
        .map_err(|source| StartError::Listen { address: config.listen, source })?;
    let figures = match config.metrics {
        Some(address) => Some(metrics::bind(address).await?),
        None => None,
    };
    let (hub, leaf, authority) = start(&config, address, Arc::new(Time::now)).await?;
    let code = app::accounts::first_code(&hub).await?;
    app::projects::finish_deletions(&hub).await?;
    let tls = server_config(Arc::clone(&leaf))?;
    hub.background.spawn(renew(hub.clone(), leaf));

    let (ca_file, ca_fingerprint) = authority;
    let url = format!("https://localhost:{}", address.port());
    engine::start(&hub, url.clone(), ca_file.clone());
    gate::start(&hub);
    if let Some(figures) = figures {
        hub.background.spawn(metrics::serve(hub.clone(), figures));
    }
    app::organization_keys::start(&hub);
    mail::start(&hub);
    let _nobody_asked = ready.send(Ready {
        address,
        url,
        hub: hub.id.clone(),
        ca_file,
        ca_fingerprint,
        code: code.map(|code| (code.code, code.expires)),
        stop: StopHandle(hub.stopping.clone()),
    });
    accept(
        &hub,
        listener,
        TlsAcceptor::from(Arc::new(tls)),
        http::service(hub.clone(), site::pages(&hub)),
    )
    .await;

    hub.background.close();
    if tokio::time::timeout(LAST_WORK, hub.background.wait()).await.is_err() {
        tracing::warn!("work behind the calls was cut off; it goes on at the next start");
    }
    hub.store.settle().await;
    hub.db.close().await;
    Ok(())
}

/// Opens what lasts and makes the hub of it.
pub(crate) async fn start(
    config: &HubConfig,
    address: SocketAddr,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
) -> Result<(Hub, Arc<Leaf>, (PathBuf, String)), StartError> {
    let Opened { id, data, snapshot_keys, db, store, keys, custodians, card_key, log_key, lock } =
        open(config).await?;
    let mut given = config.names.clone();
    if !address.ip().is_unspecified() && !address.ip().is_loopback() {
        given.push(address.ip().to_string());
    }
    let names = Names::new(&given, address.port())?;
    let now = clock();
    let tls = data.join("tls");
    std::fs::create_dir_all(&tls).map_err(|source| StartError::File {
        act: "make",
        path: tls.clone(),
        source,
    })?;
    let authority = Authority::open(&tls, &id, now)?;
    let shown = (authority.file.clone(), authority.fingerprint());
    let authority_ends = authority.ends();
    // The first name that the operator gave is the one people know.
    let url = format!("https://{}", names.first_given(&given));
    let own =
        config.certificate.clone().map(|files| OwnCertificate::open(files, now)).transpose()?;
    let leaf = Leaf::new(authority, names.hosts(), own.clone(), now)?;
    crate::data::events::repair(&db, now).await?;
    let log = app::log::Log::new(&id, log_key)?;
    let gate = gate::load(&db, config.limits.clone(), now).await?;
    let nonces = NonceLog::open(data.join("nonces"), &db, crate::data::micros(now)).await?;
    let hub = Hub::new(Inner {
        id,
        data,
        snapshot_keys,
        nonces,
        uses: Uses::default(),
        objects: ObjectLog::start(db.clone()),
        releases: Releases::start(db.clone()),
        log,
        db,
        store,
        keys,
        custodians,
        organization_keys: Holders::new(config.key_services.clone()),
        card_key,
        _lock: lock,
        names,
        url,
        relay: config.relay.clone(),
        authority_ends,
        own_certificate: own,
        transfers: app::progress::Transfers::default(),
        counters: metrics::Counters::default(),
        clock,
        gate,
        stopping: CancellationToken::new(),
        background: TaskTracker::new(),
        institution: config.institution.clone().map(Institution::new).transpose()?,
        passwords: Work::new(),
        challenges: Challenges::draw()?,
        slow_down: SlowDown::default(),
        describing: tokio::sync::Mutex::default(),
        indexing: tokio::sync::Mutex::default(),
        authenticators: http::Authenticators::new(&config.authenticator_origins)?,
        changes: Arc::default(),
        built: site::Built::read(config.pages.as_deref())?,
        engine: Engine::new(config.vault_program.clone(), config.vaults),
    });
    app::restored::settle(&hub).await?;
    Ok((hub, leaf, shown))
}

/// Renews the certificate in time, while the hub runs.
async fn renew(hub: Hub, leaf: Arc<Leaf>) {
    let mut issued = hub.now();
    while until_stop(&hub, tokio::time::sleep(RENEW_CHECK)).await.is_some() {
        let now = hub.now();
        match hub.own_certificate.as_ref().map(|own| own.look(now)) {
            Some(Ok(true)) => tracing::info!("the operator's certificate was renewed"),
            Some(Err(error)) => {
                tracing::error!("the operator's certificate stays as it was: {error}");
            }
            _ => {}
        }
        if now.duration_since(issued) < RENEW_AFTER {
            continue;
        }
        match leaf.renew(now) {
            Ok(()) => issued = now,
            Err(error) => tracing::error!("the hub's certificate was not renewed: {error}"),
        }
    }
}

/// What `work` gives, or nothing if the hub is told to stop before.
pub(crate) async fn until_stop<T>(hub: &Hub, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = hub.stopping.cancelled() => None,
        done = work => Some(done),
    }
}

async fn accept(hub: &Hub, listener: TcpListener, tls: TlsAcceptor, service: Router) {
    let graceful = GracefulShutdown::new();
    loop {
        let Some(accepted) = until_stop(hub, listener.accept()).await else { break };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: give those that are in use a moment.
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Before TLS: who is not answered anyway costs an accept and nothing more.
        let place = Place::from(peer.ip());
        if !hub.gate.may_connect(place, hub.now()) {
            continue;
        }
        let shared = hub.gate.is_shared(place);
        let Some(held) = hub.gate.connections.open(place, shared) else {
            tracing::debug!(%peer, "a connection was closed: too many are open");
            continue;
        };
        hub.gate.charge(place, 1, hub.now());
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        let service = {
            let (peer, held) = (Peer(peer.ip()), held.clone());
            service.clone().map_request(move |mut request: axum::extract::Request| {
                request.extensions_mut().insert(peer);
                request.extensions_mut().insert(held.clone());
                request
            })
        };
        tokio::spawn(async move {
            tokio::select! {
                ended = connection(stream, tls, service, watcher) => {
                    if let Err(error) = ended {
                        tracing::debug!("a connection ended: {error}");
                    }
                }
                () = held.closed() => tracing::debug!(%peer, "a connection made room for another"),
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(LAST_CALLS, graceful.shutdown()).await.is_err() {
        tracing::warn!("calls that took longer than {} s were cut off", LAST_CALLS.as_secs());
    }
}

async fn connection<S>(
    stream: TcpStream,
    tls: TlsAcceptor,
    service: S,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: Service<
            axum::extract::Request,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
            Future: Send,
        > + Clone
        + Send
        + 'static,
{
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await??;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_headers(HEADERS)
        .max_buf_size(usize::try_from(HEADER_BYTES).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        // Streams that are opened and reset at once cost the opener nothing: a few, and the connection ends.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(20)
        .max_header_list_size(HEADER_BYTES)
        // What arrives before anybody reads it lies in memory, for every connection there may be.
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(512 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let service =
        TowerToHyperService::new(service.map_request(
            |request: axum::http::Request<hyper::body::Incoming>| request.map(Body::new),
        ));
    let connection = builder.serve_connection(TokioIo::new(Line::new(stream)), service);
    watcher.watch(connection.into_owned()).await
}
