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

/// Puts `paths` back into a report that crossed without them: JSON has no names that are not UTF-8.
pub(super) fn set_paths(report: &Bound<'_, PyAny>, paths: &[(&str, &Path)]) -> PyResult<()> {
    paths.iter().try_for_each(|(name, path)| report.set_item(name, path.as_os_str()))
}
