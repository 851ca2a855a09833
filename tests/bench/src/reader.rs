//! Subscribers: streams of batches, counted as they come.

use ropewalk_proto::broker::subscribe_response::Event;
use ropewalk_proto::broker::{
    Compression, Start, Stop, SubscribeRequest, SubscribeResponse, TopicSelection, start, stop,
    topic_selection,
};
use tokio::time::Instant;
use tonic::Streaming;

use crate::gate::Gate;
use crate::records::decode;
use crate::wire::{Failure, Wire};

/// Batches come as they are: a reader looks into none of those that are compressed.
const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// A subscription that has begun.
#[derive(Debug)]
pub(crate) struct Reader {
    events: Streaming<SubscribeResponse>,
    /// Whether it decodes every record.
    decodes: bool,
}

/// What a subscriber got while the gate was open.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) records: u64,
    pub(crate) batches: u64,
    /// How often it came back to the tail, having fallen behind it.
    pub(crate) returns: u64,
}

impl Reader {
    /// At the tail of every partition of a topic.
    pub(crate) async fn at_tail(
        address: &str,
        topic: &str,
        decodes: bool,
    ) -> Result<Self, Failure> {
        let latest = start::Position::Latest(());
        Self::open(address, topic, latest, None, decodes).await
    }

    /// From the start of every partition of a topic to its end.
    pub(crate) async fn from_start(address: &str, topic: &str) -> Result<Self, Failure> {
        let earliest = start::Position::Earliest(());
        let end = stop::End::CaughtUp(());
        Self::open(address, topic, earliest, Some(end), false).await
    }

    async fn open(
        address: &str,
        topic: &str,
        position: start::Position,
        end: Option<stop::End>,
        decodes: bool,
    ) -> Result<Self, Failure> {
        let mut wire = Wire::connect(address).await?;
        let request = SubscribeRequest {
            topics: vec![TopicSelection {
                selection: Some(topic_selection::Selection::Name(topic.to_owned())),
                partitions: Vec::new(),
            }],
            default_start: Some(Start { position: Some(position) }),
            stop: end.map(|end| Stop { end: Some(end) }),
            accepted_compressions: CODECS.map(i32::from).to_vec(),
            ..SubscribeRequest::default()
        };
        let mut events = wire.subscribe(request).await?;
        let first = events.message().await?.and_then(|message| message.event);
        match first {
            Some(Event::Started(_)) => Ok(Self { events, decodes }),
            other => Err(format!("a subscription began with {other:?}").into()),
        }
    }

    /// The next event. Nothing when the stream has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        let message = self.events.message().await?;
        Ok(message.and_then(|message| message.event))
    }

    /// Reads until the gate closes.
    pub(crate) async fn run(mut self, gate: Gate) -> Result<Delivered, Failure> {
        let mut delivered = Delivered::default();
        let mut caught_up = 0u64;
        let closed = gate.closed();
        tokio::pin!(closed);
        loop {
            let event = tokio::select! {
                event = self.next() => event?.ok_or("a subscription ended by itself")?,
                () = &mut closed => break,
            };
            if let Event::CaughtUp(_) = event {
                caught_up += u64::from(gate.is_open(Instant::now()));
            }
            let records = self.count(event)?;
            if gate.is_open(Instant::now()) {
                delivered.records += records;
                delivered.batches += u64::from(records > 0);
            }
        }
        delivered.returns = caught_up;
        Ok(delivered)
    }

    /// Reads to the end.
    pub(crate) async fn read_all(mut self) -> Result<Delivered, Failure> {
        let mut delivered = Delivered::default();
        while let Some(event) = self.next().await? {
            let records = self.count(event)?;
            delivered.records += records;
            delivered.batches += u64::from(records > 0);
        }
        Ok(delivered)
    }

    /// The records of an event.
    fn count(&self, event: Event) -> Result<u64, Failure> {
        match event {
            Event::Batch(batch) if self.decodes => Ok(decode(batch)?.len() as u64),
            Event::Batch(batch) => Ok(u64::try_from(batch.record_count)?),
            Event::Gap(gap) => Err(format!("records were lost: {gap:?}").into()),
            Event::Started(_)
            | Event::Heartbeat(_)
            | Event::CaughtUp(_)
            | Event::Assignment(_)
            | Event::PlanRequest(_) => Ok(0),
        }
    }
}
