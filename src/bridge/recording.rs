//! Between the flow and the run store: begins the run, and lets batches through once there is one.
//!
//! Acquisition does not wait for it. On a disk that is slow or full, links are polled and shown, the flow holds its ticks,
//! and the run begins as soon as the disk takes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::flow::Recorder;
use crate::live::Begun;
use crate::live::Board;
use crate::model::{RunId, with_causes};
use crate::runs;

const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The run store, as soon as a run is recorded there.
pub(super) struct Recording {
    pub(super) runs: runs::Handle,
    pub(super) begun: watch::Receiver<Option<RunId>>,
}

impl Recorder for Recording {
    fn append(&self, batch: runs::Batch) -> Result<(), runs::Batch> {
        if self.begun.borrow().is_none() {
            return Err(batch);
        }
        self.runs.append(batch)
    }
}

/// Begins the run, however long the disk takes to accept it.
pub(super) async fn begin(
    runs: runs::Handle,
    start: runs::RunStart,
    begun: watch::Sender<Option<RunId>>,
    board: Arc<Board>,
) {
    let mut failing = false;
    loop {
        match runs.begin(start.clone()).await {
            Ok(run) => {
                tracing::info!(%run, "recording");
                board.set_obstacle(None);
                // Nothing of this process is in the run yet: batches are let through from the next line on.
                board.set_begun(Begun { run: run.clone(), before: runs.counts().unwrap_or_default() });
                begun.send_replace(Some(run));
                return;
            }
            Err(error) => {
                let why = with_causes(&error);
                if !failing {
                    failing = true;
                    tracing::error!(
                        error = why,
                        "no run can be begun; instruments are read and shown, nothing is kept"
                    );
                }
                board.set_obstacle(Some(why));
            }
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}
