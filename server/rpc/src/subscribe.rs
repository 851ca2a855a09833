//! A SubscribeRequest, read and resolved: which partitions, from where, to where.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use ropewalk_broker::Partition;
use ropewalk_broker::broker::Broker;
use ropewalk_broker::delivery::{Accepted, DeliveryOptions};
use ropewalk_broker::errors::ReadError;
use ropewalk_broker::patterns;
use ropewalk_broker::table::ServedTopic;
use ropewalk_core::{GroupId, Offset, PartitionId, Timestamp, TopicId, limits, names};
use ropewalk_proto::broker as pb;

use crate::convert;
use crate::failure::{Failure, Reason};
use crate::leading::CallRoute;

/// Where reading starts, as the request says.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Earliest,
    Latest,
    Offset(i64),
    Time(Timestamp),
    Committed { group: String, otherwise_latest: bool },
}

/// Where reading ends, as the request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Never,
    CaughtUp,
    Offset(Offset),
    Time(Timestamp),
}

impl Stop {
    /// Whether partitions that are added later are read too: not when the end is that of the start.
    pub(crate) fn takes_later_partitions(self) -> bool {
        matches!(self, Self::Never | Self::Offset(_))
    }
}

/// One selection of topics.
pub(crate) enum Selection {
    /// One topic, by name.
    Name {
        name: String,
        /// The partitions and their starts; empty: all.
        partitions: Vec<(i32, Option<Start>)>,
    },
    /// All topics that match.
    Pattern(Regex),
}

/// A request that was read.
pub(crate) struct SubscribePlan {
    pub(crate) selections: Vec<Selection>,
    pub(crate) default_start: Start,
    pub(crate) stop: Stop,
    pub(crate) options: DeliveryOptions,
    pub(crate) heartbeat: Duration,
}

impl SubscribePlan {
    pub(crate) fn read(request: pb::SubscribeRequest) -> Result<Self, Failure> {
        let limit = limits::MAX_TOPIC_SELECTIONS;
        if !(1..=limit).contains(&request.topics.len()) {
            let message = format!("`topics` must select 1 to {limit} topics");
            return Err(Failure::field("topics", message).with("actual", request.topics.len()));
        }
        let selections: Vec<_> =
            request.topics.into_iter().map(read_selection).collect::<Result<_, _>>()?;
        let is_pattern = |selection: &&Selection| matches!(selection, Selection::Pattern(_));
        if selections.iter().filter(is_pattern).count() > limits::MAX_PATTERNS {
            let message = format!("`topics` must hold at most {} patterns", limits::MAX_PATTERNS);
            return Err(Failure::field("topics", message).with("limit", limits::MAX_PATTERNS));
        }
        let mut accepted = Accepted::default();
        for codec in request.accepted_compressions {
            accepted.insert(convert::read_compression(codec, "accepted_compressions")?);
        }
        let max_bytes = read_max_bytes(request.max_batch_bytes)?;
        Ok(Self {
            selections,
            default_start: read_start(request.default_start, "default_start")?,
            stop: read_stop(request.stop)?,
            options: DeliveryOptions { accepted, text: request.text, max_bytes },
            heartbeat: read_heartbeat(request.heartbeat_interval)?,
        })
    }

    /// The partitions to read, with their starts, at this moment.
    pub(crate) async fn partitions(
        &self,
        broker: &Broker,
        route: &CallRoute,
    ) -> Result<Vec<(Arc<Partition>, Start)>, Failure> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for selection in &self.selections {
            let Selection::Name { name, partitions } = selection else { continue };
            let topic = route.topic_for_use(name).await?;
            for (partition, start) in self.named_partitions(broker, &topic, partitions)? {
                if !seen.insert(partition.group) {
                    return Err(twice(&partition));
                }
                found.push((partition, start));
            }
            check_count(found.len())?;
        }
        // What is named comes first: a pattern adds what is not.
        let table = broker.table();
        for topic in table.topics.values().filter(|topic| self.matches(&topic.topic.name)) {
            let new = topic.partitions.iter().filter(|new| seen.insert(new.group));
            found.extend(new.map(|new| (Arc::clone(new), self.default_start.clone())));
            check_count(found.len())?;
        }
        for (partition, _) in &found {
            route.reads(partition)?;
        }
        Ok(found)
    }

    /// Partitions that are there now, are selected, and are not yet read.
    pub(crate) fn later_partitions(
        &self,
        broker: &Broker,
        known: &BTreeSet<GroupId>,
    ) -> Vec<Arc<Partition>> {
        let table = broker.table();
        let mut found = Vec::new();
        for topic in table.topics.values() {
            let name = &topic.topic.name;
            let is_named = self.selections.iter().any(|selection| match selection {
                Selection::Name { name: other, partitions } => {
                    name == other && partitions.is_empty()
                }
                Selection::Pattern(_) => false,
            });
            let is_selected = is_named || self.matches(name);
            if is_selected {
                let new = topic.partitions.iter().filter(|new| !known.contains(&new.group));
                found.extend(new.cloned());
            }
        }
        found
    }

    /// Whether a topic is selected by its name: then the stream cannot go on without it.
    pub(crate) fn names(&self, topic: &str) -> bool {
        self.selections
            .iter()
            .any(|selection| matches!(selection, Selection::Name { name, .. } if name == topic))
    }

    /// Whether a pattern matches a topic.
    fn matches(&self, name: &str) -> bool {
        self.selections.iter().any(|selection| match selection {
            Selection::Pattern(pattern) => patterns::matches(pattern, name),
            Selection::Name { .. } => false,
        })
    }

    fn named_partitions(
        &self,
        broker: &Broker,
        topic: &ServedTopic,
        partitions: &[(i32, Option<Start>)],
    ) -> Result<Vec<(Arc<Partition>, Start)>, Failure> {
        if partitions.is_empty() {
            let start =
                |partition: &Arc<Partition>| (Arc::clone(partition), self.default_start.clone());
            return Ok(topic.partitions.iter().map(start).collect());
        }
        let named = partitions.iter().map(|(id, start)| {
            let start = start.clone().unwrap_or_else(|| self.default_start.clone());
            Ok((broker.partition(topic, (*id).into())?, start))
        });
        named.collect()
    }
}

