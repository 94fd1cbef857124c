//! The grammar of profiles as serde shapes. Every key is optional here; `compile` says what is required where.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::document::DurationText;
use crate::document::Number;
use crate::document::Open;
use crate::document::Scalar;
use crate::document::Spanned;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::checksum::{ChecksumEncoding, ChecksumKind};
use super::{Order, RegisterType, Table};

/// A map that remembers where its keys and values are.
pub(crate) type Places<T> = BTreeMap<Spanned<String>, Spanned<T>>;

/// A profile, in a file of its own or in line.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProfileFile {
    /// The version of this format: 1.
    pub(super) schema: Option<Spanned<i64>>,
    /// The name that lab files use: lower-case letters, digits and `-`. Never renamed.
    pub(super) id: Option<Spanned<String>>,
    /// Who makes the instruments.
    pub(super) vendor: Option<Spanned<String>>,
    /// The models that it fits.
    pub(super) models: Vec<String>,
    /// Where the instruments are documented.
    pub(super) doc: Vec<String>,
    /// Where what it says comes from.
    pub(super) sources: Vec<String>,
    /// How sure it is.
    pub(super) status: Option<Status>,
    /// What to beware of.
    pub(super) caveats: Vec<String>,
    /// What the instruments speak.
    pub(super) engine: Option<Spanned<EngineWord>>,
    /// Whether they are asked or speak unasked.
    pub(super) mode: Option<Spanned<ModeWord>>,
    /// How a serial line is set unless the lab says otherwise.
    pub(super) serial: Option<SerialFile>,
    /// The port of a TCP connection unless the lab names one.
    pub(super) tcp: Option<TcpFile>,
    /// What the lab can fill in; used as `{name}`.
    pub(super) params: Places<ParamFile>,
    /// How patient one has to be.
    pub(super) timing: TimingFile,
    /// Meanings of status codes that several channels share; `quality` refers to them by `codes = "name"`.
    pub(super) codes: Places<Places<Scalar>>,
    /// How messages are told apart.
    pub(super) framing: Option<Spanned<FramingFile>>,
    /// Messages that are sent once after the link was opened.
    pub(super) on_connect: Vec<Spanned<ConnectFile>>,
    /// What is asked for regularly.
    pub(super) poll: Vec<Spanned<PollFile>>,
    /// What comes unasked.
    pub(super) listen: Vec<Spanned<ListenFile>>,
    /// How registers are read.
    pub(super) modbus: Option<Spanned<ModbusFile>>,
    /// The series that the instruments offer.
    pub(super) channel: Vec<Spanned<ChannelFile>>,
    /// How `scan` recognises an instrument.
    pub(super) identify: Vec<Spanned<IdentifyFile>>,
    /// Regular expressions over messages that would change such an instrument.
    pub(super) writes: Vec<Spanned<String>>,
    /// Bytes of manuals and captures, and what they mean.
    pub(super) test: Vec<Spanned<TestFile>>,
}

/// How sure a profile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Tried on the instrument.
    Hardware,
    /// From the vendor's manual.
    Manual,
    /// From another program that drives the instrument.
    Driver,
    /// None of these.
    Untested,
}

/// What the instruments speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EngineWord {
    Text,
    Frame,
    Modbus,
}

/// Whether instruments are asked or speak unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModeWord {
    Poll,
    Listen,
}

/// What sort of thing a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindWord {
    Gauge,
    Counter,
    State,
    Setting,
    Info,
}

/// Parity, as files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ParityWord {
    None,
    Even,
    Odd,
}

/// How a serial line is set.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SerialFile {
    /// Bits a second.
    pub(super) baud: Option<Spanned<u32>>,
    /// 7 or 8.
    pub(super) data_bits: Option<Spanned<u8>>,
    /// The parity bit.
    pub(super) parity: Option<ParityWord>,
    /// 1 or 2.
    pub(super) stop_bits: Option<Spanned<u8>>,
    /// The level of RTS.
    pub(super) rts: Option<bool>,
    /// The level of DTR.
    pub(super) dtr: Option<bool>,
    /// Whether the adapter sends requests back.
    pub(super) echo: Option<bool>,
}

