//! Calls that are given up: by a deadline, or by a client that goes.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ropewalk_proto::v1;
use tokio::time::Instant;
use tonic::Code;

use crate::support::{
    Expected, Node, Pipe, Raw, Reader, SOON, answer, frame, named, poll, produce, refused, soon,
    value_record,
};

/// How long the broker may go on with what nobody waits for.
const GIVEN_UP: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_deadline_that_runs_out_is_told_with_its_reason() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    let mut raw = Raw::connect(node.broker.address()).await;
    let append = frame(&produce("t", 0, vec![value_record(b"x")]).encode_to_vec());
    // A request that never comes to its end.
    let (response, mut sending) =
        raw.begin("ProducerService/Produce", &[("grpc-timeout", "100m")]).await.unwrap();
    sending.send_data(append.slice(..append.len() - 1), false).unwrap();
    let answered = soon("the deadline", answer(response)).await.unwrap();
    refused("Produce", &answered.status().unwrap(), Expected::TIMED_OUT);
    // A call that takes longer than its deadline happens all the same, sooner or later.
    let request = v1::CreateTopicRequest {
        name: "late".to_owned(),
        partition_count: 1_000,
        ..Default::default()
    };
    let body = frame(&request.encode_to_vec());
    let headers = [("grpc-timeout", "100u")];
    let answered = raw.call("AdminService/CreateTopic", &headers, body).await.unwrap();
    refused("CreateTopic", &answered.status().unwrap(), Expected::TIMED_OUT);
    let get = frame(&v1::GetTopicRequest { name: "late".to_owned() }.encode_to_vec());
    let is_there = async || {
        let status = raw.status("AdminService/GetTopic", get.clone()).await;
        (status.code() == Code::Ok).then_some(())
    };
    poll("the topic", SOON, is_there).await;

    // What cannot be read bounds nothing, and the longest that can be written is no trouble.
    for timeout in ["99999999H", "soon", "-5S", "0H0", "123456789S"] {
        let headers = [("grpc-timeout", timeout)];
        let answered = raw.call("ProducerService/Produce", &headers, append.clone()).await.unwrap();
        assert_eq!(answered.status().unwrap().code(), Code::Ok, "{timeout}");
    }
    node.still_serves().await;
}

#[tokio::test]
async fn a_deadline_ends_open_streams() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    let mut raw = Raw::connect(node.broker.address()).await;
    let short = [("grpc-timeout", "300m")];
    let begun = Instant::now();
    let request = frame(&named(&["t"]).encode_to_vec());
    let answered = raw.call("ConsumerService/Subscribe", &short, request).await.unwrap();
    refused("Subscribe", &answered.status().unwrap(), Expected::TIMED_OUT);
    assert!(begun.elapsed() >= Duration::from_millis(300));

    let (response, mut requests) =
        raw.begin("ProducerService/ProduceStream", &short).await.unwrap();
    let request = Some(produce("t", 0, vec![value_record(b"x")]));
    let request = v1::ProduceStreamRequest { correlation: 1, request };
    requests.send_data(frame(&request.encode_to_vec()), false).unwrap();
    let answered = soon("the deadline", answer(response)).await.unwrap();
    refused("ProduceStream", &answered.status().unwrap(), Expected::TIMED_OUT);

    let is_over = async || (node.gauge("ropewalk_active_subscriptions").await == 0.0).then_some(());
    poll("the end of the subscription", GIVEN_UP, is_over).await;
    node.still_serves().await;
}

