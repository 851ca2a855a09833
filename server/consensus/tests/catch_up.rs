//! Followers that are far behind: they get what they lack from the disk, off the shard's thread and
//! at a bounded rate, while what is in memory goes out at once.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use ropewalk_consensus::logger::tracing_logger;
use ropewalk_consensus::{
    CatchUpBounds, CatchUpRead, Durability, Input, KeyBounds, Message, MessageKind, NewGroup,
    Output, ProducerBounds, Proposal, ProposalKind, Shard,
};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::limits::MAX_UNWRITTEN_BYTES;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, NodeId, ReplicaId, Timestamp, TimestampType,
};
use ropewalk_storage::engine::EntryMeta;
use ropewalk_storage::group_log::SegmentPolicy;
use ropewalk_storage::memory::MemoryEngine;
use ropewalk_storage::{Engine, GroupState, LogEntry, StorageError, WriteBatch};

const LOG: GroupId = GroupId::FIRST_PARTITION;
const MIB: u64 = 1024 * 1024;
const TICK: i64 = 100_000_000;
/// What the leader keeps in memory.
const TAIL: u64 = 4 * MIB;
const BATCH: usize = 128 * 1024;

/// Brokers with a replica of each group, all of which the first one leads. Their disks write at
/// once, and messages take no time, but for what a test makes of it.
struct Brokers {
    groups: Vec<GroupId>,
    shards: Vec<(Arc<MemoryEngine>, Shard<u64>)>,
    /// The brokers that nothing reaches.
    away: BTreeSet<NodeId>,
    /// Brokers that take so many bytes of entries yet: they have no room for more. What they drop
    /// nobody is told of.
    room: BTreeMap<NodeId, u64>,
    /// Entries on their way to broker 3, where that is slow.
    late: Option<VecDeque<Message>>,
    /// Reads of the leader, where they are kept back.
    reads: Option<VecDeque<CatchUpRead>>,
    /// The broker whose disk hangs, and its writes, with the bytes of entries in each.
    hung: Option<(NodeId, VecDeque<(u64, u64)>)>,
    /// Bytes of entries that each broker got since it was asked last.
    got: BTreeMap<NodeId, u64>,
    /// Bytes of entries that were dropped.
    dropped: u64,
    /// How many proposals were answered.
    answered: u64,
    /// Whether some may be refused, or end without an answer.
    may_fail: bool,
    damaged: Vec<GroupId>,
    /// Who serves each group.
    serving: BTreeMap<GroupId, NodeId>,
    now: i64,
}

impl Brokers {
    /// A leader, a follower that takes everything, and one that can be out of reach.
    fn three(bounds: CatchUpBounds) -> Self {
        Self::new(3, 1, bounds)
    }

    fn new(brokers: u64, groups: u64, bounds: CatchUpBounds) -> Self {
        let founders: Vec<_> = (1..=brokers).map(|node| ReplicaId::new(NodeId(node), 1)).collect();
        let shards = founders.iter().map(|_| {
            let engine = Arc::new(MemoryEngine::new());
            let store: Arc<dyn Engine> = engine.clone();
            let (producers, keys) = (ProducerBounds::default(), KeyBounds::default());
            (engine, Shard::new(store, TAIL, bounds, producers, keys, tracing_logger()))
        });
        let mut brokers = Self {
            groups: (0..groups).map(|number| GroupId(LOG.0 + number)).collect(),
            shards: shards.collect(),
            away: BTreeSet::new(),
            room: BTreeMap::new(),
            late: None,
            reads: None,
            hung: None,
            got: BTreeMap::new(),
            dropped: 0,
            answered: 0,
            may_fail: false,
            damaged: Vec::new(),
            serving: BTreeMap::new(),
            now: 0,
        };
        let opens = brokers.groups.iter().flat_map(|group| founders.iter().map(|to| (*group, *to)));
        for (group, replica) in opens.collect::<Vec<_>>() {
            let new = NewGroup {
                group,
                stored: None,
                replica,
                founders: founders.clone(),
                machine: None,
                policy: SegmentPolicy::default(),
            };
            brokers.step(replica.node(), Input::Open(Box::new(new)));
        }
        brokers.tick(20);
        brokers
    }

