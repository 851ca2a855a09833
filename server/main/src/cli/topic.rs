//! `ropewalk topic`.

use ropewalk::{NewTopic, Setting, Topic, TopicDescription, TopicEvent, TopicUpdate};
use serde_json::{Map, Value, json};

use super::args::{self, Format};
use super::assign::{settings, value_text};
use super::failure::Failure;
use super::json::time;
use super::output::{Table, document, line};
use super::parse::time_text;
use super::partitions::{lag_text, leader_text, partition_json, replicas_text};
use super::run::connect;

pub(super) async fn create(args: &args::TopicCreate) -> Result<(), Failure> {
    let mut topic = NewTopic::named(&args.name).settings(settings(&args.set));
    if let Some(count) = args.partitions {
        topic = topic.partitions(count);
    }
    if let Some(replicas) = args.replication_factor {
        topic = topic.replication_factor(replicas);
    }
    let created = connect(&args.common).await?.admin().create_topic(topic).await?;
    match args.common.format {
        Format::Json => document(&topic_json(&created)),
        Format::Text => line(&format!("created {}", summary(&created))),
    }
}

pub(super) async fn list(args: &args::TopicList) -> Result<(), Failure> {
    let topics = connect(&args.common).await?.admin().list_topics(&args.prefix).await?;
    if args.common.format == Format::Json {
        return document(&topics.iter().map(topic_json).collect());
    }
    let mut table = Table::new(["NAME", "PARTITIONS", "RETENTION", "CREATED"]);
    for topic in topics {
        table.row([
            topic.name,
            topic.partition_count.to_string(),
            value_text(&topic.settings, Setting::Retention).unwrap_or_default(),
            topic.create_time.map(time_text).unwrap_or_default(),
        ]);
    }
    table.print()
}

pub(super) async fn describe(args: &args::TopicDescribe) -> Result<(), Failure> {
    let described = connect(&args.common).await?.admin().topic(&args.name).await?;
    match args.common.format {
        Format::Json => document(&description_json(&described)),
        Format::Text => print_description(&described),
    }
}

fn print_description(described: &TopicDescription) -> Result<(), Failure> {
    let topic = &described.topic;
    let mut about = Table::new(["name", &topic.name]);
    about.row(["id".to_owned(), topic.id.clone()]);
    about.row(["replication_factor".to_owned(), topic.replication_factor.to_string()]);
    about.row(["created".to_owned(), topic.create_time.map(time_text).unwrap_or_default()]);
    for setting in Setting::ALL {
        if let Some(value) = value_text(&topic.settings, setting) {
            about.row([setting.name().to_owned(), value]);
        }
    }
    about.print()?;
    line("")?;
    let mut partitions = Table::new([
        "PARTITION",
        "LEADER",
        "EPOCH",
        "REPLICAS",
        "LAG",
        "EARLIEST",
        "LATEST",
        "BYTES",
    ]);
    for partition in &described.partitions {
        partitions.row([
            partition.partition.to_string(),
            leader_text(partition),
            partition.leader_epoch.to_string(),
            replicas_text(partition),
            lag_text(&partition.members),
            partition.log_start_offset.to_string(),
            partition.high_watermark.to_string(),
            partition.size_bytes.to_string(),
        ]);
    }
    partitions.print()
}

pub(super) async fn watch(args: &args::TopicWatch) -> Result<(), Failure> {
    let mut watch = connect(&args.common).await?.admin().watch_topics(&args.prefix);
    loop {
        let (event, topic) = match watch.next().await? {
            TopicEvent::Started => ("started", None),
            TopicEvent::Present(topic) => ("present", Some(topic)),
            TopicEvent::Synced => ("synced", None),
            TopicEvent::Created(topic) => ("created", Some(topic)),
            TopicEvent::Changed(topic) => ("changed", Some(topic)),
            TopicEvent::Deleted(topic) => ("deleted", Some(topic)),
        };
        match (args.common.format, topic) {
            (Format::Json, topic) => {
                let topic = topic.as_ref().map_or(Value::Null, topic_json);
                line(&json!({ "event": event, "topic": topic }).to_string())?;
            }
            (Format::Text, Some(topic)) => line(&format!("{event} {}", summary(&topic)))?,
            (Format::Text, None) => line(event)?,
        }
    }
}

pub(super) async fn update(args: &args::TopicUpdate) -> Result<(), Failure> {
    let mut change = TopicUpdate::of(&args.name).settings(settings(&args.set));
    if let Some(count) = args.partitions {
        change = change.partitions(count);
    }
    if let Some(replicas) = args.replication_factor {
        change = change.replication_factor(replicas);
    }
    for setting in &args.unset {
        change = change.reset(*setting);
    }
    let updated = connect(&args.common).await?.admin().update_topic(change).await?;
    match args.common.format {
        Format::Json => document(&topic_json(&updated)),
        Format::Text => line(&format!("updated {}", summary(&updated))),
    }
}

pub(super) async fn delete(args: &args::TopicDelete) -> Result<(), Failure> {
    let admin = connect(&args.common).await?.admin();
    for name in &args.names {
        admin.delete_topic(name).await?;
        match args.common.format {
            Format::Json => document(&json!({ "deleted": name }))?,
            Format::Text => line(&format!("deleted {name}"))?,
        }
    }
    Ok(())
}

fn summary(topic: &Topic) -> String {
    let partitions = if topic.partition_count == 1 { "partition" } else { "partitions" };
    format!("{} with {} {partitions}", topic.name, topic.partition_count)
}

fn topic_json(topic: &Topic) -> Value {
    let settings: Map<String, Value> = Setting::ALL
        .into_iter()
        .filter_map(|setting| {
            let value = value_text(&topic.settings, setting)?;
            Some((setting.name().to_owned(), value.into()))
        })
        .collect();
    json!({
        "name": topic.name,
        "topic_id": topic.id,
        "partition_count": topic.partition_count,
        "replication_factor": topic.replication_factor,
        "create_time": time(topic.create_time),
        "settings": settings,
    })
}

fn description_json(described: &TopicDescription) -> Value {
    let mut topic = topic_json(&described.topic);
    topic["partitions"] = described.partitions.iter().map(partition_json).collect();
    topic
}
