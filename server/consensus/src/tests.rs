//! The shard as a pure step function: scripts that read as examples, and random ones against a
//! model.

mod compaction;
mod keys;
mod random;
mod scripts;
mod sequences;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::batch::RecordTimes;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, NodeId, Offset, ReplicaId, Timestamp, TimestampType,
};
use ropewalk_storage::group_log::SegmentPolicy;
use ropewalk_storage::log_view::{Cursor, LogReader, ReadOutcome};
use ropewalk_storage::memory::MemoryEngine;
use ropewalk_storage::{Engine, StorageError, WriteBatch};

use crate::group::CompactionOrder;
use crate::logger::tracing_logger;
use crate::shard::NewGroup;
use crate::{
    CatchUpBounds, Durability, Expected, Input, KeyBounds, KeyRead, MemberProgress, Output,
    ProducerBounds, Proposal, ProposalKind, ProposeError, Receipt, Shard, StateMachine,
};

const TAIL_BUDGET: u64 = 1 << 20;
const PRODUCERS: ProducerBounds = ProducerBounds { max: 8, expiry: Duration::from_nanos(100_000) };

const KEYS: KeyBounds = KeyBounds { max: 52 };

/// How a proposal ended, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Appended {
        base: u64,
        records: u32,
        achieved: Durability,
    },
    /// It was there already.
    Again {
        base: u64,
        records: u32,
    },
    Trimmed(u64),
    Applied(Vec<u8>),
    Bounds {
        start: u64,
        end: u64,
    },
    Progress(Vec<MemberProgress>),
    Done,
    Failed(ProposeError),
}

/// A shard over a memory store whose writes become durable only when the test says so.
struct Bench {
    engine: Arc<dyn Engine>,
    shard: Shard<u32>,
    writes: VecDeque<(u64, WriteBatch)>,
    ends: Vec<(u32, End)>,
    readers: Vec<(GroupId, LogReader)>,
    served: Vec<GroupId>,
    /// Reads of keys that were asked for.
    key_reads: VecDeque<KeyRead>,
    /// Compactions that were ordered.
    compactions: VecDeque<(GroupId, CompactionOrder, LogReader)>,
    now: i64,
}

impl Bench {
    fn new() -> Self {
        Self::over(Arc::new(MemoryEngine::default()))
    }

    fn over(engine: Arc<dyn Engine>) -> Self {
        let (store, logger) = (Arc::clone(&engine), tracing_logger());
        let shard = Shard::new(store, TAIL_BUDGET, CatchUpBounds::NONE, PRODUCERS, KEYS, logger);
        Self {
            engine,
            shard,
            writes: VecDeque::new(),
            ends: Vec::new(),
            readers: Vec::new(),
            served: Vec::new(),
            key_reads: VecDeque::new(),
            compactions: VecDeque::new(),
            now: 0,
        }
    }

    /// A bench with one partition that serves.
    fn serving(group: GroupId) -> Self {
        let mut bench = Self::new();
        bench.open(group, None);
        bench.settle();
        assert_eq!(bench.served, [group]);
        bench
    }

    fn open(&mut self, group: GroupId, machine: Option<Box<dyn StateMachine>>) {
        let stored = self.engine.groups().unwrap().into_iter().find(|state| state.group == group);
        let policy = SegmentPolicy::default();
        let replica = ReplicaId::new(NodeId(1), 1);
        let founders = vec![replica];
        let new = NewGroup { group, stored, replica, founders, machine, policy };
        self.step(Input::Open(Box::new(new)));
    }

    /// One input, and what it leads to before the disk has done anything.
    fn step(&mut self, input: Input<u32>) {
        self.try_step(input).unwrap();
    }

    fn try_step(&mut self, input: Input<u32>) -> Result<(), StorageError> {
        self.now += 1;
        let mut out = Vec::new();
        self.shard.step(Timestamp(self.now), input, &mut out)?;
        self.shard.flush(Timestamp(self.now), &mut out)?;
        for output in out {
            self.take(output);
        }
        Ok(())
    }

