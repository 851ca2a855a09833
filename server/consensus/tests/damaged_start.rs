//! A broker starts, and the end of one of its logs is rotten: that costs it one replica, not all of
//! them, and another takes its place.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ropewalk_consensus::logger::tracing_logger;
use ropewalk_consensus::machine::LaterVersion;
use ropewalk_consensus::{
    Applied, CatchUpBounds, Durability, Input, KeyBounds, MembershipChange, NewGroup, Output,
    ProducerBounds, Proposal, ProposalKind, Receipt, Shard, StateMachine,
};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::codec::DecodeError;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, NodeId, ReplicaId, Timestamp, TimestampType,
};
use ropewalk_storage::engine::EntryMeta;
use ropewalk_storage::group_log::SegmentPolicy;
use ropewalk_storage::memory::MemoryEngine;
use ropewalk_storage::{Engine, GroupState, LogEntry, StorageError, WriteBatch};

const LOG: GroupId = GroupId::FIRST_PARTITION;
/// One whose entries are commands.
const OFFSETS: GroupId = GroupId::COORDINATORS[0];

/// A disk, on which the chunks of one group may be rotten.
#[derive(Default)]
struct Disk {
    engine: MemoryEngine,
    rotten: Mutex<Option<GroupId>>,
}

impl Disk {
    fn check(&self, group: GroupId) -> Result<(), StorageError> {
        let (what, detail) = ("chunk".to_owned(), "its checksum is another one".to_owned());
        let path = PathBuf::from("segments/1");
        let corrupt = StorageError::Corrupt { offset: None, what, path, detail };
        if *self.rotten.lock().unwrap() == Some(group) { Err(corrupt) } else { Ok(()) }
    }
}

impl Engine for Disk {
    fn groups(&self) -> Result<Vec<GroupState>, StorageError> {
        self.engine.groups()
    }

    fn write(&self, batches: &[WriteBatch]) -> Result<(), StorageError> {
        self.engine.write(batches)
    }

    fn meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>, StorageError> {
        self.check(group)?;
        self.engine.meta(group, index)
    }

    fn entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: u64,
    ) -> Result<Vec<LogEntry>, StorageError> {
        self.check(group)?;
        self.engine.entries(group, range, max_bytes)
    }

    fn rows(&self, group: GroupId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StorageError> {
        self.engine.rows(group, prefix)
    }

    fn reclaim(&self) -> Result<bool, StorageError> {
        self.engine.reclaim()
    }

    fn size_bytes(&self) -> u64 {
        self.engine.size_bytes()
    }

    fn close(&self) -> Result<(), StorageError> {
        self.engine.close()
    }
}

/// Counts the commands.
struct Tally(u8);

impl StateMachine for Tally {
    fn restore(&mut self, _: u64, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), DecodeError> {
        self.0 = rows.first().map_or(0, |(_, value)| value[0]);
        Ok(())
    }

    fn apply(&mut self, _: u64, _: &[u8]) -> Result<Applied, LaterVersion> {
        self.0 += 1;
        let rows = vec![(b"count".to_vec(), Some(vec![self.0]))];
        Ok(Applied { response: vec![self.0], rows })
    }

    fn refusal(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn query(&self, _: &[u8]) -> Vec<u8> {
        vec![self.0]
    }
}

/// Three brokers whose disks write at once, and whose messages take no time.
struct Brokers {
    disks: Vec<Arc<Disk>>,
    shards: Vec<Shard<u64>>,
    ends: BTreeMap<u64, Receipt>,
    damaged: Vec<(NodeId, GroupId)>,
    /// How many messages each replica has sent.
    sent: BTreeMap<ReplicaId, usize>,
    now: i64,
}

fn replica(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 1)
}

impl Brokers {
    /// Whose groups the first one leads.
    fn three() -> Self {
        let disks: Vec<Arc<Disk>> = (1..=3).map(|_| Arc::default()).collect();
        let shards = disks.iter().map(shard_over).collect();
        let (ends, sent) = (BTreeMap::new(), BTreeMap::new());
        let mut brokers = Self { disks, shards, ends, damaged: Vec::new(), sent, now: 0 };
        for node in 1..=3 {
            for group in [GroupId::METADATA, OFFSETS, LOG] {
                let founders = (1..=3).map(replica).collect();
                brokers.open(node, group, replica(node), founders).unwrap();
            }
        }
        brokers.tick(20);
        brokers
    }

    fn open(
        &mut self,
        node: u64,
        group: GroupId,
        replica: ReplicaId,
        founders: Vec<ReplicaId>,
    ) -> Result<(), StorageError> {
        let groups = self.disks[node as usize - 1].groups().unwrap();
        let stored = groups.into_iter().find(|state| state.group == group);
        let machine = (group != LOG).then(|| Box::new(Tally(0)) as Box<dyn StateMachine>);
        let policy = SegmentPolicy::default();
        let new = NewGroup { group, stored, replica, founders, machine, policy };
        self.step(NodeId(node), Input::Open(Box::new(new)))
    }

