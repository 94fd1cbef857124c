//! The oracle: holds what the platform has against what the instruments said and what the run file accounts for.
//!
//! It knows the bridge only by its run file, the instruments by the simulators' record of the bytes that went out, and
//! the platform by its store. None of the three knows the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use mbe_bridge::model::{Counts, Mark, RunState, SessionId, Stamp, StreamState as Recorded, TimeBase};
use mbe_bridge::runs::read::{ChunkState, RunFile, Session, StoredChunk};
use mbe_bridge::server::{Server, StreamState};
use mbe_bridge::sim::Said;

/// Between the simulator's clock readings and the bridge's lie some turns of the scheduler. Single stamps may be off by more
/// on a busy machine, as far as their exchange allows; the middle one of a run is not. Readings come 100 ms apart.
const SLACK: Duration = Duration::from_millis(10);

/// What a delivered run is held against.
pub(super) struct Oracle<'a> {
    server: &'a Server,
    /// By line.
    said: Vec<Vec<Said>>,
    period: Duration,
    ahead_nanos: i64,
    /// What the program's host lacks to the host of the simulators.
    behind_nanos: i64,
}

/// A run that is on the platform in full, as far as it has passed.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) counts: BTreeMap<String, Counts>,
    /// Points on the platform.
    pub(super) points: BTreeMap<String, Vec<Point>>,
    pub(super) chunks: Vec<StoredChunk>,
    pub(super) sessions: Vec<Session>,
    /// The streams on the platform, by `data_id`.
    pub(super) streams: Vec<String>,
    /// Values that the instruments gave, intact.
    pub(super) said: BTreeMap<String, usize>,
}

/// A point as it is on the platform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) at: Stamp,
    pub(super) value: f64,
    pub(super) mark: Mark,
}

/// A value as its instrument gave it, in the platform's time.
#[derive(Debug, Clone, Copy)]
struct Given {
    value: f64,
    /// The middle between request and answer as the simulator saw them.
    middle: Stamp,
    /// The earliest and latest middle that the bridge can have seen, however long either of the two was kept waiting by
    /// the machine: it asks after the answer before, and before the simulator hears it; it has the answer after it is
    /// sent, and before the next question is heard.
    earliest: Stamp,
    latest: Stamp,
}

/// One point on the wire: stream, channel, chunk index, stamp and value to the bit.
type Wire = (String, String, i64, u64, u64);

impl<'a> Oracle<'a> {
    /// Ticks every 100 ms, and a platform with the clock of the host. `said` is by line.
    pub(super) fn new(server: &'a Server, said: Vec<Vec<Said>>) -> Self {
        Self { server, said, period: Duration::from_millis(100), ahead_nanos: 0, behind_nanos: 0 }
    }

    /// Ticks this far apart; zero for none.
    pub(super) fn every(self, period: Duration) -> Self {
        Self { period, ..self }
    }

    /// Stamps are expected this far ahead of the host's clock.
    pub(super) fn ahead(self, ahead_nanos: i64) -> Self {
        Self { ahead_nanos, ..self }
    }

    /// The program's clock was this far behind when its session began; its stamps are right all the same.
    pub(super) fn host_behind(self, behind_nanos: i64) -> Self {
        Self { behind_nanos, ..self }
    }

    /// Checks a run that has ended and is delivered.
    pub(super) fn check(&self, run: &Path) -> Account {
        let file = RunFile::open(run).unwrap();
        let info = file.info();
        assert_eq!(info.state, RunState::Done);
        assert_eq!(file.refusals().unwrap(), []);
        assert_eq!(file.open_ticks().unwrap(), []);
        let chunks = all_chunks(&file);
        let names: Vec<String> = info.channels.iter().map(|channel| channel.name.to_string()).collect();
        let counts = file.counts().unwrap();
        for (place, (name, counts)) in names.iter().zip(&counts).enumerate() {
            assert_eq!(counts.read, counts.settled(), "{name}: a reading is not accounted for: {counts:?}");
            let points: u64 = chunks.iter().map(|chunk| chunk.points[place]).sum();
            assert_eq!(counts.recorded + counts.filled, points, "{name}: {counts:?}");
            assert_eq!(counts.unrecorded, 0, "{name}: {counts:?}");
        }
        let streams = self.same_on_platform(&file, &chunks);
        self.offsets_are_right(&file, &chunks);
        let points = points(&names, &chunks);
        let channels = info.channels.iter().map(|c| (c.name.to_string(), (c.instrument.clone(), c.source.clone())));
        let bound = self.clock_uncertainty(&file);
        let mut said = BTreeMap::new();
        for (name, (instrument, source)) in channels {
            let given = self.given(&instrument, &source);
            let samples = points[&name].iter().filter(|point| point.mark != Mark::Filled);
            let mut beyond: Vec<_> = samples.map(|point| self.explained(&name, *point, &given, bound)).collect();
            beyond.sort();
            let middle = beyond.get(beyond.len() / 2).copied().unwrap_or_default();
            assert!(middle <= SLACK + bound, "{name}: stamps are off by {middle:?}: {beyond:?}");
            said.insert(name, given.len());
        }
        let sessions = file.sessions().unwrap();
        Account { counts: names.into_iter().zip(counts).collect(), points, chunks, sessions, streams, said }
    }

