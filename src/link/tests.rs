//! Wires and connectors over real pseudo-terminals and sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_serial::{SerialPort, SerialStream};

use crate::model::{DataBits, LineSettings, Parity, Rs485};

use super::*;

fn over_pipe() -> (Wire, DuplexStream) {
    let (ours, theirs) = duplex(4096);
    let settings = WireSettings { quiet: Duration::from_millis(20), ..WireSettings::socket() };
    (Wire::new(ours, settings, Pacer::coarse(), None), theirs)
}

fn any(_: &[u8]) -> bool {
    true
}

fn none(bytes: &[u8]) -> bool {
    bytes.is_empty()
}

async fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

const REPLY: Duration = Duration::from_millis(50);

/// One good exchange: `question` out, `answer` in.
async fn exchange(wire: &mut Wire, theirs: &mut DuplexStream, answer: &[u8]) {
    wire.begin(Duration::ZERO, Duration::ZERO).await.unwrap();
    wire.ask(0, b"?").await.unwrap();
    theirs.write_all(answer).await.unwrap();
    assert!(wire.read_exact(answer.len(), soon().await).await.unwrap());
    assert_eq!(wire.received(), answer);
    wire.consume(answer.len());
    wire.accept(REPLY, none).await.unwrap();
}

#[tokio::test]
async fn a_wire_is_dirty_from_birth_and_from_each_question_until_it_is_accepted() {
    let (mut wire, mut theirs) = over_pipe();
    assert!(wire.is_dirty());
    exchange(&mut wire, &mut theirs, b"one").await;
    assert!(!wire.is_dirty());
    assert!(wire.asked() <= wire.heard());
    wire.begin(Duration::ZERO, Duration::ZERO).await.unwrap();
    assert!(!wire.is_dirty());
    // Dropped before its first await completes, the question may still have gone out.
    drop(tokio::time::timeout(Duration::ZERO, wire.ask(0, b"?")).await);
    assert!(wire.is_dirty());
    wire.settle().await.unwrap();
    assert!(wire.is_dirty(), "settling is not trusting");
    exchange(&mut wire, &mut theirs, b"two").await;
    assert!(!wire.is_dirty());
}

#[tokio::test]
async fn what_comes_unasked_is_discarded_and_counted() {
    let (mut wire, mut theirs) = over_pipe();
    exchange(&mut wire, &mut theirs, b"one").await;
    theirs.write_all(b"unasked").await.unwrap();
    exchange(&mut wire, &mut theirs, b"two").await;
    assert_eq!(wire.discarded(), 7);
}

