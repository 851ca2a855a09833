//! A broker whose others are missing: it lives, says that it is not ready, and ends when told to.

use std::time::Duration;

use futures::future::join_all;
use ropewalk_harness::{Broker, HarnessError, cluster};
use tokio::time::Instant;

use super::support::{cli, eventually, json, try_cli};

/// How long a broker may take to end that has nobody to hand over to.
const END_WITHIN: Duration = Duration::from_secs(10);

/// The status of `/healthz` and of `/readyz`.
async fn health(broker: &Broker) -> Option<(u16, u16)> {
    let alive = broker.admin_get("/healthz").await.ok()?;
    let ready = broker.admin_get("/readyz").await.ok()?;
    Some((alive.0, ready.0))
}

async fn ends_well(broker: &mut Broker) {
    let ended = broker.terminate().await.unwrap();
    assert!(ended.status.success(), "{}", ended.status);
    assert!(ended.took < END_WITHIN, "it took {:?}", ended.took);
}

/// Probes must not kill a broker for the absence of others, and whoever stops it must not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_the_others_is_alive_and_ends_when_it_is_told() {
    let peers = [1, 2, 3].map(|_| cluster::peer_address());
    let prepared = (1..).zip(&peers).map(|(id, peer): (u64, _)| {
        let own = ["--node-id", &id.to_string(), "--peer-listen", peer, "--peer-advertise", peer];
        let shared = ["--join", &peers.join(","), "--bootstrap", "1,2,3"];
        let builder = Broker::builder().args(own).args(shared).args(["--journal-size", "64MiB"]);
        builder.prepare()
    });
    let mut brokers = prepared.collect::<Result<Vec<_>, HarnessError>>().unwrap();

    brokers[0].begin().unwrap();
    eventually("a founder that waits for the others", async || {
        brokers[0].log().contains("waiting for the other brokers")
    })
    .await;
    assert_eq!(health(&brokers[0]).await, Some((200, 503)), "alive, and not ready");
    ends_well(&mut brokers[0]).await;

    join_all(brokers.iter_mut().map(|broker| async {
        broker.begin().unwrap();
        broker.wait_ready().await.unwrap();
    }))
    .await;
    let server = brokers[0].address().to_owned();
    cli(&server, &["topic", "create", "t", "--partitions", "1"]);
    brokers[1].kill9().await.unwrap();
    brokers[2].kill9().await.unwrap();
    eventually("a partition that nobody leads", async || {
        let status = json(&cli(&server, &["cluster", "status", "--format", "json"]));
        status["leaderless_partitions"] == 1
    })
    .await;
    let begun = Instant::now();
    let produce = ["produce", "t", "value", "--timeout", "3s"];
    let (code, _, errors) = try_cli(&server, &produce);
    assert!(code != 0 && begun.elapsed() < END_WITHIN, "{errors} after {:?}", begun.elapsed());
    assert!(errors.contains("lead"), "it says what is missing: {errors}");
    assert_eq!(
        health(&brokers[0]).await,
        Some((200, 200)),
        "it answers, and can say what it lacks"
    );
    ends_well(&mut brokers[0]).await;
}
