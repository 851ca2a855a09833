//! Making connections: which address to try next, how a connection is set up, and whether what
//! answers belongs to the cluster. It knows nothing of who leads what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ropewalk_proto::v1::GetClusterRequest;
use ropewalk_proto::v1::admin_service_client::AdminServiceClient;
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::error::{Error, ErrorKind, innermost};

/// A connection that carries nothing for this long is asked for a sign of life.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A connection that gives none within this is dead.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which the next address is tried while the one before has not answered (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);
/// Within this time all addresses have been begun with, however many there are.
const ALL_BEGUN: Duration = Duration::from_secs(1);
/// How often given addresses where connections failed are tried again while others are waited for
/// that answer nothing: they may be back.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an address where a connection failed is tried after the others.
const AVOIDED_FOR: Duration = Duration::from_secs(5);
/// The most addresses that are remembered beside those that the client was given.
const MAX_LEARNED: usize = 32;

/// The largest HTTP/2 frame that is taken: a batch comes in a few pieces instead of dozens.
const FRAME: u32 = 256 * 1024;

/// The addresses of a client, and the one that worked last.
#[derive(Debug)]
pub(crate) struct Connector {
    /// Bounds a try of one address, with the question of which cluster is there.
    connect_timeout: Duration,
    user_agent: String,
    /// Those that the client was given.
    given: Vec<Arc<str>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The id of the cluster, once a broker has told it.
    cluster: Option<Arc<str>>,
    /// Other brokers of the cluster, which are tried when none of those given answers.
    learned: Vec<Arc<str>>,
    /// The address that worked last.
    preferred: Option<Arc<str>>,
    /// Where connections failed, and until when that counts.
    avoided: BTreeMap<Arc<str>, Instant>,
}

/// A connection that was made, and to which address.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    pub(crate) address: Arc<str>,
    given_up: bool,
}

impl Connection {
    pub(crate) fn is_usable(&self) -> bool {
        !self.given_up
    }

    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
    }
}

/// What became of a try of an address: a connection, or the address and why there is none.
type Attempt = Result<Connection, (Arc<str>, String)>;

