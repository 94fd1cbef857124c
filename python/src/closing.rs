//! The end of a streamer: closed by its program, dropped, at the end of the process, or on the other side of a fork.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use mbe_bridge::streamer::blocking;
use mbe_bridge::streamer::{Error, Left};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::failure;
use super::waiting::patiently;

/// How long the end of a process waits for the platform, all streamers together: a moment's backlog fits in it, and
/// nobody takes it for a hang. What is not sent by then is on disk.
const AT_EXIT: Duration = Duration::from_secs(3);

/// A streamer and the process that it lives in. Its threads stay behind in a fork, and its locks may be held there by one
/// of them for ever: on the other side it is neither asked nor dropped.
pub(super) struct Held {
    /// Always there but while it is dropped.
    streamer: Option<blocking::TimeseriesStreamer>,
    process: u32,
}

/// Every streamer of the process, for its end. Locked only with the interpreter held, so that no fork finds it locked.
static ALL: Mutex<Vec<Weak<Held>>> = Mutex::new(Vec::new());

impl Held {
    /// Holds a streamer that was made in this process.
    pub(super) fn new(_: Python<'_>, streamer: blocking::TimeseriesStreamer) -> Arc<Self> {
        let held = Arc::new(Self { streamer: Some(streamer), process: std::process::id() });
        let mut all = all();
        all.retain(|streamer| streamer.strong_count() > 0);
        all.push(Arc::downgrade(&held));
        held
    }

    /// The streamer, where it lives.
    pub(super) fn here(&self) -> PyResult<&blocking::TimeseriesStreamer> {
        if let Some(streamer) = &self.streamer
            && std::process::id() == self.process
        {
            return Ok(streamer);
        }
        Err(PyRuntimeError::new_err(format!(
            "this TimeseriesStreamer was made before a fork and works only in process {}; make one in each process",
            self.process
        )))
    }

    /// Waits until the platform has everything, but not longer than this; then stops.
    pub(super) fn close(&self, py: Python<'_>, within: Duration) -> PyResult<Left> {
        let streamer = self.here()?;
        if within > Duration::ZERO && pending(streamer) > 0 {
            match patiently(py, streamer, |patient, _| match patient.flush(None, Some(within)) {
                // Closing does not depend on the platform: what it has not is on disk, and is counted below.
                Err(Error::Interrupted) => Err(Error::Interrupted),
                _ => Ok(()),
            }) {
                Ok(()) => {}
                Err(error) => {
                    drop(py.detach(|| streamer.clone().close()));
                    return Err(error);
                }
            }
        }
        match py.detach(|| streamer.clone().close()) {
            Err(Error::Closed) => Ok(Left::default()),
            done => done.map_err(|error| failure::of_streamer(&error)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let streamer = self.streamer.take();
        if std::process::id() != self.process {
            std::mem::forget(streamer);
            return;
        }
        // It waits for its threads, which is nothing that other Python threads should wait for. While the interpreter ends
        // there is nobody left to wait.
        let mut streamer = Some(streamer);
        Python::try_attach(|py| py.detach(|| drop(streamer.take())));
    }
}

/// Chunks of all streams that the platform has not confirmed.
pub(super) fn pending(streamer: &blocking::TimeseriesStreamer) -> u64 {
    streamer.streams().iter().map(|stream| stream.queued_chunks).sum()
}

fn all() -> MutexGuard<'static, Vec<Weak<Held>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has [`close_all`] called when the interpreter ends.
pub(super) fn at_exit(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let close_all = wrap_pyfunction!(close_all, module)?;
    module.py().import("atexit")?.call_method1("register", (close_all,))?;
    Ok(())
}

/// Closes every streamer of this process, and says what is left to the next one.
#[pyfunction]
fn close_all(py: Python<'_>) -> PyResult<()> {
    let streamers: Vec<Arc<Held>> = all().iter().filter_map(Weak::upgrade).collect();
    let end = Instant::now() + AT_EXIT;
    let mut chunks = 0;
    let mut interrupted = None;
    for held in streamers {
        if held.here().is_err() {
            continue;
        }
        match held.close(py, end.saturating_duration_since(Instant::now())) {
            Ok(left) => chunks += left.chunks,
            Err(error) => interrupted = Some(error),
        }
    }
    if chunks > 0 {
        let said = PyDict::new(py);
        said.set_item("file", py.import("sys")?.getattr("stderr")?)?;
        let what = if chunks == 1 { "1 chunk is".to_owned() } else { format!("{chunks} chunks are") };
        let line = format!(
            "mbe_bridge: {what} not on the platform yet, but kept on disk; the next TimeseriesStreamer with this key \
             and endpoint sends them"
        );
        py.import("builtins")?.getattr("print")?.call((line,), Some(&said))?;
    }
    interrupted.map_or(Ok(()), Err)
}
