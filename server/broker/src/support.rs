//! What tests of readers share: a broker on a store in memory that is read as a disk is.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ropewalk_cluster::{LEVEL, TopicSettings};
use ropewalk_consensus::{Durability, ProducerBounds};
use ropewalk_core::compress::compress;
use ropewalk_core::{Clock, Compression, GroupId, NodeId, Offset, SystemClock};
use ropewalk_proto::v1::{Record, RecordSet};
use ropewalk_storage::engine::EntryMeta;
use ropewalk_storage::memory::MemoryEngine;
use ropewalk_storage::{Engine, GroupState, LogEntry, Result, StorageError, WriteBatch};
use tokio::sync::oneshot;

use crate::delivery::{Accepted, DeliveryOptions};
use crate::ingest::{Payload, prepare};
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::peers::{ClusterIdentity, Introduction};
use crate::registration::founding_replica;
use crate::{Alone, Broker, BrokerConfig, BrokerTasks, Inbound, PeerLinks};

/// The bytes of a chunk.
pub(crate) const CHUNK: usize = 256 * 1024;
/// Entries of a chunk.
const CHUNK_ENTRIES: u64 = 4;

/// A store in memory that takes its time, and whose entries are read in chunks: each of them keeps
/// the whole chunk in memory.
#[derive(Default)]
pub(crate) struct SlowEngine {
    pub(crate) memory: MemoryEngine,
    /// How long a write takes.
    pub(crate) write: Duration,
    /// How long a read takes.
    pub(crate) read: Duration,
    /// The bytes of all chunks that somebody keeps in memory.
    pub(crate) chunks: Arc<AtomicUsize>,
    /// The group whose entries are gone.
    pub(crate) gone: Mutex<Option<GroupId>>,
    /// Whether the disk has no room for records.
    pub(crate) is_full: AtomicBool,
}

struct Chunk(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::AcqRel);
    }
}

impl SlowEngine {
    /// The same entries, as parts of a chunk that was just read.
    fn in_chunk(&self, entries: &[LogEntry]) -> Vec<LogEntry> {
        let mut chunk: Vec<u8> = entries.iter().flat_map(|entry| entry.data.to_vec()).collect();
        chunk.resize(chunk.len().max(CHUNK), 0);
        self.chunks.fetch_add(chunk.len(), Ordering::AcqRel);
        let mut rest = Bytes::from_owner(Chunk(chunk, Arc::clone(&self.chunks)));
        let cut =
            |entry: &LogEntry| LogEntry { data: rest.split_to(entry.data.len()), ..entry.clone() };
        entries.iter().map(cut).collect()
    }
}

impl Engine for SlowEngine {
    fn groups(&self) -> Result<Vec<GroupState>> {
        self.memory.groups()
    }

    #[allow(clippy::disallowed_methods)] // The slowness is what is tested.
    fn write(&self, batches: &[WriteBatch]) -> Result<()> {
        std::thread::sleep(self.write);
        self.memory.write(batches)
    }

    fn meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>> {
        self.memory.meta(group, index)
    }

    #[allow(clippy::disallowed_methods)] // The slowness is what is tested.
    fn entries(&self, group: GroupId, range: Range<u64>, max_bytes: u64) -> Result<Vec<LogEntry>> {
        std::thread::sleep(self.read);
        if *self.gone.lock().unwrap() == Some(group) {
            return Err(StorageError::Missing { group, index: range.start, offset: Offset(0) });
        }
        let entries = self.memory.entries(group, range, max_bytes)?;
        let chunks = entries.chunk_by(|a, b| a.index / CHUNK_ENTRIES == b.index / CHUNK_ENTRIES);
        Ok(chunks.flat_map(|entries| self.in_chunk(entries)).collect())
    }

    fn rows(&self, group: GroupId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.memory.rows(group, prefix)
    }

    fn reclaim(&self) -> Result<bool> {
        self.memory.reclaim()
    }

    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Acquire)
    }

    fn size_bytes(&self) -> u64 {
        self.memory.size_bytes()
    }

    fn close(&self) -> Result<()> {
        self.memory.close()
    }
}

/// The bytes of the log that readers hold at most.
pub(crate) const READS_BUDGET: usize = 24 << 20;

/// Starts a broker that keeps this many bytes of recent entries in memory.
pub(crate) async fn start(engine: Arc<dyn Engine>, tail_budget: u64) -> (Arc<Broker>, BrokerTasks) {
    start_at(Arc::new(SystemClock::default()), engine, tail_budget).await
}

