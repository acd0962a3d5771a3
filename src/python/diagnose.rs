//! `_core.diagnose`.

use std::time::Duration;

use pyo3::prelude::*;

use super::access::PyAccess;
use super::error::to_exception;
use super::report::to_dict;
use super::work::PyWork;
use crate::diagnose::DiagnoseOptions;

#[pyfunction]
#[pyo3(signature = (*, access, expect))]
pub(super) fn diagnose(py: Python<'_>, access: PyAccess, expect: Vec<String>) -> PyResult<PyWork> {
    let access = access.into_inner().map_err(|error| to_exception(py, &error))?;
    let options = DiagnoseOptions { access, expect };
    let work = |_| async move { crate::diagnose::diagnose(&options).await };
    Ok(PyWork::waiting(None, Duration::ZERO, work, |py, diagnosis| to_dict(py, &diagnosis)))
}
