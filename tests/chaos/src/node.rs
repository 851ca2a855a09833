//! One host of a cluster: its network namespace, its disk, and the broker on it; and what can
//! happen to a host.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ropewalk_harness::{Broker, BrokerBuilder};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::Instant;

use crate::control::{Control, ControlResult};
use crate::cut::PowerCut;
use crate::error::ChaosError;
use crate::history::NodeId;
use crate::mount::{Image, Mount};
use crate::network::Network;
use crate::slow_disk::SlowDisk;
use crate::stopped::Stopped;

/// Sparse. Enough for what a run writes, and for the journal.
const DISK_BYTES: u64 = 3 << 30;
/// How long a broker may take until it is ready, also after a crash.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The ports of a broker: clients, peers, admin.
const PORTS: [u16; 3] = [9092, 9093, 9094];

/// A broker on a host of its own.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    // Before its disk: it goes first.
    broker: Broker,
    mount: Option<Mount>,
    image: Image,
    point: PathBuf,
    /// How often the disk was made slow, for names.
    slowed: u32,
    clock: Option<PathBuf>,
}

impl Node {
    /// A host, whose broker does not run yet. `members` are all nodes of the cluster; one alone
    /// gets no settings of a cluster. `builder` has the settings of the test.
    ///
    /// # Errors
    /// When the disk cannot be made, or there is no binary.
    pub fn make(
        id: NodeId,
        members: &[NodeId],
        directory: &Path,
        builder: BrokerBuilder,
    ) -> Result<Self, ChaosError> {
        let image = Image::make(directory.join(format!("image-{id}")), DISK_BYTES)?;
        let point = directory.join(format!("disk-{id}"));
        let mount = Some(image.mount(&point)?);
        let [client, peer, admin] = PORTS.map(|port| Network::address(id, port));
        let mut arguments = vec!["--node-id".to_owned(), id.to_string()];
        arguments.extend(["--advertise".to_owned(), client.clone()]);
        if members.len() > 1 {
            let join = members.iter().map(|node| Network::address(*node, PORTS[1]));
            let join = join.collect::<Vec<_>>().join(",");
            let bootstrap: Vec<_> = members.iter().map(ToString::to_string).collect();
            arguments.extend(["--peer-listen".to_owned(), peer, "--join".to_owned(), join]);
            arguments.extend(["--bootstrap".to_owned(), bootstrap.join(",")]);
        }
        let broker = builder
            .addresses(client, admin)
            .through(Network::entry(id))
            .args(arguments)
            .data_dir(point.join("data"))
            .ready_within(READY_WITHIN)
            .prepare()?;
        Ok(Self { id, broker, mount, image, point, slowed: 0, clock: None })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The broker.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Starts the broker, and does not wait.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn begin(&mut self) -> Result<(), ChaosError> {
        Ok(self.broker.begin()?)
    }

    /// Waits until the broker is ready.
    ///
    /// # Errors
    /// When it ends or takes too long; its log is in the error.
    pub async fn wait_ready(&mut self) -> Result<(), ChaosError> {
        Ok(self.broker.wait_ready().await?)
    }

    /// Kills the broker.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill9(&mut self) -> Result<(), ChaosError> {
        Ok(self.broker.kill9().await?)
    }

    /// Ends the broker in good order.
    ///
    /// # Errors
    /// When it takes too long, or ends with an error.
    pub async fn terminate(&mut self) -> Result<(), ChaosError> {
        let ended = self.broker.terminate().await?;
        if ended.status.success() {
            return Ok(());
        }
        Err(ChaosError::broken(format!("node {} ended with {}", self.id, ended.status)))
    }

