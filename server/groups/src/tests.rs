//! Consumer groups as scripts and as random histories.
//!
//! A [`World`] stands for everything around one coordinator group: its rows in storage, the topics
//! of the cluster, a clock, and clients that know what they were told. Members and topics are
//! single letters; `a3` is partition 3 of topic `a`.

mod dice;
mod forms;
mod history;
mod membership;
mod moves;
mod plans;
mod random;
mod strategies;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_core::{MemberId, PartitionId, Timestamp, TopicId};

use crate::command::Resolution;
use crate::{
    Action, Changed, Committer, ConsumerGroup, Delta, GroupAnswer, GroupCommand, GroupError,
    GroupReply, Groups, Join, News, Patience, Row, Selection, Strategy, TopicPartition, news_for,
};

const GROUP: &str = "group";
const SECOND: i64 = 1_000_000_000;

/// A client that joined: what it knows of itself and of its partitions.
#[derive(Clone, Default)]
struct Client {
    session: u32,
    instance: Option<String>,
    /// What it was told last. Nothing: its stream is new.
    told: Option<Arc<ConsumerGroup>>,
    generation: u64,
    /// Its partitions, each with the generation since which it has it, and whether it is to be
    /// given back.
    has: BTreeMap<TopicPartition, (u64, bool)>,
}

#[derive(Clone, Default)]
struct World {
    groups: Groups,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    index: u64,
    /// In seconds.
    now: i64,
    topics: BTreeMap<char, u32>,
    metadata: u64,
    clients: BTreeMap<MemberId, Client>,
    history: history::History,
}

impl World {
    /// A cluster with these topics, as in `a4 b2`.
    fn with(topics: &str) -> Self {
        let mut world = Self::default();
        for word in topics.split_whitespace() {
            let (topic, PartitionId(count)) = partition(word);
            world.topics.insert(topic.0[0] as char, count);
        }
        world
    }

    fn time(&self) -> Timestamp {
        Timestamp(self.now * SECOND)
    }

    /// Applies a command, and keeps its rows as storage would.
    fn apply(&mut self, command: &GroupCommand) -> (GroupAnswer, Vec<Row>, Vec<Changed>) {
        self.index += 1;
        let encoded = command.encode();
        assert_eq!(GroupCommand::decode(&encoded).as_ref(), Ok(command));
        let (mut twin, former) = (self.groups.clone(), self.groups.get(GROUP).cloned());
        let applied = self.groups.apply(self.index, &encoded);
        let again = twin.apply(self.index, &encoded);
        assert!((&twin, &again.rows) == (&self.groups, &applied.rows), "it does the same twice");
        let (answer, current) = (&applied.answer, self.groups.get(GROUP).cloned());
        self.history.check(&history::Event { command, answer, former, current });
        for (key, value) in applied.rows.clone() {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        assert_eq!(self.restored(), self.groups, "the rows are the state");
        (applied.answer, applied.rows, applied.changed)
    }

    fn restored(&self) -> Groups {
        let rows: Vec<_> = self.rows.clone().into_iter().collect();
        assert!(rows.iter().all(|(key, _)| crate::is_group_row(key)));
        Groups::restored(&rows).unwrap()
    }

    fn act(&mut self, action: Action) -> GroupAnswer {
        let time = self.time();
        self.apply(&GroupCommand::Change { group: GROUP.to_owned(), time, action }).0
    }

    fn begin(&mut self) {
        let time = self.time();
        assert_eq!(self.apply(&GroupCommand::Begin { time }).0, Ok(GroupReply::Done));
    }

    fn group(&self) -> Arc<ConsumerGroup> {
        Arc::clone(self.groups.get(GROUP).expect("the group is there"))
    }

    /// What selections stand for now. A pattern is the letters of the topics that it matches.
    fn resolution<'a>(&self, selections: impl Iterator<Item = &'a Selection>) -> Resolution {
        let topics = self.topics.iter();
        let is_meant = |selection: &Selection, topic: char| selection.text().contains(topic);
        let matches = |selection: &Selection| {
            let topics = self.topics.keys().filter(|topic| is_meant(selection, **topic));
            topics.map(|topic| topic_id(*topic)).collect::<Vec<_>>()
        };
        Resolution {
            as_of: self.metadata,
            topics: topics.map(|(topic, count)| (topic_id(*topic), *count)).collect(),
            selected: selections.map(|named| (named.clone(), matches(named))).collect(),
        }
    }

