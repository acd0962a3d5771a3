//! Files and directories that appear under their name whole and synced, or not at all.
//!
//! A file has no name while it is written, and gets it by one link that cannot overwrite anything: a process killed at any
//! instant leaves the whole file or nothing. A directory, and a file where the system can't do so, is written under a
//! hidden temporary name on the same file system, synced, and given its real name by one rename that cannot overwrite
//! anything either. A directory may also take the place of another one, which keeps what it held under a dated name
//! ([`StagedDir::replacing`]). A process killed at any instant leaves the old state or the new state, and at most a
//! hidden temporary that stands in nobody's way.
//!
//! | killed while | a file without a name | a hidden temporary |
//! |---|---|---|
//! | it is written or synced | nothing | the temporary |
//! | it gets its name | nothing, or the whole file | the temporary, or the whole file; both for hard links; without these, the temporary and an empty file of that name |
//! | the directory is synced | the whole file | the whole file |
//!
//! A temporary is told from litter by a lock: its maker holds `flock` on it while alive, and the kernel lets go of
//! it with the process, however that ended. The next run for the same name removes every temporary whose lock is
//! free, and the next file in that directory those of files with other names, since a name with a date in it never comes
//! again (`litter.rs` tells what has to hold then). Where a file system has no locks, litter stays, and nothing alive is
//! ever removed.
//!
//! Paths are made absolute on entry, so that a change of the working directory in between does no harm.

mod beside;
mod exchange;
mod litter;
mod mounts;
mod new_file;
mod remove;
mod staged_dir;
mod sync;
mod unnamed;
mod write_back;

pub use beside::sync_beside;
pub use exchange::{Replaced, Undeleted};
pub use new_file::NewFile;
pub use staged_dir::StagedDir;
pub use sync::sync_dir;
pub use unnamed::unnamed_file;
pub use write_back::WriteBack;
