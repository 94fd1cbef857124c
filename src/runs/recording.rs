//! The run that is being recorded: ticks on their way from the aligner to the disk, and where chunks are cut.

use std::time::{Duration, Instant};

use super::counts::{add_all, count_ticks, points_of};
use super::rows::Head;
use super::run::Run;
use super::{Axis, Batch, Error, Settings};
use crate::model::{Counts, RunId, RunState, SessionId, Stamp, Tick, TimeBase};

/// What becomes of the session with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It goes on.
    Not,
    /// What is open is sealed; it goes on.
    Seal,
    /// What is open is sealed, the session is over.
    Session,
    /// What is open is sealed, the session and the run are over.
    Run,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flushed {
    /// Something was written.
    pub(super) wrote: bool,
    /// Chunks were sealed, or the run was closed.
    pub(super) sealed: bool,
}

/// The session that records, with the ticks that no chunk holds yet.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) run: RunId,
    pub(super) session: SessionId,
    pub(super) time: TimeBase,
    channels: usize,
    max_span: Duration,
    hold_bytes: usize,
    /// Those of the open batches on disk, then those that are not on disk yet.
    ticks: Vec<Tick>,
    /// How many of `ticks` are on disk.
    committed: usize,
    /// Whether there are open batches on disk, be it only with counts.
    open_batches: bool,
    /// Counts that are not on disk yet, except `recorded` and `filled`, which follow from the ticks at commit.
    news: Vec<Counts>,
    /// Memory that the ticks take which are not on disk.
    bytes: usize,
    last: Option<Stamp>,
    /// Since when something is not on disk.
    pub(super) dirty_since: Option<Instant>,
    /// Since when something is in no chunk.
    pub(super) open_since: Option<Instant>,
}

impl Recording {
    pub(super) fn new(run: &Run, session: SessionId, time: TimeBase, settings: &Settings) -> Self {
        let channels = run.head.channels.len();
        Self {
            run: run.head.id.clone(),
            session,
            time,
            channels,
            max_span: settings.max_span,
            hold_bytes: settings.hold_bytes,
            ticks: Vec::new(),
            committed: 0,
            open_batches: false,
            news: vec![Counts::default(); channels],
            bytes: 0,
            last: None,
            dirty_since: None,
            open_since: None,
        }
    }

    /// Takes a batch into memory.
    pub(super) fn push(&mut self, batch: Batch) {
        for (news, more) in self.news.iter_mut().zip(batch.counts) {
            news.add(&Counts { recorded: 0, filled: 0, ..more });
        }
        for tick in batch.ticks {
            self.push_tick(tick);
        }
        let now = Instant::now();
        self.dirty_since.get_or_insert(now);
        self.open_since.get_or_insert(now);
        self.make_room();
    }

    /// Takes what is in the memory of a recording whose file can't be used any more: what was not committed, or `all` ticks
    /// that are in no chunk.
    pub(super) fn take_over(&mut self, other: Self, all: bool) {
        let mut counts = other.news;
        let mut ticks = other.ticks;
        let committed = other.committed.min(ticks.len());
        if all {
            let before = ticks.get(..committed).unwrap_or_default();
            count_ticks(&mut counts, before, |counts| &mut counts.read, |_| None);
        } else {
            ticks.drain(..committed);
        }
        self.push(Batch { ticks, counts });
    }

    /// Ticks that are out of order, and points that are of no channel or come twice, can't be stored; no correct aligner
    /// makes them, and if one does its readings are accounted for.
    fn push_tick(&mut self, mut tick: Tick) {
        let in_order = self.last.is_none_or(|last| last < tick.at);
        let mut next = 0;
        let channels = self.channels;
        let refused: Vec<_> = tick
            .points
            .extract_if(.., |point| {
                let takes = in_order && point.channel.0 >= next && point.channel.0 < channels;
                if takes {
                    next = point.channel.0 + 1;
                }
                !takes
            })
            .collect();
        if !refused.is_empty() {
            tracing::error!(run = %self.run, at = ?tick.at, points = refused.len(), "points out of order were not recorded");
            let refused = [Tick { at: tick.at, points: refused }];
            count_ticks(&mut self.news, &refused, |counts| &mut counts.unrecorded, |_| None);
        }
        if !tick.points.is_empty() {
            self.last = Some(tick.at);
            self.bytes += size(&tick);
            self.ticks.push(tick);
        }
    }

    /// Gives up the oldest ticks that are not on disk when they take too much memory.
    fn make_room(&mut self) {
        if self.bytes <= self.hold_bytes {
            return;
        }
        let mut excess = self.bytes - self.hold_bytes;
        let mut count = 0;
        for tick in self.ticks.get(self.committed..).unwrap_or_default() {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(size(tick));
            self.bytes -= size(tick);
            count += 1;
        }
        let lost: Vec<Tick> = self.ticks.drain(self.committed..self.committed + count).collect();
        count_ticks(&mut self.news, &lost, |counts| &mut counts.unrecorded, |_| None);
    }

