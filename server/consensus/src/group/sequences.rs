//! Batches of idempotent producers: checked by the leader before they are proposed, noted on every
//! replica when they are applied.

use std::collections::BTreeSet;
use std::time::Duration;

use ropewalk_core::{BatchHeader, ProducerId, ProducerSequence, Timestamp, limits};
use ropewalk_storage::own_rows::{PRODUCER_KEY, PRODUCERS_THROUGH_KEY};
use ropewalk_storage::{GroupWrite, StorageError};

use super::{ReplicaGroup, Waiter};
use crate::planted::Plant;
use crate::producers::{Ahead, Producer, ProducerBounds, ProducerTable, Remembered, check};
use crate::proposal::{Durability, ProposalKind, ProposeError, Receipt};
use crate::shard::Output;

/// So many producers one entry lets go at most.
const MOST_EXPIRED: usize = 1_000;

/// What a partition knows of its producers.
#[derive(Default)]
pub(super) struct Sequences {
    table: ProducerTable,
    ahead: Ahead,
    /// Those that an entry on its way lets go, so that they are room already.
    leaving: BTreeSet<ProducerId>,
}

impl Sequences {
    /// What the rows of a group hold.
    pub(super) fn restore(
        &mut self,
        group: ropewalk_core::GroupId,
        rows: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), StorageError> {
        self.lose_lead();
        let mut rows = rows.to_vec();
        if Plant::ForgetProducers.is_planted() {
            rows.retain(|(key, _)| key == PRODUCERS_THROUGH_KEY);
        }
        self.table.restore(&rows).map_err(|error| {
            let what = "the producers of replica group";
            StorageError::Refused(format!("{what} {group} are damaged: {error}"))
        })
    }

    /// What is known of a producer, with what is on its way.
    pub(super) fn known(&self, id: ProducerId) -> Option<&Producer> {
        self.ahead.get(&self.table, id)
    }

    /// What a leader proposed counts for nothing any more.
    pub(super) fn lose_lead(&mut self) {
        self.ahead.clear();
        self.leaving.clear();
    }

    /// A batch takes effect.
    pub(super) fn apply(&mut self, header: &BatchHeader, write: &mut GroupWrite) {
        if let Some(sequence) = header.sequence {
            write.rows.extend(self.table.apply(header));
            self.ahead.applied(sequence.producer, header.index);
        }
    }

    /// Producers are let go.
    pub(super) fn expire(
        &mut self,
        index: u64,
        gone: &[(ProducerId, u64)],
        write: &mut GroupWrite,
    ) {
        gone.iter().for_each(|(id, _)| {
            self.leaving.remove(id);
        });
        write.rows.extend(self.table.expire(index, gone));
    }

    /// A snapshot replaces everything.
    pub(super) fn install(
        &mut self,
        group: ropewalk_core::GroupId,
        stored: Vec<(Vec<u8>, Vec<u8>)>,
        rows: &[(Vec<u8>, Vec<u8>)],
        write: &mut GroupWrite,
    ) -> Result<(), StorageError> {
        // Those that are on their way to the engine are in the table.
        let gone = stored.into_iter().map(|(key, _)| key).chain(self.table.keys());
        write.rows.extend(gone.map(|key| (key, None)));
        let put = rows.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        write.rows.extend(put);
        self.restore(group, rows)
    }

    /// What makes room for a producer that is new, where there is none: so many are let go, those
    /// that have been idle longest first. None of them may be about to try a batch again.
    fn to_make_room(
        &self,
        id: ProducerId,
        bounds: ProducerBounds,
        now: Timestamp,
    ) -> Result<Vec<(ProducerId, u64)>, ProposeError> {
        if self.ahead.get(&self.table, id).is_some() || self.has_room(bounds.max) {
            return Ok(Vec::new());
        }
        let window = limits::PRODUCER_RETRY_WINDOW.min(bounds.expiry);
        // So far to come is no time that a clock could have shown.
        let wrong = self.stayers().filter(|(.., last)| last.since(now) > bounds.expiry);
        let gone = self.idle_for(window, now).chain(wrong.map(|(id, index, _)| (id, index)));
        // A few at once, so that not each new producer takes an entry more.
        let gone: Vec<_> = gone.take(1 + bounds.max / 64).collect();
        if gone.is_empty() {
            return Err(ProposeError::TooManyProducers { limit: bounds.max });
        }
        Ok(gone)
    }

    fn has_room(&self, most: usize) -> bool {
        let known = self.table.len().saturating_sub(self.leaving.len());
        // To count those that are new takes a look at each; mostly that is not needed.
        known + self.ahead.len() < most || known + self.ahead.added(&self.table) < most
    }

    /// Those that have appended nothing for so long, the one that did longest ago first. One that
    /// did so under a leader whose clock was ahead is none of them, and hides none of them.
    fn idle_for(&self, time: Duration, now: Timestamp) -> impl Iterator<Item = (ProducerId, u64)> {
        let is_idle = move |last: Timestamp| now.since(last) >= time;
        let stayers = self.stayers().take_while(move |(.., last)| is_idle(*last) || *last > now);
        stayers.filter(move |(.., last)| is_idle(*last)).map(|(id, index, _)| (id, index))
    }

    /// Those with nothing on its way, not even their end, the one that was idle longest first.
    fn stayers(&self) -> impl Iterator<Item = (ProducerId, u64, Timestamp)> {
        let has_none = |id: &ProducerId| !self.ahead.has(*id) && !self.leaving.contains(id);
        self.table.oldest().filter(move |(id, ..)| has_none(id))
    }
}

