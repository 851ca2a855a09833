//! The journal's files, frame by frame, and whether those that count follow one another.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::index::{Known, apply};
use super::report::JournalFile;
use super::{Look, Severity};
use crate::disk::{BLOCK, DiskFile, Mode};
use crate::disk_engine::frame::{self, HEADER_BYTES, Head, Kind, NoFrame};
use crate::disk_engine::journal::recovery::{self, Found, Scanned};
use crate::disk_engine::state::State;
use crate::disk_engine::writes;
use crate::engine::Result;

/// How much is read at once.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A place where a frame begins that is not sound, and that the index does not have.
struct Torn {
    path: PathBuf,
    at: u64,
    why: String,
}

/// A file while it is walked through.
struct Walk {
    scanned: Scanned,
    shown: JournalFile,
    torn: Vec<Torn>,
    /// The turn and the number of the frame before.
    previous: Option<(u64, u64)>,
}

/// Parts of a file, read ahead.
struct Window<'a> {
    file: &'a dyn DiskFile,
    bytes: Vec<u8>,
    at: u64,
}

impl Window<'_> {
    /// As many of these bytes as the file has.
    fn get(&mut self, at: u64, length: usize) -> Result<&[u8]> {
        let end = self.at + self.bytes.len() as u64;
        if at < self.at || at + length as u64 > end {
            self.bytes.resize(length.max(WINDOW_BYTES), 0);
            let read = self.file.read_at(&mut self.bytes, at)?;
            self.bytes.truncate(read);
            self.at = at;
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX).min(self.bytes.len());
        let to = (from + length).min(self.bytes.len());
        Ok(&self.bytes[from..to])
    }
}

