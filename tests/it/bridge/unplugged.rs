//! Adapters are unplugged and gateways restarted: one line in the log each way, and nobody else notices.

use std::time::{Duration, Instant};

use mbe_bridge::sim::SimHandle;

use super::field::Chamber;
use super::lab::Lab;
use super::oracle::Oracle;
use super::process::Process;
use super::{platform, until};

/// How long the two links are away each time.
const AWAY: Duration = Duration::from_millis(1_500);

async fn until_polled(line: &SimHandle, name: &str, more: u64) -> Instant {
    let before = line.polls_seen(name).unwrap();
    until("the instrument is asked", async || {
        let polls = line.polls_seen(name).unwrap() - before;
        if polls >= more { Ok(Instant::now()) } else { Err(polls) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unplugged_is_back_soon_after_it_is_replugged_and_costs_nobody_else() {
    let server = platform().await;
    let mut lab = Lab::new(&server.url());
    let chamber = Chamber::start(lab.folder());
    lab.field = chamber.toml();
    let process = Process::run(&lab.write());
    process.until_recorded(12).await;

    for outage in 1..=2 {
        let (asked, used, began) =
            (chamber.controller.polls_seen("controller").unwrap(), process.processor_time(), Instant::now());
        chamber.pyrometer.hang_up().unwrap();
        chamber.gauge.hang_up().unwrap();
        process
            .until("both links are down for a while", |status| {
                let down = status["links"].as_array().unwrap().iter().filter(|link| link["state"] == "down");
                down.count() == 2 && began.elapsed() >= AWAY
            })
            .await;
        let away = began.elapsed();
        let used = process.processor_time() - used;
        assert!(used < away.mul_f64(0.25), "{used:?} of processor time in {away:?}");
        let asked = chamber.controller.polls_seen("controller").unwrap() - asked;
        assert!(asked as f64 >= away.as_secs_f64() * 10.0 * 0.7, "the controller was asked {asked} times in {away:?}");

        let back = Instant::now();
        chamber.pyrometer.come_back().unwrap();
        chamber.gauge.come_back().unwrap();
        let (pyrometer, gauge) =
            tokio::join!(until_polled(&chamber.pyrometer, "pyrometer", 1), until_polled(&chamber.gauge, "gauge", 1));
        for polled in [pyrometer, gauge] {
            assert!(polled.duration_since(back) < Duration::from_secs(2), "after {:?}", polled.duration_since(back));
        }
        process
            .until("both links are back", |status| {
                let open = status["links"].as_array().unwrap().iter().filter(|link| link["state"] == "open");
                open.count() == 3 && process.logged("link is back").len() == 2 * outage
            })
            .await;
    }
    let ended = process.stop().await;
    for message in ["link is down", "link is back"] {
        let mut links: Vec<_> = super::process::logged(&ended.stderr, message)
            .into_iter()
            .map(|line| line["link"].as_str().unwrap().to_owned())
            .collect();
        links.sort();
        assert_eq!(links, ["gauges", "gauges", "pyro", "pyro"], "{message}\n{}", ended.stderr);
    }
    let account = Oracle::new(&server, chamber.said()).check(&lab.run());
    let recorded = |name: &str| account.of(name).recorded;
    assert!(recorded("manipulator_temperature") > recorded("substrate_temperature"));
    assert!(recorded("manipulator_temperature") > recorded("chamber_pressure"));
}
