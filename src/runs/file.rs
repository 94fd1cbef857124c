//! Writing a run file: one statement per method, nothing decided here. The caller opens and commits the transaction.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Params, params};

use super::place::Place;
use super::rows::{FrozenRow, Head, SessionRow, axis_text, kind_text, run_state_text, signed};
use super::{Axis, Error, body, counts, schema};
use crate::model::{Channel, ClockReading, ClockSource, Counts, RunState, SessionId, Stamp, Tick, nanos_of};

/// Takes from chunks what freezing gave them; a condition follows.
/// The index that a program gave is kept.
const THAW: &str = "UPDATE chunks SET state = 'sealed', stream = NULL, offset_nanos = NULL, floor_utc = NULL, \
                    last_utc = NULL, \
                    chunk_index = CASE WHEN (SELECT axis FROM run) = 'given' THEN chunk_index END";

/// A run file that is open to be written.
#[derive(Debug)]
pub(super) struct RunFile {
    pub(super) path: PathBuf,
    pub(super) place: Place,
    pub(super) connection: Connection,
    /// Its chunks are given, and its counts follow from them.
    given: bool,
}

/// A chunk that a program gave.
#[derive(Debug)]
pub(super) struct GivenRow<'a> {
    pub(super) seq: u64,
    pub(super) session: SessionId,
    pub(super) written: Stamp,
    /// The earliest and the latest of its stamps, in session time.
    pub(super) first: Stamp,
    pub(super) last: Stamp,
    pub(super) points: &'a [u64],
    pub(super) index: u64,
    pub(super) body: &'a [u8],
}

impl RunFile {
    /// Makes the file, in one transaction, so that a file is either a run or was never finished.
    pub(super) fn create(path: &Path, head: &Head, session: &SessionRow) -> Result<Self, Error> {
        let given = head.axis == Axis::Given;
        let connection = schema::create(path, given)?;
        let file = Self { path: path.to_owned(), place: Place::of(path), connection, given };
        let spec = &head.spec;
        file.execute(
            "INSERT INTO run VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0)",
            params![
                head.id.as_str(),
                run_state_text(head.state),
                head.created.as_nanos(),
                spec.name,
                spec.synth_source_id,
                spec.physical_sample,
                spec.project_id,
                serde_json::Value::from(spec.tags.clone()).to_string(),
                i64::try_from(spec.points_per_chunk).unwrap_or(i64::MAX),
                axis_text(head.axis),
                head.period.map(nanos_of),
            ],
        )?;
        for (number, channel) in (0_i64..).zip(head.channels.iter()) {
            file.insert_channel(number, channel)?;
            if !given {
                file.execute("INSERT INTO counts (channel) VALUES (?1)", [number])?;
            }
        }
        file.insert_session(session)?;
        file.commit()?;
        schema::mark_open(&file.connection, path);
        Ok(file)
    }

