//! Real etcd: what a backup holds, what a diagnosis sees, and who is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dcos_etcd::Error;
use dcos_etcd::backup::backup;
use dcos_etcd::client::member_list;
use dcos_etcd::diagnose::Diagnosis;
use dcos_etcd::progress::NoProgress;
use dcos_etcd::snapshot::{VerifyOptions, verify};
use etcd_client::{AlarmAction, AlarmType, UserAddOptions};

use crate::real_etcd::{Cluster, with_each_program};
use crate::support::{Destination, patient_options, run};

/// Findings, save those that only say how old the release under test is.
fn ids(diagnosis: &Diagnosis) -> Vec<&'static str> {
    let ids = diagnosis.findings.iter().map(|finding| finding.id);
    ids.filter(|id| *id != "version-loses-data" && *id != "slow-read").collect()
}

/// What is found when a cluster has noticed its state, which takes an election timeout or two.
async fn until(cluster: &Cluster, endpoints: &[String], expected: &[&str]) -> Diagnosis {
    let started = Instant::now();
    loop {
        let diagnosis = cluster.diagnose(endpoints).await;
        if expected.iter().all(|id| ids(&diagnosis).contains(id)) {
            return diagnosis;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{expected:?} are not in {:?}", diagnosis.findings);
    }
}

#[test]
fn backup_of_a_live_cluster_passes_verification() {
    with_each_program("backup_of_a_live_cluster_passes_verification", |program| {
        run(async {
            let cluster = Cluster::start(program, 1).await;
            let mut client = cluster.client().await;
            for i in 0..200 {
                client.put(format!("k/{i}"), vec![b'v'; 1000], None).await.unwrap();
            }
            client.delete("k/7", None).await.unwrap();
            let destination = Destination::new();
            let options = patient_options(cluster.access());
            let report = backup(&destination.path(), &options, Arc::new(NoProgress)).await.unwrap();

            assert_eq!(report.endpoint, cluster.endpoints[0]);
            assert_eq!(report.manifest.revision, 202);
            assert_eq!(report.manifest.members.len(), 1);
            let verified = verify(&destination.path(), VerifyOptions { skip_hash_check: false }, &NoProgress).unwrap();
            assert!(verified.hash_checked);
            assert_eq!((verified.status.revision, verified.status.total_key), (202, 199));
            assert_eq!(verified.sha256, report.manifest.sha256);
            // Before its leader has written one into the database, a young 3.6 says 3.5.0, which it infers.
            let stored = verified.status.version.as_str();
            let told = report.manifest.storage_version.as_str();
            assert!(told == stored || (stored.is_empty() && told == "3.5.0"), "{told} for {stored}");
        });
    });
}

#[test]
fn diagnosis_finds_the_members_and_then_the_dead_one() {
    with_each_program("diagnosis_finds_the_members_and_then_the_dead_one", |program| {
        run(async {
            let mut cluster = Cluster::start(program, 3).await;
            let mut client = cluster.client().await;
            for i in 0..50 {
                client.put(format!("k/{i}"), "v", None).await.unwrap();
            }
            let one = [cluster.endpoints[0].clone()];
            let diagnosis = cluster.diagnose(&one).await;
            assert_eq!(ids(&diagnosis), [""; 0]);
            assert!(diagnosis.healthy);
            assert_eq!(diagnosis.members.len(), 3);
            assert_eq!(diagnosis.endpoints.len(), 3);
            assert!(diagnosis.endpoints.iter().all(|entry| entry.hash_kv.is_some()), "{:?}", diagnosis.endpoints);
            let list = member_list(&cluster.access()).await.unwrap();
            assert_eq!(list.members, diagnosis.members);

            cluster.kill(2);
            let diagnosis = cluster.diagnose(&one).await;
            assert!(!diagnosis.healthy);
            assert!(ids(&diagnosis).contains(&"member-unreachable"), "{:?}", diagnosis.findings);
            assert!(ids(&diagnosis).contains(&"key-space-not-compared"), "{:?}", diagnosis.findings);

            cluster.kill(1);
            let expected = ["member-unreachable", "no-leader", "quorum-lost", "linearizable-read-failed"];
            let diagnosis = until(&cluster, &one, &expected).await;
            assert!(diagnosis.endpoints[0].serializable.as_ref().unwrap().healthy);

            let destination = Destination::new();
            let options = patient_options(cluster.access());
            let report = backup(&destination.path(), &options, Arc::new(NoProgress)).await.unwrap();
            assert_eq!(report.endpoint, cluster.endpoints[0]);
            assert!(report.warnings.iter().any(|warning| warning.contains("no endpoint is healthy")));
            verify(&destination.path(), VerifyOptions { skip_hash_check: false }, &NoProgress).unwrap();
        });
    });
}

#[test]
fn users_are_refused_in_words_that_help() {
    with_each_program("users_are_refused_in_words_that_help", |program| {
        run(async {
            let cluster = Cluster::start(program, 1).await;
            let mut client = cluster.client().await;
            for user in ["root", "bob"] {
                client.user_add(user, "pw-of-user", Option::<UserAddOptions>::None).await.unwrap();
            }
            client.role_add("root").await.ok();
            client.user_grant_role("root", "root").await.unwrap();
            client.auth_enable().await.unwrap();
            for (user, message) in [
                (None, Some("--user")),
                (Some(("root", "wrong")), Some("password")),
                (Some(("nobody", "wrong")), Some("password")),
                (Some(("bob", "pw-of-user")), Some("role root")),
                (Some(("root", "pw-of-user")), None),
            ] {
                let destination = Destination::new();
                let mut options = patient_options(cluster.access());
                options.access.user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
                let outcome = backup(&destination.path(), &options, Arc::new(NoProgress)).await;
                let Some(message) = message else {
                    outcome.unwrap();
                    continue;
                };
                let error = outcome.unwrap_err();
                assert!(matches!(error, Error::Denied { .. }), "{user:?}: {error}");
                assert!(error.to_string().contains(message), "{user:?}: {error}");
                assert!(!error.to_string().contains("pw-of-user"));
                assert_eq!(destination.names(), [""; 0]);
            }
            assert!(ids(&cluster.diagnose(&cluster.endpoints).await).contains(&"access-denied"));
        });
    });
}

#[test]
fn raised_alarms_are_found() {
    with_each_program("raised_alarms_are_found", |program| {
        run(async {
            let cluster = Cluster::start(program, 1).await;
            let mut client = cluster.client().await;
            client.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.unwrap();
            let diagnosis = cluster.diagnose(&cluster.endpoints).await;

            assert!(ids(&diagnosis).contains(&"alarm-nospace"), "{:?}", diagnosis.findings);
            assert!(!diagnosis.healthy);
        });
    });
}
