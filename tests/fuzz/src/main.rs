//! Fuzzes the decoders of what is stored, on any toolchain.
//!
//!     cargo run -p ropewalk-fuzz -- --seconds 60            each target for a minute
//!     cargo run -p ropewalk-fuzz -- --seconds 60 chunk key  these targets
//!     cargo run -p ropewalk-fuzz -- --replay FILE chunk     one input
//!     cargo run -p ropewalk-fuzz -- --list                  the names of the targets
//!     cargo run -p ropewalk-fuzz -- --write-corpus          makes the corpus anew
//!
//! Inputs are made from those of the corpus: changed, cut, crossed, and mostly given the checksums
//! and lengths that let them deeper into a decoder. What decodes all the same is kept and changed
//! further. All of it follows from the seed, which is printed; what fails is saved. A failure is a
//! panic, more memory than an input may ask for, or no end.

use std::alloc::System;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

mod corpus;
mod mutate;
mod targets;

use mutate::{Rng, mutate};
use targets::Target;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// An input may have this many bytes allocated in all, and so many for each of its bytes: a head of
/// three bytes becomes an entry of 140, more than once, as the laws are checked too; and protobuf
/// takes up to 10 MB for a list before it sees that the bytes end.
const FREE_BYTES: usize = 16 << 20;
const BYTES_PER_BYTE: usize = 2_048;
/// The most inputs that are kept besides those of the corpus.
const MAX_KEPT: usize = 256;
/// An input that takes longer than this never ends.
const STUCK: Duration = Duration::from_secs(20);

/// Fuzzes the decoders of what is stored.
#[derive(Debug, Parser)]
struct Options {
    /// The targets; all of them when none is named
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// End each target after this many inputs instead
    #[arg(long)]
    inputs: Option<u64>,
    /// What everything follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run one input only
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Print the names of the targets
    #[arg(long)]
    list: bool,
    /// Make the corpus anew, from the golden files
    #[arg(long)]
    write_corpus: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    if options.write_corpus {
        return corpus::write().map_err(|error| format!("cannot write the corpus: {error}"));
    }
    let all = targets::all();
    let names: Vec<&str> = all.iter().map(|target| target.name).collect();
    if options.list {
        println!("{}", names.join("\n"));
        return Ok(());
    }
    if let Some(other) = options.targets.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("there is no target {other}; the targets are: {}", names.join(", ")));
    }
    // What panics is told below, with the input.
    std::panic::set_hook(Box::new(|_| ()));
    let is_chosen = |target: &&Target| {
        options.targets.is_empty() || options.targets.iter().any(|name| name == target.name)
    };
    for target in all.iter().filter(is_chosen) {
        match &options.replay {
            Some(file) => {
                let bytes = fs::read(file).map_err(|e| format!("cannot read {file:?}: {e}"))?;
                let decoded = try_one(target, &bytes)?;
                println!("{}: {}", target.name, if decoded { "decodes" } else { "is refused" });
            }
            None => fuzz(target, options)?,
        }
    }
    Ok(())
}

