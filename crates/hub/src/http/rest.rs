//! What is left of a request's body when its answer is there.
//!
//! A call that is refused early has a body that nobody read. If it were left on the line, the connection would end under a
//! client that takes it for usable: its next call is cut off, though the answer said nothing of an end. So a small rest is
//! read and thrown away; and where nobody knows that it is small, or it does not come, the answer says that the connection ends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::Version;
use axum::http::header::EXPECT;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

/// The largest rest that is read.
const REST_BYTES: u64 = 64 * 1024;
/// How long it may take.
const REST_TIME: Duration = Duration::from_secs(1);

/// The rest of a body, once whoever had it let it go.
pub(super) struct Rest {
    left: Arc<Mutex<Option<Body>>>,
    /// The client sends its body only when it is asked to: nothing of it is on the line.
    asks_first: bool,
}

/// A body that is put aside when it is dropped before its end.
struct Watched {
    body: Option<Body>,
    left: Arc<Mutex<Option<Body>>>,
}

impl Rest {
    /// Watches the body of a request, where there is one and a rest of it would matter: HTTP/2 ends streams apart.
    pub(super) fn watch(request: &mut Request) -> Option<Self> {
        if request.body().is_end_stream() || request.version() > Version::HTTP_11 {
            return None;
        }
        let left = Arc::new(Mutex::new(None));
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(Watched { body: Some(body), left: Arc::clone(&left) });
        Some(Self { left, asks_first: request.headers().contains_key(EXPECT) })
    }

    /// Reads the rest. Says no if the connection has to end after the answer.
    pub(super) async fn read(self) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return true };
        if self.asks_first || body.size_hint().upper().is_none_or(|bytes| bytes > REST_BYTES) {
            return false;
        }
        let read = async {
            while let Some(frame) = body.frame().await {
                if frame.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(REST_TIME, read).await.unwrap_or(false)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}
