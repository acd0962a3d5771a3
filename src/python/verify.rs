//! `_core.verify`.

use std::mem;
use std::path::PathBuf;

use pyo3::prelude::*;

use super::error::settle;
use super::progress::Reporter;
use super::report::{set_paths, to_dict};
use crate::snapshot::VerifyOptions;

#[pyfunction]
#[pyo3(signature = (path, *, skip_hash_check, progress))]
pub(super) fn verify(
    py: Python<'_>,
    path: PathBuf,
    skip_hash_check: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'_, PyAny>> {
    let reporter = Reporter::new(progress);
    let options = VerifyOptions { skip_hash_check };
    let result = py.detach(|| crate::snapshot::verify(&path, options, &reporter));
    let mut report = settle(py, &reporter, result)?;
    let path = mem::take(&mut report.path);
    let dict = to_dict(py, &report)?;
    set_paths(&dict, &[("path", &path)])?;
    Ok(dict)
}
