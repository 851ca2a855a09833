//! Appending: placement, durability, conditions, pipelining, back-pressure.

use std::collections::BTreeMap;

use ropewalk_core::partitioner;
use ropewalk_proto::v1;
use tokio::time::{Duration, Instant, timeout};

use crate::support::{
    Expected, Node, Pipe, keyed_record, place, produce, read_all, refused, soon, value_record,
};

fn expecting(offset: i64, request: v1::ProduceRequest) -> v1::ProduceRequest {
    let expected = Some(v1::produce_request::Expected::ExpectedOffset(offset));
    v1::ProduceRequest { expected, ..request }
}

fn with(durability: v1::Durability, request: v1::ProduceRequest) -> v1::ProduceRequest {
    v1::ProduceRequest { durability: durability.into(), ..request }
}

#[tokio::test]
async fn records_go_where_their_key_says_and_the_answer_says_where() {
    let node = Node::start().await;
    node.create("t", 7).await;
    let mut records: Vec<_> =
        (0..100).map(|n| keyed_record(format!("key-{n}").as_bytes(), b"v")).collect();
    records.extend([keyed_record(b"", b"an empty key is a key"), value_record(b"none")]);
    let key_text = Some("key-5".to_owned());
    records.push(v1::Record { key_text, ..Default::default() });
    let response = node.producer().produce(place("t", records.clone())).await.unwrap().into_inner();

    let mut placed = BTreeMap::new();
    for append in &response.appends {
        assert_eq!(append.base_offset, 0);
        assert_eq!(append.achieved(), v1::Durability::Quorum);
        assert!(append.append_time.is_some() && append.leader_epoch > 0);
        assert_eq!(append.record_indexes.len(), usize::try_from(append.record_count).unwrap());
        for (offset, index) in (0_i64..).zip(&append.record_indexes) {
            placed.insert(usize::try_from(*index).unwrap(), (append.partition, offset));
        }
    }
    assert!(response.appends.is_sorted_by_key(|append| append.partition));
    assert_eq!(placed.len(), records.len());
    for (index, record) in records.iter().enumerate() {
        let text = record.key_text.as_ref().map(String::as_bytes);
        if let Some(key) = record.key.as_deref().or(text) {
            let expected = i32::try_from(partitioner::partition_of(key, 7).0).unwrap();
            assert_eq!(placed[&index].0, expected, "record {index}");
        }
    }
    for got in read_all(&node, "t").await {
        let index = placed.iter().find(|(_, place)| **place == (got.partition, got.offset));
        let sent = &records[*index.unwrap().0];
        let key = sent.key_text.as_ref().map(|text| text.clone().into()).or(sent.key.clone());
        assert_eq!((got.record.key, got.record.value), (key, sent.value.clone()));
    }
}

#[tokio::test]
async fn records_without_a_key_stay_together_on_a_partition_that_rotates() {
    let node = Node::start().await;
    node.create("t", 3).await;
    let mut turns = BTreeMap::<i32, i32>::new();
    for _ in 0..30 {
        let request = place("t", vec![value_record(b"a"), value_record(b"b")]);
        let response = node.producer().produce(request).await.unwrap().into_inner();
        let [append] = response.appends.as_slice() else { panic!("{response:?}") };
        assert_eq!((append.record_count, append.record_indexes.as_slice()), (2, [].as_slice()));
        *turns.entry(append.partition).or_default() += 1;
    }
    assert_eq!(turns, BTreeMap::from([(0, 10), (1, 10), (2, 10)]));
}

#[tokio::test]
async fn the_durability_that_was_asked_for_is_reached() {
    let node = Node::start().await;
    use v1::Durability::{Leader, None, Quorum, Unspecified};
    for (number, asked) in (0..).zip([None, Leader, Quorum, Unspecified]) {
        let request = with(asked, produce("t", 0, vec![value_record(b"x")]));
        let response = node.producer().produce(request).await.unwrap().into_inner();
        let append = &response.appends[0];
        assert_eq!(append.base_offset, number);
        let achieved = append.achieved();
        let is_enough = match asked {
            None => achieved != Unspecified,
            Leader => matches!(achieved, Leader | Quorum),
            Quorum | Unspecified => achieved == Quorum,
        };
        assert!(is_enough, "{asked:?}: {achieved:?}");
    }
    assert_eq!(read_all(&node, "t").await.len(), 4);
}

