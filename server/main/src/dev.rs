//! `ropewalk dev`: a cluster on this machine in one command, for people and tests.
//!
//! Each broker is a process of its own, this binary with `serve`, so that one may be killed and the
//! others be watched. They end when the command does.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use futures::future::{join_all, select_all};
use ropewalk::{Client, Health};
use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::cli::Dev;
use crate::serve::Signals;

/// How far the ports of one broker are from those of the next.
const PORT_STEP: u16 = 100;
/// How often a broker that is not ready is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long the brokers may take to end before they are killed: more than they take by their
/// default settings.
const END_WITHIN: Duration = Duration::from_secs(60);

/// Why there is no cluster.
#[derive(Debug, Error)]
pub(crate) enum DevError {
    /// A broker has ended before the cluster was ready.
    #[error("broker {node} ended ({status}) before the cluster was ready: its log above says why")]
    Ended {
        /// Which.
        node: u16,
        /// How.
        status: ExitStatus,
    },
    /// The last broker has ended, and nobody had told it to.
    #[error("all brokers have ended: their logs above say why")]
    AllEnded,
    /// Something that the system refused.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Its answer.
        error: io::Error,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> DevError {
    let what = what.into();
    move |error| DevError::System { what, error }
}

/// Where the data is. One that was made for this run goes with it.
struct Data {
    path: PathBuf,
    is_temporary: bool,
}

impl Data {
    fn open(given: Option<&Path>) -> Result<Self, DevError> {
        let temporary =
            || std::env::temp_dir().join(format!("ropewalk-dev-{}", std::process::id()));
        let (path, is_temporary) =
            given.map_or_else(|| (temporary(), true), |given| (given.to_owned(), false));
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(!is_temporary).mode(0o700).create(&path);
        made.map_err(system(format!("making {}", path.display())))?;
        Ok(Self { path, is_temporary })
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("ropewalk: {} is left behind: {error}", self.path.display());
        }
    }
}

/// A broker of the cluster.
struct Node {
    id: u16,
    address: String,
    child: Child,
}

impl Node {
    fn start(args: &Dev, id: u16, data: &Path, binary: &Path) -> Result<Self, DevError> {
        let flags = flags(args, id, data);
        let child = Command::new(binary)
            .arg("serve")
            .args(flags)
            .args(&args.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(system(format!("starting {}", binary.display())))?;
        tokio::spawn(show(id, child.stdout.take().expect("it is piped")));
        tokio::spawn(show(id, child.stderr.take().expect("it is piped")));
        Ok(Self { id, address: address(args, id, 0), child })
    }

    /// Waits until it serves, or ends.
    async fn ready(&mut self) -> Result<(), DevError> {
        tokio::select! {
            () = serves(&self.address) => Ok(()),
            status = self.child.wait() => {
                let status = status.map_err(system("waiting for a broker"))?;
                Err(DevError::Ended { node: self.id, status })
            }
        }
    }

    /// Waits until it has ended.
    async fn ended(&mut self) -> (u16, io::Result<ExitStatus>) {
        (self.id, self.child.wait().await)
    }

    /// Tells it to end, and waits.
    async fn stop(mut self) {
        // One that has ended by itself has no id any more.
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(pid) = pid {
            // It may end in this moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(END_WITHIN, self.child.wait()).await.is_err() {
            eprintln!("ropewalk: broker {} does not end and is killed", self.id);
            let _ = self.child.kill().await;
        }
    }
}

fn address(args: &Dev, id: u16, beside: u16) -> String {
    format!("127.0.0.1:{}", args.base_port + (id - 1) * PORT_STEP + beside)
}

/// What `serve` is given for a broker.
fn flags(args: &Dev, id: u16, data: &Path) -> Vec<OsString> {
    let all = || 1..=args.nodes;
    let join: Vec<_> = all().map(|id| address(args, id, 1)).collect();
    let bootstrap: Vec<_> = all().map(|id| id.to_string()).collect();
    let mut flags: Vec<OsString> = Vec::new();
    let values = [
        ("--node-id", id.to_string().into()),
        ("--listen", address(args, id, 0).into()),
        ("--peer-listen", address(args, id, 1).into()),
        ("--admin-listen", address(args, id, 2).into()),
        ("--join", join.join(",").into()),
        ("--bootstrap", bootstrap.join(",").into()),
        ("--data-dir", data.join(id.to_string()).into_os_string()),
    ];
    for (flag, value) in values {
        flags.extend([flag.into(), value]);
    }
    flags
}

/// Shows what a broker says, with its id before each line.
async fn show(id: u16, output: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{id} | {line}");
    }
}

async fn serves(address: &str) {
    loop {
        if let Ok(client) = Client::connect(address).await
            && let Ok(Health::Serving) = client.admin().health().await
        {
            return;
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Runs the cluster until SIGINT or SIGTERM, or until all brokers have ended.
pub(crate) async fn run(args: &Dev) -> Result<ExitCode, DevError> {
    let mut stop = Signals::new().map_err(system("listening to signals"))?;
    let binary = std::env::current_exe().map_err(system("finding this program"))?;
    let data = Data::open(args.data_dir.as_deref())?;
    let started: Result<Vec<_>, _> =
        (1..=args.nodes).map(|id| Node::start(args, id, &data.path, &binary)).collect();
    let mut nodes = started?;
    let outcome = tokio::select! {
        Err(error) = watch(&mut nodes) => Err(error),
        _ = stop.received() => Ok(ExitCode::SUCCESS),
    };
    join_all(nodes.into_iter().map(Node::stop)).await;
    outcome
}

/// Tells when the cluster is ready, and which brokers end. Ends when all have, which is an error:
/// nobody told them to.
async fn watch(nodes: &mut [Node]) -> Result<Infallible, DevError> {
    let ready = join_all(nodes.iter_mut().map(Node::ready)).await;
    ready.into_iter().collect::<Result<Vec<()>, _>>()?;
    let addresses: Vec<_> = nodes.iter().map(|node| node.address.as_str()).collect();
    println!("ready: {} brokers, ROPEWALK_SERVER={}", nodes.len(), addresses.join(","));
    let mut left: Vec<_> = nodes.iter_mut().collect();
    while !left.is_empty() {
        let ends = left.iter_mut().map(|node| Box::pin(node.ended()));
        let ((id, status), _, others) = select_all(ends).await;
        drop(others);
        let status = status.map_err(system("waiting for a broker"))?;
        let others = if left.len() > 1 { "; the others go on" } else { "" };
        eprintln!("ropewalk: broker {id} has ended ({status}){others}");
        left.retain(|node| node.id != id);
    }
    Err(DevError::AllEnded)
}
