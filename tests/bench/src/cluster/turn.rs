//! A load at full speed, and what it cost.

use tokio::time::Instant;

use super::nodes::Nodes;
use crate::gate::Gate;
use crate::goals::run::RECORD;
use crate::load::Load;
use crate::stats::Percentiles;
use crate::wire::Failure;

/// One turn of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) megabytes_per_second: f64,
    pub(crate) latency: Percentiles,
    /// Of all brokers together.
    pub(crate) broker_cores: f64,
    pub(crate) client_cores: f64,
    /// Of the broker that had the most.
    pub(crate) rss: f64,
}

impl Turn {
    /// Runs a load, each producer at the address for its partition, until the gate closes.
    pub(crate) async fn run(
        nodes: &Nodes,
        load: &Load,
        addresses: &[String],
        gate: &Gate,
    ) -> Result<Self, Failure> {
        // The gate may close early, when enough is written.
        let timed = async {
            let acked = load.run_at(addresses, gate).await?;
            Ok::<_, Failure>((acked, Instant::now()))
        };
        let watched = async {
            tokio::time::sleep_until(gate.opens()).await;
            nodes.watch(gate.closed()).await
        };
        let ((acked, ended), usage) = tokio::try_join!(timed, watched)?;
        let seconds = usage.seconds.min((ended - gate.opens()).as_secs_f64());
        Ok(Self {
            megabytes_per_second: acked.records as f64 * RECORD as f64 / 1e6 / seconds,
            latency: acked.latencies.percentiles().ok_or("nothing was acked: raise --seconds")?,
            broker_cores: usage.broker_cores.unwrap_or_default(),
            client_cores: usage.client_cores.unwrap_or_default(),
            rss: usage.rss.unwrap_or_default() as f64 / f64::from(1 << 20),
        })
    }
}
