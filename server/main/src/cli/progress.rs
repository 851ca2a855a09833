//! A sign of life for whoever waits at a terminal.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Away from a terminal, what is waited for is told at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Counts records on standard error, if that is a terminal and nothing else is shown there.
pub(super) struct Progress {
    bar: ProgressBar,
    /// What was told last, and when, where there is no terminal and somebody waits.
    lines: Option<Mutex<Told>>,
}

type Told = Option<(Instant, String)>;

impl Progress {
    fn of(bar: ProgressBar) -> Progress {
        Progress { bar, lines: None }
    }

    /// Shows nothing when `quiet`, or away from a terminal. `what` says what is being counted.
    pub(super) fn new(what: &'static str, quiet: bool) -> Progress {
        if quiet || !std::io::stderr().is_terminal() {
            return Progress::of(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} {msg}, {per_sec}") {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress::of(bar)
    }

    /// A bar of bytes of which the number is known, once it was said. Hidden as in `new`.
    pub(super) fn of_bytes(what: &'static str) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::of(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(5));
        let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Progress::of(bar)
    }

    /// Somebody waits for something that is told by `tell`: away from a terminal too, as a line
    /// when it has changed, at most every five seconds.
    pub(super) fn of_waiting() -> Progress {
        if !std::io::stderr().is_terminal() {
            let lines = Some(Mutex::default());
            return Progress { bar: ProgressBar::hidden(), lines };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress::of(bar)
    }

    /// What is waited for.
    pub(super) fn tell(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        let Some(lines) = self.lines.as_ref().filter(|_| !what.is_empty()) else { return };
        let mut told = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news =
            told.as_ref().is_none_or(|(when, last)| last != what && when.elapsed() >= TOLD_EVERY);
        if is_news {
            eprintln!("ropewalk: {what}");
            *told = Some((Instant::now(), what.to_owned()));
        }
    }

    /// So much is done of so much.
    pub(super) fn set(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    pub(super) fn add(&self, count: u64) {
        self.bar.inc(count);
    }

    /// Says something on standard error without spoiling the display.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("ropewalk: {text}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
