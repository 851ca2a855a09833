//! A test in the place of a shard.

use std::sync::Arc;

use ropewalk_consensus::{Input, ProposalKind};
use ropewalk_core::{GroupId, ReplicaId};
use tokio::sync::mpsc;

use super::{Command, Driver};
use crate::group_watch::GroupWatch;
use crate::peers::Reply;

/// What a shard is told.
pub(crate) struct FakeShard(mpsc::Receiver<Command>);

/// A part of it, in the order in which it comes.
pub(crate) enum Told {
    /// This replica is taken up, with what storage has of it or without.
    Open(ReplicaId, bool),
    /// The group goes with its data.
    Remove,
    /// Everything is to be on the disk.
    Keep(Reply),
    /// Something is proposed.
    Propose(ProposalKind, Reply),
}

impl FakeShard {
    /// The next group that is to be taken up, and its watch; other commands are passed over.
    pub(crate) async fn opens(&mut self) -> Option<(GroupId, Arc<GroupWatch>)> {
        loop {
            if let Command::Open(new, watch) = self.0.recv().await? {
                return Some((new.group, watch));
            }
        }
    }

    /// What the shard is told next of one group, or of the disk.
    pub(crate) async fn next_of(&mut self, group: GroupId) -> Option<Told> {
        loop {
            match self.0.recv().await? {
                Command::Open(new, _) if new.group == group => {
                    return Some(Told::Open(new.replica, new.stored.is_some()));
                }
                Command::Input(Input::Remove(of)) if of == group => return Some(Told::Remove),
                Command::Input(Input::Keep(reply)) => return Some(Told::Keep(reply)),
                Command::Input(Input::Propose(of, proposal)) if of == group => {
                    return Some(Told::Propose(proposal.kind, proposal.reply));
                }
                _ => {}
            }
        }
    }
}

impl Driver {
    /// For tests of what shards are told: one whose only shard is the test.
    pub(crate) fn with_fake_shard() -> (Self, FakeShard) {
        let (sender, commands) = mpsc::channel(1);
        (Self { shards: vec![sender], ..Self::without_shards() }, FakeShard(commands))
    }
}
