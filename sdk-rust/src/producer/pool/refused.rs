//! Batches that were not appended, or may not have been: which of them are sent again, and which
//! are given up.

use std::time::Duration;

use tokio::time::Instant;

use super::{Layout, Pool};
use crate::backoff::jittered;
use crate::error::{Error, timed_out};
use crate::producer::batch::Batch;

impl Pool {
    /// A batch in flight was refused, or its answer will not come. It is sent again where that is
    /// safe and may help. `unsent`: it was surely not sent.
    pub(in crate::producer) fn refused(&self, mut batch: Batch, error: Error, unsent: bool) {
        let settings = &self.settings;
        let in_time = batch.opened.elapsed() < settings.delivery_timeout;
        let is_numbered = batch.number.is_some();
        let safe = !error.may_have_happened() || settings.retry_unknown || is_numbered;
        batch.unsure |= error.may_have_happened();
        if is_numbered && error.reason() == "PRODUCER_FENCED" {
            self.failed(&batch, error.clone());
            return self.end(&error);
        }
        if is_numbered && in_time && error.reason() == "SEQUENCE_GAP" {
            batch.last_error = Some(error);
            return self.gapped(batch);
        }
        let may_help = error.is_retriable() || (is_numbered && error.reason() == "INTERNAL");
        if in_time && safe && may_help {
            let rest = jittered(batch.tries).max(error.retry_after().unwrap_or_default());
            if !unsent {
                batch.tries += 1;
                tracing::debug!(topic = %batch.topic(), %error, ?rest, "sending a batch again");
                batch.last_error = Some(error);
            }
            self.returned(batch, (!unsent).then_some(rest));
        } else if in_time && self.waits_for_older(&batch) {
            tracing::debug!(topic = %batch.topic(), %error, "a batch that is refused waits");
            batch.last_error = Some(error.clone());
            batch.verdict = Some(error);
            self.returned(batch, Some(Duration::ZERO));
        } else {
            self.failed(&batch, error);
        }
    }

    /// Whether a batch that is refused for good is tried again all the same, once all before it are
    /// settled. When it is given up the numbers begin anew, and then nobody could say of one before
    /// it that may have been appended whether it was.
    fn waits_for_older(&self, batch: &Batch) -> bool {
        let state = self.state();
        let queue = &state.queues[batch.queue];
        batch.number.is_some() && state.fatal.is_none() && !queue.is_oldest(batch.sequence)
    }

    /// A batch in flight was refused, as the broker does not hold the one before it.
    ///
    /// That one may be on its way again, or the numbers begin anew: this one follows. A refusal of
    /// the oldest batch comes from a partition that has forgotten the producer, or from a broker
    /// that does not know yet that another one leads. In doubt it is sent again as it is: under a
    /// new number, a batch that the partition has already would be there twice.
    fn gapped(&self, mut batch: Batch) {
        let mut state = self.state();
        let queue = &mut state.queues[batch.queue];
        if !queue.is_oldest(batch.sequence) || queue.is_restarting() {
            drop(state);
            return self.returned(batch, Some(Duration::ZERO));
        }
        if !batch.unsure {
            queue.end_numbers(&batch, true);
        }
        let topic = queue.topic;
        state.topics[topic].stale = true;
        drop(state);
        let rest = jittered(batch.tries);
        batch.tries += 1;
        self.returned(batch, Some(rest));
    }

    /// A batch in flight is to be sent again, in its old place, after `rest` where it was refused.
    fn returned(&self, batch: Batch, rest: Option<Duration>) {
        let mut state = self.state();
        if let Some(error) = state.fatal.clone() {
            drop(state);
            return self.failed(&batch, error);
        }
        let id = batch.queue;
        state.queues[id].landed(&batch);
        state.queues[id].put_back(batch);
        if let Some(rest) = rest {
            let until = Instant::now() + rest;
            let queue = &mut state.queues[id];
            queue.probing = true;
            queue.not_before = queue.not_before.max(Some(until));
            if !state.resting.contains(&id) {
                state.resting.push(id);
            }
        }
        let lost = state.begin_again(id);
        state.list(id, &self.settings);
        drop(state);
        self.give_up(lost);
    }

    /// A batch in flight was not answered within the delivery timeout.
    pub(in crate::producer) fn not_answered(&self, batch: &Batch) {
        let sent = match &batch.last_error {
            Some(error) => format!("a batch was refused ({error}) and sent again"),
            None => "a batch was sent".to_owned(),
        };
        self.failed(batch, timed_out().context(&sent));
    }

    /// A batch in flight was not appended, or may not have been, and is given up.
    fn failed(&self, batch: &Batch, error: Error) {
        let error = batch.concluded(error);
        let mut state = self.state();
        state.queues[batch.queue].landed(batch);
        if matches!(error.reason(), "TOPIC_NOT_FOUND" | "PARTITION_NOT_FOUND") {
            let topic = state.queues[batch.queue].topic;
            state.topics[topic].layout = Layout::Unknown;
        }
        state.forget(batch);
        state.queues[batch.queue].end_numbers(batch, !error.may_have_happened());
        let lost = state.begin_again(batch.queue);
        state.list_after(batch.queue, &self.settings);
        drop(state);
        self.complete(batch, error);
        self.give_up(lost);
    }
}
