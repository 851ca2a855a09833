//! When a run counts what happens: after its warm-up, for a fixed time, or until too much is
//! written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Opens after the warm-up, and closes for good. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    opens: Instant,
    closes: Instant,
    /// The bytes that may still be written.
    left: AtomicU64,
    is_closed: AtomicBool,
    closed: Notify,
}

impl Gate {
    /// A gate that opens after `warm_up`, and closes `span` later or when `bytes` are written.
    pub(crate) fn new(warm_up: Duration, span: Duration, bytes: u64) -> Self {
        let opens = Instant::now() + warm_up;
        Self {
            shared: Arc::new(Shared {
                opens,
                closes: opens + span,
                left: AtomicU64::new(bytes),
                is_closed: AtomicBool::new(false),
                closed: Notify::new(),
            }),
        }
    }

    /// A gate that is open from now on, until `bytes` are written.
    pub(crate) fn for_bytes(bytes: u64) -> Self {
        const FOR_EVER: Duration = Duration::from_secs(3600);
        Self::new(Duration::ZERO, FOR_EVER, bytes)
    }

    pub(crate) fn opens(&self) -> Instant {
        self.shared.opens
    }

    /// Whether what happens now counts.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        now >= self.shared.opens && !self.is_over(now)
    }

    /// Whether nothing will count any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.shared.closes || self.shared.is_closed.load(Ordering::Relaxed)
    }

    /// Takes bytes from what may be written. When they are used up, the gate closes.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let left = &self.shared.left;
        let taken =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            self.close();
        }
        taken.is_ok()
    }

    /// Closes before its time.
    pub(crate) fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
        self.shared.closed.notify_waiters();
    }

    /// Waits until it closes.
    pub(crate) async fn closed(&self) {
        let closed = self.shared.closed.notified();
        if self.is_over(Instant::now()) {
            return;
        }
        tokio::select! {
            () = closed => {}
            () = sleep_until(self.shared.closes) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_closes_when_the_bytes_are_used_up() {
        let gate = Gate::for_bytes(10);
        assert!(gate.is_open(Instant::now()));
        assert!(gate.take(10));
        assert!(!gate.take(1));
        assert!(gate.is_over(Instant::now()));
        gate.closed().await;
    }

    #[test]
    fn it_is_open_after_the_warm_up_only() {
        let second = Duration::from_secs(1);
        let gate = Gate::new(second, second, 0);
        let opens = gate.opens();
        assert!(!gate.is_open(opens - Duration::from_millis(1)));
        assert!(gate.is_open(opens));
        assert!(!gate.is_open(opens + second));
        assert!(gate.is_over(opens + second));
    }
}