/// The events that name every partition of a stream must fit a message.
pub(crate) fn check_count(partitions: usize) -> Result<(), Failure> {
    let limit = limits::MAX_PARTITIONS_PER_REQUEST;
    if partitions <= limit {
        return Ok(());
    }
    let message = format!("one stream reads at most {limit} partitions: open several");
    Err(Failure::new(Reason::TooMany, message).with("limit", limit).with("actual", partitions))
}

fn twice(partition: &Partition) -> Failure {
    let message = format!(
        "partition {} of `{}` is selected twice: name it once",
        partition.id, partition.topic
    );
    Failure::field("topics", message)
}

/// The offset at which a partition is read first. A position may be below the log start: the reader
/// then gets a gap. `committed` are the positions of the consumer group that the start names.
pub(crate) async fn resolve_start(
    partition: &Partition,
    start: &Start,
    committed: &Committed,
) -> Result<Offset, Failure> {
    match start {
        Start::Earliest => Ok(partition.latest_bounds().await?.start),
        Start::Latest => Ok(partition.latest_bounds().await?.high_watermark),
        Start::Time(time) => time_or_end(partition, *time).await,
        Start::Offset(offset) => check_offset(partition, *offset).await,
        Start::Committed { group, otherwise_latest } => {
            let key = (partition.topic_id, partition.id);
            let committed = committed.get(group).and_then(|positions| positions.get(&key));
            match committed {
                Some(offset) => check_offset(partition, convert::offset(*offset)).await,
                None if *otherwise_latest => Ok(partition.latest_bounds().await?.high_watermark),
                None => Ok(partition.latest_bounds().await?.start),
            }
        }
    }
}

/// The positions of consumer groups, by group.
pub(crate) type Committed = BTreeMap<String, BTreeMap<(TopicId, PartitionId), Offset>>;

/// The positions that these starts need.
pub(crate) async fn committed_for(
    broker: &Broker,
    starts: impl Iterator<Item = &Start>,
) -> Result<Committed, Failure> {
    let mut committed = Committed::new();
    for start in starts {
        let Start::Committed { group, .. } = start else { continue };
        if !committed.contains_key(group) {
            let positions = broker.positions(group).await?;
            let positions = positions.into_iter();
            let positions = positions.map(|(topic, id, at)| ((topic, id), at.offset)).collect();
            committed.insert(group.clone(), positions);
        }
    }
    Ok(committed)
}

/// The offset before which reading ends.
pub(crate) async fn resolve_stop(
    partition: &Partition,
    stop: Stop,
) -> Result<Option<Offset>, Failure> {
    match stop {
        Stop::Never => Ok(None),
        Stop::CaughtUp => Ok(Some(partition.latest_bounds().await?.high_watermark)),
        Stop::Offset(offset) => Ok(Some(offset)),
        Stop::Time(time) => time_or_end(partition, time).await.map(Some),
    }
}

async fn time_or_end(partition: &Partition, time: Timestamp) -> Result<Offset, Failure> {
    let end = partition.latest_bounds().await?.high_watermark;
    let found = partition.find_time(time).await.map_err(ReadError::Log)?;
    Ok(found.map_or(end, |(offset, _)| offset))
}

/// An offset that is neither negative nor beyond the next one.
pub(crate) async fn check_offset(partition: &Partition, offset: i64) -> Result<Offset, Failure> {
    let asked = u64::try_from(offset).map(Offset);
    // Most are below what this broker knows of already; only the others are asked about.
    if let Ok(at) = asked
        && at <= partition.bounds().high_watermark
    {
        return Ok(at);
    }
    let bounds = partition.latest_bounds().await?;
    match asked {
        Ok(at) if at <= bounds.high_watermark => Ok(at),
        _ => Err(ReadError::OutOfRange {
            topic: partition.topic.to_string(),
            partition: partition.id,
            offset,
            earliest: bounds.start,
            latest: bounds.high_watermark,
        }
        .into()),
    }
}

