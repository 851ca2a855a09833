//! The seam under the log: what a store of replica groups must do, whatever it is made of.
//!
//! Two implementations stand behind it, in memory and on the disk; both pass `conformance`. Nothing
//! above this crate sees sled or a file. An engine knows groups, indexes and bytes; it knows
//! neither offsets of consumers nor what an entry means beyond the few numbers of [`EntryMeta`].

use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use raft::eraftpb::{ConfState, HardState};
use ropewalk_core::entry::EntryError;
use ropewalk_core::{GroupId, Offset, ReplicaId, Timestamp};
use thiserror::Error;

/// What went wrong in the store.
#[derive(Debug, Error)]
pub enum StorageError {
    /// A write or a sync failed. The store must not be used any more: the kernel may have dropped
    /// pages.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Bytes are not what was written. They are never served, and never shorten a log.
    #[error("corrupt {what} in {} ({detail})", path.display())]
    Corrupt {
        /// The offset of the first record that cannot be read, where records are concerned.
        offset: Option<Offset>,
        /// Which value.
        what: String,
        /// In which file.
        path: PathBuf,
        /// How it shows.
        detail: String,
    },
    /// An entry that the log must have is not there.
    #[error("the log of replica group {group} lacks its entry {index} (offset {offset})")]
    Missing {
        /// The group.
        group: GroupId,
        /// The raft index of the entry.
        index: u64,
        /// The offset that was to be read.
        offset: Offset,
    },
    /// The directory is not usable by this broker.
    #[error("{0}")]
    Refused(String),
}

impl StorageError {
    /// The offset of the first record that cannot be read, where that is known.
    #[must_use]
    pub fn offset(&self) -> Option<Offset> {
        match self {
            Self::Corrupt { offset, .. } => *offset,
            Self::Missing { offset, .. } => Some(*offset),
            Self::Io { .. } | Self::Refused(_) => None,
        }
    }

    /// A store that was closed, or that has failed, takes no more writes.
    pub(crate) fn ended() -> Self {
        Self::Refused(
            "the store is closed, or an earlier write to it failed: restart the broker".to_owned(),
        )
    }

    /// Whether something that was written cannot be had any more: no later try brings it back.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Missing { .. })
    }

    /// Whether the disk had no room. Where nothing was lost by it, it may be tried again later.
    pub(crate) fn is_no_space(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// An entry that was not taken apart. One of a later version is not damaged: it is the broker
    /// that is too old for it.
    #[must_use]
    pub fn undecoded(group: GroupId, index: u64, error: EntryError) -> Self {
        match error {
            EntryError::Unknown { .. } => {
                Self::Refused(format!("entry {index} of replica group {group}: {error}"))
            }
            error => Self::entry(group, index, &error),
        }
    }

    /// An entry whose bytes are sound and make no sense.
    pub(crate) fn entry(group: GroupId, index: u64, error: &dyn std::fmt::Display) -> Self {
        Self::Corrupt {
            offset: None,
            what: format!("entry {index} of replica group {group}"),
            path: PathBuf::new(),
            detail: error.to_string(),
        }
    }
}

/// A result of the store.
pub type Result<T> = std::result::Result<T, StorageError>;

/// The segment that an entry belongs to, as it stood after the entry. Segments are the unit of
/// retention. As each entry carries it, the list of segments follows from the entries alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentMark {
    /// The raft index of the segment's first entry.
    pub base_index: u64,
    /// The partition's next offset before that entry.
    pub base_offset: Offset,
    /// When that entry was appended here.
    pub created: Timestamp,
    /// The bytes of the segment's entries, this one included.
    pub bytes: u64,
    /// The newest time of a record in them.
    pub max_timestamp: Timestamp,
}

/// What is known of an entry without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMeta {
    /// The raft term.
    pub term: u64,
    /// The raft entry type, as its number in eraftpb.
    pub entry_type: u8,
    /// The partition's next offset before this entry.
    pub base_offset: Offset,
    /// The number of records in it; 0 for everything but a batch.
    pub record_count: u32,
    /// The newest time of a record in it; `Timestamp::MIN` for everything but a batch.
    pub max_timestamp: Timestamp,
    /// The newest time of a record in the log up to here.
    pub newest_so_far: Timestamp,
    /// Its segment.
    pub segment: SegmentMark,
}

