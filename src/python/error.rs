//! The one place where an [`Error`] becomes a Python exception.

use std::io;
use std::path::Path;

use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict, PyTuple};
use rustix::io::Errno;

use super::progress::Reporter;
use crate::defect::Defect;
use crate::error::{Error, Result};

/// What `result` is to the caller; when the work was stopped, that is the exception that stopped it.
pub(super) fn settle<T>(py: Python<'_>, reporter: &Reporter, result: Result<T>) -> PyResult<T> {
    match reporter.take_cause() {
        Some(cause) => Err(cause),
        None => result.map_err(|error| to_exception(py, &error)),
    }
}

/// `error` as the exception of `dcos_etcd.exceptions` that stands for it.
pub(super) fn to_exception(py: Python<'_>, error: &Error) -> PyErr {
    convert(py, error).unwrap_or_else(|failure| failure)
}

/// The exception for the use of a snapshot that is closed.
pub(super) fn closed(py: Python<'_>, path: &Path) -> PyErr {
    let message = format!("{} is closed", path.display());
    let made = exceptions(py).and_then(|module| {
        let attributes = [("path", path.as_os_str())].into_py_dict(py)?;
        module.getattr("SnapshotClosedError")?.call((message,), Some(&attributes))
    });
    made.map_or_else(|failure| failure, PyErr::from_value)
}

fn convert(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let message = error.to_string();
    let none = || Ok(PyDict::new(py));
    let (class, attributes) = match error {
        Error::Io { action, path, source } => return os_error(py, action, path, source),
        Error::Interrupted => return Ok(PyKeyboardInterrupt::new_err(())),
        Error::ArchiveExists { path } => ("ArchiveExistsError", [("path", path.as_os_str())].into_py_dict(py)),
        Error::DataDirNotEmpty { path, message: _ } => {
            ("DataDirNotEmptyError", [("path", path.as_os_str())].into_py_dict(py))
        }
        Error::InUse { path, message: _ } => ("DataDirInUseError", [("path", path.as_os_str())].into_py_dict(py)),
        Error::NoSpace { path, needed, free } => {
            let attributes = [("needed", needed), ("free", free)].into_py_dict(py)?;
            attributes.set_item("path", path.as_os_str())?;
            ("NoSpaceError", Ok(attributes))
        }
        Error::InvalidArgument { message: _ } => ("InvalidArgumentError", none()),
        Error::Bootstrap { message: _ } => ("BootstrapError", none()),
        Error::NotASnapshot { path, reason } => {
            let attributes = [("path", path.as_os_str())].into_py_dict(py)?;
            attributes.set_item("reason", reason)?;
            ("NotASnapshotError", Ok(attributes))
        }
        Error::MissingHash { path } => ("MissingHashError", [("path", path.as_os_str())].into_py_dict(py)),
        Error::Corrupt { path, defects } => ("CorruptSnapshotError", with_defects(py, path, defects)),
        Error::StorageVersion { path, found, supported } => {
            let attributes = [("path", path.as_os_str())].into_py_dict(py)?;
            attributes.set_item("found", found)?;
            attributes.set_item("supported", supported)?;
            ("StorageVersionError", Ok(attributes))
        }
        Error::Compacted { revision, compact_revision } => {
            ("CompactedError", [("revision", revision), ("compact_revision", compact_revision)].into_py_dict(py))
        }
        Error::FutureRevision { revision, current_revision } => {
            ("FutureRevisionError", [("revision", revision), ("current_revision", current_revision)].into_py_dict(py))
        }
        Error::Changed { path, before, now } => {
            let attributes = [("path", path.as_os_str())].into_py_dict(py)?;
            attributes.set_item("before", before)?;
            attributes.set_item("now", now)?;
            ("DatabaseChangedError", Ok(attributes))
        }
        Error::Unavailable { tried } => ("EndpointUnavailableError", [("tried", tried)].into_py_dict(py)),
        Error::Denied { endpoint, message: _ } => ("AccessDeniedError", [("endpoint", endpoint)].into_py_dict(py)),
        Error::Refused { endpoint, message: _ } => ("RequestRefusedError", [("endpoint", endpoint)].into_py_dict(py)),
        Error::PutBackStopped { done, planned, conflicts, cause } => {
            let stopped = [("done", done), ("planned", planned)].into_py_dict(py)?;
            stopped.set_item("conflicts", PyTuple::new(py, conflicts.iter().map(|key| PyBytes::new(py, key)))?)?;
            let class = exceptions(py)?.getattr("PutBackStoppedError")?;
            let exception = PyErr::from_value(class.call((message,), Some(&stopped))?);
            exception.set_cause(py, Some(convert(py, cause)?));
            return Ok(exception);
        }
        Error::BrokenStream { endpoint, received, reason } => {
            let attributes = [("endpoint", endpoint), ("reason", reason)].into_py_dict(py)?;
            attributes.set_item("received", received)?;
            ("BrokenStreamError", Ok(attributes))
        }
        Error::Stalled { endpoint, after, received, expected } => {
            let attributes = [("endpoint", endpoint)].into_py_dict(py)?;
            attributes.set_item("after", after.as_secs_f64())?;
            attributes.set_item("received", received)?;
            attributes.set_item("expected", expected)?;
            ("StalledError", Ok(attributes))
        }
        Error::RestoreUnproven { path, defects } => ("RestoreUnprovenError", with_defects(py, path, defects)),
    };
    let class = exceptions(py)?.getattr(class)?;
    Ok(PyErr::from_value(class.call((message,), Some(&attributes?))?))
}

