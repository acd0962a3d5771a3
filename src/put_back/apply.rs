//! The writing.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::{Action, Plan, Planned};
use super::refused::Refused;
use crate::client::{Failure, FailureKind, Guarded, Outcome, Write, Writer};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};

/// Keys of a transaction: etcd's own limit (`--max-txn-ops`), unless it is set lower.
const MOST_KEYS: usize = 128;
/// Bytes of a transaction, one key at least: below etcd's limit of 1.5 MiB (`--max-request-bytes`) with room for what
/// stands around keys and values.
const MOST_BYTES: u64 = 1 << 20;
/// Keys whose values are read at once, in the order of the file; those of an archive lie in blocks all over it.
const READ_KEYS: usize = 1 << 16;
/// Bytes of values that are read at once, one at least.
const READ_BYTES: u64 = 32 << 20;
/// Bytes of a key in a transaction beside its value: it stands in the condition, the write, and the read.
const KEY_COPIES: u64 = 3;
/// What etcd says of a put that names a lease which is not there; nothing of its transaction is done.
const NO_LEASE: &str = "requested lease not found";
/// What etcd says of a request beyond its `--max-request-bytes`, and grpc-go of one beyond that and 512 KiB.
const TOO_LARGE: [&str; 2] = ["request is too large", "received message larger than max"];

/// A key that somebody else wrote between the plan and its turn; it was left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: Vec<u8>,
    /// What was to become of it.
    pub action: Action,
    /// Revision of its last change when it was planned, 0 when it was not there.
    pub planned: i64,
    /// The same when its turn came.
    pub found: i64,
}

/// Requests that an endpoint has not answered, and that it may still carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// Who was asked.
    pub endpoint: String,
    /// Keys that these requests create, if they are not there then.
    pub creates: u64,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutBackReport {
    /// Keys that were put anew.
    pub created: u64,
    /// Keys that got another value.
    pub updated: u64,
    /// Keys that were deleted.
    pub deleted: u64,
    /// Keys that were as they should be when their turn came: somebody else had done it, or a transaction of this run
    /// that got no answer.
    pub settled: u64,
    /// Keys, of those that got another value, that hung on a lease which is not there any more; they hang on none now.
    pub detached: u64,
    /// Transactions that wrote.
    pub transactions: u64,
    /// Keys that somebody else wrote, and that were left alone.
    pub conflicts: Vec<Conflict>,
    /// Endpoints that may still carry out a request which they have not answered: a key that it creates would come back if
    /// it were deleted before that.
    pub unanswered: Vec<Unanswered>,
}

impl PutBackReport {
    /// Changes that are made.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.created + self.updated + self.deleted + self.settled
    }

    fn count(&mut self, planned: &Planned<'_>, lease: i64) {
        match planned.action {
            Action::Create => self.created += 1,
            Action::Update => self.updated += 1,
            Action::Delete => self.deleted += 1,
        }
        self.detached += u64::from(planned.action == Action::Update && lease != planned.lease);
    }

    fn await_no_longer(&mut self, endpoint: String, creates: u64) {
        match self.unanswered.iter_mut().find(|one| one.endpoint == endpoint) {
            Some(one) => one.creates += creates,
            None => self.unanswered.push(Unanswered { endpoint, creates }),
        }
    }
}

/// Values by key.
type Values = HashMap<Vec<u8>, Vec<u8>>;

/// Where the writing stands.
struct Run<'a> {
    plan: &'a Plan,
    writer: Writer,
    report: &'a Mutex<PutBackReport>,
    /// Bytes of keys and values that had their turn.
    bytes: u64,
    /// Keys that a transaction may have, less where this server takes less.
    most_keys: usize,
    /// Leases that keys hang on and that are not there.
    gone: HashSet<i64>,
    refused: Refused,
}

