//! What a member has, how far it is with it, and since when.
//!
//! Nothing here waits or calls: it is told what the broker says and what the application takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ropewalk_proto::broker as proto;

use super::session::FENCED;
use crate::consumer::PartitionState;
use crate::error::{Error, ErrorKind};
use crate::offsets::{Era, Position};

/// Eras are told apart in the whole process: a position of one consumer is none of another's.
static ERAS: AtomicU64 = AtomicU64::new(1);

/// A partition of a topic.
pub(super) type Place = (Arc<str>, i32);

/// How the member has a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It reads it.
    Kept,
    /// It is to be given back.
    Revoked,
    /// A call that gives it back was made, and may have gone through without an answer.
    GivingBack,
    /// It was given back, and the stream has not said yet that it has ended.
    Released,
    /// A commit of it was refused: it is another member's, or was meanwhile, and the stream has not
    /// said so yet.
    Refused,
}

/// A partition that the member has.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Which time it has it.
    pub(super) era: Era,
    /// The next offset that the stream is to bring.
    pub(super) next: i64,
    /// The offset after the last record that was given to the application.
    pub(super) given: i64,
    /// What was given and is done: the application has come for more since.
    done: i64,
    /// What is committed, as far as this client knows: where it began, or what it committed last.
    committed: i64,
    pub(super) is_paused: bool,
    standing: Standing,
}

impl Held {
    fn new(offset: i64) -> Held {
        Held {
            era: Era(ERAS.fetch_add(1, Ordering::Relaxed)),
            next: offset,
            given: offset,
            done: offset,
            committed: offset,
            is_paused: false,
            standing: Standing::Kept,
        }
    }

    /// Whether what comes of it is given to the application.
    pub(super) fn is_read(&self) -> bool {
        self.standing == Standing::Kept
    }

    /// Whether it is the member's, as far as is known.
    fn is_there(&self) -> bool {
        !matches!(self.standing, Standing::Released | Standing::Refused)
    }

    /// Whether the application is to hear that it was lost, once it has ended.
    fn is_missed(&self) -> bool {
        self.standing != Standing::Released
    }

    /// Whether something is done that is not committed.
    fn is_due(&self) -> bool {
        self.done != self.committed && self.is_there()
    }
}

/// What an assignment means for the application.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// What was taken and had not been given back.
    pub(super) lost: Vec<Position>,
    pub(super) fresh: Vec<PartitionState>,
    pub(super) revoked: Vec<(Vec<Position>, Option<SystemTime>)>,
}

/// Who the member is, and what it has.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    member_id: String,
    /// The newest generation up to which what is held here is known to be the member's.
    generation: i64,
    pub(super) held: BTreeMap<Place, Held>,
    /// What was given and does not count as done yet.
    unfinished: Vec<Place>,
}

/// The same, as the consumer and its committers share it.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedHoldings(Arc<Mutex<Holdings>>);

impl SharedHoldings {
    pub(super) fn lock(&self) -> MutexGuard<'_, Holdings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holdings {
    pub(super) fn identity(&self) -> (String, i64) {
        (self.member_id.clone(), self.generation)
    }

    /// The member is this one from here on. A stream that takes the place of another says nothing
    /// of what became of the member's partitions in between: only its first assignment does, and
    /// until then nothing newer may be claimed than before.
    pub(super) fn begin(&mut self, member_id: String, generation: i64) {
        if self.member_id != member_id {
            self.held.clear();
            (self.member_id, self.generation) = (member_id, generation);
        }
    }

    /// It is no member any more. Returns what it had.
    pub(super) fn end(&mut self) -> Vec<Position> {
        self.member_id.clear();
        let held = std::mem::take(&mut self.held);
        let lost = held.into_iter().filter(|(_, held)| held.is_missed());
        lost.map(|(place, held)| position(&place, &held, held.given)).collect()
    }

