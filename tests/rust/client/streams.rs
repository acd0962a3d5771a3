//! Snapshot streams that keep the rules, and those that break one: of them nothing must remain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dcos_etcd::Error;
use dcos_etcd::archive::extract;
use dcos_etcd::backup::backup;
use dcos_etcd::progress::{NoProgress, Stage};
use sha2::{Digest, Sha256};

use crate::fake_etcd::{Script, Step, serve};
use crate::support::{Destination, Recorder, STALL_TIMEOUT, back_up, options, run};

const CHUNK: usize = 32768;

/// Bytes in the place of a database; backup does not look into them.
fn database() -> Vec<u8> {
    (0..5 * 4096 * 16_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn hash(database: &[u8]) -> Vec<u8> {
    Sha256::digest(database).to_vec()
}

/// The stream of a real server.
fn whole(database: &[u8]) -> Vec<Step> {
    let mut remaining = database.len() as u64;
    let mut steps: Vec<Step> = database
        .chunks(CHUNK)
        .map(|chunk| {
            remaining -= chunk.len() as u64;
            Step::Send { blob: chunk.to_vec(), remaining }
        })
        .collect();
    steps.push(Step::Send { blob: hash(database), remaining: 0 });
    steps
}

/// The error that a stream ends in, with proof that nothing remains of the backup.
fn error(steps: Vec<Step>) -> Error {
    run(async {
        let endpoint = serve(Script::healthy(steps)).await;
        let destination = Destination::new();
        let error = back_up(&destination, &[&endpoint]).await.expect_err("a broken stream was accepted");

        assert_eq!(destination.names(), [""; 0]);
        error
    })
}

fn broken(steps: Vec<Step>) -> String {
    match error(steps) {
        Error::BrokenStream { reason, .. } => reason,
        other => panic!("not a broken stream: {other}"),
    }
}

#[test]
fn whole_stream_is_archived_as_it_came() {
    let database = database();
    run(async {
        let endpoint = serve(Script::healthy(whole(&database))).await;
        let destination = Destination::new();
        let progress = Recorder::new(usize::MAX);
        let report = backup(&destination.path(), &options(&[&endpoint]), progress.clone()).await.unwrap();

        assert_eq!(destination.names(), ["etcd.tar.gz"]);
        let mut came_back = Vec::new();
        let mut sink = |bytes: &[u8]| {
            came_back.extend_from_slice(bytes);
            Ok(())
        };
        let extracted = extract(&destination.path(), &mut sink, &NoProgress).unwrap();
        assert_eq!(came_back, database);
        assert_eq!(extracted.trailer.unwrap().to_vec(), hash(&database));
        assert_eq!(extracted.manifest.as_ref(), Some(&report.manifest));

        assert_eq!(report.endpoint, endpoint);
        assert_eq!(report.compression, "gzip");
        assert_eq!(report.archive_size, std::fs::metadata(destination.path()).unwrap().len());
        let manifest = report.manifest;
        assert_eq!((manifest.cluster_id.as_str(), manifest.member_id.as_str()), ("c", "b"));
        assert_eq!((manifest.revision, manifest.raft_term, manifest.raft_index), (7, 2, 11));
        assert_eq!(manifest.size, database.len() as u64);
        assert_eq!(manifest.members[0].name, "fake");

        let total = database.len() as u64 + 32;
        let calls = progress.calls.lock().unwrap().clone();
        assert!(calls.contains(&(Stage::Receive, total, Some(total))), "{calls:?}");
    });
}

#[test]
fn hash_in_the_message_with_the_last_bytes_is_accepted() {
    let database = database();
    let mut steps = whole(&database);
    steps.truncate(steps.len() - 2);
    let mut blob = database.chunks(CHUNK).last().unwrap().to_vec();
    blob.extend(hash(&database));
    steps.push(Step::Send { blob, remaining: 0 });
    run(async {
        let endpoint = serve(Script::healthy(steps)).await;
        let destination = Destination::new();

        back_up(&destination, &[&endpoint]).await.unwrap();
    });
}

#[test]
fn slow_stream_that_moves_is_not_stalled() {
    let mut steps = Vec::new();
    for (number, step) in whole(&database()).into_iter().enumerate() {
        if number % 2 == 0 {
            steps.push(Step::Pause(STALL_TIMEOUT / 4));
        }
        steps.push(step);
    }
    run(async {
        let endpoint = serve(Script::healthy(steps)).await;
        let started = Instant::now();
        back_up(&Destination::new(), &[&endpoint]).await.unwrap();

        assert!(started.elapsed() > STALL_TIMEOUT, "slower than the stall timeout as a whole");
    });
}

#[test]
fn stream_that_goes_silent_is_given_up_after_the_stall_timeout() {
    let database = database();
    for sent in [0, 1, 3] {
        let mut steps = whole(&database);
        steps.truncate(sent);
        steps.push(Step::Silence);
        let started = Instant::now();
        match error(steps) {
            Error::Stalled { received, expected, after, .. } => {
                assert_eq!(received, (sent * CHUNK) as u64);
                assert_eq!(expected, (sent > 0).then_some(database.len() as u64 + 32));
                assert_eq!(after, STALL_TIMEOUT);
            }
            other => panic!("not stalled: {other}"),
        }
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn endless_empty_messages_are_given_up() {
    let mut steps = whole(&database());
    steps.truncate(2);
    steps.push(Step::Empty { remaining: database().len() as u64 - 2 * CHUNK as u64 });

    assert!(broken(steps).contains("messages in a row hold no byte"));
}

#[test]
fn empty_messages_now_and_then_do_not_hide_a_stall() {
    let mut steps = whole(&database());
    steps.truncate(2);
    let remaining = database().len() as u64 - 2 * CHUNK as u64;
    for _ in 0..12 {
        steps.push(Step::Pause(STALL_TIMEOUT / 4));
        steps.push(Step::Send { blob: Vec::new(), remaining });
    }

    assert!(matches!(error(steps), Error::Stalled { .. }));
}

#[test]
fn stream_that_ends_early_is_refused() {
    let steps = whole(&database());
    for kept in 1..steps.len() {
        assert!(broken(steps[..kept].to_vec()).contains("have not come"), "{kept} messages");
    }
}

#[test]
fn stream_without_a_message_is_refused() {
    assert!(broken(Vec::new()).contains("before its first message"));
}

#[test]
fn hash_that_is_cut_off_is_refused() {
    let mut steps = whole(&database());
    steps.pop();
    steps.push(Step::Send { blob: hash(&database())[..31].to_vec(), remaining: 0 });

    assert!(broken(steps).contains("1 of"));
}

#[test]
fn bytes_after_the_hash_are_refused() {
    let mut steps = whole(&database());
    steps.push(Step::Send { blob: vec![0], remaining: 0 });

    assert!(broken(steps).contains("were announced"));
}

#[test]
fn hash_of_something_else_is_refused() {
    let mut steps = whole(&database());
    steps.pop();
    steps.push(Step::Send { blob: hash(b"something else"), remaining: 0 });

    assert!(broken(steps).contains("SHA-256"));
}

#[test]
fn flipped_bit_is_refused() {
    let database = database();
    let mut steps = whole(&database);
    if let Step::Send { blob, .. } = &mut steps[4] {
        blob[100] ^= 1;
    }

    assert!(broken(steps).contains("SHA-256"));
}

#[test]
fn message_that_comes_twice_is_refused() {
    let mut steps = whole(&database());
    let twice = steps[3].clone();
    steps.insert(3, twice);

    assert!(broken(steps).contains("remain where"));
}

#[test]
fn size_that_turns_out_a_lie_is_refused() {
    let database = database();
    for announced in [database.len() as u64 + 4096, database.len() as u64 - 4096, u64::MAX, 5] {
        let mut steps = whole(&database);
        if let Step::Send { remaining, .. } = &mut steps[0] {
            *remaining = announced;
        }

        broken(steps);
    }
}

#[test]
fn server_that_fails_on_the_way_is_told_in_its_words() {
    let mut steps = whole(&database());
    steps.truncate(3);
    steps.push(Step::Fail(14, "etcdserver: server stopped"));

    assert!(broken(steps).contains("etcdserver: server stopped"));
}

#[test]
fn connection_that_breaks_on_the_way_is_told() {
    let mut steps = whole(&database());
    steps.truncate(3);
    steps.push(Step::Break);

    assert!(broken(steps).contains("the server or the connection failed"));
}

#[test]
fn stop_while_the_server_is_silent_leaves_nothing() {
    let mut steps = whole(&database());
    steps.truncate(3);
    steps.push(Step::Silence);
    run(async {
        let endpoint = serve(Script::healthy(steps)).await;
        let destination = Destination::new();
        let mut options = options(&[&endpoint]);
        options.stall_timeout = Duration::from_secs(50);
        let started = Instant::now();
        let outcome = backup(&destination.path(), &options, Recorder::new(6)).await;

        assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(destination.names(), [""; 0]);
    });
}

#[test]
fn dropped_future_leaves_nothing() {
    let mut steps = whole(&database());
    steps.truncate(3);
    steps.push(Step::Silence);
    run(async {
        let endpoint = serve(Script::healthy(steps)).await;
        let destination = Destination::new();
        let mut options = options(&[&endpoint]);
        options.stall_timeout = Duration::from_secs(50);
        let path = destination.path();
        let work = backup(&path, &options, Arc::new(NoProgress));
        assert!(tokio::time::timeout(Duration::from_millis(300), work).await.is_err());

        // The thread notices and removes its file; nobody waits for it here.
        for _ in 0..100 {
            if destination.names().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("left behind: {:?}", destination.names());
    });
}
