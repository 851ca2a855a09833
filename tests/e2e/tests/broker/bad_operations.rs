//! What those who run a cluster may get wrong: each error names the field, and says what to do.

use ropewalk_proto::v1;
use tonic::Status;

use crate::support::{Expected, Node, refused};

enum Bad {
    Update(Option<u64>, &'static [&'static str]),
    Remove(u64),
    /// Topic, partition and brokers of each assignment.
    Reassign(Vec<(&'static str, i32, Vec<u64>)>),
    Transfer(&'static str, i32, u64),
}

impl Bad {
    async fn make(self, node: &Node) -> Option<Status> {
        let mut admin = node.admin();
        match self {
            Self::Update(id, paths) => {
                let broker = id.map(|broker_id| v1::Broker { broker_id, ..Default::default() });
                let paths = paths.iter().map(|path| (*path).to_owned()).collect();
                let update_mask = Some(prost_types::FieldMask { paths });
                let request = v1::UpdateBrokerRequest { broker, update_mask };
                admin.update_broker(request).await.err()
            }
            Self::Remove(broker_id) => {
                admin.remove_broker(v1::RemoveBrokerRequest { broker_id }).await.err()
            }
            Self::Reassign(assignments) => {
                let assignments = assignments.into_iter();
                let assignments = assignments.map(|(topic, partition, broker_ids)| {
                    v1::PartitionAssignment { topic: topic.to_owned(), partition, broker_ids }
                });
                let assignments = assignments.collect();
                let request = v1::ReassignPartitionsRequest { assignments };
                admin.reassign_partitions(request).await.err()
            }
            Self::Transfer(topic, partition, broker_id) => {
                let topic = topic.to_owned();
                let request = v1::TransferLeadershipRequest { topic, partition, broker_id };
                admin.transfer_leadership(request).await.err()
            }
        }
    }
}

/// What is wrong, the error, the field or resource that it names, and what it says.
type Case = (Bad, Expected, &'static str, &'static str);

/// `t` has one partition with one replica, on broker `holder`; `three` has one with three replicas.
/// Broker `draining` drains, and is not the holder.
fn cases(holder: u64, draining: u64) -> Vec<Case> {
    use Bad::{Reassign, Remove, Transfer, Update};
    let (field, topic, partition) =
        (Expected::INVALID_FIELD, Expected::TOPIC_NOT_FOUND, Expected::PARTITION_NOT_FOUND);
    let other = 6 - holder - draining;
    let no_topic = "topic `nowhere` does not exist; create it with CreateTopic";
    let no_partition = "topic `t` has 1 partitions, numbered from 0, so none with the number";
    let no_id = "must name a broker, 1 to 4294967295, not";
    let unknown = "broker 9 is not in the cluster: see the cluster's status for those that are";
    vec![
        (Update(Some(1), &[]), field, "update_mask", "must name what to set: `draining`"),
        (
            Update(Some(1), &["rack"]),
            field,
            "update_mask",
            "`rack` of a broker cannot be set: only",
        ),
        (Update(None, &["draining"]), field, "broker.broker_id", no_id),
        (Update(Some(1 << 32), &["draining"]), field, "broker.broker_id", no_id),
        (Update(Some(9), &["draining"]), field, "broker.broker_id", unknown),
        (Remove(0), field, "broker_id", no_id),
        (Remove(9), field, "broker_id", unknown),
        (Remove(1), field, "broker_id", "add a broker, or lower the factor of the topic first"),
        (Reassign(vec![]), field, "assignments", "names 0 partitions: name 1 to 10000"),
        (
            Reassign(vec![("t", 0, vec![1]); 10_001]),
            field,
            "assignments",
            "names 10001 partitions: name 1 to 10000",
        ),
        (Reassign(vec![("nowhere", 0, vec![1])]), topic, "nowhere", no_topic),
        (Reassign(vec![("t", 1, vec![1])]), partition, "t/1", no_partition),
        (Reassign(vec![("t", -1, vec![1])]), partition, "t/-1", no_partition),
        (Reassign(vec![("t", 0, vec![0])]), field, "assignments.broker_ids", no_id),
        (
            Reassign(vec![("t", 0, vec![9])]),
            field,
            "assignments.broker_ids",
            "broker 9 is not in the cluster: name brokers that are",
        ),
        (
            Reassign(vec![("t", 0, vec![1, 2, 3])]),
            field,
            "assignments.broker_ids",
            "3 brokers are named: name 1, or change the topic's replication factor first",
        ),
        (Reassign(vec![("t", 0, vec![])]), field, "assignments.broker_ids", "0 brokers are named"),
        (
            Reassign(vec![("three", 0, vec![1, 2, 2])]),
            field,
            "assignments.broker_ids",
            "a broker is named twice: name different ones",
        ),
        (
            Reassign(vec![("t", 0, vec![1]), ("t", 0, vec![2])]),
            field,
            "assignments",
            "partition 0 of `t` stands in `assignments` twice: name it once",
        ),
        (Transfer("nowhere", 0, 0), topic, "nowhere", no_topic),
        (Transfer("t", 1, 0), partition, "t/1", no_partition),
        (Transfer("t", 0, 1 << 32), field, "broker_id", no_id),
        (Transfer("t", 0, other), field, "broker_id", "or reassign the partition first"),
        (Transfer("t", 0, 9), field, "broker_id", "broker 9 has no replica of the partition"),
        (Transfer("three", 0, draining), field, "broker_id", "is draining and is to lead nothing"),
    ]
}

/// Asks each of three brokers, of which `holder` alone has the topic `t`.
pub(crate) async fn check(nodes: &[Node], holder: u64) {
    let three = v1::CreateTopicRequest {
        name: "three".to_owned(),
        partition_count: 1,
        replication_factor: 3,
        ..Default::default()
    };
    nodes[0].admin().create_topic(three).await.unwrap();
    let draining = holder % 3 + 1;
    let drained = v1::UpdateBrokerRequest {
        broker: Some(v1::Broker { broker_id: draining, draining: true, ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["draining".to_owned()] }),
    };
    nodes[0].admin().update_broker(drained).await.unwrap();
    for (id, node) in (1..).zip(nodes) {
        for (number, (bad, expected, about, says)) in (1..).zip(cases(holder, draining)) {
            let what = format!("case {number} ({says}) of broker {id}");
            let status = bad.make(node).await.unwrap_or_else(|| panic!("{what}: it was taken"));
            let metadata = refused(&what, &status, expected);
            let named = metadata.get("field").or(metadata.get("resource"));
            assert_eq!(named.map(String::as_str), Some(about), "{what}: {status:?}");
            assert!(status.message().contains(says), "{what}: {:?}", status.message());
        }
    }
}
