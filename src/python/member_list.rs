//! `_core.member_list`.

use std::time::Duration;

use pyo3::prelude::*;

use super::access::PyAccess;
use super::error::to_exception;
use super::progress::Reporter;
use super::report::to_dict;
use super::runtime::drive;

#[pyfunction]
#[pyo3(signature = (*, access))]
pub(super) fn member_list(py: Python<'_>, access: PyAccess) -> PyResult<Bound<'_, PyAny>> {
    let access = access.into_inner().map_err(|error| to_exception(py, &error))?;
    let list = drive(py, &Reporter::new(None), Duration::ZERO, crate::client::member_list(&access))?;
    to_dict(py, &list)
}
