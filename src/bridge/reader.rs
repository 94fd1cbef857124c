//! Reading without recording: links and board only, for `mbe-bridge read` and `check --probe`.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::flow::{Flow, Recorder};
use super::traces::{TraceWish, Traces};
use super::{Error, WAITING_REPORTS, links};
use crate::acquire::LinkThread;
use crate::config::Config;
use crate::live::Board;
use crate::model::TimeBase;
use crate::runs::Batch;

/// Polls as a bridge would, and records nothing.
#[derive(Debug)]
pub struct Reader {
    board: Arc<Board>,
    threads: Vec<LinkThread>,
    traces: Traces,
    flow: JoinHandle<()>,
    stop: CancellationToken,
}

/// Takes everything and keeps nothing.
struct Nobody;

impl Recorder for Nobody {
    fn append(&self, _: Batch) -> Result<(), Batch> {
        Ok(())
    }
}

impl Reader {
    /// Starts polling.
    pub fn start(config: &Arc<Config>) -> Result<Self, Error> {
        Self::start_traced(config, &[])
    }

    /// The same, with traces from the first byte on.
    pub fn start_traced(config: &Arc<Config>, wishes: &[TraceWish]) -> Result<Self, Error> {
        let time = TimeBase::start();
        let traces = Traces::start(config, time, wishes)?;
        let board = Arc::new(links::board(config, time));
        let stop = CancellationToken::new();
        let (reports, received) = mpsc::channel(WAITING_REPORTS);
        let flow = tokio::spawn(Flow::new(config, time, Arc::clone(&board), Nobody).run(received));
        let threads = links::start(config, time, traces.taps(), &reports, &stop)?;
        Ok(Self { board, threads, traces, flow, stop })
    }

    /// What has been read.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Stops polling.
    pub async fn stop(self) {
        self.stop.cancel();
        let (threads, traces) = (self.threads, self.traces);
        let ended = move || {
            threads.into_iter().for_each(LinkThread::join);
            traces.stop();
        };
        let joined = tokio::task::spawn_blocking(ended).await;
        if joined.is_err() || self.flow.await.is_err() {
            tracing::error!("a stage ended in a panic");
        }
    }
}
