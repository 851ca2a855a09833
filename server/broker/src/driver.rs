//! The threads under the replica groups: each shard has one, the journal has one, one reads what
//! followers lack that are far behind, and one gives back space.
//!
//! A shard's thread owns its groups; the journal's thread is the only one that writes to the
//! engine, but for a shard that has nothing else to do and finds the journal idle: it writes a
//! little one itself, which saves the way to the other thread and back (measured: ARCHITECTURE.md).
//! They cannot wait for one another for ever: a shard hands the journal no more batches than fit
//! its queue.

#[cfg(test)]
pub(crate) mod fake_shard;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ropewalk_consensus::catch_up::READ_BYTES;
use ropewalk_consensus::logger::tracing_logger;
use ropewalk_consensus::shard::{MAX_WRITES_IN_FLIGHT, NewGroup};
use ropewalk_consensus::{
    CatchUpBounds, CatchUpRead, Input, Message, Output, ProducerBounds, Proposal, Shard,
};
use ropewalk_core::{Clock, GroupId, NodeId, Timestamp, limits};
use ropewalk_storage::group_log::SegmentPolicy;
use ropewalk_storage::{Engine, StorageError, WriteBatch};
use tokio::sync::{mpsc, oneshot};

use crate::group_watch::{GroupChanges, GroupWatch};
use crate::lines::{Line, Lines};
use crate::metrics::Metrics;
use crate::peers::{Peers, Reply};

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

/// Reaches the shards. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    shards: Vec<mpsc::Sender<Command>>,
}

/// The broker is stopping, and takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Driver {
    /// For tests of what goes to other brokers: one that reaches no shard.
    #[cfg(test)]
    pub(crate) fn without_shards() -> Self {
        Self { shards: Vec::new() }
    }

    fn shard(&self, group: GroupId) -> &mpsc::Sender<Command> {
        &self.shards[usize::try_from(group.0).unwrap_or(0) % self.shards.len()]
    }

    async fn send(&self, group: GroupId, command: Command) -> Result<(), Stopped> {
        self.shard(group).send(command).await.map_err(|_| Stopped)
    }

    /// Takes up a group. `watch` tells when it serves.
    pub async fn open(&self, new: NewGroup, watch: Arc<GroupWatch>) -> Result<(), Stopped> {
        self.send(new.group, Command::Open(Box::new(new), watch)).await
    }

    /// Removes a group and all its data.
    pub async fn remove(&self, group: GroupId) -> Result<(), Stopped> {
        self.send(group, Command::Input(Input::Remove(group))).await
    }

    /// Waits until all that the shard of a group has taken up and applied so far is on the disk.
    pub async fn keep(&self, group: GroupId) -> Result<(), Stopped> {
        let (done, kept) = oneshot::channel();
        let reply: Reply = Box::new(move |_| {
            // Nobody waits any more: the broker stops.
            let _ = done.send(());
        });
        self.send(group, Command::Input(Input::Keep(reply))).await?;
        kept.await.map_err(|_| Stopped)
    }

    /// Says when a group's segments are closed from now on.
    pub async fn set_policy(&self, group: GroupId, policy: SegmentPolicy) -> Result<(), Stopped> {
        self.send(group, Command::Input(Input::SetPolicy(group, policy))).await
    }

    /// Proposes. Proposals to one group that are sent one after the other stay in that order.
    pub async fn propose(&self, group: GroupId, proposal: Proposal<Reply>) -> Result<(), Stopped> {
        self.send(group, Command::Input(Input::Propose(group, proposal))).await
    }

    /// Hands over what another replica says. Waits while the group's shard is busy.
    pub async fn receive(&self, message: Message) -> Result<(), Stopped> {
        self.send(message.group, Command::Input(Input::Message(message))).await
    }

    /// A stream of messages from another broker has ended. Waits while the shards are busy, as it
    /// must not overtake the messages, nor be lost.
    pub async fn silent(&self, node: NodeId) -> Result<(), Stopped> {
        for shard in &self.shards {
            let told = Command::Input(Input::Unreachable(node));
            shard.send(told).await.map_err(|_| Stopped)?;
        }
        Ok(())
    }

    fn tick(&self, settle: bool) {
        for shard in &self.shards {
            // A shard that is too busy for a tick is not idle, and writes enough without it.
            let _ = shard.try_send(Command::Input(Input::Tick));
            if settle {
                let _ = shard.try_send(Command::Input(Input::Settle));
            }
        }
    }
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
    /// How many idempotent producers a partition knows, and for how long.
    pub producers: ProducerBounds,
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
    housekeeping: Option<(SyncSender<()>, JoinHandle<()>)>,
    engine: Arc<dyn Engine>,
}

struct JournalWrite {
    shard: usize,
    number: u64,
    batch: WriteBatch,
}

