//! Bugs that can be planted, to show that the tests find them.
//!
//! Only with the feature `planted`, which no release has: without it nothing here is ever true, and
//! nothing is read. With it, the environment's `ROPEWALK_PLANT` names the bug of a process, and
//! [`with`] plants one for as long as a test needs it. One list for all crates from here on: a name
//! means one bug.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Writes count as durable that were not synced.
    AckBeforeSync,
    /// The leader's disk is enough for an answer that says that a majority has it.
    AckAtLeader,
    /// A new leader serves before an entry of its own term is committed.
    ServeBeforeNoop,
    /// The disk does not know for whom was voted in its term.
    ForgetVote,
    /// Votes and acknowledgements leave before what they promise is durable.
    PromiseBeforeSync,
    /// A vote is given to a candidate that lacks entries: what is committed is replaced.
    VoteForAnyone,
    /// A leader says where a log ends without asking whether it still leads.
    StaleBounds,
    /// Records can be read before they are committed.
    ServeBeyondCommit,
    /// A broker says where a log ends by what its own replica knows.
    FollowerBounds,
    /// A leader answers for the metadata without asking whether it still leads.
    StaleQuery,
    /// A start applies the last command once more.
    ApplyTwice,
    /// A learner that has an entry counts as a voter that has it.
    LearnerCounts,
    /// A start does not know that the changes of the members before the last one in its log are
    /// committed.
    ForgetChanges,
    /// What is not committed is trimmed too.
    TrimBeyondCommit,
    /// A broker that lost its disk gets the ids back that its replicas had.
    OldIdsAfterWipe,
    /// A damaged frame in the middle of the journal is taken for its end.
    CutAtDamage,
    /// A file of the journal is written again before the index has what it holds.
    RecycleEarly,
    /// A chunk is given out whatever its checksum says.
    ServeDamaged,
    /// What is known of producers is lost in a restart, and not in snapshots.
    ForgetProducers,
    /// Tombstones go whether every member has had them or not.
    ForgetTombstones,
    /// A leader that leads again knows the versions of keys from before.
    KeepVersions,
    /// Every commit of a member counts, whoever has the partition.
    StaleCommits,
    /// A partition is taken from a member before its time to give it back is over.
    TakeEarly,
    /// A restart does not know what members committed.
    ForgetCommits,
    /// A committed offset is taken for the last one that was read.
    BeginLater,
}

impl Plant {
    /// All of them, and their names.
    pub const ALL: [(&'static str, Self); 25] = [
        ("ack_before_sync", Self::AckBeforeSync),
        ("ack_at_leader", Self::AckAtLeader),
        ("serve_before_noop", Self::ServeBeforeNoop),
        ("forget_vote", Self::ForgetVote),
        ("promise_before_sync", Self::PromiseBeforeSync),
        ("vote_for_anyone", Self::VoteForAnyone),
        ("stale_bounds", Self::StaleBounds),
        ("serve_beyond_commit", Self::ServeBeyondCommit),
        ("follower_bounds", Self::FollowerBounds),
        ("stale_query", Self::StaleQuery),
        ("apply_twice", Self::ApplyTwice),
        ("learner_counts", Self::LearnerCounts),
        ("forget_changes", Self::ForgetChanges),
        ("trim_beyond_commit", Self::TrimBeyondCommit),
        ("old_ids_after_wipe", Self::OldIdsAfterWipe),
        ("cut_at_damage", Self::CutAtDamage),
        ("recycle_early", Self::RecycleEarly),
        ("serve_damaged", Self::ServeDamaged),
        ("forget_producers", Self::ForgetProducers),
        ("forget_tombstones", Self::ForgetTombstones),
        ("keep_versions", Self::KeepVersions),
        ("stale_commits", Self::StaleCommits),
        ("take_early", Self::TakeEarly),
        ("forget_commits", Self::ForgetCommits),
        ("begin_later", Self::BeginLater),
    ];

    /// Whether it was planted.
    #[cfg(not(feature = "planted"))]
    #[must_use]
    pub const fn is_planted(self) -> bool {
        false
    }

    /// Whether it was planted.
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn is_planted(self) -> bool {
        on::is_planted(self)
    }
}

#[cfg(feature = "planted")]
pub use on::with;

#[cfg(feature = "planted")]
mod on {
    use std::cell::Cell;
    use std::sync::OnceLock;

    use super::Plant;

    /// Names the bug of the process.
    const VARIABLE: &str = "ROPEWALK_PLANT";

    thread_local! {
        static OF_THREAD: Cell<Option<Plant>> = const { Cell::new(None) };
    }
    static OF_PROCESS: OnceLock<Option<Plant>> = OnceLock::new();

    pub(super) fn is_planted(plant: Plant) -> bool {
        let of_thread = OF_THREAD.get();
        of_thread.or_else(|| *OF_PROCESS.get_or_init(named)) == Some(plant)
    }

    /// Does something with a bug in what this thread does.
    pub fn with<R>(plant: Plant, act: impl FnOnce() -> R) -> R {
        let _planted = Planted::new(plant);
        act()
    }

    /// Also what panics leaves no bug behind.
    struct Planted;

    impl Planted {
        fn new(plant: Plant) -> Self {
            OF_THREAD.set(Some(plant));
            Self
        }
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            OF_THREAD.set(None);
        }
    }

    fn named() -> Option<Plant> {
        let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
        let found = Plant::ALL.iter().find(|(known, _)| *known == name);
        let Some((_, plant)) = found else {
            let names = Plant::ALL.map(|(name, _)| name).join(", ");
            panic!("{VARIABLE} is {name}, and must be one of {names}");
        };
        tracing::warn!(name, "a bug is planted in this broker");
        Some(*plant)
    }
}
