//! Making connections: which address to try next, and how a connection is set up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use crate::error::{Error, ErrorKind, innermost};

/// A connection that carries nothing for this long is asked for a sign of life.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A connection that gives none within this is dead.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which the next address is tried while the one before has not answered (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);
/// How long an address where a connection failed is tried after the others.
const AVOIDED_FOR: Duration = Duration::from_secs(5);
/// The most addresses that are remembered beside those that the client was given.
const MAX_LEARNED: usize = 32;

/// The largest HTTP/2 frame that is taken: a batch comes in a few pieces instead of dozens.
const FRAME: u32 = 256 * 1024;

/// The addresses of a client, and the one that worked last.
#[derive(Debug)]
pub(crate) struct Connector {
    connect_timeout: Duration,
    user_agent: String,
    /// Those that the client was given.
    given: Vec<Arc<str>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
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
        let mut attempts = FuturesUnordered::new();
        let mut failures = Vec::new();
        loop {
            match rest.next() {
                Some(address) => attempts.push(self.attempt(address, window)),
                None if attempts.is_empty() => break,
                None => {}
            }
            let more = rest.len() > 0;
            tokio::select! {
                Some(attempt) = attempts.next() => match attempt {
                    Ok(connection) => {
                        self.state().preferred = Some(Arc::clone(&connection.address));
                        return Ok(connection);
                    }
                    Err(why) => failures.push(why),
                },
                () = sleep(STAGGER), if more => {}
            }
        }
        let why = format!("no broker could be reached ({})", failures.join("; "));
        Err(Error::new(ErrorKind::Unreachable, why))
    }

    /// Connects to this address and no other.
    pub(crate) async fn connect_to(&self, address: &str, window: u32) -> Result<Connection, Error> {
        self.attempt(Arc::from(address), window)
            .await
            .map_err(|why| Error::new(ErrorKind::Unreachable, why))
    }

    async fn attempt(&self, address: Arc<str>, window: u32) -> Result<Connection, String> {
        let failed = |why: String| format!("{address}: {why}");
        let endpoint = endpoint(&address, self.connect_timeout, &self.user_agent)
            .map_err(|error| failed(error.to_string()))?
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.saturating_mul(2));
        let channel = endpoint.connect().await.map_err(|error| failed(innermost(&error)))?;
        Ok(Connection { channel, address, given_up: false })
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

    /// Remembers where the brokers of the cluster say that they are.
    pub(crate) fn learn<'a>(&self, addresses: impl Iterator<Item = &'a str>) {
        self.state().learned = addresses
            .filter(|address| endpoint(address, self.connect_timeout, &self.user_agent).is_ok())
            .take(MAX_LEARNED)
            .map(Arc::from)
            .collect();
    }
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
        connector.learn(["b:1", "c:1", "no address"].into_iter());
        let order = || connector.candidates().iter().map(|a| a.to_string()).collect::<Vec<_>>();
        assert_eq!(order(), ["a:1", "b:1", "c:1"]);
        let channel = Endpoint::from_static("http://a:1").connect_lazy();
        let connection = Connection { channel, address: "a:1".into(), given_up: false };
        connector.avoid(&connection);
        assert_eq!(order(), ["b:1", "c:1", "a:1"]);
    }
}
