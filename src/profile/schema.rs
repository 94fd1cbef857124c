//! The grammar of profiles as serde shapes. Every key is optional here; `compile` says what is required where.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::document::DurationText;
use crate::document::Number;
use crate::document::Open;
use crate::document::Scalar;

use super::checksum::{ChecksumEncoding, ChecksumKind};
use super::{Order, RegisterType, Table};

/// A map that remembers where its keys and values are.
pub(crate) type Places<T> = BTreeMap<Spanned<String>, Spanned<T>>;

/// A profile, in a file of its own or in line.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProfileFile {
    pub(super) schema: Option<Spanned<i64>>,
    pub(super) id: Option<Spanned<String>>,
    pub(super) vendor: Option<Spanned<String>>,
    pub(super) models: Vec<String>,
    pub(super) doc: Vec<String>,
    pub(super) sources: Vec<String>,
    pub(super) status: Option<Status>,
    pub(super) caveats: Vec<String>,
    pub(super) engine: Option<Spanned<EngineWord>>,
    pub(super) mode: Option<Spanned<ModeWord>>,
    pub(super) serial: Option<SerialFile>,
    pub(super) tcp: Option<TcpFile>,
    pub(super) params: Places<ParamFile>,
    pub(super) timing: TimingFile,
    pub(super) framing: Option<Spanned<FramingFile>>,
    pub(super) on_connect: Vec<Spanned<ConnectFile>>,
    pub(super) poll: Vec<Spanned<PollFile>>,
    pub(super) listen: Vec<Spanned<ListenFile>>,
    pub(super) modbus: Option<Spanned<ModbusFile>>,
    pub(super) channel: Vec<Spanned<ChannelFile>>,
    pub(super) identify: Vec<Spanned<IdentifyFile>>,
    pub(super) writes: Vec<Spanned<String>>,
    pub(super) test: Vec<Spanned<TestFile>>,
}

