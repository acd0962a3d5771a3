//! Changes that etcd refuses each for itself, so that the others are made all the same.

use std::collections::HashSet;

use super::plan::Plan;
use crate::client::{EndpointUrl, Failure};
use crate::error::Error;

/// Requests in a row that this user was not allowed although they named no lease: so many that nothing below the prefix
/// may be written, it seems. To find the first key of a transaction takes eight.
const MOST_IN_A_ROW: u32 = 16;
/// Requests in all that this user was not allowed.
const MOST_DENIALS: u32 = 256;
/// Bytes of a key that an error shows.
const SHOWN: usize = 100;

/// The first change of a kind with why it was refused, and how many there are.
#[derive(Default)]
struct Named {
    first: Option<(usize, Failure)>,
    keys: u64,
}

impl Named {
    fn add(&mut self, at: usize, keys: usize, failure: Failure) {
        self.keys += keys as u64;
        self.first.get_or_insert((at, failure));
    }

    fn others(&self) -> String {
        match self.keys.saturating_sub(1) {
            0 => String::new(),
            others => format!(" and {others} more keys"),
        }
    }
}

/// What was refused.
#[derive(Default)]
pub(super) struct Refused {
    /// Too large for this server.
    too_large: Named,
    /// Not allowed to this user.
    denied: Named,
    /// Leases that this user may not name.
    leases: HashSet<i64>,
    denials: u32,
    in_a_row: u32,
}

impl Refused {
    /// A change is too large for this server.
    pub(super) fn too_large(&mut self, at: usize, failure: Failure) {
        self.too_large.add(at, 1, failure);
    }

    /// A request was not allowed; `is_leased` where it named a lease. Whether it is worth while to go on in parts of it.
    pub(super) fn count_denial(&mut self, is_leased: bool) -> bool {
        self.denials += 1;
        self.in_a_row += u32::from(!is_leased);
        self.denials < MOST_DENIALS && self.in_a_row < MOST_IN_A_ROW
    }

    /// The user may write something.
    pub(super) fn allowed(&mut self) {
        self.in_a_row = 0;
    }

    /// These changes, whose keys hang on this lease (0 for none), are not allowed.
    pub(super) fn denied(&mut self, changes: &[usize], lease: i64, failure: Failure) {
        if let Some(first) = changes.first() {
            self.denied.add(*first, changes.len(), failure);
        }
        if lease != 0 {
            self.leases.insert(lease);
        }
    }

    /// Whether it is known that this lease may not be named; then its key is counted with what was refused.
    pub(super) fn passes_over(&mut self, lease: i64) -> bool {
        let is_denied = self.leases.contains(&lease);
        self.denied.keys += u64::from(is_denied);
        is_denied
    }

    /// The error for all of it.
    pub(super) fn error(&mut self, plan: &Plan, endpoint: &EndpointUrl) -> Option<Error> {
        let too_large = self.too_large.first.take().and_then(|(at, failure)| {
            let planned = plan.get(at)?;
            let (key, size, others) = (shown(planned.key), planned.size, self.too_large.others());
            let message = &failure.message;
            let message = format!(
                "{message}: key {key} with a value of {size} bytes{others}; give the server a greater --max-request-bytes"
            );
            Some(Failure { message, ..failure })
        });
        let denied = self.denied.first.take().and_then(|(at, failure)| {
            let planned = plan.get(at)?;
            let (key, others, message) = (shown(planned.key), self.denied.others(), &failure.message);
            let lease = match planned.lease {
                0 => String::new(),
                lease => format!(" on lease {lease:x}, every key of which the user must be allowed to write,"),
            };
            Some(Failure { message: format!("{message}: key {key}{lease}{others}"), ..failure })
        });
        let failure = match (denied, too_large) {
            (Some(denied), Some(too_large)) => Failure { message: format!("{denied}; {too_large}"), ..denied },
            (denied, too_large) => denied.or(too_large)?,
        };
        Some(failure.into_error(endpoint))
    }
}

fn shown(key: &[u8]) -> String {
    format!("b\"{}\"", key.get(..SHOWN).unwrap_or(key).escape_ascii())
}
