//! Offsets: looking them up, and keeping them under the name of a consumer group.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::time::SystemTime;

use prost::Message;
use ropewalk_proto::v1;
use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;
use v1::offset_query::Position as Query;

use crate::client::{Client, Repeat};
use crate::error::Error;
use crate::group::GroupConsumerBuilder;

/// The most partitions that a broker takes in one commit.
pub(crate) const MOST_COMMITTED_AT_ONCE: usize = 10_000;
/// The most bytes of one, which leaves room for the rest of a message.
const MOST_COMMITTED_BYTES: usize = 3 * 1024 * 1024;

/// Which time a member of a group has a partition: it may lose it and get it again. 0: not known.
/// It says where a position comes from and not which it is, so that all are equal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Era(pub(crate) u64);

impl Era {
    /// Whether a position of this era counts in that one.
    pub(crate) fn counts_in(self, now: Era) -> bool {
        self.0 == 0 || self.0 == now.0
    }
}

impl PartialEq for Era {
    fn eq(&self, _: &Era) -> bool {
        true
    }
}

impl Eq for Era {}

impl Hash for Era {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialOrd for Era {
    fn partial_cmp(&self, other: &Era) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Era {
    fn cmp(&self, _: &Era) -> Ordering {
        Ordering::Equal
    }
}

/// A place in a partition.
///
/// One that a member of a consumer group gives out (by its batches, its
/// [`positions`](crate::GroupConsumer::positions), its events) also remembers since when the member
/// has the partition: a commit of it is refused when another member has had the partition
/// meanwhile. One that is made by [`new`](Position::new) does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The topic's name.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    pub(crate) era: Era,
}

impl Position {
    /// The place before the record at `offset`.
    #[must_use]
    pub fn new(topic: impl Into<String>, partition: i32, offset: i64) -> Position {
        Position { topic: topic.into(), partition, offset, era: Era::default() }
    }
}

/// A position to resolve to an offset: of one partition, or of every partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetQuery {
    topic: String,
    partition: Option<i32>,
    position: Query,
}

impl OffsetQuery {
    /// The first record that is still there.
    #[must_use]
    pub fn earliest(topic: impl Into<String>) -> OffsetQuery {
        OffsetQuery { topic: topic.into(), partition: None, position: Query::Earliest(()) }
    }

    /// After the last record. At least as far as every append that was answered before the call.
    #[must_use]
    pub fn latest(topic: impl Into<String>) -> OffsetQuery {
        OffsetQuery { topic: topic.into(), partition: None, position: Query::Latest(()) }
    }

    /// The first record whose time is at or after `time`; the latest offset when there is none.
    #[must_use]
    pub fn at(topic: impl Into<String>, time: SystemTime) -> OffsetQuery {
        let position = Query::Timestamp(time.into());
        OffsetQuery { topic: topic.into(), partition: None, position }
    }

    /// Asks for this partition, from 0, only. Left out: every partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> OffsetQuery {
        self.partition = Some(partition);
        self
    }
}

pub(crate) fn list_request(
    queries: impl IntoIterator<Item = OffsetQuery>,
) -> v1::ListOffsetsRequest {
    let queries = queries.into_iter().map(|query| v1::OffsetQuery {
        topic: query.topic,
        partition: query.partition,
        position: Some(query.position),
    });
    v1::ListOffsetsRequest { queries: queries.collect() }
}

/// A position, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOffset {
    /// The topic's name.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// For a query by time: the time of the record at `offset`, where there is one.
    pub timestamp: Option<SystemTime>,
}

impl PartitionOffset {
    pub(crate) fn from_proto(proto: v1::PartitionOffset) -> PartitionOffset {
        PartitionOffset {
            topic: proto.topic,
            partition: proto.partition,
            offset: proto.offset,
            timestamp: proto.timestamp.and_then(|time| time.try_into().ok()),
        }
    }
}

/// The position of a consumer group in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic's name.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// What was kept beside it.
    pub metadata: String,
    /// When it was committed, by the broker's clock.
    pub commit_time: Option<SystemTime>,
}

