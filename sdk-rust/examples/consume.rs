//! Reads a topic from where a consumer group committed, to its end, and commits.
//!
//! ```sh
//! cargo run --example consume -- numbers my-group
//! ```
//!
//! ROPEWALK_SERVER names the broker; default 127.0.0.1:9092.

use std::error::Error;

use ropewalk::{Client, Start, Stop};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().unwrap_or_else(|| "numbers".to_owned());
    let group_name = arguments.next().unwrap_or_else(|| "example".to_owned());
    let server = std::env::var("ROPEWALK_SERVER");
    let server = server.unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    let client = Client::builder().address(&server).name("example-consume").connect().await?;
    let group = client.group(&group_name);

    let mut consumer = client
        .consumer()
        .topic(&topic)
        .start(Start::committed(&group_name))
        .until(Stop::CaughtUp)
        .on_gap(|gap| eprintln!("{} to {} are gone", gap.from_offset, gap.to_offset))
        .build()
        .await?;
    while let Some(record) = consumer.next().await {
        let record = record?;
        let value = record.value.unwrap_or_default();
        println!("{}@{} {}", record.partition, record.offset, String::from_utf8_lossy(&value));
    }
    group.commit(consumer.positions()).await?;
    Ok(())
}
