//! What can go wrong with runs on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

use super::Astray;
use crate::model::{ChannelName, RunId};

/// Why the run store could not do what it was asked. Cloneable: commands that share a transaction share its failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The folder can't be made or listed.
    #[error("the data folder `{}` can't be used", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// The lock file can't be opened or written.
    #[error("the lock file `{}` can't be used", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process keeps runs in this folder.
    #[error("the data folder `{}` is in use by process {pid}; end it, or give this bridge a `data_dir` of its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process, as its lock file names it.
        pid: String,
    },
    /// The thread that owns the run files can't be started.
    #[error("the thread that keeps the runs can't be started")]
    Thread(#[source] Arc<io::Error>),
    /// A run file can't be opened or made.
    #[error("the run file `{}` can't be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// SQLite did not take a setting that durability depends on; some network file systems can't do WAL.
    #[error("SQLite keeps `{pragma}` at {got} for `{}`, {wanted} is needed; is this a network file system?", path.display())]
    Pragma {
        /// The file.
        path: PathBuf,
        /// The setting.
        pragma: &'static str,
        /// What it is.
        got: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// A run file can't be read.
    #[error("the run file `{}` can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// A run file can't be written: the disk is full, or worse.
    #[error("the run file `{}` can't be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// An open run file is not what is at its path any more.
    #[error("the run file `{}` {what}", path.display())]
    Astray {
        /// Where it was opened.
        path: PathBuf,
        /// What became of it.
        what: Astray,
    },
    /// The disk was full, and has too little space still.
    #[error("the disk of `{}` is full: {free} bytes are free, recording goes on with {needed}", path.display())]
    Full {
        /// The folder of the runs.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are to be free.
        needed: u64,
    },
    /// A file that is no run file.
    #[error("`{}` is not a run file", path.display())]
    NotARun {
        /// The file.
        path: PathBuf,
    },
    /// A run file of a newer program.
    #[error("`{}` is a run file of format {format}, this program reads up to {newest}; use a newer mbe-bridge", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its `user_version`.
        format: i64,
        /// The newest that this program knows.
        newest: i64,
    },
    /// A run file that was not closed in order has no log beside it: what was committed last is gone.
    #[error("the log of the run file `{}` is gone, and with it what was committed last", path.display())]
    LogLost {
        /// The file.
        path: PathBuf,
    },
    /// A row of a run file makes no sense.
    #[error("the run file `{}` is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What makes no sense.
        what: String,
    },
    /// There is a run already.
    #[error("run {0} is being recorded; stop it first")]
    AlreadyRecording(RunId),
    /// There is no run.
    #[error("no run is being recorded")]
    NotRecording,
    /// A run that can't be begun as asked.
    #[error("the run can't be begun: {0}")]
    Start(&'static str),
    /// No run of this name waits for anything.
    #[error("there is no run {0} that waits for the platform")]
    UnknownRun(RunId),
    /// The run's newest stream takes no chunks.
    #[error("run {0} has no open stream")]
    NoStream(RunId),
    /// The chunk was not handed out for the newest stream.
    #[error("chunk {seq} of run {run} is not frozen")]
    NotFrozen {
        /// The run.
        run: RunId,
        /// The chunk.
        seq: u64,
    },
    /// A chunk that can't be taken as it was given. Nothing of it was.
    #[error("{0}")]
    Given(#[from] BadChunk),
    /// No stream of this id is in the data folder.
    #[error("there is no stream {data_id} in the data folder; `mbe-bridge streams` lists those of this machine")]
    UnknownStream {
        /// The platform's id.
        data_id: String,
    },
    /// The stream takes no more chunks.
    #[error("the stream {data_id} is finalized and takes no more chunks")]
    Finalized {
        /// The platform's id.
        data_id: String,
    },
    /// A program gives chunks to it already.
    #[error("the stream {data_id} is open already")]
    AlreadyOpen {
        /// The platform's id.
        data_id: String,
    },
    /// The thread that owns the run files has ended.
    #[error("the run store is closed")]
    Stopped,
}

/// What is wrong with a chunk that a program gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadChunk {
    /// No channel, or one without points.
    #[error("a chunk needs channels, and each of them points; leave out a channel that has none")]
    Empty,
    /// Stamps and values of a channel do not go together.
    #[error("channel `{channel}`: {stamps} stamps and {values} values; they have to be of the same length")]
    Lengths {
        /// The channel.
        channel: ChannelName,
        /// Stamps.
        stamps: usize,
        /// Values.
        values: usize,
    },
    /// More than a slice of the stream holds.
    #[error("channel `{channel}`: {points} points, but the stream was made for chunks of {most} at most")]
    TooLong {
        /// The channel.
        channel: ChannelName,
        /// Points.
        points: usize,
        /// The stream's `points_per_chunk`.
        most: usize,
    },
    /// NaN or an infinity: a missing reading is a point left out.
    #[error("channel `{0}`: a value is not a number; leave out the point")]
    NotFinite(ChannelName),
    /// The same channel twice in one chunk.
    #[error("channel `{0}` is there twice")]
    Twice(ChannelName),
    /// A channel keeps its unit.
    #[error("channel `{channel}` was given in `{before}` and comes in `{now}`; a series has one unit")]
    Unit {
        /// The channel.
        channel: ChannelName,
        /// Its unit so far; empty for a plain number.
        before: String,
        /// The unit that it comes in.
        now: String,
    },
    /// More channels than a chunk can number.
    #[error("a stream takes at most 65535 channels")]
    Channels,
    /// The run is not one that chunks are given to, or it was closed.
    #[error("run {0} takes no chunks")]
    Closed(RunId),
}