fn exceptions(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import("dcos_etcd.exceptions")
}

fn with_defects<'py>(py: Python<'py>, path: &Path, defects: &[Defect]) -> PyResult<Bound<'py, PyDict>> {
    let class = exceptions(py)?.getattr("Defect")?;
    let made = defects.iter().map(|defect| {
        let fields = [("code", defect.code), ("message", defect.message.as_str())].into_py_dict(py)?;
        fields.set_item("page", defect.page)?;
        fields.set_item("offset", defect.offset)?;
        class.call((), Some(&fields))
    });
    let attributes = [("path", path.as_os_str())].into_py_dict(py)?;
    attributes.set_item("defects", made.collect::<PyResult<Vec<_>>>()?)?;
    Ok(attributes)
}

/// The plain `OSError` for a thread that could not be started.
pub(super) fn no_thread(py: Python<'_>, source: &io::Error) -> PyErr {
    errno_and_text(py, source).map_or_else(|failure| failure, PyOSError::new_err)
}

fn errno_and_text(py: Python<'_>, source: &io::Error) -> PyResult<(i32, String)> {
    if let Some(errno) = source.raw_os_error() {
        return Ok((errno, py.import("os")?.call_method1("strerror", (errno,))?.extract()?));
    }
    let errno = match source.kind() {
        io::ErrorKind::WouldBlock => Errno::AGAIN,
        io::ErrorKind::OutOfMemory => Errno::NOMEM,
        _ => Errno::IO,
    };
    Ok((errno.raw_os_error(), source.to_string()))
}

/// The plain `OSError` of the errno, which Python turns into `FileNotFoundError` and its like.
fn os_error(py: Python<'_>, action: &str, path: &Path, source: &io::Error) -> PyResult<PyErr> {
    let (errno, strerror) = errno_and_text(py, source)?;
    if path.as_os_str().is_empty() {
        return Ok(PyOSError::new_err((errno, strerror)));
    }
    let exception = py.get_type::<PyOSError>().call1((errno, strerror, path.as_os_str()))?;
    // Python 3.10 has no notes.
    if exception.hasattr("add_note")? {
        exception.call_method1("add_note", (format!("while {action}"),))?;
    }
    Ok(PyErr::from_value(exception))
}
