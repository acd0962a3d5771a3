//! Asks, judges, and puts both into one document.

use super::gather::gather;
use super::judge::judge;
use super::report::Diagnosis;
use crate::client::Access;
use crate::error::Result;

/// What a diagnosis is made of.
#[derive(Debug, Clone)]
pub struct DiagnoseOptions {
    /// Where to begin; members that are not given are found through the member lists.
    pub access: Access,
    /// The members that should be there, see [`judge`]; empty for no expectation.
    pub expect: Vec<String>,
}

/// Asks every member that can be found, side by side, and judges what they tell.
///
/// A cluster of which nobody answers has a diagnosis too: its findings say so.
///
/// # Errors
/// `InvalidArgument` and `Io` for options and files that can't be used, nothing else.
pub async fn diagnose(options: &DiagnoseOptions) -> Result<Diagnosis> {
    let facts = gather(&options.access).await?;
    let findings = judge(&facts, &options.expect);
    Ok(Diagnosis::new(facts, findings))
}
