//! A simulated disk, in memory, that loses power: what was not synced is kept, lost or torn at
//! random, and the same seed always does the same.
//!
//! It is as mean as POSIX allows. Of a file that was not synced any sectors may be there, and its
//! length may be old or new; a name counts only after its directory was synced, whatever became of
//! the file; names of one directory change in order. Knows files and names, not what they are for.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{BLOCK, Disk, DiskFile, Mode};
use crate::engine::{Result, StorageError};
use crate::files::io_error;

mod content;
mod names;
#[cfg(test)]
mod tests;

use self::content::{Content, place};
use self::names::{Names, Node};

/// The directory that a new disk has.
pub(crate) const ROOT: &str = "/data";

const NOT_FOUND: i32 = 2;
const IO: i32 = 5;
const BAD_HANDLE: i32 = 9;
const INVALID: i32 = 22;
const NO_SPACE: i32 = 28;

/// Numbers that look random and follow from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The numbers of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number (splitmix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when there is none.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }
}

/// What happens to a call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power goes meanwhile: it does a part, or nothing, and fails, and so does every call
    /// after it.
    PowerCut,
    /// The disk fails it, and works again: nobody may rely on either.
    Failure,
}

#[derive(Clone, Debug)]
struct Inner {
    rng: Rng,
    files: BTreeMap<u64, Content>,
    names: Names,
    next_file: u64,
    limit: u64,
    /// Calls until something happens to one.
    armed: Option<(u64, Fault)>,
    /// The calls that changed something, by what was done and to which kind of file.
    done: BTreeMap<(&'static str, &'static str), u64>,
    is_dead: bool,
    calls: u64,
    trace: u64,
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

impl SimDisk {
    /// A disk with nothing but the directory [`ROOT`], durably.
    pub(crate) fn new(seed: u64) -> Self {
        let mut names = Names::default();
        names.create_dir(Path::new(ROOT)).expect("a new disk has a root");
        names.sync_all(Path::new("/"));
        Self(Arc::new(Mutex::new(Inner {
            rng: Rng::new(seed),
            files: BTreeMap::new(),
            names,
            next_file: 1,
            limit: 1 << 40,
            armed: None,
            done: BTreeMap::new(),
            is_dead: false,
            calls: 0,
            trace: seed,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder of the disk panics")
    }

    /// The power goes in the middle of the `n`-th call from now that changes something (1 is the
    /// next).
    #[cfg(test)]
    pub(crate) fn arm(&self, n: u64) {
        self.arm_with(n, Fault::PowerCut);
    }

    /// Something happens to the `n`-th call from now that changes something.
    pub(crate) fn arm_with(&self, n: u64, fault: Fault) {
        self.lock().armed = Some((n.max(1), fault));
    }

    /// Nothing happens any more.
    pub(crate) fn disarm(&self) {
        self.lock().armed = None;
    }

    /// Cuts the power and gives back the disk as it is when the power is back. This one is dead.
    pub(crate) fn crash(&self) -> Self {
        let mut inner = self.lock();
        let mut after = inner.clone();
        inner.is_dead = true;
        after.is_dead = false;
        after.armed = None;
        let rng = &mut after.rng;
        after.names.crash(rng);
        for content in after.files.values_mut() {
            content.crash(rng);
        }
        Self(Arc::new(Mutex::new(after)))
    }

    /// The calls that changed something, by what was done and to which kind of file. A file of the
    /// journal that is written from its start counts as begun.
    pub(crate) fn done(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.lock().done.clone()
    }

    /// All files, by path.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let inner = self.lock();
        let (mut found, mut dirs) = (Vec::new(), vec![PathBuf::from(ROOT)]);
        while let Some(dir) = dirs.pop() {
            for path in inner.names.list(&dir).iter().map(|name| dir.join(name)) {
                match inner.names.node(&path) {
                    Some(Node::Dir(_)) => dirs.push(path),
                    Some(Node::File(_)) => found.push(path),
                    None => {}
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Another disk with all that is to be seen on this one.
    #[cfg(test)]
    pub(crate) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// From now on no file grows when all of them together have this many bytes.
    #[cfg(test)]
    pub(crate) fn fill(&self, limit_bytes: u64) {
        self.lock().limit = limit_bytes;
    }

    /// How many calls changed something so far.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// A number that follows from all calls that changed something, in order.
    pub(crate) fn trace(&self) -> u64 {
        self.lock().trace
    }

    /// What a file holds, or nothing when there is none.
    #[cfg(test)]
    pub(crate) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let inner = self.lock();
        let file = inner.names.file(path)?;
        inner.files.get(&file).map(|content| content.seen.clone())
    }

    /// Changes what a file holds, durably, behind everybody's back.
    pub(crate) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let file = inner.names.file(path).expect("what is damaged is there");
        let content = inner.content(file);
        let mut bytes = content.seen.clone();
        change(&mut bytes);
        *content = Content::of(bytes);
    }
}

impl Inner {
    fn check(&self, action: &'static str, path: &Path) -> Result<()> {
        if self.is_dead { Err(power_cut(action, path)) } else { Ok(()) }
    }

    /// Does something that changes the disk. `change` is told whether the power goes meanwhile.
    fn change<T>(
        &mut self,
        action: &'static str,
        path: &Path,
        detail: (u64, &[u8]),
        change: impl FnOnce(&mut Self, bool) -> Result<T>,
    ) -> Result<T> {
        self.check(action, path)?;
        self.calls += 1;
        let mut crc = crc32c::crc32c(action.as_bytes());
        crc = crc32c::crc32c_append(crc, path.as_os_str().as_encoded_bytes());
        crc = crc32c::crc32c_append(crc, &detail.0.to_le_bytes());
        crc = crc32c::crc32c_append(crc, detail.1);
        self.trace = Rng::new(self.trace ^ u64::from(crc)).next();
        self.count(action, path, detail.0);
        let Some((left, fault)) = &mut self.armed else { return change(self, false) };
        *left -= 1;
        if *left > 0 {
            return change(self, false);
        }
        let fault = *fault;
        self.armed = None;
        match fault {
            Fault::PowerCut => {
                if self.rng.below(2) == 1 {
                    let _ = change(self, true);
                }
                self.is_dead = true;
                Err(power_cut(action, path))
            }
            Fault::Failure => Err(failed(action, path, IO)),
        }
    }

    fn count(&mut self, action: &'static str, path: &Path, at: u64) {
        let kind = kind(path);
        let begins = (action, kind, at) == ("write", "journal", 0);
        *self.done.entry((if begins { "begin" } else { action }, kind)).or_default() += 1;
    }

    fn content(&mut self, file: u64) -> &mut Content {
        self.files.get_mut(&file).expect("a file stays for those who have it open")
    }

    fn used(&self) -> u64 {
        let files = self.names.files().into_iter();
        files.filter_map(|file| self.files.get(&file)).map(|f| f.seen.len() as u64).sum()
    }

    /// How far a file may reach.
    fn reach(&self, file: u64) -> u64 {
        let length = self.files.get(&file).map_or(0, |content| content.seen.len() as u64);
        length + self.limit.saturating_sub(self.used())
    }
}

fn power_cut(action: &'static str, path: &Path) -> StorageError {
    io_error(action, path, io::Error::other("power cut"))
}

fn failed(action: &'static str, path: &Path, code: i32) -> StorageError {
    io_error(action, path, io::Error::from_raw_os_error(code))
}

struct SimFile {
    disk: SimDisk,
    file: u64,
    mode: Mode,
    path: PathBuf,
}

impl SimFile {
    fn resize(&self, action: &'static str, bytes: u64) -> Result<()> {
        self.disk.lock().change(action, &self.path, (bytes, &[]), |inner, _| {
            if bytes > inner.reach(self.file) {
                return Err(failed(action, &self.path, NO_SPACE));
            }
            inner.content(self.file).set_len(bytes);
            Ok(())
        })
    }

    /// What the system wants of those who go past the cache.
    fn check_aligned(&self, action: &'static str, bytes: &[u8], at: u64) -> Result<()> {
        let is_aligned = bytes.as_ptr().align_offset(BLOCK) == 0
            && bytes.len().is_multiple_of(BLOCK)
            && at.is_multiple_of(BLOCK as u64);
        if matches!(self.mode, Mode::Direct | Mode::Unbuffered) && !is_aligned {
            return Err(failed(action, &self.path, INVALID));
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize> {
        self.check_aligned("read", buffer, at)?;
        let mut inner = self.disk.lock();
        inner.check("read", &self.path)?;
        let seen = &inner.content(self.file).seen;
        let from = seen.len().min(place(at));
        let read = buffer.len().min(seen.len() - from);
        buffer[..read].copy_from_slice(&seen[from..from + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.check_aligned("write", bytes, at)?;
        if self.mode == Mode::Read {
            return Err(failed("write", &self.path, BAD_HANDLE));
        }
        self.disk.lock().change("write", &self.path, (at, bytes), |inner, is_cut| {
            let fits = place(inner.reach(self.file).saturating_sub(at)).min(bytes.len());
            let (is_whole, fits) = (fits == bytes.len(), &bytes[..fits - fits % BLOCK]);
            let bytes = if is_whole { bytes } else { fits };
            let mut rng = inner.rng.clone();
            let content = inner.content(self.file);
            match self.mode {
                Mode::Direct if is_cut => content.tear(bytes, at, &mut rng),
                Mode::Direct => content.write_direct(bytes, at),
                _ => content.write(bytes, at),
            }
            inner.rng = rng;
            if is_whole { Ok(()) } else { Err(failed("write", &self.path, NO_SPACE)) }
        })
    }

    fn sync(&self) -> Result<()> {
        self.disk.lock().change("sync", &self.path, (0, &[]), |inner, _| {
            inner.content(self.file).sync();
            Ok(())
        })
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        let action = "change the length of";
        if self.mode == Mode::Read {
            return Err(failed(action, &self.path, INVALID));
        }
        self.resize(action, bytes)
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        self.resize("allocate", bytes)
    }

    fn len(&self) -> Result<u64> {
        let mut inner = self.disk.lock();
        inner.check("ask for the length of", &self.path)?;
        Ok(inner.content(self.file).seen.len() as u64)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.check("open", path)?;
        let file = match (inner.names.node(path), mode) {
            (Some(Node::File(file)), _) => file,
            (None, Mode::Create | Mode::Direct) => {
                inner.change("create", path, (0, &[]), |inner, _| {
                    let file = inner.next_file;
                    inner.next_file += 1;
                    inner.files.insert(file, Content::default());
                    let linked = inner.names.link(path, file);
                    linked.map_err(|code| failed("open", path, code))?;
                    Ok(file)
                })?
            }
            (None, _) => return Err(failed("open", path, NOT_FOUND)),
            (Some(Node::Dir(_)), _) => return Err(failed("open", path, IO)),
        };
        drop(inner);
        Ok(Arc::new(SimFile { disk: self.clone(), file, mode, path: path.to_owned() }))
    }

    fn exists(&self, path: &Path) -> bool {
        self.lock().names.node(path).is_some()
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let inner = self.lock();
        inner.check("list", dir)?;
        Ok(inner.names.list(dir))
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        let mut inner = self.lock();
        if inner.names.node(dir).is_some() {
            return inner.check("create", dir);
        }
        inner.change("create", dir, (1, &[]), |inner, _| {
            inner.names.create_dir(dir).map_err(|code| failed("create", dir, code))
        })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.lock().change("remove", path, (0, &[]), |inner, _| {
            inner.names.unlink(path);
            Ok(())
        })
    }

    fn remove_dir(&self, dir: &Path) -> Result<()> {
        self.lock().change("remove", dir, (1, &[]), |inner, _| {
            inner.names.remove_dir(dir);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let name = to.as_os_str().as_encoded_bytes();
        self.lock().change("rename", from, (0, name), |inner, _| {
            inner.names.rename(from, to).map_err(|code| failed("rename", from, code))
        })
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.lock().change("sync", dir, (1, &[]), |inner, _| {
            inner.names.sync_dir(dir).map_err(|code| failed("sync", dir, code))
        })
    }

    fn sync_all(&self, dir: &Path) -> Result<()> {
        self.lock().change("sync", dir, (2, &[]), |inner, _| {
            for file in inner.names.sync_all(dir) {
                inner.content(file).sync();
            }
            Ok(())
        })
    }

    fn free_bytes(&self, dir: &Path) -> Result<u64> {
        let inner = self.lock();
        inner.check("ask for the free space of", dir)?;
        Ok(inner.limit.saturating_sub(inner.used()))
    }
}

/// What kind of file or directory of an engine it is.
pub(crate) fn kind(path: &Path) -> &'static str {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    match name {
        "acked" => "acked",
        "redo" => "redo",
        "redo.new" => "redo.new",
        "index" | "journal" | "segments" | "data" => "directory",
        name if name.ends_with(".journal") => "journal",
        name if name.ends_with(".segment") => "segment",
        _ => "log",
    }
}

/// The names on the way to a place, from the root.
fn parts(path: &Path) -> impl Iterator<Item = String> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    })
}
