//! The process: what it refuses to start with, how it ends, what it costs.

use std::process::{Output, Stdio};
use std::time::Duration;

use ropewalk_harness::{Broker, HarnessError, ropewalk_binary};
use tokio::process::Command;
use tokio::time::Instant;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{
    Expected, Node, Pipe, Reader, connect, named, poll, produce, refused, soon, value_record,
};

/// A debug build does the same in more time.
const SLACK: u32 = if cfg!(debug_assertions) { 3 } else { 1 };

/// What a broker says that does not start.
async fn refusal(broker: ropewalk_harness::BrokerBuilder) -> String {
    match broker.start().await {
        Err(HarnessError::Exited { status, log }) => {
            assert!(!status.success());
            log
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it started"),
    }
}

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(ropewalk_binary().unwrap());
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    command.kill_on_drop(true);
    soon("the end of the process", command.output()).await.unwrap()
}

#[tokio::test]
async fn a_data_directory_serves_one_broker_of_one_id() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let builder = || Broker::builder().data_dir(&data);
    let mut first = Node::of(builder()).await;
    first.append("t", 0, &["kept"]).await;
    let log = refusal(builder()).await;
    assert!(log.contains(data.to_str().unwrap()), "it names the directory: {log}");
    assert!(log.contains("in use by another process"), "{log}");
    first.still_serves().await;
    first.broker.terminate().await.unwrap();

    let log = refusal(builder().settings(&[("server.node_id", "2")])).await;
    assert!(log.contains("node 1") && log.contains("node 2"), "it names both: {log}");

    let identity = data.join("identity");
    let good = std::fs::read_to_string(&identity).unwrap();
    let newer = good.replacen("format = 2\n", "format = 97\n", 1);
    assert_ne!(newer, good, "{good}");
    std::fs::write(&identity, newer).unwrap();
    let log = refusal(builder()).await;
    assert!(log.contains("format 97") && log.contains("format 2"), "it names both: {log}");
    for damaged in ["", "garbage", "{"] {
        std::fs::write(&identity, damaged).unwrap();
        let log = refusal(builder()).await;
        assert!(log.contains("identity"), "it names the file: {log}");
    }
    std::fs::write(&identity, good).unwrap();
    let node = Node::of(builder()).await;
    assert_eq!(node.bounds("t", 0).await, (0, 1), "refusals changed nothing");
}