impl Plan {
    /// Writes what was planned. After a conflict, and after a key that is too large for this server or that this user may
    /// not write, it goes on with the other keys. Where an endpoint does not answer any more it goes on with any other of
    /// the same cluster.
    ///
    /// `report` says at every moment, and in the end however it comes, what etcd has confirmed and what was left alone.
    ///
    /// # Errors
    /// [`Error::PutBackStopped`] with how far it came, when etcd refused or did not answer, or the snapshot could not be
    /// read; [`Error::InvalidArgument`] when the endpoint has come to belong to another cluster.
    pub async fn apply(&self, report: &Mutex<PutBackReport>, progress: &dyn Progress) -> Result<()> {
        let writer = Writer::open(&self.access, &self.start).await?;
        if writer.cluster_id() != self.cluster_id {
            let (endpoint, found, planned) = (writer.endpoint(), writer.cluster_id(), self.cluster_id);
            let message = format!("{endpoint} belongs to cluster {found:x}, the plan is for cluster {planned:x}");
            return Err(Error::invalid(message));
        }
        let mut run = Run {
            plan: self,
            writer,
            report,
            bytes: 0,
            most_keys: MOST_KEYS,
            gone: HashSet::new(),
            refused: Refused::default(),
        };
        Box::pin(run.all(progress)).await.map_err(|error| match error {
            Error::Interrupted => Error::Interrupted,
            cause => {
                let report = run.report();
                let (done, planned) = (report.done(), self.len() as u64);
                let conflicts = report.conflicts.iter().map(|conflict| conflict.key.clone()).collect();
                Error::PutBackStopped { done, planned, conflicts, cause: Box::new(cause) }
            }
        })
    }
}

