//! The rows that keep consumer groups: for each its head, its members, what their selections stand
//! for, and [`PARTITIONS_PER_ROW`] partitions of a topic each. Each fits a small value of storage:
//! what may be longer is cut in pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::{MemberId, Timestamp, TopicId};

use crate::group::{
    ConsumerGroup, Holding, Lost, Member, Patience, PendingPlan, Selected, Selection, Slot,
};
use crate::stored::{
    read_bool, read_duration, read_list, read_selection, read_topic, write_bool, write_duration,
    write_list, write_selection, write_text,
};
use crate::strategy::Strategy;

/// A row: its key, and its value or that it is gone.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

const VERSION: u8 = 1;
const WHAT: &str = "consumer group row";
/// A partition takes 53 bytes at most.
const PARTITIONS_PER_ROW: usize = 64;
const PIECE_BYTES: usize = 3_000;

/// What a row is about: the first byte of its key. The numbers are stored: they are never used
/// again, and other rows of a coordinator group have other ones.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Assignment = b'A',
    Group = b'G',
    Member = b'M',
    Selected = b'S',
}

/// Whether a row of a coordinator group is one of these.
#[must_use]
pub fn is_group_row(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'A' | b'G' | b'M' | b'S'))
}

/// The rows that lead from one state of a group to the next.
pub(crate) struct Changes<'a> {
    name: &'a str,
    pub(crate) rows: Vec<Row>,
    /// The bytes of the rows that were replaced.
    pub(crate) before: usize,
    /// The bytes of those that replaced them.
    pub(crate) after: usize,
}

impl<'a> Changes<'a> {
    pub(crate) fn between(
        name: &'a str,
        former: Option<&ConsumerGroup>,
        current: Option<&ConsumerGroup>,
    ) -> Self {
        let mut changes = Self { name, rows: Vec::new(), before: 0, after: 0 };
        changes.row(Kind::Group, &[], former.map(head), current.map(head));
        changes.members(former, current);
        let selected = |group: Option<&ConsumerGroup>| {
            let selected = group.map(|group| &group.selected);
            selected.filter(|selected| !selected.is_empty()).cloned()
        };
        let (old, new) = (selected(former), selected(current));
        if old != new {
            let stored = |selected: Option<Arc<Selected>>| selected.as_deref().map(write_selected);
            changes.pieces(Kind::Selected, &[], stored(old), stored(new));
        }
        changes.assignment(former, current);
        changes
    }

    fn members(&mut self, former: Option<&ConsumerGroup>, current: Option<&ConsumerGroup>) {
        let ids = |group: Option<&ConsumerGroup>| -> BTreeSet<MemberId> {
            group.into_iter().flat_map(|group| group.members.keys().copied()).collect()
        };
        for id in ids(former).union(&ids(current)) {
            let member = |group: Option<&ConsumerGroup>| group?.members.get(id).cloned();
            let (old, new) = (member(former), member(current));
            if old != new {
                let stored = |member: Option<Arc<Member>>| member.as_deref().map(write_member);
                self.pieces(Kind::Member, &id.0, stored(old), stored(new));
            }
        }
    }

    fn assignment(&mut self, former: Option<&ConsumerGroup>, current: Option<&ConsumerGroup>) {
        let topics = |group: Option<&ConsumerGroup>| -> BTreeSet<TopicId> {
            group.into_iter().flat_map(|group| group.topics.keys().copied()).collect()
        };
        for topic in topics(former).union(&topics(current)) {
            let slots = |group: Option<&ConsumerGroup>| group?.topics.get(topic).cloned();
            let (old, new) = (slots(former), slots(current));
            if old == new {
                continue;
            }
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            let (old, new) = (chunks(&old), chunks(&new));
            for at in 0..old.len().max(new.len()) {
                let stored = |chunks: &[&[Slot]]| chunks.get(at).map(|slots| write_slots(slots));
                if old.get(at) != new.get(at) {
                    let id = [&topic.0[..], &number(at)].concat();
                    self.row(Kind::Assignment, &id, stored(&old), stored(&new));
                }
            }
        }
    }

