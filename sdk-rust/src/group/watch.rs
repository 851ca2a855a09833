//! Watching a consumer group, over as many streams as it takes.

use ropewalk_proto::v1;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;
use tokio::time::timeout;
use tonic::Streaming;

use super::description::GroupMembers;
use crate::backoff::insist;
use crate::connector::Connection;
use crate::error::{Error, ErrorKind, timed_out};
use crate::offsets::Group;

/// What the broker may send ahead of what is read.
const WINDOW: u32 = 1 << 20;

/// Tells how a consumer group is, and each time it is otherwise. Made by [`Group::watch`].
#[derive(Debug)]
pub struct GroupWatch {
    group: Group,
    open: Option<(Streaming<v1::WatchConsumerGroupResponse>, Connection)>,
    last: Option<GroupMembers>,
}

impl Group {
    /// Watches who is in the group and what each of them has: as it is now, and then at each
    /// change. A group need not be there yet: it is empty then, and of generation 0.
    #[must_use]
    pub fn watch(&self) -> GroupWatch {
        GroupWatch { group: self.clone(), open: None, last: None }
    }
}

impl GroupWatch {
    /// How the group is next; waits until it is otherwise than told before. Changes that come
    /// faster than they are asked for are told in one. A call that is given up loses nothing.
    ///
    /// # Errors
    ///
    /// When the stream is lost and cannot be opened again within the client's request timeout, and
    /// what every call may meet. Called again, it tries again.
    pub async fn next(&mut self) -> Result<GroupMembers, Error> {
        loop {
            let Some((groups, connection)) = &mut self.open else {
                self.open = Some(self.reopen().await?);
                continue;
            };
            let error = match groups.message().await {
                Ok(Some(v1::WatchConsumerGroupResponse { group })) => {
                    let members = GroupMembers::from_proto(group.unwrap_or_default());
                    // A stream that is opened anew begins with how it is, which may be known.
                    if self.last.as_ref() == Some(&members) {
                        continue;
                    }
                    self.last = Some(members.clone());
                    return Ok(members);
                }
                Ok(None) => Error::new(ErrorKind::Disconnected, "the stream of a group ended"),
                Err(status) => Error::from_status(&status),
            };
            self.group.client().connector().avoid(connection);
            self.open = None;
            if !error.is_retriable() {
                return Err(error);
            }
            tracing::debug!(%error, "watching a group again");
        }
    }

    /// Opens the stream, trying for the request timeout.
    async fn reopen(
        &self,
    ) -> Result<(Streaming<v1::WatchConsumerGroupResponse>, Connection), Error> {
        let patience = self.group.client().request_timeout();
        insist(patience, "watching a group", || self.attempt()).await
    }

    async fn attempt(
        &self,
    ) -> Result<(Streaming<v1::WatchConsumerGroupResponse>, Connection), Error> {
        let client = self.group.client();
        let connection = client.connector().connect(WINDOW).await?;
        let request = v1::WatchConsumerGroupRequest { group: self.group.name().to_owned() };
        let mut stub = AdminServiceClient::new(connection.channel.clone());
        let opening = timeout(client.request_timeout(), stub.watch_consumer_group(request));
        let error = match opening.await {
            Ok(Ok(response)) => return Ok((response.into_inner(), connection)),
            Ok(Err(status)) => Error::from_status(&status),
            Err(_) => timed_out().context("watching a group"),
        };
        if error.is_retriable() {
            client.connector().avoid(&connection);
        }
        Err(error)
    }
}
