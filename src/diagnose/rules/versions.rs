//! Versions: mixed ones, and one that is known to lose data.

use std::collections::BTreeMap;

use crate::diagnose::report::{Finding, Severity};
use crate::facts::Facts;
use crate::version::Version;

pub(in crate::diagnose) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut members: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in facts.endpoints.iter().filter(|entry| entry.reachable) {
        if let Some(version) = entry.version.as_deref().filter(|version| !version.is_empty()) {
            members.entry(version).or_default().push(entry.label());
        }
    }
    mixed(&members, findings);
    known_to_lose_data(&members, findings);
}

fn mixed(members: &BTreeMap<&str, Vec<String>>, findings: &mut Vec<Finding>) {
    if members.len() < 2 {
        return;
    }
    let minors: std::collections::BTreeSet<_> = members
        .keys()
        .map(|text| Version::parse(text).map_or((text.to_string(), 0), |v| (v.major.to_string(), v.minor)))
        .collect();
    let severity = if minors.len() > 1 { Severity::Warning } else { Severity::Info };
    let evidence: Vec<String> =
        members.iter().map(|(version, labels)| format!("{version}: {}", labels.join(", "))).collect();
    findings.push(
        Finding::new(severity, "mixed-versions", format!("the members run {} different versions", members.len()))
            .evidence(evidence.join("; "))
            .advice("this is meant for the time of an upgrade only: bring all members to one version"),
    );
}

fn known_to_lose_data(members: &BTreeMap<&str, Vec<String>>, findings: &mut Vec<Finding>) {
    let affected = |text: &str| Version::parse(text).is_some_and(Version::loses_data);
    let affected: Vec<String> = members
        .iter()
        .filter(|(version, _)| affected(version))
        .map(|(version, labels)| format!("{version}: {}", labels.join(", ")))
        .collect();
    if !affected.is_empty() {
        findings.push(
            Finding::warning(
                "version-loses-data",
                "etcd 3.5.0 to 3.5.2 can lose data or let members diverge when a server is killed",
            )
            .evidence(affected.join("; "))
            .advice("upgrade to the newest 3.5 release, and compare the hashes of the key space before and after"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{healthy, ids};
    use super::*;

    fn findings(versions: &[&str]) -> Vec<Finding> {
        let mut facts = healthy(versions.len() as u64);
        for (entry, version) in facts.endpoints.iter_mut().zip(versions) {
            entry.version = Some((*version).to_owned());
        }
        let mut findings = Vec::new();
        judge(&facts, &mut findings);
        findings
    }

    #[test]
    fn one_sound_version_is_no_finding() {
        for version in ["3.4.23", "3.5.3", "3.5.30", "3.6.11", "3.7.1", "3.8.0-alpha.1", "not a version"] {
            assert_eq!(findings(&[version; 3]), vec![], "{version}");
        }
    }

    #[test]
    fn versions_known_to_lose_data_are_a_warning() {
        for version in ["3.5.0", "3.5.1", "3.5.2", "3.5.1-custom"] {
            assert_eq!(ids(&findings(&[version; 3])), ["version-loses-data"], "{version}");
        }
    }

    #[test]
    fn mixed_minor_versions_are_a_warning_and_mixed_patches_worth_knowing() {
        let minors = findings(&["3.5.30", "3.6.11", "3.6.11"]);
        let patches = findings(&["3.5.29", "3.5.30", "3.5.30"]);

        assert_eq!((ids(&minors), minors[0].severity), (vec!["mixed-versions"], Severity::Warning));
        assert_eq!((ids(&patches), patches[0].severity), (vec!["mixed-versions"], Severity::Info));
    }
}
