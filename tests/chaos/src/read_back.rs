//! Reads everything back through a fresh connection, and records what it found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_proto::v1;
use tokio::time::timeout;
use tonic::Status;
use v1::subscribe_response::Event;

use crate::client::{Stubs, outcome_of};
use crate::error::ChaosError;
use crate::history::{Answer, Call, LogRead, NodeId, Place, Recorder};
use crate::load::COMMIT_GROUP;
use crate::swarm::GROUP;
use crate::value::decode;

/// How long reading one topic may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadSummary {
    /// The topics.
    pub topics: usize,
    /// The records of the topics that were read.
    pub records: usize,
}

/// Reads the names of all topics, these topics from start to end, and the committed offsets.
///
/// # Errors
/// When a call is refused; what was refused is in the error.
pub async fn read_back(
    address: &str,
    recorder: &Recorder,
    topics: &[&str],
) -> Result<ReadSummary, ChaosError> {
    read_back_through(0, address, recorder, topics).await
}

/// The same through a node of a cluster.
///
/// # Errors
/// When a call is refused; what was refused is in the error.
pub async fn read_back_through(
    node: NodeId,
    address: &str,
    recorder: &Recorder,
    topics: &[&str],
) -> Result<ReadSummary, ChaosError> {
    let stubs = Stubs::connect(address).await?;
    let names = read_topics(&stubs, node, recorder).await?;
    let mut summary = ReadSummary { topics: names.len(), records: 0 };
    for topic in topics.iter().filter(|topic| names.contains(**topic)) {
        summary.records += read_topic(&stubs, node, recorder, topic).await?;
    }
    for group in [COMMIT_GROUP, GROUP] {
        read_commits(&stubs, node, recorder, group).await?;
    }
    Ok(summary)
}

async fn read_topics(
    stubs: &Stubs,
    node: NodeId,
    recorder: &Recorder,
) -> Result<BTreeSet<Arc<str>>, ChaosError> {
    let id = recorder.invoke_at(node, 0, Call::ReadTopics);
    let mut names = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTopicsRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = stubs.admin().list_topics(request).await;
        let page = page.map_err(ChaosError::refused("listing topics"))?.into_inner();
        names.extend(page.topics.into_iter().map(|topic| Arc::from(topic.name)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    recorder.end(id, outcome_of(Ok(Answer::Topics(names.clone()))));
    Ok(names)
}

/// Reads all partitions of a topic, each as one read that began when the topic's did.
async fn read_topic(
    stubs: &Stubs,
    node: NodeId,
    recorder: &Recorder,
    topic: &str,
) -> Result<usize, ChaosError> {
    let name = topic.to_owned();
    let described = stubs.admin().get_topic(v1::GetTopicRequest { name }).await;
    let described = described.map_err(ChaosError::refused(format!("describing {topic}")))?;
    let partitions = described.into_inner().partitions;
    let place = |partition: i32| Place::new(topic, partition);
    let ids: BTreeMap<i32, _> = partitions
        .iter()
        .map(|found| found.partition)
        .map(|number| (number, Call::ReadLog { place: place(number) }))
        .map(|(number, call)| (number, recorder.invoke_at(node, 0, call)))
        .collect();
    let reading = timeout(READ_TIMEOUT, subscribe_all(stubs, topic));
    let logs = reading
        .await
        .map_err(|_| ChaosError::broken(format!("reading {topic} took over {READ_TIMEOUT:?}")))?
        .map_err(ChaosError::refused(format!("reading {topic}")))?;
    let mut records = 0;
    for (partition, id) in ids {
        let log = logs.get(&partition).cloned().unwrap_or_default();
        records += log.records.len();
        recorder.end(id, outcome_of(Ok(Answer::Log(log))));
    }
    Ok(records)
}

async fn subscribe_all(stubs: &Stubs, topic: &str) -> Result<BTreeMap<i32, LogRead>, Status> {
    let start = v1::Start { position: Some(v1::start::Position::Earliest(())) };
    let request = v1::SubscribeRequest {
        topics: vec![v1::TopicSelection {
            selection: Some(v1::topic_selection::Selection::Name(topic.to_owned())),
            partitions: Vec::new(),
        }],
        default_start: Some(start),
        stop: Some(v1::Stop { end: Some(v1::stop::End::CaughtUp(())) }),
        ..Default::default()
    };
    let mut logs: BTreeMap<i32, LogRead> = BTreeMap::new();
    // A stream has no deadline of its own: the caller's holds.
    let mut events = stubs.consumer().subscribe(request).await?.into_inner();
    while let Some(message) = events.message().await? {
        match message.event {
            Some(Event::Started(started)) => {
                logs.extend(started.positions.into_iter().map(|position| {
                    let (start, end) = (position.log_start_offset, position.high_watermark);
                    (position.partition, LogRead { start, end, records: Vec::new() })
                }));
            }
            Some(Event::Batch(batch)) => add(&mut logs, batch)?,
            Some(Event::Gap(gap)) => {
                // Retention was faster than this reader. What it left out is not lost.
                let log = logs.entry(gap.partition).or_default();
                log.start = gap.to_offset;
                log.end = log.end.max(gap.to_offset);
                log.records.clear();
            }
            _ => {}
        }
    }
    Ok(logs)
}

fn add(logs: &mut BTreeMap<i32, LogRead>, batch: v1::RecordBatch) -> Result<(), Status> {
    let Some(v1::record_batch::Data::Records(set)) = batch.data else {
        return Err(Status::internal("a batch that was sent plain has plain records"));
    };
    let log = logs.entry(batch.partition).or_default();
    let values = set.records.iter().map(|record| record.value.as_deref().and_then(decode));
    log.records.extend((batch.base_offset..).zip(values));
    log.end = log.end.max(batch.base_offset + i64::from(batch.record_count));
    Ok(())
}

async fn read_commits(
    stubs: &Stubs,
    node: NodeId,
    recorder: &Recorder,
    group: &str,
) -> Result<(), ChaosError> {
    let id = recorder.invoke_at(node, 0, Call::ReadCommits { group: group.into() });
    let request = v1::GetCommittedOffsetsRequest { group: group.to_owned(), topics: Vec::new() };
    let answer = stubs.consumer().get_committed_offsets(request).await;
    let commits = match answer {
        Ok(answer) => answer.into_inner().offsets,
        // A group that never committed may be unknown.
        Err(status) if status.code() == tonic::Code::NotFound => Vec::new(),
        Err(status) => return Err(ChaosError::refused("reading commits")(status)),
    };
    let commits = commits
        .into_iter()
        .map(|found| (Place::new(found.topic, found.partition), found.offset))
        .collect();
    recorder.end(id, outcome_of(Ok(Answer::Commits(commits))));
    Ok(())
}
