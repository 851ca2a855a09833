//! Three brokers that form a cluster, and the command line.

use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ropewalk_harness::{Broker, BrokerBuilder, cluster, ropewalk_binary};
use serde_json::Value;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

/// How long anything may take that should happen at once; a machine that is busy makes it wait.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Runs a future to its end, or fails the test.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {SOON:?} in vain: {what}"),
    }
}

/// Looks again and again, until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < 2 * SOON, "waited in vain: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Brokers 1, 2 and 3.
pub(crate) struct Three {
    brokers: Vec<Broker>,
}

impl Three {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further flags.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let small = |builder: BrokerBuilder| {
            builder.args(["--journal-size", "64MiB"]).args(flags.iter().copied())
        };
        let brokers = cluster::three(small).await.unwrap();
        Self { brokers }
    }

    pub(crate) fn address(&self, node: usize) -> &str {
        self.brokers[node - 1].address()
    }

    pub(crate) fn addresses(&self) -> String {
        self.brokers.iter().map(Broker::address).collect::<Vec<_>>().join(",")
    }

    /// Ends a broker with SIGTERM. Returns how long it took.
    pub(crate) async fn stop(&mut self, node: usize) -> Duration {
        self.brokers[node - 1].terminate().await.unwrap().took
    }

    pub(crate) fn at(&mut self, node: usize) -> &mut Broker {
        &mut self.brokers[node - 1]
    }

    /// Runs a command that must succeed, by whichever broker answers; returns what it prints.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        cli(&self.addresses(), args)
    }

    pub(crate) fn try_cli(&self, args: &[&str]) -> (i32, String, String) {
        try_cli(&self.addresses(), args)
    }

    /// What the cluster's status says of a broker.
    pub(crate) fn broker(&self, node: u64) -> Value {
        let status = json(&self.cli(&["cluster", "status", "--format", "json"]));
        let brokers = status["brokers"].as_array().unwrap().clone();
        brokers.into_iter().find(|broker| broker["broker_id"] == node).unwrap()
    }
}

pub(crate) fn cli(server: &str, args: &[&str]) -> String {
    let (code, out, errors) = try_cli(server, args);
    assert_eq!(code, 0, "{args:?}: {errors}");
    out
}

pub(crate) fn try_cli(server: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(ropewalk_binary().unwrap());
    command.args(args).env("ROPEWALK_SERVER", server).stdin(Stdio::null());
    let Output { status, stdout, stderr } = block_in_place(|| command.output()).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A port such that it, the two after it, and those 100 and 200 higher are free; another one for
/// each test.
pub(crate) fn free_base_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let begin = 20_000 + u16::try_from(std::process::id() % 5_000).unwrap();
    let begin = begin + 500 * GIVEN.fetch_add(1, Ordering::Relaxed);
    let all = |base: &u16| (0..3).all(|node| (0..3).all(|at| is_free(base + node * 100 + at)));
    (begin..begin + 10_000).step_by(7).find(all).unwrap()
}

/// Sends a signal to a process that this test started.
pub(crate) fn signal(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}
