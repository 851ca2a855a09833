//! Every bound of the broker that is not a setting. API.md's limits are shown by GetCluster.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The most bytes of one message on the client port, either way: just under the 4 MiB that the
/// stubs of every gRPC language take by default.
pub const MAX_MESSAGE_BYTES: usize = 4 * MIB - 1;
/// The most bytes of the encoded records of one batch: what is left beside the other fields of a
/// message.
pub const MAX_BATCH_BYTES: usize = 4 * MIB - 64 * KIB;
/// The most bytes that a topic may allow for one record.
pub const MAX_RECORD_BYTES: usize = 3_670_016;
/// The most bytes of one record where its topic does not say otherwise.
pub const DEFAULT_MAX_RECORD_BYTES: usize = MIB;
/// The most bytes of the headers of one record, in their encoded form.
pub const MAX_RECORD_HEADER_BYTES: usize = 64 * KIB;
/// The most bytes of gRPC metadata of a call.
pub const MAX_METADATA_BYTES: usize = 16 * KIB;
/// The most bytes that a compressed batch may have when it is decompressed.
pub const MAX_DECOMPRESSED_BYTES: usize = 16 * MIB;
/// The most records that a compressed batch may say it holds: a record takes two bytes at least.
pub const MAX_COMPRESSED_RECORDS: u32 = (MAX_DECOMPRESSED_BYTES / 2) as u32;
/// The bytes of decompressed batches that wait for their readers, of all streams together.
pub const DECOMPRESSED_BUDGET: usize = 8 * MAX_DECOMPRESSED_BYTES;
/// The bytes that the committed offsets of one coordinator group may take in memory.
pub const MAX_OFFSET_STATE_BYTES: usize = 16 * MIB;
/// The most patterns of one Subscribe.
pub const MAX_PATTERNS: usize = 16;
/// The bytes that one compiled pattern may take.
pub const MAX_COMPILED_PATTERN_BYTES: usize = 64 * KIB;
/// The most partitions of one topic.
pub const MAX_PARTITIONS_PER_TOPIC: u32 = 10_000;
/// The most replicas of partitions that one broker holds, of all topics.
pub const MAX_PARTITIONS_PER_BROKER: usize = 50_000;
/// The most partitions of a cluster, of all topics: every broker keeps their metadata, which goes
/// into one snapshot.
pub const MAX_PARTITIONS_PER_CLUSTER: usize = 100_000;
/// The most brokers of a cluster.
pub const MAX_BROKERS: usize = 256;
/// The most brokers that form a cluster; others join it.
pub const MAX_FOUNDERS: usize = 9;
/// The most replicas of a partition.
pub const MAX_REPLICAS: usize = 5;
/// The data directories whose brokers are gone that a cluster remembers, to refuse them.
pub const MAX_RETIRED_DIRECTORIES: usize = 4_096;
/// The longest address of a broker, as HOST:PORT, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 300;
/// The longest name of a topic or of a consumer group, in bytes.
pub const MAX_NAME_BYTES: usize = 249;
/// The most bytes that a consumer may keep beside a committed offset.
pub const MAX_COMMIT_METADATA_BYTES: usize = 3 * KIB;
/// The largest page of a list.
pub const MAX_PAGE_SIZE: usize = 1_000;
/// The page of a list where the request names none.
pub const DEFAULT_PAGE_SIZE: usize = 100;
/// The most topic selections of one Subscribe.
pub const MAX_TOPIC_SELECTIONS: usize = 1_000;
/// The most partitions that one request may name.
pub const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;
/// The longest pattern of a topic selection, in bytes.
pub const MAX_PATTERN_BYTES: usize = KIB;
/// The bytes of one batch event where the request does not say otherwise.
pub const DEFAULT_DELIVERY_BYTES: usize = MIB;
/// The most bytes of one batch event that a request may ask for.
pub const MAX_DELIVERY_BYTES: usize = MAX_RECORD_BYTES;
/// The time between heartbeats where the request does not say otherwise.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);
/// The shortest time between heartbeats.
pub const MIN_HEARTBEAT: Duration = Duration::from_millis(100);
/// The longest time between heartbeats.
pub const MAX_HEARTBEAT: Duration = Duration::from_secs(300);
/// The most unfinished appends of one ProduceStream.
pub const MAX_APPENDS_PER_STREAM: usize = 256;
/// The smallest segment.
pub const MIN_SEGMENT_BYTES: u64 = 64 * KIB as u64;
/// The largest segment.
pub const MAX_SEGMENT_BYTES: u64 = 8 * 1024 * MIB as u64;
/// The shortest retention and segment age.
pub const MIN_RETENTION: Duration = Duration::from_secs(1);
/// The shortest time to live of a single record.
pub const MIN_RECORD_TTL: Duration = Duration::from_millis(1);
/// The bytes of raft messages that are put into one frame to another broker.
pub const PEER_FRAME_BYTES: usize = MIB;
/// The most bytes of one message between brokers: a snapshot with the rows of a state machine.
pub const MAX_PEER_MESSAGE_BYTES: usize = 32 * MIB;
/// What the other fields of a message between brokers may take beside that.
pub const PEER_MESSAGE_SLACK: usize = 4 * MIB;
/// The most bytes of a call from another broker: a batch or a command, and what is beside it.
pub const MAX_PEER_CALL_BYTES: usize = 4 * MIB;
/// The bytes of appends and snapshots that wait for one broker.
pub const PEER_BULK_BYTES: usize = 8 * MIB;
/// The bytes of entries that a shard has taken from leaders and not on its disk yet.
pub const MAX_UNWRITTEN_BYTES: usize = 64 * MIB;
/// The bytes of heartbeats, votes and answers that wait for one broker.
pub const PEER_CONTROL_BYTES: usize = MIB;
/// The bytes of proposals that wait for an answer of one broker.
pub const PEER_PROPOSAL_BYTES: usize = 32 * MIB;
/// The most calls that wait for an answer of one broker, each of proposals and fetches.
pub const MAX_PEER_CALLS: usize = 16_384;
/// The most bytes of batches that one fetch of another broker is answered with.
pub const MAX_PEER_FETCH_BYTES: usize = 4 * MIB;
/// The bytes of batches that wait on their way to one broker.
pub const PEER_FETCH_BUDGET: usize = 16 * MIB;
/// The longest that a fetch of another broker waits for records.
pub const MAX_PEER_FETCH_WAIT: Duration = Duration::from_secs(30);
/// The most members of one group, with those that do not vote: every broker listens to the
/// metadata, and one that lost its disk is there twice for a while.
pub const MAX_MEMBERS: usize = 2 * MAX_BROKERS;
/// The most consumer groups of one coordinator group, of which there are 16.
pub const MAX_CONSUMER_GROUPS_PER_COORDINATOR: usize = 10_000;
/// The bytes of the rows that keep the consumer groups of one coordinator group, without what they
/// committed.
pub const MAX_CONSUMER_GROUP_BYTES: usize = 8 * MIB;
/// The most members of one consumer group.
pub const MAX_MEMBERS_PER_CONSUMER_GROUP: usize = 2_000;
/// The most partitions that one consumer group reads.
pub const MAX_PARTITIONS_PER_CONSUMER_GROUP: usize = 50_000;
/// The bytes of the names and patterns that one member of a consumer group subscribes to.
pub const MAX_SUBSCRIPTION_BYTES: usize = 16 * KIB;
/// How long a consumer group waits for a member whose connection broke, where it does not say
/// otherwise.
pub const DEFAULT_REJOIN_GRACE: Duration = Duration::from_secs(5);
/// How long a consumer group waits at least for a member whose connection did not break, when
/// another broker leads its coordinator: until its broker has told that one of the stream.
pub const FAILOVER_GRACE: Duration = Duration::from_secs(8);
/// The longest that a consumer group waits for a member whose connection broke.
pub const MAX_REJOIN_GRACE: Duration = Duration::from_secs(3_600);
/// The time that a member has to finish with a partition that another one is to have, where it does
/// not say otherwise.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The most time that a member may ask for to finish with a partition.
pub const MAX_DRAIN_TIMEOUT: Duration = Duration::from_secs(3_600);
/// The time that a client has to plan the assignment of its consumer group.
pub const PLAN_TIMEOUT: Duration = Duration::from_secs(5);

