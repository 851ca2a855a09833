//! What people see of groups, and what they may do to them.

use ropewalk_proto::v1;
use tonic::Code;

use crate::member::{Member, joining, with};
use crate::support::{eventually, soon};
use crate::{Node, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_listed_described_watched_and_deleted() {
    let node = Node::start().await;
    let stubs = node.stubs();
    stubs.create("t", 2).await;
    stubs.append("t", 0, &["a", "b", "c"]).await;
    let status = stubs.describe("g").await.unwrap_err();
    refused("no group", &status, Code::NotFound, "GROUP_NOT_FOUND");
    let watching = v1::WatchConsumerGroupRequest { group: "g".to_owned() };
    let mut watch = stubs.admin().watch_consumer_group(watching).await.unwrap().into_inner();
    let mut told = async || {
        let told = soon("a change", watch.message()).await.unwrap().unwrap().group.unwrap();
        (told.state(), told.members.len())
    };
    assert_eq!(told().await, (v1::ConsumerGroupState::Empty, 0));

    stubs.commit("idle", "t", 0, 1).await.unwrap();
    let joining = with(joining("g", &["t"]), |member| member.client_id = "mine".to_owned());
    let mut member = Member::join(node.address(), joining).await;
    member.until("all", |m| m.read.len() == 3).await;
    let place = ("t".to_owned(), 0);
    let generation = member.generation;
    member.commit_at(&place, 2, generation).await.unwrap();
    assert_eq!(told().await, (v1::ConsumerGroupState::Stable, 1));
    let v1::GetConsumerGroupResponse { group, offsets } = stubs.describe("g").await.unwrap();
    let group = group.unwrap();
    let [described] = group.members.as_slice() else { panic!("{group:?}") };
    assert_eq!((described.client_id.as_str(), described.assigned.len()), ("mine", 2));
    assert_eq!((described.host.as_str(), group.strategy.as_str()), ("127.0.0.1", "sticky"));
    assert_eq!(described.subscriptions, ["t"]);
    let of = |at: usize| {
        let offset: &v1::ConsumerGroupOffset = &offsets[at];
        (offset.partition, offset.committed_offset, offset.high_watermark, offset.lag)
    };
    assert_eq!((of(0), of(1)), ((0, Some(2), Some(3), Some(1)), (1, None, Some(0), Some(0))));
    assert!(offsets.iter().all(|offset| offset.member_id == member.id));

    let list = async |page_size: i32, page_token: &str| {
        let page_token = page_token.to_owned();
        let request = v1::ListConsumerGroupsRequest { page_size, page_token, ..Default::default() };
        let page = stubs.admin().list_consumer_groups(request).await.unwrap().into_inner();
        let groups = page.groups.iter().map(|group| (group.group.clone(), group.member_count));
        (groups.collect::<Vec<_>>(), page.next_page_token)
    };
    let (first, token) = list(1, "").await;
    assert_eq!((first, token.as_str()), (vec![("g".to_owned(), 1)], "g"));
    assert_eq!(list(1, &token).await, (vec![("idle".to_owned(), 0)], String::new()));

    member.close();
    assert_eq!(told().await, (v1::ConsumerGroupState::Empty, 0));
    stubs.commit("g", "t", 0, 0).await.unwrap();
    let partitions = vec![v1::GroupPartition { topic: "t".to_owned(), partition: 0 }];
    let group = "g".to_owned();
    let request = v1::DeleteCommittedOffsetsRequest { group, partitions };
    stubs.admin().delete_committed_offsets(request).await.unwrap();
    assert_eq!(stubs.committed("g").await, []);
    stubs.delete("g").await.unwrap();
    stubs.delete("idle").await.unwrap();
    let status = stubs.delete("idle").await.unwrap_err();
    refused("no group", &status, Code::NotFound, "GROUP_NOT_FOUND");
    eventually("nothing is left", async || list(10, "").await.0.is_empty()).await;
}
