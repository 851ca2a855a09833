//! One stream of a member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::{Duration as ProtoDuration, Timestamp};
use ropewalk_proto::v1;
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};
use v1::subscribe_response::Event;

use super::super::{CALL_TIMEOUT, CONNECT_TIMEOUT};
use super::{End, Member};
use crate::client::{Stubs, reason_of};
use crate::history::{MemberEvent, Place, Seen, Sight};
use crate::value::decode;

/// The time between signs of life.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How often a member looks whether it has something else to do.
const LOOK: Duration = Duration::from_millis(100);
/// How often it commits.
const COMMIT_EVERY: Duration = Duration::from_millis(150);
/// How often in a thousand looks one that pauses breaks its stream.
const BREAKS: u64 = 5;

/// An open stream.
pub(in crate::swarm) struct Open {
    stubs: Stubs,
    events: Streaming<v1::SubscribeResponse>,
    /// The tick before it was asked for first.
    asked: u64,
    heard: Instant,
}

impl Member {
    /// Opens a stream, and lives on it until its end, or its own.
    pub(super) async fn stream(&mut self, leave_at: Instant) -> End {
        match self.open().await {
            Ok(open) => self.live(open, leave_at).await,
            Err(end) => end,
        }
    }

    /// Opens a stream through the node that it is at.
    pub(in crate::swarm) async fn open(&mut self) -> Result<Open, End> {
        let address = &self.worker.addresses[self.worker.at].1;
        let stubs = Stubs::connect_within(address, CONNECT_TIMEOUT).await;
        let stubs = stubs.map_err(|_| End::Broke)?;
        self.era += 1;
        let now = self.worker.recorder.lock().tick();
        // One of which no answer came may have made it a member all the same.
        let asked = *self.first_asked.get_or_insert(now);
        let request = self.request();
        let mut consumer = stubs.consumer();
        let opening = timeout(CALL_TIMEOUT, consumer.subscribe(request)).await;
        let late = |_| Status::deadline_exceeded("nothing came");
        let opened = opening.map_err(late).and_then(|opened| opened);
        let events = opened.map_err(|status| end_of(&status))?.into_inner();
        Ok(Open { stubs, events, asked, heard: Instant::now() })
    }

    async fn live(&mut self, mut open: Open, leave_at: Instant) -> End {
        let mut committed = Instant::now();
        loop {
            if let Err(end) = self.step(&mut open).await {
                return self.close(open, end);
            }
            if committed.elapsed() > COMMIT_EVERY {
                self.commit_fresh(&open.stubs).await;
                committed = Instant::now();
            }
            if !self.is_restless() {
                self.give_back(&open.stubs).await;
            }
            let leaves = self.habits.leaves && Instant::now() > leave_at && self.is_restless();
            if leaves || !self.worker.goes_on() {
                self.commit_fresh(&open.stubs).await;
                return self.close(open, End::Left);
            }
            let pauses = self.habits.pauses > 0 && self.is_restless();
            if pauses && self.worker.rng.within(0..1_000) < BREAKS {
                return self.close(open, End::Broke);
            }
        }
    }

    /// Takes what comes in a moment; an error when the stream is over.
    pub(in crate::swarm) async fn step(&mut self, open: &mut Open) -> Result<(), End> {
        match timeout(LOOK, open.events.message()).await {
            Ok(Ok(Some(message))) => {
                open.heard = Instant::now();
                self.take(&open.stubs, message, open.asked).await;
                Ok(())
            }
            Ok(Ok(None)) => Err(End::Broke),
            Ok(Err(status)) => Err(end_of(&status)),
            Err(_) if open.heard.elapsed() > self.habits.silence => Err(End::Broke),
            Err(_) => Ok(()),
        }
    }

    /// Notes the end of a stream before a broker can know that it was closed.
    pub(in crate::swarm) fn close(&self, open: Open, end: End) -> End {
        self.tell(MemberEvent::Gone { left: matches!(end, End::Left) });
        drop(open);
        end
    }

    /// Gives back what it has kept so far: where a clock has jumped, its deadline may be far away.
    async fn give_back(&mut self, stubs: &Stubs) {
        for place in std::mem::take(&mut self.owed) {
            self.surely_commit(stubs, &place, true).await;
        }
    }

    fn request(&self) -> v1::SubscribeRequest {
        let topics = self.topics.iter().map(|name| v1::TopicSelection {
            selection: Some(v1::topic_selection::Selection::Name((*name).to_owned())),
            partitions: Vec::new(),
        });
        let positions = self.asked.iter().map(|(place, offset)| v1::MemberPosition {
            topic: place.topic.to_string(),
            partition: place.partition,
            offset: *offset,
            paused: false,
        });
        let is_back = self.id.is_some();
        let member = v1::GroupMember {
            member_id: self.id.as_deref().unwrap_or_default().to_owned(),
            client_id: self.worker.client.to_string(),
            drain_timeout: ProtoDuration::try_from(self.habits.drain).ok(),
            generation: self.generation,
            positions: if is_back { positions.collect() } else { Vec::new() },
            ..Default::default()
        };
        v1::SubscribeRequest {
            topics: topics.collect(),
            group: self.group.to_string(),
            member: Some(member),
            heartbeat_interval: ProtoDuration::try_from(HEARTBEAT).ok(),
            ..Default::default()
        }
    }

