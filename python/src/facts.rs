//! What the streamer tells of streams and of the clock, as dictionaries. Their keys are those of the stubs' `TypedDict`s.

use mbe_bridge::streamer::{ClockStatus, Resumed, StreamStatus};
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub(super) fn stream<'py>(py: Python<'py>, status: &StreamStatus) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("data_id", &status.data_id)?;
    dict.set_item("name", &status.name)?;
    dict.set_item("state", status.state.as_str())?;
    dict.set_item("queued_chunks", status.queued_chunks)?;
    dict.set_item("queued_points", status.queued_points)?;
    dict.set_item("uploaded_points", status.uploaded_points)?;
    dict.set_item("rejected_points", status.rejected_points)?;
    dict.set_item("platform", status.platform.as_str())?;
    dict.set_item("platform_says", status.platform.why())?;
    dict.set_item("last_error", status.last_error.as_deref())?;
    dict.set_item("oldest_queued", status.oldest_queued)?;
    Ok(dict)
}

pub(super) fn resumed<'py>(py: Python<'py>, resumed: &Resumed) -> PyResult<Bound<'py, PyDict>> {
    let channels = PyDict::new(py);
    for channel in &resumed.channels {
        let dict = PyDict::new(py);
        dict.set_item("units", channel.units.as_deref())?;
        dict.set_item("next_chunk_index", channel.next_chunk_index)?;
        dict.set_item("points", channel.points)?;
        dict.set_item("last_timestamp", channel.last_timestamp)?;
        channels.set_item(&channel.name, dict)?;
    }
    let dict = PyDict::new(py);
    dict.set_item("data_id", &resumed.data_id)?;
    dict.set_item("next_chunk_index", resumed.next_chunk_index)?;
    dict.set_item("points_per_chunk", resumed.points_per_chunk)?;
    dict.set_item("channels", channels)?;
    Ok(dict)
}

pub(super) fn clock<'py>(py: Python<'py>, status: &ClockStatus) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("offset_ms", status.offset_ms)?;
    dict.set_item("uncertainty_ms", status.uncertainty_ms)?;
    dict.set_item("measured_at_unix_ms", status.measured_at_unix_ms)?;
    Ok(dict)
}
