//! Members of consumer groups as the Rust SDK makes them, each with a client and connections of its
//! own, as a process of its own would have.

use std::time::Duration;

use ropewalk::{Client, GroupState, RecordBatch};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::wire::Failure;

/// How many join at the same time, where many do.
pub(crate) const JOINING: usize = 16;
/// How long a group may take until each member has what it is to have.
const STABLE_WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// A member that reads, and commits automatically.
#[derive(Debug)]
pub(crate) struct Member {
    leave: oneshot::Sender<()>,
    reading: JoinHandle<Result<(), Failure>>,
}

impl Member {
    /// Joins a group. `got` is called for each batch that comes.
    pub(crate) async fn join(
        address: &str,
        topic: &str,
        group: &str,
        mut got: impl FnMut(&RecordBatch) + Send + 'static,
    ) -> Result<Self, Failure> {
        let client = Client::connect(address).await?;
        let mut consumer = client.group(group).consumer().topic(topic).build().await?;
        let (leave, mut left) = oneshot::channel();
        let reading = tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = consumer.next_batch() => next,
                    _ = &mut left => return Ok(consumer.close().await?),
                };
                got(&next.ok_or("a member ended by itself")??);
            }
        });
        Ok(Self { leave, reading })
    }

    /// Leaves the group. Fails when the member has failed meanwhile.
    pub(crate) async fn leave(self) -> Result<(), Failure> {
        // One that has failed does not hear it.
        let _ = self.leave.send(());
        self.reading.await?
    }
}

/// Waits until a group has so many members, and each of them what it is to have.
pub(crate) async fn stable(client: &Client, group: &str, members: usize) -> Result<(), Failure> {
    let deadline = Instant::now() + STABLE_WITHIN;
    loop {
        let described = client.group(group).describe().await?;
        let is_whole = described.members.len() == members;
        if is_whole && described.state == GroupState::Stable {
            return Ok(());
        }
        if Instant::now() > deadline {
            let (state, there) = (described.state.name(), described.members.len());
            return Err(format!("{group} is {state}, with {there} of {members} members").into());
        }
        sleep(LOOK).await;
    }
}
