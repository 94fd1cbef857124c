//! Upload: from chunks on disk to requests on the wire, for as long as it takes.
//!
//! This room decides what is sent next, how many requests are in flight, what is tried again and when a stream is
//! finished. It holds no data: the [`Outbox`] does, durably, and every decision can be taken again after a crash.

use crate::model::{ChannelName, Frozen, OutboxRun, RunId};

/// What the uploader needs of the run store.
#[cfg_attr(test, mockall::automock)]
#[async_trait::async_trait]
pub trait Outbox: Send + Sync {
    /// Runs that still need the platform, oldest first.
    async fn pending(&self) -> Result<Vec<OutboxRun>, OutboxError>;

    /// Returns when something was sealed, closed or otherwise changed since the last call returned.
    async fn changed(&self);

    /// Records the stream that the platform has just created for a run, durably.
    async fn stream_opened(&self, run: &RunId, data_id: &str) -> Result<(), OutboxError>;

    /// Records that the platform has ended a run's newest stream. Its unconfirmed chunks thaw: a continuation takes them.
    async fn stream_ended(&self, run: &RunId, why: &str) -> Result<(), OutboxError>;

    /// Records that a run's newest stream is finalized; a closed run is then done.
    async fn stream_finalized(&self, run: &RunId) -> Result<(), OutboxError>;

    /// Freezes the oldest chunks that wait, at most `limit` and none of `in_flight`, for the run's newest stream, durably,
    /// and returns them. A chunk that was frozen before comes back the same to the bit.
    async fn take(&self, run: &RunId, limit: usize, in_flight: &[u64]) -> Result<Vec<Frozen>, OutboxError>;

    /// Records that the platform has confirmed a chunk, except for these channels that it refused, with its words.
    async fn settle(&self, run: &RunId, seq: u64, refused: &[(ChannelName, String)]) -> Result<(), OutboxError>;

    /// Records that sending a chunk failed and will be tried again.
    async fn attempt_failed(&self, run: &RunId, seq: u64, why: &str) -> Result<(), OutboxError>;
}

/// The run store could not do what the uploader asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct OutboxError(pub String);
