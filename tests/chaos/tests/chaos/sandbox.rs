//! Namespaces of our own for mounts, processes and the network. Whatever happens to this process,
//! the kernel then ends what it started, unmounts what it mounted and removes its interfaces.
//! What else it leaves when it is killed, the next run removes.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};

use ropewalk_chaos::{KEEP, SlowDisk, is_root, run};

use crate::jobs;

/// Set in the process that lives in the sandbox: to what it has of its own.
const INSIDE: &str = "ROPEWALK_CHAOS_SANDBOX";
const WITH_NETWORK: &str = "network";
const WITHOUT_NETWORK: &str = "mounts";
const UNSHARE: [&str; 7] =
    ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// Begins the names of temporary directories.
const PREFIX: &str = "ropewalk-chaos-";
/// Locked in a temporary directory by the process that it belongs to.
const LOCK: &str = "lock";

/// Whether this process may mount without leaving anything behind.
pub(crate) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Whether this process may make network interfaces without leaving anything behind.
pub(crate) fn has_network() -> bool {
    env::var_os(INSIDE).is_some_and(|inside| inside == WITH_NETWORK)
}

/// Runs this program again within a sandbox, and gives how it ended. Nothing when this already is
/// that process, or when the system offers no sandbox: then the tests that need one are skipped.
pub(crate) fn enter(arguments: &[String]) -> Option<ExitCode> {
    if is_inside() {
        end_with_the_outer_process();
        if has_network()
            && let Err(error) = set_up_network()
        {
            eprintln!("the network of the sandbox could not be set up: {error}");
            return Some(ExitCode::FAILURE);
        }
        return None;
    }
    if jobs::is_part() {
        end_with_the_outer_process();
    }
    let offered = |arguments: &[&str]| {
        let tried = Command::new("unshare").args(UNSHARE).args(arguments).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    if !is_root() || !offered(&["true"]) {
        return None;
    }
    let network = offered(&["--net", "ip", "link", "set", "lo", "up"]);
    if !jobs::is_part() {
        clean_up();
    }
    match run_inside(arguments, network) {
        Ok(code) => Some(code),
        Err(error) => {
            eprintln!("the sandbox could not be started: {error}");
            Some(ExitCode::FAILURE)
        }
    }
}

/// Removes what a run left behind that was killed.
pub(crate) fn clean_up() {
    SlowDisk::clean_up();
    remove_left_over(&env::temp_dir());
}

/// Removes the directories in which nobody holds the lock.
fn remove_left_over(directory: &std::path::Path) {
    for found in fs::read_dir(directory).into_iter().flatten().flatten() {
        let ours = found.file_name().to_string_lossy().starts_with(PREFIX);
        if ours
            && let Ok(lock) = File::open(found.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(found.path());
        }
    }
}

fn run_inside(arguments: &[String], network: bool) -> std::io::Result<ExitCode> {
    // It goes when this process ends in good order, also when the one inside does not.
    let temporary = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
    let lock = File::create(temporary.path().join(LOCK))?;
    lock.lock()?;
    let mut inner = Command::new("unshare");
    inner.args(UNSHARE).args(network.then_some("--net")).arg(env::current_exe()?).args(arguments);
    if env::var_os(KEEP).is_none() {
        // What a failure leaves is to outlive the temporary directory.
        inner.env(KEEP, env::temp_dir());
    }
    let mut inner = inner
        .env(INSIDE, if network { WITH_NETWORK } else { WITHOUT_NETWORK })
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::piped())
        .spawn()?;
    // Held, and never written to: see `end_with_the_outer_process`.
    let held = inner.stdin.take();
    let status = inner.wait()?;
    drop((held, lock));
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gets the network of the sandbox ready: its loopback works, and the names of the namespaces that
/// are made are seen here alone.
fn set_up_network() -> Result<(), ropewalk_chaos::ChaosError> {
    run("ip", &["link", "set", "lo", "up"])?;
    run("mkdir", &["-p", "/run/netns"])?;
    run("mount", &["-t", "tmpfs", "none", "/run/netns"])?;
    Ok(())
}

/// The first process of a namespace gets no signals from a terminal, and one of several is not told
/// that the one which started it was killed. It ends when its standard input does, which the outer
/// process holds; and with it the namespace.
fn end_with_the_outer_process() {
    std::thread::spawn(|| {
        // Nobody writes: it returns at the end.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(130);
    });
}
