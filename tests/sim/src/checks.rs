//! What must hold of logs and of answers, whatever happens.

use std::collections::BTreeMap;

use ropewalk_cluster::answer::{decode_applied, decode_index};
use ropewalk_cluster::{LEVEL, MetadataCommand};
use ropewalk_consensus::{Durability, ProposalKind, Receipt};
use ropewalk_core::records::{RecordFacts, facts};
use ropewalk_core::{
    BatchHeader, GroupId, NodeId, Offset, ProducerId, ProducerSequence, StoredBatch, Timestamp,
};
use ropewalk_storage::StorageError;
use ropewalk_storage::log_view::{Cursor, LogReader, ReadOutcome};

use crate::cluster::{Compared, End, number_of};
use crate::machine::Ledger;

/// What was known when a question was asked: its answer may not be older.
#[derive(Clone, Copy, Default)]
struct Known {
    start: u64,
    end: u64,
    command: u64,
}

/// A batch as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    /// Its number, if any record of it was left.
    id: Option<u64>,
    end: u64,
    epoch: u64,
    index: u64,
    time: i64,
    sum: u32,
    sequence: Option<ProducerSequence>,
}

/// What is known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its key.
    pub key: u8,
    /// Whether it is no tombstone.
    pub has_value: bool,
    /// When its own time is over, if it has one.
    pub end: Option<Timestamp>,
    sum: u32,
}

/// What keys ended with that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Some with a tombstone.
    pub tombstones: bool,
    /// Some with a value whose own time was over.
    pub ended: bool,
}

impl Kept {
    /// A record of a batch with this payload.
    #[must_use]
    pub fn of(header: &BatchHeader, record: &RecordFacts<'_>, payload: &[u8]) -> Self {
        let sum = crc32c::crc32c(&payload[record.range.clone()]);
        let key = record.key.and_then(|key| key.first()).copied().unwrap_or(u8::MAX);
        Self { key, has_value: record.has_value, end: header.end_of(record), sum }
    }
}

/// What is known of a log and of its leaders.
#[derive(Default)]
pub struct Checks {
    leaders: BTreeMap<(GroupId, u64), NodeId>,
    /// What was read at each base offset, by anybody.
    log: BTreeMap<u64, Read>,
    /// Every record that was read, by anybody.
    records: BTreeMap<u64, Kept>,
    /// What was answered to be there for good: the base offset of each batch.
    acked: BTreeMap<u64, u64>,
    /// What was answered by the leader's disk alone.
    weakly_acked: BTreeMap<u64, u64>,
    /// The base offset of each batch that was read, by its number: it has no other.
    places: BTreeMap<u64, u64>,
    /// Proposals that send a batch of an idempotent producer, with its number.
    sent: BTreeMap<u64, u64>,
    /// What batches that set registers expect, by number: the key and its version.
    compared: BTreeMap<u64, (u8, Option<u64>)>,
    known: Known,
    questions: BTreeMap<u64, Known>,
    cursors: BTreeMap<NodeId, Cursor>,
    /// How many proposals were carried out.
    pub answers: u64,
}

impl Checks {
    /// A replica leads: the only one in its term.
    pub fn leads(&mut self, group: GroupId, term: u64, node: NodeId) {
        let known = *self.leaders.entry((group, term)).or_insert(node);
        assert_eq!(known, node, "group {group} has two leaders in term {term}");
    }

    /// A leader that serves has everything that was answered.
    pub fn serves(&self, reader: &LogReader) {
        let bounds = reader.bounds();
        assert!(bounds.high_watermark.0 >= self.known.end, "a leader lacks what was answered");
        assert!(bounds.start.0 >= self.known.start, "a leader has undone a trim");
    }

    /// Something is proposed.
    pub fn asked(&mut self, id: u64, kind: &ProposalKind) {
        if matches!(kind, ProposalKind::Bounds | ProposalKind::Query(_)) {
            self.questions.insert(id, self.known);
        }
    }

    /// A proposal sends a batch of a producer, which may have been sent before.
    pub fn sends(&mut self, id: u64, batch: u64) {
        self.sent.insert(id, batch);
    }

    /// A batch sets a register, if its version is what is expected.
    pub(crate) fn compares(&mut self, number: u64, batch: &Compared) {
        self.compared.insert(number, (batch.key, batch.version));
    }

