//! The power cut: a file system that loses, at one moment, everything that is not on its disk.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::error::ChaosError;

/// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH. No safe wrapper of this call exists, and
/// this workspace has no unsafe code outside of the storage: a helper waits for a line and makes
/// it, which takes a tenth of a millisecond.
const HELPER: &str = "
import fcntl, os, struct, sys
mount = os.open(sys.argv[1], os.O_RDONLY)
print('armed', flush=True)
if sys.stdin.readline():
    fcntl.ioctl(mount, 0x8004587d, struct.pack('I', 2))
    print('cut', flush=True)
";

/// A power cut that is about to happen.
#[derive(Debug)]
pub struct PowerCut {
    helper: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl PowerCut {
    /// Gets everything ready, so that the cut itself takes no time.
    ///
    /// # Errors
    /// When the helper does not start.
    pub fn arm(mount: &Path) -> Result<Self, ChaosError> {
        let starting = "starting python3 for the power cut";
        let mut helper = Command::new("python3")
            .args(["-I", "-S", "-c", HELPER])
            .arg(mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(ChaosError::system(starting))?;
        let (Some(orders), Some(answers)) = (helper.stdin.take(), helper.stdout.take()) else {
            return Err(ChaosError::broken(starting));
        };
        let mut cut = Self { helper, orders, answers: BufReader::new(answers) };
        cut.expect("armed")?;
        Ok(cut)
    }

    /// Cuts the power. Nothing that is written from now on reaches the disk.
    ///
    /// # Errors
    /// When the file system is none that can be shut down.
    pub fn cut(mut self) -> Result<(), ChaosError> {
        let what = "ordering the power cut";
        self.orders.write_all(b"now\n").map_err(ChaosError::system(what))?;
        self.orders.flush().map_err(ChaosError::system(what))?;
        self.expect("cut")?;
        self.helper.wait().map_err(ChaosError::system(what))?;
        Ok(())
    }

    fn expect(&mut self, word: &str) -> Result<(), ChaosError> {
        let mut line = String::new();
        let what = "listening to the power cut's helper";
        self.answers.read_line(&mut line).map_err(ChaosError::system(what))?;
        if line.trim() == word {
            return Ok(());
        }
        Err(ChaosError::broken(format!("the power cut's helper said {line:?}, not {word}")))
    }
}

impl Drop for PowerCut {
    fn drop(&mut self) {
        // It holds the mount. One that has ended is let be.
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}
