//! The oracle against itself: each witness is falsified once in every way that matters, and it has to notice.

use std::time::Duration;

use mbe_bridge::model::{RunState, StreamState};
use mbe_bridge::runs::read::ChunkState;

use super::oracle;
use super::witness::{RunOnDisk, Witnesses};

/// What is falsified, the sort of complaint that is due, and how.
type Corruption = (&'static str, &'static str, fn(&mut Witnesses));

/// A chunk in the middle of the run.
const CHUNK: usize = 1;

/// All falsifications.
pub(crate) const ALL: &[Corruption] = &[
    ("a point that is gone from the platform", "places", |all| {
        slices(all)[0].points.remove(3);
    }),
    ("a slice that is gone from the platform", "missing", |all| {
        slices(all)[0].points.retain(|point| point.chunk_index != 1);
    }),
    ("two channels that are swapped on the platform", "places", |all| {
        let channels = slices(all);
        let name = channels[0].name.clone();
        channels[0].name = std::mem::replace(&mut channels[1].name, name);
    }),
    ("a stamp that is moved on the platform", "places", |all| slices(all)[0].points[3].unix_seconds += 0.001),
    ("a value that is changed on the platform", "places", |all| slices(all)[0].points[3].value += 0.1),
    ("a slice that is on the platform twice", "places", |all| {
        let points = &mut slices(all)[0].points;
        let again: Vec<_> = points.iter().filter(|point| point.chunk_index == 1).copied().collect();
        points.extend(again.into_iter().map(|mut point| {
            point.chunk_index = 99;
            point
        }));
    }),
    ("a stream that is on the platform twice", "places", |all| {
        let mut again = all.platform[0].clone();
        again.data_id.push_str("-again");
        all.platform.push(again);
    }),
    ("a stream that is left open on the platform", "places", |all| {
        all.platform[0].state = mbe_bridge::server::StreamState::Active;
    }),
    ("a value that was never said", "stamps", |all| {
        let value = all.runs[0].chunks[CHUNK].ticks[0].points[0].value;
        all.said.iter_mut().for_each(|line| line.retain(|said| said.outcome.value() != Some(value)));
    }),
    ("values that were said at another time", "stamps", |all| {
        for said in &mut all.said[0] {
            said.request_received -= Duration::from_millis(700);
            said.first_byte_sent -= Duration::from_millis(700);
            said.reply_sent -= Duration::from_millis(700);
        }
    }),
    ("a value that is recorded twice", "twice", |all| {
        let ticks = &mut all.runs[0].chunks[CHUNK].ticks;
        let value = ticks[1].points[0].value;
        let at = ticks[1].at;
        ticks[0].points[0].value = value;
        ticks[0].at = at.minus(Duration::from_millis(1));
    }),
    ("a chunk that was sent by a wrong clock", "clock", |all| {
        for chunk in &mut all.runs[0].chunks {
            let sent = chunk.sent.as_mut().unwrap();
            sent.offset_nanos += 400_000_000;
            sent.stamps.iter_mut().for_each(|stamp| *stamp = stamp.plus(Duration::from_millis(400)));
        }
    }),
    ("a stamp that was moved for no reason", "clock", |all| {
        let stamps = &mut all.runs[0].chunks[CHUNK].sent.as_mut().unwrap().stamps;
        let last = stamps.len() - 1;
        stamps[last] = stamps[last].plus(Duration::from_secs(2));
    }),
    ("series that do not rise", "order", |all| slices(all)[0].points.reverse()),
    ("a chunk that is gone from the run file", "places", |all| {
        all.runs[0].chunks.remove(CHUNK);
    }),
    ("a chunk that is gone everywhere, with its accounts", "lost", |all| forget(all, false)),
    ("a chunk that was seen on disk and is gone everywhere", "gone", |all| {
        let seen = all.runs.iter().flat_map(RunOnDisk::points).collect();
        all.looks.push(seen);
        forget(all, true);
    }),
    ("a reading that is not accounted for", "accounts", |all| all.runs[0].counts[0].read += 1),
    ("a point that is in no chunk", "accounts", |all| {
        all.runs[0].counts[0].read += 1;
        all.runs[0].counts[0].recorded += 1;
    }),
    ("a chunk that still waits", "accounts", |all| all.runs[0].chunks[CHUNK].state = ChunkState::Frozen),
    ("a run that is not done", "accounts", |all| all.runs[0].info.state = RunState::Closed),
    ("a stream that the run file leaves open", "accounts", |all| {
        all.runs[0].streams[0].record.state = StreamState::Open;
    }),
    ("an index that is used twice", "places", |all| {
        let index = all.runs[0].chunks[0].sent.as_ref().unwrap().chunk.index;
        all.runs[0].chunks[CHUNK].sent.as_mut().unwrap().chunk.index = index;
    }),
    ("values that the disk never took", "accounts", |all| {
        all.runs[0].counts[0].read += 1;
        all.runs[0].counts[0].unrecorded += 1;
    }),
];

/// The falsifications that the oracle does not notice for what they are.
pub(crate) fn unnoticed(truth: &Witnesses) -> Vec<String> {
    let mut unnoticed = Vec::new();
    for (what, sort, falsify) in ALL {
        let mut falsified = truth.clone();
        falsify(&mut falsified);
        let judgement = oracle::judge(&falsified);
        if !judgement.complaints.contains_key(sort) {
            unnoticed.push(format!("{what}: {:?}", judgement.words()));
        }
    }
    unnoticed
}

fn slices(all: &mut Witnesses) -> &mut Vec<mbe_bridge::server::StoredChannel> {
    &mut all.platform[0].channels
}

/// Takes a chunk away from run file and platform, and from the accounts unless `uncounted`.
fn forget(all: &mut Witnesses, counted: bool) {
    let run = &mut all.runs[0];
    let chunk = run.chunks.remove(CHUNK);
    let sent = chunk.sent.unwrap();
    for (counts, points) in run.counts.iter_mut().zip(&chunk.points) {
        counts.recorded -= points;
        if counted {
            counts.late += points;
        } else {
            counts.read -= points;
        }
    }
    let index = i64::try_from(sent.chunk.index).unwrap();
    for channel in slices(all) {
        channel.points.retain(|point| point.chunk_index != index);
    }
}
