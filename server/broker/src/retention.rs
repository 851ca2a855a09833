//! Cleanup: moves log starts up, a whole segment at a time, and has logs compacted.
//!
//! What goes is a pure function of what the log holds; that it goes is said in the partition's log,
//! so that every replica does the same.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_cluster::{COMPACTION, Cleanup, MetadataWatch, TopicSettings};
use ropewalk_core::compaction::CleanUp;
use ropewalk_core::{Clock, Offset, Timestamp};
use ropewalk_storage::compaction::CompactionState;
use ropewalk_storage::engine::SegmentMark;
use ropewalk_storage::log_view::LogReader;

use crate::driver::Driver;
use crate::metrics::{Metrics, TrimCause};
use crate::partition::Partition;
use crate::table::TableWatch;

/// Checks every partition at each interval, until the task is dropped.
pub(crate) async fn run(
    table: TableWatch,
    interval: Duration,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    compactor: Compactor,
) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        let topics = Arc::clone(&table.borrow().topics);
        for served in topics.values() {
            // That they go is said by who leads.
            let led = served.partitions.iter().filter(|partition| partition.epoch().is_some());
            for partition in led {
                let settings = &served.topic.settings;
                trim_one(partition, settings, clock.now(), &metrics).await;
                compactor.order(partition, settings, clock.now());
            }
        }
    }
}

/// Has logs compacted.
pub(crate) struct Compactor {
    pub(crate) driver: Driver,
    pub(crate) metadata: MetadataWatch,
}

impl Compactor {
    fn order(&self, partition: &Partition, settings: &TopicSettings, now: Timestamp) {
        let Some(log) = partition.reader() else { return };
        let state = log.compaction();
        let is_idle = settings.cleanup.policy.compacts() && state.pending().is_none();
        if !is_idle || self.metadata.borrow().level() < COMPACTION {
            return;
        }
        let high_watermark = log.bounds().high_watermark;
        let wanted = compaction(&log.segments(), high_watermark, &state, &settings.cleanup, now);
        if let Some((wanted, is_by_age)) = wanted {
            self.driver.order_compaction(partition.group, wanted, is_by_age);
        }
    }
}

/// A log with less than this that was never compacted is left alone, until it is old.
const LEAST_BYTES: u64 = 1024 * 1024;
/// What time ends is removed when so many parts of its time have passed since the last compaction.
const PARTS: u32 = 8;
/// As nothing but time has passed, a log is compacted no sooner after the last time than this.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// And a large one no more often than if so much of it were read in each second.
const AGED_BYTES_PER_SECOND: u64 = 8 * 1024 * 1024;

/// What is to be compacted, if anything is, and whether only what is past its age is. At least half
/// of the log was never compacted then, so that what is written over is read a few times at most
/// (Kafka's `min.cleanable.dirty.ratio`); or some of it is as old as tombstones become; or time has
/// ended some of the rest.
fn compaction(
    segments: &[SegmentMark],
    high_watermark: Offset,
    state: &CompactionState,
    cleanup: &Cleanup,
    now: Timestamp,
) -> Option<(CleanUp, bool)> {
    let before = |time: Duration| {
        let nanos = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        Timestamp(now.0.saturating_sub(nanos))
    };
    let ended = before(cleanup.delete_retention);
    let first_end = state.done.and_then(|done| done.first_end);
    let has_ended = first_end.is_some_and(|end| end < ended);
    let wanted = CleanUp {
        tombstones_below: state.tombstones_below(now, cleanup.delete_retention),
        ended_before: if has_ended { ended } else { Timestamp::MIN },
        expired_before: cleanup.record_ttl.map_or(Timestamp::MIN, before),
        lasting_from: 0,
    };
    let since = state.ordered.map_or(0, |ordered| ordered.index);
    let clean = segments.partition_point(|segment| segment.base_index < since);
    let bytes = |part: &[SegmentMark]| part.iter().map(|segment| segment.bytes).sum::<u64>();
    let (clean, dirty) = segments.split_at(clean);
    let (clean_bytes, dirty_bytes) = (bytes(clean), bytes(dirty));
    let age = dirty.first().map_or(Duration::ZERO, |first| now.since(first.created));
    let has_records = dirty.first().is_some_and(|first| first.base_offset < high_watermark);
    let is_large = dirty_bytes >= LEAST_BYTES && dirty_bytes >= clean_bytes;
    let reading = Duration::from_secs((clean_bytes + dirty_bytes) / AGED_BYTES_PER_SECOND);
    let is_due = |time: Duration| age >= time.max(LEAST_PAUSE).max(reading);
    if has_records && (is_large || is_due(cleanup.delete_retention)) {
        return Some((wanted, false));
    }
    let done = state.done?;
    let tombstones = done.first_tombstone.is_some_and(|first| first < wanted.tombstones_below)
        && is_due(cleanup.delete_retention / PARTS);
    let ended = has_ended && is_due(cleanup.delete_retention / PARTS);
    let records = done.oldest_record.is_some_and(|oldest| oldest < wanted.expired_before)
        && cleanup.record_ttl.is_some_and(|ttl| is_due(ttl / PARTS));
    (tombstones || ended || records).then_some((wanted, true))
}

