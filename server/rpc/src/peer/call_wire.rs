//! Proposals and their answers on the wire, and the checks of those that come in.

use bytes::Bytes;
use ropewalk_broker::peers::{ProposalKind, ProposeError, Receipt, RemoteProposal};
use ropewalk_consensus::proposal::{MemberProgress, MembershipChange};
use ropewalk_consensus::{Durability, Expected};
use ropewalk_core::batch::{DraftParts, RecordTimes, stored_codec};
use ropewalk_core::{
    BatchDraft, Offset, ProducerId, ProducerSequence, ReplicaId, ShortestTtl, Timestamp,
    TimestampType, limits,
};
use ropewalk_proto::internal as pb;
use ropewalk_proto::internal::proposal::Kind;

use super::wire::{Result, WireError, group, replica, within};

pub(super) fn proposal_to_wire(proposal: RemoteProposal) -> pb::Proposal {
    let kind = match proposal.kind {
        ProposalKind::Batch { draft, expected, durability, epoch } => {
            Kind::Batch(batch_to_wire(draft.into_parts(), expected, durability, epoch))
        }
        ProposalKind::Trim { before } => {
            Kind::Trim(pb::TrimProposal { before: before.map(|offset| offset.0) })
        }
        ProposalKind::Command(command) => Kind::Command(command.into()),
        ProposalKind::Query(question) => Kind::Query(question.into()),
        ProposalKind::Bounds => Kind::Bounds(pb::BoundsProposal {}),
        ProposalKind::Membership(change) => Kind::Membership(membership_to_wire(change)),
        ProposalKind::TransferLeadership(to) => Kind::TransferLeadership(to.0),
        ProposalKind::Progress => Kind::Progress(pb::ProgressProposal {}),
    };
    pb::Proposal { group_id: proposal.group.0, kind: Some(kind) }
}

pub(super) fn proposal_from_wire(proposal: pb::Proposal) -> Result<RemoteProposal> {
    let group = group(proposal.group_id)?;
    let kind = match proposal.kind.ok_or(WireError::Missing("the kind of a proposal"))? {
        Kind::Batch(batch) => batch_from_wire(batch)?,
        Kind::Trim(trim) => ProposalKind::Trim { before: trim.before.map(Offset) },
        Kind::Command(command) => ProposalKind::Command(command.into()),
        Kind::Query(question) => ProposalKind::Query(question.into()),
        Kind::Bounds(pb::BoundsProposal {}) => ProposalKind::Bounds,
        Kind::Membership(change) => ProposalKind::Membership(membership_from_wire(change)?),
        Kind::TransferLeadership(to) => ProposalKind::TransferLeadership(replica(to)?),
        Kind::Progress(pb::ProgressProposal {}) => ProposalKind::Progress,
    };
    Ok(RemoteProposal { group, kind })
}

fn batch_to_wire(
    parts: DraftParts,
    expected: Option<Box<Expected>>,
    durability: Durability,
    epoch: Option<u64>,
) -> pb::BatchProposal {
    let (expected_offset, expected_version) = match expected.map(|expected| *expected) {
        None => (None, None),
        Some(Expected::Offset(offset)) => (Some(offset.0), None),
        Some(Expected::Version { key, version }) => {
            let version = version.map(|offset| offset.0);
            (None, Some(pb::ExpectedVersion { key, version }))
        }
    };
    pb::BatchProposal {
        payload: parts.payload,
        payload_crc: parts.payload_crc,
        record_count: parts.record_count,
        compression: parts.compression as u32,
        timestamp_type: parts.timestamp_type as u32,
        newest_time: parts.times.newest.map(|time| time.0),
        untimed: parts.times.untimed,
        expected_offset,
        durability: durability_to_wire(durability).into(),
        sequence: parts.sequence.map(|sequence| pb::ProducerSequence {
            producer_id: sequence.producer.0,
            epoch: sequence.epoch,
            first: sequence.first,
        }),
        epoch,
        expected_version,
        shortest_ttl_millis: parts.times.shortest_ttl.map(ShortestTtl::millis),
    }
}

