//! The one error of the crate.
//!
//! A variant exists for every answer to "what would the caller do now?", and carries the numbers that the
//! answer needs. Messages are lower-case clauses without a full stop; the text of a cause comes after `": "`.
//! No message holds a secret, a key or a value.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::defect::Defect;

/// What the crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused: permissions, space, a missing directory.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb in its -ing form: `"writing"`.
        action: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// The system's own error; its `raw_os_error` reaches Python as `errno`.
        #[source]
        source: io::Error,
    },

    /// The destination of a backup exists; nothing is ever overwritten.
    #[error("{} exists already; choose another name or move it away", path.display())]
    ArchiveExists {
        /// The destination.
        path: PathBuf,
    },

    /// The destination of a restore is in use.
    #[error("{message}")]
    DataDirNotEmpty {
        /// The data or WAL directory.
        path: PathBuf,
        /// etcd's words for it.
        message: String,
    },

    /// A member, or another restore, works in the directory right now.
    #[error("{message}")]
    InUse {
        /// The data or WAL directory.
        path: PathBuf,
        /// By what it is known, and what to do.
        message: String,
    },

    /// The file system has no room for what is to be written.
    #[error(
        "no space for a restore below {}: it needs {needed} bytes and {free} are free; make room, or restore elsewhere",
        path.display()
    )]
    NoSpace {
        /// The destination, or where an archive would be unpacked.
        path: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },

    /// A value that the caller gave makes no sense, alone or beside another one.
    #[error("{message}")]
    InvalidArgument {
        /// What is wrong, naming the option as the command line spells it.
        message: String,
    },

    /// The plan of the new cluster contradicts itself; the words are those of etcd's `VerifyBootstrap`.
    #[error("{message}")]
    Bootstrap {
        /// etcd's own message.
        message: String,
    },

    /// The file is nothing that holds an etcd snapshot.
    #[error("{} is not an etcd snapshot: {reason}", path.display())]
    NotASnapshot {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },

    /// The snapshot carries no SHA-256, so nothing tells whether it is whole.
    #[error(
        "{}: snapshot missing hash but --skip-hash-check=false (a db copied out of a data directory has none)",
        path.display()
    )]
    MissingHash {
        /// The file.
        path: PathBuf,
    },

    /// The file is or was a snapshot, and is damaged.
    #[error("{} is damaged: {}", path.display(), summary(defects))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Every defect that was found, at least one.
        defects: Vec<Defect>,
    },

    /// The database is of a later etcd than this release knows.
    #[error(
        "{}: storage version {found} is newer than {supported}, the newest that this release reads",
        path.display()
    )]
    StorageVersion {
        /// The file.
        path: PathBuf,
        /// What the database says.
        found: String,
        /// The newest that is known.
        supported: &'static str,
    },

    /// A revision that was asked for is gone.
    #[error("required revision has been compacted: revision {revision} is below {compact_revision}")]
    Compacted {
        /// What was asked for.
        revision: i64,
        /// The oldest revision that can be read.
        compact_revision: i64,
    },

    /// A revision that was asked for is not there yet.
    #[error("required revision is a future revision: revision {revision} is above {current_revision}")]
    FutureRevision {
        /// What was asked for.
        revision: i64,
        /// The newest revision that can be read.
        current_revision: i64,
    },

    /// Somebody writes to the database that is being read.
    #[error(
        "{} was written to while it was read, transaction {before} became {now}: read a backup of it, or stop etcd",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Transaction that was opened.
        before: u64,
        /// Transaction that is there now.
        now: u64,
    },

    /// No endpoint could be used.
    #[error("no endpoint answered: {}", attempts(tried))]
    Unavailable {
        /// Each endpoint with the reason why it could not be used.
        tried: Vec<(String, String)>,
    },

    /// etcd refused the caller: certificate, user, password or role.
    #[error("{endpoint}: {message}")]
    Denied {
        /// Who refused.
        endpoint: String,
        /// etcd's or the TLS library's words, and what to do.
        message: String,
    },

    /// etcd answered a request with an error of its own, such as a full database.
    #[error("{endpoint}: {message}")]
    Refused {
        /// Who answered.
        endpoint: String,
        /// etcd's words.
        message: String,
    },

    /// Putting keys back ended before its end; what was written stays.
    #[error(
        "stopped with {done} of {planned} changes confirmed: {cause}; run it again when that is mended, what is done \
         is passed over{}",
        left_alone(conflicts.len())
    )]
    PutBackStopped {
        /// Changes that etcd has acknowledged, or found to be made already. Those of the last transaction may be made as
        /// well: etcd can have carried out what it did not answer, and the write that fills its quota is both carried
        /// out and refused (`quotaApplierV3` in `server/etcdserver/apply`).
        done: u64,
        /// Changes that were to be made.
        planned: u64,
        /// Keys that somebody else wrote, and that were left alone till then.
        conflicts: Vec<Vec<u8>>,
        /// Why it ended.
        #[source]
        cause: Box<Error>,
    },

    /// The stream ended, or broke its own announcement, before the snapshot was whole.
    #[error("{endpoint}: snapshot stream broken after {received} bytes: {reason}")]
    BrokenStream {
        /// Who sent it.
        endpoint: String,
        /// Bytes that had arrived, the hash included.
        received: u64,
        /// What was expected and what came.
        reason: String,
    },

    /// Nothing arrived for too long.
    #[error(
        "{endpoint}: no progress for {} s after {received} bytes of {}",
        after.as_secs_f64(),
        expected.map_or_else(|| "an unknown total".to_owned(), |total| total.to_string())
    )]
    Stalled {
        /// Who went silent.
        endpoint: String,
        /// The limit that was reached.
        after: Duration,
        /// Bytes that had arrived.
        received: u64,
        /// Bytes that were announced, if the first message came.
        expected: Option<u64>,
    },

    /// What a restore wrote did not pass the offline verifier; it was removed again.
    #[error("the restored directory {} did not pass its own check and was removed: {}", path.display(), summary(defects))]
    RestoreUnproven {
        /// The destination, which was not touched.
        path: PathBuf,
        /// What the verifier found.
        defects: Vec<Defect>,
    },

    /// The progress callback or a signal asked to stop; what was begun is cleaned up.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Adapter for `map_err` on file-system calls.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The same of the file at `path`, where bytes were read of which only the caller knows whose they are.
    pub(crate) fn of(self, path: &Path) -> Self {
        match self {
            Self::Io { action, source, .. } => Self::Io { action, path: path.to_owned(), source },
            other => other,
        }
    }

    /// Shorthand for [`Error::InvalidArgument`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArgument { message: message.into() }
    }
}

/// What another run would do to keys that this one has left alone: its plan sees them as they are now.
fn left_alone(conflicts: usize) -> String {
    match conflicts {
        0 => String::new(),
        1 => "; but 1 key that somebody else wrote was left alone, and another run would overwrite it".to_owned(),
        _ => format!(
            "; but {conflicts} keys that somebody else wrote were left alone, and another run would overwrite them"
        ),
    }
}

fn summary(defects: &[Defect]) -> String {
    match defects {
        [] => "no defect recorded".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

fn attempts(tried: &[(String, String)]) -> String {
    let each: Vec<String> = tried.iter().map(|(endpoint, reason)| format!("{endpoint}: {reason}")).collect();
    each.join("; ")
}
