//! What commands do to brokers, and with them to the replicas that they hold.

use std::sync::Arc;

use ropewalk_consensus::planted::Plant;
use ropewalk_core::{GroupId, NodeId, ReplicaId, limits};

use super::{Change, Checked, check_text};
use crate::answer::{MetadataAnswer, MetadataReply};
use crate::command::BrokerRegistration;
use crate::error::MetadataError;
use crate::evacuation::{evacuated, renumber, renumbered};
use crate::former::Gone;
use crate::metadata::{BrokerInfo, ClusterId, DirectoryId, Metadata, Placement, Retired, Topic};
use crate::placement::{Placer, are_distinct};
use crate::settings::check;
use crate::state::founder_placement;

/// Whether a broker is known, and with which data directory.
enum Known {
    New,
    Same,
    Wiped(DirectoryId),
}

impl Change {
    pub(super) fn form(
        &mut self,
        cluster_id: ClusterId,
        founders: &[(NodeId, DirectoryId)],
    ) -> MetadataAnswer {
        if self.next.metadata.cluster_id.is_some() {
            return Ok(MetadataReply::default());
        }
        let limit = limits::MAX_FOUNDERS;
        let expected = format!("1 to {limit} brokers");
        let count = founders.len();
        check((1..=limit).contains(&count), "founders", &expected, || count.to_string())?;
        let ids: Vec<_> = founders.iter().map(|(id, _)| *id).collect();
        ids.iter().try_for_each(|id| check_id(*id))?;
        check(are_distinct(&ids), "founders", "different brokers", || format!("{ids:?}"))?;
        let metadata = &mut self.next.metadata;
        metadata.cluster_id = Some(cluster_id);
        metadata.awaited = founders.iter().copied().collect();
        for (group, replicas) in founder_placement(&ids) {
            let founders = replicas.clone();
            metadata.system.insert(group, Placement { replicas, founders });
        }
        self.settle();
        Ok(MetadataReply::default())
    }

    pub(super) fn register(&mut self, registration: BrokerRegistration) -> MetadataAnswer {
        let id = registration.id;
        let known = self.check_registration(&registration)?;
        let metadata = &self.next.metadata;
        let current = metadata.metadata_replica(id);
        let is_draining = metadata.is_draining(id);
        let metadata_replica = match (known, current) {
            (Known::Same, Some(current)) => current,
            (Known::Wiped(directory), _) => {
                self.retire(directory, id);
                match current.filter(|_| Plant::OldIdsAfterWipe.is_planted()) {
                    Some(current) => current,
                    None => self.wipe(id),
                }
            }
            _ => {
                // The one that had this id before, and was removed, gets no messages from now on.
                self.next.metadata.former.lose_all(id);
                ReplicaId::new(id, self.serial)
            }
        };
        self.next.metadata.awaited.remove(&id);
        let broker = BrokerInfo {
            id,
            address: registration.address,
            peer_address: registration.peer_address,
            rack: registration.rack,
            directory: registration.directory,
            version: registration.version,
            started: registration.started,
            is_draining,
            metadata_replica,
            level: registration.level,
        };
        Ok(self.put_broker(broker))
    }

    pub(super) fn set_broker_state(&mut self, id: NodeId, is_draining: bool) -> MetadataAnswer {
        let broker = self.next.metadata.brokers.get(&id);
        let broker = broker.ok_or(MetadataError::BrokerNotFound(id))?;
        let broker = BrokerInfo { is_draining, ..BrokerInfo::clone(broker) };
        Ok(self.put_broker(broker))
    }

