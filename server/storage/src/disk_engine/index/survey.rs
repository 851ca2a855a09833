//! Looks through the redo file at start: what is in it, whether it is whole, and where it ends.
//!
//! Only the last frame may be torn, by the crash that cut it short. A frame that cannot be read and
//! has others behind it was durable once: that is damage. Knows the frames, not the store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ropewalk_core::codec::{DecodeError, Reader};

use super::super::frame::{self, Head, Kind, NoFrame};
use super::redo;
use super::stamp::{Stamp, Sum, pending_of};
use super::store::{Changes, StoreResult};
use crate::disk::{BLOCK, Disk, DiskFile, Mode};
use crate::engine::{Result, StorageError};

/// What a redo file is found to be.
pub(super) enum Found {
    /// There is none.
    Missing,
    /// It cannot be relied upon.
    Damaged(Damage),
    /// It is as it was written, but for a last frame that may be torn.
    Whole(Box<Whole>),
}

/// What is known of a file that is not whole.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) at: u64,
    pub(super) why: String,
    /// The highest sequence number, and turn, of all frames that can be read.
    pub(super) newest: u64,
    pub(super) turn: u64,
    /// The data directory of all of them, or none when they do not agree.
    pub(super) directory: Option<u64>,
}

/// A file that is whole.
pub(super) struct Whole {
    file: Arc<dyn DiskFile>,
    /// Where the frames of the dump are.
    dumps: Vec<u64>,
    /// What closes the base, and all changes after it.
    pub(super) steps: Vec<Step>,
    pub(super) pending: Vec<u8>,
    pub(super) directory: u64,
    pub(super) turn: u64,
    pub(super) base_bytes: u64,
    /// Where the last frame ends.
    pub(super) end: u64,
}

/// A change of the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    at: u64,
    pub(super) sequence: u64,
    lsn: u64,
    /// Of the index afterwards.
    pub(super) sum: Sum,
}

impl Whole {
    fn last(&self) -> Step {
        *self.steps.last().expect("a whole file has what closes its base")
    }

    /// What the index is to be.
    pub(super) fn stamp(&self) -> Stamp {
        let Step { sequence, lsn, sum, .. } = self.last();
        let pending = pending_of(&self.pending);
        Stamp { directory: self.directory, turn: self.turn, sequence, lsn, sum, pending }
    }

    /// Gives all changes after a frame, in order, or all there is.
    pub(super) fn replay(
        &self,
        after: Option<u64>,
        apply: &mut dyn FnMut(&Changes) -> StoreResult<()>,
    ) -> StoreResult<()> {
        let dumps = if after.is_none() { self.dumps.as_slice() } else { &[] };
        for at in dumps {
            let (_, bytes) = self.frame(*at)?;
            apply(&take_dump(&bytes).map_err(|error| self.changed(*at, &error))?)?;
        }
        for step in self.steps.iter().filter(|step| after.is_none_or(|from| step.sequence > from)) {
            let (_, bytes) = self.frame(step.at)?;
            let (_, changes, _) = take_step(&bytes).map_err(|e| self.changed(step.at, &e))?;
            apply(&changes)?;
        }
        Ok(())
    }

    fn frame(&self, at: u64) -> Result<(Head, Vec<u8>)> {
        read_frame(self.file.as_ref(), at, self.end)?.map_err(|error| self.changed(at, &error))
    }

    fn changed(&self, at: u64, error: &dyn std::fmt::Display) -> StorageError {
        damaged(self.file.path(), at, &format!("it was sound a moment ago: {error}"))
    }
}

/// The error of a file that is not whole, with nothing beside it that could stand in.
pub(super) fn damaged(path: &Path, at: u64, why: &str) -> StorageError {
    StorageError::Corrupt {
        offset: None,
        what: "index".to_owned(),
        path: path.to_owned(),
        detail: format!(
            "at byte {at}: {why}; restore the data directory from a copy, or start with an empty \
             one, so that it is filled again from the other brokers"
        ),
    }
}

/// Looks through the redo file of an index.
pub(super) fn look(disk: &dyn Disk, dir: &Path) -> Result<Found> {
    let path = redo::path(dir);
    if !disk.exists(&path) {
        return Ok(Found::Missing);
    }
    let file = disk.open(&path, Mode::Read)?;
    let length = file.len()?;
    let mut survey = Survey::default();
    let mut at = 0;
    let bad = loop {
        if at == length {
            break None;
        }
        let (head, bytes) = match read_frame(file.as_ref(), at, length)? {
            Ok(frame) => frame,
            Err(NoFrame::Version(version)) if at == 0 => return Err(foreign(&path, version)),
            Err(error) => break Some(error.to_string()),
        };
        if bytes.first().is_some_and(|version| *version != redo::VERSION) {
            return Err(foreign(&path, bytes[0]));
        }
        if let Err(why) = survey.take(at, &head, &bytes) {
            break Some(why);
        }
        at += frame::frame_bytes(bytes.len()) as u64;
    };
    let sound = survey.steps.last().map_or(0, |step| step.sequence);
    let newest = survey.newest;
    if bad.is_some() {
        survey.look_behind(file.as_ref(), at, length)?;
    }
    let is_followed = survey.newest > newest;
    let (Some((directory, turn)), false, false) =
        (survey.origin, survey.steps.is_empty(), is_followed)
    else {
        return Ok(Found::Damaged(Damage {
            at,
            why: bad.unwrap_or_else(|| "the file ends in the middle of its base".to_owned()),
            newest: survey.newest.max(sound),
            turn: survey.turn,
            directory: survey.origin.map(|(directory, _)| directory).filter(|_| !survey.is_mixed),
        }));
    };
    Ok(Found::Whole(Box::new(Whole {
        file,
        dumps: survey.dumps,
        steps: survey.steps,
        pending: survey.pending,
        directory,
        turn,
        base_bytes: survey.base_bytes,
        end: at,
    })))
}

