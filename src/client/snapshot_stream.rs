//! `Maintenance.Snapshot`, checked while it passes.
//!
//! The server announces no size of its own; the first message tells it: its blob and `remaining_bytes` together are the
//! database. After that many bytes come exactly 32 of SHA-256, and then the end. Servers cut the stream into messages
//! of 32 KiB with the hash in one of its own; here only the bytes count, wherever they are cut.

use std::time::Duration;

use etcd_client::SnapshotStreaming;
use tokio::time::{Instant, timeout_at};

use super::connect::Connection;
use super::failure::Failure;
use super::pace::Pace;
use crate::error::{Error, Result};

/// Length of the SHA-256 at the end.
const HASH_LEN: u64 = 32;

/// bbolt's page sizes, and so its files, are multiples of this; etcd tells by it whether a file has a hash.
const SIZE_UNIT: u64 = 512;

/// Messages without a byte that are borne in a row. A server whose read of its own database fails half way sends
/// them without end, as fast as it can, and never an error.
const EMPTY_BLOB_LIMIT: u32 = 16;

/// No patience is longer, so that its end is an instant that a clock can tell.
const LONGEST_WAIT: Duration = Duration::from_hours(24 * 365 * 100);

/// A piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes of the database.
    Database(Vec<u8>),
    /// The server's SHA-256 over all of them.
    Hash([u8; 32]),
}

/// A snapshot on its way.
pub struct SnapshotStream {
    endpoint: String,
    stream: SnapshotStreaming,
    account: Account,
    stall_timeout: Duration,
    progressed: Instant,
    pace: Option<Pace>,
    version: String,
    queue: Vec<Chunk>,
}

/// Why there is no stream: nothing of the snapshot has come yet, so another endpoint may be asked.
#[derive(Debug)]
pub enum Unopened {
    /// The request itself failed.
    Failed(Failure),
    /// The first message broke the rules or did not come.
    Broken(Error),
}

impl SnapshotStream {
    /// Asks for a snapshot and waits for the first message.
    ///
    /// `stall_timeout` bounds the time without a byte, here and later; time that the reader takes for itself does not
    /// count.
    ///
    /// # Errors
    /// Why there is no snapshot to be had here.
    pub async fn open(connection: &Connection, stall_timeout: Duration) -> std::result::Result<Self, Unopened> {
        let endpoint = connection.endpoint().to_string();
        let started = Instant::now();
        let stall_timeout = stall_timeout.min(LONGEST_WAIT);
        let Ok(answer) = timeout_at(started + stall_timeout, connection.snapshot()).await else {
            let after = stall_timeout;
            return Err(Unopened::Broken(Error::Stalled { endpoint, after, received: 0, expected: None }));
        };
        let stream = answer.map_err(Unopened::Failed)?;
        let mut opened = Self {
            endpoint,
            stream,
            account: Account::default(),
            stall_timeout,
            progressed: started,
            pace: None,
            version: String::new(),
            queue: Vec::new(),
        };
        while opened.account.expected.is_none() {
            // Refusals come here and not with the opening: the server sends its headers before it looks at the user.
            match opened.receive(|error| connection.failure(error)).await {
                Ok(true) => {}
                Ok(false) => return Err(Unopened::Broken(opened.broken("it ended before its first message"))),
                Err(Interruption::Failed(failure)) => return Err(Unopened::Failed(failure)),
                Err(Interruption::Broken(error)) => return Err(Unopened::Broken(error)),
            }
        }
        Ok(opened)
    }

    /// From now on reads no more than `rate` bytes a second, so that the server is held back.
    pub fn limit(&mut self, rate: u64) {
        self.pace = Some(Pace::new(rate, self.account.received));
    }

    /// Bytes of the database, as announced.
    pub fn database_len(&self) -> u64 {
        self.account.expected.unwrap_or_default()
    }

    /// Bytes of the whole stream, the hash included.
    pub fn total_len(&self) -> u64 {
        self.database_len().saturating_add(HASH_LEN)
    }

    /// Bytes that have arrived.
    pub fn received(&self) -> u64 {
        self.account.received
    }