    /// A proposal has ended.
    pub fn ended(&mut self, id: u64, kind: &ProposalKind, end: &End, ledger: &Ledger) {
        let question = self.questions.remove(&id);
        let sent = self.sent.remove(&id);
        let Ok(receipt) = end else { return };
        self.answers += 1;
        match receipt {
            Receipt::Appended { base_offset, record_count, achieved, .. } => {
                if *achieved == Durability::Leader {
                    self.weakly_acked.insert(id, base_offset.0);
                }
                if *achieved == Durability::Quorum {
                    let batch = sent.unwrap_or(id);
                    let other = self.acked.insert(base_offset.0, batch);
                    let is_again = sent.is_some() && other == sent;
                    assert!(other.is_none() || is_again, "offset {base_offset} was given twice");
                    let end = base_offset.0 + u64::from(*record_count);
                    self.known.end = self.known.end.max(end);
                    if let Some(found) = self.log.get(&base_offset.0).and_then(|read| read.id) {
                        assert_eq!(found, batch, "another batch is at offset {base_offset}");
                    }
                }
            }
            Receipt::Trimmed(start) => self.known.start = self.known.start.max(start.0),
            Receipt::Bounds { start, high_watermark, .. } => {
                let known = question.unwrap();
                assert!(start.0 >= known.start, "a read misses a trim");
                assert!(high_watermark.0 >= known.end, "a read misses what was answered before");
                self.known.end = self.known.end.max(high_watermark.0);
            }
            Receipt::Applied(response) => match kind {
                ProposalKind::Command(command) => {
                    let (index, _) = decode_applied(response).unwrap();
                    if MetadataCommand::check(command, LEVEL).is_err() {
                        return assert_eq!(index, 0, "what nobody knows was proposed");
                    }
                    ledger.answered(index, command, response);
                    self.known.command = self.known.command.max(index);
                }
                _ => {
                    let index = decode_index(response).unwrap();
                    let known = question.unwrap();
                    assert!(index >= known.command, "a read misses a command answered before");
                    self.known.command = self.known.command.max(ledger.last_up_to(index));
                }
            },
            Receipt::Done | Receipt::Progress { .. } => {}
        }
    }

    /// A broker begins anew: it is read from its start again.
    pub fn forget_reads(&mut self, node: NodeId) {
        self.cursors.remove(&node);
    }

    /// Reads what is new, and compares it with what others read.
    ///
    /// # Errors
    /// Where something cannot be read.
    pub fn read_on(&mut self, node: NodeId, reader: &LogReader) -> Result<(), StorageError> {
        let bounds = reader.bounds();
        let cursor = self.cursors.entry(node).or_insert(Cursor::at(bounds.start));
        if cursor.offset < bounds.start {
            *cursor = Cursor::at(bounds.start);
        }
        loop {
            let (batches, next) = match reader.read(*cursor, 200)? {
                ReadOutcome::Batches { batches, next } => (batches, next),
                // As readers of a broker do: a trim took the entry before which it stood.
                ReadOutcome::Cold if cursor.index.is_some() => {
                    cursor.index = None;
                    continue;
                }
                ReadOutcome::Cold | ReadOutcome::End | ReadOutcome::Trimmed(_) => return Ok(()),
            };
            *cursor = next;
            for batch in batches {
                let base = batch.header.base_offset.0;
                let found = Read::of(&batch);
                let known = self.log.entry(base).or_insert(found);
                let id = known.id.or(found.id);
                let same = |read: &Read| Read { id, ..*read };
                assert_eq!(
                    same(known),
                    Read { id: found.id.or(id), ..found },
                    "offset {base} of broker {node} is another batch"
                );
                known.id = id;
                note_records(&mut self.records, node, &batch);
                let Some(id) = id else { continue };
                let place = *self.places.entry(id).or_insert(base);
                assert_eq!(place, base, "batch {id} is at two offsets");
                if let Some(acked) = self.acked.get(&base) {
                    assert_eq!(*acked, id, "what was answered is not at {base} of {node}");
                }
            }
        }
    }

    /// What all brokers have in the end, from an offset on: the last record of each key, unless
    /// that is a tombstone, or its own time was over before `ended_before`, and none of a key of
    /// which that is gone.
    #[must_use]
    pub fn keys_are_right(
        &self,
        start: u64,
        left: &[(u64, Kept)],
        ended_before: Timestamp,
    ) -> Gone {
        let last = |records: &mut dyn Iterator<Item = (u64, Kept)>| -> BTreeMap<u8, (u64, Kept)> {
            records.map(|(offset, record)| (record.key, (offset, record))).collect()
        };
        let known = last(&mut self.records.range(start..).map(|(at, record)| (*at, *record)));
        let left = last(&mut left.iter().copied());
        let mut gone = Gone::default();
        for (key, (offset, record)) in &known {
            match left.get(key) {
                Some((found, _)) => {
                    assert_eq!(found, offset, "an older record of key {key} has come back");
                }
                None => {
                    let has_ended = record.end.is_some_and(|end| end < ended_before);
                    let may_go = !record.has_value || has_ended;
                    assert!(may_go, "the last record of key {key} is gone: {record:?}");
                    gone.tombstones |= !record.has_value;
                    gone.ended |= record.has_value;
                }
            }
        }
        gone
    }

