//! "So many bytes of so many: go on or stop."
//!
//! Long work reports through this trait and asks it for leave to continue. The core knows neither signals nor
//! Python: the binding's implementation looks for both.

use crate::error::{Error, Result};

/// What is being done while bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes of the snapshot stream of a server are going into an archive.
    Receive,
    /// Bytes of a snapshot are read out of its file, or keys and values out of a live cluster.
    Read,
    /// Pages of the database are checked.
    Check,
    /// A part of the snapshot is written: into a database of its own, or into a live cluster.
    Write,
    /// Written files are put on stable storage.
    Sync,
}

impl Stage {
    /// The word that Python callbacks and progress bars show.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Read => "read",
            Self::Check => "check",
            Self::Write => "write",
            Self::Sync => "sync",
        }
    }
}

/// Told how far the work is; says whether to go on.
///
/// Called at least once a mebibyte and, by networked work, on a timer while the server is silent.
pub trait Progress: Send + Sync {
    /// `done` bytes of `total` (if known) of `stage`. `false` stops the work.
    fn update(&self, stage: Stage, done: u64, total: Option<u64>) -> bool;

    /// [`Progress::update`] as a `?`-able step.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when told to stop.
    fn step(&self, stage: Stage, done: u64, total: Option<u64>) -> Result<()> {
        if self.update(stage, done, total) { Ok(()) } else { Err(Error::Interrupted) }
    }
}

/// Listens to nothing and never stops anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn update(&self, _stage: Stage, _done: u64, _total: Option<u64>) -> bool {
        true
    }
}
