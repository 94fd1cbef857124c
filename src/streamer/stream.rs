//! A stream that chunks are pushed to: what is known of its channels, and chunks that are checked.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::axis::{Axes, present};
use super::slot::Slot;
use super::{Error, Pushed, Resumed, ResumedChannel, Series};
use crate::model::{ChannelName, Chunk, ChunkChannel, RunId, Stamp};
use crate::runs;

/// A stream of this streamer.
pub(super) struct Stream {
    pub(super) data_id: String,
    pub(super) run: RunId,
    pub(super) slot: Arc<Slot>,
    pub(super) name: String,
    points_per_chunk: usize,
    known: Mutex<HashMap<Box<str>, Known>>,
    accepted: Mutex<AcceptedChunks>,
    /// One more than the place in the run of the last chunk that the store has taken.
    taken: AtomicU64,
    /// No more chunks are taken.
    closing: AtomicBool,
}

/// What is known of a channel.
#[derive(Debug, Clone)]
struct Known {
    name: ChannelName,
    unit: Option<Arc<str>>,
    next_index: u64,
    points: u64,
    /// The last stamp of the chunk with the highest index.
    last: Option<Stamp>,
}

/// Chunks that the store has not answered for yet.
#[derive(Debug, Default)]
struct AcceptedChunks {
    queue: VecDeque<Accepted>,
    points: u64,
}

impl AcceptedChunks {
    fn pop(&mut self) -> Option<Accepted> {
        let first = self.queue.pop_front()?;
        self.points = self.points.saturating_sub(first.points);
        Some(first)
    }
}

