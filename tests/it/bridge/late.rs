//! Answers that come after their question was given up: none of them is taken for the answer to the next question.

use mbe_bridge::model::Reason;

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::Oracle;
use super::platform;
use super::process::Process;

/// The pyrometer is waited for 250 ms, the controller 500 ms, and their readings change with every answer. What the oracle
/// holds a stamp against is the middle of the exchange in which the value was said: a late answer that is taken for the next
/// one is off by more than it allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_a_missing_point_and_never_a_wrong_one() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    lab.align = "lateness = \"2s\"".to_owned();
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    process.until_recorded(20).await;
    chamber.pyrometer.fault("pyrometer", "late:400ms/5".parse().unwrap()).unwrap();
    chamber.controller.fault("controller", "late:700ms/4".parse().unwrap()).unwrap();
    process
        .until("both were late often enough and have answered in between", |status| {
            let channels = status["channels"].as_array().unwrap();
            ["substrate_temperature", "manipulator_temperature"].iter().all(|name| {
                let channel = channels.iter().find(|channel| channel["name"] == *name).unwrap();
                let bad: u64 = channel["counts"]["bad"].as_object().unwrap().values().filter_map(|n| n.as_u64()).sum();
                bad >= 3
            })
        })
        .await;
    chamber.pyrometer.clear_faults("pyrometer").unwrap();
    chamber.controller.clear_faults("controller").unwrap();
    process
        .until("both answer in time again", |status| {
            let instruments = status["instruments"].as_array().unwrap();
            instruments.iter().all(|instrument| instrument["failing_since"].is_null())
        })
        .await;
    let ended = process.stop().await;

    let account = Oracle::new(&server, chamber.said()).check(&lab.run());
    for name in ["substrate_temperature", "manipulator_temperature", "heater_output"] {
        let counts = account.of(name);
        assert!(counts.bad.get(&Reason::NO_REPLY).is_some_and(|bad| *bad >= 1), "{name}: {counts:?}");
        assert!(counts.recorded >= 5, "{name}: {counts:?}");
    }
    let gauge = account.of("chamber_pressure");
    assert!(gauge.bad_total() <= 1 && gauge.recorded > account.of("substrate_temperature").recorded, "{gauge:?}");
    // Both have said more than was taken for an answer, and nobody calls that a broken link.
    assert!(account.said["substrate_temperature"] as u64 > account.of("substrate_temperature").recorded);
    assert!(!ended.stderr.contains("link is down"), "{}", ended.stderr);
}
