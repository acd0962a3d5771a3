//! Writes that happen only if nobody else has written since.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::proto::PbTxnOpResponse;
use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, KvClient, PutOptions, Txn, TxnOp};
use tokio::time::sleep;

use super::access::Access;
use super::connect::Connection;
use super::endpoint::EndpointUrl;
use super::failure::Failure;
use super::keys::{LiveKey, MESSAGE_LIMIT, first_answering};
use crate::error::Result;

/// Times that a request is made again after a failure that may pass.
const RETRIES: u32 = 3;
/// Time before each of them. An election takes a second or two; the first read of a new connection waits for its end.
const PAUSE: Duration = Duration::from_millis(500);

/// What is done to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// It gets this value and hangs on this lease, 0 for none.
    ///
    /// The lease is named, also where it stays the same: a server asks first whether a lease that is named is there
    /// (`checkRequestPut` in etcd's `server/etcdserver/apply`). That of a put with `ignore_lease` it takes for granted,
    /// and panics where it is gone (`storeTxnWrite.put` in `server/storage/mvcc`): all members do, and again at each
    /// start, for the put is in their logs.
    Put {
        /// The value.
        value: Vec<u8>,
        /// The lease.
        lease: i64,
    },
    /// It is deleted.
    Delete,
}

/// A write with its condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The key.
    pub key: Vec<u8>,
    /// The revision of its last change must still be this one; 0: it must not be there.
    pub mod_revision: i64,
    /// What is done then.
    pub write: Write,
}

/// What came of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every write of it happened.
    Written,
    /// None did, for some condition did not hold: the keys with the revision of their last change, without those that
    /// are not there.
    Found(BTreeMap<Vec<u8>, i64>),
}

/// Writes into a live cluster. Where a member goes, or its leader, it goes on with another.
pub struct Writer {
    access: Access,
    key: Vec<u8>,
    connection: Connection,
    cluster_id: u64,
    unanswered: Vec<EndpointUrl>,
}

impl Writer {
    /// Connects to the first endpoint that answers a read of `key`.
    ///
    /// # Errors
    /// `Denied`, `Unavailable`.
    pub async fn open(access: &Access, key: &[u8]) -> Result<Self> {
        let (connection, (cluster_id, _)) = first_answering(access, key).await?;
        Ok(Self { access: access.clone(), key: key.to_vec(), connection, cluster_id, unanswered: Vec::new() })
    }

    /// The cluster that is written to.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// The member that takes the writes.
    pub fn endpoint(&self) -> &EndpointUrl {
        self.connection.endpoint()
    }

    /// The endpoints whose requests of the last [`write`](Self::write) got no answer, in the order in which they were
    /// asked. Each may still carry out its own, when its conditions hold: those of what is changed or deleted never do
    /// again once it was, but a key that must not be there may be deleted.
    pub fn unanswered(&self) -> &[EndpointUrl] {
        &self.unanswered
    }

    /// Does all of `writes`, or none of them.
    ///
    /// A failure leaves open whether they were done. So does one that passed: what was done by the request that got no
    /// answer is [`Outcome::Found`] by the next, whose conditions do not hold any more. One that was not done by then may
    /// be done later, see [`unanswered`](Self::unanswered).
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn write(&mut self, writes: &[Guarded]) -> std::result::Result<Outcome, Failure> {
        self.unanswered.clear();
        let mut tries = 0;
        loop {
            let outcome = self.transact(writes).await;
            let Err(failure) = &outcome else { return outcome };
            if failure.is_open() {
                self.unanswered.push(self.connection.endpoint().clone());
            }
            if !Box::pin(self.may_pass(failure, &mut tries)).await {
                return outcome;
            }
        }
    }

    /// Reads a key through consensus.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get(&mut self, key: &[u8]) -> std::result::Result<Option<LiveKey>, Failure> {
        let mut tries = 0;
        loop {
            let found = self.read(key).await;
            let Err(failure) = &found else { return found };
            if !Box::pin(self.may_pass(failure, &mut tries)).await {
                return found;
            }
        }
    }

    /// Whether it is worth while to ask again after this failure; there is a new connection then, to any endpoint.
    async fn may_pass(&mut self, failure: &Failure, tries: &mut u32) -> bool {
        if !failure.may_pass() {
            return false;
        }
        while *tries < RETRIES {
            *tries += 1;
            sleep(PAUSE).await;
            if let Ok((connection, (cluster_id, _))) = first_answering(&self.access, &self.key).await
                && cluster_id == self.cluster_id
            {
                self.connection = connection;
                return true;
            }
        }
        false
    }

    async fn transact(&self, writes: &[Guarded]) -> std::result::Result<Outcome, Failure> {
        let (mut conditions, mut operations, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        for Guarded { key, mod_revision, write } in writes {
            conditions.push(Compare::mod_revision(key.clone(), CompareOp::Equal, *mod_revision));
            reads.push(TxnOp::get(key.clone(), Some(GetOptions::new().with_keys_only())));
            operations.push(match write {
                Write::Put { value, lease } => {
                    let lease = (*lease != 0).then(|| PutOptions::new().with_lease(*lease));
                    TxnOp::put(key.clone(), value.clone(), lease)
                }
                Write::Delete => TxnOp::delete(key.clone(), Some(DeleteOptions::new())),
            });
        }
        let txn = Txn::new().when(conditions).and_then(operations).or_else(reads);
        let transact = |mut client: KvClient| {
            let txn = txn.clone();
            async move { client.txn(txn).await }
        };
        let answer = self.connection.call_kv("Txn", transact).await?.0;
        if answer.succeeded {
            return Ok(Outcome::Written);
        }
        let mut found = BTreeMap::new();
        for response in answer.responses {
            if let Some(PbTxnOpResponse::ResponseRange(range)) = response.response {
                found.extend(range.kvs.into_iter().map(|one| (one.key, one.mod_revision)));
            }
        }
        Ok(Outcome::Found(found))
    }

    async fn read(&self, key: &[u8]) -> std::result::Result<Option<LiveKey>, Failure> {
        let get =
            |client: KvClient| async move { client.max_decoding_message_size(MESSAGE_LIMIT).get(key, None).await };
        let answer = self.connection.call_kv("Range", get).await?.0;
        Ok(answer.kvs.into_iter().next().map(LiveKey::from))
    }
}
