//! Runs whose chunks a program gives: indexes and stamps as it gave them, channels as they come.
//!
//! A chunk is durable before it can be sent, as ever. Where the session's offset is known it is frozen with the same
//! transaction that brings it to the disk, so that it costs one commit and not two.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::error::BadChunk;
use super::file::GivenRow;
use super::offset::{self, Before, Placing};
use super::rows::{ChunkRow, ChunkState, FrozenRow};
use super::run::{Held, Run, Waiting};
use super::{Axis, Error, Points, body};
use crate::model::{
    Channel, ChannelName, Chunk, ChunkChannel, Counts, Frozen, Kind, RunId, RunState, SessionId, Stamp, StreamRecord,
    StreamSpec, StreamState, TimeBase,
};

/// Chunks that are kept in memory until they are taken, so that they need not be read again: this many bytes of each run.
/// A queue that is longer waits on the disk.
const AT_HAND: usize = 4 << 20;

/// What a run is begun with that a program gives chunks to.
#[derive(Debug, Clone)]
pub struct GivenStart {
    /// What the stream was created with, and continuations will be.
    pub spec: StreamSpec,
    /// The platform's id of the stream.
    pub data_id: String,
    /// The session's clock.
    pub time: TimeBase,
    /// Where the chunks come from, for the record. It holds no secrets.
    pub config_text: String,
}

/// A run that a program goes on with.
#[derive(Debug, Clone, PartialEq)]
pub struct Reopened {
    /// The run.
    pub run: RunId,
    /// What its stream was created with.
    pub spec: StreamSpec,
    /// One more than the largest index that was given; zero if there is none.
    pub next_index: u64,
    /// Its channels.
    pub channels: Vec<GivenSoFar>,
}

/// What was given of a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenSoFar {
    /// Its name.
    pub name: ChannelName,
    /// Its unit.
    pub unit: Option<Arc<str>>,
    /// One more than the largest index that was given for it.
    pub next_index: u64,
    /// Points, those that were replaced included.
    pub points: u64,
    /// The latest stamp that was given, in session time.
    pub last: Option<Stamp>,
}

/// A chunk that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Its place in the run, from 0.
    pub seq: u64,
    /// Chunks of the run that wait for the platform, this one included.
    pub queued_chunks: u64,
    /// Points of the run that wait for the platform.
    pub queued_points: u64,
}

/// The slice of the stream that a given chunk is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    index: u64,
    /// Places of its channels, rising.
    channels: Arc<[usize]>,
    /// Its points by channel, while they need not be read from its row.
    points: Option<Arc<[u64]>>,
    /// A chunk before it may be for the same slice.
    again: bool,
}

impl Slice {
    fn overlaps(&self, other: &Self) -> bool {
        self.index == other.index && self.channels.iter().any(|channel| other.channels.binary_search(channel).is_ok())
    }
}

/// What only a run has that a program gives chunks to.
#[derive(Debug, Default)]
pub(super) struct Given {
    places: HashMap<ChannelName, usize>,
    /// One more than the largest index, by channel; zero before the first.
    next_index: Vec<u64>,
    /// The latest stamp, by channel.
    last: Vec<Option<Stamp>>,
    /// The channels of the chunk that came last: the next one has the same as a rule.
    channels: Arc<[usize]>,
    /// Its points by channel.
    points: Arc<[u64]>,
    /// A slice was given twice, or slices not in order: how many points the platform holds no longer follows from what was
    /// sent.
    pub(super) replaced: bool,
    /// The newest chunk that was frozen.
    before: Option<Before>,
    at_hand: VecDeque<AtHand>,
    bytes_at_hand: usize,
}

#[derive(Debug)]
struct AtHand {
    seq: u64,
    chunk: Arc<Chunk>,
    placing: Placing,
    bytes: usize,
}

impl Given {
    /// Notes that channels were given for a slice. Says whether one of them may have been given for it before.
    fn note(&mut self, index: u64, channels: &[usize]) -> bool {
        let mut again = false;
        for channel in channels {
            if self.next_index.len() <= *channel {
                self.next_index.resize(channel + 1, 0);
                self.last.resize(channel + 1, None);
            }
            if let Some(next) = self.next_index.get_mut(*channel) {
                again |= index < *next;
                *next = (*next).max(index.saturating_add(1));
            }
        }
        self.replaced |= again;
        again
    }

    fn same(&mut self, channels: &[usize]) -> Arc<[usize]> {
        if *self.channels != *channels {
            self.channels = channels.into();
        }
        Arc::clone(&self.channels)
    }
}

