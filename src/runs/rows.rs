//! Reading the rows of a run file, for the store and for [`read`](super::read).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{FromSql, Type};
use rusqlite::{Connection, OptionalExtension, Row};

use super::body::Columns;
use super::offset::Placing;
use super::{Axis, Error, body, counts, offset};
use crate::model::{
    Channel, ChannelName, ClockReading, ClockSource, Counts, Kind, RunId, RunState, SessionId, Stamp, StreamRecord,
    StreamSpec, StreamState, Tick,
};

/// The only row of `run`, and `channels`.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: RunId,
    pub(super) state: RunState,
    pub(super) created: Stamp,
    pub(super) spec: StreamSpec,
    pub(super) axis: Axis,
    pub(super) period: Option<Duration>,
    pub(super) channels: Arc<[Channel]>,
}

impl Head {
    /// The stamps in UTC of ticks at these times, as they were frozen.
    pub(super) fn stamps(&self, placing: Placing, times: &Arc<[Stamp]>) -> Arc<[Stamp]> {
        if self.axis == Axis::Given && placing.offset_nanos == 0 {
            return Arc::clone(times);
        }
        offset::stamps(self.axis, placing, times.iter().copied()).into()
    }
}

/// A row of `sessions`.
#[derive(Debug, Clone)]
pub(super) struct SessionRow {
    pub(super) number: SessionId,
    pub(super) anchor: Stamp,
    pub(super) boot_id: Option<String>,
    pub(super) uptime_nanos: Option<i64>,
    pub(super) program: String,
    pub(super) config: String,
    pub(super) started: Stamp,
    pub(super) ended: Option<Stamp>,
}

/// How far a chunk has come, as `chunks.state` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkState {
    Sealed,
    Frozen,
    Confirmed,
    Rejected,
}

/// A row of `chunks`.
#[derive(Debug, Clone)]
pub(super) struct ChunkRow {
    pub(super) seq: u64,
    pub(super) session: SessionId,
    pub(super) written: Stamp,
    pub(super) first: Stamp,
    pub(super) last: Stamp,
    pub(super) points: Vec<u64>,
    pub(super) state: ChunkState,
    /// The index that a program gave it; it is known before it is frozen.
    pub(super) given: Option<u64>,
    /// Once frozen.
    pub(super) frozen: Option<FrozenRow>,
    pub(super) attempts: u64,
    pub(super) last_error: Option<String>,
    /// Where a part of it is sent again: these channels. The others keep what became of them.
    pub(super) only: Option<Vec<usize>>,
}

impl ChunkRow {
    /// Whether it concerns this channel when the chunk waits or is settled.
    pub(super) fn holds(&self, channel: usize) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&channel))
    }
}

/// A row of `streams`.
#[derive(Debug, Clone)]
pub(super) struct StreamRow {
    pub(super) record: StreamRecord,
    pub(super) why: Option<String>,
    /// The chunk that has index 0 on it; none before the first is frozen, in files of format 1.
    pub(super) base: Option<u64>,
}

/// A row of `resent`: where channels of a chunk are whose others were sent again on another stream.
#[derive(Debug, Clone)]
pub(super) struct ResentRow {
    pub(super) seq: u64,
    pub(super) channels: Vec<usize>,
    pub(super) stream: i64,
    pub(super) index: u64,
    pub(super) placing: Placing,
}

/// What freezing adds to a row of `chunks`.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrozenRow {
    pub(super) stream: i64,
    pub(super) index: u64,
    pub(super) placing: Placing,
    pub(super) last_utc: Stamp,
}

/// A row of `open_batches`.
#[derive(Debug, Clone)]
pub(super) struct OpenRow {
    pub(super) session: SessionId,
    pub(super) written: Stamp,
    /// What it adds to the counts of each channel.
    pub(super) news: Vec<Counts>,
    /// None where they can't be read.
    pub(super) ticks: Vec<Tick>,
    /// What of it can't be read, with the bytes or the text that it is, so that nothing is lost for whoever can.
    pub(super) flaw: Option<String>,
}