/// A TCP connection.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TcpFile {
    /// The port.
    pub(super) port: Option<Spanned<u16>>,
}

/// A parameter.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ParamFile {
    /// What it can be.
    #[serde(rename = "type")]
    pub(super) kind: Option<ParamType>,
    /// What it is where the lab says nothing.
    pub(super) default: Option<Spanned<Scalar>>,
    /// What it has to be one of.
    pub(super) choices: Vec<Spanned<Scalar>>,
    /// Whether the lab has to say it.
    pub(super) required: bool,
    /// A regular expression that it has to match.
    pub(super) pattern: Option<Spanned<String>>,
}

/// What a parameter can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// A text of printable ASCII.
    #[default]
    String,
    /// A whole number.
    Int,
    /// A number.
    Float,
}

/// How patient one has to be with a device.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TimingFile {
    /// Longest time to an answer.
    pub(super) reply: Option<Spanned<DurationText>>,
    /// Usual time until an answer begins, for the bus-time budget.
    pub(super) turnaround: Option<Spanned<DurationText>>,
    /// Silence after which a disturbed line counts as settled.
    pub(super) idle: Option<Spanned<DurationText>>,
    /// Least time from an answer to the next question.
    pub(super) gap: Option<Spanned<DurationText>>,
    /// Wait between opening the link and the first question.
    pub(super) after_connect: Option<Spanned<DurationText>>,
    /// How long silence after switching on is no fault.
    pub(super) warm_up: Option<Spanned<DurationText>>,
    /// How often the device has a new value.
    pub(super) refresh: Option<Spanned<String>>,
}

/// How messages are told apart.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FramingFile {
    /// What ends a message.
    pub(super) terminator: Option<Spanned<String>>,
    /// Bytes behind the terminator that belong to the message.
    pub(super) tail: Option<Spanned<u16>>,
    /// What a message begins with.
    pub(super) start: Option<Spanned<String>>,
    /// The length of every message.
    pub(super) fixed: Option<Spanned<u16>>,
    /// The byte that tells the length.
    pub(super) length: Option<Spanned<LengthFile>>,
    /// The silence that ends a message.
    pub(super) idle: Option<Spanned<DurationText>>,
    /// What stands before payload bytes that look like a beginning.
    pub(super) escape: Option<Spanned<EscapeFile>>,
    /// The checksum that `{ck}` stands for.
    pub(super) checksum: Option<Spanned<ChecksumFile>>,
}

/// The byte that tells the length of a message.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LengthFile {
    /// The place of the byte, from 0.
    pub(super) at: Option<Spanned<u8>>,
    /// What has to be added to it.
    pub(super) plus: u8,
}

/// Escaping of payload bytes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EscapeFile {
    /// The escape, in hex.
    pub(super) byte: Option<Spanned<String>>,
    /// The bytes that are escaped, in hex: `80..85`.
    pub(super) before: Option<Spanned<String>>,
}

/// A checksum.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ChecksumFile {
    /// How it is reckoned.
    pub(super) kind: Option<Spanned<ChecksumKind>>,
    /// The first byte that it covers.
    pub(super) from: u16,
    /// The same in replies, where it differs.
    pub(super) reply_from: Option<u16>,
    /// The first byte that it covers no more.
    pub(super) to: Option<Spanned<u16>>,
    /// How it is written.
    pub(super) encode: Option<Spanned<ChecksumEncoding>>,
}

/// What a message has to look like: one pattern, or several of which the first that fits counts.
#[derive(Debug, Clone)]
pub(super) struct ExpectFile(Vec<String>);

struct ExpectVisitor;

