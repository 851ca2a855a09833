//! The numbers of a partition's batches, by which the broker knows one again that comes twice. They
//! know nothing of what the batches hold, or of connections.
//!
//! The broker takes a batch only when it holds the one before it. So when one is given up, or the
//! partition has forgotten the producer, the numbers begin anew: at 0, in a new epoch, which ends
//! the one before. What was sent in that one and comes late is refused then, so that nothing comes
//! out of order.

/// So many epochs of its id does each holder of a name have.
const EPOCHS_OF_A_HOLDER: u32 = 1 << 16;

/// What the broker knows a producer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: u64,
    pub(super) epoch: u32,
    /// Whether the id belongs to a name: then others may take it, with epochs of their own.
    pub(super) is_named: bool,
}

/// The number of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) identity: Identity,
    /// That of its first record.
    pub(super) first: u32,
}

/// Where the numbers of a partition stand.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    identity: Option<Identity>,
    next: u32,
    restarting: bool,
}

impl Numbers {
    /// The next batch gets its number. A partition keeps the identity with which it has begun.
    pub(super) fn give(&mut self, producer: Identity, count: usize) -> Number {
        let identity = *self.identity.get_or_insert(producer);
        let number = Number { identity, first: self.next };
        self.next = self.next.wrapping_add(count as u32);
        number
    }

    /// Whether nothing is numbered until what is in flight is known.
    pub(super) fn is_restarting(&self) -> bool {
        self.restarting
    }

    /// Whether batches have got theirs since they began.
    pub(super) fn are_given(&self) -> bool {
        self.identity.is_some()
    }

    /// The numbers are to begin anew, if this is one that was given since they did last: nothing
    /// will come under it any more. Returns whether it is.
    pub(super) fn end_at(&mut self, number: Option<Number>) -> bool {
        let is_one = number.is_some_and(|number| Some(number.identity) == self.identity);
        self.restarting |= is_one;
        is_one
    }

    /// Begins anew, with the next epoch of the own id; where that is another holder's, with
    /// `newest`, what the broker gave the producer last. Returns whether the broker has to be asked
    /// first.
    pub(super) fn begin_again(&mut self, newest: Option<Identity>) -> bool {
        let own = self.identity.take();
        (self.next, self.restarting) = (0, false);
        let Some(own) = own else { return false };
        let is_newer = |newest: &Identity| newest.id != own.id || newest.epoch > own.epoch;
        self.identity = match own.epoch.checked_add(1) {
            Some(epoch) if !own.is_named || !epoch.is_multiple_of(EPOCHS_OF_A_HOLDER) => {
                Some(Identity { epoch, ..own })
            }
            _ => newest.filter(is_newer),
        };
        self.identity.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_records_and_begin_anew_in_a_new_epoch() {
        let identity = Identity { id: 7, epoch: 3, is_named: false };
        let mut numbers = Numbers { next: u32::MAX - 1, ..Numbers::default() };
        assert_eq!(numbers.give(identity, 3).first, u32::MAX - 1);
        let given_up = numbers.give(identity, 1);
        assert_eq!(given_up.first, 1, "they go around");
        assert!(numbers.end_at(Some(given_up)) && numbers.is_restarting());
        assert!(!numbers.begin_again(Some(identity)), "the epochs of an id of its own are its own");
        let next = numbers.give(identity, 1);
        assert_eq!((next.first, next.identity.epoch), (0, 4));
        assert!(!numbers.end_at(Some(given_up)) && !numbers.is_restarting(), "that was before");
    }

    #[test]
    fn whoever_has_a_name_never_takes_the_epoch_of_the_next_holder() {
        let before = Identity { id: 7, epoch: EPOCHS_OF_A_HOLDER - 2, is_named: true };
        let mut numbers = Numbers::default();
        let end = |numbers: &mut Numbers, identity| {
            let number = numbers.give(identity, 1);
            assert!(numbers.end_at(Some(number)));
            number
        };
        end(&mut numbers, before);
        assert!(!numbers.begin_again(Some(before)));
        let first = Identity { epoch: EPOCHS_OF_A_HOLDER - 1, ..before };
        assert_eq!(end(&mut numbers, before), Number { identity: first, first: 0 });
        let base = Identity { epoch: 0, ..before };
        assert!(numbers.begin_again(Some(base)), "the broker is to give more");
        let second = Identity { epoch: 2 * EPOCHS_OF_A_HOLDER - 1, ..first };
        assert_eq!(end(&mut numbers, second).identity, second);
        let third = Identity { epoch: 2 * EPOCHS_OF_A_HOLDER, ..first };
        assert!(!numbers.begin_again(Some(third)), "another partition has asked already");
        assert_eq!(numbers.give(third, 1), Number { identity: third, first: 0 });
    }
}
