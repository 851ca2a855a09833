//! What the tests share: what a machine must offer, starting a broker, reading back and judging.

use std::path::Path;
use std::time::Duration;

use ropewalk_chaos::{
    ChaosError, Moment, Network, Options, ReadSummary, Recorder, TOPICS, check, has_program,
    read_back,
};
use ropewalk_harness::{Broker, BrokerBuilder};

use crate::sandbox;

/// The violations that a failed check prints.
const SHOWN: usize = 12;
/// Names the bug that is planted in the brokers.
const PLANT: &str = "ROPEWALK_PLANT";
/// The lines of a broker's log that a failed round prints.
const LOG_LINES: usize = 30;

/// Says why a test that mounts cannot run here, if it cannot.
pub(crate) fn needs_mounts() -> Result<(), ChaosError> {
    if !sandbox::is_inside() {
        let why = "needs root, and namespaces for mounts and processes (unshare)";
        return Err(ChaosError::Skipped(why.to_owned()));
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err(ChaosError::Skipped("needs root and loop devices".to_owned()));
    }
    for program in ["mkfs.ext4", "mount", "umount", "python3"] {
        if !has_program(program) {
            return Err(ChaosError::Skipped(format!("needs root and {program}")));
        }
    }
    Ok(())
}

/// Says why a test of a cluster cannot run here, if it cannot.
pub(crate) fn needs_network() -> Result<(), ChaosError> {
    needs_mounts()?;
    if let Some(program) = Network::missing_program() {
        return Err(ChaosError::Skipped(format!("needs root and {program}")));
    }
    if !sandbox::has_network() {
        let why = "needs root and a namespace for the network (unshare --net)";
        return Err(ChaosError::Skipped(why.to_owned()));
    }
    Ok(())
}

/// A broker as all tests run it: it tells its moments, and looks often for what retention lets go.
pub(crate) fn builder(data_dir: &Path) -> BrokerBuilder {
    settings().data_dir(data_dir).ready_within(Duration::from_secs(30))
}

/// The settings of a broker in all tests.
pub(crate) fn settings() -> BrokerBuilder {
    let builder = Broker::builder().settings(&[
        Moment::LOG_LEVEL,
        ("topics.retention_check_interval", "200ms"),
        ("topics.auto_create", "false"),
    ]);
    // A bug that the tests are to find. Only a broker that was built for it takes that.
    match std::env::var(PLANT) {
        Ok(name) => builder.env(PLANT, name),
        Err(_) => builder,
    }
}

/// The names of the topics that loads write to.
pub(crate) fn topics() -> Vec<&'static str> {
    TOPICS.iter().map(|(name, ..)| *name).collect()
}

/// Whether the data directory is that of the engine with a journal. What the plain engine is known
/// not to do is reported for it, not judged.
pub(crate) fn has_journal(data_dir: &Path) -> bool {
    data_dir.join("journal").is_dir()
}

/// Whether what the plain engine is known not to do is a failure.
pub(crate) fn is_judged(options: &Options, data_dir: &Path) -> bool {
    options.strict || has_journal(data_dir)
}

/// Fails with what a history shows to be wrong.
pub(crate) fn judge(what: &str, recorder: &Recorder) -> Result<(), ChaosError> {
    let found = check(&recorder.lock());
    if found.is_empty() {
        return Ok(());
    }
    let shown = found.iter().take(SHOWN).map(|violation| format!("\n  {violation}"));
    let shown: String = shown.collect();
    Err(ChaosError::broken(format!("{what}: {} violations:{shown}", found.len())))
}

/// Puts the end of the broker's log behind an error.
pub(crate) fn with_log<T>(broker: &Broker, done: Result<T, ChaosError>) -> Result<T, ChaosError> {
    done.map_err(|error| {
        let log = broker.log();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        ChaosError::broken(format!("{error}\nthe broker's last lines:\n  {last}"))
    })
}

/// Reads everything back, judges it, and makes it the base of the next round.
pub(crate) async fn read_and_judge(
    what: &str,
    address: &str,
    recorder: &Recorder,
) -> Result<ReadSummary, ChaosError> {
    let summary = read_back(address, recorder, &topics())
        .await
        .map_err(|error| ChaosError::broken(format!("{what}: {error}")))?;
    judge(what, recorder)?;
    recorder.lock().settle();
    Ok(summary)
}

/// A directory that goes with the test.
pub(crate) fn temporary() -> Result<tempfile::TempDir, ChaosError> {
    let made = tempfile::Builder::new().prefix("ropewalk-chaos-").tempdir();
    made.map_err(ChaosError::system("making a temporary directory"))
}
