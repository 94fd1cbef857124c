//! Waiting for the platform: until everything is confirmed, until a stream is finalized; and what there is to tell meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::core::Core;
use super::slot::Slot;
use super::stream::Stream;
use super::{ClockStatus, Error, Finalized, PlatformStatus, StreamState, StreamStatus};
use crate::model::{ClockSource, RunState, Stamp};
use crate::runs;
use crate::upload;
use crate::upload::PlatformState;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// The shortest time between two looks at what has changed.
const LOOK_AT_MOST: Duration = Duration::from_millis(10);

impl Core {
    /// Waits until the platform has everything of these streams.
    pub(super) async fn wait_for_all(&self, streams: &[Arc<Stream>]) -> Result<(), Error> {
        for stream in streams {
            stream.settle().await?;
            self.wait_until(stream, || stream.is_confirmed().then_some(())).await?;
        }
        Ok(())
    }

    /// The same, for so long at most.
    pub(super) async fn flush(&self, data_id: Option<&str>, within: Option<Duration>) -> Result<(), Error> {
        let streams = match data_id {
            Some(data_id) => vec![self.stream(data_id)?],
            None => {
                self.check()?;
                self.streams().values().map(Arc::clone).collect()
            }
        };
        let Some(within) = within else { return self.wait_for_all(&streams).await };
        let mut timer = self.runtime.spawn(async move { tokio::time::sleep(within).await });
        tokio::select! {
            biased;
            outcome = self.wait_for_all(&streams) => {
                timer.abort();
                outcome
            }
            _ = &mut timer => Err(Error::NotInTime { chunks: streams.iter().map(|stream| stream.queued().0).sum(), within }),
        }
    }

    /// Closes a stream, and waits until the platform has it whole and finalized.
    pub(super) async fn finalize(
        &self,
        stream: Arc<Stream>,
        mut progress: impl FnMut(&StreamStatus),
    ) -> Result<Finalized, Error> {
        stream.settle().await?;
        stream.set_closing(true);
        let closed = stream.totals().is_some_and(|totals| totals.state != RunState::Recording);
        if !closed && let Err(source) = stream.slot.runs.close_given(&stream.run).await {
            stream.set_closing(false);
            return Err(match source {
                runs::Error::Stopped => Error::Closed,
                source => Error::Disk { what: "the end of the stream", source },
            });
        }
        let mut told: Option<Instant> = None;
        let done = || {
            let done = stream.done();
            if done.is_some() || told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                progress(&self.status_of(&stream));
                told = Some(Instant::now());
            }
            done
        };
        let totals = self.wait_until(&stream, done).await?;
        self.finalized(&stream, &totals).await
    }

    /// What became of a stream that is done.
    async fn finalized(&self, stream: &Stream, totals: &runs::RunTotals) -> Result<Finalized, Error> {
        let (uploaded_points, rejected) = totals
            .points
            .iter()
            .fold((0, 0), |(uploaded, rejected), points| (uploaded + points.uploaded, rejected + points.rejected));
        let file = stream.file();
        let continued = totals.stream.as_ref().is_some_and(|newest| newest.data_id != stream.data_id);
        let mut continued_as = Vec::new();
        if (continued || rejected > 0)
            && let Some(file) = file
        {
            let read = self.runtime.spawn_blocking(move || Ends::read(file));
            let ends = read.await.map_err(|_| Error::Closed)?;
            let ends = ends.map_err(|source| Error::Disk { what: "the end of the stream", source })?;
            if rejected > 0 {
                let data_id = stream.data_id.clone();
                return Err(Error::PointsRefused { data_id, points: rejected, words: ends.words, file: ends.file });
            }
            let after = ends.data_ids.into_iter().skip_while(|data_id| *data_id != stream.data_id);
            continued_as = after.skip(1).collect();
        }
        Ok(Finalized { data_id: stream.data_id.clone(), uploaded_points, continued_as })
    }

    /// Looks again whenever something has changed, until there is what is looked for, or nothing can come of waiting.
    async fn wait_until<T>(&self, stream: &Stream, mut look: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let (mut kept, mut uploading) = (stream.slot.kept.clone(), stream.slot.uploading.clone());
        let _attention = stream.slot.runs.attend();
        loop {
            kept.mark_unchanged();
            uploading.mark_unchanged();
            if let Some(found) = look() {
                return Ok(found);
            }
            stream.hopeless(&uploading)?;
            tokio::select! {
                changed = kept.changed() => changed.map_err(|_| Error::Closed)?,
                changed = uploading.changed() => changed.map_err(|_| Error::Closed)?,
            }
            // While a backlog is sent something changes all the time.
            self.runtime.spawn(async { tokio::time::sleep(LOOK_AT_MOST).await }).await.map_err(|_| Error::Closed)?;
        }
    }

    /// A stream of this streamer, or one that was left in one of its slots.
    pub(super) fn status(&self, data_id: &str) -> Option<StreamStatus> {
        let own = self.streams().get(data_id).cloned();
        match own {
            Some(stream) => Some(self.status_of(&stream)),
            None => self.statuses().into_iter().find(|status| status.data_id == data_id),
        }
    }

    pub(super) fn statuses(&self) -> Vec<StreamStatus> {
        let mut statuses = Vec::new();
        for slot in self.all_slots() {
            let kept = slot.kept.borrow().clone();
            let gone = kept.done.iter().filter(|run| kept.runs.iter().all(|other| other.run != run.run));
            statuses.extend(gone.chain(&kept.runs).map(|run| self.status_in(&slot, run)));
        }
        let fresh: Vec<Arc<Stream>> =
            self.streams().values().filter(|stream| stream.totals().is_none()).map(Arc::clone).collect();
        statuses.extend(fresh.iter().map(|stream| self.status_of(stream)));
        statuses
    }

    fn status_of(&self, stream: &Stream) -> StreamStatus {
        // A stream that was opened a moment ago may not be shown by its store yet.
        let fresh = || StreamStatus {
            data_id: stream.data_id.clone(),
            name: stream.name.clone(),
            state: StreamState::Open,
            queued_chunks: 0,
            queued_points: 0,
            uploaded_points: 0,
            rejected_points: 0,
            platform: platform(&stream.slot.uploading.borrow().platform),
            last_error: None,
            oldest_queued: None,
        };
        stream.totals().map_or_else(fresh, |totals| self.status_in(&stream.slot, &totals))
    }

    fn status_in(&self, slot: &Slot, run: &runs::RunTotals) -> StreamStatus {
        let data_id = self.data_id_of(run);
        let own = self.streams().get(&data_id).is_some_and(|stream| stream.run == run.run);
        let uploading = slot.uploading.borrow();
        let held = uploading.runs.iter().find(|of| of.run == run.run).and_then(|of| of.held.clone());
        let paused = match &slot.kept.borrow().state {
            runs::State::Paused { why } => Some(why.clone()),
            runs::State::Idle | runs::State::Recording => None,
        };
        let sum = |points: fn(&runs::Points) -> u64| run.points.iter().map(points).sum();
        StreamStatus {
            data_id,
            name: run.name.clone(),
            state: match run.state {
                RunState::Recording if own => StreamState::Open,
                RunState::Recording => StreamState::Left,
                RunState::Closed => StreamState::Closing,
                RunState::Done => StreamState::Finalized,
            },
            queued_chunks: run.queued_chunks,
            queued_points: sum(|points| points.open + points.queued),
            uploaded_points: sum(|points| points.uploaded),
            rejected_points: sum(|points| points.rejected),
            platform: platform(&uploading.platform),
            last_error: paused
                .or(held)
                .or_else(|| uploading.last_failure.as_ref().map(|failure| failure.words.clone())),
            oldest_queued: run.oldest_queued.map(|at| self.by_host(at).as_unix_seconds()),
        }
    }

    /// A time of the session as the host's clock tells it now.
    fn by_host(&self, at: Stamp) -> Stamp {
        at.shifted(self.shift_nanos().saturating_neg())
    }

    pub(super) fn clock_status(&self) -> Option<ClockStatus> {
        let readings = self.way.readings.as_ref()?;
        let reading = (*readings.borrow()).filter(|reading| reading.source == ClockSource::Platform)?;
        let ms = |nanos: i64| nanos as f64 / 1e6;
        Some(ClockStatus {
            offset_ms: ms(reading.offset_nanos + self.shift_nanos()),
            uncertainty_ms: ms(reading.uncertainty_nanos),
            measured_at_unix_ms: self.by_host(reading.at).as_unix_seconds() * 1e3,
        })
    }
}

