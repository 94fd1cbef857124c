//! The streamer for programs that are not async.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::{
    Acknowledge, Builder, ClockStatus, Error, Finalized, GrowthInstrument, Left, NewGrowthInstrument, NewStream,
    Pushed, Ran, Resumed, Series, StreamStatus, block,
};

/// The same as [`TimeseriesStreamer`](super::TimeseriesStreamer), for programs that are not async: each call blocks its
/// thread until it is done. Usable from any number of threads.
///
/// ```
/// # use mbe_bridge::server::{self, Server};
/// use mbe_bridge::streamer::NewStream;
/// use mbe_bridge::streamer::blocking::TimeseriesStreamer;
///
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # let server = runtime.block_on(Server::start(server::Settings::default())).unwrap();
/// # let folder = tempfile::tempdir().unwrap();
/// let streamer = TimeseriesStreamer::builder("YOUR_API_KEY")
/// #   .endpoint(server.url()).data_dir(folder.path())
///     .open_blocking()?;
/// let data_id = streamer.initialize(NewStream::new().name("Pyrometer log"))?;
/// let chunks = (0..3).map(|chunk| {
///     let timestamps: Vec<f64> = (0..100).map(|k| 1_795_357_081.0 + f64::from(chunk * 100 + k) * 0.1).collect();
///     let values = timestamps.iter().map(|at| at % 60.0).collect();
///     (timestamps, values)
/// });
/// let ran = streamer.run(&data_id, "temperature", Some("C"), chunks)?;
/// assert_eq!((ran.chunks, ran.points), (3, 300));
/// streamer.finalize(&data_id)?;
/// # Ok::<(), mbe_bridge::streamer::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TimeseriesStreamer {
    streamer: super::TimeseriesStreamer,
}

/// The calls that may take long, with somebody who may end the waiting: see [`TimeseriesStreamer::interruptible`].
#[derive(Clone, Copy)]
pub struct Patient<'a> {
    streamer: &'a TimeseriesStreamer,
    interrupt: &'a dyn Fn() -> bool,
}

impl fmt::Debug for Patient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("streamer", self.streamer).finish_non_exhaustive()
    }
}

fn never() -> bool {
    false
}

impl TimeseriesStreamer {
    /// A streamer with this key of the platform; end it with [`open_blocking`](super::Builder::open_blocking).
    pub fn builder(api_key: impl Into<String>) -> Builder {
        super::TimeseriesStreamer::builder(api_key)
    }

    pub(super) fn open(builder: Builder) -> Result<Self, Error> {
        let streamer = block::on(super::TimeseriesStreamer::open(builder), &never)?;
        Ok(Self { streamer })
    }

    /// The async face of the same streamer.
    pub fn to_async(&self) -> super::TimeseriesStreamer {
        self.streamer.clone()
    }

    /// The calls that may take long, ended with [`Error::Interrupted`] once `interrupt` says so. It is asked about each 50 ms, on
    /// the calling thread.
    pub fn interruptible<'a>(&'a self, interrupt: &'a dyn Fn() -> bool) -> Patient<'a> {
        Patient { streamer: self, interrupt }
    }

