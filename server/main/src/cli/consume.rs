//! `ropewalk consume`.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use ropewalk::{
    Client, ConsumedRecord, Consumer, Event, Gap, OffsetQuery, RecordBatch, Start, Stop,
};

use super::args::{Consume, Format};
use super::failure::Failure;
use super::json;
use super::output::stdout;
use super::parse::Origin;
use super::progress::Progress;
use super::run::connect;
use crate::serve::Signals;

pub(super) async fn consume(args: Consume) -> Result<(), Failure> {
    let client = connect(&args.common).await?;
    if let Some(group) = &args.group {
        return consume_in_group(&client, group, &args).await;
    }
    let mut consumer = Box::pin(subscribe(&client, &args)).await?;
    let progress = Progress::new("records", std::io::stdout().is_terminal());
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut signals = signals()?;
    while left > 0 {
        let event = tokio::select! {
            event = consumer.next_event() => event,
            _ = signals.received() => return Ok(()),
        };
        match event.transpose()? {
            Some(Event::Batch(batch)) => {
                let printed = print(&batch, &args, left)?;
                progress.add(printed);
                left -= printed;
            }
            Some(Event::Gap(gap)) => progress.say(&gone(&gap)),
            Some(_) => {}
            None => break,
        }
    }
    Ok(())
}

/// What ends it: a member of a group commits and leaves then.
fn signals() -> Result<Signals, Failure> {
    Signals::new().map_err(|error| Failure::Other(format!("cannot listen to signals: {error}")))
}

fn gone(gap: &Gap) -> String {
    let Gap { partition, from_offset, to_offset, .. } = gap;
    format!("partition {partition}: the records from {from_offset} to {} are gone", to_offset - 1)
}

/// Reads as a member of a consumer group. What was printed is committed, and nothing else.
async fn consume_in_group(client: &Client, group: &str, args: &Consume) -> Result<(), Failure> {
    let Origin::At(start) = &args.offset else {
        let why =
            "--offset -N does not go with --group: reset the group with `ropewalk group reset`";
        return Err(Failure::Other(why.to_owned()));
    };
    let builder = client.group(group).consumer().topic(&args.topic).start(start.clone());
    let builder = builder.client_id("ropewalk-cli").reconnect_timeout(args.common.timeout);
    let progress = Arc::new(Progress::new("records", std::io::stdout().is_terminal()));
    let told = Arc::clone(&progress);
    let builder = builder.on_gap(move |gap| told.say(&gone(&gap)));
    let mut consumer = Box::pin(builder.build()).await?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut signals = signals()?;
    while left > 0 {
        let record = tokio::select! {
            record = consumer.next() => record,
            _ = signals.received() => break,
        };
        let Some(record) = record.transpose()? else { break };
        let mut out = stdout();
        print_record(&record, args, &mut out)?;
        out.flush()?;
        progress.add(1);
        left -= 1;
    }
    Ok(consumer.close().await?)
}

fn print_record(
    record: &ConsumedRecord,
    args: &Consume,
    out: &mut impl Write,
) -> Result<(), Failure> {
    match args.common.format {
        Format::Text => args.template.write(record, out)?,
        Format::Json => {
            serde_json::to_writer(&mut *out, &json::record(record))?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Prints the records of a batch, at most `limit`, and gives their number.
fn print(batch: &RecordBatch, args: &Consume, limit: u64) -> Result<u64, Failure> {
    let mut out = stdout();
    let mut printed = 0;
    for record in batch.records() {
        if printed == limit {
            break;
        }
        print_record(&record?, args, &mut out)?;
        printed += 1;
    }
    // Whoever reads along sees a record when it is there.
    out.flush()?;
    Ok(printed)
}

async fn subscribe(client: &Client, args: &Consume) -> Result<Consumer, Failure> {
    let mut builder = client
        .consumer()
        .topic(&args.topic)
        .until(args.until.unwrap_or(Stop::Never))
        .reconnect_timeout(args.common.timeout);
    match &args.offset {
        Origin::At(start) => {
            builder = builder.start(start.clone());
            for partition in &args.partitions {
                builder = builder.partition(&args.topic, *partition);
            }
        }
        Origin::Last(count) => {
            let ends = client.list_offsets([OffsetQuery::latest(&args.topic)]).await?;
            let starts = client.list_offsets([OffsetQuery::earliest(&args.topic)]).await?;
            for (end, start) in ends.iter().zip(&starts) {
                if args.partitions.is_empty() || args.partitions.contains(&end.partition) {
                    let offset = end.offset.saturating_sub(*count).max(start.offset);
                    let start = Start::Offset(offset);
                    builder = builder.partition_from(&args.topic, end.partition, start);
                }
            }
            // A partition that is not there is the broker's to refuse.
            for partition in &args.partitions {
                if !ends.iter().any(|end| end.partition == *partition) {
                    builder = builder.partition(&args.topic, *partition);
                }
            }
        }
    }
    Ok(builder.build().await?)
}
