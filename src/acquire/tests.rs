//! What the poller makes of answers, failures and losses. Drivers and connectors are mocks: they decide, the poller reacts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::poller::Poller;
use super::{Event, Instrument, LeftOut, LinkThread, Plan, Poll, Report, Settings};
use crate::driver::Error as DriverError;
use crate::driver::Exchange;
use crate::driver::LeftOut as DriverLeftOut;
use crate::driver::MockDriver;
use crate::driver::ModbusDriver;
use crate::driver::PollSpec;
use crate::driver::Polled;
use crate::driver::Protocol;
use crate::driver::modbus_unit;
use crate::link::Connector;
use crate::link::MockConnector;
use crate::link::Pacer;
use crate::link::TcpConnector;
use crate::link::Wire;
use crate::link::WireSettings;
use crate::model::{ChannelIndex, Outcome, Reading, Reason, Stamp, TimeBase};

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

fn modbus_instrument(name: &str, first_channel: usize, driver: ModbusDriver) -> Instrument {
    let channels = vec![Some(ChannelIndex(first_channel)), Some(ChannelIndex(first_channel + 1))];
    Instrument { name: name.into(), driver: Box::new(driver), channels, warm_up: Duration::ZERO }
}

/// Polls over Modbus/TCP; the gateway treats each connection like this.
async fn over_tcp<F>(instruments: Vec<Instrument>, gateway: impl Fn(TcpStream) -> F + Send + 'static) -> Running
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(gateway(stream));
        }
    });
    let connector = Box::new(TcpConnector::new(&address, format!("modbus-tcp {address}"), None));
    Running::start_with(Settings { protocol: Protocol::ModbusTcp, ..settings() }, Plan { connector, instruments })
}

/// The answer of a unit whose one register holds 7.
fn seven(question: &[u8; 12]) -> Vec<u8> {
    [&question[..4], &[0, 5, question[6], 3, 2, 0, 7]].concat()
}