impl OpenRow {
    /// Points that can't be read count as unrecorded, so that the accounts of a run still balance; where the counts can't be
    /// read, they are what the ticks show.
    fn new(session: SessionId, written: Stamp, text: &str, bytes: &[u8], channels: usize) -> Self {
        let mut news = vec![Counts::default(); channels];
        let counted = counts::add_text(&mut news, text).is_some();
        let (ticks, flaw) = match body::decode(bytes) {
            Ok(ticks) if counted => (ticks, None),
            Ok(ticks) => {
                news = vec![Counts::default(); channels];
                counts::count_ticks(&mut news, &ticks, |c| &mut c.recorded, |c| Some(&mut c.filled));
                news.iter_mut().for_each(|news| news.read = news.recorded);
                (ticks, Some(format!("its counts make no sense: {text}")))
            }
            Err(bad) => {
                if !counted {
                    news = vec![Counts::default(); channels];
                }
                for news in &mut news {
                    news.unrecorded += std::mem::take(&mut news.recorded);
                    news.filled = 0;
                }
                let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                (Vec::new(), Some(format!("its ticks can't be used, {bad}; counts {text}, bytes {bytes}")))
            }
        };
        Self { session, written, news, ticks, flaw }
    }
}

/// SQLite has signed numbers only; ours stay far below 2^63.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: &'static str) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| odd(column))
}

fn stamp(row: &Row<'_>, column: &str) -> rusqlite::Result<Stamp> {
    Ok(Stamp::from_nanos(row.get(column)?))
}

fn optional_stamp(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Stamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Stamp::from_nanos))
}

fn session(row: &Row<'_>, column: &str) -> rusqlite::Result<SessionId> {
    Ok(SessionId(row.get(column)?))
}

/// A value that this program never writes.
fn odd(column: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Null, format!("`{column}` makes no sense").into())
}

fn all<T>(
    connection: &Connection,
    path: &Path,
    query: &str,
    from: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Error> {
    let rows = || connection.prepare_cached(query)?.query_map([], from)?.collect::<Result<Vec<T>, _>>();
    rows().map_err(Error::read(path))
}

pub(super) fn head(connection: &Connection, path: &Path) -> Result<Head, Error> {
    let channels = all(connection, path, "SELECT * FROM channels ORDER BY number", |row| {
        let text = |column| row.get::<_, String>(column);
        Ok(Channel {
            name: ChannelName::parse(&text("name")?).map_err(|_| odd("name"))?,
            unit: row.get::<_, Option<String>>("unit")?.map(Arc::from),
            instrument: text("instrument")?.into(),
            source: text("source")?.into(),
            kind: kind_from(&text("kind")?).ok_or_else(|| odd("kind"))?,
        })
    })?;
    let head = |row: &Row<'_>| {
        let tags = serde_json::from_str(&row.get::<_, String>("tags")?).map_err(|_| odd("tags"))?;
        let points_per_chunk = usize::try_from(unsigned(row, "points_per_chunk")?);
        Ok(Head {
            id: RunId::new(&row.get::<_, String>("id")?),
            state: run_state_from(&row.get::<_, String>("state")?).ok_or_else(|| odd("state"))?,
            created: stamp(row, "created")?,
            spec: StreamSpec {
                name: row.get("stream_name")?,
                synth_source_id: row.get("synth_source_id")?,
                physical_sample: row.get("physical_sample")?,
                project_id: row.get("project_id")?,
                tags,
                points_per_chunk: points_per_chunk.map_err(|_| odd("points_per_chunk"))?,
            },
            axis: axis_from(&row.get::<_, String>("axis")?).ok_or_else(|| odd("axis"))?,
            period: row.get::<_, Option<i64>>("period")?.and_then(|p| u64::try_from(p).ok()).map(Duration::from_nanos),
            channels: channels.into(),
        })
    };
    connection.query_one("SELECT * FROM run", [], head).map_err(Error::read(path))
}

