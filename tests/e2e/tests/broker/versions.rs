//! Appends on the version of a key: what each is answered, also after the process was killed, after
//! records were deleted, and where there are too many keys.

use futures::future::join_all;
use prost::Message;
use ropewalk_core::compress::compress;
use ropewalk_proto::v1;
use tonic::Status;
use v1::expected_version::KeyForm;
use v1::produce_request::{Data, Expected as Condition};

use crate::support::{
    CODECS, Expected, Node, Pipe, connect, keyed_record, place, poll, produce, refused, soon,
};

fn expecting(key: &str, version: Option<i64>, request: v1::ProduceRequest) -> v1::ProduceRequest {
    let key_form = Some(KeyForm::KeyText(key.to_owned()));
    let expected = Condition::ExpectedVersion(v1::ExpectedVersion { key_form, version });
    v1::ProduceRequest { expected: Some(expected), ..request }
}

/// An append of a record with the key, if that has this version.
fn update(key: &str, version: Option<i64>) -> v1::ProduceRequest {
    let records = vec![keyed_record(key.as_bytes(), b"v")];
    expecting(key, version, produce("t", 0, records))
}

async fn send(node: &Node, request: v1::ProduceRequest) -> Result<i64, Status> {
    let answer = soon("an answer", node.producer().produce(request)).await?.into_inner();
    Ok(answer.appends[0].base_offset)
}

/// The version that the refusal of an append tells.
#[track_caller]
fn current(sent: Result<i64, Status>) -> Option<String> {
    let status = sent.expect_err("the key has another version");
    let mut metadata = refused("version", &status, Expected::EXPECTED_VERSION_MISMATCH);
    assert!(status.message().contains("decide again"), "{status:?}");
    metadata.remove("current")
}

#[tokio::test]
async fn an_append_happens_only_on_the_version_that_it_expects() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    assert_eq!(current(send(&node, update("a", Some(0))).await), None);
    assert_eq!(send(&node, update("a", None)).await.unwrap(), 0);
    assert_eq!(current(send(&node, update("a", None)).await), Some("0".to_owned()));
    assert_eq!(send(&node, update("b", None)).await.unwrap(), 1, "another key");
    // A tombstone is a record.
    let tombstone = v1::Record { value: None, ..keyed_record(b"a", b"") };
    let delete = expecting("a", Some(0), produce("t", 0, vec![tombstone]));
    assert_eq!(send(&node, delete).await.unwrap(), 2);
    assert_eq!(current(send(&node, update("a", None)).await), Some("2".to_owned()));

    // Of many that expect the same, one wins; in a pipeline each sees those before it.
    let racing = (0..20).map(|_| send(&node, update("a", Some(2))));
    let won = join_all(racing).await.into_iter().filter_map(Result::ok).collect::<Vec<_>>();
    assert_eq!(won, [3]);
    let mut pipe = Pipe::open(&node).await;
    for version in [3, 4, 4] {
        pipe.send(update("a", Some(version))).await;
    }
    for offset in [4, 5] {
        assert_eq!(pipe.appended().await.1.base_offset, offset);
    }
    let status = pipe.answer().await.1.unwrap_err();
    assert_eq!(current(Err(status)), Some("5".to_owned()));

    // Nothing is forgotten in a crash, and what is deleted is gone.
    node.broker.kill9().await.unwrap();
    node.broker.begin().unwrap();
    node.broker.wait_ready().await.unwrap();
    node.channel = connect(node.broker.address()).await;
    assert_eq!(current(send(&node, update("a", None)).await), Some("5".to_owned()));
    assert_eq!(node.delete_records("t", 0, 2).await, 2);
    assert_eq!(current(send(&node, update("b", Some(1))).await), None);
    assert_eq!(send(&node, update("b", None)).await.unwrap(), 6);
}

