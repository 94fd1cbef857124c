//! Each run file against itself: its accounts add up, it is done, and nothing that was ever seen in it is gone.

use std::collections::BTreeSet;

use mbe_bridge::model::{RunState, StreamState};
use mbe_bridge::runs::read::ChunkState;

use super::Judgement;
use crate::witness::{OnDisk, RunOnDisk, Witnesses};

const SORT: &str = "accounts";

pub(super) fn check(witnesses: &Witnesses, judgement: &mut Judgement) {
    let mut last: BTreeSet<OnDisk> = BTreeSet::new();
    for run in &witnesses.runs {
        adds_up(run, !witnesses.deeds.disk.is_empty(), judgement);
        is_done(run, judgement);
        for point in run.points() {
            if let Some(twice) = last.replace(point) {
                judgement.complain(SORT, format!("{twice:?} is in a run file twice"));
            }
        }
    }
    for (number, look) in witnesses.looks.iter().enumerate() {
        let gone: Vec<&OnDisk> = look.difference(&last).collect();
        if let Some(first) = gone.first() {
            let count = gone.len();
            judgement.complain("gone", format!("{count} points that look {number} found on disk, as {first:?}"));
        }
    }
}

fn adds_up(run: &RunOnDisk, disk_failed: bool, judgement: &mut Judgement) {
    let name = &run.info.run;
    judgement.totals.runs += 1;
    judgement.totals.sessions += run.sessions.len() as u64;
    for (place, (channel, counts)) in run.info.channels.iter().zip(&run.counts).enumerate() {
        let channel = &channel.name;
        if counts.read != counts.settled() {
            judgement.complain(SORT, format!("{name} {channel}: a reading is not accounted for: {counts:?}"));
        }
        let sealed: u64 = run.chunks.iter().map(|chunk| chunk.points[place]).sum();
        let ticks = run.open.iter().flat_map(|open| &open.ticks).flat_map(|tick| &tick.points);
        let open = ticks.filter(|point| point.channel.0 == place).count() as u64;
        if counts.recorded + counts.filled != sealed + open {
            judgement.complain(SORT, format!("{name} {channel}: {sealed} sealed, {open} open, but {counts:?}"));
        }
        let there = run.points().filter(|point| point.1 == place).count() as u64;
        if there != sealed + open {
            judgement.complain(SORT, format!("{name} {channel}: {there} points in bodies, {sealed} in rows"));
        }
        if counts.unrecorded > 0 && !disk_failed {
            judgement.complain(SORT, format!("{name} {channel}: unrecorded without any fault of the disk: {counts:?}"));
        }
        let totals = &mut judgement.totals;
        totals.read += counts.read;
        totals.recorded += counts.recorded;
        totals.filled += counts.filled;
        totals.bad += counts.bad_total();
        totals.decimated += counts.decimated;
        totals.late += counts.late;
        totals.unrecorded += counts.unrecorded;
    }
    for refusal in &run.refusals {
        let Some(chunk) = run.chunks.iter().find(|chunk| chunk.seq == refusal.seq) else { continue };
        judgement.totals.rejected += chunk.points[refusal.channel];
    }
}

fn is_done(run: &RunOnDisk, judgement: &mut Judgement) {
    let name = &run.info.run;
    if run.info.state != RunState::Done {
        judgement.complain(SORT, format!("{name} is not done but {:?}", run.info.state));
    }
    if !run.open.is_empty() {
        judgement.complain(SORT, format!("{name} has open ticks"));
    }
    for chunk in &run.chunks {
        let refused = |channel: usize| run.refusals.iter().any(|one| one.seq == chunk.seq && one.channel == channel);
        let kept =
            chunk.points.iter().enumerate().filter(|(channel, points)| **points > 0 && !refused(*channel)).count();
        let right = if kept == 0 { ChunkState::Rejected } else { ChunkState::Confirmed };
        if chunk.state != right {
            judgement
                .complain(SORT, format!("{name} chunk {} is {:?}, {kept} channels unrefused", chunk.seq, chunk.state));
        }
    }
    for stream in &run.streams {
        if stream.record.state == StreamState::Open {
            judgement.complain(SORT, format!("{name} stream {} is left open", stream.record.data_id));
        }
        if stream.record.state == StreamState::Ended && stream.why.is_none() {
            judgement.complain(SORT, format!("{name} stream {} has ended for no reason", stream.record.data_id));
        }
    }
}
