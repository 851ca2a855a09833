//! Opens the ports, and says what to do when one cannot be had.

use std::io::{self, ErrorKind};

use thiserror::Error;
use tokio::net::TcpListener;

use crate::settings::flag_of;

/// A port that cannot be had.
#[derive(Debug, Error)]
#[error("cannot listen on {address} ({key}): {source}; {advice}")]
pub(crate) struct ListenError {
    address: String,
    key: &'static str,
    advice: String,
    source: io::Error,
}

/// Listens on the address that the setting with this key holds.
pub(crate) async fn listen(key: &'static str, address: &str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| {
        let advice = advice(source.kind(), &flag_of(key));
        ListenError { address: address.to_owned(), key, advice, source }
    })
}

fn advice(kind: ErrorKind, flag: &str) -> String {
    let cause = match kind {
        ErrorKind::AddrInUse => "another process has it: stop that one",
        ErrorKind::PermissionDenied => "ports below 1024 need a privilege: grant it",
        ErrorKind::AddrNotAvailable => "this machine has no such address: correct it",
        _ => "check it",
    };
    format!("{cause}, or choose another with {flag} HOST:PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_answered_with_what_to_do() {
        let first = listen("server.listen", "127.0.0.1:0").await.expect("a free port");
        let address = first.local_addr().expect("it is bound").to_string();
        let error = listen("server.admin_listen", &address).await.expect_err("it is taken");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on {address} (server.admin_listen): ")));
        assert!(text.ends_with("stop that one, or choose another with --admin-listen HOST:PORT"));
    }
}
