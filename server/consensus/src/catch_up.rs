//! How fast followers get what they lack and what is not in memory.
//!
//! A follower that was away gets the log from the disk of its leader. The shard has it read (see
//! [`CatchUpRead`]), a run at a time, and bounds two things: the bytes that were read and not
//! acknowledged yet, so that the way to the follower always has room for what is new; and, while
//! there is something new to be written, the bytes in each second (Kafka's
//! `leader.replication.throttled.rate`, Redpanda's `raft_learner_recovery_rate`, CockroachDB's
//! `kv.snapshot_rebalance.max_rate`). With nothing else to do it goes as fast as it can. What is in
//! memory is never held up.
//!
//! A fixed rate has a trap: a follower that gets less than is written never catches up. So the
//! bound is never below what is written, and a little more, unless proposals have to wait for the
//! disk already: then there is nothing to spare.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ropewalk_core::{GroupId, Timestamp};
use ropewalk_storage::group_log::StoredRun;
use ropewalk_storage::{Engine, StorageError};

/// One read of the disk takes this many bytes at most, and no more than the window, unless a single
/// entry is larger.
pub const READ_BYTES: u64 = 1024 * 1024;
/// So long an allowance that was not used up is kept.
const KEPT: Duration = Duration::from_millis(200);
/// What is written is measured over this time.
const MEASURED: Duration = Duration::from_secs(1);
/// Below this part of the rate, what is written counts as nothing.
const QUIET_PART: u64 = 16;

/// How much followers that are behind may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUpBounds {
    /// Bytes in each second while there are writes beside it.
    pub bytes_per_second: u64,
    /// Bytes that were read and not acknowledged yet. One read is made in any case.
    pub window: u64,
}

impl CatchUpBounds {
    /// No bounds.
    pub const NONE: Self = Self { bytes_per_second: u64::MAX, window: u64::MAX };
}

/// A part of a group's log to read for followers that lack it. Answered by
/// [`Input::CaughtUp`](crate::Input::CaughtUp).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUpRead {
    pub(crate) group: GroupId,
    pub(crate) incarnation: u64,
    pub(crate) term: u64,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) term_before: Option<u64>,
    pub(crate) max_bytes: u64,
}

/// What was read for followers.
#[derive(Debug)]
pub struct CaughtUp {
    pub(crate) read: CatchUpRead,
    pub(crate) run: Result<StoredRun, StorageError>,
}

impl CatchUpRead {
    /// Reads it. Waits for the disk.
    #[must_use]
    pub fn carry_out(self, engine: &dyn Engine) -> CaughtUp {
        let range = self.first..self.end;
        let run = StoredRun::read(engine, self.group, range, self.max_bytes, self.term_before);
        CaughtUp { read: self, run }
    }
}

/// The turns of followers that are behind.
pub(crate) struct CatchUp {
    bounds: CatchUpBounds,
    /// Where followers wait, in the order of their turns.
    waiting: VecDeque<(GroupId, u64)>,
    /// Reads that are under way.
    reading: u64,
    /// The bytes that were sent and not acknowledged yet, of each group that has some, and of all.
    unacknowledged: BTreeMap<GroupId, u64>,
    in_flight: u64,
    /// Bytes that may be read now; less than nothing after a read of more.
    allowance: i64,
    as_of: Timestamp,
    /// What was written since then, and in the time before.
    measured_from: Timestamp,
    written: u64,
    written_before: u64,
    /// Whether proposals had to wait since then, and in the time before.
    is_busy: bool,
    was_busy: bool,
}

impl CatchUp {
    pub(crate) fn new(bounds: CatchUpBounds) -> Self {
        Self {
            bounds,
            waiting: VecDeque::new(),
            reading: 0,
            unacknowledged: BTreeMap::new(),
            in_flight: 0,
            allowance: 0,
            as_of: Timestamp::MIN,
            measured_from: Timestamp::MIN,
            written: 0,
            written_before: 0,
            is_busy: false,
            was_busy: false,
        }
    }

    /// The most bytes of one read.
    pub(crate) fn read_bytes(&self) -> u64 {
        READ_BYTES.min(self.bounds.window)
    }

    /// A follower waits for what begins at an index. Told once for each place.
    pub(crate) fn wait(&mut self, group: GroupId, index: u64) {
        self.waiting.push_back((group, index));
    }

    /// So many bytes of a group are under way to its followers.
    pub(crate) fn set_unacknowledged(&mut self, group: GroupId, bytes: u64) {
        let before = if bytes == 0 {
            self.unacknowledged.remove(&group)
        } else {
            self.unacknowledged.insert(group, bytes)
        };
        self.in_flight = self.in_flight - before.unwrap_or(0) + bytes;
    }

