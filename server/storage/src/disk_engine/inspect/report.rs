//! What a data directory is found to hold, as plain values for whoever shows them.

use std::path::PathBuf;

use ropewalk_core::{GroupId, Offset, ReplicaId};

use crate::directory::Identity;

/// How far a look at a directory has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The bytes that were looked at.
    pub done: u64,
    /// All there are.
    pub total: u64,
}

/// What a finding means for whoever runs the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is to be done.
    Note,
    /// The broker mends it at its next start, without loss.
    Repairable,
    /// Bytes that count are not as they were written, or are gone.
    Damage,
}

/// Something that is not as a broker leaves it when it ends in good order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub severity: Severity,
    /// In which file or directory.
    pub path: PathBuf,
    /// At which byte of it, if it has a place.
    pub at: Option<u64>,
    /// What it is, and what to do.
    pub what: String,
}

/// What a data directory holds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The directory.
    pub path: PathBuf,
    /// Whose data it is, if it says so.
    pub identity: Option<Identity>,
    /// The number that every frame of it carries, if the index says which.
    pub directory: Option<u64>,
    /// The journal.
    pub journal: Journal,
    /// The index, if it can be read.
    pub index: Option<Index>,
    /// The bytes of the file `index/redo`.
    pub redo_bytes: u64,
    /// sled's files and their bytes. They are not read: that would change them. The broker checks
    /// them against the redo file at each start, and makes them anew when they are not sound.
    pub store_files: u64,
    /// See `store_files`.
    pub store_bytes: u64,
    /// Every log, by its group.
    pub logs: Vec<Log>,
    /// What all files under `segments` take.
    pub segment_files: u64,
    /// See `segment_files`.
    pub segment_bytes: u64,
    /// What is not as it should be. After `inspect`, only what showed on the way.
    pub findings: Vec<Finding>,
}

/// The journal of a directory.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// Its files, by number.
    pub files: Vec<JournalFile>,
    /// The last frame that was acked, as the file `acked` says.
    pub acked: Option<u64>,
    /// The frames that the index does not have, and that a start would replay.
    pub replayed_frames: u64,
    /// The last frame that counts.
    pub last_lsn: u64,
}

/// A file of the journal.
#[derive(Clone, Debug, Default)]
pub struct JournalFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// How often it was put to use.
    pub turn: u64,
    /// The sound frames in it, those that no longer count included.
    pub frames: u64,
    /// The bytes of these frames.
    pub frame_bytes: u64,
    /// The lowest and the highest number of a frame in it.
    pub lsns: Option<(u64, u64)>,
    /// How many of the frames are newer than the index.
    pub newer: u64,
    /// The highest number that a frame in it says was acked.
    pub acked: u64,
    /// The newest checkpoint that a frame in it knows.
    pub checkpoint: u64,
}

/// The index of a directory, as its redo file has it.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// How many redo files there were, this one included.
    pub turn: u64,
    /// The number of its last frame.
    pub sequence: u64,
    /// Its frames, those of its base included.
    pub frames: u64,
    /// The bytes of its base.
    pub base_bytes: u64,
    /// The last checkpoint: everything up to this frame of the journal is in the index.
    pub checkpoint: u64,
    /// The keys that it holds.
    pub keys: u64,
    /// The bytes of entries that were in no chunk at the last checkpoint.
    pub pending_bytes: u64,
    /// Logs that are gone, and not yet all of their keys.
    pub deleted_logs: Vec<u64>,
}

/// A log of a directory.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its replica group.
    pub group: GroupId,
    /// This broker's replica of it.
    pub replica: ReplicaId,
    /// The log's number, by which keys and files are named.
    pub number: u64,
    /// The index before its first entry.
    pub start_index: u64,
    /// The offset of the first record that can be read.
    pub start_offset: Offset,
    /// Its last entry, and the offset after it; `None` when it is empty.
    pub last: Option<(u64, Offset)>,
    /// Up to here entries are committed.
    pub committed: u64,
    /// Entries that are in no chunk: only the journal has them, or the last checkpoint.
    pub undrained: u64,
    /// The chunks that stand in the index.
    pub inline_chunks: u64,
    /// Their bytes.
    pub inline_bytes: u64,
    /// The chunks in segment files.
    pub file_chunks: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// The rows of its state machine, as of the last checkpoint.
    pub rows: u64,
    /// Its segment files, oldest first.
    pub segments: Vec<Segment>,
}

/// A segment file of a log, as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is.
    pub path: PathBuf,
    /// The index at which its part of the log begins.
    pub base_index: u64,
    /// Its bytes, up to the end of its last chunk.
    pub bytes: u64,
}

impl Report {
    /// The worst of all findings, if there are any.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// How many findings there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}
