//! What the machine does to the bridge: the space on its disk, and steps of its clock.

use std::time::Duration;

use super::Snapshot;
use crate::model::Stamp;

/// How long a step of the clock is complained of.
const STEP_IS_NEWS_FOR: Duration = Duration::from_secs(600);

/// Space on the disk that holds the runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskLive {
    /// Bytes that are free, where the system says.
    pub free: Option<u64>,
    /// Bytes that are to be free.
    pub min_free: u64,
    /// Whether recording waits for space.
    pub full: bool,
    /// Whether less is free than is to be.
    pub low: bool,
    /// Finished runs that were deleted to make space since the start, and the bytes they took.
    pub pruned: (u64, u64),
}

/// Steps of the host's clock in this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSteps {
    /// How many.
    pub count: u64,
    /// When the last was noticed, in the session's time base.
    pub last_at: Stamp,
    /// By how much, in nanoseconds.
    pub last_nanos: i64,
}

impl Snapshot {
    pub(super) fn complaints_of_host(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Some(free) = self.run.disk.free.filter(|_| self.run.disk.low) {
            complaints.push(format!(
                "the disk is nearly full: {} are free, {} are to be; make space, or set `keep_runs` or `min_free` in [storage]",
                megabytes(free),
                megabytes(self.run.disk.min_free)
            ));
        }
        if let Some(steps) = self.clock_steps.filter(|steps| self.at.since(steps.last_at) < STEP_IS_NEWS_FOR) {
            complaints.push(format!(
                "the host's clock was set by {:+.1} s {} s ago; stamps do not follow it",
                steps.last_nanos as f64 / 1e9,
                self.at.since(steps.last_at).as_secs()
            ));
        }
        complaints
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
