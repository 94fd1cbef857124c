//! A run in a few numbers: what lists and totals are made of.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::place;
use crate::model::{Counts, RunState, SessionId, Stamp, StreamState};
use crate::runs;
use crate::runs::Points;
use crate::runs::read::{RunFile, Stream};

/// What a run file says of itself, all channels together. Times are Unix seconds, as near to reference UTC as is known.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    pub(super) run: String,
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) began: f64,
    /// From its beginning to its last tick, in seconds.
    pub(super) length: f64,
    pub(super) channels: usize,
    pub(super) sessions: usize,
    pub(super) streams: usize,
    pub(super) recorded: u64,
    pub(super) filled: u64,
    pub(super) uploaded: u64,
    pub(super) queued: u64,
    pub(super) rejected: u64,
    pub(super) unrecorded: u64,
    pub(super) chunks: u64,
    pub(super) bytes: u64,
}

impl Account {
    pub(super) fn of(path: &Path, file: &RunFile) -> Result<Self, runs::Error> {
        let info = file.info();
        let (mut counts, mut points) = (Counts::default(), Points::default());
        file.counts()?.iter().for_each(|of_channel| counts.add(of_channel));
        for of_channel in file.points()? {
            points.open += of_channel.open;
            points.queued += of_channel.queued;
            points.uploaded += of_channel.uploaded;
            points.rejected += of_channel.rejected;
        }
        let clock = Clock::of(file)?;
        let (mut chunks, mut last) = (0, None);
        file.each_head(|head| {
            chunks += 1;
            last = Some(clock.utc(head.session, head.last));
        })?;
        for open in file.open_ticks()? {
            last = open.ticks.last().map(|tick| clock.utc(open.session, tick.at)).or(last);
        }
        let began = clock.utc(SessionId(1), info.created);
        Ok(Self {
            run: info.run.to_string(),
            path: path.to_owned(),
            name: info.spec.name,
            state: state_word(info.state),
            began: began.as_unix_seconds(),
            length: last.map_or(0.0, |last| last.since(began).as_secs_f64()),
            channels: info.channels.len(),
            sessions: file.sessions()?.len(),
            streams: file.streams()?.len(),
            recorded: counts.recorded,
            filled: counts.filled,
            uploaded: points.uploaded,
            queued: points.open + points.queued,
            rejected: points.rejected,
            unrecorded: counts.unrecorded,
            chunks,
            bytes: place::size(path),
        })
    }
}

/// What turns the times of each session into reference UTC, by the last that was measured.
#[derive(Debug)]
pub(super) struct Clock(Vec<(SessionId, i64)>);

impl Clock {
    pub(super) fn of(file: &RunFile) -> Result<Self, runs::Error> {
        let readings = file.clock_readings()?;
        Ok(Self(readings.into_iter().map(|(session, reading)| (session, reading.applied_nanos())).collect()))
    }

    pub(super) fn utc(&self, session: SessionId, at: Stamp) -> Stamp {
        let last = self.0.iter().rev().find(|(of, _)| *of == session);
        at.shifted(last.map_or(0, |(_, offset)| *offset))
    }
}

pub(super) fn state_word(state: RunState) -> &'static str {
    match state {
        RunState::Recording => "recording",
        RunState::Closed => "closed",
        RunState::Done => "done",
    }
}

pub(super) fn stream_word(stream: &Stream) -> &'static str {
    match stream.record.state {
        StreamState::Open => "open",
        StreamState::Ended => "ended",
        StreamState::Finalized => "finalized",
    }
}

/// A time as people read it, in UTC.
pub(super) fn shown(at: Stamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos()))
        .map_or_else(|_| format!("{at:?}"), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// The same of Unix seconds.
pub(super) fn shown_seconds(unix_seconds: f64) -> String {
    jiff::Timestamp::from_duration(jiff::SignedDuration::try_from_secs_f64(unix_seconds).unwrap_or_default())
        .map_or_else(|_| unix_seconds.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// A size as people read it.
pub(super) fn bytes(count: u64) -> String {
    let (mut size, mut unit) = (count as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") }
}