/// What was found so far.
#[derive(Default)]
struct Survey {
    /// The data directory and the turn of the first frame.
    origin: Option<(u64, u64)>,
    dumps: Vec<u64>,
    /// Of the dump, so far.
    sum: Sum,
    base: u64,
    base_bytes: u64,
    steps: Vec<Step>,
    pending: Vec<u8>,
    newest: u64,
    turn: u64,
    is_mixed: bool,
}

impl Survey {
    /// Takes the frame that comes next, unless it cannot be the one.
    fn take(&mut self, at: u64, head: &Head, bytes: &[u8]) -> std::result::Result<(), String> {
        let origin = *self.origin.get_or_insert((head.directory, head.turn));
        if origin != (head.directory, head.turn) {
            return Err("the frame belongs to another file".to_owned());
        }
        let malformed =
            |error: DecodeError| format!("the frame is whole, and makes no sense: {error}");
        match (head.kind, self.steps.last()) {
            (Kind::Dump, None) if self.dumps.is_empty() || self.base == head.acked => {
                let pairs = take_dump(bytes).map_err(malformed)?;
                for (key, value) in &pairs {
                    self.sum.add(key, value.as_deref().unwrap_or_default());
                }
                self.base = head.acked;
                self.dumps.push(at);
            }
            (Kind::Checkpoint | Kind::Sweep, last) => {
                let expected = last.map_or(self.base, |last| last.sequence + 1);
                let (sum, _, pending) = take_step(bytes).map_err(malformed)?;
                if head.acked != expected || self.dumps.is_empty() {
                    return Err(format!("frame {} stands where {expected} belongs", head.acked));
                }
                if self.steps.is_empty() {
                    if sum != self.sum {
                        return Err("the base does not have the sum that closes it".to_owned());
                    }
                    self.base_bytes = at + frame::frame_bytes(bytes.len()) as u64;
                }
                if head.kind == Kind::Checkpoint {
                    self.pending = pending.to_vec();
                }
                self.steps.push(Step { at, sequence: head.acked, lsn: head.lsn, sum });
            }
            _ => return Err("the frame is of a kind that does not belong here".to_owned()),
        }
        self.newest = head.acked;
        self.turn = head.turn;
        Ok(())
    }

    /// Looks for frames behind a place where there is none.
    fn look_behind(&mut self, file: &dyn DiskFile, bad: u64, length: u64) -> Result<()> {
        for at in (bad..length).step_by(BLOCK).skip(1) {
            let Ok((head, _)) = read_frame(file, at, length)? else { continue };
            let (directory, _) = *self.origin.get_or_insert((head.directory, head.turn));
            if directory != head.directory {
                self.is_mixed = true;
                continue;
            }
            self.newest = self.newest.max(head.acked);
            self.turn = self.turn.max(head.turn);
        }
        Ok(())
    }
}

/// Reads a frame; gives its payload.
fn read_frame(
    file: &dyn DiskFile,
    at: u64,
    length: u64,
) -> Result<std::result::Result<(Head, Vec<u8>), NoFrame>> {
    let mut bytes = file.read(BLOCK, at)?;
    let read = bytes.len();
    let claimed = match frame::claimed_bytes(&bytes) {
        Ok(claimed) if claimed as u64 > length.saturating_sub(at) => {
            return Ok(Err(NoFrame::Short));
        }
        Ok(claimed) => claimed,
        Err(error) => return Ok(Err(error)),
    };
    bytes.resize(claimed.max(read), 0);
    if claimed > read {
        let more = file.read_at(&mut bytes[read..], at + read as u64)?;
        bytes.truncate(read + more);
    }
    let (head, payload) = match frame::decode(&bytes) {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    bytes.truncate(payload.end);
    bytes.drain(..payload.start);
    Ok(Ok((head, bytes)))
}

fn foreign(path: &Path, version: u8) -> StorageError {
    StorageError::Refused(format!(
        "{} has version {version}, and this broker knows version {}: start the broker that wrote \
         the data directory, or a newer one",
        path.display(),
        redo::VERSION
    ))
}

/// The pairs of a part of a dump.
pub(super) fn take_dump(bytes: &[u8]) -> std::result::Result<Changes, DecodeError> {
    let mut reader = Reader::versioned(bytes, redo::VERSION, "dump of the index")?;
    let mut pairs = BTreeMap::new();
    while !reader.is_done() {
        let (key, value) = take_pair(&mut reader)?;
        pairs.insert(key, Some(value.ok_or(reader.error())?));
    }
    Ok(pairs)
}

/// The sum afterwards, the changes, and the bytes behind them.
pub(super) fn take_step(bytes: &[u8]) -> std::result::Result<(Sum, Changes, &[u8]), DecodeError> {
    let mut reader = Reader::versioned(bytes, redo::VERSION, "change of the index")?;
    let (fingerprint, count) = (reader.u64()?, reader.u64()?);
    let changes = (0..reader.u32()?)
        .map(|_| take_pair(&mut reader))
        .collect::<std::result::Result<_, _>>()?;
    Ok((Sum { count, fingerprint }, changes, reader.rest()))
}

type Change = (Vec<u8>, Option<Vec<u8>>);

fn take_pair(reader: &mut Reader<'_>) -> std::result::Result<Change, DecodeError> {
    let (key, value) = (reader.u32()?, reader.u32()?);
    let key = reader.raw(key as usize)?.to_vec();
    let value = match value {
        redo::REMOVED => None,
        value => Some(reader.raw(value as usize)?.to_vec()),
    };
    Ok((key, value))
}
