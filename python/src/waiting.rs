//! Waiting without the interpreter: other Python threads run on, and Ctrl-C ends the wait.

use std::cell::RefCell;

use mbe_bridge::streamer::Error;
use mbe_bridge::streamer::blocking::{Patient, TimeseriesStreamer};
use pyo3::prelude::*;

use super::failure;

/// What Python has to say while something is waited for: a signal's exception, or one of a function that was called.
#[derive(Default)]
pub(super) struct Raised(RefCell<Option<PyErr>>);

impl Raised {
    /// Keeps the first exception; the wait ends with it.
    pub(super) fn keep(&self, error: PyErr) {
        self.0.borrow_mut().get_or_insert(error);
    }

    /// Whether the wait is to end. Runs the handlers of signals that have come in, which is how Ctrl-C gets through.
    fn anything(&self) -> bool {
        if self.0.borrow().is_some() {
            return true;
        }
        // None while the interpreter ends: the wait is then bounded by whoever waits.
        if let Some(Err(error)) = Python::try_attach(|py| py.check_signals()) {
            self.keep(error);
            return true;
        }
        false
    }
}

/// Makes a call of a streamer that may take long. The call is ended by signals and by what it keeps in [`Raised`].
pub(super) fn patiently<T: Send>(
    py: Python<'_>,
    streamer: &TimeseriesStreamer,
    call: impl FnOnce(Patient<'_>, &Raised) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let (done, raised) = py.detach(|| {
        let raised = Raised::default();
        let done = call(streamer.interruptible(&|| raised.anything()), &raised);
        (done, raised.0.into_inner())
    });
    match raised {
        Some(error) => Err(error),
        None => done.map_err(|error| failure::of_streamer(&error)),
    }
}
