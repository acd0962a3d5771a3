//! `_core.open` and `_core.Reader`: an opened snapshot, and `_core.Cursor`: its keys in order.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::arrow::Table;
use super::beside;
use super::error::{closed, settle, to_exception};
use super::progress::Reporter;
use super::report::to_dict;
use super::work::PyWork;
use crate::error::{Error, Result};
use crate::history::{Cursor, Group, HashRule, KeyRange, Row, Stats, Store, Top};
use crate::version::Version;

type Key<'a> = Option<&'a [u8]>;

/// An opened snapshot; private, `dcos_etcd.Snapshot` is its face.
#[pyclass(name = "Reader", module = "dcos_etcd._core", frozen)]
pub(super) struct PyReader {
    path: PathBuf,
    store: Mutex<Option<Arc<Store>>>,
}

/// The keys of a range, a batch at a time; private.
#[pyclass(name = "Cursor", module = "dcos_etcd._core", frozen)]
pub(super) struct PyCursor(Mutex<Cursor>);

impl PyReader {
    pub(super) fn store(&self, py: Python<'_>) -> PyResult<Arc<Store>> {
        let held = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        held.map_or_else(|| Err(closed(py, &self.path)), Ok)
    }

    /// Does `work` without the GIL, stopping for signals.
    fn read<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Arc<Store>, &Reporter) -> Result<T> + Send,
    ) -> PyResult<T> {
        let store = self.store(py)?;
        let reporter = Reporter::new(None);
        let result = py.detach(|| work(&store, &reporter));
        settle(py, &reporter, result)
    }
}

#[pyfunction]
#[pyo3(signature = (path, *, progress))]
pub(super) fn open(path: PathBuf, progress: Option<Py<PyAny>>) -> PyWork {
    let work = move |reporter: &Reporter| Store::open(&path, reporter);
    PyWork::busy(progress, work, |py, store| {
        let path = store.path().to_owned();
        let reader = PyReader { path, store: Mutex::new(Some(Arc::new(store))) };
        Ok(Bound::new(py, reader)?.into_any())
    })
}

#[pymethods]
impl PyReader {
    fn close(&self) {
        drop(self.store.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    #[getter]
    fn closed(&self) -> bool {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn about<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let store = self.store(py)?;
        let about = PyDict::new(py);
        about.set_item("kind", store.kind().as_str())?;
        about.set_item("warnings", store.warnings())?;
        about.set_item("revision", store.current_revision())?;
        about.set_item("compact_revision", store.compact_revision().unwrap_or_default())?;
        about.set_item("size", store.size())?;
        about.set_item("storage_version", store.meta().storage_version.as_deref())?;
        Ok(about)
    }

    fn size_in_use(&self, py: Python<'_>) -> PyResult<u64> {
        self.read(py, |store, reporter| store.size_in_use(reporter))
    }

    fn cluster_version(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.read(py, |store, _| store.cluster_version())
    }

    fn auth_enabled(&self, py: Python<'_>) -> PyResult<bool> {
        self.read(py, |store, _| store.auth().map(|auth| auth.enabled))
    }

    fn members<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.read(py, |store, _| beside::members(store))?)
    }

