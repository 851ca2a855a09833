//! How groups are taken up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use futures::{FutureExt, poll};
use ropewalk_cluster::{MetadataCommand, MetadataMachine, MetadataWatch};
use ropewalk_consensus::{Receipt, StateMachine};
use ropewalk_core::{GroupId, NodeId, ReplicaId};
use ropewalk_storage::group_log::GroupLog;

use crate::driver::Driver;
use crate::driver::fake_shard::{FakeShard, Told};
use crate::fake_peers::FakePeers;
use crate::group_handle::Ways;
use crate::groups::Groups;
use crate::pools::Pools;
use crate::support::READS_BUDGET;
use crate::table::Reconciler;

/// The first group that is taken up.
const COORDINATOR: GroupId = GroupId::COORDINATORS[0];
/// Time does not pass by itself here.
const SHORT: Duration = Duration::from_millis(10);

/// A shard notes for the keeper that a group is led, as soon as it has it. Were the group not found
/// then, the note would be lost, and its members would stay as they are.
#[tokio::test]
async fn a_group_is_found_before_its_shard_has_it() {
    let (mut machine, metadata) = MetadataMachine::new();
    let founders = vec![(NodeId(1), [1; 16])];
    machine.apply(6, &MetadataCommand::Form { cluster_id: [7; 16], founders }.encode()).unwrap();
    let (driver, mut shard) = Driver::with_fake_shard();
    // The shard has a place for one command, and that is taken.
    driver.remove(GroupId::FIRST_PARTITION).now_or_never().unwrap().unwrap();
    let groups = Arc::new(Groups::default());
    let mut reconciler = reconciler(driver, metadata, None, &groups);
    let mut following = Box::pin(reconciler.first());
    assert!(poll!(&mut following).is_pending());
    let found = groups.filtered(|_, _| true);
    assert_eq!(found.len(), 1, "the first group waits for its shard, and is found");
    let (group, watch) = found.into_iter().next().unwrap();

    let opens = Box::pin(shard.opens());
    let Either::Right((Some((opened, its_watch)), _)) = select(&mut following, opens).await else {
        panic!("nothing is taken up");
    };
    assert_eq!(opened, group);
    assert!(Arc::ptr_eq(&watch, &its_watch));
}

fn reconciler(
    driver: Driver,
    metadata: MetadataWatch,
    stored: Option<ReplicaId>,
    groups: &Arc<Groups>,
) -> Reconciler {
    let ways = Ways::new(NodeId(1), driver, Arc::new(FakePeers::default()));
    let pools = Pools::new(1, READS_BUDGET);
    let stored = stored.map(|replica| (COORDINATOR, GroupLog::blank(COORDINATOR, replica).0));
    let stored: HashMap<_, _> = stored.into_iter().collect();
    Reconciler::new(ways, metadata, pools, stored, Arc::clone(groups)).0
}

/// What the shard is told of one group while the table is made, where this broker's disk has this
/// replica of it and the metadata has replaced its first one by another with number 9.
async fn told(stored: ReplicaId) -> Vec<&'static str> {
    let (mut machine, metadata) = MetadataMachine::new();
    let founders = vec![(NodeId(1), [1; 16])];
    machine.apply(6, &MetadataCommand::Form { cluster_id: [7; 16], founders }.encode()).unwrap();
    let replica = ReplicaId::new(NodeId(1), 0);
    let replace = MetadataCommand::ReplaceReplica { group: COORDINATOR, replica };
    machine.apply(9, &replace.encode()).unwrap();
    let (driver, mut shard) = Driver::with_fake_shard();
    let mut reconciler = reconciler(driver, metadata, Some(stored), &Arc::default());
    let following = Box::pin(reconciler.first());
    let Either::Right((told, following)) = select(following, Box::pin(hear(&mut shard))).await
    else {
        panic!("nobody has taken up anything");
    };
    drop(following);
    told
}

/// What comes until the group is taken up. What is to be on the disk is not there before nothing
/// else comes.
async fn hear(shard: &mut FakeShard) -> Vec<&'static str> {
    let mut heard = Vec::new();
    loop {
        match shard.next_of(COORDINATOR).await.unwrap() {
            Told::Keep(reply) => {
                heard.push("keep the metadata");
                let next = tokio::time::timeout(SHORT, shard.next_of(COORDINATOR)).await;
                assert!(next.is_err(), "something is done before they are on the disk");
                reply(Ok(Receipt::Done));
            }
            Told::Remove => heard.push("remove"),
            Told::Propose(..) => panic!("the table proposes nothing"),
            Told::Open(replica, true) => {
                heard.push(if replica.serial() == 0 {
                    "open the old"
                } else {
                    "open what is there"
                });
                return heard;
            }
            Told::Open(..) => {
                heard.push("open anew");
                return heard;
            }
        }
    }
}

/// Were the broker to start with the metadata of before, it would make the old replica anew, as a
/// voter without what it had promised.
#[tokio::test(start_paused = true)]
async fn a_replica_is_deleted_only_when_its_reason_is_on_the_disk() {
    let told = told(ReplicaId::new(NodeId(1), 0)).await;
    assert_eq!(told, ["keep the metadata", "remove", "open anew"]);
}

/// That is so after a start: what was applied last may not have been written.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_newer_than_the_metadata_stays() {
    let told = told(ReplicaId::new(NodeId(1), 12)).await;
    assert_eq!(told, ["open what is there"]);
}