impl Error {
    /// Whether the file itself is broken, so that trying again can't help.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::NotARun { .. } | Self::LogLost { .. } | Self::Damaged { .. } => true,
            Self::Open { source, .. } | Self::Read { source, .. } | Self::Write { source, .. } => {
                match source.sqlite_error_code() {
                    Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase),
                    // A wrong type or a missing row or column: not what this program writes.
                    None => !matches!(source.as_ref(), rusqlite::Error::SqliteFailure(..)),
                }
            }
            _ => false,
        }
    }

    /// Whether it was found before anything was written, so that what else is in a transaction is not concerned.
    pub(super) fn wrote_nothing(&self) -> bool {
        matches!(self, Self::NoStream(_) | Self::NotFrozen { .. } | Self::Given(_) | Self::Finalized { .. })
    }

    /// Whether the disk has no space.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Open { source, .. } | Self::Write { source, .. } => {
                source.sqlite_error_code() == Some(ErrorCode::DiskFull)
            }
            _ => false,
        }
    }

    /// Whether SQLite does not find its way in the file any more.
    pub(super) fn is_corruption(&self) -> bool {
        match self {
            Self::Open { source, .. } | Self::Read { source, .. } | Self::Write { source, .. } => {
                let code = source.sqlite_error_code();
                code.is_some_and(|code| matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            _ => false,
        }
    }

    /// Whether a file that is open can't be used any more. That a row is not there is no sign of it: somebody may have asked for
    /// one that never was.
    pub(super) fn is_beyond_use(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::NotARun { .. } => true,
            Self::Read { source, .. } => {
                let odd = matches!(
                    **source,
                    rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)
                );
                odd || self.is_corruption()
            }
            _ => self.is_corruption(),
        }
    }

    /// Whether it is one run's file that can't be used, so that other runs go on.
    ///
    /// What says that a disk is full or can't be written is not one run's affair; what can't be read, or is locked by another
    /// program, is.
    pub fn is_of_one_run(&self) -> bool {
        match self {
            Self::Open { .. }
            | Self::Astray { .. }
            | Self::Pragma { .. }
            | Self::Read { .. }
            | Self::NotARun { .. }
            | Self::LogLost { .. }
            | Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::UnknownRun(_)
            | Self::NoStream(_)
            | Self::Given(_)
            | Self::UnknownStream { .. }
            | Self::Finalized { .. }
            | Self::AlreadyOpen { .. }
            | Self::NotFrozen { .. } => true,
            Self::Write { source, .. } => {
                let of_the_file = [ErrorCode::SystemIoFailure, ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
                self.is_damage() || source.sqlite_error_code().is_some_and(|code| of_the_file.contains(&code))
            }
            _ => false,
        }
    }

    pub(super) fn open(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Open { path, source: Arc::new(source) }
    }

    pub(super) fn read(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source: Arc::new(source) }
    }

    pub(super) fn write(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source: Arc::new(source) }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}
