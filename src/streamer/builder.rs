//! How a streamer is made.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::blocking;
use super::{Error, TimeseriesStreamer};

/// When a push returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledge {
    /// Once the chunk is on disk.
    #[default]
    Durable,
    /// At once; the chunk is on disk before its first request. A crash may cost what was accepted in the last moments.
    Accepted,
}

/// How a streamer is made: see [`TimeseriesStreamer::builder`].
#[derive(Clone)]
pub struct Builder {
    pub(super) api_key: SecretString,
    pub(super) endpoint: Option<String>,
    pub(super) stream_path: Option<String>,
    pub(super) points_per_chunk: usize,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) verbosity: Option<u8>,
    pub(super) acknowledge: Acknowledge,
    pub(super) clock_sync: Option<bool>,
    pub(super) timeout: Option<Duration>,
    pub(super) patience: Option<Duration>,
}

impl Builder {
    pub(super) fn new(api_key: SecretString) -> Self {
        Self {
            api_key,
            endpoint: None,
            stream_path: None,
            points_per_chunk: 100,
            data_dir: None,
            verbosity: None,
            acknowledge: Acknowledge::default(),
            clock_sync: None,
            timeout: None,
            patience: None,
        }
    }

    /// The platform's address; by default the variable `AS_API_ENDPOINT`, and without it the vendor's.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Most points of a channel in a chunk; 100 by default. A stream keeps it for life.
    #[must_use]
    pub fn points_per_chunk(mut self, points: usize) -> Self {
        self.points_per_chunk = points;
        self
    }

    /// Where data is kept until the platform has it; by default `mbe-bridge` in `$XDG_STATE_HOME`. Many streamers may share it.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(folder.into());
        self
    }

    /// Writes what happens to standard error: 0 errors, 1 warnings, 2 what happens, 3 and 4 details. By default nothing is
    /// written, and the program's own `tracing` subscriber is told.
    #[must_use]
    pub fn verbosity(mut self, level: u8) -> Self {
        self.verbosity = Some(level);
        self
    }

    /// The path that the calls of a stream begin with; see
    /// [`DEFAULT_STREAM_PATH`](crate::atomscale::DEFAULT_STREAM_PATH).
    #[must_use]
    pub fn stream_path(mut self, path: impl Into<String>) -> Self {
        self.stream_path = Some(path.into());
        self
    }

    /// When a push returns; once the chunk is durable by default.
    #[must_use]
    pub fn acknowledge(mut self, when: Acknowledge) -> Self {
        self.acknowledge = when;
        self
    }

    /// Whether timestamps are converted to the platform's clock; so by default, if the variable `ATOMSCALE_SKIP_CLOCK_SYNC`
    /// does not say otherwise. Without it they leave as they were given.
    #[must_use]
    pub fn clock_sync(mut self, on: bool) -> Self {
        self.clock_sync = Some(on);
        self
    }

    /// The longest wait for one answer of the platform; 30 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long `initialize` and the calls about growth instruments keep trying while the platform does not answer; by
    /// default they try three times. What was pushed is tried for ever.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Makes the streamer. Needs no network: what an earlier program left is delivered in the background.
    ///
    /// Fails if endpoint or key can't be used, or if nothing can be kept in the data folder.
    pub async fn open(self) -> Result<TimeseriesStreamer, Error> {
        TimeseriesStreamer::open(self).await
    }

    /// The same for a program that is not async.
    pub fn open_blocking(self) -> Result<blocking::TimeseriesStreamer, Error> {
        blocking::TimeseriesStreamer::open(self)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("endpoint", &self.endpoint)
            .field("points_per_chunk", &self.points_per_chunk)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}
