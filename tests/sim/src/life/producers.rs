//! Idempotent producers as an SDK has them: up to five batches on their way, each sent again, in
//! order and under its number, until it is answered.
//!
//! A refusal proves little: a leader that was replaced, and does not know it yet, takes a batch for
//! one that comes too early. So whatever was sent is sent again, and only an answer ends that.

use std::collections::VecDeque;

use ropewalk_consensus::ProposeError;
use ropewalk_core::sequence::REMEMBERED_BATCHES;
use ropewalk_core::{NodeId, ProducerId, ProducerSequence};

use super::Life;
use crate::cluster::{Cluster, LOG, Sequenced};

/// A batch without an answer.
struct Unanswered {
    number: u64,
    batch: Sequenced,
    /// The proposal that sent it last.
    sent: u64,
}

/// A producer.
pub(super) struct Producer {
    id: ProducerId,
    epoch: u32,
    next: u32,
    unanswered: VecDeque<Unanswered>,
    last_error: Option<ProposeError>,
}

impl Producer {
    pub(super) fn new(number: u64) -> Self {
        let (epoch, next) = (0, 0);
        Self { id: ProducerId(number), epoch, next, unanswered: VecDeque::new(), last_error: None }
    }

    fn send(&mut self, cluster: &mut Cluster, node: NodeId, (records, bytes): (u32, usize)) {
        let sequence = ProducerSequence { producer: self.id, epoch: self.epoch, first: self.next };
        let (number, batch) = (cluster.next_number(), Sequenced { sequence, records, bytes });
        let sent = cluster.send(node, number, &batch);
        self.next = sequence.next(records);
        self.unanswered.push_back(Unanswered { number, batch, sent });
    }

    fn send_again(&mut self, cluster: &mut Cluster, node: NodeId) {
        for batch in &mut self.unanswered {
            batch.sent = cluster.send(node, batch.number, &batch.batch);
        }
    }

    /// What was answered is done. Returns whether something ended otherwise.
    fn take_answers(&mut self, cluster: &Cluster) -> bool {
        let mut has_failed = false;
        self.unanswered.retain(|batch| {
            match cluster.ends.get(&batch.sent) {
                Some(Ok(_)) => return false,
                Some(Err(error)) => {
                    let is_over = matches!(error, ProposeError::ProducerFenced { .. });
                    assert!(!is_over, "the newest epoch is over: {error}");
                    self.last_error = Some(*error);
                    has_failed = true;
                }
                None => has_failed |= !cluster.is_asked(batch.sent),
            }
            true
        });
        has_failed
    }
}

impl Life {
    /// One of the producers sends, or sends again.
    pub(super) fn produce_sequenced(&mut self) {
        let at = self.random.below(self.producers.len() as u64) as usize;
        let node = self.node_for(LOG);
        let size = self.batch_size();
        let begins_anew = self.random.one_in(40);
        let is_impatient = self.random.one_in(6);
        let (producer, cluster) = (&mut self.producers[at], &mut self.cluster);
        let has_failed = producer.take_answers(cluster);
        if begins_anew {
            // Another one takes the name, while the one before it still sends.
            producer.epoch += 1;
            producer.next = 0;
            let before = std::mem::take(&mut producer.unanswered);
            producer.send(cluster, node, size);
            for batch in before {
                cluster.send(node, batch.number, &batch.batch);
            }
        } else if has_failed || is_impatient {
            producer.send_again(cluster, node);
        } else if producer.unanswered.len() < REMEMBERED_BATCHES {
            producer.send(cluster, node, size);
        }
    }

    /// All is mended: whatever was sent is answered.
    pub(super) fn finish_producers(&mut self) {
        for producer in &mut self.producers {
            for _ in 0..100 {
                producer.take_answers(&self.cluster);
                if producer.unanswered.is_empty() {
                    break;
                }
                if let Some(leader) = self.cluster.leader(LOG) {
                    producer.send_again(&mut self.cluster, leader);
                }
                self.cluster.run(5);
            }
            let left: Vec<_> = producer.unanswered.iter().map(|batch| batch.batch).collect();
            let error = producer.last_error;
            assert!(left.is_empty(), "a producer is never answered: {error:?}, {left:?}");
        }
    }
}
