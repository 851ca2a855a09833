//! A random life of a few brokers, which follows from a number alone.
//!
//! Lost, late, doubled and reordered messages, cuts one way and both, crashes, power cuts, failing,
//! slow, rotten and lost disks, brokers that stand still, clocks that jump, changes of the members
//! and of the leaders. At the end all is mended and everybody must come to agree; or, in a part of
//! the lives, a majority is mended and the rest stays broken for ever, and the majority must get
//! on.

mod faults;
mod healing;
mod liveness;
mod producers;
mod registers;

use ropewalk_cluster::answer;
use ropewalk_consensus::{Durability, Input, ProposalKind, Receipt};
use ropewalk_core::{GroupId, NodeId};

use self::producers::Producer;
use self::registers::Client;
use crate::cluster::{COMMANDS, Cluster, LOG, trim};
use crate::commands;
use crate::moments::{Moment, Moments};
use crate::random::Random;
use crate::store::{Chore, StoreKind};

/// One life in so many has the real engine on simulated disks.
const DISK_LIVES: u64 = 2;
/// One life in so many ends with a majority that must do without the rest.
const LIVENESS_LIVES: u64 = 4;
/// How many things happen in a life.
const STEPS: u64 = 5_000;

/// How many idempotent producers there are.
const PRODUCERS: u64 = 3;

/// What a life was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Follows from everything that has happened; 0 where nobody asked for it.
    pub trace: u64,
    /// How many proposals were carried out.
    pub answers: u64,
    /// How many followers were put to sleep while things happened.
    pub marks: u64,
    /// What has happened.
    pub moments: Moments,
}

/// How far it is known what became of a command that changes members: it may be carried out long
/// after nobody waits for it any more, but not after a later one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The command was proposed.
    Wanted,
    /// A later one was, with this number.
    Asked(u64),
    /// The later one was carried out, at this index.
    Since(u64),
}

/// A life.
pub struct Life {
    random: Random,
    cluster: Cluster,
    /// One message in so many is lost.
    loss: u64,
    /// The topics that somebody wanted created.
    topics: Vec<u64>,
    /// The idempotent producers of the partition.
    producers: Vec<Producer>,
    /// Those who set registers in the partition.
    registers: Vec<Client>,
    /// Whether the partition is compacted before the end: what a leader knows of keys is forgotten
    /// with each compaction.
    is_compacted: bool,
    /// Members were to change since all groups were last seen to have theirs.
    may_change: Option<Change>,
}

impl Life {
    fn new(seed: u64, traced: bool) -> Self {
        let mut random = Random::new(seed);
        let is_disk = random.one_in(DISK_LIVES);
        let kind = if is_disk { StoreKind::Disk } else { StoreKind::Memory };
        let count = if random.one_in(3) { 5 } else { 3 };
        let replicas = if count == 5 && random.one_in(2) { 5 } else { 3 };
        let loss = random.pick(&[5, 20, 100, 1_000]);
        let is_compacted = !random.one_in(3);
        let cluster = Cluster::formed(count, replicas, kind, seed, traced);
        let producers = (0..PRODUCERS).map(Producer::new).collect();
        let (topics, registers) = (Vec::new(), Client::all());
        let may_change = None;
        Self { random, cluster, loss, topics, producers, registers, is_compacted, may_change }
    }

    /// Lives through a life, to its end.
    ///
    /// # Panics
    /// When something does not hold.
    #[must_use]
    pub fn live(seed: u64, traced: bool) -> Outcome {
        let mut life = Self::new(seed, traced);
        for _ in 0..STEPS {
            life.step();
        }
        let marks = life.cluster.marks;
        let is_liveness = life.random.one_in(LIVENESS_LIVES);
        if !(is_liveness && life.do_without()) {
            life.heal();
        }
        let cluster = life.cluster;
        let disks = cluster.brokers.iter().filter_map(|broker| broker.store.machine());
        let disks = disks.fold(0u64, |sum, machine| sum.rotate_left(1) ^ machine.trace());
        Outcome {
            trace: cluster.trace.map_or(0, |trace| trace ^ disks),
            answers: cluster.checks.answers,
            marks,
            moments: cluster.moments,
        }
    }

    fn node(&mut self) -> NodeId {
        NodeId(1 + self.random.below(self.cluster.brokers.len() as u64))
    }

    /// Most often a broker that says it leads, be it true or not.
    fn node_for(&mut self, group: GroupId) -> NodeId {
        let serves = self.cluster.brokers.iter().filter(|b| b.serves.contains_key(&group));
        let awake = serves.filter(|broker| !broker.is_still);
        let serving: Vec<NodeId> = awake.map(|broker| broker.node).collect();
        if serving.is_empty() || self.random.one_in(20) {
            let node = self.node();
            // One that stands still takes nothing: whoever asks it is not heard.
            let stands = self.cluster.see(node).is_still;
            return serving.first().copied().filter(|_| stands).unwrap_or(node);
        }
        self.random.pick(&serving)
    }

    fn step(&mut self) {
        match self.random.below(1_000) {
            0..430 => self.network(),
            430..660 => self.persist(),
            660..750 => self.tick(),
            750..910 => self.client(),
            910..927 => self.fault(),
            927..937 => self.mend(),
            937..955 => self.bring_along(),
            955..962 => {
                let node = self.node();
                self.cluster.tell(node);
            }
            962..965 => self.idle(),
            965..973 => {
                let node = self.node();
                self.cluster.step(node, vec![Input::Settle]);
            }
            _ => self.chore(),
        }
        self.cluster.check_logs();
    }

