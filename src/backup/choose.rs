//! Whom to ask for the snapshot.
//!
//! All endpoints are probed side by side and considered in the order given: the first that is healthy is used. A
//! cluster without a quorum has no healthy endpoint and needs a backup more than any other, so those that at least
//! answer come after all the healthy ones, with a warning: the one that has applied the most of the log first, and a
//! member that etcd found to differ from the others (alarm CORRUPT) last.

use std::cmp::Reverse;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesOrdered, StreamExt};

use crate::client::{Connection, Connector, EndpointUrl, Failure, FailureKind};
use crate::facts::MemberStatus;

/// An endpoint that may be asked.
pub(super) struct Candidate {
    pub(super) connection: Connection,
    /// Absent where this user may not see it.
    pub(super) status: Option<MemberStatus>,
    /// Why it is not healthy.
    pub(super) doubt: Option<Failure>,
}

impl Candidate {
    /// What speaks for it where none is healthy; greater is better. Committed entries are the same everywhere, so who has
    /// applied more of them lacks less. The term tells nothing: a member that is alone counts it up.
    fn merit(&self) -> (bool, u64, bool) {
        let Some(status) = &self.status else { return (true, 0, true) };
        (!is_corrupt(status), status.raft_applied_index, !status.is_learner)
    }
}

/// Whether the alarm CORRUPT is raised for this very member. Such a member goes on answering reads, and says so in the text
/// of each alarm (etcd `maintenance.go: Status`, Go's `AlarmMember.String`).
fn is_corrupt(status: &MemberStatus) -> bool {
    let member = format!("memberID:{} ", status.member_id);
    status.errors.iter().any(|error| error.contains(&member) && error.contains("alarm:CORRUPT"))
}

/// Endpoints in the order in which to try them.
pub(super) struct Candidates<'a> {
    probes: FuturesOrdered<BoxFuture<'a, (EndpointUrl, Result<Candidate, Failure>)>>,
    doubtful: Vec<Candidate>,
    /// Those that came before and can't be used, or were tried in vain.
    pub(super) skipped: Vec<(String, Failure)>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(connector: &'a Connector) -> Self {
        let probes = connector.endpoints().iter().map(|endpoint| probe(connector, endpoint.clone()).boxed());
        Self { probes: probes.collect(), doubtful: Vec::new(), skipped: Vec::new() }
    }

    /// The next one to try.
    pub(super) async fn next(&mut self) -> Option<Candidate> {
        while let Some((endpoint, outcome)) = self.probes.next().await {
            match outcome {
                Ok(Candidate { connection, status, doubt: Some(doubt) }) => {
                    self.skipped.push((endpoint.to_string(), doubt.clone()));
                    self.doubtful.push(Candidate { connection, status, doubt: Some(doubt) });
                }
                Ok(healthy) => return Some(healthy),
                Err(failure) => self.skipped.push((endpoint.to_string(), failure)),
            }
        }
        // The first among equals.
        let (best, _) = self.doubtful.iter().enumerate().min_by_key(|(_, candidate)| Reverse(candidate.merit()))?;
        let candidate = self.doubtful.remove(best);
        // It is tried after all; if in vain, it is put back with another reason.
        let endpoint = candidate.connection.endpoint().to_string();
        self.skipped.retain(|(skipped, _)| *skipped != endpoint);
        Some(candidate)
    }
}

async fn probe(connector: &Connector, endpoint: EndpointUrl) -> (EndpointUrl, Result<Candidate, Failure>) {
    let connection = match Box::pin(connector.connect(&endpoint)).await {
        Ok(connection) => connection,
        Err(failure) => return (endpoint, Err(failure)),
    };
    let (status, (_, doubt)) = tokio::join!(connection.status(), connection.read(true));
    let no_token = connection.without_token().is_some();
    let outcome = match (status, doubt) {
        (status, None) => {
            let status = status.ok();
            let doubt = status.as_ref().filter(|status| is_corrupt(status)).map(|_| {
                let message = "the alarm CORRUPT is raised for it: its data is not that of the other members";
                Failure { kind: FailureKind::Answered, message: message.to_owned() }
            });
            Ok(Candidate { connection, status, doubt })
        }
        // Without a leader there is no token, and all is refused for that; a client certificate may still do.
        (status, doubt) if no_token => Ok(Candidate { connection, status: status.ok(), doubt }),
        (_, Some(denied)) if denied.is_denied() => Err(denied),
        (Ok(status), doubt) => Ok(Candidate { connection, status: Some(status), doubt }),
        (Err(failure), _) => Err(failure),
    };
    (endpoint, outcome)
}
