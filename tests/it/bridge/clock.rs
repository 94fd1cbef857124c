//! Stamps are the platform's time, unless the lab says otherwise.

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::{Account, Oracle};
use super::process::Process;
use super::{KEY, platform};

const AHEAD: i64 = 90_000_000_000;

/// A run under a platform whose clock is ahead of the host's, with stamps expected this far ahead.
async fn run(environment: &[(&str, &str)], expected_ahead: i64) -> (Account, serde_json::Value) {
    let server = platform().await;
    server.set_clock_ahead(AHEAD);
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run_with(&lab.write(), environment);
    let status = process.until("uploading has begun", |status| status["run"]["uploaded"].as_u64().unwrap() >= 40).await;
    process.stop().await;
    (Oracle::new(&server, chamber.said()).ahead(expected_ahead).check(&lab.run()), status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stamps_are_the_platform_s_time() {
    let (account, status) = run(&[("AS_API_KEY", KEY)], AHEAD).await;
    account.assert_nothing_was_missed();
    let offset = status["clock"]["offset"].as_f64().unwrap();
    let uncertainty = status["clock"]["uncertainty"].as_f64().unwrap();
    assert_eq!(status["clock"]["source"], "platform");
    assert!((offset - 90.0).abs() <= uncertainty && uncertainty < 1.0, "{offset} +- {uncertainty}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_clock_turned_off_stamps_are_the_host_s_time() {
    let (account, status) = run(&[("AS_API_KEY", KEY), ("ATOMSCALE_SKIP_CLOCK_SYNC", "1")], 0).await;
    account.assert_nothing_was_missed();
    assert!(status["clock"].is_null(), "{status:#}");
}
