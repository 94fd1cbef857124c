//! Disks that are full, read-only, broken or slow while a run goes on: the instruments are read and shown all the time,
//! recording pauses and says so once, goes on by itself, and every reading is accounted for.

use std::time::{Duration, Instant};

use mbe_bridge::server::Server;
use serde_json::Value;

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::{Account, Oracle, on_disk};
use super::process::{Ended, Process};
use super::{KEY, platform, until};
use crate::shim::Faults;

/// A lab under faults of its disk, whose run uploads.
pub(super) struct Ailing {
    pub(super) server: Server,
    pub(super) lab: Lab,
    pub(super) chamber: Chamber,
    pub(super) faults: Faults,
    pub(super) process: Process,
}

impl Ailing {
    pub(super) async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// The same, with something done to lab and faults before.
    pub(super) async fn start_with(prepare: impl FnOnce(&mut Lab, &Faults)) -> Self {
        let server = platform().await;
        let mut lab = Lab::new(&server.url());
        let chamber = Chamber::start(lab.folder());
        lab.field = chamber.toml();
        let faults = Faults::new(&lab.folder().join("faults"), &lab.data());
        prepare(&mut lab, &faults);
        let process = run_under(&lab, &faults);
        process.until("uploading has begun", |status| status["run"]["uploaded"].as_u64().unwrap() >= 20).await;
        Self { server, lab, chamber, faults, process }
    }

    /// Ends the run and holds everything against everything: nothing is missing, nothing is unrecorded.
    pub(super) async fn finish(self) -> (Account, Ended, Lab) {
        let ended = self.process.stop().await;
        let account = Oracle::new(&self.server, self.chamber.said()).check(&self.lab.run());
        account.assert_nothing_was_missed();
        (account, ended, self.lab)
    }
}

/// The program on a lab's file, under faults.
pub(super) fn run_under(lab: &Lab, faults: &Faults) -> Process {
    let mut environment = faults.environment();
    environment.push(("AS_API_KEY", KEY));
    Process::run_with(&lab.write(), &environment)
}

/// The newest reading of each channel.
fn newest(status: &Value) -> Vec<f64> {
    status["channels"].as_array().unwrap().iter().map(|channel| channel["at"].as_f64().unwrap()).collect()
}

/// Waits until every channel has a newer reading, and so many points are held in memory or were lost.
pub(super) async fn until_read_on(process: &Process, since: &Value) -> Value {
    let before = newest(since);
    process
        .until("every instrument is read on", |status| newest(status).iter().zip(&before).all(|(now, then)| now > then))
        .await
}

pub(super) fn pauses(stderr: &str) -> usize {
    super::process::logged(stderr, "recording pauses: the disk takes no data; samples are held in memory").len()
}

pub(super) fn resumptions(stderr: &str) -> usize {
    super::process::logged(stderr, "the disk takes data again").len()
}

