//! What a broker answers others, before it runs and while it does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use ropewalk_cluster::{BrokerRegistration, MetadataCommand, MetadataMachine, TopicSettings};
use ropewalk_consensus::{Durability, ProposalKind, ProposeError, Receipt, StateMachine};
use ropewalk_core::{BatchDraft, GroupId, NodeId, Offset, ReplicaId, Timestamp};
use ropewalk_proto::v1::{Record, RecordSet};
use ropewalk_storage::memory::MemoryEngine;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Inbound;
use crate::append_memory::AppendMemory;
use crate::driver::Driver;
use crate::group_watch::GroupWatch;
use crate::groups::Groups;
use crate::inbound::Running;
use crate::ingest::{Payload, prepare};
use crate::peers::{Fetch, FetchError, PeerHandler, RemoteProposal, Removal};
use crate::pools::Pools;
use crate::support::{SlowEngine, fill, introduction, partition, start};

const SOON: Duration = Duration::from_secs(10);

fn fetch(group: GroupId, offset: u64) -> Fetch {
    let (offset, wait) = (Offset(offset), Duration::ZERO);
    Fetch { group, offset, max_bytes: 1 << 20, wait, since: None }
}

fn draft() -> BatchDraft {
    use prost::Message as _;
    let record = Record { value: Some(vec![7; 10].into()), ..Record::default() };
    let bytes = RecordSet { records: vec![record] }.encode_to_vec();
    prepare(&Payload::Records(bytes.into()), None, &TopicSettings::default()).unwrap()
}

fn batch() -> ProposalKind {
    ProposalKind::Batch {
        draft: draft(),
        expected: None,
        durability: Durability::Quorum,
        epoch: None,
    }
}

async fn submit(
    inbound: &Inbound,
    group: GroupId,
    kind: ProposalKind,
) -> Result<Receipt, ProposeError> {
    let (told, end) = oneshot::channel();
    let reply = Box::new(move |result| told.send(result).unwrap());
    inbound.submit(RemoteProposal { group, kind }, reply).await;
    timeout(SOON, end).await.unwrap().unwrap()
}

#[tokio::test]
async fn before_it_runs_a_broker_says_who_it_is_and_no_more() {
    let own = introduction(NodeId(1), &[(NodeId(1), [1; 16])]);
    let inbound = Inbound::new(own.clone());
    assert_eq!(inbound.introduce(introduction(NodeId(2), &[(NodeId(2), [2; 16])])), own);
    let refused = submit(&inbound, GroupId::METADATA, ProposalKind::Bounds).await;
    assert_eq!(refused, Err(ProposeError::NoGroup));
    assert_eq!(inbound.fetch(fetch(GroupId::METADATA, 0)).await, Err(FetchError::NoGroup));
    let waits = inbound.await_records(GroupId::METADATA, Offset(0), Duration::from_secs(60));
    assert_eq!(waits.now_or_never(), Some(()), "nothing can come");
    inbound.receive(Vec::new()).await;
    inbound.silent(NodeId(2)).await;

    let mut alive = inbound.watch_alive();
    inbound.reachable(NodeId(2));
    inbound.reachable(NodeId(2));
    assert_eq!(alive.borrow_and_update().iter().copied().collect::<Vec<_>>(), [NodeId(2)]);
    inbound.unreachable(NodeId(2));
    assert!(alive.borrow_and_update().is_empty());
}

/// Whoever knows of a new partition may ask for it before the shard has it here.
#[tokio::test]
async fn a_group_that_is_about_to_be_taken_up_is_not_here_yet() {
    let own = introduction(NodeId(1), &[(NodeId(1), [1; 16])]);
    let inbound = Inbound::new(own);
    let group = GroupId::FIRST_PARTITION;
    let groups = Arc::new(Groups::default());
    groups.insert(group, Arc::new(GroupWatch::new(ReplicaId::new(NodeId(1), 0))));
    inbound.begin(Running {
        driver: Driver::without_shards(),
        groups,
        metadata: MetadataMachine::new().1,
        appends: AppendMemory::new(1),
        free_space_floor: 0,
        engine: Arc::new(MemoryEngine::new()),
        pools: Pools::new(1, 1),
    });
    assert_eq!(inbound.fetch(fetch(group, 0)).await, Err(FetchError::NoGroup));
    let waits = inbound.await_records(group, Offset(0), Duration::from_secs(60));
    assert_eq!(waits.now_or_never(), Some(()), "who asks looks elsewhere at once");
    assert_eq!(submit(&inbound, group, batch()).await, Err(ProposeError::NoLeader));
}

