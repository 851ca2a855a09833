//! What waits to be sent on one connection: bounded by bytes, gone when the connection is, and
//! counted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Why something was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no connection.
    Closed,
    /// Too much waits already.
    Full,
}

/// A queue of what goes out on one connection at a time. Each connection is a session of its own:
/// what was queued for one is never sent on the next.
#[derive(Debug)]
pub(super) struct Queue<T> {
    limit: usize,
    state: Mutex<State<T>>,
    more: Notify,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    session: u64,
    is_open: bool,
    counts: Counts,
}

/// What became of the items of a queue so far, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Whether there is a connection.
    pub(super) is_open: bool,
    /// Items that were taken to be sent, and their bytes.
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    /// Items that were not queued, or were left when their connection ended.
    pub(super) dropped: u64,
    /// The bytes that wait.
    pub(super) queued_bytes: u64,
}

impl<T> Queue<T> {
    /// A closed queue of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            session: 0,
            is_open: false,
            counts: Counts::default(),
        };
        Self { limit, state: Mutex::new(state), more: Notify::new() }
    }

    /// Begins a session, closed at first, and gives its number.
    pub(super) fn begin(&self) -> u64 {
        self.close();
        self.state().session
    }

    /// The session may be written to.
    pub(super) fn open(&self) {
        self.state().is_open = true;
    }

    /// What became of the items so far.
    pub(super) fn counts(&self) -> Counts {
        let state = self.state();
        Counts { is_open: state.is_open, queued_bytes: state.bytes as u64, ..state.counts }
    }

    /// Counts an item that is not even queued.
    pub(super) fn count_dropped(&self) {
        self.state().counts.dropped += 1;
    }

    /// Ends the session; what is left of it is dropped.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_open = false;
        state.session += 1;
        state.bytes = 0;
        let left = std::mem::take(&mut state.items);
        state.counts.dropped += left.len() as u64;
        drop(state);
        self.more.notify_one();
    }

    /// Queues an item. One that is larger than the limit is taken when nothing else waits.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), Refused> {
        let mut state = self.state();
        let refused = if !state.is_open {
            Some(Refused::Closed)
        } else if !state.items.is_empty() && state.bytes + bytes > self.limit {
            Some(Refused::Full)
        } else {
            None
        };
        if let Some(refused) = refused {
            state.counts.dropped += 1;
            return Err(refused);
        }
        state.items.push_back((item, bytes));
        state.bytes += bytes;
        drop(state);
        self.more.notify_one();
        Ok(())
    }

    /// Waits for items of a session and takes them, one at least and then as many as fit into
    /// `most` bytes. `None` when the session has ended.
    pub(super) async fn take(&self, session: u64, most: usize) -> Option<Vec<T>> {
        self.wait(session, |state| (!state.items.is_empty()).then(|| state.take(most))).await
    }

    /// The same for a single item, whatever its size.
    pub(super) async fn next(&self, session: u64) -> Option<T> {
        let first = |state: &mut State<T>| {
            let (item, size) = state.items.pop_front()?;
            state.bytes -= size;
            state.count_sent(1, size);
            Some(item)
        };
        self.wait(session, first).await
    }

    async fn wait<R>(
        &self,
        session: u64,
        mut look: impl FnMut(&mut State<T>) -> Option<R>,
    ) -> Option<R> {
        loop {
            {
                let mut state = self.state();
                if state.session != session {
                    // The signal may have been meant for the session that is.
                    self.more.notify_one();
                    return None;
                }
                if let Some(found) = look(&mut state) {
                    return Some(found);
                }
            }
            self.more.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn take(&mut self, most: usize) -> Vec<T> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some((item, size)) = self.items.pop_front() {
            if !taken.is_empty() && bytes + size > most {
                self.items.push_front((item, size));
                break;
            }
            bytes += size;
            taken.push(item);
        }
        self.bytes -= bytes;
        self.count_sent(taken.len(), bytes);
        taken
    }

    fn count_sent(&mut self, items: usize, bytes: usize) {
        self.counts.sent += items as u64;
        self.counts.sent_bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_leave_in_order_and_in_frames() {
        let queue = Queue::new(100);
        assert_eq!(queue.push(0, 1), Err(Refused::Closed));
        let session = queue.begin();
        queue.open();
        assert_eq!(queue.push(1, 1000), Ok(()), "alone, whatever its size");
        assert_eq!(queue.push(2, 1), Err(Refused::Full));
        assert_eq!(queue.take(session, 50).await, Some(vec![1]));
        for item in [2, 3, 4] {
            queue.push(item, 30).unwrap();
        }
        assert_eq!(queue.push(5, 30), Err(Refused::Full));
        assert_eq!(queue.take(session, 60).await, Some(vec![2, 3]));
        assert_eq!(queue.push(5, 30), Ok(()));
        assert_eq!(queue.counts().queued_bytes, 60);
        assert_eq!(queue.take(session, 60).await, Some(vec![4, 5]));
        let sent =
            Counts { is_open: true, sent: 5, sent_bytes: 1_120, dropped: 3, queued_bytes: 0 };
        assert_eq!(queue.counts(), sent);
    }

    #[tokio::test]
    async fn items_without_a_size_are_taken_one_at_a_time() {
        let queue = Queue::new(100);
        let session = queue.begin();
        queue.open();
        for item in [1, 2] {
            queue.push(item, 0).unwrap();
        }
        assert_eq!(queue.next(session).await, Some(1));
        assert_eq!(queue.next(session).await, Some(2));
    }

    #[tokio::test]
    async fn what_is_left_of_a_session_is_not_sent_in_the_next() {
        let queue = Queue::new(100);
        let first = queue.begin();
        queue.open();
        queue.push("old", 1).unwrap();
        queue.close();
        assert_eq!(queue.counts().dropped, 1);
        let second = queue.begin();
        queue.open();
        queue.push("new", 1).unwrap();
        assert_eq!(queue.take(first, 9).await, None);
        assert_eq!(queue.take(second, 9).await, Some(vec!["new"]));
    }

    #[tokio::test]
    async fn an_old_reader_does_not_keep_the_signal_from_the_new_one() {
        let queue = std::sync::Arc::new(Queue::new(100));
        let waits = |session| {
            let queue = std::sync::Arc::clone(&queue);
            tokio::spawn(async move { queue.take(session, 9).await })
        };
        let old = waits(queue.begin());
        tokio::task::yield_now().await;
        let new = waits(queue.begin());
        queue.open();
        queue.push("new", 1).unwrap();
        assert_eq!(new.await.unwrap(), Some(vec!["new"]));
        assert_eq!(old.await.unwrap(), None);
    }
}
