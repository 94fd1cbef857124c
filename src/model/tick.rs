//! Ticks, chunks and the counts that account for every reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ChannelIndex, ChannelName, Finite, Reason, Stamp};

/// How a point came to be on its tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A sample, placed on its nearest tick.
    Good,
    /// A sample of doubtful quality, placed on its nearest tick.
    Uncertain,
    /// No sample: made by `fill = "hold"` or `"linear"`, which the lab asked for.
    Filled,
}

/// The value of one channel on one tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The channel.
    pub channel: ChannelIndex,
    /// The number, in the channel's unit.
    pub value: Finite,
    /// How it came to be there.
    pub mark: Mark,
}

/// One instant of the shared time axis, with the channels that have a value there (at least one, by rising channel).
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The instant, in the session's time base.
    pub at: Stamp,
    /// The points. A channel without one is missing here, for a counted reason.
    pub points: Vec<Point>,
}

/// One sealed chunk as it goes on the wire: stamps are reference UTC, the index is the key that makes resending safe.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The slice of the stream that this chunk rewrites.
    pub index: u64,
    /// The channels that have points, none of them empty, none longer than the stream's `points_per_chunk`.
    pub channels: Vec<ChunkChannel>,
}

/// One channel of a chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkChannel {
    /// Its name.
    pub name: ChannelName,
    /// Its unit.
    pub unit: Option<Arc<str>>,
    /// Reference UTC, strictly increasing unless a program gave them. Channels on one time axis share it.
    pub stamps: Arc<[Stamp]>,
    /// The numbers, as many as there are stamps.
    pub values: Vec<f64>,
}

impl Chunk {
    /// Points of all channels.
    pub fn points(&self) -> usize {
        self.channels.iter().map(|channel| channel.values.len()).sum()
    }
}

/// What became of the readings of one channel: `read = recorded + bad + decimated + late + unrecorded`.
///
/// A reading is counted once that is known, so that this holds of every commit and survives whatever ends the process. What
/// the aligner and the recorder hold at a moment is not counted yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Readings whose fate is known, failed ones included.
    pub read: u64,
    /// Samples placed on a tick that is on disk.
    pub recorded: u64,
    /// Points made by `fill`; these are not readings.
    pub filled: u64,
    /// Readings without a value, by reason.
    pub bad: BTreeMap<Reason, u64>,
    /// Samples that lost their tick to a nearer one.
    pub decimated: u64,
    /// Samples whose tick had been closed before they came.
    pub late: u64,
    /// Samples that could not be written: the disk was full, or too slow for too long.
    pub unrecorded: u64,
}

impl Counts {
    /// Readings without a value, whatever the reason.
    pub fn bad_total(&self) -> u64 {
        self.bad.values().sum()
    }

    /// Readings that are accounted for.
    pub fn settled(&self) -> u64 {
        self.recorded + self.bad_total() + self.decimated + self.late + self.unrecorded
    }

    /// Adds another count of the same channel.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.recorded += other.recorded;
        self.filled += other.filled;
        for (reason, count) in &other.bad {
            *self.bad.entry(reason.clone()).or_default() += count;
        }
        self.decimated += other.decimated;
        self.late += other.late;
        self.unrecorded += other.unrecorded;
    }
}
