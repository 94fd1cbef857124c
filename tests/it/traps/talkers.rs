//! Traps of instruments that speak unasked, over a real port: escaped bytes, packets in pieces, junk, wrong checksums,
//! relatives that mean something else by the same bytes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mbe_bridge::bridge::Reader;
use mbe_bridge::model::{Outcome, Quality};
use mbe_bridge::sim::{Fault, Place, Plan, Scenario, Sim, SimHandle, SimInstrument, SimSettings};

use super::shows::{self, DEADLINE, near, reader};

/// How finely a gauge tells decades of pressure in 16 bits, as a part of it.
const STEP: f64 = 1e-3;

fn talker(profile: &str, scenario: Scenario) -> SimHandle {
    let instrument =
        SimInstrument::of("talker", &shows::profile(profile), &BTreeMap::new(), scenario).unwrap().at_rate(50.0);
    Sim::start(SimSettings::new(Place::Pty { path: None }, vec![instrument])).unwrap()
}

fn listener(sim: &SimHandle, profile: &str, channel: &str) -> Reader {
    let text = format!(
        "[links.port.serial]\nport = \"{}\"\n[[instruments]]\nname = \"listener\"\nlink = \"port\"\n\
         profile = \"{profile}\"\nchannels.{channel} = {{ name = \"value\" }}\n",
        sim.port().unwrap().display()
    );
    reader(&text)
}

/// Watches what is shown until enough was; every outcome that was shown, and how many were read.
async fn watched(reader: &Reader, readings: u64) -> Vec<Outcome> {
    let begun = Instant::now();
    let mut shown: Vec<Outcome> = Vec::new();
    loop {
        let snapshot = reader.board().snapshot();
        let live = &snapshot.channels[0];
        if let Some((_, outcome)) = &live.latest
            && shown.last() != Some(outcome)
        {
            shown.push(outcome.clone());
        }
        if live.read >= readings {
            return shown;
        }
        assert!(begun.elapsed() < DEADLINE, "{} readings, {shown:?}", live.read);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nothing but this value, or a reading that is missing for one of these reasons.
fn assert_only(shown: &[Outcome], value: f64, reasons: &[&str]) {
    for outcome in shown {
        let fits = match outcome {
            Outcome::Value { value: read, quality: Quality::Good } => near(read.get(), value, STEP),
            Outcome::Value { .. } => false,
            Outcome::Bad(reason) => reasons.contains(&reason.as_str()),
        };
        assert!(fits, "{outcome:?} is neither {value} nor missing for one of {reasons:?}");
    }
    assert!(shown.iter().any(|outcome| outcome.value().is_some()), "{shown:?}");
}

/// 674.047 degC is `44 28 83 00`: the 83 is escaped on the wire (BASF Exactus manual).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escaped_packets_in_pieces_with_junk_are_read_right_or_not_at_all() {
    let sim = talker("basf-exactus-stream", Scenario::constant(674.046_875));
    let plans: [Plan; 3] =
        [Fault::Split(Duration::from_millis(1)).every(2), Fault::Junk(3).every(3), Fault::Truncate(4).every(5)];
    for plan in plans {
        sim.fault("talker", plan).unwrap();
    }
    let reader = listener(&sim, "basf-exactus-stream", "temperature");
    let shown = watched(&reader, 60).await;
    assert_only(&shown, 674.046_875, &["malformed", "checksum", "stale"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gauge_stream_survives_wrong_checksums_and_bits() {
    let sim = talker("inficon-bpg400", Scenario::constant(1e-3));
    for plan in [Fault::Checksum.every(3), Fault::BitFlip.every(4), Fault::Junk(5).every(5)] {
        sim.fault("talker", plan).unwrap();
    }
    let reader = listener(&sim, "inficon-bpg400", "pressure");
    let shown = watched(&reader, 100).await;
    assert_only(&shown, 1e-3, &["malformed", "checksum", "stale"]);
    reader.stop().await;
}

/// The HPG400 sends the frame of the BPG400 and means another pressure by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relative_of_another_law_gives_no_number() {
    let sim = talker("inficon-hpg400", Scenario::constant(1e-3));
    let reader = listener(&sim, "inficon-bpg400", "pressure");
    let shown = watched(&reader, 30).await;
    assert!(shown.iter().all(|outcome| matches!(outcome, Outcome::Bad(_))), "{shown:?}");
    reader.stop().await;
    let reader = listener(&sim, "inficon-hpg400", "pressure");
    assert_only(&watched(&reader, 30).await, 1e-3, &[]);
    reader.stop().await;
}

/// A gauge that goes silent is missing as stale, and is read again when it speaks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_talker_that_falls_silent_is_stale_and_comes_back() {
    let sim = talker("inficon-bpg400", Scenario::constant(1e-3));
    let reader = listener(&sim, "inficon-bpg400", "pressure");
    watched(&reader, 10).await;
    sim.fault("talker", Fault::Silence.always()).unwrap();
    let stale = |outcome: &Outcome| matches!(outcome, Outcome::Bad(reason) if reason.as_str() == "stale");
    let begun = Instant::now();
    let latest = || reader.board().snapshot().channels[0].latest.clone().map(|(_, outcome)| outcome);
    while !latest().as_ref().is_some_and(stale) {
        assert!(begun.elapsed() < DEADLINE, "{:?}", latest());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sim.clear_faults("talker").unwrap();
    while latest().as_ref().is_none_or(|outcome| outcome.value().is_none()) {
        assert!(begun.elapsed() < DEADLINE, "{:?}", latest());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    reader.stop().await;
}
