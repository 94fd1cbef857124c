//! The streamer's calls.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use secrecy::SecretString;

use super::{
    Acknowledge, Builder, ClockStatus, Error, Finalized, GrowthInstrument, Left, NewGrowthInstrument, NewStream,
    Pushed, Ran, Resumed, Series, StreamStatus,
};

/// Streams data of instruments to the platform. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct TimeseriesStreamer {
    inner: Arc<()>,
}

impl TimeseriesStreamer {
    /// A streamer with this key of the platform.
    pub fn builder(api_key: impl Into<String>) -> Builder {
        Builder::new(SecretString::from(api_key.into()))
    }

    /// Creates a stream on the platform, with its links, and returns its `data_id`.
    pub async fn initialize(&self, stream: NewStream) -> Result<String, Error> {
        drop(stream.spec(1));
        Err(Error::Closed)
    }

    /// Hands over one chunk of one channel.
    pub async fn push(
        &self,
        data_id: &str,
        chunk_index: u64,
        channel: &str,
        timestamps: &[f64],
        values: &[f64],
        units: Option<&str>,
    ) -> Result<Pushed, Error> {
        self.push_multi(data_id, chunk_index, &[Series { name: channel, timestamps, values, units }]).await
    }

    /// Hands over one chunk of several channels: one request.
    pub async fn push_multi(&self, data_id: &str, chunk_index: u64, channels: &[Series<'_>]) -> Result<Pushed, Error> {
        self.push_with(data_id, chunk_index, channels, Acknowledge::Durable).await
    }

    /// The same, with another answer to when it returns than the streamer's own.
    pub async fn push_with(
        &self,
        _data_id: &str,
        _chunk_index: u64,
        _channels: &[Series<'_>],
        _acknowledge: Acknowledge,
    ) -> Result<Pushed, Error> {
        Err(Error::Closed)
    }

    /// Sends all of a channel, chunk by chunk, and returns when the platform has it.
    pub async fn run(
        &self,
        _data_id: &str,
        _channel: &str,
        _units: Option<&str>,
        _chunks: impl IntoIterator<Item = (Vec<f64>, Vec<f64>)>,
    ) -> Result<Ran, Error> {
        Err(Error::Closed)
    }

    /// The same with chunks that come by and by.
    pub async fn run_stream(
        &self,
        _data_id: &str,
        _channel: &str,
        _units: Option<&str>,
        _chunks: impl Stream<Item = (Vec<f64>, Vec<f64>)>,
    ) -> Result<Ran, Error> {
        Err(Error::Closed)
    }

    /// Waits until the platform has every chunk of a stream, and finalizes it.
    pub async fn finalize(&self, data_id: &str) -> Result<Finalized, Error> {
        self.finalize_with(data_id, |_| {}).await
    }

    /// The same, telling how far it is.
    pub async fn finalize_with(
        &self,
        _data_id: &str,
        _progress: impl FnMut(&StreamStatus),
    ) -> Result<Finalized, Error> {
        Err(Error::Closed)
    }

    /// Waits until the platform has everything that was pushed so far: of one stream, or of all.
    pub async fn flush(&self, _data_id: Option<&str>, _timeout: Option<Duration>) -> Result<(), Error> {
        Err(Error::Closed)
    }

    /// Goes on with a stream that an earlier program left.
    pub async fn resume(&self, _data_id: &str) -> Result<Resumed, Error> {
        Err(Error::Closed)
    }

    /// A stream as it is now; none if this streamer does not know it.
    pub fn status(&self, _data_id: &str) -> Option<StreamStatus> {
        None
    }

    /// Every stream that this streamer knows, those that earlier programs left included.
    pub fn streams(&self) -> Vec<StreamStatus> {
        Vec::new()
    }

    /// This computer's clock against the platform's; none before it is measured, or where it is not.
    pub fn clock_status(&self) -> Option<ClockStatus> {
        None
    }

    /// The growth instruments that a stream can belong to.
    pub async fn list_growth_instruments(&self) -> Result<Vec<GrowthInstrument>, Error> {
        Err(Error::Closed)
    }

    /// Registers a growth instrument and returns its `synth_source_id`.
    pub async fn create_growth_instrument(&self, _new: &NewGrowthInstrument) -> Result<i64, Error> {
        Err(Error::Closed)
    }

    /// Removes a growth instrument.
    pub async fn delete_growth_instrument(&self, _synth_source_id: i64) -> Result<(), Error> {
        Err(Error::Closed)
    }

    /// Stops. What is not sent is on disk and goes with the next streamer; streams that are not finalized can be resumed.
    pub async fn close(self) -> Result<Left, Error> {
        drop(self.inner);
        Err(Error::Closed)
    }
}
