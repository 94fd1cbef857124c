//! The port of a scan: opened as each stage wants it, asked one thing at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::report::Failure;
use super::super::target::open;
use super::plan::Way;
use crate::driver;
use crate::driver::Bus;
use crate::driver::Protocol;
use crate::driver::modbus::Read;
use crate::link::Fault;
use crate::link::Seen;
use crate::link::Trace;
use crate::link::connector;
use crate::model::{LineSettings, Transport};
use crate::profile::Device;
use crate::profile::Timing;

/// What came of a question.
#[derive(Debug)]
pub(super) enum Reply {
    /// What was expected; the bytes as they came.
    Right(Vec<u8>),
    /// Nothing at all.
    Silence,
    /// Something else.
    Odd {
        /// The bytes as they came.
        heard: Vec<u8>,
        /// What is wrong with them.
        why: driver::Error,
    },
}

/// The port of a scan.
pub(super) struct Port {
    target: String,
    way: Way,
    /// Whether the adapter was found to echo.
    pub(super) echo: bool,
    opened: Option<(Option<LineSettings>, Protocol, Bus)>,
    heard: Arc<Mutex<Vec<u8>>>,
    /// Messages sent.
    pub(super) sent: u64,
}

impl Port {
    pub(super) fn new(target: &str, way: Way) -> Self {
        Self { target: target.to_owned(), way, echo: false, opened: None, heard: Arc::default(), sent: 0 }
    }

    /// Opens the port with these settings, unless it is so already.
    async fn bus(&mut self, line: Option<&LineSettings>, protocol: Protocol) -> Result<&mut Bus, Failure> {
        let line = line.map(|line| LineSettings { echo: line.echo || self.echo, ..line.clone() });
        let (line, protocol, bus) = match self.opened.take() {
            Some((own, spoken, bus)) if own == line && spoken == protocol => (own, spoken, bus),
            // Closed before it is opened anew: a serial port can be held once only.
            other => {
                drop(other);
                let heard = Arc::clone(&self.heard);
                let trace: Trace = Arc::new(move |seen| {
                    if let Seen::In(bytes) = seen {
                        heard.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
                    }
                });
                let wire = open(&mut *connector(&self.transport(line.as_ref()), Some(trace))).await?;
                (line, protocol, Bus::over(wire, protocol))
            }
        };
        Ok(&mut self.opened.insert((line, protocol, bus)).2)
    }

    fn transport(&self, line: Option<&LineSettings>) -> Transport {
        let address = self.target.clone();
        match self.way {
            Way::Serial => Transport::Serial { port: address, line: line.cloned().unwrap_or_default() },
            Way::DeviceServer => Transport::Tcp { address },
            Way::ModbusTcp => Transport::ModbusTcp { address },
        }
    }

    /// What came in since the last call.
    fn take_heard(&self) -> Vec<u8> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Carries out the one poll of a device.
    pub(super) async fn ask(&mut self, line: Option<&LineSettings>, device: &Device) -> Result<Reply, Failure> {
        self.bus(line, Protocol::Bytes).await?;
        self.take_heard();
        let mut driver = driver::driver(device.clone(), 0);
        let bus = self.bus(line, Protocol::Bytes).await?;
        let polled = driver.poll(bus, 0).await;
        self.sent += 1;
        let heard = self.take_heard();
        match polled.failure {
            None => Ok(Reply::Right(heard)),
            Some(why) => Ok(self.failed(why, heard)),
        }
    }

    /// Reads registers; an exception is an answer, and comes as `Odd`.
    pub(super) async fn read(
        &mut self,
        line: Option<&LineSettings>,
        read: &Read,
        reply: Duration,
    ) -> Result<Result<Vec<u16>, Reply>, Failure> {
        let protocol = if self.way == Way::ModbusTcp { Protocol::ModbusTcp } else { Protocol::ModbusRtu };
        self.bus(line, protocol).await?;
        self.take_heard();
        let timing = Timing { reply, idle: Duration::ZERO, ..Timing::default() };
        let bus = self.bus(line, protocol).await?;
        let answer = bus.read(read, &timing).await;
        self.sent += 1;
        let heard = self.take_heard();
        match answer {
            Ok(answer) => Ok(Ok(answer.words)),
            Err(why) => Ok(Err(self.failed(why, heard))),
        }
    }

    fn failed(&mut self, why: driver::Error, heard: Vec<u8>) -> Reply {
        if why.recovery() == driver::Recovery::Reopen {
            self.opened = None;
        }
        // A socket that is mute for several questions is given up by its wire; here, silence is the rule.
        let why = match why {
            driver::Error::GivenUp(why) => *why,
            why => why,
        };
        match why {
            driver::Error::NoReply(_) if heard.is_empty() => Reply::Silence,
            why => Reply::Odd { heard, why },
        }
    }

    /// Listens, and hands on what comes: bytes, and none for a silence of the line.
    pub(super) async fn listen(
        &mut self,
        line: Option<&LineSettings>,
        length: Duration,
        mut hear: impl FnMut(Option<&[u8]>),
    ) -> Result<(), Failure> {
        let until = Instant::now() + length;
        let bus = self.bus(line, Protocol::Bytes).await?;
        let Ok(wire) = bus.wire() else { return Ok(()) };
        loop {
            let quiet = Instant::now() + wire.quiet();
            match wire.more(until.min(quiet)).await {
                Ok(true) => {
                    hear(Some(wire.received()));
                    wire.skip(wire.received().len());
                }
                Ok(false) => hear(None),
                Err(Fault::Gone(_)) => {
                    self.opened = None;
                    return Ok(());
                }
                Err(Fault::Noisy { .. } | Fault::Unsettled) => {}
            }
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }
}
