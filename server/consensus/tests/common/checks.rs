//! What must hold whatever happens.

use std::collections::BTreeMap;

use ropewalk_consensus::{Durability, ProposalKind, Receipt};
use ropewalk_core::{GroupId, NodeId, Offset};
use ropewalk_storage::log_view::{Cursor, LogReader, ReadOutcome};

use super::End;

/// What was known when a question was asked: its answer may not be older.
#[derive(Clone, Copy, Default)]
struct Known {
    start: u64,
    end: u64,
    commands: u64,
}

#[derive(Default)]
pub(crate) struct Checks {
    leaders: BTreeMap<(GroupId, u64), NodeId>,
    /// What was read at each base offset, by anybody: the batch's number, and its end.
    log: BTreeMap<u64, (u64, u64)>,
    /// What was answered to be there for good: the base offset of each batch.
    acked: BTreeMap<u64, u64>,
    known: Known,
    questions: BTreeMap<u64, Known>,
    cursors: BTreeMap<NodeId, Cursor>,
    pub(crate) answers: u64,
}

impl Checks {
    pub(crate) fn leads(&mut self, group: GroupId, term: u64, node: NodeId) {
        let known = *self.leaders.entry((group, term)).or_insert(node);
        assert_eq!(known, node, "group {group} has two leaders in term {term}");
    }

    /// A leader that serves has everything that was answered.
    pub(crate) fn serves(&self, reader: &LogReader) {
        let bounds = reader.bounds();
        assert!(bounds.high_watermark.0 >= self.known.end, "a leader lacks what was answered");
        assert!(bounds.start.0 >= self.known.start, "a leader has undone a trim");
    }

    pub(crate) fn asked(&mut self, id: u64, _group: GroupId, kind: &ProposalKind) {
        if matches!(kind, ProposalKind::Bounds | ProposalKind::Query(_)) {
            self.questions.insert(id, self.known);
        }
    }

    pub(crate) fn ended(&mut self, id: u64, end: &End) {
        let question = self.questions.remove(&id);
        let Ok(receipt) = end else { return };
        self.answers += 1;
        match receipt {
            Receipt::Appended { base_offset, record_count, achieved, .. } => {
                if *achieved == Durability::Quorum {
                    let other = self.acked.insert(base_offset.0, id);
                    assert_eq!(other, None, "offset {base_offset} was given twice");
                    let end = base_offset.0 + u64::from(*record_count);
                    self.known.end = self.known.end.max(end);
                    if let Some((found, _)) = self.log.get(&base_offset.0) {
                        assert_eq!(*found, id, "another batch is at offset {base_offset}");
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
            Receipt::Applied(response) => {
                let count = u64::from_le_bytes(response.as_slice().try_into().unwrap());
                let known = question.unwrap_or_default();
                assert!(count >= known.commands, "a read misses a command answered before");
                self.known.commands = self.known.commands.max(count);
            }
            Receipt::Done | Receipt::Progress { .. } => {}
        }
    }

    /// A broker begins anew: it is read from its start again.
    pub(crate) fn forget_reads(&mut self, node: NodeId) {
        self.cursors.remove(&node);
    }

    /// Reads what is new, and compares it with what others read.
    pub(crate) fn read_on(&mut self, node: NodeId, reader: &LogReader) {
        let start = reader.bounds().start;
        let cursor = self.cursors.entry(node).or_insert(Cursor::at(start));
        if cursor.offset < start {
            *cursor = Cursor::at(start);
        }
        while let ReadOutcome::Batches { batches, next } = reader.read(*cursor, 200).unwrap() {
            for batch in batches {
                let id = u64::from_le_bytes(batch.payload[..8].try_into().unwrap());
                let base = batch.header.base_offset.0;
                let found = (id, batch.header.end_offset().0);
                let known = *self.log.entry(base).or_insert(found);
                assert_eq!(known, found, "offset {base} of broker {node} is another batch");
                if let Some(acked) = self.acked.get(&base) {
                    assert_eq!(*acked, id, "what was answered is not at {base} of {node}");
                }
            }
            *cursor = next;
        }
    }

    /// Everything that was answered was read, from the log start on; and nothing overlaps.
    pub(crate) fn finish(&self, start: u64) {
        for (base, id) in self.acked.range(start..) {
            assert_eq!(self.log.get(base).map(|(found, _)| found), Some(id), "offset {base}");
        }
        let batches: Vec<_> = self.log.iter().map(|(base, (_, end))| (*base, *end)).collect();
        for pair in batches.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "batches overlap: {pair:?}");
        }
    }

    pub(crate) fn high_watermark(&self) -> Offset {
        Offset(self.known.end)
    }
}
