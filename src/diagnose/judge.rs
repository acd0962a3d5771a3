//! From facts to findings.

use super::report::Finding;
use super::rules;
use crate::facts::Facts;

/// Everything that these facts give reason to say, worst first.
///
/// `expect` lists the members that should be there: each as an address or host name, with or without port, as a URL or
/// as a member's name. An empty list expects nothing.
pub fn judge(facts: &Facts, expect: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    rules::reach::judge(facts, &mut findings);
    rules::duplicates::judge(facts, &mut findings);
    rules::consensus::judge(facts, &mut findings);
    rules::membership::judge(facts, &mut findings);
    rules::expected::judge(facts, expect, &mut findings);
    rules::alarms::judge(facts, &mut findings);
    rules::hashes::judge(facts, &mut findings);
    rules::replication::judge(facts, &mut findings);
    rules::space::judge(facts, &mut findings);
    rules::versions::judge(facts, &mut findings);
    // Stable: within one severity the order of the rules stays, causes before their consequences.
    findings.sort_by_key(|finding| finding.severity);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::Severity;
    use crate::diagnose::rules::fixtures::healthy;

    #[test]
    fn healthy_cluster_has_no_findings() {
        assert_eq!(judge(&healthy(3), &[]), vec![]);
        assert_eq!(judge(&healthy(1), &[]), vec![]);
    }

    #[test]
    fn worst_findings_come_first() {
        let mut facts = healthy(4);
        facts.endpoints[1].version = Some("3.5.1".to_owned());
        facts.endpoints[2].leader_hex = Some("0".to_owned());
        let severities: Vec<Severity> = judge(&facts, &[]).iter().map(|finding| finding.severity).collect();

        assert!(severities.is_sorted(), "{severities:?}");
        assert_eq!(severities.first(), Some(&Severity::Critical));
        assert_eq!(severities.last(), Some(&Severity::Info));
    }

    #[test]
    fn silence_of_everybody_is_a_finding() {
        let findings = judge(&Facts::default(), &[]);

        assert_eq!(findings.iter().map(|finding| finding.id).collect::<Vec<_>>(), ["cluster-unreachable"]);
    }
}
