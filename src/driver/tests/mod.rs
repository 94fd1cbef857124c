//! Drivers against peers that misbehave, over real pseudo-terminals and sockets.
//!
//! The peers are raw byte servers of these tests, not the simulators, so that both can't share a mistake. Each answer
//! carries the number of the question that it answers; a wrong pairing shows as a wrong number.

mod fast;
mod faults;
mod late;
mod listen;
mod message;
mod plan;

use std::time::Duration;

use crc::{CRC_16_MODBUS, Crc};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_serial::{SerialPort, SerialStream};

use crate::link::Connector;
use crate::link::SerialConnector;
use crate::link::TcpConnector;
use crate::model::LineSettings;
use crate::profile::Alphabet;
use crate::profile::Device;
use crate::profile::DeviceEngine;
use crate::profile::End;
use crate::profile::Framing;
use crate::profile::MessageDevice;
use crate::profile::MessagePoll;
use crate::profile::Pattern;
use crate::profile::Step;
use crate::profile::Table;
use crate::profile::Timing;

pub(crate) use listen::{line_listener, raw_pty};
pub(crate) use plan::modbus_unit;

use super::modbus::Read;
use super::{Bus, Error, MessageDriver, Protocol, Recovery};

/// A pseudo-terminal: the peer's end, the slave end that keeps it open, and a connector to it.
pub(super) struct Pty {
    pub(super) master: SerialStream,
    /// Without it, the master reads EIO while nobody has the port open.
    pub(super) keep: SerialStream,
    pub(super) connector: SerialConnector,
}

pub(super) fn pty(line: LineSettings) -> Pty {
    let (master, keep) = SerialStream::pair().unwrap();
    let connector = SerialConnector::new(&keep.name().unwrap(), line, None);
    Pty { master, keep, connector }
}

pub(super) fn fast_line() -> LineSettings {
    LineSettings { baud: 115_200, ..LineSettings::default() }
}

pub(super) async fn listener() -> (TcpListener, TcpConnector) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, TcpConnector::new(&address, format!("tcp {address}"), None))
}

/// A piece of an answer and how long after its question, at the earliest, it goes out.
pub(super) type Piece = (Duration, Vec<u8>);

/// How long a question is, once enough of it is there to tell.
pub(super) type Cut = fn(&[u8]) -> Option<usize>;

pub(super) fn rtu_question(bytes: &[u8]) -> Option<usize> {
    (bytes.len() >= 8).then_some(8)
}

pub(super) fn tcp_question(bytes: &[u8]) -> Option<usize> {
    (bytes.len() >= 12).then_some(12)
}

pub(super) fn text_question(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\r').map(|at| at + 1)
}

