//! Several brokers in one thread: shards over stores in memory, disks that lose what was not
//! confirmed, and a network that the test decides about.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod checks;
pub(crate) mod links;
pub(crate) mod machine;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use checks::Checks;
use links::Links;
use machine::Digest;
use ropewalk_consensus::logger::tracing_logger;
use ropewalk_consensus::{
    CatchUpBounds, CatchUpRead, Durability, Input, Message, NewGroup, Output, Proposal,
    ProposalKind, ProposeError, Receipt, Shard, StateMachine,
};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, NodeId, Offset, ReplicaId, Timestamp, TimestampType,
};
use ropewalk_storage::group_log::SegmentPolicy;
use ropewalk_storage::log_view::{Cursor, LogReader, ReadOutcome};
use ropewalk_storage::memory::MemoryEngine;
use ropewalk_storage::{Engine, GroupState, WriteBatch};

/// A partition, whose entries are batches of records.
pub(crate) const LOG: GroupId = GroupId::FIRST_PARTITION;
/// A group whose entries are commands to a state machine.
pub(crate) const COMMANDS: GroupId = GroupId::METADATA;
pub(crate) const GROUPS: [GroupId; 2] = [COMMANDS, LOG];

const TAIL_BUDGET: u64 = 2_000;

/// How a proposal ended.
pub(crate) type End = Result<Receipt, ProposeError>;

/// What a broker is to have of a group.
#[derive(Clone)]
pub(crate) struct Assignment {
    pub(crate) replica: ReplicaId,
    pub(crate) founders: Vec<ReplicaId>,
}

/// A store whose writes reach the disk when the test says so.
#[derive(Default)]
struct Disk {
    /// What is on the disk, as the writes that made it.
    durable: Vec<WriteBatch>,
    /// Written without a sync: a crash may take it back.
    unsynced: Vec<WriteBatch>,
    /// On their way, oldest first.
    writes: VecDeque<(u64, WriteBatch)>,
}

pub(crate) struct Broker {
    pub(crate) node: NodeId,
    pub(crate) assigned: BTreeMap<GroupId, Assignment>,
    pub(crate) readers: BTreeMap<GroupId, LogReader>,
    /// The epochs in which it serves.
    pub(crate) serves: BTreeMap<GroupId, u64>,
    pub(crate) leaders: BTreeMap<GroupId, Option<ReplicaId>>,
    /// Voters and learners.
    pub(crate) members: BTreeMap<GroupId, (Vec<ReplicaId>, Vec<ReplicaId>)>,
    shard: Option<Shard<u64>>,
    engine: Arc<MemoryEngine>,
    disk: Disk,
    /// What is read for followers, oldest first.
    reads: VecDeque<CatchUpRead>,
}

pub(crate) struct Cluster {
    pub(crate) brokers: Vec<Broker>,
    pub(crate) network: VecDeque<Message>,
    /// Pairs of brokers of which the first does not reach the second.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    links: Links,
    /// The number of messages that were sent so far, and how many of them lay a follower to sleep.
    pub(crate) sent: u64,
    pub(crate) marks: u64,
    pub(crate) ends: BTreeMap<u64, End>,
    pub(crate) checks: Checks,
    pub(crate) digests: Arc<Mutex<Digest>>,
    /// Replicas that took themselves out.
    pub(crate) damaged: Vec<(NodeId, GroupId)>,
    /// Follows from everything that has happened.
    pub(crate) trace: u64,
    now: i64,
    ticks: u64,
    next_id: u64,
}

impl Cluster {
    /// Brokers 1 to `count`, each with a replica of both groups.
    pub(crate) fn new(count: u64) -> Self {
        let founders: Vec<_> = (1..=count).map(|node| ReplicaId::new(NodeId(node), 1)).collect();
        let broker = |replica: &ReplicaId| {
            let assignment = Assignment { replica: *replica, founders: founders.clone() };
            Broker::new(replica.node(), GROUPS.map(|group| (group, assignment.clone())).into())
        };
        let mut cluster = Self {
            brokers: founders.iter().map(broker).collect(),
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            links: Links::default(),
            sent: 0,
            marks: 0,
            ends: BTreeMap::new(),
            checks: Checks::default(),
            digests: Arc::default(),
            damaged: Vec::new(),
            trace: 0,
            now: 0,
            ticks: 0,
            next_id: 0,
        };
        (1..=count).for_each(|node| cluster.start(NodeId(node)));
        cluster
    }

    /// Brokers whose groups have a leader that serves.
    pub(crate) fn settled(count: u64) -> Self {
        let mut cluster = Self::new(count);
        cluster.run(40);
        assert!(GROUPS.iter().all(|group| cluster.leader(*group).is_some()));
        cluster
    }

