//! How a connection over TLS ends: with the word that it ends here (`close_notify`), and not before the other side had time to
//! read what was said last.
//!
//! Without that word a client cannot tell an end from a cut, and must treat the answer as cut (RFC 8446 section 6.1). And a
//! socket that is closed while bytes lie in it unread answers them with a reset, which can overtake the answer. So the end is
//! said whichever way a connection ends, also by a time limit or to make room; and where it ends in order, what still arrives
//! is read and thrown away for a moment (RFC 9112 section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

/// How long what still arrives is read and thrown away.
const LINGER: Duration = Duration::from_secs(2);
/// And how much of it: two objects of the largest size.
const LINGER_BYTES: usize = 32 << 20;

/// A connection that ends as TLS wants it.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TlsStream<TcpStream>,
    end: End,
}

#[derive(Debug)]
enum End {
    /// Not yet.
    Open,
    /// It was said; the other side may be on its way to hear it.
    Said { until: Pin<Box<Sleep>>, left: usize },
    /// Nothing is waited for any more.
    Over,
}

impl Line {
    /// Takes a connection whose handshake is done.
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, end: End::Open }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, end } = &mut *self;
        loop {
            match end {
                End::Open => {
                    ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
                    *end = End::Said { until: Box::pin(sleep(LINGER)), left: LINGER_BYTES };
                }
                End::Said { until, left } => {
                    if until.as_mut().poll(cx).is_ready() {
                        *end = End::Over;
                        continue;
                    }
                    let mut scrap = [0; 8 * 1024];
                    let mut buffer = ReadBuf::new(&mut scrap);
                    let (tcp, _) = stream.get_mut();
                    let read = ready!(Pin::new(tcp).poll_read(cx, &mut buffer));
                    match buffer.filled().len() {
                        bytes if read.is_ok() && (1..*left).contains(&bytes) => *left -= bytes,
                        // It ended too, or was cut, or goes on and on.
                        _ => *end = End::Over,
                    }
                }
                End::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !matches!(self.end, End::Open) {
            return;
        }
        // Cut short: what fits into the socket is said, and nobody waits.
        let (tcp, tls) = self.stream.get_mut();
        tls.send_close_notify();
        let mut said = Vec::new();
        while tls.wants_write() && tls.write_tls(&mut said).is_ok_and(|bytes| bytes > 0) {}
        if let Err(error) = tcp.try_write(&said) {
            tracing::trace!("the end of a connection was not said: {error}");
        }
    }
}
