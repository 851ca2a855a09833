//! A slow disk: the kernel lets a process write only so many bytes a second to one device, by the
//! blkio controller of version 1 control groups.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::ChaosError;

const ROOT: &str = "/sys/fs/cgroup/blkio";
/// Begins the name of every group that a test makes.
const PREFIX: &str = "ropewalk-chaos-";

/// A process that writes slowly, as long as this lives.
#[derive(Debug)]
pub struct SlowDisk {
    group: PathBuf,
    pid: u32,
}

impl SlowDisk {
    /// Whether the machine has the controller.
    #[must_use]
    pub fn is_offered() -> bool {
        Path::new(ROOT).join("blkio.throttle.write_bps_device").exists()
    }

    /// Removes the groups that a test which was killed has left behind. A group with a process in
    /// it cannot be removed.
    pub fn clean_up() {
        let groups = fs::read_dir(ROOT).into_iter().flatten().flatten();
        for group in groups.filter(|g| g.file_name().to_string_lossy().starts_with(PREFIX)) {
            let _ = fs::remove_dir(group.path());
        }
    }

    /// Slows a process down on a device. `name` is nobody else's on this machine.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn new(
        name: &str,
        pid: u32,
        device: &Path,
        bytes_a_second: u64,
    ) -> Result<Self, ChaosError> {
        let group = Path::new(ROOT).join(format!("{PREFIX}{name}"));
        let what = || format!("slowing {} down with the group {name}", device.display());
        fs::create_dir(&group).map_err(ChaosError::system(what()))?;
        let slow = Self { group, pid };
        let number = fs::metadata(device).map_err(ChaosError::system(what()))?.st_rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let limit = format!("{major}:{minor} {bytes_a_second}");
        fs::write(slow.group.join("blkio.throttle.write_bps_device"), limit)
            .and_then(|()| fs::write(slow.group.join("cgroup.procs"), pid.to_string()))
            .map_err(ChaosError::system(what()))?;
        Ok(slow)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // A process that is gone has left the group.
        let _ = fs::write(Path::new(ROOT).join("cgroup.procs"), self.pid.to_string());
        let _ = fs::remove_dir(&self.group);
    }
}
