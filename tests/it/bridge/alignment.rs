//! The ways to make a time axis, end to end: what is filled is marked, and what is native lies on no grid.

use std::time::Duration;

use mbe_bridge::model::Mark;

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::{Account, Oracle, Point};
use super::platform;
use super::process::Process;

const TICK: i64 = 100_000_000;

/// The channel that is looked at.
const SLOW: &str = "chamber_pressure";

/// A run of the chamber with a gauge that is asked every 300 ms only.
async fn run(align: &str, period: Duration) -> Account {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber
        .toml()
        .replace("name = \"chamber_pressure\", every = \"100ms\"", "name = \"chamber_pressure\", every = \"300ms\"");
    lab.align = format!("lateness = \"300ms\"\n{align}");
    let process = Process::run(&lab.write());
    process
        .until("the gauge is recorded often enough", |status| {
            let channel = status["channels"].as_array().unwrap().iter().find(|channel| channel["name"] == SLOW);
            channel.unwrap()["counts"]["recorded"].as_u64().unwrap_or(0) >= 8
        })
        .await;
    process.stop().await;
    Oracle::new(&server, chamber.said()).every(period).check(&lab.run())
}

/// The points of the gauge: each filled one between the samples around it.
fn filled(account: &Account) -> Vec<[Point; 3]> {
    let points = &account.points[SLOW];
    let filled = points.iter().filter(|point| point.mark == Mark::Filled).count() as u64;
    let counts = account.of(SLOW);
    assert_eq!((counts.filled, counts.recorded), (filled, points.len() as u64 - filled));
    assert!(filled >= counts.recorded, "two of three ticks have no sample: {counts:?}");
    let sample = |point: &&Point| point.mark != Mark::Filled;
    let around = points.iter().enumerate().filter(|(_, point)| point.mark == Mark::Filled).filter_map(|(at, point)| {
        let before = points[..at].iter().rev().find(sample).expect("nothing is made before the first sample");
        // At the end of a run there may be nothing after.
        points[at..].iter().find(sample).map(|after| [*before, *point, *after])
    });
    around.collect()
}

fn assert_on_grid_without_gaps(account: &Account) {
    let points = &account.points[SLOW];
    assert!(points.iter().all(|point| point.at.as_nanos() % TICK == 0));
    assert!(points.windows(2).all(|pair| pair[1].at.nanos_since(pair[0].at) == TICK), "{points:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_repeats_the_last_reading_and_says_so() {
    let account = run("fill = \"hold\"\nmax_age = \"1s\"", Duration::from_millis(100)).await;
    assert_on_grid_without_gaps(&account);
    for [before, filled, _] in filled(&account) {
        assert_eq!(filled.value.to_bits(), before.value.to_bits(), "{filled:?} after {before:?}");
        assert!(filled.at.since(before.at) <= Duration::from_secs(1) + Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linear_draws_the_line_between_two_readings_and_says_so() {
    let account = run("fill = \"linear\"\nmax_age = \"1s\"", Duration::from_millis(100)).await;
    assert_on_grid_without_gaps(&account);
    let filled = filled(&account);
    assert!(filled.len() >= 10, "{filled:?}");
    for [before, filled, after] in filled {
        let part = filled.at.nanos_since(before.at) as f64 / after.at.nanos_since(before.at) as f64;
        let line = before.value + (after.value - before.value) * part;
        // The line is drawn between the samples' own times, which are up to half a tick from their ticks.
        let most = (after.value - before.value).abs() * 50.0 / 300.0;
        assert!((filled.value - line).abs() <= most, "{filled:?} between {before:?} and {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_stamps_are_those_of_the_readings() {
    let account = run("mode = \"native\"", Duration::ZERO).await;
    account.assert_nothing_was_missed();
    let stamps = |name: &str| account.points[name].iter().map(|point| point.at).collect::<Vec<_>>();
    for (name, points) in &account.points {
        assert!(points.iter().all(|point| point.mark == Mark::Good && point.at.as_nanos() % TICK != 0), "{name}");
        let counts = account.of(name);
        assert_eq!((counts.filled, counts.decimated), (0, 0), "{name}");
    }
    // The controller is asked twice in a row, since its registers lie apart: each answer has a time of its own.
    let (first, second) = (stamps("manipulator_temperature"), stamps("heater_output"));
    assert!(first.iter().zip(&second).all(|(first, second)| first < second), "{first:?}\n{second:?}");
}
