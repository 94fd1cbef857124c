//! The record of what instruments said.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::model::Outcome;

/// One value that an instrument gave, as the wire carried it.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The instrument.
    pub instrument: Arc<str>,
    /// The channel's id in the profile.
    pub channel: Arc<str>,
    /// What a perfect reader of the answer gets, in the channel's unit: the rounding of the wire is in it, and the
    /// calibration, if the simulated device was given one.
    pub outcome: Outcome,
    /// When the first byte of the request was taken from the port; for what nobody asked for, when its own first byte went
    /// out.
    pub request_received: Instant,
    /// Just before the first byte of the answer was given to the port.
    pub first_byte_sent: Instant,
    /// Just before the last byte of the answer was given to the port, so never later than anyone has read it.
    pub reply_sent: Instant,
    /// Whether the answer went out as the instrument meant it: no fault changed, cut or addressed it wrongly.
    pub intact: bool,
}

/// The latest so many of them.
#[derive(Debug)]
pub(super) struct Record {
    said: VecDeque<Said>,
    keep: usize,
    forgotten: u64,
}

impl Record {
    pub(super) fn new(keep: usize) -> Self {
        Self { said: VecDeque::new(), keep, forgotten: 0 }
    }

    pub(super) fn push(&mut self, said: Said) {
        self.said.push_back(said);
        while self.said.len() > self.keep {
            self.said.pop_front();
            self.forgotten += 1;
        }
    }

    /// Marks the latest so many values as not having gone out whole.
    pub(super) fn lost(&mut self, values: usize) {
        self.said.iter_mut().rev().take(values).for_each(|said| said.intact = false);
    }

    pub(super) fn all(&self) -> Vec<Said> {
        self.said.iter().cloned().collect()
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
