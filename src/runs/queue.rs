//! The uploader's side of a run: what waits, freezing, what the platform said.
//!
//! Each method runs within a transaction that the caller opens and commits; statements come before memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::OptionalExtension;

use super::body::Columns;
use super::offset::{self, Before, SessionClock};
use super::rows::{self, ChunkRow, FrozenRow, signed};
use super::run::{Held, Run, Waiting};
use super::{Axis, Error};
use crate::model::{
    ChannelName, Chunk, ChunkChannel, Frozen, OutboxRun, Resending, RunState, SessionId, Stamp, StreamRecord,
    StreamState, with_causes,
};

/// The least time between records of what the platform has said to hold, while more chunks wait. After a crash the next
/// reply says it again.
const SAVE_SAID_EVERY: Duration = Duration::from_secs(1);

impl Run {
    /// What the uploader has to know; none once the run is done.
    pub(super) fn outbox(&self) -> Option<OutboxRun> {
        (self.head.state != RunState::Done).then(|| OutboxRun {
            run: self.head.id.clone(),
            state: self.head.state,
            spec: self.head.spec.clone(),
            stream: self.stream.clone(),
            queued: u64::try_from(self.waiting.len()).unwrap_or(u64::MAX),
            next_seq: self.next_seq,
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
        let base = self.first_waiting();
        self.file.insert_stream(number, data_id, base)?;
        self.stream = Some(StreamRecord { number, data_id: data_id.to_owned(), state: StreamState::Open });
        self.base = Some(base);
        self.held.fill(Held::default());
        Ok(())
    }

    /// The oldest chunk that waits, or the next one to be sealed.
    fn first_waiting(&self) -> u64 {
        self.waiting.first_key_value().map_or(self.next_seq, |(seq, _)| *seq)
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
        let Some(stream) = &self.stream else { return Err(Error::NoStream(self.head.id.clone())) };
        if stream.state != StreamState::Open {
            return Ok(());
        }
        let number = stream.number;
        self.save_said()?;
        let text = if state == StreamState::Ended { "ended" } else { "finalized" };
        // A chunk of which a part is sent again will be found on two streams.
        for chunk in rows::frozen_in_part(&self.file.connection, &self.file.path)? {
            self.note_parted(&chunk)?;
        }
        self.file.end_stream(number, text, why)?;
        if let Some(stream) = &mut self.stream {
            stream.state = state;
        }
        for waiting in self.waiting.values_mut() {
            waiting.frozen = false;
        }
        self.forget_at_hand();
        Ok(())
    }

    /// Notes where the channels of a chunk are that are not sent again, before it forgets its stream.
    fn note_parted(&self, chunk: &ChunkRow) -> Result<(), Error> {
        let Some(sent) = &chunk.frozen else { return Ok(()) };
        let passed = chunk.points.iter().enumerate().filter(|(channel, points)| **points > 0 && !chunk.holds(*channel));
        let passed: Vec<usize> = passed.map(|(channel, _)| channel).collect();
        if passed.is_empty() || rows::is_parted(&self.file.connection, &self.file.path, chunk.seq)? {
            return Ok(());
        }
        self.file.insert_resent(chunk.seq, &passed, sent)
    }

    /// Freezes and returns the oldest chunks that wait from `from` on, at most `limit` and none of `in_flight`. Those before
    /// `from` are frozen first, so that stamps rise from chunk to chunk in whatever order they are sent.
    /// `elsewhere` are the sessions of other runs, whose clocks may say what those of this run do not. Says also whether
    /// anything was written.
    pub(super) fn take(
        &mut self,
        limit: usize,
        in_flight: &[u64],
        from: u64,
        elsewhere: &[SessionClock],
    ) -> Result<(Vec<Frozen>, bool), Error> {
        let no_stream = || Error::NoStream(self.head.id.clone());
        let stream = self.stream.clone().filter(|stream| stream.state == StreamState::Open).ok_or_else(no_stream)?;
        let mut taken = Vec::new();
        let mut froze = false;
        let from_here = if self.head.axis == Axis::Given { 0 } else { from };
        let before: Vec<u64> =
            self.waiting.range(..from_here).filter(|(_, waiting)| !waiting.frozen).map(|(seq, _)| *seq).collect();
        for seq in before {
            let row = self.chunk_row(seq)?;
            self.freeze(&row, None, stream.number, elsewhere)?;
            froze = true;
        }
        let mut from = from;
        while taken.len() < limit {
            let next = self.waiting.range(from..).map(|(seq, _)| *seq).find(|seq| !in_flight.contains(seq));
            let Some(seq) = next else { break };
            from = seq + 1;
            if self.waits_for_its_slice(seq) {
                continue;
            }
            if let Some(chunk) = self.at_hand(seq, &stream) {
                taken.push(chunk);
                continue;
            }
            let row = self.chunk_row(seq)?;
            let columns = match rows::columns(&self.file.connection, &self.file.path, seq) {
                Ok(columns) => columns,
                // Where SQLite does not find its way, the body itself may be whole: the file is salvaged.
                Err(error) if error.is_damage() && !error.is_corruption() => {
                    self.give_up(&row, &error)?;
                    froze = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let frozen = match row.frozen {
                Some(frozen) => frozen,
                None => {
                    froze = true;
                    self.freeze(&row, Some(&columns.times), stream.number, elsewhere)?
                }
            };
            let stamps = self.head.stamps(frozen.placing, &columns.times);
            taken.push(Frozen {
                seq,
                data_id: stream.data_id.clone(),
                chunk: chunk(&self.head, frozen.index, &stamps, columns, row.only.as_deref()),
                attempts: row.attempts,
                again: row.only.is_some(),
            });
        }
        Ok((taken, froze))
    }

    /// Fixes index and stamps of a chunk. Without the times of its ticks, they are read where they matter.
    fn freeze(
        &mut self,
        row: &ChunkRow,
        times: Option<&Arc<[Stamp]>>,
        stream: i64,
        elsewhere: &[SessionClock],
    ) -> Result<FrozenRow, Error> {
        let wanted = offset::of_session(row.session, &self.sessions, elsewhere);
        if self.head.axis == Axis::Given {
            return self.freeze_given(row, stream, wanted);
        }
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
        let last = |times| self.head.stamps(placing, times).last().copied().unwrap_or(row.last);
        let last_utc = match times {
            None if self.head.axis == Axis::Grid && offset::is_free(placing, row.first) => {
                row.last.shifted(placing.offset_nanos)
            }
            None => match rows::columns(&self.file.connection, &self.file.path, row.seq) {
                Ok(columns) => last(&columns.times),
                // It can't be sent; whoever fetches it finds out.
                Err(error) if error.is_damage() => row.last.shifted(placing.offset_nanos),
                Err(error) => return Err(error),
            },
            Some(times) => last(times),
        };
        let base = match self.base {
            Some(base) => base,
            None => {
                let base = self.first_waiting();
                self.file.set_base(stream, base)?;
                *self.base.insert(base)
            }
        };
        let index = row.seq.checked_sub(base).ok_or_else(|| {
            Error::damaged(&self.file.path, format!("chunk {} comes before its stream's first, {base}", row.seq))
        })?;
        let frozen = FrozenRow { stream, index, placing, last_utc };
        self.note_frozen(row, &frozen)?;
        Ok(frozen)
    }

    pub(super) fn note_frozen(&mut self, row: &ChunkRow, frozen: &FrozenRow) -> Result<(), Error> {
        self.file.freeze(row.seq, frozen)?;
        if let Some(waiting) = self.waiting.get_mut(&row.seq) {
            waiting.frozen = true;
        }
        for (channel, (held, points)) in self.held.iter_mut().zip(&row.points).enumerate() {
            if row.holds(channel) {
                held.sent += points;
            }
        }
        Ok(())
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

    pub(super) fn settle(
        &mut self,
        seq: u64,
        refused: &[(ChannelName, String)],
        said: &[(ChannelName, u64)],
    ) -> Result<(), Error> {
        match self.waiting.get(&seq) {
            None if seq < self.next_seq => return Ok(()),
            Some(waiting) if waiting.frozen => {}
            _ => return Err(Error::NotFrozen { run: self.head.id.clone(), seq }),
        }
        let row = match self.row_at_hand(seq) {
            Some(row) => row,
            None => self.chunk_row(seq)?,
        };
        let refused: Vec<(usize, String)> = refused
            .iter()
            .filter_map(|(name, words)| {
                let channel = self.place_of(name)?;
                (row.points.get(channel).copied()? > 0 && row.holds(channel)).then(|| (channel, words.clone()))
            })
            .collect();
        self.note_said(&row, said)?;
        self.settle_row(&row, &refused)?;
        self.note_disagreements(&row)
    }

    fn place_of(&self, name: &ChannelName) -> Option<usize> {
        self.head.channels.iter().position(|channel| channel.name == *name)
    }

    /// Keeps what the platform says to hold, if it is about the newest stream and more than it has said before.
    fn note_said(&mut self, row: &ChunkRow, said: &[(ChannelName, u64)]) -> Result<(), Error> {
        let Some(stream) = self.stream.as_ref().map(|stream| stream.number) else { return Ok(()) };
        if row.frozen.is_none_or(|frozen| frozen.stream != stream) {
            return Ok(());
        }
        for (name, said) in said {
            let Some(channel) = self.place_of(name) else { continue };
            let Some(held) = self.held.get_mut(channel).filter(|held| held.said.is_none_or(|before| before < *said))
            else {
                continue;
            };
            held.said = Some(*said);
            held.unsaved = true;
        }
        // One row a channel for each chunk would cost more than the chunk itself where they come fast.
        let due = self.waiting.len() <= 1 || self.said_saved.is_none_or(|saved| saved.elapsed() >= SAVE_SAID_EVERY);
        if due { self.save_said() } else { Ok(()) }
    }

    /// Puts on record what the platform has said to hold.
    pub(super) fn save_said(&mut self) -> Result<(), Error> {
        let Some(stream) = self.stream.as_ref().map(|stream| stream.number) else { return Ok(()) };
        for (channel, held) in self.held.iter_mut().enumerate().filter(|(_, held)| held.unsaved) {
            if let Some(said) = held.said {
                self.file.set_said(stream, channel, said)?;
            }
            held.unsaved = false;
        }
        self.said_saved = Some(Instant::now());
        Ok(())
    }

    /// Puts on record when the platform's account stops fitting ours.
    fn note_disagreements(&mut self, row: &ChunkRow) -> Result<(), Error> {
        if self.given.replaced {
            return Ok(());
        }
        for (held, channel) in self.held.iter_mut().zip(self.head.channels.iter()) {
            let disagrees = held.disagrees(false);
            if disagrees && !held.noted {
                let (said, confirmed) = (held.said.unwrap_or_default(), held.confirmed);
                if said < confirmed {
                    tracing::error!(run = %self.head.id, channel = %channel.name, said, confirmed,
                        "the platform says to hold fewer points than it has confirmed");
                } else {
                    tracing::warn!(run = %self.head.id, channel = %channel.name, said, confirmed, unconfirmed = held.sent,
                        "the platform says to hold more points than were sent");
                }
                let text = format!(
                    "{}: the platform says to hold {said} points, {confirmed} are confirmed and {} under way",
                    channel.name, held.sent
                );
                self.file.insert_event(row.session, row.last, "disagreement", &text)?;
            }
            held.noted = disagrees;
        }
        Ok(())
    }

    /// What the platform refused of one chunk, or of all, waits to be sent again. A run that was done is no longer.
    pub(super) fn resend(&mut self, only: Option<u64>) -> Result<Resending, Error> {
        let mut refused: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (seq, channel, _) in rows::rejected(&self.file.connection, &self.file.path)? {
            if only.is_none_or(|only| only == seq) && !self.waiting.contains_key(&seq) {
                refused.entry(seq).or_default().push(channel);
            }
        }
        let mut resending = Resending::default();
        for (seq, channels) in refused {
            self.resend_chunk(seq, &channels, &mut resending)?;
        }
        if resending.points > 0 && self.head.state == RunState::Done {
            self.set_state(RunState::Closed)?;
        }
        Ok(resending)
    }

    fn resend_chunk(&mut self, seq: u64, channels: &[usize], resending: &mut Resending) -> Result<(), Error> {
        let mut row = self.chunk_row(seq)?;
        match rows::body(&self.file.connection, &self.file.path, seq) {
            Ok(_) => {}
            // It was not the platform that refused it, and it would be given up again.
            Err(error) if error.is_damage() => return Ok(()),
            Err(error) => return Err(error),
        }
        row.only = Some(channels.to_vec());
        let open = self.stream.as_ref().filter(|stream| stream.state == StreamState::Open).map(|stream| stream.number);
        let stays = row.frozen.is_some_and(|frozen| Some(frozen.stream) == open);
        if open.is_some() && !stays {
            // Its place on the open stream is before the first, or between chunks whose stamps are fixed.
            resending.later += channels.iter().filter_map(|channel| row.points.get(*channel)).sum::<u64>();
            return Ok(());
        }
        if !stays {
            self.note_parted(&row)?;
        }
        self.file.wait_again(seq, channels, stays)?;
        let slice = self.slice_of(&row);
        self.waiting.insert(seq, Waiting { frozen: stays, written: row.written, slice });
        for channel in channels {
            let points = row.points.get(*channel).copied().unwrap_or(0);
            if let Some(target) = self.points.get_mut(*channel) {
                target.rejected = target.rejected.saturating_sub(points);
                target.queued += points;
            }
            if let Some(held) = self.held.get_mut(*channel).filter(|_| stays) {
                held.sent += points;
            }
            resending.points += points;
        }
        Ok(())
    }

    /// Nothing can be sent of a chunk whose body is damaged or missing; its points are accounted for as rejected.
    fn give_up(&mut self, row: &ChunkRow, error: &Error) -> Result<(), Error> {
        tracing::error!(run = %self.head.id, chunk = row.seq, error = %with_causes(error),
            "a chunk is damaged on disk and can't be uploaded");
        let all = row.points.iter().enumerate().filter(|(_, points)| **points > 0);
        let all = all.filter(|(channel, _)| row.holds(*channel));
        let all: Vec<(usize, String)> = all.map(|(channel, _)| (channel, with_causes(error))).collect();
        self.settle_row(row, &all)?;
        self.finish_if_nothing_is_left()
    }

    fn settle_row(&mut self, row: &ChunkRow, refused: &[(usize, String)]) -> Result<(), Error> {
        let is_refused = |channel: usize| refused.iter().any(|(refused, _)| *refused == channel);
        // The channels that are not sent again had passed.
        let uploaded = row.points.iter().enumerate().any(|(channel, points)| *points > 0 && !is_refused(channel));
        self.file.settle(row.seq, if uploaded { "confirmed" } else { "rejected" }, refused)?;
        self.waiting.remove(&row.seq);
        let newest = self.stream.as_ref().map(|stream| stream.number);
        let on_newest = row.frozen.is_some_and(|frozen| Some(frozen.stream) == newest);
        let channels = self.points.iter_mut().zip(&mut self.held).zip(&row.points).enumerate();
        for (channel, ((target, held), points)) in channels.filter(|(channel, _)| row.holds(*channel)) {
            target.queued = target.queued.saturating_sub(*points);
            if is_refused(channel) {
                target.rejected += points;
            } else {
                target.uploaded += points;
            }
            if on_newest {
                held.sent = held.sent.saturating_sub(*points);
                held.confirmed += if is_refused(channel) { 0 } else { *points };
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

/// A chunk as it goes on the wire: one series per channel that has points, or per channel of `only`; `stamps` are those of
/// its ticks.
pub(super) fn chunk(
    head: &rows::Head,
    index: u64,
    stamps: &Arc<[Stamp]>,
    columns: Columns,
    only: Option<&[usize]>,
) -> Chunk {
    let channels = columns.stamped(stamps).filter_map(|(place, stamps, values)| {
        let channel = head.channels.get(place.0)?;
        let wanted = !values.is_empty() && only.is_none_or(|only| only.contains(&place.0));
        wanted.then(|| ChunkChannel {
            name: channel.name.clone(),
            unit: channel.unit.as_ref().map(Arc::clone),
            stamps,
            values,
        })
    });
    Chunk { index, channels: channels.collect() }
}