    fn step(&mut self, node: NodeId, input: Input<u64>) {
        let mut inputs = VecDeque::from([(node, input)]);
        while let Some((node, input)) = inputs.pop_front() {
            let now = Timestamp(self.now);
            let mut out = Vec::new();
            let (_, shard) = &mut self.shards[node.0 as usize - 1];
            shard.step(now, input, &mut out).unwrap();
            shard.flush(now, &mut out).unwrap();
            for output in out {
                inputs.extend(self.take(node, output));
            }
        }
    }

    /// What an output leads to at once.
    fn take(&mut self, node: NodeId, output: Output<u64>) -> Option<(NodeId, Input<u64>)> {
        let engine = &self.shards[node.0 as usize - 1].0;
        match output {
            Output::Write { number, batch } => {
                let entries = batch.groups.iter().flat_map(|write| &write.append);
                let bytes = entries.map(|entry| entry.data.len() as u64).sum();
                engine.write(&[batch]).unwrap();
                if let Some((_, kept)) = self.hung.as_mut().filter(|(hung, _)| *hung == node) {
                    kept.push_back((number, bytes));
                    return None;
                }
                return Some((node, Input::Durable(number)));
            }
            Output::Read(read) => match &mut self.reads {
                Some(kept) => kept.push_back(read),
                None => {
                    let caught_up = read.carry_out(engine.as_ref());
                    return Some((node, Input::CaughtUp(caught_up)));
                }
            },
            Output::Send(message) => return self.send(node, message),
            Output::Reply { result, .. } => {
                assert!(self.may_fail || result.is_ok(), "{result:?}");
                self.answered += 1;
            }
            Output::Damaged { group } => self.damaged.push(group),
            Output::Leadership { group, epoch: Some(_) } => {
                self.serving.insert(group, node);
            }
            Output::Leadership { group, epoch: None } => {
                self.serving.remove(&group);
            }
            Output::Opened { .. }
            | Output::Progress { .. }
            | Output::Leader { .. }
            | Output::Members { .. }
            | Output::Compact { .. }
            | Output::Stale { .. } => {}
            Output::ReadKeys(_) => unreachable!("nobody expects the version of a key"),
        }
        None
    }

    fn send(&mut self, from: NodeId, message: Message) -> Option<(NodeId, Input<u64>)> {
        let to = message.to.node();
        if [from, to].iter().any(|node| self.away.contains(node)) {
            return None;
        }
        let bytes = bytes_of(&message);
        if let Some(late) = self.late.as_mut().filter(|_| to == NodeId(3) && bytes > 0) {
            late.push_back(message);
            return None;
        }
        let room = self.room.get_mut(&to);
        if let Some(room) = room.filter(|_| message.kind == MessageKind::Append) {
            *room = room.saturating_sub(bytes);
            if *room == 0 {
                self.dropped += bytes;
                return None;
            }
        }
        *self.got.entry(to).or_default() += bytes;
        Some((to, Input::Message(message)))
    }

    fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now += TICK;
            (1..=self.shards.len()).for_each(|node| self.step(NodeId(node as u64), Input::Tick));
        }
    }

    /// A broker's disk does nothing from now on.
    fn hang(&mut self, node: u64) {
        self.hung = Some((NodeId(node), VecDeque::new()));
    }

    /// It goes on, and writes what its broker has for it, before that hears of anything else.
    /// Returns how many bytes of entries those were, and how many messages waited for them.
    fn go_on(&mut self) -> (u64, usize) {
        let (mut bytes, mut told) = (0, Vec::new());
        while let Some((node, kept)) = &mut self.hung {
            let node = *node;
            let Some((number, of_write)) = kept.pop_front() else { break };
            bytes += of_write;
            let (now, mut out) = (Timestamp(self.now), Vec::new());
            let (_, shard) = &mut self.shards[node.0 as usize - 1];
            shard.step(now, Input::Durable(number), &mut out).unwrap();
            shard.flush(now, &mut out).unwrap();
            for output in out {
                match output {
                    write @ Output::Write { .. } => assert!(self.take(node, write).is_none()),
                    output => told.push((node, output)),
                }
            }
        }
        self.hung = None;
        let waited = told.iter().filter(|(_, told)| matches!(told, Output::Send(_))).count();
        for (node, output) in told {
            if let Some((to, input)) = self.take(node, output) {
                self.step(to, input);
            }
        }
        (bytes, waited)
    }

    /// The last entry of each group that a broker's disk has.
    fn ends(&self, node: u64) -> Vec<Option<u64>> {
        let states = self.shards[node as usize - 1].0.groups().unwrap();
        states.into_iter().map(|state| Some(state.last?.0)).collect()
    }

    fn produce_to(&mut self, group: GroupId, batches: usize) {
        for _ in 0..batches {
            let times = RecordTimes { newest: None, untimed: true, shortest_ttl: None };
            let (payload, kind) = (vec![7; BATCH], TimestampType::Create);
            let draft = BatchDraft::new(&payload, 1, Compression::None, kind, times, None);
            let kind = ProposalKind::Batch {
                draft,
                expected: None,
                durability: Durability::Quorum,
                epoch: None,
            };
            let proposal = Proposal { kind, reply: 0, held: Box::new(()) };
            self.step(NodeId(1), Input::Propose(group, proposal));
        }
    }

    fn produce(&mut self, batches: usize) {
        self.produce_to(LOG, batches);
    }

    /// Brokers miss this much of each group, and can be reached again.
    fn miss(&mut self, nodes: &[u64], bytes: u64) {
        self.away = nodes.iter().map(|node| NodeId(*node)).collect();
        for node in self.away.clone() {
            self.step(NodeId(1), Input::Unreachable(node));
        }
        for group in self.groups.clone() {
            self.produce_to(group, (bytes / BATCH as u64) as usize);
        }
        if let [_, .., last] = self.groups[..] {
            // What is missed of the others is in memory no more.
            self.produce_to(last, (TAIL / BATCH as u64) as usize);
        }
        self.tick(20);
        self.away.clear();
        self.got.clear();
    }

    /// The bytes that a broker got since this was asked last.
    fn got_by(&mut self, node: u64) -> u64 {
        self.got.remove(&NodeId(node)).unwrap_or(0)
    }

    /// A read of the leader that was kept back ends.
    fn end_read(&mut self, read: CatchUpRead) {
        let caught_up = read.carry_out(self.shards[0].0.as_ref());
        self.step(NodeId(1), Input::CaughtUp(caught_up));
    }
}

fn bytes_of(message: &Message) -> u64 {
    assert!(message.kind != MessageKind::Snapshot, "nothing was trimmed");
    message.entries.iter().map(|entry| entry.data.len() as u64).sum()
}

const RATE: u64 = 10 * MIB;
const BOUNDED: CatchUpBounds = CatchUpBounds { bytes_per_second: RATE, window: 4 * MIB };

#[test]
fn with_nothing_else_to_do_a_follower_gets_everything_at_once() {
    let mut brokers = Brokers::three(BOUNDED);
    brokers.miss(&[3], 64 * MIB);
    brokers.tick(5);
    let sent = brokers.got_by(3);
    assert!(sent >= 64 * MIB, "{sent} bytes in half a second");
}

#[test]
fn beside_writes_a_follower_gets_the_rate_and_what_is_new_goes_out_at_once() {
    let mut brokers = Brokers::three(BOUNDED);
    brokers.miss(&[3], 64 * MIB);
    // 2.5 MiB in each second, far below the rate.
    brokers.produce(2);
    brokers.got.clear();
    let mut behind = Vec::new();
    for _ in 0..30 {
        let answered = brokers.answered;
        brokers.produce(2);
        assert_eq!(brokers.answered - answered, 2, "the other follower has it");
        assert!(brokers.got_by(2) >= 2 * BATCH as u64, "what is new waits for nothing");
        brokers.tick(1);
        behind.push(brokers.got_by(3));
    }
    let whole: u64 = behind.iter().sum();
    // Three seconds, and what was saved up.
    let most = 3 * RATE + RATE / 5 + 2 * MIB;
    assert!((2 * RATE..most).contains(&whole), "{whole} bytes in three seconds: {behind:?}");
    // It begins with the first heartbeat, at the latest after three ticks.
    assert!(behind[3..].iter().all(|bytes| *bytes > 0), "evenly: {behind:?}");
}

/// With a fixed bound below what is written, a follower would be behind for ever.
#[test]
fn a_follower_catches_up_while_more_is_written_than_the_rate() {
    let mut brokers = Brokers::three(BOUNDED);
    brokers.miss(&[3], 32 * MIB);
    let mut ticks = 0;
    loop {
        ticks += 1;
        assert!(ticks < 150, "after 15 seconds it is behind yet");
        // 20 MiB in each second.
        brokers.produce(16);
        let tail = brokers.got_by(2);
        let got = brokers.got_by(3);
        brokers.tick(1);
        // What is new goes to both alike.
        if tail > 0 && got == tail {
            break;
        }
    }
    assert!(ticks > 10, "it was bounded");
}

