//! The planted bug: the same power cut under a broker whose syncs do nothing. It must be found,
//! or the power-cut test would find nothing either.
//!
//! An engine that opens its journal for synchronous writes needs none of the calls that are taken
//! from it here. Where there is a `journal/`, a broker that lost nothing is reported, not judged.

use std::time::Duration;

use ropewalk_chaos::{
    ChaosError, Image, Load, LoadPlan, Options, PowerCut, Recorder, Strace, check, create_topics,
    has_program, read_back,
};
use ropewalk_harness::ropewalk_binary;
use tokio::time::sleep;

use crate::judge::{builder, has_journal, needs_mounts, temporary, topics};

const IMAGE_BYTES: u64 = 1 << 30;
const LOAD_FOR: Duration = Duration::from_millis(400);
/// All that makes bytes durable. With ioctl, as a file can be marked to be written synchronously.
const SYNCS: [&str; 6] = ["fsync", "fdatasync", "sync_file_range", "syncfs", "msync", "ioctl"];

pub(crate) async fn run(options: Options) -> Result<String, ChaosError> {
    needs_mounts()?;
    if !has_program("strace") {
        return Err(ChaosError::Skipped("needs root and strace".to_owned()));
    }
    let directory = temporary()?;
    let image = Image::make(directory.path().join("image"), IMAGE_BYTES)?;
    let point = directory.path().join("disk");
    let mount = image.mount(&point)?;
    let strace = Strace::lying(directory.path(), &ropewalk_binary()?, &SYNCS)?;
    let mut broker = builder(&point.join("data")).binary(strace.wrapper()).start().await?;
    let recorder = Recorder::default();
    create_topics(broker.address(), &recorder).await?;
    let plan = LoadPlan { flood: 0, ..LoadPlan::of_round(options.seed, 0) };
    let load = Load::start(broker.address(), &recorder, plan);
    sleep(LOAD_FOR).await;
    let cut = PowerCut::arm(&point)?;
    recorder.lock().power_off();
    cut.cut()?;
    broker.kill9().await?;
    load.stop().await?;
    drop(broker);
    mount.unmount().await?;
    let acked = recorder.acked();
    recorder.lock().power_on();

    let mount = image.mount(&point)?;
    let found = match builder(&point.join("data")).start().await {
        Err(error) => format!("it did not start: {error}"),
        Ok(broker) => match read_back(broker.address(), &recorder, &topics()).await {
            Err(error) => format!("it did not read: {error}"),
            Ok(_) => {
                let found = check(&recorder.lock());
                let first = found.first().map(|first| format!(", first that {first}"));
                first.map_or(String::new(), |first| format!("{} violations{first}", found.len()))
            }
        },
    };
    let synchronous = has_journal(&point.join("data"));
    mount.unmount().await?;
    if found.is_empty() && synchronous {
        return Ok(format!("NOT SHOWN: {acked} records acked without a sync call, and none lost"));
    }
    if found.is_empty() {
        let what = "a broker that syncs nothing lost nothing: this harness proves nothing";
        return Err(ChaosError::broken(format!("{what}; {acked} records acked")));
    }
    let line = found.lines().last().unwrap_or_default();
    Ok(format!("{acked} records acked without a sync; found: {line}"))
}
