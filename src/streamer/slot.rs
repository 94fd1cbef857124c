//! A slot at work: a run store with its delivery.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::atomscale::Platform;
use crate::delivery::Delivery;
use crate::model::{ClockReading, ClockSource, RunState};
use crate::runs;
use crate::upload;

/// So long a new stream waits for the platform's time, which takes one exchange.
const LEARN_THE_TIME_WITHIN: Duration = Duration::from_millis(100);

/// Confirmations may be made durable together, this much later. What is lost of them is sent again, which changes nothing.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// Runs that the platform has whole are deleted after this time: each start reads every file that is there.
const KEEP_RUNS: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the delivery of every slot is made from.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) platform: Arc<dyn Platform>,
    /// Measurements of the session's clock; none where timestamps leave as they were given.
    pub(super) readings: Option<watch::Receiver<Option<ClockReading>>>,
    /// Has the clock measured at once.
    pub(super) clock_nudge: Arc<Notify>,
}

/// A slot at work.
pub(super) struct Slot {
    pub(super) folder: PathBuf,
    pub(super) runs: runs::Handle,
    pub(super) kept: watch::Receiver<runs::Status>,
    pub(super) uploading: watch::Receiver<upload::Status>,
    /// The newest measurement of the clock that the store knows.
    recorded: watch::Receiver<Option<ClockReading>>,
    clock: bool,
    /// Streams of this streamer that are kept here.
    users: AtomicUsize,
    finish: CancellationToken,
    work: Mutex<Option<(runs::Store, JoinHandle<upload::Left>)>>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Slot {
    /// Opens the store, unless another process has it, and begins to deliver. Waits for the disk, not for the network.
    pub(super) async fn open(folder: &Path, way: &Way) -> Result<Arc<Self>, runs::Error> {
        let clock = way.readings.is_some();
        let settings = runs::Settings {
            keep_runs: Some(KEEP_RUNS),
            settle_within: SETTLE_WITHIN,
            keep_clock: true,
            trust_host_clock: !clock,
            ..runs::Settings::new(folder)
        };
        let opening = tokio::task::spawn_blocking(move || runs::Store::open(settings));
        let (store, runs) = opening.await.unwrap_or(Err(runs::Error::Stopped))?;
        let (status, uploading) = watch::channel(upload::Status::default());
        let (record, recorded) = watch::channel(None);
        let finish = CancellationToken::new();
        let delivery = Delivery {
            runs: runs.clone(),
            platform: Arc::clone(&way.platform),
            settings: upload::Settings {
                shutdown_grace: Duration::ZERO,
                clock_nudge: Arc::clone(&way.clock_nudge),
                ..upload::Settings::default()
            },
            readings: way.readings.clone(),
            recorded: record,
            status,
            finish: finish.clone(),
        };
        let delivering = tokio::spawn(delivery.run());
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            kept: runs.snapshot(),
            runs,
            uploading,
            recorded,
            clock,
            users: AtomicUsize::new(0),
            finish,
            work: Mutex::new(Some((store, delivering))),
        }))
    }

    /// Waits for the platform's time, but not for long: chunks that come before it are written once more to be sent.
    pub(super) async fn learn_the_time(&self) {
        let mut recorded = self.recorded.clone();
        let known = recorded.wait_for(|reading| reading.is_some_and(|reading| reading.source == ClockSource::Platform));
        if self.clock {
            // Where it takes longer, the uploader waits for it.
            drop(tokio::time::timeout(LEARN_THE_TIME_WITHIN, known).await);
        }
    }

    /// Whether a chunk's stamps can be fixed now, rather than when it is sent.
    pub(super) fn knows_the_time(&self) -> bool {
        !self.clock || self.recorded.borrow().is_some_and(|reading| reading.source == ClockSource::Platform)
    }

    /// Whether a program left a stream here that can be gone on with.
    pub(super) fn holds_what_was_left(&self) -> bool {
        self.kept.borrow().runs.iter().any(|run| run.state == RunState::Recording)
    }

    /// Whether the platform needs nothing more of it but what somebody may go on with.
    pub(super) fn is_delivered(&self) -> bool {
        let open = |run: &runs::RunTotals| run.state == RunState::Recording && run.queued_chunks == 0;
        self.kept.borrow().runs.iter().all(open)
    }

    /// A stream of this streamer is kept here from now on.
    pub(super) fn use_it(&self) {
        self.users.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.users.load(Ordering::SeqCst) > 0
    }

    /// Ends the delivery, commits what was accepted, and gives up the slot. Says what is left.
    pub(super) async fn close(&self) -> Result<upload::Left, runs::Error> {
        let Some((store, delivering)) = self.work.lock().await.take() else { return Ok(upload::Left::default()) };
        self.finish.cancel();
        let left = delivering.await.unwrap_or_else(|_| {
            tracing::error!("the uploader ended in a panic; the next streamer goes on");
            upload::Left::default()
        });
        store.close().await?;
        Ok(left)
    }
}
