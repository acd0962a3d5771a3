//! A live cluster's keys as they were at one revision.

use etcd_client::proto::PbKeyValue;
use etcd_client::{GetOptions, KvClient, WatchOptions};

use super::access::Access;
use super::connect::{Connection, Connector};
use super::endpoint::EndpointUrl;
use super::failure::Failure;
use super::members::nobody;
use crate::error::{Error, Result};

/// Bytes of keys and values that a page should have.
const PAGE_BYTES: usize = 8 << 20;
/// Keys of the first page, whose size nobody knows yet.
const FIRST_KEYS: i64 = 64;
/// Keys of a page at most: small ones may be followed by large ones.
const MOST_KEYS: i64 = 16384;
/// Bytes of a page that are borne. A page that has more is asked for again with fewer keys; one key always fits, for
/// etcd takes no request of 2 GiB.
pub(super) const MESSAGE_LIMIT: usize = 64 << 20;
/// What tonic says of a message beyond its limit.
const TOO_LARGE: &str = "message length too large";
/// The key that is read where only the header is wanted.
const ANY_KEY: &[u8] = b"\0";

/// A key of a live cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveKey {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// Revision of the put that made the key.
    pub create_revision: i64,
    /// Revision of the last change.
    pub mod_revision: i64,
    /// 1 for the put that made the key, then counting up.
    pub version: i64,
    /// Lease that the key hangs on, 0 for none.
    pub lease: i64,
}

/// The keys of a range in their order, all as of one revision, a page at a time.
///
/// The first page is read through consensus. The others come out of the same member's own data: it has that revision,
/// and needs no leader to tell it.
#[derive(Clone)]
pub struct LiveKeys {
    connection: Connection,
    cluster_id: u64,
    revision: i64,
    current_revision: i64,
    is_chosen: bool,
    start: Vec<u8>,
    next: Option<Vec<u8>>,
    end: Vec<u8>,
    limit: i64,
}

