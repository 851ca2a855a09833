//! The control beside a power cut: it shows that the cut is one.
//!
//! Two files of numbered records lie on the same mount as the broker's data. Each record of the one
//! is synced before it counts, and must be there afterwards; the other is never synced, and must
//! have lost something. If it did not, the harness proves nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, block_in_place};

use crate::error::ChaosError;

const RECORD_BYTES: usize = 512;
/// The pause between two records: the disk is the broker's.
const PAUSE: Duration = Duration::from_millis(4);

/// What became of the two files.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlResult {
    /// Records that were synced before the cut.
    pub synced: usize,
    /// Of these, records that were there afterwards.
    pub synced_found: usize,
    /// Records that were written and not synced.
    pub unsynced: usize,
    /// Of these, records that were there afterwards.
    pub unsynced_found: usize,
}

/// The two files, being written.
#[derive(Debug)]
pub struct Control {
    directory: PathBuf,
    progress: Arc<Progress>,
    at_cut: ControlResult,
    writer: JoinHandle<()>,
}

/// What was written so far.
#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    synced: AtomicUsize,
    unsynced: AtomicUsize,
}

fn record(number: usize) -> [u8; RECORD_BYTES] {
    let mut record = [b'.'; RECORD_BYTES];
    let text = format!("record {number:020}");
    record[..text.len()].copy_from_slice(text.as_bytes());
    record[RECORD_BYTES - 1] = b'\n';
    record
}

/// The records at the head of a file that are as they were written.
fn count(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap_or_default();
    let records = bytes.chunks(RECORD_BYTES).enumerate();
    records.take_while(|(number, found)| *found == record(*number)).count()
}

impl Control {
    /// Begins with two new files in this directory of the mount, which are there for sure.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn start(directory: PathBuf) -> Result<Self, ChaosError> {
        let system = || ChaosError::system(format!("making files in {}", directory.display()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).map_err(system())?;
        let open = |name| -> std::io::Result<File> {
            let file = File::create(directory.join(name))?;
            file.sync_all()?;
            Ok(file)
        };
        let (synced, unsynced) =
            (open("synced").map_err(system())?, open("unsynced").map_err(system())?);
        let parent = directory.parent().unwrap_or(&directory);
        for path in [&directory, parent] {
            File::open(path).and_then(|found| found.sync_all()).map_err(system())?;
        }
        let progress = Arc::new(Progress::default());
        let writer = tokio::spawn(write(synced, unsynced, Arc::clone(&progress)));
        Ok(Self { directory, progress, at_cut: ControlResult::default(), writer })
    }

    /// The power is about to be cut: what is synced later does not count.
    pub fn power_off(&mut self) {
        let (synced, unsynced) = (&self.progress.synced, &self.progress.unsynced);
        self.at_cut.synced = synced.load(Ordering::SeqCst);
        self.at_cut.unsynced = unsynced.load(Ordering::SeqCst);
    }

    /// Ends writing, when the power is off, and says what had been written before. The files are
    /// closed then.
    ///
    /// # Errors
    /// When the writer panicked.
    pub async fn stop(self) -> Result<(PathBuf, ControlResult), ChaosError> {
        self.progress.stop.store(true, Ordering::Relaxed);
        let ended = self.writer.await;
        ended.map_err(|error| ChaosError::broken(format!("the control ended: {error}")))?;
        Ok((self.directory, self.at_cut))
    }
}

impl ControlResult {
    /// Looks at the files after the mount is back.
    #[must_use]
    pub fn look(self, directory: &Path) -> Self {
        Self {
            synced_found: count(&directory.join("synced")).min(self.synced),
            unsynced_found: count(&directory.join("unsynced")),
            ..self
        }
    }

    /// Whether a synced record is gone.
    #[must_use]
    pub fn lost_synced(&self) -> bool {
        self.synced_found < self.synced
    }

    /// Whether a record that was not synced is gone.
    #[must_use]
    pub fn lost_unsynced(&self) -> bool {
        self.unsynced_found < self.unsynced
    }
}

/// Writes until it is told to stop, or the disk refuses.
async fn write(mut synced: File, mut unsynced: File, progress: Arc<Progress>) {
    for number in 0.. {
        let record = record(number);
        if progress.stop.load(Ordering::Relaxed) || unsynced.write_all(&record).is_err() {
            return;
        }
        progress.unsynced.store(number + 1, Ordering::SeqCst);
        let written =
            block_in_place(|| synced.write_all(&record).and_then(|()| synced.sync_data()));
        if written.is_err() {
            return;
        }
        progress.synced.store(number + 1, Ordering::SeqCst);
        tokio::time::sleep(PAUSE).await;
    }
}