/// What is compressed counts as well, whether it was there before or comes afterwards.
#[tokio::test]
async fn keys_in_compressed_batches_count() {
    let node = Node::start().await;
    node.create("t", 1).await;
    let compressed = |at: usize, version: Option<i64>| {
        let (name, codec) = CODECS[at % CODECS.len()];
        let records = vec![keyed_record(b"other", b"v"), keyed_record(b"a", b"v")];
        let bytes = compress(codec, &v1::RecordSet { records }.encode_to_vec()).into();
        let request = v1::ProduceRequest {
            data: Some(Data::Compressed(bytes)),
            compression: name.into(),
            record_count: 2,
            ..produce("t", 0, Vec::new())
        };
        version.map_or(request.clone(), |version| expecting("a", Some(version), request))
    };
    for at in 0..CODECS.len() {
        assert_eq!(send(&node, compressed(at, None)).await.unwrap(), 2 * at as i64);
    }
    let mut latest = 2 * CODECS.len() as i64 - 1;
    for at in 0..CODECS.len() {
        assert_eq!(send(&node, compressed(at, Some(latest))).await.unwrap(), latest + 1);
        latest += 2;
        assert_eq!(send(&node, compressed(at, None)).await.unwrap(), latest + 1);
        latest += 2;
    }
    assert_eq!(send(&node, update("a", Some(latest))).await.unwrap(), latest + 1);
}

#[tokio::test]
async fn a_condition_is_of_one_partition_and_has_a_form() {
    let mut node = Node::start().await;
    node.create("t", 8).await;
    let invalid = async |what: &str, request, field: &str| {
        let status = send(&node, request).await.expect_err(what);
        assert_eq!(refused(what, &status, Expected::INVALID_FIELD)["field"], field, "{what}");
    };
    // Without a partition it is that of the key, if all records go there.
    let keyless = v1::Record { key: None, ..keyed_record(b"", b"v") };
    let own = || vec![keyed_record(b"a", b"v"), keyless.clone()];
    assert_eq!(send(&node, expecting("a", None, place("t", own()))).await.unwrap(), 0);
    assert_eq!(send(&node, expecting("a", Some(0), place("t", own()))).await.unwrap(), 2);
    let keys = (0..20).map(|key: u8| keyed_record(&[key], b"v")).collect();
    invalid("all over", expecting("a", Some(2), place("t", keys)), "partition").await;
    let negative = update("a", Some(-1));
    invalid("negative", negative, "expected_version.version").await;
    let long = "k".repeat(16 * 1024 + 1);
    invalid("a long key", update(&long, None), "expected_version.key").await;
    let none = v1::ExpectedVersion { key_form: None, version: None };
    let expected = Some(Condition::ExpectedVersion(none));
    let nothing = v1::ProduceRequest { expected, ..update("a", None) };
    invalid("no key", nothing, "expected_version.key").await;
    node.still_serves().await;
}

#[tokio::test]
async fn a_partition_of_more_keys_than_there_is_room_for_refuses_conditions_alone() {
    // 64 bytes a key, and one shard for every two cores.
    let node = Node::with(&[("memory.key_budget", "1MiB")]).await;
    node.create("t", 1).await;
    node.create("u", 1).await;
    let keys = |from: u32, to: u32| {
        let key = |key: u32| keyed_record(&key.to_le_bytes(), b"");
        produce("t", 0, (from..to).map(key).collect())
    };
    send(&node, keys(0, 20_000)).await.unwrap();
    let status = send(&node, update("a", None)).await.unwrap_err();
    let metadata = refused("too many", &status, Expected::TOO_MANY_KEYS);
    assert!(metadata["limit"].parse::<u32>().unwrap() <= 16_384, "{metadata:?}");
    assert!(status.message().contains("memory.key_budget"), "{status:?}");
    assert_eq!(send(&node, keys(20_000, 20_001)).await.unwrap(), 20_000, "others go on");
    let other = v1::ProduceRequest { topic: "u".to_owned(), ..update("a", None) };
    poll("room for the keys of another partition", crate::support::SOON, async || {
        send(&node, other.clone()).await.ok()
    })
    .await;
}