/// Broker 1 of a cluster with broker 2, on which replicas are as a test says.
struct One {
    inbound: Arc<Inbound>,
    machine: MetadataMachine,
    groups: Arc<Groups>,
}

impl One {
    fn new() -> Self {
        let founders = [(NodeId(1), [1; 16]), (NodeId(2), [2; 16])];
        let inbound = Inbound::new(introduction(NodeId(1), &founders));
        let (mut machine, metadata) = MetadataMachine::new();
        let form = MetadataCommand::Form { cluster_id: [7; 16], founders: founders.to_vec() };
        machine.apply(6, &form.encode()).unwrap();
        let groups = Arc::new(Groups::default());
        inbound.begin(Running {
            driver: Driver::without_shards(),
            groups: Arc::clone(&groups),
            metadata,
            appends: AppendMemory::new(1),
            free_space_floor: 0,
            engine: Arc::new(MemoryEngine::new()),
            pools: Pools::new(1, 1),
        });
        Self { inbound, machine, groups }
    }

    /// Its replica of a partition.
    fn group(&self, number: u64, voters: &[ReplicaId]) -> Arc<GroupWatch> {
        let watch = Arc::new(GroupWatch::new(replica(1)));
        watch.set_members(voters.to_vec(), Vec::new());
        self.groups.insert(GroupId(GroupId::FIRST_PARTITION.0 + number), Arc::clone(&watch));
        watch
    }

    /// A broker registers with a data directory.
    fn register(&mut self, index: u64, node: u64, directory: u8) {
        let registration = BrokerRegistration {
            id: NodeId(node),
            directory: [directory; 16],
            address: format!("broker-{node}:9092"),
            peer_address: format!("broker-{node}:9093"),
            rack: None,
            version: "0".to_owned(),
            started: Timestamp(1),
            level: 1,
        };
        self.machine.apply(index, &MetadataCommand::RegisterBroker(registration).encode()).unwrap();
    }
}

fn replica(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 0)
}

/// One that was removed may be the only one that has something: those who count on it let it in.
#[test]
fn a_broker_that_was_removed_is_refused_once_no_group_counts_on_it() {
    let mut one = One::new();
    let inbound = Arc::clone(&one.inbound);
    one.register(7, 1, 1);
    assert_eq!(inbound.removal(NodeId(2), [2; 16]), None);
    one.machine.apply(8, &MetadataCommand::RemoveBroker { id: NodeId(2) }.encode()).unwrap();
    assert_eq!(inbound.removal(NodeId(2), [2; 16]), None, "not all groups were taken up yet");
    inbound.settle();
    assert_eq!(inbound.removal(NodeId(2), [2; 16]), Some(Removal::Removed));
    let watch = one.group(1, &[replica(1), replica(2)]);
    assert_eq!(inbound.removal(NodeId(2), [2; 16]), None, "it has a vote");
    watch.set_members(vec![replica(1)], Vec::new());
    assert_eq!(inbound.removal(NodeId(2), [2; 16]), Some(Removal::Removed));
    let new = one.group(2, &[]);
    assert_eq!(inbound.removal(NodeId(2), [2; 16]), None, "it may lead what is to come here");
    new.set_members(vec![replica(1)], Vec::new());
    assert_eq!(inbound.removal(NodeId(2), [2; 16]), Some(Removal::Removed));
    assert_eq!(inbound.removal(NodeId(2), [3; 16]), None, "with another directory it is a new one");
}

/// A process that was forgotten has the id of a broker that is a member everywhere.
#[test]
fn a_broker_is_refused_whose_id_has_another_directory_now() {
    let mut one = One::new();
    one.register(7, 1, 1);
    one.register(8, 2, 2);
    one.group(1, &[replica(1), replica(2)]);
    one.inbound.settle();
    assert_eq!(one.inbound.removal(NodeId(2), [2; 16]), None);
    one.register(9, 2, 3);
    assert_eq!(one.inbound.removal(NodeId(2), [2; 16]), Some(Removal::Replaced));
    assert_eq!(one.inbound.removal(NodeId(2), [3; 16]), None);
}

