//! `_core.make_snapshot`.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use super::error::to_exception;
use crate::compose::Change;

#[pyfunction]
pub(super) fn make_snapshot(
    py: Python<'_>,
    path: PathBuf,
    changes: Vec<(PyBackedBytes, Option<PyBackedBytes>)>,
) -> PyResult<i64> {
    let changes: Vec<_> = changes
        .iter()
        .map(|(key, value)| Change { key: key.to_vec(), value: value.as_ref().map(|value| value.to_vec()) })
        .collect();
    py.detach(|| crate::compose::make_snapshot(&path, &changes)).map_err(|error| to_exception(py, &error))
}
