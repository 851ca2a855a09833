//! The examples of the Rust client that say what comes out.

use ropewalk::{Client, NewTopic, Retention, TopicUpdate};

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

/// Where events are missing, or will be, there are no accounts, rather than wrong ones.
#[tokio::test(flavor = "multi_thread")]
async fn event_sourcing_misses_no_event() {
    let node = Node::start().await;
    let admin = Client::connect(node.broker.address()).await.unwrap().admin();
    let run = || event_sourcing::run(node.broker.address(), "account-7", 1);
    admin.create_topic(NewTopic::named("accounts").partitions(1)).await.unwrap();
    let refused = Box::pin(soon("the example", run())).await.unwrap_err().to_string();
    assert!(refused.contains("does not keep its records for ever"), "{refused}");

    let forever = TopicUpdate::of("accounts").retention(Retention::Forever);
    admin.update_topic(forever).await.unwrap();
    Box::pin(soon("the example", run())).await.unwrap();
    admin.delete_records("accounts", 0, Some(3)).await.unwrap();
    let missing = Box::pin(soon("the example", run())).await.unwrap_err().to_string();
    assert!(missing.contains("events are missing"), "{missing}");
}