pub(super) fn sessions(connection: &Connection, path: &Path) -> Result<Vec<SessionRow>, Error> {
    all(connection, path, "SELECT * FROM sessions ORDER BY number", |row| {
        Ok(SessionRow {
            number: session(row, "number")?,
            anchor: stamp(row, "anchor")?,
            boot_id: row.get("boot_id")?,
            uptime_nanos: row.get("uptime_nanos")?,
            program: row.get("program")?,
            config: row.get("config")?,
            started: stamp(row, "started")?,
            ended: optional_stamp(row, "ended")?,
        })
    })
}

/// Measurements in the order in which they were recorded.
pub(super) fn clock_readings(connection: &Connection, path: &Path) -> Result<Vec<(SessionId, ClockReading)>, Error> {
    all(connection, path, "SELECT * FROM clock_readings ORDER BY rowid", |row| {
        let source = match row.get::<_, String>("source")?.as_str() {
            "platform" => ClockSource::Platform,
            _ => ClockSource::Host,
        };
        let reading = ClockReading {
            at: stamp(row, "at")?,
            offset_nanos: row.get("offset_nanos")?,
            uncertainty_nanos: row.get("uncertainty_nanos")?,
            source,
        };
        Ok((session(row, "session")?, reading))
    })
}

/// Streams by rising number.
pub(super) fn streams(connection: &Connection, path: &Path) -> Result<Vec<StreamRow>, Error> {
    all(connection, path, "SELECT * FROM streams ORDER BY number", |row| {
        let state = match row.get::<_, String>("state")?.as_str() {
            "open" => StreamState::Open,
            "ended" => StreamState::Ended,
            _ => StreamState::Finalized,
        };
        Ok(StreamRow {
            record: StreamRecord { number: row.get("number")?, data_id: row.get("data_id")?, state },
            why: row.get("why")?,
            base: since_format_2::<i64>(row, "base")?.and_then(|base| u64::try_from(base).ok()),
        })
    })
}

/// A column that files of format 1 do not have.
fn since_format_2<T: FromSql>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    match row.get(column) {
        Err(rusqlite::Error::InvalidColumnName(_)) => Ok(None),
        value => value,
    }
}

fn has_table(connection: &Connection, path: &Path, table: &str) -> Result<bool, Error> {
    connection.table_exists(None, table).map_err(Error::read(path))
}

/// What the platform has said to hold at most: stream, channel, points.
pub(super) fn stream_points(connection: &Connection, path: &Path) -> Result<Vec<(i64, usize, u64)>, Error> {
    if !has_table(connection, path, "stream_points")? {
        return Ok(Vec::new());
    }
    all(connection, path, "SELECT * FROM stream_points ORDER BY stream, channel", |row| {
        let channel = usize::try_from(unsigned(row, "channel")?).map_err(|_| odd("channel"))?;
        Ok((row.get("stream")?, channel, unsigned(row, "said")?))
    })
}

/// Where the other channels are of chunks that were sent again on another stream.
pub(super) fn resent(connection: &Connection, path: &Path) -> Result<Vec<ResentRow>, Error> {
    if !has_table(connection, path, "resent")? {
        return Ok(Vec::new());
    }
    all(connection, path, "SELECT * FROM resent ORDER BY rowid", |row| {
        Ok(ResentRow {
            seq: unsigned(row, "seq")?,
            channels: counts::channels_from_text(&row.get::<_, String>("channels")?).ok_or_else(|| odd("channels"))?,
            stream: row.get("stream")?,
            index: unsigned(row, "chunk_index")?,
            placing: Placing { offset_nanos: row.get("offset_nanos")?, floor: optional_stamp(row, "floor_utc")? },
        })
    })
}

