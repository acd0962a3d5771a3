//! The messages inside a WAL and a `.snap` file.
//!
//! Written as etcd 3.4 to 3.6 do (gogo/protobuf with non-nullable fields: zeros are written, fields ascend,
//! repeated numbers are unpacked); read in that style and in that of 3.7, which leaves fields out. Fields of other
//! numbers are skipped, as etcd does.
//!
//! Source: etcd `server/storage/wal/walpb/record.proto`, `snappb/snap.proto`, `raftpb/raft.proto` (raft v3.6.0)
//! and `api/etcdserverpb/raft_internal.proto`.

use crate::proto::{Value, fields, put_bytes, put_uint, varint};

/// Why bytes are not the message that they should be: a lower-case clause that names the message.
pub(super) type Malformed = String;

/// `etcdserverpb.Metadata`: whose WAL this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Id of the member.
    pub node_id: u64,
    /// Id of its cluster.
    pub cluster_id: u64,
}

/// `raftpb.HardState`: what a raft node must not forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Id that this node voted for in that term, 0 for none.
    pub vote: u64,
    /// Greatest committed index.
    pub commit: u64,
}

/// `raftpb.EntryType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    /// 0: a request of a client.
    Normal,
    /// 1: a [`ConfChange`].
    ConfChange,
    /// 2, or anything else: nothing that etcd writes.
    Other(u64),
}

/// `raftpb.Entry`, its data where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What `data` is.
    pub entry_type: EntryType,
    /// Term in which the entry was proposed.
    pub term: u64,
    /// Its place in the log, from 1.
    pub index: u64,
    /// Empty for the entry with which a leader begins its term.
    pub data: &'a [u8],
}

/// `raftpb.ConfChangeType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfChangeType {
    /// 0: a voter is added, or a learner promoted.
    AddNode,
    /// 1.
    RemoveNode,
    /// 2: the context of a member changes.
    UpdateNode,
    /// 3.
    AddLearnerNode,
    /// Anything else.
    Other(u64),
}

/// `raftpb.ConfChange`: the data of an entry that changes the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfChange {
    /// Number of the request; 0 in a restored log.
    pub id: u64,
    /// What happens.
    pub change_type: ConfChangeType,
    /// To which member.
    pub node_id: u64,
    /// JSON of the member.
    pub context: Vec<u8>,
}

/// `raftpb.ConfState`: who votes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfState {
    /// Ids of the voters.
    pub voters: Vec<u64>,
    /// Ids of the learners.
    pub learners: Vec<u64>,
    /// Voters of the configuration that is being left.
    pub voters_outgoing: Vec<u64>,
    /// Voters that will be learners.
    pub learners_next: Vec<u64>,
    /// Whether a joint configuration is left by itself.
    pub auto_leave: bool,
}

/// `walpb.Snapshot`: "at this index the state is in a snapshot".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WalSnapshot {
    /// Raft index.
    pub index: u64,
    /// Raft term of that index.
    pub term: u64,
    /// The voters at that index; since 3.5.
    pub conf_state: Option<ConfState>,
}

/// `raftpb.SnapshotMetadata`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotMetadata {
    /// The voters.
    pub conf_state: ConfState,
    /// Raft index of the snapshot.
    pub index: u64,
    /// Raft term of that index.
    pub term: u64,
}

/// `raftpb.Snapshot`, its data where it lies: the v2 store in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot<'a> {
    /// The application's state.
    pub data: &'a [u8],
    /// Where in the log it was taken.
    pub metadata: SnapshotMetadata,
}

/// Hands each field to `take`, which says `false` when it has another wire type than it should.
pub(super) fn read<'a>(
    name: &str,
    message: &'a [u8],
    mut take: impl FnMut(u32, Value<'a>) -> std::result::Result<bool, Malformed>,
) -> std::result::Result<(), Malformed> {
    for field in fields(message) {
        let (number, value) = field.map_err(|error| format!("{name}: {error}"))?;
        if !take(number, value).map_err(|error| format!("{name}: {error}"))? {
            return Err(format!("{name}: field {number} has the wrong wire type"));
        }
    }
    Ok(())
}

