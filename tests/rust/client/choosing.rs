//! Which of several endpoints is used, and what dead ones cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dcos_etcd::Error;
use dcos_etcd::backup::backup;
use dcos_etcd::client::{Access, member_list};
use dcos_etcd::compose::{Change, make_snapshot};
use dcos_etcd::diagnose::{DiagnoseOptions, diagnose};
use dcos_etcd::progress::NoProgress;
use dcos_etcd::snapshot::{VerifyOptions, verify};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpSocket};

use crate::fake_etcd::{Script, Step, Told, serve};
use crate::support::{Destination, back_up, held_port, options, run};

/// What a command waits for; long, so that one wait is told from two on a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);

const NO_LEADER: (u32, &str) = (14, "etcdserver: no leader");

fn stream() -> Vec<Step> {
    let database = vec![5; 8192];
    let hash = Sha256::digest(&database).to_vec();
    vec![Step::Send { blob: database, remaining: 0 }, Step::Send { blob: hash, remaining: 0 }]
}

/// An endpoint at which nobody listens while the socket is there.
fn closed_port() -> (TcpSocket, String) {
    let (socket, port) = held_port();
    (socket, format!("127.0.0.1:{port}"))
}

/// A server that accepts connections and never says a word.
async fn silent_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            connections.push(socket);
        }
    });
    endpoint
}

#[test]
fn first_healthy_endpoint_in_the_order_given_is_used() {
    run(async {
        let (_held, dead) = closed_port();
        let leaderless = serve(Script { read: NO_LEADER, ..Script::healthy(stream()) }).await;
        let first = serve(Script::healthy(stream())).await;
        let second = serve(Script::healthy(stream())).await;
        let report = back_up(&Destination::new(), &[&dead, &leaderless, &first, &second]).await.unwrap();

        assert_eq!(report.endpoint, first);
        let skipped: Vec<(&str, &str)> =
            report.skipped.iter().map(|skipped| (skipped.endpoint.as_str(), skipped.reason.as_str())).collect();
        assert_eq!(skipped[1], (leaderless.as_str(), "etcdserver: no leader"));
        assert_eq!(skipped[0].0, dead);
        assert!(skipped[0].1.contains("refused"), "{skipped:?}");
        assert_eq!(report.warnings, [""; 0]);
    });
}

#[test]
fn cluster_without_a_leader_is_backed_up_with_a_warning() {
    run(async {
        let (_held, dead) = closed_port();
        let leaderless = serve(Script { read: NO_LEADER, ..Script::healthy(stream()) }).await;
        let report = back_up(&Destination::new(), &[&dead, &leaderless]).await.unwrap();

        assert_eq!(report.endpoint, leaderless);
        assert_eq!(report.skipped.len(), 1);
        assert!(report.warnings[0].contains("no endpoint is healthy"), "{:?}", report.warnings);
    });
}

#[test]
fn of_members_without_a_leader_the_one_that_has_applied_most_is_used() {
    run(async {
        let mut endpoints = Vec::new();
        for raft_applied_index in [7, 900, 900, 12] {
            let status = vec![Told { raft_applied_index, ..Told::default() }];
            endpoints.push(serve(Script { read: NO_LEADER, status, ..Script::healthy(stream()) }).await);
        }
        let given: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        let report = back_up(&Destination::new(), &given).await.unwrap();

        assert_eq!(report.endpoint, endpoints[1]);
        assert_eq!(report.skipped.len(), 3);
    });
}

