//! Runs the tests in processes of their own, several at a time: each has its own sandbox, with its
//! own network and mounts, so that they share nothing but the machine.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use ropewalk_chaos::{Options, SEED};

/// Set in the processes of such a run.
const PART: &str = "ROPEWALK_CHAOS_PART";

/// Whether this process is of a run of several.
pub(crate) fn is_part() -> bool {
    std::env::var_os(PART).is_some()
}

/// Runs the tests of these names, and gives those that failed. What one prints comes as a whole,
/// when it has ended.
pub(crate) fn run<'a>(names: &[&'a str], options: Options) -> Vec<&'a str> {
    let waiting = Mutex::new(names.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(name) = next(&waiting) {
                    if !one(name, options) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(*name);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The next one, for whoever asks first.
fn next<'a, T>(waiting: &Mutex<std::slice::Iter<'a, T>>) -> Option<&'a T> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn one(name: &str, options: Options) -> bool {
    match start(name, options) {
        Ok(Output { status, stdout, stderr }) => {
            let mut out = io::stdout().lock();
            let printed = out.write_all(&stdout).and_then(|()| out.write_all(&stderr));
            status.success() && printed.is_ok()
        }
        Err(error) => {
            println!("{name} could not be started: {error}");
            false
        }
    }
}

fn start(name: &str, options: Options) -> io::Result<Output> {
    let mut part = Command::new(std::env::current_exe()?)
        .args(["--exact", name])
        .env(PART, "1")
        .env(SEED, options.seed.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Held until it has ended, and never written to: it ends when this process does.
    let held = part.stdin.take();
    let output = part.wait_with_output();
    drop(held);
    output
}
