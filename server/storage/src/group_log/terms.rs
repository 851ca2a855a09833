//! The terms of a log's entries, as far as they are known without the disk.
//!
//! Raft looks for where a follower's log parts from its leader's by the terms of entries long out
//! of memory. They only ever go up within a log, so that a few runs say it for millions of entries,
//! and two entries of one term say the same of all between them.

use std::collections::VecDeque;

/// Runs that are remembered. A log has one more with each election; the oldest ones go.
const MAX_RUNS: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Terms {
    /// In order. Between two of them may be entries whose terms are not known.
    runs: VecDeque<Run>,
}

/// Entries of one term.
struct Run {
    first: u64,
    last: u64,
    term: u64,
}

impl Terms {
    /// The entry at an index is of this term.
    pub(super) fn learn(&mut self, index: u64, term: u64) {
        let place = self.runs.partition_point(|run| run.term < term);
        match self.runs.get_mut(place) {
            Some(run) if run.term == term => {
                run.first = run.first.min(index);
                run.last = run.last.max(index);
            }
            _ => self.runs.insert(place, Run { first: index, last: index, term }),
        }
        if self.runs.len() > MAX_RUNS {
            self.runs.pop_front();
        }
    }

    /// The entries from an index on are replaced.
    pub(super) fn cut_from(&mut self, first: u64) {
        while self.runs.back().is_some_and(|run| run.first >= first) {
            self.runs.pop_back();
        }
        if let Some(run) = self.runs.back_mut() {
            run.last = run.last.min(first - 1);
        }
    }

    /// The log begins anew after an entry.
    pub(super) fn begin_after(&mut self, index: u64, term: u64) {
        self.runs.clear();
        self.learn(index, term);
    }

    /// The log begins after an index.
    pub(super) fn drop_to(&mut self, index: u64) {
        while self.runs.front().is_some_and(|run| run.last < index) {
            self.runs.pop_front();
        }
    }

    /// The term of an entry, if it is known.
    pub(super) fn at(&self, index: u64) -> Option<u64> {
        let place = self.runs.partition_point(|run| run.last < index);
        self.runs.get(place).filter(|run| run.first <= index).map(|run| run.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(terms: &Terms, range: std::ops::Range<u64>) -> Vec<Option<u64>> {
        range.map(|index| terms.at(index)).collect()
    }

    #[test]
    fn two_entries_of_a_term_say_it_of_all_between() {
        let mut terms = Terms::default();
        for (index, term) in [(1, 5), (8, 7), (4, 5), (6, 7)] {
            terms.learn(index, term);
        }
        let five = [Some(5); 4];
        let seven = [Some(7); 3];
        assert_eq!(known(&terms, 1..5), five);
        assert_eq!(known(&terms, 5..6), [None], "it may be of term 6");
        assert_eq!(known(&terms, 6..9), seven);
        terms.cut_from(7);
        terms.learn(7, 9);
        assert_eq!(known(&terms, 5..9), [None, Some(7), Some(9), None]);
        terms.drop_to(6);
        assert_eq!(known(&terms, 4..7), [None, None, Some(7)]);
    }

    #[test]
    fn the_oldest_runs_go() {
        let mut terms = Terms::default();
        (1..=1_000).for_each(|index| terms.learn(index, index));
        assert_eq!(terms.runs.len(), MAX_RUNS);
        assert_eq!((terms.at(936), terms.at(937), terms.at(1_000)), (None, Some(937), Some(1_000)));
    }
}
