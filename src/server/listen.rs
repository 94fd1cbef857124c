//! A TCP listener that can be taken away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::connection::CuttableStream;
use super::platform::Platform;

/// Pause after a failed accept: it fails again at once when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the system keeps until they are accepted, as `TcpListener::bind` has it.
const BACKLOG: u32 = 1024;

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

    /// The next connection. Dropped while it waits, it has lost none.
    pub(super) async fn accept(&mut self) -> CuttableStream {
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
                Ok((stream, _)) => {
                    // Without it, Nagle and delayed acknowledgement together add 40 ms to some answers.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY could not be set");
                    }
                    self.platform.connections.fetch_add(1, Ordering::Relaxed);
                    return CuttableStream::new(stream, self.cut_these.child_token());
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
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