    fn take(&mut self, output: Output<u32>) {
        match output {
            Output::Write { number, batch } => self.writes.push_back((number, batch)),
            Output::Reply { to, result } => self.ends.push((to, end_of(result))),
            Output::Opened { group, reader } => self.readers.push((group, reader)),
            Output::Leadership { group, epoch: Some(_) } => self.served.push(group),
            Output::Leadership { group, epoch: None } => self.served.retain(|g| *g != group),
            Output::Read(read) => panic!("a group of one replica has followers: {read:?}"),
            Output::ReadKeys(read) => self.key_reads.push_back(read),
            Output::Compact { group, order, reader } => {
                self.compactions.push_back((group, order, reader));
            }
            Output::Send(message) => panic!("a group of one replica sends {message:?}"),
            Output::Damaged { group } => panic!("{group} is damaged"),
            Output::Progress { .. }
            | Output::Leader { .. }
            | Output::Members { .. }
            | Output::Stale { .. } => {}
        }
    }

    /// The oldest write becomes durable.
    fn persist_one(&mut self) -> bool {
        let Some((number, batch)) = self.writes.pop_front() else { return false };
        self.engine.write(&[batch]).unwrap();
        self.step(Input::Durable(number));
        true
    }

    /// Writes become durable until none is left.
    fn settle(&mut self) {
        while self.persist_one() {}
    }

    /// The process dies: what was not written is gone. The next one starts over the same store.
    fn crash(self) -> Self {
        let now = self.now;
        Self { now, ..Self::over(self.engine) }
    }

    fn produce(&mut self, group: GroupId, id: u32, records: u32, durability: Durability) {
        self.propose(group, id, batch(id, records, None, durability));
    }

    fn propose(&mut self, group: GroupId, id: u32, kind: ProposalKind) {
        self.step(Input::Propose(group, Proposal { kind, reply: id, held: Box::new(()) }));
    }

    fn reader(&self, group: GroupId) -> &LogReader {
        &self.readers.iter().rev().find(|(other, _)| *other == group).unwrap().1
    }

    /// Every batch that can be read, as its base offset and the id in its payload.
    fn log(&self, group: GroupId) -> Vec<(u64, u32)> {
        let reader = self.reader(group);
        let mut cursor = Cursor::at(reader.bounds().start);
        let mut found = Vec::new();
        loop {
            match reader.read(cursor, 64).unwrap() {
                ReadOutcome::Batches { batches, next } => {
                    cursor = next;
                    found.extend(batches.iter().map(|batch| {
                        let id = u32::from_le_bytes(batch.payload[..4].try_into().unwrap());
                        (batch.header.base_offset.0, id)
                    }));
                }
                ReadOutcome::End => return found,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn batch(id: u32, records: u32, expected: Option<u64>, durability: Durability) -> ProposalKind {
    let times = RecordTimes { newest: None, untimed: true, shortest_ttl: None };
    let payload = id.to_le_bytes();
    let draft =
        BatchDraft::new(&payload, records, Compression::None, TimestampType::Create, times, None);
    let expected = expected.map(|offset| Box::new(Expected::Offset(Offset(offset))));
    ProposalKind::Batch { draft, expected, durability, epoch: None }
}

fn end_of(result: Result<Receipt, ProposeError>) -> End {
    match result {
        Ok(Receipt::Appended { base_offset, record_count, achieved, duplicate, .. }) => {
            let (base, records) = (base_offset.0, record_count);
            match duplicate {
                true if achieved == Durability::Quorum => End::Again { base, records },
                _ => End::Appended { base, records, achieved },
            }
        }
        Ok(Receipt::Trimmed(start)) => End::Trimmed(start.0),
        Ok(Receipt::Applied(response)) => End::Applied(response),
        Ok(Receipt::Bounds { start, high_watermark, .. }) => {
            End::Bounds { start: start.0, end: high_watermark.0 }
        }
        Ok(Receipt::Done) => End::Done,
        Ok(Receipt::Progress { members, .. }) => End::Progress(members),
        Err(error) => End::Failed(error),
    }
}