    /// Someone who asks for these topics, as in `a b` or `/ab`, a pattern.
    fn joining(&self, member: MemberId, topics: &str) -> Join {
        let selections: Vec<_> = topics
            .split_whitespace()
            .map(|word| match word.strip_prefix('/') {
                Some(pattern) => Selection::Pattern(pattern.to_owned()),
                None => Selection::Name(word.to_owned()),
            })
            .collect();
        Join {
            member,
            is_new: !self.clients.contains_key(&member),
            stream: 0,
            is_again: false,
            instance: None,
            client_id: "client".to_owned(),
            host: "host".to_owned(),
            resolution: self.resolution(selections.iter()),
            selections,
            strategy: None,
            patience: Patience::default(),
        }
    }

    fn try_join(&mut self, join: Join) -> Result<MemberId, GroupError> {
        let instance = join.instance.clone();
        match self.act(Action::Join(Box::new(join)))? {
            GroupReply::Joined(joined) => {
                let session = joined.session;
                let client = Client { session, instance, ..Client::default() };
                self.clients.insert(joined.member, client);
                Ok(joined.member)
            }
            GroupReply::Done => panic!("a join is answered with who joined"),
        }
    }

    /// A member of this letter reads topics.
    fn join_to(&mut self, letter: char, topics: &str) -> MemberId {
        let join = self.joining(member_id(letter), topics);
        self.try_join(join).unwrap()
    }

    /// A member of this letter reads topic `a`.
    fn join(&mut self, letter: char) -> MemberId {
        self.join_to(letter, "a")
    }

    /// A static member.
    fn join_named(&mut self, letter: char, instance: &str) -> MemberId {
        let mut join = self.joining(member_id(letter), "a");
        join.instance = Some(instance.to_owned());
        self.try_join(join).unwrap()
    }

    fn join_with(&mut self, letter: char, topics: &str, strategy: &str) -> MemberId {
        let mut join = self.joining(member_id(letter), topics);
        join.strategy = Some(Strategy::from_name(strategy).unwrap());
        self.try_join(join).unwrap()
    }

    fn leave(&mut self, member: MemberId) {
        let session = self.clients[&member].session;
        self.act(Action::Leave { member, session }).unwrap();
    }

    fn lose(&mut self, member: MemberId) {
        let session = self.clients[&member].session;
        self.act(Action::Lose { member, session }).unwrap();
    }

    /// Time passes, and whatever becomes due meanwhile is proposed.
    fn pass(&mut self, seconds: i64) {
        let end = self.now + seconds;
        while let Some((due, GROUP)) = self.groups.next_deadline()
            && due.0 <= end * SECOND
        {
            self.now = self.now.max((due.0 + SECOND - 1) / SECOND);
            self.act(Action::Expire).unwrap();
        }
        self.now = end;
    }

    /// The leader finds out what has become of topics.
    fn resolve(&mut self) {
        self.metadata += 1;
        let group = self.group();
        let resolution = self.resolution(group.selections());
        self.act(Action::Resolve(resolution.clone())).unwrap();
        assert!(self.group().is_resolved(&resolution));
    }

    /// A stream tells its member what is new. In words: `ended a1; assigned a2; revoked a0 by 7`,
    /// `generation` where that alone is new, and nothing where nothing is.
    fn told(&mut self, member: MemberId) -> String {
        let now = self.groups.get(GROUP).cloned();
        let client = self.clients.get_mut(&member).expect("it has joined");
        let news = news_for(member, client.told.as_deref(), now.as_deref());
        client.told = now;
        match news {
            None => String::new(),
            Some(News::Fenced { .. }) => "fenced".to_owned(),
            Some(News::Delta(delta)) => {
                client.hear(&delta);
                in_words(&delta)
            }
        }
    }

    /// A member gives back partitions, as in `a1 a2`, with the generation that it knows.
    fn release(&mut self, member: MemberId, partitions: &str) -> GroupAnswer {
        let generation = self.clients[&member].generation;
        let releaser = Committer { member, generation };
        self.act(Action::Release { releaser, partitions: listed(partitions) })
    }

