//! A run that is open: its file, and in memory what would be too slow to ask the file for each time.
//!
//! The file is the truth. Memory follows it, after each statement within a transaction; when a transaction fails, memory is
//! loaded anew.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Instant;

use super::counts::{add_all, points_of};
use super::file::RunFile;
use super::given::{Given, Slice};
use super::offset::SessionClock;
use super::recording::cut;
use super::rows::{self, ChunkRow, ChunkState, Head, OpenRow, ResentRow, SessionRow};
use super::{Disagreement, Error, Points, RunTotals};
use crate::model::{Counts, RunState, SessionId, Stamp, StreamRecord, StreamState, Tick, with_causes};

/// Chunks read at once while loading.
const PAGE: usize = 4096;

/// A chunk that is neither confirmed nor rejected.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) frozen: bool,
    /// When it was sealed.
    pub(super) written: Stamp,
    /// Of a chunk that a program gave: the slice that it is for.
    pub(super) slice: Option<Slice>,
}

/// What the newest stream holds of a channel, in points.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    /// The platform has confirmed them.
    pub(super) confirmed: u64,
    /// They may have been sent, and are not confirmed.
    pub(super) sent: u64,
    /// The most that the platform has said to hold.
    pub(super) said: Option<u64>,
    /// That is not on record yet.
    pub(super) unsaved: bool,
    /// That it can't be so was put on record.
    pub(super) noted: bool,
}

impl Held {
    /// Whether the platform has said what can't be: each reply tells of all that was stored until then, so the most that was
    /// said is no less than what is confirmed, and no more than what was ever sent.
    /// Of a stream that the platform has ended, what was under way is not known any more.
    pub(super) fn disagrees(&self, ended: bool) -> bool {
        let most = self.confirmed + self.sent;
        self.said.is_some_and(|said| said < self.confirmed || (said > most && !ended))
    }
}

/// A run that is recorded or waits for the platform.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) file: RunFile,
    pub(super) head: Head,
    /// By rising number.
    pub(super) sessions: Vec<SessionClock>,
    /// Of everything that is committed.
    pub(super) counts: Vec<Counts>,
    pub(super) points: Vec<Points>,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    pub(super) next_seq: u64,
    /// The newest.
    pub(super) stream: Option<StreamRecord>,
    /// The chunk that has index 0 on the newest stream: an index is as far from it as the chunk, whatever order they are
    /// frozen and sent in.
    pub(super) base: Option<u64>,
    /// What the newest stream holds of each channel.
    pub(super) held: Vec<Held>,
    /// When what the platform has said to hold was last put on record.
    pub(super) said_saved: Option<Instant>,
    /// What only a run has that a program gives chunks to.
    pub(super) given: Given,
    /// When it was last written, in which session's time.
    pub(super) written: (SessionId, Stamp),
    /// A transaction failed and memory may be ahead of the file.
    stale: bool,
    /// It was said that it can't be loaded anew.
    said_stale: bool,
}