impl EntryMeta {
    /// The partition's next offset after this entry.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.record_count))
    }
}

/// An entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The raft index.
    pub index: u64,
    /// What is known of it.
    pub meta: EntryMeta,
    /// The entry's data, as raft carries it.
    pub data: Bytes,
}

/// Where a group's log starts, and what must be known of the part that is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStart {
    /// The index before the first entry: what a snapshot would stand at.
    pub index: u64,
    /// The term of that index.
    pub term: u64,
    /// The offset of the first record that can be read. It may lie within the first batch.
    pub offset: Offset,
    /// The partition's next offset before the first entry.
    pub base_offset: Offset,
    /// The newest time of a record that is gone.
    pub newest_gone: Timestamp,
}

/// The most bytes of a row, its key included: sled puts larger values into files that no sync of
/// ours covers.
pub const MAX_ROW_BYTES: usize = 4_000;

/// A replica group on this broker.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupState {
    /// The group.
    pub group: GroupId,
    /// This broker's replica.
    pub replica: ReplicaId,
    /// Raft's term, vote and commit index.
    pub hard_state: HardState,
    /// Raft's membership.
    pub conf_state: ConfState,
    /// Where the log starts.
    pub start: LogStart,
    /// The last entry, if the log has any.
    pub last: Option<(u64, EntryMeta)>,
}

/// A change to one group. All parts are optional; all that are given happen together.
#[derive(Clone, Debug)]
pub struct GroupWrite {
    /// The group.
    pub group: GroupId,
    /// The group is new on this broker: its replica. `hard_state`, `conf_state` and `start` must be
    /// given.
    pub create: Option<ReplicaId>,
    /// The group and all that belongs to it goes. Nothing else may be given.
    pub delete: bool,
    /// Raft's term, vote and commit index.
    pub hard_state: Option<HardState>,
    /// Raft's membership.
    pub conf_state: Option<ConfState>,
    /// Entries, with consecutive indexes, which follow an entry of the log or its start. Whatever
    /// the log holds from the first of them on is replaced.
    pub append: Vec<LogEntry>,
    /// The log starts here from now on; entries up to its index go, those of the same write too. A
    /// start never goes back. Where it lies beyond the log, or where the log has another term at
    /// its index, it is that of a snapshot: the whole log goes, but for entries of the same write
    /// that follow it.
    pub start: Option<LogStart>,
    /// Rows of the group's state machine: a value to put, or nothing to delete. A key and its value
    /// have at most [`MAX_ROW_BYTES`] together.
    pub rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl GroupWrite {
    /// A write that changes nothing yet.
    #[must_use]
    pub fn new(group: GroupId) -> Self {
        Self {
            group,
            create: None,
            delete: false,
            hard_state: None,
            conf_state: None,
            append: Vec::new(),
            start: None,
            rows: Vec::new(),
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.create.is_none()
            && !self.delete
            && self.hard_state.is_none()
            && self.conf_state.is_none()
            && self.append.is_empty()
            && self.start.is_none()
            && self.rows.is_empty()
    }
}

/// Changes to many groups, which happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    /// The changes, in the order in which they happen. A group may occur more than once.
    pub groups: Vec<GroupWrite>,
    /// Whether the batch must be durable when `write` returns. Without it the batch becomes durable
    /// with the next one that is, or at the latest when the engine is closed.
    pub sync: bool,
}

/// What a search in a log looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The first entry that ends after an offset: the one that holds it, if it holds records.
    After(Offset),
    /// The first entry by which a record of this time or a newer one has come into the log.
    Since(Timestamp),
}

impl Seek {
    /// Whether the search ends at this entry or before.
    #[must_use]
    pub fn holds(self, meta: &EntryMeta) -> bool {
        match self {
            Self::After(offset) => meta.end_offset() > offset,
            Self::Since(time) => meta.newest_so_far >= time,
        }
    }
}