impl Connector {
    pub(crate) fn new(
        addresses: &[String],
        connect_timeout: Duration,
        user_agent: &str,
    ) -> Result<Connector, Error> {
        if addresses.is_empty() {
            return Err(Error::invalid("no broker address was given"));
        }
        for address in addresses {
            endpoint(address, connect_timeout, user_agent)?;
        }
        Ok(Connector {
            connect_timeout,
            user_agent: user_agent.to_owned(),
            given: addresses.iter().map(|address| Arc::from(address.as_str())).collect(),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to the first address that answers, beginning with the one that worked last.
    /// `window` is how many bytes a broker may send ahead of what is read, for a stream.
    ///
    /// Whoever sees a connection break gives it up and asks for another, rather than letting the
    /// transport connect again unseen: so it is known what was sent and what was not.
    pub(crate) async fn connect(&self, window: u32) -> Result<Connection, Error> {
        let mut rest = self.candidates().into_iter();
        let stagger = STAGGER.min(ALL_BEGUN / u32::try_from(rest.len()).unwrap_or(1).max(1));
        let mut next = Instant::now();
        let mut again = interval_at(next + AGAIN, AGAIN);
        let mut attempts = FuturesUnordered::new();
        let mut failures = BTreeMap::new();
        let mut refused = Vec::new();
        loop {
            tokio::select! {
                Some(attempt) = attempts.next() => match attempt {
                    Ok(connection) => {
                        self.prefer(&connection);
                        return Ok(connection);
                    }
                    Err((address, why)) => {
                        next = Instant::now();
                        if self.given.contains(&address) {
                            refused.push(Arc::clone(&address));
                        }
                        failures.insert(address, why);
                    }
                },
                () = sleep_until(next), if rest.len() > 0 => {
                    next = Instant::now() + stagger;
                    attempts.extend(rest.next().map(|address| self.attempt(address, window)));
                }
                _ = again.tick(), if !attempts.is_empty() => {
                    let refused = refused.drain(..);
                    attempts.extend(refused.map(|address| self.attempt(address, window)));
                }
                else => break,
            }
        }
        let failures: Vec<_> =
            failures.into_iter().map(|(address, why)| format!("{address}: {why}")).collect();
        let why = format!("no broker could be reached ({})", failures.join("; "));
        Err(Error::new(ErrorKind::Unreachable, why))
    }

    /// Connects to this address, which the cluster told, and no other.
    pub(crate) async fn connect_to(&self, address: &str, window: u32) -> Result<Connection, Error> {
        let failed = |(address, why)| {
            let message = format!("{address}: {why}; calls go through other brokers");
            Error::new(ErrorKind::Unreachable, message)
        };
        if self.cluster().is_none() {
            return Err(failed((
                Arc::from(address),
                "it is not known yet in which cluster it is".into(),
            )));
        }
        self.attempt(Arc::from(address), window).await.map_err(failed)
    }

    async fn attempt(&self, address: Arc<str>, window: u32) -> Attempt {
        let attempt = timeout(self.connect_timeout, self.reach(&address, window)).await;
        match attempt.unwrap_or_else(|_| Err("no answer in the time allowed".to_owned())) {
            Ok(channel) => Ok(Connection { channel, address, given_up: false }),
            Err(why) => Err((address, why)),
        }
    }

    async fn reach(&self, address: &str, window: u32) -> Result<Channel, String> {
        let endpoint = endpoint(address, self.connect_timeout, &self.user_agent)
            .map_err(|error| error.to_string())?
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.saturating_mul(2));
        let channel = endpoint.connect().await.map_err(|error| innermost(&error))?;
        if let Some(cluster) = self.cluster() {
            self.greet(address, &channel, &cluster).await?;
        }
        Ok(channel)
    }

    /// Makes sure that what answers belongs to the cluster: its address may mean something else
    /// where this client runs, or by now.
    async fn greet(&self, address: &str, channel: &Channel, cluster: &str) -> Result<(), String> {
        let greeting = AdminServiceClient::new(channel.clone()).get_cluster(who_are_you()).await;
        let answer = greeting.map_err(|status| status.message().to_owned())?.into_inner();
        if answer.cluster_id == cluster {
            return Ok(());
        }
        let advice = if self.given.iter().any(|given| **given == *address) {
            "give the client addresses of one cluster, or make a new client if the cluster was set \
             up anew"
        } else {
            "the address that the broker advertises leads elsewhere from here"
        };
        let other = answer.cluster_id;
        Err(format!("a broker of another cluster answers there, {other}, not {cluster}: {advice}"))
    }

    /// The id of the cluster, once it is known.
    pub(crate) fn cluster(&self) -> Option<Arc<str>> {
        self.state().cluster.clone()
    }

    /// All addresses, in the order in which they are tried.
    fn candidates(&self) -> Vec<Arc<str>> {
        let now = Instant::now();
        let mut state = self.state();
        state.avoided.retain(|_, until| *until > now);
        let mut all: Vec<_> = state.preferred.clone().into_iter().collect();
        for address in self.given.iter().chain(&state.learned) {
            if !all.contains(address) {
                all.push(Arc::clone(address));
            }
        }
        all.sort_by_key(|address| state.avoided.get(address).copied());
        all
    }

    fn prefer(&self, connection: &Connection) {
        self.state().preferred = Some(Arc::clone(&connection.address));
    }

    /// A connection failed after it was made: the next one begins with other addresses.
    pub(crate) fn avoid(&self, connection: &Connection) {
        let mut state = self.state();
        if state.preferred.as_ref() == Some(&connection.address) {
            state.preferred = None;
        }
        state.avoided.insert(Arc::clone(&connection.address), Instant::now() + AVOIDED_FOR);
    }

    /// Whether the next connection would begin with this address.
    pub(crate) fn prefers(&self, address: &str) -> bool {
        self.state().preferred.as_deref() == Some(address)
    }

    /// Remembers which cluster it is, and where its brokers say that they are.
    pub(crate) fn learn<'a>(&self, cluster: &str, addresses: impl Iterator<Item = &'a str>) {
        let learned = addresses
            .filter(|address| endpoint(address, self.connect_timeout, &self.user_agent).is_ok())
            .take(MAX_LEARNED)
            .map(Arc::from)
            .collect();
        if cluster.is_empty() {
            // What answers at those addresses could not be told from another cluster.
            return;
        }
        let mut state = self.state();
        state.cluster = Some(Arc::from(cluster));
        state.learned = learned;
    }
}

/// Asks a broker for its cluster and the addresses in it. Not how the partitions stand: the leaders
/// of all would have to answer first, and a broker may be asked because some do not.
pub(crate) fn who_are_you() -> GetClusterRequest {
    GetClusterRequest { without_survey: true }
}

fn endpoint(address: &str, timeout: Duration, user_agent: &str) -> Result<Endpoint, Error> {
    let bare = address.strip_prefix("http://").unwrap_or(address);
    let wrong = || Error::invalid(format!("`{address}` is not an address of the form HOST:PORT"));
    let (host, port) = bare.rsplit_once(':').ok_or_else(wrong)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    let endpoint = Endpoint::from_shared(format!("http://{bare}")).map_err(|_| wrong())?;
    let endpoint = endpoint
        .user_agent(user_agent.to_owned())
        .map_err(|_| Error::invalid("the client name holds characters that HTTP does not allow"))?;
    Ok(endpoint
        .connect_timeout(timeout)
        .tcp_nodelay(true)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        let second = Duration::from_secs(1);
        for good in ["localhost:9092", "http://10.0.0.1:1", "[::1]:9092"] {
            assert!(endpoint(good, second, "x").is_ok(), "{good}");
        }
        for bad in ["", "localhost", ":9092", "localhost:port", "a b:1"] {
            assert!(endpoint(bad, second, "x").is_err(), "{bad}");
        }
        assert!(Connector::new(&[], second, "x").is_err());
    }

    #[tokio::test]
    async fn an_address_that_failed_comes_last_and_those_learned_after_those_given() {
        let given = ["a:1".to_owned(), "b:1".to_owned()];
        let connector = Connector::new(&given, Duration::from_secs(1), "x").unwrap();
        connector.learn("x", ["b:1", "c:1", "no address"].into_iter());
        let order = || connector.candidates().iter().map(|a| a.to_string()).collect::<Vec<_>>();
        assert_eq!(order(), ["a:1", "b:1", "c:1"]);
        let channel = Endpoint::from_static("http://a:1").connect_lazy();
        let connection = Connection { channel, address: "a:1".into(), given_up: false };
        connector.avoid(&connection);
        assert_eq!(order(), ["b:1", "c:1", "a:1"]);
    }

    #[tokio::test]
    async fn what_does_not_say_which_cluster_it_is_in_is_not_waited_for() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let given = [address.clone()];
        let connector = Connector::new(&given, Duration::from_millis(100), "x").unwrap();
        let connected = connector.connect_to(&address, 1 << 20).await.unwrap_err();
        assert!(connected.message().contains("not known yet"), "{connected}");
        connector.learn("x", std::iter::empty());
        let tried = timeout(Duration::from_secs(10), connector.connect(1 << 20)).await.unwrap();
        let refused = tried.unwrap_err();
        assert!(refused.message().contains("no answer"), "{refused}");
    }
}
