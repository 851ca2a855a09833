//! The instruments of the connections to other brokers, which are read when somebody looks.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::AsyncInstrument;
use ropewalk_core::NodeId;

use super::Metrics;
use super::definitions::{
    Definition, PEER_CONNECTED, PEER_DROPPED, PEER_QUEUE, PEER_RECEIVED, PEER_SENT,
    PEER_SENT_BYTES, PEER_UNKNOWN,
};

/// What has become of what was to be sent by one connection to another broker. The sums are those
/// since the broker was announced last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLane {
    /// The other broker.
    pub peer: NodeId,
    /// Which of the connections to it.
    pub lane: &'static str,
    /// Whether there is a connection now.
    pub is_connected: bool,
    /// Messages or calls that were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Messages or calls that were not sent, and will not be.
    pub dropped: u64,
    /// The bytes that wait to be sent.
    pub queued_bytes: u64,
}

type Lanes = Arc<dyn Fn() -> Vec<PeerLane> + Send + Sync>;

impl Metrics {
    /// Says how the connections to other brokers are read, the number of raft messages that came
    /// in, and that of what was not known. Call it once; see
    /// [`Metrics::register_append_budget`].
    pub fn register_peers(
        &self,
        lanes: impl Fn() -> Vec<PeerLane> + Send + Sync + 'static,
        received: impl Fn() -> u64 + Send + Sync + 'static,
        unknown: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let lanes: Lanes = Arc::new(lanes);
        self.peer_gauge(&PEER_CONNECTED, &lanes, |lane| u64::from(lane.is_connected));
        self.peer_gauge(&PEER_QUEUE, &lanes, |lane| lane.queued_bytes);
        self.peer_counter(&PEER_SENT, &lanes, |lane| lane.sent);
        self.peer_counter(&PEER_SENT_BYTES, &lanes, |lane| lane.sent_bytes);
        self.peer_counter(&PEER_DROPPED, &lanes, |lane| lane.dropped);
        self.peer_sum(&PEER_RECEIVED, received);
        self.peer_sum(&PEER_UNKNOWN, unknown);
    }

    fn peer_sum(&self, definition: &Definition, value: impl Fn() -> u64 + Send + Sync + 'static) {
        self.meter
            .u64_observable_counter(definition.name)
            .with_unit(definition.unit)
            .with_description(definition.help)
            .with_callback(move |observer| observer.observe(value(), &[]))
            .build();
    }

    fn peer_gauge(&self, definition: &Definition, lanes: &Lanes, value: fn(&PeerLane) -> u64) {
        let lanes = Arc::clone(lanes);
        self.meter
            .u64_observable_gauge(definition.name)
            .with_unit(definition.unit)
            .with_description(definition.help)
            .with_callback(move |observer| observe(observer, &lanes(), value))
            .build();
    }

    fn peer_counter(&self, definition: &Definition, lanes: &Lanes, value: fn(&PeerLane) -> u64) {
        let lanes = Arc::clone(lanes);
        self.meter
            .u64_observable_counter(definition.name)
            .with_unit(definition.unit)
            .with_description(definition.help)
            .with_callback(move |observer| observe(observer, &lanes(), value))
            .build();
    }
}

fn observe(observer: &dyn AsyncInstrument<u64>, lanes: &[PeerLane], value: fn(&PeerLane) -> u64) {
    for lane in lanes {
        let labels =
            [KeyValue::new("peer", lane.peer.to_string()), KeyValue::new("lane", lane.lane)];
        observer.observe(value(lane), &labels);
    }
}
