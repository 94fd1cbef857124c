//! What the platform has been given, in SQLite.
//!
//! `synchronous` is NORMAL: a crash of the process loses nothing, a power cut may lose the last moments. That is enough
//! for a platform to test against, and not a promise that the real one makes either.

mod catalogue;
mod entries;
mod projects;
mod read;
mod streams;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::Error;
use super::refusal::Refusal;

pub(super) use catalogue::{Instrument, NewInstrument, Sample, Tag};
pub(super) use entries::{Entry, EntryFilter};
pub(super) use projects::Project;
pub use read::{StoredChannel, StoredPoint, StoredStream, StreamState};
pub(super) use read::{TimeSeries, stored, streams};
pub(super) use streams::{Landed, StreamIds, View, fail, fail_all, newest};

const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE instruments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, serial_id TEXT
);
CREATE TABLE samples (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL
);
CREATE TABLE tags (id TEXT PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE);
CREATE TABLE tracking (
    project TEXT NOT NULL, sample TEXT NOT NULL REFERENCES samples(id), active INTEGER NOT NULL, PRIMARY KEY (project, sample)
);
CREATE TABLE streams (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    data_id TEXT NOT NULL UNIQUE,
    processed_data_id TEXT NOT NULL,
    name TEXT,
    synth_source_id INTEGER,
    points_per_chunk INTEGER NOT NULL,
    project TEXT,
    sample TEXT REFERENCES samples(id),
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    heard_ms INTEGER NOT NULL
);
CREATE TABLE stream_tags (
    stream INTEGER NOT NULL REFERENCES streams(number), tag TEXT NOT NULL REFERENCES tags(id), PRIMARY KEY (stream, tag)
);
CREATE TABLE channels (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES streams(number),
    name TEXT NOT NULL,
    units TEXT,
    points INTEGER NOT NULL DEFAULT 0,
    UNIQUE (stream, name)
);
-- Stamps and values are little-endian f64; a NaN value is a reading that was sent as null.
CREATE TABLE slices (
    channel INTEGER NOT NULL REFERENCES channels(id),
    chunk_index INTEGER NOT NULL,
    points INTEGER NOT NULL,
    stamps BLOB NOT NULL,
    readings BLOB NOT NULL,
    UNIQUE (channel, chunk_index)
);
";

/// The database, used by one request at a time. Every use blocks the calling thread.
#[derive(Debug)]
pub(super) struct Store(Mutex<Connection>);

impl Store {
    /// Opens or creates the database in a file, or in memory.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, Error> {
        let shown = || file.unwrap_or(Path::new(":memory:")).to_owned();
        let connection = match file {
            Some(file) => Connection::open(file),
            None => Connection::open_in_memory(),
        }
        .map_err(|source| Error::OpenStore { file: shown(), source })?;
        let version = prepare(&connection).map_err(|source| Error::OpenStore { file: shown(), source })?;
        if version != SCHEMA_VERSION {
            return Err(Error::StoreVersion { file: shown(), found: version, expected: SCHEMA_VERSION });
        }
        Ok(Self(Mutex::new(connection)))
    }

    /// Does all of `work`, or, if it refuses, nothing of it.
    pub(super) fn transact<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Looks at what is stored.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        at(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sets the database up, and returns the version of its schema.
fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let empty = connection.query_row("SELECT 1 FROM sqlite_schema", [], |_| Ok(())).optional()?.is_none();
    if version != 0 || !empty {
        return Ok(version);
    }
    connection.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))?;
    Ok(SCHEMA_VERSION)
}

/// A random UUID (version 4) as text.
fn new_id() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let (mut id, mut rest) = (String::with_capacity(36), hex.as_str());
    for length in [8, 4, 4, 4] {
        let (group, after) = rest.split_at(length);
        id.push_str(group);
        id.push('-');
        rest = after;
    }
    id + rest
}

/// Names are the same when they differ only in case and in space around them.
fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_version_4_uuid() {
        for _ in 0..1000 {
            let id = new_id();
            let shape: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(shape, [8, 4, 4, 4, 12], "{id}");
            assert!(id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{id}");
            assert_eq!(&id[14..15], "4", "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
        }
    }
}