/// The shard asks for the reads and goes on: it takes no part in them.
#[test]
fn a_slow_disk_holds_up_nobody_but_the_follower_that_needs_it() {
    let mut brokers = Brokers::three(BOUNDED);
    brokers.miss(&[3], 64 * MIB);
    brokers.reads = Some(VecDeque::new());
    brokers.tick(5);
    assert_eq!(brokers.got_by(3), 0);
    let answered = brokers.answered;
    brokers.produce(10);
    assert_eq!(brokers.answered - answered, 10);
    let reads = brokers.reads.take().unwrap();
    assert!((1..=4).contains(&reads.len()), "the window bounds what is read: {}", reads.len());
    for read in reads {
        brokers.end_read(read);
    }
    brokers.tick(50);
    let sent = brokers.got_by(3);
    assert!(sent >= 64 * MIB, "{sent}");
}

/// One has no room for more, drops what comes and answers heartbeats; the other says nothing any
/// more, as a replica that was replaced. Of neither the leader is told that anything is lost.
#[test]
fn a_follower_that_takes_nothing_keeps_nothing_from_the_others() {
    for is_silent in [false, true] {
        let mut brokers = Brokers::new(5, 1, BOUNDED);
        brokers.miss(&[4, 5], 16 * MIB);
        brokers.away.insert(NodeId(5));
        brokers.room.insert(NodeId(4), 2 * MIB);
        brokers.tick(5);
        assert!((MIB..2 * MIB).contains(&brokers.got_by(4)));
        assert!(brokers.dropped > BOUNDED.window / 2, "{} bytes dropped", brokers.dropped);
        brokers.away.clear();
        if is_silent {
            brokers.away.insert(NodeId(4));
        }
        brokers.tick(60);
        assert!(brokers.got_by(5) >= 16 * MIB, "silent: {is_silent}");
        assert!(brokers.dropped < 2 * BOUNDED.window, "it is tried now and then");
        brokers.away.clear();
        brokers.room.clear();
        brokers.tick(60);
        assert!(brokers.got_by(4) >= 14 * MIB, "silent: {is_silent}");
    }
}

/// Raft would send each of them the same again at each heartbeat.
#[test]
fn many_groups_behind_one_slow_connection_share_the_window() {
    let mut brokers = Brokers::new(3, 32, BOUNDED);
    brokers.miss(&[3], MIB);
    brokers.late = Some(VecDeque::new());
    brokers.tick(15);
    let late = brokers.late.take().unwrap();
    let bytes: u64 = late.iter().map(bytes_of).sum();
    let window = BOUNDED.window - MIB..=BOUNDED.window;
    assert!(window.contains(&bytes), "{bytes} bytes wait");
    for message in late {
        *brokers.got.entry(NodeId(3)).or_default() += bytes_of(&message);
        brokers.step(NodeId(3), Input::Message(message));
    }
    brokers.tick(10);
    let got = brokers.got_by(3);
    assert!((36 * MIB..38 * MIB).contains(&got), "{got}: all of it, and next to nothing twice");
}

#[test]
fn nothing_is_read_while_the_writes_are_full_and_no_message_can_leave() {
    let mut brokers = Brokers::new(3, 32, BOUNDED);
    brokers.miss(&[3], MIB);
    brokers.reads = Some(VecDeque::new());
    brokers.tick(5);
    brokers.hang(1);
    brokers.produce(8);
    let reads = brokers.reads.replace(VecDeque::new()).unwrap();
    assert_eq!(reads.len() as u64, BOUNDED.window / MIB);
    reads.into_iter().for_each(|read| brokers.end_read(read));
    assert_eq!(brokers.reads.take(), Some(VecDeque::new()), "27 groups wait");
    assert_eq!(brokers.got_by(3), 0);
    brokers.go_on();
    brokers.tick(40);
    assert!(brokers.got_by(3) >= 32 * MIB);
}

