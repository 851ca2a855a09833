use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::*;

struct Server {
    address: SocketAddr,
    readiness: watch::Sender<Readiness>,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<io::Result<()>>,
    _provider: SdkMeterProvider,
}

async fn server() -> Server {
    let mut settings = Settings::defaults();
    settings.server.admin_listen = "127.0.0.1:0".to_owned();
    let scrape = Scrape::default();
    let provider = SdkMeterProvider::builder().with_reader(scrape.clone()).build();
    provider.meter("test").u64_counter("ropewalk_test").build().add(1, &[]);
    let (readiness, watched) = watch::channel(Readiness::Starting);
    let (stop, stopped) = oneshot::channel();
    let admin = AdminServer::bind(&settings).await.expect("a free port");
    let address = admin.local_addr().expect("it is bound");
    let stopped = async {
        let _ = stopped.await;
    };
    let serving = tokio::spawn(admin.serve(scrape, watched, stopped));
    Server { address, readiness, stop, serving, _provider: provider }
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

async fn get_path(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn readiness_follows_the_broker() {
    let server = server().await;
    let status = async |path| get_path(server.address, path).await[9..12].to_owned();
    assert_eq!(status("/readyz").await, "503");
    assert_eq!(status("/healthz").await, "200");
    server.readiness.send(Readiness::Ready).expect("it watches");
    assert_eq!(status("/readyz").await, "200");
    server.readiness.send(Readiness::Draining).expect("it watches");
    assert!(get_path(server.address, "/readyz").await.ends_with("\r\n\r\ndraining\n"));
    assert_eq!(status("/nothing").await, "404");
}

#[tokio::test]
async fn the_process_is_alive_in_grpc_too_before_the_broker_is_ready() {
    let server = server().await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address));
    let channel = endpoint.expect("an address").connect().await.expect("it speaks HTTP/2");
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let status = health.check(tonic_health::pb::HealthCheckRequest::default()).await;
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
    assert_eq!(status.expect("it answers").into_inner().status(), serving);
}

#[tokio::test]
async fn metrics_are_text_for_prometheus() {
    let server = server().await;
    let answer = get_path(server.address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.ends_with("# TYPE ropewalk_test_total counter\nropewalk_test_total 1\n"));
}

#[tokio::test]
async fn what_is_no_http_ends_its_connection_only() {
    let server = server().await;
    let answer = ask(server.address, "\u{16}\u{3}\u{1} no HTTP at all\r\n\r\n").await;
    assert!(!answer.contains("200 OK"), "{answer}");
    assert!(get_path(server.address, "/healthz").await.ends_with("ok\n"));
}

#[tokio::test]
async fn the_stop_does_not_wait_for_an_idle_client() {
    let server = server().await;
    let mut idle = TcpStream::connect(server.address).await.expect("it listens");
    idle.write_all(b"GET /healthz HTTP/1.1\r\n").await.expect("it reads");
    // An answer shows that the server has accepted both.
    get_path(server.address, "/healthz").await;
    let started = Instant::now();
    server.stop.send(()).expect("it waits for that");
    let ended = timeout(STOP_GRACE * 3, server.serving).await.expect("it ends");
    ended.expect("it does not panic").expect("it does not fail");
    assert!(started.elapsed() < STOP_GRACE * 2);
}
