//! What brokers are told of the connections between them, as the transport tells it: some time
//! after it happened, and with the end of a connection nothing comes by it any more.

use std::collections::BTreeSet;

use ropewalk_consensus::Input;
use ropewalk_core::NodeId;

use super::Cluster;

/// Pairs of brokers, of which the first is told of the second.
#[derive(Default)]
pub struct Links {
    /// The connection has ended, and it was not told yet.
    ended: BTreeSet<(NodeId, NodeId)>,
    /// The connection is there, as it was told last.
    whole: BTreeSet<(NodeId, NodeId)>,
}

impl Links {
    /// A broker's process ends.
    pub(super) fn end(&mut self, node: NodeId, others: &[NodeId]) {
        self.ended.retain(|(told, _)| *told != node);
        self.whole.retain(|(told, _)| *told != node);
        self.ended.extend(others.iter().map(|other| (*other, node)));
    }
}

impl Cluster {
    /// Cuts the way from one broker to another. No connection between them survives that.
    pub fn sever(&mut self, from: NodeId, to: NodeId) {
        if from != to {
            self.cut.insert((from, to));
            self.links.ended.extend([(from, to), (to, from)]);
        }
    }

    /// Cuts a broker off from all others, both ways.
    pub fn isolate(&mut self, node: NodeId) {
        self.deafen(node);
        self.mute(node);
    }

    /// Nothing reaches a broker.
    pub fn deafen(&mut self, node: NodeId) {
        self.nodes().into_iter().for_each(|other| self.sever(other, node));
    }

    /// Nothing that a broker says reaches anybody.
    pub fn mute(&mut self, node: NodeId) {
        self.nodes().into_iter().for_each(|other| self.sever(node, other));
    }

    /// Tells a broker what it does not know yet of its connections.
    pub fn tell(&mut self, node: NodeId) {
        if !self.is_up(node) || self.see(node).is_still {
            return;
        }
        for other in self.nodes().into_iter().filter(|other| *other != node) {
            let pair = (node, other);
            if self.links.ended.remove(&pair) {
                self.links.whole.remove(&pair);
                self.network.retain(|m| (m.to.node(), m.from.node()) != pair);
                self.observe_loss_of(node);
                self.step(node, vec![Input::Unreachable(other)]);
            }
            let is_cut = [pair, (other, node)].iter().any(|way| self.cut.contains(way));
            if !is_cut && self.is_up(other) && self.links.whole.insert(pair) {
                self.step(node, vec![Input::Reachable(other)]);
            }
        }
    }

    /// Tells all brokers.
    pub fn tell_all(&mut self) {
        self.nodes().into_iter().for_each(|node| self.tell(node));
    }

    /// Whether not a message is sent for this many ticks.
    pub fn is_silent(&mut self, ticks: usize) -> bool {
        let before = self.sent;
        self.run(ticks);
        self.sent == before
    }

    /// Runs until nothing is sent any more for a while. A group that is looked at wakes meanwhile.
    pub fn fall_asleep(&mut self) {
        assert!((0..10).any(|_| self.is_silent(50)), "the groups do not fall asleep");
    }
}
