//! The line between a master and the instruments: it hears requests, lets the bench answer, and sends at the line's pace.
//!
//! Hearing and speaking go on side by side, so that an instrument that answers late hears the next request meanwhile and
//! answers both, in order. Time on the line is reckoned, not measured: a request that a client hands to the kernel in one
//! piece still takes its characters' time before an instrument has heard it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::bench::{Bench, Outgoing, Reply, Spread, Times};
use super::ear::{Ear, Heard, NotUnderstood};
use super::pace::{Alarm, Pace};
use super::voice::Voice;

/// Bytes that follow each other within this time go out together, as through the buffer of any adapter.
const BURST: Duration = Duration::from_millis(1);
/// Answers that wait to be sent. A master that asks on and on without waiting loses those beyond.
const WAITING: usize = 1_024;

/// What is spoken on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// Messages of the instruments' own.
    Messages,
    /// Modbus RTU.
    Rtu,
    /// Modbus/TCP.
    Mbap,
}

/// The instrument's end of a byte stream.
pub(super) trait Wire {
    /// Reads what is there, or waits for something; 0 when the other end is gone.
    async fn read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Hands an answer over.
    async fn write(&self, bytes: &[u8]) -> io::Result<()>;

    /// Hands over what nobody asked for. False where the other end takes not all of it in due time.
    async fn utter(&self, bytes: &[u8]) -> io::Result<bool> {
        self.write(bytes).await.map(|()| true)
    }

    /// Whether there is somebody who would read what is said unasked.
    fn is_listened_to(&self) -> bool {
        true
    }

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
    /// Told when what is said unasked has changed.
    pub(super) changed: watch::Receiver<()>,
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
                    self.bench().hears();
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
            Heard::Message(message) => self.bench().told(message, at),
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

    /// Sends answers, and what is said unasked, one after the other.
    async fn speak(&self, wire: &impl Wire, mut sendings: mpsc::Receiver<Sending>) -> End {
        let alarm = Alarm::new();
        let mut voice = Voice::new(self);
        let mut changed = self.changed.clone();
        let mut free = Instant::now();
        loop {
            let next = voice.next(self);
            let spoken = tokio::select! {
                biased;
                sending = sendings.recv() => match sending {
                    Some(sending) => {
                        let start = sending.earliest.max(free);
                        self.send(wire, &alarm, &sending.outgoing, Some(sending.request_received), start).await
                    }
                    None => return End::Gone,
                },
                Ok(()) = changed.changed() => continue,
                () = due(&alarm, next) => match voice.speak(self, wire, &alarm, free).await {
                    Ok(Ok(until)) => Ok(until),
                    Ok(Err(away)) => return End::HangUp(away),
                    Err(error) => Err(error),
                },
            };
            match spoken {
                Ok(until) => free = until,
                Err(_) => return End::Gone,
            }
        }
    }

    /// Sends bytes from `start` on, each not before its time; returns when the line is free again.
    pub(super) async fn send(
        &self,
        wire: &impl Wire,
        alarm: &Alarm,
        outgoing: &Outgoing,
        request_received: Option<Instant>,
        start: Instant,
    ) -> io::Result<Instant> {
        let Outgoing { bytes, spread, .. } = outgoing;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).max(1);
        let (step, burst) = match *spread {
            Spread::None => (self.pace.time_of(1), BURST),
            Spread::Over(total) => (self.pace.time_of(1).max(total / length), BURST),
            Spread::Pause(pause) => (self.pace.time_of(1).max(pause), Duration::ZERO),
        };
        let due = |count: usize| start + step * u32::try_from(count).unwrap_or(u32::MAX);
        let mut sent = 0;
        let mut first_byte = None;
        while sent < bytes.len() {
            let horizon = due(sent + 1) + burst;
            let next = (sent + 1..=bytes.len()).take_while(|count| due(*count) <= horizon).last().unwrap_or(sent + 1);
            alarm.until(due(next)).await;
            let now = Instant::now();
            let first_byte = *first_byte.get_or_insert(now);
            if next == bytes.len() {
                let request_received = request_received.unwrap_or(first_byte);
                self.bench().note(outgoing, Times { request_received, first_byte, last_byte: now });
            }
            wire.write(bytes.get(sent..next).unwrap_or_default()).await?;
            sent = next;
        }
        Ok(due(bytes.len()))
    }
}

/// Returns at this time; never where there is none.
async fn due(alarm: &Alarm, at: Option<Instant>) {
    match at {
        Some(at) => alarm.until(at).await,
        None => std::future::pending().await,
    }
}
