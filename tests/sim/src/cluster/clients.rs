//! What clients ask of brokers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_consensus::{
    Durability, Expected, Input, Proposal, ProposalKind, ProposeError, Receipt,
};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::records::facts;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, NodeId, Offset, ProducerSequence, ShortestTtl, StoredBatch,
    TimestampType,
};
use ropewalk_storage::StorageError;
use ropewalk_storage::log_view::{Cursor, ReadOutcome};

use super::{Asked, COMMANDS, Cluster, LOG};
use crate::commands;

impl Cluster {
    /// Proposes at a broker; the end is found under the number.
    pub fn propose(&mut self, node: NodeId, group: GroupId, kind: ProposalKind) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.checks.asked(id, &kind);
        if self.is_up(node) {
            let kind = remembered(&kind);
            let at = self.now;
            self.asked.insert(id, Asked { group, node, kind, at });
        }
        let proposal = Proposal { kind, reply: id, held: Box::new(()) };
        self.step(node, vec![Input::Propose(group, proposal)]);
        id
    }

    /// Whether a proposal has not ended, and may.
    #[must_use]
    pub fn is_asked(&self, id: u64) -> bool {
        self.asked.contains_key(&id)
    }

    /// Appends a batch of `records`, each of which carries the number that is returned.
    pub fn produce(&mut self, node: NodeId, records: u32, durability: Durability) -> u64 {
        self.produce_bytes(node, records, durability, 8)
    }

    /// Appends a batch of `records` and at least so many bytes. Each carries the number that is
    /// returned.
    pub fn produce_bytes(
        &mut self,
        node: NodeId,
        records: u32,
        durability: Durability,
        bytes: usize,
    ) -> u64 {
        let draft = draft_of(self.next_id + 1, records, bytes, None);
        let kind = ProposalKind::Batch { draft, expected: None, durability, epoch: None };
        self.propose(node, LOG, kind)
    }

    /// The number of the next proposal.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next_id + 1
    }

    /// Sends a batch of an idempotent producer, for the first time or again: its records carry its
    /// number, that of the proposal which sent it first.
    pub fn send(&mut self, node: NodeId, number: u64, batch: &Sequenced) -> u64 {
        let Sequenced { sequence, records, bytes } = *batch;
        let draft = draft_of(number, records, bytes, Some(sequence));
        let durability = Durability::Quorum;
        self.checks.sends(self.next_id + 1, number);
        self.propose(
            node,
            LOG,
            ProposalKind::Batch { draft, expected: None, durability, epoch: None },
        )
    }

    /// Sets a register: appends a batch on the version of a key.
    pub fn compare(&mut self, node: NodeId, batch: &Compared) -> u64 {
        let mut draft = draft(&batch.payload(), 1, None, None);
        if batch.is_searched {
            draft.find_keys();
        }
        let number = batch.number();
        self.checks.sends(self.next_id + 1, number);
        self.checks.compares(number, batch);
        let version = batch.version.map(Offset);
        let key = Bytes::copy_from_slice(&[batch.key]);
        let expected = Some(Box::new(Expected::Version { key, version }));
        let durability = Durability::Quorum;
        self.propose(node, LOG, ProposalKind::Batch { draft, expected, durability, epoch: None })
    }

    /// A command to the metadata that changes something every time.
    pub fn command(&mut self, node: NodeId) -> u64 {
        let command = commands::registration(NodeId(1), 1, self.next_id + 1);
        self.propose(node, COMMANDS, ProposalKind::Command(command.encode()))
    }

    /// Proposes at whoever leads, again where the answer says that nothing was done, until it is.
    pub fn insist(&mut self, group: GroupId, kind: impl Fn() -> ProposalKind) -> Receipt {
        for _ in 0..100 {
            if let Some(leader) = self.leader(group) {
                let id = self.propose(leader, group, kind());
                for _ in 0..30 {
                    if let Some(end) = self.ends.remove(&id) {
                        match end {
                            Ok(receipt) => return receipt,
                            Err(error) => assert_ne!(error, ProposeError::NoGroup),
                        }
                        break;
                    }
                    self.run(1);
                }
            }
            self.run(1);
        }
        panic!("nobody does it: {:?}", kind());
    }

    /// Every batch that can be read at a broker, as its base offset and its number.
    #[must_use]
    pub fn log(&self, node: NodeId) -> Vec<(u64, u64)> {
        self.try_log(node).unwrap()
    }

    /// The same.
    ///
    /// # Errors
    /// Where a part of it is damaged.
    pub fn try_log(&self, node: NodeId) -> Result<Vec<(u64, u64)>, StorageError> {
        let reader = &self.see(node).readers[&LOG];
        let mut cursor = Cursor::at(reader.bounds().start);
        let mut found = Vec::new();
        while let ReadOutcome::Batches { batches, next } = reader.read(cursor, 64)? {
            cursor = next;
            found.extend(
                batches
                    .iter()
                    .map(|batch| (batch.header.base_offset.0, number_of(batch).unwrap_or(0))),
            );
        }
        Ok(found)
    }

    /// Reads every entry of the partition that a broker has, also those in which readers find
    /// nothing: whoever copies or compacts the log needs them.
    ///
    /// # Errors
    /// Where a part of it is damaged.
    pub fn try_entries(&self, node: NodeId) -> Result<(), StorageError> {
        let Some(engine) = &self.see(node).engine else { return Ok(()) };
        let Some(state) = engine.groups()?.into_iter().find(|state| state.group == LOG) else {
            return Ok(());
        };
        let (mut at, end) = (state.start.index + 1, state.last.map_or(0, |(last, _)| last + 1));
        while at < end {
            let entries = engine.entries(LOG, at..end, 1 << 20)?;
            let Some(last) = entries.last() else { return Ok(()) };
            at = last.index + 1;
        }
        Ok(())
    }

    /// The start and the end of the log, as they can be seen at a broker.
    #[must_use]
    pub fn bounds(&self, node: NodeId) -> (u64, u64) {
        let bounds = self.see(node).readers[&LOG].bounds();
        (bounds.start.0, bounds.high_watermark.0)
    }

    /// The states that brokers have of the metadata, by how many have each: one, when all is well.
    #[must_use]
    pub fn metadata_states(&self) -> BTreeMap<u64, usize> {
        let mut states = BTreeMap::new();
        let ledger = self.ledger.lock().unwrap();
        for broker in self.brokers.iter().filter(|broker| broker.is_up()) {
            let Some(watch) = &broker.metadata else { continue };
            let metadata = watch.borrow().clone();
            ledger.replay(&metadata);
            *states.entry(ledger.last_up_to(metadata.index)).or_default() += 1;
        }
        states
    }
}

