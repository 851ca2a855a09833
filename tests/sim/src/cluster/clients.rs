//! What clients ask of brokers.

use std::collections::BTreeMap;

use ropewalk_consensus::{Durability, Input, Proposal, ProposalKind, ProposeError, Receipt};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, NodeId, Offset, ProducerSequence, TimestampType,
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

    /// Appends a batch of `records` whose payload is the number that is returned.
    pub fn produce(&mut self, node: NodeId, records: u32, durability: Durability) -> u64 {
        self.produce_bytes(node, records, durability, 8)
    }

    /// Appends a batch of `records` and about so many bytes. Its payload begins with the number
    /// that is returned.
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

    /// Sends a batch of an idempotent producer, for the first time or again: its payload begins
    /// with its number, that of the proposal which sent it first.
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
            found.extend(batches.iter().map(|batch| {
                let id = u64::from_le_bytes(batch.payload[..8].try_into().unwrap());
                (batch.header.base_offset.0, id)
            }));
        }
        Ok(found)
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

fn draft_of(
    number: u64,
    records: u32,
    bytes: usize,
    sequence: Option<ProducerSequence>,
) -> BatchDraft {
    let mut payload = number.to_le_bytes().to_vec();
    payload.extend((8..bytes).map(|at| (at as u64 ^ number.wrapping_mul(0x9e37_79b9)) as u8));
    let times = RecordTimes { newest: None, untimed: true };
    let (compression, times_of) = (Compression::None, TimestampType::Create);
    BatchDraft::new(&payload, records, compression, times_of, times, sequence)
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