/// The committed offsets of a consumer group. Made by [`Client::group`].
///
/// ```no_run
/// # async fn run(client: ropewalk::Client) -> Result<(), ropewalk::Error> {
/// use ropewalk::Start;
///
/// let group = client.group("billing");
/// let start = Start::committed("billing");
/// let mut consumer = client.consumer().topic("orders").start(start).build().await?;
/// while let Some(record) = consumer.next().await {
///     println!("{:?}", record?.value);
///     group.commit(consumer.positions()).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    client: Client,
    name: String,
}

impl Group {
    pub(crate) fn new(client: Client, name: String) -> Group {
        Group { client, name }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins the set-up of a member of the group, which shares its topics with the others.
    #[must_use]
    pub fn consumer(&self) -> GroupConsumerBuilder {
        GroupConsumerBuilder::new(self.client.clone(), self.name.clone())
    }

    /// Keeps positions, durably: each the next offset to read. Giving none does nothing. It is the
    /// administrator's commit, and refused while the group has members: those commit themselves.
    ///
    /// Up to 10,000 of them, with up to 3 MiB of names and metadata, are kept all together or not
    /// at all. More are committed in several calls, one after the other, each of which is: after
    /// an error the first of them are kept perhaps, and the rest is not.
    ///
    /// # Errors
    ///
    /// `GROUP_NOT_EMPTY` while the group has members, `OFFSET_OUT_OF_RANGE` for an offset beyond a
    /// partition's end, `TOPIC_NOT_FOUND`, `PARTITION_NOT_FOUND`, and what every call may meet.
    pub async fn commit(&self, positions: impl IntoIterator<Item = Position>) -> Result<(), Error> {
        let with_metadata = positions.into_iter().map(|position| (position, String::new()));
        self.commit_with_metadata(with_metadata).await
    }

    /// As [`commit`](Group::commit), with up to 3 KiB of anything beside each position.
    ///
    /// # Errors
    ///
    /// As [`commit`](Group::commit).
    pub async fn commit_with_metadata(
        &self,
        positions: impl IntoIterator<Item = (Position, String)>,
    ) -> Result<(), Error> {
        let offsets: Vec<_> = positions
            .into_iter()
            .map(|(position, metadata)| v1::CommittedOffset {
                topic: position.topic,
                partition: position.partition,
                offset: position.offset,
                metadata,
                commit_time: None,
            })
            .collect();
        for offsets in cut(offsets) {
            let request =
                v1::CommitOffsetRequest { group: self.name.clone(), offsets, ..Default::default() };
            self.client
                .call(Repeat::Freely, request, |channel, request| async move {
                    ConsumerServiceClient::new(channel).commit_offset(request).await
                })
                .await?;
        }
        Ok(())
    }

    /// Every position that the group has, by topic and partition. A group that never committed has
    /// none.
    ///
    /// # Errors
    ///
    /// What every call may meet.
    pub async fn committed(&self) -> Result<Vec<CommittedOffset>, Error> {
        let request =
            v1::GetCommittedOffsetsRequest { group: self.name.clone(), topics: Vec::new() };
        let answer = self
            .client
            .call(Repeat::Freely, request, |channel, request| async move {
                ConsumerServiceClient::new(channel).get_committed_offsets(request).await
            })
            .await?;
        let offsets = answer.offsets.into_iter().map(|proto| CommittedOffset {
            topic: proto.topic,
            partition: proto.partition,
            offset: proto.offset,
            metadata: proto.metadata,
            commit_time: proto.commit_time.and_then(|time| time.try_into().ok()),
        });
        Ok(offsets.collect())
    }
}

/// Cuts positions into what a broker takes in one call.
fn cut(offsets: Vec<v1::CommittedOffset>) -> Vec<Vec<v1::CommittedOffset>> {
    let (mut parts, mut bytes) = (Vec::<Vec<_>>::new(), 0);
    for offset in offsets {
        // Its own length, and the tag and the length before it.
        let more = offset.encoded_len() + 8;
        match parts.last_mut() {
            Some(part)
                if part.len() < MOST_COMMITTED_AT_ONCE && bytes + more <= MOST_COMMITTED_BYTES =>
            {
                bytes += more;
                part.push(offset);
            }
            _ => {
                bytes = more;
                parts.push(vec![offset]);
            }
        }
    }
    parts
}
