//! Says the same thing to the operator only now and then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets one of many equal lines through, at most one in the time given.
#[derive(Debug)]
pub(super) struct Rarely {
    every: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Rarely {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, state: Mutex::new((None, 0)) }
    }

    /// The number of lines that were held back since the last one, if this one is to be said.
    pub(super) fn ask(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.0.is_some_and(|last| now - last < self.every) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }

    /// The next line is said, whenever it comes.
    pub(super) fn forget(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_is_counted() {
        let rarely = Rarely::new(Duration::from_secs(60));
        assert_eq!(rarely.ask(), Some(0));
        assert_eq!([rarely.ask(), rarely.ask()], [None, None]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(rarely.ask(), Some(2));
        rarely.forget();
        assert_eq!(rarely.ask(), Some(0));
    }
}
