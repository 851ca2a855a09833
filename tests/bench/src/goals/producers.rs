//! What a producer may do with its batches: number them, so that the broker knows one again that
//! comes twice, and compress them. Each beside the same bytes without.

use ropewalk::Compression;
use tokio::time::Instant;

use super::figure::{Figure, Goal};
use super::run::{Context, PARTITIONS, full_load};
use crate::codecs::lines;
use crate::load::Load;
use crate::options::EngineKind;
use crate::records::Batch;
use crate::wire::Failure;

const PRODUCERS: u32 = 16;
/// Records in a numbered batch.
const RECORDS: usize = 100;
/// Lines in a compressed batch: with zstd it has about the bytes of the others.
const LINES: usize = 1_500;
/// What differs no more than this is the same: rounds of one case do.
const SAME: f64 = 0.95;

pub(crate) async fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    context.check_disk(context.options.max_write())?;
    let plain = Batch::of(RECORDS, super::run::RECORD);
    beside(context, "numbered", "not numbered", [(&plain, true), (&plain, false)]).await?;
    for codec in [Compression::Zstd, Compression::Lz4] {
        let packed = Batch::packed(&lines(LINES), codec)?;
        // One record of noise for as many bytes: the least work for the broker.
        let as_large = Batch::of(1, packed.encoded.len());
        let case = format!("{codec} batches of {} KiB", packed.encoded.len() / 1024);
        beside(context, &case, "plain, as large", [(&packed, false), (&as_large, false)]).await?;
    }
    Ok(())
}

async fn beside(
    context: &mut Context<'_>,
    case: &str,
    control: &str,
    cases: [(&Batch, bool); 2],
) -> Result<(), Failure> {
    let mut rounds = Vec::new();
    for _ in 0..context.options.rounds() {
        let value = rate(context, cases[0]).await?;
        rounds.push((value, rate(context, cases[1]).await?));
    }
    let figure = Figure::beside("producers", case, "MB/s", control, &rounds);
    context.report.figure(figure.map(|figure| figure.goal(Goal::RatioAtLeast(SAME))));
    Ok(())
}

/// The bytes of batches, as they are sent, in a second.
async fn rate(context: &Context<'_>, (batch, numbered): (&Batch, bool)) -> Result<f64, Failure> {
    let target = context.target(EngineKind::Disk, PARTITIONS).await?;
    let load =
        Load { batch: batch.clone(), numbered, ..full_load(&target, PRODUCERS, 1, PARTITIONS) };
    let gate = context.gate();
    let opens = gate.opens();
    let acked = load.run(target.address(), &gate).await?;
    let seconds = (Instant::now() - opens).min(context.options.span()).as_secs_f64();
    target.end().await?;
    let batches = acked.records as f64 / batch.records as f64;
    Ok(batches * batch.encoded.len() as f64 / 1e6 / seconds)
}
