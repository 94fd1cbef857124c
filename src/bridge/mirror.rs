//! Shows on the board what the run store and the uploader say of themselves.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::live::Board;
use crate::live::Disagreement;
use crate::live::DiskLive;
use crate::live::PlatformLive;
use crate::live::PointsLive;
use crate::live::RunAccount;
use crate::live::SetAside;
use crate::live::StoreLive;
use crate::model::{Stamp, TimeBase};
use crate::runs;
use crate::upload;
use crate::upload::PlatformState;

pub(super) async fn run(
    board: Arc<Board>,
    time: TimeBase,
    mut recording: watch::Receiver<runs::Status>,
    mut uploading: watch::Receiver<upload::Status>,
    stop: CancellationToken,
) {
    board.set_store(store_live(&recording.borrow_and_update()));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            changed = recording.changed() => {
                if changed.is_err() {
                    break;
                }
                board.set_store(store_live(&recording.borrow_and_update()));
            }
            changed = uploading.changed() => {
                if changed.is_err() {
                    break;
                }
                board.set_platform(platform_live(&uploading.borrow_and_update(), time));
            }
        }
    }
}

fn store_live(status: &runs::Status) -> StoreLive {
    let paused = match &status.state {
        runs::State::Paused { why } => Some(why.clone()),
        runs::State::Idle | runs::State::Recording => None,
    };
    let set_aside = |file: &runs::SetAside| SetAside { path: file.path.display().to_string(), why: file.why.clone() };
    // A run whose refused points wait again is no longer done.
    let is_done = |totals: &&runs::RunTotals| status.runs.iter().all(|run| run.run != totals.run);
    let took = |took| (status.commits.commits > 0).then_some(took);
    StoreLive {
        paused,
        buffered: status.buffered,
        runs: status.runs.iter().map(account).collect(),
        done: status.done.iter().filter(is_done).map(account).collect(),
        set_aside: status.set_aside.iter().map(set_aside).collect(),
        commits: status.commits.commits,
        commit_took: took(status.commits.last),
        commit_longest: took(status.commits.longest),
        disk: disk_live(status),
    }
}

fn disk_live(status: &runs::Status) -> DiskLive {
    let (disk, pruned) = (status.disk, status.pruned);
    DiskLive {
        free: disk.free,
        min_free: disk.min_free,
        full: disk.full,
        low: disk.low,
        pruned: (pruned.runs, pruned.bytes),
    }
}

fn account(totals: &runs::RunTotals) -> RunAccount {
    let points = |points: &runs::Points| PointsLive {
        uploaded: points.uploaded,
        queued: points.open + points.queued,
        rejected: points.rejected,
    };
    RunAccount {
        run: totals.run.clone(),
        name: totals.name.clone(),
        state: totals.state,
        channels: Arc::clone(&totals.channels),
        counts: totals.counts.clone(),
        points: totals.points.iter().map(points).collect(),
        sealed_chunks: totals.sealed_chunks,
        queued_chunks: totals.queued_chunks,
        oldest_queued: totals.oldest_queued,
        stream: totals.stream.clone(),
        disagreements: totals.disagreements.iter().map(disagreement).collect(),
    }
}

fn disagreement(of: &runs::Disagreement) -> Disagreement {
    let under_way =
        if of.unconfirmed > 0 { format!(" (and {} may be under way)", of.unconfirmed) } else { String::new() };
    let runs::Disagreement { data_id, channel, said, confirmed, .. } = of;
    Disagreement {
        words: format!(
            "{channel} on stream {data_id}: the platform says to hold {said} points, {confirmed} are confirmed{under_way}"
        ),
        missing: said < confirmed,
    }
}

fn platform_live(status: &upload::Status, time: TimeBase) -> PlatformLive {
    let stamp = |at: tokio::time::Instant| -> Stamp { time.stamp(at.into_std()) };
    let (state, since, why) = match &status.platform {
        PlatformState::Unknown => ("unknown", None, None),
        PlatformState::Up => ("up", None, None),
        PlatformState::Down { since, why } => ("down", Some(stamp(*since)), Some(why.clone())),
        PlatformState::Holding { since, why } => ("holding", Some(stamp(*since)), Some(why.clone())),
    };
    let data_id = status.runs.iter().rev().find_map(|run| run.stream.as_ref()).map(|stream| stream.data_id.clone());
    let held = |run: &upload::RunStatus| Some((run.run.clone(), run.held.clone()?));
    PlatformLive {
        state,
        since,
        why,
        data_id,
        held: status.runs.iter().filter_map(held).collect(),
        window: status.window,
        in_flight: status.in_flight,
        confirmed_chunks: status.confirmed,
        confirmed_points: status.confirmed_points,
        refused: status.refused,
        failed_attempts: status.failed_attempts,
        last_confirmed: status.last_confirmed.map(stamp),
        last_failure: status.last_failure.as_ref().map(|failure| (stamp(failure.at), failure.words.clone())),
    }
}
