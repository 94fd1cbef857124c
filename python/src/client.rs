//! The account's growth instruments, for `mbe_bridge.Client`: calls of the platform's API that keep nothing on disk.

use std::future::Future;
use std::time::Duration;

use mbe_bridge::atomscale::ApiKey;
use mbe_bridge::atomscale::Client;
use mbe_bridge::atomscale::NewGrowthInstrument;
use mbe_bridge::atomscale::Platform;
use mbe_bridge::atomscale::PlatformError;
use mbe_bridge::atomscale::Settings;
use mbe_bridge::model::with_causes;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::failure;

/// How often a signal is looked for while the platform is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// Refuses a key or an endpoint that can't be used, before anything is asked.
#[pyfunction]
pub(super) fn check_account(endpoint: String, api_key: String) -> PyResult<()> {
    client(endpoint, &api_key).map(drop)
}

/// The growth instruments, as the platform lists them.
#[pyfunction]
pub(super) fn list_growth_instruments<'py>(
    py: Python<'py>,
    endpoint: String,
    api_key: String,
) -> PyResult<Bound<'py, PyList>> {
    let client = client(endpoint, &api_key)?;
    let found = ask(py, async || again(async || client.growth_instruments().await).await)?
        .map_err(|error| failure::of_platform(py, "the growth instruments can't be listed", &error))?;
    let list = PyList::empty(py);
    for instrument in found {
        let entry = PyDict::new(py);
        entry.set_item("synth_source_id", instrument.synth_source_id)?;
        entry.set_item("source_name", instrument.name)?;
        entry.set_item("synth_source_type", instrument.sort)?;
        entry.set_item("source_manufacturer", instrument.manufacturer)?;
        entry.set_item("source_model", instrument.model)?;
        list.append(entry)?;
    }
    Ok(list)
}

/// Registers a growth instrument. Asked once only: a second request might register a second one.
#[pyfunction]
pub(super) fn create_growth_instrument(
    py: Python<'_>,
    endpoint: String,
    api_key: String,
    label: String,
    name: String,
    sort: String,
    serial_id: Option<String>,
) -> PyResult<i64> {
    let client = client(endpoint, &api_key)?;
    let new = NewGrowthInstrument { label, name, sort, serial_id };
    ask(py, async || client.create_growth_instrument(&new).await)?
        .map_err(|error| failure::of_platform(py, "the growth instrument was not created", &error))
}

/// Removes a growth instrument.
#[pyfunction]
pub(super) fn delete_growth_instrument(
    py: Python<'_>,
    endpoint: String,
    api_key: String,
    synth_source_id: i64,
) -> PyResult<()> {
    let client = client(endpoint, &api_key)?;
    ask(py, async || again(async || client.delete_growth_instrument(synth_source_id).await).await)?
        .map_err(|error| failure::of_platform(py, "the growth instrument was not deleted", &error))
}

fn client(endpoint: String, api_key: &str) -> PyResult<Client> {
    let key = ApiKey::parse(api_key).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let settings = Settings { endpoint, ..Settings::new(key) };
    Client::new(&settings).map_err(|error| PyValueError::new_err(with_causes(&error)))
}

/// Up to three requests, half a second and a second apart, where another one may pass.
async fn again<T>(request: impl AsyncFn() -> Result<T, PlatformError>) -> Result<T, PlatformError> {
    for pause in [Duration::from_millis(500), Duration::from_secs(1)] {
        match request().await {
            Err(error) if error.is_transient() => tokio::time::sleep(error.retry_after().unwrap_or(pause)).await,
            done => return done,
        }
    }
    request().await
}

/// Runs a request on this thread, with the interpreter left to other threads; a signal ends it.
fn ask<T, F>(py: Python<'_>, request: impl FnOnce() -> F + Send) -> PyResult<Result<T, PlatformError>>
where
    T: Send,
    F: Future<Output = Result<T, PlatformError>>,
{
    py.detach(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(PyOSError::new_err)?;
        let done = runtime.block_on(async {
            let mut request = std::pin::pin!(request());
            loop {
                if let Ok(done) = tokio::time::timeout(LOOK, &mut request).await {
                    return Ok(done);
                }
                // None while the interpreter ends: the request has its own time-out.
                Python::try_attach(|py| py.check_signals()).transpose()?;
            }
        });
        // Not awaited: looking up a name may take the system half a minute where there is no network.
        runtime.shutdown_background();
        done
    })
}