/// A producer that has appended within this time is never forgotten to make room for another one:
/// it may try a batch again whose answer was lost. It is longer than SDKs try.
pub const PRODUCER_RETRY_WINDOW: Duration = Duration::from_secs(5 * 60);

/// The most names of producers that a coordinator group knows; the one that was asked for longest
/// ago makes room. There are 16 of these groups.
pub const MAX_NAMED_PRODUCERS: usize = 10_000;

/// The most bytes of the map of keys of one compaction, of which one runs at a time on a broker. It
/// holds ten million keys; with more, compaction goes over the log as often as it must.
pub const MAX_COMPACTION_MAP_BYTES: usize = 192 * MIB;
/// The longest key of which an append may expect a version, in bytes.
pub const MAX_EXPECTED_KEY_BYTES: usize = 16 * KIB;

/// The most conditional appends of one partition that wait until its keys are read.
pub const MAX_APPENDS_AWAITING_KEYS: usize = 256;
/// The bytes of appends that wait until the keys of their partitions are read, of one shard.
pub const AWAITING_KEYS_BYTES: usize = 8 * MIB;
/// The bytes of appends that expect the version of a key and are under way, of the clients of a
/// broker; and as many again of those that other brokers forward.
pub const CONDITIONAL_APPENDS_BYTES: usize = 16 * MIB;
/// The bytes of keys that a broker has found in batches that are under way: more of them are read
/// from the log afterwards.
pub const FOUND_KEYS_BYTES: usize = 8 * MIB;
/// How long a conditional append waits until the keys of its partition are read.
pub const KEYS_TIMEOUT: Duration = Duration::from_secs(5);
/// The versions of a partition's keys are forgotten when nobody has asked for one for so long.
pub const KEYS_IDLE: Duration = Duration::from_secs(5 * 60);
