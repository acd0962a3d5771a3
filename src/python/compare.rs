//! `_core.Comparison`: what differs between two key spaces, as it is found.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::access::PyAccess;
use super::error::to_exception;
use super::progress::Reporter;
use super::reader::PyReader;
use super::report::to_dict;
use super::runtime::drive;
use crate::client::{LiveKeys, LivePermission, LiveState};
use crate::compare::{Comparison, Found, Source};
use crate::error::Result;
use crate::hex::hex_id;
use crate::history::{Digest, KeyRange};

/// A comparison, begun; private, `dcos_etcd.compare` is its face.
#[pyclass(name = "Comparison", module = "dcos_etcd._core", frozen)]
pub(super) struct PyComparison {
    /// Absent while it is being worked on.
    comparison: Mutex<Option<Comparison>>,
    revisions: (i64, i64),
    states: Pair<LiveState>,
    progress: Option<Py<PyAny>>,
}

/// Something of A and of B, where they have it.
type Pair<T> = (Option<T>, Option<T>);

/// One side: an opened snapshot or a cluster.
#[derive(FromPyObject)]
pub(super) enum PySide<'py> {
    Stored(Bound<'py, PyReader>),
    Live(PyAccess),
}

#[pymethods]
impl PyComparison {
    #[new]
    #[pyo3(signature = (a, b, *, prefix, revision_a, revision_b, values, state, progress))]
    #[expect(clippy::too_many_arguments, reason = "each by its name")]
    fn open(
        py: Python<'_>,
        a: PySide<'_>,
        b: PySide<'_>,
        prefix: &[u8],
        revision_a: Option<i64>,
        revision_b: Option<i64>,
        values: bool,
        state: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let range = KeyRange::prefix(prefix);
        let (a, state_a) = source(py, a, &range, revision_a, state, progress.as_ref())?;
        let (b, state_b) = source(py, b, &range, revision_b, state, progress.as_ref())?;
        let comparison = Comparison::new(a, b, values);
        let (revisions, states) = (comparison.revisions(), (state_a, state_b));
        Ok(Self { comparison: Mutex::new(Some(comparison)), revisions, states, progress })
    }

    /// The revisions that are compared.
    #[getter]
    fn revisions(&self) -> (i64, i64) {
        self.revisions
    }

    /// The next differences; an empty list at the end.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut comparison = self.slot().take().ok_or_else(|| PyRuntimeError::new_err("the comparison is in use"))?;
        let reporter = Reporter::new(self.progress.as_ref().map(|callback| callback.clone_ref(py)));
        let found = drive(py, &reporter, Duration::ZERO, comparison.next(&reporter));
        *self.slot() = Some(comparison);
        let rows = found?.into_iter().map(|found| to_row(py, found));
        PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
    }

    /// What was counted so far.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let counts = self.slot().as_ref().map(Comparison::counts).unwrap_or_default();
        to_dict(py, &counts)
    }

    /// What each side holds beside its keys, if it is a cluster and that was asked for.
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Pair<Bound<'py, PyAny>>> {
        let state = |state: &Option<LiveState>| state.as_ref().map(|state| to_state(py, state)).transpose();
        Ok((state(&self.states.0)?, state(&self.states.1)?))
    }
}

impl PyComparison {
    fn slot(&self) -> MutexGuard<'_, Option<Comparison>> {
        self.comparison.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn source(
    py: Python<'_>,
    side: PySide<'_>,
    range: &KeyRange,
    revision: Option<i64>,
    state: bool,
    progress: Option<&Py<PyAny>>,
) -> PyResult<(Source, Option<LiveState>)> {
    let reporter = Reporter::new(progress.map(|callback| callback.clone_ref(py)));
    match side {
        PySide::Stored(reader) => {
            let store = reader.get().store(py)?;
            let opened = async { Source::stored(store, range, revision, &reporter) };
            Ok((drive(py, &reporter, Duration::ZERO, opened)?, None))
        }
        PySide::Live(access) => {
            let access = access.into_inner().map_err(|error| to_exception(py, &error))?;
            let opened = async {
                let keys = LiveKeys::open(&access, range.start(), range.end_key(), revision).await?;
                let state = if state { Some(keys.state().await?) } else { None };
                Result::Ok((Source::live(keys), state))
            };
            drive(py, &reporter, Duration::ZERO, opened)
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

/// In the shapes in which `_core.Reader` tells the same of a snapshot; users and leases without what a cluster does not
/// tell.
fn to_state<'py>(py: Python<'py>, state: &LiveState) -> PyResult<Bound<'py, PyAny>> {
    let dict = PyDict::new(py);
    let members = state.members.iter().map(|member| {
        (hex_id(member.id), &member.name, &member.peer_urls, &member.client_urls, member.is_learner).into_pyobject(py)
    });
    dict.set_item("members", members.collect::<PyResult<Vec<_>>>()?)?;
    let alarms = state.alarms.iter().map(|alarm| (&alarm.member_id_hex, &alarm.alarm));
    dict.set_item("alarms", alarms.collect::<Vec<_>>())?;
    dict.set_item("leases", &state.leases)?;
    dict.set_item("users", &state.users)?;
    let permission = |one: &LivePermission| (one.kind, PyBytes::new(py, &one.key), PyBytes::new(py, &one.range_end));
    let roles =
        state.roles.iter().map(|(name, permissions)| (name, permissions.iter().map(permission).collect::<Vec<_>>()));
    dict.set_item("roles", roles.collect::<Vec<_>>())?;
    dict.set_item("storage_version", &state.storage_version)?;
    Ok(dict.into_any())
}