    /// The broker stands still as long as what is given lives.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<Stopped, ChaosError> {
        Stopped::new(&self.broker)
    }

    /// The host's power is about to be cut.
    ///
    /// # Errors
    /// When that cannot be prepared.
    pub fn arm(&self) -> Result<ArmedCut, ChaosError> {
        let control = Control::start(self.point.join("control"))?;
        Ok(ArmedCut { cut: PowerCut::arm(&self.point)?, control })
    }

    /// Cuts the power: everything that is not on the disk is gone.
    ///
    /// The broker stands still first, so that nothing leaves the host that a sync answered after
    /// the cut: one that runs into it can look as if it had gone well.
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn power_off(&mut self, armed: ArmedCut) -> Result<DarkNode, ChaosError> {
        let ArmedCut { cut, mut control } = armed;
        let stopped = self.pause()?;
        stopped.wait_still()?;
        control.power_off();
        cut.cut()?;
        self.broker.kill9().await?;
        drop(stopped);
        let (directory, control) = control.stop().await?;
        if let Some(mount) = self.mount.take() {
            mount.unmount().await?;
        }
        Ok(DarkNode { directory, control })
    }

    /// The power is back, and the broker is started. Gives what the control lost.
    ///
    /// # Errors
    /// When the disk is beyond recovery.
    pub fn power_on(&mut self, dark: DarkNode) -> Result<ControlResult, ChaosError> {
        self.mount = Some(self.image.mount(&self.point)?);
        self.begin()?;
        Ok(dark.control.look(&dark.directory))
    }

    /// Empties the data directory of a broker that does not run.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn wipe(&self) -> Result<(), ChaosError> {
        let data = self.broker.data_dir();
        fs::remove_dir_all(data).map_err(ChaosError::system(format!("wiping {}", data.display())))
    }

    /// The broker writes only so many bytes a second as long as what is given lives.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn slow_down(&mut self, bytes_a_second: u64) -> Result<SlowDisk, ChaosError> {
        let gone = || ChaosError::broken(format!("node {} does not run", self.id));
        let pid = self.broker.pid().ok_or_else(gone)?;
        self.slow_process_down(pid, bytes_a_second)
    }

    /// Checks that a process that is slowed down is slow: one that writes past the page cache, as
    /// the broker does to its journal, for two seconds.
    ///
    /// # Errors
    /// When the system does not let us, and when it is not slow.
    pub async fn prove_slow(&mut self, bytes_a_second: u64) -> Result<(), ChaosError> {
        let what = "running dd on a slow disk";
        let file = self.point.join("slow");
        let script = "read go && exec dd if=/dev/zero of=\"$0\" bs=\"$1\" count=20 \
                      oflag=direct,dsync status=none";
        // Whole pages, or it would not get past the page cache.
        let block = (bytes_a_second / 10).next_multiple_of(4096);
        let mut writer = Command::new("sh")
            .args(["-c", script, &file.to_string_lossy(), &block.to_string()])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(ChaosError::system(what))?;
        let pid = writer.id().ok_or_else(|| ChaosError::broken(what))?;
        let slow = self.slow_process_down(pid, bytes_a_second)?;
        let begun = Instant::now();
        // It begins when this ends.
        if let Some(mut input) = writer.stdin.take() {
            input.write_all(b"\n").await.map_err(ChaosError::system(what))?;
        }
        let ended = writer.wait().await.map_err(ChaosError::system(what))?;
        drop(slow);
        fs::remove_file(&file).map_err(ChaosError::system(what))?;
        let took = begun.elapsed();
        if ended.success() && took >= Duration::from_secs(1) {
            return Ok(());
        }
        let all = block * 20;
        let what = format!("{all} bytes took {took:.1?} at {bytes_a_second} a second: {ended}");
        Err(ChaosError::broken(what))
    }

    fn slow_process_down(&mut self, pid: u32, bytes_a_second: u64) -> Result<SlowDisk, ChaosError> {
        let gone = || ChaosError::broken(format!("node {} has no disk", self.id));
        let mount = self.mount.as_ref().ok_or_else(gone)?;
        self.slowed += 1;
        // The directory's name is nobody else's on this machine.
        let place = self.point.parent().and_then(Path::file_name).unwrap_or_default();
        let name = format!("{}-{}-{}", place.to_string_lossy(), self.id, self.slowed);
        SlowDisk::new(&name, pid, mount.device(), bytes_a_second)
    }

    /// Somebody else takes all of the disk but for so many bytes, as long as what is given lives.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn fill_disk(&self, left: u64) -> Result<Filler, ChaosError> {
        let filler = Filler(self.point.join("filler"));
        let what = || format!("filling the disk with {}", filler.0.display());
        let file = File::create(&filler.0).map_err(ChaosError::system(what()))?;
        let free = statvfs(&self.point).map(|found| found.f_bavail * found.f_frsize);
        let free = free.map_err(|error| ChaosError::system(what())(error.into()))?;
        let bytes = free.saturating_sub(left).max(1);
        fallocate(&file, FallocateFlags::empty(), 0, bytes)
            .map_err(|error| ChaosError::system(what())(error.into()))?;
        Ok(filler)
    }

    /// From its next start on, the host's wall clock is what [`Node::shift_clock`] says.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn fake_clock(&mut self, library: &Path) -> Result<(), ChaosError> {
        let file = self.point.with_extension("clock");
        self.broker.set_env("LD_PRELOAD", &library.to_string_lossy());
        self.broker.set_env("FAKETIME_TIMESTAMP_FILE", &file.to_string_lossy());
        self.broker.set_env("FAKETIME_NO_CACHE", "1");
        // Clocks that jump are those of the wall.
        self.broker.set_env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        self.clock = Some(file);
        self.shift_clock(0)
    }

    /// The host's wall clock is so many seconds ahead, or behind.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn shift_clock(&self, seconds: i64) -> Result<(), ChaosError> {
        let Some(file) = &self.clock else { return Ok(()) };
        // Put in place as a whole: it is read at any time.
        let new = file.with_extension("new");
        let what = || format!("writing {}", file.display());
        fs::write(&new, format!("{seconds:+}s\n")).map_err(ChaosError::system(what()))?;
        fs::rename(&new, file).map_err(ChaosError::system(what()))
    }
}

/// The library that fakes clocks, where it is installed.
#[must_use]
pub fn faketime_library() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.is_file())
}

/// A power cut that is about to happen, and the control beside it.
#[derive(Debug)]
pub struct ArmedCut {
    cut: PowerCut,
    control: Control,
}

/// A host without power.
#[derive(Debug)]
#[must_use = "the power has to come back"]
pub struct DarkNode {
    directory: PathBuf,
    control: ControlResult,
}

/// A file that takes room. It goes when this is dropped.
#[derive(Debug)]
pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
