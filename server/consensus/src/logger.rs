//! raft-rs logs through slog; the broker logs through tracing.

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record, o};

struct Forward;

impl Drain for Forward {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        // What is news for one group is noise for a thousand: everything below a warning is debug.
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{}", record.msg()),
            Level::Warning => tracing::warn!(target: "raft", "{}", record.msg()),
            Level::Info | Level::Debug => tracing::debug!(target: "raft", "{}", record.msg()),
            Level::Trace => tracing::trace!(target: "raft", "{}", record.msg()),
        }
        Ok(())
    }
}

/// The logger of all groups.
pub fn tracing_logger() -> Logger {
    Logger::root(Forward, o!())
}