/// A chunk that the store has not answered for yet.
#[derive(Debug)]
struct Accepted {
    index: u64,
    points: u64,
    answer: oneshot::Receiver<Result<runs::Taken, runs::Error>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("data_id", &self.data_id).field("run", &self.run).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream {
    pub(super) fn new(data_id: &str, run: RunId, slot: Arc<Slot>, name: &str, points_per_chunk: usize) -> Self {
        slot.use_it();
        Self {
            data_id: data_id.to_owned(),
            run,
            slot,
            name: name.to_owned(),
            points_per_chunk,
            known: Mutex::default(),
            accepted: Mutex::default(),
            taken: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }
    }

    /// A stream that is gone on with.
    pub(super) fn resumed(data_id: &str, slot: Arc<Slot>, reopened: runs::Reopened) -> Self {
        let stream = Self::new(data_id, reopened.run, slot, &reopened.spec.name, reopened.spec.points_per_chunk);
        let known = reopened.channels.into_iter().map(|channel| {
            let runs::GivenSoFar { name, unit, next_index, points, last } = channel;
            (Box::from(name.as_str()), Known { name, unit, next_index, points, last })
        });
        locked(&stream.known).extend(known);
        stream
    }

    /// What was pushed so far.
    pub(super) fn so_far(&self) -> Resumed {
        let mut channels: Vec<ResumedChannel> = locked(&self.known)
            .values()
            .filter(|known| known.points > 0)
            .map(|known| ResumedChannel {
                name: known.name.as_str().to_owned(),
                units: known.unit.as_deref().map(str::to_owned),
                next_chunk_index: known.next_index,
                points: known.points,
                last_timestamp: known.last.map(Stamp::as_unix_seconds),
            })
            .collect();
        channels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Resumed {
            data_id: self.data_id.clone(),
            next_chunk_index: channels.iter().map(|channel| channel.next_chunk_index).max().unwrap_or(0),
            channels,
            points_per_chunk: self.points_per_chunk,
        }
    }

    /// The index that the next chunk of a channel has, if chunks are numbered in order.
    pub(super) fn next_index(&self, channel: &str) -> u64 {
        locked(&self.known).get(channel.trim()).map_or(0, |known| known.next_index)
    }

    pub(super) fn points_per_chunk(&self) -> usize {
        self.points_per_chunk
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub(super) fn set_closing(&self, closing: bool) {
        self.closing.store(closing, Ordering::SeqCst);
    }

    /// Checks a push, and makes a chunk of it; none if every value is missing. `shift_nanos` is added to each timestamp.
    pub(super) fn chunk(
        &self,
        index: u64,
        series: &[Series<'_>],
        shift_nanos: i64,
    ) -> Result<Option<Arc<Chunk>>, Error> {
        if self.is_closing() {
            return Err(Error::AlreadyFinalized(self.data_id.clone()));
        }
        // Where chunks are kept, numbers have 63 bits.
        if index >= i64::MAX as u64 {
            return Err(Error::TooLarge("a chunk index is at most 9223372036854775806"));
        }
        let mut axes = Axes::new(shift_nanos);
        let mut given = Vec::with_capacity(series.len());
        for one in series {
            self.check_lengths(one)?;
            let stamps = axes.stamps(one.timestamps).map_err(|place| Error::Timestamp {
                channel: one.name.to_owned(),
                place,
                value: one.timestamps.get(place).copied().unwrap_or(f64::NAN),
            })?;
            if !stamps.is_empty() {
                given.push((one, stamps));
            }
        }
        if given.is_empty() {
            return Err(Error::NoPoints { chunk_index: index });
        }
        let mut known = locked(&self.known);
        let mut channels: Vec<ChunkChannel> = Vec::with_capacity(given.len());
        for (one, stamps) in given {
            let channel = channel(&mut known, one)?;
            let (stamps, values) = present(&stamps, one.values).unwrap_or_else(|| (stamps, one.values.to_vec()));
            if !values.is_empty() {
                channels.push(ChunkChannel { name: channel.name.clone(), unit: channel.unit.clone(), stamps, values });
            }
        }
        drop(known);
        if let Some(twice) = twice(&channels) {
            return Err(Error::ChannelTwice(twice.as_str().to_owned()));
        }
        Ok((!channels.is_empty()).then(|| Arc::new(Chunk { index, channels })))
    }

    fn check_lengths(&self, one: &Series<'_>) -> Result<(), Error> {
        let (timestamps, values, most) = (one.timestamps.len(), one.values.len(), self.points_per_chunk);
        if timestamps != values {
            return Err(Error::Lengths { channel: one.name.to_owned(), timestamps, values });
        }
        if values > most {
            return Err(Error::TooManyPoints { channel: one.name.to_owned(), points: values, most });
        }
        Ok(())
    }

    /// Gives a chunk to the store, and returns when it is durable.
    pub(super) async fn give(&self, chunk: Arc<Chunk>) -> Result<Pushed, Error> {
        let taken = self.slot.runs.give(&self.run, Arc::clone(&chunk), self.slot.knows_the_time()).await;
        let taken = taken.map_err(|error| self.refused(&chunk, error))?;
        self.note_taken(&taken);
        self.note(&chunk);
        Ok(Pushed { durable: true, queued_chunks: taken.queued_chunks, queued_points: taken.queued_points })
    }

    /// Gives a chunk to the store without waiting.
    pub(super) fn accept(&self, chunk: Arc<Chunk>) -> Result<Pushed, Error> {
        self.heed_answers()?;
        let (index, points) = (chunk.index, chunk.points() as u64);
        let answer = self.slot.runs.accept(&self.run, Arc::clone(&chunk), self.slot.knows_the_time());
        let mut accepted = locked(&self.accepted);
        let Ok(answer) = answer else {
            return Err(Error::TooFarBehind { chunk_index: index, queued: accepted.queue.len() as u64 });
        };
        accepted.queue.push_back(Accepted { index, points, answer });
        accepted.points += points;
        let waiting = (accepted.queue.len() as u64, accepted.points);
        drop(accepted);
        self.note(&chunk);
        let (chunks, points) = self.queued();
        Ok(Pushed { durable: false, queued_chunks: chunks + waiting.0, queued_points: points + waiting.1 })
    }

    /// Chunks and points that are on disk and wait for the platform.
    pub(super) fn queued(&self) -> (u64, u64) {
        let kept = self.slot.kept.borrow();
        let totals = kept.runs.iter().find(|totals| totals.run == self.run);
        totals.map_or((0, 0), |run| (run.queued_chunks, run.points.iter().map(|points| points.queued).sum()))
    }

    /// Looks at the answers for chunks that were accepted, as far as they have come.
    fn heed_answers(&self) -> Result<(), Error> {
        let mut accepted = locked(&self.accepted);
        while let Some(first) = accepted.queue.front_mut() {
            let outcome = match first.answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => break,
                Err(oneshot::error::TryRecvError::Closed) => Err(runs::Error::Stopped),
                Ok(outcome) => outcome,
            };
            let index = first.index;
            drop(accepted.pop());
            self.note_taken(&outcome.map_err(|source| self.lost(index, source))?);
        }
        Ok(())
    }

    /// Waits until everything that was accepted is durable. An error tells of the first chunk that is not; the others are
    /// waited for by the next call.
    pub(super) async fn settle(&self) -> Result<(), Error> {
        let _attention = self.slot.runs.attend();
        loop {
            let first = locked(&self.accepted).pop();
            let Some(Accepted { index, answer, .. }) = first else { return Ok(()) };
            let outcome = answer.await.unwrap_or(Err(runs::Error::Stopped));
            self.note_taken(&outcome.map_err(|source| self.lost(index, source))?);
        }
    }

    fn note_taken(&self, taken: &runs::Taken) {
        self.taken.fetch_max(taken.seq + 1, Ordering::SeqCst);
    }

    /// Whether the platform has everything that the store has taken. What the store shows of itself comes a moment after its
    /// answers.
    pub(super) fn is_confirmed(&self) -> bool {
        let taken = self.taken.load(Ordering::SeqCst);
        let kept = self.slot.kept.borrow();
        let confirmed = |run: &runs::RunTotals| run.sealed_chunks >= taken && run.queued_chunks == 0;
        let found = kept.runs.iter().chain(kept.done.iter()).find(|run| run.run == self.run);
        found.map_or(taken == 0, confirmed)
    }

    fn lost(&self, chunk_index: u64, source: runs::Error) -> Error {
        Error::AcceptedLost { data_id: self.data_id.clone(), chunk_index, source }
    }

    /// What was pushed of each channel.
    fn note(&self, chunk: &Chunk) {
        let mut known = locked(&self.known);
        for channel in &chunk.channels {
            let Some(known) = known.get_mut(channel.name.as_str()) else { continue };
            known.points += channel.values.len() as u64;
            if chunk.index >= known.next_index {
                known.next_index = chunk.index + 1;
                known.last = channel.stamps.last().copied();
            }
        }
    }

    fn refused(&self, chunk: &Chunk, error: runs::Error) -> Error {
        match error {
            runs::Error::Stopped => Error::Closed,
            runs::Error::Given(runs::BadChunk::Closed(_)) => Error::AlreadyFinalized(self.data_id.clone()),
            source => {
                let mut known = locked(&self.known);
                // What was never kept binds nobody to its unit.
                for channel in &chunk.channels {
                    if known.get(channel.name.as_str()).is_some_and(|known| known.points == 0) {
                        known.remove(channel.name.as_str());
                    }
                }
                Error::Disk { what: "the chunk", source }
            }
        }
    }
}

/// What is known of a channel that is pushed.
fn channel<'a>(known: &'a mut HashMap<Box<str>, Known>, series: &Series<'_>) -> Result<&'a Known, Error> {
    let key = series.name.trim();
    if !known.contains_key(key) {
        let name =
            ChannelName::parse(key).map_err(|source| Error::Channel { channel: series.name.to_owned(), source })?;
        let unit = series.units.map(Arc::from);
        known.insert(Box::from(key), Known { name, unit, next_index: 0, points: 0, last: None });
    }
    let Some(channel) = known.get(key) else { return Err(Error::Closed) };
    match series.units {
        Some(units) if channel.unit.as_deref() != Some(units) => Err(Error::UnitChanged {
            channel: series.name.to_owned(),
            before: channel.unit.as_deref().map(str::to_owned),
            now: Some(units.to_owned()),
        }),
        _ => Ok(channel),
    }
}

/// A channel that is there more than once.
fn twice(channels: &[ChunkChannel]) -> Option<&ChannelName> {
    if channels.len() < 2 {
        return None;
    }
    let mut names: Vec<&ChannelName> = channels.iter().map(|channel| &channel.name).collect();
    names.sort_unstable();
    names.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    })
}
