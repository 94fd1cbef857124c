//! What stands between a run on disk and a stream on the platform.

use super::{Chunk, RunId};

/// What a stream is created with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamSpec {
    /// Its name, already expanded.
    pub name: String,
    /// The growth instrument.
    pub synth_source_id: Option<i64>,
    /// Name or UUID of the sample.
    pub physical_sample: Option<String>,
    /// The project.
    pub project_id: Option<String>,
    /// Names or UUIDs of tags.
    pub tags: Vec<String>,
    /// Slice width: no channel of any chunk is longer.
    pub points_per_chunk: usize,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Samples are being added (or were, when a process died).
    Recording,
    /// No more samples; something may still have to be uploaded.
    Closed,
    /// Everything is on the platform or rejected, and every stream is finalized.
    Done,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// It takes chunks.
    Open,
    /// The platform ended it before we did; a continuation follows it.
    Ended,
    /// Finalized by us.
    Finalized,
}

/// A stream of a run, as recorded in the run file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// Its place among the streams of the run, from 1.
    pub number: i64,
    /// The platform's id.
    pub data_id: String,
    /// How far it has come.
    pub state: StreamState,
}

/// A run that still needs something of the platform.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRun {
    /// The run.
    pub run: RunId,
    /// How far it has come.
    pub state: RunState,
    /// What its streams are created with.
    pub spec: StreamSpec,
    /// Its newest stream, once there is one.
    pub stream: Option<StreamRecord>,
    /// Sealed chunks that are neither confirmed nor rejected.
    pub queued: u64,
    /// The number that the next sealed chunk will have.
    pub next_seq: u64,
}

/// A chunk whose index, stamps and content are fixed for ever: what is sent again is the same to the bit.
#[derive(Debug, Clone, PartialEq)]
pub struct Frozen {
    /// The chunk's number in its run, from 0.
    pub seq: u64,
    /// The platform's id of the stream that it was frozen for.
    pub data_id: String,
    /// The chunk.
    pub chunk: Chunk,
    /// How often it has been sent already.
    pub attempts: u64,
    /// It was refused before, and somebody wants it to be tried again: another refusal says nothing about the stream.
    pub again: bool,
}

/// What is sent again of what the platform had refused, in points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resending {
    /// They wait again.
    pub points: u64,
    /// They were refused on an earlier stream of a run whose newest stream is still open, where there is no place for them.
    /// Once that stream is finalized they can be sent.
    pub later: u64,
}
