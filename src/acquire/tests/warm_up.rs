//! Silence of an instrument that was switched on a short time ago, or may have been.

use std::time::Duration;

use crate::driver::Error as DriverError;
use crate::driver::Polled;
use crate::model::Reason;

use super::super::Plan;
use super::{Running, answered, connector, driver, failed, instrument, reading};

fn silence() -> Polled {
    failed(DriverError::NoReply(Duration::from_millis(1)))
}

/// The reasons of this instrument's failures and how long it is left alone for each.
async fn failures(running: &mut Running, number: usize) -> Vec<(Reason, u64)> {
    let mut seen = Vec::new();
    for _ in 0..number {
        let failure = running.next_poll(0).await.failure.unwrap();
        seen.push((failure.reason, failure.pause.map_or(0, |pause| pause.as_secs())));
    }
    seen
}

#[tokio::test]
async fn silence_after_switching_on_is_no_fault_for_as_long_as_the_profile_says() {
    let mut slow = instrument("slow", 0, 1, driver(1, |_| silence()));
    slow.warm_up = Duration::from_millis(1_500);
    let mut running = Running::start(Plan { connector: Box::new(connector()), instruments: vec![slow] });
    let (warms, silent) = (Reason::WARMING_UP, Reason::NO_REPLY);
    let expected = [(warms.clone(), 0), (warms.clone(), 0), (warms.clone(), 1), (warms, 1), (silent, 2)];
    assert_eq!(failures(&mut running, 5).await, expected);
}

#[tokio::test]
async fn an_instrument_that_falls_silent_may_have_been_switched_off_and_on() {
    let restarted = driver(1, |n| match n {
        2..4 => silence(),
        4 => failed(DriverError::Checksum),
        n => answered(vec![reading(0, n as f64)]),
    });
    let mut restarted = instrument("restarted", 0, 1, restarted);
    restarted.warm_up = Duration::from_secs(60);
    let mut running = Running::start(Plan { connector: Box::new(connector()), instruments: vec![restarted] });
    let mut story = Vec::new();
    for _ in 0..6 {
        let poll = running.next_poll(0).await;
        story.push(poll.failure.map(|failure| failure.reason));
        assert_eq!(poll.samples.len(), 1, "each poll is accounted for");
    }
    let (warms, garbled) = (Some(Reason::WARMING_UP), Some(Reason::CHECKSUM));
    assert_eq!(story, [None, None, warms.clone(), warms, garbled, None], "what is not silence is a fault");
}

#[tokio::test]
async fn a_connection_that_is_opened_again_for_a_silent_instrument_does_not_warm_it_up_for_ever() {
    let given_up = || failed(DriverError::GivenUp(Box::new(DriverError::NoReply(Duration::from_millis(1)))));
    let mut dead = instrument("dead", 0, 1, driver(1, move |_| given_up()));
    dead.warm_up = Duration::from_millis(500);
    let mut running = Running::start(Plan { connector: Box::new(connector()), instruments: vec![dead] });
    let reasons: Vec<_> = failures(&mut running, 4).await.into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons.first(), Some(&Reason::WARMING_UP));
    assert_eq!(reasons.last(), Some(&Reason::NO_REPLY));
}
