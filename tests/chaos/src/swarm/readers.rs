//! Clients that read every partition through one node, and go on where they were when their stream
//! ends.

use std::collections::HashMap;
use std::time::Duration;

use prost_types::Duration as ProtoDuration;
use ropewalk_proto::v1;
use tokio::time::{sleep, timeout};
use tonic::Status;
use v1::subscribe_response::Event;

use super::{AGAIN, CALL_TIMEOUT, CONNECT_TIMEOUT, Worker};
use crate::client::Stubs;
use crate::history::{Place, Seen, Sight};
use crate::load::TOPICS;
use crate::value::decode;

/// The time between signs of life, and how long their absence is borne.
const HEARTBEAT: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_secs(3);
/// How often a reader looks whether it is to stop, and how long it is quiet before it does.
const QUIET: Duration = Duration::from_secs(1);

/// A reader and where it is.
struct Reader {
    worker: Worker,
    era: u32,
    /// The next offset of each partition, once it is known.
    next: HashMap<Place, i64>,
}

/// Reads until it is stopped, always through the same node.
pub(super) async fn read(worker: Worker) {
    let mut reader = Reader { worker, era: 0, next: HashMap::new() };
    while reader.worker.goes_on() {
        // Whatever ended the stream: the next one shows what it left out.
        let _ = reader.stream().await;
        reader.era += 1;
        sleep(AGAIN).await;
    }
}

impl Reader {
    async fn stream(&mut self) -> Result<(), Status> {
        let address = &self.worker.addresses[self.worker.at].1;
        let stubs = Stubs::connect_within(address, CONNECT_TIMEOUT).await;
        let stubs = stubs.map_err(|error| Status::unavailable(error.to_string()))?;
        let late = |_| Status::deadline_exceeded("nothing came");
        let mut consumer = stubs.consumer();
        let opening = timeout(CALL_TIMEOUT, consumer.subscribe(self.request())).await;
        let mut events = opening.map_err(late)??.into_inner();
        let asked = self.next.clone();
        let mut silence = Duration::ZERO;
        while silence < SILENCE {
            let Ok(message) = timeout(QUIET, events.message()).await else {
                if !self.worker.goes_on() {
                    return Ok(());
                }
                silence += QUIET;
                continue;
            };
            let Some(message) = message? else { return Ok(()) };
            silence = Duration::ZERO;
            let quiet = matches!(message.event, Some(Event::Heartbeat(_)));
            self.take(&asked, message)?;
            if quiet && !self.worker.goes_on() {
                return Ok(());
            }
        }
        Err(Status::deadline_exceeded("there was no sign of life"))
    }

    fn request(&self) -> v1::SubscribeRequest {
        let selection = |(topic, partitions, _): &(&str, i32, bool)| {
            let partitions = (0..*partitions).map(|partition| {
                let next = self.next.get(&Place::new(*topic, partition));
                let position = match next {
                    Some(next) => v1::start::Position::Offset(*next),
                    None => v1::start::Position::Earliest(()),
                };
                let start = Some(v1::Start { position: Some(position) });
                v1::PartitionSelection { partition, start }
            });
            v1::TopicSelection {
                selection: Some(v1::topic_selection::Selection::Name((*topic).to_owned())),
                partitions: partitions.collect(),
            }
        };
        let nanos = i32::try_from(HEARTBEAT.subsec_nanos()).expect("it is below a second");
        v1::SubscribeRequest {
            topics: TOPICS.iter().map(selection).collect(),
            heartbeat_interval: Some(ProtoDuration { seconds: 0, nanos }),
            ..Default::default()
        }
    }

    /// Records what a message brought, and notes where the next one begins.
    fn take(
        &mut self,
        asked: &HashMap<Place, i64>,
        message: v1::SubscribeResponse,
    ) -> Result<(), Status> {
        match message.event {
            Some(Event::Started(started)) => {
                for found in started.positions {
                    let place = Place::new(found.topic, found.partition);
                    let sight = Sight::Started {
                        asked: asked.get(&place).copied(),
                        offset: found.offset,
                        high_watermark: found.high_watermark,
                        log_start: found.log_start_offset,
                    };
                    self.see(place, sight, Some(found.offset));
                }
            }
            Some(Event::Batch(batch)) => {
                let Some(v1::record_batch::Data::Records(set)) = batch.data else {
                    return Err(Status::internal("a batch that was sent plain has plain records"));
                };
                let values = set.records.iter().map(|r| r.value.as_deref().and_then(decode));
                let (base, epoch) = (batch.base_offset, batch.leader_epoch);
                let sight = Sight::Batch { base, epoch, values: values.collect() };
                let next = base + i64::from(batch.record_count);
                self.see(Place::new(batch.topic, batch.partition), sight, Some(next));
            }
            Some(Event::Gap(gap)) => {
                let sight = Sight::Gap { from: gap.from_offset, to: gap.to_offset };
                self.see(Place::new(gap.topic, gap.partition), sight, Some(gap.to_offset));
            }
            Some(Event::Heartbeat(heartbeat)) => {
                for found in heartbeat.positions {
                    let sight = Sight::Heartbeat { high_watermark: found.high_watermark };
                    self.see(Place::new(found.topic, found.partition), sight, None);
                }
            }
            // The others are of members of consumer groups.
            Some(Event::CaughtUp(_) | Event::Assignment(_) | Event::PlanRequest(_)) | None => {}
        }
        Ok(())
    }

    fn see(&mut self, place: Place, sight: Sight, next: Option<i64>) {
        if let Some(next) = next {
            self.next.insert(place.clone(), next);
        }
        let (reader, era, node) = (self.worker.client, self.era, self.worker.node());
        self.worker.recorder.see(Seen { at: 0, reader, era, node, place, sight });
    }
}
