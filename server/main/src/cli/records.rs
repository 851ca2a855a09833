//! `ropewalk records`.

use serde_json::json;

use super::args::{Format, RecordsDelete};
use super::failure::Failure;
use super::output::{document, line};
use super::run::connect;

pub(super) async fn delete(args: &RecordsDelete) -> Result<(), Failure> {
    let admin = connect(&args.common).await?.admin();
    let start = admin.delete_records(&args.topic, args.partition, args.before.0).await?;
    match args.common.format {
        Format::Json => document(&json!({
            "topic": args.topic,
            "partition": args.partition,
            "earliest": start,
        })),
        Format::Text => line(&format!("partition {} now begins at {start}", args.partition)),
    }
}
