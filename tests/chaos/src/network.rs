//! Several hosts on one machine: a network namespace for each node, joined by a bridge, on which
//! the clients live too.
//!
//! All of it lies in the namespaces of the sandbox, so that the kernel removes it when the tests
//! end, however they end; names and addresses can clash with nobody's.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::command::{has_program, run};
use crate::error::ChaosError;
use crate::history::NodeId;

const BRIDGE: &str = "ropewalk";
/// The host part of the clients' address.
const CLIENTS: u64 = 254;
const TABLE: &str = "ropewalk_chaos";

/// What a node does not receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum From {
    /// What this node sends to it.
    Node(NodeId),
    /// What clients send to it.
    Clients,
}

/// Namespaces and their links. They go when this is dropped.
#[derive(Debug)]
pub struct Network {
    nodes: Vec<NodeId>,
}

/// The address of a node, without a port.
fn host(number: u64) -> String {
    format!("10.91.0.{number}")
}

fn namespace(node: NodeId) -> String {
    format!("ropewalk-{node}")
}

fn ip(arguments: &str) -> Result<String, ChaosError> {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

impl Network {
    /// The program that a network cannot be made without and that is missing here.
    #[must_use]
    pub fn missing_program() -> Option<&'static str> {
        ["ip", "nft", "nsenter"].into_iter().find(|program| !has_program(program))
    }

    /// Makes namespaces for the nodes 1 to `nodes`. The caller lives in a network namespace of its
    /// own.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn make(nodes: NodeId) -> Result<Self, ChaosError> {
        // What is made is removed again also when the rest cannot be.
        let mut network = Self { nodes: Vec::new() };
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("addr add {}/24 dev {BRIDGE}", host(CLIENTS)))?;
        ip(&format!("link set {BRIDGE} up"))?;
        for node in 1..=nodes {
            let (space, link) = (namespace(node), format!("rw{node}"));
            ip(&format!("netns add {space}"))?;
            network.nodes.push(node);
            ip(&format!("link add {link} type veth peer name eth0 netns {space}"))?;
            ip(&format!("link set {link} master {BRIDGE} up"))?;
            ip(&format!("-n {space} addr add {}/24 dev eth0", host(node)))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        Ok(network)
    }

    /// HOST:PORT of a node.
    #[must_use]
    pub fn address(node: NodeId, port: u16) -> String {
        format!("{}:{port}", host(node))
    }

    /// The program that another one is started through to live where a node does.
    #[must_use]
    pub fn entry(node: NodeId) -> [String; 2] {
        // Not `ip netns exec`: its namespace of mounts would hold a disk after it was unmounted.
        ["nsenter".to_owned(), format!("--net=/run/netns/{}", namespace(node))]
    }

    /// From now on a node receives only so many percent of what these send, which replaces what was
    /// said before. One way only: what it sends still leaves.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn lose(&self, node: NodeId, from: &BTreeMap<From, u8>) -> Result<(), ChaosError> {
        let rules = from.iter().map(|(from, percent)| {
            let source = match from {
                From::Node(node) => host(*node),
                From::Clients => host(CLIENTS),
            };
            match percent {
                100.. => format!("ip saddr {source} drop\n"),
                percent => format!("ip saddr {source} numgen random mod 100 < {percent} drop\n"),
            }
        });
        let rules: String = rules.collect();
        // Adding it first makes deleting it go well.
        let script = format!(
            "add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n\
             chain input {{\ntype filter hook input priority 0;\n{rules}}}\n}}\n"
        );
        nft(node, &script)
    }

    /// Everything arrives everywhere again.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn heal(&self) -> Result<(), ChaosError> {
        self.nodes.iter().try_for_each(|node| self.lose(*node, &BTreeMap::new()))
    }
}

fn nft(node: NodeId, script: &str) -> Result<(), ChaosError> {
    let what = "running nft";
    let [program, space] = Network::entry(node);
    let mut nft = Command::new(program)
        .args([space.as_str(), "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ChaosError::system(what))?;
    if let Some(mut input) = nft.stdin.take() {
        input.write_all(script.as_bytes()).map_err(ChaosError::system(what))?;
    }
    let output = nft.wait_with_output().map_err(ChaosError::system(what))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ChaosError::Command { command: format!("nft -f - with\n{script}"), output })
}

impl Drop for Network {
    fn drop(&mut self) {
        // What is left goes with the sandbox.
        for node in &self.nodes {
            let _ = ip(&format!("link del rw{node}"));
            let _ = ip(&format!("netns del {}", namespace(*node)));
        }
        let _ = ip(&format!("link del {BRIDGE}"));
    }
}