    /// What may be longer than a row, in as many as it takes.
    fn pieces(&mut self, kind: Kind, id: &[u8], old: Option<Vec<u8>>, new: Option<Vec<u8>>) {
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let (mut old, mut new) = (old.chunks(PIECE_BYTES), new.chunks(PIECE_BYTES));
        for at in 0.. {
            let (old, new) = (old.next(), new.next());
            if old.is_none() && new.is_none() {
                return;
            }
            let stored = |piece: &[u8]| Writer::versioned(VERSION).raw(piece).finish();
            self.row(kind, &[id, &number(at)].concat(), old.map(stored), new.map(stored));
        }
    }

    fn row(&mut self, kind: Kind, id: &[u8], old: Option<Vec<u8>>, new: Option<Vec<u8>>) {
        if old == new {
            return;
        }
        let mut key = Writer::versioned(kind as u8);
        let key = key.bytes(self.name.as_bytes()).raw(id).finish();
        let bytes = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, |v| key.len() + v.len());
        self.before += bytes(&old);
        self.after += bytes(&new);
        self.rows.push((key, new));
    }
}

fn chunks(slots: &[Slot]) -> Vec<&[Slot]> {
    slots.chunks(PARTITIONS_PER_ROW).collect()
}

fn number(at: usize) -> [u8; 4] {
    u32::try_from(at).expect("limits bound the rows of a group").to_be_bytes()
}

fn head(group: &ConsumerGroup) -> Vec<u8> {
    let mut out = Writer::versioned(VERSION);
    out.u64(group.generation).u64(group.as_of);
    group.strategy.write(&mut out);
    out.option(group.plan, |out, plan| {
        out.u64(plan.id).raw(&plan.planner.0).i64(plan.deadline.0);
    });
    out.finish()
}

fn read_head(value: &[u8]) -> Result<ConsumerGroup, DecodeError> {
    let mut reader = Reader::versioned(value, VERSION, WHAT)?;
    let group = ConsumerGroup {
        generation: reader.u64()?,
        as_of: reader.u64()?,
        strategy: Strategy::read(&mut reader)?,
        plan: reader.option(|reader| {
            Ok(PendingPlan {
                id: reader.u64()?,
                planner: MemberId(reader.array()?),
                deadline: Timestamp(reader.i64()?),
            })
        })?,
        ..ConsumerGroup::default()
    };
    reader.finish()?;
    Ok(group)
}

fn write_member(member: &Member) -> Vec<u8> {
    let mut out = Writer::default();
    out.option(member.instance.as_deref(), write_text);
    write_text(&mut out, &member.client_id);
    write_text(&mut out, &member.host);
    write_list(&mut out, &member.selections, write_selection);
    out.option(member.strategy.as_ref(), |out, strategy| strategy.write(out));
    write_duration(&mut out, member.patience.grace);
    write_duration(&mut out, member.patience.drain);
    out.u64(member.joined).u32(member.session).u64(member.stream);
    out.option(member.lost, |out, lost| {
        out.i64(lost.since.0).i64(lost.until.0);
    });
    out.finish()
}

fn read_member(bytes: &[u8]) -> Result<Member, DecodeError> {
    let mut reader = Reader::new(bytes, "member of a consumer group");
    let member = Member {
        instance: reader.option(Reader::string)?,
        client_id: reader.string()?,
        host: reader.string()?,
        selections: read_list(&mut reader, read_selection)?,
        strategy: reader.option(Strategy::read)?,
        patience: Patience {
            grace: read_duration(&mut reader)?,
            drain: read_duration(&mut reader)?,
        },
        joined: reader.u64()?,
        session: reader.u32()?,
        stream: reader.u64()?,
        lost: reader.option(|reader| {
            Ok(Lost { since: Timestamp(reader.i64()?), until: Timestamp(reader.i64()?) })
        })?,
    };
    reader.finish()?;
    Ok(member)
}

fn write_selected(selected: &Selected) -> Vec<u8> {
    let mut out = Writer::default();
    let entries: Vec<_> = selected.iter().collect();
    write_list(&mut out, &entries, |out, (selection, topics)| {
        write_selection(out, selection);
        let topics: Vec<_> = topics.iter().collect();
        write_list(out, &topics, |out, topic| {
            out.raw(&topic.0);
        });
    });
    out.finish()
}

