//! The line between a master and the instruments: it hears requests, lets the bench answer, and sends at the line's pace.
//!
//! Hearing and speaking go on side by side, so that an instrument that answers late hears the next request meanwhile and
//! answers both, in order. Time on the line is reckoned, not measured: a request that a client hands to the kernel in one
//! piece still takes its characters' time before an instrument has heard it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::bench::{Bench, Outgoing, Reply, Spread};
use super::framing::{Mbap, Request, Rtu};
use super::pace::{Alarm, Pace};

/// How long a Modbus RTU line has to be quiet before bytes that are no frame are dropped. Longer than the 3.5 characters
/// of the specification: a master's scheduler may tear a request apart.
const RTU_GAP: Duration = Duration::from_millis(20);
/// Bytes that follow each other within this time go out together, as through the buffer of any adapter.
const BURST: Duration = Duration::from_millis(1);
/// Answers that wait to be sent. A master that asks on and on without waiting loses those beyond.
const WAITING: usize = 1_024;
/// Longest text message; more without an end is noise.
const LONGEST_MESSAGE: usize = 256;

/// What is spoken on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// Text messages.
    Text,
    /// Modbus RTU.
    Rtu,
    /// Modbus/TCP.
    Mbap,
}

/// The instrument's end of a byte stream.
pub(super) trait Wire {
    /// Reads what is there, or waits for something; 0 when the other end is gone.
    async fn read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Hands bytes over.
    async fn write(&self, bytes: &[u8]) -> io::Result<()>;

    /// The baud rate that the client has set, where there is such a thing.
    fn client_baud(&self) -> Option<u32> {
        None
    }
}

/// A line and who is on it. One of these serves every connection.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) bench: Arc<Mutex<Bench>>,
    pub(super) speech: Speech,
    pub(super) pace: Pace,
    /// Whether requests at another baud rate are not understood.
    pub(super) strict_baud: bool,
}

/// Why a line is no longer served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The other end is gone, or talks what can't be understood.
    Gone,
    /// A fault: the port is to go away for this time.
    HangUp(Duration),
}

/// An answer on its way out.
struct Sending {
    outgoing: Outgoing,
    earliest: Instant,
    request_received: Instant,
}

impl Line {
    /// The bench. It stays usable after a panic elsewhere: nothing on it is left half done.
    pub(super) fn bench(&self) -> MutexGuard<'_, Bench> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one byte stream until it ends.
    pub(super) async fn serve(&self, wire: &impl Wire) -> End {
        let (queue, sendings) = mpsc::channel(WAITING);
        tokio::select! {
            end = self.hear(wire, queue) => end,
            end = self.speak(wire, sendings) => end,
        }
    }

    async fn hear(&self, wire: &impl Wire, queue: mpsc::Sender<Sending>) -> End {
        let mut ear = Ear::new(self.speech, self.bench().messages());
        let mut heard_until = Instant::now();
        let mut first_byte = None;
        let mut buffer = [0; 512];
        loop {
            let mut requests = Vec::new();
            let reading = wire.read(&mut buffer);
            let read = match ear.patience() {
                Some(gap) => tokio::time::timeout(gap, reading).await.ok(),
                None => Some(reading.await),
            };
            match read {
                None => requests.extend(ear.silence()),
                Some(Ok(0) | Err(_)) => return End::Gone,
                Some(Ok(count)) => {
                    let now = Instant::now();
                    let bytes = buffer.get(..count).unwrap_or_default();
                    heard_until = heard_until.max(now) + self.pace.time_of(count);
                    if self.is_at_another_baud(wire) {
                        continue;
                    }
                    first_byte.get_or_insert(now);
                    if self.bench().echoes() && wire.write(bytes).await.is_err() {
                        return End::Gone;
                    }
                    match ear.hear(bytes) {
                        Ok(complete) => requests.extend(complete),
                        Err(NotUnderstood) => return End::Gone,
                    }
                }
            }
            let request_received = first_byte.unwrap_or(heard_until);
            for request in requests {
                for reply in self.answer(&request, heard_until) {
                    let outgoing = match reply {
                        Reply::HangUp(away) => return End::HangUp(away),
                        Reply::Bytes(outgoing) => outgoing,
                    };
                    let earliest = heard_until + outgoing.delay.max(self.least_delay());
                    // A full queue loses the answer, as a device that can't keep up does.
                    drop(queue.try_send(Sending { outgoing, earliest, request_received }));
                }
            }
            if !ear.is_waiting() {
                first_byte = None;
            }
        }
    }

    fn answer(&self, request: &Heard, at: Instant) -> Vec<Reply> {
        match request {
            Heard::Modbus(request) => self.bench().asked(request, self.speech, at),
            Heard::Text(message) => self.bench().told(message, at),
        }
    }

    /// A Modbus RTU device knows only from the silence that a request is over.
    fn least_delay(&self) -> Duration {
        if self.speech == Speech::Rtu { self.pace.modbus_silence() } else { Duration::ZERO }
    }

