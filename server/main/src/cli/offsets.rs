//! `ropewalk offsets`.

use std::collections::{BTreeSet, HashMap};

use ropewalk::{Client, OffsetQuery};
use serde_json::{Value, json};

use super::args::{Format, Offsets};
use super::failure::Failure;
use super::json::time;
use super::output::{Table, document};
use super::parse::time_text;
use super::run::connect;

pub(super) async fn offsets(args: &Offsets) -> Result<(), Failure> {
    let client = connect(&args.common).await?;
    match (&args.group, &args.topic) {
        (Some(group), topic) => of_group(args, &client, group, topic.as_deref()).await,
        (None, Some(topic)) => of_topic(args, &client, topic).await,
        // The definition of the arguments asks for one of the two.
        (None, None) => Ok(()),
    }
}

async fn of_topic(args: &Offsets, client: &Client, topic: &str) -> Result<(), Failure> {
    let partitions = client.admin().topic(topic).await?.partitions;
    if args.common.format == Format::Json {
        let partitions = partitions.iter().map(|partition| {
            json!({
                "topic": topic,
                "partition": partition.partition,
                "earliest": partition.log_start_offset,
                "latest": partition.high_watermark,
                "size_bytes": partition.size_bytes,
            })
        });
        return document(&partitions.collect());
    }
    let mut table = Table::new(["PARTITION", "EARLIEST", "LATEST", "RECORDS", "BYTES"]);
    for partition in partitions {
        table.row([
            partition.partition.to_string(),
            partition.log_start_offset.to_string(),
            partition.high_watermark.to_string(),
            (partition.high_watermark - partition.log_start_offset).to_string(),
            partition.size_bytes.to_string(),
        ]);
    }
    table.print()
}

async fn of_group(
    args: &Offsets,
    client: &Client,
    group: &str,
    topic: Option<&str>,
) -> Result<(), Failure> {
    let mut committed = client.group(group).committed().await?;
    committed.retain(|offset| topic.is_none_or(|topic| topic == offset.topic));
    let topics: BTreeSet<_> = committed.iter().map(|offset| offset.topic.clone()).collect();
    let mut ends = HashMap::new();
    if !topics.is_empty() {
        for end in client.list_offsets(topics.into_iter().map(OffsetQuery::latest)).await? {
            ends.insert((end.topic, end.partition), end.offset);
        }
    }
    let end_of = |topic: &str, partition| ends.get(&(topic.to_owned(), partition)).copied();
    if args.common.format == Format::Json {
        let offsets = committed.iter().map(|offset| {
            let latest = end_of(&offset.topic, offset.partition);
            json!({
                "group": group,
                "topic": offset.topic,
                "partition": offset.partition,
                "committed": offset.offset,
                "latest": latest,
                "lag": latest.map(|latest| latest - offset.offset),
                "metadata": offset.metadata,
                "commit_time": time(offset.commit_time),
            })
        });
        return document(&offsets.collect::<Value>());
    }
    if committed.is_empty() {
        eprintln!("ropewalk: group {group} has committed nothing");
        return Ok(());
    }
    let mut table =
        Table::new(["TOPIC", "PARTITION", "COMMITTED", "LATEST", "LAG", "TIME", "METADATA"]);
    for offset in committed {
        let latest = end_of(&offset.topic, offset.partition);
        let or_unknown = |n: Option<i64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        table.row([
            offset.topic,
            offset.partition.to_string(),
            offset.offset.to_string(),
            or_unknown(latest),
            or_unknown(latest.map(|latest| latest - offset.offset)),
            offset.commit_time.map(time_text).unwrap_or_default(),
            offset.metadata,
        ]);
    }
    table.print()
}
