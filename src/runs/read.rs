//! Reading a run file: for the CLI, for exports, for tests. It changes nothing, works on a copy, and while the bridge writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::body::Columns;
pub use super::inspect::{ChunkHead, Fate, Parted, Placed};
use super::offset::Placing;
use super::rows::{self, ChunkRow, Head};
use super::{Axis, Error, counts, queue, schema};
use crate::model::{
    Channel, Chunk, ClockReading, Counts, RunId, RunState, SessionId, Stamp, StreamRecord, StreamSpec, Tick,
};

/// A run file, as it was when it was first asked something: later commits are seen by opening it anew.
///
/// Keep it no longer than needed: while it is open, the writer's log can't be started over and grows.
#[derive(Debug)]
pub struct RunFile {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) head: Head,
}

/// What a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its name.
    pub run: RunId,
    /// How far it has come.
    pub state: RunState,
    /// When it began, in the time of its first session.
    pub created: Stamp,
    /// What its streams are created with.
    pub spec: StreamSpec,
    /// What its time axis is made of.
    pub axis: Axis,
    /// The distance of ticks, on a grid.
    pub period: Option<Duration>,
    /// Its channels; ticks and counts speak of them by their place here.
    pub channels: Arc<[Channel]>,
}

/// A process lifetime that added to the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub number: SessionId,
    /// The host's wall clock when the session's clock was fixed.
    pub anchor: Stamp,
    /// Which boot of the machine it was, where the system said.
    pub boot_id: Option<String>,
    /// The uptime of the machine at the anchor, in nanoseconds.
    pub uptime_nanos: Option<i64>,
    /// The program with its version.
    pub program: String,
    /// The lab's TOML.
    pub config_text: String,
    /// When it began to record.
    pub started: Stamp,
    /// When it ended; none if it died, or goes on.
    pub ended: Option<Stamp>,
}

/// A stream on the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The stream.
    pub record: StreamRecord,
    /// Why it ended before we ended it.
    pub why: Option<String>,
    /// The chunk that has index 0 on it, once one was frozen for it.
    pub base: Option<u64>,
}

/// How far a chunk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkState {
    /// It has not been sent.
    Sealed,
    /// It was handed out to be sent; index and stamps are fixed.
    Frozen,
    /// The platform has it, all or in part.
    Confirmed,
    /// The platform has nothing of it.
    Rejected,
}

impl ChunkState {
    pub(super) fn of(state: rows::ChunkState) -> Self {
        match state {
            rows::ChunkState::Sealed => Self::Sealed,
            rows::ChunkState::Frozen => Self::Frozen,
            rows::ChunkState::Confirmed => Self::Confirmed,
            rows::ChunkState::Rejected => Self::Rejected,
        }
    }
}

/// A sealed chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredChunk {
    /// Its number in the run, from 0.
    pub seq: u64,
    /// The session in whose time its ticks are.
    pub session: SessionId,
    /// How far it has come.
    pub state: ChunkState,
    /// Its ticks, in session time. None in a run that was salvaged from a damaged file, if they could not be read there.
    pub ticks: Vec<Tick>,
    /// Points per channel.
    pub points: Vec<u64>,
    /// What it is or was sent as, once frozen.
    pub sent: Option<Sent>,
    /// Attempts that failed.
    pub attempts: u64,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
    /// Channels that were sent again apart from the others; `sent` speaks of these alone. See [`RunFile::resent`].
    pub only: Option<Vec<usize>>,
}

/// Where the other channels are of a chunk that was sent again in part on another stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Resent {
    /// The chunk.
    pub seq: u64,
    /// What was sent of it before.
    pub sent: Sent,
}

/// What freezing fixes.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The number of the stream that it was frozen for.
    pub stream: i64,
    /// What was added to session time, in nanoseconds.
    pub offset_nanos: i64,
    /// Reference UTC of each tick.
    pub stamps: Vec<Stamp>,
    /// The request.
    pub chunk: Chunk,
}

/// Ticks that no chunk holds yet.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenTicks {
    /// The session in whose time they are.
    pub session: SessionId,
    /// The ticks.
    pub ticks: Vec<Tick>,
}

/// A channel of a chunk that the platform refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The chunk.
    pub seq: u64,
    /// The channel's place in the list of channels.
    pub channel: usize,
    /// The platform's words.
    pub words: String,
}

/// Something that was noted while the run was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The session in whose time it is.
    pub session: SessionId,
    /// When.
    pub at: Stamp,
    /// What sort of thing, in one word.
    pub kind: String,
    /// What.
    pub text: String,
}

