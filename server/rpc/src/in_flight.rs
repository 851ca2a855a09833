//! What a stream has delivered of the partitions of a consumer group, and the group has not
//! committed yet.

use std::collections::{BTreeMap, VecDeque};

use ropewalk_core::Offset;
use ropewalk_groups::TopicPartition;

use crate::group_request::InFlightLimit;

/// Batches of a partition that are told apart; beyond it the last ones count as one.
const BATCHES_KEPT: usize = 1_024;

struct Sent {
    /// The offset after the last record.
    end: Offset,
    records: u64,
    bytes: u64,
}

/// What was delivered and is not committed.
pub(crate) struct InFlight {
    limit: InFlightLimit,
    records: u64,
    bytes: u64,
    sent: BTreeMap<TopicPartition, VecDeque<Sent>>,
}

impl InFlight {
    pub(crate) fn new(limit: InFlightLimit) -> Self {
        Self { limit, records: 0, bytes: 0, sent: BTreeMap::new() }
    }

    /// Whether nothing more may be delivered.
    pub(crate) fn is_full(&self) -> bool {
        self.records >= self.limit.records || self.bytes >= self.limit.bytes
    }

    /// The partitions of which something was delivered and is not committed.
    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        let sent = self.sent.iter().filter(|(_, sent)| !sent.is_empty());
        sent.map(|(partition, _)| *partition).collect()
    }

    /// A batch of a partition is delivered.
    pub(crate) fn sent(
        &mut self,
        partition: TopicPartition,
        end: Offset,
        records: u64,
        bytes: u64,
    ) {
        if self.limit.is_none() {
            return;
        }
        self.records += records;
        self.bytes += bytes;
        let sent = self.sent.entry(partition).or_default();
        let is_long = sent.len() >= BATCHES_KEPT;
        match sent.back_mut().filter(|_| is_long) {
            Some(last) => {
                last.end = end;
                last.records += records;
                last.bytes += bytes;
            }
            None => sent.push_back(Sent { end, records, bytes }),
        }
    }

    /// The group has committed this much of a partition.
    pub(crate) fn committed(&mut self, partition: TopicPartition, to: Offset) {
        let Some(sent) = self.sent.get_mut(&partition) else { return };
        while let Some(first) = sent.front().filter(|first| first.end <= to) {
            self.records -= first.records;
            self.bytes -= first.bytes;
            sent.pop_front();
        }
    }

    /// The partition is not the member's any more, or it is told anew where it begins.
    pub(crate) fn forget(&mut self, partition: TopicPartition) {
        for sent in self.sent.remove(&partition).unwrap_or_default() {
            self.records -= sent.records;
            self.bytes -= sent.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_core::{PartitionId, TopicId};

    use super::*;

    #[test]
    fn what_is_committed_makes_room_and_what_is_gone_counts_no_more() {
        let (one, two) = ((TopicId([1; 16]), PartitionId(0)), (TopicId([1; 16]), PartitionId(1)));
        let mut sent = InFlight::new(InFlightLimit { records: 10, bytes: u64::MAX });
        sent.sent(one, Offset(6), 6, 60);
        sent.sent(two, Offset(3), 3, 30);
        assert!(!sent.is_full());
        sent.sent(one, Offset(8), 2, 20);
        assert!(sent.is_full());
        sent.committed(one, Offset(5));
        assert!(sent.is_full(), "a batch that is committed in part counts whole");
        sent.committed(one, Offset(7));
        assert!(!sent.is_full());
        sent.sent(two, Offset(8), 5, 1);
        assert!(sent.is_full());
        sent.forget(two);
        assert_eq!((sent.records, sent.bytes), (2, 20));
    }

    #[test]
    fn a_partition_of_many_small_batches_takes_bounded_memory() {
        let one = (TopicId([1; 16]), PartitionId(0));
        let mut sent = InFlight::new(InFlightLimit { records: 1_000_000, bytes: u64::MAX });
        for offset in 1..=10_000 {
            sent.sent(one, Offset(offset), 1, 1);
        }
        assert_eq!((sent.sent[&one].len(), sent.records), (BATCHES_KEPT, 10_000));
        sent.committed(one, Offset(10_000));
        assert_eq!(sent.records, 0);
    }
}
