//! The threads under the replica groups: each shard has one, the journal has one, one reads what
//! followers lack that are far behind, one the keys of partitions, and one gives back space.
//!
//! A shard's thread owns its groups; the journal's thread is the only one that writes to the
//! engine, but for a shard that has nothing else to do and finds the journal idle: it writes a
//! little one itself, which saves the way to the other thread and back (measured: ARCHITECTURE.md).
//! They cannot wait for one another for ever: a shard hands the journal no more batches than fit
//! its queue.

mod compaction;
#[cfg(test)]
pub(crate) mod fake_shard;
mod journal;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ropewalk_consensus::catch_up::READ_BYTES;
use ropewalk_consensus::key_reads::MAX_KEY_READS;
use ropewalk_consensus::logger::tracing_logger;
use ropewalk_consensus::shard::{MAX_WRITES_IN_FLIGHT, NewGroup};
use ropewalk_consensus::{
    CatchUpBounds, CatchUpRead, Input, KeyBounds, KeyRead, Output, ProducerBounds, Shard,
};
use ropewalk_core::{Clock, GroupId, NodeId, Timestamp, limits};
use ropewalk_storage::{Engine, StorageError};
use tokio::sync::mpsc;

use self::compaction::Compactions;
use self::journal::{JournalWrite, JournalWriter};
use crate::group_watch::{GroupChanges, GroupWatch};
use crate::lines::{Line, Lines};
use crate::metrics::Metrics;
use crate::peers::{Peers, Reply};
use crate::steady_clock::SteadyClock;

pub use reach::{Driver, Stopped};

/// Inputs that wait for a shard. The bytes of what they propose are reserved before they get here.
const INPUT_QUEUE: usize = 4_096;
/// Inputs that a shard takes before it looks at what they led to.
const MAX_INPUTS_PER_ROUND: usize = 1_024;
/// A write of up to this many bytes may be made by the shard itself. While it is, the shard takes
/// up nothing else, so it is no more than the disk is done with in about the time of a sync.
const OWN_WRITE: usize = 64 * 1024;
/// Raft's clock.
const TICK: Duration = Duration::from_millis(100);
/// What nobody waits for is written after so many ticks.
const TICKS_TO_SETTLE: u32 = 5;
const RECLAIM_PAUSE: Duration = Duration::from_millis(20);
/// What followers that are behind were sent and have not acknowledged, over all shards: half of
/// what waits for one of them at most, so that there is room for what is new.
const CATCH_UP_WINDOW: u64 = limits::PEER_BULK_BYTES as u64 / 2;
/// Reads for followers that a shard has under way at a time.
const MAX_READS: usize = (CATCH_UP_WINDOW / READ_BYTES) as usize;

/// Called when the log cannot be kept any more: it ends the process, and does not return otherwise.
pub type OnFatal = Arc<dyn Fn(&StorageError) + Send + Sync>;

/// What a shard is sent.
#[expect(clippy::large_enum_variant, reason = "most of them are inputs")]
enum Command {
    Open(Box<NewGroup>, Arc<GroupWatch>),
    Input(Input<Reply>),
    Stop,
}

/// What the threads need.
pub struct DriverConfig {
    /// The store.
    pub engine: Arc<dyn Engine>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The instruments.
    pub metrics: Arc<Metrics>,
    /// How many shards there are.
    pub shards: usize,
    /// The bytes of recent entries kept in memory, over all shards.
    pub tail_budget: u64,
    /// Bytes in each second that followers get which are behind, over all shards, while there are
    /// writes beside it.
    pub catch_up_rate: u64,
    /// Bytes in each second that compaction reads and writes, while there are writes beside it.
    pub compaction_rate: u64,
    /// How many idempotent producers a partition knows, and for how long.
    pub producers: ProducerBounds,
    /// The bytes that the versions of keys may take, over all shards.
    pub key_budget: u64,
    /// Ends the process.
    pub on_fatal: OnFatal,
    /// The ways to the other replicas.
    pub peers: Arc<dyn Peers>,
    /// Where groups are noted that are led otherwise, or have other members.
    pub changes: Arc<GroupChanges>,
    /// The connections to other brokers.
    pub lines: Arc<Lines>,
}

/// The running threads.
pub struct Threads {
    driver: Driver,
    shards: Vec<JoinHandle<()>>,
    journal: Option<JoinHandle<()>>,
    catch_up: Option<JoinHandle<()>>,
    compaction: (Arc<Compactions>, Option<JoinHandle<()>>),
    keys: Option<JoinHandle<()>>,
    housekeeping: Option<(SyncSender<()>, JoinHandle<()>)>,
    engine: Arc<dyn Engine>,
}