/// How sure a profile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EngineWord {
    Text,
    Frame,
    Modbus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModeWord {
    Poll,
    Listen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindWord {
    Gauge,
    Counter,
    State,
    Setting,
    Info,
}

/// Parity, as files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ParityWord {
    None,
    Even,
    Odd,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SerialFile {
    pub(super) baud: Option<Spanned<u32>>,
    pub(super) data_bits: Option<Spanned<u8>>,
    pub(super) parity: Option<ParityWord>,
    pub(super) stop_bits: Option<Spanned<u8>>,
    pub(super) rts: Option<bool>,
    pub(super) dtr: Option<bool>,
    pub(super) echo: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TcpFile {
    pub(super) port: Option<Spanned<u16>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ParamFile {
    #[serde(rename = "type")]
    pub(super) kind: Option<ParamType>,
    pub(super) default: Option<Spanned<Scalar>>,
    pub(super) choices: Vec<Spanned<Scalar>>,
    pub(super) required: bool,
    pub(super) pattern: Option<Spanned<String>>,
}

/// What a parameter can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TimingFile {
    pub(super) reply: Option<Spanned<DurationText>>,
    pub(super) turnaround: Option<Spanned<DurationText>>,
    pub(super) idle: Option<Spanned<DurationText>>,
    pub(super) gap: Option<Spanned<DurationText>>,
    pub(super) after_connect: Option<Spanned<DurationText>>,
    pub(super) warm_up: Option<Spanned<DurationText>>,
    pub(super) refresh: Option<Spanned<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FramingFile {
    pub(super) terminator: Option<Spanned<String>>,
    pub(super) tail: Option<Spanned<u16>>,
    pub(super) start: Option<Spanned<String>>,
    pub(super) fixed: Option<Spanned<u16>>,
    pub(super) length: Option<Spanned<LengthFile>>,
    pub(super) idle: Option<Spanned<DurationText>>,
    pub(super) escape: Option<Spanned<EscapeFile>>,
    pub(super) checksum: Option<Spanned<ChecksumFile>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LengthFile {
    pub(super) at: Option<Spanned<u8>>,
    pub(super) plus: u8,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EscapeFile {
    pub(super) byte: Option<Spanned<String>>,
    pub(super) before: Option<Spanned<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ChecksumFile {
    pub(super) kind: Option<Spanned<ChecksumKind>>,
    pub(super) from: u16,
    pub(super) reply_from: Option<u16>,
    pub(super) to: Option<Spanned<u16>>,
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

impl ExpectFile {
    pub(super) fn patterns(&self) -> &[String] {
        &self.0
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListenFile {
    pub(super) expect: Option<Spanned<ExpectFile>>,
    pub(super) stale_after: Option<Spanned<DurationText>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IdentifyFile {
    pub(super) tries: Places<Vec<Scalar>>,
    pub(super) steps: Vec<Spanned<StepFile>>,
    pub(super) reads: Places<Scalar>,
    pub(super) says: Option<Says>,
}

/// How much an identification is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Says {
    /// Others answer so too.
    Possible,
    /// Others hardly answer so.
    Likely,
    /// The instrument says what it is.
    Sure,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConnectFile {
    pub(super) id: Option<Spanned<String>>,
    pub(super) send: Option<Spanned<String>>,
    pub(super) expect: Option<Spanned<ExpectFile>>,
    pub(super) regex: Option<Spanned<String>>,
    pub(super) longest: Option<Spanned<u16>>,
    pub(super) wait: Option<Spanned<DurationText>>,
    pub(super) changes_device: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PollFile {
    pub(super) every: Option<Spanned<DurationText>>,
    #[serde(rename = "for")]
    pub(super) numbers: Places<Vec<i64>>,
    pub(super) steps: Vec<Spanned<StepFile>>,
    pub(super) changes_device: Option<Spanned<bool>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StepFile {
    pub(super) send: Option<Spanned<String>>,
    pub(super) expect: Option<Spanned<ExpectFile>>,
    pub(super) regex: Option<Spanned<String>>,
    pub(super) longest: Option<Spanned<u16>>,
    pub(super) wait: Option<Spanned<DurationText>>,
    pub(super) changes_device: Option<Spanned<bool>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ModbusFile {
    pub(super) order: Option<Spanned<Open<Order>>>,
    pub(super) base: Option<Spanned<Open<u16>>>,
    pub(super) max_regs: Option<Spanned<u16>>,
    pub(super) max_gap: Option<u16>,
    pub(super) one_per_request: bool,
    pub(super) functions: Option<Spanned<Vec<u8>>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ChannelFile {
    pub(super) id: Option<Spanned<String>>,
    pub(super) from: Option<Spanned<String>>,
    pub(super) unit: Option<Spanned<String>>,
    pub(super) kind: Option<KindWord>,
    pub(super) scale: Option<Spanned<Number>>,
    pub(super) offset: Option<Spanned<Number>>,
    pub(super) curve: Option<Spanned<CurveFile>>,
    pub(super) sentinel: Places<String>,
    pub(super) text: Places<String>,
    pub(super) quality: Option<Spanned<Places<Scalar>>>,
    pub(super) plausible: Option<Spanned<Vec<f64>>>,
    pub(super) every: Option<Spanned<DurationText>>,
    pub(super) optional: bool,
    pub(super) case: Vec<Spanned<CaseFile>>,
    pub(super) table: Option<Spanned<Open<Table>>>,
    pub(super) address: Option<Spanned<Open<u16>>>,
    #[serde(rename = "type")]
    pub(super) ty: Option<Spanned<Open<RegisterType>>>,
    pub(super) order: Option<Spanned<Open<Order>>>,
    pub(super) regs: Option<Spanned<u16>>,
    pub(super) bit: Option<Spanned<u8>>,
    pub(super) chars: Option<Spanned<u8>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CaseFile {
    pub(super) when: Places<Scalar>,
    pub(super) unit: Option<Spanned<String>>,
    pub(super) scale: Option<Spanned<Number>>,
    pub(super) offset: Option<Spanned<Number>>,
    pub(super) curve: Option<Spanned<CurveFile>>,
}

/// A curve. Which keys go with which kind is checked in `compile`; a tagged enum would lose the positions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CurveFile {
    pub(super) kind: Option<Spanned<CurveKind>>,
    pub(super) a: Option<Spanned<Number>>,
    pub(super) b: Option<Spanned<Number>>,
    pub(super) c: Option<Spanned<Vec<f64>>>,
    pub(super) points: Option<Spanned<Vec<Spanned<Vec<f64>>>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CurveKind {
    Pow10,
    Poly,
    Table,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TestFile {
    pub(super) params: Places<Scalar>,
    pub(super) exchange: Vec<Spanned<Vec<String>>>,
    pub(super) feed: Option<Spanned<String>>,
    pub(super) registers: Places<Places<Vec<u16>>>,
    pub(super) expect: Places<Scalar>,
    pub(super) tolerance: Option<f64>,
    pub(super) source: Option<Spanned<String>>,
}
