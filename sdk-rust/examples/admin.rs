//! Creates a topic, changes it, shows it and the cluster, and deletes it.
//!
//! ```sh
//! cargo run --example admin -- scratch
//! ```
//!
//! ROPEWALK_SERVER names the broker; default 127.0.0.1:9092.

use std::error::Error;
use std::time::Duration;

use ropewalk::{Client, ErrorKind, NewTopic, Retention, Setting, TopicUpdate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "scratch".to_owned());
    let server = std::env::var("ROPEWALK_SERVER");
    let server = server.unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    let admin = Client::connect(&server).await?.admin();

    let hour = Retention::For(Duration::from_secs(3600));
    let topic = NewTopic::named(&name).partitions(2).retention(hour);
    match admin.create_topic(topic).await {
        Ok(topic) => println!("created {} ({})", topic.name, topic.id),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => println!("{name} was there"),
        Err(error) => return Err(error.into()),
    }
    admin.update_topic(TopicUpdate::of(&name).partitions(3).reset(Setting::Retention)).await?;

    for partition in admin.topic(&name).await?.partitions {
        println!(
            "partition {}: {} to {}",
            partition.partition, partition.log_start_offset, partition.high_watermark
        );
    }
    for broker in admin.cluster().await?.brokers {
        println!("broker {} at {} leads {}", broker.id, broker.address, broker.leader_count);
    }
    println!("{:?}", admin.health().await?);
    admin.delete_topic(&name).await?;
    Ok(())
}