fn read_selection(selection: pb::TopicSelection) -> Result<Selection, Failure> {
    match selection.selection {
        Some(pb::topic_selection::Selection::Name(name)) => {
            let limit = limits::MAX_PARTITIONS_PER_REQUEST;
            if selection.partitions.len() > limit {
                let message = format!("`topics.partitions` must name at most {limit} partitions");
                return Err(Failure::field("topics.partitions", message));
            }
            let read = |selected: pb::PartitionSelection| {
                let field = "topics.partitions.start";
                let start = selected.start.map(|start| read_start(Some(start), field));
                Ok((selected.partition, start.transpose()?))
            };
            let partitions = selection.partitions.into_iter().map(read);
            Ok(Selection::Name { name, partitions: partitions.collect::<Result<_, Failure>>()? })
        }
        Some(pb::topic_selection::Selection::Pattern(pattern)) => {
            if !selection.partitions.is_empty() {
                let message = "`topics.partitions` goes with `name`, not with `pattern`";
                return Err(Failure::field("topics.partitions", message));
            }
            read_pattern(&pattern).map(Selection::Pattern)
        }
        None => {
            let message = "`topics` must give a `name` or a `pattern` in each selection";
            Err(Failure::field("topics", message))
        }
    }
}

fn read_pattern(pattern: &str) -> Result<Regex, Failure> {
    let limit = limits::MAX_PATTERN_BYTES;
    if pattern.is_empty() || pattern.len() > limit {
        let message = format!("`topics.pattern` must have 1 to {limit} bytes");
        return Err(Failure::field("topics.pattern", message));
    }
    patterns::compile(pattern).map_err(|error| {
        let message = format!("`topics.pattern` is not a usable regular expression: {error}");
        Failure::field("topics.pattern", message)
    })
}

fn read_start(start: Option<pb::Start>, field: &str) -> Result<Start, Failure> {
    use pb::start::Position;
    Ok(match start.and_then(|start| start.position) {
        None | Some(Position::Earliest(())) => Start::Earliest,
        Some(Position::Latest(())) => Start::Latest,
        Some(Position::Offset(offset)) => Start::Offset(offset),
        Some(Position::Timestamp(time)) => Start::Time(convert::read_timestamp(&time, field)?),
        Some(Position::Committed(committed)) => {
            names::check_group(&committed.group)
                .map_err(|error| Failure::field("start.committed.group", error.to_string()))?;
            let latest = pb::committed_start::Fallback::Latest(());
            let otherwise_latest = committed.fallback == Some(latest);
            Start::Committed { group: committed.group, otherwise_latest }
        }
    })
}

fn read_stop(stop: Option<pb::Stop>) -> Result<Stop, Failure> {
    use pb::stop::End;
    Ok(match stop.and_then(|stop| stop.end) {
        None => Stop::Never,
        Some(End::CaughtUp(())) => Stop::CaughtUp,
        Some(End::Offset(offset)) => {
            let negative = |_| Failure::field("stop.offset", "`stop.offset` cannot be negative");
            Stop::Offset(Offset(u64::try_from(offset).map_err(negative)?))
        }
        Some(End::Timestamp(time)) => Stop::Time(convert::read_timestamp(&time, "stop.timestamp")?),
    })
}

fn read_max_bytes(bytes: i32) -> Result<usize, Failure> {
    if bytes == 0 {
        return Ok(limits::DEFAULT_DELIVERY_BYTES);
    }
    let limit = limits::MAX_DELIVERY_BYTES;
    usize::try_from(bytes).ok().filter(|bytes| *bytes <= limit).ok_or_else(|| {
        let message = format!("`max_batch_bytes` must be 1 to {limit}, or left out");
        Failure::field("max_batch_bytes", message).with("limit", limit).with("actual", bytes)
    })
}

fn read_heartbeat(interval: Option<prost_types::Duration>) -> Result<Duration, Failure> {
    let Some(interval) = interval else { return Ok(limits::DEFAULT_HEARTBEAT) };
    let range = limits::MIN_HEARTBEAT..=limits::MAX_HEARTBEAT;
    let read = convert::read_duration(&interval, "heartbeat_interval")?;
    read.filter(|interval| range.contains(interval)).ok_or_else(|| {
        let message = "`heartbeat_interval` must be 100 ms to 5 min, or left out";
        Failure::field("heartbeat_interval", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> pb::SubscribeRequest {
        pb::SubscribeRequest {
            topics: vec![pb::TopicSelection {
                selection: Some(pb::topic_selection::Selection::Name("t".to_owned())),
                partitions: Vec::new(),
            }],
            ..Default::default()
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let plan = SubscribePlan::read(request()).unwrap();
        assert!(matches!(plan.default_start, Start::Earliest));
        assert_eq!((plan.stop, plan.heartbeat), (Stop::Never, limits::DEFAULT_HEARTBEAT));
        assert_eq!(plan.options.max_bytes, limits::DEFAULT_DELIVERY_BYTES);
    }
}
