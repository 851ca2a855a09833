//! How partitions and their replicas are shown, by whichever command.

use ropewalk::{Partition, Replica};
use serde_json::{Value, json};

pub(super) fn leader_text(partition: &Partition) -> String {
    partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string())
}

/// The brokers that are to have it.
pub(super) fn replicas_text(partition: &Partition) -> String {
    partition.replicas.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// What each replica lacks, as `BROKER:ENTRIES`, and what else there is to know of it.
pub(super) fn lag_text(members: &[Replica]) -> String {
    if members.is_empty() {
        return "unknown".to_owned();
    }
    let text = |member: &Replica| {
        let learner = if member.voter { "" } else { "(learner)" };
        let silent = if member.in_sync { "" } else { "(out of sync)" };
        format!("{}:{}{learner}{silent}", member.broker, member.lag)
    };
    members.iter().map(text).collect::<Vec<_>>().join(",")
}

pub(super) fn partition_json(partition: &Partition) -> Value {
    json!({
        "partition": partition.partition,
        "leader": partition.leader,
        "leader_epoch": partition.leader_epoch,
        "replicas": partition.replicas,
        "earliest": partition.log_start_offset,
        "latest": partition.high_watermark,
        "size_bytes": partition.size_bytes,
        "members": partition.members.iter().map(replica_json).collect::<Vec<_>>(),
    })
}

fn replica_json(replica: &Replica) -> Value {
    json!({
        "broker_id": replica.broker,
        "voter": replica.voter,
        "in_sync": replica.in_sync,
        "lag": replica.lag,
        "matched_index": replica.matched_index,
    })
}
