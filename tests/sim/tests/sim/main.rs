//! Several brokers in one thread: scripts, random lives, and bugs that lives have to find.

#![allow(clippy::unwrap_used)]

mod changes;
mod compacting;
mod lives;
#[cfg(feature = "planted")]
mod planted;
mod scripts;
mod sleep;
