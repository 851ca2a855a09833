//! Idempotent producers: what each batch is answered, by Produce and in a ProduceStream, also after
//! the process was killed and after the segments of the batches were dropped.

use ropewalk_proto::v1;
use tonic::Status;

use crate::support::{
    Expected, Got, Node, Pipe, connect, produce, read_all, refused, soon, value_record,
};

async fn init(node: &Node, name: &str) -> (u64, u32) {
    let request = v1::InitProducerRequest { name: name.to_owned() };
    let given = soon("an id", node.producer().init_producer(request)).await.unwrap().into_inner();
    (given.producer_id, given.epoch)
}

fn sequenced(
    (producer_id, epoch): (u64, u32),
    first_sequence: u32,
    values: &[&str],
) -> v1::ProduceRequest {
    let records = values.iter().map(|value| value_record(value.as_bytes())).collect();
    let sequence = v1::ProducerSequence { producer_id, epoch, first_sequence };
    v1::ProduceRequest { sequence: Some(sequence), ..produce("t", 0, records) }
}

/// Sends a batch by Produce. Returns its offset, and whether it was there already.
async fn send(node: &Node, request: v1::ProduceRequest) -> Result<(i64, bool), Status> {
    let answer = soon("an answer", node.producer().produce(request)).await?.into_inner();
    let [append] = answer.appends.as_slice() else { panic!("{answer:?}") };
    assert_eq!(append.achieved(), v1::Durability::Quorum);
    Ok((append.base_offset, append.duplicate))
}

/// A batch is refused by Produce and within a ProduceStream. Returns the `expected` of both.
async fn refused_both_ways(
    node: &mut Node,
    what: &str,
    request: v1::ProduceRequest,
    expected: Expected,
) -> String {
    let status = send(node, request.clone()).await.expect_err(what);
    let metadata = refused(what, &status, expected);
    let mut pipe = Pipe::open(node).await;
    pipe.send(request).await;
    let status = pipe.answer().await.1.expect_err(what);
    assert_eq!(refused(what, &status, expected), metadata, "{what}");
    metadata["expected"].clone()
}

#[tokio::test]
async fn a_batch_that_comes_again_is_there_once_and_what_comes_out_of_order_is_refused() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    let old = init(&node, "till").await;
    let new = init(&node, "till").await;
    assert_eq!((new.0, old.1, new.1), (old.0, 0, 1 << 16), "the same id, and the next epochs");
    let mut pipe = Pipe::open(&node).await;
    // Five are on their way, and each comes twice.
    for first in (0..10).step_by(2) {
        for _ in 0..2 {
            pipe.send(sequenced(new, first, &["a", "b"])).await;
        }
    }
    for offset in (0..10).step_by(2) {
        for duplicate in [false, true] {
            let (_, append) = pipe.appended().await;
            assert_eq!((append.base_offset, append.duplicate), (offset, duplicate));
        }
    }
    assert_eq!(send(&node, sequenced(new, 0, &["a", "b"])).await.unwrap(), (0, true));
    assert_eq!(send(&node, sequenced(new, 10, &["c"])).await.unwrap(), (10, false));
    let gap = Expected::SEQUENCE_GAP;
    for (what, sequence, values, expected) in [
        ("other records under a number", 8, &["a", "c"][..], "11"),
        ("another count under a number", 8, &["a"], "11"),
        ("a batch that is too old to be known", 0, &["a", "b"], "11"),
        ("one before it is missing", 12, &["e"], "11"),
    ] {
        let request = sequenced(new, sequence, values);
        assert_eq!(refused_both_ways(&mut node, what, request, gap).await, expected, "{what}");
    }
    let fenced = Expected::PRODUCER_FENCED;
    let older = sequenced(old, 0, &["z"]);
    assert_eq!(refused_both_ways(&mut node, "an older epoch", older, fenced).await, "65536");
    let unknown = sequenced((new.0 + 1, 0), 7, &["z"]);
    assert_eq!(refused_both_ways(&mut node, "an unknown producer", unknown, gap).await, "0");
    let next = (new.0, new.1 + 1);
    let early = sequenced(next, 11, &["z"]);
    assert_eq!(refused_both_ways(&mut node, "a new epoch begins at 0", early, gap).await, "0");
    assert_eq!(send(&node, sequenced(next, 0, &["d"])).await.unwrap(), (11, false));
    let over = sequenced(new, 11, &["z"]);
    assert_eq!(refused_both_ways(&mut node, "the epoch before it", over, fenced).await, "65537");
    let values: String = read_all(&node, "t").await.iter().map(Got::text).collect();
    assert_eq!(values, "ababababab".to_owned() + "cd");
}

#[tokio::test]
async fn a_sequence_belongs_to_one_partition_and_a_name_has_a_form() {
    let mut node = Node::start().await;
    node.create("t", 2).await;
    let id = init(&node, "").await;
    assert_ne!(init(&node, "").await.0, id.0);
    let nowhere = v1::ProduceRequest { partition: None, ..sequenced(id, 0, &["a"]) };
    let status = send(&node, nowhere).await.unwrap_err();
    assert_eq!(refused("no partition", &status, Expected::INVALID_FIELD)["field"], "partition");
    let status = send(&node, sequenced((0, 0), 0, &["a"])).await.unwrap_err();
    let metadata = refused("no id", &status, Expected::INVALID_FIELD);
    assert_eq!(metadata["field"], "sequence.producer_id");
    let request = v1::InitProducerRequest { name: "no\nname".to_owned() };
    let status = node.producer().init_producer(request).await.unwrap_err();
    assert_eq!(refused("a name", &status, Expected::INVALID_FIELD)["field"], "name");
    node.still_serves().await;
}

#[tokio::test]
async fn what_came_before_is_known_after_kill_9_and_after_its_segment_was_dropped() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    let id = init(&node, "till").await;
    assert_eq!(send(&node, sequenced(id, 0, &["a", "b"])).await.unwrap(), (0, false));
    assert_eq!(send(&node, sequenced(id, 2, &["c"])).await.unwrap(), (2, false));
    for dropped in [false, true] {
        if dropped {
            assert_eq!(node.delete_records("t", 0, 3).await, 3);
            node.broker.restart().await.unwrap();
        } else {
            node.broker.kill9().await.unwrap();
            node.broker.begin().unwrap();
            node.broker.wait_ready().await.unwrap();
        }
        node.channel = connect(node.broker.address()).await;
        assert_eq!(send(&node, sequenced(id, 0, &["a", "b"])).await.unwrap(), (0, true));
        assert_eq!(send(&node, sequenced(id, 2, &["c"])).await.unwrap(), (2, true));
        let early = sequenced(id, 4, &["e"]);
        let expected = refused_both_ways(&mut node, "early", early, Expected::SEQUENCE_GAP).await;
        assert_eq!(expected, "3");
    }
    assert_eq!(send(&node, sequenced(id, 3, &["d"])).await.unwrap(), (3, false));
    assert_eq!(init(&node, "till").await, (id.0, 1 << 16));
}
