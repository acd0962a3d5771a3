//! `_core.backup`.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;

use super::access::{PyAccess, duration};
use super::error::to_exception;
use super::progress::Reporter;
use super::report::{set_paths, to_dict};
use super::work::PyWork;
use crate::archive::Compression;
use crate::backup::BackupOptions;
use crate::error::{Error, Result};

/// A stopped backup looks at its progress far more often than this, and then has one file to remove.
const GRACE: Duration = Duration::from_secs(2);

#[pyfunction]
#[pyo3(signature = (path, *, access, stall_timeout, compression, max_rate, progress))]
pub(super) fn backup(
    py: Python<'_>,
    path: PathBuf,
    access: PyAccess,
    stall_timeout: f64,
    compression: Option<String>,
    max_rate: Option<u64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<PyWork> {
    let options =
        options(access, stall_timeout, compression.as_deref(), max_rate).map_err(|error| to_exception(py, &error))?;
    let lasting = format!("the archive {} is whole all the same", path.display());
    let work = |reporter: Arc<Reporter>| async move { crate::backup::backup(&path, &options, reporter).await };
    let work = PyWork::waiting(progress, GRACE, work, |py, mut report| {
        let path = mem::take(&mut report.path);
        let dict = to_dict(py, &report)?;
        set_paths(&dict, &[("path", &path)])?;
        Ok(dict)
    });
    Ok(work.lasting(lasting))
}

fn options(
    access: PyAccess,
    stall_timeout: f64,
    compression: Option<&str>,
    max_rate: Option<u64>,
) -> Result<BackupOptions> {
    let compression = match compression {
        None => None,
        Some("gzip") => Some(Compression::Gzip),
        Some("zstd") => Some(Compression::Zstd),
        Some(other) => return Err(Error::invalid(format!("compression: {other:?} is neither \"gzip\" nor \"zstd\""))),
    };
    Ok(BackupOptions {
        access: access.into_inner()?,
        stall_timeout: duration("--stall-timeout", stall_timeout)?,
        compression,
        max_rate,
    })
}