impl JournalWrite {
    fn bytes(&self) -> usize {
        let entries = self.batch.groups.iter().flat_map(|write| &write.append);
        entries.map(|entry| entry.data.len()).sum()
    }
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
        let writer = Arc::new(JournalWriter {
            engine: Arc::clone(&config.engine),
            clock: Arc::clone(&config.clock),
            metrics: config.metrics,
            on_fatal: Arc::clone(&config.on_fatal),
            queued: AtomicUsize::new(0),
        });
        let bounds = catch_up_bounds(config.catch_up_rate, count);
        let tail_budget = config.tail_budget / count as u64;
        let (catch_up, reads) = sync_channel(count * MAX_READS);
        let mut senders = Vec::new();
        let mut shards = Vec::new();
        for number in 0..count {
            let (sender, commands) = mpsc::channel(INPUT_QUEUE);
            let (engine, logger) = (Arc::clone(&config.engine), tracing_logger());
            let shard = ShardThread {
                number,
                shard: Shard::new(engine, tail_budget, bounds, config.producers, logger),
                watches: BTreeMap::new(),
                peers: Arc::clone(&config.peers),
                lost: BTreeSet::new(),
                changes: Arc::clone(&config.changes),
                lines: Arc::clone(&config.lines),
                seen: BTreeMap::new(),
                journal: journal.clone(),
                catch_up: catch_up.clone(),
                writer: Arc::clone(&writer),
                clock: Arc::clone(&config.clock),
            };
            senders.push(sender);
            shards.push(spawn(format!("shard-{number}"), move || shard.run(commands)));
        }
        drop((journal, catch_up));
        let driver = Driver { shards: senders };
        let catch_up = {
            let (driver, engine) = (driver.clone(), Arc::clone(&config.engine));
            spawn("catch-up".to_owned(), move || read_for_followers(&reads, &driver, &*engine))
        };
        let journal = {
            let driver = driver.clone();
            spawn("journal".to_owned(), move || writer.run(&writes, &driver))
        };
        let housekeeping = {
            let (driver, engine) = (driver.clone(), Arc::clone(&config.engine));
            let clock = Arc::clone(&config.clock);
            let on_fatal = Arc::clone(&config.on_fatal);
            let (stop, stopped) = sync_channel(1);
            let thread = spawn("housekeeping".to_owned(), move || {
                if let Err(error) = keep_house(&driver, engine.as_ref(), clock.as_ref(), &stopped) {
                    on_fatal(&error);
                }
            });
            (stop, thread)
        };
        Self {
            driver,
            shards,
            journal: Some(journal),
            catch_up: Some(catch_up),
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
        for shard in &self.driver.shards {
            let _ = shard.blocking_send(Command::Stop);
        }
        for shard in self.shards.drain(..) {
            let _ = shard.join();
        }
        for thread in [self.journal.take(), self.catch_up.take()].into_iter().flatten() {
            let _ = thread.join();
        }
        self.engine.close()
    }
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
            Output::Damaged { .. } => watch.set_damaged(),
            Output::Write { .. } | Output::Read(_) | Output::Reply { .. } | Output::Send(_) => {}
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
        | Output::Damaged { group } => Some((*group, true)),
        Output::Write { .. } | Output::Read(_) | Output::Reply { .. } | Output::Send(_) => None,
    }
}

/// Writes to the engine.
struct JournalWriter {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    on_fatal: OnFatal,
    /// Writes that were handed to the journal's thread and are not durable yet.
    queued: AtomicUsize,
}

impl JournalWriter {
    fn is_idle(&self) -> bool {
        self.queued.load(Ordering::Acquire) == 0
    }

    /// The journal's thread: merges what waits into one write.
    fn run(&self, writes: &Receiver<JournalWrite>, driver: &Driver) {
        let mut batches = Vec::new();
        let mut newest = vec![None; driver.shards.len()];
        while let Ok(first) = writes.recv() {
            for write in std::iter::once(first).chain(writes.try_iter()) {
                newest[write.shard] = Some(write.number);
                batches.push(write.batch);
            }
            if let Err(error) = self.write(&batches) {
                return (self.on_fatal)(&error);
            }
            self.queued.fetch_sub(batches.len(), Ordering::AcqRel);
            batches.clear();
            for (shard, number) in driver.shards.iter().zip(&mut newest) {
                if let Some(number) = number.take() {
                    let _ = shard.blocking_send(Command::Input(Input::Durable(number)));
                }
            }
        }
    }

    fn write(&self, batches: &[WriteBatch]) -> Result<(), StorageError> {
        let begun = self.clock.monotonic();
        self.engine.write(batches)?;
        let took = self.clock.monotonic().saturating_sub(begun);
        let (mut bytes, mut records) = (0, 0);
        for entry in batches.iter().flat_map(|b| &b.groups).flat_map(|write| &write.append) {
            bytes += entry.data.len() as u64;
            records += u64::from(entry.meta.record_count > 0);
        }
        self.metrics.synced(took, bytes, records);
        Ok(())
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