/// To each group alone raft sends what it has room for; of many that adds up.
#[test]
fn a_follower_whose_disk_hangs_holds_no_more_than_a_bound_and_gets_the_rest_soon_after() {
    let most = MAX_UNWRITTEN_BYTES as u64;
    let mut brokers = Brokers::new(3, 64, BOUNDED);
    brokers.hang(2);
    for group in brokers.groups.clone() {
        brokers.produce_to(group, 16);
    }
    brokers.tick(30);
    assert_eq!(brokers.answered, 64 * 16, "the other follower has it");
    assert!(brokers.got_by(2) >= 2 * most - MIB, "raft holds nothing back");
    let (held, _) = brokers.go_on();
    assert!((most - MIB..=most).contains(&held), "{held} bytes were in memory");
    // The next heartbeat at the latest tells the leader what is lacking.
    brokers.tick(4);
    assert_eq!(brokers.ends(2), brokers.ends(1));
}

/// Each heartbeat would add one, for as long as the disk stands still.
#[test]
fn a_follower_whose_disk_hangs_keeps_no_answer_to_every_heartbeat() {
    for batches in [1, 8] {
        let mut brokers = Brokers::three(BOUNDED);
        brokers.hang(2);
        brokers.produce(batches);
        brokers.tick(3_000);
        let (_, waited) = brokers.go_on();
        assert!(waited < 300, "{waited} messages waited for {batches} batches");
        brokers.tick(4);
        assert_eq!(brokers.ends(2), brokers.ends(1));
    }
}

/// A disk that reads nothing.
struct Unreadable(fn() -> StorageError);

impl Engine for Unreadable {
    fn groups(&self) -> Result<Vec<GroupState>, StorageError> {
        Err(self.0())
    }

    fn write(&self, _: &[WriteBatch]) -> Result<(), StorageError> {
        Err(self.0())
    }

    fn meta(&self, _: GroupId, _: u64) -> Result<Option<EntryMeta>, StorageError> {
        Err(self.0())
    }

    fn entries(&self, _: GroupId, _: Range<u64>, _: u64) -> Result<Vec<LogEntry>, StorageError> {
        Err(self.0())
    }

    fn rows(&self, _: GroupId, _: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StorageError> {
        Err(self.0())
    }

    fn reclaim(&self) -> Result<bool, StorageError> {
        Err(self.0())
    }

    fn size_bytes(&self) -> u64 {
        0
    }

    fn close(&self) -> Result<(), StorageError> {
        Err(self.0())
    }
}

/// `EMFILE`: it passes.
fn too_many_files() -> StorageError {
    let source = io::Error::from_raw_os_error(24);
    StorageError::Io { action: "open", path: PathBuf::new(), source }
}

fn corrupt() -> StorageError {
    let (what, detail) = ("chunk".to_owned(), String::new());
    StorageError::Corrupt { offset: None, what, path: PathBuf::new(), detail }
}

#[test]
fn only_damage_costs_a_leader_its_replica_and_all_else_is_read_again() {
    for (error, damaged) in [(too_many_files as fn() -> _, vec![]), (corrupt, vec![LOG])] {
        let mut brokers = Brokers::three(BOUNDED);
        brokers.miss(&[3], 16 * MIB);
        brokers.reads = Some(VecDeque::new());
        brokers.tick(5);
        for read in brokers.reads.replace(VecDeque::new()).unwrap() {
            let caught_up = read.carry_out(&Unreadable(error));
            brokers.step(NodeId(1), Input::CaughtUp(caught_up));
        }
        assert_eq!(brokers.damaged, damaged);
        brokers.tick(40);
        assert_eq!(brokers.reads.take(), Some(VecDeque::new()), "not at once");
        brokers.tick(20);
        assert!(brokers.got_by(3) >= 16 * MIB, "nobody else leads");
    }
}

/// What it has to itself would win it every election; what others lack of that, and it cannot read,
/// keeps its first entry from being committed.
#[test]
fn a_damaged_leader_that_does_not_serve_yet_lets_others_lead() {
    let mut brokers = Brokers::new(3, 8, BOUNDED);
    brokers.may_fail = true;
    brokers.miss(&[2, 3], 6 * MIB);
    brokers.reads = Some(VecDeque::new());
    for _ in 0..600 {
        brokers.tick(1);
        for read in brokers.reads.replace(VecDeque::new()).unwrap() {
            let caught_up = read.carry_out(&Unreadable(corrupt));
            brokers.step(NodeId(1), Input::CaughtUp(caught_up));
        }
    }
    assert!(!brokers.damaged.is_empty(), "it has led, and could not read");
    assert_eq!(brokers.serving.len(), 8, "{:?}", brokers.serving);
}
