//! File descriptors: as many as the system allows, shared out so that they suffice.
//!
//! A store that gets no descriptor for a file it must write ends the process. Clients must not be
//! able to bring that about by connecting.

use ropewalk_storage::disk_engine::{DiskEngine, Options};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For everything but connections and the store: ports, logs, exporters, the runtime.
const OTHERS: usize = 64;

/// Who may have how many descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections of clients.
    pub(crate) connections: usize,
    /// Segment files, once to be read and once to be written past the cache.
    pub(crate) segments: usize,
}

impl Descriptors {
    /// Raises the limit of this process to what it may have, and shares it out. Says so where that
    /// is too few for the connections that are wanted.
    pub(crate) fn share_out(wanted_connections: usize) -> Self {
        let limit = raised(getrlimit(Resource::Nofile));
        let shares = Self::of(limit, wanted_connections);
        if shares.connections < wanted_connections {
            tracing::warn!(
                limit,
                wanted = wanted_connections,
                fitting = shares.connections,
                "the limit of open files is too low for server.max_connections: fewer connections \
                 are taken; raise it (ulimit -n, LimitNOFILE=), or lower the setting"
            );
        }
        shares
    }

    fn of(limit: Option<usize>, wanted_connections: usize) -> Self {
        let most = Options::default().open_files;
        let Some(limit) = limit else {
            return Self { connections: wanted_connections, segments: most };
        };
        let segments = (limit / 4).clamp(8, most);
        let taken = 2 * segments + DiskEngine::OTHER_FILES + OTHERS;
        // However low the limit is, a few are let in: a broker without any is of no use.
        let room = limit.saturating_sub(taken).max(8);
        Self { connections: wanted_connections.min(room), segments }
    }
}

/// The limit after it was raised; `None` when there is none.
fn raised(limit: Rlimit) -> Option<usize> {
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current
        }
    };
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_store_its_files() {
        let shares = |limit| Descriptors::of(limit, 4_096);
        assert_eq!(shares(None), Descriptors { connections: 4_096, segments: 512 });
        assert_eq!(shares(Some(1 << 20)), Descriptors { connections: 4_096, segments: 512 });
        assert_eq!(shares(Some(1_024)), Descriptors { connections: 352, segments: 256 });
        for limit in [512, 1_024, 4_096, 5_000, 65_536] {
            let Descriptors { connections, segments } = shares(Some(limit));
            assert!(connections + 2 * segments + DiskEngine::OTHER_FILES + OTHERS <= limit);
        }
    }
}