    /// The platform has the confirmed chunks to the bit and nothing else, each point once, in finished streams.
    fn same_on_platform(&self, file: &RunFile, chunks: &[StoredChunk]) -> Vec<String> {
        let records: Vec<_> = file.streams().unwrap().into_iter().map(|stream| stream.record).collect();
        let mut sent = Vec::new();
        let mut indices: BTreeMap<i64, BTreeSet<u64>> = BTreeMap::new();
        for chunk in chunks {
            assert_eq!(chunk.state, ChunkState::Confirmed, "chunk {}", chunk.seq);
            let as_sent = chunk.sent.as_ref().unwrap();
            let record = records.iter().find(|record| record.number == as_sent.stream).unwrap();
            let fresh = indices.entry(as_sent.stream).or_default().insert(as_sent.chunk.index);
            assert!(fresh, "index {} was used twice", as_sent.chunk.index);
            let index = i64::try_from(as_sent.chunk.index).unwrap();
            for channel in &as_sent.chunk.channels {
                for (stamp, value) in channel.stamps.iter().zip(&channel.values) {
                    let (name, stamp) = (channel.name.to_string(), stamp.as_unix_seconds().to_bits());
                    sent.push((record.data_id.clone(), name, index, stamp, value.to_bits()));
                }
            }
        }
        for indices in indices.values() {
            assert!(indices.iter().copied().eq(0..indices.len() as u64), "chunk indices do not go on: {indices:?}");
        }
        let mut stored: Vec<Wire> = Vec::new();
        for record in &records {
            assert_ne!(record.state, Recorded::Open, "{record:?}");
            let stream = self.server.streams().unwrap().into_iter().find(|stream| stream.data_id == record.data_id);
            let state = stream.unwrap().state;
            // One that the platform has ended stays so.
            let ended = record.state == Recorded::Ended && state == StreamState::Error;
            assert!(state == StreamState::Success || ended, "{state:?} {record:?}");
            for channel in self.server.stored(&record.data_id).unwrap() {
                stored.extend(channel.points.iter().map(|point| {
                    let bits = (point.unix_seconds.to_bits(), point.value.to_bits());
                    (record.data_id.clone(), channel.name.clone(), point.chunk_index, bits.0, bits.1)
                }));
            }
        }
        sent.sort();
        stored.sort();
        assert!(sent == stored, "{} points were confirmed, {} are stored, or they differ", sent.len(), stored.len());
        let once: BTreeSet<(&str, u64)> = stored.iter().map(|(_, name, _, stamp, _)| (name.as_str(), *stamp)).collect();
        assert_eq!(once.len(), stored.len(), "a channel has two points of one time");
        records.into_iter().map(|record| record.data_id).collect()
    }

    /// What was added to the stamps is what the platform's clock is ahead, within what the measurement claims.
    fn offsets_are_right(&self, file: &RunFile, chunks: &[StoredChunk]) {
        // Between the two readings that fix a session's clock may lie a turn of the scheduler.
        let bound = self.clock_uncertainty(file) + SLACK;
        for chunk in chunks {
            let added = chunk.sent.as_ref().unwrap().offset_nanos;
            let wrong = (added - self.ahead_nanos - self.behind_nanos).unsigned_abs();
            assert!(Duration::from_nanos(wrong) <= bound, "chunk {} is off by {wrong} ns of {bound:?}", chunk.seq);
        }
    }

    fn clock_uncertainty(&self, file: &RunFile) -> Duration {
        let readings = file.clock_readings().unwrap();
        let worst = readings.iter().map(|(_, reading)| reading.uncertainty_nanos.unsigned_abs()).max();
        if self.ahead_nanos == 0 && self.behind_nanos == 0 {
            Duration::ZERO
        } else {
            Duration::from_nanos(worst.unwrap_or(0))
        }
    }

