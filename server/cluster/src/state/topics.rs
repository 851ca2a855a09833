//! What commands do to topics and their partitions.

use ropewalk_core::{GroupId, NodeId, ReplicaId, TopicId, limits};

use super::{Change, Checked, check_text};
use crate::answer::{MetadataAnswer, MetadataReply};
use crate::command::PartitionMove;
use crate::error::MetadataError;
use crate::metadata::{Topic, TopicPartition};
use crate::placement::{Placer, are_distinct, nodes, put};
use crate::settings::{TopicUpdate, check};

/// The replicas of a partition where nobody says otherwise, and there are brokers enough.
const DEFAULT_REPLICATION_FACTOR: u32 = 3;

impl Change {
    /// The number of replicas that is asked for, or else the default, if there are brokers enough.
    pub(super) fn replication_factor(&self, asked: Option<u32>) -> Result<u32, MetadataError> {
        let brokers = &self.next.metadata.brokers;
        let count = |count: usize| u32::try_from(count).expect("limits bound the brokers");
        let staying = count(brokers.values().filter(|broker| !broker.is_draining).count());
        let default =
            if staying >= DEFAULT_REPLICATION_FACTOR { DEFAULT_REPLICATION_FACTOR } else { 1 };
        let replication_factor = asked.unwrap_or(default);
        let is_allowed = matches!(replication_factor, 1 | 3 | 5);
        check(is_allowed, "replication_factor", "1, 3 or 5", || replication_factor.to_string())?;
        let brokers = count(brokers.len());
        if brokers < replication_factor {
            return Err(MetadataError::TooFewBrokers { replication_factor, brokers });
        }
        Ok(replication_factor)
    }

    pub(super) fn create_topic(
        &mut self,
        mut topic: Topic,
        partition_count: u32,
    ) -> MetadataAnswer {
        let metadata = &self.next.metadata;
        if let Some(taken) = metadata.topic(&topic.name).or(metadata.topic_by_id(topic.id)) {
            return Err(MetadataError::TopicExists(taken.name.clone()));
        }
        check_text("name", &topic.name, 1..=limits::MAX_NAME_BYTES)?;
        topic.settings.validate()?;
        self.extend(&mut topic, partition_count)?;
        Ok(self.put_topic(topic))
    }

    pub(super) fn update_topic(&mut self, id: TopicId, update: TopicUpdate) -> MetadataAnswer {
        let mut topic = self.topic(id)?;
        topic.settings = update.apply_to(topic.settings);
        topic.settings.validate()?;
        if update.replication_factor.is_some() {
            topic.replication_factor = self.replication_factor(update.replication_factor)?;
            self.resize(&mut topic)?;
        }
        let current = topic.partition_count();
        match update.partition_count {
            Some(count) if count < current => {
                return Err(MetadataError::PartitionsShrink { current });
            }
            Some(count) if count > current => self.extend(&mut topic, count)?,
            _ => {}
        }
        Ok(self.put_topic(topic))
    }

    /// Says how much of a topic is kept.
    #[cfg(feature = "next")]
    pub(super) fn set_retention_bytes(&mut self, id: TopicId, bytes: u64) -> MetadataAnswer {
        let mut topic = self.topic(id)?;
        topic.settings.retention_bytes = Some(bytes);
        topic.settings.validate()?;
        Ok(self.put_topic(topic))
    }

    pub(super) fn delete_topic(&mut self, id: TopicId) -> MetadataAnswer {
        let name = self.topic(id)?.name;
        let topic = self.next.metadata.remove_topic(&name);
        Ok(MetadataReply { topic, broker: None })
    }

    pub(super) fn reassign(&mut self, mut moves: Vec<PartitionMove>) -> MetadataAnswer {
        let limit = limits::MAX_PARTITIONS_PER_REQUEST;
        let expected = format!("at most {limit} partitions");
        check(moves.len() <= limit, "moves", &expected, || moves.len().to_string())?;
        // Each topic is changed once.
        moves.sort_by_key(|moved| (moved.topic, moved.partition));
        for moves in moves.chunk_by(|one, other| one.topic == other.topic) {
            let mut topic = self.topic(moves[0].topic)?;
            for (at, moved) in moves.iter().enumerate() {
                let is_repeated = at > 0 && moves[at - 1].partition == moved.partition;
                self.reassign_one(&mut topic, moved, is_repeated)?;
            }
            self.put_topic(topic);
        }
        Placer::new(&self.next.metadata).check()?;
        Ok(MetadataReply::default())
    }

