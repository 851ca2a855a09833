//! What the machine is, and what this process uses of it.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::wire::Failure;

/// The unit of the CPU times in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU seconds of this process. Nothing where there is no `/proc`.
pub(crate) fn own_cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = times.filter_map(|time| time.parse::<f64>().ok()).sum();
    Some(ticks / TICKS_PER_SECOND)
}

/// What a process has written, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Io {
    /// Handed to the kernel with write calls.
    pub(crate) handed: u64,
    /// That the kernel had to bring to the disk: what was written again before it got there counts
    /// once, what a file system adds counts too.
    pub(crate) to_disk: u64,
}

impl Io {
    /// That of a process of this user.
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let path = format!("/proc/{pid}/io");
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        match (value("wchar:"), value("write_bytes:")) {
            (Some(handed), Some(to_disk)) => Ok(Self { handed, to_disk }),
            _ => Err(format!("{path} lacks wchar or write_bytes").into()),
        }
    }

    /// That of this process.
    pub(crate) fn own() -> Result<Self, Failure> {
        Self::of(std::process::id())
    }

    /// What came after an earlier look.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            handed: self.handed.saturating_sub(before.handed),
            to_disk: self.to_disk.saturating_sub(before.to_disk),
        }
    }
}

/// Says what makes figures worthless: a build without optimization, a directory in memory.
pub(crate) fn warn_of_figures(dir: &Path) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        eprintln!("this is no release build: its figures say nothing");
    }
    if is_in_memory(dir)? {
        eprintln!("{} is kept in memory: name a directory on the disk with --dir", dir.display());
    }
    Ok(())
}

/// Refuses to fill the disk of a directory. `instead` says what else could be done.
pub(crate) fn check_free(dir: &Path, needed: u64, instead: &str) -> Result<(), Failure> {
    let free = free_bytes(dir)?;
    if free >= needed {
        return Ok(());
    }
    let (free, needed, dir) = (free >> 20, needed >> 20, dir.display());
    Err(format!(
        "{dir} has {free} MiB free, and this part may need {needed}: name another directory with \
         --dir, or {instead}"
    )
    .into())
}

/// The bytes that are free on the disk of a directory.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64, Failure> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Lets this process have so many connections at a time, beside what else it has open.
pub(crate) fn allow_descriptors(connections: u64) -> Result<(), Failure> {
    const OTHERS: u64 = 128;
    let needed = connections + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|most| most < needed) {
        return Err(format!("this part opens {needed} files: allow that with ulimit -Hn").into());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit })?)
}

/// Whether a directory is kept in memory: then nothing measured on it says anything about a disk.
pub(crate) fn is_in_memory(dir: &Path) -> Result<bool, Failure> {
    const TMPFS: i64 = 0x0102_1994;
    Ok(rustix::fs::statfs(dir)?.f_type as i64 == TMPFS)
}

/// The machine in a few words.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<f64>().ok())
        .map_or_else(String::new, |kib| format!(", {:.0} GiB", kib / 1024.0 / 1024.0));
    format!("{cores} cores, {model}{memory}")
}

/// Writes the pages of the files below a directory to disk and drops them from memory, so that the
/// next reader meets the disk.
pub(crate) fn drop_pages(dir: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            drop_pages(&entry.path())?;
        } else {
            drop_pages_of(&entry.path())?;
        }
    }
    Ok(())
}

/// The same for one file.
pub(crate) fn drop_pages_of(path: &Path) -> Result<(), Failure> {
    let file = fs::File::open(path)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_figures() {
        assert!(describe().contains("cores"));
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
    }
}
