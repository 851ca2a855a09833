//! What a simulated disk has of one file: the bytes as they are seen, and what of them a power cut
//! leaves. Knows bytes and sectors, not names.

use super::Rng;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: u64 = 512;

/// Something that was done to a file and was not synced.
#[derive(Clone, Debug)]
enum Step {
    Write { at: u64, bytes: Vec<u8> },
    Length(u64),
}

impl Step {
    /// The length of a file after this.
    fn length(&self, before: usize) -> usize {
        match self {
            Self::Write { at, bytes } => before.max(place(*at) + bytes.len()),
            Self::Length(length) => place(*length),
        }
    }

    fn apply(&self, content: &mut Vec<u8>) {
        content.resize(self.length(content.len()), 0);
        if let Self::Write { at, bytes } = self {
            content[place(*at)..place(*at) + bytes.len()].copy_from_slice(bytes);
        }
    }
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// As every reader sees it.
    pub(super) seen: Vec<u8>,
    durable: Vec<u8>,
    steps: Vec<Step>,
}

impl Content {
    pub(super) fn write(&mut self, bytes: &[u8], at: u64) {
        self.step(Step::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn set_len(&mut self, length: u64) {
        self.step(Step::Length(length));
    }

    fn step(&mut self, step: Step) {
        step.apply(&mut self.seen);
        self.steps.push(step);
    }

    /// Everything is durable from now on.
    pub(super) fn sync(&mut self) {
        self.steps.clear();
        self.durable.clone_from(&self.seen);
    }

    /// A write past the cache. It makes itself durable and what it lies upon; other bytes that wait
    /// in the cache go on waiting.
    pub(super) fn write_direct(&mut self, bytes: &[u8], at: u64) {
        let end = at + bytes.len() as u64;
        let touches = |step: &Step| match step {
            Step::Write { at: other, bytes } => {
                *other < end.next_multiple_of(SECTOR)
                    && at < (other + bytes.len() as u64).next_multiple_of(SECTOR)
            }
            Step::Length(_) => true,
        };
        let first_free = self.steps.iter().rposition(touches).map_or(0, |last| last + 1);
        for step in self.steps.drain(..first_free) {
            step.apply(&mut self.durable);
        }
        let step = Step::Write { at, bytes: bytes.to_vec() };
        step.apply(&mut self.seen);
        step.apply(&mut self.durable);
    }

    /// What is left after a power cut: of each sector what it was after any of the steps, and the
    /// length that the file had after any of them.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let steps = std::mem::take(&mut self.steps);
        let mood = rng.below(4);
        let pick = |rng: &mut Rng| match mood {
            0 => 0,
            1 => steps.len() as u64,
            _ => rng.below(steps.len() as u64 + 1),
        };
        let of_length = place(pick(rng));
        let mut longest = self.durable.len();
        let mut content = std::mem::take(&mut self.durable);
        let mut length = content.len();
        for (number, step) in steps.iter().enumerate() {
            longest = longest.max(step.length(longest));
            if number < of_length {
                length = step.length(length);
            }
        }
        content.resize(longest, 0);
        for start in (0..longest as u64).step_by(place(SECTOR)) {
            let kept = place(pick(rng));
            let sector = place(start)..longest.min(place(start + SECTOR));
            for (number, step) in steps.iter().enumerate().take(kept) {
                match step {
                    Step::Write { at, bytes } => {
                        overlay(&mut content[sector.clone()], start, *at, bytes)
                    }
                    // What is written after a cut goes to other blocks: it needs the cut itself.
                    Step::Length(cut) if number < of_length => {
                        let from = sector.len().min(place(cut.saturating_sub(start)));
                        content[sector.clone()][from..].fill(0);
                    }
                    Step::Length(cut) if *cut < start + SECTOR => break,
                    Step::Length(_) => {}
                }
            }
        }
        content.truncate(length);
        self.seen.clone_from(&content);
        self.durable = content;
    }

    /// Does a random part of a write past the cache, as when the power goes meanwhile.
    pub(super) fn tear(&mut self, bytes: &[u8], at: u64, rng: &mut Rng) {
        self.write(bytes, at);
        self.crash(rng);
    }

    /// Another disk that holds the same.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), durable: bytes, steps: Vec::new() }
    }
}

/// Writes the part of `bytes`, which begin at `at`, that falls on a sector that begins at `start`.
fn overlay(sector: &mut [u8], start: u64, at: u64, bytes: &[u8]) {
    let from = start.max(at);
    let to = (start + sector.len() as u64).min(at + bytes.len() as u64);
    if from < to {
        let part = &bytes[place(from - at)..place(to - at)];
        sector[place(from - start)..place(to - start)].copy_from_slice(part);
    }
}

/// A place in a file that is in memory.
pub(super) fn place(at: u64) -> usize {
    usize::try_from(at).expect("a simulated file fits in memory")
}
