//! The mux: samples of many links aligned onto one time axis.
//!
//! The [`Aligner`] is pure: samples and watermarks go in, ticks and counts come out. It knows neither clock nor task nor
//! disk, so that property tests can hold it to its promises: no sample is lost, repeated or moved by more than half a
//! period, and every reading is counted once.
//!
//! **Grid** (the default): ticks lie on whole multiples of the period since the Unix epoch of the session's time base.
//! Each good sample is placed once, on its nearest tick. Of two samples of one channel for one tick the nearer stays and
//! the other counts as decimated. A channel without a sample has no point on that tick.
//!
//! **Native**: each sample keeps its own time; samples of one instant share a tick.
//!
//! A tick is closed when no link can bring a sample for it any more. Each link says so by its watermark, below which it
//! will not stamp another sample; a link that has not moved for `lateness` is no longer waited for.

mod align;
mod fill;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::{Counts, Tick};

pub use align::Aligner;

/// How samples become ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// On which instants.
    pub mode: Mode,
    /// How long a tick waits for a link that does not move.
    pub lateness: Duration,
}

/// The instants of the time axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Whole multiples of the period.
    Grid {
        /// Distance of two ticks, at least one nanosecond.
        period: Duration,
        /// What stands on a tick for a channel without a sample.
        fill: Fill,
    },
    /// The samples' own times.
    Native,
}

/// What stands on a tick for a channel that has no sample there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Nothing.
    None,
    /// The last sample before the tick, unless it is older than `max_age` or a bad reading came after it.
    Hold {
        /// Greatest age of a held sample.
        max_age: Duration,
    },
    /// The straight line between the samples around the tick, unless they are more than `max_age` apart or a bad reading
    /// lies between them. Ticks are kept back until the later sample has come, or can't come any more.
    Linear {
        /// Greatest distance of the two samples.
        max_age: Duration,
    },
}

/// What has come out of the aligner since it was last drained.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Aligned {
    /// Closed ticks that have points, in rising order.
    pub ticks: Vec<Tick>,
    /// What was counted, per channel: read, bad, decimated and late, for readings whose fate is decided: `read` is the sum of
    /// the others and of the samples in `ticks`. The recorder adds what it records.
    pub counts: Vec<Counts>,
}

impl Aligned {
    /// Whether there is nothing to pass on.
    pub fn is_empty(&self) -> bool {
        self.ticks.is_empty() && self.counts.iter().all(|counts| *counts == Counts::default())
    }
}