    /// Everything that was answered was read, from the log start on; and nothing overlaps.
    pub fn finish(&self, start: u64) {
        for (base, id) in self.acked.range(start..) {
            let found = self.log.get(base).map(|found| found.id.unwrap_or(*id));
            let beside: Vec<_> =
                self.log.range(base.saturating_sub(8)..base + 8).map(|(at, r)| (*at, *r)).collect();
            assert_eq!(found, Some(*id), "offset {base}, in a log from {start} on: {beside:?}");
        }
        let batches: Vec<_> = self.log.iter().map(|(base, read)| (*base, read.end)).collect();
        for pair in batches.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "batches overlap: {pair:?}");
        }
        self.producers_are_in_order();
        self.registers_are_chains(start);
    }

    /// What a producer has sent in an epoch is there from its first record on, in order, without
    /// gaps; and nothing of an epoch after the first of the next one.
    fn producers_are_in_order(&self) {
        let mut next: BTreeMap<ProducerId, (u32, u32)> = BTreeMap::new();
        let (mut end, mut is_whole) = (0, true);
        for (base, read) in &self.log {
            if *base != end {
                // A trim took what nobody had read.
                next.clear();
                is_whole = false;
            }
            end = read.end;
            let Some(ProducerSequence { producer, epoch, first }) = read.sequence else { continue };
            let known = next.get(&producer).copied();
            let found = (epoch, first);
            if is_whole || known.is_some() {
                let expected = known.filter(|(known, _)| *known >= epoch).unwrap_or((epoch, 0));
                assert_eq!(found, expected, "producer {producer} is out of order at offset {base}");
            }
            let count = u32::try_from(read.end - base).unwrap();
            next.insert(producer, (epoch, first + count));
        }
    }

    /// Each batch that set a register comes right after the one whose version it expects, of those
    /// of the key: they are a chain without a fork. One that expects none is the first, or a trim
    /// took what was before it.
    fn registers_are_chains(&self, start: u64) {
        let mut latest: BTreeMap<u8, u64> = BTreeMap::new();
        // A trim took what nobody had read before this.
        let (mut end, mut whole_from) = (0, 0);
        for (base, read) in &self.log {
            if *base != end {
                whole_from = *base;
            }
            end = read.end;
            let compared = read.id.and_then(|id| self.compared.get(&id));
            let Some((key, expected)) = compared else { continue };
            let last = latest.insert(*key, *base);
            // Compaction took what was superseded before anybody had read it.
            let is_gone = |at: &u64| self.log.get(at).is_some_and(|read| read.id.is_none());
            let is_unread = |at: &u64| *at < whole_from || is_gone(at);
            let holds = match expected {
                Some(expected) if last < Some(*expected) => is_unread(expected),
                Some(expected) => last == Some(*expected),
                None => last.is_none_or(|last| last < start),
            };
            assert!(holds, "key {key} has a fork at {base}: {expected:?} is not {last:?}");
        }
    }

    /// Whether something is not there that the leader's disk alone had had. There is nothing wrong
    /// with that: nobody was promised more.
    #[must_use]
    pub fn has_lost_weakly_acked(&self, start: u64) -> bool {
        let mut still = self.weakly_acked.iter().filter(|(_, base)| **base >= start);
        still.any(|(id, base)| {
            self.log.get(base).is_some_and(|read| read.id.is_some_and(|of| of != *id))
        })
    }

    /// The end of the log, as somebody was told last.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        Offset(self.known.end)
    }
}

fn note_records(known: &mut BTreeMap<u64, Kept>, node: NodeId, batch: &StoredBatch) {
    let (base, records) = (batch.header.base_offset.0, batch.records());
    let all = 0..batch.header.record_count;
    let positions: Vec<u32> = batch.positions().map_or(all.collect(), Iterator::collect);
    assert_eq!(facts(&records).count(), positions.len(), "a batch lacks records");
    for (position, record) in positions.into_iter().zip(facts(&records)) {
        let offset = base + u64::from(position);
        let found = Kept::of(&batch.header, &record, &records);
        let known = *known.entry(offset).or_insert(found);
        assert_eq!(known, found, "offset {offset} of broker {node} is another record");
    }
}

impl Read {
    fn of(batch: &StoredBatch) -> Self {
        let header = &batch.header;
        let sum = crc32c::crc32c(&batch.payload);
        assert_eq!(sum, header.payload_crc, "a batch is damaged");
        Self {
            id: number_of(batch),
            end: header.end_offset().0,
            epoch: header.leader_epoch,
            index: header.index,
            time: header.append_time.0,
            sum: header.produced_crc(),
            sequence: header.sequence,
        }
    }
}
