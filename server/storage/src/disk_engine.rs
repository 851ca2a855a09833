//! The durable engine: a journal before, segments beside, and an index in sled.
//!
//! A write goes to the journal, with one durable write for all logs, and into memory. A thread of
//! the engine writes what is committed to segment files and, at a checkpoint, everything that
//! changed into the index; then the journal is free to be written again. `docs/storage.md` has the
//! formats, the order of writes and what each fault does. Nothing here knows what an entry means.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ropewalk_core::GroupId;

use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::engine::{Engine, EntryMeta, GroupState, LogEntry, Result, Rewrite, Seek, WriteBatch};

mod cache;
mod checkpoint;
mod chunk;
mod core;
mod drain;
mod entry_codec;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod index;
pub mod inspect;
mod journal;
mod keys;
mod options;
mod reads;
mod recovery;
mod rewrite;
mod segments;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod values;
mod work;
mod writes;

pub use options::Options;

use self::core::Core;
use self::frame::Kind;
use self::index::{SledStores, Stores};
use self::journal::Purpose;

/// Lines that tell when something is under way that a power cut could meet.
const MOMENTS: &str = "ropewalk_storage::moments";

/// An engine on the disk.
pub struct DiskEngine {
    core: Arc<Core>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for DiskEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskEngine").finish_non_exhaustive()
    }
}

impl DiskEngine {
    /// The most files that an engine has open besides segments: the journal's and the index's.
    pub const OTHER_FILES: usize = 96;

    /// Opens the engine in a data directory that exists, or begins one there.
    ///
    /// # Errors
    /// `Corrupt` when bytes that were acked are damaged, with the file and the place; `Refused` for
    /// a directory of another format and one that is in use; `Io` for everything else.
    pub fn open(dir: &Path, options: Options) -> Result<Self> {
        let stores = SledStores::new(&dir.join("index"));
        let (fresh, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self::open_on(
            &(Arc::new(RealDisk::default()) as Arc<dyn Disk>),
            dir,
            options,
            &stores,
            fresh,
        )
    }

    fn open_on(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        stores: &dyn Stores,
        fresh_directory: u64,
    ) -> Result<Self> {
        let core = Arc::new(recovery::open(disk, dir, options, stores, fresh_directory)?);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = if options.background {
            vec![
                spawn("segments", &core, &stop, Core::run_drain),
                spawn("checkpoints", &core, &stop, Core::run_checkpoints),
            ]
        } else {
            Vec::new()
        };
        Ok(Self { core, stop, threads: Mutex::new(threads) })
    }

    fn stop_threads(&self) {
        self.stop.store(true, Ordering::Release);
        self.core.drain_alarm.ring();
        self.core.checkpoint_alarm.ring();
        let threads = std::mem::take(&mut *self.threads.lock().expect("no holder panics"));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// A thread that the engine cannot do without: when it panics, the process ends rather than hangs.
fn spawn(
    name: &str,
    core: &Arc<Core>,
    stop: &Arc<AtomicBool>,
    run: fn(&Core, &AtomicBool),
) -> JoinHandle<()> {
    let (core, stop) = (Arc::clone(core), Arc::clone(stop));
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(|| run(&core, &stop))).is_err() {
            tracing::error!("a thread of the store has panicked: the broker stops at once");
            std::process::abort();
        }
    };
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(guarded).expect("the system gives a thread at start")
}

impl Drop for DiskEngine {
    fn drop(&mut self) {
        self.stop_threads();
    }
}

impl Engine for DiskEngine {
    fn groups(&self) -> Result<Vec<GroupState>> {
        Ok(self.core.state().groups())
    }

    fn write(&self, batches: &[WriteBatch]) -> Result<()> {
        self.core.write(batches)
    }

    fn meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>> {
        self.core.meta(group, index)
    }

    fn entries(&self, group: GroupId, range: Range<u64>, max_bytes: u64) -> Result<Vec<LogEntry>> {
        self.core.entries(group, range, max_bytes)
    }

    fn find(&self, group: GroupId, range: Range<u64>, seek: Seek) -> Result<u64> {
        self.core.find(group, range, seek)
    }

    fn rewrite(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes: u64,
    ) -> Result<Option<Box<dyn Rewrite + '_>>> {
        self.core.check_failure()?;
        self.core.begin_rewrite(group, range, bytes)
    }

    fn keep_rewrites(&self) -> Result<bool> {
        self.core.check_failure()?;
        self.core.checkpoint(&mut self.core.checkpoints())
    }

    fn rows(&self, group: GroupId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.core.rows(group, prefix)
    }

    fn reclaim(&self) -> Result<bool> {
        self.core.check_failure()?;
        if self.core.options.background {
            return Ok(false);
        }
        self.core.change(|_| {
            self.core.drain_step()?;
            self.core.checkpoint_step(true)
        })
    }

    fn has_room(&self) -> bool {
        self.core.room.load(Ordering::Relaxed) && !self.core.journal.is_stuck()
    }

    fn has_room_for_commands(&self) -> bool {
        self.core.journal.has_room_for_commands()
    }

    fn lose_patience(&self) {
        self.core.journal.lose_patience();
    }

    fn size_bytes(&self) -> u64 {
        self.core.size_bytes()
    }

    fn close(&self) -> Result<()> {
        self.stop_threads();
        self.core.change(|writer| {
            writer.end();
            if self.core.checkpoint(&mut self.core.checkpoints())? {
                // It says, in the journal, which checkpoint the index must have.
                self.core.journal.append((Kind::Mark, Purpose::Other), 0, |_| {})?;
            }
            self.core.index.close()
        })
    }
}