/// A field that is a number.
fn number(value: Value<'_>, into: &mut u64) -> bool {
    let Value::Varint(number) = value else { return false };
    *into = number;
    true
}

/// A repeated field of numbers: one of them, or all, packed.
fn numbers(value: Value<'_>, into: &mut Vec<u64>) -> std::result::Result<bool, Malformed> {
    match value {
        Value::Varint(number) => into.push(number),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                let (number, rest) = varint(packed)?;
                into.push(number);
                packed = rest;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

impl Metadata {
    /// Bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_uint(&mut out, 1, self.node_id);
        put_uint(&mut out, 2, self.cluster_id);
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(message: &[u8]) -> std::result::Result<Self, Malformed> {
        let mut metadata = Self::default();
        read("Metadata", message, |field, value| {
            Ok(match field {
                1 => number(value, &mut metadata.node_id),
                2 => number(value, &mut metadata.cluster_id),
                _ => true,
            })
        })?;
        Ok(metadata)
    }
}

impl HardState {
    /// Bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_uint(&mut out, 1, self.term);
        put_uint(&mut out, 2, self.vote);
        put_uint(&mut out, 3, self.commit);
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(message: &[u8]) -> std::result::Result<Self, Malformed> {
        let mut state = Self::default();
        read("HardState", message, |field, value| {
            Ok(match field {
                1 => number(value, &mut state.term),
                2 => number(value, &mut state.vote),
                3 => number(value, &mut state.commit),
                _ => true,
            })
        })?;
        Ok(state)
    }
}

impl EntryType {
    fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Normal,
            1 => Self::ConfChange,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Normal => 0,
            Self::ConfChange => 1,
            Self::Other(other) => other,
        }
    }
}

impl<'a> Entry<'a> {
    /// Bytes of the message; the data is left out when empty.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + 32);
        put_uint(&mut out, 1, self.entry_type.number());
        put_uint(&mut out, 2, self.term);
        put_uint(&mut out, 3, self.index);
        if !self.data.is_empty() {
            put_bytes(&mut out, 4, self.data);
        }
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(message: &'a [u8]) -> std::result::Result<Self, Malformed> {
        let mut entry = Self { entry_type: EntryType::Normal, term: 0, index: 0, data: &[] };
        let mut entry_type = 0;
        read("Entry", message, |field, value| {
            Ok(match (field, value) {
                (1, _) => number(value, &mut entry_type),
                (2, _) => number(value, &mut entry.term),
                (3, _) => number(value, &mut entry.index),
                (4, Value::Bytes(data)) => {
                    entry.data = data;
                    true
                }
                (field, _) => field != 4,
            })
        })?;
        entry.entry_type = EntryType::from_number(entry_type);
        Ok(entry)
    }
}

impl ConfChangeType {
    fn from_number(number: u64) -> Self {
        match number {
            0 => Self::AddNode,
            1 => Self::RemoveNode,
            2 => Self::UpdateNode,
            3 => Self::AddLearnerNode,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::AddNode => 0,
            Self::RemoveNode => 1,
            Self::UpdateNode => 2,
            Self::AddLearnerNode => 3,
            Self::Other(other) => other,
        }
    }
}

impl ConfChange {
    /// Bytes of the message; the context is left out when empty.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.context.len() + 32);
        put_uint(&mut out, 1, self.id);
        put_uint(&mut out, 2, self.change_type.number());
        put_uint(&mut out, 3, self.node_id);
        if !self.context.is_empty() {
            put_bytes(&mut out, 4, &self.context);
        }
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(message: &[u8]) -> std::result::Result<Self, Malformed> {
        let mut change = Self { id: 0, change_type: ConfChangeType::AddNode, node_id: 0, context: Vec::new() };
        let mut change_type = 0;
        read("ConfChange", message, |field, value| {
            Ok(match (field, value) {
                (1, _) => number(value, &mut change.id),
                (2, _) => number(value, &mut change_type),
                (3, _) => number(value, &mut change.node_id),
                (4, Value::Bytes(context)) => {
                    context.clone_into(&mut change.context);
                    true
                }
                (field, _) => field != 4,
            })
        })?;
        change.change_type = ConfChangeType::from_number(change_type);
        Ok(change)
    }
}

