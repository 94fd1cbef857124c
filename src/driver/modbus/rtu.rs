//! The client for Modbus RTU, on serial lines and through sockets.
//!
//! It implements `tokio_modbus::client::Client`, so that requests and responses are those of everybody else. What it adds
//! over the stock client, each for a fault seen in the field or measured:
//! - the line is settled after an exchange that did not end well, and silence is kept between frames;
//! - an answer has to be right in unit, function, byte count and CRC, wherever it begins in what came in;
//! - an answer after an unanswered question is held back until it is certain whose it is;
//! - each way of failing has an error of its own.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_modbus::client::{Client, Context};
use tokio_modbus::slave::SlaveContext;
use tokio_modbus::{Request, Response, Slave};

use crate::link::Wire;
use crate::profile::Timing;

use super::super::Error;
use super::frame::{Question, SHORTEST};
use super::{Answer, Read, exception};

/// A bus of Modbus RTU units.
pub(crate) struct RtuBus {
    context: Context,
    desk: Arc<Mutex<Desk>>,
}

/// What the `Client` trait has no room for, passed beside it: the caller's timing in, the exchange's times out.
#[derive(Debug)]
struct Desk {
    timing: Timing,
    asked: Instant,
    answered: Instant,
    discarded: u64,
}

impl RtuBus {
    pub(crate) fn over(wire: Wire) -> Self {
        let now = Instant::now();
        let desk = Desk { timing: Timing::default(), asked: now, answered: now, discarded: 0 };
        let desk = Arc::new(Mutex::new(desk));
        let client: Box<dyn Client> = Box::new(RtuClient { wire, unit: 0, desk: Arc::clone(&desk) });
        Self { context: Context::from(client), desk }
    }

    pub(crate) async fn read(&mut self, read: &Read, timing: &Timing) -> Result<Answer, Error> {
        lock(&self.desk).timing = *timing;
        self.context.set_slave(Slave(read.unit));
        let response = self.call(read.request()).await?;
        let words = read.words(response)?;
        let desk = lock(&self.desk);
        Ok(Answer { asked: desk.asked, answered: desk.answered, words })
    }

    async fn call(&mut self, request: Request<'_>) -> Result<Response, Error> {
        match Client::call(&mut self.context, request).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(code)) => Err(exception(code)),
            Err(tokio_modbus::Error::Transport(error)) => Err(error.downcast::<Error>().unwrap_or_else(Error::Gone)),
            Err(tokio_modbus::Error::Protocol(error)) => Err(Error::Mismatch { what: error.to_string() }),
        }
    }

    pub(crate) fn discarded(&self) -> u64 {
        lock(&self.desk).discarded
    }
}

impl fmt::Debug for RtuBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtuBus").field("desk", &self.desk).finish_non_exhaustive()
    }
}

/// The client proper. It owns the wire.
struct RtuClient {
    wire: Wire,
    unit: u8,
    desk: Arc<Mutex<Desk>>,
}

impl RtuClient {
    async fn exchange(&mut self, question: &Question) -> Result<tokio_modbus::Result<Response>, Error> {
        let timing = lock(&self.desk).timing;
        let silence = timing.gap.max(self.wire.settings().modbus_silence);
        self.wire.begin(silence, timing.idle).await?;
        self.wire.ask(u16::from(self.unit), &question.frame).await?;

        let echo = self.wire.settings().echo;
        let echoed = if echo { question.frame.len() } else { 0 };
        let on_the_line = self.wire.settings().time_of(question.answer() + echoed);
        let deadline = self.wire.sent() + timing.reply + on_the_line;
        let mut echo_seen = false;
        loop {
            let received = self.wire.received();
            let found = question.find(received);
            if !echo_seen
                && let Some(at) = question.echo(received)
                && found.as_ref().is_none_or(|found| at <= found.start)
            {
                if !echo {
                    return Err(Error::Echo);
                }
                echo_seen = true;
                self.wire.skip(at + question.frame.len());
                continue;
            }
            if let Some(found) = found {
                self.wire.skip(found.start);
                self.wire.consume(found.end - found.start);
                let answered = self.wire.heard();
                self.wire.accept(timing.reply, |stray| stray.len() < SHORTEST).await?;
                let mut desk = lock(&self.desk);
                desk.asked = self.wire.asked();
                desk.answered = answered;
                return Ok(Ok(found.said));
            }
            // As many bytes as the answer has, and no answer among them: if no more come soon, none will.
            let complete = received.len() >= question.answer();
            let until = if complete { deadline.min(self.wire.heard() + self.wire.settings().quiet) } else { deadline };
            if !self.wire.more(until).await? {
                let why = question.explain(self.wire.received(), timing.reply);
                return Err(if self.wire.is_mute() { Error::GivenUp(Box::new(why)) } else { why });
            }
        }
    }
}

#[async_trait::async_trait]
impl Client for RtuClient {
    async fn call(&mut self, request: Request<'_>) -> tokio_modbus::Result<Response> {
        let outcome = match Question::new(self.unit, &request) {
            Ok(question) => self.exchange(&question).await,
            Err(refused) => Err(refused),
        };
        lock(&self.desk).discarded = self.wire.discarded();
        outcome.unwrap_or_else(|error| Err(tokio_modbus::Error::Transport(io::Error::other(error))))
    }

    async fn disconnect(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SlaveContext for RtuClient {
    fn set_slave(&mut self, slave: Slave) {
        self.unit = slave.into();
    }
}

/// A panic elsewhere leaves nothing half-written here.
fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use crate::link::Pacer;
    use crate::link::WireSettings;

    use super::*;

    #[tokio::test]
    async fn a_write_is_refused_before_a_byte_goes_out() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut bus = RtuBus::over(Wire::new(ours, WireSettings::socket(), Pacer::coarse(), None));
        for request in [
            Request::WriteSingleRegister(0, 1),
            Request::WriteMultipleRegisters(0, vec![1, 2].into()),
            Request::WriteSingleCoil(0, true),
            Request::ReadWriteMultipleRegisters(0, 1, 0, vec![1].into()),
            Request::Custom(0x2B, vec![0x0E, 1, 0].into()),
        ] {
            let refused = bus.call(request).await.unwrap_err();
            assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
        }
        drop(bus);
        let mut out = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), theirs.read_to_end(&mut out)).await;
        assert_eq!(read.unwrap().unwrap(), 0, "bytes went out: {out:?}");
    }
}
