//! The controls: what the disk does without a broker.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::machine::drop_pages_of;
use crate::records::Noise;
use crate::stats::Latencies;
use crate::wire::Failure;

/// The size of the file, which is written from its start again at its end.
const FILE_BYTES: usize = 64 * 1024 * 1024;
/// What direct writes must be aligned to, in memory and in the file.
const ALIGNMENT: usize = 4096;
/// The bytes of one read.
const READ_BYTES: usize = 1024 * 1024;

/// How a group becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Through the page cache, with an fdatasync after it.
    Synced,
    /// Past the page cache, in one call that returns when it is durable.
    Direct,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Synced => "write+fdatasync",
            Self::Direct => "O_DIRECT+O_DSYNC",
        }
    }
}

/// What was written, and how long each write took.
#[derive(Clone, Debug)]
pub(crate) struct Burst {
    pub(crate) bytes: u64,
    /// Of the writes alone.
    pub(crate) seconds: f64,
    pub(crate) latencies: Latencies,
}

impl Burst {
    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds.max(f64::EPSILON)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.latencies.percentiles().map_or(f64::NAN, |found| found.p50)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.latencies.percentiles().map_or(f64::NAN, |found| found.p99)
    }
}

/// When a burst ends: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) span: Duration,
    pub(crate) bytes: u64,
}

/// Writes groups with `write`, which says how long it took, until the limit.
pub(crate) fn burst(
    limit: Limit,
    group: usize,
    mut write: impl FnMut() -> Result<Duration, Failure>,
) -> Result<Burst, Failure> {
    let mut latencies = Latencies::new();
    let (mut bytes, mut busy) = (0, Duration::ZERO);
    let started = Instant::now();
    while started.elapsed() < limit.span && bytes < limit.bytes {
        let took = write()?;
        latencies.record(took);
        busy += took;
        bytes += group as u64;
    }
    Ok(Burst { bytes, seconds: busy.as_secs_f64(), latencies })
}

/// A file that was written before, so that no block has to be found for what is written now.
pub(crate) struct RawFile {
    path: PathBuf,
    noise: Vec<u8>,
    /// Where in `noise` memory is aligned.
    aligned: usize,
}

impl RawFile {
    pub(crate) fn create(path: PathBuf) -> Result<Self, Failure> {
        let noise = Noise(1).bytes(FILE_BYTES + ALIGNMENT).to_vec();
        let aligned = noise.as_ptr().align_offset(ALIGNMENT);
        let file = File::create(&path)?;
        // Twice: the first pass lets the file system find the blocks, and say so in its journal.
        for _ in 0..2 {
            file.write_all_at(&noise[aligned..aligned + FILE_BYTES], 0)?;
            file.sync_all()?;
        }
        Ok(Self { path, noise, aligned })
    }

    /// Writes groups of this size until the limit.
    pub(crate) fn burst(&self, mode: Mode, group: usize, limit: Limit) -> Result<Burst, Failure> {
        let mut options = OpenOptions::new();
        options.write(true);
        if mode == Mode::Direct {
            let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC;
            options.custom_flags(flags.bits().cast_signed());
        }
        let path = self.path.display();
        let file = options
            .open(&self.path)
            .map_err(|error| format!("cannot open {path} for {}: {error}", mode.name()))?;
        let mut at = 0;
        burst(limit, group, || {
            let data = &self.noise[self.aligned + at..self.aligned + at + group];
            let started = Instant::now();
            file.write_all_at(data, at as u64)?;
            if mode == Mode::Synced {
                file.sync_data()?;
            }
            let took = started.elapsed();
            at += group;
            if at + group > FILE_BYTES {
                at = 0;
            }
            Ok(took)
        })
    }
}

/// A file of so many bytes, to be read from its start to its end.
pub(crate) fn write_file(path: &Path, bytes: u64) -> Result<(), Failure> {
    let noise = Noise(2).bytes(READ_BYTES);
    let file = File::create(path)?;
    let mut at = 0;
    while at < bytes {
        let length = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(READ_BYTES);
        file.write_all_at(&noise[..length], at)?;
        at += length as u64;
    }
    file.sync_all()?;
    Ok(())
}

/// Reads it, from the page cache or from the disk. Returns millions of bytes a second.
pub(crate) fn read_file(path: &Path, is_cold: bool) -> Result<f64, Failure> {
    if is_cold {
        drop_pages_of(path)?;
    }
    let file = File::open(path)?;
    let mut buffer = vec![0; READ_BYTES];
    let started = Instant::now();
    let mut at = 0u64;
    loop {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            break;
        }
        at += read as u64;
    }
    Ok(at as f64 / 1e6 / started.elapsed().as_secs_f64().max(f64::EPSILON))
}

/// Reads a file and writes it anew, durably. Returns millions of bytes a second.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<f64, Failure> {
    drop_pages_of(from)?;
    let (from, to) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; READ_BYTES];
    let started = Instant::now();
    let mut at = 0u64;
    loop {
        let read = from.read_at(&mut buffer, at)?;
        if read == 0 {
            break;
        }
        to.write_all_at(&buffer[..read], at)?;
        at += read as u64;
    }
    to.sync_all()?;
    Ok(at as f64 / 1e6 / started.elapsed().as_secs_f64().max(f64::EPSILON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_controls_write_what_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let raw = RawFile::create(dir.path().join("control")).unwrap();
        let limit = Limit { span: Duration::from_secs(60), bytes: 64 * 1024 };
        let synced = raw.burst(Mode::Synced, 16 * 1024, limit).unwrap();
        assert_eq!((synced.bytes, synced.latencies.count()), (64 * 1024, 4));
        // A file system in memory refuses direct writes.
        if !crate::machine::is_in_memory(dir.path()).unwrap() {
            assert_eq!(raw.burst(Mode::Direct, 16 * 1024, limit).unwrap().bytes, 64 * 1024);
        }
        assert_eq!(std::fs::metadata(&raw.path).unwrap().len(), FILE_BYTES as u64);
    }

    #[test]
    fn a_file_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("read");
        write_file(&path, 3_000_000).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 3_000_000);
        assert!(read_file(&path, true).unwrap() > 0.0);
    }
}
