//! What is stored, as tests and the demo see it and as the read-back call returns it.

use std::collections::BTreeMap;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

/// How far a stream has come, in the platform's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// `stream_active`: it takes chunks.
    Active,
    /// `success`: finalized.
    Success,
    /// `stream_error`: ended by the platform, because nothing came for too long.
    Error,
}

impl StreamState {
    const ALL: [Self; 3] = [Self::Active, Self::Success, Self::Error];

    /// The platform's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "stream_active",
            Self::Success => "success",
            Self::Error => "stream_error",
        }
    }
}

impl FromSql for StreamState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = value.as_str()?;
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or(FromSqlError::InvalidType)
    }
}

/// A stream as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredStream {
    /// Its id, by which chunks are sent.
    pub data_id: String,
    /// The id of the entry that holds its processed series.
    pub processed_data_id: String,
    /// Its name.
    pub name: Option<String>,
    /// How far it has come.
    pub state: StreamState,
    /// The growth instrument.
    pub synth_source_id: Option<i64>,
    /// Slice width in points.
    pub points_per_chunk: i64,
    /// The project it was created with.
    pub project_id: Option<String>,
    /// Name of the physical sample that it is linked to.
    pub sample: Option<String>,
    /// Names of its tags, sorted.
    pub tags: Vec<String>,
    /// True when its sample is the active tracking sample of its project.
    pub tracked: bool,
}

/// A channel of a stream as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredChannel {
    /// Its name.
    pub name: String,
    /// Its unit, as last sent.
    pub unit: Option<String>,
    /// Its points by chunk index, and within a chunk as sent.
    pub points: Vec<StoredPoint>,
}

/// A point as it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredPoint {
    /// The chunk that brought it.
    pub chunk_index: i64,
    /// Unix seconds, to the bit as sent.
    pub unix_seconds: f64,
    /// The value, to the bit as sent; NaN where null was sent.
    pub value: f64,
}

/// The answer of the read-back call.
#[derive(Debug, Serialize)]
pub(in crate::server) struct TimeSeries {
    properties: BTreeMap<String, Property>,
}

#[derive(Debug, Default, Serialize)]
struct Property {
    relative_time_seconds: Vec<Option<f64>>,
    unix_timestamp_ms: Vec<Option<i64>>,
    values: Vec<Option<f64>>,
    units: Option<String>,
}

impl TimeSeries {
    /// Reads a stream back. Relative time counts from the earliest point of the stream. A slice that is not full is
    /// followed by one empty place (null, null, null), which stands for all of its empty places; readers drop it.
    pub(in crate::server) fn read(from: &Connection, stream: i64) -> rusqlite::Result<Self> {
        let width: i64 =
            from.query_row("SELECT points_per_chunk FROM streams WHERE number = ?1", [stream], |row| row.get(0))?;
        let channels = channels(from, stream)?;
        let start =
            channels.iter().flat_map(|channel| &channel.points).map(|p| p.unix_seconds).fold(f64::INFINITY, f64::min);
        let properties =
            channels.into_iter().map(|channel| (channel.name.clone(), Property::new(channel, width, start)));
        Ok(Self { properties: properties.collect() })
    }
}

impl Property {
    fn new(channel: StoredChannel, width: i64, start: f64) -> Self {
        let mut property = Self { units: channel.unit, ..Self::default() };
        for slice in channel.points.chunk_by(|a, b| a.chunk_index == b.chunk_index) {
            for point in slice {
                property.relative_time_seconds.push(Some(point.unix_seconds - start));
                property.unix_timestamp_ms.push(Some(whole_milliseconds(point.unix_seconds)));
                property.values.push(Some(point.value).filter(|value| !value.is_nan()));
            }
            if i64::try_from(slice.len()).is_ok_and(|length| length < width) {
                property.relative_time_seconds.push(None);
                property.unix_timestamp_ms.push(None);
                property.values.push(None);
            }
        }
        property
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float saturates, and no clock goes beyond 64 bits of milliseconds"
)]
fn whole_milliseconds(unix_seconds: f64) -> i64 {
    (unix_seconds * 1e3).round() as i64
}

/// The channels of the stream with this id, by name; `None` if there is no such stream.
pub(in crate::server) fn stored(from: &Connection, data_id: &str) -> rusqlite::Result<Option<Vec<StoredChannel>>> {
    let number =
        from.query_row("SELECT number FROM streams WHERE data_id = ?1", [data_id], |row| row.get(0)).optional()?;
    number.map(|number| channels(from, number)).transpose()
}

fn channels(from: &Connection, stream: i64) -> rusqlite::Result<Vec<StoredChannel>> {
    let mut channels = from.prepare_cached("SELECT id, name, units FROM channels WHERE stream = ?1 ORDER BY name")?;
    let found = channels.query_map([stream], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?)))?;
    found
        .map(|channel| {
            let (id, name, unit) = channel?;
            Ok(StoredChannel { name, unit, points: points(from, id)? })
        })
        .collect()
}

fn points(from: &Connection, channel: i64) -> rusqlite::Result<Vec<StoredPoint>> {
    let mut slices = from
        .prepare_cached("SELECT chunk_index, stamps, readings FROM slices WHERE channel = ?1 ORDER BY chunk_index")?;
    let mut rows = slices.query([channel])?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        let chunk_index = row.get(0)?;
        let (stamps, readings) = (row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?);
        points.extend(numbers(stamps).zip(numbers(readings)).map(|(unix_seconds, value)| StoredPoint {
            chunk_index,
            unix_seconds,
            value,
        }));
    }
    Ok(points)
}

fn numbers(blob: &[u8]) -> impl Iterator<Item = f64> {
    let (numbers, _) = blob.as_chunks::<8>();
    numbers.iter().copied().map(f64::from_le_bytes)
}

/// Every stream, oldest first.
pub(in crate::server) fn streams(from: &Connection) -> rusqlite::Result<Vec<StoredStream>> {
    let mut streams = from.prepare_cached(
        "SELECT s.data_id, s.processed_data_id, s.name, s.state, s.synth_source_id, s.points_per_chunk, s.project,
             p.name, coalesce(t.active, 0), s.number
         FROM streams s LEFT JOIN samples p ON p.id = s.sample
             LEFT JOIN tracking t ON t.project = s.project AND t.sample = s.sample
         ORDER BY s.number",
    )?;
    let mut rows = streams.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(StoredStream {
            data_id: row.get(0)?,
            processed_data_id: row.get(1)?,
            name: row.get(2)?,
            state: row.get(3)?,
            synth_source_id: row.get(4)?,
            points_per_chunk: row.get(5)?,
            project_id: row.get(6)?,
            sample: row.get(7)?,
            tracked: row.get(8)?,
            tags: tags(from, row.get(9)?)?,
        });
    }
    Ok(found)
}

/// The names of a stream's tags, sorted.
pub(super) fn tags(from: &Connection, stream: i64) -> rusqlite::Result<Vec<String>> {
    from.prepare_cached(
        "SELECT t.name FROM stream_tags s JOIN tags t ON t.id = s.tag WHERE s.stream = ?1 ORDER BY t.name",
    )?
    .query_map(params![stream], |row| row.get(0))?
    .collect()
}
