//! The ways of a broker that has no peer port: there are none.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use ropewalk_core::NodeId;

use crate::peers::{
    Fetch, Fetched, Introduction, Message, Peers, Receipt, RemoteError, RemoteProposal,
};

/// No way to anybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Peers for Alone {
    fn send(&self, _message: Message) -> bool {
        false
    }

    fn announce(&self, _addresses: BTreeMap<NodeId, String>) {}

    fn propose(
        &self,
        node: NodeId,
        _proposal: RemoteProposal,
    ) -> BoxFuture<'static, Result<Receipt, RemoteError>> {
        ready(Err(no_way(&node.to_string()))).boxed()
    }

    fn fetch(
        &self,
        node: NodeId,
        _fetch: Fetch,
    ) -> BoxFuture<'static, Result<Fetched, RemoteError>> {
        ready(Err(no_way(&node.to_string()))).boxed()
    }

    fn introduce(
        &self,
        address: &str,
        _own: Introduction,
    ) -> BoxFuture<'static, Result<Introduction, RemoteError>> {
        ready(Err(no_way(address))).boxed()
    }
}

fn no_way(to: &str) -> RemoteError {
    let why: Arc<str> = "this broker has no peer port: give it one with cluster.peer_listen".into();
    RemoteError::Unreachable { to: to.to_owned(), why }
}
