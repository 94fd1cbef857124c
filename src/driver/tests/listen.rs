//! Instruments that speak unasked, on ptys, sockets and pipes: raw writers of these tests, whose every message carries a
//! number of its own, so that what was never said shows.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant as StdInstant;

use proptest::prelude::*;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::DuplexStream;

use crate::driver::{Driver, ListenDriver, Listened, Said};
use crate::link::Pacer;
use crate::link::Wire;
use crate::link::WireSettings;
use crate::model::{Outcome, Reason};
use crate::profile::Checksum;
use crate::profile::ChecksumEncoding;
use crate::profile::ChecksumKind;
use crate::profile::ConnectStep;
use crate::profile::Listen;
use crate::profile::Source;

use super::*;

fn device(framing: Framing, expects: Vec<Pattern>, stale_after: Duration) -> Device {
    let channels = expects.iter().enumerate().flat_map(|(place, pattern)| {
        pattern.names().map(move |name| {
            plan::channel(Arc::clone(name), Source::Field { poll: place, name: Arc::clone(name), bits: None })
        })
    });
    let channels = channels.collect();
    let messages = MessageDevice {
        alphabet: Alphabet::Bytes,
        framing,
        on_connect: Vec::new(),
        polls: Vec::new(),
        listens: expects.into_iter().map(|expect| Listen { expect, stale_after }).collect(),
    };
    let timing = Timing { idle: Duration::from_millis(20), ..Timing::default() };
    Device { profile: "test".into(), timing, engine: DeviceEngine::Messages(messages), channels }
}

/// Lines of numbers.
fn lines() -> Device {
    device(Framing::terminated(b"\n"), vec![Pattern::parse("{v:f}").unwrap()], Duration::from_secs(5))
}

/// Nine bytes with a header and a sum, as INFICON's gauges send them.
fn frames() -> Device {
    let sum = Checksum { kind: ChecksumKind::Sum8, encoding: ChecksumEncoding::Byte, from: 1, to: None };
    let framing = Framing { start: vec![7, 5], end: End::Fixed(9), escape: None };
    let pattern = Pattern::frame("07 05 {_:u16} {p:u16} {_:u16} {ck}", Some(sum)).unwrap();
    device(framing, vec![pattern], Duration::from_secs(5))
}

fn frame(number: u16, filling: [u8; 2]) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let mut frame = vec![7, 5, 0, 0, high, low, filling[0], filling[1]];
    frame.push(frame[1..].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    frame
}

fn driver(device: &Device) -> ListenDriver {
    let DeviceEngine::Messages(messages) = &device.engine else { panic!("{device:?}") };
    ListenDriver::new(messages.clone(), device)
}

/// A bus at whose other end a test writes.
fn pipe(settings: WireSettings) -> (Bus, DuplexStream) {
    let (near, far) = tokio::io::duplex(1 << 16);
    (Bus::over(Wire::new(near, settings, Pacer::coarse(), None), Protocol::Bytes), far)
}

/// Listens for so long.
async fn listen_for(driver: &mut ListenDriver, bus: &mut Bus, time: Duration) -> Vec<Listened> {
    let until = Instant::now() + time;
    let mut all = Vec::new();
    while Instant::now() < until {
        all.push(driver.listen(bus, until).await);
        if matches!(all.last().unwrap().failure, Some(Error::Gone(_))) {
            break;
        }
    }
    all
}

fn said(listened: &[Listened]) -> impl Iterator<Item = &Said> {
    listened.iter().flat_map(|listened| &listened.said)
}

fn outcomes(listened: &[Listened]) -> Vec<Outcome> {
    said(listened).flat_map(|said| &said.readings).map(|reading| reading.outcome.clone()).collect()
}

fn numbers(listened: &[Listened]) -> Vec<f64> {
    outcomes(listened).iter().filter_map(|outcome| Some(outcome.value()?.get())).collect()
}