impl Run {
    pub(super) fn create(path: &Path, head: Head, session: &SessionRow) -> Result<Self, Error> {
        let file = RunFile::create(path, &head, session)?;
        Self::load(file)
    }

    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Self::load(RunFile::open(path)?)
    }

    pub(super) fn load(file: RunFile) -> Result<Self, Error> {
        let (connection, path) = (&file.connection, file.path.as_path());
        let head = rows::head(connection, path)?;
        let mut sessions: Vec<SessionClock> = Vec::new();
        let mut written = None;
        for row in rows::sessions(connection, path)? {
            written = Some((row.number, row.started.max(row.ended.unwrap_or(row.started))));
            sessions.push(SessionClock {
                session: row.number,
                anchor: row.anchor,
                boot_id: row.boot_id,
                uptime_nanos: row.uptime_nanos,
                reading: None,
            });
        }
        let mut written = written.ok_or_else(|| Error::damaged(path, "it has no session"))?;
        for (session, reading) in rows::clock_readings(connection, path)? {
            if let Some(clock) = sessions.iter_mut().find(|clock| clock.session == session) {
                clock.reading = Some(reading);
            }
        }
        let stream = rows::streams(connection, path)?.pop();
        let channels = head.channels.len();
        let mut run = Self {
            counts: rows::folded_counts(connection, path)?,
            points: vec![Points::default(); channels],
            waiting: BTreeMap::new(),
            next_seq: 0,
            base: stream.as_ref().and_then(|row| row.base),
            held: vec![Held::default(); channels],
            said_saved: None,
            given: Given::default(),
            written,
            stale: false,
            said_stale: false,
            stream: stream.map(|row| row.record),
            sessions,
            head,
            file,
        };
        if run.counts.len() != channels {
            return Err(Error::damaged(&run.file.path, "its counts do not match its channels"));
        }
        let resent = rows::resent(&run.file.connection, &run.file.path)?;
        run.load_chunks(&mut written, &resent)?;
        run.load_held(&resent)?;
        for row in run.open_rows()? {
            if row.flaw.is_some() {
                tracing::error!(run = %run.head.id, written = ?row.written,
                    "an open batch is damaged on disk; it is kept as an event of the run, the rest goes on");
            }
            add_all(&mut run.counts, &row.news);
            run.note_open(&points_of(&row.ticks, channels));
            note_written(&mut written, row.session, row.written);
        }
        run.written = written;
        Ok(run)
    }

    fn load_chunks(&mut self, written: &mut (SessionId, Stamp), resent: &[ResentRow]) -> Result<(), Error> {
        let elsewhere: HashSet<u64> = resent.iter().map(|row| row.seq).collect();
        let newest = self.stream.as_ref().map(|stream| stream.number);
        let refused: HashSet<(u64, usize)> =
            rows::rejected(&self.file.connection, &self.file.path)?.into_iter().map(|(seq, c, _)| (seq, c)).collect();
        loop {
            let page = rows::chunks(&self.file.connection, &self.file.path, self.next_seq, PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            for chunk in page {
                self.next_seq = chunk.seq + 1;
                note_written(written, chunk.session, chunk.written);
                if chunk.frozen.is_some_and(|frozen| Some(frozen.stream) == newest) {
                    self.add_held(&chunk, &refused, elsewhere.contains(&chunk.seq));
                }
                let waits = matches!(chunk.state, ChunkState::Sealed | ChunkState::Frozen);
                if waits {
                    let frozen = chunk.state == ChunkState::Frozen;
                    self.waiting.insert(chunk.seq, Waiting { frozen, written: chunk.written, slice: None });
                }
                self.load_given(&chunk);
                for (channel, (points, count)) in self.points.iter_mut().zip(&chunk.points).enumerate() {
                    if waits && chunk.holds(channel) {
                        points.queued += count;
                    } else if chunk.state == ChunkState::Rejected || refused.contains(&(chunk.seq, channel)) {
                        points.rejected += count;
                    } else {
                        points.uploaded += count;
                    }
                }
            }
        }
    }

    /// A chunk that was frozen for the newest stream adds to what that holds, but for channels that are `elsewhere`.
    fn add_held(&mut self, chunk: &ChunkRow, refused: &HashSet<(u64, usize)>, elsewhere: bool) {
        let frozen = chunk.state == ChunkState::Frozen;
        for (channel, (held, points)) in self.held.iter_mut().zip(&chunk.points).enumerate() {
            match chunk.holds(channel) {
                true if frozen => held.sent += points,
                true if refused.contains(&(chunk.seq, channel)) => {}
                false if elsewhere => {}
                _ => held.confirmed += points,
            }
        }
    }

    /// What else the newest stream holds: channels of chunks whose others were sent again on a later one; and what the
    /// platform has said of it.
    fn load_held(&mut self, resent: &[ResentRow]) -> Result<(), Error> {
        let Some(stream) = self.stream.as_ref().map(|stream| stream.number) else { return Ok(()) };
        let (connection, path) = (&self.file.connection, &self.file.path);
        for row in resent.iter().filter(|row| row.stream == stream) {
            let points = rows::points(connection, path, row.seq)?;
            for channel in &row.channels {
                if let (Some(held), Some(points)) = (self.held.get_mut(*channel), points.get(*channel)) {
                    held.confirmed += points;
                }
            }
        }
        for (_, channel, said) in rows::stream_points(connection, path)?.into_iter().filter(|(of, ..)| *of == stream) {
            if let Some(held) = self.held.get_mut(channel) {
                held.said = Some(said);
            }
        }
        Ok(())
    }

    /// Whether a stream of this id is or was one of its.
    pub(super) fn had_stream(&self, data_id: &str) -> Result<bool, Error> {
        Ok(rows::streams(&self.file.connection, &self.file.path)?.iter().any(|row| row.record.data_id == data_id))
    }

    /// Begins a new session, within the transaction that is open.
    pub(super) fn go_on(&mut self, session: &SessionRow) -> Result<(), Error> {
        self.file.insert_session(session)?;
        let what = "a new session goes on with the run";
        self.file.insert_event(session.number, session.started, "resumed", what)?;
        self.written = (session.number, session.started);
        self.sessions.push(SessionClock {
            session: session.number,
            anchor: session.anchor,
            boot_id: session.boot_id.clone(),
            uptime_nanos: session.uptime_nanos,
            reading: None,
        });
        Ok(())
    }

    /// Closes the file for good, in order.
    pub(super) fn close_file(mut self) {
        if let Err(error) = self.save_said() {
            tracing::debug!(run = %self.head.id, error = %with_causes(&error), "what the platform said was not recorded");
        }
        if let Err(error) = self.file.make_tidy() {
            tracing::warn!(run = %self.head.id, error = %with_causes(&error), "a run file could not be closed in order");
        }
    }

    /// Loads memory anew if a transaction failed.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        if self.stale {
            self.file.look()?;
            let file = self.file.open_again()?;
            #[cfg(test)]
            file.limit_pages_like(&self.file)?;
            *self = Self::load(file)?;
        }
        Ok(())
    }

    /// Has memory loaded anew before it is next used.
    pub(super) fn distrust(&mut self) {
        self.stale = true;
    }

    /// Undoes the transaction that is open; memory is loaded anew before it is next used.
    pub(super) fn undo(&mut self) {
        self.file.rollback();
        self.stale = true;
        if let Err(error) = self.refresh()
            && !matches!(error, Error::Astray { .. })
            && !std::mem::replace(&mut self.said_stale, true)
        {
            tracing::error!(run = %self.head.id, error = %with_causes(&error), "a run could not be loaded again");
        }
    }

    pub(super) fn open_rows(&self) -> Result<Vec<OpenRow>, Error> {
        rows::open_rows(&self.file.connection, &self.file.path, self.head.channels.len())
    }

    pub(super) fn note_open(&mut self, points: &[u64]) {
        for (target, points) in self.points.iter_mut().zip(points) {
            target.open += points;
        }
    }

    /// Adds a chunk, within the transaction that is open. Its points are no longer open.
    pub(super) fn seal(&mut self, session: SessionId, written: Stamp, ticks: &[Tick]) -> Result<(), Error> {
        let points = points_of(ticks, self.head.channels.len());
        self.file.insert_chunk(self.next_seq, session, written, ticks, &points)?;
        self.waiting.insert(self.next_seq, Waiting { frozen: false, written, slice: None });
        self.next_seq += 1;
        for (target, points) in self.points.iter_mut().zip(&points) {
            target.open = target.open.saturating_sub(*points);
            target.queued += points;
        }
        Ok(())
    }

    /// Makes chunks of the open batches that a dead session left, within the transaction that is open.
    pub(super) fn seal_left_over(&mut self) -> Result<(), Error> {
        let rows = self.open_rows()?;
        for row in &rows {
            if let Some(flaw) = &row.flaw {
                self.file.insert_event(row.session, row.written, "damaged", &format!("an open batch: {flaw}"))?;
            }
        }
        for of_one_session in rows.chunk_by(|a, b| a.session == b.session) {
            let Some(last) = of_one_session.last() else { continue };
            let ticks: Vec<Tick> = of_one_session.iter().flat_map(|row| row.ticks.clone()).collect();
            let mut rest = ticks.as_slice();
            for length in cut(rest, &self.head, None) {
                let (chunk, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                self.seal(last.session, last.written, chunk)?;
                rest = after;
            }
            if !rest.is_empty() {
                self.seal(last.session, last.written, rest)?;
            }
        }
        if rows.is_empty() { Ok(()) } else { self.file.fold_open(&self.counts) }
    }

    /// No more samples, within the transaction that is open.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.seal_left_over()?;
        self.set_state(RunState::Closed)?;
        self.finish_if_nothing_is_left()
    }

    /// A closed run needs nothing more once its chunks are settled and the platform has no open stream of it.
    pub(super) fn finish_if_nothing_is_left(&mut self) -> Result<(), Error> {
        let stream_open = self.stream.as_ref().is_some_and(|stream| stream.state == StreamState::Open);
        if self.head.state == RunState::Closed && self.waiting.is_empty() && !stream_open {
            self.set_state(RunState::Done)?;
        }
        Ok(())
    }

    pub(super) fn set_state(&mut self, state: RunState) -> Result<(), Error> {
        self.file.set_state(state)?;
        self.head.state = state;
        Ok(())
    }

    fn disagreements(&self) -> Vec<Disagreement> {
        let Some(stream) = self.stream.as_ref().filter(|_| !self.given.replaced) else { return Vec::new() };
        let channels = self.held.iter().zip(self.head.channels.iter());
        channels
            .filter(|(held, _)| held.disagrees(stream.state == StreamState::Ended))
            .map(|(held, channel)| Disagreement {
                data_id: stream.data_id.clone(),
                channel: channel.name.clone(),
                said: held.said.unwrap_or_default(),
                confirmed: held.confirmed,
                unconfirmed: held.sent,
            })
            .collect()
    }

    pub(super) fn totals(&self) -> RunTotals {
        RunTotals {
            run: self.head.id.clone(),
            name: self.head.spec.name.clone(),
            state: self.head.state,
            stream: self.stream.clone(),
            channels: std::sync::Arc::clone(&self.head.channels),
            counts: self.counts.clone(),
            points: self.points.clone(),
            sealed_chunks: self.next_seq,
            disagreements: self.disagreements(),
            queued_chunks: u64::try_from(self.waiting.len()).unwrap_or(u64::MAX),
            oldest_queued: self.waiting.values().next().map(|waiting| waiting.written),
        }
    }
}

/// Sessions follow each other, their clocks need not: only times of the newest session are compared.
fn note_written(newest: &mut (SessionId, Stamp), session: SessionId, at: Stamp) {
    if session == newest.0 {
        newest.1 = newest.1.max(at);
    }
}
