//! What the streamer tells of itself and of its streams.

use std::fmt;

/// What became of a push, and how much waits behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// Whether the chunk is on disk; else it is on its way there ([`Acknowledge::Accepted`](super::Acknowledge::Accepted)).
    pub durable: bool,
    /// Chunks of this stream that the platform has not confirmed yet, this one included. A number that keeps rising says that
    /// more is pushed than the platform takes; nothing is lost while the disk has space.
    pub queued_chunks: u64,
    /// The points in them.
    pub queued_points: u64,
}

/// What [`run`](super::TimeseriesStreamer::run) has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// Chunks.
    pub chunks: u64,
    /// Points in them.
    pub points: u64,
    /// The index of the first.
    pub first_chunk_index: u64,
    /// The index that the next chunk of this channel will have.
    pub next_chunk_index: u64,
}

/// A stream that has been finalized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalized {
    /// The stream.
    pub data_id: String,
    /// Points that the platform has confirmed.
    pub uploaded_points: u64,
    /// The streams that went on with this one, where the platform had ended it before; the newest last.
    pub continued_as: Vec<String>,
}

/// A stream that has been picked up again.
#[derive(Debug, Clone, PartialEq)]
pub struct Resumed {
    /// The stream.
    pub data_id: String,
    /// One past the highest index that was pushed on any channel.
    pub next_chunk_index: u64,
    /// What was pushed so far, channel by channel.
    pub channels: Vec<ResumedChannel>,
    /// Most points that a chunk of this stream may have, as it was created.
    pub points_per_chunk: usize,
}

/// What was pushed of a channel so far.
#[derive(Debug, Clone, PartialEq)]
pub struct ResumedChannel {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub units: Option<String>,
    /// One past the highest index that was pushed.
    pub next_chunk_index: u64,
    /// Points that are on disk or on the platform.
    pub points: u64,
    /// The last timestamp of the chunk with the highest index, Unix time in seconds.
    pub last_timestamp: Option<f64>,
}

/// What was left when a streamer was closed. It is on disk, and the next streamer with this endpoint and key sends it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// Chunks that the platform has not confirmed.
    pub chunks: u64,
    /// Streams that are not finalized.
    pub streams: Vec<String>,
}

impl Left {
    /// Whether the platform has everything.
    pub fn is_nothing(&self) -> bool {
        self.chunks == 0 && self.streams.is_empty()
    }
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// It takes chunks.
    Open,
    /// A program left it; it is being delivered, and waits for somebody to [`resume`](super::TimeseriesStreamer::resume) it.
    Left,
    /// It takes no more chunks; what is queued is being delivered.
    Closing,
    /// It is whole on the platform, and finalized there.
    Finalized,
}

impl StreamState {
    /// One word: `open`, `left`, `closing`, `finalized`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Left => "left",
            Self::Closing => "closing",
            Self::Finalized => "finalized",
        }
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How the platform behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PlatformStatus {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// It takes what it is sent.
    Up,
    /// It does not answer, with what it last said; it is tried again and again.
    Down(String),
    /// It does not accept the API key, with its words; it is tried again each minute.
    KeyRefused(String),
}

impl PlatformStatus {
    /// One word: `unknown`, `up`, `down`, `key_refused`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down(_) => "down",
            Self::KeyRefused(_) => "key_refused",
        }
    }

    /// What the platform, or the way to it, said.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Unknown | Self::Up => None,
            Self::Down(why) | Self::KeyRefused(why) => Some(why),
        }
    }
}

/// A stream, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamStatus {
    /// The id that it was created with.
    pub data_id: String,
    /// Its name.
    pub name: String,
    /// How far it has come.
    pub state: StreamState,
    /// Chunks that the platform has not confirmed.
    pub queued_chunks: u64,
    /// Points in them.
    pub queued_points: u64,
    /// Points that the platform has confirmed.
    pub uploaded_points: u64,
    /// Points that the platform refused for good; they are kept on disk.
    pub rejected_points: u64,
    /// How the platform behaves.
    pub platform: PlatformStatus,
    /// What last went wrong with it, if anything did since the streamer was opened.
    pub last_error: Option<String>,
    /// Since when the oldest queued chunk waits, Unix time in seconds by this computer's clock.
    pub oldest_queued: Option<f64>,
}

/// This computer's clock against the platform's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockStatus {
    /// The platform's time minus this computer's, in milliseconds.
    pub offset_ms: f64,
    /// The most that the offset can be wrong by, in milliseconds. An offset that is smaller than this is not applied.
    pub uncertainty_ms: f64,
    /// When it was measured, Unix time in milliseconds by this computer's clock.
    pub measured_at_unix_ms: f64,
}