#[tokio::test]
async fn an_append_happens_only_at_the_offset_that_it_expects() {
    let node = Node::start().await;
    let mut producer = node.producer();
    let batch = || produce("t", 0, vec![value_record(b"a"), value_record(b"b")]);
    for (offset, current) in [(1, Some("0")), (0, None), (0, Some("2")), (3, Some("2")), (2, None)]
    {
        let sent = producer.produce(expecting(offset, batch())).await;
        match (sent, current) {
            (Ok(response), None) => {
                assert_eq!(response.into_inner().appends[0].base_offset, offset);
            }
            (Err(status), Some(current)) => {
                let metadata = refused("expected", &status, Expected::EXPECTED_OFFSET_MISMATCH);
                assert_eq!(metadata["current"], current);
            }
            (sent, _) => panic!("{offset}: {sent:?}"),
        }
    }
    // Of many that expect the same, one wins; in a pipeline each sees those before it.
    let racing = (0..20).map(|_| {
        let mut producer = producer.clone();
        let request = expecting(4, batch());
        async move { producer.produce(request).await.is_ok() }
    });
    let won = futures::future::join_all(racing).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
    let mut pipe = Pipe::open(&node).await;
    for offset in [6, 8, 8, 10] {
        pipe.send(expecting(offset, batch())).await;
    }
    for is_taken in [true, true, false, true] {
        assert_eq!(pipe.answer().await.1.is_ok(), is_taken);
    }
    assert_eq!(read_all(&node, "t").await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipelined_stream_keeps_the_order_of_each_partition() {
    let node = Node::start().await;
    node.create("t", 3).await;
    let durabilities = [v1::Durability::Quorum, v1::Durability::None, v1::Durability::Leader];
    let mut pipe = Pipe::open(&node).await;
    const COUNT: u64 = 3_000;
    let (mut sent, mut answers) = (0, Vec::new());
    while answers.len() < usize::try_from(COUNT).unwrap() {
        if sent < COUNT && sent - (answers.len() as u64) < 200 {
            let partition = i32::try_from(sent % 3).unwrap();
            let records = vec![value_record(sent.to_string().as_bytes())];
            // Every hundredth is refused, and disturbs nobody.
            let records = if sent % 100 == 99 { Vec::new() } else { records };
            let durability = durabilities[usize::try_from(sent / 3 % 3).unwrap()];
            pipe.send(with(durability, produce("t", partition, records))).await;
            sent += 1;
            if sent == COUNT {
                // What is under way when the client closes its side is answered all the same.
                pipe.close();
            }
        } else {
            answers.push(pipe.answer().await);
        }
    }
    assert!(pipe.next().await.unwrap().is_none());

    let mut next = [(0, 0), (1, 0), (2, 0)];
    for (correlation, result) in answers {
        let (expected, offset) = &mut next[usize::try_from(correlation % 3).unwrap()];
        assert_eq!(correlation, *expected, "answers of a partition come in order");
        *expected += 3;
        match result {
            Ok(response) => {
                assert_eq!(response.appends[0].base_offset, *offset);
                *offset += 1;
            }
            Err(status) => {
                assert_eq!(correlation % 100, 99);
                refused("an empty batch", &status, Expected::INVALID_FIELD);
            }
        }
    }
    for partition in 0..3 {
        let found = read_all(&node, "t").await.into_iter().filter(|got| got.partition == partition);
        let numbers: Vec<u64> = found.map(|got| got.text().parse().unwrap()).collect();
        assert_eq!(numbers.len(), 990);
        assert!(numbers.is_sorted(), "records of a partition lie as they were sent");
    }
}

/// The stream takes no more once its bounds are used up, and goes on when answers are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_answer_is_slowed_and_does_not_grow_the_broker() {
    let node =
        Node::with(&[("memory.append_budget", "8MiB"), ("memory.read_budget", "4MiB")]).await;
    node.create("t", 4).await;
    node.append("t", 0, &["warm"]).await;
    let before = node.rss_mib();
    let mut pipe = Pipe::open(&node).await;
    // Many records for many partitions make an answer large, and the answers are not read.
    let records: Vec<_> =
        (0..2_000).map(|n| keyed_record(format!("{n}").as_bytes(), &[b'x'; 20])).collect();
    let mut sent = 0_u64;
    let mut last_progress = Instant::now();
    while last_progress.elapsed() < Duration::from_secs(1) && sent < 20_000 {
        if pipe.try_send(place("t", records.clone())) {
            sent += 1;
            last_progress = Instant::now();
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let grown = node.rss_mib().saturating_sub(before);
    println!("{sent} requests were taken without an answer read; grown by {grown} MiB");
    assert!(sent < 20_000, "the broker goes on taking what it cannot answer");
    assert!(grown < 160, "the broker grew by {grown} MiB");
    // Others are served meanwhile.
    soon("another producer", node.append("other", 0, &["x"])).await;
    pipe.close();
    for expected in 0..sent {
        let (correlation, result) = pipe.answer().await;
        assert_eq!(correlation, expected);
        result.unwrap();
    }
    assert!(pipe.next().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_of_many_clients_lie_densely() {
    let node = Node::start().await;
    node.create("t", 2).await;
    let clients = (0..16).map(|client| {
        let mut producer = node.producer();
        async move {
            let mut placed = Vec::new();
            for n in 0..25 {
                let value = format!("{client}-{n}");
                let request = produce("t", client % 2, vec![value_record(value.as_bytes()); 3]);
                let sent = producer.produce(request).await.unwrap().into_inner();
                placed.push((client % 2, sent.appends[0].base_offset, value));
            }
            placed
        }
    });
    let all = futures::future::join_all(clients);
    let placed: Vec<_> =
        timeout(Duration::from_secs(30), all).await.unwrap().into_iter().flatten().collect();
    let mut log = read_all(&node, "t").await;
    log.sort_by_key(|got| (got.partition, got.offset));
    assert_eq!(log.len(), 16 * 25 * 3);
    for (partition, base_offset, value) in placed {
        for offset in base_offset..base_offset + 3 {
            let at = usize::try_from(i64::from(partition) * 600 + offset).unwrap();
            assert_eq!((log[at].partition, log[at].offset), (partition, offset));
            assert_eq!(log[at].text(), value);
        }
    }
}
