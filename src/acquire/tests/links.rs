//! Links that are lost, can't be opened or hang, and a poller that panics.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::driver::Error as DriverError;
use crate::driver::MockDriver;
use crate::driver::PollSpec;
use crate::link::Connector;
use crate::link::MockConnector;
use crate::link::Pacer;
use crate::link::Wire;
use crate::link::WireSettings;
use crate::model::{Outcome, Stamp, TimeBase};

use super::super::{Event, LinkThread, Plan};
use super::{EVERY, Running, answered, connector, driver, failed, instrument, reading, settings};

#[tokio::test]
async fn a_port_that_is_gone_is_opened_again_and_nothing_is_stamped_meanwhile() {
    let unplugged = driver(1, |n| match n {
        1 | 2 => failed(DriverError::Gone(io::Error::from(io::ErrorKind::BrokenPipe))),
        n => answered(vec![reading(0, n as f64)]),
    });
    let plan = Plan { connector: Box::new(connector()), instruments: vec![instrument("pyrometer", 0, 1, unplugged)] };
    let mut running = Running::start(plan);
    let mut story = Vec::new();
    while story.len() < 6 {
        let report = running.next().await;
        story.push(match report.event {
            Event::Opened => "opened",
            Event::Down { .. } => {
                assert_eq!(report.watermark, Stamp::from_nanos(i64::MAX));
                "down"
            }
            Event::Missed { .. } => continue,
            Event::Polled(poll) if poll.failure.is_some() => "failed",
            Event::Polled(_) => "polled",
            Event::Heard(talk) => panic!("{talk:?}"),
        });
    }
    assert_eq!(story, ["opened", "polled", "failed", "down", "opened", "polled"]);
}

#[tokio::test]
async fn a_link_that_can_not_be_opened_is_tried_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let mut stubborn = MockConnector::new();
    stubborn.expect_describe().return_const("a pipe".to_owned());
    stubborn.expect_open().returning(move || {
        if counted.fetch_add(1, Ordering::SeqCst) < 3 {
            return Err(crate::link::Error::NotThere { port: "a pipe".to_owned() });
        }
        let (near, far) = tokio::io::duplex(64);
        std::mem::forget(far);
        Ok(Wire::new(near, WireSettings::socket(), Pacer::coarse(), None))
    });
    let one = driver(1, |_| answered(vec![reading(0, 1.0)]));
    let mut running =
        Running::start(Plan { connector: Box::new(stubborn), instruments: vec![instrument("one", 0, 1, one)] });
    for _ in 0..3 {
        assert!(matches!(running.next().await.event, Event::Down { .. }));
    }
    assert_eq!(running.next().await.event, Event::Opened);
    assert_eq!(running.next_poll(0).await.samples.len(), 1);
}

#[tokio::test]
async fn a_poller_that_panics_is_started_again() {
    let lives = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lives);
    let plan = move || {
        let life = counted.fetch_add(1, Ordering::SeqCst);
        let one = driver(1, move |_| {
            assert!(life > 0, "the first life ends here");
            answered(vec![reading(0, 5.0)])
        });
        Plan { connector: Box::new(connector()), instruments: vec![instrument("one", 0, 1, one)] }
    };
    let (sender, mut reports) = mpsc::channel(100);
    let stop = CancellationToken::new();
    let thread = LinkThread::start(settings(), TimeBase::start(), plan, sender, stop.clone()).unwrap();
    loop {
        let report = tokio::time::timeout(Duration::from_secs(10), reports.recv()).await.unwrap().unwrap();
        if matches!(&report.event, Event::Polled(poll) if poll.samples[0].outcome == Outcome::good(5.0)) {
            break;
        }
    }
    assert_eq!(lives.load(Ordering::SeqCst), 2);
    stop.cancel();
    tokio::task::spawn_blocking(|| thread.join()).await.unwrap();
}

/// A connector that is stuck in a call of the system, as a name look-up can be, until it is told to go on.
struct Stuck {
    entered: mpsc::Sender<()>,
    go_on: Arc<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>,
}

#[async_trait::async_trait]
impl Connector for Stuck {
    async fn open(&mut self) -> Result<Wire, crate::link::Error> {
        let (entered, go_on) = (self.entered.clone(), Arc::clone(&self.go_on));
        tokio::task::spawn_blocking(move || {
            entered.blocking_send(()).ok();
            go_on.lock().unwrap().recv().ok();
        })
        .await
        .unwrap();
        Err(crate::link::Error::NotThere { port: self.describe() })
    }

    fn describe(&self) -> String {
        "a name".to_owned()
    }
}

#[tokio::test]
async fn a_name_look_up_that_hangs_does_not_keep_a_link_from_ending() {
    let (held, go_on) = std::sync::mpsc::channel();
    let (entered, mut looking_up) = mpsc::channel(10);
    let go_on = Arc::new(std::sync::Mutex::new(go_on));
    let plan = move || {
        let one = driver(1, |_| answered(vec![reading(0, 1.0)]));
        let connector = Box::new(Stuck { entered: entered.clone(), go_on: Arc::clone(&go_on) });
        Plan { connector, instruments: vec![instrument("one", 0, 1, one)] }
    };
    let (sender, _reports) = mpsc::channel(100);
    let stop = CancellationToken::new();
    let thread = LinkThread::start(settings(), TimeBase::start(), plan, sender, stop.clone()).unwrap();
    looking_up.recv().await.unwrap();
    stop.cancel();
    let ended = tokio::task::spawn_blocking(|| thread.join());
    let in_time = tokio::time::timeout(Duration::from_secs(5), ended).await.is_ok();
    drop(held);
    assert!(in_time, "the thread waits for the look-up");
}

#[tokio::test]
async fn a_renewed_connection_is_a_new_one_to_the_instrument_too_and_is_prepared_before_it_is_asked() {
    let prepared = Arc::new(AtomicUsize::new(0));
    let (counted, seen) = (Arc::clone(&prepared), Arc::clone(&prepared));
    let mut one = MockDriver::new();
    one.expect_listens().return_const(false);
    one.expect_polls().return_const(vec![PollSpec { every: EVERY, channels: vec![0], exchanges: Vec::new() }]);
    one.expect_left_out().returning(Vec::new);
    one.expect_connect().returning(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let number = AtomicUsize::new(0);
    one.expect_poll().returning(move |_, _| match number.fetch_add(1, Ordering::SeqCst) {
        // The peer has closed the idle connection; the poll is carried out on the next.
        2 => failed(DriverError::Gone(io::ErrorKind::BrokenPipe.into())),
        _ => answered(vec![reading(0, seen.load(Ordering::SeqCst) as f64)]),
    });
    let mut running =
        Running::start(Plan { connector: Box::new(connector()), instruments: vec![instrument("one", 0, 1, one)] });
    let mut values = Vec::new();
    while values.len() < 4 {
        match running.next().await.event {
            Event::Opened | Event::Missed { .. } => {}
            Event::Polled(poll) => values.extend(poll.samples.into_iter().map(|sample| sample.outcome)),
            Event::Heard(talk) => panic!("{talk:?}"),
            Event::Down { why } => panic!("{why}"),
        }
    }
    assert_eq!(values, [1.0, 1.0, 2.0, 2.0].map(Outcome::good), "no reading is lost");
}