    fn leases<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let leases = self.read(py, |store, reporter| store.leases(reporter))?;
        let rows = leases.iter().map(|held| {
            let keys: Vec<_> = held.keys.iter().map(|key| PyBytes::new(py, key)).collect();
            (held.lease.id, held.lease.ttl, held.lease.remaining_ttl, keys).into_pyobject(py)
        });
        PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
    }

    fn alarms(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        self.read(py, |store, _| beside::alarms(store))
    }

    fn users(&self, py: Python<'_>) -> PyResult<Vec<(String, Vec<String>, bool)>> {
        self.read(py, |store, _| beside::users(store))
    }

    fn roles<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        beside::role_rows(py, &self.read(py, |store, _| beside::roles(store))?)
    }

    fn resolve(&self, py: Python<'_>, revision: i64) -> PyResult<i64> {
        self.store(py)?.resolve(Some(revision)).map_err(|error| to_exception(py, &error))
    }

    #[pyo3(signature = (*, prefix, start, end, revision))]
    fn count(
        &self,
        py: Python<'_>,
        prefix: Key<'_>,
        start: Key<'_>,
        end: Key<'_>,
        revision: Option<i64>,
    ) -> PyResult<u64> {
        self.read(py, |store, reporter| store.count(&key_range(prefix, start, end)?, revision, reporter))
    }

    fn contains(&self, py: Python<'_>, key: &[u8], revision: Option<i64>) -> PyResult<bool> {
        self.read(py, |store, reporter| store.contains(key, revision, reporter))
    }

    fn get<'py>(&self, py: Python<'py>, key: &[u8], revision: Option<i64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let row = self.read(py, |store, reporter| store.get(key, revision, reporter))?;
        row.map(|row| to_tuple(py, &row)).transpose()
    }

    fn history<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Bound<'py, PyList>> {
        let rows = self.read(py, |store, reporter| store.history(key, reporter))?;
        to_list(py, rows.iter().map(|(row, _)| row))
    }

    #[pyo3(signature = (*, prefix, start, end, revision, limit, keys_only))]
    #[expect(clippy::too_many_arguments, reason = "Range's own, each by its name")]
    fn range(
        &self,
        py: Python<'_>,
        prefix: Key<'_>,
        start: Key<'_>,
        end: Key<'_>,
        revision: Option<i64>,
        limit: Option<u64>,
        keys_only: bool,
    ) -> PyResult<PyCursor> {
        let cursor = self.read(py, |store, reporter| {
            let range = key_range(prefix, start, end)?;
            Cursor::new(Arc::clone(store), &range, revision, limit, keys_only, reporter)
        })?;
        Ok(PyCursor(Mutex::new(cursor)))
    }

    #[pyo3(signature = (*, revision, etcd_version))]
    fn hash_kv<'py>(
        &self,
        py: Python<'py>,
        revision: Option<i64>,
        etcd_version: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let release = |text: &str| {
            let unknown = || Error::invalid(format!("etcd_version: {text:?} is no version such as 3.5.30"));
            Version::parse(text).map(HashRule::of).ok_or_else(unknown)
        };
        let found = self.read(py, |store, reporter| {
            let rule = etcd_version.map(release).transpose()?.unwrap_or_default();
            store.hash_kv(revision, rule, reporter)
        });
        to_dict(py, &found?)
    }

    #[pyo3(signature = (*, prefix, start, end, revision, depth, top, spans))]
    #[expect(clippy::too_many_arguments, reason = "each by its name")]
    fn stats<'py>(
        &self,
        py: Python<'py>,
        prefix: Key<'_>,
        start: Key<'_>,
        end: Key<'_>,
        revision: Option<i64>,
        depth: usize,
        top: usize,
        spans: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let Stats { revision, total, groups, largest, most_rewritten, spans } = self.read(py, |store, reporter| {
            store.stats(&key_range(prefix, start, end)?, revision, depth, top, spans, reporter)
        })?;
        let stats = PyDict::new(py);
        stats.set_item("revision", revision)?;
        stats.set_item("total", figures(py, b"", &total)?)?;
        let groups = groups.iter().map(|(prefix, group)| figures(py, prefix, group));
        stats.set_item("groups", groups.collect::<PyResult<Vec<_>>>()?)?;
        stats.set_item("largest", tops(py, &largest))?;
        stats.set_item("most_rewritten", tops(py, &most_rewritten))?;
        let spans =
            spans.iter().map(|span| (span.first, span.last, span.versions, span.tombstones, span.version_bytes));
        stats.set_item("spans", spans.collect::<Vec<_>>())?;
        Ok(stats)
    }

    #[pyo3(signature = (*, prefix, start, end, revision, history, keys_only))]
    #[expect(clippy::too_many_arguments, reason = "each by its name")]
    fn arrow(
        &self,
        py: Python<'_>,
        prefix: Key<'_>,
        start: Key<'_>,
        end: Key<'_>,
        revision: Option<i64>,
        history: bool,
        keys_only: bool,
    ) -> PyResult<Table> {
        let store = self.store(py)?;
        let checked = key_range(prefix, start, end).and_then(|range| Ok((range, store.resolve(revision)?)));
        let (range, revision) = checked.map_err(|error| to_exception(py, &error))?;
        Ok(Table::new(store, range, revision, history, keys_only))
    }
}

#[pymethods]
impl PyCursor {
    /// The next rows; an empty list at the end.
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let rows = self.next(py, |cursor, reporter| cursor.next_batch(reporter))?;
        to_list(py, rows.iter())
    }

    /// The next keys alone, out of the index; an empty list at the end.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let keys = self.next(py, |cursor, _| Ok(cursor.next_keys()))?;
        PyList::new(py, keys.iter().map(|key| PyBytes::new(py, key)))
    }
}

impl PyCursor {
    fn next<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Cursor, &Reporter) -> Result<T> + Send,
    ) -> PyResult<T> {
        let reporter = Reporter::new(None);
        let result = py.detach(|| work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), &reporter));
        settle(py, &reporter, result)
    }
}

fn key_range(prefix: Key<'_>, start: Key<'_>, end: Key<'_>) -> Result<KeyRange> {
    match (prefix, start, end) {
        (Some(prefix), None, None) => Ok(KeyRange::prefix(prefix)),
        (None, start, end) => Ok(KeyRange::between(start.unwrap_or_default(), end)),
        _ => Err(Error::invalid("prefix stands alone, without start and end")),
    }
}

/// The fields of `dcos_etcd.Entry`.
fn to_tuple<'py>(py: Python<'py>, row: &Row) -> PyResult<Bound<'py, PyAny>> {
    let (key, value) = (PyBytes::new(py, &row.key), PyBytes::new(py, &row.value));
    let tuple = (key, value, row.create_revision, row.mod_revision, row.version, row.lease);
    Ok(tuple.into_pyobject(py)?.into_any())
}

fn to_list<'py, 'a>(py: Python<'py>, rows: impl ExactSizeIterator<Item = &'a Row>) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for row in rows {
        list.append(to_tuple(py, row)?)?;
    }
    Ok(list)
}

fn figures<'py>(py: Python<'py>, prefix: &[u8], group: &Group) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("prefix", PyBytes::new(py, prefix))?;
    for (name, figure) in [
        ("keys", group.keys),
        ("key_bytes", group.key_bytes),
        ("value_bytes", group.value_bytes),
        ("versions", group.versions),
        ("tombstones", group.tombstones),
        ("version_bytes", group.version_bytes),
    ] {
        dict.set_item(name, figure)?;
    }
    Ok(dict)
}

fn tops<'py>(py: Python<'py>, tops: &[Top]) -> Vec<(Bound<'py, PyBytes>, u64)> {
    tops.iter().map(|top| (PyBytes::new(py, &top.key), top.figure)).collect()
}
