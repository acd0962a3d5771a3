//! Files and directories that appear under their name whole and synced, or not at all.
//!
//! Both builders work the same way: everything is written under a hidden temporary name on the same file system,
//! synced, and given its real name by one rename that cannot overwrite anything. A directory may also take the place
//! of another one, which keeps what it held under a dated name ([`StagedDir::replacing`]). A process killed at any instant
//! leaves the old state or the new state, and at most a hidden temporary that stands in nobody's way.
//!
//! A temporary is told from litter by a lock: its maker holds `flock` on it while alive, and the kernel lets go of
//! it with the process, however that ended. The next run for the same name removes every temporary whose lock is
//! free. Where a file system has no locks, litter stays, and nothing alive is ever removed.
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
