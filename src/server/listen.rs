//! A TCP listener that can be taken away, and whose connections can be cut from within.
//!
//! A cut is real: reading and writing fail from then on, hyper drops the socket, and the client sees the connection closed,
//! or reset, where an answer or the rest of one should have been.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::platform::Platform;

/// Pause after a failed accept: it fails again at once when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the system keeps until they are accepted, as `TcpListener::bind` has it.
const BACKLOG: u32 = 1024;

/// The end of an answer's head.
const HEAD_ENDS: &[u8] = b"\r\n\r\n";

/// Accepts connections until it is dropped, but for the time that the platform is down; `cut_all` cuts every one it has
/// accepted.
#[derive(Debug)]
pub(super) struct CuttableListener {
    address: SocketAddr,
    port: Port,
    platform: Arc<Platform>,
    cut_all: CancellationToken,
    /// Cuts the connections accepted since the platform was last down.
    cut_these: CancellationToken,
}

#[derive(Debug)]
enum Port {
    Open(TcpListener),
    /// Bound, so that nobody else gets it, and not listening, so that connections are refused.
    Kept(TcpSocket),
    Lost,
}

impl CuttableListener {
    pub(super) fn new(listener: TcpListener, platform: Arc<Platform>, cut_all: CancellationToken) -> io::Result<Self> {
        let (address, cut_these) = (listener.local_addr()?, cut_all.child_token());
        Ok(Self { address, port: Port::Open(listener), platform, cut_all, cut_these })
    }

    /// Nothing listens from here on.
    fn close(&mut self) {
        tracing::info!(address = %self.address, "the local platform no longer listens, on purpose");
        // A listener and a bound socket can't have the port together.
        self.port = Port::Lost;
        self.port = keep(self.address).map_or(Port::Lost, Port::Kept);
        self.cut_these.cancel();
        self.cut_these = self.cut_all.child_token();
    }

    /// Takes the port up again. Somebody else may have it where it could not be kept.
    fn open(&mut self) -> io::Result<()> {
        let kept = match std::mem::replace(&mut self.port, Port::Lost) {
            Port::Kept(socket) => socket,
            Port::Open(_) | Port::Lost => keep(self.address)?,
        };
        self.port = Port::Open(kept.listen(BACKLOG)?);
        tracing::info!(address = %self.address, "the local platform listens again");
        Ok(())
    }
}

/// A socket that has the port and does not listen.
fn keep(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections that were closed a moment ago still have the port on Unix. On Windows the option would share it.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CuttableStream, SocketAddr) {
        loop {
            let Port::Open(listener) = &self.port else {
                self.platform.switch.until_up().await;
                if let Err(error) = self.open() {
                    tracing::warn!(address = %self.address, %error, "could not listen again yet");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.platform.switch.until_down() => {
                    self.close();
                    continue;
                }
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Without it, Nagle and delayed acknowledgement together add 40 ms to some answers.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY could not be set");
                    }
                    return (CuttableStream::new(stream, self.cut_these.child_token()), peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

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
    manner: Arc<Mutex<Manner>>,
}

#[derive(Debug, Default)]
struct Manner {
    end: End,
    /// What of the answer is still let through.
    allowance: Option<Allowance>,
    /// It outlives the listener: its client is to hear the answer to the very request that took the listener away.
    spared: bool,
}

/// The head of an answer, and so many bytes of its body.
#[derive(Debug, Clone)]
struct Allowance {
    /// How much of [`HEAD_ENDS`] the last bytes were.
    matched: usize,
    body: usize,
}

impl Allowance {
    /// How many of these bytes may pass.
    fn passes(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        for byte in bytes {
            if self.matched < HEAD_ENDS.len() {
                let goes_on = HEAD_ENDS.get(self.matched) == Some(byte);
                self.matched = if goes_on { self.matched + 1 } else { usize::from(*byte == b'\r') };
            } else if self.body > 0 {
                self.body -= 1;
            } else {
                break;
            }
            passed += 1;
        }
        passed
    }
}

impl Connection {
    fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cut(&self, end: End) {
        self.manner().end = end;
        self.cut.cancel();
    }

    /// Cuts it when the head of the next answer and so many bytes of its body have been sent.
    pub(super) fn cut_after(&self, body: usize, end: End) {
        let mut manner = self.manner();
        manner.end = end;
        manner.allowance = Some(Allowance { matched: 0, body });
    }

    /// Lets it outlive the listener.
    pub(super) fn spare(&self) {
        self.manner().spared = true;
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().connection.clone()
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
    fn new(stream: TcpStream, cut: CancellationToken) -> Self {
        let until_cut = Box::pin(cut.clone().cancelled_owned());
        Self { stream, connection: Connection { cut, manner: Arc::default() }, until_cut }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.until_cut.as_mut().poll(context) {
            Poll::Ready(()) if !self.connection.manner().spared => Err(self.ended()),
            _ => Ok(()),
        }
    }

    /// Prepares the end that the socket comes to when hyper drops it, and says so to hyper.
    fn ended(&self) -> io::Error {
        if self.connection.manner().end == End::Reset
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::warn!(%error, "a connection is closed that was to be reset");
        }
        io::Error::new(io::ErrorKind::ConnectionAborted, "cut on purpose")
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
        let passes = self.connection.manner().allowance.clone().map_or(bytes.len(), |mut trial| trial.passes(bytes));
        if passes == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(self.ended()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes.get(..passes).unwrap_or_default()))?;
        if let Some(allowance) = &mut self.connection.manner().allowance {
            allowance.passes(bytes.get(..written).unwrap_or_default());
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_passes_whole_and_a_body_in_part() {
        let answer = b"HTTP/1.1 200 OK\r\nA: \r\r\n\r\nbody";
        for split in 0..answer.len() {
            let mut allowance = Allowance { matched: 0, body: 2 };
            let (first, second) = answer.split_at(split);
            let passed = allowance.passes(first) + allowance.passes(second);
            assert_eq!(passed, answer.len() - 2, "{split}");
        }
    }
}
