//! `_core.verify`.

use std::mem;
use std::path::PathBuf;

use pyo3::prelude::*;

use super::progress::Reporter;
use super::report::{set_paths, to_dict};
use super::work::PyWork;
use crate::snapshot::VerifyOptions;

#[pyfunction]
#[pyo3(signature = (path, *, skip_hash_check, progress))]
pub(super) fn verify(path: PathBuf, skip_hash_check: bool, progress: Option<Py<PyAny>>) -> PyWork {
    let options = VerifyOptions { skip_hash_check };
    let work = move |reporter: &Reporter| crate::snapshot::verify(&path, options, reporter);
    PyWork::busy(progress, work, |py, mut report| {
        let path = mem::take(&mut report.path);
        let dict = to_dict(py, &report)?;
        set_paths(&dict, &[("path", &path)])?;
        Ok(dict)
    })
}
