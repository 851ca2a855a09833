//! A broker that runs, or ran.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, timeout};

use crate::builder::{BrokerBuilder, is_port_clash};
use crate::error::HarnessError;
use crate::launch::{Launch, Running};
use crate::{http, process};

/// How long a broker may take to end after SIGTERM. It promises less; a test checks that with
/// [`Termination::took`].
const TERMINATE_WITHIN: Duration = Duration::from_secs(30);
/// How often a broker is started again on its ports while somebody else has one of them.
const RESTART_ATTEMPTS: u32 = 20;
/// The lines of the log that a failed test shows.
const SHOWN_LINES: usize = 200;

/// A broker: a process, its addresses and its files. It is killed when this is dropped.
#[derive(Debug)]
pub struct Broker {
    launch: Launch,
    running: Option<Running>,
    ready_within: Duration,
}

/// How a broker ended after SIGTERM.
#[derive(Clone, Copy, Debug)]
pub struct Termination {
    /// The status with which it ended.
    pub status: ExitStatus,
    /// The time from the signal to the end.
    pub took: Duration,
}

impl Broker {
    /// Starts a broker with default settings, and waits until it is ready.
    ///
    /// # Errors
    /// As [`BrokerBuilder::start`].
    pub async fn start() -> Result<Self, HarnessError> {
        Self::builder().start().await
    }

