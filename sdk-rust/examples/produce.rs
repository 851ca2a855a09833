//! Sends lines of standard input to a topic, and says where each went.
//!
//! ```sh
//! seq 1000 | cargo run --example produce -- numbers
//! ```
//!
//! ROPEWALK_SERVER names the broker; default 127.0.0.1:9092.

use std::error::Error;
use std::io::BufRead;

use ropewalk::{Client, Record};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let topic = std::env::args().nth(1).unwrap_or_else(|| "numbers".to_owned());
    let server = std::env::var("ROPEWALK_SERVER");
    let server = server.unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    let client = Client::builder().address(&server).name("example-produce").connect().await?;
    let producer = client.producer().build();

    // Accepting is not waiting: the records travel in batches while lines are still being read.
    let mut deliveries = Vec::new();
    for line in std::io::stdin().lock().lines() {
        deliveries.push(producer.enqueue(Record::to(topic.as_str()).value(line?)).await?);
    }
    let mut failed = 0;
    for delivery in deliveries {
        match delivery.await {
            Ok(placed) => println!("partition {} offset {}", placed.partition, placed.offset),
            Err(error) if error.may_have_happened() => {
                failed += 1;
                eprintln!("may be in the log, or not: {error}");
            }
            Err(error) => {
                failed += 1;
                eprintln!("not sent: {error}");
            }
        }
    }
    producer.close().await?;
    if failed > 0 { Err(format!("{failed} records failed").into()) } else { Ok(()) }
}
