//! Registers that are set on their version while leaders are killed: what has won is a chain
//! without a fork, and whoever was told that it has won is in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ropewalk::{Client, Record, Start, Stop};

use super::support::{Three, eventually, soon};

const REGISTERS: usize = 3;
const WRITERS: usize = 4;

/// Sets registers, one after the other, until it is told to stop. Returns what it was told to have
/// won: the value of each, by its offset.
async fn write(
    client: Client,
    writer: usize,
    done: Arc<AtomicBool>,
    wins: Arc<std::sync::atomic::AtomicUsize>,
) -> BTreeMap<i64, String> {
    let mut versions = [None; REGISTERS];
    let mut won = BTreeMap::new();
    let mut count = 0;
    while !done.load(Ordering::Acquire) {
        let register = (writer + count) % REGISTERS;
        count += 1;
        let key = format!("register-{register}");
        let version = versions[register];
        let value = format!("{writer}/{count} after {version:?}");
        let append = client.append("t").partition(0).expect_version(key.clone(), version);
        match append.send([Record::to("t").key(key).value(value.clone())]).await {
            Ok(placed) => {
                versions[register] = Some(placed[0].offset);
                won.insert(placed[0].offset, value);
                wins.fetch_add(1, Ordering::AcqRel);
            }
            // Nobody leads, or for so long that the client has given up: it may be there or not.
            Err(error) => match error.version_mismatch() {
                Some(mismatch) => versions[register] = mismatch.current,
                None => assert!(error.is_retriable(), "{error}"),
            },
        }
    }
    won
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wins_while_leaders_are_killed_is_a_chain_without_a_fork() {
    let mut three = Three::start().await;
    three.cli(&["topic", "create", "t", "--partitions", "1"]);
    let (done, wins) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        // Each knows another broker first.
        let client = Client::connect(three.address(writer % 3 + 1)).await.unwrap();
        writers.push(tokio::spawn(write(client, writer, Arc::clone(&done), Arc::clone(&wins))));
    }
    let client = Client::connect(&three.addresses()).await.unwrap();
    let goes_on = async |what: &str| {
        let before = wins.load(Ordering::Acquire);
        eventually(what, async || wins.load(Ordering::Acquire) > before + 20).await;
    };
    goes_on("the first wins").await;
    for _ in 0..3 {
        let mut leader = None;
        eventually("somebody leads", async || {
            let topic = soon("the topic", client.admin().topic("t")).await.unwrap();
            leader = topic.partitions[0].leader;
            leader.is_some()
        })
        .await;
        let leader = usize::try_from(leader.unwrap()).unwrap();
        three.at(leader).kill9().await.unwrap();
        goes_on("wins under another leader").await;
        three.at(leader).begin().unwrap();
        three.at(leader).wait_ready().await.unwrap();
        goes_on("wins with all brokers").await;
    }
    done.store(true, Ordering::Release);
    let mut won = BTreeMap::new();
    for writer in writers {
        won.extend(soon("a writer", writer).await.unwrap());
    }

    let reading = client.consumer().topic("t").start(Start::Earliest).until(Stop::CaughtUp);
    let mut consumer = soon("a consumer", reading.build()).await.unwrap();
    let (mut latest, mut read) = (BTreeMap::new(), BTreeMap::new());
    while let Some(record) = soon("a record", consumer.next()).await {
        let record = record.unwrap();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let before: Option<i64> = latest.insert(record.key.unwrap(), record.offset);
        assert!(value.ends_with(&format!(" after {before:?}")), "a fork at {}", record.offset);
        read.insert(record.offset, value);
    }
    assert!(won.len() > 100, "only {} have won", won.len());
    for (offset, value) in &won {
        assert_eq!(read.get(offset), Some(value), "what has won is not at {offset}");
    }
}
