//! The versions of a partition's keys, at its leader: learned from the log, kept up to date by what
//! it appends, and forgotten with the lead.
//!
//! What is appended counts at once, as with offsets: what comes after it in the log goes with it if
//! it is lost. A condition that does not hold is answered only when all that it was compared with
//! is committed, and this replica is known to lead still.

use std::ops::Range;
use std::time::Duration;

use ropewalk_core::versions::{KeyHash, KeyRun, KeyVersions};
use ropewalk_core::{Offset, limits};

use super::ReplicaGroup;
use super::reads::Question;
use crate::key_reads::{KeyRead, KeyRoom, KeysRead};
use crate::producers::check;
use crate::proposal::{Expected, ProposalKind, ProposeError};
use crate::shard::Output;

/// What a group that knows any takes beside its keys, in keys: an empty map has two KiB.
pub(crate) const OWN_ROOM: usize = 32;
/// There were too many keys: they are not read again before this has passed.
const FULL_PAUSE: Duration = Duration::from_secs(60);
/// The log could not be read: it is not read again before this has passed.
const BROKEN_PAUSE: Duration = Duration::from_secs(5);

/// What becomes of a proposal that may need the keys of its partition.
pub(crate) enum Admission {
    /// It goes on.
    Now,
    /// It goes on, and the group knows keys.
    Known,
    /// It waits until they are read.
    Later,
    /// It is refused.
    Never(ProposeError),
}

/// What is known of a partition's keys.
pub(super) struct Keys {
    known: Option<Box<Known>>,
    /// Why they are not to be known, and until when.
    refused: Option<(ProposeError, Duration)>,
    /// How often they were forgotten: what was begun to be read before does not count.
    forgotten: u64,
    room: KeyRoom,
}

struct Known {
    versions: KeyVersions,
    /// The offsets whose keys are not among them yet.
    unread: Range<Offset>,
    is_reading: bool,
    /// So many keys it has room for, [`OWN_ROOM`] included.
    room: usize,
    /// When somebody last asked for a version.
    asked: Duration,
}

impl Known {
    /// Takes room for the keys that it knows by now, or gives some back. Returns whether there was
    /// enough.
    fn fits(&mut self, room: &KeyRoom) -> bool {
        let count = self.versions.len() + OWN_ROOM;
        let fits = room.change(self.room, count);
        if fits {
            self.room = count;
        }
        fits
    }
}

impl Keys {
    pub(super) fn new(room: KeyRoom) -> Self {
        Self { known: None, refused: None, forgotten: 0, room }
    }

    /// Forgets all of them.
    pub(super) fn forget(&mut self) {
        self.forgotten += 1;
        if let Some(known) = self.known.take() {
            self.room.change(known.room, 0);
        }
    }

    fn refuse(&mut self, why: ProposeError, pause: Duration) {
        self.forget();
        self.refused = Some((why, self.room.time() + pause));
    }

    /// Takes up keys, whose offsets count from `base`.
    fn note(&mut self, run: &KeyRun, base: Offset, start: Offset) {
        let Some(known) = &mut self.known else { return };
        known.versions.note(run, base);
        if !known.fits(&self.room) {
            // Many of them may be gone.
            known.versions.sweep_all(start);
            if !known.fits(&self.room) {
                let limit = self.room.most();
                self.refuse(ProposeError::TooManyKeys { limit }, FULL_PAUSE);
            }
        }
    }

    /// A batch gets these offsets. Without its keys they are read later.
    fn append(&mut self, offsets: Range<Offset>, keys: Option<KeyRun>, start: Offset) {
        let Some(known) = &mut self.known else { return };
        match keys {
            Some(keys) => self.note(&keys, offsets.start, start),
            None if known.unread.is_empty() => known.unread = offsets,
            None => known.unread.end = offsets.end,
        }
    }

    /// Whether the versions are known, of all that is below `next`; has them read if not.
    fn ask(&mut self, start: Offset, next: Offset) -> Admission {
        let now = self.room.time();
        if let Some((why, until)) = self.refused {
            if now < until {
                return Admission::Never(why);
            }
            self.refused = None;
        }
        let known = self.known.get_or_insert_with(|| {
            Box::new(Known {
                versions: KeyVersions::default(),
                unread: start..next,
                is_reading: false,
                room: 0,
                asked: now,
            })
        });
        known.asked = now;
        if known.unread.is_empty() { Admission::Known } else { Admission::Later }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.forget();
    }
}

impl<T> ReplicaGroup<T> {
    /// A batch was proposed, and ends before the next offset.
    pub(super) fn keys_appended(&mut self, base: Offset, keys: Option<KeyRun>) {
        // Of most partitions nobody asks for versions.
        if self.knows_keys() {
            let start = self.log().reader().bounds().start;
            self.keys.append(base..self.next_offset, keys, start);
        }
    }

