//! Several brokers that form a cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use futures::future::try_join_all;

use crate::{Broker, BrokerBuilder, HarnessError};

/// The first peer port. Its host is this process's own.
const FIRST_PORT: u16 = 10_000;

/// Starts three brokers, with the ids 1 to 3, that form a cluster.
///
/// # Errors
/// As [`several`].
pub async fn three(
    builder: impl Fn(BrokerBuilder) -> BrokerBuilder,
) -> Result<Vec<Broker>, HarnessError> {
    several(3, |_, own| builder(own)).await
}

/// Starts so many brokers, with the ids from 1, that form a cluster. `builder` sets up each of them
/// and is told its id.
///
/// # Errors
/// When one of them does not start, or does not get ready.
pub async fn several(
    count: u16,
    builder: impl Fn(u64, BrokerBuilder) -> BrokerBuilder,
) -> Result<Vec<Broker>, HarnessError> {
    let peers: Vec<_> = (0..count).map(|_| peer_address()).collect();
    let join = peers.join(",");
    let ids = (1..=count).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let brokers = (1..).zip(&peers).map(|(id, peer): (u64, _)| {
        let own = ["--node-id", &id.to_string(), "--peer-listen", peer, "--peer-advertise", peer]
            .map(str::to_owned);
        let shared = ["--join", &join, "--bootstrap", &ids].map(str::to_owned);
        builder(id, Broker::builder()).args(own).args(shared).start()
    });
    try_join_all(brokers).await
}

/// HOST:PORT for a peer port that nobody else has.
///
/// Peer ports must be known before any broker runs, so the system cannot choose them; and a port
/// that was free a moment ago may be another test's by now. Loopback has more than one address:
/// each process takes one that no port of the system's choice is on, and counts its ports itself.
#[must_use]
pub fn peer_address() -> String {
    static PORTS: AtomicU16 = AtomicU16::new(FIRST_PORT);
    let port = PORTS.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((own_host(std::process::id()), port)).to_string()
}

/// An address of loopback for a process, of 22 bits at most, in the upper half of 127.0.0.0/8.
fn own_host(process: u32) -> Ipv4Addr {
    let [_, high, middle, low] = process.to_be_bytes();
    Ipv4Addr::new(127, 128 | high, middle, low)
}