fn read_selected(bytes: &[u8]) -> Result<Selected, DecodeError> {
    let mut reader = Reader::new(bytes, "selections of a consumer group");
    let read = |reader: &mut Reader<'_>| -> Result<(Selection, BTreeSet<TopicId>), DecodeError> {
        Ok((read_selection(reader)?, read_list(reader, read_topic)?.into_iter().collect()))
    };
    let selected = read_list(&mut reader, read)?.into_iter().collect();
    reader.finish()?;
    Ok(selected)
}

/// One partition after the other: who has it, and who is to have it where that is another.
fn write_slots(slots: &[Slot]) -> Vec<u8> {
    let mut out = Writer::versioned(VERSION);
    write_list(&mut out, slots, |out, slot| {
        let holder = slot.holding.map(|holding| holding.member);
        out.option(slot.holding, |out, holding| {
            out.raw(&holding.member.0).u64(holding.since);
            out.option(holding.drain, |out, drain| {
                out.i64(drain.0);
            });
        });
        write_bool(out, slot.is_added);
        let other = (slot.target != holder).then_some(slot.target);
        out.option(other, |out, target| {
            out.option(target, |out, member| {
                out.raw(&member.0);
            });
        });
    });
    out.finish()
}

fn read_slots(value: &[u8]) -> Result<Vec<Slot>, DecodeError> {
    let member = |reader: &mut Reader<'_>| reader.array().map(MemberId);
    let mut reader = Reader::versioned(value, VERSION, WHAT)?;
    let slots = read_list(&mut reader, |reader| {
        let holding = reader.option(|reader| {
            Ok(Holding {
                member: member(reader)?,
                since: reader.u64()?,
                drain: reader.option(|reader| reader.i64().map(Timestamp))?,
            })
        })?;
        let is_added = read_bool(reader)?;
        let other = reader.option(|reader| reader.option(member))?;
        let target = other.unwrap_or(holding.map(|holding| holding.member));
        Ok(Slot { target, holding, is_added })
    })?;
    reader.finish()?;
    Ok(slots)
}

/// A group of which not all rows are there yet.
#[derive(Default)]
struct Parts {
    head: Option<ConsumerGroup>,
    members: BTreeMap<MemberId, Pieces>,
    selected: Pieces,
    topics: BTreeMap<TopicId, BTreeMap<u32, Vec<Slot>>>,
}

type Pieces = BTreeMap<u32, Vec<u8>>;

/// The groups that rows hold.
pub(crate) fn read<'a>(
    rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<BTreeMap<String, Arc<ConsumerGroup>>, DecodeError> {
    let mut groups = BTreeMap::<String, Parts>::new();
    for (key, value) in rows {
        let mut id = Reader::new(key, "key of a consumer group row");
        let kind = id.u8()?;
        let parts = groups.entry(id.string()?).or_default();
        let at = |id: &mut Reader<'_>| id.array().map(u32::from_be_bytes);
        let piece = || Reader::versioned(value, VERSION, WHAT).map(|piece| piece.rest().to_vec());
        match kind {
            b'G' => parts.head = Some(read_head(value)?),
            b'M' => {
                let member = MemberId(id.array()?);
                parts.members.entry(member).or_default().insert(at(&mut id)?, piece()?);
            }
            b'S' => {
                parts.selected.insert(at(&mut id)?, piece()?);
            }
            b'A' => {
                let topic = read_topic(&mut id)?;
                let slots = read_slots(value)?;
                parts.topics.entry(topic).or_default().insert(at(&mut id)?, slots);
            }
            _ => return Err(id.error()),
        }
        id.finish()?;
    }
    let whole = |(name, parts): (String, Parts)| Ok((name, Arc::new(parts.join()?)));
    groups.into_iter().map(whole).collect()
}

impl Parts {
    fn join(self) -> Result<ConsumerGroup, DecodeError> {
        let mut group = self.head.ok_or(DecodeError("rows of a consumer group without a head"))?;
        for (id, pieces) in self.members {
            group.members.insert(id, Arc::new(read_member(&whole(pieces))?));
        }
        if !self.selected.is_empty() {
            group.selected = Arc::new(read_selected(&whole(self.selected))?);
        }
        for (topic, chunks) in self.topics {
            let slots = chunks.into_values().flatten().collect();
            group.topics.insert(topic, Arc::new(slots));
        }
        Ok(group)
    }
}

fn whole(pieces: Pieces) -> Vec<u8> {
    pieces.into_values().flatten().collect()
}
