//! Several brokers in one thread: shards over simulated disks, and a network that whoever drives
//! decides about.

mod clients;
mod compactions;
mod disks;
mod follow;
mod links;
mod replicas;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use ropewalk_cluster::MetadataCommand;
use ropewalk_consensus::{Input, Message, Output, ProposalKind, ProposeError, Receipt};
use ropewalk_core::{GroupId, NodeId, ReplicaId, Timestamp};

pub use self::clients::{Compared, Sequenced, number_of, trim};
pub use self::links::Links;
use crate::broker::{Assignment, Broker};
use crate::checks::Checks;
use crate::entries::Entries;
use crate::machine::Ledger;
use crate::moments::{Moment, Moments};
use crate::observe::Seen;
use crate::store::StoreKind;

/// A partition, whose entries are batches of records.
pub const LOG: GroupId = GroupId::FIRST_PARTITION;
/// The metadata group, whose entries are commands to its state machine.
pub const COMMANDS: GroupId = GroupId::METADATA;
/// Both of them.
pub const GROUPS: [GroupId; 2] = [COMMANDS, LOG];

/// What a shard keeps in memory of recent entries: little, so that the engine is asked too.
const TAIL_BUDGET: u64 = 2_000;
/// The time that passes with each step, in ns.
const STEP_NANOS: i64 = 1_000_000;

/// How a proposal ended.
pub type End = Result<Receipt, ProposeError>;

/// What was proposed, as far as it matters to the checks.
pub struct Asked {
    /// To which group.
    pub group: GroupId,
    /// At which broker.
    pub node: NodeId,
    /// What.
    pub kind: ProposalKind,
    /// When.
    at: i64,
}

/// Brokers, and everything between and around them.
pub struct Cluster {
    /// The brokers, 1 to as many as there are.
    pub brokers: Vec<Broker>,
    /// Messages on their way, oldest first.
    pub network: VecDeque<Message>,
    /// Pairs of brokers of which the first does not reach the second.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// What brokers were told of their connections.
    pub links: Links,
    /// How many messages were sent so far.
    pub sent: u64,
    /// How many of them lay a follower to sleep.
    pub marks: u64,
    /// How proposals have ended, by number.
    pub ends: BTreeMap<u64, End>,
    /// What must hold of logs and answers.
    pub checks: Checks,
    /// What must hold of entries.
    pub entries: Entries,
    /// What must hold of the metadata.
    pub ledger: Arc<Mutex<Ledger>>,
    /// What has happened so far.
    pub moments: Moments,
    /// Replicas that took themselves out.
    pub damaged: Vec<(NodeId, GroupId)>,
    /// Follows from everything that has happened, where somebody asked for it.
    pub trace: Option<u64>,
    /// Brokers take up the replicas that the metadata gives them.
    pub follows: bool,
    /// The most bytes of a segment of a log.
    pub segment_bytes: u64,
    pub(crate) seen: Seen,
    /// Commands that are proposed once their leader has said, at this number, that it leads still
    /// in this epoch.
    confirming: Vec<(u64, u64, MetadataCommand)>,
    /// The broker that asks, at this number, whether it has all of the metadata, to add a member to
    /// the partition, which it leads in this epoch.
    adding: Option<(u64, NodeId, u64)>,
    /// What was proposed and has not ended.
    pub(crate) asked: BTreeMap<u64, Asked>,
    kind: StoreKind,
    log_replicas: u64,
    seed: u64,
    now: i64,
    ticks: u64,
    next_id: u64,
}

impl Cluster {
    /// Brokers 1 to `count`, each with a replica of both groups, in memory. Nobody follows the
    /// metadata.
    #[must_use]
    pub fn new(count: u64) -> Self {
        let founders: Vec<_> = (1..=count).map(|node| ReplicaId::new(NodeId(node), 0)).collect();
        let assigned = |replica: ReplicaId| {
            let assignment = Assignment { replica, founders: founders.clone() };
            GROUPS.map(|group| (group, assignment.clone())).into()
        };
        let mut cluster = Self::of(count, StoreKind::Memory, 0, &assigned);
        cluster.start_all();
        cluster
    }

    /// Brokers whose groups have a leader that serves, and whose cluster is formed.
    #[must_use]
    pub fn settled(count: u64) -> Self {
        let mut cluster = Self::new(count);
        cluster.run(40);
        assert!(GROUPS.iter().all(|group| cluster.leader(*group).is_some()));
        cluster.form(count);
        cluster.run(2);
        cluster
    }

