//! The peer port, and how this broker comes into its cluster.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use ropewalk_broker::metrics::Metrics;
use ropewalk_broker::peers::{ClusterIdentity, Introduction, PeerHandler, Peers};
use ropewalk_broker::registration::{
    Joining, Met, find_cluster, founding_replica, meet, register_anew,
};
use ropewalk_broker::{Alone, Inbound, PeerLinks};
use ropewalk_cluster::{BrokerRegistration, LEVEL};
use ropewalk_core::{Clock, GroupId, NodeId, ReplicaId, SystemClock};
use ropewalk_rpc::peer::{PeerPort, PeerTransport};
use ropewalk_storage::directory::{ClusterId, Membership};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::listen::listen;
use crate::serve::Store;
use crate::settings::Settings;

/// The peer port of a broker, or that it has none.
pub(crate) struct Peering {
    peers: Arc<dyn Peers>,
    inbound: Arc<Inbound>,
    address: String,
    port: Option<Port>,
}

struct Port {
    transport: Arc<PeerTransport>,
    end: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// As what a broker comes into its cluster.
pub(crate) struct Entry {
    pub(crate) cluster: Membership,
    /// Its replica of the metadata group, where it has none yet.
    pub(crate) metadata_replica: ReplicaId,
    /// Where other brokers are.
    pub(crate) addresses: BTreeMap<NodeId, String>,
}

impl Peering {
    /// Opens the port, if there is to be one.
    pub(crate) async fn open(
        settings: &Settings,
        store: &Store,
        client_address: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let identity = &store.identity;
        let inbound = Inbound::new(Introduction {
            node: identity.node_id,
            directory: identity.directory_id,
            cluster: identity.cluster.as_ref().map(to_cluster_identity),
            leader: None,
            addresses: Vec::new(),
        });
        let Some(peer_listen) = &settings.cluster.peer_listen else {
            if !settings.cluster.join.is_empty() || !settings.cluster.bootstrap.is_empty() {
                return Err("a broker that is to be in a cluster with others needs a peer port: \
                            set cluster.peer_listen (--peer-listen), as 0.0.0.0:9093"
                    .into());
            }
            let (peers, address) = (Arc::new(Alone), client_address.to_owned());
            return Ok(Self { peers, inbound, address, port: None });
        };
        let listener = listen("cluster.peer_listen", peer_listen).await?;
        let address = settings.cluster.advertised(listener.local_addr()?, client_address);
        let transport = PeerTransport::new(identity.node_id, identity.directory_id);
        let handler: Arc<dyn PeerHandler> = inbound.clone();
        transport.attend(&handler);
        let (end, ends) = oneshot::channel::<()>();
        let port = PeerPort::new(&transport);
        let serving = tokio::spawn(port.serve(listener, async {
            let _ = ends.await;
        }));
        let peers: Arc<dyn Peers> = transport.clone();
        Ok(Self { peers, inbound, address, port: Some(Port { transport, end, serving }) })
    }

    /// Has the connections to other brokers measured.
    pub(crate) fn register(&self, metrics: &Metrics) {
        let Some(port) = &self.port else { return };
        let stats = {
            let transport = Arc::downgrade(&port.transport);
            move || transport.upgrade().map(|transport| transport.stats()).unwrap_or_default()
        };
        let (lanes, received) = (stats.clone(), stats.clone());
        let received = move || received().received;
        metrics.register_peers(move || lanes().lanes, received, move || stats().unknown);
    }

    /// Waits until this broker was removed from its cluster, and nobody needs it any more.
    pub(crate) async fn removed(&self) {
        self.inbound.until_removed().await;
    }

    /// Where other brokers reach this one.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn links(&self) -> PeerLinks {
        PeerLinks { peers: Arc::clone(&self.peers), inbound: Arc::clone(&self.inbound) }
    }

    /// Finds the cluster that this broker belongs to, or is to belong to, and writes it down.
    pub(crate) async fn enter(
        &self,
        settings: &Settings,
        store: &Store,
        client_address: &str,
    ) -> Result<Entry, Box<dyn Error>> {
        let own = self.inbound.introduction();
        let joining = Joining {
            addresses: settings.cluster.join.clone(),
            founders: settings.cluster.bootstrap.iter().map(|id| NodeId(*id)).collect(),
        };
        let met = match &store.identity.cluster {
            // It may have moved, and the others too: who answers now is asked, and nobody waited
            // for.
            Some(_) => meet(self.peers.as_ref(), &own, &joining.addresses).await?,
            None if joining.addresses.is_empty() && joining.founders.is_empty() => Met::default(),
            None => find_cluster(self.peers.as_ref(), &own, &joining).await?,
        };
        let cluster = match (&store.identity.cluster, &met.cluster) {
            (Some(own), Some(met)) if own.cluster_id.0 != met.cluster_id => {
                return Err(format!(
                    "this broker belongs to cluster {} and the brokers of cluster.join to {}: \
                     correct the addresses",
                    own.cluster_id,
                    ClusterId(met.cluster_id)
                )
                .into());
            }
            (Some(own), _) => own.clone(),
            (None, Some(met)) => {
                Membership { cluster_id: ClusterId(met.cluster_id), founders: met.founders.clone() }
            }
            // A broker without others forms a cluster of its own.
            (None, None) => Membership {
                cluster_id: ClusterId::random(),
                founders: vec![(own.node, own.directory)],
            },
        };
        store.join(&cluster)?;
        let cluster_identity = Some(to_cluster_identity(&cluster));
        self.inbound.set_introduction(Introduction { cluster: cluster_identity, ..own.clone() });
        if let Some(port) = &self.port {
            port.transport.join(cluster.cluster_id.0);
        }
        let is_founder = cluster.founders.contains(&(own.node, own.directory));
        // The groups are looked through only where that decides something: there may be thousands.
        let is_member = is_founder
            || store.engine.groups()?.iter().any(|state| state.group == GroupId::METADATA);
        let (metadata_replica, met) = if is_member {
            (founding_replica(own.node), met)
        } else {
            let registration = BrokerRegistration {
                id: own.node,
                directory: own.directory,
                address: client_address.to_owned(),
                peer_address: self.address.clone(),
                rack: settings.cluster.rack.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: SystemClock::default().now(),
                level: LEVEL,
            };
            let (peers, inbound) = (self.peers.as_ref(), self.inbound.as_ref());
            register_anew(peers, inbound, &joining, met, &registration).await?
        };
        Ok(Entry { cluster, metadata_replica, addresses: met.addresses })
    }

    /// Closes the port: what this broker owed to others it has done before.
    pub(crate) async fn end(self) {
        if let Some(port) = self.port {
            let _ = port.end.send(());
            let _ = port.serving.await;
        }
    }
}

fn to_cluster_identity(cluster: &Membership) -> ClusterIdentity {
    ClusterIdentity { cluster_id: cluster.cluster_id.0, founders: cluster.founders.clone() }
}
