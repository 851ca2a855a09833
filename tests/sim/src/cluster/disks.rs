//! Writes reach disks, disks fail, processes end and start.

use std::sync::Arc;

use ropewalk_consensus::logger::tracing_logger;
use ropewalk_consensus::{CatchUpBounds, Input, KeyBounds, ProducerBounds, Shard};
use ropewalk_core::NodeId;
use ropewalk_storage::StorageError;
use ropewalk_storage::sim::Failure;

use super::{COMMANDS, Cluster, GROUPS, TAIL_BUDGET};
use crate::broker::Joining;
use crate::moments::Moment;
use crate::store::Chore;

impl Cluster {
    /// The oldest read of a broker ends, or, where there is none, its oldest write is made. Returns
    /// whether there was one.
    pub fn persist(&mut self, node: NodeId) -> bool {
        self.persist_some(node, 1)
    }

    /// The same with its oldest writes, this many at most, which are made as one.
    pub fn persist_some(&mut self, node: NodeId, count: usize) -> bool {
        let broker = self.at(node);
        if broker.is_still || broker.is_disk_still || !broker.is_up() {
            return false;
        }
        if let (Some(read), Some(engine)) = (broker.reads.pop_front(), &broker.engine) {
            let caught_up = read.carry_out(engine.as_ref());
            self.moments.note(Moment::FollowerReadFor);
            self.step(node, vec![Input::CaughtUp(caught_up)]);
            return true;
        }
        if let Some(read) = broker.key_reads.pop_front() {
            self.moments.note(Moment::KeysRead);
            self.step(node, vec![Input::KeysRead(read.carry_out())]);
            return true;
        }
        let merges = count > 1 && broker.store.queued() > 1;
        match broker.store.persist(count) {
            Ok(None) => return false,
            Ok(Some(number)) => {
                self.moments.note_if(merges, Moment::WritesMerged);
                self.step(node, vec![Input::Durable(number)]);
            }
            Err(error) => self.fail(node, &error),
        }
        true
    }

    /// The engine of a broker does something beside the writes.
    pub fn do_chore(&mut self, node: NodeId, chore: Chore) {
        let is_awaited = !self.asked.is_empty();
        let broker = self.at(node);
        if !broker.is_up() || broker.is_still || broker.is_disk_still {
            return;
        }
        let before = broker.store.done();
        if let Err(error) = broker.store.do_chore(chore) {
            return self.fail(node, &error);
        }
        let after = broker.store.done();
        let key = ("write", "redo");
        let is_checkpoint = after.get(&key) > before.get(&key);
        self.moments.note_if(is_checkpoint && is_awaited, Moment::CheckpointUnderLoad);
    }

    /// Something has failed under a broker, whose process ends with it.
    pub(super) fn fail(&mut self, node: NodeId, error: &StorageError) {
        match Failure::of(error) {
            Some(Failure::PowerCut(action, kind)) => {
                self.observe_power_cut(action, kind, false);
                self.cut_power(node, 0);
            }
            Some(Failure::Disk) => {
                self.moments.note(Moment::EioDeath);
                self.kill(node);
            }
            Some(Failure::Damage) if self.see(node).is_rotten => {
                // It would end again and again: somebody gives it another disk.
                self.kill(node);
                self.lose_disk(node);
            }
            _ => panic!("broker {node}: {error}"),
        }
    }

    /// The power of a broker's machine goes. Of what was written and not confirmed, this many
    /// writes are on the disk all the same.
    pub fn cut_power(&mut self, node: NodeId, survive: usize) {
        self.end_process(node);
        self.moments.note(Moment::PowerCut);
        let broker = self.at(node);
        let unconfirmed = broker.store.unconfirmed();
        let fate = broker.store.cut_power(survive);
        let between = fate.is_none() && survive > 0 && survive < unconfirmed;
        self.moments.note_if(between, Moment::PowerCutBetween);
        self.seen.torn.insert(node);
        self.seen.stores.insert(node, fate);
    }

    /// The same, as the scripts have it: the process ends, and the machine with it.
    pub fn crash(&mut self, node: NodeId, survive: usize) {
        self.cut_power(node, survive);
    }

    /// The process of a broker is killed; its machine goes on.
    pub fn kill(&mut self, node: NodeId) {
        if self.is_up(node) {
            self.moments.note(Moment::ProcessKilled);
        }
        self.end_process(node);
        self.at(node).store.end_process();
    }

    fn end_process(&mut self, node: NodeId) {
        let others: Vec<_> = self.nodes().into_iter().filter(|other| *other != node).collect();
        self.links.end(node, &others);
        self.at(node).end();
        // Whoever asked there hears nothing more.
        self.asked.retain(|_, asked| asked.node != node);
        self.checks.forget_reads(node);
        self.entries.forget(node);
        self.seen.forget(node);
        let is_all_down = self.brokers.iter().all(|broker| !broker.is_up());
        self.moments.note_if(is_all_down, Moment::AllDown);
    }

    /// A broker that is down loses the last writes to its disk, though it had confirmed them.
    pub fn lose_writes(&mut self, node: NodeId, count: usize) {
        self.at(node).store.lose(count);
    }

    /// A broker starts with what its disk holds. Returns whether it runs.
    pub fn start(&mut self, node: NodeId) -> bool {
        let broker = self.at(node);
        if broker.is_up() || broker.joining.is_some() {
            return broker.is_up();
        }
        let started = broker.store.start().and_then(|engine| {
            let stored = engine.groups()?;
            Ok((engine, stored))
        });
        let (engine, stored) = match started {
            Ok(started) => started,
            Err(error) => {
                match Failure::of(&error) {
                    Some(Failure::PowerCut(action, kind)) => {
                        self.observe_power_cut(action, kind, true);
                    }
                    Some(Failure::Damage) => self.moments.note(Moment::DamageAtStart),
                    _ => {}
                }
                self.fail(node, &error);
                return false;
            }
        };
        broker.stored = stored.into_iter().map(|state| (state.group, state)).collect();
        // So little that what was sent and is not acknowledged holds up the rest.
        let bounds = CatchUpBounds { bytes_per_second: 1 << 20, window: 1_024 };
        let (store, producers) = (Arc::clone(&engine), ProducerBounds::default());
        let keys = KeyBounds::default();
        let shard = Shard::new(store, TAIL_BUDGET, bounds, producers, keys, tracing_logger());
        broker.shard = Some(shard);
        broker.engine = Some(engine);
        self.observe_start(node);
        if self.follows {
            self.take_up(node, COMMANDS);
            self.follow(node);
        } else {
            GROUPS.into_iter().for_each(|group| self.take_up(node, group));
        }
        self.is_up(node)
    }

    /// A broker's disk is lost, its process with it: it starts again when the cluster has let it
    /// in with an empty one.
    pub fn lose_disk(&mut self, node: NodeId) {
        self.end_process(node);
        self.moments.note(Moment::DiskLost);
        let seed = self.seed.wrapping_mul(1_000) + 100 * self.at(node).disks as u64 + node.0;
        let broker = self.at(node);
        broker.disks += 1;
        broker.store.wipe(seed);
        broker.assigned.clear();
        broker.readers.clear();
        broker.members.clear();
        broker.damaged.clear();
        (broker.is_rotten, broker.was_rotten) = (false, false);
        broker.joining = Some(Joining::Wants);
    }
}
