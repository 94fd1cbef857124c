//! Streams: created, filled slice by slice, ended.

use std::time::Duration;

use axum::http::StatusCode;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;

use super::read::StreamState;
use super::{catalogue, new_id};
use crate::server::refusal::Refusal;
use crate::server::wire::{ChunkSent, InitializeBody, Series};

/// The platform's names for a stream.
#[derive(Debug, Serialize)]
pub(in crate::server) struct StreamIds {
    data_id: String,
    processed_data_id: String,
}

/// What has become of one channel of a chunk.
#[derive(Debug, Serialize)]
pub(in crate::server) struct Landed {
    data_id: String,
    channel_name: String,
    chunk_index: i64,
    total_points: i64,
}

/// From where a request looks at the streams.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct View {
    /// Unix milliseconds.
    pub(in crate::server) now_ms: i64,
    /// Streams that have heard nothing for so long are ended.
    pub(in crate::server) silence: Duration,
    /// Streams up to this number are unknown.
    pub(in crate::server) forgotten: i64,
    /// Streams up to this number, if they have ended in error, refuse chunks with this status.
    pub(in crate::server) ended: Option<(i64, u16)>,
}

struct Stream {
    number: i64,
    processed_data_id: String,
    points_per_chunk: i64,
    state: StreamState,
}

impl View {
    /// Creates a stream, and returns its number beside its ids.
    pub(in crate::server) fn create(
        &self,
        with: &Transaction<'_>,
        body: &InitializeBody,
    ) -> Result<(StreamIds, i64), Refusal> {
        if let Some(id) = body.synth_source_id {
            catalogue::expect_instrument(with, id)?;
        }
        let ids = StreamIds { data_id: new_id(), processed_data_id: new_id() };
        with.execute(
            "INSERT INTO streams (data_id, processed_data_id, name, synth_source_id, points_per_chunk, project, state,
                 created_ms, heard_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
            params![
                ids.data_id,
                ids.processed_data_id,
                body.stream_name,
                body.synth_source_id,
                body.points_per_chunk,
                body.project_id,
                StreamState::Active.as_str(),
                self.now_ms,
            ],
        )?;
        Ok((ids, with.last_insert_rowid()))
    }

    /// Stores every channel of a chunk; each replaces the slice that it names.
    pub(in crate::server) fn put(&self, with: &Transaction<'_>, chunk: &ChunkSent) -> Result<Vec<Landed>, Refusal> {
        let stream = self.find(with, &chunk.data_id)?;
        stream.expect_open(&chunk.data_id).map_err(|refusal| match self.ended {
            Some((newest, status)) if stream.state == StreamState::Error && stream.number <= newest => {
                refusal.with_status(status)
            }
            _ => refusal,
        })?;
        if chunk.index.checked_mul(stream.points_per_chunk).is_none() {
            return Err(Refusal::invalid(format!(
                "chunk_index {} is too large for slices of {} points",
                chunk.index, stream.points_per_chunk
            )));
        }
        let mut landed = Vec::with_capacity(chunk.channels.len());
        for (name, series) in &chunk.channels {
            let total_points = stream.put_slice(with, chunk.index, name, series)?;
            landed.push(Landed {
                data_id: chunk.data_id.clone(),
                channel_name: name.clone(),
                chunk_index: chunk.index,
                total_points,
            });
        }
        with.execute("UPDATE streams SET heard_ms = ?2 WHERE number = ?1", params![stream.number, self.now_ms])?;
        Ok(landed)
    }

    /// Ends a stream well. Asked again, it answers the same: the first answer may have been lost on its way.
    pub(in crate::server) fn finalize(&self, with: &Transaction<'_>, data_id: &str) -> Result<StreamIds, Refusal> {
        let stream = self.find(with, data_id)?;
        if stream.state == StreamState::Error {
            stream.expect_open(data_id)?;
        }
        if stream.state == StreamState::Active {
            with.execute(
                "UPDATE streams SET state = ?2, heard_ms = ?3 WHERE number = ?1",
                params![stream.number, StreamState::Success.as_str(), self.now_ms],
            )?;
        }
        Ok(StreamIds { data_id: data_id.to_owned(), processed_data_id: stream.processed_data_id })
    }

    /// The number of a known stream.
    pub(in crate::server) fn number(&self, with: &Connection, data_id: &str) -> Result<i64, Refusal> {
        self.find(with, data_id).map(|stream| stream.number)
    }

    /// Ends every stream that has heard nothing for too long.
    pub(in crate::server) fn end_silent(&self, with: &Connection) -> rusqlite::Result<()> {
        let allowed = i64::try_from(self.silence.as_millis()).unwrap_or(i64::MAX);
        let ended = with.execute(
            "UPDATE streams SET state = ?1 WHERE state = ?2 AND heard_ms < ?3",
            params![StreamState::Error.as_str(), StreamState::Active.as_str(), self.now_ms.saturating_sub(allowed)],
        )?;
        if ended > 0 {
            tracing::info!(ended, "streams ended that have received nothing for too long");
        }
        Ok(())
    }

