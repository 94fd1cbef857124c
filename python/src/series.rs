//! One series of numbers out of whatever Python holds it in.
//!
//! Lists and NumPy arrays of `float64` have a short way each; everything else that is a series of numbers has a longer one.
//! No way runs Python code for each point, and none imports NumPy or pandas: whoever has an array has imported them.
//! What can't be told apart from a mistake (text, instants without a zone, sets) is refused.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMapping, PySet, PyString, PyTuple,
};

/// What a series is of: stamps must be there, values may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Unix seconds.
    Timestamps,
    /// Readings. `None`, `pandas.NA` and masked places become NaN: a missing point.
    Values,
}

impl Of {
    fn word(self) -> &'static str {
        match self {
            Self::Timestamps => "timestamps",
            Self::Values => "values",
        }
    }
}

/// The numbers of a series, in the order in which they are there.
pub(crate) fn numbers(series: &Bound<'_, PyAny>, of: Of) -> PyResult<Vec<f64>> {
    if let Ok(list) = series.cast_exact::<PyList>() {
        return items(&list.to_tuple(), of);
    }
    let py = series.py();
    if NDARRAY.get(py).is_some_and(|ndarray| series.get_type().is(ndarray)) {
        return array(series, of);
    }
    if let Ok(tuple) = series.cast::<PyTuple>() {
        return items(tuple, of);
    }
    if let Ok(as_array) = series.getattr(intern!(py, "__array__")) {
        if is_type(series) {
            return Err(refused(series, of));
        }
        // Asked of the class: a pandas Series takes any label of its index for an attribute.
        if series.get_type().hasattr(intern!(py, "filled"))? {
            return masked(series, of);
        }
        let array_like = as_array.call0()?;
        learn(&array_like)?;
        return array(&array_like, of);
    }
    if let Ok(typecode) = series.getattr(intern!(py, "typecode"))
        && typecode.eq("d")?
    {
        return doubles(&series.call_method0(intern!(py, "tobytes"))?);
    }
    others(series, of)
}

/// `numpy.ndarray` and the data type `float64` in this machine's byte order, once an array has been seen.
static NDARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static FLOAT64: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Remembers NumPy's own types by an object that says it is an array, so that the next one takes the short way.
fn learn(array: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = array.py();
    if NDARRAY.get(py).is_some() {
        return Ok(());
    }
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    let Ok(numpy) = modules.get_item("numpy") else { return Ok(()) };
    let float64 = numpy.call_method1("dtype", ("float64",))?;
    FLOAT64.get_or_init(py, || float64.unbind());
    let ndarray = numpy.getattr("ndarray")?;
    NDARRAY.get_or_init(py, || ndarray.unbind());
    Ok(())
}

fn array(array: &Bound<'_, PyAny>, of: Of) -> PyResult<Vec<f64>> {
    let py = array.py();
    let dtype = array.getattr(intern!(py, "dtype"))?;
    if FLOAT64.get(py).is_some_and(|float64| dtype.is(float64)) {
        return one_dimension(array, of, &array.call_method0(intern!(py, "tobytes"))?);
    }
    let kind: String = dtype.getattr(intern!(py, "kind"))?.extract()?;
    match kind.as_str() {
        "f" | "i" | "u" | "b" => {
            let floats = array.call_method1(intern!(py, "astype"), ("=f8",))?;
            one_dimension(array, of, &floats.call_method0(intern!(py, "tobytes"))?)
        }
        "O" => {
            let list = array.call_method0(intern!(py, "tolist"))?;
            items(&list.cast::<PyList>()?.to_tuple(), of)
        }
        "M" => Err(PyTypeError::new_err(format!("{} are of dtype {}: {INSTANTS}", of.word(), dtype.str()?))),
        _ => Err(PyTypeError::new_err(format!("{} must be real numbers, not of dtype {}", of.word(), dtype.str()?))),
    }
}

/// A NumPy array with a mask: what is masked is missing, whatever number lies under the mask.
fn masked(array: &Bound<'_, PyAny>, of: Of) -> PyResult<Vec<f64>> {
    let py = array.py();
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    match kind.as_str() {
        "f" | "i" | "u" | "b" => {
            let floats = array.call_method1("astype", ("=f8",))?.call_method1("filled", (f64::NAN,))?;
            one_dimension(array, of, &floats.call_method0(intern!(py, "tobytes"))?)
        }
        _ => others(&array.call_method0("tolist")?, of),
    }
}