#[test]
fn member_that_differs_from_the_others_is_used_when_there_is_no_other() {
    run(async {
        let corrupt = "memberID:11 alarm:CORRUPT ";
        let status = vec![Told { raft_applied_index: 900, errors: corrupt, ..Told::default() }];
        let differing = serve(Script { status: status.clone(), ..Script::healthy(stream()) }).await;
        let leaderless = serve(Script { read: NO_LEADER, ..Script::healthy(stream()) }).await;
        let other = Told { member_id: 12, errors: corrupt, ..Told::default() };
        let sound = serve(Script { status: vec![other], ..Script::healthy(stream()) }).await;

        let report = back_up(&Destination::new(), &[&differing, &leaderless, &sound]).await.unwrap();
        assert_eq!(report.endpoint, sound);
        assert!(report.skipped[0].reason.contains("CORRUPT"), "{:?}", report.skipped);

        let report = back_up(&Destination::new(), &[&differing, &leaderless]).await.unwrap();
        assert_eq!(report.endpoint, leaderless);

        let report = back_up(&Destination::new(), &[&differing]).await.unwrap();
        assert_eq!(report.endpoint, differing);
        assert!(report.warnings[0].contains("CORRUPT"), "{:?}", report.warnings);
    });
}

#[test]
fn member_that_gives_way_to_another_is_left_for_that_one() {
    run(async {
        let status = vec![Told::default(), Told { member_id: 12, ..Told::default() }];
        let endpoint = serve(Script { status, ..Script::healthy(stream()) }).await;
        let report = back_up(&Destination::new(), &[&endpoint]).await.unwrap();

        assert_eq!((report.manifest.member_id.as_str(), report.manifest.revision), ("c", 7));
        assert_eq!((report.warnings, report.skipped), (vec![], vec![]));
    });
}

#[test]
fn among_members_that_take_turns_behind_an_endpoint_none_is_named() {
    run(async {
        let status = [0xb, 0xc, 0xd].map(|member_id| Told { member_id, ..Told::default() }).to_vec();
        let balanced = serve(Script { status, ..Script::healthy(stream()) }).await;
        let report = back_up(&Destination::new(), &[&balanced]).await.unwrap();

        let manifest = report.manifest;
        assert_eq!((manifest.cluster_id.as_str(), manifest.etcd_version.as_str()), ("c", "3.5.30"));
        assert_eq!((manifest.member_id.as_str(), manifest.raft_index), ("", 0));
        assert!(report.warnings[0].contains("3 members answer at this endpoint (b, c, d)"), "{:?}", report.warnings);
        assert_eq!(report.warnings.len(), 1);
    });
}

#[test]
fn endpoint_at_which_two_clusters_answer_is_passed_over() {
    run(async {
        let other = Told { cluster_id: 0xd, member_id: 12, ..Told::default() };
        let mixed = serve(Script { status: vec![Told::default(), other], ..Script::healthy(stream()) }).await;
        let steady = serve(Script::healthy(stream())).await;
        let report = back_up(&Destination::new(), &[&mixed, &steady]).await.unwrap();
        assert_eq!(report.endpoint, steady);
        assert!(report.skipped[0].reason.contains("2 clusters answer there (c, d)"), "{:?}", report.skipped);

        let destination = Destination::new();
        let error = back_up(&destination, &[&mixed]).await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable { .. }), "{error}");
        assert_eq!(destination.names(), [""; 0]);
    });
}

/// A database that ends at this revision, as a server sends it.
fn stream_of_revision(last: i64) -> Vec<Step> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.db");
    let changes: Vec<Change> =
        (1..last).map(|number| Change { key: number.to_be_bytes().to_vec(), value: Some(b"v".to_vec()) }).collect();
    assert_eq!(make_snapshot(&path, &changes).unwrap(), last);
    let mut database = std::fs::read(&path).unwrap();
    let hash = database.split_off(database.len() - 32);
    vec![Step::Send { blob: database, remaining: 0 }, Step::Send { blob: hash, remaining: 0 }]
}

