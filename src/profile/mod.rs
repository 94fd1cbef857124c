//! Profiles: what the files under `devices/` say about instrument families.
//!
//! A profile is data: messages or registers, units, sentinels, test vectors. [`Profile::device`] fills in the parameters of
//! one instrument and gives a [`Device`], which drivers read and simulators mirror. Everything here is pure: no link, no
//! clock, no file except where the [`Library`] looks into its directories.
//!
//! What holds: a [`Device`] exists only if its profile is valid and its parameters fit. A reply is either what the
//! profile describes, to the last byte, or a [`Mismatch`]; nothing is skipped to find a number. A sentinel never becomes
//! a number, and no code of a status that the profile does not list becomes a good one.

mod compile;
mod curve;
mod decoding;
mod definition;
mod device;
mod library;
mod params;
mod pattern;
mod raw;
mod register;
mod schema;
mod text;
mod vectors;

pub(crate) use compile::{SHORTEST_PERIOD, table};
pub use curve::Scaling;
pub use decoding::{Case, Decoding, QualityMap, TextState, Unencodable, Verdict};
pub use definition::{Message, Origin, Profile};
pub(crate) use definition::{baud, data_bits, parity, stop_bits};
pub use device::{
    ConnectStep, Device, DeviceChannel, DeviceEngine, Framing, ModbusDevice, Source, Step, TextDevice, TextPoll, Timing,
};
pub use library::{Library, STANDARD_DIRECTORIES};
pub use params::{Param, ParamError};
pub use pattern::{Mismatch, Pattern, Unwritable};
pub use raw::{FieldRef, Fields, Raw};
pub use register::{Order, Register, RegisterError, RegisterType, Table};
pub use schema::{ParamType, Status};
pub(crate) use schema::{ParityWord, ProfileFile};
pub use text::{TextError, printable};