impl<'de> Visitor<'de> for ExpectVisitor {
    type Value = ExpectFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pattern, or a list of patterns")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ExpectFile, E> {
        Ok(ExpectFile(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ExpectFile, A::Error> {
        let mut patterns = Vec::new();
        while let Some(pattern) = list.next_element()? {
            patterns.push(pattern);
        }
        Ok(ExpectFile(patterns))
    }
}

impl<'de> Deserialize<'de> for ExpectFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExpectVisitor)
    }
}

impl JsonSchema for ExpectFile {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Expect".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

impl ExpectFile {
    pub(super) fn patterns(&self) -> &[String] {
        &self.0
    }
}

/// A message that comes unasked.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListenFile {
    /// What the message looks like.
    pub(super) expect: Option<Spanned<ExpectFile>>,
    /// How long it may stay away.
    pub(super) stale_after: Option<Spanned<DurationText>>,
}

/// One way to recognise an instrument.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IdentifyFile {
    /// Parameters to go through.
    pub(super) tries: Places<Vec<Scalar>>,
    /// What is sent and what comes back.
    pub(super) steps: Vec<Spanned<StepFile>>,
    /// Modbus channels and what they must show.
    pub(super) reads: Places<Scalar>,
    /// How much success is worth.
    pub(super) says: Option<Says>,
}

/// How much an identification is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Says {
    /// Others answer so too.
    Possible,
    /// Others hardly answer so.
    Likely,
    /// The instrument says what it is.
    Sure,
}

/// A message that is sent once after the link was opened.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConnectFile {
    /// Its name, for `allow` in the lab's file.
    pub(super) id: Option<Spanned<String>>,
    /// What is sent.
    pub(super) send: Option<Spanned<String>>,
    /// What comes back.
    pub(super) expect: Option<Spanned<ExpectFile>>,
    /// A regular expression for what comes back.
    pub(super) regex: Option<Spanned<String>>,
    /// Bytes of the longest reply, with `regex`.
    pub(super) longest: Option<Spanned<u16>>,
    /// Wait after it.
    pub(super) wait: Option<Spanned<DurationText>>,
    /// Whether it changes the device: then it is sent only where the lab allows it.
    pub(super) changes_device: bool,
}

/// A question that is asked regularly.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PollFile {
    /// How often.
    pub(super) every: Option<Spanned<DurationText>>,
    /// Numbers to repeat it for.
    #[serde(rename = "for")]
    pub(super) numbers: Places<Vec<i64>>,
    /// What is sent and what comes back.
    pub(super) steps: Vec<Spanned<StepFile>>,
    /// Refused: a poll can't change the device.
    pub(super) changes_device: Option<Spanned<bool>>,
}

/// One step of an exchange.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StepFile {
    /// What is sent.
    pub(super) send: Option<Spanned<String>>,
    /// What comes back.
    pub(super) expect: Option<Spanned<ExpectFile>>,
    /// A regular expression for what comes back.
    pub(super) regex: Option<Spanned<String>>,
    /// Bytes of the longest reply, with `regex`.
    pub(super) longest: Option<Spanned<u16>>,
    /// Wait after it.
    pub(super) wait: Option<Spanned<DurationText>>,
    /// Refused: a poll can't change the device.
    pub(super) changes_device: Option<Spanned<bool>>,
}

/// How registers are read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ModbusFile {
    /// The order of bytes in values of several registers.
    pub(super) order: Option<Spanned<Open<Order>>>,
    /// What the numbers in the profile count from: 0, or 1 where the manual does.
    pub(super) base: Option<Spanned<Open<u16>>>,
    /// Most registers in one request.
    pub(super) max_regs: Option<Spanned<u16>>,
    /// Most unwanted registers between two wanted ones.
    pub(super) max_gap: Option<u16>,
    /// Whether each channel has to be asked for alone.
    pub(super) one_per_request: bool,
    /// The function codes that the device knows, of 1 to 4.
    pub(super) functions: Option<Spanned<Vec<u8>>>,
}

