//! What all clones of a streamer share: its streams, its slots, its way to the platform.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::places::{Places, run_files};
use super::slot::{Slot, Way};
use super::stream::Stream;
use super::{Acknowledge, Error, Left, NewStream, Resumed, attempts};
use crate::atomscale::OpenError;
use crate::atomscale::PlatformError;
use crate::atomscale::open_stream;
use crate::model::{RunId, RunState, TimeBase};
use crate::runs;

/// The host's clock is taken to have been set if it is this far from the session's: time servers slew, and a session's clock
/// drifts against the host's by some parts in a million.
const STEPPED_NANOS: i64 = 50_000_000;

/// A host's clock that moved by more than this since the last push has the platform's measured anew.
const MOVED_NANOS: i64 = 500_000_000;

/// A stream that another streamer has at the moment may be one that it only delivers: so long it is waited for.
const WAIT_FOR_SLOT: Duration = Duration::from_secs(2);

const LOOK_FOR_SLOT_EVERY: Duration = Duration::from_millis(50);

/// How often streams that programs have left meanwhile are looked for.
const LOOK_FOR_LEFT_EVERY: Duration = Duration::from_secs(600);

/// What all clones of a streamer share.
pub(super) struct Core {
    /// The process that made it.
    pub(super) process: u32,
    pub(super) time: TimeBase,
    pub(super) points_per_chunk: usize,
    pub(super) acknowledge: Acknowledge,
    pub(super) patience: Option<Duration>,
    pub(super) config_text: String,
    pub(super) way: Way,
    pub(super) places: Places,
    /// Where new streams are kept.
    pub(super) main: Arc<Slot>,
    /// The main slot and those with what other programs have left, or with streams that were resumed.
    pub(super) slots: RwLock<Vec<Arc<Slot>>>,
    /// Held while slots are opened and closed.
    pub(super) moving: Mutex<()>,
    pub(super) streams: RwLock<HashMap<String, Arc<Stream>>>,
    pub(super) stop: CancellationToken,
    /// The one thread's, that everything but the pushes runs on.
    pub(super) runtime: tokio::runtime::Handle,
    /// How far the host's clock was from the session's at the last push, in nanoseconds.
    pub(super) drift_nanos: AtomicI64,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("main", &self.main).finish_non_exhaustive()
    }
}

/// Where a run is.
struct Found {
    slot: PathBuf,
    run: RunId,
    name: String,
    state: RunState,
}

