//! Findings, and the document that holds them.

use serde::{Deserialize, Serialize};

use crate::facts::{EndpointFacts, Facts, Header, Member};

/// How bad a finding is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work now, or members contradict one another.
    Critical,
    /// Something will fail, or could not be checked.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The word that reports show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Something about a cluster that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable kebab-case name; scripts may match on it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The endpoint concerned; none when it is the cluster.
    pub endpoint: Option<String>,
    /// What is the matter.
    pub message: String,
    /// The numbers that say so.
    pub evidence: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    pub(super) fn new(severity: Severity, id: &'static str, message: impl Into<String>) -> Self {
        Self { id, severity, endpoint: None, message: message.into(), evidence: String::new(), advice: String::new() }
    }

    pub(super) fn critical(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Critical, id, message)
    }

    pub(super) fn warning(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, id, message)
    }

    pub(super) fn info(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, id, message)
    }

    pub(super) fn at(mut self, endpoint: &str) -> Self {
        self.endpoint = Some(endpoint.to_owned());
        self
    }

    pub(super) fn evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }

    pub(super) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

/// What a cluster says of itself, and what is to be thought of it.
///
/// As JSON it begins as `member list -w json` does, so that a reader of that finds `header` and `members` where it
/// looks for them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Who listed the members; none when nobody did.
    pub header: Option<Header>,
    /// The members as the cluster lists them.
    pub members: Vec<Member>,
    /// What each endpoint said of itself.
    pub endpoints: Vec<EndpointFacts>,
    /// What is the matter, worst first.
    pub findings: Vec<Finding>,
    /// Whether nothing critical was found.
    pub healthy: bool,
}

impl Diagnosis {
    /// Puts facts and their findings into one document.
    pub fn new(facts: Facts, findings: Vec<Finding>) -> Self {
        let (header, members) = facts.list.map_or((None, Vec::new()), |list| (Some(list.header), list.members));
        let healthy = findings.iter().all(|finding| finding.severity != Severity::Critical);
        Self { header, members, endpoints: facts.endpoints, findings, healthy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_critical_findings_make_a_cluster_unhealthy() {
        let warning = Finding::warning("w", "m");
        let critical = Finding::critical("c", "m");

        assert!(Diagnosis::new(Facts::default(), vec![warning.clone()]).healthy);
        assert!(!Diagnosis::new(Facts::default(), vec![critical, warning]).healthy);
    }

    #[test]
    fn document_of_a_silent_cluster_has_a_null_header() {
        let text = serde_json::to_string(&Diagnosis::new(Facts::default(), Vec::new())).unwrap();

        assert_eq!(text, r#"{"header":null,"members":[],"endpoints":[],"findings":[],"healthy":true}"#);
    }
}