    /// Whether a proposal may go on, or needs keys that are not known yet. What is refused in any
    /// case, or known already, needs none.
    pub(crate) fn admit(&mut self, kind: &ProposalKind) -> Admission {
        let ProposalKind::Batch { draft, expected: Some(expected), epoch, .. } = kind else {
            return Admission::Now;
        };
        if matches!(**expected, Expected::Offset(_)) {
            return Admission::Now;
        }
        let raft = &self.node.raft;
        let serves = self.serving == Some(raft.term) && raft.lead_transferee.is_none();
        if !serves || epoch.is_some_and(|epoch| epoch != raft.term) {
            return Admission::Now;
        }
        let is_new = draft.sequence().is_none_or(|sequence| {
            let known = self.sequences.known(sequence.producer);
            matches!(check(known, sequence, draft.record_count(), draft.payload_crc()), Ok(None))
        });
        if !is_new {
            return Admission::Now;
        }
        let start = self.log().reader().bounds().start;
        self.keys.ask(start, self.next_offset)
    }

    /// Whether a condition holds.
    pub(super) fn check_expected(&self, expected: &Expected) -> Result<(), ProposeError> {
        match expected {
            Expected::Offset(expected) if *expected == self.next_offset => Ok(()),
            Expected::Offset(_) => Err(ProposeError::ExpectedOffset { current: self.next_offset }),
            Expected::Version { key, version } => {
                let known = self.keys.known.as_ref().filter(|known| known.unread.is_empty());
                let known = known.ok_or(ProposeError::KeysUnread)?;
                let start = self.log().reader().bounds().start;
                let current = known.versions.version(KeyHash::of(key), start);
                if current == *version {
                    return Ok(());
                }
                Err(ProposeError::ExpectedVersion { current })
            }
        }
    }

    /// Answers that a condition does not hold, once what it was compared with is sure to last.
    pub(super) fn refuse_when_sure(
        &mut self,
        error: ProposeError,
        (reply, held): (T, Box<dyn std::any::Any + Send>),
        out: &mut Vec<Output<T>>,
    ) {
        let after = self.node.raft.raft_log.last_index();
        self.reads.push(Question::Refused { error, after }, reply, held, out);
    }

    /// What is to be read next to know the keys, as far as it is committed.
    pub(crate) fn next_key_read(&mut self) -> Option<KeyRead> {
        let (group, incarnation, term) = (self.id(), self.incarnation, self.node.raft.term);
        // Not beside a compaction: see `tell_compaction`.
        if self.log().compaction().pending().is_some() {
            return None;
        }
        let (reader, forgotten) = (self.reader(), self.keys.forgotten);
        let known = self.keys.known.as_mut()?;
        let from = known.unread.start;
        let is_there = from < known.unread.end.min(reader.bounds().high_watermark);
        if known.is_reading || !is_there {
            return None;
        }
        known.is_reading = true;
        Some(KeyRead { group, incarnation, term, forgotten, reader, from })
    }

    /// A part of the keys was read.
    pub(crate) fn note_keys_read(&mut self, read: KeysRead, out: &mut Vec<Output<T>>) {
        // What was read in another term may not be what this replica has.
        if read.incarnation != self.incarnation || self.serving != Some(read.term) {
            return;
        }
        if read.forgotten != self.keys.forgotten {
            return;
        }
        let (start, group) = (self.log().reader().bounds().start, self.id());
        let members = self.log().conf_state();
        let is_alone = members.voters.len() + members.learners.len() == 1;
        let Some(known) = &mut self.keys.known else { return };
        known.is_reading = false;
        match read.found {
            Ok((range, keys)) => {
                if range.contains(&known.unread.start) || range.start == known.unread.start {
                    known.unread.start = range.end.max(start).min(known.unread.end);
                }
                self.keys.note(&keys, Offset::ZERO, start);
            }
            Err(error) => {
                tracing::error!(
                    %group, %error,
                    "the keys of a partition cannot be read: appends that expect a version of a \
                     key are refused, and they are read again in five seconds at the earliest"
                );
                // Where others have what is damaged here, one of them is soon to lead.
                let is_lost = error.is_damage() && is_alone;
                let at = error.offset().unwrap_or(known.unread.start);
                let why = match is_lost {
                    true => ProposeError::KeysDamaged { at },
                    false => ProposeError::KeysUnread,
                };
                self.keys.refuse(why, BROKEN_PAUSE);
                if error.is_damage() {
                    out.push(Output::Damaged { group });
                }
            }
        }
    }

    /// Whether there is something to read before the keys are known.
    pub(crate) fn has_unread_keys(&self) -> bool {
        self.keys.known.as_ref().is_some_and(|known| !known.unread.is_empty())
    }

    /// Whether any keys are known.
    pub(crate) fn knows_keys(&self) -> bool {
        self.keys.known.is_some()
    }

    /// Time passes: keys that nobody has asked for for long are forgotten, and those that are gone.
    pub(crate) fn tick_keys(&mut self) {
        let now = self.keys.room.time();
        let start = self.log().reader().bounds().start;
        let Some(known) = &mut self.keys.known else { return };
        if now - known.asked >= limits::KEYS_IDLE {
            return self.keys.forget();
        }
        known.versions.sweep(start);
        // There are no more of them than before.
        known.fits(&self.keys.room);
    }
}
