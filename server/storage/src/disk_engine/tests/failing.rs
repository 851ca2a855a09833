//! A disk whose writes and syncs fail: after the first failure nothing is acked, and all that was
//! acked is there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::park_timeout;
use std::time::Duration;

use super::script::{Script, difference};
use super::watched::{Watch, WatchedDisk};
use super::{DiskEngine, Options, small};
use crate::conformance::{GROUP, append, creation, entries, hard_state, synced};
use crate::disk::Disk;
use crate::disk::sim::{ROOT, Rng, SimDisk};
use crate::disk_engine::index::MemoryStores;
use crate::engine::{Engine, GroupWrite, Result, StorageError};
use crate::files::io_error;
use crate::memory::MemoryEngine;

const DIRECTORY: u64 = 7;
/// The error of a disk that fails.
const EIO: i32 = 5;

/// When a disk fails.
#[derive(Debug, Default)]
struct Fault {
    /// At which call; 0 for never.
    call: AtomicU64,
    calls: AtomicU64,
    /// Only calls to a file whose name ends so count.
    ending: Mutex<String>,
    failed: AtomicBool,
    /// Where it failed.
    place: Mutex<PathBuf>,
}

impl Fault {
    fn at(call: u64, ending: &str) -> Arc<Self> {
        let fault = Self { call: AtomicU64::new(call), ..Self::default() };
        *fault.ending.lock().unwrap() = ending.to_owned();
        Arc::new(fault)
    }

