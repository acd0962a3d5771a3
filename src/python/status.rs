//! `_core.status`.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::progress::Reporter;
use super::report::to_dict;
use super::work::PyWork;

#[pyfunction]
#[pyo3(signature = (path, *, progress))]
pub(super) fn status(path: PathBuf, progress: Option<Py<PyAny>>) -> PyWork {
    let work = move |reporter: &Reporter| crate::snapshot::status(&path, reporter);
    PyWork::busy(progress, work, |py, (report, warnings)| {
        let dict = to_dict(py, &report)?;
        dict.set_item("warnings", warnings)?;
        Ok(dict)
    })
}
