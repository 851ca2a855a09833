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

/// A batch that was sent.
struct Sent {
    number: u64,
    batch: Sequenced,
    /// The proposal that sent it last.
    by: u64,
    is_answered: bool,
}

/// A producer.
pub(super) struct Producer {
    id: ProducerId,
    epoch: u32,
    next: u32,
    /// What was sent since the oldest batch without an answer, and that one: a broker remembers no
    /// more of them than may be on their way.
    window: VecDeque<Sent>,
    last_error: Option<ProposeError>,
}

impl Producer {
    pub(super) fn new(number: u64) -> Self {
        let (epoch, next) = (0, 0);
        Self { id: ProducerId(number), epoch, next, window: VecDeque::new(), last_error: None }
    }

    fn send(&mut self, cluster: &mut Cluster, node: NodeId, (records, bytes): (u32, usize)) {
        let sequence = ProducerSequence { producer: self.id, epoch: self.epoch, first: self.next };
        let (number, batch) = (cluster.next_number(), Sequenced { sequence, records, bytes });
        let by = cluster.send(node, number, &batch);
        self.next = sequence.next(records);
        self.window.push_back(Sent { number, batch, by, is_answered: false });
    }

    fn send_again(&mut self, cluster: &mut Cluster, node: NodeId) {
        for sent in self.window.iter_mut().filter(|sent| !sent.is_answered) {
            sent.by = cluster.send(node, sent.number, &sent.batch);
        }
    }

    /// What was answered is done. Returns whether something ended otherwise.
    fn take_answers(&mut self, cluster: &Cluster) -> bool {
        let mut has_failed = false;
        for sent in self.window.iter_mut().filter(|sent| !sent.is_answered) {
            match cluster.ends.get(&sent.by) {
                Some(Ok(_)) => sent.is_answered = true,
                Some(Err(error)) => {
                    let is_over = matches!(error, ProposeError::ProducerFenced { .. });
                    assert!(!is_over, "the newest epoch is over: {error}");
                    self.last_error = Some(*error);
                    has_failed = true;
                }
                None => has_failed |= !cluster.is_asked(sent.by),
            }
        }
        while self.window.pop_front_if(|sent| sent.is_answered).is_some() {}
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
            let before = std::mem::take(&mut producer.window);
            producer.send(cluster, node, size);
            for sent in before.iter().filter(|sent| !sent.is_answered) {
                cluster.send(node, sent.number, &sent.batch);
            }
        } else if has_failed || is_impatient {
            producer.send_again(cluster, node);
        } else if producer.window.len() < REMEMBERED_BATCHES {
            producer.send(cluster, node, size);
        }
    }

    /// All is mended: whatever was sent is answered.
    pub(super) fn finish_producers(&mut self) {
        for producer in &mut self.producers {
            for _ in 0..100 {
                producer.take_answers(&self.cluster);
                if producer.window.is_empty() {
                    break;
                }
                if let Some(leader) = self.cluster.leader(LOG) {
                    producer.send_again(&mut self.cluster, leader);
                }
                self.cluster.run(5);
            }
            let left: Vec<_> = producer.window.iter().map(|sent| sent.batch).collect();
            let error = producer.last_error;
            assert!(left.is_empty(), "a producer is never answered: {error:?}, {left:?}");
        }
    }
}
