//! `_core.Table`: revisions as a stream of Arrow record batches, through the PyCapsule interface.
//!
//! Whoever takes the stream (pyarrow, pandas, polars, DuckDB) calls it without Python between the batches.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::{BinaryBuilder, BooleanBuilder, Int64Builder};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::error::{no_thread, settle};
use super::progress::{PERIOD, Reporter};
use crate::error::Result;
use crate::history::{KeyRange, Scan, Store, Stored};
use crate::progress::{Progress, Stage};
use crate::threads::start;

/// Rows of a batch.
const ROWS: usize = 1 << 16;
/// Bytes of keys and values of a batch, one row at least: below what 32-bit offsets reach.
const BYTES: usize = 8 << 20;
/// Batches that are made ahead of whoever takes them.
const AHEAD: usize = 2;

/// What can be streamed, any number of times.
#[pyclass(module = "dcos_etcd._core", frozen)]
pub(super) struct Table {
    store: Arc<Store>,
    range: KeyRange,
    revision: i64,
    history: bool,
    keys_only: bool,
}

impl Table {
    pub(super) fn new(store: Arc<Store>, range: KeyRange, revision: i64, history: bool, keys_only: bool) -> Self {
        Self { store, range, revision, history, keys_only }
    }

    fn schema(&self) -> Schema {
        let number = |name: &str| Field::new(name, DataType::Int64, false);
        let mut fields = vec![Field::new("key", DataType::Binary, false)];
        if !self.keys_only {
            fields.push(Field::new("value", DataType::Binary, false));
        }
        fields.extend(["create_revision", "mod_revision", "version", "lease"].map(number));
        if self.history {
            fields.push(Field::new("deleted", DataType::Boolean, false));
        }
        Schema::new(fields)
    }
}

#[pymethods]
impl Table {
    /// Gives a new stream; what schema is wished for is left to whoever takes it.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let reporter = Reporter::new(None);
        let (store, range) = (Arc::clone(&self.store), self.range.clone());
        let scan = if self.history {
            Ok(Scan::history(store, range).until(self.revision))
        } else {
            py.detach(|| Scan::live(store, range, Some(self.revision), &reporter))
        };
        let scan = settle(py, &reporter, scan)?;
        let batches = Batches::start(scan, Arc::new(self.schema()), self.history, self.keys_only)
            .map_err(|error| no_thread(py, &error))?;
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(batches)), c"arrow_array_stream")
    }
}

/// Ends the thread that reads, once nobody wants what it makes any more.
#[derive(Default)]
struct End(AtomicBool);

impl End {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Progress for End {
    fn update(&self, _stage: Stage, _done: u64, _total: Option<u64>) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// Takes the batches that a thread of its own makes.
struct Batches {
    schema: SchemaRef,
    end: Arc<End>,
    ready: Mutex<Receiver<Result<Columns>>>,
    history: bool,
    keys_only: bool,
    reporter: Reporter,
}

impl Batches {
    fn start(mut scan: Scan, schema: SchemaRef, history: bool, keys_only: bool) -> io::Result<Self> {
        let (sender, ready) = sync_channel(AHEAD);
        let end = Arc::new(End::default());
        let ends = Arc::clone(&end);
        let work = move || {
            while !scan.is_done() {
                let mut columns = Columns::default();
                let read = scan.next(&*ends, &mut |stored| columns.push(&stored, history, keys_only));
                let failed = read.is_err();
                // Sending fails when the stream was let go of.
                if sender.send(read.map(|()| columns)).is_err() || failed {
                    return;
                }
            }
        };
        start("dcos-etcd-arrow", work)?;
        Ok(Self { schema, end, ready: Mutex::new(ready), history, keys_only, reporter: Reporter::new(None) })
    }

    /// Whoever takes the stream cannot pass an exception of Python on: the signal is raised again, for the interpreter to
    /// see as soon as it is back in control.
    fn interrupted(&self) -> Option<ArrowError> {
        if self.reporter.attend() {
            return None;
        }
        self.end.set();
        let again = Python::attach(|py| py.import("_thread")?.call_method0("interrupt_main").map(drop));
        let told = again.map_or_else(|error| error.to_string(), |()| "interrupted".to_owned());
        Some(ArrowError::ExternalError(told.into()))
    }
}

impl Iterator for Batches {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = loop {
            if let Some(error) = self.interrupted() {
                return Some(Err(error));
            }
            match self.ready.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PERIOD) {
                Ok(next) => break next,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        };
        let columns = match next {
            Ok(columns) => columns.finish(self.history, self.keys_only),
            Err(error) => return Some(Err(ArrowError::ExternalError(Box::new(error)))),
        };
        Some(RecordBatch::try_new(Arc::clone(&self.schema), columns))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.end.set();
    }
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The columns of a batch that is being filled.
#[derive(Default)]
struct Columns {
    key: BinaryBuilder,
    value: BinaryBuilder,
    create_revision: Int64Builder,
    mod_revision: Int64Builder,
    version: Int64Builder,
    lease: Int64Builder,
    deleted: BooleanBuilder,
    rows: usize,
    bytes: usize,
}

impl Columns {
    fn push(&mut self, stored: &Stored<'_>, history: bool, keys_only: bool) -> ControlFlow<()> {
        let kv = &stored.kv;
        self.key.append_value(kv.key);
        if !keys_only {
            self.value.append_value(kv.value);
            self.bytes += kv.value.len();
        }
        self.create_revision.append_value(kv.create_revision);
        self.mod_revision.append_value(stored.mod_revision());
        self.version.append_value(kv.version);
        self.lease.append_value(kv.lease);
        if history {
            self.deleted.append_value(stored.at.tombstone);
        }
        self.rows += 1;
        self.bytes += kv.key.len();
        if self.rows < ROWS && self.bytes < BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn finish(mut self, history: bool, keys_only: bool) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.key.finish())];
        if !keys_only {
            columns.push(Arc::new(self.value.finish()));
        }
        columns.push(Arc::new(self.create_revision.finish()));
        columns.push(Arc::new(self.mod_revision.finish()));
        columns.push(Arc::new(self.version.finish()));
        columns.push(Arc::new(self.lease.finish()));
        if history {
            columns.push(Arc::new(self.deleted.finish()));
        }
        columns
    }
}
