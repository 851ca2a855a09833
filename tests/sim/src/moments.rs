//! What must have happened somewhere in many lives, else they prove little.
//!
//! The driver notes a moment when it sees it, in what the brokers say and in what it does to them;
//! nothing in the brokers knows of it.

use std::fmt;

macro_rules! moments {
    ($($name:ident: $text:literal,)*) => {
        /// Something that happens now and then.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Moment {
            $(#[doc = concat!("It happens: ", $text, ".")] $name,)*
        }

        impl Moment {
            /// All of them, and what they are called.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $text),)*];
        }
    };
}

moments! {
    // Who leads.
    LeaderChangedUnderLoad: "another leader while somebody waits for an answer",
    TwoCandidates: "two candidates in one term",
    VoteSplit: "a term with candidates and no leader",
    VoteRefused: "a vote refused",
    PreVoteRefused: "a vote refused before a term was spent on it",
    TwoServe: "two brokers say that they serve, in two terms",
    LeaderStoodStill: "a leader stood still while another was elected",
    TransferBegun: "a leader hands over",
    TransferTaken: "an heir is told to stand for election at once",
    // Appends.
    AppendRefused: "an append refused by a follower",
    AppendsJoined: "several entries in one append",
    EntriesReplaced: "entries replaced by those of a later leader",
    QuorumWithoutLeader: "a majority's disks before the leader's",
    AckedByLeader: "an answer when the leader's disk had it",
    AckedByNobody: "an answer before any disk had it",
    AckedByQuorum: "an answer when a majority had it",
    LeaderAckLost: "records lost that only the leader's disk had",
    // Idempotent producers.
    AnsweredAgain: "a batch that came twice answered as the first time",
    SequenceMissing: "a batch refused as one before it is missing",
    ProducerFenced: "a batch of an epoch that is over refused",
    ProducersInSnapshot: "a snapshot that carries producers",
    // Versions of keys.
    KeysRead: "the keys of a log read",
    VersionMet: "an append on the version of a key",
    VersionMissed: "an append refused as the key has another version",
    // Proposals that end otherwise.
    FailedByTermChange: "a proposal failed by a change of the term",
    FailedWithoutLeader: "a proposal where nobody leads",
    FailedWithoutGroup: "a proposal where the group is not",
    TrimOutOfRange: "a trim beyond the end",
    TransferBehind: "a transfer to one that is behind",
    ChangeRefused: "a change that the members do not allow",
    PromotionBehind: "a learner that is behind is not promoted",
    ReadFailed: "a read that ended with its leader",
    // Reads and trims.
    BoundsRead: "the ends of a log read",
    IndexRead: "the index of the metadata read",
    Trimmed: "a trim",
    FollowerReadFor: "what a follower lacks read for it",
    TrimmedOverFollower: "a trim beyond what a follower has",
    SegmentClosed: "a segment of a log closed",
    // Compaction.
    CompactionOrdered: "a compaction ordered",
    CompactionDone: "a compaction carried out",
    CompactionCutShort: "a compaction that did not come to its end",
    TombstoneGone: "a tombstone gone, and its key with it",
    EndedGone: "a record gone whose own time was over, and its key with it",
    // Members.
    SnapshotSent: "a snapshot sent",
    SnapshotSentAgain: "a snapshot sent again",
    RowsInstalled: "the rows of a snapshot installed",
    LearnerAdded: "a learner added",
    LearnerPromoted: "a learner promoted",
    MemberRemoved: "a member removed",
    HandedOverToLeave: "a leader hands over because it is to go",
    ReplicaMoved: "a replica moved to another broker",
    ReplicaCameBack: "a replica back on its broker before it had left",
    ReplicaReplaced: "a replica replaced under a new id",
    VoidReplicaHeard: "a message for a replica that is no more",
    // The metadata.
    CommandAccepted: "a command carried out",
    CommandRejected: "a command rejected",
    CommandMalformed: "bytes that are no command",
    CommandNotKnown: "a command of a later version, which is not proposed",
    TopicCreated: "a topic created",
    TopicDeleted: "a topic deleted",
    DirectoryChanged: "a broker registered with another disk",
    // Sleep.
    GroupSlept: "a group fell asleep",
    MarkRefused: "a follower refused to sleep",
    WokenByLoss: "a group woken by the loss of a broker",
    // The network.
    MessageLost: "a message lost",
    MessageDoubled: "a message delivered twice",
    MessageOvertaken: "a message delivered before an older one",
    CutOneWay: "a message lost on a way that is cut while the other way is not",
    CutBothWays: "a broker cut off",
    // Disks.
    ProcessKilled: "a process killed",
    PowerCut: "power cut",
    PowerCutBetween: "power cut between two writes, of which one was kept",
    AllDown: "all brokers down",
    DiskLost: "a disk lost",
    DiskSlow: "as many writes under way as there may be",
    WritesMerged: "several writes made as one",
    EioDeath: "a broker ended by EIO",
    CutInJournal: "power cut while the journal was written",
    CutInCheckpoint: "power cut during a checkpoint",
    CutInSegment: "power cut while a segment was written",
    CutInStart: "power cut during a start",
    TornWriteSurvived: "a start after a write that was cut short",
    CheckpointUnderLoad: "a checkpoint while somebody waits for an answer",
    SegmentMade: "a segment file made",
    JournalRecycled: "a file of the journal used again",
    RestartFromCheckpoint: "a start from a checkpoint",
    IndexMadeAnew: "the index made anew from its redo file",
    DamageRead: "a damaged chunk found by a reader",
    DamageMetByFollower: "a damaged chunk that a follower needs",
    DamageAtStart: "a damaged journal found at a start",
    DamagedReplaced: "a replica that cannot be read replaced",
    // Clocks.
    ClockBack: "a clock jumped back",
    ClockForward: "a clock jumped forward",
    TicksUneven: "brokers that ticked unlike",
    // Majorities that must do without the others for ever.
    WithoutDown: "progress without a broker that is down for ever",
    WithoutDeaf: "progress beside a broker that hears nobody for ever",
    WithoutMute: "progress beside a broker that nobody hears for ever",
    WithoutCut: "progress beside a broker that is cut off for ever",
    WithoutDisk: "progress beside a broker whose disk stands still for ever",
}

/// How often each moment was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moments(Vec<u64>);

impl Default for Moments {
    fn default() -> Self {
        Self(vec![0; Moment::ALL.len()])
    }
}

impl Moments {
    /// A moment is seen.
    pub fn note(&mut self, moment: Moment) {
        self.0[moment as usize] += 1;
    }

    /// A moment is seen if something is so.
    pub fn note_if(&mut self, is_so: bool, moment: Moment) {
        if is_so {
            self.note(moment);
        }
    }

    /// Whether it was seen.
    #[must_use]
    pub fn has(&self, moment: Moment) -> bool {
        self.0[moment as usize] > 0
    }

    /// Takes in those of another life.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(count, other)| *count += other);
    }

    /// Those that were never seen, by name.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = Moment::ALL.iter().filter(|(moment, _)| !self.has(*moment));
        missing.map(|(_, name)| *name).collect()
    }
}

impl fmt::Display for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((_, name), count) in Moment::ALL.iter().zip(&self.0) {
            writeln!(f, "{count:>9}  {name}")?;
        }
        Ok(())
    }
}