/// What becomes of a proposal.
pub(super) enum Sequenced {
    /// It becomes an entry, of a batch with this sequence and this checksum if it has one.
    New(Option<(ProducerSequence, u32)>),
    /// It is a batch that is there already, to be answered when it has this durability.
    Again(Remembered, Durability),
}

impl<T> ReplicaGroup<T> {
    /// Loads what is known of the producers of a partition.
    pub(super) fn load_producers(&mut self) -> Result<(), StorageError> {
        let rows = self.log().engine_rows(PRODUCER_KEY)?;
        self.sequences.restore(self.id(), &rows)?;
        self.producers_stand();
        Ok(())
    }

    /// Tells the log how far its producers stand, for its snapshots.
    pub(super) fn producers_stand(&mut self) {
        let through = self.sequences.table.through();
        self.node.mut_store().set_producers_index(through);
    }

    /// Whether a batch is to be appended. Makes room for its producer if that is new.
    pub(super) fn check_sequence(
        &mut self,
        kind: &ProposalKind,
        now: Timestamp,
    ) -> Result<Sequenced, ProposeError> {
        let ProposalKind::Batch { draft, durability, epoch, .. } = kind else {
            return Ok(Sequenced::New(None));
        };
        let Some(sequence) = draft.sequence() else { return Ok(Sequenced::New(None)) };
        let (known, crc) = (self.sequences.known(sequence.producer), draft.payload_crc());
        let raft = &self.node.raft;
        let takes_none =
            raft.lead_transferee.is_some() || epoch.is_some_and(|epoch| epoch != raft.term);
        match check(known, sequence, draft.record_count(), crc) {
            Ok(Some(again)) => Ok(Sequenced::Again(again, *durability)),
            Err(fenced @ ProposeError::ProducerFenced { .. }) => Err(fenced),
            // Nor was the batch before it, perhaps: that is no gap that its producer has made.
            _ if takes_none => Err(ProposeError::NoLeader),
            Err(gap) => Err(gap),
            Ok(None) => {
                let bounds = self.producer_bounds;
                let gone = self.sequences.to_make_room(sequence.producer, bounds, now)?;
                self.let_go(&gone)?;
                Ok(Sequenced::New(Some((sequence, crc))))
            }
        }
    }

    /// Proposes that producers are let go.
    fn let_go(&mut self, gone: &[(ProducerId, u64)]) -> Result<(), ProposeError> {
        if gone.is_empty() {
            return Ok(());
        }
        let data = ropewalk_core::entry::Entry::encode_expire(gone);
        self.node.propose(Vec::new(), data).map_err(|_| ProposeError::Overloaded)?;
        self.sequences.leaving.extend(gone.iter().map(|(id, _)| *id));
        Ok(())
    }

    /// A batch with a sequence was proposed, and is to be answered with this receipt.
    pub(super) fn note_sequence(
        &mut self,
        (sequence, payload_crc): (ProducerSequence, u32),
        index: u64,
        receipt: &Receipt,
    ) {
        let Receipt::Appended { base_offset, record_count, append_time, leader_epoch, .. } =
            *receipt
        else {
            return;
        };
        let batch = Remembered {
            first: sequence.first,
            record_count,
            payload_crc,
            base_offset,
            append_time,
            leader_epoch,
            index,
        };
        let Sequences { table, ahead, .. } = &mut self.sequences;
        ahead.note(table, sequence.producer, sequence.epoch, batch);
    }

    /// A batch came again. It is answered as the first time, and not before the first one would be.
    pub(super) fn answer_again(
        &mut self,
        again: Remembered,
        durability: Durability,
        (reply, held): (T, Box<dyn std::any::Any + Send>),
        out: &mut Vec<Output<T>>,
    ) {
        let Remembered { base_offset, record_count, append_time, leader_epoch, index, .. } = again;
        let achieved = if index <= self.applied {
            Durability::Quorum
        } else if index <= self.log().durable_index() {
            Durability::Leader
        } else {
            Durability::None
        };
        let receipt = Receipt::Appended {
            base_offset,
            record_count,
            append_time,
            leader_epoch,
            achieved,
            duplicate: true,
        };
        if achieved >= durability {
            return out.push(Output::Reply { to: reply, result: Ok(receipt) });
        }
        let place = self.waiters.partition_point(|waiter| waiter.index <= index);
        let (receipt, reply) = (Some(receipt), Some(reply));
        // What is on its way was proposed in this term.
        let term = self.node.raft.term;
        let waiter = Waiter { index, term, durability, receipt, reply, _held: held };
        self.waiters.insert(place, waiter);
    }

    /// Lets go of producers that have been idle too long. Returns whether there were any.
    pub(crate) fn expire_producers(&mut self, now: Timestamp) -> bool {
        let may_propose =
            self.serving == Some(self.node.raft.term) && self.node.raft.lead_transferee.is_none();
        if !may_propose {
            return false;
        }
        let expiry = self.producer_bounds.expiry;
        let gone: Vec<_> = self.sequences.idle_for(expiry, now).take(MOST_EXPIRED).collect();
        if gone.is_empty() {
            return false;
        }
        self.wake();
        // Where raft has no room for it now, the next look finds them again.
        self.let_go(&gone).is_ok()
    }
}
