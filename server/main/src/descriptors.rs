//! File descriptors: as many as the system allows, and connections only as far as those reach.
//!
//! A store that gets no descriptor for a file it must write ends the process. Clients must not be
//! able to bring that about by connecting.

use ropewalk_storage::disk_engine::DiskEngine;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For everything but connections and the store: ports, logs, exporters, the runtime.
const OTHERS: u64 = 128;

/// Raises the limit of this process to what it may have, and says how many connections fit.
pub(crate) fn connections_that_fit(wanted: usize) -> usize {
    let limit = raised(getrlimit(Resource::Nofile));
    let fitting = fitting(wanted, limit, DiskEngine::MAX_OPEN_FILES as u64);
    if fitting < wanted {
        tracing::warn!(
            limit = limit.unwrap_or(u64::MAX),
            wanted,
            fitting,
            "the limit of open files is too low for server.max_connections: fewer connections are \
             taken; raise it (ulimit -n, LimitNOFILE=), or lower the setting"
        );
    }
    fitting
}

/// The limit after it was raised; `None` when there is none.
fn raised(limit: Rlimit) -> Option<u64> {
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current
        }
    }
}

/// However low the limit is, a few connections are let in: a broker without is of no use.
fn fitting(wanted: usize, limit: Option<u64>, store: u64) -> usize {
    let Some(limit) = limit else { return wanted };
    let room = limit.saturating_sub(store + OTHERS).max(limit / 8);
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_store_its_files() {
        assert_eq!(fitting(4096, None, 1100), 4096);
        assert_eq!(fitting(4096, Some(1 << 20), 1100), 4096);
        assert_eq!(fitting(4096, Some(4096), 1100), 4096 - 1100 - 128);
        assert_eq!(fitting(4096, Some(1024), 1100), 128);
        assert_eq!(fitting(10, Some(1024), 1100), 10);
    }
}
