//! A majority is mended, and the rest stays broken for ever: the majority must get on.
//!
//! Faults that are mended at random hide those that only time heals: an election that never ends
//! beside a broker that is cut one way, say.

use std::collections::BTreeSet;

use ropewalk_consensus::{Durability, ProposalKind, Receipt};
use ropewalk_core::NodeId;

use super::Life;
use crate::cluster::{COMMANDS, GROUPS, LOG};
use crate::moments::Moment;

/// Within so many ticks a majority must have chosen its leaders: some ten elections.
const LED_WITHIN: usize = 200;
/// So long, an election timeout, one leader must have served since then. One that led before may be
/// handing over to a broker that is broken now, and takes nothing until it gives that up; or it has
/// heard of no majority lately, and steps down. Both are over at the end of the timeout.
const LED_FOR: usize = 11;
/// Within so many more it must have done what it was asked for, and know of it everywhere. Its
/// leader may have failed to read what a follower lacks just before it was mended, and tries that
/// again 50 ticks later; what was lost on the way counts as lost after 20.
const DONE_WITHIN: usize = 90;

/// In which way the rest is broken.
const WAYS: [Moment; 5] = [
    Moment::WithoutDown,
    Moment::WithoutDeaf,
    Moment::WithoutMute,
    Moment::WithoutCut,
    Moment::WithoutDisk,
];

impl Life {
    /// Returns whether it could be asked for: not while members change, as then more than these may
    /// be needed.
    pub(super) fn do_without(&mut self) -> bool {
        if self.may_change.is_some() {
            return false;
        }
        let broken = self.choose_broken();
        let way = self.random.pick(&WAYS);
        self.cluster.cut.clear();
        for node in self.cluster.nodes() {
            if broken.contains(&node) {
                self.break_for_ever(node, way);
            } else {
                self.mend_broker(node);
            }
        }
        self.cluster.tell_all();
        self.wait_for_leaders(&broken);
        self.get_on(&broken);
        self.cluster.moments.note(way);
        true
    }

    /// As many as both groups can do without.
    fn choose_broken(&mut self) -> BTreeSet<NodeId> {
        let most = (self.cluster.log_replicas() - 1) / 2;
        let count = 1 + self.random.below(most);
        let mut broken = BTreeSet::new();
        while (broken.len() as u64) < count {
            let node = self.node();
            broken.insert(node);
        }
        broken
    }

    fn break_for_ever(&mut self, node: NodeId, way: Moment) {
        self.mend_broker(node);
        match way {
            Moment::WithoutDown => self.cluster.kill(node),
            Moment::WithoutDeaf => self.cluster.deafen(node),
            Moment::WithoutMute => self.cluster.mute(node),
            Moment::WithoutCut => self.cluster.isolate(node),
            _ => {
                // As a follower: one that leads would go on to, and what it must have written
                // itself, as commands, would never be answered.
                self.cluster.kill(node);
                self.cluster.start(node);
                self.cluster.at(node).is_disk_still = true;
            }
        }
    }

    /// Who leads the groups, and in which epochs, where none of the leaders is broken.
    fn led_by(&self, broken: &BTreeSet<NodeId>) -> Option<Vec<(NodeId, u64)>> {
        let led = GROUPS.iter().map(|group| {
            let leader = self.cluster.leader(*group).filter(|leader| !broken.contains(leader))?;
            Some((leader, self.cluster.see(leader).serves[group]))
        });
        led.collect()
    }

    fn wait_for_leaders(&mut self, broken: &BTreeSet<NodeId>) {
        let (mut led, mut ticks) = (None, 0);
        for _ in 0..LED_WITHIN {
            self.cluster.tell_all();
            self.cluster.run(1);
            let now = self.led_by(broken);
            ticks = if now == led { ticks + 1 } else { 0 };
            led = now;
            if led.is_some() && ticks >= LED_FOR {
                return;
            }
        }
        let known = self.cluster.brokers.iter().filter(|broker| broker.is_up());
        let known: Vec<_> = known.map(|b| (b.node, &b.leaders, &b.serves, &b.members)).collect();
        panic!("a majority chooses no leader without {broken:?}: {known:?}");
    }

    fn get_on(&mut self, broken: &BTreeSet<NodeId>) {
        let leader = |life: &Self, group| life.cluster.leader(group).unwrap();
        let (of_log, of_commands) = (leader(self, LOG), leader(self, COMMANDS));
        let asked = [
            self.cluster.produce(of_log, 2, Durability::Quorum),
            self.cluster.propose(of_log, LOG, ProposalKind::Bounds),
            self.cluster.propose(of_commands, COMMANDS, ProposalKind::Command(Vec::new())),
            self.cluster.propose(of_commands, COMMANDS, ProposalKind::Query(Vec::new())),
        ];
        self.cluster.run(DONE_WITHIN);
        for id in asked {
            let end = self.cluster.ends.get(&id);
            assert!(matches!(end, Some(Ok(_))), "without {broken:?}: {end:?}");
        }
        let Some(Ok(Receipt::Appended { base_offset, .. })) = self.cluster.ends.get(&asked[0])
        else {
            panic!("a batch has another receipt")
        };
        let end = base_offset.0 + 2;
        for broker in self.cluster.brokers.iter().filter(|b| !broken.contains(&b.node)) {
            if let Some(reader) = broker.readers.get(&LOG) {
                let known = reader.bounds().high_watermark.0;
                assert!(known >= end, "broker {} knows {known} of {end}", broker.node);
            }
        }
        let bounds = self.cluster.bounds(of_log);
        self.cluster.check_logs();
        self.cluster.checks.finish(bounds.0);
        assert_eq!(self.cluster.damaged, []);
    }
}
