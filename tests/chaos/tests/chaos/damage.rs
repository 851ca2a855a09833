//! Damage to every kind of file, at its first, middle and last page.
//!
//! A broker on a damaged copy of its directory either has everything, or refuses to start with a
//! message that names the file, or refuses reads with CORRUPT_LOG that names it. It never loses
//! anything in silence, never serves a wrong byte, and never gives an offset again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ropewalk_chaos::{
    ChaosError, Damage, Load, LoadPlan, Options, Place, Recorder, Stubs, TOPICS, Target, ValueId,
    append_once, check, copy_directory, create_topics, read_back, reason_of, targets,
};
use ropewalk_harness::{Broker, HarnessError};
use tokio::time::sleep;
use tonic_types::StatusExt;

use crate::judge::{builder, is_judged, read_and_judge, temporary, topics};

/// How long a damaged broker may take to be ready, or to refuse.
const READY_WITHIN: Duration = Duration::from_secs(15);
/// The load before the copy that is stale later, and after it.
const LOAD_FOR: Duration = Duration::from_millis(400);
/// Large batches at first: a few megabytes.
const LARGE: u32 = 6;
/// Long enough for what the broker does in the background to be done.
const QUIET: Duration = Duration::from_millis(700);
/// Appends afterwards have this client's number.
const AFTERWARDS: u32 = 9_999;

/// What a broker did with its damaged files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Did {
    /// There was nothing to notice: the bytes are the same.
    Unchanged,
    /// Everything is there.
    Whole,
    /// It refused to start, and named the file.
    Refused,
    /// It refused reads, and named the file.
    CorruptLog,
    /// Something that it must not do.
    Wrong(String),
}

impl Did {
    fn word(&self) -> &str {
        match self {
            Self::Unchanged => "same",
            Self::Whole => "whole",
            Self::Refused => "refused",
            Self::CorruptLog => "corrupt-log",
            Self::Wrong(_) => "WRONG",
        }
    }
}

/// A directory to damage copies of.
struct Origin {
    data: PathBuf,
    /// The same directory a while before.
    stale: PathBuf,
    recorder: Recorder,
    copies: PathBuf,
}

pub(crate) async fn run(options: Options) -> Result<String, ChaosError> {
    let (mut wrong, mut cases) = (Vec::new(), 0);
    let mut judged = true;
    for killed in [false, true] {
        let directory = temporary()?;
        let origin = origin(directory.path(), options, killed).await?;
        judged = is_judged(&options, &origin.data);
        let how = if killed { "kill -9 in a quiet moment" } else { "clean stop" };
        println!("after a {how}:");
        for target in targets(&origin.data)? {
            let mut words: BTreeMap<String, String> = BTreeMap::new();
            for damage in target.damages(&origin.data)? {
                let did = one(&origin, &target, damage).await?;
                cases += 1;
                words.insert(damage.to_string(), did.word().to_owned());
                if let Did::Wrong(why) = did {
                    let path = target.path.display();
                    wrong.push(format!("after a {how}, {path} {damage}: {why}"));
                }
            }
            print_row(&target, &words);
        }
    }
    let shown = wrong.join("\n  ");
    if wrong.is_empty() {
        return Ok(format!("{cases} cases"));
    }
    let what = format!("{} of {cases} cases are wrong:\n  {shown}", wrong.len());
    if judged {
        return Err(ChaosError::broken(what));
    }
    Ok(format!("NOT JUDGED: there is no journal/, and the plain engine is known for it: {what}"))
}

fn print_row(target: &Target, words: &BTreeMap<String, String>) {
    println!("  {} ({}, {} bytes)", target.kind, target.path.display(), target.bytes);
    let mut by_word: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (damage, word) in words {
        by_word.entry(word).or_default().push(damage);
    }
    for (word, damages) in by_word {
        println!("    {word:12} {}", damages.join(", "));
    }
}

/// Fills a directory, copies it, goes on, and stops in one of two ways.
async fn origin(directory: &Path, options: Options, killed: bool) -> Result<Origin, ChaosError> {
    let (data, stale) = (directory.join("data"), directory.join("stale"));
    let recorder = Recorder::default();
    let mut broker = builder(&data).start().await?;
    create_topics(broker.address(), &recorder).await?;
    for round in 0..2 {
        let seed = options.seed ^ 7;
        let plan = LoadPlan {
            flood: if round == 0 { LARGE } else { 0 },
            pause: Duration::from_millis(4),
            ..LoadPlan::of_round(seed, round)
        };
        let load = Load::start(broker.address(), &recorder, plan);
        sleep(LOAD_FOR).await;
        load.stop().await?;
        sleep(QUIET).await;
        if round == 0 {
            copy_directory(&data, &stale)?;
        }
    }
    read_and_judge("before the damage", broker.address(), &recorder).await?;
    if killed {
        broker.kill9().await?;
    } else {
        broker.terminate().await?;
    }
    let copies = directory.join("copies");
    std::fs::create_dir(&copies).map_err(ChaosError::system("making a directory"))?;
    Ok(Origin { data, stale, recorder, copies })
}

