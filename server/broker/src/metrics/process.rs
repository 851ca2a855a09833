//! What the operating system says about this process. Nothing where there is no `/proc`.

use std::fs;

/// The unit of the CPU times in `/proc`: fixed by Linux's interface to programs, whatever the
/// kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory that is in RAM.
pub(super) fn resident_bytes() -> Option<u64> {
    resident_bytes_of(&fs::read_to_string("/proc/self/status").ok()?)
}

/// CPU time used so far, user and system.
pub(super) fn cpu_seconds() -> Option<f64> {
    cpu_seconds_of(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// File descriptors that are open, without the one that the count itself takes.
pub(super) fn open_fds() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count).ok()?.checked_sub(1)
}

fn resident_bytes_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn cpu_seconds_of(stat: &str) -> Option<f64> {
    // The program's name, in parentheses, may itself hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: f64 = times.next()?.parse().ok()?;
    let system: f64 = times.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_texts() {
        assert_eq!(resident_bytes_of("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(resident_bytes_of("Name:\tx\n"), None);
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 1 0 7 8 9";
        assert_eq!(cpu_seconds_of(stat), Some(2.0));
        assert_eq!(cpu_seconds_of(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_figures() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(cpu_seconds().is_some());
        assert!(open_fds().is_some_and(|fds| fds >= 3));
    }
}