    /// So many bytes were taken up to be written.
    pub(crate) fn note_written(&mut self, now: Timestamp, bytes: u64) {
        self.measure(now);
        self.written += bytes;
    }

    /// Proposals have to wait for the disk.
    pub(crate) fn note_busy(&mut self, now: Timestamp) {
        self.measure(now);
        self.is_busy = true;
    }

    /// Whose turn it is, if anybody waits and may be served now. `began` or [`CatchUp::wait`] must
    /// follow.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<(GroupId, u64)> {
        if self.waiting.is_empty() {
            return None;
        }
        let under_way = self.in_flight.saturating_add(self.reading * self.read_bytes());
        if under_way > 0 && under_way.saturating_add(self.read_bytes()) > self.bounds.window {
            return None;
        }
        self.measure(now);
        self.refill(now);
        if !self.is_bounded() {
            // What it took while nobody was disturbed is not held against it later.
            self.allowance = self.allowance.max(1);
        }
        if self.allowance <= 0 {
            return None;
        }
        self.waiting.pop_front()
    }

    /// A read has begun.
    pub(crate) fn began(&mut self) {
        self.reading += 1;
        self.allowance = self.allowance.saturating_sub_unsigned(self.read_bytes());
    }

    /// A read has ended, with so many bytes.
    pub(crate) fn ended(&mut self, bytes: u64) {
        self.reading -= 1;
        self.allowance = self.allowance.saturating_add_unsigned(self.read_bytes());
        self.allowance = self.allowance.saturating_sub_unsigned(bytes);
    }

    /// Whether there is anything beside it that it could disturb.
    fn is_bounded(&self) -> bool {
        self.bounds.bytes_per_second < u64::MAX
            && self.written.max(self.written_before) > self.bounds.bytes_per_second / QUIET_PART
    }

    /// What followers that are behind get in each second now: more than is written, if there is
    /// anything to spare.
    fn rate(&self) -> u64 {
        if self.is_busy || self.was_busy {
            return self.bounds.bytes_per_second;
        }
        let written = self.written.max(self.written_before);
        self.bounds.bytes_per_second.max(written.saturating_add(written / 4))
    }

    fn refill(&mut self, now: Timestamp) {
        let elapsed = now.since(self.as_of).min(KEPT);
        self.as_of = now;
        let most = i64::try_from(bytes_in(self.rate(), KEPT)).unwrap_or(i64::MAX);
        let added = bytes_in(self.rate(), elapsed);
        self.allowance = self.allowance.saturating_add_unsigned(added).min(most);
    }

    fn measure(&mut self, now: Timestamp) {
        let elapsed = now.since(self.measured_from);
        if elapsed >= MEASURED || now < self.measured_from {
            let is_next = elapsed < 2 * MEASURED;
            self.written_before = if is_next { self.written } else { 0 };
            self.was_busy = is_next && self.is_busy;
            (self.written, self.is_busy) = (0, false);
            self.measured_from = now;
        }
    }
}

fn bytes_in(rate: u64, time: Duration) -> u64 {
    let bytes = u128::from(rate) * time.as_nanos() / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// The bytes that followers get in each second, when so many are written in each.
    fn granted(written: u64, is_busy: bool) -> u64 {
        let bounds = CatchUpBounds { bytes_per_second: 8 * MIB, window: 4 * MIB };
        let mut catch_up = CatchUp::new(bounds);
        let mut read = 0;
        for millisecond in 0..20_000 {
            let now = Timestamp(millisecond * 1_000_000);
            catch_up.note_written(now, written / 1_000);
            if is_busy && millisecond % 500 == 0 {
                catch_up.note_busy(now);
            }
            catch_up.wait(GroupId::FIRST_PARTITION, 1);
            while catch_up.next(now).is_some() {
                catch_up.began();
                catch_up.ended(READ_BYTES);
                // The first seconds are not yet measured.
                read += if millisecond >= 5_000 { READ_BYTES } else { 0 };
            }
        }
        read / 15
    }

    #[test]
    fn followers_get_more_than_is_written_unless_proposals_wait() {
        let is_about = |bytes: u64, expected: u64| {
            assert!((expected * 9 / 10..=expected * 11 / 10).contains(&bytes), "{bytes}");
        };
        is_about(granted(2 * MIB, false), 8 * MIB);
        is_about(granted(40 * MIB, false), 50 * MIB);
        is_about(granted(40 * MIB, true), 8 * MIB);
        assert!(granted(MIB / 4, false) > 100 * MIB, "next to nothing is nothing");
    }
}
