//! Keys as registers that are set only by who knows their version: two clients each, at whichever
//! broker says that it leads, be it true or not.

use ropewalk_consensus::{ProposeError, Receipt};

use super::Life;
use crate::cluster::{Cluster, Compared, LOG};
use crate::moments::Moment;

/// So many batches of one client have numbers.
const MOST: u8 = 127;

/// A client of a register.
pub(super) struct Client {
    key: u8,
    /// The next value: no other client sets it.
    value: u8,
    left: u8,
    /// The version that it knows of.
    version: Option<u64>,
    /// What it has asked for.
    asked: Option<u64>,
}

impl Client {
    pub(super) fn all() -> Vec<Self> {
        let client = |at: u8| Self {
            // No other record has it.
            key: 100 + at / 2,
            value: (at % 2) << 7,
            left: MOST,
            version: None,
            asked: None,
        };
        (0..4).map(client).collect()
    }

    fn take_answer(&mut self, cluster: &mut Cluster) {
        let Some(end) = self.asked.and_then(|id| cluster.ends.get(&id)) else { return };
        match end {
            Ok(Receipt::Appended { base_offset, .. }) => {
                self.version = Some(base_offset.0);
                cluster.moments.note(Moment::VersionMet);
            }
            Err(ProposeError::ExpectedVersion { current }) => {
                self.version = current.map(|offset| offset.0);
            }
            _ => {}
        }
        self.asked = None;
    }
}

impl Life {
    /// One of the clients sets its register, if nobody was faster.
    pub(super) fn compare_and_append(&mut self) {
        let at = self.random.below(self.registers.len() as u64) as usize;
        let node = self.node_for(LOG);
        let is_searched = self.random.one_in(2);
        let (client, cluster) = (&mut self.registers[at], &mut self.cluster);
        client.take_answer(cluster);
        let Some(left) = client.left.checked_sub(1) else { return };
        client.left = left;
        let (key, value, version) = (client.key, client.value, client.version);
        let batch = Compared { key, value, version, is_searched };
        client.asked = Some(cluster.compare(node, &batch));
        client.value += 1;
    }
}
