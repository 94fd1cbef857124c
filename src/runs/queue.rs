//! The uploader's side of a run: what waits, freezing, what the platform said.
//!
//! Each method runs within a transaction that the caller opens and commits; statements come before memory.

use std::sync::Arc;

use rusqlite::OptionalExtension;

use super::offset::{self, Before, SessionClock};
use super::rows::{self, ChunkRow, FrozenRow, signed};
use super::run::Run;
use super::{Error, offset::Placing};
use crate::model::{
    ChannelName, Chunk, ChunkChannel, Frozen, OutboxRun, RunState, SessionId, Stamp, StreamRecord, StreamState, Tick,
    with_causes,
};

impl Run {
    /// What the uploader has to know; none once the run is done.
    pub(super) fn outbox(&self) -> Option<OutboxRun> {
        (self.head.state != RunState::Done).then(|| OutboxRun {
            run: self.head.id.clone(),
            state: self.head.state,
            spec: self.head.spec.clone(),
            stream: self.stream.clone(),
            queued: u64::try_from(self.waiting.len()).unwrap_or(u64::MAX),
        })
    }

    pub(super) fn stream_opened(&mut self, data_id: &str) -> Result<(), Error> {
        let open = self.stream.as_ref().filter(|stream| stream.state == StreamState::Open);
        if open.is_some_and(|stream| stream.data_id == data_id) {
            return Ok(());
        }
        if open.is_some() {
            self.leave_stream(StreamState::Ended, Some("another stream was opened"))?;
        }
        let number = self.stream.as_ref().map_or(1, |stream| stream.number + 1);
        self.file.insert_stream(number, data_id)?;
        self.stream = Some(StreamRecord { number, data_id: data_id.to_owned(), state: StreamState::Open });
        self.next_index = 0;
        Ok(())
    }

    pub(super) fn stream_ended(&mut self, why: &str) -> Result<(), Error> {
        self.leave_stream(StreamState::Ended, Some(why))?;
        self.finish_if_nothing_is_left()
    }

    pub(super) fn stream_finalized(&mut self) -> Result<(), Error> {
        let never_had_one = self.head.state == RunState::Closed && self.stream.is_none() && self.waiting.is_empty();
        if !never_had_one {
            self.leave_stream(StreamState::Finalized, None)?;
        }
        self.finish_if_nothing_is_left()
    }

    fn leave_stream(&mut self, state: StreamState, why: Option<&str>) -> Result<(), Error> {
        let Some(stream) = &mut self.stream else { return Err(Error::NoStream(self.head.id.clone())) };
        if stream.state != StreamState::Open {
            return Ok(());
        }
        let text = if state == StreamState::Ended { "ended" } else { "finalized" };
        self.file.end_stream(stream.number, text, why)?;
        stream.state = state;
        for waiting in self.waiting.values_mut() {
            waiting.frozen = false;
        }
        Ok(())
    }