async fn trim_one(
    partition: &Partition,
    settings: &TopicSettings,
    now: Timestamp,
    metrics: &Metrics,
) {
    let bounds = partition.bounds();
    let Some(segments) = partition.reader().map(LogReader::segments) else { return };
    if bounds.high_watermark <= bounds.start {
        return;
    }
    let retained = target(&segments, bounds.high_watermark, settings, now);
    let expired = delivered_from(partition, &segments, settings, now).await;
    let expired = expired.map(|offset| (offset, TrimCause::Age));
    let targets = retained.into_iter().chain(expired);
    let Some((target, cause)) = targets.max_by_key(|(offset, _)| *offset) else { return };
    if target <= bounds.start {
        return;
    }
    match partition.trim(Some(target)).await {
        Ok(start) => {
            tracing::debug!(
                topic = %partition.topic,
                partition = %partition.id,
                from = %bounds.start,
                to = %start,
                "retention removed records"
            );
            metrics.trimmed(cause, start.since(bounds.start));
        }
        Err(error) => tracing::warn!(
            topic = %partition.topic, partition = %partition.id, %error,
            "retention could not remove records; tried again at the next check"
        ),
    }
}

/// Where the log may start, as nothing before it is delivered any more. Unlike retention that goes
/// by when records were appended, whatever time their producer has given them.
async fn delivered_from(
    partition: &Partition,
    segments: &[SegmentMark],
    settings: &TopicSettings,
    now: Timestamp,
) -> Option<Offset> {
    let ttl = i64::try_from(settings.cleanup.record_ttl?.as_nanos()).unwrap_or(i64::MAX);
    let before = Timestamp(now.0.saturating_sub(ttl));
    let expired = expired(segments, before);
    let next = segments.get(expired)?;
    if expired + 1 == segments.len() && next.created < before {
        // What cannot be read now is looked at again; that it is damaged is said to readers.
        let last = partition.last_append().await.ok().flatten();
        if last.is_some_and(|(_, time)| time < before) {
            return last.map(|(end, _)| end);
        }
    }
    (expired > 0).then_some(next.base_offset)
}

/// How many segments hold nothing that was appended at or after this time, of those that nothing is
/// added to: all that is in them was there before the next one began.
fn expired(segments: &[SegmentMark], before: Timestamp) -> usize {
    segments.windows(2).take_while(|pair| pair[1].created < before).count()
}

