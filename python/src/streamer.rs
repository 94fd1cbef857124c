//! `mbe_bridge.streaming.TimeseriesStreamer`: the vendor's class, its arguments and its exceptions.
//!
//! Where the vendor's class raises `RuntimeError` for what is wrong with a chunk, so does this one, with the words that a
//! program may look for (`same length`, `missing 'values' key`, `chunk 3:`). Doc comments here are what `help()` shows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mbe_bridge::streamer::blocking;
use mbe_bridge::streamer::{Acknowledge, Error, NewStream, Series};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyMapping, PyTuple, PyType};

use super::closing::{self, Held};
use super::facts;
use super::failure;
use super::series::{Of, numbers};
use super::waiting::{Raised, patiently};

/// Streams scalar time series (temperature, pressure, growth rate, ...) to the Atomscale platform, on disk first.
///
/// A push returns when its chunk is on disk; it is sent in the background, again and again until the platform has it.
/// What a program leaves unsent, for whatever reason, goes with the next TimeseriesStreamer of the same key and endpoint.
///
/// Args:
///     api_key: The platform's API key.
///     endpoint: The platform's address. Default: the variable AS_API_ENDPOINT, else https://api.atomscale.ai.
///     points_per_chunk: The most points that a channel has in one chunk. A stream keeps it for life.
///     verbosity: What is written to standard error: 0 errors, 1 warnings, 2 what happens, 3 and 4 details. Default:
///         nothing.
///     data_dir: Where chunks are kept until the platform has them. Default: mbe-bridge in $XDG_STATE_HOME (else in
///         ~/.local/state). Any number of programs may share it.
///     durable: False has push return before the chunk is on disk. It is there before it is sent all the same, but a
///         power failure may cost what was pushed in the last moments.
///
/// Raises:
///     RuntimeError: If key or endpoint can't be used, or data_dir can't be written to. The network is not needed.
///
/// Example:
///     >>> streamer = TimeseriesStreamer(api_key="YOUR_API_KEY")
///     >>> data_id = streamer.initialize(stream_name="Growth 17", physical_sample="GaN-001")
///     >>> streamer.push(data_id, 0, "temperature", [1795357081.0, 1795357081.1], [25.0, 25.1], units="C")
///     >>> streamer.finalize(data_id)
///
/// As a context manager it is closed at the end of the block: see close(). A stream is finalized by finalize() only.
/// It can be used from any number of threads; in a process forked from its own it raises RuntimeError.
#[pyclass(module = "mbe_bridge.streaming", frozen, weakref)]
pub(super) struct TimeseriesStreamer {
    held: Arc<Held>,
    endpoint: Option<String>,
}

#[pymethods]
impl TimeseriesStreamer {
    #[new]
    #[pyo3(signature = (api_key, endpoint=None, points_per_chunk=100, verbosity=None, *, data_dir=None, durable=true))]
    fn new(
        py: Python<'_>,
        api_key: String,
        endpoint: Option<String>,
        points_per_chunk: usize,
        verbosity: Option<u8>,
        data_dir: Option<PathBuf>,
        durable: bool,
    ) -> PyResult<Self> {
        let acknowledge = if durable { Acknowledge::Durable } else { Acknowledge::Accepted };
        let mut builder =
            blocking::TimeseriesStreamer::builder(api_key).points_per_chunk(points_per_chunk).acknowledge(acknowledge);
        if let Some(endpoint) = &endpoint {
            builder = builder.endpoint(endpoint);
        }
        if let Some(verbosity) = verbosity {
            builder = builder.verbosity(verbosity);
        }
        if let Some(folder) = data_dir {
            builder = builder.data_dir(folder);
        }
        let streamer = py.detach(|| builder.open_blocking()).map_err(|error| failure::of_streamer(&error))?;
        Ok(Self { held: Held::new(py, streamer), endpoint })
    }

