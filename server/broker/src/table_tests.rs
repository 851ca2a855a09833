//! How groups are taken up.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::{Either, select};
use futures::{FutureExt, poll};
use ropewalk_cluster::{MetadataCommand, MetadataMachine};
use ropewalk_consensus::StateMachine;
use ropewalk_core::{GroupId, NodeId};

use crate::driver::Driver;
use crate::fake_peers::FakePeers;
use crate::group_handle::Ways;
use crate::groups::Groups;
use crate::pools::Pools;
use crate::support::READS_BUDGET;
use crate::table::Reconciler;

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
    let ways = Ways::new(NodeId(1), driver, Arc::new(FakePeers::default()));
    let groups = Arc::new(Groups::default());
    let pools = Pools::new(1, READS_BUDGET);
    let (mut reconciler, _table) =
        Reconciler::new(ways, metadata, pools, HashMap::new(), Arc::clone(&groups));
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
