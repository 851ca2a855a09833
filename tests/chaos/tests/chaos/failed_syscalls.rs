//! One system call on the durable path fails. The process must say so and end: no retry, no ack.
//! Where it is not the journal's, acks are honest meanwhile: the journal has everything. Where it
//! is a file of sled's, the end may take until the next checkpoint.
//!
//! strace answers the n-th call of each thread with EIO. What was acked by then must be there when
//! the broker is started again without it.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use ropewalk_chaos::{
    ChaosError, Load, LoadPlan, Options, Recorder, Strace, create_topics, has_program,
};
use ropewalk_harness::{Broker, HarnessError, ropewalk_binary};
use tokio::time::{Instant, sleep};

use crate::judge::{builder, is_judged, read_and_judge, temporary};

/// The calls, and which of each thread's fails.
const CALLS: [(&str, &[u32]); 6] = [
    ("fdatasync", &[1, 7, 60]),
    ("pwrite64", &[1, 9, 80]),
    ("pwritev2", &[1, 9, 80]),
    ("fsync", &[1, 3]),
    ("sync_file_range", &[1, 9]),
    ("syncfs", &[1]),
];
/// How long the load runs while the call does not come so often.
const LOAD_FOR: Duration = Duration::from_millis(1_500);
/// How long the process may live after the failure.
const EXIT_WITHIN: Duration = Duration::from_secs(5);
/// The same where the index has failed: a checkpoint is due every 5 s.
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(15);
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// What one failed call led to.
enum Led {
    /// The broker never made the call so often.
    NotReached,
    /// It ended so long after this call had failed, and logged this.
    Ended { call: String, took: Duration, log: String, acked_after: usize },
    /// It lived on; this call had failed, and the log ends so.
    LivedOn { call: String, log: String, acked_after: usize },
}

pub(crate) async fn run(options: Options) -> Result<String, ChaosError> {
    if !has_program("strace") {
        return Err(ChaosError::Skipped("needs strace".to_owned()));
    }
    let directory = temporary()?;
    let data = directory.path().join("data");
    let recorder = Recorder::default();
    let mut broker = builder(&data).start().await?;
    create_topics(broker.address(), &recorder).await?;
    read_and_judge("at first", broker.address(), &recorder).await?;
    let judged = is_judged(&options, &data);
    broker.terminate().await?;
    drop(broker);
    if !judged {
        println!("no journal/: the plain engine's ways are shown, and not judged");
    }
    let (mut reached, mut wrong, mut round) = (0, Vec::new(), 0);
    for (call, nth) in calls() {
        round += 1;
        let plan = LoadPlan { flood: 0, ..LoadPlan::of_round(options.seed ^ 3, round) };
        let led = one(directory.path(), &data, (call, nth), &recorder, plan).await?;
        let verdict = verdict_on(&led, &data);
        println!("{call} no. {nth}: {}", verdict.as_ref().unwrap_or_else(|wrong| wrong));
        reached += usize::from(!matches!(led, Led::NotReached));
        wrong.extend(verdict.err().map(|wrong| format!("{call} no. {nth}: {wrong}")));
        // Started again without strace: what was acked is there.
        let mut broker = builder(&data).start().await?;
        let what = format!("after {call} no. {nth} failed");
        read_and_judge(&what, broker.address(), &recorder).await?;
        broker.terminate().await?;
    }
    if judged && reached == 0 {
        return Err(ChaosError::broken("none of the calls was made: the list is out of date"));
    }
    if judged && !wrong.is_empty() {
        return Err(ChaosError::broken(wrong.join("\n")));
    }
    let (wrong, tried) = (wrong.len(), round);
    Ok(format!("{reached} of {tried} calls failed, {wrong} were not answered as they should be"))
}

/// Every call with every number.
fn calls() -> Vec<(&'static str, u32)> {
    CALLS.iter().flat_map(|(call, all)| all.iter().map(move |nth| (*call, *nth))).collect()
}

async fn one(
    directory: &Path,
    data: &Path,
    (call, nth): (&str, u32),
    recorder: &Recorder,
    plan: LoadPlan,
) -> Result<Led, ChaosError> {
    let files = directory.join(format!("{call}-{nth}"));
    std::fs::create_dir(&files).map_err(ChaosError::system("making a directory"))?;
    let strace = Strace::failing(&files, &ropewalk_binary()?, call, nth)?;
    let started = Instant::now();
    let mut broker = match builder(data).binary(strace.wrapper()).start().await {
        Ok(broker) => broker,
        Err(HarnessError::Exited { log, .. }) if strace.injected().is_some() => {
            let call = strace.injected().unwrap_or_default();
            return Ok(Led::Ended { call, took: started.elapsed(), log, acked_after: 0 });
        }
        Err(error) => return Err(error.into()),
    };
    let load = Load::start(broker.address(), recorder, plan);
    let mut failed_at = u64::MAX;
    let mut led = watch(&mut broker, &strace, || failed_at = recorder.lock().now()).await?;
    broker.kill9().await?;
    load.stop().await?;
    if let Led::Ended { acked_after, .. } | Led::LivedOn { acked_after, .. } = &mut led {
        *acked_after = recorder.lock().acked_after(failed_at);
    }
    Ok(led)
}

/// Waits for the failure, says so, and waits for the end.
async fn watch(
    broker: &mut Broker,
    strace: &Strace,
    mut failed_now: impl FnMut(),
) -> Result<Led, ChaosError> {
    let until = Instant::now() + LOAD_FOR;
    while strace.injected().is_none() {
        if Instant::now() > until {
            return Ok(Led::NotReached);
        }
        sleep(LOOK).await;
    }
    failed_now();
    let failed = Instant::now();
    let call = strace.injected().unwrap_or_default();
    let within = if call.contains("/index/sled/") { CHECKPOINT_WITHIN } else { EXIT_WITHIN };
    while failed.elapsed() < within {
        if let Some(status) = broker.try_exit_status()? {
            let log = format!("{}\n{}", shown(status), broker.log());
            return Ok(Led::Ended { call, took: failed.elapsed(), log, acked_after: 0 });
        }
        sleep(LOOK).await;
    }
    Ok(Led::LivedOn { call, log: broker.log(), acked_after: 0 })
}

fn shown(status: ExitStatus) -> String {
    format!("the process ended: {status}")
}

/// Whether the broker did what it should, in words either way.
fn verdict_on(led: &Led, data: &Path) -> Result<String, String> {
    match led {
        Led::NotReached => Ok("was not made so often".to_owned()),
        Led::LivedOn { call, log, acked_after } => Err(format!(
            "WRONG: the process still runs after {call}; {acked_after} appends were acked that \
             were sent after it; last line: {:?}",
            log.lines().next_back()
        )),
        Led::Ended { call, acked_after: count @ 1.., .. } if call.contains("/journal/") => {
            Err(format!("WRONG: {count} appends were acked that were sent after {call}"))
        }
        Led::Ended { took, log, .. } => {
            let data = data.to_string_lossy();
            let names = |line: &&str| {
                let cause = line.contains("os error 5") || line.contains("Input/output error");
                cause && line.contains(&*data)
            };
            match log.lines().find(names) {
                Some(line) => Ok(format!("ended after {took:.0?}: {}", line.trim())),
                None => {
                    let last: Vec<_> = log.lines().rev().take(6).collect();
                    Err(format!("WRONG: no line names file and cause; last lines: {last:?}"))
                }
            }
        }
    }
}