impl Threads {
    /// Starts them.
    ///
    /// # Panics
    /// When the system gives no thread.
    #[must_use]
    pub fn start(config: DriverConfig) -> Self {
        let count = config.shards.max(1);
        let (journal, writes) = sync_channel(count * MAX_WRITES_IN_FLIGHT);
        let writer = Arc::new(JournalWriter::new(&config));
        let compactions = Arc::new(Compactions::default());
        let bounds = catch_up_bounds(config.catch_up_rate, count);
        let tail_budget = config.tail_budget / count as u64;
        let (catch_up, reads) = sync_channel(count * MAX_READS);
        let (keys, key_reads) = sync_channel(count * MAX_KEY_READS);
        let key_bounds = KeyBounds::within(config.key_budget / count as u64);
        let mut senders = Vec::new();
        let mut shards = Vec::new();
        for number in 0..count {
            let (sender, commands) = mpsc::channel(INPUT_QUEUE);
            let (engine, logger) = (Arc::clone(&config.engine), tracing_logger());
            let shard = ShardThread {
                number,
                shard: {
                    let producers = config.producers;
                    Shard::new(engine, tail_budget, bounds, producers, key_bounds, logger)
                },
                watches: BTreeMap::new(),
                peers: Arc::clone(&config.peers),
                lost: BTreeSet::new(),
                changes: Arc::clone(&config.changes),
                lines: Arc::clone(&config.lines),
                seen: BTreeMap::new(),
                journal: journal.clone(),
                catch_up: catch_up.clone(),
                compactions: Arc::clone(&compactions),
                keys: keys.clone(),
                writer: Arc::clone(&writer),
                clock: Arc::clone(&config.clock),
            };
            senders.push(sender);
            shards.push(spawn(format!("shard-{number}"), move || shard.run(commands)));
        }
        drop((journal, catch_up, keys));
        let time = Arc::new(SteadyClock::new(Arc::clone(&config.clock)));
        let driver = Driver { shards: senders, time };
        let catch_up = {
            let (driver, engine) = (driver.clone(), Arc::clone(&config.engine));
            spawn("catch-up".to_owned(), move || read_for_followers(&reads, &driver, &*engine))
        };
        let compaction = {
            let (compactions, driver) = (Arc::clone(&compactions), driver.clone());
            let (writer, rate) = (Arc::clone(&writer), config.compaction_rate);
            spawn("compaction".to_owned(), move || compactions.run(&driver, &writer, rate))
        };
        let keys = {
            let driver = driver.clone();
            spawn("keys".to_owned(), move || read_keys(&key_reads, &driver))
        };
        let journal = {
            let driver = driver.clone();
            spawn("journal".to_owned(), move || writer.run(&writes, &driver))
        };
        let housekeeping = begin_housekeeping(&config, driver.clone());
        Self {
            driver,
            shards,
            journal: Some(journal),
            catch_up: Some(catch_up),
            compaction: (compactions, Some(compaction)),
            keys: Some(keys),
            housekeeping: Some(housekeeping),
            engine: config.engine,
        }
    }

    /// Reaches the shards.
    #[must_use]
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Lets the shards finish what they have, writes it, and closes the engine. Blocks.
    pub fn stop(mut self) -> Result<(), StorageError> {
        if let Some((stop, thread)) = self.housekeeping.take() {
            drop(stop);
            let _ = thread.join();
        }
        self.engine.lose_patience();
        self.compaction.0.stop();
        if let Some(thread) = self.compaction.1.take() {
            let _ = thread.join();
        }
        for shard in &self.driver.shards {
            let _ = shard.blocking_send(Command::Stop);
        }
        for shard in self.shards.drain(..) {
            let _ = shard.join();
        }
        let threads = [self.journal.take(), self.catch_up.take(), self.keys.take()];
        for thread in threads.into_iter().flatten() {
            let _ = thread.join();
        }
        self.engine.close()
    }
}

fn begin_housekeeping(config: &DriverConfig, driver: Driver) -> (SyncSender<()>, JoinHandle<()>) {
    let (engine, clock) = (Arc::clone(&config.engine), Arc::clone(&config.clock));
    let on_fatal = Arc::clone(&config.on_fatal);
    let (stop, stopped) = sync_channel(1);
    let thread = spawn("housekeeping".to_owned(), move || {
        if let Err(error) = keep_house(&driver, engine.as_ref(), clock.as_ref(), &stopped) {
            on_fatal(&error);
        }
    });
    (stop, thread)
}

/// A thread that the broker cannot do without: when it panics, the process ends rather than hangs.
fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!("a thread of the log has panicked: the broker stops at once");
            std::process::abort();
        }
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(guarded)
        .expect("the system gives a thread at start")
}

