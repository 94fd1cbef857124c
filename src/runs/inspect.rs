//! Looking closely at a run file: what holds it against itself, and what would be too much to read as whole chunks.

use std::collections::HashSet;

use super::read::{ChunkState, RunFile};
use super::rows::{self, ChunkRow, signed};
use super::{Axis, Error, Points, counts, offset};
use crate::model::{SessionId, Stamp, Tick};

/// Chunks read at once.
const PAGE: usize = 4096;

/// A chunk without its ticks.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkHead {
    /// Its number in the run, from 0.
    pub seq: u64,
    /// The session in whose time its ticks are.
    pub session: SessionId,
    /// When it was sealed.
    pub written: Stamp,
    /// Its first tick.
    pub first: Stamp,
    /// Its last tick.
    pub last: Stamp,
    /// How far it has come.
    pub state: ChunkState,
    /// Points per channel.
    pub points: Vec<u64>,
    /// Where it is or was sent to, once frozen.
    pub placed: Option<Placed>,
    /// The last stamp that it is or was sent with, in reference UTC.
    pub last_utc: Option<Stamp>,
    /// Channels that were sent again apart from the others; none if there are no such.
    pub only: Option<Vec<usize>>,
    /// Attempts that failed.
    pub attempts: u64,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
}

/// Where the other channels are of a chunk that was sent again in part on another stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parted {
    /// The chunk.
    pub seq: u64,
    /// These channels.
    pub channels: Vec<usize>,
    /// Where they are.
    pub placed: Placed,
}

/// What has become of the points of a channel of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They wait for the platform's confirmation.
    Queued,
    /// The platform has confirmed them.
    Uploaded,
    /// The platform refuses them, or they can't be read.
    Rejected,
}

/// What freezing fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The number of the stream.
    pub stream: i64,
    /// The slice of the stream.
    pub index: u64,
    /// What is added to session time, in nanoseconds.
    pub offset_nanos: i64,
    /// All stamps come after this one; none for the first chunk, and after a step of the clock.
    pub floor: Option<Stamp>,
    /// Whether stamps rise; those that a program gave are only shifted.
    pub axis: Axis,
}

impl Placed {
    /// Reference UTC of ticks at these times of the chunk's session.
    pub fn stamps(&self, ticks: &[Tick]) -> Vec<Stamp> {
        let placing = offset::Placing { offset_nanos: self.offset_nanos, floor: self.floor };
        offset::stamps(self.axis, placing, ticks.iter().map(|tick| tick.at))
    }
}

impl ChunkHead {
    /// What has become of the points of a channel. `refused`: the file says that the platform refused this channel.
    pub fn fate(&self, channel: usize, refused: bool) -> Fate {
        match self.state {
            ChunkState::Sealed | ChunkState::Frozen if self.holds(channel) => Fate::Queued,
            ChunkState::Rejected => Fate::Rejected,
            _ if refused => Fate::Rejected,
            _ => Fate::Uploaded,
        }
    }

    /// Whether what is said of the chunk is said of this channel, too: it is not one of those whose others were sent again.
    pub fn holds(&self, channel: usize) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&channel))
    }

    fn of(row: ChunkRow, axis: Axis) -> Self {
        Self {
            seq: row.seq,
            session: row.session,
            written: row.written,
            first: row.first,
            last: row.last,
            state: ChunkState::of(row.state),
            points: row.points,
            placed: row.frozen.map(|frozen| Placed {
                stream: frozen.stream,
                index: frozen.index,
                offset_nanos: frozen.placing.offset_nanos,
                floor: frozen.placing.floor,
                axis,
            }),
            last_utc: row.frozen.map(|frozen| frozen.last_utc),
            only: row.only,
            attempts: row.attempts,
            last_error: row.last_error,
        }
    }
}