    /// Freezes and returns the oldest chunks that wait, at most `limit` and none of `in_flight`.
    /// `elsewhere` are the sessions of other runs, whose clocks may say what those of this run do not.
    pub(super) fn take(
        &mut self,
        limit: usize,
        in_flight: &[u64],
        elsewhere: &[SessionClock],
    ) -> Result<Vec<Frozen>, Error> {
        let no_stream = || Error::NoStream(self.head.id.clone());
        let stream = self.stream.clone().filter(|stream| stream.state == StreamState::Open).ok_or_else(no_stream)?;
        let mut taken = Vec::new();
        let mut from = 0;
        while taken.len() < limit {
            let next = self.waiting.range(from..).map(|(seq, _)| *seq).find(|seq| !in_flight.contains(seq));
            let Some(seq) = next else { break };
            from = seq + 1;
            let row = self.chunk_row(seq)?;
            let ticks = match rows::body(&self.file.connection, &self.file.path, seq) {
                Ok(ticks) => ticks,
                Err(error) if error.is_damage() => {
                    self.give_up(&row, &error)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let frozen = match row.frozen {
                Some(frozen) => frozen,
                None => self.freeze(&row, &ticks, stream.number, elsewhere)?,
            };
            taken.push(Frozen {
                seq,
                data_id: stream.data_id.clone(),
                chunk: self.chunk(frozen.index, frozen.placing, &ticks),
                attempts: row.attempts,
            });
        }
        Ok(taken)
    }

    fn freeze(
        &mut self,
        row: &ChunkRow,
        ticks: &[Tick],
        stream: i64,
        elsewhere: &[SessionClock],
    ) -> Result<FrozenRow, Error> {
        let wanted = offset::of_session(row.session, &self.sessions, elsewhere);
        let before = self.before(row.seq)?;
        let placing = offset::place(row.session, row.first, wanted, before);
        if let Some(before) = before
            && placing.floor.is_none()
        {
            tracing::warn!(run = %self.head.id, chunk = row.seq, offset_nanos = placing.offset_nanos,
                "the clock was found to have been fast; stamps of this stream overlap");
            let text = format!("chunk {} begins before {:?}, where the chunk before ended", row.seq, before.last_utc);
            self.file.insert_event(row.session, row.last, "clock_step", &text)?;
        }
        let last_utc = offset::stamps(placing, ticks.iter().map(|tick| tick.at)).last().copied().unwrap_or(row.last);
        let frozen = FrozenRow { stream, index: self.next_index, placing, last_utc };
        self.file.freeze(row.seq, &frozen)?;
        self.next_index += 1;
        if let Some(waiting) = self.waiting.get_mut(&row.seq) {
            waiting.frozen = true;
        }
        Ok(frozen)
    }

    fn chunk_row(&self, seq: u64) -> Result<ChunkRow, Error> {
        self.file
            .connection
            .prepare_cached("SELECT * FROM chunks WHERE seq = ?1")
            .and_then(|mut statement| statement.query_one([signed(seq)], rows::chunk))
            .map_err(Error::read(&self.file.path))
    }

    /// The newest frozen chunk before this one.
    fn before(&self, seq: u64) -> Result<Option<Before>, Error> {
        let query = "SELECT * FROM chunks WHERE seq < ?1 AND last_utc IS NOT NULL ORDER BY seq DESC LIMIT 1";
        let row = self
            .file
            .connection
            .prepare_cached(query)
            .and_then(|mut statement| statement.query_one([signed(seq)], rows::chunk).optional())
            .map_err(Error::read(&self.file.path))?;
        Ok(row.and_then(|row| {
            let frozen = row.frozen?;
            Some(Before {
                session: row.session,
                first: row.first,
                offset_nanos: frozen.placing.offset_nanos,
                last_utc: frozen.last_utc,
            })
        }))
    }

    fn chunk(&self, index: u64, placing: Placing, ticks: &[Tick]) -> Chunk {
        chunk(&self.head, index, placing, ticks)
    }

    pub(super) fn settle(&mut self, seq: u64, refused: &[(ChannelName, String)]) -> Result<(), Error> {
        match self.waiting.get(&seq) {
            None if seq < self.next_seq => return Ok(()),
            Some(waiting) if waiting.frozen => {}
            _ => return Err(Error::NotFrozen { run: self.head.id.clone(), seq }),
        }
        let row = self.chunk_row(seq)?;
        let refused: Vec<(usize, String)> = refused
            .iter()
            .filter_map(|(name, words)| {
                let channel = self.head.channels.iter().position(|channel| channel.name == *name)?;
                (row.points.get(channel).copied()? > 0).then(|| (channel, words.clone()))
            })
            .collect();
        self.settle_row(&row, &refused)
    }

    /// Nothing can be sent of a chunk whose body is damaged or missing; its points are accounted for as rejected.
    fn give_up(&mut self, row: &ChunkRow, error: &Error) -> Result<(), Error> {
        tracing::error!(run = %self.head.id, chunk = row.seq, error = %with_causes(error),
            "a chunk is damaged on disk and can't be uploaded");
        let all = row.points.iter().enumerate().filter(|(_, points)| **points > 0);
        let all: Vec<(usize, String)> = all.map(|(channel, _)| (channel, with_causes(error))).collect();
        self.settle_row(row, &all)?;
        self.finish_if_nothing_is_left()
    }

    fn settle_row(&mut self, row: &ChunkRow, refused: &[(usize, String)]) -> Result<(), Error> {
        let is_refused = |channel: usize| refused.iter().any(|(refused, _)| *refused == channel);
        let uploaded = row.points.iter().enumerate().any(|(channel, points)| *points > 0 && !is_refused(channel));
        self.file.settle(row.seq, if uploaded { "confirmed" } else { "rejected" }, refused)?;
        self.waiting.remove(&row.seq);
        for (channel, (target, points)) in self.points.iter_mut().zip(&row.points).enumerate() {
            target.queued = target.queued.saturating_sub(*points);
            if is_refused(channel) {
                target.rejected += points;
            } else {
                target.uploaded += points;
            }
        }
        Ok(())
    }

    pub(super) fn attempt_failed(&mut self, seq: u64, why: &str) -> Result<(), Error> {
        match self.waiting.get(&seq) {
            None if seq < self.next_seq => Ok(()),
            Some(waiting) if waiting.frozen => self.file.attempt_failed(seq, why),
            _ => Err(Error::NotFrozen { run: self.head.id.clone(), seq }),
        }
    }

    pub(super) fn record_clock(
        &mut self,
        session: SessionId,
        reading: crate::model::ClockReading,
    ) -> Result<(), Error> {
        self.file.insert_clock_reading(session, &reading)?;
        if let Some(clock) = self.sessions.iter_mut().find(|clock| clock.session == session) {
            clock.reading = Some(reading);
        }
        Ok(())
    }
}

/// A chunk as it goes on the wire: its ticks, turned into one series per channel that has points.
pub(super) fn chunk(head: &rows::Head, index: u64, placing: Placing, ticks: &[Tick]) -> Chunk {
    let stamps: Vec<Stamp> = offset::stamps(placing, ticks.iter().map(|tick| tick.at));
    let empty = |channel: &crate::model::Channel| ChunkChannel {
        name: channel.name.clone(),
        unit: channel.unit.as_ref().map(Arc::clone),
        stamps: Vec::new(),
        values: Vec::new(),
    };
    let mut channels: Vec<ChunkChannel> = head.channels.iter().map(empty).collect();
    for (tick, stamp) in ticks.iter().zip(stamps) {
        for point in &tick.points {
            if let Some(channel) = channels.get_mut(point.channel.0) {
                channel.stamps.push(stamp);
                channel.values.push(point.value.get());
            }
        }
    }
    channels.retain(|channel| !channel.stamps.is_empty());
    Chunk { index, channels }
}
