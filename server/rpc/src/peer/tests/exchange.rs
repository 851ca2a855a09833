//! Raft messages from one broker to another.

use std::time::Duration;

use ropewalk_broker::peers::{Peers, Removal};
use ropewalk_consensus::MessageKind;
use ropewalk_core::{NodeId, limits};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Request};

use super::super::connection::{KeepAlive, dial};
use super::super::hail::{Hail, PROTOCOLS};
use super::super::raft_wire;
use super::support::{Broker, CLUSTER, append, message, soon};

pub(super) const HAIL: Hail = Hail {
    cluster: CLUSTER,
    from: NodeId(1),
    to: NodeId(2),
    directory: [1; 16],
    protocols: PROTOCOLS,
};
pub(super) const PATIENT: KeepAlive =
    KeepAlive { interval: Duration::from_secs(9), timeout: Duration::from_secs(9) };

#[tokio::test]
async fn the_messages_of_a_lane_arrive_in_order() {
    let (one, two) = Broker::pair().await;
    const COUNT: u64 = 2000;
    for index in 0..COUNT {
        // An append without entries keeps its place among those with some.
        let bulk = match index % 3 {
            0 => message(MessageKind::Append, 1, 2, index),
            _ => append(index, 1000),
        };
        assert!(one.transport.send(bulk));
        assert!(one.transport.send(message(MessageKind::Heartbeat, 1, 2, index)));
    }
    let (mut appends, mut heartbeats) = (0, 0);
    for _ in 0..2 * COUNT {
        let arrived = two.message().await;
        let next = match arrived.kind {
            MessageKind::Append => &mut appends,
            _ => &mut heartbeats,
        };
        assert_eq!(arrived.index, *next);
        if arrived.kind == MessageKind::Append && arrived.index % 3 != 0 {
            assert_eq!(arrived, append(arrived.index, 1000));
        }
        *next += 1;
    }
    assert_eq!(two.transport.stats().received, 2 * COUNT);
    for (lane, least) in [("bulk", COUNT / 3 * 2 * 1000), ("control", COUNT * 64)] {
        let stats = one.lane(lane);
        assert!(stats.is_connected && stats.sent_bytes >= least, "{stats:?}");
        assert_eq!((stats.sent, stats.dropped, stats.queued_bytes), (COUNT, 0, 0));
    }
}

#[tokio::test]
async fn a_full_lane_drops_and_counts_and_leaves_the_other_free() {
    const BYTES: usize = 256 * 1024;
    let (one, two) = Broker::pair().await;
    let busy = two.fake.appends.acquire().await.unwrap();
    let begun = Instant::now();
    let mut taken = 0;
    // What was sent before the other side stopped to read makes room: it is full when that ends.
    let mut refused = 0;
    while refused < 20 {
        match one.transport.send(append(taken, BYTES)) {
            true => taken += 1,
            false => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert!(taken < 1000, "the lane has no bound");
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(taken as usize * BYTES >= limits::PEER_BULK_BYTES - BYTES);
    let stats = one.lane("bulk");
    assert_eq!(stats.dropped, 20);
    assert!(stats.queued_bytes as usize > limits::PEER_BULK_BYTES - BYTES, "{stats:?}");

    assert!(one.transport.send(message(MessageKind::Heartbeat, 1, 2, 77)));
    assert_eq!(two.message().await.index, 77, "before all the appends");
    drop(busy);
    for index in 0..taken {
        assert_eq!(two.message().await.index, index);
    }
}

#[tokio::test]
async fn a_snapshot_larger_than_its_lane_arrives() {
    let (one, two) = Broker::pair().await;
    let rows = (0..7000_u32).map(|row| (row.to_be_bytes().to_vec(), vec![row as u8; 3900]));
    let mut sent = super::forms::snapshot_message();
    sent.snapshot.as_mut().unwrap().rows = rows.collect();
    assert!(sent.size() > 3 * limits::PEER_BULK_BYTES);
    assert!(one.transport.send(sent.clone()));
    assert_eq!(two.message().await, sent);
}

#[tokio::test]
async fn a_broker_that_comes_back_on_another_port_is_reached_again() {
    let (one, mut two) = Broker::pair().await;
    two.stop().await;
    one.reaches(two.node, false).await;
    assert!(!one.transport.send(message(MessageKind::Vote, 1, 2, 1)), "nobody is there");
    let stats = one.lane("control");
    assert_eq!((stats.is_connected, stats.dropped), (false, 1));

    let again = Broker::start(2, CLUSTER).await;
    one.knows(again.node, &again.address);
    one.reaches(again.node, true).await;
    assert!(one.transport.send(message(MessageKind::Vote, 1, 2, 2)));
    assert_eq!(again.message().await.index, 2, "and what was dropped does not come later");
    one.knows(NodeId(3), "127.0.0.1:1");
    one.reaches(again.node, false).await;
    assert!(!one.transport.send(message(MessageKind::Vote, 1, 2, 3)), "it is gone");
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_noticed() {
    let (one, two) = (Broker::start(1, CLUSTER).await, Broker::start(2, CLUSTER).await);
    let (silence, silent) = watch::channel(false);
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = between.local_addr().unwrap().to_string();
    let target = two.address.clone();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = between.accept().await.unwrap();
            let (mut silent, target) = (silent.clone(), target.clone());
            tokio::spawn(async move {
                let mut far = TcpStream::connect(target).await.unwrap();
                let silenced = async { drop(silent.wait_for(|silent| *silent).await) };
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => return,
                    () = silenced => {}
                }
                // The connections stay, and nothing comes through.
                std::future::pending().await
            });
        }
    });
    one.knows(two.node, &address);
    one.reaches(two.node, true).await;
    let answer = super::calls::command(&one, two.node, 1);
    let _waits = two.proposal().await;
    silence.send_replace(true);
    let begun = Instant::now();
    one.reaches(two.node, false).await;
    // Two seconds by the intervals of its pings; the rest is for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    super::calls::is_lost(soon(answer).await);
}

