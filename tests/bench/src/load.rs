//! Producers: batches over ProduceStream, pipelined, as fast as they are taken.

use std::time::Duration;

use ropewalk_proto::broker::{
    Durability, ProduceStreamRequest, ProduceStreamResponse, ProducerSequence,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::gate::Gate;
use crate::records::Batch;
use crate::stats::Latencies;
use crate::wire::{Failure, Wire};

/// How long an answer may take before the run is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What is produced, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) topic: String,
    pub(crate) partitions: u32,
    pub(crate) batch: Batch,
    pub(crate) durability: Durability,
    pub(crate) producers: u32,
    /// Batches in flight of each producer.
    pub(crate) window: usize,
    /// Whether each batch has the number by which the broker knows it again.
    pub(crate) numbered: bool,
}

/// What was acked while the gate was open.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    pub(crate) records: u64,
    pub(crate) latencies: Latencies,
}

impl Load {
    /// Runs all producers at one broker until the gate closes and everything is answered.
    pub(crate) async fn run(&self, address: &str, gate: &Gate) -> Result<Acked, Failure> {
        self.run_at(&[address], gate).await
    }

    /// The same, each producer at the address for the first of its partitions. The addresses are in
    /// the order of the partitions, from the first again where there are fewer.
    pub(crate) async fn run_at(
        &self,
        addresses: &[impl AsRef<str>],
        gate: &Gate,
    ) -> Result<Acked, Failure> {
        let mut producers = JoinSet::new();
        for index in 0..self.producers {
            let first = (index % self.partitions) as usize;
            let address = addresses[first % addresses.len()].as_ref();
            let producer = Producer::start(self.clone(), index, address, gate.clone()).await?;
            producers.spawn(producer.run());
        }
        let mut all = Acked { records: 0, latencies: Latencies::new() };
        while let Some(acked) = producers.join_next().await {
            let acked = acked??;
            all.records += acked.records;
            all.latencies.merge(&acked.latencies);
        }
        Ok(all)
    }

    /// The partitions that a producer writes: each partition has one.
    fn partitions_of(&self, producer: u32) -> Vec<i32> {
        // With fewer partitions than producers some share one.
        let first = producer % self.partitions;
        let step = self.producers as usize;
        let partitions = (first..self.partitions).step_by(step);
        partitions.filter_map(|p| i32::try_from(p).ok()).collect()
    }
}

struct Producer {
    load: Load,
    gate: Gate,
    partitions: Vec<i32>,
    /// The id of the producer, and the number of the next record in each of the partitions.
    id: Option<u64>,
    numbers: Vec<u32>,
    /// The partition that is next, as an index.
    next: usize,
    requests: mpsc::Sender<ProduceStreamRequest>,
    answers: tonic::Streaming<ProduceStreamResponse>,
    /// When the batch in each slot of the window was sent. The slot is the correlation.
    sent: Vec<Instant>,
    free: Vec<usize>,
    acked: Acked,
}

impl Producer {
    async fn start(load: Load, index: u32, address: &str, gate: Gate) -> Result<Self, Failure> {
        let mut wire = Wire::connect(address).await?;
        let window = load.window.max(1);
        let (requests, queue) = mpsc::channel(window);
        let id = if load.numbered { Some(wire.init_producer().await?) } else { None };
        let answers = wire.produce_stream(ReceiverStream::new(queue)).await?;
        let partitions = load.partitions_of(index);
        Ok(Self {
            id,
            numbers: vec![0; partitions.len()],
            partitions,
            load,
            gate,
            next: 0,
            requests,
            answers,
            sent: vec![Instant::now(); window],
            free: (0..window).collect(),
            acked: Acked { records: 0, latencies: Latencies::new() },
        })
    }

    async fn run(mut self) -> Result<Acked, Failure> {
        loop {
            while self.send().await? {}
            if self.free.len() == self.sent.len() {
                return Ok(self.acked);
            }
            let answer = timeout(ANSWER_WITHIN, self.answers.message()).await;
            let answer = answer.map_err(|_| "the broker left an append unanswered for 60 s")??;
            self.take(answer.ok_or("the broker ended a stream of appends")?)?;
        }
    }

    /// Sends a batch, if there is room for one and time.
    async fn send(&mut self) -> Result<bool, Failure> {
        let now = Instant::now();
        if self.free.is_empty() || self.gate.is_over(now) {
            return Ok(false);
        }
        if !self.gate.take(self.load.batch.value_bytes) {
            return Ok(false);
        }
        let slot = self.free.pop().expect("it is not empty");
        let (partition, first) = (self.partitions[self.next], &mut self.numbers[self.next]);
        let Load { topic, batch, durability, .. } = &self.load;
        let mut request = batch.request(topic, partition, *durability);
        request.sequence = self.id.map(|producer_id| ProducerSequence {
            producer_id,
            epoch: 0,
            first_sequence: *first,
        });
        *first = first.wrapping_add(batch.records as u32);
        self.next = (self.next + 1) % self.partitions.len();
        self.sent[slot] = now;
        let message = ProduceStreamRequest { correlation: slot as u64, request: Some(request) };
        let sent = self.requests.send(message).await;
        sent.map_err(|_| "the broker closed a stream of appends")?;
        Ok(true)
    }

    fn take(&mut self, answer: ProduceStreamResponse) -> Result<(), Failure> {
        check(&answer)?;
        let slot = usize::try_from(answer.correlation)?;
        let sent = *self.sent.get(slot).ok_or("an answer to no append")?;
        self.free.push(slot);
        let now = Instant::now();
        if self.gate.is_open(now) {
            self.acked.records += self.load.batch.records;
            self.acked.latencies.record(now - sent);
        }
        Ok(())
    }
}

/// Fails when a batch was refused: a benchmark counts nothing that is not in the log.
pub(crate) fn check(answer: &ProduceStreamResponse) -> Result<(), Failure> {
    match &answer.status {
        Some(status) if status.code != 0 => {
            let (code, message) = (status.code, &status.message);
            Err(format!("an append was refused: code {code}, {message}").into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_producer() {
        let load = |partitions, producers| Load {
            topic: String::new(),
            partitions,
            batch: Batch::of(1, 1),
            durability: Durability::None,
            producers,
            window: 1,
            numbered: false,
        };
        assert_eq!(load(1, 2).partitions_of(0), [0]);
        assert_eq!(load(1, 2).partitions_of(1), [0]);
        assert_eq!(load(5, 2).partitions_of(0), [0, 2, 4]);
        assert_eq!(load(5, 2).partitions_of(1), [1, 3]);
    }
}
