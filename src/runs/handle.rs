//! The way to the thread that keeps the runs: what the mux, the uploader and people ask of it.

use std::sync::Arc;
use std::sync::mpsc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::command::{Command, Request};
use super::tray::{Attention, Tray};
use super::{Batch, Error, GivenStart, Prunable, Reopened, RunStart, Status, Taken};
use crate::model::{ChannelName, Chunk, ClockReading, Counts, Frozen, OutboxRun, Resending, RunId, TimeBase};

/// Requests other than batches that may wait for the thread; callers beyond it wait for their turn.
const WAITING_REQUESTS: usize = 64;

/// Points of given chunks that may wait for the thread: 8 MiB of numbers. A larger chunk counts as this many.
const WAITING_GIVEN: usize = 1 << 20;

/// Cheap to clone. Every method returns an error, and never blocks, once the store is closed.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Request>,
    batches: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    given: Arc<Semaphore>,
    changed: Arc<Notify>,
    tray: Arc<Tray>,
    /// Confirmations need not be durable when they are told.
    settles_late: bool,
    status: watch::Receiver<Status>,
}

impl Handle {
    pub(super) fn new(
        commands: mpsc::Sender<Request>,
        waiting_batches: usize,
        changed: Arc<Notify>,
        tray: Arc<Tray>,
        settles_late: bool,
        status: watch::Receiver<Status>,
    ) -> Self {
        Self {
            commands,
            batches: Arc::new(Semaphore::new(waiting_batches.max(1))),
            requests: Arc::new(Semaphore::new(WAITING_REQUESTS)),
            given: Arc::new(Semaphore::new(WAITING_GIVEN)),
            changed,
            tray,
            settles_late,
            status,
        }
    }

    /// Begins a run, or goes on with the unfinished one if `start.resume` says so and it fits. Either way the run is
    /// durable, and appends belong to it, when this returns.
    pub async fn begin(&self, start: RunStart) -> Result<RunId, Error> {
        self.ask(|reply| Command::Begin(Box::new(start), reply)).await
    }

    /// Begins a run that a program gives chunks to. It is durable when this returns. Many may be open at once.
    pub async fn open_given(&self, start: GivenStart) -> Result<RunId, Error> {
        self.ask(|reply| Command::OpenGiven(Box::new(start), reply)).await
    }

    /// Goes on with a run that a program left without closing it, in a new session. `data_id` is of any of its streams.
    ///
    /// Fails with [`Error::UnknownStream`], [`Error::Finalized`] once the run was closed, or [`Error::AlreadyOpen`].
    pub async fn reopen_given(&self, data_id: &str, time: TimeBase) -> Result<Reopened, Error> {
        let data_id = data_id.to_owned();
        self.ask(|reply| Command::ReopenGiven { data_id, time, reply }).await
    }

    /// Gives a chunk to a run: its index is the slice of the stream, its stamps are in the session's time and leave in
    /// reference UTC. It is durable when this returns; chunks that wait together share a sync.
    ///
    /// `freeze`: the clock is known, and need not be waited for. Waits while more than 8 MiB wait for the disk. Fails with
    /// [`Error::Given`] if the chunk can't be taken as it is, and [`Error::Full`] while the disk is full.
    pub async fn give(&self, run: &RunId, chunk: Arc<Chunk>, freeze: bool) -> Result<Taken, Error> {
        let permit = Arc::clone(&self.given).acquire_many_owned(weight(&chunk)).await.map_err(|_| Error::Stopped)?;
        self.send_given(run, chunk, freeze, permit)?.await.map_err(|_| Error::Stopped)?
    }

    /// The same without waiting: the answer comes once the chunk is durable, within 250 ms on a sound disk. Gives the chunk
    /// back when too much waits for the disk.
    pub fn accept(
        &self,
        run: &RunId,
        chunk: Arc<Chunk>,
        freeze: bool,
    ) -> Result<oneshot::Receiver<Result<Taken, Error>>, Arc<Chunk>> {
        let Ok(permit) = Arc::clone(&self.given).try_acquire_many_owned(weight(&chunk)) else { return Err(chunk) };
        let (reply, answer) = oneshot::channel();
        let bytes = chunk.points() * size_of::<f64>();
        let command = Command::Give { run: run.clone(), chunk, freeze, reply };
        if self.tray.leave_given(Request { command, permit: Some(permit) }, bytes) {
            self.wake();
        }
        Ok(answer)
    }

