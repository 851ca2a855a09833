//! The Rust client of Ropewalk: producer, consumer and admin
