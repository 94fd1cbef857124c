//! The lab's file as serde shapes. Every key is optional here; `resolve` says what is required and what goes together.

use std::collections::BTreeMap;
use std::fmt;

use super::amounts::{BytesText, KeepText};
use crate::document::DurationText;
use crate::document::Scalar;
use crate::document::Spanned;
use crate::profile::{ParityWord, ProfileFile};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};

/// A map that remembers where its keys and values are.
pub(super) type Places<T> = BTreeMap<Spanned<String>, Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LabFile {
    pub(super) data_dir: Option<Spanned<String>>,
    pub(super) shutdown_grace: Option<DurationText>,
    pub(super) platform: PlatformFile,
    pub(super) stream: StreamFile,
    pub(super) run: RunFile,
    pub(super) align: AlignFile,
    pub(super) storage: StorageFile,
    pub(super) dashboard: DashboardFile,
    pub(super) links: Places<LinkFile>,
    pub(super) instruments: Vec<Spanned<InstrumentFile>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PlatformFile {
    pub(super) endpoint: Option<Spanned<String>>,
    pub(super) api_key: Option<Spanned<KeyFile>>,
    pub(super) stream_path: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<DurationText>>,
    pub(super) hold: Option<Spanned<DurationText>>,
}

/// Where a secret comes from; or the secret itself, which is refused.
#[derive(Debug)]
pub(super) enum KeyFile {
    /// A table that names a place.
    Place(KeyPlace),
    /// A literal. It is not kept.
    Literal,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct KeyPlace {
    pub(super) env: Option<Spanned<String>>,
    pub(super) file: Option<Spanned<String>>,
    pub(super) credential: Option<Spanned<String>>,
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = KeyFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ env = \"...\" }, { file = \"...\" } or { credential = \"...\" }")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<KeyFile, E> {
        Ok(KeyFile::Literal)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<KeyFile, E> {
        Ok(KeyFile::Literal)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeyFile, A::Error> {
        KeyPlace::deserialize(MapAccessDeserializer::new(map)).map(KeyFile::Place)
    }
}

impl<'de> Deserialize<'de> for KeyFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StreamFile {
    pub(super) name: Option<Spanned<String>>,
    pub(super) synth_source_id: Option<Spanned<i64>>,
    pub(super) physical_sample: Option<String>,
    pub(super) project_id: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) points_per_chunk: Option<Spanned<u32>>,
    pub(super) partial_chunks: Option<Spanned<DurationText>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RunFile {
    pub(super) start: Option<Spanned<StartWord>>,
    pub(super) split_every: Option<Spanned<DurationText>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StartWord {
    Auto,
    Manual,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AlignFile {
    pub(super) mode: Option<ModeWord>,
    pub(super) period: Option<Spanned<DurationText>>,
    pub(super) fill: Option<Spanned<FillWord>>,
    pub(super) max_age: Option<Spanned<DurationText>>,
    pub(super) lateness: Option<Spanned<DurationText>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModeWord {
    Grid,
    Native,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FillWord {
    None,
    Hold,
    Linear,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StorageFile {
    pub(super) commit_every: Option<Spanned<DurationText>>,
    pub(super) resume_within: Option<DurationText>,
    pub(super) max_span: Option<Spanned<DurationText>>,
    pub(super) keep_runs: Option<KeepText>,
    pub(super) min_free: Option<BytesText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DashboardFile {
    pub(super) listen: Option<Spanned<String>>,
    pub(super) token: Option<Spanned<KeyFile>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LinkFile {
    pub(super) serial: Option<Spanned<SerialFile>>,
    pub(super) tcp: Option<Spanned<AddressFile>>,
    #[serde(rename = "rtu-over-tcp")]
    pub(super) rtu_over_tcp: Option<Spanned<AddressFile>>,
    #[serde(rename = "modbus-tcp")]
    pub(super) modbus_tcp: Option<Spanned<AddressFile>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SerialFile {
    pub(super) port: Option<Spanned<String>>,
    pub(super) baud: Option<Spanned<u32>>,
    pub(super) data_bits: Option<Spanned<u8>>,
    pub(super) parity: Option<ParityWord>,
    pub(super) stop_bits: Option<Spanned<u8>>,
    pub(super) rts: Option<Spanned<bool>>,
    pub(super) dtr: Option<bool>,
    pub(super) echo: Option<bool>,
    pub(super) rs485: Option<Spanned<Rs485Choice>>,
    pub(super) idle: Option<DurationText>,
}

/// Whether the port's driver switches the direction of the line: `true`, `false`, or a table that means yes and says how.
#[derive(Debug)]
pub(super) enum Rs485Choice {
    No,
    Yes(Rs485File),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rs485File {
    pub(super) rts_on_send: Option<bool>,
    pub(super) rts_after_send: Option<bool>,
    pub(super) delay_before: Option<Spanned<DurationText>>,
    pub(super) delay_after: Option<Spanned<DurationText>>,
}

struct Rs485Visitor;

impl<'de> Visitor<'de> for Rs485Visitor {
    type Value = Rs485Choice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or a table such as { rts_on_send = false }")
    }

    fn visit_bool<E: Error>(self, wanted: bool) -> Result<Rs485Choice, E> {
        Ok(if wanted { Rs485Choice::Yes(Rs485File::default()) } else { Rs485Choice::No })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rs485Choice, A::Error> {
        Rs485File::deserialize(MapAccessDeserializer::new(map)).map(Rs485Choice::Yes)
    }
}

impl<'de> Deserialize<'de> for Rs485Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Rs485Visitor)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AddressFile {
    pub(super) address: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct InstrumentFile {
    pub(super) name: Option<Spanned<String>>,
    pub(super) profile: Option<Spanned<String>>,
    pub(super) inline: Option<Spanned<ProfileFile>>,
    pub(super) link: Option<Spanned<String>>,
    pub(super) unit: Option<Spanned<u8>>,
    pub(super) params: Places<Scalar>,
    pub(super) every: Option<Spanned<DurationText>>,
    pub(super) allow: Vec<Spanned<String>>,
    pub(super) channels: Places<ChannelChoice>,
}

/// What the lab wants of a channel: `true`, `false`, or a table that means yes and says how.
#[derive(Debug)]
pub(super) enum ChannelChoice {
    No,
    Yes(Box<ChannelFile>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ChannelFile {
    pub(super) name: Option<Spanned<String>>,
    pub(super) unit: Option<String>,
    pub(super) every: Option<Spanned<DurationText>>,
    pub(super) scale: Option<Spanned<f64>>,
    pub(super) offset: Option<Spanned<f64>>,
    pub(super) table: Option<Spanned<Vec<Vec<f64>>>>,
    pub(super) limits: Option<Spanned<LimitsFile>>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsFile {
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
}

struct ChoiceVisitor;

impl<'de> Visitor<'de> for ChoiceVisitor {
    type Value = ChannelChoice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or a table such as { name = \"...\" }")
    }

    fn visit_bool<E: Error>(self, wanted: bool) -> Result<ChannelChoice, E> {
        Ok(if wanted { ChannelChoice::Yes(Box::default()) } else { ChannelChoice::No })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ChannelChoice, A::Error> {
        ChannelFile::deserialize(MapAccessDeserializer::new(map)).map(|file| ChannelChoice::Yes(Box::new(file)))
    }
}

impl<'de> Deserialize<'de> for ChannelChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChoiceVisitor)
    }
}