    pub(super) fn remove_broker(&mut self, id: NodeId) -> MetadataAnswer {
        let metadata = &self.next.metadata;
        let directory = metadata.directory(id).ok_or(MetadataError::BrokerNotFound(id))?;
        let left = metadata.brokers.keys().filter(|other| **other != id).count();
        let brokers = u32::try_from(left).expect("limits bound the brokers");
        if brokers == 0 {
            return Err(MetadataError::LastBroker(id));
        }
        let largest = metadata.topics.values().max_by_key(|topic| topic.replication_factor);
        if let Some(topic) = largest.filter(|topic| topic.replication_factor > brokers) {
            let (topic, replication_factor) = (topic.name.clone(), topic.replication_factor);
            return Err(MetadataError::BrokerNeeded {
                broker: id,
                brokers,
                topic,
                replication_factor,
            });
        }
        let (mut placer, mut former) = (Placer::new(metadata), metadata.former.clone());
        placer.exclude(id);
        let topics = metadata.topics.values();
        let mut move_away = |topic| evacuated(&mut placer, topic, id, self.serial, &mut former);
        let moved: Vec<_> = topics.filter_map(|topic| move_away(topic)).collect();
        placer.check()?;
        let metadata = &mut self.next.metadata;
        metadata.former = former;
        moved.into_iter().for_each(|topic| metadata.put_topic(topic));
        let broker = metadata.brokers.remove(&id).map(|broker| BrokerInfo::clone(&broker));
        metadata.awaited.remove(&id);
        self.retire(directory, id);
        self.settle();
        // Its data directory must not come back, and so nothing of what is in it.
        self.next.metadata.former.remove_all(id);
        Ok(MetadataReply { topic: None, broker })
    }

    /// Gives one replica of a broker a new id, if it is placed still.
    pub(super) fn replace_replica(&mut self, group: GroupId, replica: ReplicaId) -> MetadataReply {
        let (id, serial) = (replica.node(), self.serial);
        let metadata = &mut self.next.metadata;
        let is_listener = group == GroupId::METADATA
            && metadata.brokers.get(&id).is_some_and(|broker| broker.metadata_replica == replica);
        let is_placed =
            metadata.replicas(group).is_some_and(|replicas| replicas.contains(&replica));
        if !is_placed && !is_listener {
            return MetadataReply::default();
        }
        let mut former = metadata.former.clone();
        if let Some(placement) = metadata.system.get_mut(&group) {
            renumber(group, &mut placement.replicas, id, serial, &mut former);
        } else if let Some((topic, partition)) = metadata.partition(group) {
            let mut topic = Topic::clone(topic);
            let replicas = &mut topic.partitions[partition.0 as usize].replicas;
            renumber(group, replicas, id, serial, &mut former);
            metadata.put_topic(topic);
        }
        metadata.former = former;
        if is_listener && let Some(broker) = metadata.brokers.get(&id) {
            let metadata_replica = ReplicaId::new(id, serial);
            let broker = BrokerInfo { metadata_replica, ..BrokerInfo::clone(broker) };
            metadata.brokers.insert(id, broker.into());
        }
        MetadataReply::default()
    }

    /// Gives a replica that votes a new id, if these are all who vote, and those who are to: its
    /// group goes on without it then, as was found when they were asked.
    pub(super) fn replace_voter(
        &mut self,
        group: GroupId,
        replica: ReplicaId,
        voters: &[ReplicaId],
    ) -> MetadataAnswer {
        let metadata = &self.next.metadata;
        let wanted = metadata.replicas(group).unwrap_or_default();
        if !wanted.contains(&replica) {
            return Ok(MetadataReply::default());
        }
        // One that is to go may do so meanwhile, and one that is lost has no vote to give.
        let is_settled = !metadata.has_former(group)
            && voters.len() == wanted.len()
            && voters.iter().all(|voter| wanted.contains(voter));
        if !is_settled {
            return Err(MetadataError::ReplicaNeeded(replica));
        }
        Ok(self.replace_replica(group, replica))
    }

    /// Forgets replicas that their groups count no more.
    pub(super) fn forget(&mut self, gone: &[Gone]) -> MetadataAnswer {
        let limit = limits::MAX_PARTITIONS_PER_REQUEST;
        let expected = format!("at most {limit} replicas");
        check(gone.len() <= limit, "gone", &expected, || gone.len().to_string())?;
        gone.iter().for_each(|gone| self.next.metadata.former.forget(gone));
        Ok(MetadataReply::default())
    }

