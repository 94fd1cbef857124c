//! The local Atomscale-compatible platform: the calls that a bridge and the vendor's own client use, over HTTP on
//! loopback, with what they bring kept in SQLite.
//!
//! It exists so that a bridge can be tried, demonstrated and tested without an account: it enforces the platform's rules
//! more strictly than the platform may, says exactly which channel and which index broke one, and fails on purpose when
//! told to ([`Plan`]): by [`Server::faults`], or by whoever puts one to `/_local/fault`, which no fault hits. It does not analyse data, has one organisation, and trusts whoever can reach it.
//!
//! Invariants:
//! - A request is stored whole or not at all.
//! - The same (stream, channel, chunk index) sent again replaces its slice; nothing is stored twice.
//! - Stamps and values are kept to the bit as sent.
//! - Nothing in the pipeline knows this room; it is reached through a socket only.

mod call;
mod connection;
mod control;
mod fault;
mod faults;
mod gate;
mod halved;
mod listen;
mod not_here;
mod plan;
mod platform;
mod refusal;
mod routes;
mod running;
mod search;
mod serve;
mod store;
mod switch;
mod tls;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

pub use call::{Call, Requests};
pub use fault::{Fault, Garbage, InvalidFault};
pub use faults::Faults;
pub use plan::{InvalidPlan, Plan};
pub use running::Server;
pub use store::{StoredChannel, StoredPoint, StoredStream, StreamState};
pub use tls::{Tls, TlsError};

/// How a platform is started. The default listens on a free loopback port, keeps everything in memory and takes any key.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/_local/fault` is to be reached also while nothing listens there; port 0 takes a free one.
    pub control: Option<SocketAddr>,
    /// Speak TLS, and in it HTTP/2 with whoever prefers it; `None` for HTTP/1.1 in the clear. `control` is always in the clear.
    pub tls: Option<Tls>,
    /// Folder of its database, made if it is not there; `None` keeps everything in memory.
    pub data: Option<PathBuf>,
    /// The key that requests have to carry; `None` takes any key that is not empty.
    pub api_key: Option<SecretString>,
    /// Largest body of a request in bytes.
    pub max_body: usize,
    /// A stream that has received nothing for so long is ended as `stream_error`.
    pub silence: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            control: None,
            tls: None,
            data: None,
            api_key: None,
            max_body: 64 << 20,
            silence: Duration::from_secs(2 * 60 * 60),
        }
    }
}

/// The platform could not start, or its store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of the database could not be made.
    #[error("could not create the platform's data folder `{}`", folder.display())]
    CreateFolder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be opened or set up.
    #[error("could not open the platform's database `{}`", file.display())]
    OpenStore {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The database is another program's, or another version's.
    #[error(
        "the platform's database `{}` has version {found}, expected {expected}; use another folder or remove it",
        file.display()
    )]
    StoreVersion {
        /// The file.
        file: PathBuf,
        /// The version in the file.
        found: i64,
        /// The version that this program writes.
        expected: i64,
    },
    /// Its certificate or key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address could not be listened on.
    #[error("could not listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be read.
    #[error("could not read the platform's database")]
    Read(#[source] rusqlite::Error),
    /// No stream has this id.
    #[error("the platform has no stream `{data_id}`")]
    UnknownStream {
        /// The id.
        data_id: String,
    },
}
