//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::Error;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// Waits that double from 20 ms to 1 s, each shortened by up to a half at random so that clients
/// which failed together do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait, never shorter than `at_least`, which is what the broker asked for.
    pub(crate) fn next(&mut self, at_least: Option<Duration>) -> Duration {
        let wait = jittered(self.tries);
        self.tries = self.tries.saturating_add(1);
        at_least.map_or(wait, |least| least.max(wait))
    }

    /// Something went well: the next wait is a short one again.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Tries something until it succeeds, until an error that will not pass, or until the next try
/// would begin after so long.
pub(crate) async fn insist<T, F>(
    patience: Duration,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let deadline = Instant::now() + patience;
    let mut backoff = Backoff::default();
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let wait = backoff.next(error.retry_after());
        if !error.is_retriable() || Instant::now() + wait >= deadline {
            return Err(error);
        }
        tracing::debug!(%error, ?wait, "{what} again");
        sleep(wait).await;
    }
}

/// The wait after `tries` failed tries.
pub(crate) fn jittered(tries: u32) -> Duration {
    let full = FIRST.saturating_mul(1 << tries.min(10)).min(LONGEST);
    // A fresh RandomState is seeded differently each time, which is randomness enough here.
    let part = (RandomState::new().hash_one(tries) % 512) as u32;
    full - full * part / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_again() {
        let mut backoff = Backoff::default();
        assert!(backoff.next(None) <= FIRST);
        let last = (0..20).map(|_| backoff.next(None)).last();
        assert!(last.is_some_and(|wait| wait >= LONGEST / 2 && wait <= LONGEST));
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }

    #[test]
    fn the_brokers_wish_is_a_lower_bound() {
        let wish = Duration::from_secs(3);
        assert_eq!(Backoff::default().next(Some(wish)), wish);
    }
}