    /// Creates a stream on the platform, with its links.
    ///
    /// Args:
    ///     stream_name: The name that people find it by.
    ///     synth_source_id: The growth instrument, by its number from Client().list_growth_instruments().
    ///     physical_sample: Name or UUID of the sample. A UUID has to exist; a name is looked up without regard to case,
    ///         and created where there is none.
    ///     project_id: UUID of the project. With a sample, the sample becomes the one that the project tracks.
    ///     tags: Names or UUIDs of tags. UUIDs have to exist; unknown names are created.
    ///
    /// Returns:
    ///     The data_id that every later call names.
    ///
    /// Raises:
    ///     RuntimeError: If the platform refuses, or does not answer to three attempts. A sample or tag that can't be
    ///         had means that nothing is created.
    #[pyo3(signature = (stream_name=None, synth_source_id=None, physical_sample=None, project_id=None, tags=None))]
    fn initialize(
        &self,
        py: Python<'_>,
        stream_name: Option<String>,
        synth_source_id: Option<i64>,
        physical_sample: Option<String>,
        project_id: Option<String>,
        tags: Option<Vec<String>>,
    ) -> PyResult<String> {
        let mut stream = NewStream::new().tags(tags.unwrap_or_default());
        if let Some(name) = stream_name {
            stream = stream.name(name);
        }
        if let Some(id) = synth_source_id {
            stream = stream.synth_source_id(id);
        }
        if let Some(sample) = physical_sample.as_deref().and_then(said) {
            stream = stream.physical_sample(sample);
        }
        if let Some(project) = project_id.as_deref().and_then(said) {
            stream = stream.project_id(project);
        }
        patiently(py, self.held.here()?, |streamer, _| streamer.initialize(stream))
    }

    /// Hands over one chunk of one channel. Returns when it is on disk; never waits for the network.
    ///
    /// A chunk pushed again under the same index replaces the one before. A value that is None, NaN or infinite is a
    /// missing point; a chunk without any point is not sent.
    ///
    /// Args:
    ///     data_id: The stream, from initialize() or resume().
    ///     chunk_index: The chunk's place in the stream, from 0.
    ///     channel_name: The channel, as "temperature".
    ///     timestamps: Unix time in seconds, by this computer's clock: list, tuple, NumPy array or pandas Series.
    ///     values: As many values.
    ///     units: The unit of the values, as "C" or "mbar". A channel keeps its unit.
    ///
    /// Raises:
    ///     RuntimeError: If the lengths differ, there are more than points_per_chunk points, the stream is unknown here
    ///         or finalized, or the disk does not take the chunk (with durable=False: too much waits for it already).
    ///         Nothing of the chunk is then kept.
    ///     TypeError: If what is given are no numbers.
    #[pyo3(signature = (data_id, chunk_index, channel_name, timestamps, values, units=None))]
    #[expect(clippy::too_many_arguments, reason = "the vendor's signature")]
    fn push(
        &self,
        py: Python<'_>,
        data_id: String,
        chunk_index: u64,
        channel_name: String,
        timestamps: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
        units: Option<String>,
    ) -> PyResult<()> {
        let streamer = self.held.here()?;
        let timestamps = numbers(timestamps, Of::Timestamps)?;
        let values = numbers(values, Of::Values)?;
        same_length(&timestamps, &values).map_err(PyRuntimeError::new_err)?;
        let channel = Channel { name: channel_name, timestamps: 0, values, units };
        push(py, streamer, &data_id, chunk_index, &[timestamps], &[channel])
    }

    /// Hands over one chunk of several channels: it is kept and sent as one. Channels without points are left out.
    ///
    /// Channels that are given the same object of timestamps have it read, kept and sent once.
    ///
    /// Args:
    ///     data_id: The stream, from initialize() or resume().
    ///     chunk_index: The chunk's place in the stream, from 0.
    ///     channels: For each channel's name a dict with "timestamps", "values" and, if there is one, "units"; see
    ///         push().
    ///
    /// Raises:
    ///     RuntimeError: As push(), with the channel's name. Nothing of the chunk is then kept.
    ///
    /// Example:
    ///     >>> streamer.push_multi(data_id, 0, {
    ///     ...     "temperature": {"timestamps": times, "values": temperatures, "units": "C"},
    ///     ...     "pressure": {"timestamps": times, "values": pressures, "units": "mbar"},
    ///     ... })
    #[pyo3(signature = (data_id, chunk_index, channels))]
    fn push_multi(
        &self,
        py: Python<'_>,
        data_id: String,
        chunk_index: u64,
        channels: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let streamer = self.held.here()?;
        let Some(channels) = dictionary(channels)? else {
            let class = channels.get_type().name()?;
            return Err(PyTypeError::new_err(format!("channels must be a dict of channels by name, not {class}")));
        };
        let mut axes = Axes::default();
        let mut taken = Vec::with_capacity(channels.len());
        for (name, channel) in channels.iter() {
            taken.extend(channel_of(&name, &channel, &mut axes)?);
        }
        push(py, streamer, &data_id, chunk_index, &axes.numbers, &taken)
    }

