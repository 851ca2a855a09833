//! Starts real brokers for tests and benchmarks
