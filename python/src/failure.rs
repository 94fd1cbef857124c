//! Errors of the streamer and of the platform's API as Python's exceptions.

use std::error::Error as StdError;
use std::sync::Arc;

use mbe_bridge::atomscale::PlatformError;
use mbe_bridge::model::with_causes;
use mbe_bridge::streamer::Error;
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What the vendor's class raises: `RuntimeError`, and its own `TimeoutError` for a wait that has an end.
pub(super) fn of_streamer(error: &Error) -> PyErr {
    let text = with_causes(error);
    match error {
        Error::NotInTime { .. } => PyTimeoutError::new_err(text),
        _ => PyRuntimeError::new_err(match status(error) {
            Some(status) => format!("HTTP {status}: {text}"),
            None => text,
        }),
    }
}

/// The platform's status, if a refusal of it is at the bottom.
fn status(error: &Error) -> Option<u16> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(platform) = error.downcast_ref::<PlatformError>() {
            return platform.status();
        }
        if let Some(platform) = error.downcast_ref::<Arc<PlatformError>>() {
            return platform.status();
        }
        cause = error.source();
    }
    None
}

/// `mbe_bridge.ClientError` with the status and the words of the answer, where there was one.
pub(super) fn of_platform(py: Python<'_>, what: &str, error: &PlatformError) -> PyErr {
    let status = error.status();
    let text = match status {
        Some(status) => format!("{what}: HTTP Error {status}: {}", error.words()),
        None => format!("{what}: {}", with_causes(error)),
    };
    let made = (|| {
        let details = PyDict::new(py);
        details.set_item("status_code", status)?;
        details.set_item("response_text", status.map(|_| error.words()))?;
        py.import("mbe_bridge.client")?.getattr("ClientError")?.call((text,), Some(&details))
    })();
    made.map_or_else(|error| error, PyErr::from_value)
}
