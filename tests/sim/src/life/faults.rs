//! What goes wrong in a life, and what is mended meanwhile.

use std::path::Path;

use ropewalk_cluster::MetadataCommand;
use ropewalk_consensus::ProposalKind;
use ropewalk_core::NodeId;

use super::{Change, Life};
use crate::cluster::{COMMANDS, GROUPS, LOG};
use crate::commands;
use crate::moments::Moment;
use crate::store::StoreKind;

/// The directory of the metadata group's segments: it is the first log of every disk.
const METADATA_DIR: &str = "/segments/1/";

/// How far a clock jumps, in ns: an hour at most.
const MAX_JUMP: u64 = 3_600_000_000_000;

impl Life {
    pub(super) fn fault(&mut self) {
        let node = self.node();
        match self.random.below(24) {
            0..3 => self.cut_power(node),
            3..5 => self.cluster.kill(node),
            5..11 => self.start(node),
            11 => self.cluster.isolate(node),
            12 => self.cluster.deafen(node),
            13 => self.cluster.mute(node),
            14 => {
                let other = self.node();
                self.cluster.sever(node, other);
            }
            15 => self.transfer(node),
            16..18 => self.lose_replicas(node),
            18 => {
                let is_leader = self.random.one_in(2);
                let node = if is_leader { self.node_for(LOG) } else { node };
                self.cluster.at(node).is_still = self.cluster.is_up(node);
            }
            19 => self.cluster.at(node).is_disk_still = true,
            20 => self.jump(node),
            21 => self.fail_disk(node),
            22 => self.rot(node),
            _ => self.rare(),
        }
    }

    fn rare(&mut self) {
        if self.random.one_in(4) {
            for node in self.cluster.nodes() {
                self.cut_power(node);
            }
        } else {
            self.move_replicas();
        }
    }

    /// Something is well again.
    pub(super) fn mend(&mut self) {
        match self.random.below(4) {
            0 => self.cluster.cut.clear(),
            1 => {
                let node = self.node();
                self.cluster.at(node).is_disk_still = false;
            }
            _ => {
                let node = self.node();
                self.wake(node);
            }
        }
    }

    /// A broker that stood still goes on. Its clients have waited, and are heard before others are.
    pub(super) fn wake(&mut self, node: NodeId) {
        let broker = self.cluster.at(node);
        if !std::mem::take(&mut broker.is_still) || !broker.is_up() {
            return;
        }
        self.cluster.propose(node, LOG, ProposalKind::Bounds);
        self.cluster.propose(node, COMMANDS, ProposalKind::Query(Vec::new()));
    }

    fn cut_power(&mut self, node: NodeId) {
        let broker = self.cluster.see(node);
        match self.cluster.kind() {
            StoreKind::Memory => {
                let survive = self.random.below(broker.unconfirmed() as u64 + 1) as usize;
                self.cluster.cut_power(node, survive);
            }
            StoreKind::Disk if self.random.one_in(3) => self.cluster.cut_power(node, 0),
            StoreKind::Disk => {
                let calls = 1 + self.random.below(25);
                let machine = broker.store.machine().unwrap();
                machine.cut_power_at(calls);
            }
        }
    }

    /// A broker starts; the power may go meanwhile.
    fn start(&mut self, node: NodeId) {
        let (is_cut, calls) = (self.random.one_in(3), 1 + self.random.below(8));
        let broker = self.cluster.see(node);
        let machine = broker.store.machine().filter(|_| is_cut && !broker.is_up());
        machine.into_iter().for_each(|machine| machine.cut_power_at(calls));
        self.cluster.start(node);
    }

    fn fail_disk(&mut self, node: NodeId) {
        let calls = 1 + self.random.below(25);
        if let Some(machine) = self.cluster.see(node).store.machine() {
            machine.fail_at(calls);
        }
    }

    fn jump(&mut self, node: NodeId) {
        let by = self.random.below(MAX_JUMP) as i64;
        let is_back = self.random.one_in(2);
        self.cluster.moments.note(if is_back { Moment::ClockBack } else { Moment::ClockForward });
        self.cluster.at(node).clock_off = if is_back { -by } else { by };
    }

    fn transfer(&mut self, node: NodeId) {
        let group = self.random.pick(&GROUPS);
        let leader = self.node_for(group);
        let Some(to) = self.cluster.see(node).assigned.get(&group) else { return };
        let to = to.replica;
        self.cluster.propose(leader, group, ProposalKind::TransferLeadership(to));
    }

    /// Whether a replica may be lost: one at a time, as more than a minority may not be.
    fn may_lose(&mut self) -> bool {
        let may = self.may_change.is_none() && !self.cluster.is_changing(0);
        if may {
            self.may_change = Some(Change::Wanted);
        }
        may
    }

    /// A broker loses its disk, or its replica of the partition.
    fn lose_replicas(&mut self, node: NodeId) {
        if !self.may_lose() {
            return;
        }
        if self.random.one_in(2) {
            return self.cluster.lose_disk(node);
        }
        let Some(assigned) = self.cluster.see(node).assigned.get(&LOG) else { return };
        let replica = assigned.replica;
        let command = MetadataCommand::ReplaceReplica { group: LOG, replica };
        let leader = self.node_for(COMMANDS);
        self.cluster.propose(leader, COMMANDS, ProposalKind::Command(command.encode()));
    }

    /// The partition is to be on other brokers, where there are others, also while it is on its way
    /// already: the new ones come before others go, so that as many have everything as ever.
    fn move_replicas(&mut self) {
        let count = self.cluster.brokers.len() as u64;
        let first = self.node();
        // Nothing may be lost until it is there.
        self.may_change = Some(Change::Wanted);
        let replicas = self.cluster.log_replicas();
        let command = commands::move_log(first, replicas, count);
        let leader = self.node_for(COMMANDS);
        self.cluster.propose(leader, COMMANDS, ProposalKind::Command(command.encode()));
    }

    /// A bit of what a broker has on its disk turns: of a segment at any time; of the journal while
    /// its process is down, as it is read at a start alone.
    fn rot(&mut self, node: NodeId) {
        if self.cluster.kind() == StoreKind::Memory || !self.may_lose() {
            return;
        }
        if self.random.one_in(2) {
            let broker = self.cluster.at(node);
            broker.is_rotten = broker.store.rot(is_of_partition).is_some();
            return;
        }
        if !self.cluster.is_up(node) {
            return;
        }
        self.cluster.kill(node);
        let broker = self.cluster.at(node);
        broker.is_rotten = broker.store.rot(is_journal).is_some();
        let is_up = self.cluster.start(node);
        // What was read at the start is sound; the rest does not count any more.
        self.cluster.at(node).is_rotten &= !is_up;
    }
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "journal")
}

/// Whether it is a segment of the partition. A broker that cannot read the metadata group's asks
/// for another disk, and does so in its log alone.
fn is_of_partition(path: &Path) -> bool {
    let is_segment = path.extension().is_some_and(|extension| extension == "segment");
    is_segment && !path.to_string_lossy().contains(METADATA_DIR)
}
