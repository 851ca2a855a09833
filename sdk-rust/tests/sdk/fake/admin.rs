//! Topics.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_server::AdminService;
use ropewalk_proto::v1::watch_topics_response::Event;
use tonic::{Code, Request, Response, Status};

use super::{Fake, State, status};

impl State {
    fn described(&self, name: &str) -> Result<v1::Topic, Status> {
        let topic = self.topics.get(name);
        let topic = topic.ok_or_else(|| status(Code::NotFound, "TOPIC_NOT_FOUND"))?;
        Ok(v1::Topic {
            name: name.to_owned(),
            topic_id: topic.id.clone(),
            partition_count: topic.partitions.len() as i32,
            settings: Some(v1::TopicSettings {
                compression: topic.compression.into(),
                ..v1::TopicSettings::default()
            }),
            create_time: None,
            replication_factor: 1,
        })
    }

    fn refusal(&mut self) -> Result<(), Status> {
        self.refusals.pop_front().map_or(Ok(()), |reason| Err(status(Code::Unavailable, reason)))
    }
}

#[tonic::async_trait]
impl AdminService for Fake {
    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        let request = request.into_inner();
        let topic = self.change(|state| {
            state.refusal()?;
            if state.topics.contains_key(&request.name) {
                return Err(status(Code::AlreadyExists, "TOPIC_EXISTS"));
            }
            state.create(&request.name, request.partition_count.max(1) as usize);
            state.described(&request.name)
        })?;
        Ok(Response::new(v1::CreateTopicResponse { topic: Some(topic) }))
    }

    async fn get_topic(
        &self,
        request: Request<v1::GetTopicRequest>,
    ) -> Result<Response<v1::GetTopicResponse>, Status> {
        let answer = self.change(|state| {
            state.get_topic_calls += 1;
            state.refusal()?;
            let name = request.into_inner().name;
            let topic = state.described(&name)?;
            let partitions = state.topics[&name].partitions.iter().enumerate();
            let partitions = partitions.map(|(partition, log)| v1::PartitionInfo {
                partition: partition as i32,
                leader_broker_id: log.leader.0,
                leader_epoch: log.leader.1,
                ..v1::PartitionInfo::default()
            });
            Ok::<_, Status>(v1::GetTopicResponse {
                partitions: partitions.collect(),
                topic: Some(topic),
            })
        })?;
        Ok(Response::new(answer))
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let request = request.into_inner();
        let state = self.state();
        let mut topics = Vec::new();
        let mut next_page_token = String::new();
        let after = |name: &&String| **name > request.page_token;
        for name in state.topics.keys().filter(after) {
            if !name.starts_with(&request.name_prefix) {
                continue;
            }
            // Small pages, whatever is asked for.
            if topics.len() == 2 {
                next_page_token =
                    topics.last().map(|topic: &v1::Topic| topic.name.clone()).unwrap();
                break;
            }
            topics.push(state.described(name)?);
        }
        Ok(Response::new(v1::ListTopicsResponse { topics, next_page_token }))
    }

    async fn update_topic(
        &self,
        request: Request<v1::UpdateTopicRequest>,
    ) -> Result<Response<v1::UpdateTopicResponse>, Status> {
        let request = request.into_inner();
        let name = request.topic.clone().unwrap_or_default().name;
        let topic = self.change(|state| {
            state.updates.push(request);
            state.described(&name)
        })?;
        Ok(Response::new(v1::UpdateTopicResponse { topic: Some(topic) }))
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        let name = request.into_inner().name;
        self.change(|state| state.topics.remove(&name))
            .ok_or_else(|| status(Code::NotFound, "TOPIC_NOT_FOUND"))?;
        Ok(Response::new(v1::DeleteTopicResponse {}))
    }

    async fn delete_records(
        &self,
        request: Request<v1::DeleteRecordsRequest>,
    ) -> Result<Response<v1::DeleteRecordsResponse>, Status> {
        let request = request.into_inner();
        let partitions = self.change(|state| {
            let topic = state.topics.get_mut(&request.topic).unwrap();
            let deleted = request.targets.into_iter().map(|target| {
                let log = &mut topic.partitions[target.partition as usize];
                let before =
                    if target.before_offset < 0 { log.end() } else { target.before_offset };
                log.records.drain(..(before - log.start).max(0) as usize);
                log.start = log.start.max(before);
                v1::DeletedRecords { partition: target.partition, log_start_offset: log.start }
            });
            deleted.collect()
        });
        Ok(Response::new(v1::DeleteRecordsResponse { partitions }))
    }

    async fn get_cluster(
        &self,
        _: Request<v1::GetClusterRequest>,
    ) -> Result<Response<v1::GetClusterResponse>, Status> {
        let cluster_id = self.state().cluster.unwrap_or("fake").to_owned();
        let brokers = self.change(|state| {
            state.get_cluster_calls += 1;
            let brokers = state.brokers.iter().map(|(id, address)| v1::Broker {
                broker_id: *id,
                address: address.clone(),
                ..v1::Broker::default()
            });
            brokers.collect()
        });
        Ok(Response::new(v1::GetClusterResponse { cluster_id, brokers, ..Default::default() }))
    }

    type WatchTopicsStream = BoxStream<'static, Result<v1::WatchTopicsResponse, Status>>;

    /// Tells what there is, and then ends as a broker that drains does.
    async fn watch_topics(
        &self,
        request: Request<v1::WatchTopicsRequest>,
    ) -> Result<Response<Self::WatchTopicsStream>, Status> {
        let prefix = request.into_inner().name_prefix;
        let events = self.change(|state| {
            state.refusal()?;
            let names = state.topics.keys().filter(|name| name.starts_with(&prefix));
            let topics: Vec<_> =
                names.map(|name| state.described(name)).collect::<Result<_, _>>()?;
            let topic_count = topics.len() as i32;
            let synced = Event::Synced(v1::TopicsSynced { topic_count });
            Ok::<_, Status>(topics.into_iter().map(Event::Present).chain([synced]))
        })?;
        let events = events.map(|event| Ok(v1::WatchTopicsResponse { event: Some(event) }));
        let end = Err(status(Code::Unavailable, "BROKER_DRAINING"));
        Ok(Response::new(stream::iter(events.chain([end]).collect::<Vec<_>>()).boxed()))
    }

    async fn update_broker(
        &self,
        request: Request<v1::UpdateBrokerRequest>,
    ) -> Result<Response<v1::UpdateBrokerResponse>, Status> {
        Ok(Response::new(v1::UpdateBrokerResponse { broker: request.into_inner().broker }))
    }

    async fn remove_broker(
        &self,
        _: Request<v1::RemoveBrokerRequest>,
    ) -> Result<Response<v1::RemoveBrokerResponse>, Status> {
        Ok(Response::new(v1::RemoveBrokerResponse {}))
    }

    async fn reassign_partitions(
        &self,
        _: Request<v1::ReassignPartitionsRequest>,
    ) -> Result<Response<v1::ReassignPartitionsResponse>, Status> {
        Ok(Response::new(v1::ReassignPartitionsResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        let leader_broker_id = request.into_inner().broker_id;
        Ok(Response::new(v1::TransferLeadershipResponse { leader_broker_id }))
    }

    async fn list_consumer_groups(
        &self,
        _: Request<v1::ListConsumerGroupsRequest>,
    ) -> Result<Response<v1::ListConsumerGroupsResponse>, Status> {
        Err(Status::unimplemented("tests of consumer groups have a real broker"))
    }

    async fn get_consumer_group(
        &self,
        _: Request<v1::GetConsumerGroupRequest>,
    ) -> Result<Response<v1::GetConsumerGroupResponse>, Status> {
        Err(Status::unimplemented("tests of consumer groups have a real broker"))
    }

    type WatchConsumerGroupStream =
        BoxStream<'static, Result<v1::WatchConsumerGroupResponse, Status>>;

    async fn watch_consumer_group(
        &self,
        _: Request<v1::WatchConsumerGroupRequest>,
    ) -> Result<Response<Self::WatchConsumerGroupStream>, Status> {
        let groups = self.change(|state| state.watched.pop_front()).unwrap_or_default();
        let told = groups
            .into_iter()
            .map(|group| Ok(v1::WatchConsumerGroupResponse { group: Some(group) }));
        let end = Err(status(Code::Unavailable, "NO_LEADER"));
        Ok(Response::new(stream::iter(told.chain([end])).boxed()))
    }

    async fn delete_consumer_group(
        &self,
        _: Request<v1::DeleteConsumerGroupRequest>,
    ) -> Result<Response<v1::DeleteConsumerGroupResponse>, Status> {
        Err(Status::unimplemented("tests of consumer groups have a real broker"))
    }

    async fn remove_consumer_group_member(
        &self,
        _: Request<v1::RemoveConsumerGroupMemberRequest>,
    ) -> Result<Response<v1::RemoveConsumerGroupMemberResponse>, Status> {
        Err(Status::unimplemented("tests of consumer groups have a real broker"))
    }

    async fn delete_committed_offsets(
        &self,
        _: Request<v1::DeleteCommittedOffsetsRequest>,
    ) -> Result<Response<v1::DeleteCommittedOffsetsResponse>, Status> {
        Err(Status::unimplemented("tests of consumer groups have a real broker"))
    }
}
