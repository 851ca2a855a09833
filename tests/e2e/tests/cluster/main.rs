//! Tests of operations on a cluster: three real brokers, and the command line that people use.

#![allow(clippy::unwrap_used)]

mod alone;
mod compacting;
mod development;
mod growing;
mod reaching;
mod retries;
mod returning;
mod support;
mod versions;

use std::pin::pin;
use std::time::Duration;

use ropewalk::{Client, Record, TopicEvent};
use tokio::time::Instant;

use support::{SOON, Three, cli, json, soon};

/// How soon a broker leads again what it is the preferred leader of: that is looked after every
/// five seconds.
const LEADS_AGAIN_WITHIN: Duration = Duration::from_secs(15);
/// How long a producer may wait at most while a leader hands over. An election takes one second at
/// least.
const NO_ELECTION: Duration = Duration::from_millis(800);

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_hands_over_first() {
    let mut three = Three::start().await;
    three.cli(&["topic", "create", "t", "--partitions", "6"]);
    let client = Client::connect(three.address(2)).await.unwrap();
    // Those that were tried again although they perhaps were appended.
    let unsure = std::cell::Cell::new(0);
    let append = async |count: usize| {
        let begun = Instant::now();
        let partition = i32::try_from(count % 6).unwrap();
        loop {
            let record = Record::to("t").value("v");
            match client.append("t").partition(partition).send([record]).await {
                Ok(_) => return begun.elapsed(),
                Err(error) if error.may_have_happened() => unsure.set(unsure.get() + 1),
                Err(_) => {}
            }
            assert!(begun.elapsed() < SOON, "nobody leads partition {partition}");
        }
    };
    let mut count = 0;
    while count < 12 {
        append(count).await;
        count += 1;
    }
    let mut longest = Duration::ZERO;
    let took = {
        let mut stopping = pin!(three.stop(1));
        loop {
            tokio::select! {
                took = &mut stopping => break took,
                waited = append(count) => {
                    longest = longest.max(waited);
                    count += 1;
                }
            }
        }
    };
    for _ in 0..24 {
        longest = longest.max(append(count).await);
        count += 1;
    }
    println!("{count} appends, the longest took {longest:?}; the broker took {took:?} to stop");
    assert!(longest < NO_ELECTION, "an append took {longest:?}");
    let read = cli(three.address(2), &["consume", "t", "--until", "caught-up", "-f", "%p\\n"]);
    // The append that was given up when the broker had stopped may be there too.
    let most = count + unsure.get() + 1;
    assert!((count..=most).contains(&read.lines().count()), "{count} to {most}: {read}");

    three.at(1).restart().await.unwrap();
    leads_again(&three, 1).await;
}

async fn leads_again(three: &Three, node: u64) {
    let begun = Instant::now();
    while three.broker(node)["leader_count"] == 0 {
        assert!(begun.elapsed() < LEADS_AGAIN_WITHIN, "broker {node} does not lead again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("broker {node} leads again after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_drained_moved_and_removed_keeps_its_records() {
    let three = Three::start().await;
    three.cli(&["topic", "create", "t", "--partitions", "6"]);
    three.cli(&["topic", "create", "one", "--partitions", "3", "--replication-factor", "1"]);
    for partition in ["0", "1", "2"] {
        three.cli(&["produce", "one", "--partition", partition, &format!("v{partition}")]);
    }
    let values = || {
        let read = three.cli(&["consume", "one", "--until", "caught-up", "-f", "%p=%v\\n"]);
        let mut lines: Vec<_> = read.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };

    // One that holds the only replica of something cannot be free of leaders, and that is told.
    let (code, _, errors) = three.try_cli(&["cluster", "drain", "2", "--within", "20s"]);
    assert_eq!(code, 1);
    assert!(errors.contains("only replica of 1 partition (one/1)"), "{errors}");
    three.cli(&["cluster", "reassign", "one", "1", "--to", "3", "--within", "20s"]);
    three.cli(&["cluster", "drain", "2", "--within", "20s"]);
    let broker = three.broker(2);
    assert_eq!((&broker["leader_count"], &broker["draining"]), (&0.into(), &true.into()));
    assert_eq!(broker["system_leader_count"], 0);
    assert_eq!(values(), ["0=v0", "1=v1", "2=v2"]);
    let (code, _, errors) = three.try_cli(&["cluster", "transfer", "t", "0", "--to", "2"]);
    assert!(code == 1 && errors.contains("broker 2 is draining"), "{errors}");
    three.cli(&["cluster", "undrain", "2"]);
    leads_again(&three, 2).await;

    // Who is named leads, and the balance of leaders leaves it so.
    let moved = three.cli(&["cluster", "transfer", "t", "0", "--to", "3"]);
    assert_eq!(moved, "t/0 is led by broker 3\n");
    let described = json(&three.cli(&["topic", "describe", "t", "--format", "json"]));
    assert_eq!(described["partitions"][0]["leader"], 3);
    assert_eq!(described["partitions"][0]["replicas"][0], 3);
    let members = described["partitions"][0]["members"].as_array().unwrap();
    assert!(members.iter().all(|member| member["voter"] == true), "{members:?}");

    // Three replicas need three brokers.
    let (code, _, errors) = three.try_cli(&["cluster", "remove", "1"]);
    assert!(code == 1 && errors.contains("replication factor 3"), "{errors}");
    three.cli(&["topic", "delete", "t"]);
    let removed = three.cli(&["cluster", "remove", "1", "--within", "30s"]);
    assert!(removed.contains("broker 1 is removed"), "{removed}");
    let status = json(&cli(three.address(2), &["cluster", "status", "--format", "json"]));
    let ids: Vec<_> = status["brokers"].as_array().unwrap().iter().collect();
    assert_eq!(ids.iter().map(|broker| &broker["broker_id"]).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(status["leaderless_partitions"], 0);
    let read = cli(three.address(2), &["consume", "one", "--until", "caught-up", "-f", "%v\\n"]);
    assert_eq!(read.lines().count(), 3, "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_topics_goes_on_with_another_broker() {
    let mut three = Three::start().await;
    three.cli(&["topic", "create", "a1"]);
    let client = Client::connect(&three.addresses()).await.unwrap();
    let mut watch = client.admin().watch_topics("a");
    let mut told = async || match soon("an event", watch.next()).await.unwrap() {
        TopicEvent::Started => "started".to_owned(),
        TopicEvent::Synced => "synced".to_owned(),
        TopicEvent::Present(topic) => format!("={}", topic.name),
        TopicEvent::Created(topic) => format!("+{}", topic.name),
        TopicEvent::Changed(topic) => format!("~{}:{}", topic.name, topic.partition_count),
        TopicEvent::Deleted(topic) => format!("-{}", topic.name),
    };
    for event in ["started", "=a1", "synced"] {
        assert_eq!(told().await, event);
    }
    three.cli(&["topic", "create", "b"]);
    three.cli(&["topic", "create", "a2"]);
    three.cli(&["topic", "update", "a2", "--partitions", "4"]);
    three.cli(&["topic", "delete", "a1"]);
    for event in ["+a2", "~a2:4", "-a1"] {
        assert_eq!(told().await, event);
    }
    // The first address is the one that was taken.
    three.stop(1).await;
    for event in ["started", "=a2", "synced"] {
        assert_eq!(told().await, event);
    }
}
