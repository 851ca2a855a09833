//! Sees moments: in what brokers say, in how proposals end, in what is done to brokers.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_cluster::{MetadataCommand, MetadataError, answer};
use ropewalk_consensus::shard::MAX_WRITES_IN_FLIGHT;
use ropewalk_consensus::{
    Durability, MembershipChange, Message, MessageKind, Output, ProposalKind, ProposeError, Receipt,
};
use ropewalk_core::{GroupId, NodeId, ReplicaId};
use ropewalk_storage::sim::StoreFate;

use crate::cluster::{Asked, COMMANDS, Cluster, End, LOG};
use crate::moments::Moment;

/// What must be remembered to see some of them.
#[derive(Default)]
pub(crate) struct Seen {
    /// Who stood for election, by group and term.
    candidates: BTreeMap<(GroupId, u64), BTreeSet<ReplicaId>>,
    /// Terms that had a leader.
    led: BTreeSet<(GroupId, u64)>,
    /// Who was sent a snapshot.
    snapshots: BTreeSet<ReplicaId>,
    /// Leaders whose group sleeps; those of them that were told of a loss since.
    asleep: BTreeSet<(NodeId, GroupId)>,
    shaken: BTreeSet<(NodeId, GroupId)>,
    /// Brokers whose power was cut since they ran last, and what became of their index.
    pub(crate) torn: BTreeSet<NodeId>,
    pub(crate) stores: BTreeMap<NodeId, Option<StoreFate>>,
    /// Brokers on which a write was cut short.
    cut_short: bool,
}

impl Seen {
    /// A broker's process has ended.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.asleep.retain(|(of, _)| *of != node);
        self.shaken.retain(|(of, _)| *of != node);
    }
}

impl Cluster {
    pub(crate) fn observe(&mut self, node: NodeId, output: &Output<u64>) {
        match output {
            Output::Send(message) => self.observe_sent(node, message),
            Output::Write { .. } => {
                let queued = self.see(node).store.queued() + 1;
                self.moments.note_if(queued == MAX_WRITES_IN_FLIGHT, Moment::DiskSlow);
            }
            Output::Leader { group, leader, term } => {
                if leader.is_some() {
                    let is_new = self.seen.led.insert((*group, *term));
                    let waits = self.asked.values().any(|asked| asked.group == *group);
                    self.moments.note_if(is_new && waits, Moment::LeaderChangedUnderLoad);
                    self.observe_splits(*group, *term);
                }
            }
            Output::Leadership { group, epoch: Some(_) } => {
                let other = |other: &&crate::broker::Broker| {
                    other.node != node && other.is_up() && other.serves.contains_key(group)
                };
                let other = self.brokers.iter().find(other).map(|other| other.is_still);
                self.moments.note_if(other.is_some(), Moment::TwoServe);
                self.moments.note_if(other == Some(true), Moment::LeaderStoodStill);
            }
            Output::Leadership { epoch: None, .. }
            | Output::Reply { .. }
            | Output::Opened { .. }
            | Output::Progress { .. }
            | Output::Members { .. }
            | Output::Damaged { .. }
            | Output::Stale { .. }
            | Output::Read(_)
            | Output::ReadKeys(_) => {}
            Output::Compact { .. } => self.moments.note(Moment::CompactionOrdered),
        }
    }

    /// Terms below this one that had candidates and no leader.
    fn observe_splits(&mut self, group: GroupId, term: u64) {
        let earlier: Vec<_> = self.seen.candidates.range((group, 0)..(group, term)).collect();
        let split =
            earlier.iter().filter(|(term, of)| of.len() > 1 && !self.seen.led.contains(term));
        for _ in 0..split.count() {
            self.moments.note(Moment::VoteSplit);
        }
        self.seen.candidates.retain(|(of, earlier), _| *of != group || *earlier >= term);
    }

