//! The networked verbs against servers: a fake one for faults that a real etcd can't be made to show, and real ones.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed unwrap in a test is a failed test, and a skipped test says so"
)]

mod choosing;
mod fake_etcd;
mod hostile;
mod live;
mod real_etcd;
mod streams;
mod support;
