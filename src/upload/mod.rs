//! Upload: from chunks on disk to requests on the wire, for as long as it takes.
//!
//! This room decides what is sent next, how many requests are in flight, what is tried again and when a stream is
//! finished. It holds no data: the [`Outbox`] does, durably, and every decision can be taken again after a crash.
//!
//! - Oldest run first, but every other request belongs to the run that is being recorded; and within a run that has a
//!   backlog, every other to what was sealed since the backlog began to be sent: a backlog never blinds the lab.
//! - A window of requests in flight, which grows while answers are quick and halves at the first trouble.
//! - While the platform is down (or not known to be up), one request at a time tries it, after a pause with full jitter.
//! - A refused key holds everything and is tried each minute; so is a run whose stream can't be opened, alone.
//! - What a refused chunk means is found out by `refusals`: one of its channels, the whole chunk, or a stream that has ended.
//! - A stream that has ended gets a continuation. A continuation that takes nothing is not replaced again and again: its run
//!   is held, and streams on which nothing passes come at most a minute apart, then two, up to an hour.
//! - A run whose file can't be used is held alone, for a second, then two, up to an hour; a store that fails holds everything.
//! - Nothing is given up but what the platform refuses while it takes its neighbours; that is settled as refused.
//!
//! Every chunk may arrive twice; resending replaces. So whatever is in doubt is sent again, and nothing is waited for at
//! the end: what is in flight when time is up is dropped.

mod backoff;
mod courier;
mod health;
mod job;
mod landing;
mod lanes;
mod refusals;
mod run_events;
mod run_upload;
mod status;
mod store_health;
mod turn;
mod window;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch;

use crate::model::ChannelName;
use crate::model::ClockReading;
use crate::model::Frozen;
use crate::model::OutboxRun;
use crate::model::RunId;

pub use courier::run;
pub use status::{Failure, Left, PlatformState, RunStatus, Status};

/// What the uploader needs of the run store.
#[cfg_attr(test, mockall::automock)]
#[async_trait::async_trait]
pub trait Outbox: Send + Sync {
    /// Runs that still need the platform, oldest first.
    async fn pending(&self) -> Result<Vec<OutboxRun>, OutboxError>;

    /// Returns when something was sealed, closed or otherwise changed since the last call returned. May return too often;
    /// a call that is dropped before it returns must not swallow a change.
    async fn changed(&self);

    /// Records the stream that the platform has just created for a run, durably.
    async fn stream_opened(&self, run: &RunId, data_id: &str) -> Result<(), OutboxError>;

    /// Records that the platform has ended a run's newest stream. Its unconfirmed chunks thaw: a continuation takes them.
    async fn stream_ended(&self, run: &RunId, why: &str) -> Result<(), OutboxError>;

    /// Records that a run's newest stream is finalized; a closed run is then done. Called also for a closed run that has
    /// nothing queued and whose newest stream is none, or has ended: it is done as well.
    async fn stream_finalized(&self, run: &RunId) -> Result<(), OutboxError>;

    /// Freezes the oldest chunks that wait from number `from` on, at most `limit` and none of `in_flight`, for the run's newest
    /// stream, durably, and returns them. Those before `from` are frozen too. A chunk that was frozen before comes back the same to the bit. Fewer than `limit` means that no more
    /// are there at the moment.
    async fn take(&self, run: &RunId, limit: usize, in_flight: &[u64], from: u64) -> Result<Vec<Frozen>, OutboxError>;

    /// Records that the platform has confirmed a chunk, except for these channels that it refused, with its words. All
    /// channels refused: the chunk is rejected. `said`: points that the platform says to hold of channels now.
    async fn settle(
        &self,
        run: &RunId,
        seq: u64,
        refused: &[(ChannelName, String)],
        said: &[(ChannelName, u64)],
    ) -> Result<(), OutboxError>;

    /// Records that sending a chunk failed and will be tried again.
    async fn attempt_failed(&self, run: &RunId, seq: u64, why: &str) -> Result<(), OutboxError>;
}

/// The run store could not do what the uploader asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboxError {
    /// It can't do so for any run: the disk is full, or the store is closed. Everything waits for it.
    #[error("{0}")]
    Store(String),
    /// It can't do so for this run: its file can't be read, or is damaged. Other runs go on.
    #[error("{0}")]
    Run(String),
}

/// How the uploader behaves. The defaults are the architecture's.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Requests in flight at the start.
    pub window: usize,
    /// Most requests ever in flight. A connection each: file descriptors and the platform's patience bound it.
    pub largest_window: usize,
    /// An answer within this time is a quick one, and lets the window grow.
    pub quick: Duration,
    /// Bound of the first random pause after a failure; it doubles from there.
    pub first_pause: Duration,
    /// Bound of the longest pause.
    pub longest_pause: Duration,
    /// Time between attempts while the key is not accepted, or while a run can't be opened.
    pub hold: Duration,
    /// How long to go on after `finish`: what is not sent by then is left to the next start.
    pub shutdown_grace: Duration,
    /// The session's clock reading, once the outbox knows it too. The first chunks wait for one of the platform's, since a
    /// chunk's stamps are frozen with its first request. None: nothing to wait for.
    pub clock: Option<watch::Receiver<Option<ClockReading>>>,
    /// How long the first chunks wait for it, once the platform answers.
    pub clock_patience: Duration,
    /// Notified when the platform answers again: a clock that could not reach it need not rest any longer.
    pub clock_nudge: Arc<Notify>,
    /// Seed of the jitter; none takes a random one.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: 4,
            largest_window: 16,
            quick: Duration::from_secs(2),
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            hold: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(20),
            clock: None,
            clock_patience: Duration::from_secs(5),
            clock_nudge: Arc::default(),
            seed: None,
        }
    }
}
