//! System calls that fail: the broker runs under strace, which answers one of them with an error.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::ChaosError;

/// A program that starts the broker so that one of its system calls fails.
#[derive(Debug)]
pub struct Strace {
    wrapper: PathBuf,
    trace: PathBuf,
}

impl Strace {
    /// The n-th call of this name, counted in each thread, answers EIO. Files go into a directory.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn failing(
        directory: &Path,
        binary: &Path,
        call: &str,
        nth: u32,
    ) -> Result<Self, ChaosError> {
        Self::new(directory, binary, &format!("{call}:error=EIO:when={nth}"))
    }

    /// Every call of these names answers that it went well, and does nothing.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn lying(directory: &Path, binary: &Path, calls: &[&str]) -> Result<Self, ChaosError> {
        Self::new(directory, binary, &format!("{}:retval=0", calls.join(",")))
    }

    fn new(directory: &Path, binary: &Path, injected: &str) -> Result<Self, ChaosError> {
        let (wrapper, trace) = (directory.join("broker"), directory.join("trace"));
        let calls = injected.split(':').next().unwrap_or_default();
        // -D: the broker keeps its place as the child, its process id and its exit status. -y: each
        // call names its file.
        let script = format!(
            "#!/bin/sh\nexec strace -D -f -qq -y -e signal=none -o '{}' -e trace={calls} \
             -e inject={injected} -- '{}' \"$@\"\n",
            trace.display(),
            binary.display()
        );
        let what = || format!("writing {}", wrapper.display());
        fs::write(&wrapper, script).map_err(ChaosError::system(what()))?;
        let executable = Permissions::from_mode(0o755);
        fs::set_permissions(&wrapper, executable).map_err(ChaosError::system(what()))?;
        Ok(Self { wrapper, trace })
    }

    /// What to start in place of the broker's binary.
    #[must_use]
    pub fn wrapper(&self) -> &Path {
        &self.wrapper
    }

    /// The call that failed, as strace prints it; nothing when none has yet.
    #[must_use]
    pub fn injected(&self) -> Option<String> {
        injected(&fs::read_to_string(&self.trace).unwrap_or_default())
    }
}

/// The first call of a trace that failed on purpose. Where another thread's call was printed in the
/// middle of it, its beginning, which names the file, comes first.
#[must_use]
pub fn injected(trace: &str) -> Option<String> {
    let (before, _) = trace.split_once("(INJECTED)")?;
    let begins_at = before.rfind('\n').map_or(0, |end| end + 1);
    let line = trace[begins_at..].lines().next()?;
    let (thread, call) = line.split_once(' ')?;
    let call = call.trim();
    if !call.starts_with("<...") {
        return Some(call.to_owned());
    }
    let begins = |line: &&str| line.split_once(' ').is_some_and(|(of, _)| of == thread);
    let first = before[..begins_at].lines().rev().find(begins)?;
    Some(format!("{} {call}", first[thread.len()..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failed_call_is_found() {
        let line = "12  fdatasync(9) = -1 EIO (Input/output error) (INJECTED)";
        let trace = format!("11  fdatasync(9) = 0\n{line}\n");
        assert_eq!(injected(&trace).as_deref(), line.split_once(' ').map(|(_, call)| call.trim()));
        assert_eq!(injected("11  fdatasync(9) = 0\n"), None);
    }

    #[test]
    fn a_call_that_others_interrupt_names_its_file_all_the_same() {
        let trace = "11  fsync(7</data/index/db> <unfinished ...>\n12  fsync(9</data/x>) = 0\n\
                     11  <... fsync resumed>) = -1 EIO (Input/output error) (INJECTED)\n";
        let found = injected(trace).unwrap();
        assert!(found.starts_with("fsync(7</data/index/db> <unfinished ...> <... fsync resumed>)"));
    }
}