    fn reassign_one(
        &mut self,
        topic: &mut Topic,
        moved: &PartitionMove,
        is_repeated: bool,
    ) -> Checked {
        let partition = moved.partition;
        let (name, factor) = (topic.name.clone(), topic.replication_factor);
        let Some(current) = topic.partitions.get_mut(partition.0 as usize) else {
            return Err(MetadataError::PartitionNotFound { topic: name, partition });
        };
        let unknown = |id: &&NodeId| !self.next.metadata.brokers.contains_key(*id);
        let problem = if is_repeated {
            "it is named twice: name it once".to_owned()
        } else if !are_distinct(&moved.brokers) {
            "a broker is named twice: name different ones".to_owned()
        } else if let Some(id) = moved.brokers.iter().find(unknown) {
            format!("broker {id} is not in the cluster: name brokers that are")
        } else if moved.brokers.len() != factor as usize {
            format!(
                "{} brokers are named: name {factor}, or change the topic's replication \
                 factor first",
                moved.brokers.len()
            )
        } else {
            let former = &mut self.next.metadata.former;
            put(current.group, &mut current.replicas, &moved.brokers, self.serial, former);
            return Ok(());
        };
        Err(MetadataError::InvalidReplicas { topic: name, partition, problem })
    }

    /// Takes a topic in, in place of the one with its name.
    fn put_topic(&mut self, topic: Topic) -> MetadataReply {
        let name = topic.name.clone();
        self.next.metadata.put_topic(topic);
        let topic = self.next.metadata.topics.get(&name).cloned();
        MetadataReply { topic, broker: None }
    }

    fn topic(&self, id: TopicId) -> Result<Topic, MetadataError> {
        let topic = self.next.metadata.topic_by_id(id).ok_or(MetadataError::TopicNotFound)?;
        Ok(Topic::clone(topic))
    }

    /// Adds partitions until there are as many as this.
    fn extend(&mut self, topic: &mut Topic, count: u32) -> Checked {
        let limit = limits::MAX_PARTITIONS_PER_TOPIC;
        let expected = format!("1 to {limit}");
        check((1..=limit).contains(&count), "partition_count", &expected, || count.to_string())?;
        let metadata = &mut self.next.metadata;
        let current = topic.partition_count();
        let limit = limits::MAX_PARTITIONS_PER_CLUSTER;
        if metadata.partition_count() + (count - current) as usize > limit {
            return Err(MetadataError::TooManyPartitions { limit });
        }
        let mut placer = Placer::new(metadata);
        placer.begin(topic);
        let mut group = metadata.next_group;
        for number in current as usize..count as usize {
            let chosen = placer.place(number, topic.replication_factor);
            let replicas: Vec<_> = chosen.iter().map(|node| ReplicaId::new(*node, 0)).collect();
            let founders = replicas.clone();
            topic.partitions.push(TopicPartition { group, replicas, founders });
            group = GroupId(group.0 + 1);
        }
        placer.check()?;
        metadata.next_group = group;
        Ok(())
    }

    /// Gives each partition as many replicas as the topic says.
    fn resize(&mut self, topic: &mut Topic) -> Checked {
        let mut former = self.next.metadata.former.clone();
        let mut placer = Placer::new(&self.next.metadata);
        placer.begin(topic);
        let wanted = topic.replication_factor as usize;
        for partition in &mut topic.partitions {
            let mut chosen: Vec<_> = nodes(partition).collect();
            placer.subtract(&chosen);
            while chosen.len() > wanted
                && let Some(least) = placer.least(&chosen)
            {
                chosen.retain(|node| *node != least);
            }
            while chosen.len() < wanted
                && let Some(next) = placer.next(&chosen)
            {
                chosen.push(next);
            }
            placer.add(&chosen);
            put(partition.group, &mut partition.replicas, &chosen, self.serial, &mut former);
        }
        placer.check()?;
        self.next.metadata.former = former;
        Ok(())
    }
}