    fn patient(&self) -> Patient<'_> {
        self.interruptible(&never)
    }

    /// See [`initialize`](super::TimeseriesStreamer::initialize).
    pub fn initialize(&self, stream: NewStream) -> Result<String, Error> {
        self.patient().initialize(stream)
    }

    /// See [`push`](super::TimeseriesStreamer::push).
    pub fn push(
        &self,
        data_id: &str,
        chunk_index: u64,
        channel: &str,
        timestamps: &[f64],
        values: &[f64],
        units: Option<&str>,
    ) -> Result<Pushed, Error> {
        self.push_multi(data_id, chunk_index, &[Series { name: channel, timestamps, values, units }])
    }

    /// See [`push_multi`](super::TimeseriesStreamer::push_multi).
    pub fn push_multi(&self, data_id: &str, chunk_index: u64, channels: &[Series<'_>]) -> Result<Pushed, Error> {
        self.patient().push_multi(data_id, chunk_index, channels)
    }

    /// See [`push_with`](super::TimeseriesStreamer::push_with).
    pub fn push_with(
        &self,
        data_id: &str,
        chunk_index: u64,
        channels: &[Series<'_>],
        acknowledge: Acknowledge,
    ) -> Result<Pushed, Error> {
        self.patient().push_with(data_id, chunk_index, channels, acknowledge)
    }

    /// See [`run`](super::TimeseriesStreamer::run).
    pub fn run(
        &self,
        data_id: &str,
        channel: &str,
        units: Option<&str>,
        chunks: impl IntoIterator<Item = (Vec<f64>, Vec<f64>)>,
    ) -> Result<Ran, Error> {
        self.patient().run(data_id, channel, units, chunks)
    }

    /// See [`finalize`](super::TimeseriesStreamer::finalize).
    pub fn finalize(&self, data_id: &str) -> Result<Finalized, Error> {
        self.patient().finalize(data_id)
    }

    /// See [`finalize_with`](super::TimeseriesStreamer::finalize_with).
    pub fn finalize_with(&self, data_id: &str, progress: impl FnMut(&StreamStatus)) -> Result<Finalized, Error> {
        self.patient().finalize_with(data_id, progress)
    }

    /// See [`flush`](super::TimeseriesStreamer::flush).
    pub fn flush(&self, data_id: Option<&str>, timeout: Option<Duration>) -> Result<(), Error> {
        self.patient().flush(data_id, timeout)
    }

    /// See [`resume`](super::TimeseriesStreamer::resume).
    pub fn resume(&self, data_id: &str) -> Result<Resumed, Error> {
        self.patient().resume(data_id)
    }

    /// See [`status`](super::TimeseriesStreamer::status).
    pub fn status(&self, data_id: &str) -> Option<StreamStatus> {
        self.streamer.status(data_id)
    }

    /// See [`streams`](super::TimeseriesStreamer::streams).
    pub fn streams(&self) -> Vec<StreamStatus> {
        self.streamer.streams()
    }

    /// See [`clock_status`](super::TimeseriesStreamer::clock_status).
    pub fn clock_status(&self) -> Option<ClockStatus> {
        self.streamer.clock_status()
    }

    /// See [`list_growth_instruments`](super::TimeseriesStreamer::list_growth_instruments).
    pub fn list_growth_instruments(&self) -> Result<Vec<GrowthInstrument>, Error> {
        self.patient().list_growth_instruments()
    }

    /// See [`create_growth_instrument`](super::TimeseriesStreamer::create_growth_instrument).
    pub fn create_growth_instrument(&self, new: &NewGrowthInstrument) -> Result<i64, Error> {
        self.patient().create_growth_instrument(new)
    }

    /// See [`delete_growth_instrument`](super::TimeseriesStreamer::delete_growth_instrument).
    pub fn delete_growth_instrument(&self, synth_source_id: i64) -> Result<(), Error> {
        self.patient().delete_growth_instrument(synth_source_id)
    }

    /// See [`close`](super::TimeseriesStreamer::close).
    pub fn close(self) -> Result<Left, Error> {
        block::on(self.streamer.close(), &never)
    }
}

impl Patient<'_> {
    fn wait<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        block::on(call, self.interrupt)
    }

    fn calls(&self) -> &super::TimeseriesStreamer {
        &self.streamer.streamer
    }

    /// See [`initialize`](super::TimeseriesStreamer::initialize).
    pub fn initialize(&self, stream: NewStream) -> Result<String, Error> {
        self.wait(self.calls().initialize(stream))
    }

    /// See [`push_multi`](super::TimeseriesStreamer::push_multi).
    pub fn push_multi(&self, data_id: &str, chunk_index: u64, channels: &[Series<'_>]) -> Result<Pushed, Error> {
        self.wait(self.calls().push_multi(data_id, chunk_index, channels))
    }

    /// See [`push_with`](super::TimeseriesStreamer::push_with).
    pub fn push_with(
        &self,
        data_id: &str,
        chunk_index: u64,
        channels: &[Series<'_>],
        acknowledge: Acknowledge,
    ) -> Result<Pushed, Error> {
        self.wait(self.calls().push_with(data_id, chunk_index, channels, acknowledge))
    }

    /// See [`run`](super::TimeseriesStreamer::run). The chunks are made on the calling thread.
    pub fn run(
        &self,
        data_id: &str,
        channel: &str,
        units: Option<&str>,
        chunks: impl IntoIterator<Item = (Vec<f64>, Vec<f64>)>,
    ) -> Result<Ran, Error> {
        self.wait(self.calls().run(data_id, channel, units, chunks))
    }

    /// See [`finalize`](super::TimeseriesStreamer::finalize).
    pub fn finalize(&self, data_id: &str) -> Result<Finalized, Error> {
        self.finalize_with(data_id, |_| {})
    }

    /// See [`finalize_with`](super::TimeseriesStreamer::finalize_with).
    pub fn finalize_with(&self, data_id: &str, progress: impl FnMut(&StreamStatus)) -> Result<Finalized, Error> {
        self.wait(self.calls().finalize_with(data_id, progress))
    }

    /// See [`flush`](super::TimeseriesStreamer::flush).
    pub fn flush(&self, data_id: Option<&str>, timeout: Option<Duration>) -> Result<(), Error> {
        self.wait(self.calls().flush(data_id, timeout))
    }

    /// See [`resume`](super::TimeseriesStreamer::resume).
    pub fn resume(&self, data_id: &str) -> Result<Resumed, Error> {
        self.wait(self.calls().resume(data_id))
    }

    /// See [`list_growth_instruments`](super::TimeseriesStreamer::list_growth_instruments).
    pub fn list_growth_instruments(&self) -> Result<Vec<GrowthInstrument>, Error> {
        self.wait(self.calls().list_growth_instruments())
    }

    /// See [`create_growth_instrument`](super::TimeseriesStreamer::create_growth_instrument).
    pub fn create_growth_instrument(&self, new: &NewGrowthInstrument) -> Result<i64, Error> {
        self.wait(self.calls().create_growth_instrument(new))
    }

    /// See [`delete_growth_instrument`](super::TimeseriesStreamer::delete_growth_instrument).
    pub fn delete_growth_instrument(&self, synth_source_id: i64) -> Result<(), Error> {
        self.wait(self.calls().delete_growth_instrument(synth_source_id))
    }
}
