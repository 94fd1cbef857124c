//! Drivers: from bytes on a link to readings.
//!
//! A driver speaks for one instrument. It borrows the link's [`Bus`] for each exchange, never keeps it, and may be dropped
//! at any await: the wire then knows that it is dirty, and the next exchange settles it first. Drivers do not stamp time,
//! do not retry and do not schedule: the poller does. What an instrument says unasked has the instant of its first byte.
//!
//! Invariants:
//! - A late answer is never taken for the answer to the next question: see [`Wire::accept`](crate::link::Wire::accept) for
//!   protocols without transaction numbers; a Modbus/TCP connection is dropped after any error.
//! - No Modbus function that writes can be encoded here.

mod bus;
mod ear;
mod error;
mod listen;
mod message;
pub mod modbus;
#[cfg(unix)]
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::model::Reading;
use crate::profile::Device;
use crate::profile::DeviceEngine;

pub use bus::{Bus, Protocol};
pub use error::{Error, Recovery};
pub use listen::ListenDriver;
pub use message::MessageDriver;
pub use modbus::ModbusDriver;

#[cfg(unix)]
#[cfg(test)]
pub(crate) use tests::{line_listener, modbus_unit, raw_pty};

/// One instrument on a link.
#[cfg_attr(test, mockall::automock)]
#[async_trait::async_trait]
pub trait Driver: Send {
    /// What can be polled, each at its own period. Fixed for life; [`Reading::channel`] counts the channels of the device.
    fn polls(&self) -> &[PollSpec];

    /// Prepares the instrument after the link was opened (or opened again).
    async fn connect(&mut self, bus: &mut Bus) -> Result<(), Error>;

    /// Carries out one poll. Bounded in time by the profile's `timing.reply` for each exchange.
    async fn poll(&mut self, bus: &mut Bus, poll: usize) -> Polled;

    /// Whether the instrument speaks unasked: then it has no polls and is listened to, all the time.
    fn listens(&self) -> bool {
        false
    }

    /// Listens until something was said, or until `until`, and returns soon after; more may have been said by then. Bytes
    /// that come between two calls are not lost. An instrument that is asked says nothing unasked: [`Error::Protocol`].
    async fn listen(&mut self, _bus: &mut Bus, _until: Instant) -> Listened {
        Listened { failure: Some(Error::Protocol), ..Listened::nothing() }
    }

    /// What the device refuses to give and is left out of its requests for now, for its status.
    fn left_out(&self) -> Vec<LeftOut> {
        Vec::new()
    }
}

/// A part of the device that it refuses to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The channels of the device that have no value for it.
    pub channels: Vec<usize>,
    /// Which place, and the device's own words: "holding 40 (`output`): exception 2, illegal data address".
    pub what: String,
}

/// The driver for a device. `unit` is its Modbus address; others have theirs in their messages.
pub fn driver(device: Device, unit: u8) -> Box<dyn Driver> {
    match &device.engine {
        DeviceEngine::Messages(messages) if messages.listens() => {
            Box::new(ListenDriver::new(messages.clone(), &device))
        }
        DeviceEngine::Messages(messages) => Box::new(MessageDriver::new(messages.clone(), &device)),
        DeviceEngine::Modbus(modbus) => Box::new(ModbusDriver::new(modbus.clone(), device, unit)),
    }
}

/// One thing to ask for regularly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollSpec {
    /// How often.
    pub every: Duration,
    /// The channels of the device that it feeds.
    pub channels: Vec<usize>,
    /// The exchanges it takes, for the bus-time budget.
    pub exchanges: Vec<ExchangeSize>,
}

/// What one exchange costs on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeSize {
    /// Bytes sent.
    pub request: usize,
    /// Bytes of the longest regular answer.
    pub reply: usize,
    /// Time the device takes to answer, as far as its profile knows.
    pub turnaround: Duration,
    /// Silence that has to pass before the request, beyond what the line's protocol demands.
    pub silence: Duration,
}

/// What came of a poll. Channels that no exchange covers are missing for the failure's reason.
#[derive(Debug)]
pub struct Polled {
    /// The exchanges that were answered, each with the time of its own.
    pub exchanges: Vec<Exchange>,
    /// Why the poll stopped short, if it did.
    pub failure: Option<Error>,
}

/// One question with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// When the first byte of the request went out.
    pub asked: Instant,
    /// When the answer was complete.
    pub answered: Instant,
    /// What the answer says. All of it shares one time.
    pub readings: Vec<Reading>,
}

/// What was said unasked. What was not said in time is in it too.
#[derive(Debug)]
pub struct Listened {
    /// In the order of their times.
    pub said: Vec<Said>,
    /// Messages that were understood.
    pub messages: u64,
    /// Messages that were spoiled, or that the profile does not describe.
    pub broken: u64,
    /// Bytes that belonged to no message.
    pub skipped: u64,
    /// No message that is still to come began before this.
    pub watermark: Instant,
    /// Why nothing was understood, or that the link is lost. None where nothing was said at all.
    pub failure: Option<Error>,
}

impl Listened {
    /// Nothing so far.
    pub fn nothing() -> Self {
        Self { said: Vec::new(), messages: 0, broken: 0, skipped: 0, watermark: Instant::now(), failure: None }
    }
}

/// One message, or the lack of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// When its first byte came.
    pub at: Instant,
    /// How much earlier that may have been.
    pub uncertainty: Duration,
    /// What it says.
    pub readings: Vec<Reading>,
}
