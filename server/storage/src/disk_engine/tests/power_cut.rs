//! The engine loses power, at any moment of anything that it does, and has all that was acked.
//!
//! A run follows from its seed: random writes, steps of the engine in every order, restarts, a disk
//! that is full for a while, and power cuts, after which the store under the index is as it was,
//! older, changed or gone. A model in memory gets the same writes. After each start the engine must
//! show exactly what was acked; the one batch that was under way when the power went may be there
//! too, but then all of it. Each run happens twice, and must be the same twice.
//!
//! `ROPEWALK_SEEDS=20000` runs that many seeds; `ROPEWALK_SEED=17` runs that one alone, as a
//! failure tells it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ropewalk_core::GroupId;

use super::meddling::Meddler;
use super::script::{
    Script, commit_all, difference, files_are_whole, memory_is_accounted_for, nothing_is_left_over,
    same_in_places,
};
use super::watched::{Watch, WatchedDisk};
use super::{DiskEngine, Options, small};
use crate::conformance::{deletion, reclaim_all};
use crate::disk::Disk;
use crate::disk::sim::{ROOT, Rng, SimDisk, kind};
use crate::disk_engine::index::{Content, MemoryStores};
use crate::engine::{Engine, LogEntry, Result, StorageError, WriteBatch};
use crate::memory::MemoryEngine;

/// How many seeds run when nobody asks for more.
const SEEDS: u64 = 2_000;
const DIRECTORY: u64 = 7;
/// The error of a full disk.
const NO_SPACE: i32 = 28;
/// How many states of the store are remembered, for one that is older than it should be.
const REMEMBERED: usize = 12;
/// What a disk has that is not full.
const PLENTY: u64 = 1 << 40;

/// What the power must have cut short somewhere, else the runs prove little.
const MOMENTS: [(&str, &str); 22] = [
    ("write", "journal"),
    ("create", "journal"),
    ("remove", "journal"),
    ("write", "acked"),
    ("create", "log"),
    ("create", "segment"),
    ("write", "segment"),
    ("sync", "segment"),
    ("sync", "log"),
    ("remove", "segment"),
    ("remove", "log"),
    ("write", "redo"),
    ("sync", "redo"),
    ("change the length of", "redo"),
    ("create", "redo.new"),
    ("write", "redo.new"),
    ("sync", "redo.new"),
    ("rename", "redo.new"),
    ("create", "directory"),
    ("sync", "directory"),
    ("fill", "segment"),
    ("fill", "journal"),
];

/// Steps that look for room before they write.
const BACKGROUND: [&str; 2] = ["checkpoint", "reclaim"];

/// What the power cut short, and how often: what was done, and to which kind of file.
type Cuts = BTreeMap<(&'static str, &'static str, &'static str), u32>;

struct Run<'a> {
    rng: Rng,
    options: Options,
    disk: SimDisk,
    stores: MemoryStores,
    history: Vec<Option<Content>>,
    model: MemoryEngine,
    script: Script,
    /// Stretches of logs that were written anew since the last start: the group, the old entries
    /// and the new ones.
    rewritten: Vec<(GroupId, Vec<LogEntry>, Vec<LogEntry>)>,
    /// The batches that were being written when something failed, and where the script was before.
    in_flight: Option<(Vec<WriteBatch>, Script)>,
    is_full: bool,
    /// The power went while the redo file was written.
    is_torn: bool,
    meddler: Arc<Meddler>,
    trace: u64,
    cuts: &'a mut Cuts,
}

fn options(rng: &mut Rng) -> Options {
    let kib = 1024;
    Options {
        journal_bytes: (64 * kib) << rng.below(4),
        memory_bytes: (16 * kib) << rng.below(4),
        cache_bytes: 32 * kib * rng.below(2),
        free_floor: 64 * kib * rng.below(2),
        chunk_bytes: 1024 << rng.below(4),
        checkpoint_room: (32 * kib) * rng.below(2),
        drain_bytes: 512 << rng.below(4),
        unbuffered_bytes: 1024 << rng.below(4),
        first_file_bytes: (8 * kib) << rng.below(2),
        redo_bytes: (40 * kib) << rng.below(4),
        ..small()
    }
}