impl ConfState {
    /// A configuration of voters only.
    #[must_use]
    pub fn of_voters(voters: Vec<u64>) -> Self {
        Self { voters, ..Self::default() }
    }

    /// Bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let lists = [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next];
        for (field, ids) in (1..).zip(lists) {
            for id in ids {
                put_uint(&mut out, field, *id);
            }
        }
        put_uint(&mut out, 5, u64::from(self.auto_leave));
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(message: &[u8]) -> std::result::Result<Self, Malformed> {
        let mut state = Self::default();
        let mut auto_leave = 0;
        read("ConfState", message, |field, value| match field {
            1 => numbers(value, &mut state.voters),
            2 => numbers(value, &mut state.learners),
            3 => numbers(value, &mut state.voters_outgoing),
            4 => numbers(value, &mut state.learners_next),
            5 => Ok(number(value, &mut auto_leave)),
            _ => Ok(true),
        })?;
        state.auto_leave = auto_leave != 0;
        Ok(state)
    }
}

impl WalSnapshot {
    /// Bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_uint(&mut out, 1, self.index);
        put_uint(&mut out, 2, self.term);
        if let Some(state) = &self.conf_state {
            put_bytes(&mut out, 3, &state.encode());
        }
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(message: &[u8]) -> std::result::Result<Self, Malformed> {
        let mut snapshot = Self::default();
        read("Snapshot", message, |field, value| {
            Ok(match (field, value) {
                (1, _) => number(value, &mut snapshot.index),
                (2, _) => number(value, &mut snapshot.term),
                (3, Value::Bytes(state)) => {
                    snapshot.conf_state = Some(ConfState::decode(state)?);
                    true
                }
                (field, _) => field != 3,
            })
        })?;
        Ok(snapshot)
    }
}

impl SnapshotMetadata {
    /// Bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, &self.conf_state.encode());
        put_uint(&mut out, 2, self.index);
        put_uint(&mut out, 3, self.term);
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(message: &[u8]) -> std::result::Result<Self, Malformed> {
        let mut metadata = Self::default();
        read("SnapshotMetadata", message, |field, value| {
            Ok(match (field, value) {
                (1, Value::Bytes(state)) => {
                    metadata.conf_state = ConfState::decode(state)?;
                    true
                }
                (2, _) => number(value, &mut metadata.index),
                (3, _) => number(value, &mut metadata.term),
                (field, _) => field != 1,
            })
        })?;
        Ok(metadata)
    }
}

