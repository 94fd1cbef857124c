//! What can go wrong with a simulator.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::profile::Unencodable;

/// Why a simulator can't be started, or can't do what its handle asks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to simulate.
    #[error("a simulated line needs at least one instrument")]
    NoInstruments,
    /// A trace without any bytes.
    #[error("there is nothing to play in the trace: it holds no bytes")]
    NothingToPlay,
    /// Two instruments of one name.
    #[error("two instruments of one line are called `{0}`")]
    SameName(String),
    /// Two instruments that would answer the same requests.
    #[error("`{0}` and `{1}` answer the same requests; give one of them another address")]
    SameAddress(String, String),
    /// A unit that no instrument can have.
    #[error("`{0}` has the Modbus unit {1}; units go from 1 to 247")]
    Unit(String, u8),
    /// An instrument that can't speak what is spoken at the place.
    #[error("`{0}` does not speak what is spoken there: messages of its own and Modbus can't share a line")]
    Speech(String),
    /// Two instruments that speak unasked.
    #[error("`{0}` and `{1}` both speak unasked; only one of them can have the line")]
    TwoTalkers(String, String),
    /// A rate at which nothing can be said.
    #[error("`{0}` can't speak {1} times a second; a rate is a number above 0")]
    Rate(String, f64),
    /// A profile whose replies can only be read.
    #[error("`{instrument}` can't be simulated: its profile describes a reply by the regular expression `{pattern}`")]
    OnlyReadable {
        /// The instrument.
        instrument: String,
        /// The expression.
        pattern: String,
    },
    /// No pseudo-terminal, or its name can't be made.
    #[error("could not open a pseudo-terminal{}", .path.as_ref().map(|p| format!(" at {}", p.display())).unwrap_or_default())]
    OpenPty {
        /// The name.
        path: Option<PathBuf>,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address can't be listened on.
    #[error("could not listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No thread or no runtime for it.
    #[error("could not start the simulator's thread")]
    StartThread(#[source] io::Error),
    /// A name that no instrument of the line has.
    #[error("no simulated instrument is called `{0}`")]
    NoSuchInstrument(String),
    /// A channel that the instrument does not have.
    #[error("`{instrument}` has no channel `{channel}`")]
    NoSuchChannel {
        /// The instrument.
        instrument: String,
        /// The channel.
        channel: String,
    },
    /// A value or state that the profile has no form for.
    #[error("the instrument can't show that")]
    CannotShow(#[from] Unencodable),
    /// The simulator has ended.
    #[error("the simulator has ended")]
    Stopped,
}
