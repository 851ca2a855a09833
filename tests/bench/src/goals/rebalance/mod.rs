//! A member joins a consumer group of a hundred, and another leaves it, while records come at a
//! steady rate: how long partitions stop that move, and whether the others do.
//!
//! `turns` makes it happen, `pauses` finds in what was delivered who stopped for how long.

mod pauses;
mod turns;

pub(crate) use turns::run;
