//! `_core.ask`, `_core.compare` and `_core.Comparison`: what differs between two key spaces, as it is found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::access::PyAccess;
use super::beside::Beside;
use super::error::to_exception;
use super::progress::Reporter;
use super::reader::PyReader;
use super::report::to_dict;
use super::work::PyWork;
use crate::client::{Access, LiveKeys};
use crate::compare::{Comparison, Found, Source};
use crate::error::Result;
use crate::history::{Digest, KeyRange, Store};
use crate::progress::Progress;

/// A comparison, begun; private, `dcos_etcd.compare` is its face.
#[pyclass(name = "Comparison", module = "dcos_etcd._core", frozen)]
pub(super) struct PyComparison {
    /// Absent while it is being worked on, and for good when that was given up.
    comparison: Arc<Mutex<Option<Comparison>>>,
    revisions: (i64, i64),
    states: Pair<Beside>,
}

/// Something of A and of B, where they have it.
type Pair<T> = (Option<T>, Option<T>);

/// One side: an opened snapshot or a cluster.
#[derive(FromPyObject)]
pub(super) enum PySide<'py> {
    Stored(Bound<'py, PyReader>),
    Live(PyAccess),
}

/// The same, free of Python.
enum Side {
    Stored(Arc<Store>),
    Live(Access),
}

/// Asks a cluster for its newest revision, with the right to read `prefix` at `revision`: one that does not answer should
/// be told of before files are read for minutes.
#[pyfunction]
#[pyo3(signature = (access, *, prefix, revision))]
pub(super) fn ask(py: Python<'_>, access: PyAccess, prefix: &[u8], revision: Option<i64>) -> PyResult<PyWork> {
    let range = KeyRange::prefix(prefix);
    let access = access.into_inner().map_err(|error| to_exception(py, &error))?;
    let work = |_| async move {
        let keys = LiveKeys::open(&access, range.start(), range.end_key(), revision).await?;
        Ok(keys.current_revision())
    };
    Ok(PyWork::waiting(None, Duration::ZERO, work, |py, revision| Ok(revision.into_pyobject(py)?.into_any())))
}

#[pyfunction]
#[pyo3(signature = (a, b, *, prefix, revision_a, revision_b, values, state, progress))]
#[expect(clippy::too_many_arguments, reason = "each by its name")]
pub(super) fn compare(
    py: Python<'_>,
    a: PySide<'_>,
    b: PySide<'_>,
    prefix: &[u8],
    revision_a: Option<i64>,
    revision_b: Option<i64>,
    values: bool,
    state: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<PyWork> {
    let range = KeyRange::prefix(prefix);
    let (a, b) = (a.into_inner(py)?, b.into_inner(py)?);
    let work = |reporter: Arc<Reporter>| async move {
        let open_a = async |a: Side| a.open(&range, revision_a, state, &*reporter).await;
        let open_b = async |b: Side| b.open(&range, revision_b, state, &*reporter).await;
        // The index of a file may take minutes. A cluster's revision, chosen before, might be compacted by then.
        let ((a, state_a), (b, state_b)) = match (a, b) {
            (a @ Side::Live(_), b) => {
                let b = open_b(b).await?;
                (open_a(a).await?, b)
            }
            (a, b) => (open_a(a).await?, open_b(b).await?),
        };
        Ok((Comparison::new(a, b, values), (state_a, state_b)))
    };
    Ok(PyWork::mixed(progress, Duration::ZERO, work, |py, (comparison, states)| {
        let revisions = comparison.revisions();
        let comparison = Arc::new(Mutex::new(Some(comparison)));
        Ok(Bound::new(py, PyComparison { comparison, revisions, states })?.into_any())
    }))
}

#[pymethods]
impl PyComparison {
    /// The revisions that are compared.
    #[getter]
    fn revisions(&self) -> (i64, i64) {
        self.revisions
    }

    /// The next differences; an empty list at the end.
    #[pyo3(signature = (*, progress))]
    fn next(&self, progress: Option<Py<PyAny>>) -> PyResult<PyWork> {
        let in_use = || PyRuntimeError::new_err("the comparison is in use");
        let mut comparison = slot(&self.comparison).take().ok_or_else(in_use)?;
        let place = Arc::clone(&self.comparison);
        let work = |reporter: Arc<Reporter>| async move {
            let found = comparison.next(&*reporter).await;
            *slot(&place) = Some(comparison);
            found
        };
        Ok(PyWork::mixed(progress, Duration::ZERO, work, |py, found| {
            let rows = found.into_iter().map(|found| to_row(py, found));
            Ok(PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)?.into_any())
        }))
    }

    /// What was counted so far.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let counts = slot(&self.comparison).as_ref().map(Comparison::counts).unwrap_or_default();
        to_dict(py, &counts)
    }

    /// What each side holds beside its keys, if that was asked for.
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Pair<Bound<'py, PyAny>>> {
        let state = |state: &Option<Beside>| state.as_ref().map(|state| state.to_dict(py)).transpose();
        Ok((state(&self.states.0)?, state(&self.states.1)?))
    }
}

fn slot(comparison: &Mutex<Option<Comparison>>) -> MutexGuard<'_, Option<Comparison>> {
    comparison.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PySide<'_> {
    fn into_inner(self, py: Python<'_>) -> PyResult<Side> {
        match self {
            Self::Stored(reader) => Ok(Side::Stored(reader.get().store(py)?)),
            Self::Live(access) => access.into_inner().map(Side::Live).map_err(|error| to_exception(py, &error)),
        }
    }
}

impl Side {
    async fn open(
        self,
        range: &KeyRange,
        revision: Option<i64>,
        state: bool,
        progress: &dyn Progress,
    ) -> Result<(Source, Option<Beside>)> {
        match self {
            Self::Stored(store) => {
                let source = Source::stored(Arc::clone(&store), range, revision, progress)?;
                let state = if state { Some(Beside::stored(&store, progress)?) } else { None };
                Ok((source, state))
            }
            Self::Live(access) => {
                let keys = LiveKeys::open(&access, range.start(), range.end_key(), revision).await?;
                let state = if state { Some(Beside::live(keys.state().await?)) } else { None };
                Ok((Source::live(keys), state))
            }
        }
    }
}

/// `(change, key, a, b)`, each side as `(size, value, create_revision, mod_revision, version, lease)`.
fn to_row(py: Python<'_>, found: Found) -> PyResult<Bound<'_, PyAny>> {
    let Found { difference, value_a, value_b } = found;
    let side = |digest: Option<Digest>, value: Option<Vec<u8>>| {
        digest.map(|digest| {
            let value = value.map(|value| PyBytes::new(py, &value));
            let Digest { size, create_revision, mod_revision, version, lease, .. } = digest;
            (size, value, create_revision, mod_revision, version, lease)
        })
    };
    let key = PyBytes::new(py, &difference.key);
    let row = (difference.change.as_str(), key, side(difference.a, value_a), side(difference.b, value_b));
    Ok(row.into_pyobject(py)?.into_any())
}
