//! `ropewalk group`.

use std::collections::BTreeMap;

use ropewalk::{
    Client, GroupDescription, GroupOffset, MemberDescription, OffsetQuery, PartitionOffset,
    Position, Start,
};
use serde_json::{Value, json};

use super::args::Format;
use super::failure::Failure;
use super::group_args::{GroupDelete, GroupList, GroupRemoveMember, GroupReset, OneGroup};
use super::json::time;
use super::output::{Table, document, line};
use super::parse::{Origin, time_text};
use super::run::connect;

pub(super) async fn list(args: &GroupList) -> Result<(), Failure> {
    let groups = connect(&args.common).await?.admin().list_groups(&args.prefix).await?;
    if args.common.format == Format::Json {
        let groups = groups.iter().map(|group| {
            json!({
                "group": group.name,
                "state": group.state.name(),
                "members": group.member_count,
            })
        });
        return document(&groups.collect());
    }
    let mut table = Table::new(["GROUP", "STATE", "MEMBERS"]);
    for group in groups {
        table.row([group.name, group.state.name().to_owned(), group.member_count.to_string()]);
    }
    table.print()
}

pub(super) async fn describe(args: &OneGroup) -> Result<(), Failure> {
    let group = connect(&args.common).await?.group(&args.group).describe().await?;
    if args.common.format == Format::Json {
        return document(&json!({
            "group": group.name,
            "state": group.state.name(),
            "generation": group.generation,
            "strategy": group.strategy,
            "members": group.members.iter().map(member_json).collect::<Value>(),
            "offsets": group.offsets.iter().map(offset_json).collect::<Value>(),
        }));
    }
    print_description(group)
}

fn member_json(member: &MemberDescription) -> Value {
    let assigned = member.assigned.iter();
    let assigned = assigned.map(|(topic, partition)| json!([topic, partition]));
    json!({
        "member_id": member.id,
        "instance_name": member.instance_name,
        "client_id": member.client_id,
        "host": member.host,
        "subscriptions": member.subscriptions,
        "assigned": assigned.collect::<Value>(),
        "lost_until": time(member.lost_until),
    })
}

fn offset_json(offset: &GroupOffset) -> Value {
    json!({
        "topic": offset.topic,
        "partition": offset.partition,
        "committed": offset.committed,
        "earliest": offset.log_start_offset,
        "latest": offset.high_watermark,
        "lag": offset.lag,
        "metadata": offset.metadata,
        "commit_time": time(offset.commit_time),
        "member_id": offset.member_id,
    })
}

fn print_description(group: GroupDescription) -> Result<(), Failure> {
    let mut about = Table::new(["group", &group.name]);
    about.row(["state".to_owned(), group.state.name().to_owned()]);
    about.row(["generation".to_owned(), group.generation.to_string()]);
    about.row(["strategy".to_owned(), group.strategy]);
    about.print()?;
    line("")?;
    let mut members = Table::new(["MEMBER", "NAME", "HOST", "PARTITIONS", "LOST UNTIL"]);
    for member in group.members {
        let name = [member.instance_name, member.client_id];
        members.row([
            member.id,
            name.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/"),
            member.host,
            member.assigned.len().to_string(),
            member.lost_until.map(time_text).unwrap_or_default(),
        ]);
    }
    members.print()?;
    line("")?;
    let mut offsets =
        Table::new(["TOPIC", "PARTITION", "COMMITTED", "LATEST", "LAG", "MEMBER", "METADATA"]);
    let number = |n: Option<i64>, none: &str| n.map_or_else(|| none.to_owned(), |n| n.to_string());
    for offset in group.offsets {
        offsets.row([
            offset.topic,
            offset.partition.to_string(),
            number(offset.committed, "-"),
            number(offset.high_watermark, "?"),
            number(offset.lag, "?"),
            offset.member_id,
            offset.metadata,
        ]);
    }
    offsets.print()
}

pub(super) async fn delete(args: &GroupDelete) -> Result<(), Failure> {
    let client = connect(&args.common).await?;
    for name in &args.groups {
        client.group(name).delete().await?;
        match args.common.format {
            Format::Json => document(&json!({ "deleted": name }))?,
            Format::Text => line(&format!("deleted {name}"))?,
        }
    }
    Ok(())
}

pub(super) async fn remove_member(args: &GroupRemoveMember) -> Result<(), Failure> {
    let group = connect(&args.common).await?.group(&args.group);
    let removed = match (&args.member, &args.instance) {
        (Some(id), _) => group.remove_member(id).await.map(|()| id),
        (None, Some(name)) => group.remove_instance(name).await.map(|()| name),
        (None, None) => unreachable!("clap requires one"),
    }?;
    match args.common.format {
        Format::Json => document(&json!({ "removed": removed })),
        Format::Text => line(&format!("removed {removed}")),
    }
}

