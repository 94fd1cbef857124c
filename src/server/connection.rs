//! A connection that can be cut from within.
//!
//! A cut is real: reading and writing fail from then on, hyper drops the socket, and the client sees the connection closed,
//! or reset, where an answer or the rest of one should have been. With TLS the cut is beneath it, so nothing announces the end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum End {
    /// Orderly (FIN), as far as the client has been heard out.
    #[default]
    Close,
    /// At once (RST); what is still to be sent is thrown away.
    Reset,
}

/// The handle by which a request's handler cuts the connection that the request came over.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    cut: CancellationToken,
    retired: CancellationToken,
    manner: Arc<Mutex<Manner>>,
}

#[derive(Debug, Default)]
struct Manner {
    end: End,
    /// It outlives the listener: its client is to hear the answer to the very request that took the listener away.
    spared: bool,
    /// How often everything has been written that there was to write.
    flushes: u64,
    /// Who wants to know of the next time: with HTTP/2 that can be many.
    waiting: Vec<Waker>,
}

impl Connection {
    /// Everything has been written, or nothing will be any more.
    fn flushed(&self) {
        let waiting = {
            let mut manner = self.manner();
            manner.flushes += 1;
            std::mem::take(&mut manner.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cut(&self, end: End) {
        self.manner().end = end;
        self.cut.cancel();
    }

    /// Lets it outlive the listener for what is in flight, and no longer.
    pub(super) fn spare(&self) {
        self.manner().spared = true;
        self.retired.cancel();
    }

    /// Returns when it is to end with what is in flight.
    pub(super) async fn until_retired(&self) {
        self.retired.cancelled().await;
    }

    /// How often everything has been written that there was to write.
    pub(super) fn flushes(&self) -> u64 {
        self.manner().flushes
    }

    /// Ready when that has happened since.
    pub(super) fn poll_flushed_since(&self, flushes: u64, context: &Context<'_>) -> Poll<()> {
        let mut manner = self.manner();
        if manner.flushes > flushes {
            return Poll::Ready(());
        }
        manner.waiting.push(context.waker().clone());
        Poll::Pending
    }
}

/// A connection that fails as soon as it is cut.
#[derive(Debug)]
pub(super) struct CuttableStream {
    stream: TcpStream,
    connection: Connection,
    // Polled before every operation, so that a cut wakes a task that waits for the peer.
    until_cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl CuttableStream {
    pub(super) fn new(stream: TcpStream, cut: CancellationToken) -> Self {
        let until_cut = Box::pin(cut.clone().cancelled_owned());
        let connection = Connection { cut, retired: CancellationToken::new(), manner: Arc::default() };
        Self { stream, connection, until_cut }
    }

    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.until_cut.as_mut().poll(context) {
            Poll::Ready(()) if !self.connection.manner().spared => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut on purpose"))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for CuttableStream {
    fn drop(&mut self) {
        if self.connection.manner().end == End::Reset
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::warn!(%error, "a connection is closed that was to be reset");
        }
        self.connection.flushed();
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