/// A stretch of a log that is written anew. Readers see the old entries until it is finished, and
/// from then on only the new ones; a crash leaves either all of the old or all of the new, and of
/// several stretches no later one without those before it. What is dropped unfinished leaves
/// nothing.
pub trait Rewrite {
    /// The index before the first entry that the log holds, as the engine has it. What a trim takes
    /// from the log in memory counts only once it is written: all that the engine holds of the
    /// stretch must be given anew.
    fn log_start(&self) -> u64;

    /// Takes the next entries. They must have the indexes, terms, offsets and numbers of records of
    /// the ones they replace, and all be of the segment that begins at the stretch's first index.
    /// Returns whether there is room for them; without, it can only be dropped.
    fn push(&mut self, entries: Vec<LogEntry>) -> Result<bool>;

    /// Puts the new entries in the place of the old ones, for good after
    /// [`Engine::keep_rewrites`]. Returns false, and changes nothing, where that is not possible
    /// just now: the log has lost a part of the stretch, or holds more of it than was given, or the
    /// disk has no room.
    fn finish(self: Box<Self>) -> Result<bool>;
}

/// A durable store of replica groups.
///
/// Writes and reads come from any thread. Of writes that come at the same time one waits for the
/// other. A read sees a batch wholly or not at all.
pub trait Engine: Send + Sync + 'static {
    /// Every group of this broker, by id. Called once, at start.
    fn groups(&self) -> Result<Vec<GroupState>>;

    /// Applies batches in order, all together, and makes them durable with one sync if one of them
    /// asks for it. After an error the engine refuses every further write: the caller ends the
    /// process. A write that breaks the rules of [`GroupWrite`] is such an error.
    fn write(&self, batches: &[WriteBatch]) -> Result<()>;

    /// What is known of one entry; `None` when the log does not have it.
    fn meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>>;

    /// Entries of a range of indexes, in order: as many as there are without a hole from
    /// `range.start`, and as `max_bytes` of data allow, but the first in any case. Every byte is
    /// checked.
    fn entries(&self, group: GroupId, range: Range<u64>, max_bytes: u64) -> Result<Vec<LogEntry>>;

    /// The first index of a range at which a search ends, the end of the range when there is none.
    /// What holds for an entry holds for all after it. Indexes that the log does not have count as
    /// not found.
    fn find(&self, group: GroupId, range: Range<u64>, seek: Seek) -> Result<u64> {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.meta(group, middle)?.is_some_and(|meta| seek.holds(&meta)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }

    /// Begins to write a stretch of a log anew: entries that are committed and follow one another
    /// in whole segments, from the first entry of one, at `range.start`, to before the first entry
    /// of another. About so many bytes are to come. `None` when the log does not have them, there
    /// is no room, or the engine keeps what it has.
    fn rewrite(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes: u64,
    ) -> Result<Option<Box<dyn Rewrite + '_>>> {
        let _ = (group, range, bytes);
        Ok(None)
    }

    /// Makes durable all that was written anew. Returns false where the disk has no room for that
    /// just now.
    fn keep_rewrites(&self) -> Result<bool> {
        Ok(true)
    }

    /// The rows of a group's state machine whose key begins with `prefix`, by key.
    fn rows(&self, group: GroupId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Gives back the space of what earlier writes deleted, a bounded step at a time. Returns
    /// whether more is left. It never removes anything that can still be read.
    fn reclaim(&self) -> Result<bool>;

    /// Whether there is room for records. Without it the caller takes none; everything else is
    /// still written: there is a reserve for what makes room again.
    fn has_room(&self) -> bool {
        true
    }

    /// Whether there is room for commands that take some and give none back. Without it what little
    /// is left is for those that do: trims and deletions.
    fn has_room_for_commands(&self) -> bool {
        true
    }

    /// The broker stops: a write that waits for room on a full disk, which may never come, fails
    /// from now on.
    fn lose_patience(&self) {}

    /// The bytes that the store takes on its disk, or in memory.
    fn size_bytes(&self) -> u64;

    /// Makes everything durable. The engine refuses writes afterwards.
    fn close(&self) -> Result<()>;
}
