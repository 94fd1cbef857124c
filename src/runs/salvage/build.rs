//! Writing what was found into a new run file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::params;

use super::super::Axis;
use super::super::counts::{self, add_all, points_to_text};
use super::super::file::RunFile;
use super::super::recording::cut;
use super::super::rows::{Head, SessionRow};
use super::super::{Error, schema};
use super::find::{Chunk, Finds, State};
use super::pages::Pages;
use super::plan::{self, Body, Left};
use crate::model::{Counts, RunState, SessionId, Stamp, Tick};

/// Chunks that are written in one transaction.
const GROUP: usize = 256;

/// What the platform would have said of a chunk that can't be sent.
const NO_BODY: &str = "its ticks could not be read from the damaged run file";

/// Where new files go.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The name of the run that gets all it can.
    pub(super) id: &'a str,
    /// Its file, under a name that is not a run's.
    pub(super) path: &'a Path,
    /// The same for what must not come near the streams of the first.
    pub(super) apart: (&'a str, &'a Path),
    /// Where the damaged file will be.
    pub(super) damaged: &'a str,
}

/// What was salvaged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) whole: u64,
    pub(super) without_row: u64,
    /// Settled before, so that nothing is missing but the copy.
    pub(super) settled_without_body: u64,
    pub(super) rejected: u64,
    pub(super) lost: u64,
    pub(super) open_ticks: u64,
    pub(super) points_rejected: u64,
    pub(super) points_lost: u64,
    /// Whether the ticks of open batches went into a run of their own.
    pub(super) apart: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Built {
    /// The files, closed and durable.
    Files(Vec<PathBuf>, Tally),
    /// There is nothing to go on, and why.
    Nothing(&'static str),
    /// It was told to stop. What was begun is of no use.
    Stopped,
}

/// Writes the new files. `uncertain` where later commits than those that were found are known to be lost.
pub(super) fn build(
    pages: &mut Pages,
    mut finds: Finds,
    target: &Target<'_>,
    uncertain: bool,
    stop: &AtomicBool,
) -> Result<Built, Error> {
    let head = match plan::head(&finds, target.id) {
        Ok(head) => head,
        Err(why) => return Ok(Built::Nothing(why)),
    };
    let channels = head.channels.len();
    plan::sort_out(pages, &mut finds, channels);
    let sessions = plan::sessions(&finds, head.created);
    let Some(first) = sessions.first() else {
        return Ok(Built::Nothing("nothing that it recorded can be read any more"));
    };
    let file = RunFile::create(target.path, &head, first)?;
    let stream = plan::continued(&finds);
    let settled = plan::settled_before(&finds, stream);
    let mut work = Work {
        file,
        head,
        sessions,
        finds,
        stream,
        settled,
        points: vec![0; channels],
        filled: vec![0; channels],
        ends: BTreeMap::new(),
        next: 0,
        tally: Tally::default(),
    };
    work.file.begin()?;
    work.copy_rows()?;
    if work.copy_chunks(pages, stop)?.is_none() {
        return Ok(Built::Stopped);
    }
    work.finish(target, uncertain)
}

struct Work {
    file: RunFile,
    head: Head,
    sessions: Vec<SessionRow>,
    finds: Finds,
    /// The stream that the run goes on with: its number, and the chunk that has index 0 on it.
    stream: Option<(i64, i64)>,
    /// Chunks before this one were settled when it was opened.
    settled: i64,
    /// Of the chunks in the new file.
    points: Vec<u64>,
    filled: Vec<u64>,
    /// When each session's newest chunk ended.
    ends: BTreeMap<i64, i64>,
    next: i64,
    tally: Tally,
}

impl Work {
    /// All but chunks.
    fn copy_rows(&self) -> Result<(), Error> {
        let Self { file, finds, .. } = self;
        for session in self.sessions.iter().skip(1) {
            file.insert_session(session)?;
        }
        for (_, row) in finds.clocks.iter() {
            file.execute(
                "INSERT INTO clock_readings VALUES (?1, ?2, ?3, ?4, ?5)",
                params![row.session, row.at, row.offset_nanos, row.uncertainty_nanos, row.source],
            )?;
        }
        for (_, row) in finds.events.iter() {
            file.insert_event(SessionId(row.session), row.at, &row.kind, &row.text)?;
        }
        let lost = "lost";
        let spoken_of: BTreeSet<i64> = finds.chunks.iter().filter_map(|(_, chunk)| chunk.sent[0]).collect();
        for number in spoken_of.iter().chain(finds.streams.0.keys()).copied().collect::<BTreeSet<_>>() {
            let Some(row) = finds.streams.get(&number) else {
                let why = "what stream it was is lost with the damaged run file";
                self.insert_stream(number, lost, "ended", Some(why), None)?;
                continue;
            };
            match self.stream {
                Some((own, base)) if own == number => {
                    self.insert_stream(number, &row.data_id, "open", None, Some(base))?;
                }
                _ if row.state == "open" => {
                    let why = "what it holds is not known any more, since the run file was damaged";
                    self.insert_stream(number, &row.data_id, "ended", Some(why), row.base)?;
                }
                _ => self.insert_stream(number, &row.data_id, &row.state, row.why.as_deref(), row.base)?,
            }
        }
        Ok(())
    }

    fn insert_stream(
        &self,
        number: i64,
        data_id: &str,
        state: &str,
        why: Option<&str>,
        base: Option<i64>,
    ) -> Result<(), Error> {
        let base = base.filter(|base| *base >= 0);
        self.file.execute("INSERT INTO streams VALUES (?1, ?2, ?3, ?4, ?5)", params![number, data_id, state, why, base])
    }

    fn copy_chunks(&mut self, pages: &mut Pages, stop: &AtomicBool) -> Result<Option<()>, Error> {
        let seqs: BTreeSet<i64> = self.finds.chunks.0.keys().chain(self.finds.bodies.keys()).copied().collect();
        let total = seqs.len();
        for (place, seq) in seqs.into_iter().enumerate() {
            if place % GROUP == GROUP - 1 {
                if stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                self.file.commit()?;
                self.file.begin()?;
                if place % (64 * GROUP) == GROUP - 1 {
                    tracing::info!(chunk = place, of = total, "what is readable of a damaged run file is being copied");
                }
            }
            let row = self.finds.chunks.get(&seq).cloned();
            let places = self.finds.bodies.get(&seq).map_or(&[][..], Vec::as_slice);
            let body = Body::read(pages, places, self.points.len(), row.as_ref());
            self.tally.lost += seq.saturating_sub(self.next).unsigned_abs();
            self.next = seq + 1;
            self.copy_chunk(seq, row, body)?;
        }
        Ok(Some(()))
    }

    fn copy_chunk(&mut self, seq: i64, row: Option<Chunk>, body: Option<Body>) -> Result<(), Error> {
        let found = row.is_some();
        let Some(mut chunk) = row.or_else(|| body.as_ref().map(|body| self.without_row(seq, body))) else {
            self.tally.lost += 1;
            return Ok(());
        };
        let mut refused = BTreeSet::new();
        match &body {
            Some(body) => {
                (chunk.first, chunk.last) = body.span();
                chunk.points = body.points.clone();
                for (target, counts) in self.filled.iter_mut().zip(counted(&body.ticks, self.points.len())) {
                    *target += counts.filled;
                }
                if found {
                    self.tally.whole += 1;
                } else {
                    self.tally.without_row += 1;
                }
            }
            None if matches!(chunk.state, State::Sealed | State::Frozen) => {
                let only: Option<Vec<usize>> = chunk.only.as_deref().and_then(counts::channels_from_text);
                let held = |channel: &usize| only.as_ref().is_none_or(|only| only.contains(channel));
                let points = chunk.points.iter().enumerate().filter(|(_, points)| **points > 0);
                let (own, others): (Vec<usize>, Vec<usize>) = points.map(|(channel, _)| channel).partition(held);
                self.tally.points_rejected += own.iter().filter_map(|channel| chunk.points.get(*channel)).sum::<u64>();
                self.tally.rejected += 1;
                refused.extend(own.iter().filter_map(|channel| i64::try_from(*channel).ok()));
                let was_refused = |channel: &usize| {
                    i64::try_from(*channel).is_ok_and(|channel| self.finds.rejected.get(&(seq, channel)).is_some())
                };
                chunk.state = if others.iter().all(was_refused) { State::Rejected } else { State::Confirmed };
                chunk.only = None;
                if chunk.state == State::Rejected {
                    chunk.sent = [None; 5];
                }
            }
            None => self.tally.settled_without_body += 1,
        }
        self.place(&mut chunk);
        add(&mut self.points, &chunk.points);
        let end = self.ends.entry(chunk.session).or_insert(chunk.last);
        *end = chunk.last.max(*end);
        self.insert_chunk(seq, &chunk)?;
        if let Some(body) = &body {
            self.file.execute("INSERT INTO bodies VALUES (?1, ?2)", params![seq, body.bytes])?;
        }
        for channel in refused {
            self.finds.rejected.0.remove(&(seq, channel));
            self.file.execute("INSERT INTO rejected VALUES (?1, ?2, ?3)", params![seq, channel, NO_BODY])?;
        }
        let words = self.finds.rejected.0.range((seq, i64::MIN)..=(seq, i64::MAX));
        for ((_, channel), (_, words)) in words {
            self.file.execute("INSERT INTO rejected VALUES (?1, ?2, ?3)", params![seq, channel, words])?;
        }
        Ok(())
    }

    /// Of a chunk whose row is lost nothing is known but its ticks: it waits, unless it is older than the newest stream, or
    /// the run was done with.
    fn without_row(&self, seq: i64, body: &Body) -> Chunk {
        let (first, last) = body.span();
        Chunk {
            session: plan::session_of(&self.finds, &self.sessions, seq, first),
            written: last,
            first,
            last,
            points: body.points.clone(),
            state: if seq < self.settled || self.head.state == RunState::Done {
                State::Confirmed
            } else {
                State::Sealed
            },
            sent: [None; 5],
            attempts: 0,
            last_error: None,
            only: None,
        }
    }

    /// What freezing fixed holds for as long as the stream does; what is settled keeps it in any case.
    fn place(&self, chunk: &mut Chunk) {
        let complete = matches!(chunk.sent, [Some(_), Some(0..), Some(_), _, Some(_)]);
        let goes_on = complete && self.stream.is_some_and(|(number, _)| chunk.sent[0] == Some(number));
        match chunk.state {
            State::Frozen if goes_on => {}
            State::Frozen | State::Sealed => {
                // The index that a program gave is all that says where the chunk belongs.
                let index = chunk.sent[1].filter(|index| *index >= 0 && self.head.axis == Axis::Given);
                let lost = index.is_none() && self.head.axis == Axis::Given;
                chunk.state = if lost { State::Rejected } else { State::Sealed };
                chunk.sent = [None, index, None, None, None];
            }
            State::Confirmed | State::Rejected if !complete => chunk.sent = [None; 5],
            State::Confirmed | State::Rejected => {}
        }
    }

    /// Where channels of chunks are that were sent again, and what the platform has said of its streams.
    fn copy_resent(&self) -> Result<(), Error> {
        let channels = self.points.len();
        for (_, row) in self.finds.resent.iter() {
            let known = self.finds.chunks.get(&row.seq).is_some() || self.finds.bodies.contains_key(&row.seq);
            let [stream, index, offset] = row.numbers;
            let Some(of) = counts::channels_from_text(&row.channels) else { continue };
            if known && index >= 0 && of.iter().all(|channel| *channel < channels) {
                self.file.execute(
                    "INSERT INTO resent SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM chunks WHERE seq = ?1)",
                    params![row.seq, row.channels, stream, index, offset, row.floor_utc],
                )?;
            }
        }
        for ((stream, channel), said) in self.finds.said.iter() {
            let known = usize::try_from(*channel).is_ok_and(|channel| channel < channels);
            if known && *said >= 0 && self.finds.streams.get(stream).is_some() {
                self.file.execute("INSERT INTO stream_points VALUES (?1, ?2, ?3)", params![stream, channel, said])?;
            }
        }
        Ok(())
    }

    fn insert_chunk(&self, seq: i64, chunk: &Chunk) -> Result<(), Error> {
        let state = match chunk.state {
            State::Sealed => "sealed",
            State::Frozen => "frozen",
            State::Confirmed => "confirmed",
            State::Rejected => "rejected",
        };
        let [stream, index, offset, floor, last_utc] = chunk.sent;
        self.file.execute(
            "INSERT INTO chunks (seq, session, written, first, last, points, state, stream, chunk_index, offset_nanos, \
             floor_utc, last_utc, attempts, last_error, only) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, \
             ?14, ?15)",
            params![
                seq,
                chunk.session,
                chunk.written,
                chunk.first,
                chunk.last,
                points_to_text(&chunk.points),
                state,
                stream,
                index,
                offset,
                floor,
                last_utc,
                chunk.attempts.max(0),
                chunk.last_error,
                chunk.only,
            ],
        )
    }

    /// Open batches, counts, the note; then the files are closed.
    fn finish(mut self, target: &Target<'_>, uncertain: bool) -> Result<Built, Error> {
        let channels = self.points.len();
        let left = Left::of(&self.finds, &self.ends, channels);
        let mut before: Vec<Counts> =
            (0..channels).map(|channel| plan::folded(&self.finds, channel).unwrap_or_default()).collect();
        let read = (0..channels).all(|channel| plan::folded(&self.finds, channel).is_some());
        // The counts in the file are those of all sealed chunks: if they agree with the chunks that are there, there were no
        // others, and the number after the newest was never used.
        let agree = read && before.iter().zip(&self.points).all(|(was, is)| was.recorded + was.filled == *is);
        add_all(&mut before, &left.news);
        let mut paths = vec![target.path.to_owned()];
        let open: Vec<Tick> = left.ticks.values().flat_map(|ticks| ticks.values().cloned()).collect();
        self.tally.open_ticks = u64::try_from(open.len()).unwrap_or(u64::MAX);
        if !open.is_empty() && self.stream.is_some() && (uncertain || !agree) {
            self.tally.apart = true;
            self.write_apart(target, &left)?;
            paths.push(target.apart.1.to_owned());
            // They are accounted for in their own run.
            for (was, own) in before.iter_mut().zip(counted(&open, channels)) {
                was.recorded = was.recorded.saturating_sub(own.recorded);
                was.filled = was.filled.saturating_sub(own.filled);
            }
        } else {
            let (next, file) = (self.next, &self.file);
            let written = write_open(file, &self.head, &left, next)?;
            add(&mut self.points, &written.points);
            add(&mut self.filled, &written.filled);
        }
        let totals: Vec<Counts> = before
            .into_iter()
            .zip(self.points.iter().zip(&self.filled))
            .map(|(was, (points, filled))| corrected(was, *points, *filled, &mut self.tally.points_lost))
            .collect();
        self.file.fold_open(&totals)?;
        self.copy_resent()?;
        let newest = self.sessions.iter().map(|session| session.number).max().unwrap_or(SessionId(1));
        let at = self.ends.get(&newest.0).copied().map_or(self.head.created, Stamp::from_nanos);
        self.file.insert_event(newest, at, "salvaged", &format!("from {}: {}", target.damaged, self.tally))?;
        self.file.commit()?;
        close(self.file)?;
        Ok(Built::Files(paths, self.tally))
    }

    /// A run of its own for ticks that may be part of a chunk whose number is not known.
    fn write_apart(&self, target: &Target<'_>, left: &Left) -> Result<(), Error> {
        let (id, path) = target.apart;
        let head = Head { id: crate::model::RunId::new(id), state: RunState::Closed, ..self.head.clone() };
        let Some(first) = self.sessions.first() else { return Ok(()) };
        let file = RunFile::create(path, &head, first)?;
        file.begin()?;
        for session in self.sessions.iter().skip(1) {
            file.insert_session(session)?;
        }
        for (_, row) in self.finds.clocks.iter() {
            file.execute(
                "INSERT INTO clock_readings VALUES (?1, ?2, ?3, ?4, ?5)",
                params![row.session, row.at, row.offset_nanos, row.uncertainty_nanos, row.source],
            )?;
        }
        let written = write_open(&file, &head, left, 0)?;
        let totals: Vec<Counts> = written
            .points
            .iter()
            .zip(&written.filled)
            .map(|(points, filled)| corrected(Counts::default(), *points, *filled, &mut 0))
            .collect();
        file.fold_open(&totals)?;
        let text = format!(
            "from {}: ticks that were in no chunk yet, apart from run {} since they may be in a chunk that was lost",
            target.damaged, target.id
        );
        file.insert_event(first.number, head.created, "salvaged", &text)?;
        file.commit()?;
        close(file)
    }
}

#[derive(Default)]
struct Written {
    points: Vec<u64>,
    filled: Vec<u64>,
}

/// Makes chunks of the ticks that no chunk holds.
fn write_open(file: &RunFile, head: &Head, left: &Left, mut next: i64) -> Result<Written, Error> {
    let channels = head.channels.len();
    let mut written = Written { points: vec![0; channels], filled: vec![0; channels] };
    for (session, ticks) in &left.ticks {
        let ticks: Vec<Tick> = ticks.values().cloned().collect();
        let mut lengths = cut(&ticks, head, None);
        lengths.push(ticks.len() - lengths.iter().sum::<usize>());
        let mut rest = ticks.as_slice();
        for length in lengths.into_iter().filter(|length| *length > 0) {
            let (chunk, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = after;
            let points = counts::points_of(chunk, channels);
            let at = chunk.last().map_or(head.created, |tick| tick.at);
            file.insert_chunk(u64::try_from(next).unwrap_or(0), SessionId(*session), at, chunk, &points)?;
            next += 1;
            add(&mut written.points, &points);
            let filled: Vec<u64> = counted(chunk, channels).iter().map(|counts| counts.filled).collect();
            add(&mut written.filled, &filled);
        }
    }
    Ok(written)
}

/// Samples and filled points of each channel.
fn counted(ticks: &[Tick], channels: usize) -> Vec<Counts> {
    let mut counted = vec![Counts::default(); channels];
    counts::count_ticks(&mut counted, ticks, |counts| &mut counts.recorded, |counts| Some(&mut counts.filled));
    counted
}

/// The counts of a channel of which so many points are in the new file, so many of them known to be filled ones: what is
/// missing was read, and is not recorded any more.
fn corrected(was: Counts, points: u64, filled: u64, lost: &mut u64) -> Counts {
    let filled = filled.max(was.filled.min(points.saturating_sub(was.recorded))).min(points);
    let recorded = points - filled;
    let missing = was.recorded.saturating_sub(recorded);
    *lost += (was.recorded + was.filled).saturating_sub(points);
    let mut counts = Counts { recorded, filled, unrecorded: was.unrecorded + missing, ..was };
    counts.read = counts.settled();
    counts
}

fn add(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.saturating_add(*more);
    }
}

/// Closes a file, so that all of it is in itself and on the disk.
fn close(file: RunFile) -> Result<(), Error> {
    file.make_tidy()?;
    let RunFile { path, connection, .. } = file;
    connection.close().map_err(|(_, source)| Error::write(&path)(source))?;
    match std::fs::metadata(schema::beside(&path, "-wal")) {
        Ok(log) if log.len() > 0 => Err(Error::damaged(&path, "its log did not go into it")),
        _ => Ok(()),
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} chunks are whole", self.whole + self.without_row)?;
        let parts = [
            (self.without_row, "of them wait to be sent (again) since nothing is known of them but their ticks"),
            (self.settled_without_body, "were settled with the platform and are not in the file any more"),
            (self.rejected, "were not sent and can't be read any more"),
            (self.lost, "are lost"),
            (self.open_ticks, "ticks that were in no chunk are kept"),
            (self.points_rejected, "points count as rejected"),
            (self.points_lost, "points count as unrecorded"),
        ];
        for (number, what) in parts {
            if number > 0 {
                write!(f, "; {number} {what}")?;
            }
        }
        if self.apart {
            write!(f, " in a run of their own")?;
        }
        Ok(())
    }
}