impl Look<'_> {
    /// Looks through the journal, and applies what the index does not have to the state.
    pub(super) fn journal(&mut self, known: Option<&Known>, state: &mut State) -> Result<()> {
        let dir = self.journal_dir();
        let (mut scanned, mut torn) = (Vec::new(), Vec::new());
        for name in self.disk.list(&dir)? {
            let path = dir.join(&name);
            let number = name.strip_suffix(".journal").and_then(|number| number.parse().ok());
            match number {
                Some(number) if name == format!("{number:08}.journal") => {
                    if let Some(walk) = self.journal_file(&path, number, known)? {
                        self.report.journal.files.push(walk.shown);
                        scanned.push(walk.scanned);
                        torn.extend(walk.torn);
                    }
                }
                _ if name == "acked" => self.advance(0),
                _ => self.find(Severity::Note, &path, None, "no broker knows this name"),
            }
        }
        let Some(known) = known else {
            if !scanned.is_empty() {
                let what = "not checked for gaps: the index does not say which frames count";
                self.find(Severity::Note, &dir, None, what);
            }
            return Ok(());
        };
        self.judge(known, &scanned, torn, state)
    }

    /// Looks whether the frames that count are all there.
    fn judge(
        &mut self,
        known: &Known,
        scanned: &[Scanned],
        torn: Vec<Torn>,
        state: &mut State,
    ) -> Result<()> {
        let (dir, checkpoint) = (self.journal_dir(), known.checkpoint);
        let acked = recovery::read_acked(self.disk, &dir, known.directory)?;
        self.report.journal.acked = acked;
        if acked.is_none() && !scanned.is_empty() {
            let what = "not whole, as after a power cut; the next start makes it anew";
            self.find(Severity::Note, &dir.join("acked"), None, what);
        }
        if scanned.is_empty() && checkpoint > 0 {
            let what = "all files of the journal are missing, and the broker does not start \
                        without them: restore the data directory from a copy";
            self.find(Severity::Damage, &dir, None, what);
        }
        for file in scanned.iter().filter(|file| file.checkpoint > checkpoint) {
            let what = format!(
                "it knows checkpoint {}, and the index has only {checkpoint}: the index is an \
                 older copy, or its last frame was damaged; the next start tries the store in \
                 sled, and if that does not help, restore the whole data directory from one copy",
                file.checkpoint
            );
            self.find(Severity::Damage, &file.path, None, what);
        }
        let run = match recovery::run(scanned, &dir, checkpoint, acked) {
            Ok(run) => {
                for Torn { path, at, why } in torn {
                    let what = format!(
                        "{why}: cut short by a crash, and never acked; the next write takes its \
                         place"
                    );
                    self.find(Severity::Repairable, &path, Some(at), what);
                }
                run
            }
            Err(error) => {
                for Torn { path, at, why } in torn {
                    self.find(Severity::Damage, &path, Some(at), why);
                }
                self.find_error(&dir, error)?;
                Vec::new()
            }
        };
        self.report.journal.replayed_frames = run.len() as u64;
        self.report.journal.last_lsn = run.last().map_or(checkpoint, |last| last.head.lsn);
        self.replay(scanned, &run, state)
    }

    fn replay(&mut self, scanned: &[Scanned], run: &[Found], state: &mut State) -> Result<()> {
        for found in run.iter().filter(|found| found.head.kind == Kind::Writes) {
            let Some(file) = scanned.iter().find(|file| file.number == found.file) else {
                continue;
            };
            let length = usize::try_from(found.bytes).unwrap_or(0);
            let bytes = self.disk.open(&file.path, Mode::Read)?.read(length, found.at)?;
            let Ok((_, payload)) = frame::decode(&bytes) else { continue };
            if let Err(why) = apply(state, &Bytes::from(bytes).slice(payload)) {
                let what = format!("the frame is whole, and makes no sense: {why}");
                self.find(Severity::Damage, &file.path, Some(found.at), what);
                break;
            }
            state.lsn = found.head.lsn;
        }
        Ok(())
    }

    /// Walks through a file; nothing when it cannot be.
    fn journal_file(
        &mut self,
        path: &Path,
        number: u64,
        known: Option<&Known>,
    ) -> Result<Option<Walk>> {
        let file = self.disk.open(path, Mode::Read)?;
        let bytes = file.len()?;
        let mut walk = Walk::new(path, number, bytes);
        let mut window = Window { file: file.as_ref(), bytes: Vec::new(), at: 0 };
        let mut at = 0;
        while at + HEADER_BYTES as u64 <= bytes {
            let step = match self.frame_at(&mut walk, &mut window, at, known) {
                Ok(step) => step,
                Err(error) => {
                    self.find_error(path, error)?;
                    return Ok(None);
                }
            };
            at += step;
            self.advance(step);
        }
        Ok(Some(walk))
    }

    /// Looks at one place of a file; says how far it is to the next.
    fn frame_at(
        &mut self,
        walk: &mut Walk,
        window: &mut Window<'_>,
        at: u64,
        known: Option<&Known>,
    ) -> Result<u64> {
        let path = walk.shown.path.clone();
        let header = window.get(at, HEADER_BYTES)?;
        let (length, _) = match frame::claimed(header) {
            Ok(claimed) => claimed,
            Err(NoFrame::Version(version)) if at == 0 => {
                let what = format!(
                    "the frame has version {version}, which this build does not read: look with \
                     the version of ropewalk that wrote it"
                );
                self.find(Severity::Damage, &path, Some(at), what);
                return Ok(BLOCK as u64);
            }
            Err(_) => return Ok(BLOCK as u64),
        };
        let said = frame::peek(header);
        let is_old = |head: Head| {
            known.is_some_and(|k| head.directory == k.directory && head.lsn <= k.checkpoint)
        };
        // What cannot be there is not read either: a length may be damaged too.
        let is_there = at + length as u64 <= walk.scanned.bytes;
        let whole = if is_there { window.get(at, length)? } else { &[] };
        match (frame::decode(whole), said) {
            (Ok((head, _)), _) if known.is_some_and(|k| k.directory != head.directory) => {
                let what = "a frame of another data directory; it does not count";
                self.find(Severity::Note, &path, Some(at), what);
                Ok(length as u64)
            }
            (Ok((head, payload)), _) => {
                let filled = whole[payload.end..].iter().any(|byte| *byte != 0);
                let sense = is_sensible(&head, &whole[payload]);
                if filled {
                    let what = "the frame is sound, and what fills it up is not zeros; nobody \
                                reads it";
                    self.find(Severity::Note, &path, Some(at), what);
                }
                if !sense && is_old(head) {
                    let what = "the frame is whole, and makes no sense; the index has it";
                    self.find(Severity::Note, &path, Some(at), what);
                }
                self.take_frame(walk, at, length as u64, head, is_old(head));
                Ok(length as u64)
            }
            (Err(why), Some(head)) if is_old(head) => {
                let what = format!("frame {}: {why}; the index has what was in it", head.lsn);
                self.find(Severity::Note, &path, Some(at), what);
                walk.scanned.turn = walk.scanned.turn.max(head.turn);
                walk.previous = Some((head.turn, head.lsn));
                Ok(length as u64)
            }
            (Err(why), _) => {
                walk.torn.push(Torn { path, at, why: why.to_string() });
                Ok(BLOCK as u64)
            }
        }
    }

    fn take_frame(&mut self, walk: &mut Walk, at: u64, bytes: u64, head: Head, is_old: bool) {
        let Walk { scanned, shown, previous, .. } = walk;
        if let Some((_, lsn)) =
            previous.filter(|(turn, lsn)| is_old && *turn == head.turn && head.lsn != lsn + 1)
        {
            let what = format!(
                "frame {} follows frame {lsn}: what was between is damaged; the index has it",
                head.lsn
            );
            self.find(Severity::Note, &shown.path, Some(at), what);
        }
        *previous = Some((head.turn, head.lsn));
        scanned.turn = scanned.turn.max(head.turn);
        scanned.last_lsn = scanned.last_lsn.max(head.lsn);
        shown.turn = scanned.turn;
        shown.frames += 1;
        shown.frame_bytes += bytes;
        let (first, last) = shown.lsns.unwrap_or((head.lsn, head.lsn));
        shown.lsns = Some((first.min(head.lsn), last.max(head.lsn)));
        shown.acked = shown.acked.max(head.acked);
        shown.checkpoint = shown.checkpoint.max(head.checkpoint);
        if !is_old {
            shown.newer += 1;
            scanned.checkpoint = scanned.checkpoint.max(head.checkpoint);
            scanned.frames.push(Found { head, file: scanned.number, at, bytes });
        }
    }
}

impl Walk {
    fn new(path: &Path, number: u64, bytes: u64) -> Self {
        let scanned = Scanned::new(path, number, bytes);
        let shown = JournalFile { path: path.to_owned(), bytes, ..JournalFile::default() };
        Self { scanned, shown, torn: Vec::new(), previous: None }
    }
}

/// Whether a frame's payload is what its kind says. Those that count are also replayed.
fn is_sensible(head: &Head, payload: &[u8]) -> bool {
    match head.kind {
        Kind::Writes => writes::take_writes(&Bytes::copy_from_slice(payload)).is_ok(),
        Kind::Mark => payload.is_empty(),
        Kind::Dump | Kind::Checkpoint | Kind::Sweep => false,
    }
}
