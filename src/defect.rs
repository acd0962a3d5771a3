//! What a verifier found wrong, and where.

use std::fmt;

use serde::Serialize;

/// One broken rule.
///
/// `code` is stable and kebab-case, so that scripts can match on it; `message` is for people and starts, where a
/// page is concerned, as bbolt's own checker would put it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defect {
    /// Stable name of the rule, such as `hash-mismatch` or `page-multiple-references`.
    pub code: &'static str,
    /// What was expected and what was found.
    pub message: String,
    /// Page of the bbolt file, where the defect lies in one.
    pub page: Option<u64>,
    /// Byte offset where it was seen: in the database for a page, else in the file or stream that the message names.
    pub offset: Option<u64>,
}

impl Defect {
    /// A defect with no place of its own.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), page: None, offset: None }
    }

    /// The same, seen on page `page`.
    #[must_use]
    pub fn on_page(mut self, page: u64) -> Self {
        self.page = Some(page);
        self
    }

    /// The same, seen at byte `offset`.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }
}

/// So that a source of bytes can hand one through [`std::io::Error`].
impl std::error::Error for Defect {}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (self.page, self.offset) {
            (Some(page), Some(offset)) => write!(f, " (page {page}, byte {offset})"),
            (Some(page), None) => write!(f, " (page {page})"),
            (None, Some(offset)) => write!(f, " (byte {offset})"),
            (None, None) => Ok(()),
        }
    }
}
