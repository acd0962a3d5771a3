//! The restore itself, step by step.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::bbolt::{Meta, Patch};
use crate::data_dir::{self, Layout};
use crate::defect::Defect;
use crate::durable::{Replaced, Undeleted, sync_beside};
use crate::error::{Error, Result};
use crate::hex::hex_id;
use crate::progress::{Progress, Stage};
use crate::raft::{Bootstrap, Membership, bootstrap, snap, wal};
use crate::schema::Revision;
use crate::snapshot::{VerifiedSnapshot, VerifyOptions, spooled};

use super::guard;
use super::handover::{Handover, NoHandover};
use super::options::{Existing, RestoreOptions, RestoreReport, RestoredMember};
use super::patch;
use super::place::{self, Place};
use super::rewrite::{self, Job, Outcome, Rewritten};
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
    guard::check(path, options)?;
    let mut found = if options.dry_run { Vec::new() } else { place::recover(options)? };
    check_destination(path, options).map_err(|error| telling(&found, error))?;
    let verify = VerifyOptions { skip_hash_check: options.skip_hash_check };
    if options.dry_run {
        let snapshot = VerifiedSnapshot::open(path, verify, progress)?;
        let membership = bootstrap(&identity(&snapshot, options))?;
        let plan = Plan::new(path, &snapshot, &membership, options)?;
        let outcome =
            snapshot.vouch(plan.rewritten(|| spooled(path, |file, dir| plan.rewrite(file, dir, progress))))?;
        return Ok(report(&plan, &membership, outcome.as_ref()));
    }
    let place = Place::create(options)?;
    found.extend_from_slice(place.found());
    let file = place.create_database()?;
    let snapshot = if options.rewrite.is_needed() {
        VerifiedSnapshot::open(path, verify, progress)?
    } else {
        VerifiedSnapshot::copy_to(path, &file, verify, progress)?
    };
    let membership = bootstrap(&identity(&snapshot, options))?;
    let plan = Plan::new(path, &snapshot, &membership, options)?;
    let outcome = snapshot.vouch(write_database(&plan, &file, &place, progress))?;
    snap::write_dir(&place.snap_dir(), &membership)?;
    wal::write_dir(place.wal_dir(), &membership)?;
    let walked = outcome.is_none().then(|| snapshot.database().meta());
    prove(options, &membership, walked, &place, progress)?;
    let carried = place.furnish(options)?;
    let database_size = outcome.as_ref().map_or(snapshot.database_size(), |outcome| outcome.size);
    progress.step(Stage::Sync, 0, Some(database_size))?;
    let go_on = || progress.update(Stage::Sync, database_size, Some(database_size));
    let moved = guard::moved(path, options);
    let replaced = place.commit(options, handover, &go_on)?;
    // The restore stands; nothing that is asked now can undo it, so nobody is. But who wants to stop wants no old data
    // deleted.
    let mut report = report(&plan, &membership, outcome.as_ref());
    report.warnings.extend(found);
    report.steps.extend(carried.iter().map(|name| format!("carry {name} over from the old data directory")));
    if let Some(replaced) = replaced {
        farewell(options, &replaced, &go_on, &mut report);
    }
    if let (Some(moved), Some(replaced)) = (moved, &report.replaced) {
        let moved = moved(replaced);
        let message = format!("the snapshot moved with the old data directory, and lies in {}", moved.display());
        report.warnings.push(message);
    }
    Ok(report)
}

/// Refuses a destination before anything is written.
fn check_destination(path: &Path, options: &RestoreOptions) -> Result<()> {
    place::check_vacant(options)?;
    place::refuse_in_use(options)?;
    // Once more: the old data of a restore that was killed may be back.
    guard::check(path, options)?;
    space::check(path, options)
}

/// A refusal, with what was found of restores that were killed.
fn telling(found: &[String], error: Error) -> Error {
    let told = |message: String| [&[message], found].concat().join("; ");
    match error {
        Error::DataDirNotEmpty { path, message } => Error::DataDirNotEmpty { path, message: told(message) },
        Error::InUse { path, message } => Error::InUse { path, message: told(message) },
        other => other,
    }
}