    /// Takes a broker in, in place of the one with its id.
    fn put_broker(&mut self, broker: BrokerInfo) -> MetadataReply {
        self.next.metadata.brokers.insert(broker.id, broker.clone().into());
        self.settle();
        MetadataReply { topic: None, broker: Some(broker) }
    }

    fn check_registration(
        &self,
        registration: &BrokerRegistration,
    ) -> Result<Known, MetadataError> {
        let metadata = &self.next.metadata;
        let (id, directory) = (registration.id, registration.directory);
        if metadata.cluster_id.is_none() {
            return Err(MetadataError::NotFormed);
        }
        check_id(id)?;
        check_text("address", &registration.address, 1..=limits::MAX_ADDRESS_BYTES)?;
        check_text("peer_address", &registration.peer_address, 1..=limits::MAX_ADDRESS_BYTES)?;
        check_text("version", &registration.version, 0..=limits::MAX_NAME_BYTES)?;
        if let Some(rack) = &registration.rack {
            check_text("rack", rack, 1..=limits::MAX_NAME_BYTES)?;
        }
        if let Some(retired) = metadata.retired.get(&directory) {
            return Err(MetadataError::BrokerRemoved(retired.broker));
        }
        if let Some(other) = metadata.owner(directory).filter(|other| *other != id) {
            return Err(MetadataError::DirectoryTaken(other));
        }
        let cluster = metadata.level();
        if registration.level < cluster {
            return Err(MetadataError::LevelTooLow { broker: registration.level, cluster });
        }
        match metadata.directory(id) {
            Some(known) if known == directory => Ok(Known::Same),
            Some(known) => Ok(Known::Wiped(known)),
            None if metadata.members().count() >= limits::MAX_BROKERS => {
                Err(MetadataError::TooManyBrokers { limit: limits::MAX_BROKERS })
            }
            None => Ok(Known::New),
        }
    }

    /// Gives all replicas of a broker that lost its disk new ids.
    fn wipe(&mut self, id: NodeId) -> ReplicaId {
        let Metadata { system, topics, former, .. } = &mut self.next.metadata;
        for (group, placement) in system {
            renumber(*group, &mut placement.replicas, id, self.serial, former);
        }
        let renumber = |topic: &Arc<Topic>| renumbered(topic, id, self.serial, former);
        let changed: Vec<_> = topics.values().filter_map(renumber).collect();
        former.lose_all(id);
        let metadata = &mut self.next.metadata;
        changed.into_iter().for_each(|topic| metadata.put_topic(topic));
        ReplicaId::new(id, self.serial)
    }

    /// Remembers that a data directory must not come back. The oldest is forgotten when there are
    /// too many.
    fn retire(&mut self, directory: DirectoryId, broker: NodeId) {
        let retired = Arc::make_mut(&mut self.next.metadata.retired);
        retired.insert(directory, Retired { broker, index: self.serial.into() });
        if retired.len() > limits::MAX_RETIRED_DIRECTORIES {
            let oldest = retired.iter().min_by_key(|(_, retired)| retired.index);
            if let Some(oldest) = oldest.map(|(directory, _)| *directory) {
                retired.remove(&oldest);
            }
        }
    }
}

impl Metadata {
    /// The ids of all brokers, with those that are to form the cluster and have not registered.
    pub(super) fn members(&self) -> impl Iterator<Item = NodeId> {
        self.brokers.keys().chain(self.awaited.keys()).copied()
    }

    fn directory(&self, id: NodeId) -> Option<DirectoryId> {
        let broker = self.brokers.get(&id).map(|broker| broker.directory);
        broker.or(self.awaited.get(&id).copied())
    }

    fn owner(&self, directory: DirectoryId) -> Option<NodeId> {
        self.members().find(|id| self.directory(*id) == Some(directory))
    }
}

/// Replica ids have 32 bits for the broker.
fn check_id(id: NodeId) -> Checked {
    let range = 1..=u64::from(u32::MAX);
    Ok(check(range.contains(&id.0), "node id", "1 to 4294967295", || id.to_string())?)
}