/// The table `counts`: without what the open batches add.
pub(super) fn folded_counts(connection: &Connection, path: &Path) -> Result<Vec<Counts>, Error> {
    all(connection, path, "SELECT * FROM counts ORDER BY channel", |row| {
        Ok(Counts {
            read: unsigned(row, "read")?,
            recorded: unsigned(row, "recorded")?,
            filled: unsigned(row, "filled")?,
            bad: counts::bad_from_text(&row.get::<_, String>("bad")?).ok_or_else(|| odd("bad"))?,
            decimated: unsigned(row, "decimated")?,
            late: unsigned(row, "late")?,
            unrecorded: unsigned(row, "unrecorded")?,
        })
    })
}

/// Open batches in the order in which they were committed, of a run with so many channels.
pub(super) fn open_rows(connection: &Connection, path: &Path, channels: usize) -> Result<Vec<OpenRow>, Error> {
    all(connection, path, "SELECT * FROM open_batches ORDER BY number", |row| {
        let (session, written) = (session(row, "session")?, stamp(row, "written")?);
        let (text, bytes) = (row.get_ref("counts")?.as_str()?, row.get_ref("ticks")?.as_blob()?);
        Ok(OpenRow::new(session, written, text, bytes, channels))
    })
}

/// Chunks by rising number, at most `limit`, from `from` on.
pub(super) fn chunks(connection: &Connection, path: &Path, from: u64, limit: usize) -> Result<Vec<ChunkRow>, Error> {
    let query = format!("SELECT * FROM chunks WHERE seq >= {} ORDER BY seq LIMIT {limit}", signed(from));
    let rows = || connection.prepare(&query)?.query_map([], chunk)?.collect::<Result<Vec<_>, _>>();
    rows().map_err(Error::read(path))
}

/// Frozen chunks of which only a part is sent again.
pub(super) fn frozen_in_part(connection: &Connection, path: &Path) -> Result<Vec<ChunkRow>, Error> {
    all(connection, path, "SELECT * FROM chunks WHERE state = 'frozen' AND only IS NOT NULL", chunk)
}

/// Whether it is on record where the other channels of a chunk are.
pub(super) fn is_parted(connection: &Connection, path: &Path, seq: u64) -> Result<bool, Error> {
    connection
        .query_row("SELECT EXISTS (SELECT 1 FROM resent WHERE seq = ?1)", [signed(seq)], |row| row.get(0))
        .map_err(Error::read(path))
}

/// Points per channel of a chunk; none of a chunk that is not there.
pub(super) fn points(connection: &Connection, path: &Path, seq: u64) -> Result<Vec<u64>, Error> {
    let text: Option<String> = connection
        .query_row("SELECT points FROM chunks WHERE seq = ?1", [signed(seq)], |row| row.get(0))
        .optional()
        .map_err(Error::read(path))?;
    text.map_or(Some(Vec::new()), |text| counts::points_from_text(&text))
        .ok_or_else(|| Error::damaged(path, format!("the points of chunk {seq} can't be read")))
}

/// From a row with all columns of `chunks`.
pub(super) fn chunk(row: &Row<'_>) -> rusqlite::Result<ChunkRow> {
    let state = chunk_state_from(&row.get::<_, String>("state")?).ok_or_else(|| odd("state"))?;
    let frozen = match row.get::<_, Option<i64>>("stream")? {
        None => None,
        Some(stream) => Some(FrozenRow {
            stream,
            index: unsigned(row, "chunk_index")?,
            placing: Placing { offset_nanos: row.get("offset_nanos")?, floor: optional_stamp(row, "floor_utc")? },
            last_utc: stamp(row, "last_utc")?,
        }),
    };
    Ok(ChunkRow {
        seq: unsigned(row, "seq")?,
        session: session(row, "session")?,
        written: stamp(row, "written")?,
        first: stamp(row, "first")?,
        last: stamp(row, "last")?,
        points: counts::points_from_text(&row.get::<_, String>("points")?).ok_or_else(|| odd("points"))?,
        state,
        given: row.get::<_, Option<i64>>("chunk_index")?.and_then(|index| u64::try_from(index).ok()),
        frozen,
        attempts: unsigned(row, "attempts")?,
        last_error: row.get("last_error")?,
        only: match since_format_2::<String>(row, "only")? {
            None => None,
            Some(text) => Some(counts::channels_from_text(&text).ok_or_else(|| odd("only"))?),
        },
    })
}

