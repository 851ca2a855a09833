//! A SubscribeRequest of a member of a consumer group, read.

use std::collections::BTreeMap;

use ropewalk_broker::membership::JoinRequest;
use ropewalk_core::{MemberId, limits, names};
use ropewalk_groups::{Patience, Selection, Strategy};
use ropewalk_proto::broker as pb;

use crate::convert;
use crate::failure::Failure;

/// What a stream may have delivered beyond what is committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlightLimit {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl InFlightLimit {
    /// Whether there is no bound at all.
    pub(crate) fn is_none(self) -> bool {
        self.records == u64::MAX && self.bytes == u64::MAX
    }
}

/// Where a member goes on with a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GoesOn {
    pub(crate) offset: i64,
    pub(crate) is_paused: bool,
}

/// Where a member that comes back goes on, by topic and partition.
#[derive(Debug, Default)]
pub(crate) struct GoingOn {
    /// The newest generation that it knows: of what it got later it knows nothing.
    pub(crate) generation: u64,
    pub(crate) positions: BTreeMap<(String, i32), GoesOn>,
}

/// What is a group's alone in a request.
pub(crate) struct GroupRequest {
    pub(crate) join: JoinRequest,
    pub(crate) going_on: GoingOn,
    pub(crate) assignments_only: bool,
    pub(crate) limit: InFlightLimit,
}

impl GroupRequest {
    /// Reads a request that names a group.
    pub(crate) fn read(request: &pb::SubscribeRequest, host: String) -> Result<Self, Failure> {
        check_group(&request.group)?;
        check_rest(request)?;
        let member = request.member.clone().unwrap_or_default();
        let id = member.member_id.as_str();
        let id = (!id.is_empty()).then(|| read_member(id, "member.member_id")).transpose()?;
        let going_on = read_going_on(&member)?;
        let strategy = Some(member.strategy.as_str()).filter(|name| !name.is_empty());
        let strategy = strategy.map(Strategy::from_name).transpose();
        let strategy =
            strategy.map_err(|error| Failure::field("member.strategy", error.to_string()))?;
        let mut patience = Patience::default();
        for (field, given, kept) in [
            ("member.rejoin_grace", member.rejoin_grace, &mut patience.grace),
            ("member.drain_timeout", member.drain_timeout, &mut patience.drain),
        ] {
            let Some(given) = given else { continue };
            *kept = convert::read_duration(&given, field)?.ok_or_else(|| {
                Failure::field(field, format!("`{field}` must be 0 s or more, or left out"))
            })?;
        }
        let join = JoinRequest {
            group: request.group.clone(),
            member: id,
            instance: Some(member.instance_name).filter(|name| !name.is_empty()),
            client_id: member.client_id,
            host,
            selections: request.topics.iter().filter_map(selection).collect(),
            strategy,
            patience,
        };
        let limit = request.in_flight_limit.unwrap_or_default();
        let limit = InFlightLimit {
            records: read_limit("in_flight_limit.records", limit.records)?,
            bytes: read_limit("in_flight_limit.bytes", limit.bytes)?,
        };
        Ok(Self { join, going_on, assignments_only: request.assignments_only, limit })
    }
}

/// Whether what is left out without a group is left out.
pub(crate) fn check_no_group(request: &pb::SubscribeRequest) -> Result<(), Failure> {
    let given = [
        ("member", request.member.is_some()),
        ("assignments_only", request.assignments_only),
        ("in_flight_limit", request.in_flight_limit.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((field, _)) => {
            Err(Failure::field(field, format!("`{field}` goes with `group`: give one")))
        }
        None => Ok(()),
    }
}

fn check_rest(request: &pb::SubscribeRequest) -> Result<(), Failure> {
    let refused = |field: &str, why: &str| {
        Err(Failure::field(field, format!("`{field}` does not go with `group`: {why}")))
    };
    if request.topics.iter().any(|topic| !topic.partitions.is_empty()) {
        return refused("topics.partitions", "the group says which partitions are whose");
    }
    if request.stop.as_ref().is_some_and(|stop| stop.end.is_some()) {
        return refused("stop", "close the stream when you have read enough");
    }
    let start = request.default_start.as_ref().and_then(|start| start.position.as_ref());
    match start {
        Some(pb::start::Position::Offset(_) | pb::start::Position::Committed(_)) => refused(
            "default_start",
            "a group begins at what it committed, or else at the earliest or latest record or at a \
             timestamp",
        ),
        _ => Ok(()),
    }
}

fn read_going_on(member: &pb::GroupMember) -> Result<GoingOn, Failure> {
    let field = "member.positions";
    if member.member_id.is_empty() && !member.positions.is_empty() {
        let message =
            format!("`{field}` goes with `member.member_id`: a new member has nothing yet");
        return Err(Failure::field(field, message));
    }
    // A member may have all that its group reads.
    let limit = limits::MAX_PARTITIONS_PER_CONSUMER_GROUP;
    let named = member.positions.len();
    if named > limit {
        let message = format!("`{field}` must name at most {limit} partitions, not {named}");
        return Err(Failure::field(field, message).with("limit", limit).with("actual", named));
    }
    let positions = member.positions.iter().map(|position| {
        let goes_on = GoesOn { offset: position.offset, is_paused: position.paused };
        ((position.topic.clone(), position.partition), goes_on)
    });
    let generation = u64::try_from(member.generation).map_err(|_| {
        Failure::field("member.generation", "`member.generation` cannot be negative")
    })?;
    Ok(GoingOn { generation, positions: positions.collect() })
}

fn selection(selection: &pb::TopicSelection) -> Option<Selection> {
    use pb::topic_selection::Selection as Wire;
    Some(match selection.selection.as_ref()? {
        Wire::Name(name) => Selection::Name(name.clone()),
        Wire::Pattern(pattern) => Selection::Pattern(pattern.clone()),
    })
}

fn read_limit(field: &str, given: i64) -> Result<u64, Failure> {
    match u64::try_from(given) {
        Ok(0) => Ok(u64::MAX),
        Ok(limit) => Ok(limit),
        Err(_) => Err(Failure::field(field, format!("`{field}` cannot be negative"))),
    }
}

/// The name of a consumer group.
pub(crate) fn check_group(group: &str) -> Result<(), Failure> {
    names::check_group(group).map_err(|error| Failure::field("group", error.to_string()))
}

/// The id of a member.
pub(crate) fn read_member(id: &str, field: &str) -> Result<MemberId, Failure> {
    id.parse().map_err(|_| {
        Failure::field(field, format!("`{field}` must be a UUID, as `started` told it"))
    })
}

/// A request names at most so many partitions.
pub(crate) fn check_count(field: &str, count: usize) -> Result<(), Failure> {
    let limit = limits::MAX_PARTITIONS_PER_REQUEST;
    if (1..=limit).contains(&count) {
        return Ok(());
    }
    let message = format!("`{field}` must name 1 to {limit} partitions, not {count}");
    Err(Failure::field(field, message).with("limit", limit).with("actual", count))
}
