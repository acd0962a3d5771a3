//! Why a page could not be read.

use std::io;
use std::path::Path;

use crate::defect::Defect;
use crate::error::Error;

/// A defect of the bytes, or bytes that could not be had.
#[derive(Debug)]
pub(super) enum Fault {
    Defect(Defect),
    Read(io::Error),
}

impl From<Defect> for Fault {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl Fault {
    /// For callers that know defects only.
    pub(super) fn into_defect(self) -> Defect {
        match self {
            Self::Defect(defect) => defect,
            Self::Read(error) => unreadable(&error),
        }
    }
}

/// The defect of bytes that could not be had: that which the source tells of, if it does.
pub(super) fn unreadable(error: &io::Error) -> Defect {
    let told = error.get_ref().and_then(|cause| cause.downcast_ref::<Defect>()).cloned();
    told.unwrap_or_else(|| Defect::new("database-unreadable", format!("reading the database: {error}")))
}

/// The error of bytes that could not be had. The reader knows no path; its caller does.
pub(super) fn read_error(error: io::Error) -> Error {
    Error::io("reading", Path::new("database"))(error)
}
