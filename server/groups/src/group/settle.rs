//! From what the members want to who has what: the target assignment, and the steps towards it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ropewalk_core::{MemberId, TopicId};

use super::{ConsumerGroup, Holding, Selected, Slot, Step};
use crate::strategy::{Assignment, Current, Input, Strategy};

impl ConsumerGroup {
    /// Members or topics have changed: finds out anew who is to have what, or asks a client to.
    pub(crate) fn retarget(&mut self, step: Step) {
        let is_less = self.forget_unselected();
        self.strategy = self.voted();
        self.assign(step, self.planner(), is_less);
    }

    /// The same by the server, as no client has planned in time.
    pub(crate) fn retarget_by_server(&mut self, step: Step) {
        let is_less = self.forget_unselected();
        self.strategy = self.voted();
        self.assign(step, None, is_less);
    }

    fn assign(&mut self, step: Step, planner: Option<MemberId>, is_less: bool) {
        let is_changed = match planner {
            Some(planner) => {
                self.ask(planner, step);
                false
            }
            None => self.assign_by_server(),
        };
        self.settle(step, is_less || is_changed);
    }

    fn assign_by_server(&mut self) -> bool {
        self.plan = None;
        let order = self.order();
        let input = self.input(&order);
        let assignment = self.strategy.of_server().assign(&input);
        self.set_targets(&order, &assignment)
    }

    /// The strategy that most of those members ask for that ask for one. Among equals the one that
    /// is in use stays.
    fn voted(&self) -> Strategy {
        let mut votes = BTreeMap::<&Strategy, usize>::new();
        for strategy in self.members.values().filter_map(|member| member.strategy.as_ref()) {
            *votes.entry(strategy).or_default() += 1;
        }
        let most = votes.values().max().copied();
        if votes.get(&self.strategy).copied() == most && most.is_some() {
            return self.strategy.clone();
        }
        let chosen = votes.into_iter().find(|(_, count)| Some(*count) == most);
        chosen.map_or_else(Strategy::default, |(strategy, _)| strategy.clone())
    }