    fn is_at_another_baud(&self, wire: &impl Wire) -> bool {
        match (&self.pace, wire.client_baud()) {
            (Pace::Line(line), Some(baud)) => self.strict_baud && baud != line.baud,
            _ => false,
        }
    }

    async fn speak(&self, wire: &impl Wire, mut sendings: mpsc::Receiver<Sending>) -> End {
        let alarm = Alarm::new();
        let mut free = Instant::now();
        while let Some(sending) = sendings.recv().await {
            let start = sending.earliest.max(free);
            match self.send(wire, &alarm, &sending, start).await {
                Ok(end) => free = end,
                Err(_) => return End::Gone,
            }
        }
        End::Gone
    }

    /// Sends an answer from `start` on, each byte not before its time; returns when the line is free again.
    async fn send(&self, wire: &impl Wire, alarm: &Alarm, sending: &Sending, start: Instant) -> io::Result<Instant> {
        let Outgoing { bytes, spread, .. } = &sending.outgoing;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).max(1);
        let (step, burst) = match *spread {
            Spread::None => (self.pace.time_of(1), BURST),
            Spread::Over(total) => (self.pace.time_of(1).max(total / length), BURST),
            Spread::Pause(pause) => (self.pace.time_of(1).max(pause), Duration::ZERO),
        };
        let due = |count: usize| start + step * u32::try_from(count).unwrap_or(u32::MAX);
        let mut sent = 0;
        while sent < bytes.len() {
            let horizon = due(sent + 1) + burst;
            let next = (sent + 1..=bytes.len()).take_while(|count| due(*count) <= horizon).last().unwrap_or(sent + 1);
            alarm.until(due(next)).await;
            if next == bytes.len() {
                self.bench().note(&sending.outgoing, sending.request_received, Instant::now());
            }
            wire.write(bytes.get(sent..next).unwrap_or_default()).await?;
            sent = next;
        }
        Ok(due(bytes.len()))
    }
}

/// A complete request.
enum Heard {
    Modbus(Request),
    Text(Vec<u8>),
}

/// Bytes after which nothing can be understood any more.
struct NotUnderstood;

/// Finds requests among the bytes of a line.
enum Ear {
    Rtu(Rtu),
    Mbap(Mbap),
    Text { known: Vec<Vec<u8>>, buffer: Vec<u8> },
}

impl Ear {
    fn new(speech: Speech, known: Vec<Vec<u8>>) -> Self {
        match speech {
            Speech::Rtu => Self::Rtu(Rtu::default()),
            Speech::Mbap => Self::Mbap(Mbap::default()),
            Speech::Text => Self::Text { known, buffer: Vec::new() },
        }
    }

    /// How long a silence has to be to say something.
    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Rtu(rtu) if rtu.is_waiting() => Some(RTU_GAP),
            _ => None,
        }
    }

    /// Whether a request has begun.
    fn is_waiting(&self) -> bool {
        match self {
            Self::Rtu(rtu) => rtu.is_waiting(),
            Self::Mbap(mbap) => mbap.is_waiting(),
            Self::Text { buffer, .. } => !buffer.is_empty(),
        }
    }

    fn silence(&mut self) -> Option<Heard> {
        match self {
            Self::Rtu(rtu) => rtu.silence().map(Heard::Modbus),
            Self::Mbap(_) | Self::Text { .. } => None,
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, NotUnderstood> {
        match self {
            Self::Rtu(rtu) => Ok(rtu.push(bytes).into_iter().map(Heard::Modbus).collect()),
            Self::Mbap(mbap) => {
                Ok(mbap.push(bytes).map_err(|_| NotUnderstood)?.into_iter().map(Heard::Modbus).collect())
            }
            Self::Text { known, buffer } => {
                Ok(bytes.iter().filter_map(|byte| next_message(known, buffer, *byte)).map(Heard::Text).collect())
            }
        }
    }
}

/// Adds a byte; returns the message that it completes. A message is complete when it is a known one, or with the end of a
/// line, where known ones end so. A stray line feed or carriage return before a message belongs to the one before.
fn next_message(known: &[Vec<u8>], buffer: &mut Vec<u8>, byte: u8) -> Option<Vec<u8>> {
    let ends_line = matches!(byte, b'\r' | b'\n');
    if buffer.is_empty() && ends_line && !known.iter().any(|message| message.first() == Some(&byte)) {
        return None;
    }
    buffer.push(byte);
    if buffer.len() > LONGEST_MESSAGE {
        buffer.remove(0);
    }
    let with_line_end = |message: &[u8]| matches!(message.last(), Some(b'\r' | b'\n'));
    // A binary message has no end that would clear away what came before it.
    let control = known.iter().find(|message| !with_line_end(message) && buffer.ends_with(message));
    if let Some(control) = control {
        buffer.clear();
        return Some(control.clone());
    }
    let complete = known.contains(buffer) || known.iter().any(|m| with_line_end(m) && m.last() == Some(&byte));
    complete.then(|| std::mem::take(buffer))
}