impl LiveKeys {
    /// Begins to read the keys from `start` on, below `end`, as of `revision`; the newest for `None`. Empty bounds are
    /// none.
    ///
    /// The first endpoint that answers is the one that is read.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision` as for a snapshot, `Denied`, `Unavailable`.
    pub async fn open(access: &Access, start: &[u8], end: Option<&[u8]>, revision: Option<i64>) -> Result<Self> {
        if let Some(revision) = revision.filter(|revision| *revision <= 0) {
            return Err(Error::invalid(format!("revision {revision}: the first one is 1")));
        }
        let start = if start.is_empty() { ANY_KEY } else { start };
        let (connection, (cluster_id, current_revision)) = first_answering(access, start).await?;
        let (is_chosen, revision) = (revision.is_some(), revision.unwrap_or(current_revision));
        if revision > current_revision {
            return Err(Error::FutureRevision { revision, current_revision });
        }
        // As a range end, one NUL stands for no end.
        let end = end.map_or_else(|| ANY_KEY.to_vec(), <[u8]>::to_vec);
        let (start, limit) = (start.to_vec(), FIRST_KEYS);
        let next = Some(start.clone());
        Ok(Self { connection, cluster_id, revision, current_revision, is_chosen, start, next, end, limit })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The revision that is read.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The newest revision when reading began.
    pub fn current_revision(&self) -> i64 {
        self.current_revision
    }

    /// Whose keys these are.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// Who is read.
    pub fn endpoint(&self) -> &EndpointUrl {
        self.connection.endpoint()
    }

    /// How many keys the next page may have.
    pub fn page_keys(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(1)
    }

    /// The next keys; none at the end.
    ///
    /// To tell how many keys there are, a server walks all that the request spans, whatever its limit (`Revisions` in
    /// etcd's `server/storage/mvcc/index.go`): with the whole rest of a large range in each, the pages of it cost the
    /// square of its keys. So name a key `near` that is some [`page_keys`](Self::page_keys) ahead, where one is known:
    /// it is only asked for keys below that.
    ///
    /// # Errors
    /// `Compacted` for a revision that was asked for; `Refused` also when the newest one was compacted meanwhile; `Denied`,
    /// `Unavailable`.
    pub async fn next(&mut self, near: Option<&[u8]>) -> Result<Vec<LiveKey>> {
        while let Some(start) = self.next.clone() {
            let is_inside = |near: &&[u8]| *near > start.as_slice() && (self.end == ANY_KEY || **near < *self.end);
            let near = near.filter(is_inside);
            let options = GetOptions::new()
                .with_range(near.unwrap_or(&self.end))
                .with_revision(self.revision)
                .with_limit(self.limit)
                .with_serializable();
            let get = |client: KvClient| {
                let (start, options) = (start.clone(), options.clone());
                async move { client.max_decoding_message_size(MESSAGE_LIMIT).get(start, Some(options)).await }
            };
            let answer = self.connection.call_kv("Range", get).await;
            let page = match answer {
                Ok(page) => page.0,
                Err(failure) if failure.message.contains(TOO_LARGE) && self.limit > 1 => {
                    self.limit /= 2;
                    continue;
                }
                Err(failure) => return Err(self.explain(failure).await),
            };
            let keys: Vec<LiveKey> = page.kvs.into_iter().map(LiveKey::from).collect();
            let behind = keys.last().filter(|_| page.more).map(|last| [&last.key, ANY_KEY].concat());
            self.next = behind.or_else(|| near.map(<[u8]>::to_vec));
            if keys.is_empty() && self.next.is_some() {
                continue;
            }
            let bytes: usize = keys.iter().map(|one| one.key.len() + one.value.len()).sum();
            let fitting = keys.len().saturating_mul(PAGE_BYTES) / bytes.max(1);
            self.limit = i64::try_from(fitting).unwrap_or(MOST_KEYS).clamp(1, MOST_KEYS);
            return Ok(keys);
        }
        Ok(Vec::new())
    }

    /// The error for a page that did not come. For a compacted revision it asks how much was compacted.
    async fn explain(&self, failure: Failure) -> Error {
        if failure.message.contains("required revision has been compacted")
            && let Ok(Some(compact_revision)) = self.connection.compact_revision(&self.start, self.revision).await
        {
            let revision = self.revision;
            if self.is_chosen {
                return Error::Compacted { revision, compact_revision };
            }
            let message = format!(
                "the cluster was compacted to revision {compact_revision} while it was read as of {revision}: run it again"
            );
            return Error::Refused { endpoint: self.endpoint().to_string(), message };
        }
        failure.into_error(self.endpoint())
    }
}

/// Connects to the first endpoint that answers a read of `key`: with the cluster's id and its newest revision.
pub(super) async fn first_answering(access: &Access, key: &[u8]) -> Result<(Connection, (u64, i64))> {
    let connector = Connector::new(access)?;
    let mut tried: Vec<(String, Failure)> = Vec::new();
    for endpoint in connector.endpoints() {
        let answer = match Box::pin(connector.connect(endpoint)).await {
            Ok(connection) => connection.header(key).await.map(|header| (connection, header)),
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(found) => return Ok(found),
            Err(failure) => tried.push((endpoint.to_string(), failure)),
        }
    }
    Err(nobody(&tried))
}

impl Connection {
    /// The cluster's id and its newest revision, out of a linearizable read of `key`.
    async fn header(&self, key: &[u8]) -> std::result::Result<(u64, i64), Failure> {
        let get = |mut client: KvClient| async move {
            let options = GetOptions::new().with_count_only();
            client.get(key, Some(options)).await
        };
        let answer = self.call_kv("a linearizable read", get).await?;
        let header = answer.0.header.unwrap_or_default();
        Ok((header.cluster_id, header.revision))
    }

    /// The last compaction, which a watch of an older revision is told of.
    async fn compact_revision(&self, key: &[u8], revision: i64) -> std::result::Result<Option<i64>, Failure> {
        let options = WatchOptions::new().with_start_revision(revision);
        let mut client = self.client.watch_client();
        let asked = async {
            let mut stream = client.watch(key, Some(options)).await?;
            while let Some(answer) = stream.message().await? {
                if answer.canceled() {
                    return Ok(Some(answer.compact_revision()).filter(|compacted| *compacted > 0));
                }
            }
            Ok(None)
        };
        self.call("Watch", asked).await
    }
}

impl From<PbKeyValue> for LiveKey {
    fn from(found: PbKeyValue) -> Self {
        Self {
            key: found.key,
            value: found.value,
            create_revision: found.create_revision,
            mod_revision: found.mod_revision,
            version: found.version,
            lease: found.lease,
        }
    }
}