    /// Takes up an assignment; the first of a stream says everything that the member has.
    pub(super) fn apply(&mut self, assignment: proto::Assignment, is_first: bool) -> Changes {
        let mut changes = Changes::default();
        let mut gone = places(&assignment.ended);
        if is_first {
            let assigned = assignment.assigned.iter();
            let there: BTreeSet<_> = assigned.map(|at| (&*at.topic, at.partition)).collect();
            let is_gone = |place: &&Place| !there.contains(&(&*place.0, place.1));
            gone.extend(self.held.keys().filter(is_gone).cloned());
        }
        for place in gone {
            let removed = self.held.remove(&place).filter(Held::is_missed);
            changes.lost.extend(removed.map(|held| position(&place, &held, held.given)));
        }
        let revoked = assignment.revoked.iter().filter_map(|it| it.partitions.clone());
        let revoked: BTreeSet<_> = places(&revoked.collect::<Vec<_>>()).into_iter().collect();
        for at in assignment.assigned {
            let place = (Arc::from(at.topic.as_str()), at.partition);
            let is_revoked = revoked.contains(&place);
            if let Some(replaced) = self.take(place.clone(), at.offset, is_revoked) {
                let lost = replaced.filter(Held::is_missed);
                changes.lost.extend(lost.map(|held| position(&place, &held, held.given)));
                changes.fresh.push(PartitionState::from(at));
            }
        }
        for revocation in assignment.revoked {
            let deadline = revocation.deadline.and_then(|at| SystemTime::try_from(at).ok());
            let named: Vec<_> = revocation.partitions.into_iter().collect();
            let revoked = places(&named).into_iter().filter_map(|place| self.revoke(&place));
            let revoked: Vec<_> = revoked.collect();
            if !revoked.is_empty() {
                changes.revoked.push((revoked, deadline));
            }
        }
        self.generation = self.generation.max(assignment.generation);
        changes
    }

    /// A partition is the member's, from this offset on. Returns what it replaces if that is news:
    /// it was not the member's before, or the stream goes on elsewhere.
    fn take(&mut self, place: Place, offset: i64, is_revoked: bool) -> Option<Option<Held>> {
        // A revocation is never withdrawn: what was revoked and is no more has gone and come back.
        let goes_on =
            |held: &Held| held.next == offset && held.is_there() && (is_revoked || held.is_read());
        if self.held.get(&place).is_some_and(goes_on) {
            return None;
        }
        Some(self.held.insert(place, Held::new(offset)))
    }

    fn revoke(&mut self, place: &Place) -> Option<Position> {
        let held = self.held.get_mut(place).filter(|held| held.is_there())?;
        if held.is_read() {
            held.standing = Standing::Revoked;
        }
        // What was read ahead of it is dropped.
        held.next = held.given;
        Some(position(place, held, held.given))
    }

    /// Whether records of this era are read.
    pub(super) fn reads(&self, place: &Place, era: Era) -> bool {
        self.held.get(place).is_some_and(|held| held.is_read() && era.counts_in(held.era))
    }

    /// What was read ahead of everything is dropped, and comes again.
    pub(super) fn rewind(&mut self) {
        for held in self.held.values_mut() {
            held.next = held.given;
        }
    }

    /// Goes on elsewhere.
    pub(super) fn seek(&mut self, place: &Place, offset: i64) {
        if let Some(held) = self.held.get_mut(place) {
            (held.next, held.given, held.done) = (offset, offset, offset);
        }
    }

    /// Everything of a partition before an offset has been given, or is gone.
    pub(super) fn give(&mut self, place: &Place, offset: i64) {
        if let Some(held) = self.held.get_mut(place) {
            held.given = offset;
            if self.unfinished.last() != Some(place) {
                self.unfinished.push(place.clone());
            }
        }
    }

    /// The next record of a partition is given, and what was given before is done.
    pub(super) fn give_next(&mut self, place: Place, offset: i64) {
        // As a rule it is of the same partition as the one before.
        let goes_on = matches!(&self.unfinished[..], [before] if *before == place);
        match self.held.get_mut(&place).filter(|_| goes_on) {
            Some(held) => (held.done, held.given) = (held.given, offset),
            None => {
                self.finish();
                self.give(&place, offset);
            }
        }
    }

    /// What was given before is done.
    pub(super) fn finish(&mut self) {
        for place in self.unfinished.drain(..) {
            if let Some(held) = self.held.get_mut(&place) {
                held.done = held.given;
            }
        }
    }

    pub(super) fn has_uncommitted(&self) -> bool {
        self.held.values().any(Held::is_due)
    }

    /// What is done and not committed.
    pub(super) fn uncommitted(&self) -> Vec<Position> {
        let held = self.held.iter().filter(|(_, held)| held.is_due());
        held.map(|(place, held)| position(place, held, held.done)).collect()
    }