/// One series that a device offers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ChannelFile {
    /// Its name.
    pub(super) id: Option<Spanned<String>>,
    /// The field, or some of its bits.
    pub(super) from: Option<Spanned<String>>,
    /// Its unit.
    pub(super) unit: Option<Spanned<String>>,
    /// What sort of thing it carries.
    pub(super) kind: Option<KindWord>,
    /// value = raw * scale + offset
    pub(super) scale: Option<Spanned<Number>>,
    /// value = raw * scale + offset
    pub(super) offset: Option<Spanned<Number>>,
    /// Another law than a straight line.
    pub(super) curve: Option<Spanned<CurveFile>>,
    /// Raw numbers that mean "no value", and why.
    pub(super) sentinel: Places<String>,
    /// Words that mean "no value", and why.
    pub(super) text: Places<String>,
    /// The instrument's own status.
    pub(super) quality: Option<Spanned<Places<Scalar>>>,
    /// Least and greatest plausible value.
    pub(super) plausible: Option<Spanned<Vec<f64>>>,
    /// How often it is wanted.
    pub(super) every: Option<Spanned<DurationText>>,
    /// Whether it is recorded only where the lab names it.
    pub(super) optional: bool,
    /// Laws that hold only in some states.
    pub(super) case: Vec<Spanned<CaseFile>>,
    /// The Modbus table.
    pub(super) table: Option<Spanned<Open<Table>>>,
    /// The protocol address, from 0.
    pub(super) address: Option<Spanned<Open<u16>>>,
    /// What the registers hold.
    #[serde(rename = "type")]
    pub(super) ty: Option<Spanned<Open<RegisterType>>>,
    /// The order of bytes.
    pub(super) order: Option<Spanned<Open<Order>>>,
    /// Registers of a text.
    pub(super) regs: Option<Spanned<u16>>,
    /// The bit of a register.
    pub(super) bit: Option<Spanned<u8>>,
    /// Characters in a register of a text.
    pub(super) chars: Option<Spanned<u8>>,
}

/// A law that holds only in some states.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CaseFile {
    /// Fields or channels and the codes that they must have.
    pub(super) when: Places<Scalar>,
    /// The unit in this case.
    pub(super) unit: Option<Spanned<String>>,
    /// value = raw * scale + offset
    pub(super) scale: Option<Spanned<Number>>,
    /// value = raw * scale + offset
    pub(super) offset: Option<Spanned<Number>>,
    /// Another law than a straight line.
    pub(super) curve: Option<Spanned<CurveFile>>,
}

/// A curve. Which keys go with which kind is checked in `compile`; a tagged enum would lose the positions.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CurveFile {
    /// Which law.
    pub(super) kind: Option<Spanned<CurveKind>>,
    /// pow10: 10^(a*raw + b)
    pub(super) a: Option<Spanned<Number>>,
    /// pow10: 10^(a*raw + b)
    pub(super) b: Option<Spanned<Number>>,
    /// poly: c0 + c1*raw + ...
    pub(super) c: Option<Spanned<Vec<f64>>>,
    /// table: [[raw, value], ...]
    pub(super) points: Option<Spanned<Vec<Spanned<Vec<f64>>>>>,
}

/// Which law a curve follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum CurveKind {
    Pow10,
    Poly,
    Table,
}

/// A test vector.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TestFile {
    /// Parameters of the vector.
    pub(super) params: Places<Scalar>,
    /// Pairs of what is sent and what comes back.
    pub(super) exchange: Vec<Spanned<Vec<String>>>,
    /// What is heard unasked.
    pub(super) feed: Option<Spanned<String>>,
    /// What the registers hold, by table and address.
    pub(super) registers: Places<Places<Vec<u16>>>,
    /// What comes out, by channel.
    pub(super) expect: Places<Scalar>,
    /// How far a number may be off; else a millionth of it.
    pub(super) tolerance: Option<f64>,
    /// Which page or capture the bytes come from.
    pub(super) source: Option<Spanned<String>>,
}
