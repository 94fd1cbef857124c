//! Modbus: reading registers and bits, over RTU and TCP.
//!
//! Requests and responses are those of `tokio-modbus`. For RTU its own client is replaced: it clears no kernel buffer,
//! knows no silence between frames, and takes a late reply for the next one. For TCP it serves as it is, behind checks.
//!
//! Invariant: functions 1 to 4 are the only ones that leave this program.

mod driver;
mod frame;
mod plan;
mod rtu;
mod tcp;

use tokio::time::Instant;
use tokio_modbus::{ExceptionCode, Request, Response};

use crate::profile::Table;

use super::Error;

pub use driver::ModbusDriver;
pub(super) use rtu::RtuBus;
pub(super) use tcp::TcpBus;

/// Most registers in one request (MODBUS Application Protocol V1.1b3, 6.3).
pub(crate) const MOST_REGISTERS: u16 = 125;

/// Most coils or discrete inputs in one request (MODBUS Application Protocol V1.1b3, 6.1).
pub(crate) const MOST_BITS: u16 = 2000;

/// A request to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The unit's address.
    pub unit: u8,
    /// What is read.
    pub table: Table,
    /// The protocol address of the first register or bit, from zero.
    pub address: u16,
    /// How many registers or bits.
    pub count: u16,
}

/// The answer to a [`Read`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// When the first byte of the request went out.
    pub asked: Instant,
    /// When the last byte of the answer came in.
    pub answered: Instant,
    /// As many words as were asked for; a bit is 0 or 1.
    pub words: Vec<u16>,
}

impl Read {
    /// The most registers or bits of this table in one request.
    fn most(table: Table) -> u16 {
        if table.is_bits() { MOST_BITS } else { MOST_REGISTERS }
    }

    /// Refuses what the protocol does not allow.
    pub(super) fn check(&self) -> Result<(), Error> {
        let most = Self::most(self.table);
        if (1..=most).contains(&self.count) {
            Ok(())
        } else {
            let what = if self.table.is_bits() { "bits" } else { "registers" };
            Err(Error::Count { count: self.count, what, most })
        }
    }

    /// The bytes that ask for it on a serial line: what a neighbour of another protocol would hear.
    pub fn rtu_frame(&self) -> Vec<u8> {
        frame::Question::new(self.unit, &self.request()).map(|question| question.frame).unwrap_or_default()
    }

    fn request(&self) -> Request<'static> {
        match self.table {
            Table::Coil => Request::ReadCoils(self.address, self.count),
            Table::Discrete => Request::ReadDiscreteInputs(self.address, self.count),
            Table::Holding => Request::ReadHoldingRegisters(self.address, self.count),
            Table::Input => Request::ReadInputRegisters(self.address, self.count),
        }
    }

    /// The words of a response, if it is one to this request.
    fn words(&self, response: Response) -> Result<Vec<u16>, Error> {
        let count = usize::from(self.count);
        let words: Vec<u16> = match (self.table, response) {
            (Table::Coil, Response::ReadCoils(bits)) | (Table::Discrete, Response::ReadDiscreteInputs(bits)) => {
                // The last byte is padded, so up to seven bits more than asked for are right.
                if bits.len() != count.next_multiple_of(8) && bits.len() != count {
                    return Err(wrong_length(bits.len(), count));
                }
                bits.into_iter().take(count).map(u16::from).collect()
            }
            (Table::Holding, Response::ReadHoldingRegisters(words))
            | (Table::Input, Response::ReadInputRegisters(words)) => words,
            (_, other) => {
                return Err(Error::Mismatch { what: format!("an answer to function {}", other.function_code()) });
            }
        };
        if words.len() == count { Ok(words) } else { Err(wrong_length(words.len(), count)) }
    }
}

fn wrong_length(got: usize, asked: usize) -> Error {
    Error::Mismatch { what: format!("{got} values where {asked} were asked for") }
}

/// The error for a Modbus exception.
fn exception(code: ExceptionCode) -> Error {
    Error::Exception { code: code.into(), what: name_of(code) }
}

/// `exception 2, illegal data address`.
fn exception_in_words(code: u8) -> String {
    format!("exception {code}, {}", name_of(ExceptionCode::new(code)))
}

/// Names are those of MODBUS Application Protocol V1.1b3, 7.
fn name_of(code: ExceptionCode) -> &'static str {
    match code {
        ExceptionCode::IllegalFunction => "illegal function",
        ExceptionCode::IllegalDataAddress => "illegal data address",
        ExceptionCode::IllegalDataValue => "illegal data value",
        ExceptionCode::ServerDeviceFailure => "device failure",
        ExceptionCode::Acknowledge => "accepted, still working on it",
        ExceptionCode::ServerDeviceBusy => "busy",
        ExceptionCode::MemoryParityError => "memory parity error",
        ExceptionCode::GatewayPathUnavailable => "the gateway has no path to the unit",
        ExceptionCode::GatewayTargetDevice => "the unit behind the gateway does not answer",
        ExceptionCode::Custom(_) => "a number of the vendor's own",
    }
}