    fn send_given(
        &self,
        run: &RunId,
        chunk: Arc<Chunk>,
        freeze: bool,
        permit: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Taken, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Give { run: run.clone(), chunk, freeze, reply };
        self.commands.send(Request { command, permit: Some(permit) }).map_err(|_| Error::Stopped)?;
        Ok(answer)
    }

    /// Takes no more chunks for a run. It waits for the platform from now on, and its stream is finalized after the last chunk.
    pub async fn close_given(&self, run: &RunId) -> Result<(), Error> {
        let run = run.clone();
        self.ask(|reply| Command::CloseGiven { run, reply }).await
    }

    /// Hands over what the aligner has finished; durable within `commit_every`. Returns the batch at once when the thread
    /// is too far behind (or gone), so that it can be counted `unrecorded` or tried again.
    pub fn append(&self, batch: Batch) -> Result<(), Batch> {
        let Ok(permit) = Arc::clone(&self.batches).try_acquire_owned() else { return Err(batch) };
        self.commands.send(Request { command: Command::Append(batch), permit: Some(permit) }).map_err(|unsent| {
            match unsent.0.command {
                Command::Append(batch) => batch,
                _ => Batch::default(),
            }
        })
    }

    /// Commits what has been appended so far. An error says why it is still in memory only.
    pub async fn flush(&self) -> Result<(), Error> {
        self.ask(Command::Flush).await
    }

    /// Seals what is open and closes the run: no more samples. It waits for the platform from now on.
    pub async fn end_run(&self) -> Result<(), Error> {
        self.ask(Command::EndRun).await
    }

    /// Seals what is open and ends this session; the run stays as it is, for the next session to go on with.
    pub async fn end_session(&self) -> Result<(), Error> {
        self.ask(Command::EndSession).await
    }

    /// Closes the unfinished run of a dead process, if there is one, instead of resuming it.
    pub async fn close_unfinished(&self) -> Result<(), Error> {
        self.ask(Command::CloseUnfinished).await
    }

    /// Records a measurement of this session's clock with the run that is being recorded.
    pub async fn record_clock(&self, reading: ClockReading) -> Result<(), Error> {
        self.ask(|reply| Command::Clock(reading, reply)).await
    }

    /// Records an event or a note, at the time now, with the run that is being recorded. `kind` is one word.
    pub async fn event(&self, kind: &str, text: &str) -> Result<(), Error> {
        let (kind, text) = (kind.to_owned(), text.to_owned());
        self.ask(|reply| Command::Event { kind, text, reply }).await
    }

    /// What became of the readings of each channel of the run that is being recorded; none when there is no run.
    pub fn counts(&self) -> Option<Vec<Counts>> {
        let status = self.status.borrow();
        let run = status.run.as_ref()?;
        status.runs.iter().find(|totals| totals.run == *run).map(|totals| totals.counts.clone())
    }

