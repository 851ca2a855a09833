//! Reading the keys of partitions on which conditional appends were asked for: how many at a time,
//! who waits for it, and how many keys are known together.
//!
//! A leader learns the versions of keys from its log, when the first conditional append on one of
//! them comes, and keeps them up to date by what it appends afterwards (`group/keys.rs`). The log
//! is read off the shard's thread, a part at a time ([`KeyRead`]); who needs the keys waits, within
//! bounds. Others do not wait for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ropewalk_core::versions::{KEY_BYTES, KeyRun};
use ropewalk_core::{GroupId, Offset, Timestamp, limits};
use ropewalk_storage::StorageError;
use ropewalk_storage::log_view::{Cursor, LogReader, ReadOutcome};

use crate::proposal::Proposal;

/// Reads of keys that one shard has under way at a time.
pub const MAX_KEY_READS: usize = 2;
/// One read takes this many bytes at most, unless a single batch is larger.
const READ_BYTES: usize = 1024 * 1024;
/// No more than this passes between two inputs: ticks come ten times as often.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// How many keys a shard knows the versions of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBounds {
    /// So many, of all its groups together.
    pub max: u64,
}

impl KeyBounds {
    /// As many as fit into so many bytes of memory.
    #[must_use]
    pub fn within(bytes: u64) -> Self {
        Self { max: bytes / KEY_BYTES }
    }
}

impl Default for KeyBounds {
    /// A hundred thousand.
    fn default() -> Self {
        Self { max: 100_000 }
    }
}

/// How many keys the groups of a shard know together, of how many, and the time by which they are
/// forgotten. Shared by them; one thread uses it.
#[derive(Clone)]
pub(crate) struct KeyRoom {
    taken: Arc<AtomicU64>,
    most: u64,
    /// The wall clock at the last input, and the nanoseconds that have passed.
    seen: Arc<AtomicI64>,
    passed: Arc<AtomicU64>,
}

impl KeyRoom {
    pub(crate) fn new(bounds: KeyBounds) -> Self {
        let (taken, seen, passed) = (Arc::default(), Arc::default(), Arc::default());
        Self { taken, most: bounds.max, seen, passed }
    }

    /// An input comes. However the wall clock jumps meanwhile, little time has passed.
    pub(crate) fn note_time(&self, now: Timestamp) {
        let seen = Timestamp(self.seen.swap(now.0, Ordering::Relaxed));
        let passed = now.since(seen).min(LONGEST_STEP).as_nanos();
        self.passed.fetch_add(u64::try_from(passed).unwrap_or(0), Ordering::Relaxed);
    }

    /// The time that has passed. It never goes back.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_nanos(self.passed.load(Ordering::Relaxed))
    }

    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// One that had room for so many has so many from now on. Returns whether there was room.
    pub(crate) fn change(&self, from: usize, to: usize) -> bool {
        let others = self.taken.load(Ordering::Relaxed) - from as u64;
        let is_room = to <= from || others + to as u64 <= self.most;
        if is_room {
            self.taken.store(others + to as u64, Ordering::Relaxed);
        }
        is_room
    }
}

/// A part of a group's log whose keys are to be read. Answered by
/// [`Input::KeysRead`](crate::Input::KeysRead).
pub struct KeyRead {
    pub(crate) group: GroupId,
    pub(crate) incarnation: u64,
    pub(crate) term: u64,
    /// How often the group has forgotten its keys.
    pub(crate) forgotten: u64,
    pub(crate) reader: LogReader,
    pub(crate) from: Offset,
}

/// The keys of a part of a log.
pub struct KeysRead {
    pub(crate) group: GroupId,
    pub(crate) incarnation: u64,
    pub(crate) term: u64,
    pub(crate) forgotten: u64,
    /// The offsets that were read, and the keys there.
    pub(crate) found: Result<(Range<Offset>, KeyRun), StorageError>,
}