impl Stream {
    /// Its accounts.
    fn totals(&self) -> Option<runs::RunTotals> {
        let kept = self.slot.kept.borrow();
        let done = || kept.done.iter().rev().find(|totals| totals.run == self.run);
        kept.runs.iter().find(|totals| totals.run == self.run).or_else(done).cloned()
    }

    /// Its accounts, once it is done.
    fn done(&self) -> Option<runs::RunTotals> {
        let kept = self.slot.kept.borrow();
        let is_it = |totals: &&runs::RunTotals| totals.run == self.run;
        if kept.runs.iter().find(is_it).is_some_and(|totals| totals.state != RunState::Done) {
            return None;
        }
        kept.done.iter().rev().chain(&kept.runs).find(is_it).cloned()
    }

    /// Its file.
    fn file(&self) -> Option<PathBuf> {
        let kept = self.slot.kept.borrow();
        kept.listed.iter().find(|listed| listed.run == self.run).map(|listed| listed.path.clone())
    }

    /// An error if somebody has to do something before the platform takes more.
    fn hopeless(&self, uploading: &watch::Receiver<upload::Status>) -> Result<(), Error> {
        let uploading = uploading.borrow();
        if let PlatformState::Holding { why, .. } = &uploading.platform {
            return Err(Error::KeyRefused { words: why.clone() });
        }
        match uploading.runs.iter().find(|run| run.run == self.run).and_then(|run| run.held.clone()) {
            Some(words) => Err(Error::Held { data_id: self.data_id.clone(), words }),
            None => Ok(()),
        }
    }
}

/// What the file of a finished run says of its end.
struct Ends {
    file: PathBuf,
    words: String,
    data_ids: Vec<String>,
}

impl Ends {
    fn read(file: PathBuf) -> Result<Self, runs::Error> {
        let reader = runs::read::RunFile::open(&file)?;
        let words = reader.refusals()?.into_iter().next_back().map(|refusal| refusal.words).unwrap_or_default();
        let data_ids = reader.streams()?.into_iter().map(|stream| stream.record.data_id).collect();
        Ok(Self { file, words, data_ids })
    }
}

fn platform(state: &PlatformState) -> PlatformStatus {
    match state {
        PlatformState::Unknown => PlatformStatus::Unknown,
        PlatformState::Up => PlatformStatus::Up,
        PlatformState::Down { why, .. } => PlatformStatus::Down(why.clone()),
        PlatformState::Holding { why, .. } => PlatformStatus::KeyRefused(why.clone()),
    }
}
