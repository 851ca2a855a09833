//! Runs the tests, one after the other or in processes of their own.

use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use ropewalk_chaos::{ChaosError, Options, SEED};
use tokio::time::Instant;

use crate::{jobs, sandbox};

/// How long all that every change runs may take on two cores.
const ALL_WITHIN: Duration = Duration::from_secs(25 * 60);

type Running = Pin<Box<dyn Future<Output = Result<String, ChaosError>> + Send>>;

/// One test.
pub(crate) struct Scenario {
    name: &'static str,
    run: Box<dyn Fn(Options) -> Running>,
}

/// A test of this name. It gives a line that sums up what it did.
pub(crate) fn scenario<F>(name: &'static str, run: impl Fn(Options) -> F + 'static) -> Scenario
where
    F: Future<Output = Result<String, ChaosError>> + Send + 'static,
{
    Scenario { name, run: Box::new(move |options| Box::pin(run(options))) }
}

/// What the usual flags of a test binary choose; others are ignored.
struct Chosen {
    names: Vec<String>,
    left_out: Vec<String>,
    exact: bool,
}

impl Chosen {
    fn from(arguments: &[String]) -> Self {
        let mut chosen = Self { names: Vec::new(), left_out: Vec::new(), exact: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => chosen.exact = true,
                "--skip" => chosen.left_out.extend(arguments.next().cloned()),
                "--test-threads" | "--format" | "--color" | "--logfile" => {
                    arguments.next();
                }
                flag if flag.starts_with('-') => {}
                name => chosen.names.push(name.to_owned()),
            }
        }
        chosen
    }

    fn has(&self, name: &str) -> bool {
        let is = |word: &String| if self.exact { name == word } else { name.contains(word) };
        (self.names.is_empty() || self.names.iter().any(is)) && !self.left_out.iter().any(is)
    }
}

/// Runs those that were chosen.
pub(crate) fn run(scenarios: &[Scenario], arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--list") {
        for scenario in scenarios {
            println!("{}: test", scenario.name);
        }
        return ExitCode::SUCCESS;
    }
    let options = match Options::from_env() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let in_parts = options.jobs > 1 && !jobs::is_part();
    // Several at a time have a sandbox each, and none around them.
    if !in_parts && let Some(code) = sandbox::enter(arguments) {
        return code;
    }
    let chosen = Chosen::from(arguments);
    let chosen: Vec<_> = scenarios.iter().filter(|scenario| chosen.has(scenario.name)).collect();
    let begun = Instant::now();
    let failed = if in_parts {
        sandbox::clean_up();
        jobs::run(&chosen.iter().map(|scenario| scenario.name).collect::<Vec<_>>(), options)
    } else {
        println!("{SEED}={} runs this again", options.seed);
        let failed = chosen.iter().filter(|scenario| !one(scenario, options));
        failed.map(|scenario| scenario.name).collect()
    };
    if !jobs::is_part() {
        let (took, most) = (begun.elapsed().as_secs(), ALL_WITHIN.as_secs());
        println!("\n{} tests took {took} s; all but the long tier have {most} s", chosen.len());
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nfailed: {}; {SEED}={}", failed.join(", "), options.seed);
    ExitCode::FAILURE
}

/// Runs one in a thread and a runtime of its own, so that a panic ends it alone. What it made is
/// gone afterwards, as all of it was dropped.
fn one(scenario: &Scenario, options: Options) -> bool {
    println!("\n---- {}", scenario.name);
    let running = (scenario.run)(options);
    let started = Instant::now();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(ChaosError::system("starting a runtime"))?;
        runtime.block_on(running)
    });
    let outcome = thread.join();
    let took = started.elapsed();
    match outcome {
        Ok(Ok(summary)) => {
            println!("test {} ... ok ({took:.1?}): {summary}", scenario.name);
            true
        }
        Ok(Err(ChaosError::LeftToLongTier)) => {
            println!("test {} ... {}", scenario.name, ChaosError::LeftToLongTier);
            true
        }
        Ok(Err(ChaosError::Skipped(why))) if options.must_run => {
            println!("test {} ... FAILED: it cannot run here, and CI is set: {why}", scenario.name);
            false
        }
        Ok(Err(ChaosError::Skipped(why))) => {
            println!("test {} ... skipped: {why}", scenario.name);
            true
        }
        Ok(Err(error)) => {
            println!("test {} ... FAILED ({took:.1?})\n{error}", scenario.name);
            false
        }
        Err(_) => {
            println!("test {} ... FAILED ({took:.1?}): it panicked", scenario.name);
            false
        }
    }
}
