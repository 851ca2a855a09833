//! The examples of the Rust client that say what comes out.

use crate::support::{Node, soon};

#[allow(dead_code)] // It is a program, with a main of its own.
#[path = "../../../../sdk-rust/examples/event_sourcing.rs"]
mod event_sourcing;

/// Two tellers change one account at once, and nothing of what they do is lost.
#[tokio::test(flavor = "multi_thread")]
async fn event_sourcing_loses_no_update() {
    let node = Node::start().await;
    let run = |id: &'static str| event_sourcing::run(node.broker.address(), id, 10);
    for id in ["account-7", "account-8"] {
        let account = Box::pin(soon("the example", run(id))).await.unwrap();
        assert_eq!((account.balance, account.events), (1_000, 41));
    }
    let again = Box::pin(soon("the example", run("account-7"))).await.unwrap_err();
    assert_eq!(again.to_string(), "it is open already");
}
