//! The connection of a client, as its calls see it: where it comes from, and how it ended.
//!
//! A stream that its client closes and one whose connection breaks end alike for whoever serves
//! them. Only the connection itself knows: one that was closed had an end, and one that broke
//! failed, or went without one because nothing was heard of it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is known of the connection of a client.
#[derive(Debug, Default)]
pub(crate) struct ClientLine {
    peer: Option<SocketAddr>,
    /// The client has closed it.
    is_closed: AtomicBool,
    /// It failed.
    has_failed: AtomicBool,
    /// It is gone.
    is_over: AtomicBool,
}

impl ClientLine {
    /// The host of the client.
    pub(crate) fn host(&self) -> String {
        self.peer.map(|peer| peer.ip().to_string()).unwrap_or_default()
    }

    /// Whether it has failed by now.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Whether it has ended although neither side closed it and nothing failed: nothing was heard
    /// of the client any more.
    pub(crate) fn went_silent(&self) -> bool {
        let is_closed = self.is_closed.load(Ordering::Acquire);
        self.is_over.load(Ordering::Acquire) && !is_closed && !self.has_failed()
    }
}

/// A connection that tells how it ends.
pub(crate) struct Observed {
    stream: TcpStream,
    line: Arc<ClientLine>,
}

impl Observed {
    pub(crate) fn new(stream: TcpStream) -> (Self, Arc<ClientLine>) {
        let line = Arc::new(ClientLine { peer: stream.peer_addr().ok(), ..ClientLine::default() });
        (Self { stream, line: Arc::clone(&line) }, line)
    }

    fn note<T>(&self, result: &io::Result<T>) {
        if result.is_err() {
            self.line.has_failed.store(true, Ordering::Release);
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.line.is_over.store(true, Ordering::Release);
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if result.is_ok() && room > 0 && buffer.filled().len() == before {
            self.line.is_closed.store(true, Ordering::Release);
        }
        self.note(&result);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Observed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.note(&result);
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        self.note(&result);
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
