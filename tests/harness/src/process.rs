//! What Linux says about another process.

use std::fs;

use crate::error::HarnessError;

/// The unit of the CPU times in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

fn read(pid: u32, file: &str) -> Result<String, HarnessError> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(HarnessError::system(format!("reading {path}")))
}

/// The bytes of a process that are in memory.
pub(crate) fn rss_bytes(pid: u32) -> Result<u64, HarnessError> {
    let status = read(pid, "status")?;
    // A process that has ended and was not yet waited for has no such line.
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or(HarnessError::NotRunning)
}

/// The CPU seconds that a process has used, user and system.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, HarnessError> {
    let stat = read(pid, "stat")?;
    // The name of the program, in parentheses, may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_whitespace().skip(11).take(2);
    Ok(times.filter_map(|time| time.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_figures() {
        let pid = std::process::id();
        assert!(rss_bytes(pid).expect("it runs") > 100_000);
        assert!(cpu_seconds(pid).expect("it runs") >= 0.0);
        assert!(rss_bytes(u32::MAX).is_err());
    }
}