    /// Says how a broker is to be started.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    pub(crate) fn new(launch: Launch, running: Option<Running>, ready_within: Duration) -> Self {
        Self { launch, running, ready_within }
    }

    /// Whether there is a process, ready or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// A variable of the environment of later starts.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.launch.environment.retain(|(known, _)| known != name);
        self.launch.environment.push((name.into(), value.into()));
    }

    /// Starts the process, and does not wait: one of several brokers may be ready only when others
    /// run too. A process of before must have been ended.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn begin(&mut self) -> Result<(), HarnessError> {
        self.running = Some(self.launch.begin()?);
        Ok(())
    }

    /// Waits until the process is ready, at most as long as the builder said, from its start.
    ///
    /// # Errors
    /// When it ends or takes too long; its log is in the error. When it does not run.
    pub async fn wait_ready(&mut self) -> Result<(), HarnessError> {
        let running = self.running.as_mut().ok_or(HarnessError::NotRunning)?;
        self.launch.wait_ready(running, self.ready_within).await
    }

    /// HOST:PORT of the client port. It stays the same over restarts.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.launch.address
    }

    /// HOST:PORT of the admin port. It stays the same over restarts.
    #[must_use]
    pub fn admin_address(&self) -> &str {
        &self.launch.admin_address
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.launch.files.data_dir()
    }

    /// The file that has all that the broker logged.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        self.launch.files.log_path()
    }

    /// What the broker logged since its newest start.
    #[must_use]
    pub fn log(&self) -> String {
        self.launch.log()
    }

    /// The process id. Nothing when the broker does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// The time from the newest start of the process until it was ready.
    #[must_use]
    pub fn ready_after(&self) -> Option<Duration> {
        self.running.as_ref().and_then(|running| running.ready_after)
    }

    /// The bytes of the process that are in memory.
    ///
    /// # Errors
    /// When it does not run.
    pub fn rss_bytes(&self) -> Result<u64, HarnessError> {
        process::rss_bytes(self.pid().ok_or(HarnessError::NotRunning)?)
    }

    /// The CPU seconds that the process has used since its newest start.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cpu_seconds(&self) -> Result<f64, HarnessError> {
        process::cpu_seconds(self.pid().ok_or(HarnessError::NotRunning)?)
    }

    /// The status and the body of the admin port's answer to a GET.
    ///
    /// # Errors
    /// When there is no answer, or no HTTP.
    pub async fn admin_get(&self, path: &str) -> Result<(u16, String), HarnessError> {
        http::get(self.admin_address(), path).await
    }

    /// The value of one series of the metrics, named as in their text, such as
    /// `ropewalk_active_subscriptions` or `ropewalk_rpc_requests_total{code="OK",method="…"}`.
    /// Nothing when there is no such series yet.
    ///
    /// # Errors
    /// When the admin port does not answer.
    pub async fn metric(&self, series: &str) -> Result<Option<f64>, HarnessError> {
        let (_, text) = self.admin_get("/metrics").await?;
        Ok(value_of(&text, series))
    }

    /// The status with which the process ended by itself; nothing while it runs.
    ///
    /// # Errors
    /// When it was stopped by the test.
    pub fn try_exit_status(&mut self) -> Result<Option<ExitStatus>, HarnessError> {
        let running = self.running.as_mut().ok_or(HarnessError::NotRunning)?;
        running.child.try_wait().map_err(HarnessError::system("waiting for the broker"))
    }

    /// Kills the process, as a crash would, and waits until it is gone. One that has ended by
    /// itself is let be.
    ///
    /// # Errors
    /// When the test has stopped it before.
    pub async fn kill9(&mut self) -> Result<(), HarnessError> {
        let ended = self.try_exit_status()?.is_some();
        let mut running = self.running.take().ok_or(HarnessError::NotRunning)?;
        if ended {
            return Ok(());
        }
        running.child.kill().await.map_err(HarnessError::system("killing the broker"))
    }

    /// Stops the process, with SIGSTOP, until [`Broker::resume`]: it holds its ports and
    /// connections, and does nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<(), HarnessError> {
        send(self.pid().ok_or(HarnessError::NotRunning)?, Signal::STOP)
    }

    /// Lets a process go on that was paused.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<(), HarnessError> {
        send(self.pid().ok_or(HarnessError::NotRunning)?, Signal::CONT)
    }

    /// Tells the process to end, with SIGTERM, and waits until it has. Of one that has ended by
    /// itself it gives the status.
    ///
    /// # Errors
    /// When the test has stopped it before, or when it still runs after 30 s; then it is killed.
    pub async fn terminate(&mut self) -> Result<Termination, HarnessError> {
        let ended = self.try_exit_status()?;
        let mut running = self.running.take().ok_or(HarnessError::NotRunning)?;
        if let Some(status) = ended {
            return Ok(Termination { status, took: Duration::ZERO });
        }
        let started = Instant::now();
        send(running.pid, Signal::TERM)?;
        let waiting = "waiting for the broker";
        match timeout(TERMINATE_WITHIN, running.child.wait()).await {
            Ok(status) => {
                let status = status.map_err(HarnessError::system(waiting))?;
                Ok(Termination { status, took: started.elapsed() })
            }
            Err(_) => {
                running.child.kill().await.map_err(HarnessError::system("killing the broker"))?;
                let waited = started.elapsed();
                Err(HarnessError::StillRunning { waited, log: self.launch.log() })
            }
        }
    }

    /// Starts the broker again, on the same ports and data; ends it first when it runs.
    ///
    /// # Errors
    /// As [`BrokerBuilder::start`] and [`Broker::terminate`].
    pub async fn restart(&mut self) -> Result<(), HarnessError> {
        if self.running.is_some() {
            self.terminate().await?;
        }
        let mut attempts = 1;
        loop {
            match self.launch.start(self.ready_within).await {
                Ok(running) => {
                    self.running = Some(running);
                    return Ok(());
                }
                // Clients know the port: it is waited for, not replaced.
                Err(error) if is_port_clash(&error) && attempts < RESTART_ATTEMPTS => {
                    attempts += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn show_log(&self) {
        let log = self.launch.files.log_from(0);
        let lines: Vec<_> = log.lines().collect();
        let start = lines.len().saturating_sub(SHOWN_LINES);
        eprintln!("--- the log of the broker at {} ---", self.address());
        for line in &lines[start..] {
            eprintln!("{line}");
        }
        eprintln!("--- end of the log ---");
    }
}

impl Drop for Broker {
    #[allow(clippy::disallowed_methods)] // A drop cannot await: it sleeps, for a bounded time.
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            // It may have ended by itself: then there is nothing to kill.
            let _ = running.child.start_kill();
            // It must be gone before its files go. A killed process takes moments.
            for _ in 0..1_000 {
                if !matches!(running.child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if std::thread::panicking() {
            self.show_log();
        }
    }
}

fn send(pid: u32, signal: Signal) -> Result<(), HarnessError> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.expect("the system gives positive process ids that fit");
    let sent = kill_process(pid, signal);
    sent.map_err(|error| HarnessError::system("sending a signal to the broker")(error.into()))
}

fn value_of(text: &str, series: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    values.filter_map(|value| value.trim().parse().ok()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_paused_process_stands_still_until_it_is_resumed() {
        let builder = Broker::builder().binary("/bin/true").through(["sh", "-c", "exec sleep 60"]);
        let mut broker = builder.prepare().expect("there is room");
        assert!(broker.pause().is_err(), "it does not run yet");
        broker.begin().expect("there is a shell");
        let stat = format!("/proc/{}/stat", broker.pid().expect("it runs"));
        let state = || {
            let stat = std::fs::read_to_string(&stat).expect("it runs");
            stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next())
        };
        broker.pause().expect("it runs");
        // The signal is delivered when it is sent, and carried out at the next look at the process.
        while state() != Some('T') {
            tokio::task::yield_now().await;
        }
        broker.resume().expect("it runs");
        while state() == Some('T') {
            tokio::task::yield_now().await;
        }
        broker.kill9().await.expect("it runs");
    }

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let text = "# HELP a A.\n# TYPE a gauge\na_b 1\na 2\na{x=\"y\"} 3.5\n";
        assert_eq!(value_of(text, "a"), Some(2.0));
        assert_eq!(value_of(text, "a{x=\"y\"}"), Some(3.5));
        assert_eq!(value_of(text, "b"), None);
    }
}