impl Run<'_> {
    async fn all(&mut self, progress: &dyn Progress) -> Result<()> {
        let mut at = 0;
        while at < self.plan.len() {
            let chunk = self.upto(at..self.plan.len(), READ_KEYS, READ_BYTES, 1);
            let values = self.values(chunk.clone(), progress)?;
            while at < chunk.end {
                let batch = self.upto(at..chunk.end, self.most_keys, MOST_BYTES, KEY_COPIES);
                at = batch.end;
                self.write(batch.clone(), &values, progress).await?;
                let put = batch.filter_map(|at| self.plan.get(at)).filter(|one| one.action != Action::Delete);
                self.bytes += put.map(|one| weight(&one, 1)).sum::<u64>();
            }
        }
        if let Some(error) = self.refused.error(self.plan, self.writer.endpoint()) {
            return Err(error);
        }
        self.step(progress)
    }

    fn report(&self) -> MutexGuard<'_, PutBackReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, progress: &dyn Progress) -> Result<()> {
        progress.step(Stage::Write, self.bytes, Some(self.plan.counts().bytes))
    }

    /// The first of these changes: so many keys and bytes at most, and one at least.
    fn upto(&self, changes: Range<usize>, most_keys: usize, most_bytes: u64, copies: u64) -> Range<usize> {
        let mut bytes = 0;
        let mut last = changes.start;
        while let Some(planned) = self.plan.get(last).filter(|_| last < changes.end) {
            bytes += weight(&planned, copies);
            let is_full = last - changes.start >= most_keys || bytes > most_bytes;
            if is_full && last > changes.start {
                break;
            }
            last += 1;
        }
        changes.start..last
    }

    /// Writes a batch, in parts where it is too much for this server, or where it can't be done to all of it.
    async fn write(&mut self, batch: Range<usize>, values: &Values, progress: &dyn Progress) -> Result<()> {
        let mut allowed = Vec::with_capacity(batch.len());
        for at in batch {
            let lease = self.lease_named(at);
            if !self.refused.passes_over(lease) {
                allowed.push(at);
            }
        }
        let mut parts = VecDeque::from([allowed]);
        while let Some(part) = parts.pop_front() {
            self.step(progress)?;
            if part.is_empty() {
                continue;
            }
            match self.transact(&part, values).await {
                Ok(rest) => parts.extend((!rest.is_empty()).then_some(rest)),
                Err(failure) => {
                    for smaller in self.smaller(part, failure)?.into_iter().rev() {
                        parts.push_front(smaller);
                    }
                }
            }
        }
        Ok(())
    }

    /// What to try instead of a part that failed: nothing, where it is a key that this server does not take.
    fn smaller(&mut self, part: Vec<usize>, failure: Failure) -> Result<Vec<Vec<usize>>> {
        if failure.kind == FailureKind::PermissionDenied {
            return self.without_denied(part, failure);
        }
        let too_many = failure.message.contains("too many operations in txn request");
        let too_large = TOO_LARGE.iter().any(|text| failure.message.contains(text));
        let no_lease = failure.message.contains(NO_LEASE);
        if let &[at] = part.as_slice() {
            if too_large {
                // Nobody waits for it with the others: another run would end here as well.
                self.refused.too_large(at, failure);
                return Ok(Vec::new());
            }
            // Its server has just said that it is gone: the key can be written, and hang on none.
            if no_lease && self.plan.get(at).is_some_and(|one| self.gone.insert(one.lease)) {
                return Ok(vec![part]);
            }
        } else if too_many || too_large || no_lease {
            if too_many {
                self.most_keys = self.most_keys.min(part.len().div_ceil(2));
            }
            let (one, other) = part.split_at(part.len() / 2);
            return Ok(vec![one.to_vec(), other.to_vec()]);
        }
        Err(failure.into_error(self.writer.endpoint()))
    }

    /// What to try instead of a part that this user may not write: nothing, where it is one key, or keys of one lease. Who
    /// names a lease must be allowed to write every key of it (`checkLeasePuts` in etcd's `server/etcdserver/apply_auth.go`),
    /// so that those of one stand or fall together.
    fn without_denied(&mut self, mut part: Vec<usize>, failure: Failure) -> Result<Vec<Vec<usize>>> {
        part.sort_by_key(|at| self.lease_named(*at));
        let named = |at: Option<&usize>| at.map_or(0, |at| self.lease_named(*at));
        let (first, last, half) = (named(part.first()), named(part.last()), named(part.get(part.len() / 2)));
        let goes_on = self.refused.count_denial(last != 0);
        let middle = if first == last && (part.len() == 1 || first != 0) {
            self.refused.denied(&part, first, failure.clone());
            part.len()
        } else if first == last {
            part.len() / 2
        } else {
            // Keys of one lease stay together.
            match part.partition_point(|at| self.lease_named(*at) < half) {
                0 => part.partition_point(|at| self.lease_named(*at) <= half),
                before => before,
            }
        };
        if !goes_on {
            let endpoint = self.writer.endpoint();
            return Err(self.refused.error(self.plan, endpoint).unwrap_or_else(|| failure.into_error(endpoint)));
        }
        let other = part.split_off(middle);
        Ok(if other.is_empty() { Vec::new() } else { vec![part, other] })
    }

    /// The lease that a change names, 0 for none.
    fn lease_named(&self, at: usize) -> i64 {
        let put = self.plan.get(at).filter(|one| one.action != Action::Delete);
        put.map_or(0, |one| self.lease(&one))
    }

    /// The lease that a key is to hang on: that on which it hangs, unless that is gone.
    fn lease(&self, planned: &Planned<'_>) -> i64 {
        if self.gone.contains(&planned.lease) { 0 } else { planned.lease }
    }

    /// Writes the changes at these places in one transaction. Where some of them can't be made, none of them is: gives
    /// back the others.
    async fn transact(&mut self, part: &[usize], values: &Values) -> std::result::Result<Vec<usize>, Failure> {
        let planned = || part.iter().filter_map(|at| self.plan.get(*at));
        let writes = planned().map(|one| Guarded {
            key: one.key.to_vec(),
            mod_revision: one.mod_revision,
            write: match one.action {
                Action::Delete => Write::Delete,
                Action::Create | Action::Update => {
                    let value = values.get(one.key).cloned().unwrap_or_default();
                    Write::Put { value, lease: self.lease(&one) }
                }
            },
        });
        let writes: Vec<Guarded> = writes.collect();
        let outcome = self.writer.write(&writes).await;
        let Ok(Outcome::Found(found)) = outcome else {
            // What has changed a key that was there is done only once.
            if outcome.is_err() || writes.iter().all(|one| one.mod_revision == 0) {
                self.await_no_longer(&writes);
            }
            outcome?;
            self.refused.allowed();
            let mut report = self.report();
            planned().for_each(|one| report.count(&one, self.lease(&one)));
            report.transactions += 1;
            return Ok(Vec::new());
        };
        self.refused.allowed();
        let settled = self.report().settled;
        let is_kept = |planned: Planned<'_>| found.get(planned.key).copied().unwrap_or(0) == planned.mod_revision;
        let (kept, changed): (Vec<usize>, Vec<usize>) =
            part.iter().copied().partition(|at| self.plan.get(*at).is_none_or(is_kept));
        let mut judged = Ok(());
        for at in &changed {
            judged = self.judge(*at, &found, values).await;
            if judged.is_err() {
                break;
            }
        }
        // All of it is right since one and the same revision: it was the request that got no answer, and no other, that was
        // carried out. And where a key that was there was written since, its condition never holds again.
        let revisions: HashSet<i64> = found.values().copied().collect();
        let is_done = self.report().settled - settled == part.len() as u64 && revisions.len() == 1;
        let is_void = |one: &Guarded| one.mod_revision != 0 && found.get(&one.key) != Some(&one.mod_revision);
        if !is_done && !writes.iter().any(is_void) {
            self.await_no_longer(&writes);
        }
        judged?;
        // The answer tells of the moment of the transaction, so that at least one condition did not hold.
        Ok(if changed.is_empty() { Vec::new() } else { kept })
    }

    /// Takes down what the requests that got no answer may still create.
    fn await_no_longer(&self, writes: &[Guarded]) {
        let creates = writes.iter().filter(|one| one.mod_revision == 0).count() as u64;
        for endpoint in self.writer.unanswered().iter().filter(|_| creates > 0) {
            self.report().await_no_longer(endpoint.to_string(), creates);
        }
    }

    /// Finds out what became of a key that was `found` to be changed: it may be as it should be.
    async fn judge(
        &mut self,
        at: usize,
        found: &BTreeMap<Vec<u8>, i64>,
        values: &Values,
    ) -> std::result::Result<(), Failure> {
        let Some(planned) = self.plan.get(at) else { return Ok(()) };
        let live = self.writer.get(planned.key).await?;
        let settled = match (live, planned.action) {
            (None, Action::Delete) => true,
            (Some(live), Action::Create | Action::Update) => values.get(planned.key) == Some(&live.value),
            _ => false,
        };
        if settled {
            self.report().settled += 1;
        } else {
            let found = found.get(planned.key).copied().unwrap_or(0);
            let (key, action) = (planned.key.to_vec(), planned.action);
            self.report().conflicts.push(Conflict { key, action, planned: planned.mod_revision, found });
        }
        Ok(())
    }

    /// The values that these changes put.
    fn values(&self, changes: Range<usize>, progress: &dyn Progress) -> Result<Values> {
        let planned = changes.filter_map(|at| self.plan.get(at));
        let keys = planned.filter(|one| one.action != Action::Delete).map(|one| one.key);
        let rows = self.plan.store.get_all(keys, Some(self.plan.revision), progress)?;
        Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
    }
}

/// Bytes of a change in a transaction where its key stands so many times.
fn weight(planned: &Planned<'_>, copies: u64) -> u64 {
    planned.size + planned.key.len() as u64 * copies
}
