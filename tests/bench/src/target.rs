//! The broker that is measured: one of its own for each run, or the one that was named.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ropewalk::{Client, NewTopic};
use ropewalk_harness::Broker;
use tempfile::TempDir;
use tokio::time::{Instant, interval, sleep_until};

use crate::gate::Gate;
use crate::machine::{Io, own_cpu_seconds};
use crate::options::{EngineKind, Options};
use crate::report::Row;
use crate::wire::Failure;

/// How often the memory of a broker is looked at.
const SAMPLE: Duration = Duration::from_millis(20);

/// Topics of one process differ.
static TOPICS: AtomicU32 = AtomicU32::new(0);

/// A broker under load, and the topic that is used.
#[derive(Debug)]
pub(crate) struct Target {
    // Before the directory: it must have ended when its files go.
    broker: Option<Broker>,
    address: String,
    dir: Option<TempDir>,
    pub(crate) topic: String,
}

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// How long it was measured.
    pub(crate) seconds: f64,
    pub(crate) broker_cores: Option<f64>,
    pub(crate) client_cores: Option<f64>,
    /// The most memory that the broker had, in bytes.
    pub(crate) rss: Option<u64>,
}

impl Target {
    /// Starts a broker, or takes the one that was named, and makes a topic.
    pub(crate) async fn start(options: &Options, partitions: u32) -> Result<Self, Failure> {
        match &options.broker {
            Some(address) => {
                let topic = String::new();
                let address = address.clone();
                Self { broker: None, address, dir: None, topic }.with_topic(partitions).await
            }
            None => Self::start_own(&options.dir(), options.engine, partitions).await,
        }
    }

    /// Starts a broker whose data lie below a directory, and makes a topic.
    pub(crate) async fn start_own(
        dir: &Path,
        engine: EngineKind,
        partitions: u32,
    ) -> Result<Self, Failure> {
        Self::start_with(dir, &[("storage.engine", engine.name())], partitions).await
    }

    /// The same with settings of one's own.
    pub(crate) async fn start_with(
        dir: &Path,
        settings: &[(&str, &str)],
        partitions: u32,
    ) -> Result<Self, Failure> {
        let dir = temporary_in(dir)?;
        let broker =
            Broker::builder().settings(settings).data_dir(dir.path().join("data")).start().await?;
        let address = broker.address().to_owned();
        let (broker, dir) = (Some(broker), Some(dir));
        Self { broker, address, dir, topic: String::new() }.with_topic(partitions).await
    }

    async fn with_topic(mut self, partitions: u32) -> Result<Self, Failure> {
        let number = TOPICS.fetch_add(1, Ordering::Relaxed);
        self.topic = format!("bench-{}-{number}", std::process::id());
        if partitions > 0 {
            let topic = NewTopic::named(&self.topic).partitions(i32::try_from(partitions)?);
            let client = Client::connect(&self.address).await?;
            client.admin().create_topic(topic).await?;
        }
        Ok(self)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The broker's process, when it is ours.
    pub(crate) fn broker(&mut self) -> Option<&mut Broker> {
        self.broker.as_mut()
    }

    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.path().join("data"))
    }

    /// Ends the broker and removes its files; or only the topic, when the broker is not ours.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        if let Some(broker) = &mut self.broker {
            // What it would still write is thrown away anyhow.
            broker.kill9().await?;
        } else {
            let client = Client::connect(&self.address).await?;
            client.admin().delete_topic(&self.topic).await?;
        }
        Ok(())
    }

    /// What the broker's process has written so far.
    pub(crate) fn io(&self) -> Result<Io, Failure> {
        let pid = self.broker.as_ref().and_then(Broker::pid).ok_or("the broker does not run")?;
        Io::of(pid)
    }

    /// The broker's memory, in bytes.
    pub(crate) fn rss(&self) -> Result<Option<u64>, Failure> {
        most_memory(self.broker.as_slice())
    }

    /// Watches what the broker and this process use while a gate is open.
    pub(crate) async fn watch(&self, gate: &Gate) -> Result<Usage, Failure> {
        sleep_until(gate.opens()).await;
        self.watch_until(gate.closed()).await
    }

    /// Watches what the broker and this process use until something is done.
    pub(crate) async fn watch_until(
        &self,
        done: impl Future<Output = ()>,
    ) -> Result<Usage, Failure> {
        watch(self.broker.as_slice(), done).await
    }
}

/// Watches what brokers, all together, and this process use until something is done. The memory is
/// that of the broker that had the most.
pub(crate) async fn watch(
    brokers: &[Broker],
    done: impl Future<Output = ()>,
) -> Result<Usage, Failure> {
    let started = Instant::now();
    let (broker_before, own_before) = (cpu_seconds(brokers)?, own_cpu_seconds());
    let mut rss = most_memory(brokers)?;
    let mut samples = interval(SAMPLE);
    tokio::pin!(done);
    loop {
        tokio::select! {
            () = &mut done => break,
            _ = samples.tick() => rss = rss.max(most_memory(brokers)?),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let cores = |before: Option<f64>, after: Option<f64>| {
        Some((after? - before?) / seconds.max(f64::EPSILON))
    };
    Ok(Usage {
        seconds,
        broker_cores: cores(broker_before, cpu_seconds(brokers)?),
        client_cores: cores(own_before, own_cpu_seconds()),
        rss,
    })
}

/// The CPU seconds of brokers together. Nothing of none.
fn cpu_seconds(brokers: &[Broker]) -> Result<Option<f64>, Failure> {
    let seconds = brokers.iter().map(Broker::cpu_seconds).collect::<Result<Vec<_>, _>>()?;
    Ok((!seconds.is_empty()).then(|| seconds.iter().sum()))
}

/// The memory of the broker that has the most. Nothing of none.
fn most_memory(brokers: &[Broker]) -> Result<Option<u64>, Failure> {
    let bytes = brokers.iter().map(Broker::rss_bytes).collect::<Result<Vec<_>, _>>()?;
    Ok(bytes.into_iter().max())
}

/// A directory on the disk that is measured.
pub(crate) fn temporary(options: &Options) -> Result<TempDir, Failure> {
    temporary_in(&options.dir())
}

/// A directory below another, which goes with what is returned.
pub(crate) fn temporary_in(dir: &Path) -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("ropewalk-bench-").tempdir_in(dir);
    Ok(made.map_err(|error| format!("cannot make a directory in {}: {error}", dir.display()))?)
}

impl Row {
    /// With what a run cost.
    pub(crate) fn used(mut self, usage: &Usage) -> Self {
        self.broker_cores = usage.broker_cores;
        self.client_cores = usage.client_cores;
        self.rss = usage.rss;
        self
    }
}
