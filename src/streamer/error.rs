//! What can go wrong with a streamer.

use std::sync::Arc;
use std::time::Duration;

use crate::atomscale::OpenError;
use crate::atomscale::PlatformError;
use crate::atomscale::SetUpError;
use crate::model::InvalidChannelName;
use crate::runs;

/// Why a streamer could not do what it was asked. Where nothing else is said, nothing of the call was kept or sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Endpoint or key can't be used.
    #[error(transparent)]
    SetUp(#[from] Arc<SetUpError>),
    /// `points_per_chunk` of zero, or more than a stream can have.
    #[error("points_per_chunk is {0}, expected 1 to 1000000")]
    PointsPerChunk(usize),
    /// The folder for the data, or a file in it, can't be used; the disk may be full.
    #[error("{} can't be kept on disk", what)]
    Disk {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: runs::Error,
    },
    /// The system gives no thread.
    #[error("the streamer's thread can't be started")]
    Thread(#[source] Arc<std::io::Error>),
    /// As many timestamps as values are needed.
    #[error(
        "channel `{channel}`: timestamps and values must have the same length, they have {timestamps} and {values}"
    )]
    Lengths {
        /// The channel.
        channel: String,
        /// Timestamps given.
        timestamps: usize,
        /// Values given.
        values: usize,
    },
    /// A chunk longer than its slice would run into the next one.
    #[error(
        "channel `{channel}` has {points} points, a chunk of this stream has at most {most} (points_per_chunk); push it in more chunks"
    )]
    TooManyPoints {
        /// The channel.
        channel: String,
        /// Points given.
        points: usize,
        /// Most points of a chunk.
        most: usize,
    },
    /// There is nothing to send.
    #[error("chunk {chunk_index} has no points")]
    NoPoints {
        /// The chunk.
        chunk_index: u64,
    },
    /// A chunk index or a number of channels beyond what a stream can have.
    #[error("{0}")]
    TooLarge(&'static str),
    /// A time that is none.
    #[error("channel `{channel}`: timestamp {place} is {value}, expected Unix time in seconds")]
    Timestamp {
        /// The channel.
        channel: String,
        /// Its place in the list, from 0.
        place: usize,
        /// What it is.
        value: f64,
    },
    /// A name that no channel can have.
    #[error("channel `{channel}`: {source}")]
    Channel {
        /// The name.
        channel: String,
        /// What is wrong with it.
        source: InvalidChannelName,
    },
    /// One channel twice in one chunk.
    #[error("channel `{0}` is there twice in one chunk")]
    ChannelTwice(String),
    /// A channel has one unit for the life of a stream.
    #[error(
        "channel `{channel}` has been pushed with {}, now with {}; push it under another name",
        unit(before),
        unit(now)
    )]
    UnitChanged {
        /// The channel.
        channel: String,
        /// Its unit so far.
        before: Option<String>,
        /// Its unit in this push.
        now: Option<String>,
    },
    /// This streamer does not know the stream.
    #[error("stream `{0}` is not open here; create it with initialize, or pick it up again with resume")]
    UnknownStream(String),
    /// No file on this computer holds the stream.
    #[error("stream `{0}` can't be resumed: no data of it is kept here for this endpoint")]
    NotKept(String),
    /// The stream takes no more data.
    #[error("stream `{0}` is finalized and takes no more data; create another with initialize")]
    AlreadyFinalized(String),
    /// Another program has the stream.
    #[error("stream `{data_id}` is in use by process {pid}; end it, or resume the stream there")]
    InUse {
        /// The stream.
        data_id: String,
        /// The process.
        pid: String,
    },
    /// Accepting, not waiting: the disk does not keep up.
    #[error("chunk {chunk_index} is not taken: {queued} chunks wait for the disk already; push it again in a moment")]
    TooFarBehind {
        /// The chunk.
        chunk_index: u64,
        /// How many wait.
        queued: u64,
    },
    /// A chunk that had been accepted could not be kept.
    #[error("chunk {chunk_index} of stream `{data_id}`, which had been accepted, is not on disk")]
    AcceptedLost {
        /// The stream.
        data_id: String,
        /// The chunk.
        chunk_index: u64,
        /// Why.
        #[source]
        source: runs::Error,
    },
    /// The platform does not accept the API key.
    #[error("the platform does not accept the API key: {words}; what was pushed is kept on disk until it does")]
    KeyRefused {
        /// The platform's words.
        words: String,
    },
    /// The platform could not create the stream, or something that it is linked to.
    #[error("the stream was not created")]
    Initialize(#[source] Arc<OpenError>),
    /// The platform did not do what it was asked.
    #[error("{what}")]
    Platform {
        /// What was not done.
        what: &'static str,
        /// Why.
        #[source]
        source: Arc<PlatformError>,
    },
    /// The platform takes nothing more of a stream, or can't go on with it. What was pushed is kept on disk and tried again.
    #[error("the platform does not take stream `{data_id}`: {words}; what was pushed is kept on disk")]
    Held {
        /// The stream.
        data_id: String,
        /// The platform's words.
        words: String,
    },
    /// The stream is finalized, but not whole on the platform.
    #[error(
        "stream `{data_id}` is finalized without {points} points that the platform refused: {words}; they are kept in `{}`",
        file.display()
    )]
    PointsRefused {
        /// The stream.
        data_id: String,
        /// Points that were refused.
        points: u64,
        /// The platform's words.
        words: String,
        /// The run file that keeps them.
        file: std::path::PathBuf,
    },
    /// Not everything was confirmed in time.
    #[error("{chunks} chunks are not confirmed after {within:?}; they are on disk and are still being sent")]
    NotInTime {
        /// How many.
        chunks: u64,
        /// The time that was given.
        within: Duration,
    },
    /// Whoever waited was told to stop waiting. What was asked for goes on.
    #[error("interrupted; what was pushed is kept and is still being sent")]
    Interrupted,
    /// The process was forked, and the threads of the streamer stayed behind.
    #[error("this streamer was made before a fork, and works only in process {parent}; make one in each process")]
    Forked {
        /// The process that made it.
        parent: u32,
    },
    /// The streamer was closed.
    #[error("the streamer is closed")]
    Closed,
}

fn unit(unit: &Option<String>) -> String {
    unit.as_ref().map_or_else(|| "no unit".to_owned(), |unit| format!("unit `{unit}`"))
}