    fn find(&self, with: &Connection, data_id: &str) -> Result<Stream, Refusal> {
        with.query_row(
            "SELECT number, processed_data_id, points_per_chunk, state FROM streams WHERE data_id = ?1 AND number > ?2",
            params![data_id, self.forgotten],
            |row| {
                Ok(Stream {
                    number: row.get(0)?,
                    processed_data_id: row.get(1)?,
                    points_per_chunk: row.get(2)?,
                    state: row.get(3)?,
                })
            },
        )
        .optional()?
        .ok_or_else(|| Refusal::unknown(format!("no stream has the data_id `{data_id}`")))
    }
}

/// Ends a stream as the platform does when it hears nothing. False if there is no such stream.
pub(in crate::server) fn fail(with: &Connection, data_id: &str) -> rusqlite::Result<bool> {
    let changed = with
        .execute("UPDATE streams SET state = ?2 WHERE data_id = ?1", params![data_id, StreamState::Error.as_str()])?;
    Ok(changed > 0)
}

/// Ends every stream that still takes data, as the platform does when it hears nothing.
pub(in crate::server) fn fail_all(with: &Connection) -> rusqlite::Result<()> {
    let states = params![StreamState::Error.as_str(), StreamState::Active.as_str()];
    with.execute("UPDATE streams SET state = ?1 WHERE state = ?2", states).map(|_| ())
}

/// The number of the newest stream; 0 if there is none.
pub(in crate::server) fn newest(from: &Connection) -> rusqlite::Result<i64> {
    from.query_row("SELECT coalesce(max(number), 0) FROM streams", [], |row| row.get(0))
}

impl Stream {
    fn expect_open(&self, data_id: &str) -> Result<(), Refusal> {
        let why = match self.state {
            StreamState::Active => return Ok(()),
            StreamState::Success => "is finalized",
            StreamState::Error => "was ended because nothing came",
        };
        Err(Refusal::new(
            StatusCode::CONFLICT,
            format!("stream `{data_id}` {why} (status {}) and takes no more data", self.state.as_str()),
        ))
    }

    /// Returns how many points the channel now holds.
    fn put_slice(&self, with: &Transaction<'_>, index: i64, name: &str, series: &Series) -> Result<i64, Refusal> {
        let points = i64::try_from(series.timestamps.0.len()).unwrap_or(i64::MAX);
        if points > self.points_per_chunk {
            return Err(Refusal::invalid(format!(
                "channel `{name}`: chunk {index} has {points} points, expected at most {} (points_per_chunk)",
                self.points_per_chunk
            )));
        }
        let channel: i64 = with
            .prepare_cached(
                "INSERT INTO channels (stream, name, units) VALUES (?1, ?2, ?3)
                 ON CONFLICT (stream, name) DO UPDATE SET units = coalesce(excluded.units, units) RETURNING id",
            )?
            .query_row(params![self.number, name, series.units], |row| row.get(0))?;
        let replaced: i64 = with
            .prepare_cached("SELECT points FROM slices WHERE channel = ?1 AND chunk_index = ?2")?
            .query_row(params![channel, index], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        with.prepare_cached(
            "INSERT OR REPLACE INTO slices (channel, chunk_index, points, stamps, readings) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![channel, index, points, bytes(&series.timestamps.0), bytes(&series.values.0)])?;
        let total = with
            .prepare_cached("UPDATE channels SET points = points + ?2 WHERE id = ?1 RETURNING points")?
            .query_row(params![channel, points - replaced], |row| row.get(0))?;
        Ok(total)
    }
}

fn bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Store, streams};
    use super::*;

    #[test]
    fn a_stream_ends_only_when_it_has_heard_nothing_for_longer_than_allowed() {
        let store = Store::open(None).unwrap();
        let at = |now_ms| View { now_ms, silence: Duration::from_secs(2), forgotten: 0, ended: None };
        let body = serde_json::from_value(serde_json::json!({ "points_per_chunk": 1 })).unwrap();
        let (ids, _) = store.transact(|with| at(1000).create(with, &body)).unwrap();
        let series = serde_json::from_value(serde_json::json!({ "timestamps": [1.0], "values": [1.0] })).unwrap();
        let chunk = ChunkSent { data_id: ids.data_id, index: 0, channels: vec![("t".to_owned(), series)] };
        store.transact(|with| at(2500).put(with, &chunk)).unwrap();
        for (now_ms, state) in [(3001, StreamState::Active), (4500, StreamState::Active), (4501, StreamState::Error)] {
            store.look(|connection| at(now_ms).end_silent(connection)).unwrap();
            assert_eq!(store.look(streams).unwrap()[0].state, state, "at {now_ms} ms");
        }
        assert!(store.transact(|with| at(4502).put(with, &chunk)).is_err());
    }
}
