//! The Python module `mbe_bridge._native`: `mbe_bridge::streamer` with Python's faces on it.
//!
//! Nothing is decided here about streams: this crate turns Python's numbers into slices, lets go of the interpreter while
//! anything is written or waited for, and turns what comes back into Python's objects and exceptions.

mod client;
mod closing;
mod facts;
mod failure;
mod series;
mod streamer;
mod waiting;

use pyo3::prelude::*;
use pyo3::wrap_pyfunction;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<streamer::TimeseriesStreamer>()?;
    module.add_function(wrap_pyfunction!(client::check_account, module)?)?;
    module.add_function(wrap_pyfunction!(client::list_growth_instruments, module)?)?;
    module.add_function(wrap_pyfunction!(client::create_growth_instrument, module)?)?;
    module.add_function(wrap_pyfunction!(client::delete_growth_instrument, module)?)?;
    closing::at_exit(module)
}
