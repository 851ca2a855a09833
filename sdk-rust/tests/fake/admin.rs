//! Topics.

use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_server::AdminService;
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
            settings: Some(v1::TopicSettings::default()),
            create_time: None,
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
        let topic = self.change(|state| {
            state.get_topic_calls += 1;
            state.refusal()?;
            state.described(&request.into_inner().name)
        })?;
        Ok(Response::new(v1::GetTopicResponse { topic: Some(topic), partitions: Vec::new() }))
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
        let cluster_id = "fake".to_owned();
        Ok(Response::new(v1::GetClusterResponse { cluster_id, ..Default::default() }))
    }
}
