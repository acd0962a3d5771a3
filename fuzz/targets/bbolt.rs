//! The database file alone: opened, walked, searched and patched. What the walk calls sound, nothing else trips over.

#![no_main]

use std::ops::ControlFlow;

use dcos_etcd::Defect;
use dcos_etcd::bbolt::{Append, Database, Element, Patch, Visitor, check_patched, walk};
use dcos_etcd::progress::NoProgress;
use dcos_etcd_fuzz::{budget, database, mutator};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// What a walk tells.
#[derive(Default)]
struct Seen {
    bytes: u64,
    entries: u64,
    nested: u64,
    defects: Vec<Defect>,
}

impl Visitor for Seen {
    type Part = ();

    fn bucket(&mut self, _name: &[u8]) {}

    fn entry(&mut self, element: Element<'_>) {
        self.bytes += (element.key.len() + element.value.len()) as u64;
        self.entries += 1;
    }

    fn nested_bucket(&mut self, _element: Element<'_>) {
        self.nested += 1;
    }

    fn defect(&mut self, defect: Defect) {
        self.defects.push(defect);
    }

    // Small databases are walked by one thread.
    fn part(&self) -> Option<()> {
        None
    }

    fn take(&mut self, _part: ()) -> bool {
        false
    }
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator(data, size, max_size, seed, database::mutate)
});

fuzz_target!(|bytes: &[u8]| {
    let bytes = bytes.to_vec();
    budget::limit(&bytes, 4 << 20, 64);
    let Ok(opened) = Database::open(&bytes) else { return };
    let mut seen = Seen::default();
    let walked = walk(&opened, &mut seen, &NoProgress).expect("bytes in memory can be read");
    assert!(seen.bytes <= bytes.len() as u64, "{} bytes were handed out of {}", seen.bytes, bytes.len());
    assert!(walked.pages_reachable <= walked.pages);
    let sound = seen.defects.is_empty();
    let expect = |what: &str, outcome: Result<(), Defect>| {
        assert!(!sound || outcome.is_ok(), "{what} of a sound database: {outcome:?}");
    };
    let buckets = opened.buckets();
    expect("buckets", buckets.as_ref().map(drop).map_err(Clone::clone));
    let mut entries = 0;
    for bucket in buckets.unwrap_or_default() {
        let found = opened.bucket(bucket.name());
        expect("bucket", found.map(|found| assert!(!sound || found.as_ref() == Some(&bucket))));
        let all = opened.entries(&bucket);
        expect("entries", all.as_ref().map(drop).map_err(Clone::clone));
        let all = all.unwrap_or_default();
        entries += all.len() as u64;
        let last = opened.last(&bucket);
        expect("last", last.map(|last| assert!(!sound || seen.nested > 0 || last.as_ref() == all.last())));
        let step = all.len() / 8 + 1;
        for (at, (key, value)) in all.iter().enumerate().step_by(step) {
            expect("get", opened.get(&bucket, key).map(|got| assert!(!sound || got.as_ref() == Some(value))));
            let mut rest = all[at..].iter();
            let visited = opened.for_each_from(&bucket, key, &mut |element| {
                let next = rest.next().map(|(key, value)| (key.as_slice(), value.as_slice()));
                assert!(!sound || next == Some((element.key, element.value)));
                ControlFlow::Continue(())
            });
            expect("for_each_from", visited);
        }
        let _ = opened.for_each_from(&bucket, b"k", &mut |_| ControlFlow::Continue(()));
        let append = Append { bucket: bucket.name().to_vec(), key: vec![0xff; 40], value: vec![1; 700] };
        patch(&bytes, &opened, Patch { append: Some(append), ..Patch::default() }, sound);
    }
    assert!(!sound || entries == seen.entries, "{entries} entries are read, {} were walked", seen.entries);
    let replace = [(b"members".to_vec(), vec![(b"k".to_vec(), b"v".to_vec())])].into();
    patch(&bytes, &opened, Patch { replace, append: None }, sound);
});

/// Patches the database; a sound one has to be sound afterwards.
fn patch(bytes: &[u8], database: &Database<&Vec<u8>>, patch: Patch, sound: bool) {
    let pages = match patch.render(database) {
        Ok(pages) => pages,
        // The key may not be the greatest, there is no transaction after the last one, and no page behind the last.
        Err(defect) => {
            let refused = ["append-order", "too-large"].contains(&defect.code);
            return assert!(!sound || refused, "patch of a sound database: {defect:?}");
        }
    };
    if !sound {
        return;
    }
    let size = usize::try_from(database.size()).expect("it is in memory");
    let mut patched = [&bytes[..size], &pages.tail].concat();
    let page_size = pages.metas[0].len();
    patched[..page_size].copy_from_slice(&pages.metas[0]);
    patched[page_size..2 * page_size].copy_from_slice(&pages.metas[1]);
    let opened = Database::open(&patched).expect("a patched database opens");
    assert_eq!(None, check_patched(&opened, database.meta()).expect("bytes in memory can be read"));
    let mut seen = Seen::default();
    walk(&opened, &mut seen, &NoProgress).expect("bytes in memory can be read");
    assert_eq!(seen.defects, []);
}