fn batch_from_wire(batch: pb::BatchProposal) -> Result<ProposalKind> {
    within("a batch", batch.payload.len(), limits::MAX_BATCH_BYTES)?;
    if batch.record_count == 0 {
        return Err(WireError::Missing("the number of records"));
    }
    let byte = |what, value: u32| u8::try_from(value).map_err(|_| WireError::value(what, value));
    let parts = DraftParts {
        record_count: batch.record_count,
        compression: stored_codec(byte("a codec", batch.compression)?)?,
        timestamp_type: TimestampType::from_stored(byte("a clock", batch.timestamp_type)?)?,
        times: RecordTimes {
            newest: batch.newest_time.map(Timestamp),
            untimed: batch.untimed,
            shortest_ttl: batch.shortest_ttl_millis.and_then(ShortestTtl::from_millis),
        },
        payload_crc: batch.payload_crc,
        sequence: batch.sequence.map(|sequence| ProducerSequence {
            producer: ProducerId(sequence.producer_id),
            epoch: sequence.epoch,
            first: sequence.first,
        }),
        payload: batch.payload,
    };
    let offset = batch.expected_offset.map(|offset| Expected::Offset(Offset(offset)));
    let version = batch.expected_version.map(|expected| Expected::Version {
        // A part of what came would keep all of it in memory.
        key: Bytes::copy_from_slice(&expected.key),
        version: expected.version.map(Offset),
    });
    Ok(ProposalKind::Batch {
        draft: BatchDraft::from_parts(&parts)?,
        expected: offset.or(version).map(Box::new),
        durability: durability_from_wire(batch.durability)?,
        epoch: batch.epoch,
    })
}

fn membership_to_wire(change: MembershipChange) -> pb::MembershipProposal {
    let (step, replica) = match change {
        MembershipChange::AddLearner(replica) => (pb::MembershipStep::AddLearner, replica),
        MembershipChange::Promote(replica) => (pb::MembershipStep::Promote, replica),
        MembershipChange::Remove(replica) => (pb::MembershipStep::Remove, replica),
    };
    pb::MembershipProposal { step: step.into(), replica_id: replica.0 }
}

fn membership_from_wire(change: pb::MembershipProposal) -> Result<MembershipChange> {
    let replica = replica(change.replica_id)?;
    Ok(match pb::MembershipStep::try_from(change.step) {
        Ok(pb::MembershipStep::AddLearner) => MembershipChange::AddLearner(replica),
        Ok(pb::MembershipStep::Promote) => MembershipChange::Promote(replica),
        Ok(pb::MembershipStep::Remove) => MembershipChange::Remove(replica),
        Ok(pb::MembershipStep::Unspecified) | Err(_) => {
            return Err(WireError::value("a step of the membership", change.step));
        }
    })
}

fn durability_to_wire(durability: Durability) -> pb::Durability {
    match durability {
        Durability::None => pb::Durability::None,
        Durability::Leader => pb::Durability::Leader,
        Durability::Quorum => pb::Durability::Quorum,
    }
}

fn durability_from_wire(durability: i32) -> Result<Durability> {
    Ok(match pb::Durability::try_from(durability) {
        Ok(pb::Durability::None) => Durability::None,
        Ok(pb::Durability::Leader) => Durability::Leader,
        Ok(pb::Durability::Quorum) => Durability::Quorum,
        Ok(pb::Durability::Unspecified) | Err(_) => {
            return Err(WireError::value("a durability", durability));
        }
    })
}

pub(super) fn receipt_to_wire(receipt: Receipt) -> pb::Receipt {
    use pb::receipt::Kind;
    let kind = match receipt {
        Receipt::Appended {
            base_offset,
            record_count,
            append_time,
            leader_epoch,
            achieved,
            duplicate,
        } => Kind::Appended(pb::Appended {
            base_offset: base_offset.0,
            record_count,
            append_time: append_time.0,
            leader_epoch,
            achieved: durability_to_wire(achieved).into(),
            duplicate,
        }),
        Receipt::Trimmed(start) => Kind::Trimmed(start.0),
        Receipt::Applied(answer) => Kind::Applied(answer.into()),
        Receipt::Bounds { start, high_watermark, leader_epoch } => Kind::Bounds(pb::Bounds {
            start: start.0,
            high_watermark: high_watermark.0,
            leader_epoch,
        }),
        Receipt::Done => Kind::Done(pb::Done {}),
        Receipt::Progress { members, leader_epoch } => {
            let member = |member: MemberProgress| pb::MemberProgress {
                replica_id: member.replica.0,
                is_voter: member.is_voter,
                is_active: member.is_active,
                matched: member.matched,
                lag: member.lag,
            };
            let members = members.into_iter().map(member).collect();
            Kind::Progress(pb::Progress { members, leader_epoch })
        }
    };
    pb::Receipt { kind: Some(kind) }
}

pub(super) fn receipt_from_wire(receipt: pb::Receipt) -> Result<Receipt> {
    use pb::receipt::Kind;
    Ok(match receipt.kind.ok_or(WireError::Missing("the kind of a receipt"))? {
        Kind::Appended(appended) => Receipt::Appended {
            base_offset: Offset(appended.base_offset),
            record_count: appended.record_count,
            append_time: Timestamp(appended.append_time),
            leader_epoch: appended.leader_epoch,
            achieved: durability_from_wire(appended.achieved)?,
            duplicate: appended.duplicate,
        },
        Kind::Trimmed(start) => Receipt::Trimmed(Offset(start)),
        Kind::Applied(answer) => Receipt::Applied(answer.into()),
        Kind::Bounds(bounds) => Receipt::Bounds {
            start: Offset(bounds.start),
            high_watermark: Offset(bounds.high_watermark),
            leader_epoch: bounds.leader_epoch,
        },
        Kind::Done(pb::Done {}) => Receipt::Done,
        Kind::Progress(progress) => {
            let member = |member: pb::MemberProgress| {
                Ok(MemberProgress {
                    replica: replica(member.replica_id)?,
                    is_voter: member.is_voter,
                    is_active: member.is_active,
                    matched: member.matched,
                    lag: member.lag,
                })
            };
            let members = progress.members.into_iter().map(member).collect::<Result<_>>()?;
            Receipt::Progress { members, leader_epoch: progress.leader_epoch }
        }
    })
}