    fn has_happened(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// An error says what happened, and where.
    fn is_told(&self, error: &StorageError) {
        let text = error.to_string();
        let place = self.place.lock().unwrap().display().to_string();
        assert!(text.contains(&place) && text.contains("Input/output error"), "{text}");
    }
}

/// It fails once, and works again, as disks do: nobody may rely on that.
impl Watch for Fault {
    fn meet(&self, action: &'static str, path: &Path) -> Result<()> {
        if !path.to_string_lossy().ends_with(self.ending.lock().unwrap().as_str()) {
            return Ok(());
        }
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 != self.call.load(Ordering::SeqCst) {
            return Ok(());
        }
        *self.place.lock().unwrap() = path.to_owned();
        self.failed.store(true, Ordering::SeqCst);
        Err(io_error(action, path, std::io::Error::from_raw_os_error(EIO)))
    }
}

fn open(disk: impl Disk, options: Options, stores: &MemoryStores) -> Result<DiskEngine> {
    let disk: Arc<dyn Disk> = Arc::new(disk);
    DiskEngine::open_on(&disk, Path::new(ROOT), options, stores, DIRECTORY)
}

/// Runs random steps on a disk that fails at a call. Returns whether it came to that.
fn fails_at(call: u64, seed: u64) -> bool {
    let (mut rng, mut script) = (Rng::new(seed), Script::new());
    let (disk, stores, model) = (SimDisk::new(seed), MemoryStores::default(), MemoryEngine::new());
    let fault = Fault::at(call, "");
    let failing = WatchedDisk::new(&disk, fault.clone());
    let options = Options { memory_bytes: 16 * 1024, redo_bytes: 80 * 1024, ..small() };
    let mut in_flight = None;
    match open(failing, options, &stores) {
        Err(error) => fault.is_told(&error),
        Ok(engine) => {
            for _ in 0..40 {
                let batches = script.batches(&mut rng);
                let (written, reclaims) = (engine.write(&batches), rng.below(3) == 0);
                if written.is_ok() {
                    model.write(&batches).unwrap();
                } else {
                    in_flight = Some(batches);
                }
                let done =
                    written.and_then(|()| if reclaims { engine.reclaim() } else { Ok(false) });
                assert_eq!(done.is_err(), fault.has_happened(), "a failure is told at once");
                if let Err(error) = done {
                    fault.is_told(&error);
                    break;
                }
            }
            if fault.has_happened() {
                let again = synced(vec![creation(GROUP)]);
                assert!(engine.write(&again).is_err() && engine.write(&again).is_err());
                assert!(engine.reclaim().is_err() && engine.close().is_err());
            }
        }
    }
    // As when only the process ends; and when the power goes with it.
    for disk in [disk.copy(), disk.crash()] {
        let stores = MemoryStores::holding(stores.content());
        let engine = open(disk, options, &stores).unwrap();
        let mut found = difference(&model, &engine);
        if let Some(batches) = in_flight.take_if(|_| found.is_some()) {
            model.write(&batches).unwrap();
            found = difference(&model, &engine);
        }
        assert_eq!(found, None, "call {call} of seed {seed}");
    }
    fault.has_happened()
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_acked_and_nothing_is_lost() {
    for seed in 0..2 {
        let calls = (1..).take_while(|call| fails_at(*call, seed)).count();
        assert!(calls > 100, "{calls}");
    }
}

/// An engine with its threads, on a disk that fails at the first call to such a file.
fn with_threads(ending: &str) -> (DiskEngine, Arc<Fault>) {
    let fault = Fault::at(1, ending);
    let failing = WatchedDisk::new(&SimDisk::new(1), fault.clone());
    let options = Options { background: true, ..small() };
    let engine = open(failing, options, &MemoryStores::default()).unwrap();
    engine.write(&synced(vec![creation(GROUP)])).unwrap();
    (engine, fault)
}

fn write(engine: &DiskEngine, index: u64) -> Result<()> {
    let hard_state = Some(hard_state(5, 1, index));
    let append = append(GROUP, entries(index..index + 1, 5, 6_000));
    engine.write(&synced(vec![GroupWrite { hard_state, ..append }]))
}

#[test]
fn a_failure_of_a_thread_reaches_whoever_writes() {
    for ending in [".segment", "/segments/1"] {
        let (engine, fault) = with_threads(ending);
        let error = (6..5_000).find_map(|index| write(&engine, index).err()).unwrap();
        fault.is_told(&error);
        assert!(write(&engine, 6).is_err() && engine.reclaim().is_err());
        assert!(engine.close().is_err());
    }
}

#[test]
fn a_failure_of_a_thread_reaches_whoever_reclaims() {
    let (engine, fault) = with_threads(".segment");
    // One write, which is acked before anything is drained.
    let hard_state = Some(hard_state(5, 1, 11));
    let append = append(GROUP, entries(6..12, 5, 6_000));
    engine.write(&synced(vec![GroupWrite { hard_state, ..append }])).unwrap();
    let error = (0..2_000).find_map(|_| {
        park_timeout(Duration::from_millis(5));
        engine.reclaim().err()
    });
    fault.is_told(&error.unwrap());
    assert!(write(&engine, 12).is_err() && engine.reclaim().is_err());
}

/// It reads nothing of a segment.
struct Unreadable;

impl Watch for Unreadable {
    fn meet(&self, _: &'static str, _: &Path) -> Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<()> {
        if !path.to_string_lossy().ends_with(".segment") {
            return Ok(());
        }
        Err(io_error("read", path, std::io::Error::from_raw_os_error(EIO)))
    }
}

#[test]
fn what_the_disk_cannot_read_is_damage_of_one_chunk_and_ends_nothing() {
    let disk = WatchedDisk::new(&SimDisk::new(1), Arc::new(Unreadable));
    let options = Options { cache_bytes: 0, ..small() };
    let engine = open(disk, options, &MemoryStores::default()).unwrap();
    engine.write(&synced(vec![creation(GROUP)])).unwrap();
    write(&engine, 6).unwrap();
    engine.core.drain(&mut engine.core.work(), true).unwrap();
    let error = engine.entries(GROUP, 6..7, u64::MAX).unwrap_err();
    let StorageError::Corrupt { offset, path, detail, .. } = error else { panic!("{error}") };
    assert!(offset.is_some() && path.to_string_lossy().ends_with(".segment"), "{path:?}");
    assert!(detail.contains("Input/output error"), "{detail}");
    write(&engine, 7).unwrap();
    assert_eq!(engine.entries(GROUP, 7..8, u64::MAX).unwrap().len(), 1);
}
