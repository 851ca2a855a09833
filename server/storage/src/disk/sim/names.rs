//! The directories of a simulated disk, as they are seen and as a power cut leaves them. Knows
//! names, not what is in the files.

use std::collections::BTreeMap;
use std::path::Path;

use super::{NOT_FOUND, Rng, parts};

type Code = i32;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Dir(u64),
}

/// A change of one directory that was not synced.
#[derive(Clone, Debug)]
enum Step {
    Link(String, Node),
    Unlink(String),
    Rename(String, String),
}

type Entries = BTreeMap<String, Node>;

impl Step {
    fn apply(self, names: &mut Entries) {
        match self {
            Self::Link(name, node) => {
                names.insert(name, node);
            }
            Self::Unlink(name) => {
                names.remove(&name);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(&from) {
                    names.insert(to, node);
                }
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Dir {
    seen: Entries,
    durable: Entries,
    steps: Vec<Step>,
}

impl Dir {
    fn step(&mut self, step: Step) {
        step.clone().apply(&mut self.seen);
        self.steps.push(step);
    }

    fn sync(&mut self) {
        self.steps.clear();
        self.durable.clone_from(&self.seen);
    }

    fn crash(&mut self, rng: &mut Rng) {
        let steps = std::mem::take(&mut self.steps);
        let kept = match rng.below(4) {
            0 => 0,
            1 => steps.len() as u64,
            _ => rng.below(steps.len() as u64 + 1),
        };
        for step in steps.into_iter().zip(0..kept).map(|(step, _)| step) {
            step.apply(&mut self.durable);
        }
        self.seen.clone_from(&self.durable);
    }
}

/// All directories; the root is number 0.
#[derive(Clone, Debug)]
pub(super) struct Names {
    dirs: BTreeMap<u64, Dir>,
    next: u64,
}

impl Default for Names {
    fn default() -> Self {
        Self { dirs: BTreeMap::from([(0, Dir::default())]), next: 1 }
    }
}

impl Names {
    pub(super) fn node(&self, path: &Path) -> Option<Node> {
        let mut node = Node::Dir(0);
        for name in parts(path) {
            let Node::Dir(dir) = node else { return None };
            node = *self.dirs.get(&dir)?.seen.get(&name)?;
        }
        Some(node)
    }

    pub(super) fn file(&self, path: &Path) -> Option<u64> {
        match self.node(path) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    fn dir(&mut self, path: &Path) -> Result<&mut Dir, Code> {
        match self.node(path) {
            Some(Node::Dir(dir)) => self.dirs.get_mut(&dir).ok_or(NOT_FOUND),
            _ => Err(NOT_FOUND),
        }
    }

    /// The directory of a name, and the name.
    fn parent(&mut self, path: &Path) -> Result<(&mut Dir, String), Code> {
        let name = parts(path).last().ok_or(NOT_FOUND)?;
        let parent = path.parent().ok_or(NOT_FOUND)?;
        Ok((self.dir(parent)?, name))
    }

    pub(super) fn list(&self, path: &Path) -> Vec<String> {
        match self.node(path) {
            Some(Node::Dir(dir)) => {
                self.dirs.get(&dir).map_or_else(Vec::new, |dir| dir.seen.keys().cloned().collect())
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn link(&mut self, path: &Path, file: u64) -> Result<(), Code> {
        let (dir, name) = self.parent(path)?;
        dir.step(Step::Link(name, Node::File(file)));
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> Result<(), Code> {
        let number = self.next;
        let (dir, name) = self.parent(path)?;
        dir.step(Step::Link(name, Node::Dir(number)));
        self.dirs.insert(number, Dir::default());
        self.next += 1;
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) {
        if self.file(path).is_some()
            && let Ok((dir, name)) = self.parent(path)
        {
            dir.step(Step::Unlink(name));
        }
    }

    pub(super) fn remove_dir(&mut self, path: &Path) {
        if !matches!(self.node(path), Some(Node::Dir(_))) {
            return;
        }
        for name in self.list(path) {
            let path = path.join(name);
            self.remove_dir(&path);
            self.unlink(&path);
        }
        if let Ok((dir, name)) = self.parent(path) {
            dir.step(Step::Unlink(name));
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Code> {
        assert_eq!(from.parent(), to.parent(), "the simulation renames within one directory");
        self.node(from).ok_or(NOT_FOUND)?;
        let name = parts(to).last().ok_or(NOT_FOUND)?;
        let (dir, old) = self.parent(from)?;
        dir.step(Step::Rename(old, name));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> Result<(), Code> {
        self.dir(path)?.sync();
        Ok(())
    }

    /// Makes all names under a directory durable, and gives back the files.
    pub(super) fn sync_all(&mut self, path: &Path) -> Vec<u64> {
        let Ok(dir) = self.dir(path) else { return Vec::new() };
        dir.sync();
        let mut files = Vec::new();
        for (name, node) in dir.seen.clone() {
            match node {
                Node::File(file) => files.push(file),
                Node::Dir(_) => files.extend(self.sync_all(&path.join(name))),
            }
        }
        files
    }

    /// All files that have a name.
    pub(super) fn files(&self) -> Vec<u64> {
        let mut files = Vec::new();
        let mut dirs = vec![0];
        while let Some(dir) = dirs.pop() {
            for node in self.dirs.get(&dir).into_iter().flat_map(|dir| dir.seen.values()) {
                match node {
                    Node::File(file) => files.push(*file),
                    Node::Dir(dir) => dirs.push(*dir),
                }
            }
        }
        files
    }

    pub(super) fn crash(&mut self, rng: &mut Rng) {
        self.dirs.values_mut().for_each(|dir| dir.crash(rng));
    }
}
