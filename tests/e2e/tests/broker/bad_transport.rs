//! What is wrong below the messages: sizes, frames, other protocols, floods.

use bytes::Bytes;
use prost::Message;
use ropewalk_proto::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::support::{
    Expected, Node, Pipe, Raw, connect, frame, poll, produce, refused, soon, value_record,
};

const MIB: usize = 1 << 20;

/// The broker may keep what its allocator has not given back, but not what a client sent.
const GROWTH_MIB: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_100_mib_are_refused_and_not_kept() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    node.append("t", 0, &["warm"]).await;
    let before = node.rss_mib();
    let huge = || produce("t", 0, vec![value_record(&vec![b'x'; 100 * MIB])]);
    for round in 0..3 {
        let status = soon("an answer", node.producer().produce(huge())).await.unwrap_err();
        let metadata = refused("Produce", &status, Expected::BATCH_TOO_LARGE);
        assert_eq!(metadata["limit"], "4194303");

        let mut pipe = Pipe::open(&node).await;
        pipe.send(huge()).await;
        let status = pipe.next().await.expect_err("the stream cannot go on");
        refused("ProduceStream", &status, Expected::BATCH_TOO_LARGE);

        let name = "n".repeat(100 * MIB);
        let request = v1::CreateTopicRequest { name, ..Default::default() };
        let status = soon("an answer", node.admin().create_topic(request)).await.unwrap_err();
        refused("CreateTopic", &status, Expected::BATCH_TOO_LARGE);

        let grown = node.rss_mib().saturating_sub(before);
        println!("round {round}: grown by {grown} MiB");
        assert!(grown < GROWTH_MIB, "the broker grew by {grown} MiB");
        node.still_serves().await;
    }
}

