//! `kill -9` in the middle: the next start goes on with the same run and the same stream.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mbe_bridge::model::TimeBase;
use mbe_bridge::sim::Said;

use super::field::Chamber;
use super::lab::Lab;
use super::machine::Machine;
use super::oracle::{Account, Oracle, on_disk};
use super::process::Process;
use super::{platform, until};

/// What the lab's file says: `commit_every` and `lateness` together.
const LEAST_DURABLE_AFTER: Duration = Duration::from_millis(100 + 300);

/// Turns of the scheduler on the way from the instrument to the disk.
const BUSY: Duration = Duration::from_millis(300);

/// A value comes once in so many nanoseconds, and the oracle says whether its stamp is right.
const NEAR: u64 = 1_000_000_000;

/// Moments of the kills after the first recorded point, from a fixed seed: the same ones in every test run.
fn moments() -> Vec<Duration> {
    let mut random = fastrand::Rng::with_seed(0x6d62_6500);
    (0..5).map(|_| Duration::from_millis(random.u64(0..1_800))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_goes_on_and_loses_no_more_than_the_last_commit() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    // A chunk lasts longer than a session, so that nothing but commits makes anything durable.
    lab.stream = "points_per_chunk = 40".to_owned();
    lab.field = chamber.toml();
    let file = lab.write();
    let machine = Machine::watch(lab.folder());
    let mut kills: Vec<Instant> = Vec::new();
    let mut durable = BTreeSet::new();
    for moment in moments() {
        let process = Process::run(&file);
        let before = durable.len();
        process.until_recorded(u64::try_from(before).unwrap() + 1).await;
        let due = Instant::now() + moment;
        until("the moment comes", async || if Instant::now() >= due { Ok(()) } else { Err(()) }).await;
        kills.push(process.kill());
        let found = on_disk(&lab.run());
        assert!(durable.is_subset(&found), "what was on disk is gone");
        assert!(found.len() > before);
        durable = found;
    }
    let process = Process::run(&file);
    process.until_recorded(u64::try_from(durable.len()).unwrap() + 8).await;
    let ended = process.stop().await;
    assert!(ended.stderr.contains("the run is gone on with"), "{}", ended.stderr);

    let said = chamber.said();
    let account = Oracle::new(&server, said.clone()).check(&lab.run());
    assert_eq!((account.streams.len(), server.streams().unwrap().len()), (1, 1), "one stream for all sessions");
    assert_eq!(account.sessions.len(), kills.len() + 1);
    assert!(account.sessions.windows(2).all(|pair| pair[0].anchor < pair[1].anchor));
    // The oracle has found every confirmed point on the platform once. What was durable is among them.
    assert!(durable.is_subset(&on_disk(&lab.run())), "what was durable before a kill is not on the platform");
    // A commit waits for the disk, and the next one behind it.
    let busy = BUSY + 2 * machine.longest_wait();
    let lost = lost_before(&said.concat(), &account, &kills, LEAST_DURABLE_AFTER + busy);
    assert_eq!(lost, Vec::<String>::new());
}

/// What had been said for so long when the process was killed, and is not on the platform although nothing else became of
/// it.
fn lost_before(said: &[Said], account: &Account, kills: &[Instant], so_long: Duration) -> Vec<String> {
    let time = TimeBase::start();
    let channels = [
        ("pyrometer", "temperature", "substrate_temperature"),
        ("gauge", "pressure_1", "chamber_pressure"),
        ("controller", "process_value", "manipulator_temperature"),
        ("controller", "working_output", "heater_output"),
    ];
    let mut wrong = Vec::new();
    for (instrument, source, name) in channels {
        let counts = account.of(name);
        let beside = usize::try_from(counts.decimated + counts.late + counts.bad_total()).unwrap();
        let missing: Vec<_> = said
            .iter()
            .filter(|said| *said.instrument == *instrument && *said.channel == *source && said.intact)
            .filter(|said| {
                // What was said in the last moments before a kill, or to a process that was no more, may be lost: that is
                // what the promise says.
                !kills.iter().any(|dead| {
                    said.request_received <= *dead && dead.saturating_duration_since(said.reply_sent) < so_long
                })
            })
            .filter(|said| {
                let at = time.stamp(said.request_received);
                let value = said.outcome.value().unwrap().get();
                !account.points[name].iter().any(|point| {
                    point.at.nanos_since(at).unsigned_abs() < NEAR && (point.value - value).abs() <= value * 1e-12
                })
            })
            .map(|said| (time.stamp(said.request_received), said.outcome.clone()))
            .collect();
        // The last question of the last session is dropped when that is stopped.
        if missing.len() > beside + 1 {
            wrong.push(format!("{name}: {missing:?} of {counts:?}"));
        }
    }
    wrong
}