    /// A cluster as it is formed: the metadata has the partition placed on as many brokers as
    /// `replicas` says, and each broker follows it.
    #[must_use]
    pub fn formed(count: u64, replicas: u32, kind: StoreKind, seed: u64, traced: bool) -> Self {
        let founders: Vec<_> = (1..=count).map(|node| ReplicaId::new(NodeId(node), 0)).collect();
        let assigned = |replica: ReplicaId| {
            [(COMMANDS, Assignment { replica, founders: founders.clone() })].into()
        };
        let mut cluster = Self::of(count, kind, seed, &assigned);
        cluster.trace = traced.then_some(seed);
        cluster.follows = true;
        cluster.start_all();
        cluster.run(40);
        cluster.form(count);
        cluster.create_log(replicas);
        cluster.run(40);
        assert!(GROUPS.iter().all(|group| cluster.leader(*group).is_some()));
        cluster
    }

    fn of(
        count: u64,
        kind: StoreKind,
        seed: u64,
        assigned: &dyn Fn(ReplicaId) -> BTreeMap<GroupId, Assignment>,
    ) -> Self {
        let broker = |node| {
            let disk_seed = seed.wrapping_mul(1_000) + node;
            let assigned = assigned(ReplicaId::new(NodeId(node), 0));
            Broker::new(NodeId(node), assigned, kind, disk_seed)
        };
        Self {
            brokers: (1..=count).map(broker).collect(),
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            links: Links::default(),
            sent: 0,
            marks: 0,
            ends: BTreeMap::new(),
            checks: Checks::default(),
            entries: Entries::default(),
            ledger: Arc::default(),
            moments: Moments::default(),
            damaged: Vec::new(),
            trace: None,
            follows: false,
            segment_bytes: if kind == StoreKind::Memory { 500 } else { 20_000 },
            seen: Seen::default(),
            asked: BTreeMap::new(),
            confirming: Vec::new(),
            adding: None,
            kind,
            log_replicas: count,
            seed,
            now: 0,
            ticks: 0,
            next_id: 0,
        }
    }

    fn start_all(&mut self) {
        self.nodes().into_iter().for_each(|node| {
            self.start(node);
        });
    }

    /// A broker.
    pub fn at(&mut self, node: NodeId) -> &mut Broker {
        &mut self.brokers[node.0 as usize - 1]
    }

    /// A broker, to be looked at.
    #[must_use]
    pub fn see(&self, node: NodeId) -> &Broker {
        &self.brokers[node.0 as usize - 1]
    }