    /// Opens an existing file, at the start of a process.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Self::with(path, schema::open(path)?)
    }

    /// Opens the file anew, beside the connection that there is.
    pub(super) fn open_again(&self) -> Result<Self, Error> {
        Self::with(&self.path, schema::open_again(&self.path)?)
    }

    pub(super) fn with(path: &Path, connection: Connection) -> Result<Self, Error> {
        let given =
            connection.query_row("SELECT axis = 'given' FROM run", [], |row| row.get(0)).map_err(Error::read(path))?;
        Ok(Self { path: path.to_owned(), place: Place::of(path), connection, given })
    }

    /// Puts on record that the file is closed in order: its log is not missing when it is gone.
    pub(super) fn make_tidy(&self) -> Result<(), Error> {
        self.execute("UPDATE run SET tidy = 1", [])
    }

    /// Looks whether the path still leads to this file.
    pub(super) fn look(&self) -> Result<(), Error> {
        self.place.look(&self.path).map_err(|what| Error::Astray { path: self.path.clone(), what })
    }

    /// Begins a transaction, unless the file has vanished.
    pub(super) fn begin(&self) -> Result<(), Error> {
        self.look()?;
        self.execute("BEGIN IMMEDIATE", [])
    }

    /// Makes the transaction durable; returns after the sync.
    pub(super) fn commit(&self) -> Result<(), Error> {
        self.execute("COMMIT", [])
    }

    /// Undoes the transaction, if SQLite has not done so by itself.
    pub(super) fn rollback(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(path = %self.path.display(), %error, "a transaction could not be undone");
        }
    }

    /// Carries out one statement.
    pub(super) fn execute(&self, statement: &str, values: impl Params) -> Result<(), Error> {
        self.connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(values))
            .map(|_rows| ())
            .map_err(Error::write(&self.path))
    }

    pub(super) fn insert_channel(&self, number: i64, channel: &Channel) -> Result<(), Error> {
        self.execute(
            "INSERT INTO channels VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                number,
                channel.name.as_str(),
                channel.unit.as_deref(),
                &*channel.instrument,
                &*channel.source,
                kind_text(channel.kind),
            ],
        )
    }

    pub(super) fn insert_session(&self, session: &SessionRow) -> Result<(), Error> {
        self.execute(
            "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                session.number.0,
                session.anchor.as_nanos(),
                session.boot_id,
                session.uptime_nanos,
                session.program,
                session.config,
                session.started.as_nanos(),
                session.ended.map(Stamp::as_nanos),
            ],
        )
    }

    pub(super) fn end_session(&self, session: SessionId, at: Stamp) -> Result<(), Error> {
        self.execute("UPDATE sessions SET ended = ?2 WHERE number = ?1", [session.0, at.as_nanos()])
    }

    pub(super) fn set_state(&self, state: RunState) -> Result<(), Error> {
        self.execute("UPDATE run SET state = ?1", [run_state_text(state)])
    }

    pub(super) fn insert_clock_reading(&self, session: SessionId, reading: &ClockReading) -> Result<(), Error> {
        let source = match reading.source {
            ClockSource::Platform => "platform",
            ClockSource::Host => "host",
        };
        self.execute(
            "INSERT INTO clock_readings VALUES (?1, ?2, ?3, ?4, ?5)",
            params![session.0, reading.at.as_nanos(), reading.offset_nanos, reading.uncertainty_nanos, source],
        )
    }

    pub(super) fn insert_event(&self, session: SessionId, at: Stamp, kind: &str, text: &str) -> Result<(), Error> {
        self.execute("INSERT INTO events VALUES (?1, ?2, ?3, ?4)", params![session.0, at.as_nanos(), kind, text])
    }

    pub(super) fn insert_open(
        &self,
        session: SessionId,
        written: Stamp,
        news: &[Counts],
        ticks: &[Tick],
    ) -> Result<(), Error> {
        self.execute(
            "INSERT INTO open_batches (session, written, counts, ticks) VALUES (?1, ?2, ?3, ?4)",
            params![session.0, written.as_nanos(), counts::to_text(news), body::encode(ticks)],
        )
    }

    /// Takes all open batches away and sets the counts to what they are with them.
    pub(super) fn fold_open(&self, totals: &[Counts]) -> Result<(), Error> {
        self.execute("DELETE FROM open_batches", [])?;
        if self.given {
            return Ok(());
        }
        for (channel, counts) in (0_i64..).zip(totals) {
            self.execute(
                "UPDATE counts SET read = ?2, recorded = ?3, filled = ?4, decimated = ?5, late = ?6, unrecorded = ?7, \
                 bad = ?8 WHERE channel = ?1",
                params![
                    channel,
                    signed(counts.read),
                    signed(counts.recorded),
                    signed(counts.filled),
                    signed(counts.decimated),
                    signed(counts.late),
                    signed(counts.unrecorded),
                    counts::bad_to_text(&counts.bad),
                ],
            )?;
        }
        Ok(())
    }

    pub(super) fn insert_chunk(
        &self,
        seq: u64,
        session: SessionId,
        written: Stamp,
        ticks: &[Tick],
        points: &[u64],
    ) -> Result<(), Error> {
        let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else { return Ok(()) };
        self.execute(
            "INSERT INTO chunks (seq, session, written, first, last, points, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'sealed')",
            params![
                signed(seq),
                session.0,
                written.as_nanos(),
                first.at.as_nanos(),
                last.at.as_nanos(),
                counts::points_to_text(points),
            ],
        )?;
        self.execute("INSERT INTO bodies VALUES (?1, ?2)", params![signed(seq), body::encode(ticks)])
    }

    /// Adds a chunk that a program gave, frozen or not.
    pub(super) fn insert_given(&self, row: &GivenRow<'_>, frozen: Option<&FrozenRow>) -> Result<(), Error> {
        self.execute(
            "INSERT INTO chunks (seq, session, written, first, last, points, state, stream, chunk_index, offset_nanos, \
             last_utc) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                signed(row.seq),
                row.session.0,
                row.written.as_nanos(),
                row.first.as_nanos(),
                row.last.as_nanos(),
                counts::points_to_text(row.points),
                if frozen.is_some() { "frozen" } else { "sealed" },
                frozen.map(|frozen| frozen.stream),
                signed(row.index),
                frozen.map(|frozen| frozen.placing.offset_nanos),
                frozen.map(|frozen| frozen.last_utc.as_nanos()),
            ],
        )?;
        self.execute("INSERT INTO bodies VALUES (?1, ?2)", params![signed(row.seq), row.body])
    }

    /// Adds a stream, on which chunk `base` has index 0.
    pub(super) fn insert_stream(&self, number: i64, data_id: &str, base: u64) -> Result<(), Error> {
        self.execute("INSERT INTO streams VALUES (?1, ?2, 'open', NULL, ?3)", params![number, data_id, signed(base)])
    }

    pub(super) fn set_base(&self, stream: i64, base: u64) -> Result<(), Error> {
        self.execute("UPDATE streams SET base = ?2 WHERE number = ?1", params![stream, signed(base)])
    }

    /// Ends a stream, and thaws its chunks that were not confirmed.
    pub(super) fn end_stream(&self, number: i64, state: &str, why: Option<&str>) -> Result<(), Error> {
        self.execute("UPDATE streams SET state = ?2, why = ?3 WHERE number = ?1", params![number, state, why])?;
        self.execute(&format!("{THAW} WHERE state = 'frozen'"), [])
    }

    /// A chunk whose refused channels are to be sent again waits once more: `only` these.
    /// It stays frozen if its stream still takes it, and thaws otherwise.
    pub(super) fn wait_again(&self, seq: u64, only: &[usize], frozen: bool) -> Result<(), Error> {
        self.execute("DELETE FROM rejected WHERE seq = ?1", [signed(seq)])?;
        let only = counts::channels_to_text(only);
        let state = if frozen { "frozen" } else { "sealed" };
        self.execute("UPDATE chunks SET state = ?2, only = ?3 WHERE seq = ?1", params![signed(seq), state, only])?;
        if frozen { Ok(()) } else { self.execute(&format!("{THAW} WHERE seq = ?1"), [signed(seq)]) }
    }

    /// Notes where the other channels of a chunk are, before it thaws to be sent again on another stream.
    pub(super) fn insert_resent(&self, seq: u64, channels: &[usize], sent: &FrozenRow) -> Result<(), Error> {
        self.execute(
            "INSERT INTO resent VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                signed(seq),
                counts::channels_to_text(channels),
                sent.stream,
                signed(sent.index),
                sent.placing.offset_nanos,
                sent.placing.floor.map(Stamp::as_nanos),
            ],
        )
    }

    /// Keeps the largest number of points that the platform has said to hold of a channel.
    pub(super) fn set_said(&self, stream: i64, channel: usize, said: u64) -> Result<(), Error> {
        let channel = i64::try_from(channel).unwrap_or(i64::MAX);
        self.execute("INSERT OR REPLACE INTO stream_points VALUES (?1, ?2, ?3)", params![stream, channel, signed(said)])
    }

    pub(super) fn freeze(&self, seq: u64, frozen: &FrozenRow) -> Result<(), Error> {
        self.execute(
            "UPDATE chunks SET state = 'frozen', stream = ?2, chunk_index = ?3, offset_nanos = ?4, floor_utc = ?5, \
             last_utc = ?6 WHERE seq = ?1",
            params![
                signed(seq),
                frozen.stream,
                signed(frozen.index),
                frozen.placing.offset_nanos,
                frozen.placing.floor.map(Stamp::as_nanos),
                frozen.last_utc.as_nanos(),
            ],
        )
    }

    pub(super) fn settle(&self, seq: u64, state: &str, refused: &[(usize, String)]) -> Result<(), Error> {
        self.execute("UPDATE chunks SET state = ?2, last_error = NULL WHERE seq = ?1", params![signed(seq), state])?;
        for (channel, words) in refused {
            let channel = i64::try_from(*channel).unwrap_or(i64::MAX);
            self.execute("INSERT OR REPLACE INTO rejected VALUES (?1, ?2, ?3)", params![signed(seq), channel, words])?;
        }
        Ok(())
    }

    pub(super) fn attempt_failed(&self, seq: u64, why: &str) -> Result<(), Error> {
        self.execute(
            "UPDATE chunks SET attempts = attempts + 1, last_error = ?2 WHERE seq = ?1",
            params![signed(seq), why],
        )
    }

    /// Lets the file grow by this many pages at most: a full disk, for tests.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, spare: Option<u32>) -> Result<(), Error> {
        let number = |pragma: &str| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let now = number("page_count").map_err(Error::read(&self.path))?;
        let most = spare.map_or(i64::from(u32::MAX - 1), |spare| now + i64::from(spare));
        self.connection
            .pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))
            .map_err(Error::write(&self.path))
    }

    /// Takes over the limit of another connection to the same file.
    #[cfg(test)]
    pub(super) fn limit_pages_like(&self, other: &Self) -> Result<(), Error> {
        let most: i64 = other
            .connection
            .pragma_query_value(None, "max_page_count", |row| row.get(0))
            .map_err(Error::read(&self.path))?;
        self.connection
            .pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))
            .map_err(Error::write(&self.path))
    }
}