/// Serves one connection: questions are cut out of what comes in, answers go out in the order of the questions. Ends when
/// the other side hangs up; hands the stream back so that the caller decides when it closes.
pub(super) async fn serve<S>(stream: S, cut: Cut, mut answer: impl FnMut(&[u8]) -> Vec<Piece> + Send)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut from, mut to) = tokio::io::split(stream);
    let (pieces, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let writer = tokio::spawn(async move {
        while let Some((at, piece)) = due.recv().await {
            // Tokio rounds up to the next millisecond, even an instant that has passed.
            if at > Instant::now() {
                sleep_until(at).await;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut received = Vec::new();
    let mut space = [0; 512];
    loop {
        match from.read(&mut space).await {
            Ok(0) | Err(_) => break,
            Ok(read) => received.extend_from_slice(&space[..read]),
        }
        let now = Instant::now();
        while let Some(length) = cut(&received) {
            let question: Vec<u8> = received.drain(..length).collect();
            for (after, piece) in answer(&question) {
                pieces.send((now + after, piece)).ok();
            }
        }
    }
    drop(pieces);
    writer.await.unwrap();
}

pub(super) fn with_crc(body: &[u8]) -> Vec<u8> {
    let crc = Crc::<u16>::new(&CRC_16_MODBUS).checksum(body);
    [body, &crc.to_le_bytes()].concat()
}

/// The RTU answer to a question for two registers: the address that was asked for, and its complement.
pub(super) fn rtu_answer(question: &[u8]) -> Vec<u8> {
    let [unit, function, high, low, ..] = question else { panic!("{question:?}") };
    with_crc(&[*unit, *function, 4, *high, *low, !high, !low])
}

/// The same in Modbus/TCP.
pub(super) fn tcp_answer(question: &[u8]) -> Vec<u8> {
    let [t1, t2, _, _, _, _, unit, function, high, low, ..] = question else { panic!("{question:?}") };
    vec![*t1, *t2, 0, 0, 0, 7, *unit, *function, 4, *high, *low, !high, !low]
}

/// The text answer to `N1234<CR>`.
pub(super) fn text_answer(question: &[u8]) -> Vec<u8> {
    assert_eq!(question[0], b'N', "{question:?}");
    [b"V", &question[1..]].concat()
}

pub(super) fn numbered(number: u16) -> Read {
    Read { unit: 1, table: Table::Holding, address: number, count: 2 }
}

pub(super) fn timing(reply_ms: u64) -> Timing {
    Timing { reply: Duration::from_millis(reply_ms), idle: Duration::ZERO, ..Timing::default() }
}

/// Asks for the registers at `number`; the number that comes back.
pub(super) async fn ask_modbus(bus: &mut Bus, number: u16, reply_ms: u64) -> Result<u16, Error> {
    let answer = bus.read(&numbered(number), &timing(reply_ms)).await?;
    assert!(answer.asked <= answer.answered);
    assert_eq!(answer.words.len(), 2);
    assert_eq!(answer.words[0], !answer.words[1], "a number that nobody sent");
    Ok(answer.words[0])
}

pub(super) fn byte_question(bytes: &[u8]) -> Option<usize> {
    (bytes.len() >= 3).then_some(3)
}

/// The answer to A5 and a number: the number in two bytes, and nothing that tells them from any others.
pub(super) fn byte_answer(question: &[u8]) -> Vec<u8> {
    assert_eq!(question[0], 0xA5, "{question:?}");
    question[1..].to_vec()
}

/// A device that answers this with two bytes.
pub(super) fn byte_device(send: &[u8], reply_ms: u64) -> Device {
    let step = Step {
        send: Some(send.to_vec()),
        expect: Some(Pattern::frame("{v:u16}", None).unwrap()),
        wait: Duration::ZERO,
    };
    let mut device = text_steps(vec![step], b"", reply_ms);
    let DeviceEngine::Messages(messages) = &mut device.engine else { panic!("{device:?}") };
    messages.alphabet = Alphabet::Bytes;
    messages.framing = Framing { start: Vec::new(), end: End::Pattern, escape: None };
    device
}

/// Sends A5 and the number; the number that comes back.
pub(super) async fn ask_bytes(bus: &mut Bus, number: u16, reply_ms: u64) -> Result<u16, Error> {
    let device = byte_device(&[&[0xA5], &number.to_be_bytes()[..]].concat(), reply_ms);
    let values = poll_once(&mut text_driver(&device), bus).await?;
    Ok(values[0].to_string().parse().unwrap())
}

pub(super) fn text_device(send: &str, expect: &str, reply_ms: u64) -> Device {
    let step = Step {
        send: Some(send.as_bytes().to_vec()),
        expect: Some(Pattern::parse(expect).unwrap()),
        wait: Duration::ZERO,
    };
    text_steps(vec![step], b"\r", reply_ms)
}

pub(super) fn text_steps(steps: Vec<Step>, terminator: &[u8], reply_ms: u64) -> Device {
    let channels = steps.iter().filter_map(|step| step.expect.as_ref()).flat_map(|pattern| pattern.names().cloned());
    let channels = channels.map(plan::text_channel).collect();
    let text = MessageDevice {
        alphabet: Alphabet::Text,
        listens: Vec::new(),
        framing: Framing::terminated(terminator),
        on_connect: Vec::new(),
        polls: vec![MessagePoll { every: Duration::from_millis(100), steps }],
    };
    Device { profile: "test".into(), timing: timing(reply_ms), engine: DeviceEngine::Messages(text), channels }
}

pub(super) fn text_driver(device: &Device) -> MessageDriver {
    let DeviceEngine::Messages(text) = &device.engine else { panic!("{device:?}") };
    MessageDriver::new(text.clone(), device)
}

/// The values of the only exchange of poll 0.
pub(super) async fn poll_once(driver: &mut impl super::Driver, bus: &mut Bus) -> Result<Vec<f64>, Error> {
    let polled = driver.poll(bus, 0).await;
    match polled.failure {
        Some(failure) => Err(failure),
        None => {
            let [exchange] = polled.exchanges.as_slice() else { panic!("{polled:?}") };
            assert!(exchange.asked <= exchange.answered);
            Ok(exchange.readings.iter().map(|reading| reading.outcome.value().unwrap().get()).collect())
        }
    }
}

/// Sends `N<number><CR>`; the number that comes back.
pub(super) async fn ask_text(bus: &mut Bus, number: u16, reply_ms: u64) -> Result<u16, Error> {
    let device = text_device(&format!("N{number:05}\r"), "V{v:d5}", reply_ms);
    let values = poll_once(&mut text_driver(&device), bus).await?;
    Ok(values[0].to_string().parse().unwrap())
}

pub(super) async fn open(connector: &mut dyn Connector, protocol: Protocol) -> Bus {
    Bus::over(connector.open().await.unwrap(), protocol)
}

/// What the poller does with an error.
pub(super) async fn recover(bus: &mut Bus, connector: &mut dyn Connector, protocol: Protocol, error: &Error) {
    if error.recovery() == Recovery::Reopen {
        *bus = open(connector, protocol).await;
    }
}
