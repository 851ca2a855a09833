//! What a client knows of the brokers of its cluster: where each is, and which cannot be reached.
//!
//! It is learned from GetCluster, and from the hints of brokers that do not lead what they were
//! asked for. Nothing here decides who leads a partition.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::metadata::MetadataMap;

use crate::admin::Cluster;
use crate::client::Client;
use crate::connector::Connection;
use crate::error::{Error, ErrorKind};

/// Metadata with which a broker refuses a call that it would have to forward.
pub(crate) const NO_FORWARD: &str = "ropewalk-no-forward";
/// The trailer with the broker to ask next time: id, address and epoch.
const LEADER: &str = "ropewalk-leader";
/// The brokers are asked for at most this often.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
/// For how long a broker that could not be reached is left alone: from this, doubling, to that.
const AWAY_FIRST: Duration = Duration::from_secs(1);
const AWAY_LONGEST: Duration = Duration::from_secs(30);
/// How long it may take to ask where a broker is by now.
const ASKING_TIMEOUT: Duration = Duration::from_secs(5);
/// The most brokers that are remembered.
const MAX_BROKERS: usize = 1_000;

/// The brokers of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Brokers {
    state: Mutex<State>,
    /// Held by whoever asks for the brokers, so that others wait rather than ask too.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<u64, Known>,
    refreshed: Option<Instant>,
}

#[derive(Debug, Default)]
struct Known {
    address: Arc<str>,
    failures: u32,
    away_until: Option<Instant>,
}

impl Brokers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a broker is, unless it could not be reached a short while ago. `None` too where there
    /// is no other broker, so that nothing is gained by going to it.
    pub(crate) fn reachable(&self, id: u64) -> Option<Arc<str>> {
        let state = self.state();
        let known = state.known.get(&id).filter(|_| state.known.len() > 1)?;
        let away = known.away_until.is_some_and(|until| until > Instant::now());
        (!away && !known.address.is_empty()).then(|| Arc::clone(&known.address))
    }

    /// Whether more than one broker is known.
    pub(crate) fn has_choice(&self) -> bool {
        self.state().known.len() > 1
    }

    /// Whether it is known where a broker is.
    pub(crate) fn knows(&self, id: u64) -> bool {
        self.state().known.contains_key(&id)
    }

    /// Takes note of where a broker is.
    pub(crate) fn note(&self, id: u64, address: &str) {
        let mut state = self.state();
        if id == 0 || address.is_empty() || state.known.len() >= MAX_BROKERS {
            return;
        }
        let known = state.known.entry(id).or_default();
        if &*known.address != address {
            *known = Known { address: Arc::from(address), ..Known::default() };
        }
    }

    /// Takes note of the broker that an answer's trailers name.
    pub(crate) fn note_hint(&self, trailers: &MetadataMap) {
        let Some(hint) = trailers.get(LEADER).and_then(|hint| hint.to_str().ok()) else { return };
        let mut parts = hint.split(' ');
        if let (Some(Ok(id)), Some(address)) = (parts.next().map(str::parse), parts.next()) {
            self.note(id, address);
        }
    }

    /// A broker could not be reached, or broke off.
    pub(crate) fn failed(&self, id: u64) {
        if let Some(known) = self.state().known.get_mut(&id) {
            let away = AWAY_FIRST.saturating_mul(1 << known.failures.min(10)).min(AWAY_LONGEST);
            known.failures += 1;
            known.away_until = Some(Instant::now() + away);
        }
    }

    /// A broker answered.
    pub(crate) fn worked(&self, id: u64) {
        if let Some(known) = self.state().known.get_mut(&id) {
            known.failures = 0;
        }
    }

    fn replace(&self, cluster: &Cluster) {
        let mut state = self.state();
        state.known.retain(|id, _| cluster.brokers.iter().any(|broker| broker.id == *id));
        drop(state);
        for broker in &cluster.brokers {
            self.note(broker.id, &broker.address);
        }
    }

    /// Asks for the brokers, unless that was done a moment ago.
    pub(crate) async fn refresh(&self, client: &Client) -> Result<(), Error> {
        let _one_at_a_time = self.asking.lock().await;
        let due = |at: Instant| at + REFRESH_PAUSE <= Instant::now();
        if !self.state().refreshed.is_none_or(due) {
            return Ok(());
        }
        let cluster = client.admin().brokers().await?;
        self.state().refreshed = Some(Instant::now());
        self.replace(&cluster);
        let addresses = cluster.brokers.iter().map(|broker| broker.address.as_str());
        client.connector().learn(&cluster.id, addresses);
        Ok(())
    }

    /// Connects to one broker.
    pub(crate) async fn connect(client: Client, id: u64, window: u32) -> Result<Connection, Error> {
        let Some(address) = client.brokers().find(&client, id).await else {
            let message = format!("broker {id} is not in the cluster any more");
            return Err(Error::new(ErrorKind::Unreachable, message));
        };
        client.connector().connect_to(&address, window).await
    }

    /// Where a broker is. One that could not be reached may be elsewhere by now, and nobody says so
    /// unasked: the brokers are asked for first, as where it is not known yet which cluster this
    /// is.
    async fn find(&self, client: &Client, id: u64) -> Option<Arc<str>> {
        let has_failed = self.state().known.get(&id).is_some_and(|known| known.failures > 0);
        if has_failed || client.connector().cluster().is_none() {
            match timeout(ASKING_TIMEOUT, self.refresh(client)).await {
                Ok(Ok(())) => {}
                // What was known may still be right.
                Ok(Err(error)) => tracing::debug!(%error, "the brokers could not be learned"),
                Err(_) => tracing::debug!("the brokers could not be learned in time"),
            }
        }
        self.state().known.get(&id).map(|known| Arc::clone(&known.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_cannot_be_reached_is_left_alone_for_longer_and_longer() {
        let brokers = Brokers::default();
        brokers.note(1, "a:1");
        assert_eq!(brokers.reachable(1), None, "nothing is gained where there is one broker");
        brokers.note(2, "b:1");
        assert_eq!(brokers.reachable(1).as_deref(), Some("a:1"));
        for away in [1, 2, 4] {
            brokers.failed(1);
            tokio::time::advance(Duration::from_secs(away) - Duration::from_millis(1)).await;
            assert_eq!(brokers.reachable(1), None);
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(brokers.reachable(1).is_some());
        }
        brokers.failed(1);
        brokers.note(1, "c:1");
        assert_eq!(brokers.reachable(1).as_deref(), Some("c:1"), "it has moved");
    }

    #[test]
    fn a_hint_names_a_broker_and_its_address() {
        let brokers = Brokers::default();
        let mut trailers = MetadataMap::new();
        trailers.insert(LEADER, "7 host:9092 12".parse().unwrap());
        brokers.note_hint(&trailers);
        trailers.insert(LEADER, "nonsense".parse().unwrap());
        brokers.note_hint(&trailers);
        brokers.note(8, "b:1");
        assert_eq!(brokers.reachable(7).as_deref(), Some("host:9092"));
    }
}