impl<'a> Snapshot<'a> {
    /// Bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + 64);
        put_bytes(&mut out, 1, self.data);
        put_bytes(&mut out, 2, &self.metadata.encode());
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none.
    pub fn decode(message: &'a [u8]) -> std::result::Result<Self, Malformed> {
        let mut snapshot = Self::default();
        read("Snapshot", message, |field, value| {
            match (field, value) {
                (1, Value::Bytes(data)) => snapshot.data = data,
                (2, Value::Bytes(metadata)) => snapshot.metadata = SnapshotMetadata::decode(metadata)?,
                (1 | 2, _) => return Ok(false),
                _ => {}
            }
            Ok(true)
        })?;
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hex::hex;

    #[test]
    fn zeros_are_written() {
        assert_eq!(hex(&Metadata::default().encode()), "08001000");
        assert_eq!(hex(&HardState::default().encode()), "080010001800");
        assert_eq!(hex(&WalSnapshot::default().encode()), "08001000");
        assert_eq!(hex(&ConfState::default().encode()), "2800");
        assert_eq!(hex(&SnapshotMetadata::default().encode()), "0a02280010001800");
        let entry = Entry { entry_type: EntryType::ConfChange, term: 1, index: 2, data: &[] };
        assert_eq!(hex(&entry.encode()), "080110011802");
    }

    #[test]
    fn a_message_that_leaves_out_its_zeros_reads_the_same() {
        assert_eq!(WalSnapshot::decode(&[]), Ok(WalSnapshot::default()));
        assert_eq!(ConfState::decode(b"\x08\x05\x08\x06"), Ok(ConfState::of_voters(vec![5, 6])));
        let change = ConfChange::decode(b"\x10\x00\x18\x05").unwrap();
        assert_eq!((change.id, change.change_type, change.node_id), (0, ConfChangeType::AddNode, 5));
    }

    #[test]
    fn packed_voters_read_the_same() {
        assert_eq!(ConfState::decode(b"\x0a\x03\x05\x96\x01\x08\x07"), Ok(ConfState::of_voters(vec![5, 150, 7])));
        assert_eq!(ConfState::decode(b"\x0a\x01\x80"), Err("ConfState: varint cut short".to_owned()));
    }

    #[test]
    fn a_field_of_another_wire_type_is_refused() {
        assert_eq!(HardState::decode(b"\x0a\x00"), Err("HardState: field 1 has the wrong wire type".to_owned()));
        assert_eq!(Entry::decode(b"\x20\x00"), Err("Entry: field 4 has the wrong wire type".to_owned()));
        let nested = WalSnapshot::decode(b"\x1a\x02\x0d\x00");
        assert_eq!(nested, Err("Snapshot: ConfState: fixed32 cut short at byte 0 of the message".to_owned()));
    }

    #[test]
    fn unknown_fields_are_skipped() {
        assert_eq!(HardState::decode(b"\x08\x01\x50\x01").unwrap().term, 1);
    }

    fn ids() -> impl Strategy<Value = Vec<u64>> {
        proptest::collection::vec(any::<u64>(), 0..5)
    }

    prop_compose! {
        fn conf_states()(voters in ids(), learners in ids(), voters_outgoing in ids(), learners_next in ids(),
                         auto_leave: bool) -> ConfState {
            ConfState { voters, learners, voters_outgoing, learners_next, auto_leave }
        }
    }

    proptest! {
        #[test]
        fn messages_round_trip(a: u64, b: u64, c: u64, bytes: Vec<u8>, state in conf_states()) {
            let metadata = Metadata { node_id: a, cluster_id: b };
            prop_assert_eq!(Metadata::decode(&metadata.encode()), Ok(metadata));
            let hard = HardState { term: a, vote: b, commit: c };
            prop_assert_eq!(HardState::decode(&hard.encode()), Ok(hard));
            let entry = Entry { entry_type: EntryType::from_number(a), term: b, index: c, data: &bytes };
            let message = entry.encode();
            prop_assert_eq!(Entry::decode(&message), Ok(entry));
            let change_type = ConfChangeType::from_number(a % 5);
            let change = ConfChange { id: b, change_type, node_id: c, context: bytes.clone() };
            prop_assert_eq!(ConfChange::decode(&change.encode()), Ok(change));
            let snapshot = WalSnapshot { index: a, term: b, conf_state: Some(state.clone()) };
            prop_assert_eq!(WalSnapshot::decode(&snapshot.encode()), Ok(snapshot));
            let metadata = SnapshotMetadata { conf_state: state, index: a, term: b };
            let snapshot = Snapshot { data: &bytes, metadata };
            let message = snapshot.encode();
            prop_assert_eq!(Snapshot::decode(&message), Ok(snapshot));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = (Metadata::decode(&bytes), HardState::decode(&bytes), Entry::decode(&bytes));
            let _ = (ConfChange::decode(&bytes), ConfState::decode(&bytes), WalSnapshot::decode(&bytes));
            let _ = Snapshot::decode(&bytes);
        }
    }
}
