//! The late reply: of the right shape, with the value of an earlier question.
//!
//! The delays are below, around and above the time-out and the settling time. Whatever they are, no wrong value may come
//! out, and once the peer is in time again, right ones have to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;

/// The time-out of these tests.
const REPLY: u64 = 60;

/// Rounds of a schedule; more when someone has the time.
fn rounds(usual: u16) -> u16 {
    std::env::var("LATE_REPLY_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// Always as late as before.
fn steadily(ms: u64) -> impl FnMut() -> Duration + Send + 'static {
    move || Duration::from_millis(ms)
}

/// Anything up to two and a half time-outs, often right at the limits.
fn at_random(seed: u64) -> impl FnMut() -> Duration + Send + 'static {
    let mut random = fastrand::Rng::with_seed(seed);
    let marks = [2, REPLY - 10, REPLY, REPLY + 10, REPLY + 50, REPLY + 60];
    move || {
        let ms = if random.bool() { random.u64(0..REPLY * 5 / 2) } else { marks[random.usize(..marks.len())] };
        Duration::from_millis(ms)
    }
}

/// In time, but for one in four, which is late by up to two and a half time-outs.
fn now_and_then(seed: u64) -> impl FnMut() -> Duration + Send + 'static {
    let mut random = fastrand::Rng::with_seed(seed);
    move || Duration::from_millis(if random.u8(..4) == 0 { random.u64(REPLY..REPLY * 5 / 2) } else { 1 })
}

#[derive(Debug, Default)]
struct Tally {
    right: u32,
    late: u32,
    unsettled: u32,
    wrong: Vec<(u16, u16)>,
}

impl Tally {
    fn count(&mut self, asked: u16, outcome: &Result<u16, Error>) {
        match outcome {
            Ok(number) if *number == asked => self.right += 1,
            Ok(number) => self.wrong.push((asked, *number)),
            Err(Error::Unsettled) => self.unsettled += 1,
            Err(_) => self.late += 1,
        }
    }
}

/// Makes the answer to a question.
type Make = fn(&[u8]) -> Vec<u8>;

/// A way of asking, over a medium.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    TextOnPty,
    /// Two bytes without anything that tells them from others, often apart.
    BytesOnPty,
    RtuOnPty,
    TextOverTcp,
    BytesOverTcp,
    RtuOverTcp,
    ModbusTcp,
}

impl Way {
    fn protocol(self) -> Protocol {
        match self {
            Self::TextOnPty | Self::TextOverTcp | Self::BytesOnPty | Self::BytesOverTcp => Protocol::Bytes,
            Self::RtuOnPty | Self::RtuOverTcp => Protocol::ModbusRtu,
            Self::ModbusTcp => Protocol::ModbusTcp,
        }
    }

    fn peer(self) -> (Cut, Make) {
        match self {
            Self::TextOnPty | Self::TextOverTcp => (text_question, text_answer),
            Self::BytesOnPty | Self::BytesOverTcp => (byte_question, byte_answer),
            Self::RtuOnPty | Self::RtuOverTcp => (rtu_question, rtu_answer),
            Self::ModbusTcp => (tcp_question, tcp_answer),
        }
    }

    async fn ask(self, bus: &mut Bus, number: u16) -> Result<u16, Error> {
        match self {
            Self::BytesOnPty | Self::BytesOverTcp => ask_bytes(bus, number, REPLY).await,
            Self::TextOnPty | Self::TextOverTcp => ask_text(bus, number, REPLY).await,
            _ => ask_modbus(bus, number, REPLY).await,
        }
    }
}

fn answer_is_split(way: Way) -> bool {
    matches!(way, Way::BytesOnPty | Way::BytesOverTcp)
}

/// Starts a peer whose answers take what `delay` says, until it is told to be punctual; then they come at once.
async fn peer(
    way: Way,
    mut delay: impl FnMut() -> Duration + Send + 'static,
    punctual: Arc<AtomicBool>,
) -> (Box<dyn Connector>, Option<SerialStream>) {
    let (cut, make) = way.peer();
    let answer = move |question: &[u8]| {
        let after = if punctual.load(Ordering::SeqCst) { Duration::ZERO } else { delay() };
        let mut answer = make(question);
        // The second byte of two may come so late that it is late.
        let apart = Duration::from_millis(u64::from(question[question.len() - 1] % 4) * 23);
        match answer.split_off(1) {
            second if answer_is_split(way) => vec![(after, answer), (after + apart, second)],
            rest => vec![(after, [answer, rest].concat())],
        }
    };
    match way {
        Way::TextOnPty | Way::BytesOnPty | Way::RtuOnPty => {
            let Pty { master, keep, connector } = pty(fast_line());
            tokio::spawn(serve(master, cut, answer));
            (Box::new(connector), Some(keep))
        }
        Way::TextOverTcp | Way::BytesOverTcp | Way::RtuOverTcp | Way::ModbusTcp => {
            let (listener, connector) = listener().await;
            // Each connection is served on its own: a late answer may still go to one that was given up.
            let answer = Arc::new(Mutex::new(answer));
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let answer = Arc::clone(&answer);
                    tokio::spawn(serve(stream, cut, move |question| (answer.lock().unwrap())(question)));
                }
            });
            (Box::new(connector), None)
        }
    }
}

