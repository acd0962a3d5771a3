//! `_core.member_list`.

use std::time::Duration;

use pyo3::prelude::*;

use super::access::PyAccess;
use super::error::to_exception;
use super::report::to_dict;
use super::work::PyWork;

#[pyfunction]
#[pyo3(signature = (*, access))]
pub(super) fn member_list(py: Python<'_>, access: PyAccess) -> PyResult<PyWork> {
    let access = access.into_inner().map_err(|error| to_exception(py, &error))?;
    let work = |_| async move { crate::client::member_list(&access).await };
    Ok(PyWork::waiting(None, Duration::ZERO, work, |py, list| to_dict(py, &list)))
}
