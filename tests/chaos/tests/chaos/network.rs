//! The control of what is done to the network: packets between hosts arrive, get lost one way
//! alone, and arrive again. If they did not, the runs of clusters would prove nothing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use ropewalk_chaos::{ChaosError, From, Network, NodeId, Options};

use crate::judge::needs_network;

const SENT: u32 = 400;
/// Prints how many datagrams came, when none has come for a second.
const RECEIVER: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 7000))
s.settimeout(1)
print('ready', flush=True)
count = 0
try:
    while True:
        s.recv(16)
        count += 1
except TimeoutError:
    print(count)
";
const SENDER: &str = "
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[2])):
    s.sendto(b'x', (sys.argv[1], 7000))
    time.sleep(0.0005)
";

pub(crate) async fn run(_options: Options) -> Result<String, ChaosError> {
    needs_network()?;
    let network = Network::make(3)?;
    let all = 0..=0;
    let nothing = SENT..=SENT;
    let a_part = SENT / 5..=SENT * 2 / 5;
    lost(1, 2, &all)?;
    network.lose(2, &BTreeMap::from([(From::Node(1), 100)]))?;
    lost(1, 2, &nothing)?;
    lost(2, 1, &all)?;
    lost(3, 2, &all)?;
    // What is said replaces what was said before.
    network.lose(2, &BTreeMap::from([(From::Node(3), 30)]))?;
    lost(1, 2, &all)?;
    lost(3, 2, &a_part)?;
    network.heal()?;
    lost(3, 2, &all)?;
    Ok("loss and one-way partitions act, and are mended".to_owned())
}

/// Checks how many packets get lost from one host to another.
fn lost(
    from: NodeId,
    to: NodeId,
    expected: &std::ops::RangeInclusive<u32>,
) -> Result<(), ChaosError> {
    let what = "running python3 on a host";
    let python = |node: NodeId, script: &str| {
        let [program, space] = Network::entry(node);
        let mut python = Command::new(program);
        python.args([space.as_str(), "python3", "-I", "-S", "-c", script]);
        python
    };
    let mut receiver =
        python(to, RECEIVER).stdout(Stdio::piped()).spawn().map_err(ChaosError::system(what))?;
    let output = receiver.stdout.take().ok_or_else(|| ChaosError::broken(what))?;
    let mut output = BufReader::new(output);
    let mut ready = String::new();
    output.read_line(&mut ready).map_err(ChaosError::system(what))?;
    let address = Network::address(to, 7000);
    let host = address.split(':').next().unwrap_or_default();
    let sent = python(from, SENDER).args([host, &SENT.to_string()]).status();
    sent.map_err(ChaosError::system(what))?;
    let mut came = String::new();
    output.read_to_string(&mut came).map_err(ChaosError::system(what))?;
    receiver.wait().map_err(ChaosError::system(what))?;
    let came: u32 = came.trim().parse().map_err(|_| ChaosError::broken(what))?;
    let lost = SENT.saturating_sub(came);
    if expected.contains(&lost) {
        return Ok(());
    }
    let what = format!("{lost} of {SENT} packets got lost from {from} to {to}, not {expected:?}");
    Err(ChaosError::broken(what))
}