/// The body of a chunk, in its session's time.
pub(super) fn columns(connection: &Connection, path: &Path, seq: u64) -> Result<Columns, Error> {
    let columns = connection
        .prepare_cached("SELECT body FROM bodies WHERE seq = ?1")
        .and_then(|mut statement| {
            statement.query_one([signed(seq)], |row| Ok(body::columns(row.get_ref(0)?.as_blob()?)))
        })
        .map_err(Error::read(path))?;
    columns.map_err(|bad| Error::damaged(path, format!("the body of chunk {seq} can't be used, {bad}")))
}

/// The same as ticks.
pub(super) fn body(connection: &Connection, path: &Path, seq: u64) -> Result<Vec<Tick>, Error> {
    Ok(columns(connection, path, seq)?.ticks())
}

/// The same; none where there is no body, as in a run that was salvaged from a damaged file.
pub(super) fn columns_if_kept(connection: &Connection, path: &Path, seq: u64) -> Result<Option<Columns>, Error> {
    match columns(connection, path, seq) {
        Err(Error::Read { source, .. }) if matches!(*source, rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        other => other.map(Some),
    }
}

/// Channels of chunks that the platform refused: chunk, channel, words.
pub(super) fn rejected(connection: &Connection, path: &Path) -> Result<Vec<(u64, usize, String)>, Error> {
    all(connection, path, "SELECT seq, channel, words FROM rejected ORDER BY seq, channel", |row| {
        let channel = usize::try_from(unsigned(row, "channel")?).map_err(|_| odd("channel"))?;
        Ok((unsigned(row, "seq")?, channel, row.get("words")?))
    })
}

/// Events and notes in the order in which they were recorded: session, time, kind, text.
pub(super) fn events(connection: &Connection, path: &Path) -> Result<Vec<(SessionId, Stamp, String, String)>, Error> {
    all(connection, path, "SELECT session, at, kind, text FROM events ORDER BY rowid", |row| {
        Ok((session(row, "session")?, stamp(row, "at")?, row.get("kind")?, row.get("text")?))
    })
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Gauge, "gauge"),
    (Kind::Counter, "counter"),
    (Kind::State, "state"),
    (Kind::Setting, "setting"),
    (Kind::Info, "info"),
];

pub(super) fn kind_text(kind: Kind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("gauge", |(_, text)| text)
}

pub(super) fn kind_from(text: &str) -> Option<Kind> {
    KINDS.iter().find(|(_, known)| *known == text).map(|(kind, _)| *kind)
}

const AXES: [(Axis, &str); 3] = [(Axis::Grid, "grid"), (Axis::Native, "native"), (Axis::Given, "given")];

pub(super) fn axis_text(axis: Axis) -> &'static str {
    AXES.iter().find(|(known, _)| *known == axis).map_or("grid", |(_, text)| text)
}

pub(super) fn axis_from(text: &str) -> Option<Axis> {
    AXES.iter().find(|(_, known)| *known == text).map(|(axis, _)| *axis)
}

pub(super) fn run_state_text(state: RunState) -> &'static str {
    match state {
        RunState::Recording => "recording",
        RunState::Closed => "closed",
        RunState::Done => "done",
    }
}

fn run_state_from(text: &str) -> Option<RunState> {
    [RunState::Recording, RunState::Closed, RunState::Done].into_iter().find(|state| run_state_text(*state) == text)
}

fn chunk_state_from(text: &str) -> Option<ChunkState> {
    match text {
        "sealed" => Some(ChunkState::Sealed),
        "frozen" => Some(ChunkState::Frozen),
        "confirmed" => Some(ChunkState::Confirmed),
        "rejected" => Some(ChunkState::Rejected),
        _ => None,
    }
}
