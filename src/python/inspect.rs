//! `_core.in_use` and `_core.inspect`.

use std::mem;
use std::path::PathBuf;

use pyo3::prelude::*;

use super::error::{settle, to_exception};
use super::progress::Reporter;
use super::report::{set_paths, to_dict};
use crate::data_dir::InUse;

#[pyfunction]
#[pyo3(signature = (data_dir, *, wal_dir))]
pub(super) fn in_use(py: Python<'_>, data_dir: PathBuf, wal_dir: Option<PathBuf>) -> PyResult<Option<String>> {
    let found = py.detach(|| crate::data_dir::in_use(&data_dir, wal_dir.as_deref()));
    Ok(found.map_err(|error| to_exception(py, &error))?.as_ref().map(InUse::holder))
}

#[pyfunction]
#[pyo3(signature = (data_dir, *, wal_dir, pages, progress))]
pub(super) fn inspect(
    py: Python<'_>,
    data_dir: PathBuf,
    wal_dir: Option<PathBuf>,
    pages: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'_, PyAny>> {
    let reporter = Reporter::new(progress);
    let result = py.detach(|| crate::data_dir::inspect(&data_dir, wal_dir.as_deref(), pages, &reporter));
    let mut found = settle(py, &reporter, result)?;
    let (data_dir, wal_dir) = (mem::take(&mut found.data_dir), mem::take(&mut found.wal_dir));
    let holder = found.in_use.take().as_ref().map(InUse::holder);
    let dict = to_dict(py, &found)?;
    set_paths(&dict, &[("data_dir", &data_dir), ("wal_dir", &wal_dir)])?;
    dict.set_item("in_use", holder)?;
    Ok(dict)
}
