//! How the connections between brokers are set up.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::peer::connection;

#[tokio::test]
async fn lost_packets_are_sent_again_at_an_even_pace_and_not_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let patience = Duration::from_millis(3500);
    connection::tune(&stream, patience);
    let socket = socket2::SockRef::from(&stream);
    assert!(socket.tcp_thin_linear_timeouts().unwrap());
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(patience));
}
