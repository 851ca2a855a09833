//! The metadata group: topics and brokers, as a watch of immutable snapshots
