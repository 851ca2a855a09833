//! `ropewalk produce`.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

use ropewalk::{Appended, Delivery, Producer, Record};
use serde_json::json;
use tokio::sync::mpsc;

use super::args::{Format, Produce};
use super::failure::Failure;
use super::output::stdout;
use super::progress::Progress;
use super::run::connect;

/// Records that were accepted and whose outcome was not looked at yet. The producer's own buffer,
/// in bytes, is reached first unless records are tiny.
const OUTSTANDING: usize = 64 * 1024;

pub(super) async fn produce(args: Produce) -> Result<(), Failure> {
    let client = connect(&args.common).await?;
    let mut producer = client.producer().delivery_timeout(args.common.timeout);
    if let Some((codec, level)) = args.compression {
        producer = producer.compression(codec);
        if let Some(level) = level {
            producer = producer.compression_level(level);
        }
    }
    let producer = producer.build();
    let (deliveries, accepted) = mpsc::channel(OUTSTANDING);
    let format = args.common.format;
    let quiet = args.value.is_some() || std::io::stdin().is_terminal();
    let report = tokio::spawn(report(accepted, format, quiet));

    let sent = match args.value.clone() {
        Some(value) => {
            let record = template(&args).value(value);
            send(&producer, &deliveries, record).await.map(|_| ())
        }
        None => send_lines(&args, &producer, &deliveries).await,
    };
    drop(deliveries);
    // The outcomes are told one by one: those of the batches add nothing.
    let _ = producer.close().await;
    let reported = report.await.map_err(|_| Failure::Other("interrupted".to_owned()))?;
    // What went wrong first is what counts: a record that failed ends the reading of lines.
    let appended = reported?;
    sent?;
    if args.value.is_none() && format == Format::Text {
        let noun = if appended == 1 { "record" } else { "records" };
        eprintln!("{appended} {noun} appended");
    }
    Ok(())
}

/// A record with all that the command line says of every record.
fn template(args: &Produce) -> Record {
    let mut record = Record::to(Arc::<str>::from(args.topic.as_str()));
    if let Some(key) = &args.key {
        record = record.key(key.clone());
    }
    if let Some(partition) = args.partition {
        record = record.partition(partition);
    }
    if let Some(ttl) = args.ttl {
        record = record.ttl(ttl);
    }
    for (key, value) in &args.headers {
        record = record.header(key, value.clone());
    }
    record
}

/// Sends the lines of standard input. It ends early when a record failed.
async fn send_lines(
    args: &Produce,
    producer: &Producer,
    deliveries: &mpsc::Sender<Delivery>,
) -> Result<(), Failure> {
    let template = template(args);
    let mut number = 0_u64;
    loop {
        // Waiting for a line blocks this thread only; the producer and the report have others.
        let Some(line) = next_line()? else {
            return Ok(());
        };
        number += 1;
        let record = match &args.key_separator {
            None => template.clone().value(line),
            Some(separator) => {
                let (key, value) = split(&line, separator.as_bytes()).ok_or_else(|| {
                    Failure::Other(format!("line {number} has no separator `{separator}`"))
                })?;
                template.clone().key(key).value(value)
            }
        };
        if !send(producer, deliveries, record).await? {
            return Ok(());
        }
    }
}

/// Hands over a record. False when the report has ended because an earlier record failed.
async fn send(
    producer: &Producer,
    deliveries: &mpsc::Sender<Delivery>,
    record: Record,
) -> Result<bool, Failure> {
    let delivery = producer.enqueue(record).await?;
    Ok(deliveries.send(delivery).await.is_ok())
}

/// The next line of standard input, without its line break; `None` at the end.
fn next_line() -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let read = std::io::stdin().lock().read_until(b'\n', &mut line);
    let read = read.map_err(|error| Failure::Other(format!("standard input: {error}")))?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok((read > 0).then_some(line))
}

fn split(line: &[u8], separator: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((line[..at].to_vec(), line[at + separator.len()..].to_vec()))
}

/// Tells the outcome of each record, in order, and gives the number that were appended.
async fn report(
    mut accepted: mpsc::Receiver<Delivery>,
    format: Format,
    quiet: bool,
) -> Result<u64, Failure> {
    let progress = Progress::new("records appended", quiet);
    let mut appended = 0;
    let mut lines = Vec::new();
    while let Some(delivery) = accepted.recv().await {
        let placed = delivery.await.inspect_err(|_| {
            if appended > 0 {
                progress.say(&format!("{appended} records were appended before one failed"));
            }
        })?;
        appended += 1;
        progress.add(1);
        if format == Format::Json {
            lines.extend_from_slice(line(&placed).as_bytes());
            // What is known is shown before the wait for more.
            if accepted.is_empty() || lines.len() > 32 * 1024 {
                flush(&mut lines)?;
            }
        }
    }
    flush(&mut lines)?;
    Ok(appended)
}

fn flush(lines: &mut Vec<u8>) -> Result<(), Failure> {
    let mut out = stdout();
    out.write_all(lines)?;
    out.flush()?;
    lines.clear();
    Ok(())
}

fn line(placed: &Appended) -> String {
    format!("{}\n", json!({ "partition": placed.partition, "offset": placed.offset }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_ends_the_key() {
        let pair = |key: &[u8], value: &[u8]| Some((key.to_vec(), value.to_vec()));
        assert_eq!(split(b"k:v:w", b":"), pair(b"k", b"v:w"));
        assert_eq!(split(b"::", b"::"), pair(b"", b""));
        assert_eq!(split(b"kv", b":"), None);
        assert_eq!(split(b"", b"::"), None);
    }
}
