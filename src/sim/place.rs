//! Where a simulated line is found, and its coming and going.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Error;
use super::line::{End, Line, Wire};
#[cfg(unix)]
use super::pty::Pty;

/// How long to wait before a place that can't be had is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Where clients find a simulated line, and so what is spoken on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A serial port: messages of their own or Modbus RTU, whatever the instruments speak.
    #[cfg(unix)]
    Pty {
        /// A name for it: a symbolic link that is made, and removed again. Without one, clients ask the handle.
        path: Option<PathBuf>,
    },
    /// Modbus/TCP.
    ModbusTcp {
        /// The address to listen on; with port 0, the system chooses one.
        listen: SocketAddr,
    },
    /// Modbus RTU frames through a socket, as serial device servers offer.
    RtuOverTcp {
        /// The address to listen on; with port 0, the system chooses one.
        listen: SocketAddr,
    },
    /// The instruments' own messages through a socket.
    Tcp {
        /// The address to listen on; with port 0, the system chooses one.
        listen: SocketAddr,
    },
}

impl Place {
    /// A TCP place at the port that it was given, so that it can be had again.
    pub(super) fn fixed(mut self, found: &Found) -> Self {
        if let Self::ModbusTcp { listen } | Self::RtuOverTcp { listen } | Self::Tcp { listen } = &mut self
            && let Found::Address(address) = found
        {
            *listen = *address;
        }
        self
    }
}

/// The way to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    #[cfg(unix)]
    Port(PathBuf),
    Address(SocketAddr),
}

/// What a handle asks of the simulator's thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Go away as an unplugged adapter does; answered when the port is gone.
    HangUp(SyncSender<Result<(), Error>>),
    /// Come back at the same place; answered when the port is there.
    ComeBack(SyncSender<Result<(), Error>>),
    /// End.
    Stop,
}

/// A place that clients can reach. Dropping it hangs up.
#[derive(Debug)]
pub(super) enum Open {
    #[cfg(unix)]
    Pty(Box<Pty>),
    Tcp(TcpListener),
}

impl Open {
    pub(super) async fn at(place: &Place) -> Result<Self, Error> {
        match place {
            #[cfg(unix)]
            Place::Pty { path } => match Pty::open(path.as_deref()) {
                Ok(pty) => Ok(Self::Pty(Box::new(pty))),
                Err(source) => Err(Error::OpenPty { path: path.clone(), source }),
            },
            Place::ModbusTcp { listen } | Place::RtuOverTcp { listen } | Place::Tcp { listen } => {
                let listening = TcpListener::bind(listen).await;
                listening.map(Self::Tcp).map_err(|source| Error::Listen { address: *listen, source })
            }
        }
    }

    pub(super) fn found(&self) -> io::Result<Found> {
        Ok(match self {
            #[cfg(unix)]
            Self::Pty(pty) => Found::Port(pty.path().to_owned()),
            Self::Tcp(listener) => Found::Address(listener.local_addr()?),
        })
    }

    /// Serves clients until the line is to go away for a while.
    async fn serve(&self, line: &Line, connections: &mut JoinSet<End>) -> Duration {
        match self {
            #[cfg(unix)]
            Self::Pty(pty) => match line.serve(&**pty).await {
                End::HangUp(away) => away,
                // The master of a pseudo-terminal fails only with the terminal itself: a new one is needed.
                End::Gone => RETRY,
            },
            Self::Tcp(listener) => loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            let line = line.clone();
                            connections.spawn(async move { line.serve(&Socket(stream)).await });
                        }
                        // Out of descriptors, or a client that left at once: the next one may do better.
                        Err(_) => tokio::time::sleep(RETRY).await,
                    },
                    Some(ended) = connections.join_next() => if let Ok(End::HangUp(away)) = ended {
                        return away;
                    },
                }
            },
        }
    }
}

/// Why a place was left.
enum Left {
    Stopped,
    Told(SyncSender<Result<(), Error>>),
    Fault(Duration),
}

/// Lives at a place, leaves it and returns to it, until it is stopped. `open` is the place, opened for the first time.
/// `found` is kept up to date with where it is.
pub(super) async fn live(
    place: Place,
    found: &Mutex<Found>,
    mut open: Open,
    line: Line,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut connections = JoinSet::new();
    loop {
        let left = present(&open, &line, &mut connections, &mut commands).await;
        connections.shutdown().await;
        drop(open);
        let until = match left {
            Left::Stopped => return,
            Left::Fault(away) => Some(Instant::now() + away),
            Left::Told(done) => {
                drop(done.send(Ok(())));
                None
            }
        };
        open = match absent(&place, found, until, &line, &mut commands).await {
            Some(open) => open,
            None => return,
        };
    }
}

async fn present(
    open: &Open,
    line: &Line,
    connections: &mut JoinSet<End>,
    commands: &mut UnboundedReceiver<Command>,
) -> Left {
    let serving = open.serve(line, connections);
    tokio::pin!(serving);
    loop {
        tokio::select! {
            away = &mut serving => return Left::Fault(away),
            command = commands.recv() => match command {
                None | Some(Command::Stop) => return Left::Stopped,
                Some(Command::ComeBack(done)) => drop(done.send(Ok(()))),
                Some(Command::HangUp(done)) => return Left::Told(done),
            },
        }
    }
}

/// Stays away until that time, or until called back. None when stopped meanwhile.
async fn absent(
    place: &Place,
    found: &Mutex<Found>,
    mut until: Option<Instant>,
    line: &Line,
    commands: &mut UnboundedReceiver<Command>,
) -> Option<Open> {
    loop {
        let mut called = None;
        tokio::select! {
            () = passed(until) => {}
            command = commands.recv() => match command {
                None | Some(Command::Stop) => return None,
                Some(Command::ComeBack(done)) => called = Some(done),
                Some(Command::HangUp(done)) => {
                    until = None;
                    drop(done.send(Ok(())));
                    continue;
                }
            },
        }
        let (result, open) = match Open::at(place).await {
            Ok(open) => {
                if let Ok(now) = open.found() {
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = now;
                }
                (Ok(()), Some(open))
            }
            Err(error) => (Err(error), None),
        };
        match (called, &result) {
            (Some(done), _) => drop(done.send(result)),
            (None, Err(error)) => {
                tracing::warn!(%error, "a simulated line can't come back yet");
                until = Some(Instant::now() + RETRY);
            }
            (None, Ok(())) => {}
        }
        if open.is_some() {
            line.bench().power_up();
            return open;
        }
    }
}

async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// A connection.
struct Socket(TcpStream);

impl Wire for Socket {
    async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.0.readable().await?;
            match self.0.try_read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(bytes) {
                Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
