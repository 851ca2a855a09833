//! The second model of a power cut: the disk as it is at one moment, under a process that stands
//! still.
//!
//! The broker is stopped by a signal under load, its disk copied block by block past the cache of
//! the file system, and let go on. A broker on the copy must have all that had been acked when the
//! first one stood still, and the first one must not have noticed.
//!
//! It is also the bug that is planted for all of these tests: what was acked after the copy was
//! made is not on it, and a check of the copy against the whole history has to find that.

use std::path::Path;
use std::time::Duration;

use ropewalk_chaos::{
    ChaosError, Image, Load, LoadPlan, Options, Recorder, Rng, Stopped, check, create_topics,
    read_back, run as run_program,
};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::judge::{builder, needs_mounts, read_and_judge, temporary, topics};

const ROUNDS: u32 = 4;
const IMAGE_BYTES: u64 = 1 << 30;
/// How long the load runs at least, before the process is stopped and after it.
const LOAD_AT_LEAST: Duration = Duration::from_millis(200);
/// How many milliseconds more, before.
const LOAD_MORE_MILLIS: u64 = 1_000;

pub(crate) async fn run(options: Options) -> Result<String, ChaosError> {
    needs_mounts()?;
    let directory = temporary()?;
    let image = Image::make(directory.path().join("image"), IMAGE_BYTES)?;
    let mount = image.mount(&directory.path().join("disk"))?;
    let mut broker = builder(&mount.point().join("data")).start().await?;
    let recorder = Recorder::default();
    create_topics(broker.address(), &recorder).await?;
    read_and_judge("at first", broker.address(), &recorder).await?;
    let mut acked = 0;
    for round in options.rounds(ROUNDS) {
        let mut rng = Rng::part(options.seed ^ 5, u64::from(round));
        let plan = LoadPlan::of_round(options.seed ^ 5, round);
        let load = Load::start(broker.address(), &recorder, plan);
        sleep(LOAD_AT_LEAST + rng.up_to_millis(LOAD_MORE_MILLIS)).await;
        let stopped = Stopped::new(&broker)?;
        let then = recorder.copy();
        let before = then.acked();
        let copy = block_in_place(|| copy_of(mount.device(), directory.path()))?;
        drop(stopped);
        sleep(LOAD_AT_LEAST).await;
        load.stop().await?;
        let later = recorder.copy();
        let more = later.acked() - before;
        let found =
            read_copy(round, &copy, &directory.path().join("copied"), &then, &later).await?;
        let what = format!("round {round}, the broker that stood still");
        read_and_judge(&what, broker.address(), &recorder).await?;
        println!(
            "round {round}: {before} acked and on the copy; {more} later, {found} missed there"
        );
        acked += before;
    }
    broker.terminate().await?;
    mount.unmount().await?;
    Ok(format!("{acked} records were acked before the stops, and on the copies"))
}

fn copy_of(device: &Path, directory: &Path) -> Result<Image, ChaosError> {
    let copy = Image::existing(directory.join("copy"));
    let (from, to) =
        (format!("if={}", device.display()), format!("of={}", directory.join("copy").display()));
    run_program("dd", &[&from, &to, "bs=1M", "iflag=direct", "conv=sparse", "status=none"])?;
    Ok(copy)
}

/// Reads the copy, and judges it by what was known then and, to see that it is found, by what was
/// acked later; gives how much of that was found missing.
async fn read_copy(
    round: u32,
    copy: &Image,
    point: &Path,
    then: &Recorder,
    later: &Recorder,
) -> Result<usize, ChaosError> {
    let mount = copy.mount(point)?;
    let mut broker = builder(&point.join("data")).start().await?;
    let what = format!("round {round}, the copy");
    // What the copy has beside that was under way.
    read_and_judge(&what, broker.address(), then).await?;
    let more = later.acked();
    read_back(broker.address(), later, &topics()).await?;
    let found = check(&later.lock()).len();
    broker.kill9().await?;
    mount.unmount().await?;
    if found == 0 && more > 0 {
        let what = "the copy misses what was acked later, and nothing was found";
        return Err(ChaosError::broken(what));
    }
    Ok(found)
}
