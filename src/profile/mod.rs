//! Profiles: what the files under `devices/` say about instrument families.
//!
//! A profile is data: messages or registers, units, sentinels, test vectors. [`Profile::device`] fills in the parameters of
//! one instrument and gives a [`Device`], which drivers read and simulators mirror. Everything here is pure: no link, no
//! clock, no file except where the [`Library`] looks into its directories.
//!
//! What holds: a [`Device`] exists only if its profile is valid and its parameters fit. A reply is either what the
//! profile describes, to the last byte, or a [`Mismatch`]; nothing is skipped to find a number. A sentinel never becomes
//! a number, and no code of a status that the profile does not list becomes a good one.

mod checksum;
mod compile;
mod curve;
mod decoding;
mod definition;
mod device;
mod framing;
mod hearing;
mod identify;
mod json_schema;
mod library;
mod params;
mod pattern;
mod raw;
mod register;
mod schema;
mod text;
mod vectors;

pub use checksum::{Checksum, ChecksumEncoding, ChecksumKind};
pub(crate) use compile::{SHORTEST_PERIOD, table};
pub use curve::Scaling;
pub use decoding::{Case, Decoding, QualityMap, TextState, UNKNOWN_STATUS, Unencodable, Verdict};
pub use definition::{Message, Origin, Profile};
pub(crate) use definition::{baud, data_bits, parity, stop_bits};
pub use device::{
    Alphabet, ConnectStep, Device, DeviceChannel, DeviceEngine, Listen, MessageDevice, MessagePoll, ModbusDevice,
    Source, Step, Timing,
};
pub use framing::{Cut, End, Escape, Framing};
pub use hearing::{Heard, HeardMessage, Hearing};
pub use identify::{Probe, Shows};
pub use json_schema::json_schema;
pub use library::{Library, STANDARD_DIRECTORIES};
pub use params::{Param, ParamError};
pub use pattern::{Misfit, Mismatch, Pattern, Unwritable};
pub use raw::{FieldRef, Fields, Raw};
pub use register::{Order, Register, RegisterError, RegisterType, Table};
pub use schema::{ParamType, Says, Status};
pub(crate) use schema::{ParityWord, ProfileFile};
pub use text::{TextError, bytes_of, printable};
