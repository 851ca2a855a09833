//! The power is cut under load, over and over on one file system.
//!
//! The data directory lies on an ext4 image whose metadata the kernel does not write by itself for
//! ten minutes. At the moment of the round the file system is shut down without a flush, the broker
//! is killed, the image mounted again, the broker started, and everything read back. Beside the
//! broker writes a control, which shows that what was not synced really is lost.

use std::path::PathBuf;
use std::time::Duration;

use ropewalk_chaos::{
    ChaosError, Control, ControlResult, Image, Load, LoadPlan, Moment, MomentWatch, Mount, Options,
    PowerCut, Recorder, create_topics,
};
use ropewalk_harness::Broker;
use tokio::time::{Instant, sleep, sleep_until};

use crate::judge::{builder, needs_mounts, read_and_judge, temporary, with_log};

const ROUNDS: u32 = 30;
/// Sparse. Much, as an engine may let go of space late: a full disk is another test.
const IMAGE_BYTES: u64 = 8 << 30;
/// How long a line of the log is waited for, before the power is cut without it.
const LINE_WITHIN: Duration = Duration::from_millis(2_500);
/// The share of rounds, in percent, in which the control must have lost what it did not sync: not
/// all, as a checkpoint of many files syncs the whole file system, and the control's with it.
const LOST_IN_PERCENT: usize = 33;

/// The file system, mounted but for the moments after a cut, and the broker on it.
struct Machine {
    broker: Broker,
    mount: Option<Mount>,
    image: Image,
    point: PathBuf,
    recorder: Recorder,
    // Last: it goes after what lies in it.
    _directory: tempfile::TempDir,
}

/// What happened in all rounds.
#[derive(Default)]
struct Totals {
    acked: usize,
    records: usize,
    untold: u32,
    rounds: usize,
    controls: Vec<ControlResult>,
}

pub(crate) async fn run(options: Options) -> Result<String, ChaosError> {
    needs_mounts()?;
    let mut machine = Machine::start().await?;
    let mut totals = Totals::default();
    for round in options.rounds(ROUNDS) {
        let done = machine.round(options, round, &mut totals).await;
        with_log(&machine.broker, done)?;
    }
    machine.end().await?;
    totals.judge(options)
}

impl Machine {
    async fn start() -> Result<Self, ChaosError> {
        let directory = temporary()?;
        let image = Image::make(directory.path().join("image"), IMAGE_BYTES)?;
        let point = directory.path().join("disk");
        let mount = image.mount(&point)?;
        let broker = builder(&point.join("data")).start().await?;
        let recorder = Recorder::default();
        create_topics(broker.address(), &recorder).await?;
        read_and_judge("at first", broker.address(), &recorder).await?;
        let mount = Some(mount);
        Ok(Self { broker, mount, image, point, recorder, _directory: directory })
    }

    /// A round begins with a broker that has ended in good order, or was just read back.
    async fn round(
        &mut self,
        options: Options,
        round: u32,
        totals: &mut Totals,
    ) -> Result<(), ChaosError> {
        let started = Instant::now();
        let moment = Moment::of_round(options.seed, round);
        let plan = LoadPlan::of_round(options.seed, round);
        let plan = if moment.needs_many_bytes() { plan.heavy() } else { plan };
        let mut control = Control::start(self.point.join("control"))?;
        let cut = PowerCut::arm(&self.point)?;
        let load;
        let told;
        if let Moment::AfterStart(after) = moment {
            self.broker.kill9().await?;
            load = Load::start(self.broker.address(), &self.recorder, plan);
            self.cut_while_it_starts(after, cut, &mut control).await?;
            told = true;
        } else {
            let watch = MomentWatch::new(self.broker.log_path())?;
            load = Load::start(self.broker.address(), &self.recorder, plan);
            told = reached(moment, watch).await;
            power_off(&self.recorder, cut, &mut control)?;
            self.broker.kill9().await?;
        }
        load.stop().await?;
        let (directory, control) = control.stop().await?;
        let acked = self.recorder.acked();
        self.power_on().await?;
        let control = control.look(&directory);
        let what = format!("round {round}, power cut {moment}");
        let found = read_and_judge(&what, self.broker.address(), &self.recorder).await?;
        let untold = if told { "" } else { " (was not told: cut without it)" };
        println!(
            "round {round}: {moment}{untold}; {acked} acked, {} records read, ready after {:.0?}; \
             control lost {} of {} synced, {} of {} not synced; {:.1?}",
            found.records,
            self.broker.ready_after().unwrap_or_default(),
            control.synced - control.synced_found,
            control.synced,
            control.unsynced.saturating_sub(control.unsynced_found),
            control.unsynced,
            started.elapsed(),
        );
        totals.acked += acked;
        totals.records = found.records;
        totals.untold += u32::from(!told);
        totals.rounds += 1;
        totals.controls.push(control);
        Ok(())
    }

