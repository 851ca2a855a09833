//! What a broker's disk holds, and how its writes get there: a store in memory that loses whole
//! writes, or the real engine on a simulated disk that loses sectors.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_core::GroupId;
use ropewalk_storage::disk_engine::DiskEngine;
use ropewalk_storage::memory::MemoryEngine;
use ropewalk_storage::sim::{Machine, StoreFate};
use ropewalk_storage::{Engine, StorageError, WriteBatch};

/// Which kind of store brokers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In memory; a crash takes whole writes back. Some twenty times cheaper than the engine.
    Memory,
    /// The engine that brokers have, on a simulated disk.
    Disk,
}

/// What the engine is to do beside the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// What is due.
    Reclaim,
    /// A checkpoint.
    Checkpoint,
    /// To write out what is committed.
    WriteOut,
}

/// A disk, and the engine on it while its broker runs.
pub struct Store {
    /// Writes on their way, oldest first.
    queue: VecDeque<(u64, WriteBatch)>,
    kind: Kind,
}

enum Kind {
    Memory {
        engine: Arc<MemoryEngine>,
        /// What is on the disk, as the writes that made it.
        durable: Vec<WriteBatch>,
        /// Written without a sync: a crash may take it back.
        unsynced: Vec<WriteBatch>,
    },
    Disk {
        machine: Box<Machine>,
        engine: Option<Arc<DiskEngine>>,
    },
}

impl Store {
    /// An empty disk.
    #[must_use]
    pub fn new(kind: StoreKind, seed: u64) -> Self {
        let kind = match kind {
            StoreKind::Memory => {
                Kind::Memory { engine: Arc::default(), durable: Vec::new(), unsynced: Vec::new() }
            }
            StoreKind::Disk => Kind::Disk { machine: Box::new(Machine::new(seed)), engine: None },
        };
        Self { queue: VecDeque::new(), kind }
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        match self.kind {
            Kind::Memory { .. } => StoreKind::Memory,
            Kind::Disk { .. } => StoreKind::Disk,
        }
    }

    /// Starts the engine on what the disk holds.
    ///
    /// # Errors
    /// Those of the engine: the power may go meanwhile, and damage is found.
    pub fn start(&mut self) -> Result<Arc<dyn Engine>, StorageError> {
        match &mut self.kind {
            Kind::Memory { engine, .. } => Ok(Arc::clone(engine) as _),
            Kind::Disk { machine, engine } => {
                let started = Arc::new(machine.start()?);
                *engine = Some(Arc::clone(&started));
                Ok(started)
            }
        }
    }

    /// A write is on its way.
    pub fn push(&mut self, number: u64, batch: WriteBatch) {
        self.queue.push_back((number, batch));
    }

    /// How many writes are on their way.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many writes are on their way, or may be taken back by a crash.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        let unsynced = match &self.kind {
            Kind::Memory { unsynced, .. } => unsynced.len(),
            Kind::Disk { .. } => 0,
        };
        unsynced + self.queue.len()
    }

    /// The oldest writes, this many of them at most, are made as one. Returns the number of the
    /// last of them.
    ///
    /// # Errors
    /// Those of the disk: the broker ends.
    pub fn persist(&mut self, count: usize) -> Result<Option<u64>, StorageError> {
        let taken: Vec<_> = self.queue.drain(..count.min(self.queue.len())).collect();
        let Some((number, _)) = taken.last() else { return Ok(None) };
        let number = *number;
        let batches: Vec<_> = taken.into_iter().map(|(_, batch)| batch).collect();
        match &mut self.kind {
            Kind::Memory { engine, durable, unsynced } => {
                engine.write(&batches)?;
                let is_synced = batches.iter().any(|batch| batch.sync);
                unsynced.extend(batches);
                if is_synced {
                    durable.append(unsynced);
                }
            }
            Kind::Disk { engine, .. } => engine.as_ref().unwrap().write(&batches)?,
        }
        Ok(Some(number))
    }

    /// The engine does something beside the writes.
    ///
    /// # Errors
    /// Those of the disk: the broker ends.
    pub fn do_chore(&mut self, chore: Chore) -> Result<(), StorageError> {
        let Kind::Disk { engine: Some(engine), .. } = &self.kind else { return Ok(()) };
        match chore {
            Chore::Reclaim => engine.reclaim().map(|_| ()),
            Chore::Checkpoint => engine.make_checkpoint(),
            Chore::WriteOut => engine.write_out(true),
        }
    }

    /// The power goes. Of what was written to memory and not confirmed, this many writes are on the
    /// disk all the same; the simulated disk decides for itself, sector by sector.
    pub fn cut_power(&mut self, survive: usize) -> Option<StoreFate> {
        let queue = std::mem::take(&mut self.queue);
        match &mut self.kind {
            Kind::Memory { engine, durable, unsynced } => {
                let under_way = unsynced.drain(..).chain(queue.into_iter().map(|(_, batch)| batch));
                durable.extend(under_way.take(survive));
                *engine = rebuilt(durable);
                None
            }
            Kind::Disk { machine, engine } => {
                *engine = None;
                Some(machine.cut_power())
            }
        }
    }

    /// The process ends, and the machine does not: what it had written is there.
    pub fn end_process(&mut self) {
        let queue = std::mem::take(&mut self.queue);
        match &mut self.kind {
            Kind::Memory { durable, unsynced, engine } => {
                drop(queue);
                durable.append(unsynced);
                *engine = rebuilt(durable);
            }
            Kind::Disk { machine, engine } => {
                machine.disarm();
                *engine = None;
            }
        }
    }

    /// What was written anew is on the disk, in place of what was. The simulated disk decides for
    /// itself.
    pub fn keep_rewritten(&mut self, group: GroupId) {
        let Kind::Memory { engine, durable, unsynced } = &mut self.kind else { return };
        let batches = durable.iter_mut().chain(unsynced).flat_map(|batch| &mut batch.groups);
        for entry in batches.filter(|write| write.group == group).flat_map(|of| &mut of.append) {
            let held = engine.entries(group, entry.index..entry.index + 1, 0).unwrap();
            let Some(held) = held.into_iter().next() else { continue };
            if held.meta.term == entry.meta.term && held != *entry {
                *entry = held;
            }
        }
    }

    /// The last writes are lost, though they were confirmed. Of stores in memory alone.
    pub fn lose(&mut self, count: usize) {
        let Kind::Memory { engine, durable, .. } = &mut self.kind else { return };
        durable.truncate(durable.len() - count);
        *engine = rebuilt(durable);
    }

    /// All of it is lost.
    pub fn wipe(&mut self, seed: u64) {
        *self = Self::new(self.kind(), seed);
    }

    /// The machine of the real engine.
    #[must_use]
    pub fn machine(&self) -> Option<&Machine> {
        match &self.kind {
            Kind::Memory { .. } => None,
            Kind::Disk { machine, .. } => Some(machine),
        }
    }

    /// A bit of one of these files turns. Returns which, if there is any.
    pub fn rot(&mut self, of: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        match &mut self.kind {
            Kind::Memory { .. } => None,
            Kind::Disk { machine, .. } => machine.rot(of),
        }
    }

    /// What was done to the disk so far: see [`Machine::done`].
    #[must_use]
    pub fn done(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.machine().map(Machine::done).unwrap_or_default()
    }
}

fn rebuilt(durable: &[WriteBatch]) -> Arc<MemoryEngine> {
    let engine = MemoryEngine::new();
    engine.write(durable).unwrap();
    Arc::new(engine)
}
