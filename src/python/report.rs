//! Reports cross as JSON text: what Python gets are plain `dict`s, lists, numbers and texts.

use std::path::Path;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde::Serialize;

/// `report` as a `dict`.
pub(super) fn to_dict<'py>(py: Python<'py>, report: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(report).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    py.import("json")?.call_method1("loads", (text,))
}

/// `report` as a `dict`, with `paths` as the very names that the file system knows: JSON holds no bytes that are
/// not UTF-8.
pub(super) fn with_paths<'py>(
    py: Python<'py>,
    report: &impl Serialize,
    paths: &[(&str, &Path)],
) -> PyResult<Bound<'py, PyAny>> {
    let dict = to_dict(py, report)?;
    for (name, path) in paths {
        dict.set_item(name, path.as_os_str())?;
    }
    Ok(dict)
}
