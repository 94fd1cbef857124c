//! What is in the pages of a damaged run file: rows, told apart by their columns, and where the bodies of chunks are.
//!
//! Tables are not followed from their roots, since any page on the way may be the damaged one: every leaf is looked into. So
//! rows of pages that were freed long ago are found too; of two rows with one key the one from the log is kept, then the one
//! that has come further. Bodies can be larger than memory together: only their places are kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{Axis, rows};
use super::pages::{Cell, Leaf, Pages, cell, cells, leaf};
use super::record::Value::{self, Blob, Int, Null, Text};
use super::record::{is_body, values};
use crate::model::Stamp;

/// Candidates for one body. Rows of bodies are never written twice, so a second is in a freed page.
const CANDIDATES: usize = 4;

/// Pages between two lines of the log, and between looks whether to stop.
const STEP: u32 = 256;
const PROGRESS: u32 = 64 << 10;

/// Where a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    page: u32,
    cell: usize,
}

/// The row of `run`.
#[derive(Debug, Clone)]
pub(super) struct RunRow {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) created: Stamp,
    pub(super) name: String,
    pub(super) synth_source_id: Option<i64>,
    pub(super) physical_sample: Option<String>,
    pub(super) project_id: Option<String>,
    pub(super) tags: String,
    pub(super) points_per_chunk: i64,
    pub(super) axis: Axis,
    pub(super) period: Option<i64>,
    /// Not known in format 1.
    pub(super) tidy: Option<bool>,
}

/// A row of `channels`.
#[derive(Debug, Clone)]
pub(super) struct ChannelRow {
    pub(super) name: String,
    pub(super) unit: Option<String>,
    pub(super) instrument: String,
    pub(super) source: String,
    pub(super) kind: String,
}

/// A row of `sessions`.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) anchor: Stamp,
    pub(super) boot_id: Option<String>,
    pub(super) uptime_nanos: Option<i64>,
    pub(super) program: String,
    pub(super) config: String,
    pub(super) started: Stamp,
    pub(super) ended: Option<Stamp>,
}

/// A row of `clock_readings`.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    pub(super) session: i64,
    pub(super) at: i64,
    pub(super) offset_nanos: i64,
    pub(super) uncertainty_nanos: i64,
    pub(super) source: String,
}

/// A row of `events`.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) session: i64,
    pub(super) at: Stamp,
    pub(super) kind: String,
    pub(super) text: String,
}

/// A row of `streams`.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) data_id: String,
    pub(super) state: String,
    pub(super) why: Option<String>,
    pub(super) base: Option<i64>,
}

/// A row of `counts`: read, recorded, filled, decimated, late, unrecorded; bad ones by reason.
#[derive(Debug, Clone)]
pub(super) struct CountRow {
    pub(super) numbers: [i64; 6],
    pub(super) bad: String,
}

/// A row of `open_batches`.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) session: i64,
    pub(super) written: i64,
    pub(super) counts: String,
    pub(super) ticks: Vec<u8>,
}

/// A row of `chunks`.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) session: i64,
    pub(super) written: i64,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) points: Vec<u64>,
    pub(super) state: State,
    /// Stream, index, offset, floor, last stamp.
    pub(super) sent: [Option<i64>; 5],
    pub(super) attempts: i64,
    pub(super) last_error: Option<String>,
    pub(super) only: Option<String>,
}

/// How far a chunk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Sealed,
    Frozen,
    Rejected,
    Confirmed,
}

/// Where some channels of a chunk are that was sent again on another stream: the row of `resent` but for its first column.
#[derive(Debug, Clone)]
pub(super) struct Resent {
    pub(super) seq: i64,
    pub(super) channels: String,
    pub(super) numbers: [i64; 3],
    pub(super) floor_utc: Option<i64>,
}

/// Rows by key, with what makes one better than another of the same key.
#[derive(Debug, Clone)]
pub(super) struct Rows<K, T>(pub(super) BTreeMap<K, ((bool, u8), T)>);

