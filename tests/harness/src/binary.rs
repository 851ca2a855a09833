//! Finds the binary under test.

use std::path::{Path, PathBuf};

use crate::error::HarnessError;

/// Names the binary, where it is not beside the tests.
pub(crate) const VARIABLE: &str = "ROPEWALK_BIN";

/// The `ropewalk` binary: the one that ROPEWALK_BIN names, or the one in the target directory that
/// the running test comes from.
///
/// # Errors
/// When it has not been built.
pub fn ropewalk_binary() -> Result<PathBuf, HarnessError> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return existing(PathBuf::from(path));
    }
    let test =
        std::env::current_exe().map_err(HarnessError::system("finding the test's binary"))?;
    existing(beside(&test))
}

fn existing(path: PathBuf) -> Result<PathBuf, HarnessError> {
    if path.is_file() { Ok(path) } else { Err(HarnessError::NoBinary { path }) }
}

/// Tests lie in `target/PROFILE/deps/`, examples in `target/PROFILE/examples/`, binaries in
/// `target/PROFILE/`.
fn beside(test: &Path) -> PathBuf {
    let directory = test.parent().unwrap_or(Path::new("."));
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => directory.parent().unwrap_or(directory),
        _ => directory,
    };
    profile.join(format!("ropewalk{}", std::env::consts::EXE_SUFFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_in_the_directory_of_the_profile() {
        for test in ["/t/debug/deps/e2e-1", "/t/debug/examples/x", "/t/debug/ropewalk-bench"] {
            assert_eq!(beside(Path::new(test)), Path::new("/t/debug/ropewalk"));
        }
    }

    #[test]
    fn a_missing_one_is_answered_with_what_to_run() {
        let error = existing(PathBuf::from("/nowhere/ropewalk")).expect_err("it is missing");
        assert!(error.to_string().contains("cargo build --bin ropewalk"), "{error}");
    }
}
