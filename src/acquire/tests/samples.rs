//! What becomes of readings: samples with a time, and what is missing has a reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::driver::Error as DriverError;
use crate::driver::LeftOut as DriverLeftOut;
use crate::driver::MockDriver;
use crate::driver::PollSpec;
use crate::driver::Polled;
use crate::model::{ChannelIndex, Outcome, Reason, TimeBase};

use super::super::{Event, Instrument, LeftOut, Plan};
use super::{EVERY, Running, answered, connector, driver, failed, instrument, reading};

#[tokio::test]
async fn a_sample_has_the_midpoint_of_its_exchange_and_half_the_round_trip_as_uncertainty() {
    let plan = Plan {
        connector: Box::new(connector()),
        instruments: vec![instrument("pyrometer", 0, 1, driver(1, |n| answered(vec![reading(0, n as f64)])))],
    };
    let before = TimeBase::start();
    let mut running = Running::start(plan);
    assert_eq!(running.next().await.event, Event::Opened);
    let poll = running.next_poll(0).await;
    assert_eq!(poll.samples.len(), 1);
    assert_eq!(poll.samples[0].uncertainty, Duration::from_millis(3));
    assert_eq!(poll.round_trip, Some(Duration::from_millis(6)));
    let after = before.now();
    assert!(poll.samples[0].at > before.zero().wall.minus(Duration::from_millis(10)) && poll.samples[0].at < after);
    let second = running.next_poll(0).await;
    assert!(second.samples[0].at > poll.samples[0].at);
    assert_eq!(second.samples[0].outcome, Outcome::good(1.0));
}

#[tokio::test]
async fn a_reading_that_did_not_come_is_missing_with_its_reason_and_the_instrument_gets_a_pause() {
    let silent = driver(2, |_| failed(DriverError::NoReply(Duration::from_millis(1))));
    let well = driver(1, |_| answered(vec![reading(0, 1.0)]));
    let plan = Plan {
        connector: Box::new(connector()),
        instruments: vec![instrument("silent", 0, 2, silent), instrument("well", 2, 1, well)],
    };
    let mut running = Running::start(plan);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let poll = running.next_poll(0).await;
        let outcomes: Vec<_> = poll.samples.iter().map(|s| (s.channel.0, s.outcome.clone())).collect();
        assert_eq!(outcomes, [(0, Outcome::Bad(Reason::NO_REPLY)), (1, Outcome::Bad(Reason::NO_REPLY))]);
        pauses.push(poll.failure.unwrap().pause);
    }
    assert_eq!(pauses, [None, None, Some(Duration::from_secs(1))]);
    let mut neighbour = 0;
    loop {
        match running.next().await.event {
            Event::Polled(poll) if poll.instrument == 0 => break,
            Event::Polled(_) => neighbour += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(neighbour > 25, "the neighbour keeps its rate of 50 a second: {neighbour}");
}

#[tokio::test]
async fn what_was_answered_before_a_failure_is_kept() {
    let half = driver(2, |_| Polled { failure: Some(DriverError::Checksum), ..answered(vec![reading(0, 7.0)]) });
    let plan = Plan { connector: Box::new(connector()), instruments: vec![instrument("half", 0, 2, half)] };
    let mut running = Running::start(plan);
    let poll = running.next_poll(0).await;
    let outcomes: Vec<_> = poll.samples.iter().map(|s| (s.channel.0, s.outcome.clone())).collect();
    assert_eq!(outcomes, [(0, Outcome::good(7.0)), (1, Outcome::Bad(Reason::CHECKSUM))]);
}

#[tokio::test]
async fn channels_that_the_lab_does_not_use_make_no_samples() {
    let two = driver(2, |_| answered(vec![reading(0, 1.0), reading(1, 2.0)]));
    let mut unused = instrument("two", 0, 2, two);
    unused.channels[0] = None;
    let mut running = Running::start(Plan { connector: Box::new(connector()), instruments: vec![unused] });
    let poll = running.next_poll(0).await;
    assert_eq!(poll.samples.iter().map(|s| s.channel.0).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn what_an_instrument_refuses_is_reported_when_it_changes_by_the_labs_channels() {
    let polled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polled);
    let mut choosy = MockDriver::new();
    choosy.expect_listens().return_const(false);
    let poll = PollSpec { every: EVERY, channels: vec![0, 1, 2], exchanges: Vec::new() };
    choosy.expect_polls().return_const(vec![poll]);
    choosy.expect_connect().returning(|_| Ok(()));
    choosy.expect_poll().returning(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        answered(vec![reading(0, 1.0)])
    });
    let refused = |channels: &[usize], what: &str| DriverLeftOut { channels: channels.to_vec(), what: what.to_owned() };
    choosy.expect_left_out().returning(move || match polled.load(Ordering::SeqCst) {
        2..4 => vec![refused(&[1, 2], "holding 40: exception 2"), refused(&[2], "holding 50: exception 2")],
        _ => Vec::new(),
    });
    let mut instrument = Instrument {
        name: "choosy".into(),
        driver: Box::new(choosy),
        channels: (10..13).map(|channel| Some(ChannelIndex(channel))).collect(),
        warm_up: Duration::ZERO,
    };
    instrument.channels[2] = None;
    let mut running = Running::start(Plan { connector: Box::new(connector()), instruments: vec![instrument] });
    let mut reported = Vec::new();
    for _ in 0..5 {
        reported.push(running.next_poll(0).await.left_out);
    }
    let said = LeftOut { channels: vec![ChannelIndex(11)], what: "holding 40: exception 2".to_owned() };
    assert_eq!(reported, [None, Some(vec![said]), None, Some(Vec::new()), None]);
}
