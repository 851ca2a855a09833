//! The thread that compacts logs, one after the other.
//!
//! While something is written beside it, it reads and writes no more in each second than a setting
//! says; with nothing else to do it goes as fast as it can. So a compaction of many gigabytes costs
//! producers little, and is done in time (Kafka's `log.cleaner.io.max.bytes.per.second`).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use ropewalk_consensus::Input;
use ropewalk_consensus::group::CompactionOrder;
use ropewalk_core::{Clock, GroupId, limits};
use ropewalk_storage::compaction::{Compaction, CompactionBounds};
use ropewalk_storage::log_view::LogReader;

use super::{Command, Driver, JournalWriter};

/// What could not be done just now is tried again after this time, and after twice as much each
/// time up to the longest: an order is told before it is on the disk, which takes some
/// milliseconds; a full disk takes longer, and each try reads the log.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What is written beside it is measured over this time.
const MEASURED: Duration = Duration::from_millis(500);
/// With less than this part of the rate written beside it, it goes as fast as it can.
const QUIET_PART: u64 = 16;
/// About how much is read at once.
const READ_BYTES: u64 = 1024 * 1024;
/// Segments that became small are written together up to this many bytes.
const MERGED_BYTES: u64 = 64 * 1024 * 1024;

/// What is to be compacted.
#[derive(Default)]
pub(super) struct Compactions {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The last order of each group: it includes those before it.
    orders: BTreeMap<GroupId, Waiting>,
    /// The group whose turn was last.
    last: Option<GroupId>,
    is_stopped: bool,
}

/// An order that waits for its turn.
struct Waiting {
    order: CompactionOrder,
    reader: LogReader,
    /// How long it was last put off, and until when.
    pause: Duration,
    until: Duration,
}

impl Compactions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the orders panics")
    }

    /// A group is to be compacted.
    pub(super) fn order(&self, group: GroupId, order: CompactionOrder, reader: LogReader) {
        let (pause, until) = (Duration::ZERO, Duration::ZERO);
        self.lock().orders.insert(group, Waiting { order, reader, pause, until });
        self.changed.notify_one();
    }

    /// Ends what is under way, and everything after it.
    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_one();
    }

    /// Carries out orders until it is stopped.
    pub(super) fn run(&self, driver: &Driver, writer: &JournalWriter, rate: u64) {
        // One for all logs: many small ones are as much work as a large one.
        let mut pace = Pace::new(self, writer, rate);
        while let Some((group, order, reader)) = self.next(writer.clock.as_ref()) {
            let mut go_on = |bytes| pace.go_on(bytes);
            let bounds = CompactionBounds {
                read_bytes: READ_BYTES,
                map_bytes: limits::MAX_COMPACTION_MAP_BYTES,
                merged_bytes: MERGED_BYTES,
            };
            let mut compaction = Compaction::new(&reader, order.order, bounds, &mut go_on);
            let done = compaction.run();
            writer.metrics.compacted(&compaction.work);
            match done {
                Ok(Some(done)) => {
                    tracing::debug!(%group, index = order.order.index, "a log was compacted");
                    self.forget(group, order);
                    let told = Input::Compacted(group, order, Ok(done));
                    let _ = driver.shard(group).blocking_send(Command::Input(told));
                }
                Ok(None) if reader.is_gone() => self.forget(group, order),
                Ok(None) => self.put_off(group, order, writer.clock.monotonic()),
                Err(error) if error.is_damage() => {
                    self.forget(group, order);
                    let told = Input::Compacted(group, order, Err(error));
                    let _ = driver.shard(group).blocking_send(Command::Input(told));
                }
                Err(error) => return (writer.on_fatal)(&error),
            }
        }
    }

    /// The group whose turn it is, once there is one; `None` when it is stopped.
    fn next(&self, clock: &dyn Clock) -> Option<(GroupId, CompactionOrder, LogReader)> {
        let mut state = self.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            let now = clock.monotonic();
            let after = state.last.map_or(GroupId(0), |last| GroupId(last.0 + 1));
            let mut turns = state.orders.range(after..).chain(&state.orders);
            if let Some((group, next)) = turns.find(|(_, waiting)| waiting.until <= now) {
                let turn = (*group, next.order, next.reader.clone());
                state.last = Some(turn.0);
                return Some(turn);
            }
            let until = state.orders.values().map(|waiting| waiting.until).min();
            let time = until.map_or(Duration::MAX, |until| until.saturating_sub(now));
            let waited = self.changed.wait_timeout(state, time);
            state = waited.expect("no holder of the orders panics").0;
        }
    }

    /// An order could not be carried out just now: others may go on meanwhile.
    fn put_off(&self, group: GroupId, order: CompactionOrder, now: Duration) {
        let mut state = self.lock();
        if let Some(waiting) = state.orders.get_mut(&group).filter(|of| of.order == order) {
            waiting.pause = (waiting.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            waiting.until = now + waiting.pause;
        }
    }

    /// An order was carried out, unless there is a newer one.
    fn forget(&self, group: GroupId, done: CompactionOrder) {
        let mut state = self.lock();
        if state.orders.get(&group).is_some_and(|waiting| waiting.order == done) {
            state.orders.remove(&group);
        }
    }

    /// Waits, unless it is stopped. Returns whether it may go on.
    fn wait(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, time, |state| !state.is_stopped);
        !waited.expect("no holder of the orders panics").0.is_stopped
    }
}

/// How fast a compaction may go.
struct Pace<'a> {
    compactions: &'a Compactions,
    writer: &'a JournalWriter,
    rate: u64,
    /// When it was measured last, and what had been written by then.
    measured_at: Duration,
    written: u64,
    is_quiet: bool,
}

impl<'a> Pace<'a> {
    fn new(compactions: &'a Compactions, writer: &'a JournalWriter, rate: u64) -> Self {
        let measured_at = writer.clock.monotonic();
        let written = writer.written.load(Ordering::Relaxed);
        Self { compactions, writer, rate, measured_at, written, is_quiet: true }
    }

    /// So many bytes were read, and about as many are written for them.
    fn go_on(&mut self, bytes: u64) -> bool {
        let now = self.writer.clock.monotonic();
        let elapsed = now.saturating_sub(self.measured_at);
        if elapsed >= MEASURED {
            let written = self.writer.written.load(Ordering::Relaxed);
            let per_second = (written - self.written) as f64 / elapsed.as_secs_f64();
            self.is_quiet = per_second < (self.rate / QUIET_PART) as f64;
            (self.measured_at, self.written) = (now, written);
        }
        let time = match self.is_quiet {
            true => Duration::ZERO,
            false => Duration::from_secs_f64(bytes as f64 / self.rate.max(1) as f64),
        };
        self.compactions.wait(time)
    }
}
