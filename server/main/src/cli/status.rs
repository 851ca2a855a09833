//! `ropewalk cluster status` and `ropewalk health`.

use std::process::ExitCode;

use ropewalk::{Broker, Cluster, Health, Partition};
use serde_json::json;

use super::args::{Common, Format};
use super::failure::Failure;
use super::json::time;
use super::operate::partitions_where;
use super::output::{Table, document, line};
use super::parse::time_text;
use super::partitions::{lag_text, leader_text, partition_json, replicas_text};
use super::run::connect;

/// Shows brokers, and the partitions that are not as they are to be, or `all` of them.
pub(super) async fn show(common: &Common, all: bool) -> Result<(), Failure> {
    let admin = connect(common).await?.admin();
    let cluster = admin.cluster().await?;
    let partitions = match all {
        true => partitions_where(&admin, |_| true).await?,
        false => {
            let unhealthy = cluster.unhealthy_partitions.iter();
            unhealthy.map(|found| (found.topic.clone(), found.partition.clone())).collect()
        }
    };
    match common.format {
        Format::Json => print_json(&cluster, &partitions),
        Format::Text => print_text(&cluster, &partitions),
    }
}

fn print_json(cluster: &Cluster, partitions: &[(String, Partition)]) -> Result<(), Failure> {
    let partitions = partitions.iter().map(|(topic, partition)| {
        let mut value = partition_json(partition);
        value["topic"] = topic.as_str().into();
        value
    });
    let brokers = cluster.brokers.iter().map(|broker| {
        json!({
            "broker_id": broker.id,
            "address": broker.address,
            "rack": broker.rack,
            "version": broker.version,
            "alive": broker.alive,
            "draining": broker.draining,
            "removed": broker.removed,
            "leader_count": broker.leader_count,
            "replica_count": broker.replica_count,
            "system_leader_count": broker.system_leader_count,
            "system_replica_count": broker.system_replica_count,
            "start_time": time(broker.start_time),
        })
    });
    let limits = &cluster.limits;
    document(&json!({
        "cluster_id": cluster.id,
        "controller": cluster.controller,
        "topic_count": cluster.topic_count,
        "partition_count": cluster.partition_count,
        "under_replicated_partitions": cluster.under_replicated_partitions,
        "leaderless_partitions": cluster.leaderless_partitions,
        "brokers": brokers.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
        "limits": {
            "max_record_bytes": limits.max_record_bytes,
            "max_message_bytes": limits.max_message_bytes,
            "max_record_header_bytes": limits.max_record_header_bytes,
            "max_metadata_bytes": limits.max_metadata_bytes,
            "max_partitions_per_topic": limits.max_partitions_per_topic,
            "max_name_bytes": limits.max_name_bytes,
            "max_page_size": limits.max_page_size,
        },
    }))
}

fn print_text(cluster: &Cluster, partitions: &[(String, Partition)]) -> Result<(), Failure> {
    let mut about = Table::new(["cluster", &cluster.id]);
    let controller = cluster.controller.map_or_else(|| "none".to_owned(), |id| id.to_string());
    about.row(["controller".to_owned(), controller]);
    about.row(["topics".to_owned(), cluster.topic_count.to_string()]);
    about.row(["partitions".to_owned(), cluster.partition_count.to_string()]);
    about.row(["under-replicated".to_owned(), cluster.under_replicated_partitions.to_string()]);
    about.row(["leaderless".to_owned(), cluster.leaderless_partitions.to_string()]);
    about.print()?;
    line("")?;
    let heading = ["BROKER", "ADDRESS", "RACK", "STATE", "LEADS", "REPLICAS", "VERSION", "STARTED"];
    let mut brokers = Table::new(heading);
    for broker in &cluster.brokers {
        brokers.row([
            broker.id.to_string(),
            broker.address.clone(),
            broker.rack.clone().unwrap_or_default(),
            state(broker),
            broker.leader_count.to_string(),
            broker.replica_count.to_string(),
            broker.version.clone(),
            broker.start_time.map(time_text).unwrap_or_default(),
        ]);
    }
    brokers.print()?;
    print_partitions(cluster, partitions)
}

fn print_partitions(cluster: &Cluster, partitions: &[(String, Partition)]) -> Result<(), Failure> {
    if partitions.is_empty() {
        return Ok(());
    }
    line("")?;
    let heading = ["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "LAG"];
    let mut table = Table::new(heading);
    for (topic, partition) in partitions {
        table.row([
            topic.clone(),
            partition.partition.to_string(),
            leader_text(partition),
            partition.leader_epoch.to_string(),
            replicas_text(partition),
            lag_text(&partition.members),
        ]);
    }
    table.print()?;
    // The broker names the first thousand; `--partitions` asks for each topic.
    let under = usize::try_from(cluster.under_replicated_partitions).unwrap_or(0);
    match under.saturating_sub(partitions.len()) {
        0 => Ok(()),
        more => line(&format!("and {more} more: `--partitions` shows all")),
    }
}

fn state(broker: &Broker) -> String {
    let alive = match (broker.removed, broker.alive) {
        (true, _) => return "removed, replicas leave".to_owned(),
        (false, true) => "alive",
        (false, false) => "unreachable",
    };
    let draining = if broker.draining { ", draining" } else { "" };
    format!("{alive}{draining}")
}

pub(super) async fn health(common: &Common) -> Result<ExitCode, Failure> {
    let (word, code) = match connect(common).await?.admin().health().await? {
        Health::Serving => ("serving", ExitCode::SUCCESS),
        Health::NotServing => ("not-serving", ExitCode::FAILURE),
        Health::Unknown => ("unknown", ExitCode::FAILURE),
    };
    match common.format {
        Format::Json => document(&json!({ "health": word }))?,
        Format::Text => line(word)?,
    }
    Ok(code)
}
