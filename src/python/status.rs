//! `_core.status`.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::error::settle;
use super::progress::Reporter;
use super::report::to_dict;

#[pyfunction]
#[pyo3(signature = (path, *, progress))]
pub(super) fn status(py: Python<'_>, path: PathBuf, progress: Option<Py<PyAny>>) -> PyResult<Bound<'_, PyAny>> {
    let reporter = Reporter::new(progress);
    let result = py.detach(|| crate::snapshot::status(&path, &reporter));
    to_dict(py, &settle(py, &reporter, result)?)
}
