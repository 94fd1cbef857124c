//! Acquisition: one task per link, each on a thread of its own, that asks the instruments of the link when they are due
//! and stamps what they answer. A link whose instrument speaks unasked is listened to instead.
//!
//! An RS-485 bus is serial by nature, so one task owns each link and no lock exists. It knows neither the network nor the
//! disk: what it has read leaves through a bounded channel whose reader waits for nothing but the processor. Here is
//! decided *when* something is asked, and what a failure means for the next question; *how* it is asked is the driver's.
//!
//! Each thread runs a runtime of its own, so that nothing else in the process (encoding a backlog, a slow browser)
//! stands between a slot and its poll.

mod budget;
mod listener;
mod poller;
mod schedule;
mod thread;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::Driver;
use crate::driver::Protocol;
use crate::link::Connector;
use crate::model::{ChannelIndex, Reason, Sample, Stamp};

pub use budget::{Budget, BudgetRow};
pub use thread::{LinkThread, StartError};

/// What one link is to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The link's place in the bridge's list.
    pub link: usize,
    /// Its name in the lab's TOML.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// What a link thread is made of; made anew when it has to be restarted.
pub struct Plan {
    /// Opens the link.
    pub connector: Box<dyn Connector>,
    /// The instruments on it.
    pub instruments: Vec<Instrument>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("to", &self.connector.describe()).field("instruments", &self.instruments).finish()
    }
}

/// One instrument on a link.
pub struct Instrument {
    /// Its name in the lab's TOML.
    pub name: Arc<str>,
    /// Speaks for it.
    pub driver: Box<dyn Driver>,
    /// The bridge's channel for each channel of the device; none for those the lab does not use.
    pub channels: Vec<Option<ChannelIndex>>,
    /// How long it may stay silent after it was switched on.
    pub warm_up: Duration,
}

impl fmt::Debug for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instrument").field("name", &self.name).field("channels", &self.channels).finish_non_exhaustive()
    }
}

/// What a link has to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The link.
    pub link: usize,
    /// The link will stamp no further sample before this.
    pub watermark: Stamp,
    /// What happened.
    pub event: Event,
}

/// What happened on a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It is open.
    Opened,
    /// It is not open; the poller tries again by itself.
    Down {
        /// Why, with all causes.
        why: String,
    },
    /// Slots went by while it was not open.
    Missed {
        /// The instrument, counted on this link.
        instrument: usize,
        /// How many.
        slots: u64,
    },
    /// An instrument was polled.
    Polled(Poll),
    /// An instrument that speaks unasked was listened to for a while.
    Heard(Talk),
}

/// One poll, answered or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Poll {
    /// The instrument, counted on this link.
    pub instrument: usize,
    /// A sample for every channel that the poll feeds, good or bad.
    pub samples: Vec<Sample>,
    /// Time from request to answer; none if nothing was answered.
    pub round_trip: Option<Duration>,
    /// How long after its slot the poll began.
    pub late_by: Duration,
    /// Slots of the instrument that go unused: polls took too long, or the instrument is left alone for a while.
    pub missed: u64,
    /// What failed.
    pub failure: Option<Failure>,
    /// What the instrument refuses to give and is no longer asked for; none where that is as it was.
    pub left_out: Option<Vec<LeftOut>>,
}

/// What an instrument refuses to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The channels of the lab that have no value for it.
    pub channels: Vec<ChannelIndex>,
    /// Where that is in the instrument, and its own words: `holding 40: exception 2, illegal data address`.
    pub what: String,
}

/// What an instrument said unasked within a while; often nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Talk {
    /// The instrument, counted on this link.
    pub instrument: usize,
    /// A sample for every channel that a message feeds, good or bad, and for every one that was silent for too long.
    pub samples: Vec<Sample>,
    /// Messages that were understood.
    pub messages: u64,
    /// Messages that were spoiled, or that the profile does not describe.
    pub broken: u64,
    /// Why nothing was understood, if something should have been.
    pub failure: Option<Failure>,
}

/// Why a poll brought less than it should.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// In one word.
    pub reason: Reason,
    /// For people.
    pub words: String,
    /// How long the instrument is left alone, if it is.
    pub pause: Option<Duration>,
}