    /// The state of everything, brought up to date after each commit.
    pub fn snapshot(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Runs that still need the platform, oldest first.
    pub async fn pending(&self) -> Result<Vec<OutboxRun>, Error> {
        self.ask(Command::Pending).await
    }

    /// Returns when something was begun, sealed, closed or measured since the last call returned. For one caller: a change
    /// wakes one of those that wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Records the stream that the platform has just created for a run, durably. An open stream before it counts as ended.
    pub async fn stream_opened(&self, run: &RunId, data_id: &str) -> Result<(), Error> {
        let (run, data_id) = (run.clone(), data_id.to_owned());
        self.ask(|reply| Command::StreamOpened { run, data_id, reply }).await
    }

    /// Records that the platform has ended a run's newest stream. Its unconfirmed chunks thaw: a continuation takes them.
    pub async fn stream_ended(&self, run: &RunId, why: &str) -> Result<(), Error> {
        let (run, why) = (run.clone(), why.to_owned());
        self.ask(|reply| Command::StreamEnded { run, why, reply }).await
    }

    /// Records that a run's newest stream is finalized. A closed run with nothing queued is then done.
    pub async fn stream_finalized(&self, run: &RunId) -> Result<(), Error> {
        let run = run.clone();
        self.ask(|reply| Command::StreamFinalized { run, reply }).await
    }

    /// Freezes the oldest chunks that wait from number `from` on, at most `limit` and none of `in_flight`, for the run's newest
    /// stream, durably, and returns them. Chunks before `from` that wait are frozen as well, so that stamps rise in whatever
    /// order chunks are sent. A chunk that was frozen before comes back the same to the bit.
    ///
    /// Fails with [`Error::NoStream`] when the newest stream takes no chunks. A chunk whose body is damaged on disk is
    /// set to rejected and left out.
    pub async fn take(&self, run: &RunId, limit: usize, in_flight: &[u64], from: u64) -> Result<Vec<Frozen>, Error> {
        let (run, in_flight) = (run.clone(), in_flight.to_vec());
        self.ask(|reply| Command::Take { run, limit, in_flight, from, reply }).await
    }

    /// Records that the platform has confirmed a chunk, except for these channels that it refused, with its words; and how
    /// many points it has `said` to hold of channels now. Doing so twice changes nothing; [`Error::NotFrozen`] when the chunk
    /// thawed in the meantime.
    pub async fn settle(
        &self,
        run: &RunId,
        seq: u64,
        refused: &[(ChannelName, String)],
        said: &[(ChannelName, u64)],
    ) -> Result<(), Error> {
        if refused.is_empty() && self.settles_late {
            if self.tray.leave_settled((run.clone(), seq, said.to_vec())) {
                self.wake();
            }
            return Ok(());
        }
        let (run, refused, said) = (run.clone(), refused.to_vec(), said.to_vec());
        self.ask(|reply| Command::Settle { run, seq, refused, said, reply }).await
    }

    /// Has the status follow each confirmation at once, for as long as what it returns is held, where
    /// [`settle_within`](super::Settings::settle_within) lets it come later.
    pub fn attend(&self) -> Attention {
        let attention = Attention::to(&self.tray);
        self.wake();
        attention
    }

    fn wake(&self) {
        if self.commands.send(Request { command: Command::Heed, permit: None }).is_err() {
            tracing::debug!("the thread that keeps the runs has ended");
        }
    }

    /// What the platform has refused of one chunk, or of all chunks of a run, waits to be sent once more. A
    /// run that was done waits for the platform again. What is damaged on disk stays rejected; and while a stream is open, so
    /// does what was refused on an earlier one.
    pub async fn resend(&self, run: &RunId, chunk: Option<u64>) -> Result<Resending, Error> {
        let run = run.clone();
        self.ask(|reply| Command::Resend { run, chunk, reply }).await
    }

    /// Records that sending a chunk failed and will be tried again.
    pub async fn attempt_failed(&self, run: &RunId, seq: u64, why: &str) -> Result<(), Error> {
        let (run, why) = (run.clone(), why.to_owned());
        self.ask(|reply| Command::AttemptFailed { run, seq, why, reply }).await
    }

    /// The finished runs that the platform has whole, oldest first, with why each is to go; with `dry_run` false, those are
    /// deleted.
    pub async fn prune(&self, dry_run: bool) -> Result<Vec<Prunable>, Error> {
        self.ask(|reply| Command::Prune { dry_run, reply }).await
    }

    pub(super) async fn stop(&self) -> Result<(), Error> {
        self.ask(Command::Stop).await
    }

    /// Lets every run file grow by this many pages at most, none for no limit: a disk that is full, for tests.
    #[cfg(test)]
    pub(super) async fn limit_pages(&self, spare: Option<u32>) -> Result<(), Error> {
        self.ask(|reply| Command::LimitPages(spare, reply)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command) -> Result<T, Error> {
        let permit = Arc::clone(&self.requests).acquire_owned().await.map_err(|_| Error::Stopped)?;
        let (reply, answer) = oneshot::channel();
        let request = Request { command: command(reply), permit: Some(permit) };
        self.commands.send(request).map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}

/// What a chunk takes of [`WAITING_GIVEN`]: its points, and something for the chunk itself.
fn weight(chunk: &Chunk) -> u32 {
    u32::try_from((chunk.points() + 32).min(WAITING_GIVEN)).unwrap_or(u32::MAX)
}
