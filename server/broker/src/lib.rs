//! Partitions, the partition table, committed offsets, retention
