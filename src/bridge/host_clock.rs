//! Watches the host's wall clock. Stamps do not follow it, but a step is news: for people, for the record, and for the
//! offset where the platform's clock can't be reached and the host's stands in for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::live::Board;
use crate::model::{Stamp, TimeBase};
use crate::runs;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time servers slew less than this; more, from one second to the next, is a step (or the machine was asleep).
const STEP_NANOS: i64 = 500_000_000;

/// Steps that may wait for the disk to take them.
const WAITING_STEPS: usize = 64;

/// Pause between attempts to store a step.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// Looks at the clock until it is stopped.
pub(super) async fn watch(
    time: TimeBase,
    board: Arc<Board>,
    runs: runs::Handle,
    nudge: Arc<Notify>,
    stop: CancellationToken,
) {
    let (steps, waiting) = mpsc::channel(WAITING_STEPS);
    tokio::spawn(stop.clone().run_until_cancelled_owned(record(runs, waiting)));
    let mut drift = Drift { nanos: time.host_drift_nanos() };
    let looking = async {
        let mut pace = tokio::time::interval(LOOK_EVERY);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let before = drift.nanos;
            let now = time.now();
            let Some(by) = drift.step(time.host_drift_nanos()) else { continue };
            let words = words(now.shifted(before), now.shifted(before).shifted(by), by);
            tracing::warn!(by_seconds = by as f64 / 1e9, "{words}");
            board.clock_stepped(by);
            nudge.notify_one();
            if steps.try_send(words).is_err() {
                tracing::error!("a step of the host's clock could not be recorded");
            }
        }
    };
    stop.run_until_cancelled(looking).await;
}

/// How far the host's clock is ahead of the session's, when last looked at.
struct Drift {
    nanos: i64,
}

impl Drift {
    /// By how much the clock was set since the last look, if it was.
    fn step(&mut self, nanos: i64) -> Option<i64> {
        let by = nanos.saturating_sub(std::mem::replace(&mut self.nanos, nanos));
        (by.abs() > STEP_NANOS).then_some(by)
    }
}

fn words(from: Stamp, to: Stamp, by: i64) -> String {
    format!("the host's clock was set from {} to {} ({:+.3} s)", utc(from), utc(to), by as f64 / 1e9)
}

fn utc(at: Stamp) -> String {
    let at_nanos = i128::from(at.as_nanos());
    jiff::Timestamp::from_nanosecond(at_nanos).map_or_else(|_| format!("{at:?}"), |at| format!("{at:.3}"))
}

/// Stores each step as an event of the run, as soon as there is one and the disk takes it.
async fn record(runs: runs::Handle, mut steps: mpsc::Receiver<String>) {
    while let Some(words) = steps.recv().await {
        loop {
            match runs.event("host_clock_step", &words).await {
                Ok(()) => break,
                Err(runs::Error::Stopped) => return,
                Err(_) => tokio::time::sleep(STORE_AGAIN).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_sudden_change_and_a_slow_one_is_not() {
        let mut drift = Drift { nanos: 0 };
        for slewed in (0..100).map(|second| second * 40_000_000) {
            assert_eq!(drift.step(slewed), None);
        }
        let slewed = 99 * 40_000_000;
        assert_eq!(drift.step(slewed + 3_600_000_000_000), Some(3_600_000_000_000));
        assert_eq!(drift.step(slewed + 3_600_000_000_000), None, "one step is told once");
        assert_eq!(drift.step(slewed), Some(-3_600_000_000_000));
    }

    #[test]
    fn a_step_is_told_with_both_times() {
        let from = Stamp::from_nanos(1_795_357_081_000_000_000);
        assert_eq!(
            words(from, from.shifted(-3_600_000_000_000), -3_600_000_000_000),
            "the host's clock was set from 2026-11-22T14:18:01.000Z to 2026-11-22T13:18:01.000Z (-3600.000 s)"
        );
    }
}