    /// The time of the simulation.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// Which stores the brokers have.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// Whether a broker's process runs.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.see(node).is_up()
    }

    /// The ids of all brokers.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.brokers.iter().map(|broker| broker.node).collect()
    }

    /// The broker that serves a group, in the newest epoch of all that say so.
    #[must_use]
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        let up = self.brokers.iter().filter(|broker| broker.is_up());
        let serving = up.filter_map(|broker| Some((*broker.serves.get(&group)?, broker.node)));
        serving.max().map(|(_, node)| node)
    }

    /// A broker takes inputs, and what they lead to before the disk or the network have done
    /// anything.
    pub fn step(&mut self, node: NodeId, inputs: Vec<Input<u64>>) {
        self.now += STEP_NANOS;
        let now = Timestamp(self.now + self.see(node).clock_off);
        let mut out = Vec::new();
        let Some(shard) = self.at(node).shard.as_mut() else { return };
        let stepped = inputs.into_iter().try_for_each(|input| shard.step(now, input, &mut out));
        let stepped = stepped.and_then(|()| shard.flush(now, &mut out));
        if let Err(error) = stepped {
            // The process ends, and nothing of this round leaves it.
            return self.fail(node, &error);
        }
        for output in out {
            self.take(node, output);
        }
        self.follow(node);
    }

    fn take(&mut self, node: NodeId, output: Output<u64>) {
        self.note(&output);
        self.observe(node, &output);
        let broker = &mut self.brokers[node.0 as usize - 1];
        match output {
            Output::Write { number, batch } => {
                for write in &batch.groups {
                    let replaced = self.entries.written(node, write);
                    self.moments.note_if(replaced, Moment::EntriesReplaced);
                }
                broker.store.push(number, batch);
            }
            Output::Reply { to, result } => {
                self.end(to, &result);
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
                if self.cut.contains(&(node, message.to.node())) {
                    self.observe_cut(node, message.to.node());
                } else {
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
            Output::Read(read) => broker.reads.push_back(read),
            Output::Compact { group, order, reader } => {
                broker.compactions.insert(group, (order, reader));
            }
            Output::Stale { group } => {
                broker.damaged.insert(group);
            }
            Output::ReadKeys(read) => broker.key_reads.push_back(read),
            Output::Damaged { group } if !broker.is_rotten => self.damaged.push((node, group)),
            Output::Damaged { group } => {
                broker.damaged.insert(group);
                self.moments.note(Moment::DamageMetByFollower);
            }
        }
    }

    fn end(&mut self, id: u64, end: &End) {
        let Some(asked) = self.asked.remove(&id) else { return };
        let ledger = self.ledger.lock().unwrap();
        self.checks.ended(id, &asked.kind, end, &ledger);
        drop(ledger);
        self.observe_end(&asked, end);
    }

    /// Whether a proposal that ends now did not end at once.
    pub(crate) fn has_waited(&self, asked: &Asked) -> bool {
        self.now > asked.at + STEP_NANOS
    }

    /// Adds an output to the trace.
    fn note(&mut self, output: &Output<u64>) {
        let Some(trace) = &mut self.trace else { return };
        let text = match output {
            Output::Write { number, batch } => format!("write {number} {batch:?}"),
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
            Output::Stale { group } => format!("stale {group}"),
            Output::Read(read) => format!("read {read:?}"),
            Output::Compact { group, order, .. } => format!("compact {group} {order:?}"),
            Output::ReadKeys(read) => format!("read keys of {}", read.group()),
        };
        for byte in text.bytes() {
            *trace = (*trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Delivers the message at a place of the network, unless its way is cut or its broker down.
    /// One for a broker that stands still goes on waiting.
    pub fn deliver(&mut self, place: usize) {
        let Some(message) = self.network.remove(place) else { return };
        let (from, to) = (message.from.node(), message.to.node());
        let Some(broker) = self.brokers.iter().find(|broker| broker.node == to) else { return };
        if self.cut.contains(&(from, to)) {
            return self.observe_cut(from, to);
        }
        if broker.is_still && broker.is_up() {
            return self.network.push_back(message);
        }
        self.observe_delivery(&message, place);
        self.step(to, vec![Input::Message(message)]);
    }

    /// Everything that is under way arrives and is written, and a tick passes, this many times.
    pub fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.ticks += 1;
            let settles = self.ticks.is_multiple_of(5);
            for node in self.nodes() {
                let inputs = if settles { vec![Input::Settle] } else { Vec::new() };
                self.tick(node, inputs);
                self.compact(node, u64::MAX);
            }
            self.rest();
        }
    }

    /// A broker's clock moves on, unless it stands still.
    pub fn tick(&mut self, node: NodeId, and: Vec<Input<u64>>) {
        if !self.see(node).is_still {
            self.step(node, [vec![Input::Tick], and].into_iter().flatten().collect());
        }
    }

    /// Everything that is under way arrives and is written; no time passes.
    pub fn rest(&mut self) {
        for _ in 0..10_000 {
            let waits = |message: &Message| {
                let broker = self.brokers.iter().find(|b| b.node == message.to.node());
                broker.is_some_and(|broker| broker.is_still && broker.is_up())
            };
            let next = self.network.iter().position(|message| !waits(message));
            let mut is_at_rest = next.is_none();
            next.into_iter().for_each(|place| self.deliver(place));
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

    /// What can be read newly of each log must be what is read elsewhere.
    pub fn check_logs(&mut self) {
        for broker in &mut self.brokers {
            if !broker.is_up() || broker.damaged.contains(&LOG) {
                continue;
            }
            let Some(reader) = broker.readers.get(&LOG) else { continue };
            match self.checks.read_on(broker.node, reader) {
                Ok(()) => {}
                Err(error) => {
                    // It was said, and nothing of it was given out.
                    assert!(broker.is_rotten, "broker {}: {error}", broker.node);
                    broker.damaged.insert(LOG);
                    self.moments.note(Moment::DamageRead);
                }
            }
        }
    }
}