/// Runs a target until its time is over, or an input fails.
#[expect(clippy::disallowed_methods, reason = "how long it runs decides nothing but the end")]
fn fuzz(target: &Target, options: &Options) -> Result<(), String> {
    let corpus = corpus::read(target.name)?;
    let began = Instant::now();
    let time = Duration::from_secs(options.seconds);
    let name = target.name.bytes().fold(0, |sum: u64, byte| sum * 31 + u64::from(byte));
    let mut rng = Rng(options.seed ^ name);
    let beats = Arc::new(AtomicU64::new(0));
    let _watch = watch(target.name, options.seed, &beats);
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let (mut decoded, mut largest) = (0u64, 0usize);
    for (number, input) in corpus.iter().enumerate() {
        if !try_saved(target, input)? {
            return Err(format!("{}: input {number} of the corpus is refused", target.name));
        }
    }
    let mut inputs = 0;
    while options.inputs.map_or(inputs % 64 != 0 || began.elapsed() < time, |most| inputs < most) {
        let mut input = pick(&corpus, &kept, &mut rng).to_vec();
        let other = pick(&corpus, &kept, &mut rng);
        mutate(&mut input, other, &mut rng);
        if rng.below(4) > 0 {
            (target.repair)(&mut input);
        }
        largest = largest.max(input.len());
        if try_saved(target, &input)? {
            decoded += 1;
            if kept.len() < MAX_KEPT {
                kept.push(input);
            } else if rng.below(16) == 0 {
                let at = rng.below(MAX_KEPT);
                kept[at] = input;
            }
        }
        inputs += 1;
        beats.store(inputs, Ordering::Relaxed);
    }
    println!(
        "{:8} seed {}: {inputs} inputs in {:.1} s, {decoded} of them decoded, {} in the corpus, \
         the largest of {largest} bytes",
        target.name,
        options.seed,
        began.elapsed().as_secs_f64(),
        corpus.len(),
    );
    Ok(())
}

fn pick<'a>(corpus: &'a [Vec<u8>], kept: &'a [Vec<u8>], rng: &mut Rng) -> &'a [u8] {
    let from_kept = !kept.is_empty() && rng.below(2) == 0;
    let from = if from_kept { kept } else { corpus };
    from.get(rng.below(from.len())).map_or(&[], Vec::as_slice)
}

/// Ends the process when no input ends for a while.
fn watch(target: &'static str, seed: u64, beats: &Arc<AtomicU64>) -> SyncSender<()> {
    let (stop, stopped) = sync_channel::<()>(1);
    let beats = Arc::clone(beats);
    std::thread::spawn(move || {
        let mut last = None;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(STUCK) {
            let now = beats.load(Ordering::Relaxed);
            if last == Some(now) {
                eprintln!("{target}: input {now} of seed {seed} does not end");
                std::process::exit(1);
            }
            last = Some(now);
        }
    });
    stop
}

/// Runs an input, and saves it when it fails.
fn try_saved(target: &Target, input: &[u8]) -> Result<bool, String> {
    try_one(target, input).map_err(|why| {
        let name = format!("{}-{:08x}.bin", target.name, crc32c::crc32c(input));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("failures").join(name);
        let saved = path.parent().map_or(Ok(()), fs::create_dir_all);
        match saved.and_then(|()| fs::write(&path, input)) {
            Ok(()) => format!(
                "{why}\nagain: cargo run -p ropewalk-fuzz -- --replay {} {}",
                path.display(),
                target.name
            ),
            Err(error) => format!("{why}\nand the input cannot be saved: {error}"),
        }
    })
}

fn try_one(target: &Target, input: &[u8]) -> Result<bool, String> {
    // What is allocated is counted for the whole process: inputs that are tried at one time, as by
    // two tests, would be charged for one another.
    static COUNTED: Mutex<()> = Mutex::new(());
    let _alone = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    let region = Region::new(ALLOCATOR);
    let checked = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let allocated = region.change().bytes_allocated;
    let decoded = checked.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("{}: panics: {}", target.name, text.unwrap_or_default())
    })?;
    let most = FREE_BYTES + BYTES_PER_BYTE * input.len();
    if allocated > most {
        let length = input.len();
        return Err(format!("{}: {allocated} bytes allocated for {length}", target.name));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_stands_a_few_inputs() {
        let options = Options::parse_from(["fuzz", "--inputs", "3000"]);
        run(&options).unwrap();
    }

    #[test]
    fn what_fails_is_told() {
        let check = |bytes: &[u8]| {
            assert!(bytes.first() != Some(&9), "a nine");
            drop(Vec::<u8>::with_capacity(bytes.len() << 24));
            true
        };
        let target = Target { name: "test", repair: |_| (), check };
        assert_eq!(try_one(&target, &[]), Ok(true));
        assert!(try_one(&target, &[9]).unwrap_err().contains("a nine"));
        assert!(try_one(&target, &[1; 9]).unwrap_err().contains("allocated"));
    }
}
