//! How brokers find one another: a cluster is formed once, and strangers are told apart.

use std::time::Duration;

use ropewalk_cluster::answer::encode_applied;
use ropewalk_cluster::{BrokerInfo, BrokerRegistration, MetadataError, MetadataReply};
use ropewalk_consensus::{ProposeError, Receipt};
use ropewalk_core::{NodeId, ReplicaId, Timestamp};
use tokio::time::sleep;

use crate::Inbound;
use crate::fake_peers::FakePeers;
use crate::peers::{ClusterIdentity, Introduction, RemoteError};
use crate::registration::{JoinError, Joining, find_cluster, meet, register_anew};

/// A broker that belongs to no cluster yet.
fn new(node: u64, directory: u8) -> Introduction {
    Introduction {
        node: NodeId(node),
        directory: [directory; 16],
        cluster: None,
        leader: None,
        addresses: Vec::new(),
    }
}

fn member(of: &ClusterIdentity, node: u64, directory: u8) -> Introduction {
    Introduction { cluster: Some(of.clone()), ..new(node, directory) }
}

fn addresses() -> Vec<String> {
    (1..=3).map(address).collect()
}

fn address(node: u64) -> String {
    format!("broker-{node}:9093")
}

/// Three that form a cluster; the same settings are given to each.
fn founders() -> Joining {
    Joining { addresses: addresses(), founders: (1..=3).map(NodeId).collect() }
}

fn cluster(id: u8) -> ClusterIdentity {
    let founders = (1..=3).map(|node| (NodeId(node), [node as u8; 16])).collect();
    ClusterIdentity { cluster_id: [id; 16], founders }
}

#[tokio::test(start_paused = true)]
async fn founders_form_one_cluster_once_all_of_them_are_there() {
    let peers = FakePeers::default();
    peers.put(&address(1), new(1, 1));
    peers.put(&address(2), new(2, 2));
    let late = async {
        sleep(Duration::from_secs(60)).await;
        peers.put(&address(3), new(3, 3));
    };
    let (own, joining) = (new(1, 1), founders());
    let (first, ()) = tokio::join!(find_cluster(&peers, &own, &joining), late);
    let formed = first.unwrap().cluster.unwrap();
    assert_eq!(formed.founders, cluster(0).founders);
    for node in 2..=3 {
        let other = find_cluster(&peers, &new(node, node as u8), &joining).await.unwrap();
        assert_eq!(other.cluster.as_ref(), Some(&formed), "each comes to it by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_lost_its_disk_joins_the_cluster_that_it_founded() {
    let peers = FakePeers::default();
    let formed = cluster(9);
    peers.put(&address(1), member(&formed, 1, 1));
    peers.put(&address(3), new(3, 3));
    let (wiped, joining) = (new(2, 77), founders());
    let met = find_cluster(&peers, &wiped, &joining).await.unwrap();
    assert_eq!(met.cluster, Some(formed), "although one of the founders has not heard of it");
    assert!(!met.cluster.unwrap().founders.contains(&(wiped.node, wiped.directory)));
}

#[tokio::test(start_paused = true)]
async fn one_that_only_joins_waits_for_a_cluster() {
    let peers = FakePeers::default();
    for node in 1..=3 {
        peers.put(&address(node), new(node, node as u8));
    }
    let joining = Joining { addresses: addresses(), ..Joining::default() };
    let own = new(4, 4);
    let forms = async {
        sleep(Duration::from_secs(60)).await;
        let leads = Introduction {
            leader: Some(NodeId(1)),
            addresses: vec![(NodeId(5), address(5)), (NodeId(4), address(4))],
            ..member(&cluster(9), 2, 2)
        };
        peers.put(&address(2), leads);
    };
    let (met, ()) = tokio::join!(find_cluster(&peers, &own, &joining), forms);
    let met = met.unwrap();
    assert_eq!((met.cluster, met.leader), (Some(cluster(9)), Some(NodeId(1))));
    let known: Vec<_> = met.addresses.keys().map(|node| node.0).collect();
    assert_eq!(known, [1, 2, 3, 5], "those that others know too, but not itself");
}

#[tokio::test]
async fn strangers_are_told_apart() {
    let peers = FakePeers::default();
    peers.put(&address(1), member(&cluster(1), 1, 1));
    peers.put(&address(2), member(&cluster(2), 2, 2));
    let error = meet(&peers, &new(4, 4), &addresses()).await.unwrap_err();
    let (one, two) = ("01".repeat(16), "02".repeat(16));
    assert_eq!(
        error.to_string(),
        format!(
            "the brokers of cluster.join belong to different clusters ({one} at broker-1:9093, \
             {two} at broker-2:9093): correct the addresses"
        )
    );
    // Its own address may be among them, but nobody else may have its id.
    let own = member(&cluster(1), 1, 1);
    peers.put(&address(2), member(&cluster(1), 2, 2));
    assert_eq!(meet(&peers, &own, &addresses()).await.unwrap().cluster, Some(cluster(1)));
    peers.put(&address(3), member(&cluster(1), 1, 3));
    let error = meet(&peers, &own, &addresses()).await.unwrap_err();
    assert!(matches!(error, JoinError::SameId { node: NodeId(1), .. }), "{error}");
}

fn registration() -> BrokerRegistration {
    BrokerRegistration {
        id: NodeId(4),
        directory: [4; 16],
        address: "broker-4:9092".to_owned(),
        peer_address: address(4),
        rack: None,
        version: "0".to_owned(),
        started: Timestamp(1),
        level: 1,
    }
}

fn registered(replica: ReplicaId) -> MetadataReply {
    let BrokerRegistration { id, directory, address, peer_address, rack, version, started, level } =
        registration();
    let broker = BrokerInfo {
        id,
        address,
        peer_address,
        rack,
        directory,
        version,
        started,
        is_draining: false,
        metadata_replica: replica,
        level,
    };
    MetadataReply { broker: Some(broker), ..MetadataReply::default() }
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_the_metadata_registers_a_new_broker() {
    let peers = FakePeers::default();
    for node in 1..=3 {
        peers.put(&address(node), member(&cluster(9), node, node as u8));
    }
    let inbound = Inbound::new(new(4, 4));
    let joining = Joining { addresses: addresses(), ..Joining::default() };
    let met = meet(&peers, &new(4, 4), &addresses()).await.unwrap();
    let told = |answer| Ok(Receipt::Applied(encode_applied(12, &answer)));
    let replica = ReplicaId::new(NodeId(4), 12);
    peers.answer(2, Err(RemoteError::Refused(ProposeError::NoLeader)));
    peers.answer(3, told(Err(MetadataError::NotFormed)));
    // In the next round.
    peers.answer(2, told(Ok(registered(replica))));
    let found = register_anew(&peers, &inbound, &joining, met.clone(), &registration()).await;
    assert_eq!(found.unwrap().0, replica);
    assert_eq!(peers.asked(), [1, 2, 3, 1, 2]);

    peers.answer(1, told(Err(MetadataError::TooManyBrokers { limit: 7 })));
    let refused = register_anew(&peers, &inbound, &joining, met, &registration()).await;
    assert!(matches!(refused, Err(JoinError::Refused(_))), "{refused:?}");
}