    fn network(&mut self) {
        let waiting = self.cluster.network.len() as u64;
        if waiting == 0 {
            return;
        }
        let place = if self.random.one_in(4) { self.random.below(waiting) } else { 0 } as usize;
        if self.random.one_in(self.loss) {
            self.cluster.moments.note(Moment::MessageLost);
            let lost = self.cluster.network.remove(place).unwrap();
            if self.random.one_in(2) {
                let (from, to) = (lost.from.node(), lost.to.node());
                self.cluster.step(from, vec![Input::Lost(to)]);
            }
            return;
        }
        if self.random.one_in(30) {
            self.cluster.moments.note(Moment::MessageDoubled);
            let doubled = self.cluster.network[place].clone();
            self.cluster.network.push_back(doubled);
        }
        self.cluster.deliver(place);
    }

    fn persist(&mut self) {
        let node = self.node();
        let count = if self.random.one_in(4) { 4 } else { 1 };
        self.cluster.persist_some(node, count);
    }

    /// Clocks do not run alike.
    fn tick(&mut self) {
        for node in self.cluster.nodes() {
            if self.random.one_in(8) {
                self.cluster.moments.note(Moment::TicksUneven);
            } else {
                self.cluster.tick(node, Vec::new());
            }
        }
    }

    /// Nobody asks for anything, and the groups that can fall asleep. Then something happens, which
    /// the brokers hear of some ticks later, each for itself.
    fn idle(&mut self) {
        if self.random.one_in(2) {
            self.mend_all();
        }
        let phases = 1 + self.random.below(3);
        for _ in 0..phases {
            let ticks = 20 + self.random.below(100);
            for _ in 0..ticks {
                if self.random.one_in(4) {
                    let node = self.node();
                    self.cluster.tell(node);
                }
                self.cluster.run(1);
            }
            if self.random.one_in(2) {
                self.fault();
            }
        }
    }

    fn chore(&mut self) {
        let node = self.node();
        if self.random.one_in(3) {
            let reads = if self.random.one_in(2) { u64::MAX } else { 1 + self.random.below(20) };
            self.cluster.compact(node, reads);
            return;
        }
        let chore = match self.random.below(6) {
            0 => Chore::Checkpoint,
            1 => Chore::WriteOut,
            _ => Chore::Reclaim,
        };
        self.cluster.do_chore(node, chore);
    }

    fn bring_along(&mut self) {
        self.cluster.bring_along();
        let Some(change) = self.may_change else { return };
        self.may_change = match change {
            Change::Wanted => {
                let node = self.node_for(COMMANDS);
                let nothing = ProposalKind::Command(Vec::new());
                Some(Change::Asked(self.cluster.propose(node, COMMANDS, nothing)))
            }
            Change::Asked(id) => match self.cluster.ends.get(&id) {
                Some(Ok(Receipt::Applied(response))) => {
                    Some(Change::Since(answer::decode_applied(response).unwrap().0))
                }
                None if self.cluster.is_asked(id) => Some(change),
                _ => Some(Change::Wanted),
            },
            Change::Since(index) => Some(change).filter(|_| self.cluster.is_changing(index)),
        };
    }

    fn client(&mut self) {
        match self.random.below(22) {
            20..22 => self.compare_and_append(),
            0..5 => self.produce(),
            5..10 => self.produce_sequenced(),
            10..14 => {
                let node = self.node_for(COMMANDS);
                let disks: Vec<u8> =
                    self.cluster.brokers.iter().map(|broker| broker.disks).collect();
                let command = commands::random(&mut self.random, &disks, &mut self.topics);
                self.cluster.propose(node, COMMANDS, ProposalKind::Command(command));
            }
            14..16 => {
                let node = self.node_for(LOG);
                self.cluster.propose(node, LOG, ProposalKind::Bounds);
            }
            18 if self.is_compacted && self.random.one_in(2) => {
                let node = self.node_for(LOG);
                let with_tombstones = self.random.one_in(2);
                let is_by_age = self.random.one_in(4);
                self.cluster.order_compaction(node, with_tombstones, is_by_age);
            }
            16..18 => {
                let node = self.node_for(COMMANDS);
                self.cluster.propose(node, COMMANDS, ProposalKind::Query(Vec::new()));
            }
            _ => {
                let node = self.node_for(LOG);
                let end = self.cluster.checks.high_watermark().0;
                let before = (end + 2).saturating_sub(self.random.below(12));
                self.cluster.propose(node, LOG, trim(before));
            }
        }
    }

    fn produce(&mut self) {
        let node = self.node_for(LOG);
        let durability = match self.random.below(6) {
            0 => Durability::None,
            1 => Durability::Leader,
            _ => Durability::Quorum,
        };
        let (records, bytes) = self.batch_size();
        self.cluster.produce_bytes(node, records, durability, bytes);
    }

    /// The records and the bytes of a batch.
    fn batch_size(&mut self) -> (u32, usize) {
        let records = 1 + self.random.below(4) as u32;
        let bytes = match self.cluster.kind() {
            StoreKind::Memory => 8,
            StoreKind::Disk => 8 + self.random.below(6_000) as usize,
        };
        (records, bytes)
    }
}
