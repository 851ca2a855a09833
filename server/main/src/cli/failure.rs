//! Why a command failed: its exit code, and one line for people.

use std::io;
use std::process::ExitCode;

use ropewalk::{Error, ErrorKind};
use ropewalk_storage::StorageError;

use crate::dev::DevError;

/// Why a command did not do what it was to do.
#[derive(Debug)]
pub(super) enum Failure {
    /// A call failed.
    Call(Error),
    /// Standard output was closed by its reader, which has had enough.
    OutputClosed,
    /// Anything else, in words.
    Other(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Call(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::OutputClosed
        } else {
            Failure::Other(format!("standard output: {error}"))
        }
    }
}

impl From<DevError> for Failure {
    fn from(error: DevError) -> Failure {
        Failure::Other(error.to_string())
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Failure {
        Failure::Other(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        io::Error::from(error).into()
    }
}

impl Failure {
    /// Says why, on standard error, and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        if let Some(line) = self.line() {
            eprintln!("ropewalk: {line}");
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Failure::OutputClosed => 0,
            Failure::Call(error) => match error.kind() {
                ErrorKind::InvalidArgument if error.reason().is_empty() => 2,
                ErrorKind::Unreachable => 3,
                ErrorKind::NotFound => 4,
                _ => 1,
            },
            Failure::Other(_) => 1,
        }
    }

    fn line(&self) -> Option<String> {
        match self {
            Failure::OutputClosed => None,
            Failure::Other(message) => Some(message.clone()),
            Failure::Call(error) => {
                let mut line = one_line(&error.to_string());
                for advice in [bounds(error), advice(error)].into_iter().flatten() {
                    line.push_str("; ");
                    line.push_str(&advice);
                }
                Some(line)
            }
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The numbers that belong to an error, where the message may lack them.
fn bounds(error: &Error) -> Option<String> {
    let metadata = error.metadata();
    match error.reason() {
        "OFFSET_OUT_OF_RANGE" => {
            let (earliest, latest) = (metadata.get("earliest")?, metadata.get("latest")?);
            Some(format!("the partition has {earliest} to {latest}"))
        }
        _ => None,
    }
}

/// What to do next.
fn advice(error: &Error) -> Option<String> {
    let advice = match (error.reason(), error.kind()) {
        ("TOPIC_NOT_FOUND", _) => "`ropewalk topic list` shows what there is",
        ("PARTITION_NOT_FOUND", _) => "`ropewalk topic describe` shows the partitions",
        ("TOPIC_EXISTS", _) => "`ropewalk topic update` changes it",
        ("RECORD_TOO_LARGE", _) => "the topic's setting max_record_bytes may allow more",
        ("STORAGE_FULL", _) => "free space on the broker's disk, or shorten a topic's retention",
        (_, ErrorKind::Unreachable) => {
            "is a broker running there? --server or ROPEWALK_SERVER names another"
        }
        (_, ErrorKind::Unsupported) => "the broker may be older than this program",
        _ if error.may_have_happened() && error.is_retriable() => {
            "it may have been done all the same: look before you repeat it"
        }
        _ if error.is_retriable() => "try again in a moment",
        _ => return None,
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.code(), failure.line()), (0, None));
        let failure = Failure::from(io::Error::other("disk full"));
        assert_eq!(failure.code(), 1);
    }

    #[tokio::test]
    async fn a_broker_that_cannot_be_reached_is_told_in_one_line() {
        let error = ropewalk::Client::connect("127.0.0.1:1").await.expect_err("nobody is there");
        let failure = Failure::from(error);
        assert_eq!(failure.code(), 3);
        let line = failure.line().expect("a line");
        assert!(line.contains("127.0.0.1:1") && line.contains("ROPEWALK_SERVER"), "{line}");
        assert!(!line.contains('\n'));
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_a_wrong_call() {
        let error = ropewalk::Client::connect("nowhere").await.expect_err("not an address");
        assert_eq!(Failure::from(error).code(), 2);
    }
}