#[tokio::test]
async fn a_gateway_that_closes_idle_connections_costs_no_reading() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let slow = modbus_instrument("slow", 0, modbus_unit(1, Duration::from_secs(1)));
    let mut running = over_tcp(vec![slow], move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut question = [0; 12];
            let idle = Duration::from_millis(300);
            while let Ok(Ok(_)) = tokio::time::timeout(idle, stream.read_exact(&mut question)).await {
                stream.write_all(&seven(&question)).await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(running.next().await.event, Event::Opened);
    let mut last_opened = 0;
    for _ in 0..4 {
        let event = running.next().await.event;
        let Event::Polled(poll) = event else { panic!("{event:?}") };
        let outcomes: Vec<_> = poll.samples.into_iter().map(|sample| sample.outcome).collect();
        assert_eq!(outcomes, [Outcome::good(7.0), Outcome::good(7.0)]);
        assert_eq!((poll.missed, poll.failure), (0, None));
        last_opened = opened.load(Ordering::SeqCst);
    }
    assert!(last_opened >= 3, "the gateway did close idle connections: {last_opened}");
}

#[tokio::test]
async fn a_connection_that_is_closed_at_once_each_time_counts_as_lost() {
    let one = modbus_instrument("one", 0, modbus_unit(1, Duration::from_millis(500)));
    let mut running = over_tcp(vec![one], |stream| async move { drop(stream) }).await;
    let poll = running.next_poll(0).await;
    assert_eq!(poll.failure.map(|failure| failure.reason), Some(Reason::LINK_DOWN));
    assert!(matches!(running.next().await.event, Event::Down { .. }));
}

#[tokio::test]
async fn a_dead_unit_behind_a_gateway_is_given_pauses_and_its_neighbour_keeps_its_rate() {
    for code in [0x0A, 0x0B] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let dead = modbus_instrument("dead", 0, modbus_unit(2, EVERY));
        let well = modbus_instrument("well", 2, modbus_unit(1, EVERY));
        let mut running = over_tcp(vec![dead, well], move |mut stream| {
            let counted = Arc::clone(&counted);
            async move {
                let mut question = [0; 12];
                while stream.read_exact(&mut question).await.is_ok() {
                    let answer = if question[6] == 1 {
                        seven(&question)
                    } else {
                        counted.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        [&question[..4], &[0, 3, 2, 0x83, code]].concat()
                    };
                    stream.write_all(&answer).await.unwrap();
                }
            }
        })
        .await;
        let mut pauses = Vec::new();
        for _ in 0..3 {
            let poll = running.next_poll(0).await;
            assert!(poll.samples.iter().all(|sample| sample.outcome == Outcome::Bad(Reason::EXCEPTION)), "{poll:?}");
            pauses.push(poll.failure.unwrap().pause);
        }
        assert_eq!(pauses, [None, None, Some(Duration::from_secs(1))]);
        assert_eq!(asked.load(Ordering::SeqCst), 3, "the second request of a poll that failed is not tried");
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

#[tokio::test]
async fn a_peer_that_resets_is_tried_without_haste_and_read_again_within_two_seconds() {
    let well = Arc::new(AtomicBool::new(true));
    let opened = Arc::new(AtomicUsize::new(0));
    let (is_well, counted) = (Arc::clone(&well), Arc::clone(&opened));
    let one = modbus_instrument("one", 0, modbus_unit(1, EVERY));
    let mut running = over_tcp(vec![one], move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let is_well = Arc::clone(&is_well);
        async move {
            let mut question = [0; 12];
            while stream.read_exact(&mut question).await.is_ok() && is_well.load(Ordering::SeqCst) {
                stream.write_all(&seven(&question)).await.unwrap();
            }
            // Closing with unread or unsent bytes and no linger is a reset.
            stream.set_zero_linger().unwrap();
        }
    })
    .await;
    assert_eq!(running.next_poll(0).await.failure, None);
    let began = Instant::now();
    let before = opened.load(Ordering::SeqCst);
    well.store(false, Ordering::SeqCst);
    let mut downs = 0;
    while began.elapsed() < Duration::from_secs(3) {
        match running.next().await.event {
            Event::Down { .. } => downs += 1,
            Event::Polled(poll) if downs > 0 => {
                assert!(poll.samples.iter().all(|sample| sample.outcome.value().is_none()), "{poll:?}");
            }
            _ => {}
        }
    }
    let opens = opened.load(Ordering::SeqCst) - before;
    assert!(downs >= 1 && opens <= 20, "{opens} connections in three seconds, {downs} times down");
    well.store(true, Ordering::SeqCst);
    let back = Instant::now();
    while running.next_poll(0).await.failure.is_some() && back.elapsed() < Duration::from_secs(10) {}
    assert!(back.elapsed() < Duration::from_secs(2), "after {:?}", back.elapsed());
}

#[tokio::test]
async fn a_unit_for_which_a_gateway_drops_the_connection_is_left_alone_and_its_neighbour_is_read() {
    let dead = modbus_instrument("dead", 0, modbus_unit(2, EVERY));
    let well = modbus_instrument("well", 2, modbus_unit(1, EVERY));
    let mut running = over_tcp(vec![dead, well], |mut stream| async move {
        let mut question = [0; 12];
        while stream.read_exact(&mut question).await.is_ok() && question[6] == 1 {
            stream.write_all(&seven(&question)).await.unwrap();
        }
    })
    .await;
    let mut pause = None;
    let began = Instant::now();
    while pause.is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is never left alone");
        pause = running.next_poll(0).await.failure.unwrap().pause;
    }
    let mut neighbour = 0;
    loop {
        match running.next().await.event {
            Event::Polled(poll) if poll.instrument == 0 => break,
            Event::Polled(poll) => neighbour += u64::from(poll.failure.is_none()),
            _ => {}
        }
    }
    assert!(neighbour > 25, "the neighbour keeps its rate of 50 a second: {neighbour}");
}
