//! Programs of the system that the tests need.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::ChaosError;

/// Runs a program to its end, and gives what it printed.
///
/// # Errors
/// When it cannot be started, and when it ends with an error; what it said is in the error.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Result<String, ChaosError> {
    let what = || {
        let arguments = arguments.iter().map(|argument| argument.as_ref().to_string_lossy());
        format!("{program} {}", arguments.collect::<Vec<_>>().join(" "))
    };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(ChaosError::system(what()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ChaosError::Command { command: what(), output })
}

/// Whether a program can be found.
#[must_use]
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An administrator's programs are not on everybody's path.
    let more = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(more).any(|directory| directory.join(name).is_file())
}

/// Whether this process may mount.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Copies a directory with everything in it; holes stay holes.
///
/// # Errors
/// As [`run`].
pub fn copy_directory(from: &Path, to: &Path) -> Result<(), ChaosError> {
    run("cp", &["-a".as_ref(), "--sparse=always".as_ref(), from.as_os_str(), to.as_os_str()])?;
    Ok(())
}