#[tokio::test]
async fn a_frame_of_grpc_that_is_wrong_is_answered_with_details() {
    let mut node = Node::start().await;
    let mut raw = Raw::connect(node.broker.address()).await;
    let good = v1::GetTopicRequest { name: "t".to_owned() }.encode_to_vec();
    let whole = frame(&good);
    let with_flag = |flag: u8| {
        let mut bytes = whole.to_vec();
        bytes[0] = flag;
        Bytes::from(bytes)
    };
    let cases = [
        ("no message", Bytes::new()),
        ("half a prefix", whole.slice(..3)),
        ("half a message", whole.slice(..whole.len() - 1)),
        ("flag 7", with_flag(7)),
        ("compressed without a codec", with_flag(1)),
        ("truncated varint", frame(&[0x0a, 0x80])),
        ("a length beyond the end", frame(&[0x0a, 0x7f, b'x'])),
        ("a wrong wire type", frame(&[0x08, 0x01])),
        ("an open group", frame(&[0x0b])),
        ("field number 0", frame(&[0x00])),
        ("random bytes", frame(&[0xde, 0xad, 0xbe, 0xef, 0x17, 0x42])),
    ];
    for (what, body) in cases {
        for method in ["AdminService/GetTopic", "ConsumerService/Subscribe"] {
            let status = raw.status(method, body.clone()).await;
            refused(&format!("{method}: {what}"), &status, Expected::UNREADABLE);
        }
        if body.is_empty() {
            continue; // A stream without a request ends with OK.
        }
        // Its field 1 is a number: there it is field 2 that has a wrong type.
        let body = if what == "a wrong wire type" { frame(&[0x10, 0x01]) } else { body };
        let status = raw.status("ProducerService/ProduceStream", body).await;
        refused(&format!("ProduceStream: {what}"), &status, Expected::UNREADABLE);
    }
    let status = raw.status("AdminService/GetTopic", whole).await;
    refused("a good call", &status, Expected::TOPIC_NOT_FOUND);
    node.still_serves().await;
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_and_huge_metadata_are_refused() {
    let mut node = Node::start().await;
    let mut raw = Raw::connect(node.broker.address()).await;
    for method in ["AdminService/NoSuchMethod", "NoSuchService/Produce", "ProducerService/produce"]
    {
        let status = raw.status(method, frame(&[])).await;
        assert_eq!(status.code(), Code::Unimplemented, "{method}");
    }
    // Up to the limit it is read, above it is not; the connection lives either way.
    let name = v1::GetTopicRequest { name: "t".to_owned() }.encode_to_vec();
    for (bytes, is_read) in [(8 * 1024, true), (17 * 1024, false), (8 * 1024, true)] {
        let value = "m".repeat(bytes);
        let headers = [("x-big", value.as_str())];
        let answer = raw.call("AdminService/GetTopic", &headers, frame(&name)).await.unwrap();
        if is_read {
            refused("read", &answer.status().unwrap(), Expected::TOPIC_NOT_FOUND);
        } else {
            assert_eq!(answer.http, http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
    }
    // Who sends many times what is allowed is hung up on: it could go on for ever.
    let flood = "m".repeat(256 * 1024);
    let mut other = Raw::connect(node.broker.address()).await;
    let headers = [("x-big", flood.as_str())];
    let error = other.call("AdminService/GetTopic", &headers, frame(&name)).await.unwrap_err();
    assert!(error.is_go_away() || error.is_io(), "{error}");
    let mut request = Request::new(v1::GetClusterRequest::default());
    for n in 0..200 {
        let key = format!("x-{n}").parse::<tonic::metadata::AsciiMetadataKey>().unwrap();
        request.metadata_mut().insert(key, "m".repeat(1024).parse().unwrap());
    }
    assert!(soon("an answer", node.admin().get_cluster(request)).await.is_err());
    node.still_serves().await;
}

#[tokio::test]
async fn other_protocols_are_hung_up_on() {
    let mut node = Node::start().await;
    let mut seed: u64 = 0x5eed;
    let mut noise = move |length: usize| -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    };
    let mut openings = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"POST /ropewalk.v1.ProducerService/Produce HTTP/1.1\r\nContent-Length: 9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand now something different".to_vec(),
    ];
    openings.extend((0..50).map(|round| noise(1 + round * 40)));
    for opening in openings {
        let mut stream = TcpStream::connect(node.broker.address()).await.unwrap();
        // It may hang up before everything is written.
        let _ = stream.write_all(&opening).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = soon("the end of the connection", stream.read_to_end(&mut answer)).await;
        assert!(read.is_err() || answer.len() < 4096, "it answers little: {}", answer.len());
    }
    let is_closed = async || {
        let open = node.gauge("ropewalk_active_connections").await;
        (open <= 1.0).then_some(())
    };
    poll("connections that are closed", std::time::Duration::from_secs(5), is_closed).await;
    node.still_serves().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_the_others_live_on() {
    let mut node = Node::with(&[("server.max_connections", "20")]).await;
    let mut idle = Vec::new();
    for _ in 0..19 {
        idle.push(connect(node.broker.address()).await);
    }
    let is_full = async || (node.gauge("ropewalk_active_connections").await == 20.0).then_some(());
    poll("20 connections", std::time::Duration::from_secs(5), is_full).await;
    for _ in 0..50 {
        let mut stream = TcpStream::connect(node.broker.address()).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon("a closed connection", stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
    node.still_serves().await;
    drop(idle);
    let has_room = async || (node.gauge("ropewalk_active_connections").await < 20.0).then_some(());
    poll("room", std::time::Duration::from_secs(5), has_room).await;
    let mut late =
        v1::admin_service_client::AdminServiceClient::new(connect(node.broker.address()).await);
    soon("a call on a new connection", late.get_cluster(v1::GetClusterRequest::default()))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_and_a_thousand_streams_are_served() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    let before = node.rss_mib();
    let mut open = Vec::new();
    for _ in 0..500 {
        open.push(TcpStream::connect(node.broker.address()).await.unwrap());
    }
    let mut readers = Vec::new();
    for _ in 0..900 {
        let request = crate::support::named(&["t"]);
        readers.push(crate::support::Reader::open(&node, request).await.0);
    }
    assert_eq!(node.gauge("ropewalk_active_subscriptions").await, 900.0);
    node.append("t", 0, &["to everyone"]).await;
    for reader in &mut readers {
        assert_eq!(reader.batch().await.base_offset, 0);
    }
    println!("500 connections and 900 streams: {} MiB", node.rss_mib().saturating_sub(before));
    drop((open, readers));
    node.still_serves().await;
}
