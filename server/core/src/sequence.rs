//! The sequence of an idempotent producer: how a batch that comes twice is known again.
//!
//! The idea is Kafka's (KIP-98): the records of a producer are numbered for each partition, and a
//! batch carries the number of its first. Numbers go around after 2^32 records.

use crate::ids::ProducerId;

/// So many batches of a producer are known again, in each partition: as many as it may have on
/// their way. Kafka keeps as many.
pub const REMEMBERED_BATCHES: usize = 5;

/// So many epochs of its id does each holder of a name have: the one that it is given, and those
/// after it, in which it goes on where it has given up a batch. So it never has to ask for one,
/// which would take the name back from whoever has it since.
pub const EPOCHS_OF_A_HOLDER: u32 = 1 << 16;

/// What a batch of an idempotent producer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerSequence {
    /// The producer.
    pub producer: ProducerId,
    /// Which holder of the id it is: a newer one fences the older ones.
    pub epoch: u32,
    /// The number of the first record, from 0 in each partition and epoch.
    pub first: u32,
}

impl ProducerSequence {
    /// The number after that of the last of so many records.
    #[must_use]
    pub fn next(&self, record_count: u32) -> u32 {
        self.first.wrapping_add(record_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_around() {
        let sequence = ProducerSequence { producer: ProducerId(1), epoch: 0, first: u32::MAX - 1 };
        assert_eq!((sequence.next(1), sequence.next(3)), (u32::MAX, 1));
    }
}
