//! All is mended: everybody comes to agree, and the groups take and answer.

use ropewalk_consensus::{Durability, ProposalKind, Receipt};
use ropewalk_core::{NodeId, Timestamp};

use super::Life;
use crate::cluster::{COMMANDS, Cluster, GROUPS, LOG, trim};
use crate::moments::Moment;

impl Life {
    /// Everything works again, from now on.
    pub(super) fn mend_all(&mut self) {
        self.cluster.cut.clear();
        for node in self.cluster.nodes() {
            self.mend_broker(node);
        }
        self.cluster.tell_all();
    }

    /// A broker works again, and starts.
    pub(super) fn mend_broker(&mut self, node: NodeId) {
        self.wake(node);
        let broker = self.cluster.at(node);
        broker.is_disk_still = false;
        if let Some(machine) = broker.store.machine() {
            machine.disarm();
        }
        self.cluster.start(node);
    }

    pub(super) fn heal(&mut self) {
        self.mend_all();
        self.cluster.run(60);
        // Who sleeps beside a leader that was removed, and was not told, looks for it in the end.
        let all_led = |cluster: &Cluster| GROUPS.iter().all(|g| cluster.leader(*g).is_some());
        for _ in 0..125 {
            if all_led(&self.cluster) {
                break;
            }
            self.cluster.run(100);
        }
        assert!(all_led(&self.cluster), "nobody leads: {:?}", self.who_leads());
        // What was proposed to the metadata long ago is carried out by then, or never.
        let command = || ProposalKind::Command(Vec::new());
        assert!(matches!(self.cluster.insist(COMMANDS, command), Receipt::Applied(_)));
        self.cluster.run(5);
        self.settle();
        assert!(matches!(self.cluster.insist(LOG, || trim(0)), Receipt::Trimmed(_)));
        let leader = self.cluster.leader(LOG).unwrap();
        let last = self.cluster.produce(leader, 1, Durability::Quorum);
        self.cluster.run(40);
        assert!(matches!(self.cluster.ends.get(&last), Some(Ok(_))));
        self.finish_producers();
        self.compact_all();
        self.agree();
        self.cluster.fall_asleep();
    }

    /// What each broker knows of a leader, and of its members.
    fn who_leads(&self) -> Vec<String> {
        let told = |broker: &crate::broker::Broker| {
            format!(
                "broker {}: leaders {:?}, serves {:?}, members {:?}, damaged {:?}, joining {:?}",
                broker.node,
                broker.leaders,
                broker.serves,
                broker.members,
                broker.damaged,
                broker.joining
            )
        };
        self.cluster.brokers.iter().map(told).collect()
    }

    /// Every group comes to have the members that it is to have, and what cannot be read goes.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.cluster.bring_along();
            self.cluster.run(3);
            self.mend_all();
            if self.cluster.is_changing(0) {
                self.look_for_damage();
            } else if !self.look_for_damage() {
                return;
            }
        }
        let of = |broker: &crate::broker::Broker| {
            (broker.node, broker.joining, broker.is_rotten, broker.damaged.clone())
        };
        let brokers: Vec<_> = self.cluster.brokers.iter().map(of).collect();
        let members: Vec<_> =
            self.cluster.brokers.iter().map(|broker| broker.members.clone()).collect();
        panic!("the members do not come to what they are to be: {brokers:?}, {members:?}");
    }

    /// Reads all logs whole. Returns whether one cannot be read.
    fn look_for_damage(&mut self) -> bool {
        let mut is_damaged = false;
        for node in self.cluster.nodes() {
            if !self.cluster.see(node).is_rotten {
                continue;
            }
            // Nothing of it is in memory after a start: the disk is read.
            self.cluster.kill(node);
            self.cluster.start(node);
            let broker = self.cluster.at(node);
            if !broker.is_up() {
                continue;
            }
            if !broker.readers.contains_key(&LOG) {
                // What has turned was of a replica that is gone.
                (broker.is_rotten, broker.was_rotten) = (false, false);
                continue;
            }
            let is_whole =
                self.cluster.try_log(node).is_ok() && self.cluster.try_entries(node).is_ok();
            let broker = self.cluster.at(node);
            // Where the bit that has turned is none that counts, all is well.
            (broker.is_rotten, broker.was_rotten) = (!is_whole, false);
            if !is_whole && broker.damaged.insert(LOG) {
                self.cluster.moments.note(Moment::DamageRead);
            }
            is_damaged |= !is_whole;
        }
        is_damaged
    }

    /// Every replica of the partition carries out what was ordered, and the leader gives the last
    /// orders: what was superseded goes, and then what ended it.
    fn compact_all(&mut self) {
        for _ in 0..3 {
            for node in self.cluster.nodes() {
                for _ in 0..3 {
                    self.cluster.compact(node, u64::MAX);
                }
            }
            self.cluster.run(10);
        }
        for _ in 0..2 {
            let leader = self.cluster.leader(LOG).unwrap();
            self.cluster.order_compaction(leader, true, false);
            self.cluster.run(10);
            for node in self.cluster.nodes() {
                if self.cluster.see(node).readers.contains_key(&LOG) {
                    assert!(self.cluster.compact(node, u64::MAX), "broker {node} does not compact");
                }
            }
            self.cluster.run(10);
        }
    }

    /// All brokers have the same.
    fn agree(&mut self) {
        let leader = self.cluster.leader(LOG).unwrap();
        let log = self.cluster.log(leader);
        let bounds = self.cluster.bounds(leader);
        let records = self.cluster.records(leader);
        for node in self.cluster.nodes() {
            self.cluster.checks.forget_reads(node);
            if self.cluster.see(node).readers.contains_key(&LOG) {
                assert_eq!(self.cluster.bounds(node), bounds, "bounds of broker {node}");
                assert_eq!(self.cluster.log(node), log, "log of broker {node}");
                assert_eq!(self.cluster.records(node), records, "records of broker {node}");
            }
        }
        let replicas = self.cluster.brokers.iter().filter(|b| b.readers.contains_key(&LOG));
        assert_eq!(replicas.count() as u64, self.cluster.log_replicas(), "replicas of the log");
        self.cluster.check_logs();
        self.cluster.checks.finish(bounds.0);
        let done = self.cluster.see(leader).readers[&LOG].compaction().done;
        let ended_before = done.map_or(Timestamp::MIN, |done| done.order.clean_up.ended_before);
        let gone = self.cluster.checks.keys_are_right(bounds.0, &records, ended_before);
        self.cluster.moments.note_if(gone.tombstones, Moment::TombstoneGone);
        self.cluster.moments.note_if(gone.ended, Moment::EndedGone);
        let lost = self.cluster.checks.has_lost_weakly_acked(bounds.0);
        self.cluster.moments.note_if(lost, Moment::LeaderAckLost);
        assert_eq!(self.cluster.damaged, [], "what is damaged was not replaced");
        let last = self.cluster.ledger.lock().unwrap().last();
        let states = self.cluster.metadata_states();
        let all = [(last, self.cluster.brokers.len())].into();
        assert_eq!(states, all, "some broker has other metadata than the commands lead to");
    }
}