async fn one(origin: &Origin, target: &Target, damage: Damage) -> Result<Did, ChaosError> {
    let copy = origin.copies.join("data");
    copy_directory(&origin.data, &copy)?;
    let did = if target.apply(damage, &copy, &origin.stale)? {
        what_it_did(origin, target, damage, &copy).await?
    } else {
        Did::Unchanged
    };
    std::fs::remove_dir_all(&copy).map_err(ChaosError::system("removing a copy"))?;
    Ok(did)
}

async fn what_it_did(
    origin: &Origin,
    target: &Target,
    damage: Damage,
    copy: &Path,
) -> Result<Did, ChaosError> {
    let mut broker = match builder(copy).ready_within(READY_WITHIN).start().await {
        Ok(broker) => broker,
        Err(HarnessError::Exited { log, .. }) if is_named(target, damage, &log) => {
            return Ok(Did::Refused);
        }
        Err(HarnessError::Exited { log, .. }) => {
            return Ok(Did::Wrong(format!("refused without naming the file: {}", last_of(&log))));
        }
        Err(HarnessError::NotReady { .. }) => {
            return Ok(Did::Wrong(format!("not ready after {READY_WITHIN:?}")));
        }
        Err(error) => return Err(error.into()),
    };
    let did = read_and_append(origin, target, damage, &broker).await?;
    if let Some(status) = broker.try_exit_status()? {
        return Ok(match is_named(target, damage, &broker.log()) {
            true => Did::Refused,
            false => Did::Wrong(format!("ended ({status}) without naming the file")),
        });
    }
    broker.kill9().await?;
    Ok(did)
}

/// Reads all, appends to every partition, and reads again.
async fn read_and_append(
    origin: &Origin,
    target: &Target,
    damage: Damage,
    broker: &Broker,
) -> Result<Did, ChaosError> {
    let recorder = origin.recorder.copy();
    let mut did = match read_back(broker.address(), &recorder, &topics()).await {
        Ok(_) => Did::Whole,
        Err(error) => refused_read(error, target, damage),
    };
    let stubs = match Stubs::connect(broker.address()).await {
        Ok(stubs) => stubs,
        // It ended meanwhile: the caller looks why.
        Err(_) => return Ok(did),
    };
    let mut counter = 0;
    for (topic, partitions, _) in TOPICS {
        for partition in 0..partitions {
            let ids = [ValueId { client: AFTERWARDS, counter }];
            counter += 1;
            let place = Place::new(topic, partition);
            // Refusing is right as well: the offsets that were given are what is judged.
            let _ = append_once(&stubs, &recorder, &place, &ids, 100).await;
        }
    }
    if did == Did::Whole
        && let Err(error) = read_back(broker.address(), &recorder, &topics()).await
    {
        did = refused_read(error, target, damage);
    }
    let found = check(&recorder.lock());
    if let Some(first) = found.first() {
        return Ok(Did::Wrong(format!("{} violations: {first}", found.len())));
    }
    Ok(did)
}

fn refused_read(error: ChaosError, target: &Target, damage: Damage) -> Did {
    let ChaosError::Refused { status, .. } = &error else {
        return Did::Wrong(format!("reading failed: {error}"));
    };
    let details = status.get_error_details();
    let file = details.error_info().and_then(|info| info.metadata.get("file"));
    let named = file.is_some_and(|file| is_named(target, damage, file));
    match (reason_of(status).as_str(), named) {
        ("CORRUPT_LOG", true) => Did::CorruptLog,
        _ => Did::Wrong(format!("reading failed: {error} (file {file:?})")),
    }
}

/// Whether a text names the file; of one that is gone or too old, its directory will do.
fn is_named(target: &Target, damage: Damage, text: &str) -> bool {
    let path = target.path.to_string_lossy();
    if text.contains(&*path) {
        return true;
    }
    let parent = target.path.parent().map(|parent| parent.to_string_lossy().into_owned());
    let parent = parent.filter(|parent| !parent.is_empty()).map(|parent| format!("data/{parent}"));
    match damage {
        Damage::Deleted | Damage::Stale => match parent {
            Some(parent) => text.contains(&parent),
            None => text.contains("/data"),
        },
        _ => false,
    }
}

fn last_of(log: &str) -> String {
    let lines: Vec<_> = log.lines().rev().take(3).collect();
    format!("{lines:?}")
}