#[tokio::test]
async fn a_broker_of_another_cluster_is_refused() {
    let (one, two) = (Broker::start(1, [1; 16]).await, Broker::start(2, CLUSTER).await);
    one.knows(two.node, &two.address);
    // The refusal is what a caller is told, as soon as it is known.
    let why = soon(async {
        loop {
            let refused = super::calls::command(&one, two.node, 1).await.unwrap_err().to_string();
            if refused.contains("cluster") {
                return refused;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let why = why.await;
    assert!(why.contains(&"01".repeat(16)) && why.contains(&"07".repeat(16)), "{why}");
    assert!(!one.transport.send(message(MessageKind::Vote, 1, 2, 1)));
    let hail = Hail { cluster: [1; 16], ..HAIL };
    assert_eq!(exchange(&two, hail, Vec::new()).await.code(), Code::FailedPrecondition);
}

/// It would go on for ever with what it knew of the cluster when it was last part of it.
#[tokio::test]
async fn a_broker_that_was_removed_while_it_was_away_is_told() {
    let (one, two) = (Broker::start(1, CLUSTER).await, Broker::start(2, CLUSTER).await);
    two.fake.retired.send_replace(Some(([1; 16], Removal::Removed)));
    one.knows(two.node, &two.address);
    let mut removed = one.fake.removed.subscribe();
    let told = *soon(removed.wait_for(Option::is_some)).await.unwrap();
    assert_eq!(told, Some((two.node, Removal::Removed)));
    let refused = exchange(&two, HAIL, Vec::new()).await;
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("empty data directory"), "{refused}");

    // The same broker with another directory is a new one.
    two.fake.retired.send_replace(Some(([9; 16], Removal::Removed)));
    one.reaches(two.node, true).await;

    // One that another has replaced in the middle of a stream is told at its next word.
    one.fake.removed.send_replace(None);
    removed.mark_unchanged();
    two.fake.retired.send_replace(Some(([1; 16], Removal::Replaced)));
    assert!(one.transport.send(message(MessageKind::PreVote, 1, 2, 1)));
    let told = *soon(removed.wait_for(Option::is_some)).await.unwrap();
    assert_eq!(told, Some((two.node, Removal::Replaced)));
    let refused = exchange(&two, HAIL, Vec::new()).await;
    assert!(refused.message().contains("an id of its own"), "{refused}");
}

/// Whoever counts on the end of a stream may count on it that nothing comes after.
#[tokio::test]
async fn the_end_of_a_stream_is_told_after_all_that_came_by_it() {
    const COUNT: u64 = 300;
    let two = Broker::start(2, CLUSTER).await;
    let busy = two.fake.appends.acquire().await.unwrap();
    let (mut client, _connection) = dial(&two.address, PATIENT).await.unwrap();
    let frame = raft_wire::frame((0..COUNT).map(|index| append(index, 1000)).collect());
    // The stream of requests ends behind the frame, while the broker takes the first append yet.
    let mut request = Request::new(futures::stream::iter([frame]));
    HAIL.write(request.metadata_mut());
    let mut answers = client.exchange(request).await.unwrap().into_inner();
    let mut silent = two.fake.silent.subscribe();
    assert!(silent.borrow_and_update().is_empty(), "it has not taken anything");
    drop(busy);
    let told = soon(silent.wait_for(|silent| !silent.is_empty())).await.unwrap().clone();
    assert_eq!(told, [(NodeId(1), COUNT)]);
    assert!(soon(answers.message()).await.unwrap().is_none(), "and then the stream ends");
}

#[tokio::test]
async fn a_message_in_the_name_of_another_broker_ends_the_stream() {
    let two = Broker::start(2, CLUSTER).await;
    for (from, to, expected) in [(3, 2, "sender"), (1, 3, "receiver"), (0, 2, "broker id")] {
        let forged = message(MessageKind::Vote, from, to, 1);
        let honest = message(MessageKind::Vote, 1, 2, 1);
        let refused = exchange(&two, HAIL, vec![honest, forged]).await;
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(expected), "{refused}");
    }
    assert_eq!(two.transport.stats().received, 0, "no message of such a frame counts");
}

/// Sends a frame by hand, and gives the status that the stream ends with.
async fn exchange(
    to: &Broker,
    hail: Hail,
    messages: Vec<ropewalk_broker::peers::Message>,
) -> tonic::Status {
    let (mut client, _connection) = dial(&to.address, PATIENT).await.unwrap();
    let mut request = Request::new(futures::stream::iter([raft_wire::frame(messages)]));
    hail.write(request.metadata_mut());
    match client.exchange(request).await {
        Ok(answers) => soon(answers.into_inner().message()).await.unwrap_err(),
        Err(status) => status,
    }
}