    pub(crate) fn at(&mut self, node: NodeId) -> &mut Broker {
        &mut self.brokers[node.0 as usize - 1]
    }

    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.brokers[node.0 as usize - 1].shard.is_some()
    }

    /// The broker that serves a group, in the newest epoch of all that say so.
    pub(crate) fn leader(&self, group: GroupId) -> Option<NodeId> {
        let up = self.brokers.iter().filter(|broker| broker.shard.is_some());
        let serving = up.filter_map(|broker| Some((*broker.serves.get(&group)?, broker.node)));
        serving.max().map(|(_, node)| node)
    }

    /// Takes inputs, and what they lead to before the disk or the network have done anything.
    pub(crate) fn step(&mut self, node: NodeId, inputs: Vec<Input<u64>>) {
        self.now += 1;
        let now = Timestamp(self.now);
        let mut out = Vec::new();
        let Some(shard) = self.at(node).shard.as_mut() else { return };
        for input in inputs {
            shard.step(now, input, &mut out).unwrap();
        }
        shard.flush(now, &mut out).unwrap();
        for output in out {
            self.take(node, output);
        }
    }

    fn take(&mut self, node: NodeId, output: Output<u64>) {
        self.note(&output);
        let broker = &mut self.brokers[node.0 as usize - 1];
        match output {
            Output::Write { number, batch } => broker.disk.writes.push_back((number, batch)),
            Output::Read(read) => broker.reads.push_back(read),
            Output::Reply { to, result } => {
                self.checks.ended(to, &result);
                self.ends.insert(to, result);
            }
            Output::Opened { group, reader } => {
                broker.readers.insert(group, reader);
            }
            Output::Progress { group, high_watermark } => {
                assert!(high_watermark <= broker.readers[&group].bounds().high_watermark);
            }
            Output::Leadership { group, epoch } => {
                broker.serves.remove(&group);
                if let Some(epoch) = epoch {
                    broker.serves.insert(group, epoch);
                    self.checks.leads(group, epoch, node);
                    if group == LOG {
                        self.checks.serves(&broker.readers[&group]);
                    }
                }
            }
            Output::Send(message) => {
                self.sent += 1;
                self.marks += u64::from(message.quiesce);
                if !self.cut.contains(&(node, message.to.node())) {
                    self.network.push_back(message);
                }
            }
            Output::Leader { group, leader, term } => {
                if let Some(leader) = leader {
                    self.checks.leads(group, term, leader.node());
                }
                broker.leaders.insert(group, leader);
            }
            Output::Members { group, voters, learners } => {
                broker.members.insert(group, (voters, learners));
            }
            Output::Damaged { group } => self.damaged.push((node, group)),
        }
    }

    /// Adds an output to the trace.
    fn note(&mut self, output: &Output<u64>) {
        let text = match output {
            Output::Write { number, batch } => format!("write {number} {batch:?}"),
            Output::Read(read) => format!("read {read:?}"),
            Output::Reply { to, result } => format!("reply {to} {result:?}"),
            Output::Opened { group, .. } => format!("opened {group}"),
            Output::Progress { group, high_watermark } => format!("at {group} {high_watermark}"),
            Output::Leadership { group, epoch } => format!("serves {group} {epoch:?}"),
            Output::Send(message) => format!("send {message:?}"),
            Output::Leader { group, leader, term } => format!("leader {group} {leader:?} {term}"),
            Output::Members { group, voters, learners } => {
                format!("members {group} {voters:?} {learners:?}")
            }
            Output::Damaged { group } => format!("damaged {group}"),
        };
        for byte in text.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Delivers the message at a place of the network, unless its way is cut or its broker down.
    pub(crate) fn deliver(&mut self, place: usize) {
        let Some(message) = self.network.remove(place) else { return };
        let (from, to) = (message.from.node(), message.to.node());
        let is_known = self.brokers.iter().any(|broker| broker.node == to);
        if is_known && !self.cut.contains(&(from, to)) {
            self.step(to, vec![Input::Message(message)]);
        }
    }

    /// The oldest read of a broker ends, or, where there is none, its oldest write becomes durable.
    pub(crate) fn persist(&mut self, node: NodeId) -> bool {
        let broker = self.at(node);
        if let Some(read) = broker.reads.pop_front() {
            let caught_up = read.carry_out(broker.engine.as_ref());
            self.step(node, vec![Input::CaughtUp(caught_up)]);
            return true;
        }
        let Some((number, batch)) = broker.disk.writes.pop_front() else { return false };
        broker.engine.write(std::slice::from_ref(&batch)).unwrap();
        let is_synced = batch.sync;
        broker.disk.unsynced.push(batch);
        if is_synced {
            broker.disk.durable.append(&mut broker.disk.unsynced);
        }
        self.step(node, vec![Input::Durable(number)]);
        true
    }

    /// The process ends, and the machine with it. Of what was written and not confirmed, this many
    /// writes are on the disk all the same.
    pub(crate) fn crash(&mut self, node: NodeId, survive: usize) {
        let others: Vec<_> = self.nodes().into_iter().filter(|other| *other != node).collect();
        self.links.end(node, &others);
        let broker = self.at(node);
        broker.shard = None;
        broker.reads.clear();
        broker.serves.clear();
        broker.leaders.clear();
        let Disk { durable, unsynced, writes } = std::mem::take(&mut broker.disk);
        let under_way = unsynced.into_iter().chain(writes.into_iter().map(|(_, batch)| batch));
        broker.disk.durable = durable.into_iter().chain(under_way.take(survive)).collect();
        broker.engine = Arc::new(MemoryEngine::new());
        broker.engine.write(&broker.disk.durable).unwrap();
        self.checks.forget_reads(node);
    }

    /// A broker that is down loses the last writes to its disk, though it had confirmed them.
    pub(crate) fn lose_writes(&mut self, node: NodeId, count: usize) {
        let broker = self.at(node);
        let kept = broker.disk.durable.len() - count;
        broker.disk.durable.truncate(kept);
        broker.engine = Arc::new(MemoryEngine::new());
        broker.engine.write(&broker.disk.durable).unwrap();
    }

    /// A broker starts with what its disk holds.
    pub(crate) fn start(&mut self, node: NodeId) {
        let broker = self.at(node);
        if broker.shard.is_some() {
            return;
        }
        let engine: Arc<dyn Engine> = Arc::clone(&broker.engine) as _;
        broker.shard = Some(Shard::new(engine, TAIL_BUDGET, CatchUpBounds::NONE, tracing_logger()));
        for group in GROUPS {
            self.open(node, group);
        }
    }

    fn open(&mut self, node: NodeId, group: GroupId) {
        let broker = self.at(node);
        let replica = broker.assigned[&group].replica;
        let mut stored: Vec<_> = broker.engine.groups().unwrap();
        stored.retain(|state| state.group == group);
        if stored.first().is_some_and(|state| state.replica != replica) {
            stored.clear();
            self.step(node, vec![Input::Remove(group)]);
        }
        self.open_anew(node, group, stored.pop());
    }

    fn open_anew(&mut self, node: NodeId, group: GroupId, stored: Option<GroupState>) {
        let Assignment { replica, founders } = self.at(node).assigned[&group].clone();
        let digests = Arc::clone(&self.digests);
        let machine = (group == COMMANDS)
            .then(|| Box::new(machine::Chain::new(digests)) as Box<dyn StateMachine>);
        let policy = SegmentPolicy { max_bytes: 500, ..SegmentPolicy::default() };
        let new = NewGroup { group, stored, replica, founders, machine, policy };
        self.step(node, vec![Input::Open(Box::new(new))]);
    }

    /// A broker's replica of a group goes, and one with a new id takes its place, which must be
    /// made a member. Returns the old and the new one.
    pub(crate) fn replace(&mut self, node: NodeId, group: GroupId) -> (ReplicaId, ReplicaId) {
        let is_up = self.is_up(node);
        self.checks.forget_reads(node);
        let assigned = self.at(node).assigned.get_mut(&group).unwrap();
        let old = assigned.replica;
        let new = ReplicaId::new(node, old.serial() + 1);
        *assigned = Assignment { replica: new, founders: Vec::new() };
        if is_up {
            self.at(node).serves.remove(&group);
            self.at(node).leaders.remove(&group);
            self.step(node, vec![Input::Remove(group)]);
            self.open_anew(node, group, None);
        }
        (old, new)
    }

    /// A broker loses its disk while it is down.
    pub(crate) fn wipe(&mut self, node: NodeId) -> Vec<(GroupId, ReplicaId, ReplicaId)> {
        self.crash(node, 0);
        let broker = self.at(node);
        broker.disk = Disk::default();
        broker.engine = Arc::new(MemoryEngine::new());
        let replaced = GROUPS.map(|group| {
            let (old, new) = self.replace(node, group);
            (group, old, new)
        });
        replaced.to_vec()
    }

    /// Proposes at a broker; the end is found under the number.
    pub(crate) fn propose(&mut self, node: NodeId, group: GroupId, kind: ProposalKind) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.checks.asked(id, group, &kind);
        let proposal = Proposal { kind, reply: id, held: Box::new(()) };
        self.step(node, vec![Input::Propose(group, proposal)]);
        id
    }

    /// Appends a batch of `records` whose payload is the number that is returned.
    pub(crate) fn produce(&mut self, node: NodeId, records: u32, durability: Durability) -> u64 {
        let payload = (self.next_id + 1).to_le_bytes();
        let times = RecordTimes { newest: None, untimed: true };
        let (compression, times_of) = (Compression::None, TimestampType::Create);
        let draft = BatchDraft::new(&payload, records, compression, times_of, times);
        let kind = ProposalKind::Batch { draft, expected: None, durability };
        self.propose(node, LOG, kind)
    }

    pub(crate) fn command(&mut self, node: NodeId) -> u64 {
        let command = (self.next_id + 1).to_le_bytes().to_vec();
        self.propose(node, COMMANDS, ProposalKind::Command(command))
    }

    /// Proposes at whoever leads, again where the answer says that nothing was done, until it is.
    pub(crate) fn insist(&mut self, group: GroupId, kind: impl Fn() -> ProposalKind) -> Receipt {
        for _ in 0..100 {
            if let Some(leader) = self.leader(group) {
                let id = self.propose(leader, group, kind());
                for _ in 0..30 {
                    if let Some(end) = self.ends.remove(&id) {
                        match end {
                            Ok(receipt) => return receipt,
                            Err(error) => tracing_note(&error),
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

    /// Everything that is under way arrives and is written, and a tick passes, this many times.
    pub(crate) fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.ticks += 1;
            let settles = self.ticks.is_multiple_of(5);
            for node in self.nodes() {
                let inputs = if settles { vec![Input::Settle] } else { Vec::new() };
                self.step(node, [vec![Input::Tick], inputs].into_iter().flatten().collect());
            }
            self.rest();
        }
    }

    /// Everything that is under way arrives and is written; no time passes.
    pub(crate) fn rest(&mut self) {
        for _ in 0..10_000 {
            let mut is_at_rest = self.network.is_empty();
            self.deliver(0);
            for node in self.nodes() {
                is_at_rest &= !self.persist(node);
            }
            self.check_logs();
            if is_at_rest {
                return;
            }
        }
        panic!("the brokers never come to rest");
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.brokers.iter().map(|broker| broker.node).collect()
    }

    /// What can be read newly of each log must be what is read elsewhere.
    pub(crate) fn check_logs(&mut self) {
        for broker in self.brokers.iter().filter(|broker| broker.shard.is_some()) {
            if let Some(reader) = broker.readers.get(&LOG) {
                self.checks.read_on(broker.node, reader);
            }
        }
    }

    /// Every batch that can be read at a broker, as its base offset and its number.
    pub(crate) fn log(&self, node: NodeId) -> Vec<(u64, u64)> {
        let reader = &self.brokers[node.0 as usize - 1].readers[&LOG];
        let mut cursor = Cursor::at(reader.bounds().start);
        let mut found = Vec::new();
        while let ReadOutcome::Batches { batches, next } = reader.read(cursor, 64).unwrap() {
            cursor = next;
            found.extend(batches.iter().map(|batch| {
                let id = u64::from_le_bytes(batch.payload[..8].try_into().unwrap());
                (batch.header.base_offset.0, id)
            }));
        }
        found
    }

    pub(crate) fn bounds(&self, node: NodeId) -> (u64, u64) {
        let bounds = self.brokers[node.0 as usize - 1].readers[&LOG].bounds();
        (bounds.start.0, bounds.high_watermark.0)
    }
}

/// Errors that a retry answers are of interest only when a test fails.
fn tracing_note(error: &ProposeError) {
    assert!(!matches!(error, ProposeError::NoGroup), "{error}");
}

impl Broker {
    fn new(node: NodeId, assigned: BTreeMap<GroupId, Assignment>) -> Self {
        Self {
            node,
            assigned,
            readers: BTreeMap::new(),
            serves: BTreeMap::new(),
            leaders: BTreeMap::new(),
            members: BTreeMap::new(),
            shard: None,
            engine: Arc::new(MemoryEngine::new()),
            disk: Disk::default(),
            reads: VecDeque::new(),
        }
    }

    /// How many writes are under way or may be taken back.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.disk.unsynced.len() + self.disk.writes.len()
    }
}

pub(crate) fn trim(before: u64) -> ProposalKind {
    ProposalKind::Trim { before: Some(Offset(before)) }
}
