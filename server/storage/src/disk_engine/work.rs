//! What is done beside the writes, and when: memory is drained, and checkpoints are made.
//!
//! Each has a thread, so that memory is drained also while a checkpoint waits for the disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::core::Core;
use super::segments::Unsynced;
use super::snapshot::Snapshot;
use crate::engine::Result;

/// How often a thread looks what there is to do when nobody wakes it.
const TICK: Duration = Duration::from_millis(250);
/// Ticks after which changes that are in the journal alone come into the index, however few they
/// are.
const CHECKPOINT_TICKS: u32 = 20;

/// What only the one who drains knows.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) unsynced: Unsynced,
    /// The bytes of entries that the last look at all logs has left in memory.
    left: u64,
    /// Where chunks are put together.
    pub(super) chunk: Vec<u8>,
    /// The same for the second thread of a drain.
    pub(super) second: Vec<u8>,
}

/// What only the one who makes checkpoints knows.
#[derive(Default)]
pub(super) struct Checkpoints {
    /// Logs of which chunks up to an index are garbage; all that belongs to a log that is gone.
    pub(super) sweeps: BTreeMap<u64, Sweep>,
    /// What could not be brought into the index yet, as the disk has no room for it.
    pub(super) kept: Option<Snapshot>,
    /// Ticks since the last one.
    ticks: u32,
}

/// What of a log is garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sweep {
    UpTo(u64),
    All,
}

/// Wakes a thread.
#[derive(Default)]
pub(super) struct Alarm {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Alarm {
    /// Wakes the thread, now or when it next wants to sleep.
    pub(super) fn ring(&self) {
        *self.rung.lock().expect("no holder of the alarm panics") = true;
        self.heard.notify_one();
    }

    /// Sleeps until it rings, for a tick at most. Returns whether the tick has passed.
    fn sleep(&self) -> bool {
        let rung = self.rung.lock().expect("no holder of the alarm panics");
        let slept = self.heard.wait_timeout_while(rung, TICK, |rung| !*rung);
        let (mut rung, slept) = slept.expect("no holder of the alarm panics");
        *rung = false;
        slept.timed_out()
    }
}

impl Core {
    /// Drains memory until `stop` is set.
    pub(super) fn run_drain(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            self.drain_alarm.sleep();
            if let Err(error) = self.drain_step() {
                return self.fail(error);
            }
        }
    }