    async fn take(&mut self, stubs: &Stubs, message: v1::SubscribeResponse, asked: u64) {
        match message.event {
            Some(Event::Started(started)) => {
                let (member, generation) =
                    (Arc::<str>::from(started.member_id), started.generation);
                (self.id, self.generation) = (Some(Arc::clone(&member)), generation);
                self.first_asked = None;
                let drain = u64::try_from(self.habits.drain.as_micros()).unwrap_or(u64::MAX);
                self.tell(MemberEvent::Joined { member, generation, asked, drain });
            }
            Some(Event::Assignment(assignment)) => self.change(stubs, assignment).await,
            Some(Event::Batch(batch)) => {
                // What the checker does not see to be a record is one that nobody wrote.
                let set = match batch.data {
                    Some(v1::record_batch::Data::Records(set)) => set,
                    _ => v1::RecordSet::default(),
                };
                let values = set.records.iter().map(|r| r.value.as_deref().and_then(decode));
                let (base, epoch) = (batch.base_offset, batch.leader_epoch);
                let sight = Sight::Batch { base, epoch, values: values.collect() };
                let place = Place::new(batch.topic, batch.partition);
                self.reach(&place, base + i64::from(batch.record_count));
                self.see(place, sight);
            }
            Some(Event::Gap(gap)) => {
                let place = Place::new(gap.topic, gap.partition);
                self.reach(&place, gap.to_offset);
                self.see(place, Sight::Gap { from: gap.from_offset, to: gap.to_offset });
            }
            Some(Event::Heartbeat(_) | Event::CaughtUp(_) | Event::PlanRequest(_)) | None => {}
        }
    }

    fn reach(&mut self, place: &Place, next: i64) {
        if let Some(at) = self.next.get_mut(place) {
            *at = next;
            self.fresh.insert(place.clone());
        }
    }

    async fn change(&mut self, stubs: &Stubs, assignment: v1::Assignment) {
        let generation = assignment.generation;
        self.generation = generation;
        let mut lost = BTreeMap::new();
        for place in places_of(&assignment.ended) {
            self.tell(MemberEvent::Ended { generation, place: place.clone() });
            self.fresh.remove(&place);
            self.owed.remove(&place);
            lost.extend(self.next.remove_entry(&place));
        }
        for found in assignment.assigned {
            let place = Place::new(found.topic, found.partition);
            let (offset, log_start) = (found.offset, found.log_start_offset);
            let asked = self.asked.remove(&place);
            let at = place.clone();
            self.tell(MemberEvent::Assigned { generation, place: at, asked, offset, log_start });
            self.next.insert(place.clone(), offset);
            lost.remove(&place);
            let high_watermark = found.high_watermark;
            let asked = Some(offset);
            self.see(place, Sight::Started { asked, offset, high_watermark, log_start });
        }
        let mut revoked = Vec::new();
        for revocation in assignment.revoked {
            let left = left_until(&revocation.deadline.unwrap_or_default());
            for place in places_of(&revocation.partitions.into_iter().collect::<Vec<_>>()) {
                let until = self.worker.recorder.lock().tick().saturating_add_signed(left);
                self.tell(MemberEvent::Revoked { generation, place: place.clone(), until });
                revoked.push(place);
            }
        }
        for place in revoked {
            if !self.worker.rng.percent(self.habits.ignores) {
                self.surely_commit(stubs, &place, true).await;
                self.fresh.remove(&place);
            } else {
                self.owed.insert(place);
            }
        }
        if self.worker.rng.percent(self.habits.insists) {
            for (place, offset) in lost {
                self.commit(stubs, place, offset, false).await;
            }
        }
    }

    fn see(&self, place: Place, sight: Sight) {
        let (reader, node) = (self.worker.client, self.worker.node());
        let era = self.era;
        self.worker.recorder.see(Seen { at: 0, reader, era, node, place, sight });
    }
}

fn end_of(status: &Status) -> End {
    match reason_of(status).as_str() {
        "MEMBER_FENCED" => End::Fenced,
        _ => End::Broke,
    }
}

fn places_of(topics: &[v1::TopicPartitions]) -> Vec<Place> {
    let places = topics.iter().flat_map(|found| {
        found.partitions.iter().map(|partition| Place::new(found.topic.as_str(), *partition))
    });
    places.collect()
}

/// How many microseconds are left until then.
#[allow(clippy::disallowed_methods)] // A deadline is a time of the wall clock.
fn left_until(deadline: &Timestamp) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = deadline.seconds * 1_000_000 + i64::from(deadline.nanos) / 1_000;
    micros - i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