/// What is on its disk may be all that there is, and those who refuse it first may have nothing of
/// it.
#[tokio::test(start_paused = true)]
async fn a_broker_that_was_removed_ends_when_nobody_needs_it() {
    const LONG: Duration = Duration::from_secs(60);
    let one = One::new();
    let inbound = &one.inbound;
    let mut gone = std::pin::pin!(inbound.until_removed());
    let mut stays = async || timeout(LONG, &mut gone).await.is_err();
    inbound.removed(NodeId(3), Removal::Removed);
    assert!(stays().await, "its groups were not taken up yet");
    let shared = one.group(1, &[replica(1), replica(2)]);
    let own = one.group(2, &[replica(1)]);
    inbound.settle();
    assert!(stays().await);
    inbound.removed(NodeId(2), Removal::Removed);
    assert!(stays().await, "nobody else has what is in the second group");
    own.set_members(vec![replica(1), replica(2)], Vec::new());
    inbound.reachable(NodeId(2));
    assert!(stays().await, "broker 2 has let it in again");
    shared.set_members(vec![replica(2)], Vec::new());
    assert!(stays().await);
    inbound.removed(NodeId(2), Removal::Removed);
    timeout(LONG, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_propose_within_the_budget_and_while_there_is_room() {
    let engine = Arc::new(SlowEngine::default());
    let (broker, tasks) = start(Arc::<SlowEngine>::clone(&engine), 0).await;
    let partition = partition(&broker, "t").await;
    let (group, inbound) = (partition.group, Arc::clone(&broker.config().links.inbound));
    let unknown = submit(&inbound, GroupId(group.0 + 1), batch()).await;
    assert_eq!(unknown, Err(ProposeError::NoLeader));

    // What this broker's own clients wait for may wait for others: it holds nobody else up.
    let all = broker.reserve(broker.config().append_budget, None, None).await.unwrap();
    let appended = timeout(SOON, submit(&inbound, group, batch())).await.unwrap();
    drop(all);
    assert!(
        matches!(appended, Ok(Receipt::Appended { base_offset: Offset(0), record_count: 1, .. })),
        "{appended:?}"
    );

    // What makes room is taken all the same.
    engine.is_full.store(true, Ordering::Release);
    let refused = submit(&inbound, group, batch()).await;
    assert_eq!(refused, Err(ProposeError::StorageFull { floor: 0 }));
    let trimmed = submit(&inbound, group, ProposalKind::Trim { before: None }).await;
    assert_eq!(trimmed, Ok(Receipt::Trimmed(Offset(1))));

    let own = inbound.introduction();
    assert_eq!(own.leader, Some(NodeId(1)));
    assert_eq!(own.addresses, [(NodeId(1), broker.config().peer_address.clone())]);
    drop((partition, broker));
    tasks.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_read_what_there_is_and_wait_for_what_comes() {
    let engine = Arc::new(SlowEngine::default());
    let (broker, tasks) = start(Arc::<SlowEngine>::clone(&engine), 0).await;
    let partition = partition(&broker, "t").await;
    fill(&partition, &broker, 3, 10).await;
    let (group, inbound) = (partition.group, Arc::clone(&broker.config().links.inbound));

    let bounds = inbound.fetch(Fetch { max_bytes: 0, ..fetch(group, 0) }).await.unwrap();
    assert_eq!((bounds.start, bounds.high_watermark), (Offset(0), Offset(3)));
    assert!(bounds.batches.is_empty());
    let read = inbound.fetch(fetch(group, 1)).await.unwrap();
    let offsets: Vec<_> = read.batches.iter().map(|batch| batch.header.base_offset.0).collect();
    assert_eq!(offsets, [1, 2]);
    assert!(inbound.fetch(fetch(group, 3)).await.unwrap().batches.is_empty());
    let first = Fetch { since: Some(Timestamp(0)), ..fetch(group, 0) };
    let found = inbound.fetch(first).await.unwrap().found;
    assert_eq!(found.map(|(offset, _)| offset), Some(Offset(0)));

    inbound.await_records(group, Offset(2), SOON).now_or_never().expect("it is there");
    let waits = inbound.await_records(group, Offset(3), SOON);
    tokio::join!(waits, fill(&partition, &broker, 1, 10));
    let one = inbound.fetch(fetch(group, 3)).await.unwrap();
    assert_eq!((one.batches.len(), one.high_watermark), (1, Offset(4)));
    let in_vain = inbound.await_records(group, Offset(4), Duration::from_millis(20));
    timeout(SOON, in_vain).await.unwrap();

    partition.trim(Some(Offset(2))).await.unwrap();
    let trimmed = inbound.fetch(fetch(group, 0)).await.unwrap();
    assert_eq!((trimmed.trimmed, trimmed.start), (Some(Offset(2)), Offset(2)));
    *engine.gone.lock().unwrap() = Some(group);
    let failed = inbound.fetch(fetch(group, 2)).await;
    assert!(matches!(failed, Err(FetchError::Storage(_))), "{failed:?}");
    drop((partition, broker));
    tasks.stop().await.unwrap();
}