    /// Starts the broker and cuts the power so long after, whether it is ready or not.
    async fn cut_while_it_starts(
        &mut self,
        after: Duration,
        cut: PowerCut,
        control: &mut Control,
    ) -> Result<(), ChaosError> {
        let at = Instant::now() + after;
        let Self { broker, recorder, .. } = self;
        let ready = {
            let starting = broker.restart();
            tokio::pin!(starting);
            let ready = tokio::select! {
                biased;
                () = sleep_until(at) => false,
                started = &mut starting => {
                    started?;
                    true
                }
            };
            sleep_until(at).await;
            power_off(recorder, cut, control)?;
            ready
            // One that is not ready is killed here, as its start is given up.
        };
        if ready {
            broker.kill9().await?;
        }
        Ok(())
    }

    async fn power_on(&mut self) -> Result<(), ChaosError> {
        if let Some(mount) = self.mount.take() {
            mount.unmount().await?;
        }
        self.mount = Some(self.image.mount(&self.point)?);
        self.recorder.lock().power_on();
        self.broker.restart().await?;
        Ok(())
    }

    async fn end(mut self) -> Result<(), ChaosError> {
        let ended = self.broker.terminate().await?;
        if !ended.status.success() {
            return Err(ChaosError::broken(format!("the broker ended with {}", ended.status)));
        }
        match self.mount.take() {
            Some(mount) => mount.unmount().await,
            None => Ok(()),
        }
    }
}

/// Cuts the power. The records are told first, so that whatever counts was there before.
fn power_off(recorder: &Recorder, cut: PowerCut, control: &mut Control) -> Result<(), ChaosError> {
    recorder.lock().power_off();
    control.power_off();
    cut.cut()
}

/// Waits for the moment; says whether it was told, where it is one that the broker tells.
async fn reached(moment: Moment, mut watch: MomentWatch) -> bool {
    match moment {
        Moment::Random(after) | Moment::AfterStart(after) => {
            sleep(after).await;
            true
        }
        Moment::Line { line, nth, after } => {
            let told = watch.wait(line, nth, LINE_WITHIN);
            MomentWatch::pause(after);
            told
        }
    }
}

impl Totals {
    fn judge(&self, options: Options) -> Result<String, ChaosError> {
        let lost_synced = self.controls.iter().filter(|control| control.lost_synced()).count();
        let wrote = self.controls.iter().filter(|control| control.unsynced > 0);
        let lost = wrote.clone().filter(|control| control.lost_unsynced()).count();
        let wrote = wrote.count();
        if lost_synced > 0 {
            let what = "the control lost what it had synced: the fault is not one of a disk";
            return Err(ChaosError::broken(format!("{what}, in {lost_synced} rounds")));
        }
        if lost * 100 < wrote * LOST_IN_PERCENT || wrote == 0 {
            let what = "the control kept what it had not synced: this harness proves nothing";
            return Err(ChaosError::broken(format!("{what}: lost in {lost} of {wrote} rounds")));
        }
        if options.strict && self.untold > 0 {
            let what = "rounds waited in vain for a line that the broker should log";
            return Err(ChaosError::broken(format!("{} {what}", self.untold)));
        }
        Ok(format!(
            "{} rounds, {} records acked, none lost; the control lost what it did not sync in \
             {lost} of {wrote} rounds; {} moments were not told",
            self.rounds, self.acked, self.untold
        ))
    }
}
