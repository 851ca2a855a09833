//! Every replica of a compacted partition comes to the same records, also one that was away.

use std::collections::BTreeMap;

use ropewalk::{Client, Record};

use super::support::{Three, cli, eventually};

/// What a broker has of the topic's only partition, offset by offset.
fn held(three: &Three, node: usize) -> Vec<String> {
    let args = ["consume", "t", "--until", "caught-up", "-f", "%o %k=%v\\n"];
    cli(three.address(node), &args).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_agree_also_one_that_was_killed_while_keys_were_deleted() {
    let flags = ["--retention-check-interval", "100ms"];
    let mut three = Three::start_with(&flags).await;
    three.cli(&[
        "topic",
        "create",
        "t",
        "--partitions",
        "1",
        "--set",
        "cleanup_policy=compact",
        "--set",
        "delete_retention=0s",
    ]);
    let client = Client::connect(&three.addresses()).await.unwrap();
    let producer = client.producer().build();
    let send = async |numbers: std::ops::Range<u32>, value: &str| {
        for n in numbers {
            let record = Record::to("t").partition(0).key(format!("k{}", n % 50));
            let value = (!value.is_empty()).then(|| format!("{value}{n}"));
            let record = match value {
                Some(value) => record.value(value),
                None => record,
            };
            // Those that fail are found by what is missing.
            drop(producer.enqueue(record).await.unwrap());
        }
        producer.flush().await.unwrap();
    };
    send(0..2_000, "a").await;
    three.at(3).kill9().await.unwrap();
    // While it is away, half of the keys are deleted, and others change.
    send(0..25, "").await;
    send(3_025..3_050, "b").await;
    let compacted = async || held(&three, 1).len() <= 50;
    eventually("a compaction without one replica", compacted).await;
    // It has the deleted keys still, so their tombstones wait for it.
    assert_eq!(held(&three, 1).len(), 50);

    three.at(3).begin().unwrap();
    three.at(3).wait_ready().await.unwrap();
    send(3_050..3_075, "c").await;
    send(0..25, "").await;
    let agreed = async || {
        let logs = [1, 2, 3].map(|node| held(&three, node));
        logs[0].len() == 25 && logs[0] == logs[1] && logs[0] == logs[2]
    };
    eventually("replicas that agree", agreed).await;
    let keys: BTreeMap<_, _> = held(&three, 3)
        .iter()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        })
        .collect();
    assert!(keys.keys().all(|key| key[1..].parse::<u32>().unwrap() >= 25), "{keys:?}");
    assert!(keys.values().all(|value| value.starts_with('b')), "{keys:?}");
}
