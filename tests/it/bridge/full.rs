//! Disks that fill up: what is on the platform goes, oldest first; what is not, never; and confirmations still fit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mbe_bridge::model::RunState;
use mbe_bridge::runs::read::RunFile;
use mbe_bridge::server::Fault;

use super::disk::{Ailing, run_under, until_read_on};
use super::field::Chamber;
use super::lab::Lab;
use super::process::Process;
use super::{platform, until};
use crate::shim::Faults;

const RESERVE: i64 = 8 << 20;

/// Records and ends a run.
async fn a_run(lab: &Lab) -> PathBuf {
    let before = if lab.data().exists() { lab.runs() } else { Vec::new() };
    let process = Process::run(&lab.write());
    process.until_recorded(8).await;
    process.stop().await;
    lab.runs().into_iter().find(|run| !before.contains(run)).unwrap()
}

fn state(run: &Path) -> RunState {
    RunFile::open(run).unwrap().info().state
}

fn finished_days_ago(run: &Path, days: u64) {
    let file = fs::File::options().append(true).open(run).unwrap();
    let at = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(days * 86_400);
    file.set_modified(at).unwrap();
}

/// The confirmations of a long queue fit into the reserve while recording waits for space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_delivered_from_a_disk_that_is_full() {
    let ailing = Ailing::start().await;
    let reserve = ailing.lab.data().join("reserve");
    until("the reserve is there", async || {
        let found = fs::metadata(&reserve).map(|found| i64::try_from(found.len()).unwrap());
        if found.as_ref().is_ok_and(|bytes| *bytes == RESERVE) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    ailing.server.set_fault("status:503".parse().unwrap());
    ailing.process.until("a queue has grown", |status| status["run"]["queued_chunks"].as_u64().unwrap() >= 20).await;
    ailing.faults.set("room_bytes", 0);
    let full = ailing.process.until("recording pauses", |status| status["disk"]["full"] == true).await;
    assert!(!reserve.exists(), "the reserve was not given up");
    let complaints = full["complaints"].to_string();
    assert!(complaints.contains("the disk is nearly full") && complaints.contains("recording has paused"), "{full:#}");
    ailing.server.set_fault(Fault::None);
    let status = ailing
        .process
        .until("the queue is delivered", |status| status["run"]["queued_chunks"].as_u64().unwrap() == 0)
        .await;
    assert_eq!(status["disk"]["full"], true, "{:#}", status["disk"]);
    assert!(status["run"]["paused"].as_str().unwrap().contains("is full"), "{:#}", status["run"]);
    until_read_on(&ailing.process, &status).await;

    // Space for the reserve alone is not enough.
    let left = ailing.faults.get("room_bytes");
    assert!((RESERVE / 2..=RESERVE).contains(&left), "{left} bytes of the reserve are left");
    ailing.faults.set("room_bytes", RESERVE + RESERVE / 4);
    let seen = ailing.process.until("it looks again", |_| true).await;
    let seen = until_read_on(&ailing.process, &until_read_on(&ailing.process, &seen).await).await;
    assert_eq!(seen["disk"]["full"], true, "{:#}", seen["disk"]);
    ailing.faults.set("room_bytes", 4 * RESERVE);
    ailing.process.until("recording goes on", |status| status["run"]["paused"].is_null()).await;
    until("the reserve is made again", async || if reserve.exists() { Ok(()) } else { Err(()) }).await;
    ailing.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_runs_go_by_age_and_what_is_not_on_the_platform_stays() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let (old, young) = (a_run(&lab).await, a_run(&lab).await);
    let endpoint = std::mem::replace(&mut lab.endpoint, "http://127.0.0.1:9".to_owned());
    lab.top = "shutdown_grace = \"1s\"".to_owned();
    let queued = a_run(&lab).await;
    assert_eq!([&old, &young, &queued].map(|run| state(run)), [RunState::Done, RunState::Done, RunState::Closed]);
    for (run, days) in [(&old, 100), (&young, 80), (&queued, 1000)] {
        finished_days_ago(run, days);
    }
    // Their stamps say that they were of today, and a file is as old as the younger of the two.
    let process = Process::run(&lab.write());
    process.until_recorded(8).await;
    process.stop().await;
    assert!(old.exists() && queued.exists());

    // A platform whose clock says that it is later.
    lab.endpoint = endpoint;
    lab.storage = "commit_every = \"100ms\"\nkeep_runs = \"90d\"".to_owned();
    server.set_clock_ahead(91 * 86_400 * 1_000_000_000);
    let process = Process::run(&lab.write());
    let pruned = process.until("a run is pruned", |status| status["disk"]["pruned_runs"].as_u64().unwrap() >= 2).await;
    assert!(pruned["disk"]["pruned_bytes"].as_u64().unwrap() > 8192);
    let ended = process.stop().await;
    assert!(!old.exists() && !young.exists(), "{}", ended.stderr);
    assert!(queued.exists(), "a run that was not on the platform was deleted");
    let told = super::process::logged(&ended.stderr, "a finished run that is on the platform was deleted");
    assert!(told.iter().all(|told| told["why"] == "older than `keep_runs`"), "{told:#?}");
}

/// Where space is short the oldest finished run goes, and no more than has to; what is not on the platform stays, however old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_runs_make_space_oldest_first_and_only_as_much_as_is_missing() {
    let server = platform().await;
    let nowhere = "http://127.0.0.1:9".to_owned();
    let mut lab = Lab::new(&nowhere);
    lab.top = "shutdown_grace = \"1s\"".to_owned();
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let queued = a_run(&lab).await;
    finished_days_ago(&queued, 1000);
    lab.endpoint = server.url();
    // Of the run that was queued, too: another platform does not know it.
    let held = lab.folder().join("held");
    fs::rename(&queued, &held).unwrap();
    let finished = [a_run(&lab).await, a_run(&lab).await];
    fs::rename(&held, &queued).unwrap();
    assert_eq!(finished.each_ref().map(|run| state(run)), [RunState::Done, RunState::Done]);

    lab.endpoint = nowhere;
    lab.storage = "commit_every = \"100ms\"\nkeep_runs = \"forever\"\nmin_free = \"100 MB\"".to_owned();
    let faults = Faults::new(&lab.folder().join("faults"), &lab.data());
    let size = i64::try_from(fs::metadata(&finished[0]).unwrap().len()).unwrap();
    faults.set("free_bytes", 100_000_000 - size / 2);
    let process = run_under(&lab, &faults);
    process.until("a run is pruned", |status| status["disk"]["pruned_runs"].as_u64().unwrap() >= 1).await;
    let short = process.until("it is short of space", |status| status["disk"]["low"] == true).await;
    assert!(short["complaints"].to_string().contains("the disk is nearly full"), "{short:#}");
    faults.set("free_bytes", 200_000_000);
    let status = process.until("space is there", |status| status["disk"]["low"] == false).await;
    assert_eq!(status["disk"]["pruned_runs"], 1);
    process.until_recorded(40).await;
    let ended = process.stop().await;
    assert_eq!(finished.each_ref().map(|run| run.exists()), [false, true]);
    assert!(queued.exists());
    let told = super::process::logged(&ended.stderr, "a finished run that is on the platform was deleted");
    assert!(told.len() == 1 && told[0]["why"] == "less than `min_free` is free", "{told:#?}");
}
