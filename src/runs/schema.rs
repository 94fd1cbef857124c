//! The form of a run file: settings of SQLite, tables, marks of the format.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::Error;

/// "MBER" in ASCII: `file` and SQLite tools show it, and it keeps other databases out.
const APPLICATION_ID: i64 = 0x4D42_4552;

/// The format of runs that are recorded. Earlier ones are read, and made this one where they are written to.
const FORMAT: i64 = 2;

/// The format of runs whose chunks are given: the same tables, but `counts` follows from the chunks.
const GIVEN: i64 = 3;

/// The write-ahead log shrinks to this when it is started over; SQLite does so after about 1000 pages anyway.
const LOG_BYTES: i64 = 8 << 20;

/// How long to wait for a reader that holds up a checkpoint or a recovery.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE run (
    id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('recording', 'closed', 'done')),
    created INTEGER NOT NULL,
    stream_name TEXT NOT NULL,
    synth_source_id INTEGER,
    physical_sample TEXT,
    project_id TEXT,
    tags TEXT NOT NULL,
    points_per_chunk INTEGER NOT NULL CHECK (points_per_chunk > 0),
    axis TEXT NOT NULL CHECK (axis IN ('grid', 'native', 'given')),
    period INTEGER,
    tidy INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE channels (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    unit TEXT,
    instrument TEXT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('gauge', 'counter', 'state', 'setting', 'info'))
) STRICT;
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    anchor INTEGER NOT NULL,
    boot_id TEXT,
    uptime_nanos INTEGER,
    program TEXT NOT NULL,
    config TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER
) STRICT;
CREATE TABLE clock_readings (
    session INTEGER NOT NULL,
    at INTEGER NOT NULL,
    offset_nanos INTEGER NOT NULL,
    uncertainty_nanos INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('platform', 'host'))
) STRICT;
CREATE TABLE events (
    session INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE TABLE streams (
    number INTEGER PRIMARY KEY,
    data_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'ended', 'finalized')),
    why TEXT,
    base INTEGER
) STRICT;
CREATE TABLE counts (
    channel INTEGER PRIMARY KEY,
    read INTEGER NOT NULL DEFAULT 0,
    recorded INTEGER NOT NULL DEFAULT 0,
    filled INTEGER NOT NULL DEFAULT 0,
    decimated INTEGER NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0,
    unrecorded INTEGER NOT NULL DEFAULT 0,
    bad TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE TABLE open_batches (
    number INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    written INTEGER NOT NULL,
    counts TEXT NOT NULL,
    ticks BLOB NOT NULL
) STRICT;
CREATE TABLE chunks (
    seq INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    written INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    points TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sealed', 'frozen', 'confirmed', 'rejected')),
    stream INTEGER,
    chunk_index INTEGER,
    offset_nanos INTEGER,
    floor_utc INTEGER,
    last_utc INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    only TEXT
) STRICT;
CREATE TABLE bodies (
    seq INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE rejected (
    seq INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    words TEXT NOT NULL,
    PRIMARY KEY (seq, channel)
) STRICT, WITHOUT ROWID;
CREATE VIEW queue AS
SELECT c.seq, c.state, c.session,
       strftime('%Y-%m-%d %H:%M:%S', (c.first + ifnull(c.offset_nanos, 0)) / 1000000000, 'unixepoch') AS first_utc,
       strftime('%Y-%m-%d %H:%M:%S', (c.last + ifnull(c.offset_nanos, 0)) / 1000000000, 'unixepoch') AS last_utc,
       (SELECT sum(value) FROM json_each(c.points)) AS points,
       s.data_id, c.chunk_index, c.attempts, c.last_error
FROM chunks c LEFT JOIN streams s ON s.number = c.stream;
";

/// What format 2 brought besides columns.
const TABLES_OF_2: &str = "
CREATE TABLE stream_points (
    stream INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    said INTEGER NOT NULL,
    PRIMARY KEY (stream, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE resent (
    seq INTEGER NOT NULL,
    channels TEXT NOT NULL,
    stream INTEGER NOT NULL,
    chunk_index INTEGER NOT NULL,
    offset_nanos INTEGER NOT NULL,
    floor_utc INTEGER
) STRICT;
";

/// What a program gives is recorded or not taken at all: there is nothing to count but what the chunks hold.
const COUNTS_OF_GIVEN: &str = "
DROP TABLE counts;
CREATE VIEW counts AS
SELECT c.number AS channel, ifnull(p.points, 0) AS read, ifnull(p.points, 0) AS recorded, 0 AS filled, 0 AS decimated,
       0 AS late, 0 AS unrecorded, '{}' AS bad
FROM channels c
LEFT JOIN (SELECT j.key AS channel, sum(j.value) AS points FROM chunks, json_each(chunks.points) j GROUP BY j.key) p
ON p.channel = c.number;
";

/// From format 1, in which an index counted the chunks frozen for a stream: what follows the newest goes on from there.
const TO_2: &str = "
ALTER TABLE run ADD COLUMN tidy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN base INTEGER;
UPDATE streams SET base =
    (SELECT seq - chunk_index FROM chunks WHERE stream = streams.number ORDER BY seq DESC LIMIT 1);
ALTER TABLE chunks ADD COLUMN only TEXT;
";

/// Makes the file of a new run and leaves it in the transaction that made it: the run's first rows go into the same one.
pub(super) fn create(path: &Path, given: bool) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(Error::open(path))?;
    // Both are fixed by the first page that is written, so they come before everything else. Nothing needs a vacuum: the
    // pages that folded batches leave are taken by the next ones, and chunks stay for as long as the file. Keeping track of
    // pages for one would cost 7 % more writing (measured).
    connection.pragma_update(None, "page_size", 4096).map_err(Error::write(path))?;
    connection.pragma_update(None, "auto_vacuum", "NONE").map_err(Error::write(path))?;
    make_durable(&connection, path)?;
    demand(&connection, path, "page_size", "4096")?;
    demand(&connection, path, "auto_vacuum", "0")?;
    let (format, counts) = if given { (GIVEN, COUNTS_OF_GIVEN) } else { (FORMAT, "") };
    let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {format};");
    connection.execute_batch(&format!("BEGIN; {TABLES} {TABLES_OF_2} {counts} {marks}")).map_err(Error::write(path))?;
    Ok(connection)
}

/// Opens the file of a run to write it, at the start of a process: makes it of this format, and notices a lost log.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    // Readers may leave an empty log behind; a log of ours is never empty.
    let log = beside(path, "-wal").metadata().is_ok_and(|log| log.len() > 0);
    let connection = open_again(path)?;
    if format(&connection).map_err(Error::open(path))? < FORMAT {
        let marks = format!("PRAGMA user_version = {FORMAT};");
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {TO_2} {TABLES_OF_2} {marks} COMMIT;"))
            .map_err(Error::write(path))?;
    } else if !log && !is_tidy(&connection).map_err(Error::read(path))? {
        return Err(Error::LogLost { path: path.to_owned() });
    }
    mark_open(&connection, path);
    Ok(connection)
}

/// Opens a file that this process has opened before.
pub(super) fn open_again(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(Error::open(path))?;
    // Where it can't write, SQLite opens a file to be read; that would stay so when the disk can be written again.
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(Error::open(path))? {
        let source = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        return Err(Error::write(path)(rusqlite::Error::SqliteFailure(source, None)));
    }
    check(&connection, path)?;
    make_durable(&connection, path)?;
    Ok(connection)
}

fn is_tidy(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT tidy = 1 FROM run", [], |row| row.get(0))
}

/// Puts on record, in the file itself and not only in its log, that what is new is in the log; the log is not empty from
/// here on. A process that is killed right here has lost nothing, and must not look as if it had: the file counts as tidy
/// while the log is empty, and as open only with something in it, which the next commit writes over. A disk that is full
/// must not keep the file from being opened: a lost log then goes unnoticed.
pub(super) fn mark_open(connection: &Connection, path: &Path) {
    let checkpoint = |how| connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()));
    let mark = || {
        connection.execute("UPDATE run SET tidy = 1", [])?;
        checkpoint("TRUNCATE")?;
        connection.execute("UPDATE run SET tidy = 0", [])?;
        checkpoint("FULL")
    };
    if let Err(error) = mark() {
        tracing::warn!(path = %path.display(), %error, "a run file could not be marked as open");
    }
}

