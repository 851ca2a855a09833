//! One ProduceStream: requests in, answers out, pipelined, in order per partition.
//!
//! The session's task reads a request only when there is room for its append and for its answer, so
//! that a client that does not read its answers, or sends faster than the disk writes, is slowed by
//! flow control.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ropewalk_broker::Broker;
use ropewalk_core::limits::MAX_APPENDS_PER_STREAM;
use ropewalk_proto::broker as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::failure::{Failure, refused_by_transport};
use crate::leading::CallRoute;
use crate::producer::Append;
use crate::server::Drain;

type Answer = pb::ProduceStreamResponse;
type Submission = Pin<Box<dyn Future<Output = Option<(u64, Answer)>> + Send>>;

/// Answers that wait for the client to read them.
const ANSWER_QUEUE: usize = 32;

pub(crate) struct ProduceSession {
    broker: Arc<Broker>,
    drain: Drain,
    route: CallRoute,
    order: AnswerOrder,
    /// Where appends tell that they have ended. There is room for every append that may be under
    /// way.
    ended: mpsc::Sender<(u64, Answer)>,
    answers: mpsc::Sender<Result<Answer, Status>>,
}

impl ProduceSession {
    pub(crate) fn start(
        broker: Arc<Broker>,
        drain: Drain,
        route: CallRoute,
        requests: Streaming<pb::ProduceStreamRequest>,
    ) -> ReceiverStream<Result<Answer, Status>> {
        let (answers, stream) = mpsc::channel(ANSWER_QUEUE);
        let (ended, endings) = mpsc::channel(MAX_APPENDS_PER_STREAM);
        let session = Self { broker, drain, route, order: AnswerOrder::default(), ended, answers };
        tokio::spawn(session.run(requests, endings));
        ReceiverStream::new(stream)
    }

    async fn run(
        mut self,
        mut requests: Streaming<pb::ProduceStreamRequest>,
        mut endings: mpsc::Receiver<(u64, Answer)>,
    ) {
        let mut submission: Option<Submission> = None;
        let mut last = None;
        let mut reading = true;
        while reading || submission.is_some() || self.order.len() > 0 {
            let has_room = self.order.len() < MAX_APPENDS_PER_STREAM;
            let ended = tokio::select! {
                biased;
                () = self.answers.closed() => return,
                ended = endings.recv() => ended,
                ended = submit(&mut submission), if submission.is_some() => ended,
                () = self.drain.begun(), if reading => {
                    reading = false;
                    last = Some(Failure::draining().into_status());
                    None
                }
                request = requests.message(), if reading && has_room && submission.is_none() => {
                    match request {
                        Ok(Some(request)) => submission = Some(self.submission(request)),
                        Ok(None) => reading = false,
                        Err(status) => {
                            reading = false;
                            let refused = refused_by_transport(&status);
                            last = Some(refused.map_or(status, Failure::into_status));
                        }
                    }
                    None
                }
            };
            if let Some((number, answer)) = ended {
                for answer in self.order.end(number, answer) {
                    if self.answers.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
            }
        }
        if let Some(status) = last {
            // The client is gone when this fails.
            let _ = self.answers.send(Err(status)).await;
        }
    }

    /// Checks and hands over one request. It ends with an answer when the request is refused;
    /// otherwise the answer comes through `ended`.
    fn submission(&mut self, request: pb::ProduceStreamRequest) -> Submission {
        let correlation = request.correlation;
        let request = request.request.unwrap_or_default();
        let number = self.order.begin((request.topic.clone(), request.partition));
        let (broker, ended) = (Arc::clone(&self.broker), self.ended.clone());
        let route = self.route.clone();
        Box::pin(async move {
            let done = move |result| {
                // The channel has room for it; the session is gone when it is closed.
                let _ = ended.try_send((number, answer(correlation, result)));
            };
            match Append::plan(&broker, &route, request, None).await {
                Ok(append) => {
                    append.submit(&broker, done).await;
                    None
                }
                Err(refused) => Some((number, answer(correlation, Err(refused)))),
            }
        })
    }
}

async fn submit(submission: &mut Option<Submission>) -> Option<(u64, Answer)> {
    let ended = submission.as_mut()?.await;
    *submission = None;
    ended
}

fn answer(correlation: u64, result: Result<pb::ProduceResponse, Failure>) -> Answer {
    match result {
        Ok(response) => Answer { correlation, status: None, response: Some(response) },
        Err(failure) => {
            Answer { correlation, status: Some(failure.into_rpc_status()), response: None }
        }
    }
}

/// The topic and the partition that a request names.
type Lane = (String, Option<i32>);

/// Holds back answers until those before them in their lane are out. A `LEADER` append can end
/// before a
/// `QUORUM` append that was sent earlier.
#[derive(Default)]
struct AnswerOrder {
    next: u64,
    lanes: HashMap<Lane, VecDeque<(u64, Option<Answer>)>>,
    lane_of: HashMap<u64, Lane>,
}

impl AnswerOrder {
    fn len(&self) -> usize {
        self.lane_of.len()
    }

    fn begin(&mut self, lane: Lane) -> u64 {
        let number = self.next;
        self.next += 1;
        self.lanes.entry(lane.clone()).or_default().push_back((number, None));
        self.lane_of.insert(number, lane);
        number
    }

    /// The answers that can go out now.
    fn end(&mut self, number: u64, answer: Answer) -> Vec<Answer> {
        let mut out = Vec::new();
        let Some(lane) = self.lane_of.get(&number).cloned() else { return out };
        let Some(waiting) = self.lanes.get_mut(&lane) else { return out };
        if let Some((_, slot)) = waiting.iter_mut().find(|(other, _)| *other == number) {
            *slot = Some(answer);
        }
        while let Some((number, Some(_))) = waiting.front() {
            self.lane_of.remove(number);
            out.extend(waiting.pop_front().and_then(|(_, answer)| answer));
        }
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(order: &mut AnswerOrder, number: u64) -> Vec<u64> {
        let answer = Answer { correlation: number, ..Answer::default() };
        order.end(number, answer).iter().map(|answer| answer.correlation).collect()
    }

    #[test]
    fn answers_keep_their_order_within_a_partition_and_overtake_others() {
        let mut order = AnswerOrder::default();
        let lane = |partition| ("t".to_owned(), Some(partition));
        let first = order.begin(lane(0));
        let second = order.begin(lane(0));
        let other = order.begin(lane(1));
        assert!(ended(&mut order, second).is_empty());
        assert_eq!(ended(&mut order, other), [other]);
        assert_eq!(ended(&mut order, first), [first, second]);
        assert_eq!(order.len(), 0);
        assert!(order.lanes.is_empty());
    }
}