impl Run {
    /// Takes what a row of `chunks` says of what was given.
    pub(super) fn load_given(&mut self, row: &ChunkRow) {
        if self.head.axis != Axis::Given {
            return;
        }
        let slice = self.slice_of(row);
        if let Some(waiting) = self.waiting.get_mut(&row.seq) {
            waiting.slice = slice;
        }
        if let Some(frozen) = row.frozen {
            self.given.before = Some(before(row.session, row.first, &frozen));
        }
    }

    /// The slice of a chunk, if it was given.
    pub(super) fn slice_of(&mut self, row: &ChunkRow) -> Option<Slice> {
        let index = row.given.filter(|_| self.head.axis == Axis::Given)?;
        let channels = row.points.iter().enumerate().filter(|(channel, points)| **points > 0 && row.holds(*channel));
        let channels: Vec<usize> = channels.map(|(channel, _)| channel).collect();
        let again = self.given.note(index, &channels);
        for channel in &channels {
            if let Some(last) = self.given.last.get_mut(*channel) {
                *last = (*last).max(Some(row.last));
            }
        }
        Some(Slice { index, channels: self.given.same(&channels), points: None, again })
    }

    /// Takes a chunk from a program, within the transaction that is open. An error that says so has written nothing.
    pub(super) fn give(
        &mut self,
        session: SessionId,
        written: Stamp,
        chunk: &Arc<Chunk>,
        freeze: bool,
    ) -> Result<Taken, Error> {
        let placed = self.check_given(chunk)?;
        let mut channels: Vec<(usize, &ChunkChannel)> = Vec::with_capacity(placed.len());
        for (place, channel) in placed.into_iter().zip(&chunk.channels) {
            let place = match place {
                Some(place) => place,
                None => self.add_channel(channel)?,
            };
            channels.push((place, channel));
        }
        channels.sort_unstable_by_key(|(place, _)| *place);
        let mut points = vec![0; self.head.channels.len()];
        for (place, channel) in &channels {
            if let Some(count) = points.get_mut(*place) {
                *count = channel.values.len() as u64;
            }
        }
        let (first, last) = ends(&channels);
        let body = body::encode_given(&channels);
        let row = GivenRow {
            seq: self.next_seq,
            session,
            written,
            first,
            last,
            points: &points,
            index: chunk.index,
            body: &body,
        };
        let stream = self.stream.as_ref().filter(|stream| freeze && stream.state == StreamState::Open);
        let frozen = stream.map(|stream| stream.number).map(|stream| {
            let wanted = offset::of_session(session, &self.sessions, &[]);
            self.place_given(session, (first, last), chunk.index, stream, wanted)
        });
        self.file.insert_given(&row, frozen.as_ref())?;
        self.note_given(chunk, &channels, &row, frozen);
        let queued_points = self.points.iter().map(|points| points.queued).sum();
        Ok(Taken { seq: self.next_seq - 1, queued_chunks: self.waiting.len() as u64, queued_points })
    }

    fn note_given(
        &mut self,
        chunk: &Arc<Chunk>,
        channels: &[(usize, &ChunkChannel)],
        row: &GivenRow<'_>,
        frozen: Option<FrozenRow>,
    ) {
        let places: Vec<usize> = channels.iter().map(|(place, _)| *place).collect();
        let again = self.given.note(chunk.index, &places);
        if *self.given.points != *row.points {
            self.given.points = row.points.into();
        }
        let points = Some(Arc::clone(&self.given.points));
        let slice = Slice { index: chunk.index, channels: self.given.same(&places), points, again };
        for (place, channel) in channels {
            let given = channel.values.len() as u64;
            if let Some(counts) = self.counts.get_mut(*place) {
                counts.read += given;
                counts.recorded += given;
            }
            if let Some(points) = self.points.get_mut(*place) {
                points.queued += given;
            }
            if let Some(held) = self.held.get_mut(*place).filter(|_| frozen.is_some()) {
                held.sent += given;
            }
            if let Some(last) = self.given.last.get_mut(*place) {
                *last = (*last).max(Some(row.last));
            }
        }
        self.waiting.insert(row.seq, Waiting { frozen: frozen.is_some(), written: row.written, slice: Some(slice) });
        self.next_seq += 1;
        self.written = (row.session, row.written);
        if let Some(frozen) = frozen {
            self.given.before = Some(before(row.session, row.first, &frozen));
            let bytes = row.body.len();
            if self.given.bytes_at_hand + bytes <= AT_HAND {
                self.given.bytes_at_hand += bytes;
                let (chunk, placing) = (Arc::clone(chunk), frozen.placing);
                self.given.at_hand.push_back(AtHand { seq: row.seq, chunk, placing, bytes });
            }
        }
    }

