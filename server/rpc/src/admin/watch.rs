//! WatchTopics: the topics of the moment, then how they change.
//!
//! A stream holds what it has told and what there is, both shared with the table: a slow reader
//! costs no more, and gets several changes of a topic as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream;
use futures::{Stream, StreamExt};
use ropewalk_broker::Broker;
use ropewalk_broker::table::{TableSnapshot, TableWatch};
use ropewalk_cluster::Topic;
use ropewalk_proto::broker as pb;
use ropewalk_proto::broker::watch_topics_response::Event;
use tonic::Status;

use crate::convert;
use crate::failure::Failure;
use crate::server::Drain;

/// Topics that are looked at before the thread is given to others.
const LOOKED_AT_A_TIME: usize = 1_000;

/// Topics, by name.
type Topics = BTreeMap<String, Arc<Topic>>;

pub(super) struct TopicWatch {
    table: TableWatch,
    drain: Drain,
    prefix: String,
    told: Topics,
    /// What there is, and the name up to which it was told; `None` when all was.
    news: Option<(Topics, Option<String>)>,
    is_synced: bool,
}

impl TopicWatch {
    pub(super) fn open(broker: &Broker, drain: Drain, prefix: String) -> Self {
        let mut table = broker.watch_table();
        let news = Some((topics(&table.borrow_and_update(), &prefix), None));
        Self { table, drain, prefix, told: Topics::new(), news, is_synced: false }
    }

    /// The events, until the broker drains.
    pub(super) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<pb::WatchTopicsResponse, Status>> + Send {
        stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            match watch.next().await {
                Ok(event) => {
                    Some((Ok(pb::WatchTopicsResponse { event: Some(event) }), Some(watch)))
                }
                Err(failure) => Some((Err(failure.into_status()), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if self.drain.has_begun() {
                return Err(Failure::draining());
            }
            while let Some((now, after)) = &mut self.news {
                match step(&mut self.told, now, after) {
                    Step::Told(event) => {
                        return Ok(match *event {
                            Event::Created(topic) if !self.is_synced => Event::Present(topic),
                            event => event,
                        });
                    }
                    Step::GoOn => tokio::task::yield_now().await,
                    Step::Done => {
                        self.news = None;
                        if !std::mem::replace(&mut self.is_synced, true) {
                            let topic_count = i32::try_from(self.told.len()).unwrap_or(i32::MAX);
                            return Ok(Event::Synced(pb::TopicsSynced { topic_count }));
                        }
                    }
                }
            }
            tokio::select! {
                changed = self.table.changed() => changed.map_err(|_| Failure::draining())?,
                () = self.drain.begun() => return Err(Failure::draining()),
            }
            self.news = Some((topics(&self.table.borrow_and_update(), &self.prefix), None));
        }
    }
}

fn topics(table: &TableSnapshot, prefix: &str) -> Topics {
    let named = table.topics.range(prefix.to_owned()..);
    let named = named.take_while(|(name, _)| name.starts_with(prefix));
    named.map(|(name, served)| (name.clone(), Arc::clone(&served.topic))).collect()
}

enum Step {
    Told(Box<Event>),
    /// Nothing yet.
    GoOn,
    Done,
}

/// Looks for the next name after `after` whose topic is not what was told, and tells it. A name
/// that stands for another topic now is told twice: what was is deleted, what is comes next.
fn step(told: &mut Topics, now: &Topics, after: &mut Option<String>) -> Step {
    for _ in 0..LOOKED_AT_A_TIME {
        let Some(name) = next_name(told, now, after.as_deref()) else { return Step::Done };
        match (told.get(&name), now.get(&name)) {
            (Some(was), Some(is)) if was.id == is.id => {
                let is_same = Arc::ptr_eq(was, is) || was == is;
                let changed = (!is_same).then(|| Event::Changed(convert::topic(is)));
                told.insert(name.clone(), Arc::clone(is));
                *after = Some(name);
                if let Some(event) = changed {
                    return Step::Told(Box::new(event));
                }
            }
            (Some(was), is) => {
                let event = Event::Deleted(convert::topic(was));
                told.remove(&name);
                // Looked at again, where there is another one.
                if is.is_none() {
                    *after = Some(name);
                }
                return Step::Told(Box::new(event));
            }
            (None, Some(is)) => {
                told.insert(name.clone(), Arc::clone(is));
                *after = Some(name);
                return Step::Told(Box::new(Event::Created(convert::topic(is))));
            }
            (None, None) => *after = Some(name),
        }
    }
    Step::GoOn
}

/// The first name of either that comes after this one.
fn next_name(told: &Topics, now: &Topics, after: Option<&str>) -> Option<String> {
    use std::ops::Bound::{Excluded, Unbounded};
    let range = (after.map_or(Unbounded, Excluded), Unbounded);
    let first =
        |topics: &Topics| topics.range::<str, _>(range).next().map(|(name, _)| name.clone());
    match (first(told), first(now)) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_cluster::TopicSettings;
    use ropewalk_core::{Timestamp, TopicId};

    use super::*;

    fn topics_of(named: &[(&str, u8, u32)]) -> Topics {
        let topic = |(name, id, factor): &(&str, u8, u32)| {
            let topic = Topic {
                id: TopicId([*id; 16]),
                name: (*name).to_owned(),
                partitions: Vec::new(),
                replication_factor: *factor,
                settings: TopicSettings::default(),
                created: Timestamp(0),
            };
            ((*name).to_owned(), Arc::new(topic))
        };
        named.iter().map(topic).collect()
    }

    /// What is told, as a sign and the name.
    fn tell(told: &mut Topics, now: &Topics) -> Vec<String> {
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let (sign, topic) = match step(told, now, &mut after) {
                Step::Told(event) => match *event {
                    Event::Created(topic) => ("+", topic),
                    Event::Changed(topic) => ("~", topic),
                    Event::Deleted(topic) => ("-", topic),
                    _ => unreachable!("steps tell changes"),
                },
                Step::GoOn => continue,
                Step::Done => return all,
            };
            all.push(format!("{sign}{}", topic.name));
        }
    }

    #[test]
    fn each_difference_is_told_once() {
        let mut told = Topics::new();
        let first = topics_of(&[("a", 1, 3), ("b", 2, 3), ("c", 3, 3), ("d", 4, 3)]);
        assert_eq!(tell(&mut told, &first), ["+a", "+b", "+c", "+d"]);
        assert_eq!(tell(&mut told, &first), [""; 0]);
        let second = topics_of(&[("a", 1, 3), ("b", 2, 1), ("d", 9, 3), ("e", 5, 3)]);
        assert_eq!(tell(&mut told, &second), ["~b", "-c", "-d", "+d", "+e"]);
        assert_eq!(tell(&mut told, &Topics::new()), ["-a", "-b", "-d", "-e"]);
    }

    #[test]
    fn a_long_list_without_news_is_looked_at_in_parts() {
        let names: Vec<_> = (0..2_500).map(|at| format!("t{at:04}")).collect();
        let named: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 3)).collect();
        let (mut told, now) = (topics_of(&named), topics_of(&named));
        let mut after = None;
        let steps = std::iter::repeat_with(|| step(&mut told, &now, &mut after));
        assert_eq!(steps.take_while(|step| matches!(step, Step::GoOn)).count(), 2);
    }
}
