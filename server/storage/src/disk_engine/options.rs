//! What can be set of the durable engine, and what cannot.

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The settings of the durable engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The most bytes of all journal files: how much may be written and not yet be in segments and
    /// index. A quiet broker needs a small part of it. Default 512 MiB.
    pub journal_bytes: u64,
    /// The most bytes of committed entries that wait in memory to be written to segments; writers
    /// wait beyond. Default 64 MiB.
    pub memory_bytes: u64,
    /// The most bytes of chunks read from segments that stay in memory, for readers that come by
    /// again. Default 16 MiB.
    pub cache_bytes: u64,
    /// Below this many free bytes of the disk there is no room for records. Default 256 MiB.
    pub free_floor: u64,
    /// The most segment files that stay open to be read and written; as many again that large
    /// chunks are written to. Default 512.
    pub open_files: usize,
    /// Whether a thread of the engine writes segments and index. Without it nothing happens but in
    /// `reclaim`, one step a call: for tests and simulation.
    pub background: bool,
    /// Below this many free bytes of the disk no checkpoint is made: what it writes must not fail.
    pub(crate) checkpoint_room: u64,
    /// About how many bytes of entries a chunk has at most; an entry is never divided.
    pub(crate) chunk_bytes: usize,
    /// A log that has fewer bytes waiting is left to wait, if memory allows, until a checkpoint.
    pub(crate) drain_bytes: u64,
    /// A chunk with this much data ends with a block of its file, and the one after it can be
    /// written past the cache.
    pub(crate) unbuffered_bytes: usize,
    /// The size of the first journal file.
    pub(crate) first_file_bytes: u64,
    /// The size of the largest one.
    pub(crate) last_file_bytes: u64,
    /// The index's redo file is not replaced before it has this size.
    pub(crate) redo_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            journal_bytes: 512 * MIB,
            memory_bytes: 64 * MIB,
            cache_bytes: 16 * MIB,
            free_floor: 256 * MIB,
            open_files: 512,
            background: true,
            checkpoint_room: 8 * MIB,
            chunk_bytes: 256 * KIB as usize,
            drain_bytes: 64 * KIB,
            unbuffered_bytes: 64 * KIB as usize,
            first_file_bytes: 512 * KIB,
            last_file_bytes: 64 * MIB,
            redo_bytes: 16 * MIB,
        }
    }
}

impl Options {
    /// The size of the journal's spare file. What a request without records writes is hardly ever
    /// larger, and no other file has it: they grow by four times.
    pub(crate) fn spare_bytes(&self) -> u64 {
        2 * self.first_file_bytes
    }

    /// The bytes of entries that may be in memory where there are so many already: a start may find
    /// more in the journal than `memory_bytes`.
    pub(crate) fn allowed_bytes(&self, held: u64) -> u64 {
        (held + self.memory_bytes / 2).max(self.memory_bytes)
    }

    /// A checkpoint is due when this much was written to the journal since the last one. A
    /// start after a crash reads about as much and holds it in memory; where no checkpoint could be
    /// made for long, all that the journal has.
    pub(crate) fn checkpoint_bytes(&self) -> u64 {
        (self.journal_bytes / 4).min(self.memory_bytes)
    }
}
