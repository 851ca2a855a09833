//! The connections to other brokers, as the shards need to know them: no end of one may be missed,
//! as sleeping replica groups count on it to learn of the end of their leader.
//!
//! A shard looks here at each tick rather than be told by its queue, which may be full. Knows
//! nothing of groups.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ropewalk_consensus::Input;
use ropewalk_core::NodeId;

/// What is known of the connections to one broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    is_whole: bool,
    /// How often one of the connections has ended.
    ends: u64,
}

/// The connections to all brokers.
#[derive(Debug, Default)]
pub struct Lines(Mutex<BTreeMap<NodeId, Line>>);

impl Lines {
    /// A connection to a broker has ended.
    pub(crate) fn lost(&self, node: NodeId) {
        let mut lines = self.lock();
        let line = lines.entry(node).or_default();
        line.is_whole = false;
        line.ends += 1;
    }

    /// All connections to a broker are there.
    pub(crate) fn made(&self, node: NodeId) {
        self.lock().entry(node).or_default().is_whole = true;
    }

    /// What a shard must be told that has seen the lines so.
    pub(crate) fn news<T>(&self, seen: &mut BTreeMap<NodeId, Line>) -> Vec<Input<T>> {
        let mut news = Vec::new();
        for (node, line) in self.lock().iter() {
            let before = seen.insert(*node, *line).unwrap_or_default();
            let has_ended = before.ends != line.ends;
            if has_ended {
                news.push(Input::Unreachable(*node));
            }
            if line.is_whole && (has_ended || !before.is_whole) {
                news.push(Input::Reachable(*node));
            }
        }
        news
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shard is told of broker 7: that it is out of reach, and that it is reached.
    fn told(lines: &Lines, seen: &mut BTreeMap<NodeId, Line>) -> Vec<bool> {
        let reached = |input: Input<()>| match input {
            Input::Reachable(NodeId(7)) => true,
            Input::Unreachable(NodeId(7)) => false,
            _ => panic!("something else is told"),
        };
        lines.news(seen).into_iter().map(reached).collect()
    }

    #[test]
    fn a_shard_hears_of_every_end_however_seldom_it_looks() {
        let (lines, mut seen) = (Lines::default(), BTreeMap::new());
        assert_eq!(told(&lines, &mut seen), []);
        lines.made(NodeId(7));
        assert_eq!(told(&lines, &mut seen), [true]);
        assert_eq!(told(&lines, &mut seen), []);
        lines.lost(NodeId(7));
        lines.lost(NodeId(7));
        lines.made(NodeId(7));
        assert_eq!(told(&lines, &mut seen), [false, true], "it was gone between two looks");
        lines.lost(NodeId(7));
        assert_eq!(told(&lines, &mut seen), [false]);
        assert_eq!(told(&lines, &mut seen), []);
        lines.made(NodeId(7));
        assert_eq!(told(&lines, &mut seen), [true]);
    }
}
