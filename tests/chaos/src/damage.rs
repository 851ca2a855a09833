//! Damage to files: which file, where, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::ChaosError;

const PAGE: u64 = 4096;

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// One bit in the middle of the page that begins here is another.
    BitFlip(u64),
    /// The page that begins here is zeros.
    ZeroedPage(u64),
    /// The file ends here.
    Truncated(u64),
    /// There is no such file.
    Deleted,
    /// It is as it was a while before.
    Stale,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BitFlip(at) => write!(f, "bit flip at {at}"),
            Self::ZeroedPage(at) => write!(f, "zeroed page at {at}"),
            Self::Truncated(at) => write!(f, "truncated to {at}"),
            Self::Deleted => f.write_str("deleted"),
            Self::Stale => f.write_str("stale copy"),
        }
    }
}

/// A file that stands for its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind: the path with numbers left out.
    pub kind: String,
    /// The path within the data directory.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// One or two files of every kind that a data directory holds: the first and the last by name.
///
/// # Errors
/// When it cannot be read.
pub fn targets(directory: &Path) -> Result<Vec<Target>, ChaosError> {
    let mut files = Vec::new();
    list(directory, directory, &mut files)?;
    let mut kinds: BTreeMap<String, Vec<Target>> = BTreeMap::new();
    for target in files {
        kinds.entry(target.kind.clone()).or_default().push(target);
    }
    let mut chosen = Vec::new();
    for (_, mut files) in kinds {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let last = if files.len() > 1 { files.pop() } else { None };
        chosen.extend(files.into_iter().next());
        chosen.extend(last);
    }
    Ok(chosen)
}

fn list(root: &Path, directory: &Path, found: &mut Vec<Target>) -> Result<(), ChaosError> {
    let what = || format!("reading {}", directory.display());
    for entry in fs::read_dir(directory).map_err(ChaosError::system(what()))? {
        let path = entry.map_err(ChaosError::system(what()))?.path();
        if path.is_dir() {
            list(root, &path, found)?;
            continue;
        }
        let metadata = fs::metadata(&path).map_err(ChaosError::system(what()))?;
        let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
        found.push(Target { kind: kind_of(&relative), path: relative, bytes: metadata.len() });
    }
    Ok(())
}

/// Parts of a name that hold a digit are numbers of something.
fn kind_of(path: &Path) -> String {
    let part = |part: &str| {
        let words = part.split('.').map(|word| {
            let is_number = word.contains(|c: char| c.is_ascii_digit());
            if is_number { "*" } else { word }
        });
        words.collect::<Vec<_>>().join(".")
    };
    let parts = path.iter().map(|name| part(&name.to_string_lossy()));
    parts.collect::<Vec<_>>().join("/")
}

impl Target {
    /// All that is to be done to it: at its first, middle and last page, and at the last one that
    /// holds anything.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn damages(&self, directory: &Path) -> Result<Vec<Damage>, ChaosError> {
        let mut damages = vec![Damage::Deleted, Damage::Stale];
        if self.bytes == 0 {
            return Ok(damages);
        }
        let pages = self.bytes.div_ceil(PAGE);
        let used = last_used_page(&directory.join(&self.path))?;
        let mut places = vec![0, pages / 2, pages - 1, used];
        places.sort_unstable();
        places.dedup();
        for place in places.into_iter().map(|page| page * PAGE) {
            damages.extend([
                Damage::BitFlip(place),
                Damage::ZeroedPage(place),
                Damage::Truncated(place),
            ]);
        }
        Ok(damages)
    }

    /// Damages the file in a copy of the directory. It says whether anything is other than before:
    /// zeros may have been there already.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn apply(&self, damage: Damage, copy: &Path, stale: &Path) -> Result<bool, ChaosError> {
        let path = copy.join(&self.path);
        let what = || format!("damaging {}", path.display());
        let before = fs::read(&path).map_err(ChaosError::system(what()))?;
        match damage {
            Damage::Deleted => fs::remove_file(&path),
            Damage::Stale => match fs::read(stale.join(&self.path)) {
                Ok(old) => fs::write(&path, old),
                // There was no such file then.
                Err(_) => return Ok(false),
            },
            Damage::Truncated(at) => {
                OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(at))
            }
            Damage::BitFlip(at) => change(&path, at, |page| {
                let middle = page.len() / 2;
                page[middle] ^= 0x04;
            }),
            Damage::ZeroedPage(at) => change(&path, at, |page| page.fill(0)),
        }
        .map_err(ChaosError::system(what()))?;
        let after = fs::read(&path).ok();
        Ok(after.as_deref() != Some(before.as_slice()))
    }
}

fn change(path: &Path, at: u64, change: impl FnOnce(&mut [u8])) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut page = Vec::new();
    Read::by_ref(&mut file).take(PAGE).read_to_end(&mut page)?;
    change(&mut page);
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&page)
}

fn last_used_page(path: &Path) -> Result<u64, ChaosError> {
    let what = || format!("reading {}", path.display());
    let mut file = File::open(path).map_err(ChaosError::system(what()))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(ChaosError::system(what()))?;
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
    Ok(used / PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_is_damaged_in_its_first_and_last_file() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["identity", "journal/001.log", "journal/002.log", "journal/003.log"] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![1; 20_000]).unwrap();
        }
        let found = targets(directory.path()).unwrap();
        let names: Vec<_> = found.iter().map(|target| target.path.to_str().unwrap()).collect();
        assert_eq!(names, ["identity", "journal/001.log", "journal/003.log"]);
        assert_eq!(found[1].kind, "journal/*.log");
        let damages = found[1].damages(directory.path()).unwrap();
        assert_eq!(damages.len(), 2 + 3 * 3);
    }

    #[test]
    fn damage_is_done() {
        let (directory, stale) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = directory.path().join("f");
        fs::write(stale.path().join("f"), b"old").unwrap();
        let target = Target { kind: "f".into(), path: "f".into(), bytes: 10_000 };
        let damaged = |damage| {
            fs::write(&path, vec![7; 10_000]).unwrap();
            assert!(target.apply(damage, directory.path(), stale.path()).unwrap());
            fs::read(&path).unwrap_or_default()
        };
        let flipped = damaged(Damage::BitFlip(4096));
        assert_eq!(flipped.iter().filter(|byte| **byte != 7).count(), 1);
        assert_eq!(damaged(Damage::ZeroedPage(8192)).iter().filter(|b| **b == 0).count(), 1_808);
        assert_eq!(damaged(Damage::Truncated(4096)).len(), 4096);
        assert_eq!(damaged(Damage::Deleted), b"");
        assert_eq!(damaged(Damage::Stale), b"old");
    }
}
