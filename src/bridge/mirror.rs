//! Shows on the board what the run store and the uploader say of themselves.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::live::Board;
use crate::live::DiskLive;
use crate::live::PlatformLive;
use crate::live::RunLive;
use crate::runs;
use crate::upload;
use crate::upload::PlatformState;

pub(super) async fn run(
    board: Arc<Board>,
    mut recording: watch::Receiver<runs::Status>,
    mut uploading: watch::Receiver<upload::Status>,
    stop: CancellationToken,
) {
    board.set_run(run_live(&recording.borrow_and_update()));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            changed = recording.changed() => {
                if changed.is_err() {
                    break;
                }
                board.set_run(run_live(&recording.borrow_and_update()));
            }
            changed = uploading.changed() => {
                if changed.is_err() {
                    break;
                }
                board.set_platform(platform_live(&uploading.borrow_and_update()));
            }
        }
    }
}

fn run_live(status: &runs::Status) -> RunLive {
    let paused = match &status.state {
        runs::State::Paused { why } => Some(why.clone()),
        runs::State::Idle | runs::State::Recording => None,
    };
    let queued_chunks = status.runs.iter().map(|run| run.queued_chunks).sum();
    let current = status.run.as_ref().and_then(|id| status.runs.iter().find(|totals| totals.run == *id));
    let set_aside = status.set_aside.iter().map(|file| format!("{}: {}", file.path.display(), file.why)).collect();
    let disk = disk_live(status);
    let Some(totals) = current else { return RunLive { paused, queued_chunks, set_aside, disk, ..RunLive::default() } };
    let sum = |part: fn(&runs::Points) -> u64| totals.points.iter().map(part).sum();
    RunLive {
        run: Some(totals.run.to_string()),
        name: totals.name.clone(),
        paused,
        counts: totals.counts.clone(),
        uploaded: sum(|points| points.uploaded),
        queued: sum(|points| points.open + points.queued),
        rejected: sum(|points| points.rejected),
        queued_chunks,
        set_aside,
        commit_took: (status.commits.commits > 0).then_some(status.commits.last),
        disk,
        ..RunLive::default()
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

fn platform_live(status: &upload::Status) -> PlatformLive {
    let (state, why) = match &status.platform {
        PlatformState::Unknown => ("unknown", None),
        PlatformState::Up => ("up", None),
        PlatformState::Down { why, .. } => ("down", Some(why.clone())),
        PlatformState::Holding { why, .. } => ("holding", Some(why.clone())),
    };
    let data_id = status.runs.iter().rev().find_map(|run| run.stream.as_ref()).map(|stream| stream.data_id.clone());
    let held = status.runs.iter().filter_map(|run| run.held.clone()).collect();
    PlatformLive { state, why, data_id, held, in_flight: status.in_flight }
}
