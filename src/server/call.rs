//! The calls of the API, and how often each has arrived.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// One call of the API. `/tool-state/...` and `/metrology/...` are two ways to the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `POST .../stream/initialize`
    Initialize,
    /// `POST .../stream/chunk`
    Chunk,
    /// `POST .../stream/chunk/multi`
    ChunkMulti,
    /// `POST .../stream/{data_id}/finalize`
    Finalize,
    /// `GET .../{data_id}/timeseries/`
    ReadBack,
    /// `GET /gateway/time`
    Time,
    /// `GET /instruments/synthesis`
    ListInstruments,
    /// `POST /instruments/synthesis`
    CreateInstrument,
    /// `DELETE /instruments/synthesis`
    DeleteInstruments,
    /// `GET /physical_samples/`
    ListSamples,
    /// `POST /physical_samples/`
    CreateSample,
    /// `GET /data_entries/`
    ListEntries,
    /// `POST /data_entries/physical_sample`
    LinkSample,
    /// `POST /projects/{project_id}/configuration/tracking_samples`
    TrackSample,
    /// `GET /projects/`, `GET /projects/{project_id}/physical_samples`
    ListProjects,
    /// What has been found in the data of a sample or of a stream: nothing, here.
    ReadAnalysis,
    /// `POST /data_entries/raw_data/staged/upload_urls/`
    UploadFile,
    /// `GET /tags/`
    ListTags,
    /// `POST /tags/`
    CreateTag,
    /// `POST /tags/data-items/`
    AttachTags,
    /// A path or method that is none of these.
    Unknown,
}

impl Call {
    /// True for the calls that create, fill or end a stream.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Initialize | Self::Chunk | Self::ChunkMulti | Self::Finalize)
    }

    /// True for the two calls that bring chunks.
    pub const fn is_chunk(self) -> bool {
        matches!(self, Self::Chunk | Self::ChunkMulti)
    }

    /// True for the calls that need an `X-API-KEY`: all but the clock.
    pub const fn needs_key(self) -> bool {
        !matches!(self, Self::Time)
    }
}

/// How often each call has arrived since the server started, refused and cut ones included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requests(BTreeMap<Call, u64>);

impl Requests {
    /// How often this call has arrived.
    pub fn of(&self, call: Call) -> u64 {
        self.0.get(&call).copied().unwrap_or(0)
    }

    /// How many requests have arrived.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<Requests>);

impl Counter {
    pub(super) fn count(&self, call: Call) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.0.entry(call).or_default() += 1;
    }

    pub(super) fn read(&self) -> Requests {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