    fn observe_sent(&mut self, node: NodeId, message: &Message) {
        let group = message.group;
        let place = (node, group);
        let moments = &mut self.moments;
        if message.quiesce && message.kind == MessageKind::Heartbeat {
            self.seen.asleep.insert(place);
            self.seen.shaken.remove(&place);
            return moments.note(Moment::GroupSlept);
        }
        self.seen.asleep.remove(&place);
        moments.note_if(self.seen.shaken.remove(&place), Moment::WokenByLoss);
        let refuses = message.reject;
        match message.kind {
            MessageKind::Vote => {
                let of = self.seen.candidates.entry((group, message.term)).or_default();
                let is_new = of.insert(message.from);
                moments.note_if(is_new && of.len() == 2, Moment::TwoCandidates);
            }
            MessageKind::VoteResponse => moments.note_if(refuses, Moment::VoteRefused),
            MessageKind::PreVoteResponse => moments.note_if(refuses, Moment::PreVoteRefused),
            MessageKind::AppendResponse => moments.note_if(refuses, Moment::AppendRefused),
            MessageKind::Append => {
                moments.note_if(message.entries.len() > 1, Moment::AppendsJoined);
            }
            MessageKind::Snapshot => {
                let is_new = self.seen.snapshots.insert(message.to);
                let moment = if is_new { Moment::SnapshotSent } else { Moment::SnapshotSentAgain };
                moments.note(moment);
            }
            MessageKind::HeartbeatResponse => {
                moments.note_if(message.quiesce, Moment::MarkRefused);
            }
            MessageKind::Heartbeat | MessageKind::PreVote | MessageKind::TimeoutNow => {}
        }
    }

    pub(crate) fn observe_cut(&mut self, from: NodeId, to: NodeId) {
        let is_one_way = !self.cut.contains(&(to, from));
        self.moments.note(if is_one_way { Moment::CutOneWay } else { Moment::CutBothWays });
    }

    pub(crate) fn observe_delivery(&mut self, message: &Message, place: usize) {
        let assigned = self.see(message.to.node()).assigned.get(&message.group);
        let is_void = assigned.is_none_or(|assigned| assigned.replica != message.to);
        self.moments.note_if(is_void, Moment::VoidReplicaHeard);
        let has_rows = message.snapshot.as_ref().is_some_and(|info| !info.rows.is_empty());
        let is_commands = message.group == COMMANDS;
        self.moments.note_if(has_rows && !is_void && is_commands, Moment::RowsInstalled);
        self.moments.note_if(has_rows && !is_void && !is_commands, Moment::ProducersInSnapshot);
        let heir = message.kind == MessageKind::TimeoutNow && self.is_up(message.to.node());
        self.moments.note_if(heir, Moment::TransferTaken);
        self.moments.note_if(place > 0, Moment::MessageOvertaken);
    }

    /// A broker is about to be told that another one is out of reach.
    pub(crate) fn observe_loss_of(&mut self, node: NodeId) {
        let asleep = self.seen.asleep.iter().copied().filter(|(of, _)| *of == node);
        self.seen.shaken.extend(asleep);
    }

    pub(crate) fn observe_power_cut(
        &mut self,
        action: &'static str,
        kind: &'static str,
        starts: bool,
    ) {
        let moments = &mut self.moments;
        moments.note_if(starts, Moment::CutInStart);
        moments.note_if(kind == "journal", Moment::CutInJournal);
        moments.note_if(kind == "segment", Moment::CutInSegment);
        moments.note_if(matches!(kind, "redo" | "redo.new"), Moment::CutInCheckpoint);
        self.seen.cut_short = action == "write";
    }

    /// The engine of a broker has started.
    pub(crate) fn observe_start(&mut self, node: NodeId) {
        let was_torn = self.seen.torn.remove(&node);
        let fate = self.seen.stores.remove(&node).flatten();
        let cut_short = std::mem::take(&mut self.seen.cut_short);
        let done = self.see(node).store.done();
        let count = |what, kind| done.get(&(what, kind)).copied().unwrap_or(0);
        let has_checkpoint = count("write", "redo") > 2 || count("write", "redo.new") > 2;
        let moments = &mut self.moments;
        moments.note_if(was_torn && cut_short, Moment::TornWriteSurvived);
        moments.note_if(has_checkpoint, Moment::RestartFromCheckpoint);
        let is_anew = fate.is_some_and(|fate| fate != StoreFate::Kept) && has_checkpoint;
        moments.note_if(is_anew, Moment::IndexMadeAnew);
        moments.note_if(count("create", "segment") > 0, Moment::SegmentMade);
        let begun = count("begin", "journal");
        moments.note_if(begun > 2 * count("create", "journal"), Moment::JournalRecycled);
    }

