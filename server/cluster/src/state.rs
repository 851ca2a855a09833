//! The pure state of the metadata group: what each command does.
//!
//! A command is carried out on a copy, which shares what it does not change: one that is refused
//! changes nothing. Its rows are what differs afterwards.

mod brokers;
mod rows;
mod system;
mod topics;

use ropewalk_consensus::machine::Row;
use ropewalk_core::codec::DecodeError;

use crate::answer::{MetadataAnswer, MetadataReply};
use crate::command::MetadataCommand;
use crate::error::MetadataError;
use crate::metadata::{Metadata, Topic};
use crate::settings::check;

pub use system::founder_placement;

/// The state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataState {
    metadata: Metadata,
}

/// A command that is being carried out.
struct Change {
    next: MetadataState,
    /// The number of the command, which new replicas get as their serial number.
    serial: u32,
}

impl MetadataState {
    /// The picture of it that others see.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Becomes what these rows hold, which are those of the commands up to an index.
    pub fn restore(
        &mut self,
        index: u64,
        rows: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), DecodeError> {
        *self = rows::read(index, rows)?;
        Ok(())
    }

    /// Applies the command at this index. A command that is refused changes nothing.
    pub fn apply(&mut self, index: u64, command: &[u8]) -> (MetadataAnswer, Vec<Row>) {
        self.metadata.index = index;
        match self.after(index, command) {
            Ok((next, reply)) => {
                let rows = rows::changes(self, &next);
                *self = next;
                (Ok(reply), rows)
            }
            Err(error) => (Err(error), Vec::new()),
        }
    }

    fn after(&self, index: u64, command: &[u8]) -> Result<(Self, MetadataReply), MetadataError> {
        let command = MetadataCommand::decode(command)?;
        let serial = u32::try_from(index).map_err(|_| MetadataError::Exhausted)?;
        let mut change = Change { next: self.clone(), serial };
        let reply = change.carry_out(command)?;
        Ok((change.next, reply))
    }
}

impl Change {
    fn carry_out(&mut self, command: MetadataCommand) -> MetadataAnswer {
        match command {
            MetadataCommand::Form { cluster_id, founders } => self.form(cluster_id, &founders),
            MetadataCommand::RegisterBroker(registration) => self.register(registration),
            MetadataCommand::SetBrokerState { id, is_draining } => {
                self.set_broker_state(id, is_draining)
            }
            MetadataCommand::RemoveBroker { id } => self.remove_broker(id),
            MetadataCommand::CreateTopic {
                id,
                name,
                partition_count,
                replication_factor,
                settings,
                created,
            } => {
                let replication_factor = self.replication_factor(replication_factor)?;
                let partitions = Vec::new();
                let topic = Topic { id, name, partitions, replication_factor, settings, created };
                self.create_topic(topic, partition_count)
            }
            MetadataCommand::UpdateTopic { id, update } => self.update_topic(id, update),
            MetadataCommand::DeleteTopic { id } => self.delete_topic(id),
            MetadataCommand::ReassignPartitions { moves } => self.reassign(moves),
            MetadataCommand::ReplaceReplica { group, replica } => {
                Ok(self.replace_replica(group, replica))
            }
            MetadataCommand::ReplaceVoter { group, replica, voters } => {
                self.replace_voter(group, replica, &voters)
            }
            MetadataCommand::ForgetReplicas { gone } => self.forget(&gone),
            #[cfg(feature = "next")]
            MetadataCommand::SetRetentionBytes { id, bytes } => self.set_retention_bytes(id, bytes),
        }
    }
}

/// Refuses a text that is too long for its row.
fn check_text(setting: &str, text: &str, range: std::ops::RangeInclusive<usize>) -> Checked {
    let expected = format!("{} to {} bytes long", range.start(), range.end());
    let actual = || format!("{} bytes", text.len());
    Ok(check(range.contains(&text.len()), setting, &expected, actual)?)
}

type Checked = Result<(), MetadataError>;
