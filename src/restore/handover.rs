//! What a caller has to do around the instant at which the restored directory takes its place.

use crate::error::Result;

/// Called around the instant at which the restored directory takes its place.
pub trait Handover {
    /// Everything is written and proven, and nothing is in place yet: the last moment to refuse.
    ///
    /// # Errors
    /// Whatever should stop the restore; what was written is removed, and the old directory stands as it did.
    fn before(&self) -> Result<()> {
        Ok(())
    }

    /// The directory stands; the old one is still there to come back.
    ///
    /// # Errors
    /// Whatever should undo the restore: the old directory comes back.
    fn after(&self) -> Result<()> {
        Ok(())
    }
}

/// Nothing is to be done.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHandover;

impl Handover for NoHandover {}