#[tokio::test]
async fn settling_lasts_until_the_line_is_quiet() {
    let (mut wire, mut theirs) = over_pipe();
    let talker = async {
        for _ in 0..8 {
            theirs.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
        Instant::now()
    };
    let began = Instant::now();
    let (settled, _last) = tokio::join!(wire.settle(), talker);
    settled.unwrap();
    assert_eq!(wire.discarded(), 8);
    assert!(began.elapsed() >= Duration::from_millis(7 * 8 + 20));
}

#[tokio::test]
async fn the_answer_after_an_unanswered_question_is_held_back() {
    let (mut wire, mut theirs) = over_pipe();
    exchange(&mut wire, &mut theirs, b"one").await;

    wire.begin(Duration::ZERO, Duration::ZERO).await.unwrap();
    wire.ask(0, b"?").await.unwrap();
    assert!(!wire.more(Instant::now() + REPLY).await.unwrap());

    wire.begin(Duration::ZERO, Duration::ZERO).await.unwrap();
    wire.ask(0, b"?").await.unwrap();
    theirs.write_all(b"late").await.unwrap();
    assert!(wire.read_exact(4, soon().await).await.unwrap());
    wire.consume(4);
    let right = async {
        tokio::time::sleep(REPLY * 2).await;
        theirs.write_all(b"right").await.unwrap();
    };
    let (accepted, ()) = tokio::join!(wire.accept(REPLY, none), right);
    assert!(matches!(accepted, Err(Fault::Unsettled)), "{accepted:?}");
    assert!(wire.is_dirty());

    // Another party's answer can't be mistaken for it and is not held back longer than it takes to know that party.
    wire.begin(Duration::ZERO, Duration::ZERO).await.unwrap();
    wire.ask(7, b"?").await.unwrap();
    theirs.write_all(b"other").await.unwrap();
    assert!(wire.read_exact(5, soon().await).await.unwrap());
    wire.consume(5);
    wire.accept(REPLY, none).await.unwrap();
}

#[tokio::test]
async fn silence_is_kept_before_a_question() {
    let (mut wire, mut theirs) = over_pipe();
    exchange(&mut wire, &mut theirs, b"one").await;
    let last = wire.heard();
    wire.begin(Duration::from_millis(30), Duration::ZERO).await.unwrap();
    assert!(last.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_terminator_is_found_however_it_is_split() {
    let (mut wire, mut theirs) = over_pipe();
    for piece in ["ab", "c\r", "\n12", "\r\n"] {
        theirs.write_all(piece.as_bytes()).await.unwrap();
        if piece.ends_with('\r') {
            assert_eq!(wire.read_until(b"\r\n", Instant::now() + Duration::from_millis(5)).await.unwrap(), None);
        }
    }
    assert_eq!(wire.read_until(b"\r\n", soon().await).await.unwrap(), Some(5));
    wire.consume(5);
    assert_eq!(wire.read_until(b"\r\n", soon().await).await.unwrap(), Some(4));
    assert_eq!(wire.received(), b"12\r\n");
}

#[tokio::test]
async fn the_other_side_closing_is_never_data() {
    let (mut wire, theirs) = over_pipe();
    drop(theirs);
    assert!(matches!(wire.more(soon().await).await, Err(Fault::Gone(_))));
    assert!(matches!(wire.begin(Duration::ZERO, Duration::ZERO).await, Err(Fault::Gone(_))));
    assert!(matches!(wire.ask(0, b"?").await, Err(Fault::Gone(_))));
    let error = wire.read(&mut [0; 4]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "and not Ok(0)");
    wire.write_all(b"?").await.unwrap_err();
}

#[tokio::test]
async fn a_line_that_takes_no_bytes_is_gone_in_the_end() {
    let (ours, _theirs) = duplex(4);
    let mut wire = Wire::new(ours, WireSettings::socket(), Pacer::coarse(), None);
    let began = Instant::now();
    assert!(matches!(wire.ask(0, b"more than four bytes").await, Err(Fault::Gone(_))));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_trace_sees_each_byte_in_both_directions() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let trace: Trace = Arc::new(move |seen: Seen<'_>| log.lock().unwrap().push(format!("{seen:?}")));
    let (ours, mut theirs) = duplex(64);
    let mut wire = Wire::new(ours, WireSettings::socket(), Pacer::coarse(), Some(trace));
    wire.ask(0, b"ask").await.unwrap();
    theirs.write_all(b"answer").await.unwrap();
    assert!(wire.more(soon().await).await.unwrap());
    drop(theirs);
    assert!(wire.more(soon().await).await.is_err() && wire.more(soon().await).await.is_err());
    let expected = [
        format!("{:?}", Seen::Out(b"ask")),
        format!("{:?}", Seen::In(b"answer")),
        format!("{:?}", Seen::Event(&format!("link is down: {}", super::wire::hung_up()))),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_trace_is_told_how_opening_went_and_not_the_same_twice() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let trace: Trace = Arc::new(move |seen: Seen<'_>| log.lock().unwrap().push(format!("{seen:?}")));
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("tty").display().to_string();
    let mut connector =
        connector(&Transport::Serial { port: port.clone(), line: LineSettings::default() }, Some(trace));
    for _ in 0..3 {
        assert!(connector.open().await.is_err());
    }
    let said = seen.lock().unwrap().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("link is down") && said[0].contains(&port), "{said:?}");
}

#[tokio::test]
async fn time_on_the_line_is_computed_from_the_baud_rate() {
    let (ours, _theirs) = duplex(64);
    let slow = LineSettings { baud: 300, ..LineSettings::default() };
    let mut wire = Wire::new(ours, WireSettings::serial(&slow), Pacer::coarse(), None);
    let began = Instant::now();
    wire.ask(0, b"eight by").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(200), "nothing waits for the last bit");
    assert_eq!(wire.sent().duration_since(wire.asked()).as_millis(), 266);
}

#[tokio::test]
async fn a_port_is_opened_cleared_and_reopened() {
    let (mut master, slave) = SerialStream::pair().unwrap();
    let path = slave.name().unwrap();
    let line =
        LineSettings { baud: 19_200, parity: Parity::Even, data_bits: DataBits::Seven, ..LineSettings::default() };
    let mut connector = SerialConnector::new(&path, line, None);
    assert_eq!(connector.describe(), format!("{path} (19200 7E1)"));
    for _ in 0..3 {
        master.write_all(b"left over from before").await.unwrap();
        let mut wire = connector.open().await.unwrap();
        wire.ask(0, b"?").await.unwrap();
        master.read_exact(&mut [0; 1]).await.unwrap();
        master.write_all(b"!").await.unwrap();
        assert!(wire.read_exact(1, soon().await).await.unwrap());
        assert_eq!(wire.received(), b"!", "what came before the opening is cleared");
        wire.consume(1);
        wire.accept(REPLY, any).await.unwrap();
    }
}

#[tokio::test]
async fn errors_of_opening_name_port_cause_and_cure() {
    let shown = async |port: &str, line: LineSettings| {
        SerialConnector::new(port, line, None).open().await.unwrap_err().to_string()
    };
    let line = LineSettings::default;
    let error = shown("/dev/no-such-port", line()).await;
    assert!(error.contains("/dev/no-such-port") && error.contains("mbe-bridge ports"), "{error}");
    let error = shown("usb:ffff:fffe", line()).await;
    assert!(error.contains("no serial port `usb:ffff:fffe`"), "{error}");
    let error = shown("usb:1", line()).await;
    assert!(error.contains("usb:VID:PID"), "{error}");
    let error = SerialConnector::new("/dev/null", line(), None).open().await.unwrap_err();
    assert!(matches!(error, Error::OpenPort { .. }), "{error:?}");
}

#[tokio::test]
async fn a_port_that_others_hold_is_named_with_its_holder() {
    let (_master, mut slave) = SerialStream::pair().unwrap();
    slave.set_exclusive(true).unwrap();
    let error = SerialConnector::new(&slave.name().unwrap(), LineSettings::default(), None).open().await.unwrap_err();
    let Error::InUse { holder, .. } = &error else { panic!("{error:?}") };
    let own = std::process::id().to_string();
    assert!(holder.as_ref().is_some_and(|holder| holder.contains(&own)), "{error}");
}

#[tokio::test]
async fn sockets_are_opened_and_refusals_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut connector = connector(&Transport::RtuOverTcp { address: address.clone() }, None);
    assert_eq!(connector.describe(), format!("rtu-over-tcp {address}"));
    let mut wire = connector.open().await.unwrap();
    let (mut theirs, _) = listener.accept().await.unwrap();
    theirs.write_all(b"x").await.unwrap();
    assert!(wire.more(soon().await).await.unwrap());
    assert_eq!(wire.sent(), wire.asked().max(wire.heard()));

    drop(listener);
    drop(theirs);
    let error = connector.open().await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_port_whose_driver_knows_no_rs485_is_refused_with_its_name_and_what_to_do() {
    let (_master, slave) = SerialStream::pair().unwrap();
    let port = slave.name().unwrap();
    let line = LineSettings { rs485: Some(Rs485::default()), ..LineSettings::default() };
    let error = SerialConnector::new(&port, line, None).open().await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::Rs485 { .. }), "{error:?}");
    assert!(said.contains(&port) && said.contains("leave `rs485` out"), "{said}");
}

#[tokio::test]
async fn whoever_has_answered_gets_the_silence_it_wants_before_another_is_asked() {
    let (mut wire, mut theirs) = over_pipe();
    exchange(&mut wire, &mut theirs, b"first of all").await;
    let gap = Duration::from_millis(60);
    wire.begin(gap, Duration::ZERO).await.unwrap();
    wire.ask(1, b"?").await.unwrap();
    theirs.write_all(b"slow to let go").await.unwrap();
    assert!(wire.read_exact(14, soon().await).await.unwrap());
    wire.consume(14);
    wire.accept(REPLY, none).await.unwrap();
    let heard = wire.heard();
    wire.begin(Duration::ZERO, Duration::ZERO).await.unwrap();
    assert!(heard.elapsed() >= gap, "{:?}", heard.elapsed());
}