#[test]
fn manifest_claims_no_revision_that_the_database_does_not_reach() {
    for (ends, revision, member_id, warned) in [(3, 3, "", true), (7, 7, "b", false), (900, 7, "b", false)] {
        for suffix in ["tar.gz", "tar.zst"] {
            run(async {
                let endpoint = serve(Script::healthy(stream_of_revision(ends))).await;
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("etcd").with_extension(suffix);
                let report = backup(&path, &options(&[&endpoint]), Arc::new(NoProgress)).await.unwrap();

                assert_eq!((report.manifest.revision, report.manifest.member_id.as_str()), (revision, member_id));
                let told = |warning: &String| warning.contains("ends at revision 3, and 7 was told");
                assert_eq!((report.warnings.iter().any(told), report.warnings.len()), (warned, usize::from(warned)));
                let verified = verify(&path, VerifyOptions::default(), &NoProgress).unwrap();
                assert_eq!(verified.manifest, Some(report.manifest));
                assert_eq!(verified.status.revision, ends);
            });
        }
    }
}

#[test]
fn healthy_endpoint_that_can_not_begin_a_stream_is_passed_over() {
    run(async {
        let full = serve(Script::healthy(vec![Step::Fail(8, "etcdserver: too many requests")])).await;
        let silent = serve(Script::healthy(vec![Step::Silence])).await;
        let good = serve(Script::healthy(stream())).await;
        let report = back_up(&Destination::new(), &[&full, &silent, &good]).await.unwrap();

        assert_eq!(report.endpoint, good);
        assert_eq!(report.skipped[0].reason, "etcdserver: too many requests");
        assert!(report.skipped[1].reason.contains("no progress"), "{:?}", report.skipped);
    });
}

#[test]
fn stream_that_breaks_after_bytes_came_is_not_begun_anew_elsewhere() {
    run(async {
        let mut steps = stream();
        steps.pop();
        steps.push(Step::Fail(14, "gone"));
        let breaks = serve(Script::healthy(steps)).await;
        let good = serve(Script::healthy(stream())).await;
        let destination = Destination::new();
        let error = back_up(&destination, &[&breaks, &good]).await.unwrap_err();

        assert!(matches!(&error, Error::BrokenStream { endpoint, .. } if *endpoint == breaks), "{error}");
        assert_eq!(destination.names(), [""; 0]);
    });
}

#[test]
fn missing_role_is_told_whatever_the_version_calls_it() {
    for (code, message) in [(2, "auth: permission denied"), (7, "etcdserver: permission denied")] {
        run(async {
            let endpoint = serve(Script::healthy(vec![Step::Fail(code, message)])).await;
            let destination = Destination::new();
            let error = back_up(&destination, &[&endpoint]).await.unwrap_err();

            assert!(matches!(&error, Error::Denied { message, .. } if message.contains("role root")), "{error}");
            assert_eq!(destination.names(), [""; 0]);
        });
    }
}

#[test]
fn dead_endpoints_are_all_named() {
    run(async {
        let ((_one, one), (_other, other)) = (closed_port(), closed_port());
        let destination = Destination::new();
        let error = back_up(&destination, &[&one, &other]).await.unwrap_err();

        assert!(matches!(&error, Error::Unavailable { tried } if tried.len() == 2), "{error}");
        assert_eq!(destination.names(), [""; 0]);
    });
}

#[test]
fn silent_endpoints_cost_their_timeout_once() {
    run(async {
        let (plain, tls) = (silent_server().await, format!("https://{}", silent_server().await));
        let mut access = Access::new(vec![plain.clone(), tls]);
        access.dial_timeout = Duration::from_secs(2);
        access.command_timeout = PATIENCE;
        let started = Instant::now();
        let diagnosis = diagnose(&DiagnoseOptions { access: access.clone(), expect: Vec::new() }).await.unwrap();
        assert!(started.elapsed() < 2 * PATIENCE, "{:?}", started.elapsed());
        assert!(!diagnosis.healthy);
        assert_eq!(diagnosis.header, None);
        assert!(diagnosis.findings.iter().any(|finding| finding.id == "cluster-unreachable"));

        access.user = Some(("root".to_owned(), "secret".to_owned()));
        access.endpoints = vec![plain];
        let started = Instant::now();
        let error = member_list(&access).await.unwrap_err();
        assert!(started.elapsed() < 2 * PATIENCE, "{:?}", started.elapsed());
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(!error.to_string().contains("secret"));
    });
}