struct ShardThread {
    number: usize,
    shard: Shard<Reply>,
    watches: BTreeMap<GroupId, Arc<GroupWatch>>,
    peers: Arc<dyn Peers>,
    /// Brokers to which something could not be sent since the last tick.
    lost: BTreeSet<NodeId>,
    changes: Arc<GroupChanges>,
    lines: Arc<Lines>,
    /// The connections as the shard knows them.
    seen: BTreeMap<NodeId, Line>,
    journal: SyncSender<JournalWrite>,
    catch_up: SyncSender<(usize, CatchUpRead)>,
    compactions: Arc<Compactions>,
    keys: SyncSender<(usize, KeyRead)>,
    writer: Arc<JournalWriter>,
    clock: Arc<dyn Clock>,
}

impl ShardThread {
    fn run(mut self, commands: mpsc::Receiver<Command>) {
        let on_fatal = Arc::clone(&self.writer.on_fatal);
        if let Err(error) = self.drive(commands) {
            on_fatal(&error);
        }
    }

    fn drive(&mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), StorageError> {
        let mut out = Vec::new();
        let mut stopping = false;
        while !(stopping && self.shard.is_written()) {
            let Some(first) = commands.blocking_recv() else { break };
            let now = self.clock.now();
            let mut next = Some(first);
            let mut taken = 0;
            while let Some(command) = next.take() {
                stopping |= matches!(command, Command::Stop);
                self.take(now, command, &mut out)?;
                taken += 1;
                if taken < MAX_INPUTS_PER_ROUND {
                    next = commands.try_recv().ok();
                }
            }
            self.finish(now, stopping, &mut out)?;
            while let Some(write) = self.carry_out(&mut out, commands.is_empty()) {
                let number = write.number;
                self.writer.write(&[write.batch])?;
                let now = self.clock.now();
                self.shard.step(now, Input::Durable(number), &mut out)?;
                self.finish(now, stopping, &mut out)?;
            }
        }
        Ok(())
    }

    /// Gathers what the inputs led to.
    fn finish(
        &mut self,
        now: Timestamp,
        stopping: bool,
        out: &mut Vec<Output<Reply>>,
    ) -> Result<(), StorageError> {
        // Nothing else gives ticks any more, and nothing may stay unwritten.
        if stopping {
            self.shard.step(now, Input::Settle, out)?;
        }
        self.shard.flush(now, out)
    }

    fn take(
        &mut self,
        now: Timestamp,
        command: Command,
        out: &mut Vec<Output<Reply>>,
    ) -> Result<(), StorageError> {
        let input = match command {
            Command::Stop => Input::Settle,
            Command::Open(new, watch) => {
                self.watches.insert(new.group, watch);
                Input::Open(new)
            }
            Command::Input(input) => {
                match &input {
                    Input::Remove(group) => {
                        // What was said of it so far is not to be heard of its successor.
                        self.tell_of(*group, out);
                        self.watches.remove(group);
                    }
                    // It counts as out of reach until the next tick.
                    Input::Unreachable(node) => {
                        self.seen.remove(node);
                    }
                    // Told once a tick, as it concerns every group. A tick that is left out for
                    // want of room is followed by others.
                    Input::Tick => {
                        for node in std::mem::take(&mut self.lost) {
                            self.shard.step(now, Input::Lost(node), out)?;
                        }
                        for input in self.lines.news(&mut self.seen) {
                            self.shard.step(now, input, out)?;
                        }
                    }
                    _ => {}
                }
                input
            }
        };
        self.shard.step(now, input, out)
    }

    /// Does what the shard wants done. Returns a write that the shard is to make itself: a little
    /// one, while there is nothing else to do for this thread or for the journal's.
    fn carry_out(&mut self, out: &mut Vec<Output<Reply>>, is_idle: bool) -> Option<JournalWrite> {
        let mut writes = Vec::new();
        for output in out.drain(..) {
            match output {
                Output::Write { number, batch } => {
                    writes.push(JournalWrite { shard: self.number, number, batch });
                }
                Output::Read(read) => {
                    if let Err(TrySendError::Full(_)) = self.catch_up.try_send((self.number, read))
                    {
                        unreachable!("a shard has no more reads under way than the queue takes");
                    }
                }
                Output::Compact { group, order, reader } => {
                    self.compactions.order(group, order, reader);
                }
                Output::ReadKeys(read) => {
                    if let Err(TrySendError::Full(_)) = self.keys.try_send((self.number, read)) {
                        unreachable!("a shard has no more reads under way than the queue takes");
                    }
                }
                Output::Reply { to, result } => to(result),
                Output::Send(message) => {
                    let node = message.to.node();
                    if !self.peers.send(message) {
                        self.lost.insert(node);
                    }
                }
                told => self.tell(told),
            }
        }
        if is_idle && writes.len() == 1 && self.writer.is_idle() && writes[0].bytes() <= OWN_WRITE {
            return writes.pop();
        }
        for write in writes {
            self.writer.queued.fetch_add(1, Ordering::AcqRel);
            if let Err(TrySendError::Full(_)) = self.journal.try_send(write) {
                unreachable!("a shard has no more writes in flight than the queue takes");
            }
        }
        None
    }
}