    /// The places of a chunk's channels, none for those that are new; nothing is changed.
    fn check_given(&mut self, chunk: &Chunk) -> Result<Vec<Option<usize>>, BadChunk> {
        if self.head.axis != Axis::Given || self.head.state != RunState::Recording {
            return Err(BadChunk::Closed(self.head.id.clone()));
        }
        if self.given.places.len() != self.head.channels.len() {
            let names = self.head.channels.iter().enumerate().map(|(place, channel)| (channel.name.clone(), place));
            self.given.places = names.collect();
        }
        check(chunk, self.head.spec.points_per_chunk)?;
        let mut places = Vec::with_capacity(chunk.channels.len());
        let mut new = 0;
        for channel in &chunk.channels {
            let place = self.given.places.get(&channel.name).copied();
            let known = place.and_then(|place| self.head.channels.get(place));
            if let (Some(known), Some(unit)) = (known, &channel.unit)
                && known.unit.as_ref() != Some(unit)
            {
                return Err(BadChunk::Unit {
                    channel: channel.name.clone(),
                    before: known.unit.as_deref().unwrap_or_default().to_owned(),
                    now: unit.to_string(),
                });
            }
            new += usize::from(place.is_none());
            places.push(place);
        }
        if self.head.channels.len() + new > usize::from(u16::MAX) {
            return Err(BadChunk::Channels);
        }
        Ok(places)
    }

    fn add_channel(&mut self, given: &ChunkChannel) -> Result<usize, Error> {
        let place = self.head.channels.len();
        let channel = Channel {
            name: given.name.clone(),
            unit: given.unit.clone(),
            instrument: "".into(),
            source: "".into(),
            kind: Kind::Gauge,
        };
        self.file.insert_channel(i64::try_from(place).unwrap_or(i64::MAX), &channel)?;
        self.head.channels = self.head.channels.iter().cloned().chain([channel]).collect();
        self.given.places.insert(given.name.clone(), place);
        self.counts.push(Counts::default());
        self.points.push(Points::default());
        self.held.push(Held::default());
        Ok(place)
    }

    /// Fixes the stamps of a chunk that a program gave; its index is fixed already.
    fn place_given(
        &self,
        session: SessionId,
        (first, last): (Stamp, Stamp),
        index: u64,
        stream: i64,
        wanted: i64,
    ) -> FrozenRow {
        let before = self.given.before.filter(|before| before.session == session);
        let offset_nanos = offset::place(session, first, wanted, before).offset_nanos;
        FrozenRow {
            stream,
            index,
            placing: Placing { offset_nanos, floor: None },
            last_utc: last.shifted(offset_nanos),
        }
    }

    /// Freezes a chunk that is on the disk.
    pub(super) fn freeze_given(&mut self, row: &ChunkRow, stream: i64, wanted: i64) -> Result<FrozenRow, Error> {
        let index = row
            .given
            .ok_or_else(|| Error::damaged(&self.file.path, format!("chunk {} has lost its index", row.seq)))?;
        let frozen = self.place_given(row.session, (row.first, row.last), index, stream, wanted);
        self.note_frozen(row, &frozen)?;
        self.given.before = Some(before(row.session, row.first, &frozen));
        Ok(frozen)
    }

    /// The row of a chunk as far as settling it needs it, where nothing has to be read for that.
    pub(super) fn row_at_hand(&self, seq: u64) -> Option<ChunkRow> {
        let waiting = self.waiting.get(&seq).filter(|waiting| waiting.frozen)?;
        let (slice, stream) = (waiting.slice.as_ref()?, self.stream.as_ref()?);
        let (session, written) = self.written;
        let placing = Placing { offset_nanos: 0, floor: None };
        Some(ChunkRow {
            seq,
            session,
            written,
            first: written,
            last: written,
            points: slice.points.as_ref()?.to_vec(),
            state: ChunkState::Frozen,
            given: Some(slice.index),
            frozen: Some(FrozenRow { stream: stream.number, index: slice.index, placing, last_utc: written }),
            attempts: 0,
            last_error: None,
            only: None,
        })
    }

    /// Whether a chunk for the same slice is before it in the queue: the newer one has to arrive last.
    pub(super) fn waits_for_its_slice(&self, seq: u64) -> bool {
        let Some(slice) = self.waiting.get(&seq).and_then(|waiting| waiting.slice.as_ref()) else { return false };
        slice.again
            && self.waiting.range(..seq).any(|(_, earlier)| earlier.slice.as_ref().is_some_and(|of| of.overlaps(slice)))
    }

