//! Looks at a data directory that no broker uses, and changes nothing in it.
//!
//! `inspect` says what is there, `verify` also reads every byte and says what is not as it was
//! written. The index is read from its redo file, which says all there is: sled is not opened, as
//! it writes when it is. What the journal holds is replayed in memory, as a start would. So both
//! work on a read-only mount; they keep brokers out meanwhile, where there is a lock to hold.

use std::path::{Path, PathBuf};

use crate::directory;
use crate::disk::real::RealDisk;
use crate::disk::{Disk, Mode};
use crate::engine::{Result, StorageError};

mod chunks;
mod index;
mod journal;
mod logs;
mod report;
#[cfg(test)]
mod tests;

pub use report::{Finding, Index, Journal, JournalFile, Log, Progress, Report, Segment, Severity};

/// What a data directory holds besides what this module looks at.
const OTHER_NAMES: [&str; 6] =
    ["identity", "identity.new", "lock", "journal", "segments", "lost+found"];

/// Says what a data directory holds. `progress` is told now and then how far it is.
///
/// # Errors
/// `Refused` when a broker uses the directory, and when it is none; `Io` when the system does not
/// let us read.
pub fn inspect(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
    look(dir, false, progress)
}

/// Says what a data directory holds, and checks every byte of it.
///
/// # Errors
/// As [`inspect`]. What is damaged is no error: the report's findings say it.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
    look(dir, true, progress)
}

fn look(dir: &Path, deep: bool, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
    if !["identity", "index", "journal"].iter().any(|name| dir.join(name).exists()) {
        return Err(StorageError::Refused(format!(
            "{} is no data directory: name the one that the broker's setting server.data_dir names",
            dir.display()
        )));
    }
    let _lock = directory::lock_to_look(dir)?;
    let report = Report { path: dir.to_owned(), ..Report::default() };
    let disk = RealDisk::default();
    let mut look = Look { disk: &disk, dir, deep, report, progress, seen: Progress::default() };
    look.identity()?;
    look.names()?;
    look.measure()?;
    let known = look.index()?;
    let mut state = look.state_of(known.as_ref());
    look.journal(known.as_ref(), &mut state)?;
    look.logs(known.as_ref(), &state)?;
    Ok(look.report)
}

/// A look at a directory while it is under way.
struct Look<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    /// Whether every byte is checked.
    deep: bool,
    report: Report,
    progress: &'a mut dyn FnMut(Progress),
    seen: Progress,
}

impl Look<'_> {
    fn journal_dir(&self) -> PathBuf {
        self.dir.join("journal")
    }

    fn index_dir(&self) -> PathBuf {
        self.dir.join("index")
    }

    fn segments_dir(&self) -> PathBuf {
        self.dir.join("segments")
    }

    fn find(&mut self, severity: Severity, path: &Path, at: Option<u64>, what: impl Into<String>) {
        let path = path.to_owned();
        self.report.findings.push(Finding { severity, path, at, what: what.into() });
    }

    /// Makes a finding of an error that says what is wrong with a file; others are given back.
    fn find_error(&mut self, path: &Path, error: StorageError) -> Result<()> {
        match error {
            StorageError::Corrupt { what, path, detail, .. } => {
                self.find(Severity::Damage, &path, None, format!("{what}: {detail}"));
            }
            StorageError::Refused(why) => self.find(Severity::Damage, path, None, why),
            StorageError::Io { source, .. } if source.raw_os_error() == Some(5) => {
                let what = format!("cannot be read: {source}; look at the disk's own log");
                self.find(Severity::Damage, path, None, what);
            }
            other => return Err(other),
        }
        Ok(())
    }

    fn advance(&mut self, bytes: u64) {
        self.seen.done = (self.seen.done + bytes).min(self.seen.total);
        (self.progress)(self.seen);
    }

    fn identity(&mut self) -> Result<()> {
        let path = self.dir.join("identity");
        match directory::identity(self.dir) {
            Ok(Some(identity)) => self.report.identity = Some(identity),
            Ok(None) => {
                let what = "the file is missing, and the broker does not start without it: \
                            restore it from a copy";
                self.find(Severity::Damage, &path, None, what);
            }
            Err(error) => self.find_error(&path, error)?,
        }
        Ok(())
    }

    fn names(&mut self) -> Result<()> {
        for name in self.disk.list(self.dir)? {
            if name != "index" && !OTHER_NAMES.contains(&name.as_str()) {
                let path = self.dir.join(name);
                self.find(Severity::Note, &path, None, "no broker knows this name");
            }
        }
        Ok(())
    }

    fn length(&self, path: &Path) -> Result<u64> {
        if self.disk.exists(path) { self.disk.open(path, Mode::Read)?.len() } else { Ok(0) }
    }

    /// Counts what there is to look at, and what sled has.
    fn measure(&mut self) -> Result<()> {
        for name in self.disk.list(&self.journal_dir())? {
            self.seen.total += self.length(&self.journal_dir().join(name))?;
        }
        for name in self.disk.list(&self.segments_dir())? {
            let log = self.segments_dir().join(name);
            for name in if log.is_dir() { self.disk.list(&log)? } else { Vec::new() } {
                self.report.segment_files += 1;
                self.report.segment_bytes += self.length(&log.join(name))?;
            }
        }
        let store = self.index_dir().join("sled");
        self.measure_store(&store)?;
        self.report.redo_bytes =
            self.length(&super::index::contents::redo_path(&self.index_dir()))?;
        self.seen.total += self.report.redo_bytes;
        if self.deep {
            self.seen.total += self.report.segment_bytes;
        }
        self.advance(0);
        Ok(())
    }

    fn measure_store(&mut self, dir: &Path) -> Result<()> {
        for name in self.disk.list(dir)? {
            let path = dir.join(name);
            if path.is_dir() {
                self.measure_store(&path)?;
            } else {
                self.report.store_files += 1;
                self.report.store_bytes += self.length(&path)?;
            }
        }
        Ok(())
    }
}