impl RunFile {
    /// Opens a run file. Fails if it is none, or of a newer program.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let connection = schema::open_read_only(path)?;
        // A transaction from here on: all answers are of one moment.
        connection.execute_batch("BEGIN").map_err(Error::read(path))?;
        let head = rows::head(&connection, path)?;
        Ok(Self { path: path.to_owned(), connection, head })
    }

    /// What the run is.
    pub fn info(&self) -> Info {
        let head = self.head.clone();
        Info {
            run: head.id,
            state: head.state,
            created: head.created,
            spec: head.spec,
            axis: head.axis,
            period: head.period,
            channels: head.channels,
        }
    }

    /// The sessions, by rising number.
    pub fn sessions(&self) -> Result<Vec<Session>, Error> {
        let rows = rows::sessions(&self.connection, &self.path)?;
        Ok(rows
            .into_iter()
            .map(|row| Session {
                number: row.number,
                anchor: row.anchor,
                boot_id: row.boot_id,
                uptime_nanos: row.uptime_nanos,
                program: row.program,
                config_text: row.config,
                started: row.started,
                ended: row.ended,
            })
            .collect())
    }

    /// Measurements of the sessions' clocks, as they were recorded.
    pub fn clock_readings(&self) -> Result<Vec<(SessionId, ClockReading)>, Error> {
        rows::clock_readings(&self.connection, &self.path)
    }

    /// The streams on the platform, by rising number.
    pub fn streams(&self) -> Result<Vec<Stream>, Error> {
        let rows = rows::streams(&self.connection, &self.path)?;
        Ok(rows.into_iter().map(|row| Stream { record: row.record, why: row.why, base: row.base }).collect())
    }

    /// What became of the readings of each channel.
    pub fn counts(&self) -> Result<Vec<Counts>, Error> {
        let mut counts = rows::folded_counts(&self.connection, &self.path)?;
        for row in rows::open_rows(&self.connection, &self.path, self.head.channels.len())? {
            counts::add_all(&mut counts, &row.news);
        }
        Ok(counts)
    }

    /// Chunks by rising number, at most `limit`, from number `from` on. A run can be larger than memory: ask for it in pages.
    pub fn chunks(&self, from: u64, limit: usize) -> Result<Vec<StoredChunk>, Error> {
        let rows = rows::chunks(&self.connection, &self.path, from, limit)?;
        rows.into_iter().map(|row| self.stored(row)).collect()
    }

    fn stored(&self, row: ChunkRow) -> Result<StoredChunk, Error> {
        let columns = rows::columns_if_kept(&self.connection, &self.path, row.seq)?.unwrap_or_default();
        let ticks = columns.ticks();
        let sent = row
            .frozen
            .map(|frozen| self.sent(frozen.stream, frozen.index, frozen.placing, columns, row.only.as_deref()));
        Ok(StoredChunk {
            seq: row.seq,
            session: row.session,
            state: ChunkState::of(row.state),
            ticks,
            points: row.points,
            sent,
            attempts: row.attempts,
            last_error: row.last_error,
            only: row.only,
        })
    }

    fn sent(&self, stream: i64, index: u64, placing: Placing, columns: Columns, only: Option<&[usize]>) -> Sent {
        let stamps = self.head.stamps(placing, &columns.times);
        Sent {
            stream,
            offset_nanos: placing.offset_nanos,
            chunk: queue::chunk(&self.head, index, &stamps, columns, only),
            stamps: stamps.to_vec(),
        }
    }

    /// Where the other channels are of chunks that were sent again in part on another stream.
    pub fn resent(&self) -> Result<Vec<Resent>, Error> {
        let rows = rows::resent(&self.connection, &self.path)?;
        rows.into_iter()
            .map(|row| {
                let columns = rows::columns(&self.connection, &self.path, row.seq)?;
                let sent = self.sent(row.stream, row.index, row.placing, columns, Some(&row.channels));
                Ok(Resent { seq: row.seq, sent })
            })
            .collect()
    }

    /// The largest number of points that the platform has said to hold: stream, channel's place, points.
    pub fn stream_points(&self) -> Result<Vec<(i64, usize, u64)>, Error> {
        rows::stream_points(&self.connection, &self.path)
    }

    /// Ticks that no chunk holds yet, in the order in which they were committed. What is damaged is left out.
    pub fn open_ticks(&self) -> Result<Vec<OpenTicks>, Error> {
        let rows = rows::open_rows(&self.connection, &self.path, self.head.channels.len())?;
        let readable = rows.into_iter().filter(|row| row.flaw.is_none() || !row.ticks.is_empty());
        Ok(readable.map(|row| OpenTicks { session: row.session, ticks: row.ticks }).collect())
    }

    /// Channels of chunks that the platform refused.
    pub fn refusals(&self) -> Result<Vec<Refusal>, Error> {
        let rows = rows::rejected(&self.connection, &self.path)?;
        Ok(rows.into_iter().map(|(seq, channel, words)| Refusal { seq, channel, words }).collect())
    }

    /// Events and notes, as they were recorded.
    pub fn events(&self) -> Result<Vec<Event>, Error> {
        let rows = rows::events(&self.connection, &self.path)?;
        Ok(rows.into_iter().map(|(session, at, kind, text)| Event { session, at, kind, text }).collect())
    }
}