    /// The values of a channel.
    fn given(&self, instrument: &str, source: &str) -> Vec<Given> {
        let time = TimeBase::start();
        let of_instrument = |said: &Said| *said.instrument == *instrument;
        let Some(line) = self.said.iter().find(|line| line.iter().any(of_instrument)) else { return Vec::new() };
        let stamp = |at: Instant| time.stamp(at).shifted(self.ahead_nanos);
        let middle = |from: Instant, to: Instant| stamp(from).plus(to.duration_since(from) / 2);
        let long = Duration::from_secs(10);
        let of_channel = |said: &&Said| said.intact && of_instrument(said) && *said.channel == *source;
        let given = line.iter().filter(of_channel).filter_map(|said| {
            let (heard, sent) = (said.request_received, said.reply_sent);
            let before = line.iter().map(|other| other.reply_sent).filter(|other| *other < heard).max();
            let after = line.iter().map(|other| other.request_received).filter(|other| *other > heard).min();
            Some(Given {
                value: said.outcome.value()?.get(),
                middle: middle(heard, sent),
                earliest: middle(before.unwrap_or(heard - long), sent),
                latest: middle(heard, after.unwrap_or(sent + long).max(sent)),
            })
        });
        given.collect()
    }

    /// How far the point is from the middle of the exchange that it was, beyond half a tick; panics if there was no such
    /// exchange then.
    fn explained(&self, name: &str, point: Point, given: &[Given], bound: Duration) -> Duration {
        let distance = |at: Stamp| Duration::from_nanos(at.nanos_since(point.at).unsigned_abs());
        let reach = self.period / 2 + bound + Duration::from_millis(1);
        // What the wire carried is decoded by the same rules on both sides: equal but for JSON's last digit.
        let same = |given: &&Given| (given.value - point.value).abs() <= given.value.abs() * 1e-12;
        let possible = |given: &&Given| given.earliest.minus(reach) <= point.at && point.at <= given.latest.plus(reach);
        let nearest = given.iter().filter(same).filter(possible).map(|given| distance(given.middle)).min();
        let Some(nearest) = nearest else {
            let around: Vec<_> = given.iter().filter(|given| distance(given.middle) < Duration::from_secs(1)).collect();
            panic!("{name}: {point:?} was not said then; said around it: {around:#?}")
        };
        nearest.saturating_sub(self.period / 2)
    }
}

impl Account {
    /// The least number of points that a channel has.
    pub(super) fn fewest(&self) -> usize {
        self.points.values().map(Vec::len).min().unwrap()
    }

    /// Whatever was said whole was read: only what was under way at the end of a session, or came too late, may be missing.
    pub(super) fn assert_nothing_was_missed(&self) {
        for (name, said) in &self.said {
            let counts = &self.counts[name];
            let read = usize::try_from(counts.read - counts.bad_total()).unwrap();
            let missed = self.sessions.len() + usize::try_from(counts.bad_total()).unwrap();
            assert!(read <= *said && *said <= read + missed, "{name}: {said} were said, {counts:?}");
        }
    }

    /// A machine with other things to do may be late for a reading now and then; more than that is a fault.
    pub(super) fn assert_hardly_anything_is_bad(&self) {
        for (name, counts) in &self.counts {
            assert!(counts.bad_total() <= 1 + counts.read / 20, "{name}: {counts:?}");
        }
    }

    pub(super) fn of(&self, channel: &str) -> &Counts {
        &self.counts[channel]
    }
}

/// Every chunk of a run.
pub(super) fn all_chunks(file: &RunFile) -> Vec<StoredChunk> {
    let mut chunks: Vec<StoredChunk> = Vec::new();
    loop {
        let more = file.chunks(chunks.len() as u64, 64).unwrap();
        if more.is_empty() {
            return chunks;
        }
        chunks.extend(more);
    }
}

/// The points of sent chunks, by channel, with their marks.
fn points(names: &[String], chunks: &[StoredChunk]) -> BTreeMap<String, Vec<Point>> {
    let mut points: BTreeMap<String, Vec<Point>> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    for chunk in chunks {
        let sent = chunk.sent.as_ref().unwrap();
        for (tick, at) in chunk.ticks.iter().zip(&sent.stamps) {
            for point in &tick.points {
                let of_channel = points.get_mut(&names[point.channel.0]).unwrap();
                of_channel.push(Point { at: *at, value: point.value.get(), mark: point.mark });
            }
        }
    }
    points
}

/// Everything that a run file holds at this moment, sealed or not, by channel: session, time in the session, value.
pub(super) fn on_disk(run: &Path) -> BTreeSet<(String, SessionId, Stamp, u64)> {
    let file = RunFile::open(run).unwrap();
    let names = file.info().channels;
    let sealed = all_chunks(&file).into_iter().map(|chunk| (chunk.session, chunk.ticks));
    let open = file.open_ticks().unwrap().into_iter().map(|open| (open.session, open.ticks));
    let mut found = BTreeSet::new();
    for (session, ticks) in sealed.chain(open) {
        for tick in ticks {
            for point in tick.points {
                let name = names[point.channel.0].name.to_string();
                let fresh = found.insert((name.clone(), session, tick.at, point.value.get().to_bits()));
                assert!(fresh, "{name} at {:?} is on disk twice", tick.at);
            }
        }
    }
    found
}
