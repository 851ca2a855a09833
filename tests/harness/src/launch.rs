//! Starts the process and waits until it is ready.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::error::HarnessError;
use crate::http;

/// The time between two looks whether a broker is ready.
const POLL: Duration = Duration::from_millis(5);
/// How long one look may take.
const POLL_TIMEOUT: Duration = Duration::from_secs(1);

/// The files of one broker. They go when it does, but for a data directory that was given.
#[derive(Debug)]
pub(crate) struct Files {
    data_dir: PathBuf,
    log: PathBuf,
    _temporary: TempDir,
}

impl Files {
    pub(crate) fn new(data_dir: Option<PathBuf>) -> Result<Self, HarnessError> {
        let temporary = tempfile::Builder::new()
            .prefix("ropewalk-test-")
            .tempdir()
            .map_err(HarnessError::system("making a temporary directory"))?;
        Ok(Self {
            data_dir: data_dir.unwrap_or_else(|| temporary.path().join("data")),
            log: temporary.path().join("broker.log"),
            _temporary: temporary,
        })
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn log_path(&self) -> &Path {
        &self.log
    }

    /// What is in the log from this byte on.
    pub(crate) fn log_from(&self, start: u64) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(log.len());
        String::from_utf8_lossy(&log[start..]).into_owned()
    }

    fn log_bytes(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |metadata| metadata.len())
    }

    fn open_log(&self) -> Result<File, HarnessError> {
        let what = || format!("opening {}", self.log.display());
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        log.map_err(HarnessError::system(what()))
    }
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) pid: u32,
    pub(crate) started: Instant,
    pub(crate) ready_after: Option<Duration>,
}

/// What every start of one broker has in common.
#[derive(Debug)]
pub(crate) struct Launch {
    binary: PathBuf,
    /// A program and its arguments, which becomes the broker.
    prefix: Vec<String>,
    pub(crate) files: Files,
    pub(crate) environment: Vec<(String, String)>,
    arguments: Vec<String>,
    pub(crate) address: String,
    pub(crate) admin_address: String,
    /// Where in the log the newest start begins.
    pub(crate) log_start: u64,
}

impl Launch {
    pub(crate) fn new(
        binary: PathBuf,
        files: Files,
        environment: Vec<(String, String)>,
        arguments: Vec<String>,
    ) -> Result<Self, HarnessError> {
        let [address, admin_address] = free_addresses()?;
        let (prefix, log_start) = (Vec::new(), 0);
        Ok(Self {
            binary,
            prefix,
            files,
            environment,
            arguments,
            address,
            admin_address,
            log_start,
        })
    }

    /// Addresses of the caller's choice, and a program that the broker is started through, which
    /// must become it.
    pub(crate) fn placed(self, addresses: Option<[String; 2]>, prefix: Vec<String>) -> Self {
        let [address, admin_address] = addresses.unwrap_or([self.address, self.admin_address]);
        Self { address, admin_address, prefix, ..self }
    }

    /// Other ports, when somebody took the chosen ones.
    pub(crate) fn choose_ports(&mut self) -> Result<(), HarnessError> {
        [self.address, self.admin_address] = free_addresses()?;
        Ok(())
    }

    /// Starts the process and waits until it is ready.
    pub(crate) async fn start(&mut self, within: Duration) -> Result<Running, HarnessError> {
        let mut running = self.begin()?;
        self.wait_ready(&mut running, within).await?;
        Ok(running)
    }

    /// Starts the process.
    pub(crate) fn begin(&mut self) -> Result<Running, HarnessError> {
        self.log_start = self.files.log_bytes();
        let started = Instant::now();
        let child = self.spawn()?;
        let pid = child.id().expect("nobody has waited for it yet");
        Ok(Running { child, pid, started, ready_after: None })
    }

    /// Waits until a process is ready, for so long after it was started.
    pub(crate) async fn wait_ready(
        &self,
        running: &mut Running,
        within: Duration,
    ) -> Result<(), HarnessError> {
        while !self.is_ready().await {
            let exited = running.child.try_wait();
            if let Some(status) = exited.map_err(HarnessError::system("waiting for the broker"))? {
                return Err(HarnessError::Exited { status, log: self.log() });
            }
            let waited = running.started.elapsed();
            if waited > within {
                return Err(HarnessError::NotReady { waited, log: self.log() });
            }
            sleep(POLL).await;
        }
        running.ready_after.get_or_insert(running.started.elapsed());
        Ok(())
    }

    /// What was logged since the newest start.
    pub(crate) fn log(&self) -> String {
        self.files.log_from(self.log_start)
    }

    fn spawn(&self) -> Result<Child, HarnessError> {
        let log = self.files.open_log()?;
        let copy = log.try_clone().map_err(HarnessError::system("opening the log again"))?;
        let mut command = match self.prefix.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command
            .arg("serve")
            .args(["--listen", &self.address, "--admin-listen", &self.admin_address])
            .arg("--data-dir")
            .arg(self.files.data_dir())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(copy)
            .stderr(log)
            .kill_on_drop(true);
        // What happens to be set around the tests is no part of them.
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| ["ROPEWALK_", "OTEL_"].iter().any(|p| name.starts_with(p)))
            {
                command.env_remove(name);
            }
        }
        command.env("RUST_BACKTRACE", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let what = format!("starting {}", self.binary.display());
        command.spawn().map_err(HarnessError::system(what))
    }

    async fn is_ready(&self) -> bool {
        let answer = timeout(POLL_TIMEOUT, http::get(&self.admin_address, "/readyz")).await;
        matches!(answer, Ok(Ok((200, _))))
    }
}

/// Two loopback addresses that are free now. They may be taken before the broker binds them: then
/// it ends, and is given others.
fn free_addresses() -> Result<[String; 2], HarnessError> {
    // Both are held until both are chosen, so that they differ.
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let choose = || -> std::io::Result<[String; 2]> {
        let (first, second) = (bind()?, bind()?);
        Ok([first.local_addr()?.to_string(), second.local_addr()?.to_string()])
    };
    choose().map_err(HarnessError::system("looking for a free port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ() {
        let [first, second] = free_addresses().expect("there are ports");
        assert_ne!(first, second);
    }

    #[tokio::test]
    async fn a_broker_that_ends_at_once_leaves_its_log() {
        let files = Files::new(None).expect("room");
        let binary = PathBuf::from("/bin/ls");
        let mut launch = Launch::new(binary, files, Vec::new(), Vec::new()).expect("ports");
        let error = launch.start(Duration::from_secs(10)).await.expect_err("it is no broker");
        let HarnessError::Exited { status, log } = error else { panic!("{error}") };
        assert!(!status.success());
        assert!(log.contains("--listen"), "{log}");
    }

    #[tokio::test]
    async fn a_broker_is_started_through_another_program() {
        let files = Files::new(None).expect("room");
        let binary = PathBuf::from("/bin/broker");
        let launch = Launch::new(binary, files, Vec::new(), Vec::new()).expect("ports");
        let addresses = ["127.0.0.1:1", "127.0.0.1:2"].map(str::to_owned);
        let mut launch = launch.placed(Some(addresses), vec!["echo".into(), "through".into()]);
        let mut running = launch.begin().expect("there is an echo");
        let ready = launch.wait_ready(&mut running, Duration::from_secs(10)).await;
        let HarnessError::Exited { log, .. } = ready.expect_err("it is no broker") else {
            panic!("an echo ends at once");
        };
        let expected = "through /bin/broker serve --listen 127.0.0.1:1 --admin-listen 127.0.0.1:2";
        assert!(log.starts_with(expected), "{log}");
    }
}