    /// Sends all of a channel, chunk by chunk, and returns when the platform has it.
    ///
    /// Args:
    ///     data_id: The stream, from initialize() or resume().
    ///     channel_name: The channel, as "temperature".
    ///     data_iter: Yields a tuple (timestamps, values) for each chunk. Chunks are numbered on from the channel's last,
    ///         and cut where they have more than points_per_chunk points.
    ///     units: The unit of the values.
    ///
    /// Raises:
    ///     RuntimeError: As push(), with the number of the chunk; or if the platform refused one.
    #[pyo3(signature = (data_id, channel_name, data_iter, units=None))]
    fn run(
        &self,
        py: Python<'_>,
        data_id: String,
        channel_name: String,
        data_iter: &Bound<'_, PyAny>,
        units: Option<String>,
    ) -> PyResult<()> {
        let streamer = self.held.here()?;
        let chunks = data_iter.try_iter()?.unbind();
        patiently(py, streamer, |streamer, raised| {
            let chunks = Chunks { chunks, raised, place: 0 };
            streamer.run(&data_id, &channel_name, units.as_deref(), chunks)
        })?;
        Ok(())
    }

    /// Waits until the platform has every chunk of a stream, then marks it as complete. Ctrl-C ends the wait.
    ///
    /// It waits as long as that takes. What was pushed is on disk: a program that does not live to see the end of it
    /// loses nothing. See flush() for a wait with an end.
    ///
    /// Args:
    ///     data_id: The stream, from initialize() or resume().
    ///     progress: Called about each second with what status() says of the stream.
    ///
    /// Raises:
    ///     RuntimeError: If the stream is unknown here, or the platform refused points of it or does not accept the key.
    #[pyo3(signature = (data_id, *, progress=None))]
    fn finalize(&self, py: Python<'_>, data_id: String, progress: Option<Py<PyAny>>) -> PyResult<()> {
        patiently(py, self.held.here()?, |streamer, raised| {
            streamer.finalize_with(&data_id, |status| {
                let Some(progress) = &progress else { return };
                let told = Python::try_attach(|py| progress.call1(py, (facts::stream(py, status)?,)));
                if let Some(Err(error)) = told {
                    raised.keep(error);
                }
            })
        })?;
        Ok(())
    }

