//! Followers that are far behind: they get what they lack from the disk, off the shard's thread and
//! at a bounded rate, while what is in memory goes out at once.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::Arc;

use ropewalk_consensus::logger::tracing_logger;
use ropewalk_consensus::{
    CatchUpBounds, CatchUpRead, Durability, Input, Message, MessageKind, NewGroup, Output,
    Proposal, ProposalKind, Shard,
};
use ropewalk_core::batch::RecordTimes;
use ropewalk_core::{
    BatchDraft, Compression, GroupId, NodeId, ReplicaId, Timestamp, TimestampType,
};
use ropewalk_storage::Engine;
use ropewalk_storage::group_log::SegmentPolicy;
use ropewalk_storage::memory::MemoryEngine;

const LOG: GroupId = GroupId::FIRST_PARTITION;
const MIB: u64 = 1024 * 1024;
const TICK: i64 = 100_000_000;
/// What the leader keeps in memory.
const TAIL: u64 = 4 * MIB;
const BATCH: usize = 128 * 1024;

/// A leader, a follower that takes everything, and one that can be out of reach. Their disks write
/// at once, and messages take no time.
struct Trio {
    shards: Vec<(Arc<MemoryEngine>, Shard<u64>)>,
    /// The broker that nothing reaches.
    away: Option<NodeId>,
    /// Reads of the leader, where they are kept back.
    reads: Option<VecDeque<CatchUpRead>>,
    /// Bytes of entries that were sent to each broker since they were taken.
    sent: [u64; 4],
    /// How many proposals were answered.
    answered: u64,
    now: i64,
}

impl Trio {
    fn new(bounds: CatchUpBounds) -> Self {
        let founders: Vec<_> = (1..=3).map(|node| ReplicaId::new(NodeId(node), 1)).collect();
        let shards = founders.iter().map(|_| {
            let engine = Arc::new(MemoryEngine::new());
            let store: Arc<dyn Engine> = engine.clone();
            (engine, Shard::new(store, TAIL, bounds, tracing_logger()))
        });
        let mut trio = Self {
            shards: shards.collect(),
            away: None,
            reads: None,
            sent: [0; 4],
            answered: 0,
            now: 0,
        };
        for replica in &founders {
            let new = NewGroup {
                group: LOG,
                stored: None,
                replica: *replica,
                founders: founders.clone(),
                machine: None,
                policy: SegmentPolicy::default(),
            };
            trio.step(replica.node(), Input::Open(Box::new(new)));
        }
        trio.tick(20);
        trio
    }

    fn step(&mut self, node: NodeId, input: Input<u64>) {
        let mut inputs = VecDeque::from([(node, input)]);
        while let Some((node, input)) = inputs.pop_front() {
            let now = Timestamp(self.now);
            let mut out = Vec::new();
            let (engine, shard) = &mut self.shards[node.0 as usize - 1];
            shard.step(now, input, &mut out).unwrap();
            shard.flush(now, &mut out).unwrap();
            for output in out {
                match output {
                    Output::Write { number, batch } => {
                        engine.write(&[batch]).unwrap();
                        inputs.push_back((node, Input::Durable(number)));
                    }
                    Output::Read(read) => match &mut self.reads {
                        Some(kept) => kept.push_back(read),
                        None => {
                            let caught_up = read.carry_out(engine.as_ref());
                            inputs.push_back((node, Input::CaughtUp(caught_up)));
                        }
                    },
                    Output::Send(message) => {
                        let to = message.to.node();
                        if ![Some(to), Some(node)].contains(&self.away) {
                            self.sent[to.0 as usize] += bytes_of(&message);
                            inputs.push_back((to, Input::Message(message)));
                        }
                    }
                    Output::Reply { result, .. } => {
                        result.unwrap();
                        self.answered += 1;
                    }
                    Output::Damaged { group } => panic!("{group} is damaged"),
                    Output::Opened { .. }
                    | Output::Progress { .. }
                    | Output::Leadership { .. }
                    | Output::Leader { .. }
                    | Output::Members { .. } => {}
                }
            }
        }
    }

    fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now += TICK;
            (1..=3).for_each(|node| self.step(NodeId(node), Input::Tick));
        }
    }

    fn produce(&mut self, batches: usize) {
        for _ in 0..batches {
            let times = RecordTimes { newest: None, untimed: true };
            let (payload, kind) = (vec![7; BATCH], TimestampType::Create);
            let draft = BatchDraft::new(&payload, 1, Compression::None, kind, times);
            let kind =
                ProposalKind::Batch { draft, expected: None, durability: Durability::Quorum };
            let proposal = Proposal { kind, reply: 0, held: Box::new(()) };
            self.step(NodeId(1), Input::Propose(LOG, proposal));
        }
    }

    /// Broker 3 misses this much, and can be reached again.
    fn miss(&mut self, bytes: u64) {
        self.away = Some(NodeId(3));
        self.step(NodeId(1), Input::Unreachable(NodeId(3)));
        self.produce((bytes / BATCH as u64) as usize);
        self.tick(20);
        self.away = None;
        self.sent = [0; 4];
    }

    /// The bytes that a broker got since this was asked last.
    fn sent_to(&mut self, node: usize) -> u64 {
        std::mem::take(&mut self.sent[node])
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
    let mut trio = Trio::new(BOUNDED);
    trio.miss(64 * MIB);
    trio.tick(5);
    let sent = trio.sent_to(3);
    assert!(sent >= 64 * MIB, "{sent} bytes in half a second");
}

#[test]
fn beside_writes_a_follower_gets_the_rate_and_what_is_new_goes_out_at_once() {
    let mut trio = Trio::new(BOUNDED);
    trio.miss(64 * MIB);
    // 2.5 MiB in each second, far below the rate.
    trio.produce(2);
    trio.sent = [0; 4];
    let mut behind = Vec::new();
    for _ in 0..30 {
        let answered = trio.answered;
        trio.produce(2);
        assert_eq!(trio.answered - answered, 2, "the other follower has it");
        assert!(trio.sent_to(2) >= 2 * BATCH as u64, "what is new waits for nothing");
        trio.tick(1);
        behind.push(trio.sent_to(3));
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
    let mut trio = Trio::new(BOUNDED);
    trio.miss(32 * MIB);
    let mut ticks = 0;
    loop {
        ticks += 1;
        assert!(ticks < 150, "after 15 seconds it is behind yet");
        // 20 MiB in each second.
        trio.produce(16);
        let tail = trio.sent_to(2);
        let got = trio.sent_to(3);
        trio.tick(1);
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
    let mut trio = Trio::new(BOUNDED);
    trio.miss(64 * MIB);
    trio.reads = Some(VecDeque::new());
    trio.tick(5);
    assert_eq!(trio.sent_to(3), 0);
    let answered = trio.answered;
    trio.produce(10);
    assert_eq!(trio.answered - answered, 10);
    let reads = trio.reads.take().unwrap();
    assert!((1..=4).contains(&reads.len()), "the window bounds what is read: {}", reads.len());
    for read in reads {
        let caught_up = read.carry_out(trio.shards[0].0.as_ref());
        trio.step(NodeId(1), Input::CaughtUp(caught_up));
    }
    trio.tick(50);
    let sent = trio.sent_to(3);
    assert!(sent >= 64 * MIB, "{sent}");
}
