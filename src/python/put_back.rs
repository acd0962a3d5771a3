//! `_core.plan_put_back` and `_core.PutBackPlan`: what would be written into a cluster, and the writing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::access::PyAccess;
use super::error::to_exception;
use super::progress::Reporter;
use super::reader::PyReader;
use super::report::to_dict;
use super::work::PyWork;
use crate::put_back::{Conflict, Plan, Planned, PutBackOptions, PutBackReport, Unanswered};

/// A stopped run ends before its next transaction, and waits no longer than this for the answer to the last one.
const GRACE: Duration = Duration::from_millis(500);
/// Changes that are handed over at once.
const MOST: usize = 1024;

/// A plan; private, `dcos_etcd.PutBackPlan` is its face.
#[pyclass(name = "PutBackPlan", module = "dcos_etcd._core", frozen)]
pub(super) struct PyPutBackPlan {
    plan: Arc<Plan>,
    /// What the last `apply` has done.
    applied: Mutex<Option<Arc<Mutex<PutBackReport>>>>,
}

#[pyfunction]
#[pyo3(signature = (reader, *, access, prefix, revision, delete_extra, skip_hash_check, progress))]
#[expect(clippy::too_many_arguments, reason = "each by its name")]
pub(super) fn plan_put_back(
    py: Python<'_>,
    reader: Bound<'_, PyReader>,
    access: PyAccess,
    prefix: Vec<u8>,
    revision: Option<i64>,
    delete_extra: bool,
    skip_hash_check: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<PyWork> {
    let store = reader.get().store(py)?;
    let access = access.into_inner().map_err(|error| to_exception(py, &error))?;
    let options = PutBackOptions { access, prefix, revision, delete_extra, skip_hash_check };
    let work = |reporter: Arc<Reporter>| async move { Plan::new(store, &options, &*reporter).await };
    Ok(PyWork::mixed(progress, Duration::ZERO, work, |py, plan| {
        Ok(Bound::new(py, PyPutBackPlan { plan: Arc::new(plan), applied: Mutex::default() })?.into_any())
    }))
}

#[pymethods]
impl PyPutBackPlan {
    fn about<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let about = to_dict(py, &self.plan.counts())?;
        about.set_item("revision", self.plan.revision())?;
        about.set_item("cluster_revision", self.plan.cluster_revision())?;
        about.set_item("endpoint", self.plan.endpoint())?;
        Ok(about)
    }

    /// The changes from `first` on, `(action, key, size, mod_revision)`; an empty list at the end.
    fn changes<'py>(&self, py: Python<'py>, first: usize) -> PyResult<Bound<'py, PyList>> {
        let planned = (first..).map_while(|at| self.plan.get(at)).take(MOST);
        let rows = planned.map(|Planned { key, action, mod_revision, size, lease: _ }| {
            (action.as_str(), PyBytes::new(py, key), size, mod_revision).into_pyobject(py)
        });
        PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
    }

    #[pyo3(signature = (*, progress))]
    fn apply(&self, progress: Option<Py<PyAny>>) -> PyWork {
        let (plan, report) = (Arc::clone(&self.plan), Arc::default());
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&report));
        let work = |reporter: Arc<Reporter>| async move { plan.apply(&report, &*reporter).await };
        let work = PyWork::mixed(progress, GRACE, work, |py, ()| Ok(py.None().into_bound(py)));
        work.lasting("the put-back is done all the same".to_owned())
    }

    /// What the last `apply` has done so far; `None` before there was one.
    fn applied<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let report = applied.map(|report| report.lock().unwrap_or_else(PoisonError::into_inner).clone());
        report.map(|report| told(py, report)).transpose()
    }
}

fn told(py: Python<'_>, report: PutBackReport) -> PyResult<Bound<'_, PyAny>> {
    let PutBackReport { created, updated, deleted, settled, detached, transactions, conflicts, unanswered } = report;
    let dict = PyDict::new(py);
    for (name, figure) in [
        ("created", created),
        ("updated", updated),
        ("deleted", deleted),
        ("settled", settled),
        ("detached", detached),
        ("transactions", transactions),
    ] {
        dict.set_item(name, figure)?;
    }
    let conflict = |Conflict { key, action, planned, found }: &Conflict| {
        (PyBytes::new(py, key), action.as_str(), *planned, *found)
    };
    dict.set_item("conflicts", conflicts.iter().map(conflict).collect::<Vec<_>>())?;
    let unanswered = unanswered.into_iter().map(|Unanswered { endpoint, creates }| (endpoint, creates));
    dict.set_item("unanswered", unanswered.collect::<Vec<_>>())?;
    Ok(dict.into_any())
}
