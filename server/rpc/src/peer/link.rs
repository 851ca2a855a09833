//! What the connections to one broker share, and how each is kept: made, ended, made again.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ropewalk_broker::peers::PeerHandler;
use ropewalk_core::NodeId;
use ropewalk_proto::internal::peer_service_client::PeerServiceClient;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Response, Status, Streaming};

use super::connection::{Channel, KeepAlive, dial};
use super::hail::{ClusterId, DirectoryId, Hail, Protocols, read_agreed, says_removed};
use super::queue::Counts;
use super::rarely::Rarely;

/// How long a connection and the acceptance of its stream may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A connection that lasted this long was a good one: the next pause is the first again.
const STEADY: Duration = Duration::from_secs(1);
/// How often the operator is told that a broker is still out of reach.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Which of the connections to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneKind {
    /// Appends and snapshots.
    Bulk,
    /// Heartbeats, votes and answers.
    Control,
    /// Proposals to groups that the broker leads.
    Proposals,
    /// Reads of logs.
    Fetches,
}

impl LaneKind {
    /// Its name among the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Control => "control",
            Self::Proposals => "proposals",
            Self::Fetches => "fetches",
        }
    }

    /// A dead broker is noticed on the quiet connection, which cuts the others. They are given more
    /// time, as their pings wait behind large messages where the network is slow.
    fn keepalive(self) -> KeepAlive {
        match self {
            Self::Control => KeepAlive {
                interval: Duration::from_millis(500),
                timeout: Duration::from_millis(1500),
            },
            Self::Bulk | Self::Proposals | Self::Fetches => {
                KeepAlive { interval: Duration::from_secs(1), timeout: Duration::from_secs(10) }
            }
        }
    }
}

/// What speaks on one connection.
pub(super) trait Lane: Send + Sync + 'static {
    /// What comes back on the stream.
    type Answer: Send;

    /// Which one it is.
    fn kind(&self) -> LaneKind;

    /// Opens the stream. Done when the other side has accepted it.
    fn open(
        &self,
        client: PeerServiceClient<Channel>,
        hail: Hail,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Answer>>, Status>> + Send;

    /// The stream is accepted: takes what is to be sent from now on.
    fn begin(&self);

    /// Takes something that came back.
    fn answered(&self, answer: Self::Answer);

    /// There is no stream, or no more: takes nothing until the next begins.
    fn end(&self, why: &str);

    /// What became of what it was given so far.
    fn counts(&self) -> Counts;
}

/// Hears what comes back, until the stream ends, and tells why it did.
async fn listen<L: Lane>(lane: &L, mut answers: Streaming<L::Answer>) -> Status {
    loop {
        match answers.message().await {
            Ok(Some(answer)) => lane.answered(answer),
            Ok(None) => return Status::unavailable("the broker has ended the stream"),
            Err(status) => return status,
        }
    }
}

/// What the connections to one broker share.
pub(super) struct Link {
    pub(super) own: NodeId,
    directory: DirectoryId,
    protocols: Protocols,
    pub(super) node: NodeId,
    pub(super) address: watch::Receiver<String>,
    pub(super) cluster: watch::Receiver<Option<ClusterId>>,
    pub(super) handler: Weak<dyn PeerHandler>,
    /// Which of the connections are there.
    up: Mutex<[bool; 4]>,
    /// Counts the ends of the control connection: the others are cut with it.
    lost: watch::Sender<u64>,
    told: Rarely,
}

impl Link {
    pub(super) fn new(
        (own, directory, protocols): (NodeId, DirectoryId, Protocols),
        node: NodeId,
        address: watch::Receiver<String>,
        cluster: watch::Receiver<Option<ClusterId>>,
        handler: Weak<dyn PeerHandler>,
    ) -> Self {
        let up = Mutex::new([false; 4]);
        let (lost, _) = watch::channel(0);
        let told = Rarely::new(TELL_EVERY);
        Self { own, directory, protocols, node, address, cluster, handler, up, lost, told }
    }

    /// Waits until this broker belongs to a cluster. `None` when the transport is gone.
    async fn hail(&self) -> Option<Hail> {
        let mut cluster = self.cluster.clone();
        let cluster = *cluster.wait_for(Option::is_some).await.ok()?;
        let (from, to, directory, protocols) =
            (self.own, self.node, self.directory, self.protocols);
        Some(Hail { cluster: cluster?, from, to, directory, protocols })
    }

    /// Whether all connections are there now.
    fn set(&self, kind: LaneKind, is_up: bool) -> bool {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        up[kind as usize] = is_up;
        up.iter().all(|is_up| *is_up)
    }

