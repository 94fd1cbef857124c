//! Links: one byte stream to the field each, serial or TCP.
//!
//! A [`Connector`] opens the stream, again and again if need be; a [`Wire`] is the opened stream with what every protocol
//! on it has to keep: silences, the instants of the first and last byte, and whether the line can be trusted. The room
//! knows no protocol, retries nothing and backs nothing off: the poller does.
//!
//! Invariants:
//! - `Ok(0)` from a port is never data: a hung-up terminal reads so for ever. The wire is gone from then on, and each
//!   further call fails at once.
//! - No call waits for the kernel to drain a port; the time of the last bit out is computed from the baud rate.
//! - A wire is dirty from before the first byte of a question until [`Wire::accept`]. Dropping a future half-way leaves it
//!   dirty, and [`Wire::begin`] settles a dirty wire before anything is asked.
//! - What comes unasked is read with [`Wire::hear`], which knows for each byte when it can have come.

mod doubt;
mod error;
mod hear;
#[cfg(target_os = "linux")]
mod ioctl;
mod limit;
mod owned;
mod pace;
pub mod ports;
mod serial;
mod settings;
#[cfg(target_os = "linux")]
mod sysfs;
mod tcp;
#[cfg(unix)]
#[cfg(test)]
mod tests;
mod traced;
pub mod udev;
mod wire;

use crate::model::Transport;
use traced::TracedConnector;

pub use error::{Error, Fault};
pub use hear::Arrival;
pub use limit::Limit;
pub use pace::Pacer;
pub use serial::SerialConnector;
pub use settings::WireSettings;
pub use tcp::TcpConnector;
pub use wire::{Seen, Stream, Trace, Wire};

/// Opens the byte stream of one link, as often as it has to be opened.
#[cfg_attr(test, mockall::automock)]
#[async_trait::async_trait]
pub trait Connector: Send {
    /// Opens the link. Bounded in time: 5 s for a connection, at once for a port.
    async fn open(&mut self) -> Result<Wire, Error>;

    /// Where the link goes, for people: `/dev/ttyUSB0 (19200 8E1)`, `modbus-tcp 192.168.10.20:502`.
    fn describe(&self) -> String;
}

/// The connector for a transport. With a trace, it sees each byte of each wire that the connector opens, and how opening
/// went.
pub fn connector(transport: &Transport, trace: Option<Trace>) -> Box<dyn Connector> {
    let plain: Box<dyn Connector> = match transport {
        Transport::Serial { port, line } => Box::new(SerialConnector::new(port, line.clone(), trace.clone())),
        Transport::Tcp { address } | Transport::RtuOverTcp { address } | Transport::ModbusTcp { address } => {
            Box::new(TcpConnector::new(address, transport.to_string(), trace.clone()))
        }
    };
    match trace {
        Some(trace) => Box::new(TracedConnector::new(plain, trace)),
        None => plain,
    }
}
