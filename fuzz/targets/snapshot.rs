//! A bare database with its SHA-256: what `verify` accepts, every reader reads, and every restore restores; compressed,
//! when its leaves are judged as they pass by, it is found to be the same.

#![no_main]

use std::io::Write;

use dcos_etcd::archive::{Kind, look};
use dcos_etcd::progress::NoProgress;
use dcos_etcd::snapshot::{VerifyOptions, VerifyReport, verify};
use dcos_etcd::{Error, Result};
use dcos_etcd_fuzz::{budget, database, mutator, readers, scratch};
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator(data, size, max_size, seed, database::mutate)
});

fuzz_target!(|bytes: &[u8]| {
    let path = scratch::file("snapshot.db", bytes);
    budget::limit(bytes, 32 << 20, 64);
    let options = VerifyOptions { skip_hash_check: bytes.len().is_multiple_of(512) };
    let verified = verify(&path, options, &NoProgress);
    // Of what is packed itself, nobody looks for a database inside twice.
    if look(&path).is_ok_and(|look| look.kind == Kind::Database) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::none());
        packed.write_all(bytes).expect("there is memory");
        let packed = scratch::file("snapshot.db.gz", &packed.finish().expect("there is memory"));
        assert_eq!(found(&verify(&packed, options, &NoProgress)), found(&verified));
    }
    let verified = verified.ok();
    readers::read(&path, verified.as_ref());
    if let Some(report) = verified {
        readers::restored(&path, &report, crc32c::crc32c(bytes));
    }
});

/// What was found of the database, whatever it was packed in.
fn found(verified: &Result<VerifyReport>) -> String {
    match verified {
        Ok(report) => format!("{:?} {} {} {:?}", report.status, report.pages, report.pages_free, report.warnings),
        Err(Error::Corrupt { defects, .. }) => format!("{defects:?}"),
        Err(error) => error.to_string().replace(".db.gz", ".db"),
    }
}