    fn up(&self, kind: LaneKind, protocol: u32) {
        let is_whole = self.set(kind, true);
        if is_whole && let Some(handler) = self.handler.upgrade() {
            tracing::info!(broker = self.node.0, protocol, "connected to broker {}", self.node);
            self.told.forget();
            handler.reachable(self.node);
        }
    }

    fn down(&self, kind: LaneKind) {
        self.set(kind, false);
        if kind == LaneKind::Control {
            self.lost.send_modify(|count| *count += 1);
        }
        if let Some(handler) = self.handler.upgrade() {
            handler.unreachable(self.node);
        }
    }

    /// Why the other broker has refused or ended a stream. That this broker was removed is told on.
    fn heed(&self, status: &Status) -> String {
        if let Some((why, handler)) = says_removed(status).zip(self.handler.upgrade()) {
            handler.removed(self.node, why);
        }
        status.message().to_owned()
    }

    /// Tells the operator, now and then, that the broker is out of reach.
    fn tell(&self, why: &str) {
        if let Some(held_back) = self.told.ask() {
            tracing::warn!(
                broker = self.node.0,
                held_back,
                "no connection to broker {}: {why}; it is tried again",
                self.node
            );
        }
    }
}

/// Keeps one connection of a link until the task is ended.
pub(super) async fn keep<L: Lane>(link: Arc<Link>, lane: Arc<L>) {
    let mut address = link.address.clone();
    let mut failures = 0;
    while let Some(hail) = link.hail().await {
        let target = address.borrow_and_update().clone();
        let begun = Instant::now();
        let why = session(&link, &*lane, &target, hail, &mut address).await;
        lane.end(&why);
        if begun.elapsed() >= STEADY {
            failures = 0;
        }
        link.tell(&why);
        tokio::select! {
            () = sleep(pause(failures, link.own, link.node, lane.kind())) => {}
            _ = address.changed() => {}
        }
        failures = failures.saturating_add(1);
    }
}

/// One connection, from its beginning to its end; tells why it ended.
async fn session<L: Lane>(
    link: &Link,
    lane: &L,
    target: &str,
    hail: Hail,
    address: &mut watch::Receiver<String>,
) -> String {
    const MOVED: &str = "its address has changed";
    let mut lost = link.lost.subscribe();
    let opened = async {
        let (client, connection) = dial(target, lane.kind().keepalive()).await?;
        let answers = lane.open(client, hail).await?;
        let protocol = read_agreed(hail.protocols, answers.metadata())?;
        Ok::<_, Status>((answers.into_inner(), protocol, connection))
    };
    let opened = tokio::select! {
        opened = timeout(CONNECT_TIMEOUT, opened) => opened,
        _ = address.changed() => return MOVED.to_owned(),
    };
    let (answers, protocol, _connection) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(status)) => {
            return link.heed(&status);
        }
        Err(_) => return format!("{target} does not answer"),
    };
    let _open = Open::new(link, lane, protocol);
    tokio::select! {
        status = listen(lane, answers) => link.heed(&status),
        _ = address.changed() => MOVED.to_owned(),
        _ = lost.changed(), if lane.kind() != LaneKind::Control => {
            "the broker no longer answers pings".to_owned()
        }
    }
}

/// A stream that is open. Told to all who must know when it is not, also where its task is ended.
struct Open<'a, L: Lane> {
    link: &'a Link,
    lane: &'a L,
}

impl<'a, L: Lane> Open<'a, L> {
    fn new(link: &'a Link, lane: &'a L, protocol: u32) -> Self {
        lane.begin();
        link.up(lane.kind(), protocol);
        Self { link, lane }
    }
}

impl<L: Lane> Drop for Open<'_, L> {
    fn drop(&mut self) {
        self.lane.end("the connection was lost");
        self.link.down(self.lane.kind());
    }
}

/// The pause before the next attempt: it doubles, and differs between brokers and connections so
/// that they do not all come at the same moment.
fn pause(failures: u32, own: NodeId, node: NodeId, kind: LaneKind) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    let seed = own.0 ^ node.0.rotate_left(24) ^ (kind as u64) << 48 ^ u64::from(failures) << 56;
    // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
    let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    whole.mul_f64(0.5 + spread as f64 / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_differ() {
        let pause = |failures, own| pause(failures, NodeId(own), NodeId(9), LaneKind::Bulk);
        for own in 1..50 {
            assert!((25..=50).contains(&pause(0, own).as_millis()));
            assert!((500..=1000).contains(&pause(u32::MAX, own).as_millis()));
        }
        let distinct: std::collections::BTreeSet<_> = (1..50).map(|own| pause(9, own)).collect();
        assert!(distinct.len() > 20, "{distinct:?}");
    }
}
