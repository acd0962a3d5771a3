//! What is to be known of a store before anything in it.

use super::{RevisionKey, StoreMeta, buckets};
use crate::bbolt::{Bucket, Database};
use crate::defect::Defect;
use crate::read_at::ReadAt;

/// The bucket `key`, the bucket `meta` read, and the main revision of the last entry, 0 when there is none. A handful of
/// pages is read, and nothing else judged.
///
/// # Errors
/// The first defect on the way.
pub fn foundations<R: ReadAt>(database: &Database<R>) -> Result<(Bucket, StoreMeta, i64), Defect> {
    let key = required(database, buckets::KEY)?;
    let mut meta = StoreMeta::default();
    for (name, value) in database.entries(&required(database, buckets::META)?)? {
        meta.take(&name, &value).map_err(|message| Defect::new("meta-malformed", message))?;
    }
    let last = database.last(&key)?.map(|(last, _)| RevisionKey::parse(&last)).transpose();
    let last = last.map_err(|message| Defect::new("revision-malformed", message))?;
    Ok((key, meta, last.map_or(0, |last| last.revision.main)))
}

fn required<R: ReadAt>(database: &Database<R>, name: &[u8]) -> Result<Bucket, Defect> {
    database.bucket(name)?.ok_or_else(|| {
        let name = String::from_utf8_lossy(name);
        Defect::new("bucket-missing", format!("there is no bucket `{name}`: a bbolt database, but not etcd's"))
    })
}
