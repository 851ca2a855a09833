//! A namespace of our own for mounts and processes. Whatever happens to this process, the kernel
//! then ends what it started and unmounts what it mounted.

use std::env;
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};

use ropewalk_chaos::is_root;

/// Set in the process that lives in the sandbox.
const INSIDE: &str = "ROPEWALK_CHAOS_SANDBOX";
const UNSHARE: [&str; 7] =
    ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Whether this process may mount without leaving anything behind.
pub(crate) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program again within a sandbox, and gives how it ended. Nothing when this already is
/// that process, or when the system offers no sandbox: then the tests that need one are skipped.
pub(crate) fn enter(arguments: &[String]) -> Option<ExitCode> {
    if is_inside() {
        end_with_the_outer_process();
        return None;
    }
    let offered = || Command::new("unshare").args(UNSHARE).arg("true").output();
    if !is_root() || !offered().is_ok_and(|tried| tried.status.success()) {
        return None;
    }
    match run_inside(arguments) {
        Ok(code) => Some(code),
        Err(error) => {
            eprintln!("the sandbox could not be started: {error}");
            Some(ExitCode::FAILURE)
        }
    }
}

fn run_inside(arguments: &[String]) -> std::io::Result<ExitCode> {
    // It goes when this process ends in good order, also when the one inside does not.
    let temporary = tempfile::Builder::new().prefix("ropewalk-chaos-").tempdir()?;
    let mut inner = Command::new("unshare")
        .args(UNSHARE)
        .arg(env::current_exe()?)
        .args(arguments)
        .env(INSIDE, "1")
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::piped())
        .spawn()?;
    // Held, and never written to: see `end_with_the_outer_process`.
    let held = inner.stdin.take();
    let status = inner.wait()?;
    drop(held);
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The first process of a namespace gets no signals from a terminal. It ends when its standard
/// input does, which the outer process holds; and with it the namespace.
fn end_with_the_outer_process() {
    std::thread::spawn(|| {
        // Nobody writes: it returns at the end.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(130);
    });
}
