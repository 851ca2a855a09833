//! The connection of a client, as its calls see it: where it comes from, and how it ended.
//!
//! A stream that its client closes and one whose connection breaks end alike for whoever serves
//! them. Only the connection itself knows: one that was closed had an end, or its client said
//! farewell, and one that broke failed, or went without an end because nothing was heard of it.
//!
//! A client that closes a connection before it has read everything makes it fail, too: TCP resets
//! it then. What it has sent before is still there, and counts.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::farewell::Farewell;

/// The most that is looked through for a farewell when a connection has failed.
const LOOKED_THROUGH: usize = 1 << 20;

/// What is known of the connection of a client.
#[derive(Debug, Default)]
pub(crate) struct ClientLine {
    peer: Option<SocketAddr>,
    /// The client has closed it, or said that it does.
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

    /// Whether it has failed by now, and its client has not closed it.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire) && !self.is_closed()
    }

    /// Whether it has ended although neither side closed it and nothing failed: nothing was heard
    /// of the client any more.
    pub(crate) fn went_silent(&self) -> bool {
        self.is_over.load(Ordering::Acquire) && !self.is_closed() && !self.has_failed()
    }

    /// Whether its client has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }
}

/// A connection that tells how it ends.
pub(crate) struct Observed {
    stream: TcpStream,
    line: Arc<ClientLine>,
    farewell: Farewell,
}

impl Observed {
    pub(crate) fn new(stream: TcpStream) -> (Self, Arc<ClientLine>) {
        let line = Arc::new(ClientLine { peer: stream.peer_addr().ok(), ..ClientLine::default() });
        (Self { stream, line: Arc::clone(&line), farewell: Farewell::new() }, line)
    }

    fn note<T>(&mut self, result: &io::Result<T>) {
        if result.is_err() {
            self.look_through_rest();
            self.line.has_failed.store(true, Ordering::Release);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.farewell.is_in(bytes) {
            self.line.is_closed.store(true, Ordering::Release);
        }
    }

    /// Looks through what the client had sent before the connection failed. Nobody else will read
    /// it.
    fn look_through_rest(&mut self) {
        let (mut buffer, mut left) = ([0; 4096], LOOKED_THROUGH);
        // It never waits. The runtime is not asked, which may not know yet that there is something.
        while let Ok((_, count @ 1..)) = recv(&self.stream, &mut buffer, RecvFlags::empty()) {
            self.take(&buffer[..count]);
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
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
        let read = &buffer.filled()[before..];
        if result.is_ok() && room > 0 && read.is_empty() {
            self.line.is_closed.store(true, Ordering::Release);
        }
        self.take(read);
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::server::PREFACE;

    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// What is known of a connection whose client sends this, and then closes it with bytes of the
    /// broker unread.
    async fn closed_unread(sends: &[u8], reads_first: bool) -> Arc<ClientLine> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut client, (mut connection, line)) =
            (client.unwrap(), Observed::new(accepted.unwrap().0));
        connection.write_all(b"more than the client reads").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        client.write_all(sends).await.unwrap();
        drop(client);
        if reads_first {
            while connection.read(&mut [0; 5]).await.is_ok_and(|count| count > 0) {}
        }
        while connection.write_all(b"and more").await.is_ok() {}
        line
    }

    #[tokio::test]
    async fn a_client_that_said_farewell_has_closed_the_connection_that_fails_then() {
        for reads_first in [true, false] {
            let line = closed_unread(&[PREFACE, &GOAWAY].concat(), reads_first).await;
            assert!(!line.has_failed(), "{line:?}, read first: {reads_first}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_fails_without_a_farewell_is_broken() {
        for reads_first in [true, false] {
            let line = closed_unread(PREFACE, reads_first).await;
            assert!(line.has_failed(), "{line:?}, read first: {reads_first}");
        }
    }
}
