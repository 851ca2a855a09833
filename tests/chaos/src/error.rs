//! Why a fault test did not pass.

use std::fmt;

use ropewalk_harness::HarnessError;
use thiserror::Error;
use tonic::Status;

/// Why a test did not pass, in words that it can end with.
#[derive(Error)]
pub enum ChaosError {
    /// The broker did not do what the test needed.
    #[error(transparent)]
    Harness(#[from] HarnessError),
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("{command}: {output}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        output: String,
    },
    /// A call that had to go well did not.
    #[error("{what}: {status}")]
    Refused {
        /// What was asked.
        what: String,
        /// The answer.
        status: Box<Status>,
    },
    /// What the broker must hold does not hold.
    #[error("{0}")]
    Broken(String),
    /// The machine does not offer what the test needs.
    #[error("skipped: {0}")]
    Skipped(String),
    /// It takes too long for every change: `ROPEWALK_CHAOS=long` asks for it.
    #[error("left to the long tier: ROPEWALK_CHAOS=long")]
    LeftToLongTier,
}

impl fmt::Debug for ChaosError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ChaosError {
    /// Says what was tried when the system refuses it.
    pub fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source }
    }

    /// Says what was asked when the broker refuses it.
    pub fn refused(what: impl Into<String>) -> impl FnOnce(Status) -> Self {
        let what = what.into();
        |status| Self::Refused { what, status: Box::new(status) }
    }

    /// Something that must hold does not.
    pub fn broken(what: impl Into<String>) -> Self {
        Self::Broken(what.into())
    }
}