impl<K, T> Default for Rows<K, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, T> Rows<K, T> {
    fn take(&mut self, key: K, logged: bool, advanced: u8, row: T) {
        let better = self.0.get(&key).is_none_or(|(rank, _)| *rank < (logged, advanced));
        if better {
            self.0.insert(key, ((logged, advanced), row));
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&T> {
        self.0.get(key).map(|(_, row)| row)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &T)> {
        self.0.iter().map(|(key, (_, row))| (key, row))
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Finds {
    pub(super) run: Rows<(), RunRow>,
    pub(super) channels: Rows<i64, ChannelRow>,
    pub(super) sessions: Rows<i64, Session>,
    pub(super) clocks: Rows<i64, Clock>,
    pub(super) events: Rows<i64, Event>,
    pub(super) streams: Rows<i64, Stream>,
    pub(super) counts: Rows<i64, CountRow>,
    /// By session, time of the commit and number: numbers are used again once a chunk was made of the batches.
    pub(super) open: Rows<(i64, i64, i64), Open>,
    pub(super) chunks: Rows<i64, Chunk>,
    pub(super) rejected: Rows<(i64, i64), String>,
    pub(super) resent: Rows<i64, Resent>,
    pub(super) said: Rows<(i64, i64), i64>,
    pub(super) bodies: BTreeMap<i64, Vec<Place>>,
}

/// Looks into every page. None if it was told to stop.
pub(super) fn find(pages: &mut Pages, stop: &AtomicBool) -> Option<Finds> {
    let mut finds = Finds::default();
    let last = pages.last();
    for number in 1..=last {
        if number.is_multiple_of(STEP) && stop.load(Ordering::Relaxed) {
            return None;
        }
        if number.is_multiple_of(PROGRESS) {
            tracing::info!(page = number, of = last, chunks = finds.bodies.len(), "a damaged run file is being read");
        }
        finds.look_into(pages, number);
    }
    Some(finds)
}

/// The bytes of a body, if its page still has them.
pub(super) fn body(pages: &mut Pages, place: Place) -> Option<Vec<u8>> {
    let page = pages.page(place.page)?;
    let cell = cell(&page.bytes, leaf(&page.bytes)?, place.cell)?;
    let content = pages.content(&cell)?;
    match values(&content)?.as_slice() {
        [Null, Blob(bytes)] => Some(bytes.to_vec()),
        _ => None,
    }
}

impl Finds {
    fn look_into(&mut self, pages: &mut Pages, number: u32) {
        let Some(page) = pages.page(number) else { return };
        let Some(kind) = leaf(&page.bytes) else { return };
        for place in 0..cells(&page.bytes) {
            let Some(cell) = cell(&page.bytes, kind, place) else { continue };
            if kind == Leaf::Table && is_body(&cell.local) {
                let places = self.bodies.entry(cell.rowid).or_default();
                if cell.rowid >= 0 && places.len() < CANDIDATES {
                    let place = Place { page: number, cell: place };
                    // What is in the log is newer than what a freed page of the file holds.
                    places.insert(if page.logged { 0 } else { places.len() }, place);
                }
                continue;
            }
            let Some(content) = pages.content(&cell) else { continue };
            if let Some(values) = values(&content) {
                // Rows that make no sense are no rows of ours.
                let _known = match kind {
                    Leaf::Table => self.row(&cell, page.logged, &values),
                    Leaf::Index => self.entry(page.logged, &values),
                };
            }
        }
    }

    fn entry(&mut self, logged: bool, values: &[Value<'_>]) -> Option<()> {
        match values {
            [Int(seq), Int(channel), Text(words)] => {
                self.rejected.take((*seq, *channel), logged, 0, (*words).to_owned());
            }
            [Int(stream), Int(channel), Int(said)] => self.said.take((*stream, *channel), logged, 0, *said),
            _ => return None,
        }
        Some(())
    }

    fn row(&mut self, cell: &Cell, logged: bool, values: &[Value<'_>]) -> Option<()> {
        let key = cell.rowid;
        match values {
            [Int(session), Int(at), Int(offset), Int(uncertainty), Text(source @ ("platform" | "host"))] => {
                let (session, at, source) = (*session, *at, (*source).to_owned());
                let row = Clock { session, at, offset_nanos: *offset, uncertainty_nanos: *uncertainty, source };
                self.clocks.take(key, logged, 0, row);
            }
            [Int(session), Int(at), Text(kind), Text(text)] => {
                let (kind, text) = ((*kind).to_owned(), (*text).to_owned());
                self.events.take(key, logged, 0, Event { session: *session, at: Stamp::from_nanos(*at), kind, text });
            }
            [Int(seq), Text(channels), Int(stream), Int(index), Int(offset), floor] => {
                let numbers = [*stream, *index, *offset];
                let row = Resent { seq: *seq, channels: (*channels).to_owned(), numbers, floor_utc: floor.int()? };
                self.resent.take(key, logged, 0, row);
            }
            [Null, Int(session), Int(written), Text(counts), Blob(ticks)] => {
                let (counts, ticks) = ((*counts).to_owned(), ticks.to_vec());
                let row = Open { session: *session, written: *written, counts, ticks };
                self.open.take((*session, *written, key), logged, 0, row);
            }
            [Null, Text(data_id), Text(state), why, rest @ ..] if rest.len() <= 1 => {
                let advanced = ["open", "ended", "finalized"].iter().position(|known| known == state)?;
                let base = rest.first().map_or(Some(None), |base| base.int())?;
                let why = why.text()?.map(str::to_owned);
                let row = Stream { data_id: (*data_id).to_owned(), state: (*state).to_owned(), why, base };
                self.streams.take(key, logged, u8::from(advanced > 0), row);
            }
            [Null, Text(name), unit, Text(instrument), Text(source), Text(kind)] => {
                let row = ChannelRow {
                    name: (*name).to_owned(),
                    unit: unit.text()?.map(str::to_owned),
                    instrument: (*instrument).to_owned(),
                    source: (*source).to_owned(),
                    kind: (*kind).to_owned(),
                };
                self.channels.take(key, logged, 0, row);
            }
            [Null, Int(read), Int(recorded), Int(filled), Int(decimated), Int(late), Int(lost), Text(bad)] => {
                let numbers = [*read, *recorded, *filled, *decimated, *late, *lost];
                self.counts.take(key, logged, 0, CountRow { numbers, bad: (*bad).to_owned() });
            }
            [Null, Int(anchor), boot, uptime, Text(program), Text(config), Int(started), ended] => {
                let row = Session {
                    anchor: Stamp::from_nanos(*anchor),
                    boot_id: boot.text()?.map(str::to_owned),
                    uptime_nanos: uptime.int()?,
                    program: (*program).to_owned(),
                    config: (*config).to_owned(),
                    started: Stamp::from_nanos(*started),
                    ended: ended.int()?.map(Stamp::from_nanos),
                };
                self.sessions.take(key, logged, u8::from(row.ended.is_some()), row);
            }
            [Text(id), Text(state), Int(created), Text(name), rest @ ..] => {
                let row = run(id, state, *created, name, rest)?;
                let advanced = ["recording", "closed", "done"].iter().position(|known| known == state)?;
                self.run.take((), logged, u8::try_from(advanced).ok()?, row);
            }
            [Null, Int(session), Int(written), Int(first), Int(last), Text(points), Text(state), rest @ ..] => {
                let state = match *state {
                    "sealed" => State::Sealed,
                    "frozen" => State::Frozen,
                    "rejected" => State::Rejected,
                    "confirmed" => State::Confirmed,
                    _ => return None,
                };
                let [stream, index, offset, floor, last_utc, Int(attempts), last_error, only @ ..] = rest else {
                    return None;
                };
                let only = match only {
                    [] => None,
                    [only] => only.text()?.map(str::to_owned),
                    _ => return None,
                };
                let row = Chunk {
                    session: *session,
                    written: *written,
                    first: *first,
                    last: *last,
                    points: super::super::counts::points_from_text(points)?,
                    state,
                    sent: [stream.int()?, index.int()?, offset.int()?, floor.int()?, last_utc.int()?],
                    attempts: *attempts,
                    last_error: last_error.text()?.map(str::to_owned),
                    only,
                };
                self.chunks.take(key, logged, state as u8, row);
            }
            _ => return None,
        }
        Some(())
    }
}

fn run(id: &str, state: &str, created: i64, name: &str, rest: &[Value<'_>]) -> Option<RunRow> {
    let [synth, sample, project, Text(tags), Int(points_per_chunk), Text(axis), period, tidy @ ..] = rest else {
        return None;
    };
    let tidy = match tidy {
        [] => None,
        [Int(tidy)] => Some(*tidy == 1),
        _ => return None,
    };
    Some(RunRow {
        id: id.to_owned(),
        state: state.to_owned(),
        created: Stamp::from_nanos(created),
        name: name.to_owned(),
        synth_source_id: synth.int()?,
        physical_sample: sample.text()?.map(str::to_owned),
        project_id: project.text()?.map(str::to_owned),
        tags: (*tags).to_owned(),
        points_per_chunk: *points_per_chunk,
        axis: rows::axis_from(axis)?,
        period: period.int()?,
        tidy,
    })
}
