//! Alarms: they stop writes or all work until they are disarmed.

use std::collections::BTreeSet;

use super::reach::known_members;
use crate::diagnose::report::Finding;
use crate::facts::{Alarm, Facts};
use crate::hex::hex_id;

pub(in crate::diagnose) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    let alarms: BTreeSet<&Alarm> = facts.alarms.iter().collect();
    for alarm in alarms {
        let members = known_members(facts);
        let member = members.values().find(|member| hex_id(member.id) == alarm.member_id_hex);
        let whose = member
            .map_or_else(|| format!("{}, which is no member any more", alarm.member_id_hex), |member| member.label());
        let endpoint = facts.endpoints.iter().find(|entry| entry.member_id_hex.as_ref() == Some(&alarm.member_id_hex));
        let mut finding = about(alarm, &whose);
        if let Some(entry) = endpoint {
            finding = finding.at(&entry.endpoint);
        }
        let size = endpoint.and_then(|entry| entry.db_size);
        let size = size.map_or_else(String::new, |size| format!("; its database has {size} bytes"));
        findings.push(finding.evidence(format!("alarm {} of member {}{size}", alarm.alarm, alarm.member_id_hex)));
    }
}

fn about(alarm: &Alarm, whose: &str) -> Finding {
    match alarm.alarm.as_str() {
        "NOSPACE" => Finding::critical(
            "alarm-nospace",
            format!("the database of member {whose} reached its quota: the cluster refuses writes"),
        )
        .advice(
            "compact (etcdctl compact REVISION), defragment each member, the leader last (etcdctl defrag \
             --endpoints=ENDPOINT), raise --quota-backend-bytes if need be, then etcdctl alarm disarm",
        ),
        "CORRUPT" => Finding::critical(
            "alarm-corrupt",
            format!("the data of member {whose} was found to differ from the others': the cluster refuses to work"),
        )
        .advice(
            "find the member that is wrong by the hashes of the key space, remove it, add it again with an empty data \
             directory, then etcdctl alarm disarm",
        ),
        other => {
            Finding::critical("alarm-unknown", format!("an alarm of unknown kind {other} is raised for member {whose}"))
                .advice("see the documentation of this version of etcd; etcdctl alarm disarm takes it back")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{healthy, ids};
    use super::*;

    fn findings(alarms: &[(&str, &str)]) -> Vec<Finding> {
        let mut facts = healthy(3);
        let alarm = |(id, kind): &(&str, &str)| Alarm { member_id_hex: (*id).to_owned(), alarm: (*kind).to_owned() };
        facts.alarms = alarms.iter().map(alarm).collect();
        let mut findings = Vec::new();
        judge(&facts, &mut findings);
        findings
    }

    #[test]
    fn no_alarm_is_no_finding() {
        assert_eq!(findings(&[]), vec![]);
    }

    #[test]
    fn alarms_are_critical_and_each_told_once() {
        let found = findings(&[("2", "NOSPACE"), ("2", "NOSPACE"), ("3", "CORRUPT"), ("1", "7")]);

        assert_eq!(ids(&found), ["alarm-unknown", "alarm-nospace", "alarm-corrupt"]);
        assert_eq!(found[1].endpoint.as_deref(), Some("http://10.0.0.2:2379"));
        assert!(found[1].evidence.contains("20480 bytes"));
    }

    #[test]
    fn alarm_of_a_member_that_is_gone_is_told_as_such() {
        let found = findings(&[("dead", "NOSPACE")]);

        assert!(found[0].message.contains("no member any more"));
        assert_eq!(found[0].endpoint, None);
    }
}