/// The doubles of an array, which may be a column, too, but no table.
fn one_dimension(array: &Bound<'_, PyAny>, of: Of, bytes: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let numbers = doubles(bytes)?;
    if array.len().is_ok_and(|length| length == numbers.len()) {
        return Ok(numbers);
    }
    let shape = array.getattr("shape")?.str()?;
    Err(PyTypeError::new_err(format!("{} must be of one dimension, not an array of shape {shape}", of.word())))
}

fn doubles(bytes: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let bytes = bytes.cast::<PyBytes>()?.as_bytes();
    let (doubles, _) = bytes.as_chunks::<8>();
    Ok(doubles.iter().map(|double| f64::from_ne_bytes(*double)).collect())
}

/// Any other series: whatever Python can go through in order.
fn others(series: &Bound<'_, PyAny>, of: Of) -> PyResult<Vec<f64>> {
    let unordered = series.is_instance_of::<PySet>() || series.is_instance_of::<PyFrozenSet>();
    let text = series.is_instance_of::<PyString>()
        || series.is_instance_of::<PyBytes>()
        || series.is_instance_of::<PyByteArray>();
    if unordered || text || series.is_instance_of::<PyDict>() || series.cast::<PyMapping>().is_ok() {
        return Err(refused(series, of));
    }
    let Ok(iterator) = series.try_iter() else { return Err(refused(series, of)) };
    let length = series.len().unwrap_or(0);
    let mut numbers = Vec::with_capacity(length);
    for item in iterator {
        let place = numbers.len();
        numbers.push(number(&item?, place, of)?);
    }
    Ok(numbers)
}

/// The items of a tuple, which nobody can change meanwhile: they are borrowed from it, not counted one by one.
fn items(tuple: &Bound<'_, PyTuple>, of: Of) -> PyResult<Vec<f64>> {
    let mut numbers = Vec::with_capacity(tuple.len());
    for item in tuple.iter_borrowed() {
        let number = match item.cast_exact::<PyFloat>() {
            Ok(float) => float.value(),
            Err(_) => number(&item, numbers.len(), of)?,
        };
        numbers.push(number);
    }
    Ok(numbers)
}

/// One item that need not be a `float`.
fn number(item: &Bound<'_, PyAny>, place: usize, of: Of) -> PyResult<f64> {
    if item.is_instance_of::<PyFloat>() || item.is_instance_of::<PyInt>() {
        return item.extract();
    }
    let series = of.word();
    let class = item.get_type().name()?;
    let class = class.to_string_lossy();
    if item.is_none() || class == "NAType" {
        return match of {
            Of::Values => Ok(f64::NAN),
            Of::Timestamps => Err(PyTypeError::new_err(format!(
                "timestamps[{place}] is {}: a point without its time can't be stored; leave it out",
                item.str()?
            ))),
        };
    }
    match class.as_ref() {
        "datetime" | "datetime64" | "Timestamp" | "NaTType" | "date" => {
            return Err(PyTypeError::new_err(format!("{series}[{place}] is a {class}: {INSTANTS}")));
        }
        "timedelta" | "timedelta64" | "Timedelta" => {
            return Err(PyTypeError::new_err(format!("{series}[{place}] must be real number, not {class}")));
        }
        _ => {}
    }
    item.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyTypeError>(item.py()) {
            PyTypeError::new_err(format!("{series}[{place}] must be real number, not {class}"))
        } else {
            error
        }
    })
}

/// Whether the object is a class, not an instance of one.
fn is_type(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<pyo3::types::PyType>()
}

fn refused(series: &Bound<'_, PyAny>, of: Of) -> PyErr {
    let class = series.get_type().name().map_or_else(|_| "this object".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "{} must be a series of numbers (list, tuple, NumPy array, pandas Series), not {class}",
        of.word()
    ))
}

/// An instant alone does not say which zone its clock was in, and a guess would be wrong by hours.
const INSTANTS: &str = "give Unix seconds (float), as `moment.timestamp()` of a datetime with its zone, or \
     `(column - pandas.Timestamp(0, tz=\"UTC\")) / pandas.Timedelta(\"1s\")` of a column with its zone";
