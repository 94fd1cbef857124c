//! An outbox in memory, which keeps the promises of the trait as the run store does, and can be told to fail.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;

use tokio::sync::Notify;

use crate::model::ChannelName;
use crate::model::Chunk;
use crate::model::ChunkChannel;
use crate::model::Frozen;
use crate::model::OutboxRun;
use crate::model::RunId;
use crate::model::RunState;
use crate::model::Stamp;
use crate::model::StreamRecord;
use crate::model::StreamSpec;
use crate::model::StreamState;
use crate::upload::Outbox;
use crate::upload::OutboxError;

/// A chunk of the fake store.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) chunk: Chunk,
    pub(super) frozen_for: Option<String>,
    pub(super) attempts: u64,
    /// It was refused, and is to be tried again.
    pub(super) again: bool,
    /// None: queued. The channels that were refused, else.
    pub(super) settled: Option<Vec<(ChannelName, String)>>,
}

/// A run of the fake store.
#[derive(Debug)]
pub(super) struct FakeRun {
    pub(super) id: RunId,
    pub(super) state: RunState,
    pub(super) streams: Vec<StreamRecord>,
    pub(super) chunks: BTreeMap<u64, Stored>,
    pub(super) ended: Vec<String>,
    pub(super) sample: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    runs: Vec<FakeRun>,
    /// Writes that are still to fail.
    failing: usize,
    /// The run whose file can't be used.
    broken: Option<RunId>,
}

#[derive(Debug, Default)]
pub(super) struct FakeOutbox {
    state: Mutex<State>,
    changed: Notify,
}

/// A chunk with these channels of two points each.
pub(super) fn chunk(index: u64, channels: &[&str]) -> Chunk {
    let at = i64::try_from(index).unwrap() * 1_000_000_000;
    let channel = |name: &&str| ChunkChannel {
        name: ChannelName::parse(name).unwrap(),
        unit: None,
        stamps: [Stamp::from_nanos(at), Stamp::from_nanos(at + 1)].into(),
        values: vec![1.0, 2.0],
    };
    Chunk { index, channels: channels.iter().map(channel).collect() }
}

impl FakeOutbox {
    /// Adds a run with so many sealed chunks of channels `a` and `b`.
    pub(super) fn add_run(&self, name: &str, state: RunState, chunks: u64) {
        let run = FakeRun {
            id: RunId::new(name),
            state,
            streams: Vec::new(),
            chunks: BTreeMap::new(),
            ended: Vec::new(),
            sample: None,
        };
        self.state.lock().unwrap().runs.push(run);
        for index in 0..chunks {
            self.seal(name, chunk(index, &["a", "b"]));
        }
    }

    pub(super) fn seal(&self, name: &str, chunk: Chunk) {
        let stored = Stored { chunk, frozen_for: None, attempts: 0, again: false, settled: None };
        self.with(name, |run| run.chunks.insert(stored.chunk.index, stored));
        self.changed.notify_one();
    }

    pub(super) fn close(&self, name: &str) {
        self.with(name, |run| run.state = RunState::Closed);
        self.changed.notify_one();
    }

    pub(super) fn fail_writes(&self, count: usize) {
        self.state.lock().unwrap().failing = count;
    }

    pub(super) fn break_file(&self, name: Option<&str>) {
        self.state.lock().unwrap().broken = name.map(RunId::new);
    }

    pub(super) fn with<T>(&self, name: &str, act: impl FnOnce(&mut FakeRun) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        act(state.runs.iter_mut().find(|run| run.id.as_str() == name).unwrap())
    }

    /// The chunks that are not settled.
    pub(super) fn queued(&self, name: &str) -> usize {
        self.with(name, |run| run.chunks.values().filter(|chunk| chunk.settled.is_none()).count())
    }

    pub(super) fn state_of(&self, name: &str) -> RunState {
        self.with(name, |run| run.state)
    }

    pub(super) fn streams(&self, name: &str) -> Vec<(String, StreamState)> {
        self.with(name, |run| run.streams.iter().map(|stream| (stream.data_id.clone(), stream.state)).collect())
    }