/// Who the new cluster is that is restored from `snapshot`.
fn identity(snapshot: &VerifiedSnapshot, options: &RestoreOptions) -> Bootstrap {
    options.bootstrap(&snapshot.sha256(), snapshot.contents().current_revision())
}

/// What is to be done with a snapshot.
struct Plan<'p> {
    path: &'p Path,
    options: &'p RestoreOptions,
    snapshot: &'p VerifiedSnapshot,
    /// At which it is restored.
    revision: i64,
    bump_to: Option<i64>,
    changes: Patch,
}

impl<'p> Plan<'p> {
    fn new(
        path: &'p Path,
        snapshot: &'p VerifiedSnapshot,
        membership: &Membership,
        options: &'p RestoreOptions,
    ) -> Result<Self> {
        let revision = options.rewrite.revision_of(snapshot.contents())?;
        let bump_to = options.bump_revision.map(|by| patch::bumped(revision, by)).transpose()?;
        let changes =
            patch::plan(snapshot.database(), snapshot.contents(), membership, bump_to, options.rewrite.repairs)
                .map_err(|defect| corrupt(path, defect))?;
        Ok(Self { path, options, snapshot, revision, bump_to, changes })
    }

    /// What `work` gives, where the database has to be written anew.
    fn rewritten(&self, work: impl FnOnce() -> Result<Outcome>) -> Result<Option<Outcome>> {
        if self.options.rewrite.is_needed() { work().map(Some) } else { Ok(None) }
    }

    /// A warning where clients may have seen the revision to which it is bumped, and later ones.
    fn bumped_too_little(&self) -> Option<String> {
        let seen = self.snapshot.contents().current_revision();
        let to = self.bump_to.filter(|to| *to <= seen)?;
        let least = seen.saturating_sub(self.revision);
        Some(format!(
            "--bump-revision takes revision {} on to {to}, not past {seen}, at which the snapshot is: clients that have \
             seen that do not notice that it went back; give more than {least}, such as 1000000000",
            self.revision
        ))
    }

    /// Writes the database anew into `file`, reads it back, and has it on stable storage. `to` is for errors.
    fn rewrite(&self, file: &File, to: &Path, progress: &dyn Progress) -> Result<Outcome> {
        let job = Job {
            database: self.snapshot.database(),
            hash: self.snapshot.contents().hash,
            from: self.path,
            rewrite: &self.options.rewrite,
            revision: self.revision,
            changes: &self.changes,
            to,
        };
        let written = rewrite::write(&job, file, progress)?;
        let (read, synced) = sync_beside(file, || rewrite::read_back(file, written, job.rewrite, to, progress));
        let (outcome, defects) = read?;
        synced.map_err(Error::io("writing", to))?;
        proven(self.options, defects)?;
        rewrite::refuse_nothing(self.path, job.rewrite, self.snapshot.contents(), &outcome)?;
        Ok(outcome)
    }
}

/// Makes the file the restored member's database and puts it on stable storage.
fn write_database(plan: &Plan<'_>, file: &File, place: &Place, progress: &dyn Progress) -> Result<Option<Outcome>> {
    let path = place.snap_dir().join("db");
    let outcome = plan.rewritten(|| plan.rewrite(file, &path, progress))?;
    if outcome.is_none() {
        patch_database(plan, file, &path)?;
    }
    Ok(outcome)
}

/// Turns the copied database into the restored member's.
fn patch_database(plan: &Plan<'_>, file: &File, to: &Path) -> Result<()> {
    let database = plan.snapshot.database();
    let pages = plan.changes.render(database).map_err(|defect| corrupt(plan.path, defect))?;
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
    write().map_err(Error::io("writing", to))
}