async fn run(way: Way, name: &str, delay: impl FnMut() -> Duration + Send + 'static, rounds: u16) -> Tally {
    let punctual = Arc::new(AtomicBool::new(false));
    let (mut connector, _keep) = peer(way, delay, Arc::clone(&punctual)).await;
    let mut bus = open(connector.as_mut(), way.protocol()).await;
    let mut tally = Tally::default();
    for number in 0..rounds {
        let outcome = way.ask(&mut bus, number).await;
        tally.count(number, &outcome);
        if let Err(error) = outcome {
            recover(&mut bus, connector.as_mut(), way.protocol(), &error).await;
        }
    }
    println!("{way:?} {name}: {tally:?}");
    assert_eq!(tally.wrong, [], "{way:?} {name}");

    punctual.store(true, Ordering::SeqCst);
    let mut after = Tally::default();
    for number in rounds..rounds + 30 {
        let outcome = way.ask(&mut bus, number).await;
        after.count(number, &outcome);
        if let Err(error) = outcome {
            recover(&mut bus, connector.as_mut(), way.protocol(), &error).await;
        }
        if after.right == 4 {
            break;
        }
    }
    assert_eq!(after.wrong, [], "{way:?} {name}, after");
    assert_eq!(after.right, 4, "{way:?} {name} does not recover: {after:?}");
    tally
}

/// All schedules at the same time, each with a peer of its own.
async fn every_schedule(way: Way) {
    let mut runs = tokio::task::JoinSet::new();
    for ms in [1, REPLY - 5, REPLY + 5, REPLY + 45, REPLY + 60, REPLY * 2 + 60, REPLY * 3 + 130, 430] {
        runs.spawn(async move { run(way, &format!("steadily {ms}"), steadily(ms), rounds(8)).await });
    }
    for seed in 0..2 {
        runs.spawn(async move { run(way, &format!("at random {seed}"), at_random(seed), rounds(20)).await });
        runs.spawn(async move { run(way, &format!("now and then {seed}"), now_and_then(seed), rounds(16)).await });
    }
    let (mut right, mut late) = (0, 0);
    for tally in runs.join_all().await {
        right += tally.right;
        late += tally.late + tally.unsettled;
    }
    assert!(right > 10 && late > 10, "{way:?}: the schedules test nothing: {right} right, {late} late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_text_on_a_pseudo_terminal() {
    every_schedule(Way::TextOnPty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_bytes_on_a_pseudo_terminal() {
    every_schedule(Way::BytesOnPty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_bytes_over_tcp() {
    every_schedule(Way::BytesOverTcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_rtu_on_a_pseudo_terminal() {
    every_schedule(Way::RtuOnPty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_text_over_tcp() {
    every_schedule(Way::TextOverTcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_rtu_over_tcp() {
    every_schedule(Way::RtuOverTcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_modbus_tcp() {
    every_schedule(Way::ModbusTcp).await;
}

/// The exchange is dropped at every point of its life; the answer to the dropped question still comes.
async fn dropped_half_way(way: Way) {
    let (mut connector, _keep) = peer(way, steadily(15), Arc::new(AtomicBool::new(false))).await;
    let mut bus = open(connector.as_mut(), way.protocol()).await;
    let mut tally = Tally::default();
    let mut dropped = 0;
    for number in 0..30_u16 {
        let patience = Duration::from_millis(u64::from(number) * 7 % 24);
        if number % 2 == 0 && tokio::time::timeout(patience, way.ask(&mut bus, 1000 + number)).await.is_err() {
            dropped += 1;
        }
        let outcome = way.ask(&mut bus, number).await;
        tally.count(number, &outcome);
        if let Err(error) = outcome {
            recover(&mut bus, connector.as_mut(), way.protocol(), &error).await;
        }
    }
    assert_eq!(tally.wrong, [], "{way:?}");
    assert!(tally.right >= 10 && dropped >= 5, "{way:?}: {dropped} dropped, {tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_exchange_spoils_no_later_one() {
    for way in [Way::TextOnPty, Way::BytesOnPty, Way::RtuOnPty, Way::RtuOverTcp, Way::ModbusTcp] {
        dropped_half_way(way).await;
    }
}