    pub(crate) fn observe_end(&mut self, asked: &Asked, end: &End) {
        let moments = &mut self.moments;
        let receipt = match end {
            Ok(receipt) => receipt,
            Err(error) => return self.observe_error(asked, error),
        };
        match (receipt, &asked.kind) {
            (Receipt::Appended { achieved, .. }, _) => moments.note(match achieved {
                Durability::None => Moment::AckedByNobody,
                Durability::Leader => Moment::AckedByLeader,
                Durability::Quorum => Moment::AckedByQuorum,
            }),
            (Receipt::Trimmed(_), _) => moments.note(Moment::Trimmed),
            (Receipt::Applied(response), ProposalKind::Command(command)) => {
                self.observe_command(command, response);
            }
            (Receipt::Applied(_), _) => moments.note(Moment::IndexRead),
            (Receipt::Bounds { .. }, _) => moments.note(Moment::BoundsRead),
            (Receipt::Done, ProposalKind::Membership(change)) => moments.note(match change {
                MembershipChange::AddLearner(_) => Moment::LearnerAdded,
                MembershipChange::Promote(_) => Moment::LearnerPromoted,
                MembershipChange::Remove(_) => Moment::MemberRemoved,
            }),
            (Receipt::Done, _) => moments.note(Moment::TransferBegun),
            (Receipt::Progress { .. }, _) => {}
        }
        let is_again = matches!(end, Ok(Receipt::Appended { duplicate: true, .. }));
        self.moments.note_if(is_again, Moment::AnsweredAgain);
        let is_quorum = matches!(end, Ok(Receipt::Appended { achieved: Durability::Quorum, .. }));
        let writes = self.see(asked.node).store.queued() > 0;
        self.moments.note_if(is_quorum && writes, Moment::QuorumWithoutLeader);
        if let Ok(Receipt::Trimmed(start)) = end {
            let is_behind = |broker: &crate::broker::Broker| {
                let reader = broker.readers.get(&LOG).filter(|_| broker.is_up());
                reader.is_some_and(|reader| reader.bounds().high_watermark < *start)
            };
            let is_over = self.brokers.iter().any(is_behind);
            self.moments.note_if(is_over, Moment::TrimmedOverFollower);
        }
        let reader = self.see(asked.node).readers.get(&LOG);
        let is_closed = reader.is_some_and(|reader| reader.segments().len() > 1);
        self.moments.note_if(is_closed, Moment::SegmentClosed);
    }

    fn observe_error(&mut self, asked: &Asked, error: &ProposeError) {
        let is_read = matches!(asked.kind, ProposalKind::Bounds | ProposalKind::Query(_));
        let moments = &mut self.moments;
        match error {
            ProposeError::NoGroup => moments.note(Moment::FailedWithoutGroup),
            ProposeError::NoLeader => {
                // One that is asked where nobody leads ends in the step in which it is asked.
                moments.note(Moment::FailedWithoutLeader);
            }
            ProposeError::OutOfRange { .. } => moments.note(Moment::TrimOutOfRange),
            ProposeError::Behind(_) => moments.note(match asked.kind {
                ProposalKind::Membership(_) => Moment::PromotionBehind,
                _ => Moment::TransferBehind,
            }),
            ProposeError::Members => moments.note(Moment::ChangeRefused),
            ProposeError::LeaderChanged { .. } => moments.note(Moment::FailedByTermChange),
            ProposeError::SequenceGap { .. } => moments.note(Moment::SequenceMissing),
            ProposeError::ProducerFenced { .. } => moments.note(Moment::ProducerFenced),
            ProposeError::ExpectedVersion { .. } => moments.note(Moment::VersionMissed),
            ProposeError::KeysUnread
            | ProposeError::KeysDamaged { .. }
            | ProposeError::TooManyKeys { .. }
            | ProposeError::ExpectedOffset { .. }
            | ProposeError::StorageFull { .. }
            | ProposeError::TooManyProducers { .. }
            | ProposeError::Overloaded => {}
        }
        let ended = is_read && *error == ProposeError::NoLeader && self.has_waited(asked);
        self.moments.note_if(ended, Moment::ReadFailed);
    }

    fn observe_command(&mut self, command: &[u8], response: &[u8]) {
        let (index, answer) = answer::decode_applied(response).unwrap();
        let moments = &mut self.moments;
        match &answer {
            Err(_) if index == 0 => moments.note(Moment::CommandNotKnown),
            Ok(_) => moments.note(Moment::CommandAccepted),
            Err(MetadataError::Malformed(_)) => moments.note(Moment::CommandMalformed),
            Err(_) => moments.note(Moment::CommandRejected),
        }
        let (Ok(reply), Ok(command)) = (answer, MetadataCommand::decode(command)) else { return };
        match command {
            MetadataCommand::CreateTopic { .. } => moments.note(Moment::TopicCreated),
            MetadataCommand::DeleteTopic { .. } => moments.note(Moment::TopicDeleted),
            MetadataCommand::RegisterBroker(registration) => {
                let is_new = reply.broker.is_some_and(|b| b.metadata_replica.serial() > 0);
                let is_other = registration.directory[8] > 1;
                moments.note_if(is_new && is_other, Moment::DirectoryChanged);
            }
            MetadataCommand::ReplaceReplica { .. } => moments.note(Moment::ReplicaReplaced),
            _ => {}
        }
    }
}
