//! The extension module `dcos_etcd._core`: the only place that knows pyo3.
//!
//! Each verb converts its arguments and gives a [`Work`](work::PyWork): one function of the core, which is called with
//! the GIL released when somebody waits for it or awaits it, and what becomes of the answer. A report crosses as JSON
//! and arrives as a `dict`, an [`Error`](crate::Error) becomes an exception of `dcos_etcd.exceptions`. Nothing here
//! decides anything about snapshots or clusters.

#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

mod access;
mod arrow;
mod backup;
mod beside;
mod compare;
mod compose;
mod diagnose;
mod error;
mod inspect;
mod member_list;
mod progress;
mod put_back;
mod reader;
mod report;
mod restore;
mod runtime;
mod status;
mod verify;
mod work;

/// The Rust core behind the verbs. Private; `dcos_etcd.api` is the way in.
#[pyo3::pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::arrow::Table;
    #[pymodule_export]
    use super::backup::backup;
    #[pymodule_export]
    use super::compare::{PyComparison, ask, compare};
    #[pymodule_export]
    use super::compose::make_snapshot;
    #[pymodule_export]
    use super::diagnose::diagnose;
    #[pymodule_export]
    use super::inspect::in_use;
    #[pymodule_export]
    use super::inspect::inspect;
    #[pymodule_export]
    use super::member_list::member_list;
    #[pymodule_export]
    use super::put_back::{PyPutBackPlan, plan_put_back};
    #[pymodule_export]
    use super::reader::{PyCursor, PyReader, open};
    #[pymodule_export]
    use super::restore::restore;
    #[pymodule_export]
    use super::runtime::leave;
    #[pymodule_export]
    use super::status::status;
    #[pymodule_export]
    use super::verify::verify;
    #[pymodule_export]
    use super::work::PyWork;

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