/// Switches a fault on, sees the program go on without its disk for some seconds, and switches it off.
async fn an_outage_of(switch: &str, value: i64, why: &str) {
    let ailing = Ailing::start().await;
    let run = ailing.lab.run();
    ailing.faults.set(switch, value);
    let paused = ailing.process.until("recording pauses", |status| !status["run"]["paused"].is_null()).await;
    let committed = on_disk(&run);
    assert!(paused["run"]["paused"].as_str().unwrap().contains(why), "{:#}", paused["run"]);
    assert!(paused["complaints"].to_string().contains("recording has paused"), "{:#}", paused["complaints"]);
    let begun = Instant::now();
    let mut seen = paused;
    while begun.elapsed() < Duration::from_secs(3) {
        seen = until_read_on(&ailing.process, &seen).await;
        assert!(!seen["run"]["paused"].is_null(), "{:#}", seen["run"]);
    }
    ailing.faults.set(switch, if switch == "room_bytes" { -1 } else { 0 });
    ailing.process.until("recording goes on", |status| status["run"]["paused"].is_null()).await;
    let held = seen["run"]["recorded"].as_u64().unwrap();
    ailing.process.until_recorded(held + 100).await;
    assert!(committed.is_subset(&on_disk(&run)), "what was committed is gone");
    assert!(ailing.faults.get("faults") > 0);
    let (_, ended, _) = ailing.finish().await;
    assert_eq!((pauses(&ended.stderr), resumptions(&ended.stderr)), (1, 1), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_pauses_recording_and_nothing_else() {
    an_outage_of("room_bytes", 0, "full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_not_even_what_fits_in_place_pauses_recording_and_nothing_else() {
    an_outage_of("enospc", 1, "full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_became_read_only_pauses_recording_and_nothing_else() {
    an_outage_of("erofs", 1, "can't be written").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_to_write_pauses_recording_and_nothing_else() {
    an_outage_of("eio", 1, "can't be written").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_to_sync_pauses_recording_and_nothing_else() {
    an_outage_of("eio_sync", 1, "can't be written").await;
}

/// Seconds for each sync: what is read waits in memory meanwhile, and no poll waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_seconds_for_each_sync_holds_up_nothing_but_itself() {
    let ailing = Ailing::start().await;
    let first = ailing.process.until("it is read", |_| true).await;
    let polls = |status: &Value| -> Vec<(u64, u64)> {
        let of = |live: &Value| (live["polls"].as_u64().unwrap(), live["missed"].as_u64().unwrap());
        status["instruments"].as_array().unwrap().iter().map(of).collect()
    };
    ailing.faults.set("slow_sync_ms", 3_000);
    let (slow, syncs) = (Instant::now(), ailing.faults.get("syncs"));
    let mut seen = first.clone();
    until("three syncs have been slow", async || {
        seen = until_read_on(&ailing.process, &seen).await;
        let more = ailing.faults.get("syncs") - syncs;
        if more >= 3 { Ok(()) } else { Err(more) }
    })
    .await;
    assert!(slow.elapsed() >= Duration::from_secs(6));
    let missed = |status: &Value| polls(status).iter().map(|(_, missed)| missed).sum::<u64>();
    let polled = |status: &Value| polls(status).iter().map(|(polls, _)| polls).sum::<u64>();
    let (missed, polled) = (missed(&seen) - missed(&first), polled(&seen) - polled(&first));
    assert!(missed <= polled / 20, "{missed} slots were missed, {polled} polls were made");
    ailing.faults.set("slow_sync_ms", 0);
    let recorded = seen["run"]["recorded"].as_u64().unwrap();
    ailing.process.until_recorded(recorded + 100).await;
    ailing.finish().await;
}

/// On a disk that is broken from the start nothing is recorded and everything is shown; it begins when it is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_begins_as_soon_as_the_disk_lets_it() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    // The first start makes the folder.
    let first = Process::run(&lab.write());
    first.until_recorded(4).await;
    first.stop().await;
    let before = (lab.run(), chamber.said());
    let faults = Faults::new(&lab.folder().join("faults"), &lab.data());
    faults.set("room_bytes", 0);
    let process = run_under(&lab, &faults);
    let status = process
        .until("it complains and reads", |status| {
            status["complaints"].to_string().contains("nothing is recorded")
                && status["channels"].as_array().unwrap().iter().all(|channel| channel["at"].is_number())
        })
        .await;
    until_read_on(&process, &status).await;
    faults.set("room_bytes", -1);
    process.until_recorded(40).await;
    process.stop().await;
    // The run that was on the platform made way for it.
    assert_ne!(lab.run(), before.0);
    // What was said to the process before is not this one's.
    let said = chamber.said().into_iter().zip(&before.1).map(|(line, earlier)| line[earlier.len()..].to_vec());
    Oracle::new(&server, said.collect()).check(&lab.run()).assert_nothing_was_missed();
}
