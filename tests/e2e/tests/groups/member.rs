//! A member of a consumer group, through the stubs that any client would have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost::Message;
use ropewalk_proto::v1;
use ropewalk_proto::v1::consumer_service_client::ConsumerServiceClient;
use ropewalk_proto::v1::subscribe_response::Event;
use tokio::time::{Instant, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::support::{SOON, soon};

/// A partition: topic and number.
pub(crate) type Place = (String, i32);

pub(crate) async fn connect(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    soon("a connection", endpoint.connect()).await.unwrap()
}

/// A request to be a member of a group that reads topics by name.
pub(crate) fn joining(group: &str, topics: &[&str]) -> v1::SubscribeRequest {
    let topics = topics.iter().map(|name| v1::TopicSelection {
        selection: Some(v1::topic_selection::Selection::Name((*name).to_owned())),
        partitions: Vec::new(),
    });
    v1::SubscribeRequest {
        topics: topics.collect(),
        group: group.to_owned(),
        member: Some(v1::GroupMember::default()),
        heartbeat_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    }
}

/// The same with changes to the member.
pub(crate) fn with(
    request: v1::SubscribeRequest,
    change: impl FnOnce(&mut v1::GroupMember),
) -> v1::SubscribeRequest {
    let mut member = request.member.clone().unwrap_or_default();
    change(&mut member);
    v1::SubscribeRequest { member: Some(member), ..request }
}

pub(crate) fn duration(duration: Duration) -> Option<prost_types::Duration> {
    Some(prost_types::Duration::try_from(duration).unwrap())
}

/// An open stream of a member.
pub(crate) struct Member {
    pub(crate) group: String,
    pub(crate) id: String,
    pub(crate) generation: i64,
    /// What it has, with the next offset that it has not seen.
    pub(crate) owned: BTreeMap<Place, i64>,
    /// What it is to give back.
    pub(crate) draining: BTreeSet<Place>,
    /// The plans that it was asked for.
    pub(crate) plans: Vec<v1::PlanRequest>,
    /// What it has read: place, offset and value.
    pub(crate) read: Vec<(Place, i64, String)>,
    /// How many assignments it was told.
    pub(crate) assignments: usize,
    /// Whether it gives back at once what is revoked.
    pub(crate) releases: bool,
    released: BTreeSet<Place>,
    stream: Option<Streaming<v1::SubscribeResponse>>,
    stub: ConsumerServiceClient<Channel>,
}

impl Member {
    pub(crate) async fn join(address: &str, request: v1::SubscribeRequest) -> Self {
        Self::try_join(address, request).await.unwrap()
    }

    /// Opens a stream; it is started when this returns.
    pub(crate) async fn try_join(
        address: &str,
        request: v1::SubscribeRequest,
    ) -> Result<Self, Status> {
        let mut stub = ConsumerServiceClient::new(connect(address).await);
        let group = request.group.clone();
        let mut stream = soon("a stream", stub.subscribe(request)).await?.into_inner();
        let first = soon("a first event", stream.message()).await?.and_then(|first| first.event);
        let Some(Event::Started(started)) = first else { panic!("{first:?}") };
        assert!(started.positions.is_empty(), "{started:?}");
        Ok(Self {
            group,
            id: started.member_id,
            generation: started.generation,
            owned: BTreeMap::new(),
            draining: BTreeSet::new(),
            plans: Vec::new(),
            read: Vec::new(),
            assignments: 0,
            releases: true,
            released: BTreeSet::new(),
            stream: Some(stream),
            stub,
        })
    }

    /// The partitions of one topic that it has.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.owned.keys().map(|(_, partition)| *partition).collect()
    }

    /// Goes on until something is so, for a member that should not have to wait long.
    pub(crate) async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        self.within(SOON, what, is_so).await;
    }

    pub(crate) async fn within(
        &mut self,
        within: Duration,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) {
        let deadline = Instant::now() + within;
        while !is_so(self) {
            match timeout_at(deadline, self.step()).await {
                Ok(result) => result.unwrap(),
                Err(_) => panic!(
                    "waited {within:?} in vain: {what}; it has {:?} and gives back {:?}",
                    self.owned, self.draining
                ),
            }
        }
    }

    /// Goes on for a while.
    pub(crate) async fn go_on(&mut self, for_so_long: Duration) {
        let deadline = Instant::now() + for_so_long;
        while let Ok(result) = timeout_at(deadline, self.step()).await {
            result.unwrap();
        }
    }

    /// The error that ends the stream.
    pub(crate) async fn end(&mut self) -> Status {
        let ends = async {
            loop {
                if let Err(status) = self.step().await {
                    return status;
                }
            }
        };
        soon("the end of a stream", ends).await
    }

    /// Closes the stream. Calls can still be made: where the connection goes with it, the broker
    /// may see that first, and then waits for the member.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// Makes its calls through another broker from here on. What is returned keeps the connection
    /// of the stream.
    pub(crate) async fn call_through(&mut self, address: &str) -> ConsumerServiceClient<Channel> {
        let stub = ConsumerServiceClient::new(connect(address).await);
        std::mem::replace(&mut self.stub, stub)
    }

    /// Takes the next event, and gives back what is revoked. Nothing is lost when it is given up.
    pub(crate) async fn step(&mut self) -> Result<(), Status> {
        let owed: Vec<_> = self.draining.difference(&self.released).cloned().collect();
        // What it has lost meanwhile it hears of in a moment.
        if self.releases && !owed.is_empty() && self.give_back(&owed).await.is_ok() {
            self.released.extend(owed);
        }
        let stream = self.stream.as_mut().expect("it is open");
        let event = stream.message().await?.and_then(|message| message.event);
        match event.expect("a member's stream never ends with OK") {
            Event::Assignment(assignment) => self.assigned(assignment),
            Event::Batch(batch) => self.take(&batch),
            Event::PlanRequest(plan) => self.plans.push(plan),
            Event::Gap(gap) => panic!("{gap:?}"),
            Event::Started(started) => panic!("{started:?}"),
            Event::Heartbeat(_) | Event::CaughtUp(_) => {}
        }
        Ok(())
    }

    fn assigned(&mut self, assignment: v1::Assignment) {
        self.assignments += 1;
        assert!(assignment.generation >= self.generation);
        self.generation = assignment.generation;
        for place in places(&assignment.ended) {
            assert!(self.owned.remove(&place).is_some(), "{place:?} was not its own");
            self.draining.remove(&place);
            self.released.remove(&place);
        }
        for position in assignment.assigned {
            let place = (position.topic, position.partition);
            let known = self.owned.insert(place.clone(), position.offset);
            assert_eq!(known, None, "{place:?} was its own already");
        }
        let revoked: Vec<_> =
            assignment.revoked.into_iter().filter_map(|revoked| revoked.partitions).collect();
        for place in places(&revoked) {
            assert!(self.owned.contains_key(&place), "{place:?} was not its own");
            self.draining.insert(place);
        }
    }

    fn take(&mut self, batch: &v1::RecordBatch) {
        let place = (batch.topic.clone(), batch.partition);
        let next = self.owned.get_mut(&place);
        let next = next.unwrap_or_else(|| panic!("{place:?} is not its own"));
        assert!(!self.draining.contains(&place), "{place:?} is being given back");
        assert_eq!(batch.base_offset, *next, "{place:?}: it skips nothing and repeats nothing");
        let Some(v1::record_batch::Data::Records(set)) = &batch.data else { panic!("{batch:?}") };
        for (offset, record) in (batch.base_offset..).zip(&set.records) {
            let value = String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap();
            self.read.push((place.clone(), offset, value));
        }
        *next = batch.base_offset + i64::from(batch.record_count);
        assert!(v1::RecordSet::encoded_len(set) > 0);
    }

    /// Commits all that it has read of what it has.
    pub(crate) async fn commit(&mut self) -> Result<(), Status> {
        let places = self.owned.keys().cloned().collect::<Vec<_>>();
        self.commit_of(&places, &[]).await
    }

    /// Commits what it has read of these, and gives them back.
    pub(crate) async fn give_back(&mut self, released: &[Place]) -> Result<(), Status> {
        self.commit_of(released, released).await
    }

    async fn commit_of(&mut self, places: &[Place], released: &[Place]) -> Result<(), Status> {
        let offsets = places.iter().map(|place| v1::CommittedOffset {
            topic: place.0.clone(),
            partition: place.1,
            offset: self.owned[place],
            ..Default::default()
        });
        let request = v1::CommitOffsetRequest {
            group: self.group.clone(),
            offsets: offsets.collect(),
            member_id: self.id.clone(),
            generation: self.generation,
            release: by_topic(released),
        };
        self.stub.commit_offset(request).await.map(|_| ())
    }

    /// Commits one offset with whatever generation.
    pub(crate) async fn commit_at(
        &mut self,
        place: &Place,
        offset: i64,
        generation: i64,
    ) -> Result<(), Status> {
        let (topic, partition) = place.clone();
        let offsets = vec![v1::CommittedOffset { topic, partition, offset, ..Default::default() }];
        let request = v1::CommitOffsetRequest {
            group: self.group.clone(),
            offsets,
            member_id: self.id.clone(),
            generation,
            release: Vec::new(),
        };
        soon("a commit", self.stub.commit_offset(request)).await.map(|_| ())
    }

    pub(crate) async fn submit(
        &mut self,
        plan_id: i64,
        assignments: Vec<v1::MemberAssignment>,
    ) -> Result<(), Status> {
        let (group, member_id) = (self.group.clone(), self.id.clone());
        let request = v1::SubmitAssignmentRequest { group, member_id, plan_id, assignments };
        soon("a plan", self.stub.submit_assignment(request)).await.map(|_| ())
    }
}

pub(crate) fn places(topics: &[v1::TopicPartitions]) -> Vec<Place> {
    let places = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.topic.clone(), *partition))
    });
    places.collect()
}

pub(crate) fn by_topic(places: &[Place]) -> Vec<v1::TopicPartitions> {
    let mut topics = BTreeMap::<String, Vec<i32>>::new();
    for (topic, partition) in places {
        topics.entry(topic.clone()).or_default().push(*partition);
    }
    let topics = topics.into_iter();
    topics.map(|(topic, partitions)| v1::TopicPartitions { topic, partitions }).collect()
}