    /// Storage version that the server named: etcd 3.6 and later, else empty.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The next piece; `None` after the hash, when the server has ended the stream as it should.
    ///
    /// # Errors
    /// `Stalled` when no byte came for the stall timeout, `BrokenStream` when the connection broke or the server did not
    /// keep to what it announced.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        if let Some(chunk) = self.queue.pop() {
            return Ok(Some(chunk));
        }
        if let Some(pace) = &mut self.pace {
            pace.wait(self.account.received).await;
        }
        // Only the time that is spent waiting for the server counts, not what the reader did since.
        self.progressed = Instant::now();
        loop {
            if let Some(chunk) = self.queue.pop() {
                return Ok(Some(chunk));
            }
            let received = self.account.received;
            match self.receive(|error| Failure::new(super::FailureKind::Unreachable, words(error))).await {
                Ok(true) => {}
                Ok(false) => {
                    self.account.end().map_err(|reason| self.broken(reason))?;
                    return Ok(None);
                }
                Err(Interruption::Failed(failure)) => return Err(self.broken(failure.message)),
                Err(Interruption::Broken(error)) => return Err(error),
            }
            if self.account.received > received {
                self.progressed = Instant::now();
            }
        }
    }

    /// Takes one message into the account and the queue; `false` at the end of the stream.
    async fn receive(
        &mut self,
        judge: impl Fn(&etcd_client::Error) -> Failure,
    ) -> std::result::Result<bool, Interruption> {
        let message = match timeout_at(self.progressed + self.stall_timeout, self.stream.message()).await {
            Ok(Ok(Some(message))) => message.0,
            Ok(Ok(None)) => return Ok(false),
            Ok(Err(error)) => return Err(Interruption::Failed(judge(&error))),
            Err(_) => {
                return Err(Interruption::Broken(Error::Stalled {
                    endpoint: self.endpoint.clone(),
                    after: self.stall_timeout,
                    received: self.account.received,
                    expected: self.account.expected.map(|size| size.saturating_add(HASH_LEN)),
                }));
            }
        };
        if self.version.is_empty() {
            self.version = message.version;
        }
        match self.account.take(message.blob, message.remaining_bytes) {
            Ok(chunks) => {
                self.queue = chunks;
                self.queue.reverse();
                Ok(true)
            }
            Err(reason) => Err(Interruption::Broken(self.broken(reason))),
        }
    }

    fn broken(&self, reason: impl Into<String>) -> Error {
        Error::BrokenStream { endpoint: self.endpoint.clone(), received: self.account.received, reason: reason.into() }
    }
}

enum Interruption {
    Failed(Failure),
    Broken(Error),
}

/// Words for a stream that breaks after it began: what the cause was does not matter any more, only that it broke.
fn words(error: &etcd_client::Error) -> String {
    match error {
        etcd_client::Error::GRpcStatus(status) if !status.message().is_empty() => {
            format!("the server or the connection failed: {}", status.message())
        }
        etcd_client::Error::GRpcStatus(status) => format!("the server failed with gRPC code {:?}", status.code()),
        other => format!("the connection failed: {other}"),
    }
}

/// The bookkeeping of a stream: what was announced, what has come.
#[derive(Debug, Default)]
struct Account {
    /// Bytes of the database; known from the first message on.
    expected: Option<u64>,
    received: u64,
    hash: Vec<u8>,
    empty_in_a_row: u32,
}

impl Account {
    /// Takes one message; the pieces in it, in order.
    fn take(&mut self, blob: Vec<u8>, remaining: u64) -> std::result::Result<Vec<Chunk>, String> {
        let len = blob.len() as u64;
        let expected = match self.expected {
            Some(expected) => expected,
            None => self.announce(len, remaining)?,
        };
        if len == 0 {
            self.empty_in_a_row += 1;
            if self.empty_in_a_row >= EMPTY_BLOB_LIMIT {
                return Err(format!(
                    "{EMPTY_BLOB_LIMIT} messages in a row hold no byte, while {} are still to come; the server can't \
                     read its own database, look at its log",
                    (expected + HASH_LEN).saturating_sub(self.received)
                ));
            }
        } else {
            self.empty_in_a_row = 0;
        }
        let database_before = self.received.min(expected);
        self.received =
            self.received.checked_add(len).ok_or_else(|| "more bytes than can be counted came".to_owned())?;
        if self.received > expected + HASH_LEN {
            return Err(format!(
                "{} bytes came where {expected} of database and {HASH_LEN} of hash were announced",
                self.received
            ));
        }
        let left = expected - self.received.min(expected);
        if remaining != left {
            return Err(format!("the server says that {remaining} bytes remain where {left} do"));
        }
        self.split(blob, expected - database_before)
    }

    fn announce(&mut self, len: u64, remaining: u64) -> std::result::Result<u64, String> {
        let size = len.checked_add(remaining).filter(|size| size.checked_add(HASH_LEN).is_some());
        let expected = size.ok_or_else(|| format!("an impossible size is announced: {len} and {remaining} bytes"))?;
        if expected == 0 || !expected.is_multiple_of(SIZE_UNIT) {
            return Err(format!("{expected} bytes are announced, which is no multiple of a page"));
        }
        self.expected = Some(expected);
        Ok(expected)
    }