/// The offset that the log is to start at, if something is to go. Of the segment that is written,
/// all goes or nothing: when even its newest record is past its time.
fn target(
    segments: &[SegmentMark],
    high_watermark: Offset,
    settings: &TopicSettings,
    now: Timestamp,
) -> Option<(Offset, TrimCause)> {
    let end_of = |at: usize| segments.get(at + 1).map_or(high_watermark, |next| next.base_offset);
    let mut found = None;
    let policy = settings.cleanup.policy;
    if let Some(retention) = settings.retention.filter(|_| policy.deletes()) {
        let expired = segments
            .iter()
            .take_while(|segment| segment.max_timestamp.max(Timestamp(0)).plus(retention) < now)
            .count();
        if expired > 0 {
            found = Some((end_of(expired - 1), TrimCause::Age));
        }
    }
    if let Some(limit) = settings.retention_bytes.filter(|_| policy.deletes()) {
        let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
        for (at, segment) in segments.iter().enumerate().take(segments.len().saturating_sub(1)) {
            total -= segment.bytes;
            if total < limit {
                break;
            }
            if found.is_none_or(|(offset, _)| offset < end_of(at)) {
                found = Some((end_of(at), TrimCause::Size));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use ropewalk_cluster::CleanupPolicy;
    use ropewalk_storage::compaction::{Cleaned, Compacted, Order};

    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn segments() -> Vec<SegmentMark> {
        (0..3)
            .map(|number| SegmentMark {
                base_index: 6 + number * 10,
                base_offset: Offset(number * 100),
                created: Timestamp(0),
                bytes: 1000,
                max_timestamp: Timestamp(HOUR * (number as i64 + 1)),
            })
            .collect()
    }

    fn target_with(settings: TopicSettings, now: i64) -> Option<Offset> {
        target(&segments(), Offset(300), &settings, Timestamp(now)).map(|(offset, _)| offset)
    }

    #[test]
    fn segments_go_when_their_newest_record_is_past_its_time() {
        let hour = Duration::from_secs(3600);
        let settings = TopicSettings { retention: Some(hour), ..TopicSettings::default() };
        assert_eq!(target_with(settings, 2 * HOUR), None);
        assert_eq!(target_with(settings, 2 * HOUR + 1), Some(Offset(100)));
        assert_eq!(target_with(settings, 4 * HOUR), Some(Offset(200)));
        assert_eq!(target_with(settings, 4 * HOUR + 1), Some(Offset(300)));
        let forever = TopicSettings { retention: None, ..settings };
        assert_eq!(target_with(forever, i64::MAX), None);
    }

    /// The times of their records are those of producers, and count for retention alone.
    #[test]
    fn segments_expire_when_the_next_one_was_begun_long_enough_ago() {
        let mut segments = segments();
        for (segment, created) in segments.iter_mut().zip([10, 20, 30]) {
            segment.created = Timestamp(created);
        }
        let expired = [20, 21, 30, 31, i64::MAX].map(|at| expired(&segments, Timestamp(at)));
        assert_eq!(expired, [0, 1, 1, 2, 2]);
    }

    /// A log of two segments, in MiB, of which the first was compacted, and the second was begun
    /// then, at 1 h; its first tombstone left has index 9.
    fn ordered(
        (clean, dirty): (u64, u64),
        delete_retention: Duration,
        now: i64,
    ) -> Option<(CleanUp, bool)> {
        let order = Order { index: 16, clean_up: CleanUp::NONE };
        let left =
            Compacted { order, first_tombstone: Some(9), first_end: None, oldest_record: None };
        after((clean, dirty), left, delete_retention, now)
    }

    /// The same of what else is left.
    fn after(
        (clean, dirty): (u64, u64),
        done: Compacted,
        delete_retention: Duration,
        now: i64,
    ) -> Option<(CleanUp, bool)> {
        let mut segments = segments();
        segments.truncate(2);
        (segments[0].bytes, segments[1].bytes) = (clean << 20, dirty << 20);
        segments[1].created = Timestamp(HOUR);
        let state = CompactionState {
            ordered: Some(done.order),
            done: Some(done),
            cleaned: Some(Cleaned { below: 16, since: Timestamp(HOUR) }),
            is_stale: false,
        };
        let policy = CleanupPolicy::Compact;
        let cleanup = Cleanup { policy, delete_retention, record_ttl: None };
        let end = Offset(if dirty == 0 { 100 } else { 200 });
        compaction(&segments, end, &state, &cleanup, Timestamp(now))
    }

    #[test]
    fn a_log_is_compacted_when_half_of_it_never_was_or_some_of_that_is_old() {
        let day = Duration::from_secs(86_400);
        let none = |found: Option<(CleanUp, bool)>| assert_eq!(found, None);
        none(ordered((10, 9), day, 2 * HOUR));
        let wanted = CleanUp::NONE;
        assert_eq!(ordered((10, 10), day, 2 * HOUR), Some((wanted, false)));
        none(ordered((10, 1), day, 25 * HOUR - 1));
        let wanted = CleanUp { tombstones_below: 16, ..wanted };
        assert_eq!(ordered((10, 1), day, 25 * HOUR), Some((wanted, false)));
    }

    /// However short tombstones are to stay.
    #[test]
    fn what_time_ends_is_not_looked_for_at_each_check() {
        const SECOND: i64 = HOUR / 3_600;
        let wanted = CleanUp { tombstones_below: 16, ..CleanUp::NONE };
        for (dirty, is_by_age) in [(1, false), (0, true)] {
            let found = |clean, now| ordered((clean, dirty), Duration::ZERO, HOUR + now);
            assert_eq!(found(4, SECOND - 1), None);
            assert_eq!(found(4, SECOND), Some((wanted, is_by_age)));
            // It takes minutes to read that much.
            assert_eq!(found(10_240, 1_279 * SECOND), None);
            assert_eq!(found(10_240, 1_280 * SECOND), Some((wanted, is_by_age)));
        }
    }

    /// A record whose own time is over at 2 h goes once it has been a tombstone for long enough. It
    /// is not asked for again if the order before has not taken it.
    #[test]
    fn what_ends_by_a_time_of_its_own_is_looked_for_when_tombstones_of_that_time_go() {
        let order = Order { index: 16, clean_up: CleanUp::NONE };
        let (first_tombstone, first_end) = (None, Some(Timestamp(2 * HOUR)));
        let done = Compacted { order, first_tombstone, first_end, oldest_record: None };
        let hour = Duration::from_secs(3_600);
        assert_eq!(after((4, 0), done, hour, 3 * HOUR), None);
        let (ended_before, now) = (Timestamp(2 * HOUR + 1), 3 * HOUR + 1);
        let wanted = CleanUp { tombstones_below: 16, ended_before, ..CleanUp::NONE };
        assert_eq!(after((4, 0), done, hour, now), Some((wanted, true)));
        // It counts as a tombstone from then on, and goes with those of its part.
        let above = Compacted { first_tombstone: Some(16), first_end: None, ..done };
        assert_eq!(after((4, 0), above, hour, 20 * HOUR), None);
        let below = Compacted { first_tombstone: Some(15), ..above };
        let wanted = CleanUp { tombstones_below: 16, ..CleanUp::NONE };
        assert_eq!(after((4, 0), below, hour, now), Some((wanted, true)));
    }

    #[test]
    fn a_compacted_log_is_not_cut() {
        let cleanup = Cleanup { policy: CleanupPolicy::Compact, ..Cleanup::default() };
        let settings = TopicSettings {
            retention: Some(Duration::from_secs(1)),
            retention_bytes: Some(1),
            cleanup,
            ..TopicSettings::default()
        };
        assert_eq!(target_with(settings, i64::MAX), None);
    }

    #[test]
    fn segments_go_as_long_as_enough_bytes_stay() {
        let keep = |bytes| TopicSettings {
            retention: None,
            retention_bytes: Some(bytes),
            ..TopicSettings::default()
        };
        assert_eq!(target_with(keep(2001), 0), None);
        assert_eq!(target_with(keep(2000), 0), Some(Offset(100)));
        assert_eq!(target_with(keep(1), 0), Some(Offset(200)));
    }
}
