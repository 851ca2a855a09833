//! Clients that can reach one broker only, as through a port-forward: what the brokers say of where
//! they are leads nowhere.

use std::time::Duration;

use futures::future::join_all;
use ropewalk::{Client, ErrorKind, NewTopic, Position, Record, Start, Stop};
use ropewalk_harness::{Broker, cluster};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::support::{cli, json, soon};

/// How long any append may take, also the first one of a new client: it does not wait for brokers
/// that cannot be reached, which are given three seconds.
const APPEND: Duration = Duration::from_secs(2);
/// How long it may take until a new consumer has its first record: it gives the leader one second.
const FIRST_READ: Duration = Duration::from_secs(3);

/// An address that neither takes a connection nor refuses it, as one behind a firewall: a listener
/// that nobody attends to, and whose queue is full.
struct BlackHole {
    address: String,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    async fn open() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        let knock = || timeout(Duration::from_millis(200), TcpStream::connect(address));
        while let Ok(connected) = knock().await {
            queue.push(connected.unwrap());
            assert!(queue.len() < 100, "the queue has no end");
        }
        Self { address: address.to_string(), _listener: listener, _queue: queue }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_is_enough_where_the_others_lead_nowhere() {
    let holes = join_all((0..3).map(|_| BlackHole::open())).await;
    let place = |id: u64| holes[usize::try_from(id).unwrap() - 1].address.clone();
    let advertising = |id, builder: ropewalk_harness::BrokerBuilder| {
        builder.args(["--advertise", &place(id), "--journal-size", "64MiB"])
    };
    let brokers: Vec<Broker> = cluster::several(3, advertising).await.unwrap();
    let server = brokers[0].address();

    let hasty = Client::builder().address(&holes[1].address);
    let refused = hasty.connect_timeout(Duration::from_millis(200)).connect().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unreachable, "{refused}");

    let client = Client::connect(server).await.unwrap();
    let admin = client.admin();
    let topic = NewTopic::named("t").partitions(3).replication_factor(3);
    soon("a topic", admin.create_topic(topic)).await.unwrap();
    let described = soon("a topic", admin.topic("t")).await.unwrap();
    let leaders = described.partitions.iter().filter(|at| at.leader != Some(1)).count();
    assert!(leaders > 0, "some leader cannot be reached: {described:?}");

    // A client that has just come knows nothing yet.
    let begun = Instant::now();
    let client = Client::connect(server).await.unwrap();
    let producer = client.producer().build();
    soon("an append", producer.send(Record::to("t").partition(0).value("0"))).await.unwrap();
    let first_append = begun.elapsed();
    let mut slowest = Duration::ZERO;
    for number in 1..1_000 {
        let begun = Instant::now();
        let record = Record::to("t").partition(number % 3).value(number.to_string());
        soon("an append", producer.send(record)).await.unwrap();
        slowest = slowest.max(begun.elapsed());
    }

    // One client knows the brokers by now, and tries to read from a leader; the other does not.
    let mut first_reads = Vec::new();
    for client in [client.clone(), Client::connect(server).await.unwrap()] {
        let begun = Instant::now();
        let reader = client.consumer().topic("t").start(Start::Earliest).until(Stop::CaughtUp);
        let mut reader = reader.build().await.unwrap();
        let mut found = Vec::new();
        while let Some(record) = soon("a record", reader.next()).await {
            let record = record.unwrap();
            if found.is_empty() {
                first_reads.push(begun.elapsed());
            }
            let value = std::str::from_utf8(record.value.as_deref().unwrap()).unwrap();
            found.push(value.parse::<i32>().unwrap());
        }
        found.sort_unstable();
        assert_eq!(found, (0..1_000).collect::<Vec<_>>());
    }
    let group = client.group("g");
    soon("a commit", group.commit([Position::new("t", 0, 5)])).await.unwrap();
    assert_eq!(soon("the offsets", group.committed()).await.unwrap().len(), 1);
    let seen = soon("the cluster", client.admin().cluster()).await.unwrap();
    assert_eq!(seen.brokers[2].address, holes[2].address);
    soon("the end of the topic", client.admin().delete_topic("t")).await.unwrap();

    println!("first append {first_append:?}, slowest {slowest:?}, first reads {first_reads:?}");
    assert!(first_append < APPEND, "the first append took {first_append:?}");
    assert!(slowest < APPEND, "an append took {slowest:?}");
    let slowest = first_reads.iter().max().unwrap();
    assert!(*slowest < FIRST_READ, "the first record came after {slowest:?}");

    by_hand(server);
}

/// The same on the command line.
fn by_hand(server: &str) {
    let begun = Instant::now();
    cli(server, &["topic", "create", "hand", "--partitions", "3"]);
    for partition in ["0", "1", "2"] {
        cli(server, &["produce", "hand", "--partition", partition, "value"]);
    }
    assert_eq!(cli(server, &["consume", "hand", "-n", "3"]), "value\n".repeat(3));
    let status = json(&cli(server, &["cluster", "status", "--format", "json"]));
    assert_eq!(status["leaderless_partitions"], 0, "{status}");
    cli(server, &["topic", "delete", "hand"]);
    println!("by hand {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(8), "the commands took {:?}", begun.elapsed());
}
