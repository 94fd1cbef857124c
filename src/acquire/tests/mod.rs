//! What the poller makes of answers, failures and losses. Drivers and connectors are mocks: they decide, the poller reacts.

mod gateways;
mod links;
mod samples;
mod warm_up;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::driver::Error as DriverError;
use crate::driver::Exchange;
use crate::driver::MockDriver;
use crate::driver::PollSpec;
use crate::driver::Polled;
use crate::driver::Protocol;
use crate::link::MockConnector;
use crate::link::Pacer;
use crate::link::Wire;
use crate::link::WireSettings;
use crate::model::{ChannelIndex, Outcome, Reading, TimeBase};

use super::poller::Poller;
use super::{Event, Instrument, Plan, Poll, Report, Settings};

const EVERY: Duration = Duration::from_millis(20);

fn settings() -> Settings {
    Settings { link: 0, name: "bus".into(), protocol: Protocol::Bytes }
}

/// A connector whose link can always be opened; nobody is at the other end, since the driver is a mock.
fn connector() -> MockConnector {
    let mut connector = MockConnector::new();
    connector.expect_describe().return_const("a pipe".to_owned());
    connector.expect_open().returning(|| {
        let (near, far) = tokio::io::duplex(64);
        std::mem::forget(far);
        Ok(Wire::new(near, WireSettings::socket(), Pacer::coarse(), None))
    });
    connector
}

/// A driver with one poll that feeds these channels and is answered like this.
fn driver(channels: usize, answer: impl Fn(usize) -> Polled + Send + 'static) -> MockDriver {
    let mut driver = MockDriver::new();
    let poll = PollSpec { every: EVERY, channels: (0..channels).collect(), exchanges: Vec::new() };
    driver.expect_polls().return_const(vec![poll]);
    driver.expect_connect().returning(|_| Ok(()));
    driver.expect_left_out().returning(Vec::new);
    driver.expect_listens().return_const(false);
    let number = AtomicUsize::new(0);
    driver.expect_poll().returning(move |_, _| answer(number.fetch_add(1, Ordering::SeqCst)));
    driver
}

fn instrument(name: &str, first_channel: usize, channels: usize, driver: MockDriver) -> Instrument {
    let channels = (first_channel..first_channel + channels).map(|channel| Some(ChannelIndex(channel))).collect();
    Instrument { name: name.into(), driver: Box::new(driver), channels, warm_up: Duration::ZERO }
}

fn answered(readings: Vec<Reading>) -> Polled {
    let now = Instant::now();
    let exchange = Exchange { asked: now - Duration::from_millis(6), answered: now, readings };
    Polled { exchanges: vec![exchange], failure: None }
}

fn reading(channel: usize, value: f64) -> Reading {
    Reading { channel, outcome: Outcome::good(value) }
}

fn failed(error: DriverError) -> Polled {
    Polled { exchanges: Vec::new(), failure: Some(error) }
}

/// A poller that runs as long as this lives.
struct Running {
    reports: mpsc::Receiver<Report>,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    fn start(plan: Plan) -> Self {
        Self::start_with(settings(), plan)
    }

    fn start_with(settings: Settings, plan: Plan) -> Self {
        let (sender, reports) = mpsc::channel(1000);
        let stop = CancellationToken::new();
        let poller = Poller::new(settings, TimeBase::start(), Pacer::coarse(), plan, sender, stop.clone());
        tokio::spawn(poller.run());
        Self { reports, stop }
    }

    async fn next(&mut self) -> Report {
        tokio::time::timeout(Duration::from_secs(10), self.reports.recv()).await.expect("a report").unwrap()
    }

    async fn next_poll(&mut self, instrument: usize) -> Poll {
        loop {
            match self.next().await.event {
                Event::Polled(poll) if poll.instrument == instrument => return poll,
                _ => {}
            }
        }
    }
}
