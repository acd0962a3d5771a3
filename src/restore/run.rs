//! The restore itself, step by step.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::data_dir::{self, Layout};
use crate::defect::Defect;
use crate::durable::Replaced;
use crate::error::{Error, Result};
use crate::hex::hex_id;
use crate::progress::{Progress, Stage};
use crate::raft::{Membership, bootstrap, snap, wal};
use crate::snapshot::{VerifiedSnapshot, VerifyOptions};

use super::handover::{Handover, NoHandover};
use super::options::{Existing, RestoreOptions, RestoreReport, RestoredMember};
use super::patch;
use super::place::{self, Place};
use super::space;

/// Restores the snapshot at `path` as one member of a new cluster.
///
/// Every member is restored from the same snapshot with the same `initial_cluster` and token, and its own name.
pub fn restore(path: &Path, options: &RestoreOptions, progress: &dyn Progress) -> Result<RestoreReport> {
    restore_with(path, options, progress, &NoHandover)
}

/// [`restore`], with what the caller has to do around the instant at which the directory takes its place.
pub fn restore_with(
    path: &Path,
    options: &RestoreOptions,
    progress: &dyn Progress,
    handover: &dyn Handover,
) -> Result<RestoreReport> {
    options.check()?;
    // A plan that makes no sense is refused before anything is read; the ids may come later.
    bootstrap(&options.bootstrap)?;
    place::check_vacant(options)?;
    place::refuse_in_use(options)?;
    space::check(path, options)?;
    let verify = VerifyOptions { skip_hash_check: options.skip_hash_check };
    if options.dry_run {
        let snapshot = VerifiedSnapshot::open(path, verify, progress)?;
        let membership = bootstrap(&options.bootstrap(&snapshot.sha256()))?;
        let bump_to = bump_to(&snapshot, options)?;
        patch::plan(snapshot.database(), &membership, bump_to).map_err(|defect| corrupt(path, defect))?;
        return Ok(report(path, options, &membership, &snapshot, bump_to));
    }
    let place = Place::create(options)?;
    let found = place.found().to_vec();
    let snapshot = VerifiedSnapshot::copy_to(path, place.create_database()?, verify, progress)?;
    let membership = bootstrap(&options.bootstrap(&snapshot.sha256()))?;
    let bump_to = bump_to(&snapshot, options)?;
    write_database(path, &snapshot, &membership, bump_to, &place)?;
    snap::write_dir(&place.snap_dir(), &membership)?;
    wal::write_dir(place.wal_dir(), &membership)?;
    prove(options, &membership, &place, progress)?;
    let carried = place.furnish(options)?;
    let database_size = snapshot.database_size();
    progress.step(Stage::Sync, 0, Some(database_size))?;
    let replaced = place.commit(options, handover)?;
    // The restore stands; nothing that is asked now can undo it.
    progress.update(Stage::Sync, database_size, Some(database_size));
    let mut report = report(path, options, &membership, &snapshot, bump_to);
    report.warnings.extend(found);
    farewell(options, replaced, &carried, &mut report);
    Ok(report)
}

fn bump_to(snapshot: &VerifiedSnapshot, options: &RestoreOptions) -> Result<Option<i64>> {
    let current = snapshot.contents().current_revision();
    options.bump_revision.map(|by| patch::bumped(current, by)).transpose()
}

/// Turns the copied database into the restored member's and puts it on stable storage.
fn write_database(
    path: &Path,
    snapshot: &VerifiedSnapshot,
    membership: &Membership,
    bump_to: Option<i64>,
    place: &Place,
) -> Result<()> {
    let database = snapshot.database();
    let changes = patch::plan(database, membership, bump_to).map_err(|defect| corrupt(path, defect))?;
    let pages = changes.render(database).map_err(|defect| corrupt(path, defect))?;
    let file = database.source().file();
    let page_size = database.page_size();
    let write = || -> io::Result<()> {
        // The file may be longer than its high water mark, or keep a trailer that did not fit: cut there first.
        file.set_len(database.size())?;
        file.write_all_at(&pages.tail, database.size())?;
        let [first, second] = &pages.metas;
        file.write_all_at(first, 0)?;
        file.write_all_at(second, page_size)?;
        file.sync_all()
    };
    write().map_err(Error::io("writing", &place.snap_dir().join("db")))
}

