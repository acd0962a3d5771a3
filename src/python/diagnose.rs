//! `_core.diagnose`.

use std::time::Duration;

use pyo3::prelude::*;

use super::access::PyAccess;
use super::error::to_exception;
use super::progress::Reporter;
use super::report::to_dict;
use super::runtime::drive;
use crate::diagnose::DiagnoseOptions;

#[pyfunction]
#[pyo3(signature = (*, access, expect))]
pub(super) fn diagnose(py: Python<'_>, access: PyAccess, expect: Vec<String>) -> PyResult<Bound<'_, PyAny>> {
    let access = access.into_inner().map_err(|error| to_exception(py, &error))?;
    let options = DiagnoseOptions { access, expect };
    let diagnosis = drive(py, &Reporter::new(None), Duration::ZERO, crate::diagnose::diagnose(&options))?;
    to_dict(py, &diagnosis)
}
