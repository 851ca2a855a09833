//! Queues that give back what they no longer need.

use std::collections::VecDeque;

/// A queue may keep room for this many.
const KEPT_CAPACITY: usize = 256;

/// Gives back the room of a queue that is empty, or was long once: a log that was busy for a while
/// must not keep it for ever, and of ten thousand that do nothing each byte counts.
pub(crate) fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() {
        *queue = VecDeque::new();
    } else if queue.capacity() > KEPT_CAPACITY && queue.capacity() > 8 * queue.len() {
        queue.shrink_to(2 * queue.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_was_long_is_short_again() {
        let mut queue: VecDeque<u64> = (0..100_000).collect();
        give_back(&mut queue);
        assert_eq!(queue.len(), 100_000, "nothing in it is lost");
        queue.drain(..99_990);
        give_back(&mut queue);
        assert_eq!(queue, (99_990..100_000).collect::<VecDeque<_>>());
        assert!(queue.capacity() <= KEPT_CAPACITY);
        queue.clear();
        give_back(&mut queue);
        assert_eq!(queue.capacity(), 0);
    }
}
