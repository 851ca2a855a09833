//! The failures of appends on a condition.

use std::time::Duration;

use ropewalk_broker::ProposeError;

use super::{Failure, Reason};

/// Appends that expect a version have no memory left.
pub(super) fn too_many(message: String, limit: usize) -> Failure {
    let message = format!(
        "{message}: try again, and send fewer of them at a time; others have memory of their own"
    );
    Failure::new(Reason::Overloaded, message).over_quota("conditional_appends", limit)
}

pub(super) fn failure(error: ProposeError, message: String) -> Failure {
    match error {
        ProposeError::ExpectedOffset { current } => {
            let message = format!("another append came first: the next offset is {current}");
            Failure::new(Reason::ExpectedOffsetMismatch, message).with("current", current)
        }
        ProposeError::ExpectedVersion { current } => {
            let message = format!(
                "{message}, not what was expected: read what there is with the key, decide again, \
                 and append with its version"
            );
            let failure = Failure::new(Reason::ExpectedVersionMismatch, message);
            match current {
                Some(current) => failure.with("current", current),
                None => failure,
            }
        }
        ProposeError::TooManyKeys { limit } => {
            let message = format!(
                "{message}: spread the keys over more partitions and brokers, let retention or \
                 compaction take old ones, or raise memory.key_budget"
            );
            Failure::new(Reason::TooManyKeys, message).over_quota("keys", limit)
        }
        ProposeError::KeysDamaged { at } => {
            let message = format!(
                "{message}, and no other broker has it: appends that expect no version go on; \
                 restore the log, or have DeleteRecords take what is before and at the damage"
            );
            Failure::new(Reason::CorruptLog, message).with("file", "").with("offset", at)
        }
        // The keys are not read yet.
        _ => {
            let message =
                format!("{message}: the leader reads them since it has been asked; try again");
            Failure::new(Reason::KeysUnread, message).retry_after(Duration::from_millis(500))
        }
    }
}
