//! Reads of a log and introductions on the wire, and the checks of those that come in.

use std::time::Duration;

use bytes::Bytes;
use ropewalk_broker::peers::{ClusterIdentity, Fetch, FetchError, Fetched, Introduction};
use ropewalk_core::{NodeId, Offset, StoredBatch, Timestamp, limits};
use ropewalk_proto::internal as pb;

use super::wire::{Result, WireError, group, node, within};

pub(super) fn fetch_to_wire(fetch: &Fetch) -> pb::Fetch {
    let max_bytes = fetch.max_bytes.min(limits::MAX_PEER_FETCH_BYTES);
    let wait = fetch.wait.min(limits::MAX_PEER_FETCH_WAIT);
    pb::Fetch {
        group_id: fetch.group.0,
        offset: fetch.offset.0,
        max_bytes: u32::try_from(max_bytes).unwrap_or(u32::MAX),
        wait_millis: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        since: fetch.since.map(|time| time.0),
    }
}

pub(super) fn fetch_from_wire(fetch: &pb::Fetch) -> Result<Fetch> {
    let wait = Duration::from_millis(u64::from(fetch.wait_millis));
    Ok(Fetch {
        group: group(fetch.group_id)?,
        offset: Offset(fetch.offset),
        max_bytes: (fetch.max_bytes as usize).min(limits::MAX_PEER_FETCH_BYTES),
        wait: wait.min(limits::MAX_PEER_FETCH_WAIT),
        since: fetch.since.map(Timestamp),
    })
}

pub(super) fn fetched_to_wire(fetched: Fetched) -> pb::Fetched {
    let batch = |batch: StoredBatch| pb::FetchedBatch {
        header: Bytes::copy_from_slice(&batch.header_bytes()),
        payload: batch.payload,
    };
    pb::Fetched {
        start: fetched.start.0,
        high_watermark: fetched.high_watermark.0,
        trimmed: fetched.trimmed.map(|offset| offset.0),
        batches: fetched.batches.into_iter().map(batch).collect(),
        found: fetched
            .found
            .map(|(offset, time)| pb::FoundRecord { offset: offset.0, time: time.0 }),
    }
}

/// Batches must follow one another without a gap, and every byte of them is checked.
pub(super) fn fetched_from_wire(fetched: pb::Fetched) -> Result<Fetched> {
    let mut next: Option<Offset> = None;
    let mut check = |wire: pb::FetchedBatch| {
        let batch = StoredBatch::from_parts(&wire.header, wire.payload)?;
        let base = batch.header.base_offset;
        let end = base.0.checked_add(u64::from(batch.header.record_count));
        let is_next = next.is_none_or(|next| next == base);
        match end {
            Some(end) if is_next && end > base.0 => next = Some(Offset(end)),
            _ => return Err(WireError::value("the offset of a batch", base.0)),
        }
        Ok(batch)
    };
    let batches = fetched.batches.into_iter().map(&mut check).collect::<Result<_>>()?;
    Ok(Fetched {
        start: Offset(fetched.start),
        high_watermark: Offset(fetched.high_watermark),
        trimmed: fetched.trimmed.map(Offset),
        batches,
        found: fetched.found.map(|found| (Offset(found.offset), Timestamp(found.time))),
    })
}

pub(super) fn fetch_error_to_wire(error: FetchError) -> pb::FetchError {
    use pb::FetchErrorKind as Kind;
    let mut wire = pb::FetchError::default();
    let kind = match error {
        FetchError::NoGroup => Kind::NoGroup,
        FetchError::Corrupt { offset, file, detail } => {
            wire.offset = offset.map(|offset| offset.0);
            (wire.file, wire.detail) = (file, detail);
            Kind::Corrupt
        }
        FetchError::Storage(detail) => {
            wire.detail = detail;
            Kind::Storage
        }
    };
    wire.set_kind(kind);
    wire
}

pub(super) fn fetch_error_from_wire(error: pb::FetchError) -> Result<FetchError> {
    use pb::FetchErrorKind as Kind;
    Ok(match Kind::try_from(error.kind) {
        Ok(Kind::NoGroup) => FetchError::NoGroup,
        Ok(Kind::Corrupt) => FetchError::Corrupt {
            offset: error.offset.map(Offset),
            file: error.file,
            detail: error.detail,
        },
        Ok(Kind::Storage) => FetchError::Storage(error.detail),
        Ok(Kind::Unspecified) | Err(_) => {
            return Err(WireError::value("the kind of an error", error.kind));
        }
    })
}

pub(super) fn introduction_to_wire(introduction: Introduction) -> pb::Introduction {
    let founder = |(node, directory): (NodeId, [u8; 16])| pb::Founder {
        node_id: node.0,
        directory_id: Bytes::copy_from_slice(&directory),
    };
    let cluster = introduction.cluster.map(|cluster| pb::ClusterIdentity {
        cluster_id: Bytes::copy_from_slice(&cluster.cluster_id),
        founders: cluster.founders.into_iter().map(founder).collect(),
    });
    let address =
        |(node, address): (NodeId, String)| pb::BrokerAddress { node_id: node.0, address };
    pb::Introduction {
        node_id: introduction.node.0,
        directory_id: Bytes::copy_from_slice(&introduction.directory),
        cluster,
        leader_id: introduction.leader.map(|leader| leader.0),
        addresses: introduction.addresses.into_iter().map(address).collect(),
    }
}

pub(super) fn introduction_from_wire(
    introduction: Option<pb::Introduction>,
) -> Result<Introduction> {
    let introduction = introduction.ok_or(WireError::Missing("the introduction"))?;
    within("the brokers' addresses", introduction.addresses.len(), limits::MAX_BROKERS)?;
    let address = |wire: pb::BrokerAddress| {
        within("a broker's address", wire.address.len(), limits::MAX_ADDRESS_BYTES)?;
        Ok((node(wire.node_id)?, wire.address))
    };
    Ok(Introduction {
        node: node(introduction.node_id)?,
        directory: id16("the id of a directory", &introduction.directory_id)?,
        cluster: introduction.cluster.map(cluster_from_wire).transpose()?,
        leader: introduction.leader_id.map(node).transpose()?,
        addresses: introduction.addresses.into_iter().map(address).collect::<Result<_>>()?,
    })
}

fn cluster_from_wire(cluster: pb::ClusterIdentity) -> Result<ClusterIdentity> {
    within("the founders of a cluster", cluster.founders.len(), limits::MAX_BROKERS)?;
    let founder = |wire: &pb::Founder| {
        Ok((node(wire.node_id)?, id16("the id of a directory", &wire.directory_id)?))
    };
    Ok(ClusterIdentity {
        cluster_id: id16("the id of a cluster", &cluster.cluster_id)?,
        founders: cluster.founders.iter().map(founder).collect::<Result<_>>()?,
    })
}

fn id16(what: &'static str, bytes: &Bytes) -> Result<[u8; 16]> {
    let length = bytes.len();
    <[u8; 16]>::try_from(bytes.as_ref()).map_err(|_| WireError::TooLong {
        what,
        actual: length,
        limit: 16,
    })
}
