//! What is asked of the thread that keeps the runs.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Batch, Error, GivenStart, Prunable, Reopened, RunStart, Taken};
use crate::model::{ChannelName, Chunk, ClockReading, Frozen, OutboxRun, Resending, RunId, TimeBase};

/// The way back to the caller.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// A command, with its place in the queue, which is given back when the command has been taken out.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: Command,
    #[expect(dead_code, reason = "held to be dropped")]
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// What is asked of the thread: see the methods of [`Handle`](super::Handle).
#[derive(Debug)]
pub(super) enum Command {
    Begin(Box<RunStart>, Reply<RunId>),
    Append(Batch),
    Flush(Reply<()>),
    EndRun(Reply<()>),
    EndSession(Reply<()>),
    CloseUnfinished(Reply<()>),
    Clock(ClockReading, Reply<()>),
    Event {
        kind: String,
        text: String,
        reply: Reply<()>,
    },
    Pending(Reply<Vec<OutboxRun>>),
    OpenGiven(Box<GivenStart>, Reply<RunId>),
    ReopenGiven {
        data_id: String,
        time: TimeBase,
        reply: Reply<Reopened>,
    },
    CloseGiven {
        run: RunId,
        reply: Reply<()>,
    },
    Give {
        run: RunId,
        chunk: Arc<Chunk>,
        freeze: bool,
        reply: Reply<Taken>,
    },
    /// Something was left for the thread.
    Heed,
    StreamOpened {
        run: RunId,
        data_id: String,
        reply: Reply<()>,
    },
    StreamEnded {
        run: RunId,
        why: String,
        reply: Reply<()>,
    },
    StreamFinalized {
        run: RunId,
        reply: Reply<()>,
    },
    Take {
        run: RunId,
        limit: usize,
        in_flight: Vec<u64>,
        from: u64,
        reply: Reply<Vec<Frozen>>,
    },
    Settle {
        run: RunId,
        seq: u64,
        refused: Vec<(ChannelName, String)>,
        said: Vec<(ChannelName, u64)>,
        reply: Reply<()>,
    },
    Resend {
        run: RunId,
        chunk: Option<u64>,
        reply: Reply<Resending>,
    },
    AttemptFailed {
        run: RunId,
        seq: u64,
        why: String,
        reply: Reply<()>,
    },
    Prune {
        dry_run: bool,
        reply: Reply<Vec<Prunable>>,
    },
    Stop(Reply<()>),
    #[cfg(test)]
    LimitPages(Option<u32>, Reply<()>),
}