/// The same, with a clock.
pub(crate) async fn start_at(
    clock: Arc<dyn Clock>,
    engine: Arc<dyn Engine>,
    tail_budget: u64,
) -> (Arc<Broker>, BrokerTasks) {
    let founders = vec![(NodeId(1), [1; 16])];
    let own = introduction(NodeId(1), &founders);
    let links = PeerLinks { peers: Arc::new(Alone), inbound: Inbound::new(own) };
    let config = BrokerConfig { clock, tail_budget, ..config(engine, NodeId(1), founders, links) };
    Broker::start(config).await.unwrap()
}

/// How a founder of the cluster of all tests introduces itself.
pub(crate) fn introduction(node: NodeId, founders: &[(NodeId, [u8; 16])]) -> Introduction {
    let (_, directory) = founders.iter().find(|(founder, _)| *founder == node).unwrap();
    Introduction {
        node,
        directory: *directory,
        cluster: Some(ClusterIdentity { cluster_id: [7; 16], founders: founders.to_vec() }),
        leader: None,
        addresses: Vec::new(),
    }
}

/// What a founder of that cluster is started with.
pub(crate) fn config(
    engine: Arc<dyn Engine>,
    node: NodeId,
    founders: Vec<(NodeId, [u8; 16])>,
    links: PeerLinks,
) -> BrokerConfig {
    BrokerConfig {
        engine,
        clock: Arc::new(SystemClock::default()),
        metrics: Arc::new(Metrics::noop()),
        on_fatal: Arc::new(|error| panic!("{error}")),
        node,
        cluster_id: [7; 16],
        directory: links.inbound.introduction().directory,
        metadata_replica: founding_replica(node),
        addresses: founders.iter().map(|(node, _)| (*node, peer_address(*node))).collect(),
        join: Vec::new(),
        founders,
        links,
        peer_address: peer_address(node),
        rack: None,
        address: format!("localhost:{}", 9000 + node.0),
        version: "0".to_owned(),
        level: LEVEL,
        shards: 1,
        append_budget: 8 << 20,
        tail_budget: 0,
        catch_up_rate: u64::MAX,
        compaction_rate: u64::MAX,
        producers: ProducerBounds::default(),
        key_budget: 1 << 20,
        reads_budget: READS_BUDGET,
        free_space_floor: 0,
        auto_create: true,
        default_partitions: 1,
        retention_interval: Duration::from_secs(60),
    }
}

/// Where a broker of a test is for the others.
pub(crate) fn peer_address(node: NodeId) -> String {
    format!("broker-{node}:9093")
}

/// The only partition of a topic, which comes into being with this.
pub(crate) async fn partition(broker: &Broker, topic: &str) -> Arc<Partition> {
    let topic = match broker.topic(topic) {
        Err(missing) => broker.create_for_use(topic, missing).await.unwrap(),
        Ok(topic) => topic,
    };
    broker.partition(&topic, 0).unwrap()
}

/// Appends a batch of records with values of this many bytes. The end of it is told later.
pub(crate) async fn append(
    partition: &Partition,
    broker: &Broker,
    records: usize,
    bytes: usize,
) -> oneshot::Receiver<bool> {
    append_compressed(partition, broker, records, bytes, Compression::None).await
}

/// The same, compressed.
pub(crate) async fn append_compressed(
    partition: &Partition,
    broker: &Broker,
    records: usize,
    bytes: usize,
    codec: Compression,
) -> oneshot::Receiver<bool> {
    let record = Record { value: Some(vec![7; bytes].into()), ..Record::default() };
    let set = RecordSet { records: vec![record; records] };
    let bytes = set.encode_to_vec();
    let payload = match codec {
        Compression::None => Payload::Records(bytes.into()),
        codec => Payload::Compressed {
            codec,
            bytes: compress(codec, &bytes).into(),
            record_count: u32::try_from(records).unwrap(),
            shortest_ttl: None,
        },
    };
    let draft = prepare(&payload, None, &TopicSettings::default()).unwrap();
    let reserved = broker.reserve(draft.len(), None, None).await.unwrap();
    let (done, ended) = oneshot::channel();
    // Whoever waited may be gone.
    let tell = move |result: std::result::Result<_, _>| {
        let _ = done.send(result.is_ok());
    };
    partition.append(draft, None, Durability::Quorum, reserved, tell).await.unwrap();
    ended
}

/// Appends batches of one record of this many bytes.
pub(crate) async fn fill(partition: &Partition, broker: &Broker, batches: usize, bytes: usize) {
    let mut ended = Vec::new();
    for _ in 0..batches {
        ended.push(append(partition, broker, 1, bytes).await);
    }
    for ended in ended {
        assert!(ended.await.unwrap());
    }
}

/// How a reader wants its records that decompresses nothing.
pub(crate) fn options(max_bytes: usize) -> DeliveryOptions {
    DeliveryOptions { accepted: Accepted::default(), text: false, max_bytes }
}
