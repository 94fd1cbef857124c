//! The bodies of requests, read strictly: what is wrong is named by channel and index.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::refusal::Refusal;

/// Longest channel name, in characters.
const LONGEST_NAME: usize = 255;

/// A JSON body. Text that is no JSON is answered 400, JSON of the wrong shape 422.
#[derive(Debug)]
pub(super) struct Sent<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        // The gate has read the body already, and refused it if it was too large.
        let body = to_bytes(request.into_body(), usize::MAX)
            .await
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("the body could not be read: {error}")))?;
        parse(&body).map(Self)
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| match serde_json::from_slice::<IgnoredAny>(body) {
        Ok(_) => Refusal::invalid(error.to_string()),
        Err(malformed) => Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not JSON (NaN and infinity are not JSON either): {malformed}"),
        ),
    })
}

/// Whether the body of a chunk call holds a channel with this name. One that can't be read holds none.
pub(super) fn holds_channel(body: &[u8], name: &str) -> bool {
    #[derive(Deserialize)]
    struct Names {
        #[serde(default)]
        channel_name: Option<String>,
        #[serde(default)]
        channels: BTreeMap<String, IgnoredAny>,
    }
    serde_json::from_slice::<Names>(body)
        .is_ok_and(|names| names.channel_name.as_deref() == Some(name) || names.channels.contains_key(name))
}

/// Body of `initialize`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with stream_name, points_per_chunk and project_id")]
pub(super) struct InitializeBody {
    #[serde(default)]
    pub(super) stream_name: Option<String>,
    #[serde(default)]
    pub(super) synth_source_id: Option<i64>,
    #[serde(deserialize_with = "points_per_chunk")]
    pub(super) points_per_chunk: i64,
    #[serde(default)]
    pub(super) project_id: Option<String>,
}

fn points_per_chunk<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let points = i64::deserialize(from).map_err(|error| D::Error::custom(format!("points_per_chunk: {error}")))?;
    if points < 1 {
        return Err(D::Error::custom(format!("points_per_chunk is {points}, expected 1 or more")));
    }
    Ok(points)
}

/// One chunk for the store, whichever call brought it.
#[derive(Debug)]
pub(super) struct ChunkSent {
    pub(super) data_id: String,
    pub(super) index: i64,
    pub(super) channels: Vec<(String, Series)>,
}

/// One channel's part of a chunk.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with timestamps, values and perhaps units")]
pub(super) struct Series {
    /// Unix seconds.
    pub(super) timestamps: Timestamps,
    /// NaN where the sender says null: the reading is missing.
    pub(super) values: Values,
    #[serde(default)]
    pub(super) units: Option<String>,
}

/// Body of `chunk`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with data_id, chunk_index, channel_name, timestamps and values")]
pub(super) struct ChunkBody {
    data_id: String,
    #[serde(deserialize_with = "chunk_index")]
    chunk_index: i64,
    channel_name: String,
    timestamps: Timestamps,
    values: Values,
    #[serde(default)]
    units: Option<String>,
}

/// Body of `chunk/multi`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with data_id, chunk_index and channels")]
pub(super) struct MultiBody {
    data_id: String,
    #[serde(deserialize_with = "chunk_index")]
    chunk_index: i64,
    channels: Channels,
}

fn chunk_index<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let index = i64::deserialize(from).map_err(|error| D::Error::custom(format!("chunk_index: {error}")))?;
    if index < 0 {
        return Err(D::Error::custom(format!("chunk_index is {index}, expected 0 or more")));
    }
    Ok(index)
}

impl ChunkBody {
    /// The chunk, if it keeps the rules that hold for every stream.
    pub(super) fn checked(self) -> Result<ChunkSent, Refusal> {
        let Self { data_id, chunk_index: index, channel_name, timestamps, values, units } = self;
        let series = Series { timestamps, values, units };
        series.check(&channel_name)?;
        Ok(ChunkSent { data_id, index, channels: vec![(channel_name, series)] })
    }
}

impl MultiBody {
    /// The chunk, if every channel keeps the rules that hold for every stream.
    pub(super) fn checked(self) -> Result<ChunkSent, Refusal> {
        let Self { data_id, chunk_index: index, channels: Channels(channels) } = self;
        if channels.is_empty() {
            return Err(Refusal::invalid(format!("chunk {index} has no channels, expected at least one")));
        }
        let mut names = BTreeSet::new();
        for (name, series) in &channels {
            series.check(name)?;
            if !names.insert(name.as_str()) {
                return Err(Refusal::invalid(format!("channel `{name}` comes twice in chunk {index}")));
            }
        }
        Ok(ChunkSent { data_id, index, channels })
    }
}

impl Series {
    fn check(&self, name: &str) -> Result<(), Refusal> {
        let length = name.chars().count();
        if length == 0 {
            return Err(Refusal::invalid(format!("a channel has no name, expected 1 to {LONGEST_NAME} characters")));
        }
        if length > LONGEST_NAME {
            return Err(Refusal::invalid(format!(
                "the name of channel `{name}` has {length} characters, expected 1 to {LONGEST_NAME}"
            )));
        }
        let (stamps, values) = (self.timestamps.0.len(), self.values.0.len());
        if stamps != values {
            return Err(Refusal::invalid(format!(
                "channel `{name}`: {stamps} timestamps and {values} values, expected the same number"
            )));
        }
        if stamps == 0 {
            return Err(Refusal::invalid(format!("channel `{name}` is empty, expected at least one point")));
        }
        Ok(())
    }
}

/// Stamps in Unix seconds; null is refused.
#[derive(Debug)]
pub(super) struct Timestamps(pub(super) Vec<f64>);

/// Values; null becomes NaN, which JSON itself cannot carry.
#[derive(Debug)]
pub(super) struct Values(pub(super) Vec<f64>);

impl<'de> Deserialize<'de> for Timestamps {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Numbers { what: "timestamps", null: None }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Numbers { what: "values", null: Some(f64::NAN) }).map(Self)
    }
}

struct Numbers {
    what: &'static str,
    /// What null stands for; `None` means it is refused.
    null: Option<f64>,
}

impl<'de> Visitor<'de> for Numbers {
    type Value = Vec<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of numbers for {}", self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<f64>, A::Error> {
        let mut numbers = Vec::new();
        loop {
            let at = || format!("{}[{}]", self.what, numbers.len());
            match from.next_element::<Option<f64>>() {
                Ok(Some(number)) => match number.or(self.null) {
                    Some(number) => numbers.push(number),
                    None => return Err(A::Error::custom(format!("{} is null, expected a finite number", at()))),
                },
                Ok(None) => return Ok(numbers),
                Err(error) => return Err(A::Error::custom(format!("{}: {error}", at()))),
            }
        }
    }
}

/// The channels of `chunk/multi` in the order sent. Not a map: a name that comes twice must be seen to be refused.
#[derive(Debug)]
struct Channels(Vec<(String, Series)>);

impl<'de> Deserialize<'de> for Channels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ChannelsVisitor)
    }
}

struct ChannelsVisitor;

impl<'de> Visitor<'de> for ChannelsVisitor {
    type Value = Channels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a channel for each name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Channels, A::Error> {
        let mut channels = Vec::new();
        while let Some(name) = from.next_key::<String>()? {
            match from.next_value() {
                Ok(series) => channels.push((name, series)),
                Err(error) => return Err(A::Error::custom(format!("channel `{name}`: {error}"))),
            }
        }
        Ok(Channels(channels))
    }
}
