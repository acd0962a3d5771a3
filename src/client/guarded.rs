//! Writes that happen only if nobody else has written since.

use std::collections::BTreeMap;

use etcd_client::proto::PbTxnOpResponse;
use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp};

use super::access::Access;
use super::connect::Connection;
use super::endpoint::EndpointUrl;
use super::failure::Failure;
use super::keys::{LiveKey, first_answering};
use crate::error::Result;

/// What is done to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// It gets this value. A key that is there keeps the lease that it hangs on, a new one gets none.
    Put(Vec<u8>),
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

/// Writes into a live cluster.
pub struct Writer {
    connection: Connection,
    cluster_id: u64,
}

impl Writer {
    /// Connects to the first endpoint that answers a read of `key`.
    ///
    /// # Errors
    /// `Denied`, `Unavailable`.
    pub async fn open(access: &Access, key: &[u8]) -> Result<Self> {
        let (connection, (cluster_id, _)) = first_answering(access, key).await?;
        Ok(Self { connection, cluster_id })
    }

    /// The cluster that is written to.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// The member that takes the writes.
    pub fn endpoint(&self) -> &EndpointUrl {
        self.connection.endpoint()
    }

    /// Does all of `writes`, or none of them.
    ///
    /// A failure leaves open whether they were done; doing them again is safe then, for their conditions tell.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn write(&self, writes: Vec<Guarded>) -> std::result::Result<Outcome, Failure> {
        let (mut conditions, mut operations, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        for Guarded { key, mod_revision, write } in writes {
            conditions.push(Compare::mod_revision(key.clone(), CompareOp::Equal, mod_revision));
            reads.push(TxnOp::get(key.clone(), Some(GetOptions::new().with_keys_only())));
            operations.push(match write {
                Write::Put(value) if mod_revision == 0 => TxnOp::put(key, value, None),
                Write::Put(value) => TxnOp::put(key, value, Some(PutOptions::new().with_ignore_lease())),
                Write::Delete => TxnOp::delete(key, Some(DeleteOptions::new())),
            });
        }
        let txn = Txn::new().when(conditions).and_then(operations).or_else(reads);
        let mut client = self.connection.client.kv_client();
        let answer = self.connection.call("Txn", client.txn(txn)).await?.0;
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

    /// Reads a key through consensus.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get(&self, key: &[u8]) -> std::result::Result<Option<LiveKey>, Failure> {
        let mut client = self.connection.client.kv_client();
        let answer = self.connection.call("Range", client.get(key, None)).await?.0;
        Ok(answer.kvs.into_iter().next().map(LiveKey::from))
    }
}
