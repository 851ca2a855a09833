//! What a producer may do with its batches: number them, so that the broker knows one again that
//! comes twice, and compress them. Each beside the same bytes without, and what is compressed also
//! as it is read.

use ropewalk::Compression;
use tokio::time::Instant;

use super::figure::{Figure, Goal};
use super::run::{Context, PARTITIONS, full_load, in_turn, settled};
use crate::codecs::lines;
use crate::load::Load;
use crate::options::EngineKind;
use crate::reader::Reader;
use crate::records::Batch;
use crate::target::Target;
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
    let mut rounds = Vec::new();
    for round in 0..context.options.rounds() {
        let value = rates(context, &plain, true);
        let (value, control) = in_turn(round, value, rates(context, &plain, false)).await?;
        rounds.push((value.produced, control.produced));
    }
    report(context, "numbered", "not numbered", &rounds);
    for codec in [Compression::Zstd, Compression::Lz4] {
        let packed = Batch::packed(&lines(LINES), codec)?;
        // One record of noise for as many bytes: the least work for the broker.
        let as_large = Batch::of(1, packed.encoded.len());
        let case = format!("{codec} batches of {} KiB", packed.encoded.len() / 1024);
        let (mut produced, mut read) = (Vec::new(), Vec::new());
        for round in 0..context.options.rounds() {
            let (value, control) =
                (rates(context, &packed, false), rates(context, &as_large, false));
            let (value, control) = in_turn(round, value, control).await?;
            produced.push((value.produced, control.produced));
            read.push((value.read, control.read));
        }
        report(context, &format!("{case}, produced"), "plain, as large", &produced);
        report(context, &format!("{case}, read"), "plain, as large", &read);
    }
    Ok(())
}

fn report(context: &mut Context<'_>, case: &str, control: &str, rounds: &[(f64, f64)]) {
    let figure = Figure::beside("producers", case, "MB/s", control, rounds);
    context.report.figure(figure.map(|figure| figure.goal(Goal::RatioAtLeast(SAME))));
}

/// The bytes of batches, as they are sent, in a second: as they go in, and as they come out.
struct Rates {
    produced: f64,
    read: f64,
}

async fn rates(context: &Context<'_>, batch: &Batch, numbered: bool) -> Result<Rates, Failure> {
    let target = context.target(EngineKind::Disk, PARTITIONS).await?;
    let load =
        Load { batch: batch.clone(), numbered, ..full_load(&target, PRODUCERS, 1, PARTITIONS) };
    let gate = context.gate();
    let opens = gate.opens();
    let acked = load.run(target.address(), &gate).await?;
    let seconds = (Instant::now() - opens).min(context.options.span()).as_secs_f64();
    let batches = acked.records as f64 / batch.records as f64;
    let produced = batches * batch.encoded.len() as f64 / 1e6 / seconds;
    let read = read(&target, batch).await?;
    target.end().await?;
    Ok(Rates { produced, read })
}

/// One reader, from the start, of what the page cache still has.
async fn read(target: &Target, batch: &Batch) -> Result<f64, Failure> {
    settled(|| target.io()).await?;
    let reader = Reader::from_start(target.address(), &target.topic).await?;
    let began = Instant::now();
    let delivered = reader.read_all().await?;
    let bytes = delivered.records as f64 / batch.records as f64 * batch.encoded.len() as f64;
    Ok(bytes / 1e6 / began.elapsed().as_secs_f64())
}