/// Opens the file of a run to read it, also where nothing can be written.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(Error::open(path))?;
    match check(&connection, path) {
        Ok(()) => return Ok(connection),
        // SQLite reads a file in WAL mode only where it can make the `-shm` file beside it. Without a `-wal` file there
        // is no other writer and nothing outside the file, so that it may be read as it is.
        Err(Error::Open { .. }) if !beside(path, "-wal").exists() => {}
        Err(error) => return Err(error),
    }
    open_immutable(path)
}

/// Opens a file that nobody writes and whose log is empty or not there. Makes nothing beside it.
pub(super) fn open_immutable(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable_address(path), flags).map_err(Error::open(path))?;
    check(&connection, path)?;
    Ok(connection)
}

/// The file that SQLite keeps beside a database: `-wal` or `-shm` is added to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn immutable_address(path: &Path) -> String {
    let mut address = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            address.push(char::from(*byte));
        } else {
            address.push_str(&format!("%{byte:02X}"));
        }
    }
    address + "?immutable=1"
}

/// Refuses files that are no runs, or of a newer format.
fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    connection.busy_timeout(BUSY).map_err(Error::open(path))?;
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    if number("application_id").map_err(Error::open(path))? != APPLICATION_ID {
        return Err(Error::NotARun { path: path.to_owned() });
    }
    match format(connection).map_err(Error::open(path))? {
        1..=GIVEN => Ok(()),
        format if format > GIVEN => Err(Error::Newer { path: path.to_owned(), format, newest: GIVEN }),
        _ => Err(Error::NotARun { path: path.to_owned() }),
    }
}

fn format(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Sets what durability depends on, and looks whether SQLite took it.
fn make_durable(connection: &Connection, path: &Path) -> Result<(), Error> {
    connection.busy_timeout(BUSY).map_err(Error::open(path))?;
    let set = |pragma: &str, value: &dyn rusqlite::ToSql| connection.pragma_update(None, pragma, value);
    set("journal_mode", &"WAL").map_err(Error::write(path))?;
    set("synchronous", &"FULL").map_err(Error::write(path))?;
    set("journal_size_limit", &LOG_BYTES).map_err(Error::write(path))?;
    demand(connection, path, "journal_mode", "wal")?;
    demand(connection, path, "synchronous", "2")
}

fn demand(connection: &Connection, path: &Path, pragma: &'static str, wanted: &'static str) -> Result<(), Error> {
    let got = connection
        .pragma_query_value(None, pragma, |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Integer(number) => number.to_string(),
                other => other.as_str()?.to_owned(),
            })
        })
        .map_err(Error::read(path))?;
    if got == wanted { Ok(()) } else { Err(Error::Pragma { path: path.to_owned(), pragma, got, wanted }) }
}
