//! Retention: moves log starts up, a whole segment at a time.
//!
//! Which segments go is a pure function of what the log holds; that they go is a command in the
//! partition's log, so that every replica starts at the same offset.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_cluster::TopicSettings;
use ropewalk_core::{Clock, Offset, Timestamp};
use ropewalk_storage::engine::SegmentMark;
use ropewalk_storage::log_view::LogReader;

use crate::metrics::{Metrics, TrimCause};
use crate::partition::Partition;
use crate::table::TableWatch;

/// Checks every partition at each interval, until the task is dropped.
pub(crate) async fn run(
    table: TableWatch,
    interval: Duration,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        let topics = Arc::clone(&table.borrow().topics);
        for served in topics.values() {
            // That they go is said by who leads.
            let led = served.partitions.iter().filter(|partition| partition.epoch().is_some());
            for partition in led {
                trim_one(partition, &served.topic.settings, clock.now(), &metrics).await;
            }
        }
    }
}

async fn trim_one(
    partition: &Partition,
    settings: &TopicSettings,
    now: Timestamp,
    metrics: &Metrics,
) {
    let bounds = partition.bounds();
    let Some(segments) = partition.reader().map(LogReader::segments) else { return };
    let Some((target, cause)) = target(&segments, bounds.high_watermark, settings, now) else {
        return;
    };
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
    if let Some(retention) = settings.retention {
        let expired = segments
            .iter()
            .take_while(|segment| segment.max_timestamp.max(Timestamp(0)).plus(retention) < now)
            .count();
        if expired > 0 {
            found = Some((end_of(expired - 1), TrimCause::Age));
        }
    }
    if let Some(limit) = settings.retention_bytes {
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