/// What is heard of pieces that come 1 ms apart.
async fn heard_of(device: &Device, settings: WireSettings, pieces: &[Vec<u8>]) -> Vec<Listened> {
    let (mut bus, mut far) = pipe(settings);
    let mut driver = driver(device);
    driver.connect(&mut bus).await.unwrap();
    let mut all = Vec::new();
    for piece in pieces {
        far.write_all(piece).await.unwrap();
        all.extend(listen_for(&mut driver, &mut bus, Duration::from_millis(1)).await);
    }
    all.extend(listen_for(&mut driver, &mut bus, Duration::from_millis(2_500)).await);
    in_order(&all);
    all
}

/// Nothing is stamped before what was said before, nor before the watermark that was promised.
fn in_order(listened: &[Listened]) {
    let mut last = None;
    for (before, listened) in std::iter::once(None).chain(listened.iter().map(Some)).zip(listened) {
        for said in &listened.said {
            assert!(last.is_none_or(|last| last <= said.at), "{said:?}");
            assert!(before.is_none_or(|before: &Listened| before.watermark <= said.at), "{before:?} {said:?}");
            last = Some(said.at);
        }
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn serial() -> WireSettings {
    WireSettings::serial(&fast_line())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From any byte on, in any pieces, with junk in between: nothing is heard that was not said, and little is missed.
    #[test]
    fn a_stream_of_frames_is_understood_from_any_byte_on(
        fillings in prop::collection::vec(prop_oneof![Just([7_u8, 5]), any::<[u8; 2]>()], 6..16),
        start in 0_usize..40, piece in 1_usize..30, socket in any::<bool>(),
        junk in prop::collection::vec(any::<u8>(), 0..6), junk_before in 0_usize..16,
    ) {
        let mut stream = Vec::new();
        let mut whole = 0;
        for (number, filling) in (1000_u16..).zip(&fillings) {
            if usize::from(number) - 1000 == junk_before {
                stream.extend(&junk);
            }
            whole += usize::from(stream.len() >= start);
            stream.extend(frame(number, *filling));
        }
        let pieces: Vec<Vec<u8>> = stream[start..].chunks(piece).map(<[u8]>::to_vec).collect();
        let settings = if socket { WireSettings::socket() } else { serial() };
        let heard = paused().block_on(heard_of(&frames(), settings, &pieces));
        let values = numbers(&heard);
        for value in &values {
            prop_assert!(*value >= 1000.0 && *value < 1000.0 + fillings.len() as f64, "{values:?}");
        }
        prop_assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{values:?}");
        prop_assert!(values.len() + 4 >= whole, "{} of {whole}: {values:?}", values.len());
    }

    /// The same with lines, of which nothing but the length tells half a number from a whole one.
    #[test]
    fn half_a_number_is_never_heard(
        start in 0_usize..30, piece in 1_usize..20, cut in 0_usize..60, missing in 0_usize..8, pause in any::<bool>(),
    ) {
        let stream: Vec<u8> = (0..12).flat_map(|n| format!("{}.5\n", 1023 + n).into_bytes()).collect();
        let heard_from = &stream[start..];
        let cut = cut.min(heard_from.len());
        // Someone pulls the plug at `cut` and puts it in again, for longer than the stream is ever silent.
        let mut pieces: Vec<Vec<u8>> = heard_from[..cut].chunks(piece).map(<[u8]>::to_vec).collect();
        let rest: Vec<Vec<u8>> = heard_from.get(cut + missing..).unwrap_or_default().chunks(piece).map(<[u8]>::to_vec).collect();
        let heard = paused().block_on(async {
            if !pause {
                // Nothing is lost.
                pieces = heard_from.chunks(piece).map(<[u8]>::to_vec).collect();
                return heard_of(&lines(), serial(), &pieces).await;
            }
            let (mut bus, mut far) = pipe(serial());
            let mut driver = driver(&lines());
            driver.connect(&mut bus).await.unwrap();
            let mut all = Vec::new();
            for (pieces, pause) in [(&pieces, 6_000), (&rest, 100)] {
                for piece in pieces {
                    far.write_all(piece).await.unwrap();
                    all.extend(listen_for(&mut driver, &mut bus, Duration::from_millis(1)).await);
                }
                all.extend(listen_for(&mut driver, &mut bus, Duration::from_millis(pause)).await);
            }
            all
        });
        let values = numbers(&heard);
        for value in &values {
            prop_assert!(*value > 1023.0 && *value < 1035.0, "{values:?}");
        }
        if !pause {
            prop_assert!(values.len() * 7 + 7 >= heard_from.len() - heard_from.len() % 7, "{values:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_may_be_split_at_any_byte() {
    let stream: Vec<u8> = (1..=3).flat_map(|number| frame(number, [9, 9])).collect();
    for split in 1..stream.len() {
        let (head, tail) = stream.split_at(split);
        let heard = heard_of(&frames(), serial(), &[head.to_vec(), tail.to_vec()]).await;
        assert_eq!(numbers(&heard), [1.0, 2.0, 3.0], "split at {split}");
        assert_eq!(heard.iter().map(|listened| listened.skipped).sum::<u64>(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_message_at_a_quiet_line_counts_if_its_checksum_tells() {
    let (mut bus, mut far) = pipe(serial());
    let mut driver = driver(&frames());
    driver.connect(&mut bus).await.unwrap();
    listen_for(&mut driver, &mut bus, Duration::from_millis(200)).await;
    far.write_all(&frame(77, [0, 0])).await.unwrap();
    let heard = listen_for(&mut driver, &mut bus, Duration::from_millis(1)).await;
    assert_eq!(numbers(&heard), [77.0]);
}

#[tokio::test(start_paused = true)]
async fn a_spoiled_message_is_a_bad_reading_with_its_reason() {
    let mut spoiled = frame(2, [0, 0]);
    spoiled[4] ^= 1;
    let pieces = [frame(0, [0, 0]), frame(1, [0, 0]), spoiled, frame(3, [0, 0]), frame(4, [0, 0])];
    let heard = heard_of(&frames(), serial(), &pieces).await;
    let bad = Outcome::Bad(Reason::CHECKSUM);
    let good = [0.0, 1.0, 3.0, 4.0].map(Outcome::good);
    assert_eq!(outcomes(&heard), [good[0].clone(), good[1].clone(), bad, good[2].clone(), good[3].clone()]);
    assert_eq!(heard.iter().map(|listened| listened.broken).sum::<u64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_with_a_nul_is_malformed() {
    let pieces = [b"1\n2\n".to_vec(), b"1\x0023.5\n".to_vec(), b"x\n".to_vec(), b"3\n".to_vec()];
    let heard = heard_of(&lines(), serial(), &pieces).await;
    let bad = || Outcome::Bad(Reason::MALFORMED);
    assert_eq!(outcomes(&heard), [Outcome::good(2.0), bad(), bad(), Outcome::good(3.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_pauses_in_the_middle_of_a_line_costs_nothing() {
    let (mut bus, mut far) = pipe(WireSettings::socket());
    let mut driver = driver(&lines());
    driver.connect(&mut bus).await.unwrap();
    let mut all = Vec::new();
    for piece in [&b"0\n10"[..], b"23.5\n", b"7\n"] {
        far.write_all(piece).await.unwrap();
        all.extend(listen_for(&mut driver, &mut bus, Duration::from_millis(700)).await);
    }
    assert_eq!(numbers(&all), [1023.5, 7.0]);
}

#[tokio::test(start_paused = true)]
async fn what_stays_away_is_stale_again_and_again() {
    let pattern = |text| Pattern::parse(text).unwrap();
    let two =
        device(Framing::terminated(b"\n"), vec![pattern("A{a:f}"), pattern("B{b:f}")], Duration::from_millis(300));
    let (mut bus, mut far) = pipe(serial());
    let mut driver = driver(&two);
    driver.connect(&mut bus).await.unwrap();
    let began = Instant::now();
    let mut all = Vec::new();
    far.write_all(b"\n").await.unwrap();
    for number in 0..10 {
        far.write_all(format!("A{number}\n").as_bytes()).await.unwrap();
        all.extend(listen_for(&mut driver, &mut bus, Duration::from_millis(100)).await);
    }
    all.extend(listen_for(&mut driver, &mut bus, Duration::from_millis(650)).await);
    in_order(&all);
    let of = |channel: usize| {
        said(&all)
            .filter(move |said| said.readings[0].channel == channel)
            .map(|said| (&said.readings[0].outcome, said.at))
    };
    let bad = Outcome::Bad(Reason::STALE);
    let a: Vec<_> = of(0).map(|(outcome, _)| outcome.clone()).collect();
    assert_eq!(a[..10], (0..10).map(|n| Outcome::good(f64::from(n))).collect::<Vec<_>>());
    assert_eq!(a[10..], [bad.clone(), bad.clone()]);
    let at: Vec<_> = of(1).map(|(outcome, at)| (outcome, at.duration_since(began).as_millis())).collect();
    assert_eq!(at, [300, 600, 900, 1200, 1500].map(|at| (&bad, at)));
    let last = all.last().unwrap();
    assert!(matches!(last.failure, Some(Error::Stale(_))), "{:?}", last.failure);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_has_gone_mute_is_given_up() {
    let (mut bus, _far) = pipe(WireSettings::socket());
    let mut driver = driver(&lines());
    driver.connect(&mut bus).await.unwrap();
    let began = Instant::now();
    let failure = loop {
        let listened = driver.listen(&mut bus, Instant::now() + Duration::from_millis(50)).await;
        match listened.failure {
            Some(failure) if failure.recovery() == Recovery::Reopen => break failure,
            _ => {}
        }
    };
    assert_eq!((failure.reason(), began.elapsed().as_secs()), (Reason::STALE, 10));
}

#[tokio::test(start_paused = true)]
async fn an_on_connect_message_goes_out_amid_a_stream() {
    let mut device = lines();
    let DeviceEngine::Messages(messages) = &mut device.engine else { panic!() };
    let step = Step { send: Some(b"GO\r".to_vec()), expect: None, wait: Duration::ZERO };
    messages.on_connect.push(ConnectStep { id: "go".into(), step });
    let (mut bus, far) = pipe(serial());
    let (mut from, mut to) = tokio::io::split(far);
    tokio::spawn(async move {
        for number in 0.. {
            to.write_all(format!("{number}\n").as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut driver = driver(&device);
    driver.connect(&mut bus).await.unwrap();
    let mut got = [0; 3];
    from.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"GO\r");
    assert!(numbers(&listen_for(&mut driver, &mut bus, Duration::from_millis(100)).await).len() > 50);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_messages_where_nothing_else_does() {
    let framing = Framing { end: End::Idle(Duration::from_millis(5)), ..Framing::terminated(b"") };
    let idle = device(framing, vec![Pattern::parse("V{v:f}").unwrap()], Duration::from_secs(5));
    let (mut bus, mut far) = pipe(serial());
    let mut driver = driver(&idle);
    driver.connect(&mut bus).await.unwrap();
    let mut all = Vec::new();
    for piece in [&b"V1"[..], b"V2", b"V3"] {
        all.extend(listen_for(&mut driver, &mut bus, Duration::from_millis(20)).await);
        far.write_all(piece).await.unwrap();
    }
    all.extend(listen_for(&mut driver, &mut bus, Duration::from_millis(20)).await);
    assert_eq!(numbers(&all), [1.0, 2.0, 3.0]);
}

/// Writes messages, each after a pause, and says when the first byte of each was on the line. `by_byte` puts the bytes on the
/// line one by one as a port would; otherwise they come together when the last of them is through, as an adapter does it.
fn paced(master: &mut std::fs::File, count: u16, char_time: Duration, by_byte: bool) -> Vec<(f64, StdInstant)> {
    let mut written = Vec::new();
    for number in 0..count {
        std::thread::sleep(Duration::from_millis(23));
        let frame = frame(number, [1, 2]);
        let first;
        if by_byte {
            first = StdInstant::now();
            for byte in &frame {
                master.write_all(&[*byte]).unwrap();
                std::thread::sleep(char_time);
            }
        } else {
            std::thread::sleep(char_time);
            first = StdInstant::now();
            std::thread::sleep(char_time * 8);
            master.write_all(&frame).unwrap();
        }
        written.push((f64::from(number), first));
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_has_the_time_of_its_first_byte() {
    for by_byte in [true, false] {
        let line = LineSettings { baud: 9600, ..LineSettings::default() };
        let char_time = line.time_of(1);
        let (mut master, port) = raw_pty();
        let mut connector = SerialConnector::new(&port, line, None);
        let mut bus = open(&mut connector, Protocol::Bytes).await;
        let mut driver = driver(&frames());
        driver.connect(&mut bus).await.unwrap();
        let writer = std::thread::spawn(move || (paced(&mut master, 60, char_time, by_byte), master));
        let mut all = Vec::new();
        while numbers(&all).last() != Some(&59.0) {
            all.push(driver.listen(&mut bus, Instant::now() + Duration::from_millis(50)).await);
            assert!(all.len() < 10_000);
        }
        in_order(&all);
        let (written, _master) = writer.join().unwrap();
        let mut off = Vec::new();
        for said in said(&all) {
            let Some(value) = said.readings[0].outcome.value() else { panic!("{said:?}") };
            let (_, first) = written.iter().find(|(number, _)| *number == value.get()).unwrap();
            let at = said.at.into_std();
            // Between the byte and the writer's reading of the clock lies a turn of the scheduler.
            let slack = Duration::from_millis(5);
            assert!(*first <= at + slack && at - said.uncertainty <= *first + slack, "{said:?}, written {first:?}");
            off.push(at.saturating_duration_since(*first).max(first.saturating_duration_since(at)));
        }
        off.sort();
        assert!(off.len() >= 58, "{}", off.len());
        println!("by byte {by_byte}: off by {:?} in the middle, {:?} at most", off[off.len() / 2], off[off.len() - 1]);
        assert!(off[off.len() / 2] < Duration::from_millis(5), "{off:?}");
    }
}

/// A driver for lines like this.
pub(crate) fn line_listener(expect: &str, stale_after: Duration) -> ListenDriver {
    let pattern = Pattern::parse(expect).unwrap();
    driver(&device(Framing::terminated(b"\n"), vec![pattern], stale_after))
}

/// The master of a pseudo-terminal as a file that blocks, and the path of the other end.
pub(crate) fn raw_pty() -> (std::fs::File, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let port = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    (std::fs::File::from(master), port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_lines_a_second_are_all_heard() {
    const LINES: u32 = 5_000;
    let (mut master, port) = raw_pty();
    let mut connector = SerialConnector::new(&port, LineSettings { baud: 460_800, ..LineSettings::default() }, None);
    let mut bus = open(&mut connector, Protocol::Bytes).await;
    let mut driver = driver(&lines());
    driver.connect(&mut bus).await.unwrap();
    let writer = std::thread::spawn(move || {
        let began = StdInstant::now();
        for number in 0..=LINES {
            let due = began + Duration::from_millis(u64::from(number));
            std::thread::sleep(due.saturating_duration_since(StdInstant::now()));
            master.write_all(format!("{number}.25\n").as_bytes()).unwrap();
        }
        (master, began.elapsed())
    });
    let mut values = Vec::new();
    let mut batches = 0;
    while values.last() != Some(&(f64::from(LINES) + 0.25)) {
        let listened = driver.listen(&mut bus, Instant::now() + Duration::from_millis(50)).await;
        assert_eq!((listened.broken, listened.failure.is_none()), (0, true), "{:?}", listened.failure);
        values.extend(numbers(&[listened]));
        batches += 1;
    }
    let (_master, took) = writer.join().unwrap();
    println!("{} lines in {took:?}, in {batches} batches", values.len());
    // Nobody can know whether the very first line was a whole one.
    assert_eq!(values, (1..=LINES).map(|number| f64::from(number) + 0.25).collect::<Vec<_>>());
    assert!(batches < 1_000, "{batches}");
}