    /// Makes checkpoints until `stop` is set.
    pub(super) fn run_checkpoints(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let mut ticked = self.checkpoint_alarm.sleep();
            loop {
                match self.checkpoint_step(ticked) {
                    Ok(true) if !stop.load(Ordering::Acquire) => ticked = false,
                    Ok(_) => break,
                    Err(error) => return self.fail(error),
                }
            }
        }
    }

    /// Writes out what waits in memory, if it is enough.
    pub(super) fn drain_step(&self) -> Result<()> {
        let mut work = self.work();
        if self.is_refused.load(Ordering::Relaxed) {
            self.try_drain(&mut work, true)?;
        }
        // Each time: under load no tick passes, and it is then that a disk fills up.
        self.look_for_room()?;
        let step = self.options.memory_bytes / 8;
        let held = self.state().held_bytes;
        // A look at all logs is worth it when there is some more since the last one.
        if held > step && (held > 4 * step || held > work.left + step / 2 || held < work.left) {
            self.try_drain(&mut work, false)?;
            if self.state().held_bytes > self.options.memory_bytes / 2 {
                self.try_drain(&mut work, true)?;
            }
            work.left = self.state().held_bytes;
        }
        self.lower_allowed();
        Ok(())
    }

    /// Drains, as far as the disk has room. What could not be written stays in memory and journal:
    /// nothing is lost by it. Returns whether there was room.
    pub(super) fn try_drain(&self, work: &mut Work, all: bool) -> Result<bool> {
        let drained = self.drain(work, all);
        self.has_drained(drained)
    }

    /// Whether there was room for what was to be written out.
    pub(super) fn has_drained(&self, drained: Result<()>) -> Result<bool> {
        match drained {
            Err(error) if error.is_no_space() => {
                self.is_refused.store(true, Ordering::Relaxed);
                self.room.store(false, Ordering::Relaxed);
                self.notify_drained();
                Ok(false)
            }
            done => {
                done?;
                self.is_refused.store(false, Ordering::Relaxed);
                Ok(true)
            }
        }
    }

    /// Makes a checkpoint if one is due, and clears away. Returns whether there is more to do at
    /// once.
    pub(super) fn checkpoint_step(&self, ticked: bool) -> Result<bool> {
        let mut checkpoints = self.checkpoints();
        checkpoints.ticks += u32::from(ticked);
        self.journal.prepare()?;
        // What the disk has no room for is tried now and then, and not at each write.
        if (ticked || !self.journal.is_stuck()) && self.is_checkpoint_due(&checkpoints) {
            self.checkpoint(&mut checkpoints)?;
        } else if ticked {
            self.journal.set_stuck(false);
        }
        self.sweep(&mut checkpoints)
    }

    fn is_checkpoint_due(&self, checkpoints: &Checkpoints) -> bool {
        let written = self.written_since_checkpoint();
        let is_large =
            written >= self.options.checkpoint_bytes() || (written > 0 && self.journal.is_tight());
        let is_overdue = checkpoints.ticks >= CHECKPOINT_TICKS || self.journal.is_stuck();
        let state = self.state();
        let is_dirty = !state.dirty.is_empty() || !state.gone.is_empty();
        checkpoints.kept.is_some() || is_dirty && (is_large || state.has_garbage || is_overdue)
    }

    /// Wakes whoever has something to do after a write.
    pub(super) fn ring(&self, held_bytes: u64) {
        if held_bytes > self.options.memory_bytes / 8 {
            self.drain_alarm.ring();
        }
        if self.written_since_checkpoint() >= self.options.checkpoint_bytes()
            || self.journal.needs_files()
        {
            self.checkpoint_alarm.ring();
        }
    }

    fn written_since_checkpoint(&self) -> u64 {
        self.journal.written().saturating_sub(self.checkpointed.load(Ordering::Relaxed))
    }

    /// A checkpoint of what the journal had written so far was made.
    pub(super) fn checkpointed(&self, checkpoints: &mut Checkpoints, written: u64) {
        checkpoints.ticks = 0;
        self.checkpointed.store(written, Ordering::Relaxed);
    }

    /// The bytes that the disk has beside what is on its way to it.
    fn bytes_left(&self) -> Result<u64> {
        let held = self.state().held_bytes;
        Ok(self.disk.free_bytes(self.files.dir())?.saturating_sub(held))
    }

    /// The bytes of these that may be taken.
    pub(super) fn bytes_above_floor(&self) -> Result<u64> {
        Ok(self.bytes_left()?.saturating_sub(self.options.free_floor))
    }

    /// Looks whether the disk has room for records, beside those that are on their way to it.
    pub(super) fn look_for_room(&self) -> Result<()> {
        let left = self.bytes_left()?;
        let is_refused = self.is_refused.load(Ordering::Relaxed);
        let has_room = left >= self.options.free_floor && !is_refused;
        let above_floor = left.saturating_sub(self.options.free_floor);
        self.journal.set_room(above_floor, left.saturating_sub(self.options.checkpoint_room));
        if self.room.swap(has_room, Ordering::Relaxed) != has_room {
            if has_room {
                tracing::info!("the disk has room again: records are taken");
            } else {
                tracing::warn!(
                    dir = %self.files.dir().display(),
                    floor = self.options.free_floor,
                    "the disk is nearly full: no more records are taken until there is room; \
                     delete topics or records, shorten retention, or enlarge the disk"
                );
            }
        }
        Ok(())
    }
}