    fn write<T>(&self, run: &RunId, act: impl FnOnce(&mut FakeRun) -> T) -> Result<T, OutboxError> {
        let mut state: MutexGuard<'_, State> = self.state.lock().unwrap();
        if state.failing > 0 {
            state.failing -= 1;
            return Err(OutboxError::Store("disk full".to_owned()));
        }
        if state.broken.as_ref() == Some(run) {
            return Err(OutboxError::Run("the file can't be read".to_owned()));
        }
        let result = act(state.runs.iter_mut().find(|one| one.id == *run).unwrap());
        drop(state);
        self.changed.notify_one();
        Ok(result)
    }
}

#[async_trait::async_trait]
impl Outbox for FakeOutbox {
    async fn pending(&self) -> Result<Vec<OutboxRun>, OutboxError> {
        let state = self.state.lock().unwrap();
        let pending = state.runs.iter().filter(|run| run.state != RunState::Done).map(|run| OutboxRun {
            run: run.id.clone(),
            state: run.state,
            spec: StreamSpec {
                name: run.id.as_str().to_owned(),
                points_per_chunk: 2,
                physical_sample: run.sample.clone(),
                ..StreamSpec::default()
            },
            stream: run.streams.last().cloned(),
            queued: run.chunks.values().filter(|chunk| chunk.settled.is_none()).count() as u64,
            next_seq: run.chunks.last_key_value().map_or(0, |(seq, _)| seq + 1),
        });
        Ok(pending.collect())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn stream_opened(&self, run: &RunId, data_id: &str) -> Result<(), OutboxError> {
        self.write(run, |run| {
            assert!(run.streams.last().is_none_or(|before| before.state != StreamState::Open), "two open streams");
            let number = i64::try_from(run.streams.len()).unwrap() + 1;
            run.streams.push(StreamRecord { number, data_id: data_id.to_owned(), state: StreamState::Open });
        })
    }

    async fn stream_ended(&self, run: &RunId, why: &str) -> Result<(), OutboxError> {
        self.write(run, |run| {
            run.streams.last_mut().unwrap().state = StreamState::Ended;
            run.ended.push(why.to_owned());
            for chunk in run.chunks.values_mut().filter(|chunk| chunk.settled.is_none()) {
                chunk.frozen_for = None;
            }
        })
    }

    async fn stream_finalized(&self, run: &RunId) -> Result<(), OutboxError> {
        self.write(run, |run| {
            assert!(run.chunks.values().all(|chunk| chunk.settled.is_some()), "finalized with chunks queued");
            let without_stream = run.streams.is_empty() && run.state != RunState::Closed;
            assert!(!without_stream, "no stream, and the run is not closed");
            if let Some(stream) = run.streams.last_mut().filter(|stream| stream.state == StreamState::Open) {
                stream.state = StreamState::Finalized;
            }
            if run.state == RunState::Closed {
                run.state = RunState::Done;
            }
        })
    }

    async fn take(&self, run: &RunId, limit: usize, in_flight: &[u64], from: u64) -> Result<Vec<Frozen>, OutboxError> {
        self.write(run, |run| {
            let stream = run.streams.last().unwrap();
            assert_eq!(stream.state, StreamState::Open, "chunks are frozen for an open stream");
            let waiting =
                run.chunks.range_mut(from..).filter(|(seq, chunk)| chunk.settled.is_none() && !in_flight.contains(seq));
            let frozen = waiting.take(limit).map(|(seq, chunk)| {
                let data_id = chunk.frozen_for.get_or_insert_with(|| stream.data_id.clone()).clone();
                Frozen { seq: *seq, data_id, chunk: chunk.chunk.clone(), attempts: chunk.attempts, again: chunk.again }
            });
            frozen.collect()
        })
    }

    async fn settle(
        &self,
        run: &RunId,
        seq: u64,
        refused: &[(ChannelName, String)],
        _said: &[(ChannelName, u64)],
    ) -> Result<(), OutboxError> {
        self.write(run, |run| run.chunks.get_mut(&seq).unwrap().settled = Some(refused.to_vec()))
    }

    async fn attempt_failed(&self, run: &RunId, seq: u64, _why: &str) -> Result<(), OutboxError> {
        self.write(run, |run| run.chunks.get_mut(&seq).unwrap().attempts += 1)
    }
}