    /// Waits until the platform has everything that was pushed so far. Ctrl-C ends the wait.
    ///
    /// Args:
    ///     timeout: The longest wait in seconds; without it, as long as it takes.
    ///     data_id: One stream; without it, all of this streamer.
    ///
    /// Raises:
    ///     TimeoutError: If something is not confirmed yet. It is on disk and is still being sent.
    ///     RuntimeError: If the platform does not accept the key or refused something.
    #[pyo3(signature = (timeout=None, *, data_id=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>, data_id: Option<String>) -> PyResult<()> {
        let timeout = timeout.map(seconds).transpose()?;
        patiently(py, self.held.here()?, |streamer, _| streamer.flush(data_id.as_deref(), timeout))
    }

    /// Goes on with a stream that an earlier program left, or that this one has closed its streamer of.
    ///
    /// What the earlier program pushed is not lost: it is sent as if that program were still running. A stream that
    /// nobody picks up is finalized two hours after its last push.
    ///
    /// Args:
    ///     data_id: The stream.
    ///
    /// Returns:
    ///     A dict with "next_chunk_index" (one past the highest that was pushed), "points_per_chunk", and in "channels",
    ///     by name, what each channel has so far.
    ///
    /// Raises:
    ///     RuntimeError: If no data of the stream is kept on this computer, another process has it, or it is finalized.
    fn resume<'py>(&self, py: Python<'py>, data_id: String) -> PyResult<Bound<'py, PyDict>> {
        let resumed = patiently(py, self.held.here()?, |streamer, _| streamer.resume(&data_id))?;
        facts::resumed(py, &resumed)
    }

    /// Every stream that this streamer has, those that earlier programs left included.
    ///
    /// Returns:
    ///     By data_id a dict: "name", "state" ("open", "left", "closing", "finalized"), "queued_chunks" and
    ///     "queued_points" (pushed, not confirmed by the platform), "uploaded_points", "rejected_points", "platform"
    ///     ("unknown", "up", "down", "key_refused"), "platform_says", "last_error", "oldest_queued" (Unix time).
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let streamer = self.held.here()?;
        let streams = PyDict::new(py);
        for status in py.detach(|| streamer.streams()) {
            streams.set_item(&status.data_id, facts::stream(py, &status)?)?;
        }
        Ok(streams)
    }

    /// Chunks of all streams that the platform has not confirmed yet. A number that keeps rising says that more is
    /// pushed than the platform takes; they wait on disk.
    #[getter]
    fn pending(&self, py: Python<'_>) -> PyResult<u64> {
        let streamer = self.held.here()?;
        Ok(py.detach(|| closing::pending(streamer)))
    }

    /// This computer's clock against the platform's; timestamps are sent by the platform's.
    ///
    /// Returns:
    ///     A dict with "offset_ms" (the platform's time minus this computer's), "uncertainty_ms" and
    ///     "measured_at_unix_ms"; None before it is measured, and where the variable ATOMSCALE_SKIP_CLOCK_SYNC turns
    ///     it off.
    fn clock_status<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let streamer = self.held.here()?;
        py.detach(|| streamer.clock_status()).map(|status| facts::clock(py, &status)).transpose()
    }

    /// Stops the streamer; it can't be used any more. Finalizes nothing: a stream can be resumed for two hours.
    ///
    /// Args:
    ///     timeout: How many seconds the platform is waited for, if it has not everything yet.
    ///
    /// Returns:
    ///     How many chunks the platform does not have yet. They are on disk, and go with the next streamer of the same
    ///     key and endpoint.
    #[pyo3(signature = (timeout=5.0))]
    fn close(&self, py: Python<'_>, timeout: f64) -> PyResult<u64> {
        Ok(self.held.close(py, seconds(timeout)?)?.chunks)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _class: Option<&Bound<'_, PyType>>,
        _error: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.held.close(py, seconds(5.0)?)?;
        Ok(())
    }

    fn __repr__(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("<TimeseriesStreamer to {endpoint}>"),
            None => "<TimeseriesStreamer>".to_owned(),
        }
    }
}

/// One channel of a chunk, its timestamps by their place among the axes.
struct Channel {
    name: String,
    timestamps: usize,
    values: Vec<f64>,
    units: Option<String>,
}

/// The time axes of a chunk: an object that several channels name is read once.
#[derive(Default)]
struct Axes<'py> {
    objects: Vec<Bound<'py, PyAny>>,
    numbers: Vec<Vec<f64>>,
}

impl<'py> Axes<'py> {
    fn place(&mut self, object: Bound<'py, PyAny>) -> PyResult<usize> {
        if let Some(place) = self.objects.iter().rposition(|known| known.is(&object)) {
            return Ok(place);
        }
        self.numbers.push(numbers(&object, Of::Timestamps)?);
        self.objects.push(object);
        Ok(self.numbers.len() - 1)
    }
}

fn push(
    py: Python<'_>,
    streamer: &blocking::TimeseriesStreamer,
    data_id: &str,
    chunk_index: u64,
    axes: &[Vec<f64>],
    channels: &[Channel],
) -> PyResult<()> {
    let series: Vec<Series<'_>> = channels
        .iter()
        .filter(|channel| !channel.values.is_empty())
        .filter_map(|channel| {
            Some(Series {
                name: &channel.name,
                timestamps: axes.get(channel.timestamps)?,
                values: &channel.values,
                units: channel.units.as_deref(),
            })
        })
        .collect();
    if series.is_empty() {
        return Ok(());
    }
    patiently(py, streamer, |streamer, _| match streamer.push_multi(data_id, chunk_index, &series) {
        Ok(_) | Err(Error::NoPoints { .. }) => Ok(()),
        Err(error) => Err(error),
    })
}

