//! Faults against real brokers: power cuts, kills, failing system calls, full disks, damage, and of
//! clusters also what happens between hosts.
//!
//! Run it with `cargo test -p ropewalk-chaos --test chaos`, as root for all of it. See the README
//! beside.

mod cluster;
mod damage;
mod failed_syscalls;
mod failover;
mod full_disk;
mod groups;
mod jobs;
mod judge;
mod kill9;
mod lying_disk;
mod nemesis;
mod network;
mod power_cut;
mod runner;
mod sandbox;
mod snapshot;

use std::process::ExitCode;

use runner::{Scenario, scenario};

/// The tests, in the order in which they run.
fn scenarios() -> Vec<Scenario> {
    let mut scenarios = vec![
        scenario("kill9", kill9::run),
        scenario("power_cut", power_cut::run),
        scenario("lying_disk", lying_disk::run),
        scenario("snapshot", snapshot::run),
        scenario("failed_syscalls", failed_syscalls::run),
        scenario("full_disk", full_disk::run),
        scenario("damage", damage::run),
        scenario("network", network::run),
        scenario("failover", failover::run),
    ];
    scenarios.push(scenario("thirteen_members", groups::run));
    scenarios.extend(cluster::RUNS.iter().map(|run| scenario(run.name, cluster::run(run))));
    scenarios
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    runner::run(&scenarios(), &arguments)
}