impl<'a> Run<'a> {
    fn new(seed: u64, cuts: &'a mut Cuts) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            options: options(&mut rng),
            rng,
            disk: SimDisk::new(seed),
            stores: MemoryStores::default(),
            history: Vec::new(),
            model: MemoryEngine::new(),
            script: Script::new(),
            rewritten: Vec::new(),
            in_flight: None,
            is_full: false,
            is_torn: false,
            meddler: Arc::default(),
            trace: 0,
            cuts,
        }
    }

    fn start(&self) -> Result<DiskEngine> {
        let watch: Arc<dyn Watch> = self.meddler.clone();
        let disk: Arc<dyn Disk> = Arc::new(WatchedDisk::new(&self.disk, watch));
        DiskEngine::open_on(&disk, Path::new(ROOT), self.options, &self.stores, DIRECTORY)
    }

    /// Lives through some power cuts, and ends well. Gives what follows from all that was done.
    fn all(mut self) -> u64 {
        for _ in 0..3 + self.rng.below(4) {
            if let Some(engine) = self.open() {
                if self.rng.below(5) > 0 {
                    self.disk.arm(1 + self.rng.below(150));
                }
                self.live(engine);
            }
            self.crash();
        }
        let engine = self.open_surely();
        self.write(&engine, commit_all(&engine)).unwrap();
        nothing_is_left_over(&engine, &self.disk);
        assert_eq!(difference(&self.model, &engine), None);
        engine.close().unwrap();
        drop(engine);
        let engine = self.open_surely();
        reclaim_all(&engine);
        self.note(engine.size_bytes());
        self.trace
    }

    fn note(&mut self, number: u64) {
        self.trace = Rng::new(self.trace ^ number).next();
    }

    /// Opens the engine; the power may go meanwhile, or the disk be too full for it.
    fn open(&mut self) -> Option<DiskEngine> {
        // A redo file that was cut short is mended within the first few calls, and seldom enough.
        if std::mem::take(&mut self.is_torn) {
            self.disk.arm(1 + self.rng.below(6));
        } else if self.rng.below(3) == 0 {
            self.disk.arm(1 + self.rng.below(30));
        }
        match self.start() {
            Ok(engine) => {
                self.settle(&engine);
                Some(engine)
            }
            Err(error) => {
                self.failed("open", &error);
                None
            }
        }
    }

    fn open_surely(&mut self) -> DiskEngine {
        self.make_room();
        let engine = self.start().unwrap();
        self.settle(&engine);
        engine
    }

    /// What was acked is there, and what was under way is there or not.
    fn settle(&mut self, engine: &DiskEngine) {
        memory_is_accounted_for(engine);
        files_are_whole(engine, &self.disk);
        self.forget_lost(engine);
        let mut found = difference(&self.model, engine);
        if let Some((batches, before)) = self.in_flight.take() {
            if found.is_some() {
                self.model.write(&batches).unwrap();
                found = difference(&self.model, engine);
                self.note(1);
            } else {
                self.script = before;
                self.note(2);
            }
        }
        assert!(found.is_none(), "{}", found.unwrap_or_default());
    }

    /// A failure that there may be: the power went, or the disk is full.
    fn failed(&mut self, step: &'static str, error: &StorageError) {
        let text = error.to_string();
        let StorageError::Io { action, path, source } = error else { panic!("{step}: {text}") };
        let is_full = self.is_full && source.raw_os_error() == Some(NO_SPACE);
        assert!(is_full || text.contains("power cut"), "{step}: {text}");
        // Nothing is begun in the background that the disk has no room for.
        let keeps_room = self.options.checkpoint_room > 0 && BACKGROUND.contains(&step);
        assert!(!is_full || !keeps_room, "{step}: {text}");
        self.is_torn = (*action, kind(path)) == ("write", "redo");
        let action = if is_full { "fill" } else { action };
        *self.cuts.entry((step, action, kind(path))).or_default() += 1;
        self.note(crc32c::crc32c(text.as_bytes()).into());
    }

    fn live(&mut self, mut engine: DiskEngine) {
        for _ in 0..5 + self.rng.below(40) {
            let (name, done) = self.step(&engine);
            if let Err(error) = done {
                self.failed(name, &error);
                let is_cut = error.to_string().contains("power cut");
                let again = [WriteBatch { groups: vec![deletion(GroupId(0))], sync: true }];
                // A drain that found no room may be tried again; all else is final.
                assert!((name == "drain" && !is_cut) || engine.write(&again).is_err());
                if is_cut {
                    return;
                }
                drop(engine);
                if self.rng.below(2) == 0 {
                    self.make_room();
                }
                let Some(opened) = self.open_here() else { return };
                engine = opened;
                continue;
            }
            self.remember();
            memory_is_accounted_for(&engine);
            same_in_places(&self.model, &engine, &mut self.rng);
            match self.rng.below(30) {
                0 => {
                    if let Err(error) = engine.close() {
                        self.failed("close", &error);
                    }
                    drop(engine);
                    let Some(opened) = self.open_here() else { return };
                    engine = opened;
                }
                1 => {
                    // The process ends, and the machine goes on.
                    drop(engine);
                    let Some(opened) = self.open_here() else { return };
                    engine = opened;
                }
                2 if self.is_full => {
                    self.make_room();
                    if let Err(error) = engine.reclaim() {
                        return self.failed("reclaim", &error);
                    }
                    assert!(engine.has_room());
                }
                2 => {
                    let used = PLENTY - self.disk.free_bytes(Path::new(ROOT)).unwrap_or(PLENTY);
                    let left = self.rng.below(3) * self.rng.below(60_000);
                    self.disk.fill(used + left);
                    self.is_full = true;
                }
                _ => {}
            }
        }
    }

    /// Opens the engine after one that has ended, on the same machine.
    fn open_here(&mut self) -> Option<DiskEngine> {
        if self.rng.below(8) == 0 {
            self.stores = MemoryStores::holding(self.store_after());
        }
        let opened = self.open();
        if opened.is_some() || !self.is_full {
            return opened;
        }
        self.make_room();
        self.open()
    }

    fn step(&mut self, engine: &DiskEngine) -> (&'static str, Result<()>) {
        let core = &engine.core;
        match self.rng.below(26) {
            24..=25 => ("rewrite", self.rewrite(engine)),
            0..=13 => {
                let before = self.script.clone();
                let batches = self.script.batches(&mut self.rng);
                self.in_flight = Some((batches.clone(), before));
                ("write", self.write(engine, batches))
            }
            14..=17 => ("reclaim", engine.reclaim().map(drop)),
            18..=19 => ("drain", core.drain(&mut core.work(), self.rng.below(2) == 0)),
            20 => (
                "checkpoint",
                core.change(|_| core.checkpoint(&mut core.checkpoints()).map(|_| ())),
            ),
            21 => ("meddled", self.meddle(engine)),
            _ => ("sweep", core.change(|_| core.sweep(&mut core.checkpoints())).map(drop)),
        }
    }

    /// A checkpoint, as its thread makes it, and what other threads do meanwhile.
    fn meddle(&mut self, engine: &DiskEngine) -> Result<()> {
        let before = self.script.clone();
        let batches = self.script.batches(&mut self.rng);
        let drains = [None, Some(false), Some(true)][self.rng.below(3) as usize];
        let call = 1 + self.rng.below(12);
        self.meddler.plan(call, &engine.core, batches.clone(), drains);
        let made = engine.core.checkpoint(&mut engine.core.checkpoints());
        let mut failure = None;
        match self.meddler.outcome() {
            None => self.script = before,
            Some(Ok(())) => self.model.write(&batches).unwrap(),
            Some(Err(error)) => {
                self.in_flight = Some((batches, before));
                failure = Some(error);
            }
        }
        if let Err(error) = made {
            engine.core.fail(error);
        }
        failure.map_or_else(|| engine.reclaim().map(drop), Err)
    }

    /// Whole segments of a log are written anew, and other things happen meanwhile.
    fn rewrite(&mut self, engine: &DiskEngine) -> Result<()> {
        let group = GroupId(self.rng.below(4));
        let span = engine.core.state().logs.get(&group).map(|log| log.span());
        let Some(span) = span else { return Ok(()) };
        let end = span.last.min(span.committed) + 1;
        let log = self.model.entries(group, span.start + 1..end, u64::MAX).unwrap();
        let mut segments: Vec<_> = log.chunk_by(same_segment).map(<[_]>::to_vec).collect();
        // More may come to the last one.
        segments.pop();
        let count = segments.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let first = self.rng.below(count) as usize;
        let some = 1 + self.rng.below((count - first as u64).min(3)) as usize;
        let old = segments[first..first + some].concat();
        let base_index = old[0].meta.segment.base_index;
        let anew = |entry: &LogEntry| {
            let mut meta = entry.meta;
            meta.segment.base_index = base_index;
            let data = entry.data.slice(..entry.data.len() / 2);
            LogEntry { meta, data, ..entry.clone() }
        };
        let new: Vec<_> = old.iter().map(anew).collect();
        let range = base_index..old[old.len() - 1].index + 1;
        let Some(mut rewrite) = engine.rewrite(group, range.clone(), 0)? else { return Ok(()) };
        let half = self.rng.below(new.len() as u64 + 1) as usize;
        if !rewrite.push(new[..half].to_vec())? {
            return Ok(());
        }
        if self.rng.below(2) == 0 {
            engine.reclaim()?;
        }
        let is_done = rewrite.push(new[half..].to_vec())? && rewrite.finish()?;
        if is_done {
            self.rewrite_model(group, range, &new);
            self.rewritten.push((group, old, new));
        }
        Ok(())
    }

    fn rewrite_model(&self, group: GroupId, range: Range<u64>, entries: &[LogEntry]) {
        let mut rewrite = self.model.rewrite(group, range, 0).unwrap().unwrap();
        assert!(rewrite.push(entries.to_vec()).unwrap() && rewrite.finish().unwrap());
    }

    /// What was written anew may be as it was before, after a crash: then all of it.
    fn forget_lost(&mut self, engine: &DiskEngine) {
        while let Some((group, old, new)) = self.rewritten.pop() {
            let range = new[0].index..new[new.len() - 1].index + 1;
            let last = range.end - 1;
            let is_there = |entries: Vec<LogEntry>, expected: &[LogEntry]| {
                let first = entries.first().map_or(u64::MAX, |entry| entry.index);
                let left = expected.iter().filter(|entry| entry.index >= first);
                !entries.is_empty() && left.eq(&entries)
            };
            let held = |from: &dyn Engine| {
                let start = from
                    .groups()
                    .unwrap()
                    .iter()
                    .find(|of| of.group == group)
                    .map(|of| of.start.index);
                let first = range.start.max(start.map_or(u64::MAX, |start| start + 1));
                from.entries(group, first.min(last)..last + 1, u64::MAX).unwrap()
            };
            if is_there(held(&self.model), &new) && !is_there(held(engine), &new) {
                self.rewrite_model(group, range, &old);
            }
        }
    }

    fn write(&mut self, engine: &DiskEngine, batches: Vec<WriteBatch>) -> Result<()> {
        engine.write(&batches)?;
        self.in_flight = None;
        self.model.write(&batches).unwrap();
        Ok(())
    }

    fn make_room(&mut self) {
        self.disk.fill(PLENTY);
        self.is_full = false;
    }

    fn remember(&mut self) {
        if self.history.len() == REMEMBERED {
            self.history.remove(0);
        }
        self.history.push(self.stores.content());
    }

    fn crash(&mut self) {
        self.note(self.disk.trace());
        self.disk = self.disk.crash();
        self.stores = MemoryStores::holding(self.store_after());
    }

    /// What may be left of the store.
    fn store_after(&mut self) -> Option<Content> {
        let mut content = self.stores.content()?;
        let rng = &mut self.rng;
        let some = |content: &Content, rng: &mut Rng| {
            content.keys().nth(rng.below(content.len() as u64) as usize).cloned()
        };
        match rng.below(6) {
            0 => return None,
            1 if !self.history.is_empty() => {
                let at = rng.below(self.history.len() as u64) as usize;
                return self.history[at].clone();
            }
            2 => {
                for _ in 0..=rng.below(3) {
                    some(&content, rng).and_then(|key| content.remove(&key));
                }
            }
            3 => {
                let key = some(&content, rng)?;
                let value = content.get_mut(&key)?;
                value.push(0);
                let at = rng.below(value.len() as u64) as usize;
                value[at] ^= 1 << rng.below(8);
            }
            _ => {}
        }
        Some(content)
    }
}

fn same_segment(one: &LogEntry, next: &LogEntry) -> bool {
    one.meta.segment.base_index == next.meta.segment.base_index
}

/// Tells the seed when a run fails.
struct Tell(u64);

impl Drop for Tell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was ROPEWALK_SEED={}", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn all_that_was_acked_is_there_after_power_cuts() {
    let mut cuts = Cuts::new();
    let seeds = match number("ROPEWALK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROPEWALK_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds.clone() {
        let _tell = Tell(seed);
        let trace = Run::new(seed, &mut cuts).all();
        assert_eq!(trace, Run::new(seed, &mut Cuts::new()).all(), "a run is the same twice");
    }
    // Shown only when a test fails, or when it is asked for.
    println!("{cuts:#?}");
    let met = |kind, what| cuts.keys().any(|(_, action, file)| (*action, *file) == (kind, what));
    for (action, file) in MOMENTS {
        assert!(
            met(action, file) || seeds.end - seeds.start < SEEDS,
            "no cut met: {action} {file}"
        );
    }
}
