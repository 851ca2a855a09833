//! The level of a cluster: up to where all of its brokers know what may be written.
//!
//! Brokers of two versions that follow one another run side by side while a cluster is upgraded.
//! Whatever goes into a log is carried out by all of them, so what only the newer ones know (a
//! command, a kind of entry, a form of a row) has a level, and nothing of it is proposed before
//! every broker has registered with that level. From then on there is no way back: a broker of a
//! lower level is not taken in.

/// The level of this version: what it may write once the cluster is there. A version that brings
/// a command, a kind of entry or a form of a row raises it by one; those of the level before stay
/// readable.
pub const LEVEL: u32 = 3;

/// The level from which on batches carry the sequences of idempotent producers, partitions forget
/// such producers, and coordinator groups give them ids.
pub const SEQUENCES: u32 = 2;

/// The level from which on coordinator groups keep the members of consumer groups. It is that of
/// [`SEQUENCES`], as no version was released in between.
pub const CONSUMER_GROUPS: u32 = 2;

/// The level from which on topics say how they are cleaned up, and logs are compacted; and how
/// producers are to compress, as no version was released in between.
pub const COMPACTION: u32 = 3;

/// The level from which on single records have a time to live. It is that of [`COMPACTION`], as no
/// version was released in between.
pub const RECORD_TTLS: u32 = 3;

/// The level from which on appends may expect the version of a key. It is that of [`SEQUENCES`]
/// too.
pub const KEY_VERSIONS: u32 = 2;

/// The level of brokers that did not say theirs, and of founders that have not registered yet.
pub(crate) const FIRST: u32 = 1;
