//! Reading: a Subscribe request made briefly, and its events one by one.

use bytes::Bytes;
use prost::Message;
use ropewalk_core::{Compression, compress};
use ropewalk_proto::v1;
use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;
use tonic::{Status, Streaming};
pub(crate) use v1::subscribe_response::Event;

use super::{CODECS, Node, connect, soon};

/// A record with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Got {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) record: v1::Record,
}

impl Got {
    /// The value as text, which most tests write.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.record.value.as_deref().unwrap_or_default()).into_owned()
    }
}

/// Reads topics by name, every partition.
pub(crate) fn named(topics: &[&str]) -> v1::SubscribeRequest {
    let topics = topics.iter().map(|name| v1::TopicSelection {
        selection: Some(v1::topic_selection::Selection::Name((*name).to_owned())),
        partitions: Vec::new(),
    });
    v1::SubscribeRequest { topics: topics.collect(), ..Default::default() }
}

pub(crate) fn starting(
    request: v1::SubscribeRequest,
    position: v1::start::Position,
) -> v1::SubscribeRequest {
    let default_start = Some(v1::Start { position: Some(position) });
    v1::SubscribeRequest { default_start, ..request }
}

pub(crate) fn stopping(request: v1::SubscribeRequest, end: v1::stop::End) -> v1::SubscribeRequest {
    v1::SubscribeRequest { stop: Some(v1::Stop { end: Some(end) }), ..request }
}

/// An open Subscribe.
pub(crate) struct Reader {
    stream: Streaming<v1::SubscribeResponse>,
}

impl Reader {
    /// Opens a stream; it is started when this returns.
    pub(crate) async fn open(
        node: &Node,
        request: v1::SubscribeRequest,
    ) -> (Self, Vec<v1::PartitionPosition>) {
        let mut reader = Self::try_open(node, request).await.unwrap();
        let started = reader.started().await;
        (reader, started)
    }

    /// Opens a stream on a connection of its own: one that is not read takes no window from others.
    pub(crate) async fn apart(
        node: &Node,
        request: v1::SubscribeRequest,
    ) -> (Self, Vec<v1::PartitionPosition>) {
        let mut consumer = ConsumerServiceClient::new(connect(node.broker.address()).await);
        let response = soon("a stream", consumer.subscribe(request)).await.unwrap();
        let mut reader = Self { stream: response.into_inner() };
        let started = reader.started().await;
        (reader, started)
    }

    /// Opens a stream, unless it is refused.
    pub(crate) async fn try_open(
        node: &Node,
        request: v1::SubscribeRequest,
    ) -> Result<Self, Status> {
        let response = soon("a stream", node.consumer().subscribe(request)).await?;
        Ok(Self { stream: response.into_inner() })
    }

    /// The next event, or `None` at an end with OK.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Status> {
        let message = soon("an event", self.stream.message()).await?;
        Ok(message.map(|message| message.event.expect("every message has an event")))
    }

    /// The next event that is no heartbeat.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            match self.next().await.unwrap() {
                Some(Event::Heartbeat(_)) => {}
                Some(event) => return event,
                None => panic!("the stream ended"),
            }
        }
    }

    pub(crate) async fn started(&mut self) -> Vec<v1::PartitionPosition> {
        match self.event().await {
            Event::Started(started) => started.positions,
            event => panic!("not started, but {event:?}"),
        }
    }

    pub(crate) async fn batch(&mut self) -> v1::RecordBatch {
        loop {
            match self.event().await {
                Event::Batch(batch) => return batch,
                Event::CaughtUp(_) => {}
                event => panic!("no batch, but {event:?}"),
            }
        }
    }

    pub(crate) async fn caught_up(&mut self) -> v1::CaughtUp {
        match self.event().await {
            Event::CaughtUp(caught_up) => caught_up,
            event => panic!("not caught up, but {event:?}"),
        }
    }

    pub(crate) async fn gap(&mut self) -> (i64, i64) {
        loop {
            match self.event().await {
                Event::Gap(gap) => {
                    assert_eq!(gap.reason(), v1::gap::Reason::Deleted);
                    return (gap.from_offset, gap.to_offset);
                }
                Event::CaughtUp(_) => {}
                event => panic!("no gap, but {event:?}"),
            }
        }
    }

    /// At least this many records, which end with a batch.
    pub(crate) async fn records(&mut self, count: usize) -> Vec<Got> {
        let mut found = Vec::new();
        while found.len() < count {
            found.extend(records_of(&self.batch().await));
        }
        found
    }

    /// Every record up to the end of the stream, which must be OK.
    pub(crate) async fn drain(&mut self) -> Vec<Got> {
        let mut found = Vec::new();
        while let Some(event) = self.next().await.unwrap() {
            if let Event::Batch(batch) = event {
                found.extend(records_of(&batch));
            }
        }
        found
    }

    /// The error that ends the stream, whatever comes before it.
    pub(crate) async fn error(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended with OK"),
                Err(status) => return status,
            }
        }
    }
}

/// The records of a batch with their offsets; it decompresses where the broker did not.
pub(crate) fn records_of(batch: &v1::RecordBatch) -> Vec<Got> {
    let records = match batch.data.as_ref().expect("a batch has records") {
        v1::record_batch::Data::Records(set) => set.records.clone(),
        v1::record_batch::Data::Compressed(bytes) => decompressed(batch.compression(), bytes),
    };
    assert_eq!(records.len(), usize::try_from(batch.record_count).unwrap());
    let place = |(offset, record)| Got { partition: batch.partition, offset, record };
    if !batch.offsets.is_empty() {
        assert_eq!(batch.offsets.len(), records.len());
        assert_eq!(batch.offsets[0], batch.base_offset);
        return batch.offsets.iter().copied().zip(records).map(place).collect();
    }
    (batch.base_offset..).zip(records).map(place).collect()
}

fn decompressed(codec: v1::Compression, bytes: &Bytes) -> Vec<v1::Record> {
    let (_, codec): (_, Compression) =
        CODECS.into_iter().find(|(name, _)| *name == codec).expect("a codec");
    let bytes = compress::decompress(codec, bytes, 64 << 20).unwrap();
    v1::RecordSet::decode(bytes.as_slice()).unwrap().records
}

/// Everything that the partitions of a topic hold now.
pub(crate) async fn read_all(node: &Node, topic: &str) -> Vec<Got> {
    let request = stopping(named(&[topic]), v1::stop::End::CaughtUp(()));
    let (mut reader, _) = Reader::open(node, request).await;
    reader.drain().await
}
