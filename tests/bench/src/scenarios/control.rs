//! What the disk does by itself: a write and an fdatasync, over and over, in a file that was
//! written before, so that no block has to be found for it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Context;
use crate::records::Noise;
use crate::report::Row;
use crate::stats::Latencies;
use crate::target::temporary;
use crate::wire::Failure;

const KIB: usize = 1024;
/// The bytes of one write.
const GROUPS: [usize; 4] = [4 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB];
/// The size of the file, which is written from its start again at its end.
const FILE_BYTES: usize = 64 * 1024 * KIB;

pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    context
        .rounds(&GROUPS, async |group| {
            let case = format!("{} KiB + fdatasync", group / KIB);
            one(context, "control", case, *group).await
        })
        .await
}

/// Writes groups of this size for the time of a run.
pub(super) async fn one(
    context: &Context<'_>,
    scenario: &'static str,
    case: String,
    group: usize,
) -> Result<Row, Failure> {
    let dir = temporary(context.options)?;
    let (span, most) = (context.options.span(), context.options.max_write());
    let path = dir.path().join("control");
    let work = move || write(&path, group, span, most);
    let (latencies, bytes, seconds) = tokio::task::spawn_blocking(work).await??;
    let mut row = Row::new(scenario, case);
    row.megabytes_per_second = Some(bytes as f64 / 1e6 / seconds);
    row.latency = latencies.percentiles();
    Ok(row)
}

fn write(
    path: &Path,
    group: usize,
    span: Duration,
    most: u64,
) -> Result<(Latencies, u64, f64), Failure> {
    let file = File::create(path)?;
    let noise = Noise(1).bytes(FILE_BYTES);
    file.write_all_at(&noise, 0)?;
    file.sync_all()?;
    let mut latencies = Latencies::new();
    let mut written = 0;
    let started = Instant::now();
    while started.elapsed() < span && written < most {
        let at = usize::try_from(written)? % FILE_BYTES;
        let before = Instant::now();
        file.write_all_at(&noise[at..at + group], at as u64)?;
        file.sync_data()?;
        latencies.record(before.elapsed());
        written += group as u64;
    }
    Ok((latencies, written, started.elapsed().as_secs_f64()))
}
