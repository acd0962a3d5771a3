//! `_core.restore`.

use std::mem;
use std::path::PathBuf;

use pyo3::prelude::*;

use super::error::settle;
use super::progress::Reporter;
use super::report::{set_paths, to_dict};
use crate::raft::Bootstrap;
use crate::restore::{Repairs, RestoreOptions, Rewrite};

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

#[pyfunction]
#[pyo3(signature = (
    path, *, data_dir, wal_dir, name, initial_cluster, initial_advertise_peer_urls, initial_cluster_token,
    bump_revision, mark_compacted, rewrite, skip_hash_check, dry_run, progress
))]
#[expect(clippy::too_many_arguments, reason = "etcdutl's flags, each by its name")]
pub(super) fn restore(
    py: Python<'_>,
    path: PathBuf,
    data_dir: PathBuf,
    wal_dir: Option<PathBuf>,
    name: String,
    initial_cluster: String,
    initial_advertise_peer_urls: String,
    initial_cluster_token: String,
    bump_revision: Option<u64>,
    mark_compacted: bool,
    rewrite: PyRewrite,
    skip_hash_check: bool,
    dry_run: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'_, PyAny>> {
    let bootstrap = Bootstrap { name, initial_cluster, initial_advertise_peer_urls, initial_cluster_token };
    let options = RestoreOptions {
        data_dir,
        wal_dir,
        bootstrap,
        bump_revision,
        mark_compacted,
        skip_hash_check,
        rewrite: rewrite.into_inner(),
        dry_run,
    };
    let reporter = Reporter::new(progress);
    let result = py.detach(|| crate::restore::restore(&path, &options, &reporter));
    let mut report = settle(py, &reporter, result)?;
    let (path, data_dir, wal_dir) =
        (mem::take(&mut report.path), mem::take(&mut report.data_dir), mem::take(&mut report.wal_dir));
    let dict = to_dict(py, &report)?;
    set_paths(&dict, &[("path", &path), ("data_dir", &data_dir), ("wal_dir", &wal_dir)])?;
    Ok(dict)
}