    /// Forgets selections that no member names any more, and topics that no selection stands for.
    /// Returns whether somebody was to have some of these.
    fn forget_unselected(&mut self) -> bool {
        let named: BTreeSet<_> =
            self.members.values().flat_map(|member| &member.selections).collect();
        if self.selected.keys().any(|selection| !named.contains(selection)) {
            let kept = self.selected.iter().filter(|(selection, _)| named.contains(*selection));
            self.selected =
                Arc::new(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
        }
        let selected: BTreeSet<TopicId> = self.selected.values().flatten().copied().collect();
        let mut was_wanted = false;
        self.topics.retain(|topic, slots| {
            let is_kept = selected.contains(topic);
            was_wanted |= !is_kept && slots.iter().any(|slot| slot.target.is_some());
            is_kept
        });
        was_wanted
    }

    /// The members in the order in which they joined.
    pub(crate) fn order(&self) -> Vec<MemberId> {
        let mut order: Vec<_> = self.members.iter().map(|(id, m)| (m.joined, *id)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }

    /// The group as strategies see it, with the members in this order.
    pub(crate) fn input(&self, order: &[MemberId]) -> Input {
        let places: BTreeMap<_, _> = order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let topics = self.topics.values().map(|slots| {
            u32::try_from(slots.len()).expect("limits bound the partitions of a topic")
        });
        let current = |slot: &Slot| {
            let holder = slot.holding.map(|holding| holding.member);
            let id = slot.target.or(holder)?;
            Some(Current { member: *places.get(&id)?, is_held: holder == Some(id) })
        };
        let current = self.topics.values().map(|slots| slots.iter().map(current).collect());
        let mut subscriptions = Subscriptions::new(self);
        let members = order.iter().map(|id| subscriptions.place_of(*id)).collect();
        Input {
            topics: topics.collect(),
            subscriptions: subscriptions.different,
            members,
            current: current.collect(),
        }
    }

    /// Takes an assignment to these members over as the target. Returns whether it is another one.
    pub(crate) fn set_targets(&mut self, order: &[MemberId], assignment: &Assignment) -> bool {
        let mut is_changed = false;
        for (slots, assigned) in self.topics.values_mut().zip(assignment) {
            let target = |place: &Option<usize>| place.map(|place| order[place]);
            let mut pairs = slots.iter().zip(assigned);
            if pairs.all(|(slot, place)| slot.target == target(place)) {
                continue;
            }
            is_changed = true;
            for (slot, place) in Arc::make_mut(slots).iter_mut().zip(assigned) {
                slot.target = target(place);
            }
        }
        is_changed
    }

    /// Goes as far towards the target as can be: takes partitions back from those that are to have
    /// them no longer, and gives those that nobody has to those that are to have them. Whoever gets
    /// one gets it in a generation that begins here, so that all its commits differ from those of
    /// the owner before.
    pub(crate) fn settle(&mut self, step: Step, is_retargeted: bool) {
        let next = self.generation + 1;
        let mut is_new = is_retargeted;
        for slots in self.topics.values_mut() {
            let is_settled = |slot: &Slot| match slot.holding {
                Some(holding) => holding.drain.is_some() || slot.target == Some(holding.member),
                None => slot.target.is_none(),
            };
            if slots.iter().all(is_settled) {
                continue;
            }
            for slot in Arc::make_mut(slots) {
                if is_settled(slot) {
                    continue;
                }
                match &mut slot.holding {
                    Some(holding) => {
                        let patience = self.members.get(&holding.member).map(|m| m.patience);
                        let drain = patience.unwrap_or_default().drain;
                        holding.drain = Some(step.time.plus(drain));
                    }
                    None => {
                        is_new = true;
                        slot.holding =
                            slot.target.map(|member| Holding { member, since: next, drain: None });
                    }
                }
            }
        }
        if is_new {
            self.generation = next;
        }
    }

    /// Changes the slots for which `change` returns another one.
    pub(crate) fn change_slots(&mut self, change: impl Fn(&Slot) -> Slot) {
        for slots in self.topics.values_mut() {
            if slots.iter().any(|slot| change(slot) != *slot) {
                Arc::make_mut(slots).iter_mut().for_each(|slot| *slot = change(slot));
            }
        }
    }
}

/// The different sets of topics that members read.
struct Subscriptions<'a> {
    group: &'a ConsumerGroup,
    places: BTreeMap<TopicId, usize>,
    /// Most members have the same selections: each list is looked up once.
    by_selections: BTreeMap<&'a [super::Selection], usize>,
    by_topics: BTreeMap<Vec<usize>, usize>,
    different: Vec<Vec<usize>>,
}

impl<'a> Subscriptions<'a> {
    fn new(group: &'a ConsumerGroup) -> Self {
        let places = group.topics.keys().enumerate().map(|(place, topic)| (*topic, place));
        Self {
            group,
            places: places.collect(),
            by_selections: BTreeMap::new(),
            by_topics: BTreeMap::new(),
            different: Vec::new(),
        }
    }

    fn place_of(&mut self, id: MemberId) -> usize {
        let member = &self.group.members[&id];
        if let Some(place) = self.by_selections.get(&member.selections[..]) {
            return *place;
        }
        let topics = self.group.topics_of(member);
        let topics: Vec<_> = topics.iter().map(|topic| self.places[topic]).collect();
        let place = *self.by_topics.entry(topics.clone()).or_insert_with(|| {
            self.different.push(topics);
            self.different.len() - 1
        });
        self.by_selections.insert(&member.selections, place);
        place
    }
}

/// Selections of one kind merged into those that are known.
pub(crate) fn with(selected: &Arc<Selected>, more: Selected) -> Arc<Selected> {
    let mut all = Selected::clone(selected);
    all.extend(more);
    Arc::new(all)
}
