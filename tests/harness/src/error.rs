//! What can go wrong with a broker under test, in words that a failed test can end with.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

/// Why a broker did not do what the test needed. Its `Debug` form is its message, so that `expect`
/// and `unwrap` print something to read.
#[derive(Error)]
pub enum HarnessError {
    /// The binary has not been built.
    #[error(
        "{path} does not exist: run `cargo build --bin ropewalk` (with the profile of the tests) \
         first, or name a binary with ROPEWALK_BIN"
    )]
    NoBinary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The system refused something: a file, a port, a process.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The broker ended before it was ready.
    #[error("the broker ended before it was ready ({status}); its log:\n{log}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// What it logged since it was started.
        log: String,
    },
    /// The broker did not become ready in time.
    #[error("the broker was not ready after {waited:?}; its log:\n{log}")]
    NotReady {
        /// How long it was waited for.
        waited: Duration,
        /// What it logged since it was started.
        log: String,
    },
    /// The broker did not end in time after it was told to.
    #[error("the broker ran on for {waited:?} after SIGTERM, and was killed; its log:\n{log}")]
    StillRunning {
        /// How long it was waited for.
        waited: Duration,
        /// What it logged since it was started.
        log: String,
    },
    /// The broker is needed, and does not run.
    #[error("the broker does not run: start it again with restart()")]
    NotRunning,
    /// The admin port answered something that is no HTTP response.
    #[error("the admin port's answer to GET {path} is no HTTP response: {answer:?}")]
    NoHttp {
        /// What was asked for.
        path: String,
        /// The answer.
        answer: String,
    },
}

impl fmt::Debug for HarnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl HarnessError {
    /// Says what was tried when the system refuses it.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source }
    }
}