/// Reads back everything that was written, through the offline verifier, before it can take anybody's place. `walked`
/// is the meta of a copy that was found sound and then patched; what was written anew has none.
fn prove(
    options: &RestoreOptions,
    membership: &Membership,
    walked: Option<&Meta>,
    place: &Place,
    progress: &dyn Progress,
) -> Result<()> {
    let (data_dir, wal_dir) = (place.data_dir(), place.wal_dir());
    let defects = match walked {
        Some(walked) => data_dir::verify_restored(data_dir, wal_dir, membership, walked, progress)?,
        None => data_dir::verify_member(data_dir, wal_dir, membership, Layout::Portable, progress)?,
    };
    proven(options, defects)
}

fn proven(options: &RestoreOptions, defects: Vec<Defect>) -> Result<()> {
    if defects.is_empty() {
        return Ok(());
    }
    Err(Error::RestoreUnproven { path: options.data_dir.clone(), defects })
}

/// Deletes what gave way, if that is wanted, and tells of it.
fn farewell(options: &RestoreOptions, replaced: &Replaced, go_on: &dyn Fn() -> bool, report: &mut RestoreReport) {
    report.warnings.extend(replaced.warning.clone());
    let undeleted = if options.existing != Existing::Discard {
        None
    } else if !data_dir::in_use(&replaced.path, None).is_ok_and(|used| used.is_none()) {
        // Whoever started in it after the last look has it open by its old name.
        let reason = "an etcd has it open, stop that first".to_owned();
        Some(Undeleted { path: replaced.path.clone(), begun: false, reason })
    } else if let Err(undeleted) = replaced.delete(&options.data_dir, go_on) {
        Some(undeleted)
    } else {
        return report.steps.push("delete the old data directory".to_owned());
    };
    if let Some(Undeleted { path, begun, reason }) = undeleted {
        let path = path.display();
        report.warnings.push(if begun {
            format!("the old data was not all deleted, the rest lies in {path} until the next restore here: {reason}")
        } else {
            format!("the old data in {path} was not deleted: {reason}")
        });
        if begun {
            return;
        }
    }
    report.steps.push(format!("keep the old data directory as {}", replaced.path.display()));
    report.replaced = Some(replaced.path.clone());
}

fn corrupt(path: &Path, defect: Defect) -> Error {
    Error::Corrupt { path: path.to_owned(), defects: vec![defect] }
}

fn report(plan: &Plan<'_>, membership: &Membership, outcome: Option<&Outcome>) -> RestoreReport {
    let Plan { path, options, snapshot, .. } = plan;
    let verified = snapshot.report();
    let before = snapshot.contents().warnings();
    let mut warnings = verified.warnings;
    warnings.retain(|warning| !before.contains(warning));
    warnings.extend(rewrite::warnings(&options.rewrite, snapshot.contents(), outcome));
    warnings.extend(plan.bumped_too_little());
    RestoreReport {
        path: path.to_path_buf(),
        data_dir: options.data_dir.clone(),
        wal_dir: options.wal_dir(),
        name: options.bootstrap.name.clone(),
        member_id: hex_id(membership.local_id),
        cluster_id: hex_id(membership.cluster_id),
        initial_cluster_token: identity(snapshot, options).initial_cluster_token,
        members: membership.members.iter().map(RestoredMember::from).collect(),
        revision: snapshot.contents().current_revision(),
        bumped_revision: plan.bump_to,
        snapshot_members: snapshot.contents().members,
        database_size: verified.database_size,
        sha256: verified.sha256,
        rewritten: outcome.map(|outcome| Rewritten::new(plan.revision, outcome)),
        replaced: None,
        dry_run: options.dry_run,
        steps: steps(plan, membership, outcome),
        changes: changes(plan, outcome),
        warnings,
    }
}

