//! A slow disk: the kernel lets a process write only so many bytes a second to one device, by the
//! controller of control groups for block devices: blkio of version 1, or io of version 2.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::ChaosError;

/// Begins the name of every group that a test makes.
const PREFIX: &str = "ropewalk-chaos-";
/// Where the controller may be, the usual places first.
const ROOTS: [&str; 3] = ["/sys/fs/cgroup/blkio", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const PROCESSES: &str = "cgroup.procs";

/// The controller of a machine.
#[derive(Debug, PartialEq)]
struct Controller {
    /// The group of all groups.
    root: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    One,
    Two,
}

impl Controller {
    /// The one of this machine, if it has one.
    fn find<'a>(roots: impl IntoIterator<Item = &'a Path>) -> Option<Self> {
        roots.into_iter().find_map(|root| {
            let offered = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            let version = if root.join(Version::One.limits()).exists() {
                Version::One
            } else if offered.split_whitespace().any(|offered| offered == "io") {
                Version::Two
            } else {
                return None;
            };
            Some(Self { root: root.to_owned(), version })
        })
    }

    fn of_this_machine() -> Option<Self> {
        Self::find(ROOTS.map(Path::new))
    }

    /// Makes a group. Of version 2 the groups have only what the one above says, which stays so.
    fn make(&self, name: &str) -> std::io::Result<PathBuf> {
        if self.version == Version::Two {
            fs::write(self.root.join("cgroup.subtree_control"), "+io")?;
        }
        let group = self.root.join(format!("{PREFIX}{name}"));
        fs::create_dir(&group)?;
        Ok(group)
    }
}

impl Version {
    /// The file with the limits of a group.
    fn limits(self) -> &'static str {
        match self {
            Self::One => "blkio.throttle.write_bps_device",
            Self::Two => "io.max",
        }
    }

    /// What is written there.
    fn limit(self, (major, minor): (u32, u32), bytes_a_second: u64) -> String {
        match self {
            Self::One => format!("{major}:{minor} {bytes_a_second}"),
            Self::Two => format!("{major}:{minor} wbps={bytes_a_second}"),
        }
    }
}

/// A process that writes slowly, as long as this lives.
#[derive(Debug)]
pub struct SlowDisk {
    group: PathBuf,
    /// Where the process goes back to.
    root: PathBuf,
    pid: u32,
}

impl SlowDisk {
    /// Whether the machine has the controller.
    #[must_use]
    pub fn is_offered() -> bool {
        Controller::of_this_machine().is_some()
    }

    /// Removes the groups that a test which was killed has left behind. A group with a process in
    /// it cannot be removed.
    pub fn clean_up() {
        let Some(controller) = Controller::of_this_machine() else { return };
        let groups = fs::read_dir(controller.root).into_iter().flatten().flatten();
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
        let what = || format!("slowing {} down with the group {name}", device.display());
        let controller = Controller::of_this_machine();
        let controller = controller.ok_or_else(|| ChaosError::broken(what()))?;
        let number = fs::metadata(device).map_err(ChaosError::system(what()))?.st_rdev();
        let number = (rustix::fs::major(number), rustix::fs::minor(number));
        let group = controller.make(name).map_err(ChaosError::system(what()))?;
        let Controller { root, version } = controller;
        let slow = Self { group, root, pid };
        fs::write(slow.group.join(version.limits()), version.limit(number, bytes_a_second))
            .and_then(|()| fs::write(slow.group.join(PROCESSES), pid.to_string()))
            .map_err(ChaosError::system(what()))?;
        Ok(slow)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // A process that is gone has left the group.
        let _ = fs::write(self.root.join(PROCESSES), self.pid.to_string());
        let _ = fs::remove_dir(&self.group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_of_either_version_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two, none] = ["one", "two", "none"].map(|name| directory.path().join(name));
        for root in [&one, &two, &none] {
            fs::create_dir(root).unwrap();
        }
        fs::write(one.join("blkio.throttle.write_bps_device"), "").unwrap();
        fs::write(two.join("cgroup.controllers"), "cpuset cpu io memory\n").unwrap();
        // Those that a machine with both versions leaves to version 2.
        fs::write(none.join("cgroup.controllers"), "hugetlb\n").unwrap();
        let find = |roots: &[&PathBuf]| Controller::find(roots.iter().map(|root| root.as_path()));
        let of = |root: &Path, version| Some(Controller { root: root.to_owned(), version });
        assert_eq!(find(&[&none, &one, &two]), of(&one, Version::One));
        assert_eq!(find(&[&none, &two]), of(&two, Version::Two));
        assert_eq!(find(&[&none, &directory.path().join("missing")]), None);
    }

    #[test]
    fn a_limit_is_written_as_the_kernel_reads_it() {
        assert_eq!(Version::One.limit((7, 3), 300_000), "7:3 300000");
        assert_eq!(Version::Two.limit((7, 3), 300_000), "7:3 wbps=300000");
    }
}