impl Core {
    /// Whether it can be used: not after a fork, and not once it is closed.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.process != std::process::id() {
            return Err(Error::Forked { parent: self.process });
        }
        if self.stop.is_cancelled() { Err(Error::Closed) } else { Ok(()) }
    }

    pub(super) fn streams(&self) -> RwLockReadGuard<'_, HashMap<String, Arc<Stream>>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stream(&self, data_id: &str) -> Result<Arc<Stream>, Error> {
        self.check()?;
        self.streams().get(data_id).cloned().ok_or_else(|| Error::UnknownStream(data_id.to_owned()))
    }

    pub(super) fn all_slots(&self) -> Vec<Arc<Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add_slot(&self, slot: &Arc<Slot>) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(slot));
    }

    fn add_stream(&self, stream: Arc<Stream>) {
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(stream.data_id.clone(), stream);
    }

    /// What is to be added to a timestamp of the host's clock to have it in the session's time, which no step of the host's
    /// clock moves. Nothing where timestamps leave as they were given.
    pub(super) fn shift_nanos(&self) -> i64 {
        if self.way.readings.is_none() {
            return 0;
        }
        let drift = self.time.host_drift_nanos();
        let before = self.drift_nanos.swap(drift, Ordering::Relaxed);
        if drift.saturating_sub(before).abs() > MOVED_NANOS {
            self.way.clock_nudge.notify_one();
        }
        shift(drift)
    }

    /// Does some work on the streamer's own thread, and waits for it. Whoever stops waiting ends it.
    pub(super) async fn on_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.check()?;
        let mut task = AbortOnDrop(self.runtime.spawn(work));
        (&mut task.0).await.unwrap_or(Err(Error::Closed))
    }

    pub(super) async fn initialize(&self, new: NewStream) -> Result<String, Error> {
        let spec = new.spec(self.points_per_chunk);
        let platform = self.way.platform.as_ref();
        let opened = attempts::make(self.patience, || open_stream(platform, &spec)).await.map_err(not_initialized)?;
        let start = runs::GivenStart {
            spec: spec.clone(),
            data_id: opened.data_id.clone(),
            time: self.time,
            config_text: self.config_text.clone(),
        };
        match self.main.runs.open_given(start).await {
            Ok(run) => {
                self.main.learn_the_time().await;
                self.add_stream(Arc::new(Stream::new(
                    &opened.data_id,
                    run,
                    Arc::clone(&self.main),
                    &spec.name,
                    spec.points_per_chunk,
                )));
                Ok(opened.data_id)
            }
            Err(source) => {
                if let Err(error) = platform.finalize(&opened.data_id).await {
                    tracing::warn!(%error, data_id = opened.data_id, "a stream that nothing can be kept of stays open");
                }
                Err(Error::Disk { what: "the stream", source })
            }
        }
    }

    /// Goes on with a stream that was left, wherever on this machine it is.
    pub(super) async fn resume(self: Arc<Self>, data_id: String) -> Result<Resumed, Error> {
        if let Some(stream) = self.streams().get(&data_id).cloned() {
            return if stream.is_closing() { Err(Error::AlreadyFinalized(data_id)) } else { Ok(stream.so_far()) };
        }
        let _moving = self.moving.lock().await;
        let found = self.find(&data_id).await?;
        if found.state != RunState::Recording {
            return Err(Error::AlreadyFinalized(data_id));
        }
        let slot = self.slot_at(&found.slot, &data_id).await?;
        let reopened = slot.runs.reopen_given(&data_id, self.time).await.map_err(|error| match error {
            runs::Error::Finalized { data_id } => Error::AlreadyFinalized(data_id),
            runs::Error::UnknownStream { data_id } => Error::NotKept(data_id),
            source => Error::Disk { what: "the stream", source },
        })?;
        let stream = Arc::new(Stream::resumed(&data_id, slot, reopened));
        let so_far = stream.so_far();
        self.add_stream(stream);
        Ok(so_far)
    }

    /// The stream, also one that was left by a program, which is then closed: it takes no more chunks.
    pub(super) async fn take_over(self: Arc<Self>, data_id: String) -> Result<Arc<Stream>, Error> {
        if let Some(stream) = self.streams().get(&data_id) {
            return Ok(Arc::clone(stream));
        }
        let _moving = self.moving.lock().await;
        let found = self.find(&data_id).await?;
        if found.state == RunState::Done {
            return Err(Error::AlreadyFinalized(data_id));
        }
        let slot = self.slot_at(&found.slot, &data_id).await?;
        let stream = Arc::new(Stream::new(&data_id, found.run, slot, &found.name, 0));
        stream.set_closing(true);
        self.add_stream(Arc::clone(&stream));
        Ok(stream)
    }

    /// The run that is or was this stream, of any streamer of this platform on this machine.
    async fn find(&self, data_id: &str) -> Result<Found, Error> {
        let own: Vec<PathBuf> = self.all_slots().iter().map(|slot| slot.folder.clone()).collect();
        let (places, wanted) = (self.places.clone(), data_id.to_owned());
        let search = move || {
            let others = places.all_slots().into_iter().filter(|slot| !own.contains(slot)).collect::<Vec<_>>();
            own.iter().chain(&others).find_map(|slot| find_in(slot, &wanted))
        };
        let found = tokio::task::spawn_blocking(search).await.unwrap_or_default();
        found.ok_or_else(|| Error::NotKept(data_id.to_owned()))
    }

    /// A slot at work, be it one that was at rest.
    async fn slot_at(&self, folder: &Path, data_id: &str) -> Result<Arc<Slot>, Error> {
        if let Some(slot) = self.all_slots().into_iter().find(|slot| slot.folder == folder) {
            return Ok(slot);
        }
        let until = Instant::now() + WAIT_FOR_SLOT;
        loop {
            match Slot::open(folder, &self.way).await {
                Ok(slot) => {
                    self.add_slot(&slot);
                    return Ok(slot);
                }
                Err(runs::Error::InUse { .. }) if Instant::now() < until => {
                    tokio::time::sleep(LOOK_FOR_SLOT_EVERY).await;
                }
                Err(runs::Error::InUse { pid, .. }) => return Err(Error::InUse { data_id: data_id.to_owned(), pid }),
                Err(source) => return Err(Error::Disk { what: "the stream", source }),
            }
        }
    }

    /// Delivers what other programs have left, until the streamer is closed. `at_work` are slots that are open for it already.
    pub(super) async fn deliver_left_over(self: Arc<Self>, at_work: Vec<Arc<Slot>>) {
        let mut under_way: JoinSet<()> = JoinSet::new();
        for slot in at_work {
            under_way.spawn(Arc::clone(&self).deliver(slot));
        }
        loop {
            for folder in self.places.own_slots() {
                if let Some(slot) = self.take_up(&folder).await {
                    under_way.spawn(Arc::clone(&self).deliver(slot));
                }
            }
            tokio::time::sleep(LOOK_FOR_LEFT_EVERY).await;
            while under_way.try_join_next().is_some() {}
        }
    }

    /// Opens a slot that nobody has and that something may be left in.
    async fn take_up(&self, folder: &Path) -> Option<Arc<Slot>> {
        let _moving = self.moving.lock().await;
        if self.all_slots().iter().any(|slot| slot.folder == folder) || run_files(folder).is_empty() {
            return None;
        }
        let opened = Slot::open(folder, &self.way).await.inspect_err(|error| {
            tracing::debug!(folder = %folder.display(), %error, "a slot is left alone");
        });
        let slot = opened.ok()?;
        self.add_slot(&slot);
        Some(slot)
    }

    /// Waits until everything in a slot is delivered, and gives it back.
    async fn deliver(self: Arc<Self>, slot: Arc<Slot>) {
        let mut kept = slot.kept.clone();
        while !slot.is_delivered() && kept.changed().await.is_ok() {}
        let _moving = self.moving.lock().await;
        if slot.is_in_use() || !slot.is_delivered() {
            return;
        }
        self.slots.write().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, &slot));
        if let Err(error) = slot.close().await {
            tracing::warn!(folder = %slot.folder.display(), %error, "a slot was not closed in order");
        }
    }

    /// Ends everything, and says what is left.
    pub(super) async fn shut_down(&self) -> Result<Left, Error> {
        let _moving = self.moving.lock().await;
        let mut left = Left::default();
        let mut failed = None;
        for slot in self.all_slots() {
            match slot.close().await {
                Ok(unsent) => left.chunks += unsent.queued,
                Err(source) => failed = Some(Error::Disk { what: "what was accepted last", source }),
            }
            let kept = slot.kept.borrow();
            let unfinished = kept.runs.iter().filter(|run| run.state != RunState::Done);
            left.streams.extend(unfinished.map(|run| self.data_id_of(run)));
        }
        left.streams.sort_unstable();
        failed.map_or(Ok(left), Err)
    }

    /// The id that a run's stream was created with, or the one that it has now.
    pub(super) fn data_id_of(&self, run: &runs::RunTotals) -> String {
        let own = self.streams().values().find(|stream| stream.run == run.run).map(|stream| stream.data_id.clone());
        own.or_else(|| run.stream.as_ref().map(|stream| stream.data_id.clone())).unwrap_or_default()
    }
}