    /// A frozen chunk that need not be read from the disk.
    pub(super) fn at_hand(&mut self, seq: u64, stream: &StreamRecord) -> Option<Frozen> {
        let place = self.given.at_hand.binary_search_by_key(&seq, |at_hand| at_hand.seq).ok()?;
        let AtHand { chunk, placing, bytes, .. } = self.given.at_hand.remove(place)?;
        self.given.bytes_at_hand = self.given.bytes_at_hand.saturating_sub(bytes);
        let mut chunk = Arc::unwrap_or_clone(chunk);
        let mut shared: Option<[Arc<[Stamp]>; 2]> = None;
        for channel in &mut chunk.channels {
            let shifted = match &shared {
                Some([own, shifted]) if Arc::ptr_eq(own, &channel.stamps) => Arc::clone(shifted),
                _ => self.head.stamps(placing, &channel.stamps),
            };
            let own = std::mem::replace(&mut channel.stamps, Arc::clone(&shifted));
            shared = Some([own, shifted]);
        }
        // Its unit may have been told with an earlier chunk.
        for channel in chunk.channels.iter_mut().filter(|channel| channel.unit.is_none()) {
            let place = self.given.places.get(&channel.name);
            channel.unit = place.and_then(|place| self.head.channels.get(*place)).and_then(|known| known.unit.clone());
        }
        Some(Frozen { seq, data_id: stream.data_id.clone(), chunk, attempts: 0, again: false })
    }

    /// What was frozen for a stream that has ended is read from the disk when it is frozen again.
    pub(super) fn forget_at_hand(&mut self) {
        self.given.at_hand.clear();
        self.given.bytes_at_hand = 0;
    }

    pub(super) fn reopened(&self) -> Reopened {
        let channels = self.head.channels.iter().zip(&self.points).enumerate();
        let channels = channels.map(|(place, (channel, points))| GivenSoFar {
            name: channel.name.clone(),
            unit: channel.unit.clone(),
            next_index: self.given.next_index.get(place).copied().unwrap_or(0),
            points: points.total(),
            last: self.given.last.get(place).copied().flatten(),
        });
        Reopened {
            run: self.head.id.clone(),
            spec: self.head.spec.clone(),
            next_index: self.given.next_index.iter().copied().max().unwrap_or(0),
            channels: channels.collect(),
        }
    }
}

fn before(session: SessionId, first: Stamp, frozen: &FrozenRow) -> Before {
    Before { session, first, offset_nanos: frozen.placing.offset_nanos, last_utc: frozen.last_utc }
}

/// The earliest and the latest stamp. Channels have points: that was looked at.
fn ends(channels: &[(usize, &ChunkChannel)]) -> (Stamp, Stamp) {
    let mut ends: Option<(Stamp, Stamp)> = None;
    let mut seen: Option<&Arc<[Stamp]>> = None;
    for (_, channel) in channels {
        if seen.is_some_and(|seen| Arc::ptr_eq(seen, &channel.stamps)) {
            continue;
        }
        seen = Some(&channel.stamps);
        for stamp in channel.stamps.iter() {
            let (first, last) = ends.get_or_insert((*stamp, *stamp));
            *first = (*first).min(*stamp);
            *last = (*last).max(*stamp);
        }
    }
    ends.unwrap_or_default()
}

/// Whether a chunk can be taken, as far as that can be said without knowing the run.
fn check(chunk: &Chunk, most: usize) -> Result<(), BadChunk> {
    if chunk.channels.is_empty() {
        return Err(BadChunk::Empty);
    }
    let mut names: Vec<&ChannelName> = chunk.channels.iter().map(|channel| &channel.name).collect();
    names.sort_unstable();
    if let Some([twice, _]) = names.array_windows::<2>().find(|[a, b]| a == b) {
        return Err(BadChunk::Twice((*twice).clone()));
    }
    for ChunkChannel { name, stamps, values, .. } in &chunk.channels {
        if stamps.len() != values.len() {
            return Err(BadChunk::Lengths { channel: name.clone(), stamps: stamps.len(), values: values.len() });
        }
        if values.is_empty() {
            return Err(BadChunk::Empty);
        }
        if values.len() > most {
            return Err(BadChunk::TooLong { channel: name.clone(), points: values.len(), most });
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(BadChunk::NotFinite(name.clone()));
        }
    }
    Ok(())
}
