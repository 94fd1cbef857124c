//! Whether the outbox works, and when it may be asked again. Backed off as the platform is: a full disk is waited for, too.

use tokio::time::Instant;

use super::OutboxError;
use super::backoff::Backoff;

/// What is known of the outbox.
#[derive(Debug)]
pub(super) struct StoreHealth {
    backoff: Backoff,
    /// Failures since it last did what failed.
    failures: u32,
    /// Whether the last failure was one of reading: a full disk can still be read.
    reading: bool,
    not_before: Option<Instant>,
}

impl StoreHealth {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, reading: false, not_before: None }
    }

    /// When it may be asked again, if not at once.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Whether it is left alone for now.
    pub(super) fn rests(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|at| at > now)
    }

    /// It read, or wrote, as it should.
    pub(super) fn worked(&mut self, reading: bool) {
        if self.failures > 0 && reading == self.reading {
            tracing::info!(failures = self.failures, "the run store works again");
            self.failures = 0;
            self.not_before = None;
        }
    }

    /// It could not read, or write.
    pub(super) fn failed(&mut self, error: &OutboxError, reading: bool, now: Instant) {
        if self.failures == 0 {
            tracing::error!(%error, "the run store can't be used; the upload waits for it");
        }
        self.failures = self.failures.saturating_add(1);
        self.reading = reading;
        self.not_before = Some(now + self.backoff.pause(self.failures));
    }
}