    /// A member commits with the generation that it knows.
    fn commit(&self, member: MemberId, partitions: &str) -> Result<(), GroupError> {
        self.commit_as(member, self.clients[&member].generation, partitions)
    }

    fn commit_as(
        &self,
        member: MemberId,
        generation: u64,
        partitions: &str,
    ) -> Result<(), GroupError> {
        let committer = Committer { member, generation };
        self.groups.check_commit(GROUP, Some(committer), listed(partitions))
    }

    /// Who has what, in the order in which they joined: `x: a0 a1; y: a2`. A partition that is to
    /// be given back has a `-`.
    fn shown(&self) -> String {
        let group = self.group();
        let members = group.describe().members.into_iter().map(|member| {
            let words = member.assigned.iter().map(|(topic, partition)| {
                let holding = group.holding(*topic, *partition).expect("it is assigned");
                let mark = if holding.drain.is_some() { "-" } else { "" };
                format!(" {}{mark}", word(&(*topic, *partition)))
            });
            format!("{}:{}", member.id.0[0] as char, words.collect::<String>())
        });
        members.collect::<Vec<_>>().join("; ")
    }

    fn state(&self) -> String {
        self.group().state().to_string()
    }

    /// Every client is told what is new and gives back what it is asked for.
    fn settle(&mut self) {
        for _ in 0..8 {
            for (member, session) in self.group().connected() {
                if self.clients[&member].session != session {
                    continue;
                }
                self.told(member);
                let back = self.clients[&member].has.iter().filter(|(_, (_, is_back))| *is_back);
                let back = back.map(|(partition, _)| word(partition)).collect::<Vec<_>>();
                if !back.is_empty() {
                    self.release(member, &back.join(" ")).unwrap();
                }
            }
        }
    }
}

impl Client {
    fn hear(&mut self, delta: &Delta) {
        self.generation = delta.generation;
        for partition in &delta.ended {
            assert!(self.has.remove(partition).is_some(), "what ends was there");
        }
        let told = self.told.clone().expect("it was told just now");
        for partition in &delta.assigned {
            let holding = told.holding(partition.0, partition.1).expect("it is assigned");
            let is_new = self.has.insert(*partition, (holding.since, false)).is_none();
            assert!(is_new, "what is assigned was not there");
        }
        for (partition, _) in &delta.revoked {
            self.has.get_mut(partition).expect("what is taken back was there").1 = true;
        }
    }
}

fn in_words(delta: &Delta) -> String {
    let list = |what: &str, partitions: &[TopicPartition]| {
        let words = partitions.iter().map(word).collect::<Vec<_>>();
        (!words.is_empty()).then(|| format!("{what} {}", words.join(" ")))
    };
    let mut by_time = BTreeMap::<Timestamp, Vec<TopicPartition>>::new();
    for (partition, time) in &delta.revoked {
        by_time.entry(*time).or_default().push(*partition);
    }
    let revoked = by_time.iter().filter_map(|(time, partitions)| {
        Some(format!("{} by {}", list("revoked", partitions)?, time.0 / SECOND))
    });
    let parts = [list("ended", &delta.ended), list("assigned", &delta.assigned)];
    let plan = delta.plan.as_ref().map(|_| "plan".to_owned());
    let parts: Vec<_> = parts.into_iter().flatten().chain(revoked).chain(plan).collect();
    if parts.is_empty() { "generation".to_owned() } else { parts.join("; ") }
}

fn member_id(letter: char) -> MemberId {
    MemberId([u8::try_from(letter).unwrap(); 16])
}

fn topic_id(letter: char) -> TopicId {
    TopicId([u8::try_from(letter).unwrap(); 16])
}

fn partition(word: &str) -> TopicPartition {
    (topic_id(word.chars().next().unwrap()), PartitionId(word[1..].parse().unwrap()))
}

fn word((topic, partition): &TopicPartition) -> String {
    format!("{}{partition}", topic.0[0] as char)
}

fn listed(partitions: &str) -> Vec<TopicPartition> {
    partitions.split_whitespace().map(partition).collect()
}