impl ShardThread {
    /// Lets others see what has become of one group so far.
    fn tell_of(&self, group: GroupId, out: &mut Vec<Output<Reply>>) {
        let is_of_it = |output: &mut Output<Reply>| told_of(output).is_some_and(|of| of.0 == group);
        out.extract_if(.., is_of_it).for_each(|told| self.tell(told));
    }

    /// Lets others see what has become of a group.
    fn tell(&self, told: Output<Reply>) {
        let Some((group, changes)) = told_of(&told) else { return };
        let Some(watch) = self.watches.get(&group) else { return };
        match told {
            Output::Opened { reader, .. } => watch.open(reader),
            Output::Progress { .. } => watch.progress(),
            Output::Leadership { epoch, .. } => watch.set_epoch(epoch),
            Output::Leader { leader, term, .. } => watch.set_leader(leader, term),
            Output::Members { voters, learners, .. } => watch.set_members(voters, learners),
            Output::Damaged { .. } | Output::Stale { .. } => watch.set_damaged(),
            Output::Write { .. }
            | Output::Read(_)
            | Output::ReadKeys(_)
            | Output::Compact { .. }
            | Output::Reply { .. }
            | Output::Send(_) => {}
        }
        if changes {
            self.changes.note(group);
        }
    }
}

/// The group of which others are told something, and whether it is one of who leads it or belongs
/// to it.
fn told_of(output: &Output<Reply>) -> Option<(GroupId, bool)> {
    match output {
        Output::Opened { group, .. } | Output::Progress { group, .. } => Some((*group, false)),
        Output::Leadership { group, .. }
        | Output::Leader { group, .. }
        | Output::Members { group, .. }
        | Output::Damaged { group }
        | Output::Stale { group } => Some((*group, true)),
        Output::Write { .. }
        | Output::Read(_)
        | Output::ReadKeys(_)
        | Output::Compact { .. }
        | Output::Reply { .. }
        | Output::Send(_) => None,
    }
}

/// Each shard's part of what followers that are behind may get.
fn catch_up_bounds(rate: u64, shards: usize) -> CatchUpBounds {
    CatchUpBounds {
        bytes_per_second: rate / shards as u64,
        window: CATCH_UP_WINDOW / shards as u64,
    }
}

/// The thread that reads what followers lack, so that no shard waits for it.
fn read_for_followers(
    reads: &Receiver<(usize, CatchUpRead)>,
    driver: &Driver,
    engine: &dyn Engine,
) {
    while let Ok((shard, read)) = reads.recv() {
        let caught_up = read.carry_out(engine);
        let _ = driver.shards[shard].blocking_send(Command::Input(Input::CaughtUp(caught_up)));
    }
}

/// The thread that reads keys whose versions are asked for, so that no shard waits for it, and no
/// follower.
fn read_keys(reads: &Receiver<(usize, KeyRead)>, driver: &Driver) {
    while let Ok((shard, read)) = reads.recv() {
        let read = read.carry_out();
        let _ = driver.shards[shard].blocking_send(Command::Input(Input::KeysRead(read)));
    }
}

/// Gives ticks to the shards, and space back to the disk, until `stopped` closes. What it removes
/// is written too, so that its failure is as final as that of any write.
fn keep_house(
    driver: &Driver,
    engine: &dyn Engine,
    clock: &dyn Clock,
    stopped: &Receiver<()>,
) -> Result<(), StorageError> {
    let (mut ticks, mut next_tick, mut has_more) = (0u32, clock.monotonic(), false);
    loop {
        let to_tick = next_tick.saturating_sub(clock.monotonic());
        let pause = if has_more { to_tick.min(RECLAIM_PAUSE) } else { to_tick };
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
        let now = clock.monotonic();
        let is_settling = ticks.is_multiple_of(TICKS_TO_SETTLE);
        if now >= next_tick {
            driver.tick(is_settling);
            ticks = ticks.wrapping_add(1);
            // Ticks that were missed are not made up for: nobody could have done anything in them.
            next_tick = now + TICK;
        }
        if has_more || is_settling {
            has_more = engine.reclaim()?;
        }
    }
}
