//! The run store as the uploader's outbox.

use crate::model::{ChannelName, Frozen, OutboxRun, RunId, with_causes};
use crate::runs;
use crate::upload::Outbox;
use crate::upload::OutboxError;

/// Joins the two rooms, which do not know each other.
#[derive(Debug, Clone)]
pub struct RunOutbox(pub runs::Handle);

#[async_trait::async_trait]
impl Outbox for RunOutbox {
    async fn pending(&self) -> Result<Vec<OutboxRun>, OutboxError> {
        self.0.pending().await.map_err(told)
    }

    async fn changed(&self) {
        self.0.changed().await;
    }

    async fn stream_opened(&self, run: &RunId, data_id: &str) -> Result<(), OutboxError> {
        self.0.stream_opened(run, data_id).await.map_err(told)
    }

    async fn stream_ended(&self, run: &RunId, why: &str) -> Result<(), OutboxError> {
        self.0.stream_ended(run, why).await.map_err(told)
    }

    async fn stream_finalized(&self, run: &RunId) -> Result<(), OutboxError> {
        self.0.stream_finalized(run).await.map_err(told)
    }

    async fn take(&self, run: &RunId, limit: usize, in_flight: &[u64], from: u64) -> Result<Vec<Frozen>, OutboxError> {
        self.0.take(run, limit, in_flight, from).await.map_err(told)
    }

    async fn settle(
        &self,
        run: &RunId,
        seq: u64,
        refused: &[(ChannelName, String)],
        said: &[(ChannelName, u64)],
    ) -> Result<(), OutboxError> {
        self.0.settle(run, seq, refused, said).await.map_err(told)
    }

    async fn attempt_failed(&self, run: &RunId, seq: u64, why: &str) -> Result<(), OutboxError> {
        self.0.attempt_failed(run, seq, why).await.map_err(told)
    }
}

fn told(error: runs::Error) -> OutboxError {
    let words = with_causes(&error);
    if error.is_of_one_run() { OutboxError::Run(words) } else { OutboxError::Store(words) }
}