    fn step(&mut self, node: NodeId, input: Input<u64>) -> Result<(), StorageError> {
        let mut inputs = VecDeque::from([(node, input)]);
        while let Some((node, input)) = inputs.pop_front() {
            let (now, at) = (Timestamp(self.now), node.0 as usize - 1);
            let mut out = Vec::new();
            self.shards[at].step(now, input, &mut out)?;
            self.shards[at].flush(now, &mut out)?;
            for output in out {
                match output {
                    Output::Write { number, batch } => {
                        self.disks[at].write(&[batch])?;
                        inputs.push_back((node, Input::Durable(number)));
                    }
                    Output::Send(message) => {
                        *self.sent.entry(message.from).or_default() += 1;
                        inputs.push_back((message.to.node(), Input::Message(message)));
                    }
                    Output::Reply { to, result } => {
                        self.ends.insert(to, result.unwrap());
                    }
                    Output::Damaged { group } => self.damaged.push((node, group)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now += 100_000_000;
            for node in 1..=3 {
                self.step(NodeId(node), Input::Tick).unwrap();
                self.step(NodeId(node), Input::Settle).unwrap();
            }
        }
    }

    /// The first broker is asked for something, and does it.
    fn ask(&mut self, group: GroupId, kind: ProposalKind) -> Receipt {
        let proposal = Proposal { kind, reply: 0, held: Box::new(()) };
        self.step(NodeId(1), Input::Propose(group, proposal)).unwrap();
        self.tick(5);
        self.ends.remove(&0).unwrap()
    }

    fn produce(&mut self) -> Receipt {
        let times = RecordTimes { newest: None, untimed: true, shortest_ttl: None };
        let draft = BatchDraft::new(b"1", 1, Compression::None, TimestampType::Create, times, None);
        let durability = Durability::Quorum;
        self.ask(LOG, ProposalKind::Batch { draft, expected: None, durability, epoch: None })
    }

    /// A broker's process ends, and the next one finds a log rotten.
    fn start_again(&mut self, node: u64, rotten: GroupId) {
        let disk = &self.disks[node as usize - 1];
        *disk.rotten.lock().unwrap() = Some(rotten);
        self.shards[node as usize - 1] = shard_over(disk);
    }

    fn lags(&mut self, group: GroupId) -> BTreeMap<ReplicaId, u64> {
        let Receipt::Progress { members, .. } = self.ask(group, ProposalKind::Progress) else {
            panic!("no progress")
        };
        members.into_iter().map(|member| (member.replica, member.lag)).collect()
    }
}

fn shard_over(disk: &Arc<Disk>) -> Shard<u64> {
    let engine: Arc<dyn Engine> = disk.clone();
    let (producers, keys) = (ProducerBounds::default(), KeyBounds::default());
    Shard::new(engine, 1 << 20, CatchUpBounds::NONE, producers, keys, tracing_logger())
}

#[test]
fn a_rotten_log_takes_no_part_and_is_replaced_while_the_others_go_on() {
    let mut brokers = Brokers::three();
    brokers.produce();
    brokers.ask(OFFSETS, ProposalKind::Command(vec![1]));
    brokers.start_again(3, OFFSETS);
    brokers.sent.clear();
    brokers.open(3, OFFSETS, replica(3), Vec::new()).unwrap();
    brokers.tick(60);
    assert_eq!(brokers.damaged, [(NodeId(3), OFFSETS)]);
    assert_eq!(brokers.sent.get(&replica(3)), None, "it votes for nobody, and promises nothing");

    // What else the broker has is not concerned.
    brokers.open(3, LOG, replica(3), Vec::new()).unwrap();
    brokers.produce();
    assert_eq!(brokers.lags(LOG)[&replica(3)], 0);

    let new = ReplicaId::new(NodeId(3), 2);
    brokers.step(NodeId(3), Input::Remove(OFFSETS)).unwrap();
    *brokers.disks[2].rotten.lock().unwrap() = None;
    brokers.open(3, OFFSETS, new, Vec::new()).unwrap();
    for change in [
        MembershipChange::AddLearner(new),
        MembershipChange::Promote(new),
        MembershipChange::Remove(replica(3)),
    ] {
        assert_eq!(brokers.ask(OFFSETS, ProposalKind::Membership(change)), Receipt::Done);
    }
    let done = brokers.ask(OFFSETS, ProposalKind::Command(vec![1]));
    assert_eq!(done, Receipt::Applied(vec![2]));
    let lags: Vec<_> = brokers.lags(OFFSETS).into_iter().collect();
    assert_eq!(lags, [(replica(1), 0), (replica(2), 0), (new, 0)]);
    assert_eq!(brokers.disks[2].rows(OFFSETS, b"count").unwrap()[0].1, [2]);
}

/// Nobody could tell the broker which replica is to take the place of that one; and nobody has what
/// one that is alone had.
#[test]
fn a_broker_does_not_start_without_its_metadata_or_what_it_alone_has() {
    let mut brokers = Brokers::three();
    let alone = GroupId::COORDINATORS[1];
    brokers.open(3, alone, replica(3), vec![replica(3)]).unwrap();
    brokers.tick(20);
    for group in [GroupId::METADATA, alone] {
        brokers.start_again(3, group);
        let opened = brokers.open(3, group, replica(3), Vec::new());
        let text = opened.unwrap_err().to_string();
        assert!(text.contains("segments/1"), "{text}");
        let advises = text.contains("start with an empty one");
        assert_eq!(advises, group == GroupId::METADATA, "{text}");
    }
}
