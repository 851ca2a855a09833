//! Making connections: which address to try next, and how a connection is set up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::error::{Error, ErrorKind, innermost};

/// A connection that carries nothing for this long is asked for a sign of life.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A connection that gives none within this is dead.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest HTTP/2 frame that is taken: a batch comes in a few pieces instead of dozens.
const FRAME: u32 = 256 * 1024;

/// The addresses of a client, and the one that worked last.
#[derive(Debug)]
pub(crate) struct Connector {
    endpoints: Vec<Endpoint>,
    preferred: AtomicUsize,
}

/// A connection that was made, and to which of the addresses.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    index: usize,
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
        let endpoints = addresses
            .iter()
            .map(|address| endpoint(address, connect_timeout, user_agent))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Connector { endpoints, preferred: AtomicUsize::new(0) })
    }

    /// Connects to the first address that answers, beginning with the one that worked last.
    /// `window` is how many bytes a broker may send ahead of what is read, for a stream.
    ///
    /// Whoever sees a connection break gives it up and asks for another, rather than letting the
    /// transport connect again unseen: so it is known what was sent and what was not.
    pub(crate) async fn connect(&self, window: u32) -> Result<Connection, Error> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for step in 0..self.endpoints.len() {
            let index = (first + step) % self.endpoints.len();
            let endpoint = self.endpoints[index]
                .clone()
                .initial_stream_window_size(window)
                .initial_connection_window_size(window.saturating_mul(2));
            match endpoint.connect().await {
                Ok(channel) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(Connection { channel, index, given_up: false });
                }
                Err(error) => failures.push(format!(
                    "{}: {}",
                    endpoint.uri().authority().map_or("", |authority| authority.as_str()),
                    innermost(&error)
                )),
            }
        }
        let why = format!("no broker could be reached ({})", failures.join("; "));
        Err(Error::new(ErrorKind::Unreachable, why))
    }

    /// A connection failed after it was made: the next one begins with the address after it.
    pub(crate) fn avoid(&self, connection: &Connection) {
        let next = (connection.index + 1) % self.endpoints.len();
        self.preferred.store(next, Ordering::Relaxed);
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
}