#[tokio::test]
async fn an_unknown_setting_is_refused_with_the_nearest_name() {
    let environment = [("ROPEWALK_SERVER__LISTNE", "127.0.0.1:1")];
    let output = run(&["serve"], &environment).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("ROPEWALK_SERVER__LISTEN"), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broker.toml");
    let path = file.to_str().unwrap();
    for (text, near) in [
        ("[topics]\nauto_craete = true\n", "topics.auto_create"),
        ("[topcis]\nauto_create = true\n", "topics"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = run(&["serve", "--config", path], &[]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(near), "{said}");
    }
    let output = run(&["serve", "--data-dri", "x"], &[]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("--data-dir"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_what_is_open_and_then_the_process() {
    let mut node = Node::start().await;
    node.create("t", 1).await;
    let (mut reader, _) = Reader::open(&node, named(&["t"])).await;
    reader.caught_up().await;
    let mut pipe = Pipe::open(&node).await;
    for _ in 0..50 {
        pipe.send(produce("t", 0, vec![value_record(b"x")])).await;
    }
    let mut idle = Pipe::open(&node).await;
    idle.send(produce("t", 0, vec![value_record(b"x")])).await;
    idle.appended().await;
    let mut health = HealthClient::new(connect(node.broker.address()).await);
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    let serving = soon("health", watch.message()).await.unwrap().unwrap();
    assert_eq!(serving.status(), ServingStatus::Serving);
    let (status, _) = node.broker.admin_get("/readyz").await.unwrap();
    assert_eq!(status, 200);

    let ends = async {
        let status = reader.error().await;
        refused("Subscribe", &status, Expected::BROKER_DRAINING);
        let mut answered = 0;
        let status = loop {
            match pipe.next().await {
                Ok(Some((_, result))) => {
                    result.unwrap();
                    answered += 1;
                }
                Ok(None) => panic!("the stream ended with OK"),
                Err(status) => break status,
            }
        };
        refused("ProduceStream", &status, Expected::BROKER_DRAINING);
        let status = idle.next().await.expect_err("the stream ends");
        refused("an idle ProduceStream", &status, Expected::BROKER_DRAINING);
        // The watch sees it, or its end.
        let seen = soon("health", watch.message()).await;
        if let Ok(Some(seen)) = seen {
            assert_eq!(seen.status(), ServingStatus::NotServing);
        }
        answered
    };
    let (ended, answered) = tokio::join!(node.broker.terminate(), ends);
    let ended = ended.unwrap();
    println!("drained in {:?}", ended.took);
    assert!(ended.status.success(), "{}", ended.status);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    node.restart().await;
    // Each answer was an append, and what was not answered was none.
    assert_eq!(node.bounds("t", 0).await, (0, answered + 1));
}

/// A drain waits for nobody who only listens.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_with_open_streams_takes_about_a_second() {
    for watches_health in [false, true] {
        let mut node = Node::start().await;
        node.create("t", 1).await;
        let (mut reader, _) = Reader::open(&node, named(&["t"])).await;
        let mut pipe = Pipe::open(&node).await;
        pipe.send(produce("t", 0, vec![value_record(b"x")])).await;
        pipe.appended().await;
        let mut health = HealthClient::new(node.channel.clone());
        let request = HealthCheckRequest { service: String::new() };
        let watch = match watches_health {
            true => Some(health.watch(request).await.unwrap().into_inner()),
            false => None,
        };
        let ends = async {
            refused("Subscribe", &reader.error().await, Expected::BROKER_DRAINING);
            let status = pipe.next().await.expect_err("the stream ends");
            refused("ProduceStream", &status, Expected::BROKER_DRAINING);
        };
        let (ended, ()) = tokio::join!(node.broker.terminate(), ends);
        let ended = ended.unwrap();
        println!("health is watched: {watches_health}; drained in {:?}", ended.took);
        assert!(ended.status.success());
        assert!(ended.took < Duration::from_secs(2), "{watches_health}: {:?}", ended.took);
        drop(watch);
    }
}

/// While it drains, it says so to whoever asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_draining_broker_takes_no_calls_and_is_not_ready() {
    let mut node = Node::with(&[("server.drain_timeout", "3s")]).await;
    node.create("t", 1).await;
    // A call whose request never ends keeps the drain going until its time is over.
    let mut raw = crate::support::Raw::connect(node.broker.address()).await;
    let held = raw.begin("ProducerService/Produce", &[]).await.unwrap();
    raw.status("AdminService/GetCluster", crate::support::frame(&[])).await;
    let admin = node.broker.admin_address().to_owned();
    let asks = async {
        let is_not_ready = async || {
            let (status, body) = get(&admin, "/readyz").await?;
            (status != 200).then_some(body)
        };
        let body = poll("not ready", Duration::from_secs(2), is_not_ready).await;
        let (alive, _) = get(&admin, "/healthz").await.unwrap();
        (body, alive)
    };
    let (ended, (body, alive)) = tokio::join!(node.broker.terminate(), asks);
    let ended = ended.unwrap();
    assert_eq!(alive, 200);
    assert!(body.contains("drain"), "{body}");
    assert!(ended.status.success());
    println!("a call that does not end was cut after {:?}", ended.took);
    assert!(ended.took >= Duration::from_secs(2) && ended.took < Duration::from_secs(10));
    drop(held);
}

async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

#[tokio::test]
async fn the_first_append_is_answered_soon_after_the_start() {
    let mut best = Duration::MAX;
    for round in 0..5 {
        let begun = Instant::now();
        let node = Node::start().await;
        node.append("t", 0, &["first"]).await;
        let took = begun.elapsed();
        println!("round {round}: ready {:?}, first append {took:?}", node.broker.ready_after());
        best = best.min(took);
    }
    // Others use the machine too: of several starts the best counts.
    assert!(best < Duration::from_millis(300) * SLACK, "{best:?}");
}

#[tokio::test]
async fn an_idle_broker_costs_little() {
    let node = Node::start().await;
    node.create("t", 10).await;
    for partition in 0..10 {
        node.append("t", partition, &["x"]).await;
    }
    let (mut reader, _) = Reader::open(&node, named(&["t"])).await;
    reader.records(10).await;
    let mut least = f64::MAX;
    for _ in 0..2 {
        let (begun, before) = (Instant::now(), node.broker.cpu_seconds().unwrap());
        // This is the time that is measured, not a wait for something.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let used = node.broker.cpu_seconds().unwrap() - before;
        least = least.min(used / begun.elapsed().as_secs_f64());
    }
    println!("idle: {} MiB, {:.2} % of a core", node.rss_mib(), least * 100.0);
    // The pages of a debug binary itself are many.
    let limit = if cfg!(debug_assertions) { 100 } else { 40 };
    assert!(node.rss_mib() < limit, "{} MiB", node.rss_mib());
    assert!(least < 0.01 * f64::from(SLACK), "{:.2} % of a core", least * 100.0);
    drop(reader);
}

/// The stock clients' way: reflection and health are there for each service.
#[tokio::test]
async fn health_is_told_for_each_service() {
    let node = Node::start().await;
    let mut health = HealthClient::new(node.channel.clone());
    for service in [
        "",
        "ropewalk.v1.ProducerService",
        "ropewalk.v1.ConsumerService",
        "ropewalk.v1.AdminService",
    ] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let replicas = || HealthCheckRequest { service: "replicas".to_owned() };
    poll("what a broker alone has is all there is", Duration::from_secs(20), async || {
        let status = health.check(replicas()).await.unwrap().into_inner().status();
        (status == ServingStatus::Serving).then_some(())
    })
    .await;
    let request = HealthCheckRequest { service: "no.Such".to_owned() };
    assert_eq!(health.check(request).await.unwrap_err().code(), tonic::Code::NotFound);
}
