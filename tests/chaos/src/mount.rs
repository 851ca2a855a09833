//! A small disk of one's own: an ext4 image, mounted through a loop device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::command::run;
use crate::error::ChaosError;

/// How long a mount may be busy: a process that was killed takes moments to let go.
const BUSY_FOR: Duration = Duration::from_secs(20);

/// A file that holds a file system. It goes when this does.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
}

impl Image {
    /// Makes a sparse image of this size, with an empty ext4.
    ///
    /// # Errors
    /// When there is no room, or no mkfs.ext4.
    pub fn make(path: PathBuf, bytes: u64) -> Result<Self, ChaosError> {
        let what = || format!("making {}", path.display());
        let file = File::create(&path).map_err(ChaosError::system(what()))?;
        file.set_len(bytes).map_err(ChaosError::system(what()))?;
        let image = Self { path };
        // Nothing is left for later, so that no kernel thread writes beside the broker.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q".as_ref(), "-E".as_ref(), lazy.as_ref(), image.path.as_os_str()])?;
        Ok(image)
    }

    /// A copy that was made by somebody else.
    #[must_use]
    pub fn existing(path: PathBuf) -> Self {
        Self { path }
    }

    /// Mounts it. The kernel's own writeback of metadata is put off for ten minutes, so that only
    /// what was synced is on the disk.
    ///
    /// # Errors
    /// When the system does not let us, or the file system is beyond recovery.
    pub fn mount(&self, point: &Path) -> Result<Mount, ChaosError> {
        fs::create_dir_all(point).map_err(ChaosError::system("making a mount point"))?;
        let (image, at) = (self.path.as_os_str(), point.as_os_str());
        let options = "loop,commit=600,noatime";
        run(
            "mount",
            &["-t".as_ref(), "ext4".as_ref(), "-o".as_ref(), options.as_ref(), image, at],
        )?;
        let mut mount = Mount { point: point.to_owned(), device: PathBuf::new(), mounted: true };
        mount.device = device_of(point)?;
        Ok(mount)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // If it is gone already, there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

fn device_of(point: &Path) -> Result<PathBuf, ChaosError> {
    let mounts = fs::read_to_string("/proc/self/mounts");
    let mounts = mounts.map_err(ChaosError::system("reading /proc/self/mounts"))?;
    let point = point.to_string_lossy();
    let mut devices = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let device = words.next()?;
        (words.next()? == point).then(|| PathBuf::from(device))
    });
    let missing = || ChaosError::broken(format!("{point} is not mounted"));
    devices.next_back().ok_or_else(missing)
}

/// A mounted image. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
    device: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// The loop device.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Unmounts it; the loop device goes with it. What is not on the disk is lost only if the file
    /// system was shut down before.
    ///
    /// # Errors
    /// When it is still in use after a while.
    pub async fn unmount(mut self) -> Result<(), ChaosError> {
        let until = Instant::now() + BUSY_FOR;
        loop {
            match run("umount", &[&self.point]) {
                Ok(_) => {
                    self.mounted = false;
                    return Ok(());
                }
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted && run("umount", &[&self.point]).is_err() {
            // Something still runs there: it goes as soon as that ends.
            let _ = run("umount", &["-l".as_ref(), self.point.as_os_str()]);
        }
    }
}