    /// Points that are not on disk.
    pub(super) fn buffered(&self) -> u64 {
        points_of(self.new_ticks(), self.channels).iter().sum()
    }

    fn new_ticks(&self) -> &[Tick] {
        self.ticks.get(self.committed..).unwrap_or_default()
    }

    /// Whether a chunk is full.
    pub(super) fn is_full(&self, head: &Head) -> bool {
        !cut(&self.ticks, head, Some(self.max_span)).is_empty()
    }

    /// Writes what is not on disk, in one transaction. On error everything is as before.
    pub(super) fn flush(&mut self, run: &mut Run, ending: Ending) -> Result<Flushed, Error> {
        run.refresh()?;
        let mut lengths = cut(&self.ticks, &run.head, Some(self.max_span));
        let full: usize = lengths.iter().sum();
        if ending != Ending::Not && full < self.ticks.len() {
            lengths.push(self.ticks.len() - full);
        }
        let fold = !lengths.is_empty() || (ending != Ending::Not && self.open_batches);
        let ends = matches!(ending, Ending::Session | Ending::Run);
        if self.dirty_since.is_none() && !fold && !ends {
            return Ok(Flushed { wrote: false, sealed: false });
        }
        run.file.begin()?;
        let kept = match self.write(run, &lengths, fold, ending).and_then(|kept| run.file.commit().map(|()| kept)) {
            Ok(kept) => kept,
            Err(error) => {
                run.undo();
                return Err(error);
            }
        };
        self.ticks.drain(..self.ticks.len().saturating_sub(kept));
        self.committed = kept;
        self.open_batches = kept > 0 || !fold;
        self.news.fill(Counts::default());
        self.bytes = 0;
        self.dirty_since = None;
        if fold {
            self.open_since = (kept > 0).then(Instant::now);
        }
        Ok(Flushed { wrote: true, sealed: !lengths.is_empty() || ends })
    }

    /// Returns how many ticks are in open batches afterwards.
    fn write(&self, run: &mut Run, lengths: &[usize], fold: bool, ending: Ending) -> Result<usize, Error> {
        let written = self.time.now();
        let mut news = self.news.clone();
        count_ticks(&mut news, self.new_ticks(), |counts| &mut counts.recorded, |counts| Some(&mut counts.filled));
        add_all(&mut run.counts, &news);
        run.note_open(&points_of(self.new_ticks(), self.channels));
        run.written = (self.session, written);
        let mut rest = self.ticks.as_slice();
        if fold {
            for length in lengths {
                let (chunk, after) = rest.split_at_checked(*length).unwrap_or((rest, &[]));
                run.seal(self.session, written, chunk)?;
                rest = after;
            }
            run.file.fold_open(&run.counts)?;
            if !rest.is_empty() {
                run.file.insert_open(self.session, written, &[], rest)?;
            }
        } else {
            run.file.insert_open(self.session, written, &news, self.new_ticks())?;
        }
        if matches!(ending, Ending::Session | Ending::Run) {
            run.file.end_session(self.session, written)?;
        }
        if ending == Ending::Run && run.head.state == RunState::Recording {
            run.close()?;
        }
        Ok(rest.len())
    }
}

/// Memory that a tick takes.
fn size(tick: &Tick) -> usize {
    size_of::<Tick>() + tick.points.capacity() * size_of::<crate::model::Point>()
}

/// Where chunks end: the lengths of those that are full, first tick first. What is left over is still open.
///
/// A chunk is full with `points_per_chunk` ticks on a grid, or as many points of one channel; and before a tick that would
/// make it span more than `max_span`.
pub(super) fn cut(ticks: &[Tick], head: &Head, max_span: Option<Duration>) -> Vec<usize> {
    let most = head.spec.points_per_chunk;
    let mut lengths = Vec::new();
    let mut points = vec![0_usize; head.channels.len()];
    let mut length = 0;
    let mut first = Stamp::default();
    for tick in ticks {
        if length > 0 && max_span.is_some_and(|most| tick.at.since(first) > most) {
            lengths.push(std::mem::take(&mut length));
            points.fill(0);
        }
        if length == 0 {
            first = tick.at;
        }
        length += 1;
        for point in &tick.points {
            if let Some(count) = points.get_mut(point.channel.0) {
                *count += 1;
            }
        }
        if points.iter().any(|count| *count >= most) || (head.axis == Axis::Grid && length >= most) {
            lengths.push(std::mem::take(&mut length));
            points.fill(0);
        }
    }
    lengths
}