/// Reads everything back through the offline verifier, before it can take anybody's place.
fn prove(options: &RestoreOptions, membership: &Membership, place: &Place, progress: &dyn Progress) -> Result<()> {
    let defects = data_dir::verify_member(place.data_dir(), place.wal_dir(), membership, Layout::Portable, progress)?;
    if defects.is_empty() {
        return Ok(());
    }
    Err(Error::RestoreUnproven { path: options.data_dir.clone(), defects })
}

/// Deletes what gave way, if it is not to be kept, and tells of it.
fn farewell(options: &RestoreOptions, replaced: Option<Replaced>, carried: &[String], report: &mut RestoreReport) {
    report.steps.extend(carried.iter().map(|name| format!("carry {name} over from the old data directory")));
    let Some(Replaced { path, warning }) = replaced else { return };
    report.warnings.extend(warning);
    if options.existing == Existing::Discard {
        match fs::remove_dir_all(&path) {
            Ok(()) => return report.steps.push("delete the old data directory".to_owned()),
            Err(error) => report.warnings.push(format!("the old data in {} was not deleted: {error}", path.display())),
        }
    }
    report.steps.push(format!("keep the old data directory as {}", path.display()));
    report.replaced = Some(path);
}

fn corrupt(path: &Path, defect: Defect) -> Error {
    Error::Corrupt { path: path.to_owned(), defects: vec![defect] }
}

fn report(
    path: &Path,
    options: &RestoreOptions,
    membership: &Membership,
    snapshot: &VerifiedSnapshot,
    bump_to: Option<i64>,
) -> RestoreReport {
    let verified = snapshot.report();
    RestoreReport {
        path: path.to_owned(),
        data_dir: options.data_dir.clone(),
        wal_dir: options.wal_dir(),
        name: options.bootstrap.name.clone(),
        member_id: hex_id(membership.local_id),
        cluster_id: hex_id(membership.cluster_id),
        initial_cluster_token: options.bootstrap(&verified.sha256).initial_cluster_token,
        members: membership.members.iter().map(RestoredMember::from).collect(),
        revision: snapshot.contents().current_revision(),
        bumped_revision: bump_to,
        snapshot_members: snapshot.contents().members,
        database_size: verified.database_size,
        sha256: verified.sha256,
        replaced: None,
        dry_run: options.dry_run,
        steps: steps(path, options, membership, snapshot, bump_to),
        warnings: verified.warnings,
    }
}

fn steps(
    path: &Path,
    options: &RestoreOptions,
    membership: &Membership,
    snapshot: &VerifiedSnapshot,
    bump_to: Option<i64>,
) -> Vec<String> {
    let snap_dir = options.data_dir.join("member").join("snap");
    let (snap_name, _) = snap::restored(membership);
    let mut steps = vec![
        format!(
            "verify {}: {} bytes of database, sha256 {}, revision {}",
            path.display(),
            snapshot.database_size(),
            snapshot.sha256(),
            snapshot.contents().current_revision()
        ),
        format!(
            "write {} with the {} new members in place of the {} old ones",
            snap_dir.join("db").display(),
            membership.members.len(),
            snapshot.contents().members
        ),
    ];
    if let Some(to) = bump_to {
        steps.push(format!("move the revision on to {to} and mark everything up to it as compacted"));
    }
    steps.push(format!("write {}", snap_dir.join(snap_name).display()));
    steps.push(format!(
        "write the WAL in {}: member {:x} of cluster {:x}",
        options.wal_dir().display(),
        membership.local_id,
        membership.cluster_id
    ));
    steps.push(format!("check all of it, sync it, and put it in place as {}", options.data_dir.display()));
    if options.existing != Existing::Refuse && options.dry_run {
        steps.push("keep what that holds under a dated name beside it, or delete it, as asked".to_owned());
    }
    steps
}