    /// Positions to be committed, each with the era in which it counts. Where they do not say it
    /// themselves, it is that of `eras`, or else the present one.
    ///
    /// # Errors
    /// `MEMBER_FENCED` when a partition is not the member's, or not since then: the broker, which
    /// knows no more of a position than the generation of its commit, could take it.
    pub(super) fn vouch(
        &self,
        positions: Vec<Position>,
        eras: &BTreeMap<Place, Era>,
    ) -> Result<Vec<Position>, Error> {
        let vouched = positions.into_iter().map(|mut at| {
            let place = (Arc::from(at.topic.as_str()), at.partition);
            let era = match at.era {
                Era(0) => eras.get(&place).copied().unwrap_or_default(),
                era => era,
            };
            let held = self.held.get(&place).filter(|held| held.is_there());
            at.era = held.filter(|held| era.counts_in(held.era)).ok_or_else(|| fenced(&at))?.era;
            Ok(at)
        });
        vouched.collect()
    }

    /// Leaves out positions that are committed already.
    pub(super) fn unkept(&self, mut positions: Vec<Position>) -> Vec<Position> {
        positions.retain(|at| {
            let held = self.held.get(&(Arc::from(at.topic.as_str()), at.partition));
            let held = held.filter(|held| at.era.counts_in(held.era));
            held.is_none_or(|held| held.committed != at.offset)
        });
        positions
    }

    /// Positions were kept.
    pub(super) fn committed(&mut self, positions: &[Position]) {
        for kept in positions {
            if let Some(held) = self.of_era(kept) {
                held.committed = kept.offset;
            }
        }
    }

    /// Partitions are being given back: leaves only those that are to be. Returns those of which
    /// no earlier try may have gone through.
    pub(super) fn give_back(&mut self, positions: &mut Vec<Position>) -> Vec<Position> {
        let mut first = Vec::new();
        positions.retain(|at| match self.of_era(at) {
            Some(held) if held.standing == Standing::Revoked => {
                held.standing = Standing::GivingBack;
                first.push(at.clone());
                true
            }
            Some(held) => held.standing == Standing::GivingBack,
            None => false,
        });
        first
    }

    /// Partitions were surely not given back.
    pub(super) fn not_given_back(&mut self, positions: &[Position]) {
        self.turn(positions, Standing::GivingBack, Standing::Revoked);
    }

    /// Partitions were given back.
    pub(super) fn released(&mut self, positions: &[Position]) {
        self.turn(positions, Standing::GivingBack, Standing::Released);
    }

    fn turn(&mut self, positions: &[Position], from: Standing, to: Standing) {
        for at in positions {
            if let Some(held) = self.of_era(at).filter(|held| held.standing == from) {
                held.standing = to;
            }
        }
    }

    /// A commit of this partition alone was refused: it is another's, or was meanwhile. Where a
    /// call that gave it back has no answer, that is why.
    pub(super) fn refused(&mut self, at: &Position) {
        self.released(std::slice::from_ref(at));
        if let Some(held) = self.of_era(at).filter(|held| held.is_there()) {
            held.standing = Standing::Refused;
        }
    }

    fn of_era(&mut self, at: &Position) -> Option<&mut Held> {
        let held = self.held.get_mut(&(Arc::from(at.topic.as_str()), at.partition))?;
        at.era.counts_in(held.era).then_some(held)
    }

    /// The next offset after what was given, of each partition. Not of one that is being given
    /// back: it may be another's already, and would have a commit of all refused.
    pub(super) fn positions(&self) -> Vec<Position> {
        let is_ours = |held: &Held| held.is_there() && held.standing != Standing::GivingBack;
        let held = self.held.iter().filter(|(_, held)| is_ours(held));
        held.map(|(place, held)| position(place, held, held.given)).collect()
    }

    /// Where another stream of the member is to go on.
    pub(super) fn to_go_on(&self) -> Vec<proto::MemberPosition> {
        let held = self.held.iter().filter(|(_, held)| held.is_there());
        let position = |((topic, partition), held): (&Place, &Held)| proto::MemberPosition {
            topic: topic.to_string(),
            partition: *partition,
            offset: held.next,
            paused: held.is_paused,
        };
        held.map(position).collect()
    }
}

fn position((topic, partition): &Place, held: &Held, offset: i64) -> Position {
    Position { topic: topic.to_string(), partition: *partition, offset, era: held.era }
}

fn places(topics: &[proto::TopicPartitions]) -> Vec<Place> {
    let places = topics.iter().flat_map(|named| {
        let topic: Arc<str> = Arc::from(named.topic.as_str());
        named.partitions.iter().map(move |partition| (Arc::clone(&topic), *partition))
    });
    places.collect()
}

fn fenced(at: &Position) -> Error {
    let message = format!(
        "{}/{} is not the member's any more, or was another's meanwhile: drop what is left of it; \
         whoever has it reads on from what was committed before",
        at.topic, at.partition
    );
    Error::new(ErrorKind::FailedPrecondition, message).with_reason(FENCED)
}

#[cfg(test)]
mod tests;