/// One channel of `push_multi`, with the vendor's exceptions.
fn channel_of<'py>(
    name: &Bound<'py, PyAny>,
    channel: &Bound<'py, PyAny>,
    axes: &mut Axes<'py>,
) -> PyResult<Option<Channel>> {
    let py = name.py();
    let name: String =
        name.extract().map_err(|error| PyRuntimeError::new_err(format!("channel name must be a string: {error}")))?;
    let wrong = |what: String| PyRuntimeError::new_err(format!("channel '{name}': {what}"));
    let Some(channel) = dictionary(channel)? else {
        return Err(wrong("expected a dict with 'timestamps', 'values' and, if there is one, 'units'".to_owned()));
    };
    let get = |key: &Bound<'py, pyo3::types::PyString>| {
        channel.get_item(key)?.ok_or_else(|| wrong(format!("missing '{key}' key")))
    };
    let timestamps = get(intern!(py, "timestamps"))?;
    let timestamps = axes
        .place(timestamps)
        .map_err(|error| chained(py, wrong(format!("'timestamps' must be a series of numbers: {error}")), error))?;
    let values = numbers(&get(intern!(py, "values"))?, Of::Values)
        .map_err(|error| chained(py, wrong(format!("'values' must be a series of numbers: {error}")), error))?;
    let units = match channel.get_item(intern!(py, "units"))? {
        Some(units) => units
            .extract::<Option<String>>()
            .map_err(|error| chained(py, wrong(format!("'units' must be a string: {error}")), error))?,
        None => None,
    };
    if let Some(axis) = axes.numbers.get(timestamps) {
        same_length(axis, &values).map_err(wrong)?;
    }
    Ok(Some(Channel { name, timestamps, values, units }))
}

/// A dict, or any other mapping as one.
fn dictionary<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
    if let Ok(dict) = object.cast::<PyDict>() {
        return Ok(Some(dict.clone()));
    }
    if object.cast::<PyMapping>().is_err() {
        return Ok(None);
    }
    Ok(Some(object.py().get_type::<PyDict>().call1((object,))?.cast_into()?))
}

/// The chunks of `run`, out of a Python iterator. What goes wrong in it ends the run.
struct Chunks<'a> {
    chunks: Py<PyIterator>,
    raised: &'a Raised,
    place: u64,
}

impl Iterator for Chunks<'_> {
    type Item = (Vec<f64>, Vec<f64>);

    fn next(&mut self) -> Option<Self::Item> {
        let next = Python::try_attach(|py| {
            let mut chunks = self.chunks.bind(py).clone();
            let place = self.place;
            chunks.next().map(|chunk| chunk_of(&chunk?, place))
        })?;
        self.place += 1;
        next?.map_err(|error| self.raised.keep(error)).ok()
    }
}

/// One item of `run`, with the vendor's exceptions.
fn chunk_of(chunk: &Bound<'_, PyAny>, place: u64) -> PyResult<(Vec<f64>, Vec<f64>)> {
    let py = chunk.py();
    let wrong = |error: PyErr| {
        let text = format!("chunk {place}: expected (timestamps, values) tuple of series of numbers: {error}");
        chained(py, PyRuntimeError::new_err(text), error)
    };
    let pair = chunk.cast::<PyTuple>().map_err(|error| wrong(error.into()))?;
    if pair.len() != 2 {
        return Err(wrong(PyValueError::new_err(format!("got a tuple of length {}", pair.len()))));
    }
    let timestamps = numbers(&pair.get_item(0)?, Of::Timestamps).map_err(wrong)?;
    let values = numbers(&pair.get_item(1)?, Of::Values).map_err(wrong)?;
    same_length(&timestamps, &values).map_err(|text| PyRuntimeError::new_err(format!("chunk {place}: {text}")))?;
    Ok((timestamps, values))
}

fn same_length(timestamps: &[f64], values: &[f64]) -> Result<(), String> {
    if timestamps.len() == values.len() {
        return Ok(());
    }
    Err(format!("timestamps and values must have the same length, they have {} and {}", timestamps.len(), values.len()))
}

fn chained(py: Python<'_>, error: PyErr, cause: PyErr) -> PyErr {
    error.set_cause(py, Some(cause));
    error
}

/// A name that was given: blank means that none was.
fn said(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("timeout is {seconds}, expected seconds from 0 on")))
}