impl RunFile {
    /// What SQLite finds wrong with the file; nothing if all is well. The quick way leaves out whether indices match their
    /// tables. Both read the whole file.
    pub fn integrity(&self, quick: bool) -> Result<Vec<String>, Error> {
        let query = if quick { "PRAGMA quick_check" } else { "PRAGMA integrity_check" };
        let found = || {
            let mut statement = self.connection.prepare(query)?;
            statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        };
        let found = found().map_err(Error::read(&self.path))?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }

    /// Chunks without their ticks, by rising number, at most `limit`, from number `from` on.
    pub fn heads(&self, from: u64, limit: usize) -> Result<Vec<ChunkHead>, Error> {
        let rows = rows::chunks(&self.connection, &self.path, from, limit)?;
        let axis = self.head.axis;
        Ok(rows.into_iter().map(|row| ChunkHead::of(row, axis)).collect())
    }

    /// Does something with every chunk, without its ticks, by rising number.
    pub fn each_head(&self, mut what: impl FnMut(ChunkHead)) -> Result<(), Error> {
        let mut from = 0;
        loop {
            let page = self.heads(from, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.seq + 1;
            page.into_iter().for_each(&mut what);
        }
    }

    /// The ticks of a chunk, in its session's time. An error says that its body is missing or damaged.
    pub fn ticks(&self, seq: u64) -> Result<Vec<Tick>, Error> {
        rows::body(&self.connection, &self.path, seq)
    }

    /// What became of the points of each channel.
    pub fn points(&self) -> Result<Vec<Points>, Error> {
        let mut points = vec![Points::default(); self.head.channels.len()];
        let refused = self.refusals()?;
        let refused: HashSet<(u64, usize)> = refused.iter().map(|refusal| (refusal.seq, refusal.channel)).collect();
        self.each_head(|head| {
            for (channel, (target, count)) in points.iter_mut().zip(&head.points).enumerate() {
                match head.fate(channel, refused.contains(&(head.seq, channel))) {
                    Fate::Queued => target.queued += count,
                    Fate::Rejected => target.rejected += count,
                    Fate::Uploaded => target.uploaded += count,
                }
            }
        })?;
        for row in rows::open_rows(&self.connection, &self.path, points.len())? {
            let open = counts::points_of(&row.ticks, points.len());
            points.iter_mut().zip(open).for_each(|(target, count)| target.open += count);
        }
        Ok(points)
    }

    /// What can't be read of the commits that no chunk holds yet.
    pub fn open_flaws(&self) -> Result<Vec<String>, Error> {
        let rows = rows::open_rows(&self.connection, &self.path, self.head.channels.len())?;
        Ok(rows.into_iter().filter_map(|row| row.flaw).collect())
    }

    /// Bodies without a chunk, of which nobody knows when and how they were sent.
    pub fn stray_bodies(&self) -> Result<Vec<u64>, Error> {
        let query = "SELECT seq FROM bodies WHERE seq NOT IN (SELECT seq FROM chunks) ORDER BY seq";
        let found = || {
            let mut statement = self.connection.prepare(query)?;
            statement.query_map([], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()
        };
        Ok(found().map_err(Error::read(&self.path))?.into_iter().filter_map(|seq| u64::try_from(seq).ok()).collect())
    }

    /// Where the other channels are of chunks that were sent again in part on another stream.
    pub fn parted(&self) -> Result<Vec<Parted>, Error> {
        let rows = rows::resent(&self.connection, &self.path)?;
        Ok(rows
            .into_iter()
            .map(|row| Parted {
                seq: row.seq,
                channels: row.channels,
                placed: Placed {
                    stream: row.stream,
                    index: row.index,
                    offset_nanos: row.placing.offset_nanos,
                    floor: row.placing.floor,
                    axis: self.head.axis,
                },
            })
            .collect())
    }

    /// Whether the table of bodies holds this chunk.
    pub fn has_body(&self, seq: u64) -> Result<bool, Error> {
        let has = || self.connection.prepare_cached("SELECT 1 FROM bodies WHERE seq = ?1")?.exists([signed(seq)]);
        has().map_err(Error::read(&self.path))
    }
}
