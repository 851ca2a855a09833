//! All that an index holds, read from its redo file without changing anything: for whoever looks at
//! a data directory that no broker uses. The store is not opened, as it writes when it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::frame::{self, HEADER_BYTES};
use super::redo;
use super::stamp::{Stamp, Sum};
use super::survey::{self, Found, Whole};
use crate::disk::{BLOCK, Disk, DiskFile, Mode};
use crate::engine::Result;

/// Keys and their values.
pub(crate) type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a redo file is found to be.
pub(crate) enum Looked {
    /// There is none.
    Missing,
    /// It cannot be relied upon, from this byte on.
    Damaged { at: u64, why: String },
    /// It says all there is.
    Whole(Box<Contents>),
}

/// What an index holds.
pub(crate) struct Contents {
    pub(crate) directory: u64,
    pub(crate) turn: u64,
    pub(crate) sequence: u64,
    pub(crate) checkpoint: u64,
    pub(crate) frames: u64,
    pub(crate) base_bytes: u64,
    /// Where the last frame ends.
    pub(crate) end: u64,
    pub(crate) pairs: Pairs,
    pub(crate) pending: Vec<u8>,
    /// Whether the pairs have the sum that the last frame gives them.
    pub(crate) sum_fits: bool,
    /// Frames that are not followed by zeros up to the next one.
    pub(crate) bad_filling: Vec<u64>,
}

/// Where the redo file of an index is.
pub(crate) fn redo_path(dir: &Path) -> PathBuf {
    redo::path(dir)
}

/// Reads the index in a directory.
pub(crate) fn look(disk: &dyn Disk, dir: &Path) -> Result<Looked> {
    let whole = match survey::look(disk, dir)? {
        Found::Missing => return Ok(Looked::Missing),
        Found::Damaged(damage) => {
            return Ok(Looked::Damaged { at: damage.at, why: damage.why });
        }
        Found::Whole(whole) => whole,
    };
    let file = disk.open(&redo::path(dir), Mode::Read)?;
    let (frames, bad_filling) = check_filling(file.as_ref(), whole.end)?;
    let (pairs, sum) = pairs(&whole, dir)?;
    let stamp = whole.stamp();
    Ok(Looked::Whole(Box::new(Contents {
        directory: stamp.directory,
        turn: stamp.turn,
        sequence: stamp.sequence,
        checkpoint: stamp.lsn,
        frames,
        base_bytes: whole.base_bytes,
        end: whole.end,
        sum_fits: sum == stamp.sum,
        pairs,
        pending: whole.pending,
        bad_filling,
    })))
}

fn pairs(whole: &Whole, dir: &Path) -> Result<(Pairs, Sum)> {
    let mut pairs = Pairs::new();
    let replayed = whole.replay(None, &mut |changes| {
        for (key, value) in changes {
            match value {
                Some(value) => pairs.insert(key.clone(), value.clone()),
                None => pairs.remove(key),
            };
        }
        Ok(())
    });
    replayed.map_err(|error| error.at(dir))?;
    let mut sum = Sum::default();
    pairs.iter().for_each(|(key, value)| sum.add(key, value));
    Ok((pairs, sum))
}

/// Counts the frames of a sound file, and looks at the zeros that fill up each of them.
fn check_filling(file: &dyn DiskFile, end: u64) -> Result<(u64, Vec<u64>)> {
    let (mut at, mut frames, mut bad) = (0, 0, Vec::new());
    let mut header = [0; HEADER_BYTES];
    while at < end {
        file.read_at(&mut header, at)?;
        let Ok((claimed, payload)) = frame::claimed(&header) else { break };
        let filling = claimed - HEADER_BYTES - payload;
        let mut zeros = vec![0; filling.min(BLOCK)];
        file.read_at(&mut zeros, at + (claimed - filling) as u64)?;
        if zeros.iter().any(|byte| *byte != 0) {
            bad.push(at);
        }
        frames += 1;
        at += claimed as u64;
    }
    Ok((frames, bad))
}

/// The payload of a frame of the redo file, taken apart and put together again: a part of a dump,
/// or a change. For fuzzing.
pub(crate) fn round_trip(is_dump: bool, payload: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_dump {
        bytes.push(redo::VERSION);
        let pairs = survey::take_dump(payload).ok()?;
        pairs.iter().for_each(|(key, value)| redo::put_pair(&mut bytes, key, value.as_deref()));
        return Some(bytes);
    }
    let (sum, changes, pending) = survey::take_step(payload).ok()?;
    redo::put_change(&mut bytes, &sum, &changes);
    bytes.extend_from_slice(pending);
    Some(bytes)
}

/// The pairs of a part of a dump, or those that a change puts. For fuzzing.
pub(crate) fn pairs_of(payload: &[u8], is_dump: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let changes = if is_dump {
        survey::take_dump(payload).unwrap_or_default()
    } else {
        survey::take_step(payload).map(|(_, changes, _)| changes).unwrap_or_default()
    };
    changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// A stamp, taken apart and put together again. For fuzzing.
pub(crate) fn stamp_round_trip(bytes: &[u8]) -> Option<Vec<u8>> {
    Stamp::decode(bytes).ok().map(|stamp| stamp.encode())
}

/// A stamp, for fuzzing.
pub(crate) fn sample_stamp() -> Vec<u8> {
    let sum = Sum { count: 3, fingerprint: 0x0123_4567_89ab_cdef };
    let pending = super::stamp::pending_of(b"pending");
    Stamp { directory: 1, turn: 2, sequence: 3, lsn: 4, sum, pending }.encode()
}
