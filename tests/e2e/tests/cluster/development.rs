//! `ropewalk dev`: brokers that are children of a command.

use std::process::Stdio;

use ropewalk_harness::ropewalk_binary;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use super::support::{cli, free_base_port, json, signal, soon};

/// The command, and what it says of its brokers.
struct Dev {
    process: Child,
    /// The brokers' addresses.
    servers: String,
    errors: Lines<BufReader<ChildStderr>>,
}

impl Dev {
    async fn start(nodes: &str, temporary: &std::path::Path) -> Self {
        let port = free_base_port().to_string();
        let mut dev = tokio::process::Command::new(ropewalk_binary().unwrap());
        dev.args(["dev", "--nodes", nodes, "--base-port", &port, "--", "--journal-size", "64MiB"])
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = dev.spawn().unwrap();
        let errors = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = soon("the cluster", lines.next_line()).await.unwrap().unwrap();
        let (_, servers) = ready.split_once("ROPEWALK_SERVER=").unwrap();
        Self { process, servers: servers.to_owned(), errors }
    }

    /// Kills a broker, and waits until the command tells of it.
    async fn kill(&mut self, node: &str) -> String {
        signal("-KILL", self.broker(node).unwrap());
        self.says("has ended").await
    }

    /// The process of a broker.
    fn broker(&self, node: &str) -> Option<u32> {
        let mut processes = std::fs::read_dir("/proc").unwrap();
        processes.find_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let read = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
            let parent = read("status")?.lines().find_map(|line| {
                line.strip_prefix("PPid:").and_then(|parent| parent.trim().parse::<u32>().ok())
            });
            let is_it = read("cmdline")?.contains(&format!("--node-id\0{node}\0"));
            (is_it && parent == self.process.id()).then_some(pid)
        })
    }

    /// The next line of the command with this in it.
    async fn says(&mut self, what: &str) -> String {
        let line = async {
            while let Some(line) = self.errors.next_line().await.unwrap() {
                if line.starts_with("ropewalk: ") && line.contains(what) {
                    return line;
                }
            }
            panic!("it never says {what:?}");
        };
        soon(what, line).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_for_development_goes_on_without_a_broker_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut dev = Dev::start("3", temporary.path()).await;
    let servers = dev.servers.clone();
    let each: Vec<_> = servers.split(',').collect();
    assert_eq!(each.len(), 3, "{servers}");
    cli(&servers, &["produce", "t", "value"]);
    let status = json(&cli(&servers, &["cluster", "--format", "json"]));
    let alive = status["brokers"].as_array().unwrap().iter();
    assert_eq!(alive.filter(|broker| broker["alive"] == true).count(), 3, "{status}");
    assert_eq!(cli(each[2], &["consume", "t", "-n", "1"]), "value\n");

    let told = dev.kill("3").await;
    assert!(told.starts_with("ropewalk: broker 3 has ended (signal: 9"), "{told}");
    assert!(told.ends_with("; the others go on"), "{told}");
    cli(&servers, &["produce", "t", "another"]);
    assert_eq!(cli(each[1], &["consume", "t", "-n", "2"]).lines().count(), 2);

    signal("-TERM", dev.process.id().unwrap());
    // Nobody may be kept from ending by what is not read.
    let rest = async { while dev.errors.next_line().await.unwrap().is_some() {} };
    let (status, ()) = soon("the end", async { tokio::join!(dev.process.wait(), rest) }).await;
    let status = status.unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    for server in each {
        assert!(tokio::net::TcpStream::connect(server).await.is_err(), "{server} is still there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_for_development_that_has_lost_all_brokers_has_failed() {
    let temporary = tempfile::tempdir().unwrap();
    let mut dev = Dev::start("1", temporary.path()).await;
    let told = dev.kill("1").await;
    assert!(told.contains("broker 1 has ended") && !told.contains("the others"), "{told}");
    dev.says("all brokers have ended: their logs above say why").await;
    let status = soon("the end", dev.process.wait()).await.unwrap();
    assert!(!status.success(), "{status}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}