/// A batch of an idempotent producer.
#[derive(Clone, Copy, Debug)]
pub struct Sequenced {
    /// Its place among the batches of its producer.
    pub sequence: ProducerSequence,
    /// How many records it has.
    pub records: u32,
    /// About how many bytes.
    pub bytes: usize,
}

/// A batch that is appended on the version of its key.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// The key.
    pub key: u8,
    /// The value: one of a kind.
    pub value: u8,
    /// The version that is expected.
    pub version: Option<u64>,
    /// Whether its leader's broker has looked for its key before the shard gets it.
    pub is_searched: bool,
}

impl Compared {
    /// The number of the batch: no count gets so far.
    fn number(&self) -> u64 {
        1 << 56 | u64::from(self.key) << 8 | u64::from(self.value)
    }

    /// A record set of one record.
    fn payload(&self) -> Vec<u8> {
        let mut body = vec![0x0a, 1, self.key, 0x1a, 1, self.value];
        put_field(&mut body, NUMBER, &self.number().to_le_bytes());
        let mut payload = Vec::new();
        put_field(&mut payload, 0x0a, &body);
        payload
    }
}

fn draft_of(
    number: u64,
    records: u32,
    bytes: usize,
    sequence: Option<ProducerSequence>,
) -> BatchDraft {
    let (mut payload, mut shortest_ttl) = (Vec::new(), None);
    let each = bytes / records as usize;
    for place in 0..u64::from(records) {
        let mix = (number * 31 + place).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        // One of a few keys; and one in four has no value.
        let mut body = vec![0x0a, 1, (mix % 6) as u8];
        if !mix.is_multiple_of(4) {
            let filler = |at: usize| (at as u64 ^ number.wrapping_mul(0x9e37_79b9)) as u8;
            put_field(&mut body, 0x1a, &(8..each.max(9)).map(filler).collect::<Vec<_>>());
        }
        // And one in five lives for a part of the simulation's time.
        if (mix >> 6).is_multiple_of(5) {
            let ttl = Duration::from_millis(1 + (mix >> 9) % 4_000);
            put_field(&mut body, 0x3a, &encoded(ttl));
            shortest_ttl = shortest_ttl.into_iter().chain([ttl]).min();
        }
        put_field(&mut body, NUMBER, &number.to_le_bytes());
        put_field(&mut payload, 0x0a, &body);
    }
    draft(&payload, records, sequence, shortest_ttl)
}

fn draft(
    payload: &[u8],
    records: u32,
    sequence: Option<ProducerSequence>,
    shortest_ttl: Option<Duration>,
) -> BatchDraft {
    let shortest_ttl = shortest_ttl.and_then(ShortestTtl::of);
    let times = RecordTimes { newest: None, untimed: true, shortest_ttl };
    let (compression, times_of) = (Compression::None, TimestampType::Create);
    BatchDraft::new(payload, records, compression, times_of, times, sequence)
}

/// The tag of a field that records do not have, in which each carries the number of its batch.
const NUMBER: u8 = 0x7a;

fn put_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A duration as it is sent.
fn encoded(duration: Duration) -> Vec<u8> {
    let mut out = vec![0x08];
    put_varint(&mut out, duration.as_secs());
    out.push(0x10);
    put_varint(&mut out, duration.subsec_nanos().into());
    out
}

/// The number of a batch, if any of its records is left.
#[must_use]
pub fn number_of(batch: &StoredBatch) -> Option<u64> {
    let records = batch.records();
    let first = facts(&records).next()?.range;
    // It is the last field of each.
    let number = records[first.end - 8..first.end].try_into().unwrap();
    Some(u64::from_le_bytes(number))
}

/// What the checks must know of a proposal when it has ended; not the records.
fn remembered(kind: &ProposalKind) -> ProposalKind {
    match kind {
        ProposalKind::Batch { .. } => ProposalKind::Progress,
        ProposalKind::Trim { before } => ProposalKind::Trim { before: *before },
        ProposalKind::Command(command) => ProposalKind::Command(command.clone()),
        ProposalKind::Query(question) => ProposalKind::Query(question.clone()),
        ProposalKind::Bounds => ProposalKind::Bounds,
        ProposalKind::Membership(change) => ProposalKind::Membership(*change),
        ProposalKind::TransferLeadership(to) => ProposalKind::TransferLeadership(*to),
        ProposalKind::Progress => ProposalKind::Progress,
    }
}

/// A trim to an offset.
#[must_use]
pub fn trim(before: u64) -> ProposalKind {
    ProposalKind::Trim { before: Some(Offset(before)) }
}