fn steps(plan: &Plan<'_>, membership: &Membership, outcome: Option<&Outcome>) -> Vec<String> {
    let Plan { path, options, snapshot, .. } = plan;
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
    steps.extend(changes(plan, outcome));
    steps.extend(outcome.map(rewrite::written));
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

/// Those of the steps that change what the snapshot holds.
fn changes(plan: &Plan<'_>, outcome: Option<&Outcome>) -> Vec<String> {
    let (how, before) = (&plan.options.rewrite, plan.snapshot.contents());
    let mut changes = outcome.map_or_else(Vec::new, |outcome| rewrite::changes(how, outcome));
    changes.extend(rewrite::repairs(how, before));
    if let Some(Revision { main, .. }) = before.unmarked_compaction() {
        changes.push(format!(
            "mark the compaction to {main} as finished: it has removed the last entry, and earlier etcd would start below"
        ));
    }
    if let Some(to) = plan.bump_to {
        changes.push(format!("move the revision on to {to} and mark everything up to it as compacted"));
    }
    changes
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::rewrite::Rewrite;
    use super::*;
    use crate::compose::{Change, make_snapshot};

    /// Says stop at every step but the first few after the member stands.
    struct StopsWhenItStands<'a> {
        data_dir: &'a Path,
        patience: u32,
        asked: AtomicU32,
    }

    impl Progress for StopsWhenItStands<'_> {
        fn update(&self, _: Stage, _: u64, _: Option<u64>) -> bool {
            !self.data_dir.join("member/snap/db").exists() || self.asked.fetch_add(1, Ordering::Relaxed) < self.patience
        }
    }

    /// What is told of a restore over old data, how often it asked when the new member stood, and what lies around it.
    fn stopped(existing: Existing, patience: u32) -> (RestoreReport, u32, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let (snapshot, data_dir) = (dir.path().join("made.db"), dir.path().join("data"));
        make_snapshot(&snapshot, &[Change { key: b"key".to_vec(), value: Some(b"value".to_vec()) }]).unwrap();
        if existing != Existing::Refuse {
            fs::create_dir_all(data_dir.join("member/wal")).unwrap();
            fs::write(data_dir.join("member/wal/precious"), b"").unwrap();
        }
        let options = RestoreOptions {
            data_dir: data_dir.clone(),
            existing,
            carry_over: Vec::new(),
            owner: None,
            wal_dir: None,
            bootstrap: Bootstrap {
                name: "m".to_owned(),
                initial_cluster: "m=http://127.0.0.1:2380".to_owned(),
                initial_advertise_peer_urls: "http://127.0.0.1:2380".to_owned(),
                initial_cluster_token: "t".to_owned(),
            },
            derive_token: false,
            bump_revision: None,
            mark_compacted: false,
            skip_hash_check: false,
            rewrite: Rewrite::default(),
            dry_run: false,
        };
        let progress = StopsWhenItStands { data_dir: &data_dir, patience, asked: AtomicU32::new(0) };

        let report = restore(&snapshot, &options, &progress).unwrap();

        let around = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut around: Vec<_> = around.filter(|name| name.contains("data")).collect();
        around.sort();
        (report, progress.asked.into_inner(), around)
    }

    #[test]
    fn nobody_is_asked_when_the_member_stands_unless_there_is_something_to_delete() {
        let (report, asked, around) = stopped(Existing::Refuse, 0);
        assert_eq!((report.warnings, asked, around), (Vec::new(), 0, vec!["data".to_owned()]));

        let (report, asked, around) = stopped(Existing::Keep, 0);
        let kept = report.replaced.unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!((report.warnings, asked, around), (Vec::new(), 0, vec!["data".to_owned(), kept]));
    }

    #[test]
    fn who_stops_before_the_deletion_keeps_the_old_data_and_gets_the_report() {
        let (report, asked, around) = stopped(Existing::Discard, 0);

        let kept = report.replaced.unwrap();
        let told = format!("the old data in {} was not deleted: it was told to stop", kept.display());
        assert_eq!((report.warnings, asked), (vec![told], 1));
        assert_eq!(around, ["data", kept.file_name().unwrap().to_str().unwrap()]);
    }

    #[test]
    fn who_stops_the_deletion_gets_the_report_that_tells_where_the_rest_lies() {
        let (report, asked, around) = stopped(Existing::Discard, 2);

        assert_eq!((report.replaced, asked), (None, 3));
        let [told] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
        assert!(told.starts_with("the old data was not all deleted, the rest lies in "), "{told}");
        assert!(told.contains(&around[0]) && around[0].starts_with(".data.restore-"), "{told}: {around:?}");
        assert_eq!(around.len(), 2);
    }
}
