//! Which broker leads what a call is about: the hint in its trailers, and what a call gets that is
//! not to be forwarded.
//!
//! It knows nothing of the calls themselves. A handler names the replica groups that its answer
//! needs before it asks them; forwarding is the broker's own, and never done twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderValue};
use ropewalk_broker::errors::{AppendError, TopicError};
use ropewalk_broker::table::ServedTopic;
use ropewalk_broker::{Broker, GroupHandle, Partition};
use ropewalk_core::GroupId;

use crate::failure::Failure;

/// With this metadata, of the value `1`, a call is refused rather than forwarded.
pub(crate) const NO_FORWARD: &str = "ropewalk-no-forward";
/// The trailer that names the broker to ask next time: its id, its address, its epoch.
pub(crate) const LEADER: &str = "ropewalk-leader";
/// Of a call about more groups than this on other brokers, no hint is given: they have hardly one
/// leader, and a stream stays open for long.
const MAX_GROUPS: usize = 1_000;

/// The way of one call. Cheap to clone; clones are the same call's.
#[derive(Clone)]
pub(crate) struct CallRoute {
    broker: Arc<Broker>,
    forwards: bool,
    /// The groups that another broker was asked for.
    asked: Arc<Mutex<BTreeMap<GroupId, GroupHandle>>>,
}

impl CallRoute {
    /// The way of a call with these metadata.
    pub(crate) fn new(broker: Arc<Broker>, headers: &HeaderMap) -> Self {
        let forwards = headers.get(NO_FORWARD).is_none_or(|value| value.as_bytes() != b"1");
        Self { broker, forwards, asked: Arc::default() }
    }

    /// The way of a call, which the connection has left with its request.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Self {
        let route = request.extensions().get::<Self>().cloned();
        route.expect("every request comes through `CallService`, which gives it one")
    }

    /// The call needs the leader of a group.
    ///
    /// # Errors
    /// `NOT_LEADER`, or `NO_LEADER` while nobody is known to lead, where another broker would have
    /// to be asked and the call is not to be forwarded.
    pub(crate) fn asks(&self, handle: &GroupHandle) -> Result<(), Failure> {
        if handle.is_led_here() {
            return Ok(());
        }
        let leader = handle.leader();
        if !self.forwards {
            let node = match leader {
                // It is about to serve.
                Some(leader) if leader.node == self.broker.config().node => return Ok(()),
                Some(leader) => leader.node,
                None if handle.watch().is_some() => return Err(Failure::no_leader()),
                // Nobody has asked yet: any broker with a replica knows more than this one.
                None => *handle.nodes().first().ok_or_else(Failure::no_leader)?,
            };
            let epoch = leader.and_then(|leader| leader.epoch).unwrap_or(0);
            return Err(Failure::not_leader(node, &self.address_of(node), epoch));
        }
        let mut asked = self.lock();
        if asked.len() <= MAX_GROUPS {
            asked.insert(handle.group, handle.clone());
        }
        Ok(())
    }

    /// The call needs a partition's leader.
    pub(crate) fn asks_partition(&self, partition: &Partition) -> Result<(), Failure> {
        self.asks(partition.handle())
    }

    /// The call reads a partition: any replica will do.
    pub(crate) fn reads(&self, partition: &Partition) -> Result<(), Failure> {
        match partition.handle().watch() {
            Some(_) => Ok(()),
            None => self.asks_partition(partition),
        }
    }

    /// The topic that the call uses, created with default settings where that is allowed: the
    /// leader of the metadata does it. Whether the topic is there is asked once.
    pub(crate) async fn topic_for_use(&self, name: &str) -> Result<ServedTopic, Failure> {
        let found = self.broker.find_topic(name).await;
        if found.is_err() && self.broker.config().auto_create {
            self.asks(self.broker.metadata_group())?;
        }
        let topic = match found {
            Err(TopicError::Missing(missing)) => self.broker.create_for_use(name, missing).await,
            found => found,
        };
        topic.map_err(|error| AppendError::Create(error).into())
    }

    /// Adds the hint to the trailers of an answer, where one other broker leads all that others
    /// were asked for.
    pub(crate) fn hint(&self, trailers: &mut HeaderMap) {
        let asked = self.lock();
        if asked.is_empty() || asked.len() > MAX_GROUPS {
            return;
        }
        let mut hint = None;
        for handle in asked.values() {
            let Some(leader) = handle.leader() else { return };
            if hint.is_some_and(|(node, _)| node != leader.node) {
                return;
            }
            // Epochs are those of single groups.
            let epoch = leader.epoch.filter(|_| asked.len() == 1).unwrap_or(0);
            hint = Some((leader.node, epoch));
        }
        let Some((node, epoch)) = hint else { return };
        if node == self.broker.config().node {
            return;
        }
        let address = self.address_of(node);
        if address.is_empty() {
            return;
        }
        if let Ok(value) = HeaderValue::try_from(format!("{node} {address} {epoch}")) {
            trailers.insert(LEADER, value);
        }
    }

    /// Where clients reach a broker; empty while it is not known.
    fn address_of(&self, node: ropewalk_core::NodeId) -> String {
        let metadata = self.broker.metadata();
        metadata.brokers.get(&node).map(|broker| broker.address.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupId, GroupHandle>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