    /// Cuts a blob where the database ends; `room` bytes of it were still to come before this blob.
    fn split(&mut self, mut blob: Vec<u8>, room: u64) -> std::result::Result<Vec<Chunk>, String> {
        let mut chunks = Vec::new();
        let tail = match usize::try_from(room) {
            Ok(room) if room < blob.len() => blob.split_off(room),
            _ => Vec::new(),
        };
        if !blob.is_empty() {
            chunks.push(Chunk::Database(blob));
        }
        if !tail.is_empty() {
            self.hash.extend_from_slice(&tail);
            if self.hash.len() as u64 == HASH_LEN {
                let hash = self.hash.as_slice().try_into().map_err(|_| "the hash is not 32 bytes long".to_owned())?;
                chunks.push(Chunk::Hash(hash));
            }
        }
        Ok(chunks)
    }

    /// Judges the end of the stream.
    fn end(&self) -> std::result::Result<(), String> {
        let total = self.expected.unwrap_or_default() + HASH_LEN;
        if self.received == total {
            return Ok(());
        }
        Err(format!("it ended, and {} of {total} bytes have not come", total - self.received.min(total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 32] = [7; 32];

    fn begun(first: usize, rest: u64) -> Account {
        let mut account = Account::default();
        account.take(vec![1; first], rest).unwrap();
        account
    }

    #[test]
    fn database_then_hash_then_end_is_accepted() {
        let mut account = begun(512, 512);

        assert_eq!(account.take(vec![2; 512], 0).unwrap(), vec![Chunk::Database(vec![2; 512])]);
        assert_eq!(account.take(HASH.to_vec(), 0).unwrap(), vec![Chunk::Hash(HASH)]);
        assert_eq!(account.end(), Ok(()));
    }

    #[test]
    fn bytes_count_wherever_they_are_cut() {
        let mut account = begun(512, 512);
        let mut blob = vec![2; 512];
        blob.extend_from_slice(&HASH[..30]);

        assert_eq!(account.take(blob, 0).unwrap(), vec![Chunk::Database(vec![2; 512])]);
        assert_eq!(account.take(HASH[30..].to_vec(), 0).unwrap(), vec![Chunk::Hash(HASH)]);
        assert_eq!(account.end(), Ok(()));
    }

    #[test]
    fn end_before_the_hash_is_refused() {
        for hash_bytes in [0, 31] {
            let mut account = begun(1024, 0);
            account.take(HASH[..hash_bytes].to_vec(), 0).unwrap();

            assert!(account.end().unwrap_err().contains("have not come"));
        }
    }

    #[test]
    fn end_inside_the_database_is_refused() {
        assert_eq!(begun(512, 1024).end().unwrap_err(), "it ended, and 1056 of 1568 bytes have not come");
    }

    #[test]
    fn more_than_announced_is_refused() {
        let mut account = begun(1024, 0);
        account.take(HASH.to_vec(), 0).unwrap();

        assert!(account.take(vec![0], 0).unwrap_err().contains("1057 bytes came"));
    }

    #[test]
    fn remaining_bytes_that_do_not_fall_are_refused() {
        assert!(begun(512, 1024).take(vec![2; 512], 1024).unwrap_err().contains("1024 bytes remain where 512 do"));
    }

    #[test]
    fn message_sent_twice_is_refused() {
        let mut account = begun(512, 1024);
        account.take(vec![2; 512], 512).unwrap();

        assert!(account.take(vec![2; 512], 512).is_err());
    }

    #[test]
    fn empty_messages_are_borne_for_a_while_and_not_for_ever() {
        let mut account = begun(512, 512);
        for _ in 1..EMPTY_BLOB_LIMIT {
            assert_eq!(account.take(Vec::new(), 512).unwrap(), vec![]);
        }

        assert!(account.take(Vec::new(), 512).unwrap_err().contains("look at its log"));
    }

    #[test]
    fn byte_between_empty_messages_ends_the_row() {
        let mut account = begun(512, 512);
        for _ in 1..EMPTY_BLOB_LIMIT {
            account.take(Vec::new(), 512).unwrap();
        }
        account.take(vec![0; 12], 500).unwrap();

        assert_eq!(account.take(Vec::new(), 500).unwrap(), vec![]);
    }

    #[test]
    fn impossible_announcements_are_refused() {
        for (first, rest) in [(0, 0), (512, u64::MAX), (512, u64::MAX - 512), (100, 0)] {
            assert!(Account::default().take(vec![0; first], rest).is_err(), "{first} {rest}");
        }
    }
}