pub(super) fn propose_error_to_wire(error: ProposeError) -> pb::ProposeError {
    use pb::ProposeErrorKind as Kind;
    let mut wire = pb::ProposeError::default();
    let kind = match error {
        ProposeError::NoGroup => Kind::NoGroup,
        ProposeError::NoLeader => Kind::NoLeader,
        ProposeError::ExpectedOffset { current } => {
            wire.current = current.0;
            Kind::ExpectedOffset
        }
        ProposeError::ExpectedVersion { current } => {
            wire.current_version = current.map(|offset| offset.0);
            Kind::ExpectedVersion
        }
        ProposeError::KeysUnread => Kind::KeysUnread,
        ProposeError::KeysDamaged { at } => {
            wire.current = at.0;
            Kind::KeysDamaged
        }
        ProposeError::TooManyKeys { limit } => {
            wire.limit = limit;
            Kind::TooManyKeys
        }
        ProposeError::SequenceGap { expected, actual } => {
            (wire.expected, wire.actual) = (expected, actual);
            Kind::SequenceGap
        }
        ProposeError::ProducerFenced { expected, actual } => {
            (wire.expected, wire.actual) = (expected, actual);
            Kind::ProducerFenced
        }
        ProposeError::TooManyProducers { limit } => {
            wire.limit = limit as u64;
            Kind::TooManyProducers
        }
        ProposeError::OutOfRange { start, high_watermark } => {
            (wire.start, wire.high_watermark) = (start.0, high_watermark.0);
            Kind::OutOfRange
        }
        ProposeError::Behind(replica) => {
            wire.replica_id = replica.0;
            Kind::Behind
        }
        ProposeError::Members => Kind::Members,
        ProposeError::Overloaded => Kind::Overloaded,
        ProposeError::StorageFull { floor } => {
            wire.floor = floor;
            Kind::StorageFull
        }
        ProposeError::LeaderChanged { epoch } => {
            wire.epoch = epoch;
            Kind::LeaderChanged
        }
    };
    wire.set_kind(kind);
    wire
}

pub(super) fn propose_error_from_wire(error: &pb::ProposeError) -> Result<ProposeError> {
    use pb::ProposeErrorKind as Kind;
    Ok(match Kind::try_from(error.kind) {
        Ok(Kind::NoGroup) => ProposeError::NoGroup,
        Ok(Kind::NoLeader) => ProposeError::NoLeader,
        Ok(Kind::ExpectedOffset) => ProposeError::ExpectedOffset { current: Offset(error.current) },
        Ok(Kind::ExpectedVersion) => {
            ProposeError::ExpectedVersion { current: error.current_version.map(Offset) }
        }
        Ok(Kind::KeysUnread) => ProposeError::KeysUnread,
        Ok(Kind::KeysDamaged) => ProposeError::KeysDamaged { at: Offset(error.current) },
        Ok(Kind::TooManyKeys) => ProposeError::TooManyKeys { limit: error.limit },
        Ok(Kind::SequenceGap) => {
            ProposeError::SequenceGap { expected: error.expected, actual: error.actual }
        }
        Ok(Kind::ProducerFenced) => {
            ProposeError::ProducerFenced { expected: error.expected, actual: error.actual }
        }
        Ok(Kind::TooManyProducers) => ProposeError::TooManyProducers {
            limit: usize::try_from(error.limit).unwrap_or(usize::MAX),
        },
        Ok(Kind::OutOfRange) => ProposeError::OutOfRange {
            start: Offset(error.start),
            high_watermark: Offset(error.high_watermark),
        },
        Ok(Kind::Behind) => ProposeError::Behind(ReplicaId(error.replica_id)),
        Ok(Kind::Members) => ProposeError::Members,
        Ok(Kind::Overloaded) => ProposeError::Overloaded,
        Ok(Kind::StorageFull) => ProposeError::StorageFull { floor: error.floor },
        Ok(Kind::LeaderChanged) => ProposeError::LeaderChanged { epoch: error.epoch },
        Ok(Kind::Unspecified) | Err(_) => {
            return Err(WireError::value("the kind of an error", error.kind));
        }
    })
}
