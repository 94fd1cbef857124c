//! The three witnesses of a round, as plain data: what the instruments said, what the run files hold, what the platform
//! stored. None of them knows the others. Beside them, what was done to the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mbe_bridge::model::{ClockReading, Counts, SessionId, TimeBase};
use mbe_bridge::runs::Error;
use mbe_bridge::runs::read::{Event, Info, OpenTicks, Refusal, RunFile, Session, StoredChunk, Stream};
use mbe_bridge::server::{Server, StoredChannel, StreamState};
use mbe_bridge::sim::Said;

/// All that is known of a round when it is over.
#[derive(Debug, Clone)]
pub(crate) struct Witnesses {
    /// By line.
    pub(crate) said: Vec<Vec<Said>>,
    pub(crate) runs: Vec<RunOnDisk>,
    pub(crate) platform: Vec<StreamThere>,
    /// What was on disk after each kill, before the program was started again.
    pub(crate) looks: Vec<BTreeSet<OnDisk>>,
    pub(crate) deeds: Deeds,
}

/// What was done.
#[derive(Debug, Clone)]
pub(crate) struct Deeds {
    /// The machine's true clock: reference UTC is so far ahead of it.
    pub(crate) time: TimeBase,
    pub(crate) ahead_nanos: i64,
    /// Half the distance of ticks; zero where samples keep their own times.
    pub(crate) half_tick: Duration,
    /// In the order of their beginning.
    pub(crate) lives: Vec<Life>,
    /// Times in which an instrument, by its line, did not answer as it should.
    pub(crate) ailments: Vec<(usize, Span)>,
    /// Times in which the disk did not take what it should, or slowly.
    pub(crate) disk: Vec<Span>,
    /// Times in which the platform did not tell its clock as it should.
    pub(crate) clockless: Vec<Span>,
    /// Whether the platform has ever said of streams that there are none of that id, although there are.
    pub(crate) streams_were_gone: bool,
    /// Every distance from the truth that the machine's wall clock has had.
    pub(crate) clocks: Vec<i64>,
    /// Power cuts that took something that was not synced.
    pub(crate) power_cuts: u64,
    /// The longest that an intact reading may wait to be durable.
    pub(crate) durable_after: Duration,
}

/// From then to then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// A lifetime of the program.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    /// How far the wall clock was from the truth when it began.
    pub(crate) clock_nanos: i64,
    /// When it was asked to end.
    pub(crate) told: Option<Instant>,
    /// Just before it was killed, if it was.
    pub(crate) killed: Option<Instant>,
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

/// A run file.
#[derive(Debug, Clone)]
pub(crate) struct RunOnDisk {
    pub(crate) info: Info,
    pub(crate) sessions: Vec<Session>,
    pub(crate) readings: Vec<(SessionId, ClockReading)>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) counts: Vec<Counts>,
    pub(crate) chunks: Vec<StoredChunk>,
    pub(crate) open: Vec<OpenTicks>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) events: Vec<Event>,
}

/// A stream on the platform.
#[derive(Debug, Clone)]
pub(crate) struct StreamThere {
    pub(crate) data_id: String,
    pub(crate) state: StreamState,
    pub(crate) channels: Vec<StoredChannel>,
}

/// A point in a run file: run, channel, session, time in the session in nanoseconds, bits of the value.
pub(crate) type OnDisk = (String, usize, i64, i64, u64);

impl RunOnDisk {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let file = RunFile::open(path)?;
        let mut chunks = Vec::new();
        loop {
            let more = file.chunks(chunks.len() as u64, 64)?;
            if more.is_empty() {
                break;
            }
            chunks.extend(more);
        }
        Ok(Self {
            info: file.info(),
            sessions: file.sessions()?,
            readings: file.clock_readings()?,
            streams: file.streams()?,
            counts: file.counts()?,
            chunks,
            open: file.open_ticks()?,
            refusals: file.refusals()?,
            events: file.events()?,
        })
    }

    /// Every run file in a folder, by name, which is by age but for those of one second.
    pub(crate) fn all(runs: &Path) -> Result<Vec<Self>, Error> {
        let Ok(entries) = std::fs::read_dir(runs) else { return Ok(Vec::new()) };
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "sqlite")).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The run that it was salvaged from, or itself: `20261122T141801Z-abcd` of `20261122T141801Z-abcd-s1`.
    fn origin(&self) -> String {
        self.info.run.as_str().split('-').take(2).collect::<Vec<_>>().join("-")
    }

    /// Every point in it, sealed or not.
    pub(crate) fn points(&self) -> impl Iterator<Item = OnDisk> {
        let sealed = self.chunks.iter().map(|chunk| (chunk.session, &chunk.ticks));
        let open = self.open.iter().map(|open| (open.session, &open.ticks));
        let run = self.origin();
        sealed.chain(open).flat_map(|(session, ticks)| ticks.iter().map(move |tick| (session, tick))).flat_map(
            move |(session, tick)| {
                let run = run.clone();
                let key = move |point: &mbe_bridge::model::Point| {
                    (run.clone(), point.channel.0, session.0, tick.at.as_nanos(), point.value.get().to_bits())
                };
                tick.points.iter().map(key)
            },
        )
    }
}

impl StreamThere {
    pub(crate) fn all(server: &Server) -> Vec<Self> {
        let read = |stream: mbe_bridge::server::StoredStream| Self {
            channels: server.stored(&stream.data_id).unwrap(),
            data_id: stream.data_id,
            state: stream.state,
        };
        server.streams().unwrap().into_iter().map(read).collect()
    }
}

impl Span {
    pub(crate) fn overlaps(self, from: Instant, to: Instant) -> bool {
        self.from <= to && from <= self.to
    }
}