/// What is to be added to a timestamp of a host's clock that is so far ahead of the session's.
fn shift(drift_nanos: i64) -> i64 {
    if drift_nanos.saturating_abs() > STEPPED_NANOS { drift_nanos.saturating_neg() } else { 0 }
}

fn find_in(slot: &Path, data_id: &str) -> Option<Found> {
    run_files(slot).into_iter().find_map(|path| {
        let file = runs::read::RunFile::open(&path).ok()?;
        let streams = file.streams().ok()?;
        let is_it = streams.iter().any(|stream| stream.record.data_id == data_id);
        let info = file.info();
        is_it.then(|| Found { slot: slot.to_owned(), run: info.run, name: info.spec.name, state: info.state })
    })
}

fn not_initialized(error: OpenError) -> Error {
    match error.platform() {
        Some(PlatformError::Unauthorized { .. }) => Error::KeyRefused { words: words_of(&error) },
        _ => Error::Initialize(Arc::new(error)),
    }
}

/// What the platform said.
fn words_of(error: &OpenError) -> String {
    error.platform().map(PlatformError::words).unwrap_or_default()
}

pub(super) fn not_done(what: &'static str, error: PlatformError) -> Error {
    match error {
        PlatformError::Unauthorized { words, .. } => Error::KeyRefused { words },
        error => Error::Platform { what, source: Arc::new(error) },
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_clock_that_was_set_is_set_back_and_one_that_drifts_is_left_alone() {
        for drift in [0, 1_000, -49_000_000, 50_000_000] {
            assert_eq!(shift(drift), 0, "{drift}");
        }
        for drift in [-3_600_000_000_000, 50_000_001, i64::MAX] {
            assert_eq!(shift(drift), -drift);
        }
    }
}
