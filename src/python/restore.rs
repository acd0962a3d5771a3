//! `_core.restore`.

use std::mem;
use std::path::PathBuf;

use pyo3::prelude::*;

use super::error::to_exception;
use super::progress::Reporter;
use super::report::{set_paths, to_dict};
use super::work::PyWork;
use crate::error::{Error, Result};
use crate::raft::Bootstrap;
use crate::restore::{Existing, Handover, Owner, Repairs, RestoreOptions, Rewrite};

/// The attributes of `dcos_etcd._rewrite.Rewrite`.
#[derive(FromPyObject)]
pub(super) struct PyRewrite {
    revision: Option<i64>,
    prefixes: Vec<Vec<u8>>,
    exclude_prefixes: Vec<Vec<u8>>,
    compact: bool,
    repairs: PyRepairs,
}

/// The attributes of `dcos_etcd._rewrite.Repairs`.
#[derive(FromPyObject)]
struct PyRepairs {
    clear_alarms: bool,
    disable_auth: bool,
    drop_leases: bool,
}

impl PyRewrite {
    /// The core's own.
    fn into_inner(self) -> Rewrite {
        Rewrite {
            revision: self.revision,
            prefixes: self.prefixes,
            exclude_prefixes: self.exclude_prefixes,
            compact: self.compact,
            repairs: Repairs {
                clear_alarms: self.repairs.clear_alarms,
                disable_auth: self.repairs.disable_auth,
                drop_leases: self.repairs.drop_leases,
            },
        }
    }
}

/// An object with methods `before` and `after`, or nothing.
struct PyHandover<'a> {
    reporter: &'a Reporter,
    object: Option<Py<PyAny>>,
}

impl PyHandover<'_> {
    fn call(&self, method: &str) -> Result<()> {
        let Some(object) = &self.object else { return Ok(()) };
        self.reporter.call(|py| object.call_method0(py, method).map(drop))
    }
}

impl Handover for PyHandover<'_> {
    fn before(&self) -> Result<()> {
        self.call("before")
    }

    fn after(&self) -> Result<()> {
        self.call("after")
    }
}

fn existing(text: &str) -> Result<Existing> {
    match text {
        "refuse" => Ok(Existing::Refuse),
        "keep" => Ok(Existing::Keep),
        "discard" => Ok(Existing::Discard),
        other => Err(Error::invalid(format!("existing: {other:?} is neither \"refuse\", \"keep\" nor \"discard\""))),
    }
}

#[pyfunction]
#[pyo3(signature = (
    path, *, data_dir, wal_dir, existing, carry_over, owner, handover, name, initial_cluster, initial_advertise_peer_urls, initial_cluster_token, derive_token,
    bump_revision, mark_compacted, rewrite, skip_hash_check, dry_run, progress
))]
#[expect(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "flags, each by its name")]
pub(super) fn restore(
    py: Python<'_>,
    path: PathBuf,
    data_dir: PathBuf,
    wal_dir: Option<PathBuf>,
    existing: String,
    carry_over: Vec<String>,
    owner: Option<(u32, u32)>,
    handover: Option<Py<PyAny>>,
    name: String,
    initial_cluster: String,
    initial_advertise_peer_urls: String,
    initial_cluster_token: String,
    derive_token: bool,
    bump_revision: Option<u64>,
    mark_compacted: bool,
    rewrite: PyRewrite,
    skip_hash_check: bool,
    dry_run: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<PyWork> {
    let bootstrap = Bootstrap { name, initial_cluster, initial_advertise_peer_urls, initial_cluster_token };
    let options = RestoreOptions {
        data_dir,
        existing: self::existing(&existing).map_err(|error| to_exception(py, &error))?,
        carry_over,
        owner: owner.map(|(user, group)| Owner { user, group }),
        wal_dir,
        bootstrap,
        derive_token,
        bump_revision,
        mark_compacted,
        skip_hash_check,
        rewrite: rewrite.into_inner(),
        dry_run,
    };
    let lasting = format!("the data directory {} is whole and in its place all the same", options.data_dir.display());
    let work = move |reporter: &Reporter| {
        let handover = PyHandover { reporter, object: handover };
        crate::restore::restore_with(&path, &options, reporter, &handover)
    };
    let work = PyWork::busy(progress, work, |py, mut report| {
        let replaced = report.replaced.take();
        let (path, data_dir, wal_dir) =
            (mem::take(&mut report.path), mem::take(&mut report.data_dir), mem::take(&mut report.wal_dir));
        let dict = to_dict(py, &report)?;
        set_paths(&dict, &[("path", &path), ("data_dir", &data_dir), ("wal_dir", &wal_dir)])?;
        dict.set_item("replaced", replaced)?;
        Ok(dict)
    });
    Ok(if dry_run { work } else { work.lasting(lasting) })
}