impl KeyRead {
    /// The group whose log it is.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Reads it. Waits for the disk, and decompresses.
    #[must_use]
    pub fn carry_out(self) -> KeysRead {
        let Self { group, incarnation, term, forgotten, reader, from } = self;
        let found = reader.read(Cursor::at(from), READ_BYTES).map(|outcome| match outcome {
            ReadOutcome::Batches { batches, .. } => {
                let (keys, end) = KeyRun::of_stored(&batches, from);
                (from..end, keys)
            }
            ReadOutcome::Trimmed(start) => (from..start, KeyRun::default()),
            ReadOutcome::End | ReadOutcome::Cold => (from..from, KeyRun::default()),
        });
        KeysRead { group, incarnation, term, forgotten, found }
    }
}

impl KeysRead {
    /// The group whose log was read.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }
}

/// A proposal that waits, and until when.
struct Waiting<T> {
    proposal: Proposal<T>,
    until: Duration,
    bytes: usize,
}

/// What waits for keys, and whose turn it is to be read.
pub(crate) struct Keyed<T> {
    /// Groups that know some of their keys, or were asked for them.
    groups: BTreeSet<GroupId>,
    waiting: BTreeMap<GroupId, VecDeque<Waiting<T>>>,
    waiting_bytes: usize,
    /// Groups with something to read.
    unread: BTreeSet<GroupId>,
    /// The group that was read last.
    at: GroupId,
    reading: usize,
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self {
            groups: BTreeSet::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            unread: BTreeSet::new(),
            at: GroupId(0),
            reading: 0,
        }
    }
}

impl<T> Keyed<T> {
    /// A group knows some of its keys.
    pub(crate) fn note(&mut self, group: GroupId) {
        self.groups.insert(group);
    }

    /// A proposal of `bytes` waits for the keys of its group. It is given back where there is no
    /// room for it.
    pub(crate) fn wait(
        &mut self,
        now: Duration,
        group: GroupId,
        proposal: Proposal<T>,
        bytes: usize,
    ) -> Option<Proposal<T>> {
        self.groups.insert(group);
        self.unread.insert(group);
        let waiting = self.waiting.entry(group).or_default();
        let is_full = self.waiting_bytes > 0
            && self.waiting_bytes + bytes > limits::AWAITING_KEYS_BYTES
            || waiting.len() == limits::MAX_APPENDS_AWAITING_KEYS;
        if is_full {
            return Some(proposal);
        }
        self.waiting_bytes += bytes;
        let until = now + limits::KEYS_TIMEOUT;
        waiting.push_back(Waiting { proposal, until, bytes });
        None
    }

    /// Takes out what waits for the keys of a group, oldest first.
    pub(crate) fn take(&mut self, group: GroupId) -> Vec<Proposal<T>> {
        let waiting = self.waiting.remove(&group).unwrap_or_default();
        self.waiting_bytes -= waiting.iter().map(|one| one.bytes).sum::<usize>();
        waiting.into_iter().map(|one| one.proposal).collect()
    }

    /// Takes out what has waited for too long.
    pub(crate) fn take_late(&mut self, now: Duration) -> Vec<Proposal<T>> {
        let mut late = Vec::new();
        for waiting in self.waiting.values_mut() {
            while waiting.front().is_some_and(|first| first.until <= now) {
                let Some(one) = waiting.pop_front() else { break };
                self.waiting_bytes -= one.bytes;
                late.push(one.proposal);
            }
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        late
    }

    /// The groups that know some of their keys, or were asked for them.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.groups.iter().copied().collect()
    }

    /// The group knows no keys any more.
    pub(crate) fn forget(&mut self, group: GroupId) {
        self.groups.remove(&group);
        self.unread.remove(&group);
    }

    /// All that there was to read of a group is read.
    pub(crate) fn is_read(&mut self, group: GroupId) {
        self.unread.remove(&group);
    }

    /// The groups that may be read now, in the order of their turns.
    pub(crate) fn turns(&self) -> Vec<GroupId> {
        if self.reading == MAX_KEY_READS {
            return Vec::new();
        }
        let after = self.unread.iter().filter(|group| **group > self.at);
        after.chain(self.unread.iter().filter(|group| **group <= self.at)).copied().collect()
    }

    /// A read of a group has begun. Returns whether another one may begin too.
    pub(crate) fn began(&mut self, group: GroupId) -> bool {
        self.at = group;
        self.reading += 1;
        self.reading < MAX_KEY_READS
    }

    /// A read has ended.
    pub(crate) fn ended(&mut self) {
        self.reading -= 1;
    }
}