/// A log that no reader takes at once: it has to be read from disk, in many turns.
async fn long_log(node: &Node) {
    node.create("t", 4).await;
    let records = vec![value_record(&vec![b'x'; 64 * 1024]); 16];
    for n in 0..24 {
        node.append_records("t", n % 4, records.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_given_up_leave_nothing_behind() {
    let mut node = Node::with(&[("memory.read_budget", "1MiB")]).await;
    long_log(&node).await;
    let mut readers = Vec::new();
    for n in 0..40 {
        let mut request = named(&["t"]);
        request.text = n % 2 == 0;
        request.heartbeat_interval = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
        let (mut reader, _) = Reader::apart(&node, request).await;
        // Some are given up at once, some in the middle of the log, some at its end.
        for _ in 0..n / 2 {
            reader.event().await;
        }
        readers.push(reader);
    }
    let mut pipes = Vec::new();
    for n in 0..20 {
        let mut pipe = Pipe::open(&node).await;
        for _ in 0..n {
            pipe.send(produce("t", 0, vec![value_record(b"x")])).await;
        }
        pipes.push(pipe);
    }
    assert_eq!(node.gauge("ropewalk_active_subscriptions").await, 40.0);
    let given_up = Instant::now();
    drop((readers, pipes));
    let is_over = async || (node.gauge("ropewalk_active_subscriptions").await == 0.0).then_some(());
    poll("the end of 40 subscriptions", GIVEN_UP, is_over).await;
    println!("40 subscriptions ended {:?} after they were given up", given_up.elapsed());
    let is_free =
        async || (node.gauge("ropewalk_append_budget_used_bytes").await == 0.0).then_some(());
    poll("no append that holds memory", GIVEN_UP, is_free).await;
    node.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_takes_its_connection_along() {
    let mut node = Node::start().await;
    long_log(&node).await;
    let before = node.gauge("ropewalk_active_connections").await;
    let mut readers = Vec::new();
    for _ in 0..10 {
        let other = crate::support::connect(node.broker.address()).await;
        let mut consumer = v1::consumer_service_client::ConsumerServiceClient::new(other);
        readers.push(consumer.subscribe(named(&["t"])).await.unwrap().into_inner());
    }
    let are_open =
        async || (node.gauge("ropewalk_active_connections").await == before + 10.0).then_some(());
    poll("10 connections", GIVEN_UP, are_open).await;
    drop(readers);
    let are_gone = async || {
        let connections = node.gauge("ropewalk_active_connections").await;
        let subscriptions = node.gauge("ropewalk_active_subscriptions").await;
        (connections == before && subscriptions == 0.0).then_some(())
    };
    poll("connections that are gone", GIVEN_UP, are_gone).await;
    node.still_serves().await;
}

/// Requests that stop in the middle, at every kind of place.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_cut_anywhere_leave_nothing_behind() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    let append = produce("t", 0, vec![value_record(&[b'x'; 5_000])]);
    let unary = frame(&append.encode_to_vec());
    let request = v1::ProduceStreamRequest { correlation: 0, request: Some(append) };
    let one = frame(&request.encode_to_vec());
    let stream = Bytes::from([one.as_ref(); 4].concat());
    let subscribe = frame(&named(&["t"]).encode_to_vec());
    let mut raw = Raw::connect(node.broker.address()).await;
    for round in 0..150 {
        let (method, body) = match round % 3 {
            0 => ("ProducerService/Produce", &unary),
            1 => ("ProducerService/ProduceStream", &stream),
            _ => ("ConsumerService/Subscribe", &subscribe),
        };
        let cut = body.len() * round / 149;
        let (response, mut sending) = raw.begin(method, &[]).await.unwrap();
        sending.send_data(body.slice(..cut), false).unwrap();
        if round % 2 == 0 {
            // Let it get somewhere: another call on the connection is answered after it was read.
            raw.status("AdminService/GetCluster", frame(&[])).await;
        }
        sending.send_reset(h2::Reason::CANCEL);
        drop(response);
    }
    let is_over = async || {
        let subscriptions = node.gauge("ropewalk_active_subscriptions").await;
        let budget = node.gauge("ropewalk_append_budget_used_bytes").await;
        (subscriptions == 0.0 && budget == 0.0).then_some(())
    };
    poll("nothing that is left", GIVEN_UP, is_over).await;
    let status = raw.status("AdminService/GetCluster", frame(&[])).await;
    assert_eq!(status.code(), Code::Ok);
    node.still_serves().await;
}
