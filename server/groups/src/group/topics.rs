//! What selections stand for: topics that come, grow and go.

use std::collections::BTreeSet;
use std::sync::Arc;

use ropewalk_core::{TopicId, limits};

use super::settle::with;
use super::{ConsumerGroup, Selected, Selection, Slot, Step};
use crate::command::Resolution;
use crate::error::{GroupError, TooMany};

impl ConsumerGroup {
    /// What the members name, for somebody who knows topics to find out what it stands for.
    pub fn selections(&self) -> impl Iterator<Item = &Selection> {
        self.selected.keys()
    }

    /// What they stand for, as far as the group knows: the same as long as nothing of it changes.
    #[must_use]
    pub fn selected(&self) -> &Arc<Selected> {
        &self.selected
    }

    /// Whether the group knows all of this already, so that nobody need propose it.
    #[must_use]
    pub fn is_resolved(&self, resolution: &Resolution) -> bool {
        let is_known = |(selection, topics): &(Selection, Vec<TopicId>)| {
            let known = self.selected.get(selection);
            known.is_none_or(|known| known.iter().eq(topics.iter().collect::<BTreeSet<_>>()))
        };
        let selected: BTreeSet<_> = self.selected.values().flatten().collect();
        let has = |(topic, count): &(TopicId, u32)| {
            let slots = self.topics.get(topic).map_or(0, |slots| slots.len());
            slots >= *count as usize || !selected.contains(topic)
        };
        resolution.selected.iter().all(is_known) && resolution.topics.iter().all(has)
    }

    /// Topics have come, grown or gone. Selections that are not named stay what they were: their
    /// members came after this was found out. What is older than what is known is left out.
    pub(crate) fn resolve(&mut self, step: Step, resolution: Resolution) -> Result<(), GroupError> {
        if resolution.as_of < self.as_of || self.is_empty() {
            return Ok(());
        }
        self.as_of = resolution.as_of;
        if self.is_resolved(&resolution) {
            return Ok(());
        }
        let named = resolution.selected.into_iter();
        let known = named.filter(|(selection, _)| self.selected.contains_key(selection));
        let known: Selected =
            known.map(|(selection, topics)| (selection, topics.into_iter().collect())).collect();
        self.selected = with(&self.selected, known);
        self.grow(&resolution.topics, true);
        self.retarget(step);
        self.check_partitions()
    }

    /// Takes topics in that some selection stands for, and partitions that they have got.
    /// Partitions never become fewer. `is_later`: topics that are new to it have come since their
    /// selections were named.
    pub(crate) fn grow(&mut self, topics: &[(TopicId, u32)], is_later: bool) {
        let selected: BTreeSet<_> = self.selected.values().flatten().copied().collect();
        for (topic, count) in topics {
            let count = (*count).min(limits::MAX_PARTITIONS_PER_TOPIC) as usize;
            if count == 0 || !selected.contains(topic) {
                continue;
            }
            let slots = self.topics.entry(*topic).or_default();
            if slots.len() < count {
                let is_added = is_later || !slots.is_empty();
                Arc::make_mut(slots).resize(count, Slot { is_added, ..Slot::default() });
            }
        }
    }

    pub(crate) fn check_partitions(&self) -> Result<(), GroupError> {
        let limit = limits::MAX_PARTITIONS_PER_CONSUMER_GROUP;
        if self.partition_count() > limit {
            return Err(TooMany::Partitions { limit }.into());
        }
        Ok(())
    }
}
