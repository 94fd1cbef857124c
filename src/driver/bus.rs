//! The bus: an opened link with the protocol that is spoken on it.

use std::fmt;

use crate::link::Wire;
use crate::profile::Timing;

use super::Error;
use super::modbus::{Answer, Read, RtuBus, TcpBus};

/// What is spoken on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Messages of the instruments' own.
    Bytes,
    /// Modbus RTU frames, on a serial line or through a socket.
    ModbusRtu,
    /// Modbus/TCP.
    ModbusTcp,
}

/// An opened link, as drivers use it. Dropping it closes the link.
pub struct Bus {
    line: Line,
}

#[derive(Debug)]
enum Line {
    Bytes(Box<Wire>),
    Rtu(RtuBus),
    Tcp(TcpBus),
}

impl Bus {
    /// A bus over a freshly opened wire.
    pub fn over(wire: Wire, protocol: Protocol) -> Self {
        let line = match protocol {
            Protocol::Bytes => Line::Bytes(Box::new(wire)),
            Protocol::ModbusRtu => Line::Rtu(RtuBus::over(wire)),
            Protocol::ModbusTcp => Line::Tcp(TcpBus::over(wire)),
        };
        Self { line }
    }

    /// The wire, on a bus of [`Protocol::Bytes`]; [`Error::Protocol`] on any other.
    pub fn wire(&mut self) -> Result<&mut Wire, Error> {
        match &mut self.line {
            Line::Bytes(wire) => Ok(wire),
            Line::Rtu(_) | Line::Tcp(_) => Err(Error::Protocol),
        }
    }

    /// Reads Modbus registers or bits. `timing` is that of the unit's profile.
    pub async fn read(&mut self, read: &Read, timing: &Timing) -> Result<Answer, Error> {
        read.check()?;
        match &mut self.line {
            Line::Bytes(_) => Err(Error::Protocol),
            Line::Rtu(bus) => bus.read(read, timing).await,
            Line::Tcp(bus) => bus.read(read, timing).await,
        }
    }

    /// Bytes thrown away since the link was opened: noise, late answers, unasked messages. Modbus/TCP has none.
    pub fn discarded(&self) -> u64 {
        match &self.line {
            Line::Bytes(wire) => wire.discarded(),
            Line::Rtu(bus) => bus.discarded(),
            Line::Tcp(_) => 0,
        }
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(f)
    }
}
