//! A process that stands still.

use std::fs;
use std::time::Duration;

use ropewalk_harness::Broker;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::error::ChaosError;

/// How long the threads of a process may take to stand still.
const STILL_WITHIN: Duration = Duration::from_secs(5);

/// A process that stands still, as long as this lives.
#[derive(Debug)]
pub struct Stopped(Pid);

impl Stopped {
    /// Stops a broker by a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn new(broker: &Broker) -> Result<Self, ChaosError> {
        let pid = broker.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| ChaosError::broken("the broker does not run"))?;
        let stopped = kill_process(pid, Signal::STOP);
        stopped.map_err(|error| ChaosError::system("stopping the broker")(error.into()))?;
        Ok(Self(pid))
    }

    /// Waits until no thread of it can do anything of its own any more: each stands still, or is in
    /// a call of the kernel, such as a sync, from which it will not come back.
    ///
    /// # Errors
    /// When one of them goes on.
    pub fn wait_still(&self) -> Result<(), ChaosError> {
        let until = Instant::now() + STILL_WITHIN;
        while !self.is_still() {
            if Instant::now() > until {
                return Err(ChaosError::broken("a process runs on after SIGSTOP"));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn is_still(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.0.as_raw_nonzero());
        let Ok(tasks) = fs::read_dir(tasks) else { return true };
        tasks.flatten().all(|task| {
            // A thread that is gone does nothing. The state stands behind the name, in brackets.
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            matches!(state, None | Some('T' | 't' | 'D' | 'Z' | 'X'))
        })
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // One that is gone needs no signal.
        let _ = kill_process(self.0, Signal::CONT);
    }
}
