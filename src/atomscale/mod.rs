//! The Atomscale platform's API: requests, links, reference clock.
//!
//! [`Platform`] is the API call by call, [`Client`] speaks it over HTTP, [`open_stream`] creates a stream with its sample,
//! project and tags, [`clock`] measures the session's clock against the platform's. This room knows nothing of runs, keeps
//! no data and repeats nothing on its own: whether a failure is worth another attempt is a question to
//! [`PlatformError::is_transient`], and when to make it is the caller's decision.
//!
//! Replies are read leniently, but for what shows that they are the platform's: the ids that the next call needs, and the
//! channels that a chunk brought. Success without them is as good as no answer. Every chunk may be sent again: the
//! platform replaces the slice of that index and never duplicates it.

pub mod clock;

mod client;
mod encode;
mod error;
mod key;
mod links;
mod read_back;
mod redirect;
mod reply;
mod settings;
mod wire;

#[cfg(test)]
mod tests;

use crate::model::Chunk;
use crate::model::ChunkChannel;
use crate::model::StreamSpec;

pub use client::{Client, prepare_tls};
pub use error::{PlatformError, SetUpError};
pub use key::{ApiKey, InvalidApiKey};
pub use links::{LinkStep, OpenError, open_stream};
pub use read_back::{ReadBack, StoredSeries};
pub use settings::{DEFAULT_ENDPOINT, DEFAULT_STREAM_PATH, Settings};

/// The platform's calls, one method each. Every method is one request, and safe to drop at any await: what became of the
/// request is then unknown, as after [`PlatformError::TimedOut`].
#[cfg_attr(test, mockall::automock)]
#[async_trait::async_trait]
pub trait Platform: Send + Sync {
    /// Creates a stream. Links nothing: see [`open_stream`].
    async fn initialize(&self, spec: &StreamSpec) -> Result<Opened, PlatformError>;

    /// Sends a chunk. Channels without points are left out, as the platform refuses them; a chunk without any point is
    /// not to be sent. A number that is NaN or infinite is left out together with its stamp.
    async fn push_multi(&self, data_id: &str, chunk: &Chunk) -> Result<Vec<ChannelTotal>, PlatformError>;

    /// Sends one channel of the chunk with this index. It must have points.
    async fn push_channel(
        &self,
        data_id: &str,
        index: u64,
        channel: &ChunkChannel,
    ) -> Result<ChannelTotal, PlatformError>;

    /// Ends a stream: it takes no more chunks.
    async fn finalize(&self, data_id: &str) -> Result<(), PlatformError>;

    /// The platform's clock. Needs no key.
    async fn gateway_time(&self) -> Result<GatewayTime, PlatformError>;

    /// The growth instruments that a stream can belong to.
    async fn growth_instruments(&self) -> Result<Vec<GrowthInstrument>, PlatformError>;

    /// Registers a growth instrument and returns its `synth_source_id`.
    async fn create_growth_instrument(&self, new: &NewGrowthInstrument) -> Result<i64, PlatformError>;

    /// Removes a growth instrument.
    async fn delete_growth_instrument(&self, synth_source_id: i64) -> Result<(), PlatformError>;

    /// The physical samples.
    async fn physical_samples(&self) -> Result<Vec<Named>, PlatformError>;

    /// Creates a physical sample and returns its id; where the name is taken, the id of the one that has it.
    async fn create_physical_sample(&self, name: &str) -> Result<String, PlatformError>;

    /// Says that a stream was recorded from a sample.
    async fn link_physical_sample(&self, data_id: &str, sample_id: &str) -> Result<(), PlatformError>;

    /// Adds a sample to those that a project tracks, and makes it the active one.
    async fn track_sample(&self, project_id: &str, sample_id: &str) -> Result<(), PlatformError>;

    /// The tags.
    async fn tags(&self) -> Result<Vec<Named>, PlatformError>;

    /// Creates a tag and returns its id.
    async fn create_tag(&self, name: &str) -> Result<String, PlatformError>;

    /// Puts tags on a stream.
    async fn link_tags(&self, data_id: &str, tag_ids: &[String]) -> Result<(), PlatformError>;
}

/// A stream that the platform has just created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The stream's id: every later call names it.
    pub data_id: String,
}

/// What the platform says it holds of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTotal {
    /// The channel, as the platform spells it; empty when the reply does not say.
    pub name: String,
    /// Points now stored for it, in all chunks; none when the reply does not say.
    pub total_points: Option<u64>,
}

/// The platform's clock as it read when a request came in and when its answer went out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatewayTime {
    /// Unix time in milliseconds when the request had come in.
    pub received_ms: f64,
    /// Unix time in milliseconds when the answer went out.
    pub transmitted_ms: f64,
}

/// A growth instrument, as the platform lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrowthInstrument {
    /// The number that a stream names.
    pub synth_source_id: i64,
    /// Its name.
    pub name: String,
    /// Its sort: `mbe`, `cvd`, `pvd`, `sputter`, `ald` or `pld`.
    pub sort: String,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// Its model.
    pub model: Option<String>,
}

/// A growth instrument to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrowthInstrument {
    /// The text that people see.
    pub label: String,
    /// Its name.
    pub name: String,
    /// Its sort: `mbe`, `cvd`, `pvd`, `sputter`, `ald` or `pld`.
    pub sort: String,
    /// Its serial number.
    pub serial_id: Option<String>,
}

/// Something that the platform lists by id and name: a sample, a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The id.
    pub id: String,
    /// The name; empty when it has none.
    pub name: String,
}