/// A change to what is committed of one partition.
struct Change {
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: i64,
    /// What was asked for, where the partition has no such place: `to` is the nearest it has.
    asked: Option<i64>,
}

impl Change {
    /// Says what else than was asked for is done.
    fn note(&self) -> Option<String> {
        let asked = self.asked?;
        let (place, end) = match asked < self.to {
            true => ("before the first offset", "earliest"),
            false => ("beyond the end", "latest"),
        };
        let Change { topic, partition, to, .. } = self;
        Some(format!("{topic}/{partition}: {asked} is {place}: {to}, the {end}, instead"))
    }
}

pub(super) async fn reset(args: &GroupReset) -> Result<(), Failure> {
    let client = connect(&args.common).await?;
    let changes = changes(&client, args).await?;
    if !args.dry_run {
        let positions =
            changes.iter().map(|at| Position::new(at.topic.clone(), at.partition, at.to));
        client.group(&args.group).commit(positions).await?;
    }
    for note in changes.iter().filter_map(Change::note) {
        eprintln!("ropewalk: {note}");
    }
    if args.common.format == Format::Json {
        let changes = changes.iter().map(|change| {
            json!({
                "topic": change.topic,
                "partition": change.partition,
                "from": change.from,
                "to": change.to,
                "asked": change.asked,
            })
        });
        let changes: Value = changes.collect();
        return document(&json!({ "dry_run": args.dry_run, "offsets": changes }));
    }
    let mut table = Table::new(["TOPIC", "PARTITION", "FROM", "TO"]);
    for change in changes {
        table.row([
            change.topic,
            change.partition.to_string(),
            change.from.map_or_else(|| "-".to_owned(), |from| from.to_string()),
            change.to.to_string(),
        ]);
    }
    table.print()?;
    if args.dry_run {
        eprintln!("ropewalk: nothing was changed (--dry-run)");
    }
    Ok(())
}

/// Offsets by topic and partition.
type Offsets = BTreeMap<(String, i32), i64>;

async fn changes(client: &Client, args: &GroupReset) -> Result<Vec<Change>, Failure> {
    let committed = client.group(&args.group).committed().await?;
    let committed: Offsets =
        committed.into_iter().map(|at| ((at.topic, at.partition), at.offset)).collect();
    let mut topics = args.topics.clone();
    if topics.is_empty() {
        topics.extend(committed.keys().map(|(topic, _)| topic.clone()));
        topics.dedup();
    }
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let starts = resolve(client, &topics, OffsetQuery::earliest).await?;
    let ends = resolve(client, &topics, OffsetQuery::latest).await?;
    let targets = match &args.to {
        Some(Origin::At(Start::Timestamp(at))) => {
            let at = *at;
            resolve(client, &topics, |topic| OffsetQuery::at(topic, at)).await?
        }
        _ => ends.clone(),
    };
    let mut changes = Vec::new();
    for ((topic, partition), end) in ends {
        let key = (topic, partition);
        let from = committed.get(&key).copied();
        let is_named = args.partitions.is_empty() || args.partitions.contains(&partition);
        // Without a topic, only what was committed is set.
        if !is_named || (args.topics.is_empty() && from.is_none()) {
            continue;
        }
        let start = starts.get(&key).copied().unwrap_or_default();
        let asked = match (&args.to, args.shift) {
            (Some(Origin::At(Start::Offset(offset))), _) => *offset,
            (Some(Origin::At(Start::Earliest)), _) => start,
            (Some(Origin::Last(count)), _) => end.saturating_sub(*count),
            (Some(_), _) => targets.get(&key).copied().unwrap_or(end),
            (None, shift) => match from {
                Some(from) => from.saturating_add(shift.unwrap_or_default()),
                // There is nothing to go from.
                None => continue,
            },
        };
        let (topic, partition) = key;
        let to = asked.clamp(start, end);
        let asked = Some(asked).filter(|asked| *asked != to);
        changes.push(Change { topic, partition, from, to, asked });
    }
    Ok(changes)
}

async fn resolve(
    client: &Client,
    topics: &[String],
    query: impl Fn(String) -> OffsetQuery,
) -> Result<Offsets, Failure> {
    let found = client.list_offsets(topics.iter().cloned().map(query)).await?;
    let offset = |at: PartitionOffset| ((at.topic, at.partition), at.offset);
    Ok(found.into_iter().map(offset).collect())
}
